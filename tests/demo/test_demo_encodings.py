from __future__ import annotations

import base64
import gzip
import json
import pickle
from random import Random

import pytest

from cachectl.demo import encodings

# From the table of formats in the MessagePack specification, on both sides of each border.
INTEGERS = {
    0: "00", 127: "7f", 128: "cc80", 255: "ccff", 256: "cd0100", 65_535: "cdffff",
    65_536: "ce00010000", 2**32 - 1: "ceffffffff", 2**32: "cf0000000100000000",
    2**64 - 1: "cfffffffffffffffff", -1: "ff", -32: "e0", -33: "d0df", -128: "d080",
    -129: "d1ff7f", -32_768: "d18000", -32_769: "d2ffff7fff", -(2**31): "d280000000",
    -(2**31) - 1: "d3ffffffff7fffffff", -(2**63): "d38000000000000000",
}  # fmt: skip
HEADS = {
    "str": {0: "a0", 31: "bf", 32: "d920", 255: "d9ff", 256: "da0100", 65_536: "db00010000"},
    "bin": {0: "c400", 255: "c4ff", 256: "c50100", 65_536: "c600010000"},
    "array": {0: "90", 15: "9f", 16: "dc0010", 65_535: "dcffff", 65_536: "dd00010000"},
    "map": {0: "80", 15: "8f", 16: "de0010", 65_535: "deffff", 65_536: "df00010000"},
}


@pytest.mark.parametrize(("value", "expected"), INTEGERS.items())
def test_messagepack_of_integers_is_the_shortest(value: int, expected: str) -> None:
    assert encodings.as_msgpack(value).hex() == expected


@pytest.mark.parametrize(
    ("kind", "size", "head"),
    [(k, size, head) for k, t in HEADS.items() for size, head in t.items()],
)
def test_messagepack_says_its_length(kind: str, size: int, head: str) -> None:
    value = {
        "str": "x" * size,
        "bin": b"x" * size,
        "array": [7] * size,
        "map": dict.fromkeys(range(size), 7),
    }[kind]
    packed = encodings.as_msgpack(value)
    if kind == "map":
        body = b"".join(encodings.as_msgpack(n) + b"\x07" for n in range(size))
    else:
        body = (b"\x07" if kind == "array" else b"x") * size
    assert packed == bytes.fromhex(head) + body


def test_messagepack_of_the_rest() -> None:
    assert encodings.as_msgpack([None, False, True, 1.5]).hex() == "94c0c2c3cb3ff8000000000000"
    assert encodings.as_msgpack({"ü": (1,)}).hex() == "81a2c3bc9101"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object()])
def test_messagepack_refuses_what_it_cannot_hold(value: object) -> None:
    with pytest.raises(TypeError):
        encodings.as_msgpack(value)


def test_the_others_are_what_their_readers_read_and_the_same_each_time() -> None:
    value = {"a": [1, None, "ü"]}
    assert json.loads(encodings.as_json(value)) == value
    assert pickle.loads(encodings.as_pickle(value)) == value
    assert gzip.decompress(encodings.as_gzip(b"data" * 99)) == b"data" * 99
    assert encodings.as_gzip(b"x") == encodings.as_gzip(b"x")


def test_a_token_has_a_header_claims_and_a_signature() -> None:
    token = encodings.as_jwt({"sub": "7"}, Random(1))
    header, claims, signature = (base64.urlsafe_b64decode(p + b"==") for p in token.split(b"."))
    assert json.loads(header)["typ"] == "JWT"
    assert json.loads(claims) == {"sub": "7"}
    assert len(signature) == 32
    assert token == encodings.as_jwt({"sub": "7"}, Random(1))
