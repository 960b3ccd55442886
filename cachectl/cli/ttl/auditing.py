"""What `ttl audit` does: one pass over the keys, and a look into hashes whose fields may expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import ALL_KEYS, KeyPass, Work, notes_of
from cachectl.cli.ttl.pages import with_ttls

if TYPE_CHECKING:
    from cachectl.analysis.audits.ttl_audit import Audit, TtlAudit
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.model.keys import Page
    from cachectl.policy import Policy
    from cachectl.server.topology.connect import Server
    from cachectl.server.values.fieldttl import FieldTtls
    from cachectl.views.audits.ttl_audit import Audited


def audited(work: Work, policy: Policy) -> Audited:
    """Return what became of all keys, or a sample. Raises CachectlError when none can be read."""
    from cachectl.analysis.audits.ttl_audit import TtlAudit
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.expired import expired_counted
    from cachectl.server.values.fieldttl import FieldTtls
    from cachectl.views.audits.ttl_audit import Audited

    audit = TtlAudit(policy)
    with FieldTtls(work.server) as fields:
        asked = {Field.TTL, Field.BYTES}
        if fields.any:
            asked.add(Field.TYPE)
        if audit.needs_idle:
            asked.add(Field.IDLE)
        auditing = Auditing(audit, fields if fields.any else None)
        done = work.read(frozenset(asked), [auditing])
        found = _estimated(auditing, done, policy) if done.drawn else audit.result()
        expired = expired_counted(work.server, None if work.pattern else done.outcome)
        return Audited(
            audit=found,
            facts=done.facts,
            expired=expired.keys,
            stale_percent=expired.stale_percent,
            sample=done.about,
            doubtful=fields.unknown,
            notes=tuple(notes_of(done, hint=ALL_KEYS)),
            unavailable=(*done.facts.unavailable, *fields.unavailable),
            interruption=done.interruption,
        )


class Auditing:
    """An audit that asks about the fields of hashes. fields: None when no hash has such fields."""

    def __init__(self, audit: TtlAudit, fields: FieldTtls | None) -> None:
        self._audit = audit
        self._fields = fields

    def add(self, page: Page) -> Sequence[int]:
        """Count a page."""
        return self._audit.add(*self.judged(page))

    def drop(self, node: str) -> None:
        """Forget a node: it is read again."""
        self._audit.drop(node)

    def judged(self, page: Page) -> tuple[Page, set[int]]:
        """Return the page with the TTLs of hashes that go with their fields, and those that don't.

        A hash all of whose fields expire goes with the last of them.
        """
        with_ttls(page)
        if self._fields is None:
            return page, set()
        doubtful = self._audit.doubtful(page)
        if not doubtful:
            return page, set()
        ttls, partly = list(page.ttls or ()), set()
        expiries = self._fields.look(page.node, [page.keys[at] for at in doubtful])
        for at, found in zip(doubtful, expiries, strict=True):
            if found is not None and found.expiring == found.looked and found.last is not None:
                ttls[at] = found.last
            elif found is not None:
                partly.add(at)
        return replace(page, ttls=ttls), partly


def audit_of_sample(
    server: Server, policy: Policy, pages: Sequence[Page], strata: Mapping[str, Stratum]
) -> Audit:
    """Return what keys that are drawn already say of all. Raises PermissionDeniedError."""
    from cachectl.analysis.audits.ttl_audit import TtlAudit
    from cachectl.server.values.fieldttl import FieldTtls

    audit = TtlAudit(policy)
    with FieldTtls(server) as fields:
        auditing = Auditing(audit, fields if fields.any else None)
        if any(one.drawn < one.size for one in strata.values()):
            return _of_pages(auditing, pages, strata, policy)
        for page in pages:
            auditing.add(page)
        return audit.result()


def _estimated(auditing: Auditing, done: KeyPass, policy: Policy) -> Audit:
    assert done.drawn is not None  # noqa: S101 - as the caller has seen
    return _of_pages(auditing, done.drawn.pages, done.strata, policy)


def _of_pages(
    auditing: Auditing, pages: Sequence[Page], strata: Mapping[str, Stratum], policy: Policy
) -> Audit:
    from cachectl.analysis.audits.ttl_audit import audit_sample

    judged = [auditing.judged(page) for page in pages]
    partly = {number: found for number, (_, found) in enumerate(judged)}
    return audit_sample([page for page, _ in judged], strata, policy, partly)
