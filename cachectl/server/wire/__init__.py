"""One connection: sockets, TLS, logging in, RESP, and why it failed."""
