from __future__ import annotations

import json
import zlib
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import TestServer

from cachectl.config.target import Address, Target
from cachectl.demo import trading
from cachectl.demo.dataset import DEFAULT_KEYS, LEAST_KEYS, MOST_KEYS, Dataset, max_memory
from cachectl.demo.faults import GIANT_KEY, HOT_KEY, HOT_TTL, STORM_AFTER, Planted
from cachectl.demo.loading import load
from cachectl.errors import InternalError
from cachectl.server.wire.connection import connect

NOW = 1_800_000_000
DAY = 86_400


def fault(dataset: Dataset, name: str) -> Planted:
    return next(fault for fault in dataset.planted if fault.name == name)


def load_into(server: TestServer, keys: int, **options: Any) -> Dataset:
    target = Target(name="test", addresses=(Address("127.0.0.1", server.port),))
    with connect(target, target.addresses[0]) as connection:
        dataset = Dataset(keys, 1, int(connection.call("TIME")[0]))
        load(connection, dataset.entries(), **options)
    return dataset


# --- What is written ------------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(st.integers(LEAST_KEYS, 6_000), st.integers(0, 3))
def test_every_size_is_met_exactly_and_no_name_comes_twice(keys: int, seed: int) -> None:
    names = [entry.key for entry in Dataset(keys, seed, NOW).entries()]
    giant = names.count(GIANT_KEY)
    assert len(names) - giant + 1 == keys == len(set(names))


@pytest.mark.parametrize("keys", [LEAST_KEYS, DEFAULT_KEYS, MOST_KEYS])
def test_counts_are_positive_and_sum_up(keys: int) -> None:
    numbers = [number for _, number in Dataset(keys, 1, NOW).counts]
    assert min(numbers) > 0
    assert sum(numbers) + 2 == keys


def test_the_last_names_of_the_largest_cache_are_there() -> None:
    """Names run out of tickers, days or digits only there."""
    dataset = Dataset(MOST_KEYS, 1, NOW)
    world = dataset.world("x")
    for family, number in dataset.counts:
        assert family.key(number - 1, world) != family.key(number - 2, world)


def test_same_seed_and_time_same_cache_another_seed_another() -> None:
    def written(seed: int, now: int) -> list[tuple[object, ...]]:
        return [
            (e.key, e.value.commands, e.expires, e.idle)
            for e in Dataset(2_000, seed, now).entries()
        ]

    assert written(1, NOW) == written(1, NOW)
    assert written(1, NOW) != written(2, NOW)
    assert written(1, NOW) != written(1, NOW + 1)


def test_planted_faults_match_their_patterns_exactly() -> None:
    """A test of another command may count by pattern what it should find."""
    dataset = Dataset(10_000, 1, NOW)
    names = Counter(entry.key.decode() for entry in dataset.entries())
    assert len(dataset.planted) == 7
    for each in dataset.planted:
        matching = sum(fnmatchcase(name, each.pattern) for name in names)
        assert (matching > each.keys) if each.mixed else (matching == each.keys), each


def test_tickers_differ_and_isins_have_their_check_digit() -> None:
    tickers = [trading.ticker(i) for i in range(60_000)]
    assert len(set(tickers)) == 60_000
    assert all(name.isalpha() and name.isupper() and len(name) <= 5 for name in tickers)
    # Apple's, by the algorithm's definition: letters are numbers, each second one doubled.
    assert _luhn("US0378331005")
    assert all(_luhn(trading.isin(i)) and len(trading.isin(i)) == 12 for i in range(500))


