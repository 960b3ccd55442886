"""What commands that listen to events share: which are on, switching on what is not, the feed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli.context import App
from cachectl.cli.interruptions import Interruptions
from cachectl.cli.stats import measuring
from cachectl.errors import CannotConnectError, RefusedError, UsageError

if TYPE_CHECKING:
    from cachectl.actions.notifying import NodeState, Notifications
    from cachectl.analysis.events.cost import EventCost
    from cachectl.analysis.events.keyevents import EventTally, EventWindow, Kind
    from cachectl.model.events import EventBatch
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.events.events import EventFeed, EventItem
    from cachectl.server.topology.connect import Server

Enable = Annotated[
    bool,
    typer.Option("--enable", help="Switch on what is off, and put the setting back at the end"),
]

_OFF = "events from then on"
_SHARE = 0.1
"""Seconds after which what has been heard is counted, at the latest."""


@dataclass(slots=True)
class Heard:
    """A server that is listened to, window by window.

    kinds: what it publishes of what was asked for; unsure: those of which nobody can read whether
    it does; problems: what could not be put back, known at the end. also: what besides counting
    is done with each batch of a window.
    """

    app: App
    server: Server
    feed: EventFeed
    tally: EventTally
    interruptions: Interruptions
    kinds: list[Kind]
    unsure: frozenset[Kind] = frozenset()
    unavailable: list[Unavailable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    also: Callable[[EventBatch], None] | None = None
    _begun: float = 0.0

    def begin(self) -> None:
        """Begin the first window."""
        self._look()
        with self.interruptions.held():
            self.tally.begin(self.feed.take_to_mark())
        self._begun = time.monotonic()

    def listen(self, seconds: float) -> None:
        """Count what happens for so long. A Ctrl-C passes through; nothing that came is lost."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.feed.wait(min(left, _SHARE))
            with self.interruptions.held():
                self._take(self.feed.take(0))

    def end(self) -> EventWindow:
        """End the window, and begin the next."""
        with self.interruptions.held():
            self._take(self.feed.take_to_mark())
        now = time.monotonic()
        seconds, self._begun = now - self._begun, now
        before = self.tally.published
        self._look()
        for node, kinds in self.tally.published.items():
            off = sorted(before.get(node, frozenset()) - kinds)
            if off:
                self.unavailable.append(_switched_off(node, off))
        window = self.tally.end(seconds)
        self._doubt(window)
        return window

    def _doubt(self, window: EventWindow) -> None:
        """Say so, once, when INFO counts what never comes of a node whose setting is not known."""
        for node in window.nodes:
            counted = sum(node.counted.get(kind, 0) for kind in self.unsure)
            silent = not any((*node.counts.values(), *node.elsewhere.values()))
            gap = _seems_off(node.node)
            if counted and silent and gap not in self.unavailable:
                self.unavailable.append(gap)

    def _take(self, items: Sequence[EventItem]) -> None:
        from cachectl.model.events import EventBatch

        for item in items:
            self.tally.add(item)
            if self.also is not None and isinstance(item, EventBatch):
                self.also(item)

    def known(self, window: EventWindow) -> list[Kind]:
        """Return the kinds of which a count of 0 says that there were none."""
        counts = window.counts
        return [kind for kind in self.kinds if counts[kind] or kind not in self.unsure]

    def _look(self) -> None:
        """Note what every node publishes now: somebody may have changed it."""
        from cachectl.actions.notifying import states
        from cachectl.analysis.events.keyevents import kinds_without, letters_of

        try:
            state = states(self.server, letters_of(self.kinds))
        except CannotConnectError:
            return  # whoever does not answer is a gap already
        self.tally.published = {
            one.node: frozenset()
            if one.setting is None
            else frozenset(self.kinds).difference(
                *kinds_without(self.kinds, one.missing + one.hidden)
            )
            for one in state
        }

    @property
    def incomplete(self) -> bool:
        """Whether something was switched off meanwhile, or could not be put back."""
        return bool(self.problems) or any(one.what.startswith(_OFF) for one in self.unavailable)

    def finish(self, report: Report) -> None:
        """Add to a report, after the context has ended, what could not be put back."""
        report.partial = report.partial or self.incomplete
        report.notes = [*report.notes, *self.problems]


