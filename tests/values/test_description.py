"""What `describe` and `preview` say of values as applications write them."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib

import pytest

from cachectl.values.description import Described, describe, preview
from cachectl.values.hexdump import hexdump
from cachectl.values.sample import Limits

NOW = 1_795_408_500.0  # 2026-11-23T04:35:00Z


def look(value: bytes, **options) -> Described:
    return describe(value, now=NOW, **options)


def base64url(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


JWT = b".".join(
    [
        base64url({"alg": "HS256", "typ": "JWT"}),
        base64url({"sub": "42", "iat": NOW, "exp": 1_700_000_000}),
        b"c2VjcmV0LXNpZ25hdHVyZQ",
    ]
)
HLL_SPARSE = b"HYLL\x01\0\0\0\x05\0\0\0\0\0\0\0\x7f\xff\x80"


@pytest.mark.parametrize(
    ("value", "path", "data"),
    [
        (b"", "empty", None),
        (b'{"a": [1, null]}', "json", {"a": [1, None]}),
        (b'\n [1, 2]\n"', "utf8", None),
        (b'{"a": 1}\n{"a": 2}\n', "ndjson", [{"a": 1}, {"a": 2}]),
        (b'"text"', "json", "text"),
        (b'"{\\"a\\": 1}"', "json > json", {"a": 1}),
        (b"42", "integer", 42),
        (b"-7", "integer", -7),
        (b"99999999999999999999", "integer", 99999999999999999999),
        (b"1795408500", "epoch", 1795408500),
        (b"1795408500123", "epoch", 1795408500123),
        (b"1795408500123456", "epoch", 1795408500123456),
        (b"1795408500.25", "epoch", 1795408500.25),
        (b"300000000000", "integer", 300000000000),
        (b"3.25", "float", 3.25),
        (b"1e3", "float", 1000.0),
        (b"nan", "float", None),
        (b"true", "boolean", True),
        (b"False", "boolean", False),
        (b"007", "utf8", None),
        (b"1.2.3", "utf8", None),
        (b"12:30", "utf8", None),
        (b"550e8400-e29b-41d4-a716-446655440000", "uuid", "550e8400-e29b-41d4-a716-446655440000"),
        (b"hello world", "utf8", None),
        ("Привет\t✓\n".encode(), "utf8", None),
        (b"[INFO] started", "utf8", None),
        (b"  \n", "utf8", None),
        ("café".encode("latin-1") + b" au lait", "latin1", None),
        ("hi ✓".encode("utf-16"), "utf16 > utf8", None),
        ('{"a": 1}'.encode("utf-16-le"), "utf16 > json", {"a": 1}),
        ('{"a": 1}'.encode("utf-16-be"), "utf16 > json", {"a": 1}),
        (b'<?xml version="1.0"?>\n<a><b/></a>', "xml", None),
        (b'<user id="1"><name>x</name></user>', "xml", None),
        (b"<b> is less than <c>", "utf8", None),
        (b"<!DOCTYPE html><p>x", "html", None),
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip > json", {"a": 1}),
        (zlib.compress(b"12"), "zlib > integer", 12),
        (gzip.compress(zlib.compress(b"[1]"), mtime=0), "gzip > zlib > json", [1]),
        (base64.b64encode(b'{"user": 1}'), "base64 > json", {"user": 1}),
        (base64.b64encode(gzip.compress(b"[1]", mtime=0)), "base64 > gzip > json", [1]),
        (base64.b64encode(bytes(range(190, 221))), "base64 > binary", None),
        (b"data:application/json;base64,eyJhIjoxfQ==", "base64 > json", {"a": 1}),
        (b"internationalization", "utf8", None),
        (b"sessionTokenABC12345", "utf8", None),
        (b"/var/lib/service1/Data00", "utf8", None),
        (b"abcdefgh", "utf8", None),
        (b"d41d8cd98f00b204e9800998ecf8427e", "utf8", None),
        (HLL_SPARSE, "hyperloglog", {"encoding": "sparse", "cardinality": 5}),
        (b"\x00\x01\x02\xff", "binary", None),
        (b"\x80", "binary", None),
        (b"a C string, with its end\x00", "binary", None),
        ("Grüße".encode()[:3], "binary", None),
        (b"\x90\x91", "binary", None),
        (bytes(32), "binary", None),
        (b"\x04\x08o:\x1eActiveSupport::Cache::Entry\x06:\x0b@valuei\x06", "ruby", None),
        (b"\x00\x11\x02" + struct.pack("<di", -1, -1) + b"hello", "rails > utf8", None),
        (
            b"\x00\x11\x81" + struct.pack("<di", NOW, 2) + b"v1" + zlib.compress(b"\x04\x08i\x06"),
            "rails > zlib > ruby",
            None,
        ),
        (
            b"\0\1\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\0\x0c\x02\0\0\0\x0eShop.Model.Cart",
            "dotnet",
            None,
        ),
    ],
)
def test_formats(value: bytes, path: str, data: object) -> None:
    found = look(value)
    assert found.path == path
    assert found.format == path.rpartition(" > ")[2]
    if data is not None:
        assert found.data == data
        assert type(found.data) is type(data)


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (b"1795408500", "Unix time in seconds: 2026-11-23T04:35:00Z"),
        (b"1795408500123", "Unix time in milliseconds: 2026-11-23T04:35:00.123Z"),
        (b"1795408500123456", "Unix time in microseconds: 2026-11-23T04:35:00.123456Z"),
        (b"007", "Digits with a leading zero: INCR refuses them"),
        (b"99999999999999999999", "Beyond 64 bits: INCR refuses it"),
        (b" 5\n", "White space around it"),
        (b"d41d8cd98f00b204e9800998ecf8427e", "32 hexadecimal digits: the length of MD5"),
        (b"018bcfe5-6800-7000-8000-000000000000", "UUID version 7, made 2023-11-14T22:13:20Z"),
        (b"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "UUID version 1, made 1998-02-04T22:13:53"),
        (b'"[1]"', "JSON inside a JSON string: it was probably encoded twice"),
        (HLL_SPARSE, "Cached cardinality: 5 (standard error 0.81 %)"),
        (
            HLL_SPARSE[:15] + b"\x80" + HLL_SPARSE[16:],
            "The cached cardinality is out of date; PFCOUNT computes it anew",
        ),
        (b"\x00\x01", "As an integer: 256 little-endian, 1 big-endian"),
        (b"\xf0\x01\x00", "As a bitmap: 5 of 24 bits set"),
        (b"\x00\x11\x02" + struct.pack("<di", NOW, -1) + b"x", "Rails considers it expired from "
         "2026-11-23T04:35:00Z"),
    ],
)  # fmt: skip
def test_notes(value: bytes, note: str) -> None:
    assert any(found.startswith(note) for found in look(value).notes), look(value).notes


def test_a_jwt_shows_its_claims_and_not_its_signature() -> None:
    found = look(b"Bearer " + JWT)
    assert found.path == "jwt"
    assert found.data == {
        "header": {"alg": "HS256", "typ": "JWT"},
        "payload": {"sub": "42", "iat": NOW, "exp": 1_700_000_000},
    }
    assert "JWT: signature not verified and not shown" in found.notes
    assert "exp: expires 2023-11-14T22:13:20Z (expired)" in found.notes
    assert "iat: issued 2026-11-23T04:35:00Z" in found.notes
    assert "c2VjcmV0" not in str(found)
    assert "secret-signature" not in str(found)


def test_an_unsigned_and_an_encrypted_jwt_say_so() -> None:
    unsigned = JWT.rpartition(b".")[0] + b"."
    assert "JWT without a signature" in look(unsigned).notes
    encrypted = base64url({"alg": "dir", "enc": "A256GCM"}) + b"..aXY.Y2lwaGVy.dGFn"
    assert look(encrypted).notes == ("JWE: encrypted; only its header can be read",)


def test_three_words_with_dots_are_no_jwt() -> None:
    assert look(b"www-server.example.com").path == "utf8"


def test_times_are_judged_by_the_clock_that_is_handed_in() -> None:
    assert describe(b"1795408500", now=NOW).format == "epoch"
    assert describe(b"1795408500", now=NOW + 30 * 365 * 86_400).format == "integer"


def test_a_prefix_says_how_much_was_not_seen() -> None:
    found = look(b'{"a": [1, "tw', total=512 << 20)
    assert found.path == "json"
    assert found.damaged is None
    assert not found.layers[0].complete
    assert found.layers[0].size == 512 << 20
    assert "Truncated: only the first 13 of 536,870,912 bytes were looked at" in found.notes


def test_a_prefix_may_end_inside_a_character() -> None:
    assert look("Grüße".encode()[:3], total=100).text == "Gr"


@pytest.mark.parametrize("cut", range(3, 60))
def test_a_prefix_of_json_is_never_called_damaged(cut: int) -> None:
    whole = b'{"a": [1.5e3, "t\\u00e9\\n", true, null, {"b": -2}], "c": "d", "e": {}}'
    found = look(whole[:cut], total=len(whole))
    assert (found.format, found.damaged) == ("json", None)


def test_a_prefix_that_is_wrong_before_its_end_is_damaged() -> None:
    found = look(b'{"a": wrong, "b": 1' + b" " * 50, total=1000)
    assert (
        found.damaged == "looks like JSON but does not parse: unexpected text at line 1, column 6"
    )


def test_only_the_first_part_of_a_long_value_is_looked_at() -> None:
    found = look(b"x" * 5000, limits=Limits(look=1000))
    assert found.text == "x" * 1000
    assert found.layers[0].size == 5000


def test_no_more_layers_are_opened_than_asked_for() -> None:
    value = b"[1]"
    for _ in range(10):
        value = gzip.compress(value, mtime=0)
    found = look(value, limits=Limits(layers=3))
    assert found.path == "gzip > gzip > gzip"
    assert "More is encoded inside; it was not opened" in found.notes


def test_a_decoder_with_a_defect_does_not_hide_the_value(monkeypatch) -> None:
    def broken(sample):
        raise KeyError("secret of the value")

    monkeypatch.setattr("cachectl.values.description.DECODERS", (broken,))
    found = look(b"hello")
    assert found.format == "binary"
    assert any("defect" in note for note in found.notes)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"", ""),
        (b'{"a":  1,\n "b": 2}', '{"a": 1, "b": 2}'),
        (b"two\nlines", "two lines"),
        (b"42", "42"),
        (gzip.compress(b'{"a":1}', mtime=0), 'gzip: {"a": 1}'),
        (base64.b64encode(b"hello world, hello"), "base64: hello world, hello"),
        (b"\x00\xff", "binary: 2 bytes 00 ff"),
        (b"\xff", "binary: 1 byte ff"),
        (b"x" * 100, "x" * 39 + "…"),
        (b"i:5;", "php: 5"),
    ],
)
def test_previews(value: bytes, line: str) -> None:
    assert preview(value, 40, now=NOW) == line


def test_a_preview_is_one_line_of_the_width() -> None:
    for value in (b"a\rb\x0bc\x1cd\xc2\x85e\xe2\x80\xa8f", bytes(range(256)), b"[" * 9999, JWT):
        for width in (0, 1, 5, 40):
            line = preview(value, width)
            assert len(line) <= width
            assert len(line.splitlines()) <= 1


def test_a_hexdump_reads_like_hexdump_c() -> None:
    assert hexdump(b"Hello, world!\n\x00\xff" + bytes(64) + b"end").splitlines() == [
        "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0a 00 ff  |Hello, world!...|",
        "00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
        "*",
        "00000050  65 6e 64                                          |end|",
        "00000053",
    ]


def test_a_hexdump_says_what_it_left_out() -> None:
    lines = hexdump(bytes(range(64)), start=0x100, most=16).splitlines()
    assert lines[0].startswith("00000100  00 01")
    assert lines[1:] == ["00000110  … 48 bytes more"]
    assert all(len(line) <= 78 for line in hexdump(bytes(range(256))).splitlines())


def test_what_a_real_server_makes_of_a_hyperloglog_and_a_bitmap(server) -> None:
    client = server.client(protocol=2)
    client.pfadd("few", *range(100))
    client.pfcount("few")
    client.pfadd("many", *range(20_000))
    client.setbit("bits", 1000, 1)
    few, many = look(client.get("few")), look(client.get("many"))
    assert few.data == {"encoding": "sparse", "cardinality": client.pfcount("few")}
    assert (many.format, many.data["encoding"], many.damaged) == ("hyperloglog", "dense", None)
    assert look(client.get("many")[:-1]).damaged
    assert "As a bitmap: 1 of 1,008 bits set" in look(client.get("bits")).notes
