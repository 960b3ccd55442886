"""Who may come in, what they may do then, and what is known about this version."""

from __future__ import annotations

from collections.abc import Iterable

from cachectl.analysis.doctor.facts import Covered, Facts, NodeState, Part, Rule
from cachectl.analysis.doctor.vulnerabilities import AS_OF, known, mended
from cachectl.model.findings import Finding, Severity

_INFO, _WARNING, _CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
DANGEROUS = (
    *("FLUSHALL", "FLUSHDB", "SHUTDOWN", "DEBUG", "KEYS", "REPLICAOF", "MODULE LOAD"),
    *("CONFIG SET", "ACL SETUSER", "MIGRATE"),
)
"""Commands that destroy data, take the server over or block it: no client of a cache needs them."""


_FROM_AFAR = ("enable-debug-command", "enable-module-command", "enable-protected-configs")


def open_door(facts: Facts) -> Iterable[Finding]:
    """No password: how bad that is depends on who can reach the server."""
    if not facts.open_door:
        return
    exposed = [node for node in facts.nodes if _is_open(node)]
    guarded = any(node.settings.get("protected-mode") == "yes" for node in exposed)
    if exposed and not guarded:
        severity, who = _CRITICAL, "anybody who can reach it"
    elif exposed or not facts.local or not any(node.settings for node in facts.nodes):
        severity, who = _WARNING, "anybody who can reach it"
    else:
        severity, who = _INFO, "anybody on its machine"
    yield Finding(
        "security.no_password",
        severity,
        f"the server asks for no password: {who} may read and remove everything",
        "; ".join(f"{node.node} listens on {_binding(node)}" for node in facts.nodes[:3]),
        "ACL SETUSER default on >PASSWORD, or CONFIG SET requirepass PASSWORD; then ACL SAVE or "
        "CONFIG REWRITE",
    )


def open_bind(facts: Facts) -> Iterable[Finding]:
    """Listening everywhere without the last line of defence."""
    for node in facts.nodes:
        if _is_open(node) and node.settings.get("protected-mode") == "no":
            yield Finding(
                "security.open_bind",
                _WARNING,
                "the server listens on every address, and protected mode is off",
                f"bind {_binding(node)}",
                "bind it to the addresses that its clients use, and CONFIG SET protected-mode yes",
                node.node,
            )


def no_tls(facts: Facts) -> Iterable[Finding]:
    """Passwords and data go over the network in the clear."""
    if not facts.local and not facts.encrypted:
        yield Finding(
            "security.no_tls",
            _WARNING if facts.production else _INFO,
            "passwords and data go over the network in the clear",
            "this connection uses no TLS",
            "switch it on (tls-port, or the service's encryption in transit) and set `tls: true` "
            "in the profile",
        )


def default_user(facts: Facts) -> Iterable[Finding] | Covered:
    """One user for all who may do everything."""
    user = facts.default_user
    if user is None or not user.is_all_powerful:
        return []
    if facts.open_door:
        return Covered("see security.no_password")
    return [
        Finding(
            "security.default_user",
            _INFO,
            "the default user may run everything on every key, and its password is all it takes",
            f"{user.commands} {user.keys}",
            "give each application a user of its own (cachectl help acl), then "
            "ACL SETUSER default off",
        )
    ]


def dangerous_commands(facts: Facts) -> Iterable[Finding] | Covered:
    """What this login may do that a cache's client never needs."""
    if not facts.dangerous:
        return []
    if facts.open_door:
        return Covered("see security.no_password")
    default = facts.default_user
    if facts.user == "default" and default is not None and default.is_all_powerful:
        return Covered("see security.default_user")
    return [
        Finding(
            "security.dangerous_commands",
            _INFO,
            f"this login may run {', '.join(facts.dangerous[:4])}"
            + (" and more" if len(facts.dangerous) > 4 else ""),
            f"user {facts.user}: {', '.join(facts.dangerous)}",
            f"ACL SETUSER {facts.user} -@dangerous, and what it needs back (cachectl help acl)",
        )
    ]


def debug_commands(facts: Facts) -> Iterable[Finding]:
    """DEBUG and MODULE over the network are a way to run code."""
    for node in facts.nodes:
        on = [
            name
            for name in (
                "enable-debug-command",
                "enable-module-command",
                "enable-protected-configs",
            )
            if node.settings.get(name) == "yes"
        ]
        if on:
            yield Finding(
                "security.debug_commands",
                _WARNING,
                "commands that can take the server over are allowed from everywhere",
                f"{', '.join(on)}: yes",
                "start the server with `no`, or `local`, for them",
                node.node,
            )


def old_version(facts: Facts) -> Iterable[Finding]:
    """Versions with vulnerabilities that are known."""
    seen = set()
    for node in facts.nodes:
        key = (node.flavour, node.version)
        if key in seen:
            continue
        seen.add(key)
        tls = facts.encrypted or node.settings.get("tls-port", "0") != "0"
        where = [*(["tls"] if tls else []), *(["cluster"] if facts.topology == "cluster" else [])]
        flaws = known(node.flavour, node.version, where)
        if flaws:
            name = f"{node.flavour.capitalize()} {node.version}"
            many = f"{len(flaws)} known vulnerabilities" if len(flaws) > 1 else "a known weakness"
            yield Finding(
                "security.old_version",
                flaws[0].severity,
                f"{name} has {many}: {flaws[0].what}",
                f"{', '.join(flaw.id for flaw in flaws)}; by the version, as of {AS_OF} "
                "(a distribution may have mended it)",
                f"upgrade to {mended(node.flavour, node.version, where)} or newer",
                node.node if len(facts.nodes) > 1 else None,
            )


_EVERYWHERE = frozenset({"*", "0.0.0.0", "::", "::*"})  # noqa: S104 - looked for, not bound to


def _is_open(node: NodeState) -> bool:
    bind = node.settings.get("bind")
    if bind is None:
        return False
    addresses = [word.removeprefix("-") for word in bind.split()]
    return not addresses or not _EVERYWHERE.isdisjoint(addresses)


def _binding(node: NodeState) -> str:
    bind = node.settings.get("bind")
    return "an address that it does not tell" if bind is None else bind or "every address"


RULES = (
    Rule("security.no_password", "the server asks for a password", (Part.DOOR,), open_door),
    Rule("security.open_bind", "it does not listen everywhere", (Part.SETTINGS,), open_bind),
    Rule(
        "security.old_version",
        "no vulnerability of this version is known",
        (Part.INFO,),
        old_version,
    ),
    Rule("security.debug_commands", "no debugging from afar", (Part.SETTINGS,), debug_commands),
    Rule("security.no_tls", "nothing goes over the network in the clear", (), no_tls),
    Rule(
        "security.default_user",
        "the default user is not all-powerful",
        (Part.DEFAULT_USER,),
        default_user,
    ),
    Rule(
        "security.dangerous_commands",
        "this login may not run dangerous commands",
        (Part.PERMISSIONS,),
        dangerous_commands,
    ),
)
