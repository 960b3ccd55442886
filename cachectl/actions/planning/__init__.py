"""What is to be done to which keys, and what must hold before."""
