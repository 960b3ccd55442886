"""Reports on what is well and what is not: a server, a profile."""
