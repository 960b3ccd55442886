"""Who the primaries are: standalone, Sentinel, Cluster."""
