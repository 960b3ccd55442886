"""Whether keys hold given values: asked in few bounded commands, whatever is really there.

Nothing larger than the expected value travels: a string is read one byte further than it should
go, a set is asked for its size and for each expected member.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cachectl.model.values import LogicalValue
from cachectl.server.values.logical import PIECE, STRING_PIECE, Command, stream_id_text
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_float, as_int, as_pairs

Value = bytes | LogicalValue
"""What a key should hold: a string's bytes, or the elements of anything else."""


def alike(connection: NodeConnection, wanted: Sequence[tuple[bytes, Value]]) -> Iterator[bool]:
    """Yield for each (key, value) whether the key holds it, in one flight.

    The keys are known to have the values' types. Consumer groups of streams are not compared.
    Raises ReplyError, ConnectionLostError.
    """
    questions = [questions_about(key, value) for key, value in wanted]
    replies = connection.pipeline(command for some in questions for command in some)
    at = 0
    for some, (_, value) in zip(questions, wanted, strict=True):
        answers = replies[at : at + len(some)]
        at += len(some)
        for answer in answers:
            if isinstance(answer, ReplyError) and answer.code != "WRONGTYPE":
                raise answer
        yield is_answered_by(value, answers)


def questions_about(key: bytes, value: Value) -> list[Command]:
    """Return the commands whose replies tell whether `key` holds `value`."""
    if isinstance(value, bytes):
        ends = range(0, len(value) + 1, STRING_PIECE)
        return [
            ("GETRANGE", key, start, min(start + STRING_PIECE, len(value) + 1) - 1)
            for start in ends
        ]
    elements = value.elements
    match value.type:
        case "list":
            places = range(0, len(elements) + 1, PIECE)
            return [("LRANGE", key, place, place + PIECE - 1) for place in places]
        case "set":
            return [("SCARD", key), *_in_pieces("SMISMEMBER", key, elements)]
        case "zset":
            return [("ZCARD", key), *_in_pieces("ZMSCORE", key, list(dict(elements)))]
        case "hash":
            return [("HLEN", key), *_in_pieces("HMGET", key, list(_texts(value)))]
        case "stream":
            starts = [
                b"-",
                *(b"(" + stream_id_text(one[0]) for one in elements[PIECE - 1 :: PIECE]),
            ]
            return [("XLEN", key), *(("XRANGE", key, s, "+", "COUNT", PIECE) for s in starts)]
    raise ValueError(value.type)


def _in_pieces(command: str, key: bytes, names: Sequence[bytes]) -> Iterator[Command]:
    for start in range(0, len(names), PIECE):
        yield command, key, *names[start : start + PIECE]


def is_answered_by(value: Value, answers: Sequence[Any]) -> bool:
    """Return whether the replies to `questions_about` are those of a key that holds `value`."""
    if any(isinstance(answer, ReplyError) for answer in answers):
        return False
    if isinstance(value, bytes):
        return b"".join(answers) == value
    elements = value.elements
    if value.type == "list":
        return _joined(answers) == list(elements)
    length, *pieces = answers
    found = _joined(pieces)
    match value.type:
        case "set":
            return bool(length == len(set(elements)) and all(as_int(one) == 1 for one in found))
        case "zset":
            scores = list(dict(elements).values())
            return bool(length == len(scores) and [as_float(one) for one in found] == scores)
        case "hash":
            texts = list(_texts(value).values())
            return bool(length == len(texts) and found == texts)
        case _:
            there = [(raw, tuple(as_pairs(flat))) for raw, flat in found]
            meant = [(stream_id_text(entry_id), tuple(pairs)) for entry_id, pairs in elements]
            return bool(length == len(elements) and there == meant)


def _texts(value: LogicalValue) -> dict[bytes, bytes]:
    """Return a hash's fields; of those that are written twice, the last one holds."""
    return {name: text for name, text, _ in value.elements}


def _joined(pieces: Sequence[Any]) -> list[Any]:
    return [one for piece in pieces for one in piece]
