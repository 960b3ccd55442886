"""Reports on what a manifest says, and on what became of it."""
