"""Loading a cache from a manifest, verifying and refreshing it."""
