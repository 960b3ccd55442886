"""How keys are named, how large they are and whether they ever expire, from a sample."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cachectl.analysis.doctor.facts import Facts, Part, Rule
from cachectl.analysis.doctor.names import LONG, Names
from cachectl.model.findings import Finding, Severity

_INFO, _WARNING = Severity.INFO, Severity.WARNING
SHARE = 0.05
"""The share of the keys from which on a way of naming is worth a finding."""
MANY = 100
"""Keys below which no share says anything."""
FEW = 20
"""Keys that a namespace must have to be told of."""
FORGOTTEN = 0.01
"""The share of all keys that a namespace without TTLs must have."""
MOSTLY = 0.5
NAMED = 4
"""Namespaces that are told one by one."""
TAGGED = 0.25
"""The share of all keys that one hash tag may bring together."""


def long_names(facts: Facts) -> Iterable[Finding]:
    """Names are kept in memory, and sent with every command."""
    names = facts.names
    if names and names.size >= MANY and names.long / names.size >= SHARE:
        yield Finding(
            "keys.long_names",
            _INFO,
            f"{names.long / names.size:.0%} of the names are longer than {LONG} bytes",
            f"{names.long_bytes / max(names.long, 1):,.0f} bytes on average, the longest "
            f"{len(names.longest):,}{_basis(names)}",
            "hash what makes them long, or shorten their words",
        )


def no_separator(facts: Facts) -> Iterable[Finding]:
    """Names in one piece belong to no namespace: no pattern, no ACL, no figure tells them apart."""
    names = facts.names
    if names and names.size >= MANY and names.unseparated / names.size >= SHARE:
        yield Finding(
            "keys.no_separator",
            _INFO,
            f"{names.unseparated / names.size:.0%} of the names have no parts",
            f"such as {_shown(names.examples['unseparated'])}{_basis(names)}",
            "name keys like app:thing:id: patterns, ACLs and reports go by the parts",
        )


def binary_names(facts: Facts) -> Iterable[Finding]:
    """Names that are not text can't be typed, and break tools."""
    names = facts.names
    if names and names.size >= MANY and names.binary / names.size >= SHARE:
        yield Finding(
            "keys.binary_names",
            _INFO,
            f"{names.binary / names.size:.0%} of the names are not text",
            f"such as {_shown(names.examples['binary'])}{_basis(names)}",
            "encode what is binary, in hex or base64",
        )


def one_hash_tag(facts: Facts) -> Iterable[Finding]:
    """A hash tag that most keys share puts them on one node of the cluster."""
    names = facts.names
    if facts.topology != "cluster" or names is None or names.size < MANY or not names.tags:
        return
    tag, keys = max(names.tags.items(), key=lambda item: item[1])
    share = keys / names.size
    if share > TAGGED:
        yield Finding(
            "keys.one_hash_tag",
            _WARNING,
            f"{share:.0%} of the keys share the hash tag {{{_shown(tag)}}}, and so one slot",
            f"about {keys:,.0f} keys on one node{_basis(names)}",
            "use hash tags only for keys that are used together in one command",
        )


def without_ttl(facts: Facts) -> Iterable[Finding]:
    """Namespaces that never expire in a cache whose other keys do: their TTL was forgotten."""
    groups = facts.namespaces
    whole = sum(group.keys for group in groups)
    if not whole or sum(group.no_ttl for group in groups) > MOSTLY * whole:
        return  # a store, or a cache that leaves everything to eviction
    forgotten = [
        group
        for group in groups
        if not group.decided
        and group.keys >= FEW
        and group.no_ttl >= FORGOTTEN * whole
        and group.no_ttl >= SHARE * group.keys
    ]
    for group in sorted(forgotten, key=lambda one: -one.no_ttl)[:NAMED]:
        share = group.no_ttl / group.keys
        some = "no key" if share > 0.999 else f"{1 - share:.0%} of the keys"
        yield Finding(
            "keys.without_ttl",
            _WARNING,
            f"{some} of this namespace has a TTL, where others have one",
            f"{group.no_ttl:,.0f} of {group.keys:,.0f} keys without one"
            + (f", {group.bytes:,.0f} bytes in all" if group.bytes is not None else ""),
            f"cachectl keys list {glob_of(group.namespace)} --no-ttl shows them; "
            "set a TTL where they are written",
            group.namespace.decode("utf-8", "surrogateescape"),
        )
    if len(forgotten) > NAMED:
        yield Finding(
            "keys.without_ttl",
            _WARNING,
            f"{len(forgotten) - NAMED:,} more namespaces lack TTLs where others have one",
            remedy="cachectl scan --sort no-ttl shows all of them",
        )


def of_poison(rule: str, count: int, read: int, problem: str, example: bytes) -> Finding:
    """Return the finding for values that are not what a rule says they are."""
    return Finding(
        "keys.poisoned",
        _WARNING,
        f"{count:,} of {read:,} values that were read are not what the policy says",
        f"such as {_shown(example)}, which {problem}",
        "cachectl policy audit says how many there are; see who writes them",
        rule,
    )


def glob_of(namespace: bytes) -> str:
    """Return a pattern, quoted for a shell, that matches the keys of a template."""
    text = _PLACEHOLDER.sub("*", namespace.decode("utf-8", "backslashreplace"))
    return "'" + text.replace("'", "?") + "'"


_PLACEHOLDER = re.compile(r"\{[a-z]+\}")


def _basis(names: Names) -> str:
    return "" if names.exact else f"; of {names.drawn:,} keys looked at"


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return text if len(text) <= 40 else f"{text[:40]}…"


RULES = (
    Rule("keys.one_hash_tag", "no hash tag gathers all keys", (Part.KEYS,), one_hash_tag),
    Rule("keys.without_ttl", "no namespace stands out for want of TTLs", (Part.TTLS,), without_ttl),
    Rule("keys.long_names", "names are short", (Part.KEYS,), long_names),
    Rule("keys.no_separator", "names have parts", (Part.KEYS,), no_separator),
    Rule("keys.binary_names", "names are text", (Part.KEYS,), binary_names),
)
