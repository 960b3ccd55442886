"""Which keys are meant: by name, metadata and value."""
