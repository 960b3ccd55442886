"""Samples of the nodes' counters: INFO, at moments when none of our own jobs is half-way.

    sampler = Sampler(server, settled)
    before = sampler.sample()
    ...
    after = sampler.sample()

A node that is lost in between is looked for where it is now: after a failover another process
answers, which its run id tells. INFO counts no look-up; what the sampling itself adds to commands
and errors is in `asked`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial

from cachectl.errors import AuthenticationError, CachectlError, CannotConnectError
from cachectl.model.counters import NodeSample, OwnWork
from cachectl.model.findings import Unavailable
from cachectl.server.introspection.asked import Ask, Asked, plainly
from cachectl.server.introspection.commandstats import kinds_of
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.parallel import run_all
from cachectl.server.wire.connection import ConnectionLostError, NodeConnection
from cachectl.server.wire.info import Info, number, parse_info
from cachectl.server.wire.login import CLIENT_NAME
from cachectl.server.wire.resp import ReplyError, as_text

Settled = Callable[[str], AbstractContextManager[OwnWork]]
"""Run id → a context in which our own jobs at that node are at rest, with what they have added."""

MAX_LISTED = 1000
"""Clients up to which CLIENT LIST is asked for besides: it takes the server a few µs each."""
REFUSED = "the counters"
"""What is missing of a node that answers, but not to this login."""
_PATIENCE = 3.0
_FOLLOW = 5.0
"""Seconds between two looks at who the primaries of a cluster are."""


def unwatched(run_id: str) -> AbstractContextManager[OwnWork]:
    """Return a context for who has no jobs."""
    del run_id
    return nullcontext(OwnWork())


@dataclass(frozen=True, slots=True)
class Samples:
    """One sample a node, in the order of the primaries, and what could not be had."""

    nodes: tuple[NodeSample, ...]
    unavailable: tuple[Unavailable, ...] = ()


class Sampler:
    """Takes samples of one server.

    look_around: also list clients that are cachectl elsewhere; companions: addresses of further
    connections of ours, which are not. asked: counts what is sent for it; whoever asks the nodes
    for more lets it count that too.
    """

    def __init__(
        self,
        server: Server,
        settled: Settled = unwatched,
        *,
        look_around: bool = True,
        companions: Iterable[str] = (),
    ) -> None:
        self._server = server
        self._settled = settled
        self._look_around = look_around
        self._companions = frozenset(companions)
        self.asked = Asked()
        for node in server.primaries:
            self.asked.opened(node.name, node.connection.opening)
        self._kinds: dict[str, str] = {}
        self._kinds_refused = False
        self._followed = time.monotonic()
        self._layout: tuple[str, ...] = ()

    def sample(self) -> Samples:
        """Ask every primary at once. Raises CachectlError when none could be asked."""
        self._follow()
        nodes = list(self._server.primaries)
        results = run_all([partial(self._of_node, node) for node in nodes])
        taken = [result for result in results if isinstance(result, NodeSample)]
        errors = [
            (node, result)
            for node, result in zip(nodes, results, strict=True)
            if isinstance(result, CachectlError)
        ]
        if not taken:
            raise errors[0][1]
        gaps = [_gap(node, error) for node, error in errors]
        return Samples(tuple(taken), (*self._server.unavailable, *gaps))

    def at_the_end(self, sample: NodeSample) -> NodeSample:
        """Return a sample for another process to compare with, which counts its questions from 0.

        What was asked here since the sample was taken counts as asked there.
        """
        now = self.asked.of(sample.node)
        return replace(
            sample,
            asked={name: sample.asked.get(name, 0) - count for name, count in now.calls.items()},
            refused={
                code: sample.refused.get(code, 0) - count for code, count in now.refused.items()
            },
        )

    def kinds(self, names: Iterable[str]) -> dict[str, str] | None:
        """Return name of a command → read, write or other (see commandstats.kinds_of).

        Asked once a name; None when this login may not ask.
        """
        new = [name for name in names if name not in self._kinds]
        if new and not self._kinds_refused:
            connection = self._server.primaries[0].connection
            found = kinds_of(connection, new, self.asked.pipeline) if connection.is_open else {}
            self._kinds_refused = found is None
            self._kinds |= found or {}
        return None if self._kinds_refused else self._kinds

    def _follow(self) -> None:
        """See now and then whether a cluster has other primaries than those we know.

        CLUSTER INFO tells by the epoch and the number of primaries with slots whether it is worth
        reading the whole map; a login that may not ask reads the map each time.
        """
        now = time.monotonic()
        if self._server.slot_map is None or now - self._followed < _FOLLOW:
            return
        self._followed = now
        with suppress(CannotConnectError):
            before, self._layout = self._layout, self._layout_now()
            if self._layout != before or not self._layout:
                self._server.refresh()

    def _layout_now(self) -> tuple[str, ...]:
        connection = self._server.primaries[0].connection
        reply = self.asked.pipeline(connection, [("CLUSTER", "INFO")])[0]
        if isinstance(reply, ReplyError):
            return ()
        info = parse_info(reply)
        return info.get("cluster_current_epoch", ""), info.get("cluster_size", "")

    def _of_node(self, node: Node) -> NodeSample:
        try:
            if node.connection.is_open:
                sample = self._ask(node)
                if sample.info.get("role") == "slave" and node.facts.role == "primary":
                    # It was demoted: whoever took its place is asked from now on.
                    node = self._reopened(node)
                    return self._ask(node)
                return sample
        except ConnectionLostError:
            pass
        return self._ask(self._reopened(node))

    def _reopened(self, node: Node) -> Node:
        fresh = self._server.reopen(node, _PATIENCE)
        self.asked.forget(fresh.name)
        self.asked.opened(fresh.name, fresh.connection.opening)
        return fresh

    def _ask(self, node: Node) -> NodeSample:
        connection = node.connection
        with self._settled(node.facts.run_id) as own:
            asked = self.asked.of(node.name)
            calls, refused = dict(asked.calls), dict(asked.refused)
            before = time.monotonic()
            info = everything(connection, self.asked.pipeline)
            clock = (before + time.monotonic()) / 2
            at = time.time() - (time.monotonic() - clock)
        strangers = self._strangers(node, info, own) if self._look_around else {}
        return NodeSample(node.name, at, clock, info, own, calls, refused, strangers)

    def _strangers(self, node: Node, info: Info, own: OwnWork) -> dict[str, int | None]:
        clients = number(info, "connected_clients")
        if clients is None or clients > MAX_LISTED or not node.connection.local_address:
            return {}
        listed = self.asked.pipeline(node.connection, [("CLIENT", "LIST")])[0]
        if isinstance(listed, ReplyError):
            return {}
        mine = {one.connection.local_address for one in self._server.primaries}
        mine |= self._companions
        found: dict[str, int | None] = {}
        for line in listed.splitlines():
            fields = client_fields(line)
            address = fields.get("addr", "")
            if fields.get("name") == CLIENT_NAME and address not in mine | own.addresses:
                found[address] = number(fields, "tot-cmds")
        return found


def everything(connection: NodeConnection, ask: Ask = plainly) -> dict[str, str]:
    """Return all sections of INFO, or the default ones where a service offers no more.

    Raises CannotConnectError's kin; CachectlError when this login may not run INFO.
    """
    replies = ask(connection, [("INFO", "all")])
    if isinstance(replies[0], ReplyError) and replies[0].code != "NOPERM":
        replies = ask(connection, [("INFO",)])
    if isinstance(replies[0], ReplyError):
        raise info_refused(connection, replies[0])
    return parse_info(replies[0])


def info_refused(connection: NodeConnection, reply: ReplyError) -> CachectlError:
    """Return the error for a login that may not run INFO: nothing can be said without."""
    from cachectl.errors import PermissionDeniedError

    where = str(connection.address)
    return PermissionDeniedError(
        f"{where} refuses INFO, without which there are no statistics: {reply.text}",
        hint="allow it with the ACL rule +info",
        target=where,
    )


def client_fields(line: bytes) -> dict[str, str]:
    """Return the fields of one line of CLIENT LIST."""
    pairs = (pair.partition(b"=") for pair in line.split(b" "))
    return {as_text(name): as_text(value) for name, equals, value in pairs if equals}


def _gap(node: Node, error: CachectlError) -> Unavailable:
    lost = isinstance(error, CannotConnectError) and not isinstance(error, AuthenticationError)
    what = "all figures" if lost else REFUSED
    return Unavailable(what, error.message, error.hint, node.name)
