"""What `check` does: measure, look at keys where a check is about keys, hold it against ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import AuthenticationError, CachectlError, CannotConnectError

if TYPE_CHECKING:
    from cachectl.analysis.health.checks import Limits, Measurement
    from cachectl.config.target import CheckRanges, Thresholds
    from cachectl.model.counters import NodeSample
    from cachectl.model.findings import Unavailable, Verdict
    from cachectl.output.report import Report
    from cachectl.policy import Policy
    from cachectl.server.introspection.latency import Probe
    from cachectl.server.topology.connect import Server

PROBED = 1.0
"""Seconds of round trips where no window is waited for: 200 of them."""
_ALWAYS = (
    *("hit_ratio", "latency", "memory", "fragmentation", "evictions", "expirations"),
    *("connected_clients", "blocked_clients", "keys"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for. names: of checks, none means those that make sense; seconds: of the
    window, 0 for since the last call; sample: keys to look at."""

    names: tuple[str, ...]
    skipped: frozenset[str]
    limits: Mapping[str, Limits]
    seconds: float
    sample: int
    policy: Policy | None


def ranges_of(
    thresholds: Thresholds, policy: Policy | None
) -> dict[str, tuple[str | None, str | None]]:
    """Return name of a check → (warn, critical): of the policy, and of the profile before it.

    A plain threshold that is the default says nothing: the policy may know better.
    """
    found: dict[str, tuple[str | None, str | None]] = {}
    if policy is not None:
        found = {
            f"share:{rule.name}": (_digits(100 * rule.max_memory_share), None)
            for rule in policy.rules
            if rule.max_memory_share is not None
        }
        found |= policy.thresholds
    for given in (_plain(thresholds), thresholds.checks):
        for name, ranges in given.items():
            warn, critical = found.get(name, (None, None))
            found[name] = (ranges.warn or warn, ranges.critical or critical)
    return found


def _plain(thresholds: Thresholds) -> dict[str, CheckRanges]:
    """Return the plain thresholds that are not the defaults, as ranges of the checks' units."""
    from cachectl.config.target import CheckRanges, Thresholds

    found = {}
    for name, (field, scale, end) in _PLAIN.items():
        value = getattr(thresholds, field)
        if value is not None and value != getattr(Thresholds(), field):
            found[name] = CheckRanges(_digits(scale * value) + end)
    return found


_PLAIN = {
    "hit_ratio": ("hit_ratio", 100, ":"),
    "latency": ("latency_p99", 1, ""),
    "memory": ("memory", 100, ""),
    "fragmentation": ("fragmentation", 1, ""),
    "evictions": ("evicted_per_second", 1, ""),
    "connected_clients": ("connected_clients", 1, ""),
    "blocked_clients": ("blocked_clients", 1, ""),
    "replication_lag": ("replica_lag", 1, ""),
}
"""Check → the plain threshold of a profile, what it is multiplied by, and how the range ends."""


