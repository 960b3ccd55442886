"""Keys against a policy, and when many of them expire together."""
