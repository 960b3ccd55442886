"""The filler's own promise: what it says it wrote is what an independent client finds."""

from __future__ import annotations

from collections import Counter

import pytest
from filling import NAMESPACES, counts, fill, keys_of
from servers import TestServer


def test_filled_server_holds_exactly_what_fill_reports(server: TestServer) -> None:
    filled = fill(server, 2_345)
    client = server.client()
    keys = set(client.scan_iter(count=1000))
    assert keys == set(keys_of(2_345))
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
        pipe.ttl(key)
    replies = pipe.execute()
    assert Counter(kind.decode() for kind in replies[::2]) == filled.by_type
    assert sum(ttl == -1 for ttl in replies[1::2]) == filled.no_ttl
    assert min(ttl for ttl in replies[1::2] if ttl != -1) >= 200


def test_same_seed_writes_the_same_values_and_another_seed_others(valkey: TestServer) -> None:
    def values(seed: int) -> list[bytes]:
        valkey.run("FLUSHALL")
        fill(valkey, 300, seed=seed)
        return [valkey.run("DUMP", key) for key in sorted(keys_of(300))]

    first = values(1)
    assert values(1) == first
    assert values(2) != first


def test_shares_are_percent_and_counts_sum_up() -> None:
    assert sum(ns.share for ns in NAMESPACES) == 100
    assert sum(counts(1_234_567).values()) == 1_234_567


def test_filling_twice_is_told(valkey: TestServer) -> None:
    fill(valkey, 100)
    valkey.run("SET", "another", 1)
    with pytest.raises(AssertionError, match="101 keys are there, not 100"):
        fill(valkey, 100)
