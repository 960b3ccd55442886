"""What `doctor` does: look at everything once, and gather what could not be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import CachectlError, CannotConnectError

if TYPE_CHECKING:
    from cachectl.analysis.doctor.facts import Facts, Group, NodeState, Part
    from cachectl.analysis.doctor.names import Names
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.analysis.keyspace.sampling import SampledSummary
    from cachectl.analysis.keyspace.summary import KeyspaceSummary
    from cachectl.model.findings import Finding, Unavailable
    from cachectl.model.keys import Page
    from cachectl.model.servers import UserRights
    from cachectl.output.progress import Progress
    from cachectl.policy import Policy
    from cachectl.server.introspection.latency import Probe
    from cachectl.server.scanning.sample import Sample
    from cachectl.server.topology.connect import Server
    from cachectl.server.topology.node import Node

ALL = 200_000
"""Keys that are all read, where there are no more: a single giant among them is found."""
MANY = 20_000
"""Keys that are drawn where there are more, and that their names and TTLs are judged by."""
TOLD = 3
"""Storms that are told: `ttl storms` shows all."""
_STEPS = 5
"""What is done with the keys, for the progress bar."""
_OF_OURS = frozenset({"stats.busy_client"})
"""What says something about this machine, and nothing about the cache."""


class Examination:
    """One look at a server. Afterwards: what was measured, and whether parts are missing."""

    def __init__(
        self,
        app: App,
        server: Server,
        seconds: float,
        sample: int | None,
        policy: Policy | None = None,
        policy_file: str | None = None,
    ) -> None:
        self._app = app
        self._policy = policy
        self._policy_file = policy_file
        self._server = server
        self._seconds = seconds
        self._wanted = sample
        self._missing: dict[Part, Unavailable] = {}
        self._reported: dict[str, Sequence[Finding]] = {}
        self.measured: measuring.Measured | None = None
        self.drawn: Sample | None = None

    @property
    def interruption(self) -> KeyboardInterrupt | None:
        """The Ctrl-C that ended the window early."""
        return self.measured.interruption if self.measured else None

    @property
    def partial(self) -> bool:
        """Whether nodes are missing, or somebody was impatient."""
        nodes = bool(self._server.unavailable) or bool(self.drawn and self.drawn.errors)
        return nodes or (self.measured is not None and self.measured.partial)

    def facts(self) -> Facts:
        """Look, and return what there is to know. Raises CannotConnectError."""
        from cachectl.analysis.doctor.facts import Facts, Part

        self._watch()
        states = self._states()
        self._evictions(states)
        self._slow()
        self._clients()
        user, dangerous, default = self._rights()
        names: Names | None = None
        groups: Sequence[Group] = ()
        if self.interruption is None:
            with self._app.progress("examining keys", unit="steps") as progress:
                names, groups = self._keys(progress)
        else:
            self._miss(Part.KEYS, "interrupted before any key was looked at")
        target = self._server.target
        return Facts(
            nodes=states,
            topology=target.topology,
            local=all(_is_local(node) for node in self._server.primaries),
            encrypted=target.tls is not None,
            production=target.environment == "production",
            user=user,
            default_user=default,
            open_door=self._door(),
            dangerous=dangerous,
            replica_lag=target.thresholds.replica_lag,
            names=names,
            namespaces=groups,
            reported=self._reported,
            missing=self._missing,
        )

    def _miss(self, part: Part, reason: str, remedy: str | None = None) -> None:
        from cachectl.model.findings import Unavailable

        self._missing.setdefault(part, Unavailable(str(part), reason, remedy))

    def _watch(self) -> None:
        """Watch for the window, and take the findings of what was measured in it."""
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.memory.settings import settings_findings
        from cachectl.analysis.traffic import commandmix, traffic
        from cachectl.cli.stats.measuring_latency import probing
        from cachectl.model.counters import MemorySample

        with probing(self._server) as probes:
            try:
                self.measured = measuring.measure(
                    self._app,
                    self._server,
                    self._seconds,
                    "doctor",
                    [probe.address for probe in probes],
                )
            except CannotConnectError:
                raise
            except CachectlError as error:
                measuring.wait(self._app, self._seconds)
                for part in (Part.INFO, Part.TRAFFIC):
                    self._miss(part, error.message, error.hint)
        self._latency(probes)
        if self.measured is None:
            return
        result, kinds = self.measured.result, self.measured.kinds
        limits = measuring.limits_of(self._app)
        self._reported["memory"] = [
            finding
            for sample in self.measured.samples
            for finding in settings_findings(MemorySample(sample.node, sample.info))
        ]
        self._reported["stats"] = traffic.findings(result, limits)
        self._reported["commands"] = commandmix.findings(commandmix.command_mix(result, kinds))

    def _latency(self, probes: Sequence[Probe]) -> None:
        from cachectl.analysis.doctor.facts import Part
        from cachectl.cli.stats.measuring_latency import judged, read_facts

        facts, _ = read_facts(self._server)
        found, views, _ = judged(self._app, probes, facts)
        if not any(view.trips.count for view in views):
            self._miss(Part.LATENCY, "no round trip could be measured")
        self._reported["latency"] = [one for one in found if one.id not in _OF_OURS]

    def _evictions(self, states: Sequence[NodeState]) -> None:
        """Judge what the policy may evict, and what it evicts."""
        from cachectl.analysis.events.eviction_advice import findings
        from cachectl.analysis.events.evictions import AgeSample, node_pressure

        if self.measured is None:
            return
        settings = {state.node: state.settings for state in states}
        nodes = []
        for node in self.measured.result.nodes:
            one = node.window
            evicted = one.counts.get("evicted") or 0
            known = settings.get(one.node, {})
            nodes.append(
                node_pressure(one.node, one.before, one.after, (), evicted, one.seconds, known)
            )
        self._reported["evictions"] = findings(nodes, AgeSample(), None)

    def _slow(self) -> None:
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.traffic.slowest import findings, slow_shapes
        from cachectl.cli.stats.measuring_slow import read_logs
        from cachectl.server.clock import ServerClock

        logs, gaps = read_logs(self._server)
        if gaps:
            self._miss(Part.SLOW, gaps[0].reason, gaps[0].remedy)
        now = ServerClock.of(self._server.primaries[0].connection).now() / 1000
        shapes = slow_shapes(entry for log in logs for entry in log.entries)
        limit = self._app.target.thresholds.latency_p99
        self._reported["slow"] = findings(shapes, limit=limit, now=now)

    def _clients(self) -> None:
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.traffic.clients import findings
        from cachectl.cli.stats.measuring_clients import look, node_clients

        try:
            found, gaps = look(self._server)
        except CachectlError as error:
            self._miss(Part.CLIENTS, error.message, error.hint)
            return
        if gaps:
            self._miss(Part.CLIENTS, gaps[0].reason, gaps[0].remedy)
        self._reported["clients"] = [
            finding for node in node_clients(found, found, 0.0) for finding in findings(node)
        ]

    def _states(self) -> list[NodeState]:
        """Return what each node says of itself, settings included."""
        from cachectl.analysis.doctor.facts import SETTINGS, NodeState, Part
        from cachectl.server.introspection.settings import settings_of
        from cachectl.server.rights.rights import latency_doctor
        from cachectl.server.topology.parallel import run_all
        from cachectl.server.topology.replication import lag_of

        nodes = [node for node in self._server.primaries if node.connection.is_open]
        settings = run_all([partial(settings_of, node, SETTINGS) for node in nodes])
        advice = run_all([partial(latency_doctor, node) for node in nodes])
        windows = {}
        if self.measured:
            windows = {one.window.node: one.window for one in self.measured.result.nodes}
        states = []
        for node, found, text in zip(nodes, settings, advice, strict=True):
            window = windows.get(node.name)
            info = window.after if window else node.info
            values: Mapping[str, str] = {}
            if isinstance(found, CachectlError):
                self._miss(Part.SETTINGS, found.message, found.hint)
            elif found.gap is not None:
                self._miss(Part.SETTINGS, found.gap.reason, found.gap.remedy)
            else:
                values = found.values
            states.append(
                NodeState(
                    node.name,
                    node.facts.flavour,
                    node.facts.version,
                    info,
                    values,
                    lag_of(info),
                    None if window is None else _written(window.before, info, window.seconds),
                    text if isinstance(text, str) else "",
                )
            )
        return states

    def _rights(self) -> tuple[str, Sequence[str], UserRights | None]:
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.doctor.security import DANGEROUS
        from cachectl.model.findings import Unavailable
        from cachectl.server.rights.rights import allowed_of, rights_of

        node = self._server.primaries[0]
        default = rights_of(node, "default")
        if isinstance(default, Unavailable):
            self._miss(Part.DEFAULT_USER, default.reason, default.remedy)
        user, allowed = allowed_of(node, DANGEROUS)
        if isinstance(allowed, Unavailable):
            self._miss(Part.PERMISSIONS, allowed.reason, allowed.remedy)
            allowed = []
        return user, allowed, None if isinstance(default, Unavailable) else default

    def _door(self) -> bool | None:
        from cachectl.analysis.doctor.facts import Part
        from cachectl.server.rights.rights import open_door

        answer = open_door(self._server, self._server.primaries[0])
        if answer is None:
            self._miss(Part.DOOR, "a connection without a login was not answered")
        return answer

    def _keys(self, progress: Progress) -> tuple[Names | None, Sequence[Group]]:
        """Look at a sample of the keys, or at all where there are few."""
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.doctor.names import names_of
        from cachectl.analysis.estimates.intervals import Stratum
        from cachectl.server.scanning.columns import Field
        from cachectl.server.scanning.sample import sample, thinned
        from cachectl.server.scanning.scan_types import ScanRequest

        fields = frozenset({Field.TYPE, Field.TTL, Field.BYTES, Field.IDLE})
        progress.update(0, _STEPS, "a sample of the keys")
        try:
            drawn = sample(self._server, self._sample_size(), ScanRequest(fields=fields))
        except CachectlError as error:
            for part in (Part.KEYS, Part.TTLS, Part.SIZES, Part.IDLE):
                self._miss(part, error.message, error.hint)
            return None, ()
        self.drawn = drawn
        for gap in drawn.unavailable:
            if gap.what in _PARTS:
                self._miss(Part(_PARTS[gap.what]), gap.reason, gap.remedy)
        progress.update(1, _STEPS, "giants and cold keys")
        self._reported["giants"] = _giants(drawn)
        drawn = thinned(drawn, MANY)
        strata = {node.node: Stratum(node.size, node.drawn) for node in drawn.nodes}
        self._reported["cold"] = _cold(drawn, strata)
        progress.update(2, _STEPS, "TTLs")
        self._storms(drawn, strata)
        self._audit(drawn, strata)
        progress.update(3, _STEPS, "values")
        self._poison(drawn)
        progress.update(4, _STEPS, "names")
        return names_of(drawn.pages, strata), _groups(drawn, strata, self._policy)

    def _storms(self, drawn: Sample, strata: Mapping[str, Stratum]) -> None:
        """Look for keys that expire together."""
        from cachectl.analysis.doctor.facts import Part
        from cachectl.cli.ttl.storming import forecast_of_sample
        from cachectl.views.audits.storms import finding_of

        if Part.TTLS not in self._missing and drawn.pages:
            found = forecast_of_sample(self._server, drawn.pages, strata)
            self._reported["storms"] = [
                finding_of(one, self._app.words) for one in found.storms[:TOLD]
            ]

    def _poison(self, drawn: Sample) -> None:
        """Hold values against the policy, where reading them leaves no trace."""
        from cachectl.analysis.doctor.facts import Part
        from cachectl.analysis.doctor.keydesign import of_poison
        from cachectl.cli.health.poison import poisoned

        policy = self._policy
        quiet = all(node.connection.no_touch for node in self._server.primaries)
        if policy is None or not any(rule.value for rule in policy.rules) or not quiet:
            return
        try:
            found = poisoned(self._server, policy, drawn.pages)
        except CachectlError as error:
            self._miss(Part.VALUES, error.message, error.hint)
            return
        self._reported["poisoned"] = [
            of_poison(one.rule, one.count, found.read, one.problem, one.example)
            for one in found.rules
        ]

    def _sample_size(self) -> int:
        if self._wanted is not None:
            return self._wanted
        keys = sum(node.facts.keys or 0 for node in self._server.primaries)
        return ALL if keys <= ALL else MANY

    def _audit(self, drawn: Sample, strata: Mapping[str, Stratum]) -> None:
        """Hold the keys against the policy, where there is one."""
        from cachectl.analysis.doctor.facts import Part
        from cachectl.cli.ttl.auditing import audit_of_sample
        from cachectl.model.findings import Severity
        from cachectl.views.audits.ttl_audit import Remedies, findings

        if self._policy is None or Part.TTLS in self._missing:
            return
        audit = audit_of_sample(self._server, self._policy, drawn.pages, strata)
        remedies = Remedies(self._app.words, self._policy_file)
        # What may well be there of old age only is no finding for a page on what is wrong.
        self._reported["ttl"] = [
            one
            for one in findings(audit, remedies)
            if (one.id, one.severity) != ("ttl.too-short", Severity.INFO)
        ]


_PARTS = {"ttl": "TTLs of keys", "bytes": "sizes of keys", "idle": "idle times of keys"}
"""What a scan calls a column that it can't have → the part of the facts."""