def _digits(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def run(app: App, server: Server, asked: Asked) -> tuple[Report, KeyboardInterrupt | None]:
    """Return the report. Raises CannotConnectError when a server is lost that nobody can reach."""
    from cachectl.analysis.health.checks import judged
    from cachectl.output.verdicts import overall
    from cachectl.views.health.check import Checked, check_report
    from cachectl.views.stats.window import correction, events

    look = _Look(app, server, asked)
    measurements = list(look.measurements())
    result = judged(measurements, look.limits())
    verdicts = [*look.out_of_reach(), *result.verdicts]
    measured = look.measured
    told = server.warnings if app.terminal.muted else ()
    notes = [text for text in told if text not in server.gap_warnings]
    notes += measured.notes if measured else []
    if measured:
        notes += [*correction(measured.result), *events(measured.result)]
    checked = Checked(
        verdicts,
        overall(verdicts),
        round(measured.result.totals.seconds, 3) if measured else None,
        look.infos,
    )
    report = check_report(
        checked,
        server.facts,
        app.target.name,
        unavailable=[*look.unavailable, *result.unavailable],
        notes=notes,
        partial=look.partial,
    )
    return report, measured.interruption if measured else None


def unreachable(app: App, error: CannotConnectError) -> Report:
    """Return the report on a server that could not be asked at all.

    A server that is down is CRITICAL; a login that it refuses says nothing about the cache.
    """
    from cachectl.model.findings import State, Unavailable, Verdict
    from cachectl.views.health.check import CONNECT, Checked, check_report

    refused = isinstance(error, AuthenticationError)
    state = State.UNKNOWN if refused else State.CRITICAL
    verdict = Verdict(CONNECT, state, error.message)
    gap = Unavailable("all checks", error.message, error.hint, error.target)
    return check_report(
        Checked([verdict], state), None, app.target.name, unavailable=[gap], partial=True
    )


class _Look:
    """One run: what was measured, and what could not be."""

    def __init__(self, app: App, server: Server, asked: Asked) -> None:
        self._app = app
        self._server = server
        self._asked = asked
        self.measured: measuring.Measured | None = None
        self.refused: CachectlError | None = None
        self.samples: tuple[NodeSample, ...] = ()
        self.unavailable: list[Unavailable] = []

    @property
    def partial(self) -> bool:
        """Whether nodes are missing, or somebody was impatient."""
        return bool(self._server.unavailable) or (
            self.measured is not None and self.measured.partial
        )

    def out_of_reach(self) -> Iterator[Verdict]:
        """Yield what nodes that can't be reached, or asked, amount to."""
        from cachectl.model.findings import State, Verdict
        from cachectl.server.introspection.stats import REFUSED
        from cachectl.views.health.check import CONNECT

        for gap in dict.fromkeys((*self._server.unavailable, *self.unavailable)):
            state = State.UNKNOWN if gap.what == REFUSED else State.CRITICAL
            where = f" on {gap.node}" if gap.node and gap.node not in gap.reason else ""
            yield Verdict(CONNECT, state, f"{gap.what}{where}: {gap.reason}")

    @property
    def infos(self) -> dict[str, Mapping[str, str]]:
        """Node → INFO at the end of the window."""
        return {sample.node: sample.info for sample in self.samples}

    def limits(self) -> Mapping[str, Limits]:
        """Return the ranges, with what the server's policy adds to them."""
        from cachectl.analysis.health.checks import Limits, limits_for
        from cachectl.ranges import parse_range

        given = dict(self._asked.limits)
        policies = {info.get("maxmemory_policy") for info in self.infos.values()}
        memory = limits_for("memory", given)
        if "noeviction" in policies and memory.critical is None:
            # Nothing makes room there: what is full refuses writes.
            given["memory"] = Limits(memory.warn, parse_range(FULL))
        return given

    def measurements(self) -> Iterator[Measurement]:
        """Measure everything that was asked for, in the order of the checks."""
        from cachectl.analysis.health.checks import CHECKS, kind_of

        probes = self._watch()
        found = {one.name: one for one in self._of_server(probes)}
        names = self._names()
        for name in names:
            if kind_of(name) == "backlog":
                found[name] = self._backlog(name)
        found |= {one.name: one for one in self._of_keys(names)}
        order = list(CHECKS)
        for name in sorted(names, key=lambda name: (order.index(kind_of(name)), name)):
            yield found[name]

    def _wants(self, name: str) -> bool:
        asked = self._asked
        return name not in asked.skipped and (not asked.names or name in asked.names)

    def _names(self) -> list[str]:
        """Return the checks to report: those asked for, or those that make sense here."""
        from cachectl.analysis.health.gauging import has_replication, persists

        asked = self._asked
        if asked.names:
            names = list(asked.names)
        else:
            names = [*_ALWAYS, *asked.limits, *self._of_policy()]
            if any(map(has_replication, self.infos.values())):
                names.append("replication_lag")
            if any(persists(info, self._saves.get(n)) for n, info in self.infos.items()):
                names.append("persistence_age")
        return [name for name in dict.fromkeys(names) if name not in asked.skipped]

    def _of_policy(self) -> list[str]:
        """Return the checks that a policy has something to say on."""
        policy = self._asked.policy
        if policy is None:
            return []
        names = ["ttl_violations", "storms"]
        # Without NO-TOUCH reading a value makes it look used: not unless asked for by name.
        leaves_no_trace = all(node.connection.no_touch for node in self._server.primaries)
        if leaves_no_trace and any(rule.value for rule in policy.rules):
            names.append("poisoned")
        return names

    def _watch(self) -> list[Probe]:
        """Wait for the window, with round trips measured meanwhile; keep what INFO says."""
        from cachectl.cli.stats.measuring_latency import probing

        seconds = self._asked.seconds
        nothing: AbstractContextManager[list[Probe]] = nullcontext([])
        with probing(self._server) if self._wants("latency") else nothing as probes:
            try:
                self.measured = measuring.measure(
                    self._app, self._server, seconds, "check", [probe.address for probe in probes]
                )
            except CannotConnectError:
                raise
            except CachectlError as error:
                self.refused = error
            if probes and (self.refused or not seconds):
                measuring.wait(self._app, PROBED)
        if self.measured:
            self.samples = self.measured.samples
            self.unavailable += self.measured.unavailable
        self._saves = self._settings()
        return probes

    def _settings(self) -> dict[str, str | None]:
        from cachectl.server.introspection.settings import settings_of
        from cachectl.server.topology.parallel import run_all

        nodes = [node for node in self._server.primaries if node.connection.is_open]
        results = run_all([partial(settings_of, node, ("save",)) for node in nodes])
        return {
            node.name: None if isinstance(one, CachectlError) else one.values.get("save")
            for node, one in zip(nodes, results, strict=True)
        }

    def _of_server(self, probes: list[Probe]) -> Iterator[Measurement]:
        from cachectl.analysis.health import gauging
        from cachectl.analysis.health.checks import Measurement
        from cachectl.model.findings import Unavailable
        from cachectl.server.topology.replication import lag_of

        yield self._latency(probes)
        if self.measured is None:
            assert self.refused is not None  # noqa: S101 - one or the other
            for name in (*_ALWAYS, "replication_lag", "persistence_age"):
                if name != "latency":
                    gap = Unavailable(name, self.refused.message, self.refused.hint)
                    yield Measurement(name, None, gap.reason, gap=gap)
            return
        yield from gauging.of_traffic(self.measured.result)
        lags = {node: lag_of(info) for node, info in self.infos.items()}
        yield gauging.of_replication(self.infos, lags)
        yield gauging.of_persistence(
            {one.node: (one.info, _clock(one)) for one in self.samples}, self._saves
        )

    def _latency(self, probes: list[Probe]) -> Measurement:
        from cachectl.analysis.health.gauging import of_latency
        from cachectl.analysis.traffic.latency import distribution, without_delays
        from cachectl.model.findings import Unavailable

        lost = [probe for probe in probes if probe.error is not None]
        gap = None
        if lost and lost[0].error is not None:
            gap = Unavailable("latency", lost[0].error.message, lost[0].error.hint, lost[0].node)
        trips = {p.node: distribution(without_delays(p.trips, p.delays)) for p in probes}
        return of_latency(trips, gap)

    def _backlog(self, name: str) -> Measurement:
        from cachectl.analysis.health.checks import Measurement, subject_of
        from cachectl.model.findings import Unavailable
        from cachectl.server.introspection.backlog import backlog_of

        key, group = _key_and_group(subject_of(name))
        try:
            found = backlog_of(self._server, key, group)
        except CachectlError as error:
            gap = Unavailable(name, error.message, error.hint, error.target)
            return Measurement(name, None, gap.reason, gap=gap)
        if found.gap is not None:
            gap = Unavailable(name, found.gap.reason, found.gap.remedy)
            return Measurement(name, None, gap.reason, gap=gap)
        waiting = found.waiting or 0
        text = f"{waiting:,} {'entry waits' if waiting == 1 else 'entries wait'} in a {found.type}"
        if found.type == "none":
            text = "there is no such key: nothing waits"
        if found.pending:
            text += f", {found.pending:,} are given out and not acknowledged"
        return Measurement(name, float(waiting), text)

    def _of_keys(self, names: list[str]) -> Iterator[Measurement]:
        from cachectl.analysis.health.checks import OF_KEYS, kind_of

        wanted = [name for name in names if kind_of(name) in OF_KEYS]
        if not wanted:
            return
        from cachectl.cli.health.checking_keys import measure_keys

        yield from measure_keys(self._server, wanted, self._asked.policy, self._asked.sample)


FULL = "95"
"""Percent of maxmemory at which a server that evicts nothing is about to refuse writes."""


def _clock(sample: NodeSample) -> float:
    """Return the server's own time of a sample, in Unix seconds; ours where it does not say."""
    usec = sample.info.get("server_time_usec", "")
    return int(usec) / 1e6 if usec.isdigit() else sample.at


def _key_and_group(subject: str) -> tuple[bytes, bytes | None]:
    r"""Return the key and the group that `KEY@GROUP` names; `\x40` is an @ of the name itself."""
    from cachectl.output.escape import unescape

    key, at, group = subject.rpartition("@")
    try:
        return (unescape(key), unescape(group)) if at else (unescape(subject), None)
    except ValueError:
        raw = subject.encode("utf-8", "surrogateescape")
        name, mark, rest = raw.rpartition(b"@")
        return (name, rest) if mark else (raw, None)
