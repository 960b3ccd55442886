"""MessagePack, PHP and Java, each against bytes that another writer made."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.demo.encodings import as_msgpack
from cachectl.values.description import describe

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1), TREES, min_size=2, max_size=16))
def test_any_messagepack_map_is_read(tree: object) -> None:
    found = describe(as_msgpack(tree))
    assert found.format == "msgpack"
    assert found.data == tree


@given(st.lists(TREES, min_size=16, max_size=40))
def test_any_long_messagepack_array_is_read(tree: object) -> None:
    found = describe(as_msgpack(tree))
    assert found.format == "msgpack"
    assert found.data == tree


def test_messagepack_of_the_reference_library() -> None:
    msgpack = pytest.importorskip("msgpack")
    value = {
        "n": [1, -1, 2**40, 1.5],
        "raw": b"\xff",
        7: "int key",
        "ext": msgpack.ExtType(5, b"ab"),
        "at": msgpack.Timestamp(1_700_000_000, 500_000_000),
    }
    found = describe(msgpack.packb(value))
    assert found.format == "msgpack"
    assert found.data == {
        "n": [1, -1, 2**40, 1.5],
        "raw": {"$hex": "ff"},
        "7": "int key",
        "ext": {"$class": "extension 5", "value": "ab"},
        "at": {"$class": "timestamp", "value": "2023-11-14T22:13:20.500Z"},
    }


def test_messagepack_must_be_read_to_its_last_byte() -> None:
    value = as_msgpack({"name": "value", "list": [1, 2, 3]})
    assert describe(value).format == "msgpack"
    for other in (value[:-1], value + b"\xc0", value[:-1] + b"\xc1"):
        assert describe(other).format != "msgpack"


def test_the_beginning_of_long_messagepack_is_recognised() -> None:
    value = as_msgpack([{"id": i, "name": f"name {i}"} for i in range(100)])
    found = describe(value[:500], total=len(value))
    assert (found.format, found.layers[0].complete) == ("msgpack", False)


def test_duplicate_keys_of_a_map_are_noted() -> None:
    found = describe(b"\x82\xa1a\x01\xa1a\x02")
    assert found.data == {"a": 2}
    assert any(note.startswith("Duplicate keys: a") for note in found.notes)


def test_nesting_beyond_the_limit_is_not_read() -> None:
    assert describe(b"\x91" * 100_000 + b"\xa1a").format == "binary"


def php(value: object) -> bytes:
    """Write what PHP's serialize() writes for plain values."""
    if value is None:
        return b"N;"
    if isinstance(value, bool):
        return b"b:%d;" % value
    if isinstance(value, int):
        return b"i:%d;" % value
    if isinstance(value, float):
        return b"d:%s;" % repr(value).upper().encode()
    if isinstance(value, str):
        raw = value.encode()
        return b's:%d:"%s";' % (len(raw), raw)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return b"a:%d:{%s}" % (len(value), b"".join(php(k) + php(v) for k, v in pairs))


@given(st.lists(TREES) | st.dictionaries(st.text(), TREES, min_size=1))
def test_any_php_array_is_read(tree: object) -> None:
    found = describe(php(tree))
    assert (found.format, found.damaged) == ("php", None)
    assert found.data == without_empty_dicts(tree)


def without_empty_dicts(tree: object) -> object:
    """PHP has one kind of array: an empty dictionary comes back as an empty list."""
    if isinstance(tree, dict):
        return {key: without_empty_dicts(value) for key, value in tree.items()} or []
    return [without_empty_dicts(value) for value in tree] if isinstance(tree, list) else tree


def test_php_objects_keep_class_and_visibility() -> None:
    value = (
        b'O:8:"App\\User":5:{s:4:"name";s:4:"J\xc3\xb6r";s:6:"\0*\0age";i:5;'
        b's:12:"\0App\\User\0pw";s:1:"x";s:1:"r";R:1;s:1:"e";E:9:"Suit:Club";}'
    )
    assert describe(value).data == {
        "$class": "App\\User",
        "name": "Jör",
        "age (protected)": 5,
        "pw (private to App\\User)": "x",
        "r": {"$class": "reference", "to": 1},
        "e": {"$class": "enum Suit:Club"},
    }
    custom = describe(b'C:11:"ArrayObject":5:{x:i:0}')
    assert custom.data == {"$class": "ArrayObject", "serialized": "x:i:0"}


