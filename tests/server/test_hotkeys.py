"""HOTKEYS as the documentation of Redis 8.6 and Valkey 9.2 has it, through a proxy that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from proxies import Command, Proxy, bulk, error
from servers import TestServer
from targets import target_of

from cachectl.analysis.traffic.hotkeys import ranked
from cachectl.server.introspection.hotkeys import (
    CountedKey,
    KeyRanking,
    NoHotkeysError,
    hotkeys,
    parse_rates,
    parse_session,
)
from cachectl.server.topology.connect import open_server

# The example of redis.io/commands/hotkeys-get.
SESSION: list[Any] = [
    *(b"tracking-active", 1, b"sample-ratio", 1, b"selected-slots", []),
    *(b"all-commands-all-slots-us", 220, b"net-bytes-all-commands-all-slots", 200),
    *(b"collection-start-time-unix-ms", 1769420604522, b"collection-duration-ms", 6408),
    *(b"total-cpu-time-user-ms", 3, b"total-cpu-time-sys-ms", 11),
    *(b"by-cpu-time-us", [b"x", 104, b"y", 98, b"z", 18]),
]


def as_map(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def changed(**fields: Any) -> list[Any]:
    """Return the example with other values; names with _ for -."""
    found = as_map(SESSION) | {
        name.replace("_", "-").encode(): value for name, value in fields.items()
    }
    return [part for pair in found.items() for part in pair]


@pytest.mark.parametrize("shape", [list, as_map, lambda flat: [flat], lambda flat: [as_map(flat)]])
def test_a_session_whatever_its_shape(shape: Callable[[list[Any]], Any]) -> None:
    found = parse_session("n", shape(SESSION))
    assert found == KeyRanking(
        "n",
        {"cpu": (CountedKey(b"x", 104), CountedKey(b"y", 98), CountedKey(b"z", 18))},
        {"cpu": 220, "network": 200},
        seconds=6.408,
    )
    assert [(one.key, one.share) for one in ranked([found])] == [
        (b"x", 104 / 220),
        (b"y", 98 / 220),
        (b"z", 18 / 220),
    ]


def test_figures_of_a_sample_are_those_of_all() -> None:
    """redis#15837: with SAMPLE 4 the figures by key are a fourth of the totals beside them."""
    reply = changed(sample_ratio=4, by_cpu_time_us=[b"x", 26, b"y", 20], by_net_bytes=[b"x", 40])
    found = parse_session("n", reply)
    assert found.by == {
        "cpu": (CountedKey(b"x", 104), CountedKey(b"y", 80)),
        "network": (CountedKey(b"x", 160),),
    }
    assert found.sampled == 0.25
    (first, _) = ranked([found])
    assert (first.share, first.network) == (104 / 220, 0.8)


def test_a_server_that_has_mended_that_is_not_corrected_again() -> None:
    reply = changed(sample_ratio=4, by_cpu_time_us=[b"x", 104, b"y", 98])
    assert parse_session("n", reply).by["cpu"][0].amount == 104


def test_selected_slots_have_a_total_of_their_own() -> None:
    reply = changed(selected_slots=[[0, 100]], all_commands_selected_slots_us=110)
    assert parse_session("n", reply).totals["cpu"] == 110


def test_entries_of_valkey_in_both_protocols() -> None:
    flat = [[b"key", b"a", b"db", 0, b"qps", 120], [b"key", b"b", b"db", 2, b"qps", 7]]
    expected = (CountedKey(b"a", 120, 0), CountedKey(b"b", 7, 2))
    assert parse_rates(flat) == parse_rates([as_map(one) for one in flat]) == expected


@pytest.mark.parametrize("reply", [None, [], {}, [b"odd"], b"text", [[1, 2]]])
def test_odd_answers_are_no_keys(reply: Any) -> None:
    assert parse_session("n", reply).by == {}
    if isinstance(reply, list):
        assert parse_rates(reply) == ()


