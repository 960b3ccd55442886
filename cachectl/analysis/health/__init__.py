"""Figures against thresholds, and the page of the doctor."""
