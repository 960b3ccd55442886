"""What happened in a window: counters, commands, clients, latency, hot keys."""
