"""`cachectl policy`."""
