"""Tag sets: the sets in which applications keep the keys that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachectl.errors import RefusedError
from cachectl.server.topology.handle import Server
from cachectl.server.values.logical import read_value
from cachectl.server.wire.resp import ReplyError, as_text

KINDS = ("set", "list", "zset", "hash")
"""Types that may hold the keys that belong together; of a hash it is the fields."""


def members(server: Server, tag: bytes) -> Iterator[bytes]:
    """Yield the keys in a tag set, piece by piece; nothing when there is no such set.

    A list or a sorted set does as well, and of a hash the fields. Raises RefusedError when the
    tag is something else, ConnectionLostError.
    """
    with server.new_connection(server.node_of(tag)) as connection:
        try:
            kind = as_text(connection.call("TYPE", tag))
            if kind == "none":
                return
            if kind not in KINDS:
                raise RefusedError(
                    f"the tag {tag!r} is a {kind}, not a set of keys", target=server.target.name
                )
            for piece in read_value(connection, tag, kind):
                for element in piece.elements:
                    yield member_of(element)
        except ReplyError as error:
            raise RefusedError(
                f"the tag {tag!r} can't be read: {error.text}", target=server.target.name
            ) from error


def member_of(element: Any) -> bytes:
    """Return the key that an element of a tag set names: of a pair or triple, its first part."""
    member: bytes = element[0] if isinstance(element, tuple) else element
    return member
