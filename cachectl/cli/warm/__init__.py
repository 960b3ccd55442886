"""`cachectl warm`."""
