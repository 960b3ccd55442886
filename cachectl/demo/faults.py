"""The sick part of the demo's cache: what the other commands are there to find.

Each fault is a family of its own, so that its keys are exactly known.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from cachectl.demo import entries, trading
from cachectl.demo.application_layer import quote
from cachectl.demo.encodings import as_gzip, as_json, as_pickle
from cachectl.demo.entries import Entry, Value
from cachectl.demo.families import DAY, HOUR, MINUTE, Family, World, price

STORM_AFTER = 10 * MINUTE
"""Seconds from loading to the second in which the storm's keys expire together."""

HOT_KEY = b"md:index:SPX"
HOT_TTL = 30
GIANT_KEY = b"positions:all"

_VOCABULARY = (
    "margin liquidity spread duration coupon yield hedge exposure earnings guidance revenue "
    "inventory demand pricing volume outlook estimate quarter consensus momentum sector rating"
)


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted fault.

    name: its slug. namespace: the template of its keys. pattern: a glob that matches them, and
    healthy keys too where `mixed`. keys: how many are ill. about: what is wrong, in a sentence.
    """

    name: str
    namespace: str
    pattern: str
    keys: int
    about: str
    mixed: bool = False


def _backtest(i: int, world: World) -> Value:
    returns = [round(world.random.gauss(0, 0.01), 5) for _ in range(120)]
    result = {"strategy": trading.strategy(i), "from": "2019-01-01", "returns": returns}
    return entries.string(as_pickle(result))


def _report(i: int, world: World) -> Value:
    desk = ("equities", "rates", "credit", "commodities")[i % 4]
    profit = round(world.random.gauss(0, 1e6), 2)
    report = {"desk": desk, "pnl": profit, "var_95": round(abs(profit) / 7, 2), "breaches": i % 3}
    return entries.string(as_json(report))


def _note(i: int, world: World) -> Value:
    del i
    text = " ".join(world.random.choices(_VOCABULARY.split(), k=700))
    return entries.string(zlib.compress(text.encode()))


def _account(i: int, world: World) -> Value:
    return entries.string(_summary(i, world.random))


def _summary(i: int, random: Random) -> bytes:
    summary = {"account": 70_001 + i, "cash": price(random) * 100, "margin": i % 5 == 0}
    return as_json(summary | {"limits": {"order": 10_000, "day": 250_000}})


def _poisoned(i: int, world: World) -> Value:
    good = _summary(i, world.random)
    poisons = (
        good[: len(good) // 2],  # cut off by a writer that died
        b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        good.replace(b'"', b"'"),  # repr() in place of json.dumps()
        good.replace(b"false", b"NaN").replace(b"true", b"NaN"),
        b"",
    )
    return entries.string(poisons[i % len(poisons)])


def _giant(fields: int, world: World) -> Iterator[Value]:
    """Yield the hash in parts: one command of all its fields would block the server."""
    step = 2_000
    sizes = [world.random.randrange(9_000) for _ in range(997)]
    for start in range(0, fields, step):
        numbers = range(start, min(start + step, fields))
        yield entries.hash_of(
            {f"{1 + n}:{trading.ticker(n % 900)}": sizes[n % len(sizes)] for n in numbers}
        )


def hot_value(world: World) -> Value:
    """Return the hot key's value: the level of an index with its members, dear to compute."""
    members = {trading.ticker(n): price(world.random) for n in range(500)}
    level = sum(members.values())
    return entries.string(as_gzip(as_json({"index": "SPX", "level": level, "members": members})))


LOST_TTL = Family(
    "strategy:{name}:backtest:{id}",
    "application",
    lambda i, _: f"strategy:{trading.strategy(i)}:backtest:{9001 + i}",
    _backtest,
    None,
    share=50,
    idle=(0, 3 * DAY),
    distinct=15 * len(trading.STRATEGIES),
)
STORM = Family(
    "report:eod:{id}",
    "application",
    lambda i, _: f"report:eod:{30_001 + i}",
    _report,
    None,  # by STORM_AFTER
    share=40,
    distinct=200,
)
COLD = Family(
    "research:note:{uuid}",
    "shared",
    lambda i, _: f"research:note:{trading.uuid(i + 2**34)}",
    _note,
    (20 * DAY, 40 * DAY),
    share=40,
    idle=(20 * DAY, 60 * DAY),
    distinct=120,
)
ACCOUNTS = Family(
    "account:{id}:summary",
    "session",
    lambda i, _: f"account:{70_001 + i}:summary",
    _account,
    (HOUR, 4 * HOUR),
    share=20,
)
POISONED = Family(
    "account:{id}:summary",
    "session",
    lambda i, _: f"account:{95_000_001 + i}:summary",
    _poisoned,
    (HOUR, 4 * HOUR),
    share=2,
)
WRONG_TIER = Family(
    "md:quote:{ticker}",
    "application",
    lambda i, _: f"md:quote:{trading.ticker(i + 200_000)}",
    quote,
    (20 * HOUR, DAY),
    share=2,
)

FAMILIES = (LOST_TTL, STORM, COLD, ACCOUNTS, POISONED, WRONG_TIER)


def planted(total: int) -> tuple[Planted, ...]:
    """Return what is planted in a cache of `total` keys."""
    return (
        Planted(
            "lost-ttl",
            LOST_TTL.namespace,
            "strategy:*:backtest:*",
            LOST_TTL.keys_of(total),
            "a deploy dropped the TTL: these never go",
        ),
        Planted(
            "expiry-storm",
            STORM.namespace,
            "report:eod:*",
            STORM.keys_of(total),
            "loaded together with one TTL: all expire in the same second",
        ),
        Planted(
            "giant-hash",
            GIANT_KEY.decode(),
            GIANT_KEY.decode(),
            1,
            f"one hash of {giant_fields(total):,} fields",
        ),
        Planted(
            "poisoned-json",
            POISONED.namespace,
            "account:9500*:summary",
            POISONED.keys_of(total),
            "values that are no JSON: cut off, an error page, repr(), NaN, empty",
        ),
        Planted(
            "cold-data",
            COLD.namespace,
            "research:note:*",
            COLD.keys_of(total),
            "nobody has read these for 20 to 60 days",
        ),
        Planted(
            "wrong-tier",
            WRONG_TIER.namespace,
            "md:quote:*",
            WRONG_TIER.keys_of(total),
            "quotes that live for a day where five minutes are meant",
            mixed=True,
        ),
        Planted(
            "stampede",
            HOT_KEY.decode(),
            HOT_KEY.decode(),
            1,
            f"everyone reads it, it lives for {HOT_TTL} s, and all compute it at once",
        ),
    )


def giant_fields(total: int) -> int:
    """Return the number of fields of the giant hash: 200,000 in the demo of usual size."""
    return min(200_000, 2 * total)


def single_keys(total: int, world: World) -> Iterator[Entry]:
    """Yield the faults that are one key each; the giant one in parts, with the same key."""
    yield Entry(HOT_KEY, hot_value(world), (world.now + HOT_TTL) * 1000)
    for part in _giant(giant_fields(total), world):
        yield Entry(GIANT_KEY, part, None)
