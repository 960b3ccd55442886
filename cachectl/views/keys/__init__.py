"""Reports on keys: scans and what changed between them, lists, one key inside out."""
