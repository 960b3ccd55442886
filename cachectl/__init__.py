"""cachectl: the command-line administrator and diagnostician of Redis and Valkey caches."""

# A literal, because reading the installed metadata costs more than all of `cachectl --version`.
__version__ = "0.1.0"
