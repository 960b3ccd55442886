"""`cachectl invalidate` and `cachectl undo`."""
