"""What the `stats` commands share: the options of a window, waiting for it, and samples of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App
from cachectl.errors import CachectlError, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.traffic.traffic import Limits, Traffic
    from cachectl.model.counters import NodeSample
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.stats import Sampler, Samples
    from cachectl.server.topology.connect import Server

DEFAULT_WINDOW = 10.0
DEFAULT_INTERVAL = 2.0
SHORTEST = 0.1

Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        "-w",
        metavar="DURATION",
        help="How long to watch: 10s, 1m; 0 for since the last call [default: 10s]",
        show_default=False,
    ),
]
WaitedWindow = Annotated[
    str | None,
    typer.Option(
        "--window",
        "-w",
        metavar="DURATION",
        help="How long to watch: 10s, 1m [default: 10s]",
        show_default=False,
    ),
]
ShortWindow = Annotated[
    str | None,
    typer.Option(
        "--window",
        "-w",
        metavar="DURATION",
        help="How long to watch: 2s, 1m; 0 for one look [default: 2s]",
        show_default=False,
    ),
]
SinceLast = Annotated[
    bool,
    typer.Option("--since-last", help="Compare with what the last call saved; wait for nothing"),
]

Watch = Annotated[bool, typer.Option("--watch", help="Window after window, until Ctrl-C")]
Every = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="DURATION",
        help="Length of a window of --watch [default: 2s]",
        show_default=False,
    ),
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="Stop --watch after so many windows")
]


def interval_of(*, watch: bool, every: str | None, count: int | None, fixed: bool) -> float:
    """Return the seconds of a window of --watch. fixed: a window of its own was asked for.

    Raises UsageError for options that do not go together.
    """
    if watch and fixed:
        raise UsageError("--watch has windows of its own", hint="say how long with --every")
    if not watch and (every is not None or count is not None):
        raise UsageError("--every and --count belong to --watch", hint="add --watch")
    interval = DEFAULT_INTERVAL if every is None else duration("--every", every)
    if interval < SHORTEST:
        raise UsageError("--every must be 100ms or more")
    return interval


def window_of(text: str | None, since_last: bool) -> float:
    """Return the seconds to watch, 0 for since the last call. Raises UsageError."""
    if text is None:
        return 0.0 if since_last else DEFAULT_WINDOW
    seconds = duration("--window", text)
    if since_last and seconds:
        raise UsageError("--window and --since-last exclude each other", hint="give one of them")
    return seconds


def waited_window_of(text: str | None) -> float:
    """Return the seconds to watch, for what can't be saved between calls. Raises UsageError."""
    seconds = DEFAULT_WINDOW if text is None else duration("--window", text)
    if seconds < SHORTEST:
        raise UsageError(f"--window must be {SHORTEST:g} s or more")
    return seconds


def duration(option: str, text: str) -> float:
    """Return an option's duration in seconds. Raises UsageError."""
    from cachectl.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def sampler_of(
    server: Server, *, look_around: bool = True, companions: Iterable[str] = ()
) -> Sampler:
    """Return a sampler that sees our own jobs on this machine at rest."""
    from cachectl.server.introspection.stats import Sampler
    from cachectl.storage.lookups import settled

    return Sampler(server, settled, look_around=look_around, companions=companions)


def wait(app: App, seconds: float) -> KeyboardInterrupt | None:
    """Wait, with a bar for who waits long; a Ctrl-C ends it early and is returned."""
    begun = time.monotonic()
    try:
        with app.progress("watching", unit="%") as progress:
            while (left := begun + seconds - time.monotonic()) > 0:
                progress.update(100 * (1 - left / seconds), 100)
                time.sleep(min(left, 0.1))
    except KeyboardInterrupt as interruption:
        return interruption
    return None


