"""The frozen records that every room speaks.

Only the standard library is imported here. Units are in the names or in the docstrings: bytes are
integers, a TTL is milliseconds inside and seconds in every report, times are Unix seconds.
"""
