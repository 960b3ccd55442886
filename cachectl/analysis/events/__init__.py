"""What events of keys say, of evictions above all."""
