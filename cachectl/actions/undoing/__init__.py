"""Putting back what a run has changed."""
