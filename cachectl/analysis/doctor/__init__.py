"""What `doctor` knows: facts in, findings out. examine.py puts the rules together."""
