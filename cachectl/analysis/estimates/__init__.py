"""What a sample says of all, with intervals."""
