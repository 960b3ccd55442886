"""What `policy audit` does: one pass over the keys, and then a look into some of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import ALL_KEYS, KeyPass, Work, notes_of
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.audits.judged_values import Judged
    from cachectl.analysis.estimates.value_sample import ValueKey
    from cachectl.cli.health.poison import ValueJudge
    from cachectl.model.findings import Unavailable
    from cachectl.policy import Policy
    from cachectl.server.scanning.columns import Field
    from cachectl.views.audits.policy_audit import AuditedPolicy

VALUES = 200
"""Values of each rule that are read, where that leaves no trace."""


def audited(work: Work, policy: Policy, values: int | None) -> AuditedPolicy:
    """Return what became of all keys, or a sample. Raises CachectlError when none can be read.

    values: of each rule to read; None: some, where the server can be read without a trace.
    """
    from cachectl.analysis.audits.policy_audit import PolicyAuditor
    from cachectl.views.audits.policy_audit import AuditedPolicy

    reading = _Reading(work, policy, values)
    auditor = PolicyAuditor(policy, reading.most, whole=work.pattern is None)
    fields = _fields(policy)
    done = work.read(fields, [auditor])
    if done.drawn is not None:
        for page in done.drawn.pages:
            auditor.add(page)
    judged = reading.judged(auditor.values.chosen(), done)
    if done.drawn is not None:
        found = auditor.estimate(done.drawn.pages, done.strata, judged)
    else:
        found = auditor.result(judged)
    lacking = fields & {gap.what for gap in done.facts.unavailable}
    return AuditedPolicy(
        audit=found,
        facts=done.facts,
        sample=done.about,
        complete=done.facts.complete and reading.complete and not lacking,
        pattern=work.pattern,
        notes=(*reading.notes, *notes_of(done, hint=ALL_KEYS)),
        unavailable=(*done.facts.unavailable, *reading.unavailable),
        interruption=done.interruption,
    )


def _fields(policy: Policy) -> frozenset[Field]:
    """Return what the rules need to know of keys, and the bytes."""
    from cachectl.server.scanning.columns import Field

    asked = {Field.BYTES}
    if any(rule.types or rule.value for rule in policy.rules):
        asked.add(Field.TYPE)
    if any(rule.max_elements for rule in policy.rules):
        # The command to ask with depends on the type.
        asked |= {Field.TYPE, Field.ELEMENTS}
    return frozenset(asked)


class _Reading:
    """Reads values after the pass. most: of each rule; complete: nothing kept it from reading."""

    def __init__(self, work: Work, policy: Policy, values: int | None) -> None:
        self.complete = True
        self.notes: list[str] = []
        self.unavailable: list[Unavailable] = []
        self._work, self._policy = work, policy
        self._quiet = all(node.connection.no_touch for node in work.server.primaries)
        self.most = self._wanted(values)

    def judged(self, wanted: Sequence[ValueKey], done: KeyPass) -> list[Judged]:
        """Return what the values of these keys are. A Ctrl-C is kept with the pass."""
        from cachectl.cli.health.poison import ValueJudge
        from cachectl.model.findings import Unavailable

        found: list[Judged] = []
        if not self.most or not wanted or done.interruption is not None:
            return found
        try:
            with (
                ValueJudge(self._work.server, self._policy) as judge,
                self._work.app.progress("reading values", unit="values") as progress,
            ):
                for some in judge.judged(wanted):
                    found += some
                    progress.update(len(found), len(wanted))
                self._gaps(judge)
        except KeyboardInterrupt as interruption:
            done.interruption = interruption
        except CachectlError as error:
            self.complete = False
            self.unavailable.append(Unavailable("values", error.message, error.hint))
        if found and not self._quiet:
            self.notes.append(
                f"{len(found):,} values were read, which makes their keys look used: this server "
                "has no CLIENT NO-TOUCH"
            )
        return found

    def _wanted(self, values: int | None) -> int:
        from cachectl.model.findings import Unavailable

        if not any(rule.value for rule in self._policy.rules):
            return 0
        if values is None and not self._quiet:
            self.unavailable.append(
                Unavailable(
                    "values",
                    "reading them would make keys look used: there is no CLIENT NO-TOUCH",
                    f"--values {VALUES} reads some all the same",
                )
            )
        if values is None:
            return VALUES if self._quiet else 0
        return values

    def _gaps(self, judge: ValueJudge) -> None:
        from cachectl.model.findings import Unavailable

        self.unavailable += judge.reader.gaps
        if judge.skipped:
            what = f"the values of {judge.skipped:,} keys"
            self.unavailable.append(Unavailable(what, "collections that are too large"))
        if judge.refused:
            what = f"the values of {judge.refused:,} keys"
            self.unavailable.append(
                Unavailable(what, "this login may not read them", "ACL SETUSER … %R~PATTERN")
            )
