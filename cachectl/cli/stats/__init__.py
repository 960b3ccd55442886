"""`cachectl stats` and `cachectl evictions`: windows of counters and events."""
