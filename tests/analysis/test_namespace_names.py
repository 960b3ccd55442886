"""A namespace of a scan chooses the keys that the scan counted in it."""

from __future__ import annotations

import random

import pytest

from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
from cachectl.analysis.naming.namespace_names import names
from cachectl.analysis.naming.templates import template
from cachectl.model.keys import Page


@pytest.mark.parametrize(
    ("namespace", "inside", "outside"),
    [
        (b"user:{id}", [b"user:1", b"user:1700000000"], [b"user:list", b"user:1:x", b"users:1"]),
        (b"quote:{ticker}", [b"quote:AAPL", b"quote:BRK.B"], [b"quote:all", b"quote:AAPL:1m"]),
        (b"user{id}:cart", [b"user7:cart"], [b"user:cart", b"userx:cart"]),
        (b"x:{*}:y", [b"x:a:y", b"x:1:y", b"x::y"], [b"x:a:b:y", b"x:y"]),
        (b"app_{*}", [b"app_a"], [b"app_a_b"]),
        (b"config", [b"config"], [b"config:1", b"confi"]),
        (b"h:{hex}", [b"h:" + b"0" * 32, b"h:deadbeef"], [b"h:cafe"]),
        (b"{user:{id}}:cart", [b"{user:42}:cart"], [b"user:42:cart"]),
    ],
)
def test_placeholders_stand_for_what_folds_into_them(namespace, inside, outside):
    belongs = names(namespace)
    assert [key for key in inside if not belongs(template(key))] == []
    assert [key for key in outside if belongs(template(key))] == []


def test_every_namespace_that_a_scan_shows_finds_its_keys():
    rng = random.Random(7)
    keys = [f"user:{n}:profile".encode() for n in range(300)]
    keys += [b"quote:" + bytes(rng.choices(b"ABCDEFGH", k=rng.randint(2, 5))) for _ in range(300)]
    keys += [b"session:%032x" % rng.getrandbits(128) for _ in range(300)]
    keys += [f"shard{n}:meta".encode() for n in range(40)]
    keys += [b"word:" + bytes(rng.choices(b"abcdefghij", k=6)) for _ in range(300)]
    keys = sorted(set(keys))
    accumulator = KeyspaceAccumulator("template", depth=1)
    accumulator.add(Page("n", keys))
    for namespace in accumulator.result().namespaces:
        belongs = names(namespace.namespace)
        found = sum(belongs(template(key)) for key in keys)
        assert found == namespace.keys, namespace.namespace