@contextmanager
def heard(
    app: App,
    server: Server,
    kinds: Sequence[Kind],
    *,
    enable: bool = False,
    named: bool = False,
    yes: bool = False,
    confirm: str | None = None,
    labels: Sequence[str] = (),
) -> Iterator[Heard]:
    """Listen to events of these kinds, switched on where that is asked for and confirmed.

    named: the user named the kinds, so that all of them are meant, whatever they cost. labels: of
    the tally. Raises RefusedError when nothing of it is published.
    """
    from cachectl.actions.notifying import Notifications, states
    from cachectl.actions.planning.guards import check_target
    from cachectl.analysis.events.keyevents import EventTally, Kind, letters_of, names_of
    from cachectl.server.events.events import EventFeed

    with ExitStack() as stack:
        notes: list[str] = []
        problems: list[str] = []
        state = states(server, letters_of(kinds))
        if enable and any(_is_wanting(one) for one in state):
            check_target(server)  # before anything is measured for it
            # Who names the kinds and does not want to be asked needs no prediction.
            cost = None if named and yes else _traffic(app, server)
            meant = list(kinds) if named or cost is None else cost.affordable(kinds)
            wanted = letters_of(meant)
            state = states(server, wanted)
            if any(_is_wanting(one) for one in state):
                _ask(app, server, state, _costs(server, cost, meant), yes, confirm)
                switched = Notifications(server, wanted)
                stack.enter_context(_put_back_for_sure(app, switched, problems))
                state = states(server, letters_of(kinds))
                notes += _changes(switched)
        published, gaps = _published(kinds, state, enable)
        if not published:
            raise _all_off(server, state, letters_of(kinds))
        unsure = frozenset[Kind]()
        if any(one.setting is None for one in state):
            unsure = frozenset(published)
        elif Kind.NEW in published and not enable and any("n" in one.hidden for one in state):
            unsure = frozenset({Kind.NEW})
            notes.append(
                "whether new keys are published can't be read: CONFIG GET hides n beside A"
            )
        feed = stack.enter_context(EventFeed(server, names_of(published)))
        held = stack.enter_context(Interruptions())
        tally = EventTally(labels=labels)
        one = Heard(app, server, feed, tally, held, published, unsure, gaps, notes, problems)
        one.begin()
        yield one


def _is_wanting(state: NodeState) -> bool:
    """Whether something has to be switched on, or may have to be."""
    return state.setting is None or bool(state.missing or state.hidden)


@contextmanager
def _put_back_for_sure(
    app: App, switched: Notifications, problems: list[str]
) -> Iterator[Notifications]:
    """Switch on and put back; a Ctrl-C or SIGTERM waits until either is done."""
    with Interruptions() as interruptions:
        try:
            with interruptions.held():
                switched.__enter__()
            yield switched
        finally:
            with interruptions.held():
                switched.put_back()
                problems += switched.problems
                for problem in switched.problems:
                    app.terminal.warn(problem)
                if switched.changes and not switched.problems:
                    for node, (before, _now) in switched.changes.items():
                        app.terminal.say(f"notify-keyspace-events of {node} is {before!r} again")


def _seems_off(node: str) -> Unavailable:
    from cachectl.model.findings import Unavailable

    return Unavailable(
        "events",
        "INFO counted some meanwhile, and none came: it seems not to publish them",
        "--enable switches them on while it runs, with a login that may +config|get +config|set",
        node,
    )


def _switched_off(node: str, kinds: Sequence[Kind]) -> Unavailable:
    from cachectl.model.findings import Unavailable

    return Unavailable(
        f"{_OFF}: {', '.join(kinds)}",
        "somebody has switched them off meanwhile (notify-keyspace-events)",
        "--enable switches them on while it runs",
        node,
    )


def _traffic(app: App, server: Server) -> EventCost:
    """Watch the traffic for a second, to predict what events of it cost."""
    from cachectl.analysis.events.cost import event_cost

    sampler = measuring.sampler_of(server, look_around=False)
    before = sampler.sample().nodes
    interruption = measuring.wait(app, 1.0)
    if interruption is not None:
        raise interruption
    return event_cost(measuring.compare(before, sampler.sample(), sampler))