def _cold(drawn: Sample, strata: Mapping[str, Stratum]) -> list[Finding]:
    from cachectl.analysis.keyspace.cold import ColdKeys, cold_findings, cold_of_sample

    if not drawn.exact:
        return cold_findings(cold_of_sample(drawn.pages, strata))
    cold = ColdKeys()
    for page in drawn.pages:
        cold.add(page)
    return cold_findings(cold.result())


def _giants(drawn: Sample) -> list[Finding]:
    from cachectl.analysis.keyspace.biggest import BiggestKeys
    from cachectl.analysis.memory.giants import giant_findings
    from cachectl.analysis.naming.namespaces import index_by

    biggest = BiggestKeys(index_by("template"), "template", keep=50)
    for page in drawn.pages:
        biggest.add(page)
    return giant_findings(biggest.result().by_bytes)


def _groups(drawn: Sample, strata: Mapping[str, Stratum], policy: Policy | None) -> list[Group]:
    """Return the namespaces, and whether a rule says of all their keys if they have to expire."""
    from cachectl.analysis.doctor.facts import Group
    from cachectl.model.figures import value_of

    open_to_us = None
    if policy is not None:
        pages = [_undecided(page, policy) for page in drawn.pages]
        open_to_us = {one.namespace for one in _summary(drawn, pages, strata).namespaces}
    return [
        Group(
            one.namespace,
            value_of(one.keys),
            value_of(one.no_ttl),
            None if one.bytes is None else value_of(one.bytes),
            decided=open_to_us is not None and one.namespace not in open_to_us,
        )
        for one in _summary(drawn, drawn.pages, strata).namespaces
        if one.no_ttl is not None
    ]


