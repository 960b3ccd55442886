"""`cachectl top`: the live screen."""