def _luhn(isin: str) -> bool:
    digits = [int(d) for char in isin for d in str(int(char, 36))]
    doubled = [2 * d if place % 2 else d for place, d in enumerate(reversed(digits))]
    return sum(d // 10 + d % 10 for d in doubled) % 10 == 0


# --- What is on the server then -------------------------------------------------------------


def test_faults_are_on_the_server_as_planted(server: TestServer) -> None:
    """Whoever writes a command that finds a fault can rely on these figures, on every server."""
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    dataset = load_into(server, 5_000)
    client = server.client()
    keys = list(client.scan_iter(count=1000))
    assert len(keys) == 5_000

    def planted(name: str) -> list[bytes]:
        return [k for k in keys if fnmatchcase(k.decode(), fault(dataset, name).pattern)]

    def all_of(command: str, names: list[bytes]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for key in names:
            pipeline.execute_command(*command.split(), key)
        return list(pipeline.execute())

    assert set(all_of("TTL", planted("lost-ttl"))) == {-1}
    assert len(planted("lost-ttl")) == fault(dataset, "lost-ttl").keys == 250
    storm = {int(ttl) // 1000 for ttl in all_of("PTTL", planted("expiry-storm"))}
    assert max(storm) - min(storm) <= 1
    assert STORM_AFTER - 30 <= min(storm) <= STORM_AFTER
    assert client.hlen(GIANT_KEY) == 10_000
    assert client.ttl(GIANT_KEY) == -1
    assert 0 < client.ttl(HOT_KEY) <= HOT_TTL
    cold = set(planted("cold-data"))
    assert min(all_of("OBJECT IDLETIME", sorted(cold))) >= 20 * DAY
    ages = all_of("OBJECT IDLETIME", [key for key in keys if key not in cold])
    # The servers' clock of 24 bits began anew lately if a time before that became half its range.
    told = [age for age in ages if age < 2**23 - 3600]
    assert len(told) > len(ages) / 2
    assert 12 * 3600 < max(told) <= 3 * DAY + 60
    quotes = all_of("TTL", planted("wrong-tier"))
    assert sum(ttl > 19 * 3600 for ttl in quotes) == fault(dataset, "wrong-tier").keys
    assert sum(ttl <= 300 for ttl in quotes) == len(quotes) - fault(dataset, "wrong-tier").keys


def test_only_the_poisoned_json_is_poisoned(valkey: TestServer) -> None:
    dataset = load_into(valkey, 5_000)
    client = valkey.client()
    pattern = fault(dataset, "poisoned-json").pattern
    bad = []
    for key in client.scan_iter(match="account:*:summary", count=1000):
        try:
            json.loads(client.get(key), parse_constant=_refuse)
        except ValueError:
            bad.append(key)
    assert len(bad) == fault(dataset, "poisoned-json").keys
    assert all(fnmatchcase(key.decode(), pattern) for key in bad)


def _refuse(name: str) -> None:
    raise ValueError(name)


def test_three_layers_with_every_type_and_working_groups(valkey: TestServer) -> None:
    dataset = load_into(valkey, 3_000)
    client = valkey.client()
    types = Counter(client.type(key) for key in client.scan_iter(count=1000))
    assert set(types) == {b"string", b"hash", b"list", b"set", b"zset", b"stream"}
    assert {family.layer for family, _ in dataset.counts} == {"session", "application", "shared"}
    groups = {group["name"]: group for group in client.xinfo_groups("stream:orders:3")}
    assert groups[b"risk"]["pending"] == 110
    assert groups[b"risk"]["lag"] == 390
    note = client.get(next(client.scan_iter(match="research:note:*", count=1000)))
    assert b" " in zlib.decompress(note)
    without_ttl = [key for key in client.scan_iter(count=1000) if client.ttl(key) == -1]
    other = [k for k in without_ttl if not k.startswith((b"strategy:", b"queue:", b"stream:"))]
    assert other == [GIANT_KEY]


def test_a_server_that_knows_no_ages_gets_the_same_values(valkey: TestServer) -> None:
    load_into(valkey, 2_000, ages=False)
    first = {key: valkey.run("TYPE", key) for key in valkey.client().scan_iter(count=1000)}
    assert "restore" not in valkey.command_calls()
    valkey.run("FLUSHALL")
    load_into(valkey, 2_000)
    second = {key: valkey.run("TYPE", key) for key in valkey.client().scan_iter(count=1000)}
    assert first == second
    assert valkey.command_calls()["restore"] > 1_000


def test_nothing_is_evicted_by_the_memory_it_is_given() -> None:
    with servers.start("valkey-9.1", "--maxmemory-policy", "allkeys-lru") as server:
        server.run("CONFIG", "SET", "maxmemory", max_memory(30_000))
        load_into(server, 30_000)
        assert server.info("stats")["evicted_keys"] == 0
        # A server of a million keys gets as much for each key as it takes.
        assert server.info("memory")["used_memory"] < 30_000 * max_memory(10**7) / 10**7


def test_progress_is_told_and_a_refusal_is_an_error(valkey: TestServer) -> None:
    told: list[int] = []
    load_into(valkey, 2_000, on_loaded=told.append)
    assert told == sorted(told)
    assert told[-1] >= 2_000
    valkey.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    valkey.run("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(InternalError, match="refused a command: OOM"):
        load_into(valkey, 2_000)