def _costs(server: Server, cost: EventCost | None, kinds: Sequence[Kind]) -> str:
    if cost is None:
        return ""
    cores = cost.cores(kinds)
    share = f", {cores / cost.cpu:.1%} more than now" if cost.cpu >= 0.01 else ""
    return (
        f" At the traffic of this second, this costs {server.target.name} about {cores:.1%} of a "
        f"core{share}."
    )


def _ask(
    app: App,
    server: Server,
    state: Sequence[NodeState],
    costs: str,
    yes: bool,
    confirm: str | None,
) -> None:
    from cachectl.output.confirm import confirm as confirmed
    from cachectl.output.confirm import confirm_by_name

    lines = [
        f"On {one.node}, notify-keyspace-events is {one.setting!r}: "
        f"{one.missing}{one.hidden} will be added"
        for one in state
        if one.missing or one.hidden
    ]
    lines.append(f"for as long as this runs, and the setting put back.{costs}")
    question = "\n".join(lines)
    if server.target.environment == "production" or confirm is not None:
        confirm_by_name(app.terminal, question, name=server.target.name, given=confirm)
    else:
        confirmed(app.terminal, f"{question} Go on?", yes=yes)


def _changes(switched: Notifications) -> list[str]:
    return [
        f"notify-keyspace-events of {node} was {before!r}; while this ran it was {now!r}"
        for node, (before, now) in switched.changes.items()
    ]


def _published(
    kinds: Sequence[Kind], state: Sequence[NodeState], enabled: bool
) -> tuple[list[Kind], list[Unavailable]]:
    """Return the kinds of which some node publishes something, and what is missing of the rest."""
    from cachectl.analysis.events.keyevents import kinds_without, letters_of
    from cachectl.model.findings import Unavailable

    gaps = []
    on: set[Kind] = set()
    for one in state:
        if one.setting is None:
            on |= set(kinds)
            gaps.append(
                Unavailable(
                    "the setting of events",
                    "this login may not read notify-keyspace-events: a kind of which none is seen "
                    "may be off",
                    "allow it with the ACL rule +config|get",
                    one.node,
                )
            )
            continue
        none, some = kinds_without(kinds, one.missing)
        on |= set(kinds) - set(none)
        for which, how in ((none, ""), (some, "part of the ")):
            if which:
                letters = "".join(c for c in letters_of(which) if c in one.missing)
                gaps.append(
                    Unavailable(
                        f"{how}events: {', '.join(which)}",
                        f"notify-keyspace-events is {one.setting!r}, without {letters}",
                        _remedy(which, enabled=enabled),
                        one.node,
                    )
                )
    return [kind for kind in kinds if kind in on], gaps


def _remedy(kinds: Sequence[Kind], *, enabled: bool) -> str:
    if enabled:
        return f"they would cost the server too much unasked: --events {','.join(kinds)} insists"
    return "--enable switches them on while it runs"


def _all_off(server: Server, state: Sequence[NodeState], letters: str) -> RefusedError:
    from cachectl.actions.notifying import MANAGED

    setting = next((one.setting for one in state if one.setting is not None), "")
    return RefusedError(
        f"{server.target.name} publishes no such events: notify-keyspace-events is {setting!r}",
        hint=f"--enable switches them on while it runs; for good: CONFIG SET "
        f"notify-keyspace-events {letters}; {MANAGED}",
        target=server.target.name,
    )


def kinds_of(text: str | None) -> tuple[list[Kind], bool]:
    """Return the kinds that `--events` names, and whether it names any. Raises UsageError."""
    from cachectl.analysis.events.keyevents import KINDS

    if text is None:
        return list(KINDS), False
    if text == "all":
        return list(KINDS), True
    words = [word.strip() for word in text.split(",")]
    known = {kind.value: kind for kind in KINDS}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise UsageError(
            f"--events: there is no kind {unknown[0]!r}", hint=f"choose from {', '.join(known)}"
        )
    return [kind for kind in KINDS if kind.value in words], True
