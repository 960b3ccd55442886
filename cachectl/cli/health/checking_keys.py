"""The checks of `check` that look at keys: a sample of them, or all where there are few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.analysis.health.checks import Measurement
    from cachectl.cli.health.poison import Poisoned
    from cachectl.policy import Policy
    from cachectl.server.scanning.sample import Sample
    from cachectl.server.topology.handle import Server


def measure_keys(
    server: Server, names: Sequence[str], policy: Policy | None, n: int
) -> Iterator[Measurement]:
    """Yield what a sample of about n keys says on each check."""
    from cachectl.analysis.health.checks import OF_POLICY, Measurement
    from cachectl.model.findings import Unavailable
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.sample import sample
    from cachectl.server.scanning.scan_types import ScanRequest

    if policy is None:
        remedy = "name one in the profile, or give --policy FILE"
        for name in (name for name in names if name in OF_POLICY):
            gap = Unavailable(name, "there is no policy to hold keys against", remedy)
            yield Measurement(name, None, gap.reason, gap=gap)
        names = [name for name in names if name not in OF_POLICY]
        if not names:
            return
    fields = {Field.TYPE, Field.TTL, Field.BYTES}
    if policy is not None and any(rule.ttl.least for rule in policy.rules):
        fields.add(Field.IDLE)
    try:
        drawn = sample(server, n, ScanRequest(fields=frozenset(fields)))
    except CachectlError as error:
        for name in names:
            gap = Unavailable(name, error.message, error.hint)
            yield Measurement(name, None, gap.reason, gap=gap)
        return
    for name in names:
        try:
            yield _measured(name, server, drawn, policy)
        except CachectlError as error:
            gap = Unavailable(name, error.message, error.hint)
            yield Measurement(name, None, gap.reason, gap=gap)


def _measured(name: str, server: Server, drawn: Sample, policy: Policy | None) -> Measurement:
    from cachectl.analysis.health import gauging
    from cachectl.analysis.health.checks import kind_of
    from cachectl.cli.health.poison import poisoned
    from cachectl.cli.ttl.auditing import audit_of_sample
    from cachectl.cli.ttl.storming import forecast_of_sample

    kind, strata = kind_of(name), _strata(drawn)
    if kind == "share":
        return _share(name, drawn, policy)
    if kind == "storms":
        return gauging.of_storms(forecast_of_sample(server, drawn.pages, strata))
    assert policy is not None  # noqa: S101 - these checks need one
    if kind == "poisoned":
        return _poisoned(poisoned(server, policy, drawn.pages))
    return gauging.of_audit(audit_of_sample(server, policy, drawn.pages, strata))


def _poisoned(found: Poisoned) -> Measurement:
    from cachectl.analysis.health.checks import Measurement

    if not found.read:
        return Measurement("poisoned", None, "no values that the policy says something about")
    bad = sum(one.count for one in found.rules)
    text = f"{bad:,} of {found.read:,} values that were read are not what the policy says"
    named = "; ".join(f"{one.rule} {one.count:,}: {one.problem}" for one in found.rules[:3])
    share = round(100 * bad / found.read, 3)
    return Measurement("poisoned", share, f"{text}: {named}" if named else text)


def _strata(drawn: Sample) -> dict[str, Stratum]:
    from cachectl.analysis.estimates.intervals import Stratum

    return {node.node: Stratum(node.size, node.drawn) for node in drawn.nodes}


def _share(name: str, drawn: Sample, policy: Policy | None) -> Measurement:
    """Return the share of the bytes that a pattern, or a rule of the policy, holds."""
    from cachectl.analysis.health.checks import Measurement, subject_of
    from cachectl.analysis.health.gauging import share_of_keys
    from cachectl.model.findings import Unavailable

    subject = subject_of(name).encode("utf-8", "surrogateescape")
    unsized = [gap for gap in drawn.unavailable if gap.what == "bytes"]
    if unsized:
        gap = Unavailable(name, unsized[0].reason, unsized[0].remedy, unsized[0].node)
        return Measurement(name, None, gap.reason, gap=gap)
    return share_of_keys(name, drawn.pages, _strata(drawn), _Belongs(subject, policy))


class _Belongs:
    """Tells keys of a pattern from all others."""

    def __init__(self, subject: bytes, policy: Policy | None) -> None:
        from cachectl import glob

        rules = {rule.name.encode(): rule for rule in policy.rules} if policy else {}
        self._rule = rules.get(subject)
        self._policy = policy
        self._matches = glob.matcher(subject)

    def group(self, key: bytes) -> bytes:
        """Return `in` or `out`."""
        if self._rule is not None and self._policy is not None:
            return b"in" if self._policy.rule_for(key) is self._rule else b"out"
        return b"in" if self._matches(key) else b"out"
