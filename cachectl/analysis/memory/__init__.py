"""Where the bytes are, and what would save some."""
