"""Values of keys, read in bounded memory and without blocking anybody."""
