from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cachectl.config import yamlfile
from cachectl.config.yamlfile import Position, load_bytes, load_file
from cachectl.errors import ConfigError

CANARY = "s3cr3t-canary"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with libyaml's scanner and with PyYAML's own."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yamlfile, "_LOADER", getattr(yaml, request.param))


def load(text: str) -> Any:
    return load_bytes(text.encode(), "file.yaml").data


def refusal(content: str | bytes) -> ConfigError:
    content = content.encode() if isinstance(content, str) else content
    with pytest.raises(ConfigError) as caught:
        load_bytes(content, "file.yaml")
    assert CANARY not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert caught.value.target == "file.yaml"
    return caught.value


# --- What is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y")),
        *(("12:30:45", "12:30:45"), ("0123", "0123"), ("1_000", "1_000"), ("0x1F", "0x1F")),
        *(("0o17", "0o17"), ("2026-01-01", "2026-01-01"), ("+5", "+5"), (".5", ".5")),
        *((".inf", ".inf"), (".nan", ".nan"), ("1e3", 1000.0), ("-1.5E-2", -0.015)),
        *(("0", 0), ("-7", -7), ("6379", 6379), ("true", True), ("False", False)),
        *(("null", None), ("~", None), ("", None), ('"true"', "true"), ("'12'", "12")),
        *(("|\n  a\n  b\n", "a\nb\n"), ('"\\x1b"', "\x1b"), ("a#b", "a#b"), ("é", "é")),
    ],
)
def test_a_plain_scalar_means_what_it_means_in_json(text: str, value: Any) -> None:
    assert load(f"key: {text}") == {"key": value}
    assert type(load(f"key: {text}")["key"]) is type(value)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert load("1: a\non: b\n~: c\n10.0.0.1:6379: d\n") == {
        "1": "a",
        "on": "b",
        "~": "c",
        "10.0.0.1:6379": "d",
    }


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert load("<<: {a: 1}") == {"<<": {"a": 1}}


UNPRINTED = "".join(map(chr, range(0x7F, 0xA0))) + "\u2028\u2029\ufeff\ufffe\uffff"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters=UNPRINTED)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcé-1: #", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_json_is_yaml(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert load_bytes(text.encode(), "file.yaml").data == value


def test_an_empty_file_is_none() -> None:
    assert load("") is None
    assert load("# only a comment\n") is None


def test_positions() -> None:
    document = load_bytes(b"a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "file.yaml")
    assert document.keys[("a",)] == Position(1, 1)
    assert document.keys[("a", "c")] == Position(3, 3)
    assert document.keys[("a", "c", 1)] == Position(5, 7)
    assert document.keys[("a", "c", 1, "d")] == Position(5, 8)
    assert document.values[("a", "b")] == Position(2, 6)
    assert document.position(("a", "c", 1, "missing")) == Position(5, 7)
    assert document.position(("missing",)) == Position(1, 1)


def test_lines_count_as_editors_do() -> None:
    document = load_bytes(b"a: 1\r\nb: 2\rc: 3\nd: 4", "file.yaml")
    assert [document.keys[(key,)].line for key in "abcd"] == [1, 2, 3, 4]


# --- What is refused --------------------------------------------------------------------------

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (BOMB, 1, "anchor"),
        ("a: 1\nb: *a\n", 2, "alias"),
        ("a: 1\n&x b: 2\n", 2, "anchor"),
        (f"a: 1\nb: !!python/object/apply:os.system ['echo {CANARY}']\n", 2, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("a: ! 1\n", 1, "tag"),
        ("--- !!map\na: 1\n", 1, "tag"),
        (f"a: !{CANARY}!x 1\n", 1, "tag"),
        ("a: 1\nb: 2\na: 3\n", 3, "`a` a second time"),
        ('a: {x: 1,\n "x": 2}\n', 2, "`x` a second time"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("? [a]\n: 1\n", 1, "not plain text"),
        (b"\xef\xbb\xbfa: 1\n", 1, "byte order mark"),
        ("a: 1\nb: \ufeff2\n", 2, "byte order mark"),
        ("a: 1\n".encode("utf-16"), 1, "UTF-16"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"a: 1\n\nb: x\x00y\n", 3, "NUL"),
        ("a: 1\nb: \x1b[2J\n", 2, r"control character U\+001B"),
        ("a: 1\nb: \u2028\n", 2, r"U\+2028"),
        ("a: 1\nb: \x85\n", 2, r"U\+0085"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("\ta: 1\n", 1, "tab"),
        ("a: |\n\tx\n", 2, "tab"),
        (f"a: 1\nb: '{CANARY}\nc: 2\n", 2, "quote that is never closed"),
        (f'a: "{CANARY}\\q"\n', 1, "unknown escape"),
        (f"a: [1, {CANARY}\nb: 3\n", 1, "bracket"),
        ('a: 1\nb: "\\ud83d\\ude00"\n', 2, "unknown escape"),
        ("a: @x\n", 1, "special character"),
        (f"a: {CANARY}: c\n", 1, "`:` where none can be"),
        (f"a: 1\npassword:{CANARY}\nb: 2\n", 2, "no `:` and blank"),
        ("- a\nb: 1\n", 2, "indented differently"),
        ("a:\n  b: 1\n c: 2\n", 3, "indented differently"),
        (f"a: 1{'0' * 5000}\n", 1, "too long"),
        ("a: 1e999\n", 1, "too large"),
        ("x: " + "[" * 60 + "]" * 60, 1, "nested more than 50"),
        ("{x: " * 60 + "}" * 60, 1, "nested more than 50"),
    ],
)
def test_refusals_name_the_line(content: str | bytes, line: int, says: str) -> None:
    error = refusal(content)
    assert error.message.startswith(f"file.yaml, line {line}: ")
    assert error.exit_code == 2
    with pytest.raises(ConfigError, match=says):
        raise error


def test_a_second_field_says_where_the_first_is() -> None:
    assert "line 2" in str(refusal("x: 1\na: 1\nb: 2\na: 3\n").hint)


def test_deep_nesting_neither_recurses_nor_takes_long() -> None:
    begin = time.monotonic()
    for opening in ("[", "{a: ", "- "):
        refusal(opening * 100_000)
    assert time.monotonic() - begin < 5


@given(st.binary(max_size=60) | st.text("ab:-#'\"[]{}&*!|>%@`,?~\n\t 1", max_size=40))
def test_any_bytes_are_data_or_a_config_error(content: bytes | str) -> None:
    content = content.encode() if isinstance(content, str) else content
    try:
        load_bytes(content, "file.yaml")
    except ConfigError as error:
        message = error.message
    else:
        return
    assert message.startswith("file.yaml, line ")


# --- Files ------------------------------------------------------------------------------------


def test_a_file_of_100_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=r"big.yaml is larger than 1024 KiB .*line 1"):
        load_file(path)
    assert time.monotonic() - begin < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_the_limit_is_the_last_size_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"a: 1 #")
    assert load_file(path, max_bytes=6).data == {"a": 1}
    with pytest.raises(ConfigError, match="larger"):
        load_file(path, max_bytes=5)


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_file(path)
    for path in (tmp_path / "none.yaml", Path("nul\x00byte")):
        with pytest.raises(ConfigError, match="cannot read"):
            load_file(path)
