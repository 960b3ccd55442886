"""Whatever the bytes are: an answer, soon, in bounded memory, and no exception."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import struct
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachectl.demo.encodings import as_msgpack
from cachectl.values.description import describe, preview
from cachectl.values.hexdump import hexdump
from cachectl.values.registry import DECODERS

TREE = {"name": "Jörg", "list": [1, 2.5, None, True], "nested": {"a": {"b": "c" * 30}}}
CORPUS = [
    json.dumps(TREE).encode(),
    as_msgpack(TREE),
    gzip.compress(json.dumps(TREE).encode(), mtime=0),
    zlib.compress(pickle.dumps(TREE)),
    *(pickle.dumps(TREE, protocol) for protocol in range(6)),
    b'O:4:"User":2:{s:4:"name";s:3:"Ann";s:4:"list";a:2:{i:0;d:1.5;i:1;N;}}',
    b'user|s:3:"bob";count|i:3;',
    bytes.fromhex("aced00057372000e6a6176612e7574696c2e44617465686a81014b597419030000787077080000"
                  "018bcfe5680078"),
    b"\xac\xed\x00\x05t\x00\x05hello",
    b"\x04\x08o:\x1eActiveSupport::Cache::Entry\x06:\x0b@valuei\x06",
    b"\x00\x11\x81" + struct.pack("<di", 1e300, 2) + b"v1" + zlib.compress(b"\x04\x08i\x06"),
    b"\0\1\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\0\x0c\x02\0\0\0\x0eShop.Model.Cart",
    b"HYLL\x01\0\0\0\x05\0\0\0\0\0\0\0\x7f\xff\x80",
    base64.b64encode(json.dumps(TREE).encode()),
    b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in
              (b'{"alg":"none"}', b'{"exp":1e400,"iat":-1e300,"nbf":true}', b"sig")),
    "grüß dich".encode("utf-16"),
    b"550e8400-e29b-41d4-a716-446655440000",
    b"1795408500123",
]  # fmt: skip


def check(value: bytes, **options: int) -> None:
    found = describe(value, **options)
    assert not any("defect" in note for note in found.notes), found.notes
    json.dumps(found.data, allow_nan=False, ensure_ascii=False).encode()
    for text in (found.text or "", *found.notes, found.damaged or ""):
        text.encode()
    assert all(len(note) < 10_000 for note in found.notes)
    assert found.layers
    assert found.layers[-1].format == found.format
    line = preview(value, 30, **options)
    assert len(line) <= 30
    assert len(line.splitlines()) <= 1


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes(value: bytes) -> None:
    check(value)


@given(st.sampled_from([v[:n] for v in CORPUS for n in (1, 2, 4, 5, 8)]), st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_after_a_known_beginning(head: bytes, rest: bytes) -> None:
    check(head + rest)


@given(st.data())
@settings(max_examples=700, suppress_health_check=[HealthCheck.too_slow])
def test_any_damage_to_known_values(data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(value) - 1, 0)))
        kind = data.draw(st.sampled_from(["change", "cut", "double", "insert"]))
        if kind == "cut":
            del value[at : at + data.draw(st.integers(1, 20))]
        elif kind == "double":
            value[at:at] = value[at : at + 20]
        elif kind == "insert":
            value[at:at] = data.draw(st.binary(max_size=4))
        elif value:
            value[at] = data.draw(st.integers(0, 255))
    check(bytes(value))


@given(st.sampled_from(CORPUS), st.integers(0, 400), st.integers(1, 10**9))
def test_any_prefix_of_known_values(value: bytes, size: int, missing: int) -> None:
    prefix = value[:size]
    check(prefix, total=len(prefix) + missing)


@given(st.text())
def test_any_text_is_shown_and_never_taken_for_binary_serialisation(text: str) -> None:
    check(text.encode())
    if text.isprintable() and text:
        assert describe(text.encode()).format not in ("binary", "msgpack", "latin1", "gzip", "java")


@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_a_hexdump_holds_every_byte(value: bytes, start: int) -> None:
    body = hexdump(value, start=start).splitlines()[:-1]
    if "*" not in body:
        shown = "".join(line.split("  |")[0].split("  ", 1)[1] for line in body)
        assert bytes.fromhex(shown) == value


MEGABYTE = 1 << 20
HOSTILE = {
    "brackets": b"[" * MEGABYTE,
    "objects": b'{"a":' * (MEGABYTE // 5),
    "small lists": b"[" + b"[]," * (MEGABYTE // 3),
    "quotes": b'"' * MEGABYTE,
    "backslashes": b'["' + b"\\" * MEGABYTE,
    "escapes": b'["' + b"\\n" * (MEGABYTE // 2 - 4) + b'"]',
    "digits": b"[" + b"9" * (MEGABYTE - 2) + b"]",
    "one number": b"1" * MEGABYTE,
    "fraction": b"1" * 400 + b"." + b"1" * 400 + b"e99999",
    "lines": b"{}\n" * (MEGABYTE // 3),
    "pickle marks": b"(" * MEGABYTE + b".",
    "pickle tuples": b"\x80\x02]" + b"\x85" * MEGABYTE + b".",
    "pickle digits": b"I" + b"9" * 100_000 + b"\n.",
    "messagepack": b"\x91" * MEGABYTE,
    "messagepack sizes": b"\xdd\xff\xff\xff\xff" * 200_000,
    "php": b"a:9999999999:{" * 70_000,
    "php nested": b"a:1:{i:0;" * 100_000,
    "php session": b"a|N;" * (MEGABYTE // 4),
    "java lengths": b"\xac\xed\x00\x05" + b"t\x27\x10" * (MEGABYTE // 3),
    "java classes": b"\xac\xed\x00\x05" + (b"r\x00\xff" + b"A" * 250) * 4000,
    "java arrays": b"\xac\xed\x00\x05r\x00\x05" + b"[" * MEGABYTE,
    "java repeated class marks": b"\xac\xed\x00\x05s" + b"r\x00[" * (MEGABYTE // 3),
    "ruby": b'\x04\x08"' + b"A::" * (MEGABYTE // 3),
    "dotnet": b"\0\1\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\0" + b"a" * MEGABYTE,
    "dotnet dots": b"\0\1\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\0" + b"a" + b".a" * (MEGABYTE // 2),
    "base64": base64.b64encode(bytes(700_000)),
    "base64 lines": (b"A" * 76 + b"\r\n") * 13_000 + b"!",
    "jwt": b"a" * 20_000 + b"." + b"b" * 20_000 + b".c" * 5_000,
    "comments": b"<!--" * (MEGABYTE // 4),
    "tags": b"<a " * (MEGABYTE // 3),
    "one tag": b"<" + b"a" * MEGABYTE,
    "data uri": b"data:" + b";a=b" * (MEGABYTE // 4),
    "spaces": b" " * MEGABYTE,
    "zeros": bytes(MEGABYTE),
    "half characters": b"\xc3" * MEGABYTE,
    "high bytes": b"caf\xe9 " * (MEGABYTE // 5),
    "surrogates": b'["' + b"\\ud800" * 170_000 + b'"]',
    "gzip members": gzip.compress(b"", mtime=0) * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_malice_is_answered_soon(name: str) -> None:
    started = time.process_time()
    check(HOSTILE[name])
    # Measured: 2 s at most. What is quadratic in a megabyte takes minutes.
    assert time.process_time() - started < 15


def test_layers_of_base64_do_not_multiply() -> None:
    value = b"\0" * 1000
    for _ in range(12):
        value = base64.b64encode(value)
    started = time.process_time()
    check(value)
    assert time.process_time() - started < 5


def test_half_a_gigabyte_costs_no_more_than_its_beginning() -> None:
    value = bytes(512 << 20)
    started = time.process_time()
    found = describe(value)
    assert time.process_time() - started < 2
    assert found.layers[0].size == 512 << 20
    assert found.format == "binary"


def test_every_decoder_is_registered_once() -> None:
    assert len(set(DECODERS)) == len(DECODERS)
