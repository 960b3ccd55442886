"""What servers tell of themselves: INFO, logs, clients, counters."""
