"""`cachectl ttl`."""
