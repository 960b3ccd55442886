"""Escaping: harmless to look at, and exact to read back."""

from __future__ import annotations

import unicodedata

import pytest
from hostile import NAMES, SINGLE_BYTES
from hypothesis import given
from hypothesis import strategies as st

from cachectl.output.escape import (
    escape,
    escape_formula,
    escape_lines,
    escape_text,
    escape_unencodable,
    unescape,
)

HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")


def harmful(text: str, allowed: str = " ") -> list[str]:
    return [c for c in text if unicodedata.category(c) in HARMFUL and c not in allowed]


@pytest.mark.parametrize("name", [*SINGLE_BYTES, *NAMES], ids=lambda name: repr(name[:20]))
def test_names_come_back_and_are_harmless(name: bytes) -> None:
    shown = escape(name)
    assert unescape(shown) == name
    assert harmful(shown) == []
    assert shown == shown.strip()


@given(st.binary())
def test_every_name_comes_back(name: bytes) -> None:
    assert unescape(escape(name)) == name


@given(st.text())
def test_every_text_becomes_one_harmless_line_that_comes_back(text: str) -> None:
    shown = escape_text(text)
    assert harmful(shown) == []
    if not harmful(text, allowed="".join(c for c in text if unicodedata.category(c) != "Cs")):
        assert unescape(shown) == text.encode()


@given(st.binary(), st.sampled_from(["ascii", "latin-1", "utf-8", "cp1252"]))
def test_every_name_fits_every_encoding_and_comes_back(name: bytes, encoding: str) -> None:
    shown = escape_unencodable(escape(name), encoding)
    assert unescape(shown.encode(encoding).decode(encoding)) == name


@given(st.binary())
def test_no_name_begins_a_formula_and_it_still_comes_back(name: bytes) -> None:
    shown = escape_formula(escape(name))
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape(shown) == name


def test_every_character_of_unicode() -> None:
    """Nothing that moves the cursor, hides or reorders survives, in whatever it stands."""
    found = [chr(code) for code in range(0x110000) if harmful(chr(code))]
    assert len(found) > 2000
    assert [hex(ord(c)) for c in found if harmful(escape_text(f"a{c}b"))] == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"user:1", "user:1"),
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\xff", r"\xff"),
        (b"\xc2\x9b", r"\u009b"),
        ("\u202e".encode(), r"\u202e"),
        ("\U000e0041".encode(), r"\U000e0041"),
        (b"a\\b", r"a\\b"),
        (b" a b ", r"\x20a b\x20"),
        (b"   ", r"\x20\x20\x20"),
        ("cafe\u0301".encode(), "cafe\u0301"),
        ("\u0301a".encode(), "\\u0301a"),
        (("a" + "\u0301" * 6).encode(), "a" + "\u0301" * 4 + "\\u0301" * 2),
        ("日本".encode(), "日本"),
    ],
)
def test_what_a_name_looks_like(name: bytes, shown: str) -> None:
    assert escape(name) == shown


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (r"a\nb", b"a\nb"),
        (r"\r\t\a\b", b"\r\t\a\b"),
        (r"\"quoted\"", b'"quoted"'),
        (r"\'", b"'"),
        (r"\xFF\xfF", b"\xff\xff"),
        (r"\u00E9", "é".encode()),
        ("plain é", "plain é".encode()),
    ],
)
def test_unescape_takes_what_redis_cli_and_people_write(written: str, name: bytes) -> None:
    assert unescape(written) == name


@pytest.mark.parametrize(
    "written", ["\\", "a\\", r"\q", r"\x1", r"\u12", r"\ud800", r"\U00110000", r"\Uffffffff"]
)
def test_unescape_refuses_what_no_name_is_shown_as(written: str) -> None:
    with pytest.raises(ValueError, match=r"not a character|not an escaped name"):
        unescape(written)


def test_lines_keep_breaks_tabs_and_backslashes() -> None:
    assert escape_lines("a\n\tb\\c\x1b[0m\r\u202e") == "a\n\tb\\c\\x1b[0m\\x0d\\u202e"
