"""DUMP payloads decoded without a server: what undo writes where RESTORE would refuse.

Sources: rdb.c, listpack.c, ziplist.c, intset.c, t_stream.c and lzf_d.c of Redis 6.2–8.2 and Valkey
8–9, as formats; each is verified against what real servers dump and say.
"""

from cachectl.values.payload.cursor import UndecodableError
from cachectl.values.payload.decode import decode_payload, payload_version

__all__ = ["UndecodableError", "decode_payload", "payload_version"]
