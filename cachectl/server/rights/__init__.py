"""What this server and this login allow."""
