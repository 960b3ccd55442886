"""Events of keys as servers publish them."""
