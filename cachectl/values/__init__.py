"""Bytes to what a person can read, never executing anything.

describe: everything about one value. preview: one line for a table. hexdump: bytes as a dump.
"""

from cachectl.values.description import Described, Layer, describe, preview
from cachectl.values.hexdump import hexdump
from cachectl.values.sample import Limits

__all__ = ["Described", "Layer", "Limits", "describe", "hexdump", "preview"]
