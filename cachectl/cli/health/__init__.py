"""`cachectl check` and `cachectl doctor`."""