def test_php_sessions() -> None:
    found = describe(b'user|s:3:"bob";count|i:3;cart|a:1:{i:0;s:1:"x";}')
    assert found.format == "php-session"
    assert found.data == {"user": "bob", "count": 3, "cart": ["x"]}


@pytest.mark.parametrize(
    ("value", "offset"),
    [(b'a:2:{i:0;s:1:"x";i:1', 17), (b's:9:"short";', 12), (b'a:1:{s:1:"a";i:0;', 17)],
)
def test_broken_php_says_where(value: bytes, offset: int) -> None:
    found = describe(value)
    assert found.format == "php"
    assert found.damaged == f"looks like PHP serialize but does not parse at offset {offset}"


def test_php_numbers_that_are_not_finite() -> None:
    assert describe(b"a:2:{i:0;d:INF;i:1;d:NAN;}").data == ["Infinity", "NaN"]
    assert math.isclose(describe(b"d:1.5;").data, 1.5)


def test_igbinary_is_recognised_by_its_header() -> None:
    found = describe(b"\x00\x00\x00\x02\x14\x01\x11\x04name\x11\x03Ann")
    assert found.format == "igbinary"
    assert "name" in (found.text or "")


# Written by ObjectOutputStream of OpenJDK.
JAVA = {
    "text": "aced000574000568656c6c6f",
    "long": "aced00057372000e6a6176612e6c616e672e4c6f6e673b8be490cc8f23df0200014a000576616c75657872"
    "00106a6176612e6c616e672e4e756d62657286ac951d0b94e08b02000078700000018bcfe56800",
    "boolean": "aced0005737200116a6176612e6c616e672e426f6f6c65616ecd207280d59cfaee0200015a00057661"
    "6c7565787001",
    "double": "aced0005737200106a6176612e6c616e672e446f75626c6580b3c24a296bfb0402000144000576616c7"
    "565787200106a6176612e6c616e672e4e756d62657286ac951d0b94e08b0200007870400c000000000000",
    "date": "aced00057372000e6a6176612e7574696c2e44617465686a81014b597419030000787077080000018bcfe5"
    "680078",
    "user": "aced000573720006472455736572795b392d2c66b4090200034900036167654c00016d74000f4c6a617661"
    "2f7574696c2f4d61703b4c00046e616d657400124c6a6176612f6c616e672f537472696e673b78700000002a73720"
    "0116a6176612e7574696c2e486173684d61700507dac1c31660d103000246000a6c6f6164466163746f7249000974"
    "68726573686f6c6478703f40000000000001770800000002000000017400016b7400017678740003416e6e",
}


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("text", "java > utf8", "hello"),
        ("long", "java", "1700000000000"),
        ("boolean", "java", "true"),
        ("double", "java", "3.5"),
        ("date", "java", "2023-11-14T22:13:20Z"),
    ],
)
def test_simple_java_values_are_read(name: str, path: str, text: str) -> None:
    found = describe(bytes.fromhex(JAVA[name]))
    assert (found.path, found.text) == (path, text)


def test_java_objects_are_searched_for_classes_and_texts() -> None:
    found = describe(bytes.fromhex(JAVA["user"]))
    assert found.format == "java"
    assert "Classes: G$User, java.util.HashMap" in found.notes
    lines = (found.text or "").splitlines()
    assert "  Ann" in lines
    assert "  k" in lines


def test_a_java_text_holds_json() -> None:
    assert describe(b"\xac\xed\x00\x05t\x00\x07[1,2,3]").path == "java > json"


def test_a_java_text_that_is_too_short_is_damaged() -> None:
    assert describe(b"\xac\xed\x00\x05t\x00\x09short").damaged
