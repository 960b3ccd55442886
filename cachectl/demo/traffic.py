"""Background traffic, so that hits, misses, idle times and clients are those of a living cache.

Three clients read around the cache (look, on a miss compute and write), with popularity after
Zipf and about 85 % hits; quotes, books, sessions, counters, queues and streams are written; one key
is read by everyone, and each time it expires all of them compute it at once.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from cachectl.demo import faults
from cachectl.demo.application_layer import (
    API_ORDERS,
    BOOKS,
    PORTFOLIO_VALUES,
    QUEUES,
    QUOTES,
    STREAMS,
    order,
)
from cachectl.demo.dataset import Dataset
from cachectl.demo.entries import Entry, written
from cachectl.demo.families import MINUTE, Family, World
from cachectl.demo.faults import HOT_KEY, HOT_TTL
from cachectl.demo.session_layer import RATES, SESSIONS
from cachectl.demo.shared_layer import HISTORY
from cachectl.errors import CannotConnectError
from cachectl.server.wire.connection import connect
from cachectl.server.wire.resp import Argument

if TYPE_CHECKING:
    from cachectl.config.target import Target
    from cachectl.server.wire.connection import NodeConnection

READS_A_SECOND = 240
_TICK = 0.05
_CLIENTS = ("web-1", "web-2", "pricing-1")

_HOT_SHARE = 0.2
_NEW_SHARE = 0.155
"""Of the reads: keys that are not there yet. What has expired misses besides."""
_NEW_KEYS = 500_000
_COMPUTING = 0.5
"""Seconds that computing the hot key takes; who asks meanwhile misses and computes it too."""
_ZIPF = 1.1

Command = tuple[Argument, ...]

# Family → how its keys are read: what stands before and after the key.
_READS: tuple[tuple[Family, Command, Command], ...] = (
    (QUOTES, ("HGETALL",), ()),
    (BOOKS, ("ZRANGE",), (0, 9)),
    (PORTFOLIO_VALUES, ("GET",), ()),
    (API_ORDERS, ("GET",), ()),
    (SESSIONS, ("GET",), ()),
    (HISTORY, ("GET",), ()),
)
# Whose keys beyond the loaded ones are asked for as well.
_GROWING = (PORTFOLIO_VALUES, API_ORDERS)


class Traffic:
    """Traffic from a thread of its own, for the body of a `with`. reads: a second."""

    def __init__(self, target: Target, dataset: Dataset, *, reads: int = READS_A_SECOND) -> None:
        self._target = target
        self._dataset = dataset
        self._reads_a_tick = max(1, round(reads * _TICK))
        self._random = Random(f"{dataset.seed}/traffic")  # noqa: S311
        self._count = dict(dataset.counts)
        self._popular = [_Popular(family, self._count[family]) for family, *_ in _READS]
        self._computing: list[float] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-traffic", daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        clients: list[NodeConnection] = []
        try:
            for name in _CLIENTS:
                client = connect(self._target, self._target.addresses[0])
                clients.append(client)
                # Unlike cachectl itself, an application does touch what it reads.
                client.pipeline([("CLIENT", "NO-TOUCH", "OFF"), ("CLIENT", "SETNAME", name)])
            self._serve(clients)
        except CannotConnectError:
            # The server has gone; whoever waits for its end says so.
            pass
        finally:
            for client in clients:
                client.close()

    def _serve(self, clients: Sequence[NodeConnection]) -> None:
        turn = 0
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            # After a pause (a laptop that slept) it goes on at its pace, and does not catch up.
            due = max(due + _TICK, time.monotonic())
            client = clients[turn % len(clients)]
            turn += 1
            world = World(self._random, int(time.time()))
            self._read(client, world)
            self._write(client, world)

    # --- Reads around the cache ---------------------------------------------------------------

    def _read(self, client: NodeConnection, world: World) -> None:
        """Look for a few keys, and write those that are missing."""
        hot = sum(world.random.random() < _HOT_SHARE for _ in range(self._reads_a_tick))
        wanted = [self._choose(world) for _ in range(self._reads_a_tick - hot)]
        commands: list[Command] = [("GET", HOT_KEY)] * hot
        for place, number in wanted:
            family, before, after = _READS[place]
            commands.append((*before, family.key(number, world), *after))
        replies = client.pipeline(commands)
        misses = [
            self._dataset.entry(_READS[place][0], number, world)
            for (place, number), reply in zip(wanted, replies[hot:], strict=True)
            if not reply
        ]
        _send(client, misses + self._recomputed(replies[:hot].count(None), world))

    def _choose(self, world: World) -> tuple[int, int]:
        """Return which of _READS, and the number of the key."""
        place = world.random.randrange(len(_READS))
        popular = self._popular[place]
        if popular.family in _GROWING and world.random.random() < self._new_share:
            return place, popular.count + world.random.randrange(_NEW_KEYS)
        return place, popular.choose(world.random)

    @property
    def _new_share(self) -> float:
        return _NEW_SHARE / (1 - _HOT_SHARE) * len(_READS) / len(_GROWING)

    def _recomputed(self, misses: int, world: World) -> list[Entry]:
        """Begin to compute the hot key once for each miss; return the results that are due."""
        now = time.monotonic()
        self._computing.extend([now + _COMPUTING] * misses)
        done = sum(due <= now for due in self._computing)
        del self._computing[:done]
        if not done:
            return []
        entry = Entry(HOT_KEY, faults.hot_value(world), (world.now + HOT_TTL) * 1000)
        return [entry] * done

    # --- Writes of their own ------------------------------------------------------------------

    def _write(self, client: NodeConnection, world: World) -> None:
        """Write what an application writes without being asked."""
        random, dataset = world.random, self._dataset
        quote, book = (
            dataset.entry(family, random.randrange(self._count[family]), world)
            for family in (QUOTES, BOOKS)
        )
        login = self._count[SESSIONS] + random.getrandbits(32)
        # A book is written anew; ZADD alone would make it longer each time.
        client.pipeline([("UNLINK", book.key)])
        _send(client, [quote, book, dataset.entry(SESSIONS, login, world)])
        counter = RATES.key(random.randrange(self._count[RATES]), world)
        orders = STREAMS.key(random.randrange(STREAMS.number), world)
        fields = [part for pair in order(world).items() for part in pair]
        queue = QUEUES.key(random.randrange(QUEUES.number), world)
        client.pipeline(
            [
                ("INCR", counter),
                ("EXPIRE", counter, MINUTE),
                ("XADD", orders, "MAXLEN", "~", 5000, "*", *fields),
                ("XREADGROUP", "GROUP", "risk", "risk-1", "COUNT", 1, "STREAMS", orders, ">"),
                ("RPUSH", queue, b'{"job":"var"}'),
                ("LPOP", queue),
            ]
        )


class _Popular:
    """Draws the keys of a family by Zipf's law: a few are asked for again and again."""

    def __init__(self, family: Family, count: int) -> None:
        self.family = family
        self.count = count
        self._weights = list(accumulate(1 / rank**_ZIPF for rank in range(1, count + 1)))

    def choose(self, random: Random) -> int:
        """Return the number of a key."""
        return min(bisect(self._weights, random.random() * self._weights[-1]), self.count - 1)


def _send(client: NodeConnection, entries: Sequence[Entry]) -> None:
    if entries:
        client.send(b"".join(written(entry) for entry in entries))
        client.receive(sum(entry.commands for entry in entries))
