"""What a pass over keys adds up to: namespaces, sizes, lifetimes, idle times."""
