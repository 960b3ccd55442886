"""Reports on where the bytes are."""
