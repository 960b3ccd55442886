"""`cachectl memory`."""
