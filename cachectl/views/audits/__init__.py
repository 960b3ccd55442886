"""Reports on keys against a policy, and on when they expire."""
