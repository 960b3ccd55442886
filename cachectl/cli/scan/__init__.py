"""`cachectl scan` and `cachectl diff`."""