@dataclass(slots=True)
class Measured:
    """A window, or what a Ctrl-C has left of it. samples: its end; kinds: see Sampler.kinds."""

    result: Traffic
    samples: tuple[NodeSample, ...]
    kinds: dict[str, str] | None
    unavailable: tuple[Unavailable, ...]
    notes: list[str]
    interruption: KeyboardInterrupt | None

    @property
    def partial(self) -> bool:
        """Whether something is missing that was asked for."""
        return self.interruption is not None or bool(self.unavailable)


def measure(
    app: App, server: Server, seconds: float, job: str = "", companions: Iterable[str] = ()
) -> Measured:
    """Watch a server for so long (0: since the last call), and save the end for the next call.

    job: whose calls they are, when others are not to come in between. companions: see Sampler.
    """
    from cachectl.storage.last_sample import load_samples

    sampler = sampler_of(server, companions=companions)
    notes: list[str] = []
    interruption = None
    if seconds:
        before = list(sampler.sample().nodes)
        interruption = wait(app, seconds)
    else:
        before = list(load_samples(server_key(app, job)).values())
    after = sampler.sample()
    if not before:
        before = [at_start(sample) for sample in after.nodes]
        notes.append("no earlier call was saved: these are the figures since the server's start")
    result = compare(before, after, sampler)
    save(app, [sampler.at_the_end(sample) for sample in after.nodes], job)
    return Measured(result, after.nodes, sampler.kinds(()), after.unavailable, notes, interruption)


def finish(
    app: App,
    report: Report,
    interruption: KeyboardInterrupt | None,
    output: options.OutputFormat | None,
    fail_on: options.FailOn,
) -> None:
    """Show the report and end; after a Ctrl-C as after every Ctrl-C."""
    if interruption is not None:
        app.show(report, output)
        raise interruption
    app.finish(report, output, fail_on)


def compare(before: Sequence[NodeSample], after: Samples, sampler: Sampler) -> Traffic:
    """Return what happened between two samples of a server."""
    from cachectl.analysis.traffic.counters import window
    from cachectl.analysis.traffic.traffic import traffic
    from cachectl.server.introspection.commandstats import names_in

    starts = {sample.node: sample for sample in before}
    windows, silent = [], []
    for sample in after.nodes:
        start = starts.get(sample.node)
        result = window(start, sample) if start is not None else None
        if result is None:
            silent.append(sample.node)
        else:
            windows.append(result)
    names = dict.fromkeys(name for sample in after.nodes for name in names_in(sample.info))
    return traffic(windows, sampler.kinds(names), silent)


def at_start(sample: NodeSample) -> NodeSample:
    """Return the sample that would have been taken when the node was started."""
    from cachectl.model.counters import NodeSample

    uptime = float(sample.info.get("uptime_in_seconds", "0"))
    same = {name: sample.info[name] for name in ("run_id", "role") if name in sample.info}
    clock = None if sample.clock is None else sample.clock - max(uptime, 0.001)
    return NodeSample(sample.node, sample.at - uptime, clock, same)


def server_key(app: App, job: str = "") -> str:
    """Return what tells this server from others, for what a job saves about it."""
    target = app.target
    addresses = ",".join(sorted(map(str, target.addresses)))
    key = f"{target.name} {target.sentinel_master or ''} {addresses}"
    return f"{job} of {key}" if job else key


def save(app: App, samples: Sequence[NodeSample], job: str = "") -> None:
    """Keep the samples for the next `--since-last`; a disk that refuses is only mentioned."""
    from cachectl.storage.last_sample import save_samples

    try:
        save_samples(server_key(app, job), samples)
    except CachectlError as error:
        app.terminal.debug(f"not saved for --since-last: {error.message}")


def limits_of(app: App) -> Limits:
    """Return what the profile allows."""
    from cachectl.analysis.traffic.traffic import Limits

    thresholds = app.target.thresholds
    return Limits(
        hit_ratio=thresholds.hit_ratio,
        memory=thresholds.memory,
        fragmentation=thresholds.fragmentation,
        evicted_per_second=thresholds.evicted_per_second,
        connected_clients=thresholds.connected_clients,
        blocked_clients=thresholds.blocked_clients,
    )
