"""The demo: an embedded server, a realistic cache in it, and traffic on it."""
