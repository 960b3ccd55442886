"""The scan engine: pages of keys with their metadata, all of them or a sample."""