def _summary(
    drawn: Sample, pages: Sequence[Page], strata: Mapping[str, Stratum]
) -> KeyspaceSummary | SampledSummary:
    from cachectl.analysis.keyspace.keyspace import summarise
    from cachectl.analysis.keyspace.sampling import summarise_sample

    return summarise(pages) if drawn.exact else summarise_sample(pages, strata)


def _undecided(page: Page, policy: Policy) -> Page:
    """Return the keys whose TTLs no rule decides about: the audit judges the others."""
    decided = [rule.ttl.presence != "optional" for rule in policy.rules]
    rules = policy.rule_numbers(page.keys)
    return page.take([at for at, rule in enumerate(rules) if rule < 0 or not decided[rule]])


def _is_local(node: Node) -> bool:
    host = node.address.host
    loopback = host == "localhost" or host.startswith("127.") or host == "::1"
    return node.address.socket is not None or loopback


def _written(before: Mapping[str, str], after: Mapping[str, str], seconds: float) -> float | None:
    """Return the bytes a second that replication has carried."""
    offsets = [info.get("master_repl_offset", "") for info in (before, after)]
    if not all(offset.isdigit() for offset in offsets) or seconds <= 0:
        return None
    return max(0, int(offsets[1]) - int(offsets[0])) / seconds
