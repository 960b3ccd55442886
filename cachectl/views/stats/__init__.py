"""Reports on a window: counters, commands, clients, events; the boards of `top`."""
