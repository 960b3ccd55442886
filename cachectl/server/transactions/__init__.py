"""Changing keys: transactions, lanes, whole keys, the lock."""
