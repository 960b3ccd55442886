"""Pickles: read as data where they are data, named where they are code, never run."""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import gzip
import os
import pickle
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.values.description import describe, preview

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(
    st.lists(TREES, min_size=1) | st.dictionaries(st.text(), TREES, min_size=1),
    st.sampled_from(PROTOCOLS),
)
def test_plain_data_of_every_protocol_is_read(tree: object, protocol: int) -> None:
    found = describe(pickle.dumps(tree, protocol=protocol))
    assert (found.format, found.damaged) == ("pickle", None)
    assert found.data == tree


class Cart:
    def __init__(self) -> None:
        self.owner = "Ann"
        self.lines = [1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_are_shown_by_class_and_state(protocol: int) -> None:
    value = {
        "cart": Cart(),
        "at": datetime.datetime(2026, 11, 23, 4, 35, 0, 250),
        "day": datetime.date(2026, 11, 23),
        "price": decimal.Decimal("1.50"),
        "ordered": collections.OrderedDict(a=1),
        "raw": b"\xff\x00",
        "pair": (1, 2),
    }
    found = describe(pickle.dumps(value, protocol=protocol))
    assert found.damaged is None
    assert found.data["cart"]["$class"].endswith(".Cart")
    assert found.data["cart"]["state"] == {"owner": "Ann", "lines": [1, 2]}
    assert found.data["at"]["value"] == "2026-11-23T04:35:00.000250"
    assert found.data["day"]["value"] == "2026-11-23"
    assert found.data["price"] == {"$class": "decimal.Decimal", "arguments": ["1.50"]}
    assert found.data["raw"] == {"$hex": "ff00"}
    assert found.data["pair"] == [1, 2]
    assert "decimal.Decimal" in str(found.notes)


def test_the_opcodes_are_listed() -> None:
    found = describe(pickle.dumps(["spam"], protocol=2))
    assert "  EMPTY_LIST" in (found.text or "")
    assert "BINUNICODE 'spam'" in (found.text or "")
    long = describe(pickle.dumps(list(range(1000)), protocol=2))
    assert "Opcodes, the first 100:" in (long.text or "")


def test_cachelib_puts_a_mark_before_it() -> None:
    found = describe(b"!" + pickle.dumps({"a": 1}))
    assert (found.format, found.data) == ("pickle", {"a": 1})
    assert any("cachelib" in note for note in found.notes)


def test_django_compresses_them() -> None:
    found = describe(zlib.compress(pickle.dumps({"a": 1})))
    assert (found.path, found.data) == ("zlib > pickle", {"a": 1})


def test_a_cut_off_pickle_is_damaged_and_shows_its_opcodes() -> None:
    found = describe(pickle.dumps({"a": "b"})[:-2])
    assert found.format == "pickle"
    assert "does not parse" in (found.damaged or "")
    assert "'b'" in (found.text or "")


def test_bytes_after_its_end_are_noted() -> None:
    assert "3 bytes follow its end" in describe(pickle.dumps([1]) + b"xyz").notes


@pytest.mark.parametrize(
    "value",
    [
        b"N.",
        b"The end.",
        b"a.",
        b"(.",
        b"0.",
        b"I am here.",
        b"\x80\x04.",
        b"NNNNN.",
        b"I42\n. and more.",
    ],
)
def test_a_sentence_is_no_pickle(value: bytes) -> None:
    assert describe(value).format != "pickle"


def test_a_long_pickle_is_followed_to_the_limit() -> None:
    found = describe(b"\x80\x02]" + b"N0" * 50_000 + b".")
    assert found.format == "pickle"
    assert "Only the first 20,000 opcodes were followed" in found.notes


def test_a_hostile_graph_does_not_explode() -> None:
    doubling = b"\x80\x04]\x94" + b"(h\x00h\x00h\x00h\x00h\x00e" * 2000 + b"."
    shared = b"\x80\x02X\x00\x00\x08\x00" + b"x" * (8 << 16) + b"q\x00(" + b"h\x00" * 9000 + b"l."
    long = b"\x80\x02\x8b\x00\x00\x08\x00" + b"\x7f" * (8 << 16) + b"."
    for value in (doubling, shared, long):
        found = describe(value)
        assert found.format == "pickle"
        assert found.damaged is None
        assert len(found.text or "") < 2 << 20


class Evil:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


class Evaluated(Evil):
    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"open({self.canary!r}, 'w').close()",)


def test_no_payload_ever_runs(tmp_path, monkeypatch) -> None:
    canary = str(tmp_path / "canary")
    (tmp_path / "canary_module.py").write_text(f"open({canary!r}, 'w').close()\nclass C: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    payloads = [pickle.dumps(kind(canary), p) for kind in (Evil, Evaluated) for p in PROTOCOLS]
    payloads += [
        f"ccanary_module\nC\n(tR.\ncos\nsystem\n(S'touch {canary}'\ntR.".encode(),
        f"cos\nsystem\n(S'touch {canary}'\ntR.".encode(),
        f"(S'touch {canary}'\nios\nsystem\n.".encode(),
        b"ccanary_module\nC\n)\x81.",
        b"\x80\x04\x8c\x0dcanary_module\x8c\x01C\x93)\x81.",
        f"!!python/object/apply:os.system ['touch {canary}']\n".encode(),
        f'O:4:"Evil":1:{{s:3:"cmd";s:{len(canary) + 6}:"touch {canary}";}}'.encode(),
        b"\xac\xed\x00\x05sr\x00\x11java.lang.Runtime" + canary.encode(),
        b"\x04\x08o:\x0bGem::Installer" + canary.encode(),
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{canary}">]><a>&x;</a>'.encode(),
    ]
    for payload in payloads:
        for value in (payload, gzip.compress(payload, mtime=0), b"!" + payload):
            describe(value)
            preview(value, 80)
    assert not os.path.exists(canary)
    assert "canary_module" not in sys.modules
    pickle.loads(payloads[0])  # the payload is a real one: loading it does run it
    assert os.path.exists(canary)


def test_what_a_payload_would_call_is_named() -> None:
    found = describe(pickle.dumps(Evil("/nowhere")))
    assert any(note.endswith(f"import and call: {os.system.__module__}.system")
               for note in found.notes)  # fmt: skip
    assert found.data == {"$class": f"{os.system.__module__}.system",
                          "arguments": ["touch /nowhere"]}  # fmt: skip


def test_nothing_is_ever_unpickled(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("called")

    value = pickle.dumps({"cart": Cart()})
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(builtins, "eval", refuse)
    monkeypatch.setattr(builtins, "exec", refuse)
    assert not any("defect" in note for note in describe(value).notes)
