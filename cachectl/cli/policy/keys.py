"""What `policy lint` and `policy init` learn from keys: of a server, or of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.errors import EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.summary import NamespaceSummary
    from cachectl.cli.scan.scanning import Accumulator
    from cachectl.config.policy_template import Observed
    from cachectl.model.findings import Finding
    from cachectl.policy import Policy
    from cachectl.views.audits.rules import Linted

_LONGEST_SHARE = 0.99
"""The share of TTLs that the longest one in a policy's range covers: a few are always odd."""


def linted(app: App, policy: Policy, *, from_scan: bool, snapshot: Path | None) -> Linted:
    """Return what is wrong with a policy. Raises CachectlError."""
    from cachectl.analysis.audits.policy_lint import lint, unused
    from cachectl.analysis.audits.ttl_audit import TtlAudit
    from cachectl.views.audits.rules import Linted

    if from_scan and snapshot is not None:
        raise UsageError("--from-scan and --from exclude each other")
    found = [*lint(policy), *_values(policy)]
    if not from_scan and snapshot is None:
        return Linted(tuple(found))
    audit = TtlAudit(policy)
    source, partial = _read(app, audit, snapshot)
    result = audit.result()
    counts = [one.keys for one in result.rules]
    found += unused(policy, [count for count in counts if isinstance(count, int)])
    return Linted(tuple(found), result, source, partial)


def _values(policy: Policy) -> Iterator[Finding]:
    """Yield the rules whose values can't be judged."""
    from cachectl.model.findings import Finding, Severity
    from cachectl.values.judging import JudgingError, judge_of

    for rule in policy.rules:
        if rule.value is None:
            continue
        try:
            judge_of(rule.value)
        except JudgingError as error:
            line = f"line {rule.line}" if rule.line else ""
            yield Finding("policy.value", Severity.WARNING, str(error), line, error.hint, rule.name)


def observed_policy(app: App, snapshot: Path | None, limit: int) -> str:
    """Return the YAML of a policy that says what is there. Raises CachectlError."""
    import typer

    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.config.policies import policy_of
    from cachectl.config.policy_template import policy_text

    seen = KeyspaceAccumulator("template", largest=1)
    source, partial = _read(app, seen, snapshot)
    namespaces = [one for one in seen.result().namespaces if one.no_ttl is not None]
    shown = namespaces[:limit]
    text = policy_text(_distinct(shown), source, len(namespaces) - len(shown))
    policy_of(text.encode(), "the policy that was just written")  # what we write, we read
    if partial:
        app.terminal.warn("not all keys were read: the policy lacks what they would have said")
        app.terminal.write(text)
        raise typer.Exit(EXIT_PARTIAL)
    return text


def _distinct(namespaces: list[NamespaceSummary]) -> list[Observed]:
    """Return them with a pattern each; where two have the same the first stands for both."""
    found: dict[str, Observed] = {}
    for one in namespaces:
        observed = _observed(one)
        found.setdefault(observed.pattern, observed)
    return list(found.values())


def _observed(one: NamespaceSummary) -> Observed:
    from cachectl.config.policy_template import Observed
    from cachectl.keypatterns import pattern_of

    longest = one.ttl.quantile(_LONGEST_SHARE) if one.ttl else None
    pattern = pattern_of(one.namespace).decode() if one.namespace else "*"
    return Observed(
        pattern=pattern,
        keys=one.keys,
        bytes=one.bytes,
        no_ttl=one.no_ttl or 0,
        longest_ttl=None if longest is None else longest / 1000,
        types=one.types,
        largest=one.largest.bytes if one.largest else None,
    )


def _read(app: App, part: Accumulator, snapshot: Path | None) -> tuple[str, bool]:
    """Read all keys into `part`; return where they are from, and whether some are missing."""
    if snapshot is not None:
        return _read_snapshot(app, part, snapshot)
    from cachectl.cli.memory.memory_pass import Work
    from cachectl.cli.ttl.pages import NeedsTtls
    from cachectl.server.scanning.columns import Field

    with app.server() as server:
        fields = frozenset({Field.TYPE, Field.TTL, Field.BYTES})
        done = Work(app, server, full=True).read(fields, [NeedsTtls(part)])
        if done.interruption is not None:
            raise done.interruption
        for sentence in done.facts.errors:
            app.terminal.warn(sentence)
        source = f"{done.facts.keys:,} keys of {server.facts.name}"
        return source, not done.facts.complete


def _read_snapshot(app: App, part: Accumulator, path: Path) -> tuple[str, bool]:
    from cachectl.storage.snapshots import Snapshot

    snapshot = Snapshot(path)
    with app.progress(f"reading {path.name}") as progress:
        done = 0
        for page in snapshot.pages():
            if page.ttls is None:
                raise UsageError(f"{path} holds no TTLs: its login could not ask for them")
            part.add(page)
            done += len(page)
            progress.update(done, snapshot.info.keys)
    source = f"{snapshot.info.keys:,} keys of {snapshot.info.server} in {path.name}"
    return source, snapshot.info.partial
