"""`cachectl keys`."""
