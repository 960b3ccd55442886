"""Bytes to what a person can read, never executing anything.

description: everything about one value, and one line of it for a table. hexdump: bytes as a dump.
"""
