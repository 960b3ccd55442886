"""Known vulnerabilities of servers, by flavour and version.

As of 2026-09-01, from the release notes of Redis and Valkey and the CVE records. Only those that a
cache is exposed to by what clients can send. A distribution may have mended an older version
without changing its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cachectl.model.findings import Severity

AS_OF = "2026-09-01"
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One flaw. fixed: series → the first version of it without the flaw.

    since: the first version that has it. unsure: series of which nothing is known. only: a word on
    when it matters, '' for always.
    """

    id: str
    what: str
    severity: Severity
    flavour: str
    fixed: Mapping[Version, Version]
    since: Version = (0,)
    unsure: frozenset[Version] = frozenset()
    only: str = ""

    def affects(self, version: Version) -> bool:
        """Return whether a version has the flaw: older than the fix, or of a series without one."""
        series = version[:2]
        if version < self.since or series in self.unsure:
            return False
        if series in self.fixed:
            return version < self.fixed[series]
        return series < max(self.fixed)


def _fixed(*versions: str) -> dict[Version, Version]:
    return {parsed(version)[:2]: parsed(version) for version in versions}


def parsed(version: str) -> Version:
    """Return 8.2.3 as (8, 2, 3); () for what is no version."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING

KNOWN = (
    Vulnerability(
        "CVE-2026-81934",
        "anybody who can connect by TLS may run code (use after free)",
        _CRITICAL,
        "redis",
        _fixed("6.2.24", "7.2.16", "7.4.11", "8.2.9", "8.4.6", "8.6.6", "8.8.2", "8.10.1"),
        only="tls",
    ),
    Vulnerability(
        "CVE-2026-23479",
        "a client may run code (use after free when a client is unblocked)",
        _WARNING,
        "redis",
        _fixed("7.4.9", "8.2.6", "8.4.3", "8.6.3"),
        since=(7, 2),
        unsure=frozenset({(7, 2), (8, 0)}),
    ),
    Vulnerability(
        "CVE-2025-62507",
        "a client may run code (XACKDEL)",
        _WARNING,
        "redis",
        _fixed("8.2.3"),
        since=(8, 2),
    ),
    Vulnerability(
        "CVE-2025-49844",
        "a client that may run scripts may run code (Lua, use after free)",
        _WARNING,
        "redis",
        _fixed("6.2.20", "7.2.11", "7.4.6", "8.0.4", "8.2.2"),
    ),
    Vulnerability(
        "CVE-2025-32023",
        "a client may run code (HyperLogLog)",
        _WARNING,
        "redis",
        _fixed("6.2.19", "7.2.10", "7.4.5", "8.0.3"),
    ),
    Vulnerability(
        "CVE-2025-21605",
        "anybody who can connect may use up all memory, without logging in",
        _WARNING,
        "redis",
        _fixed("6.2.18", "7.2.8", "7.4.3"),
    ),
    Vulnerability(
        "CVE-2024-31228",
        "a client may crash the server (a long pattern)",
        _WARNING,
        "redis",
        _fixed("6.2.16", "7.2.6", "7.4.1"),
    ),
    Vulnerability(
        "CVE-2022-36021",
        "a client may keep the server busy for ever (a pattern)",
        _WARNING,
        "redis",
        _fixed("6.0.18", "6.2.11", "7.0.9"),
    ),
    Vulnerability(
        "GHSA-fq2f-crmw-q97r",
        "anybody who can connect may crash the server (the Lua debugger)",
        _CRITICAL,
        "valkey",
        _fixed("9.1.2"),
        since=(9, 1),
    ),
    Vulnerability(
        "CVE-2026-63639",
        "a client that may RESTORE may run code (corrupt streams)",
        _WARNING,
        "valkey",
        _fixed("8.1.9", "9.0.5", "9.1.1"),
        unsure=frozenset({(7, 2), (8, 0)}),
    ),
    Vulnerability(
        "CVE-2026-56684",
        "a client may run code (CLIENT KILL over TLS)",
        _WARNING,
        "valkey",
        _fixed("8.1.9", "9.0.5", "9.1.1"),
        unsure=frozenset({(7, 2), (8, 0)}),
        only="tls",
    ),
    Vulnerability(
        "CVE-2026-27623",
        "anybody who can connect may crash the server",
        _CRITICAL,
        "valkey",
        _fixed("9.0.3"),
        since=(9, 0),
    ),
    Vulnerability(
        "CVE-2026-21863",
        "anybody who can reach the cluster bus may crash the server",
        _WARNING,
        "valkey",
        _fixed("7.2.12", "8.0.7", "8.1.6", "9.0.3"),
        only="cluster",
    ),
    Vulnerability(
        "CVE-2025-49844",
        "a client that may run scripts may run code (Lua, use after free)",
        _WARNING,
        "valkey",
        _fixed("7.2.11", "8.0.6", "8.1.4"),
    ),
)


def known(flavour: str, version: str, where: Iterable[str]) -> list[Vulnerability]:
    """Return the flaws of a version, the gravest first. where: `tls`, `cluster`, as it is used."""
    numbers, uses = parsed(version), {"", *where}
    if not numbers:
        return []
    found = [
        one for one in KNOWN if one.flavour == flavour and one.only in uses and one.affects(numbers)
    ]
    return sorted(found, key=lambda one: -one.severity)


def mended(flavour: str, version: str, where: Iterable[str]) -> str:
    """Return the first version above this one without a known flaw, of the same series if any."""
    uses, now = list(where), parsed(version)
    fixes = {fix for one in KNOWN if one.flavour == flavour for fix in one.fixed.values()}
    sound = [fix for fix in sorted(fixes) if fix > now and not known(flavour, _text(fix), uses)]
    same = [fix for fix in sound if fix[:2] == now[:2]]
    return _text((same or sound)[0])


def _text(version: Version) -> str:
    return ".".join(map(str, version))