def packed(value: Any) -> bytes:
    """Return a reply as RESP2."""
    if value is None:
        return b"*-1\r\n"
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(packed, value)))
    return b":%d\r\n" % value if isinstance(value, int) else bulk(value)


class Sessions:
    """A Redis 8.6, as far as HOTKEYS goes."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.counting: bool | None = None

    def __call__(self, command: Command) -> bytes:
        self.calls.append([bytes(word) for word in command[1:]])
        match command[1].upper():
            case b"START":
                self.counting = True
            case b"STOP":
                self.counting = False
            case b"RESET":
                self.counting = None
            case b"GET":
                return packed(None if self.counting is None else SESSION)
        return b"+OK\r\n"


def ask(proxy: Proxy, rate: float = 100.0, wait: Callable[[], None] = lambda: None) -> KeyRanking:
    with open_server(target_of(proxy)) as server:
        node = server.primaries[0]
        return hotkeys(node, node.connection, 5.0, rate, wait)


def test_a_session_is_begun_ended_and_thrown_away(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy, redis = start_proxy(any_server), Sessions()
    proxy.answer("HOTKEYS", redis)
    assert ask(proxy).by["cpu"][0] == CountedKey(b"x", 104)
    words = [call[0] for call in redis.calls]
    assert words == [b"GET", b"START", b"STOP", b"GET", b"RESET"]
    assert b" ".join(redis.calls[1]) == b"START METRICS 2 CPU NET COUNT 64 DURATION 10"


def test_a_busy_server_counts_only_some(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy, redis = start_proxy(any_server), Sessions()
    proxy.answer("HOTKEYS", redis)
    ask(proxy, rate=100_000)
    assert redis.calls[1][-2:] == [b"SAMPLE", b"5"]


def test_a_session_ends_when_the_waiting_fails(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy, redis = start_proxy(any_server), Sessions()
    proxy.answer("HOTKEYS", redis)

    def wait() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(proxy, wait=wait)
    assert redis.counting is None


def test_somebody_elses_session_is_shown_and_left_alone(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy, redis = start_proxy(any_server), Sessions()
    redis.counting = True
    proxy.answer("HOTKEYS", redis)
    assert ask(proxy).foreign
    assert [call[0] for call in redis.calls] == [b"GET"]


def test_valkey_that_counts(valkey: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(valkey)
    entries = [[b"key", b"a", b"db", 0, b"qps", 1200]]
    proxy.answer("HOTKEYS", packed(entries))
    proxy.answer(
        "CONFIG GET",
        packed([b"hotkeys-top-k", b"16", b"hotkeys-sampling-percentage", b"50"]),
    )
    found = ask(proxy)
    assert found.by == {"rate": (CountedKey(b"a", 1200, 0),)}
    assert (found.sampled, found.seconds) == (0.5, 1.0)


def test_valkey_that_does_not_count(valkey: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(valkey)
    proxy.answer("HOTKEYS", packed([]))
    proxy.answer("CONFIG GET", packed([b"hotkeys-top-k", b"0"]))
    with pytest.raises(NoHotkeysError) as refusal:
        ask(proxy)
    assert refusal.value.gap.reason == "counting them is off"
    assert refusal.value.gap.remedy == "CONFIG SET hotkeys-top-k 16"


def test_servers_without_it(server: TestServer) -> None:
    with open_server(target_of(server)) as opened:
        node = opened.primaries[0]
        with pytest.raises(NoHotkeysError) as refusal:
            hotkeys(node, node.connection, 0.1, 1.0, lambda: None)
    assert refusal.value.gap.reason == "it has no HOTKEYS"


def test_a_login_that_may_not(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(any_server)
    proxy.answer("HOTKEYS", error("NOPERM User ro has no permissions to run 'hotkeys|get'"))
    with pytest.raises(NoHotkeysError) as refusal:
        ask(proxy)
    assert refusal.value.gap.remedy == "allow it with the ACL rule +hotkeys"
