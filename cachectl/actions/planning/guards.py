"""What must hold before anything is changed. Every guard fails closed: not known means refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cachectl import glob
from cachectl.actions.planning.changes import QUARANTINE, ttl_differs
from cachectl.errors import PermissionDeniedError, RefusedError
from cachectl.model.changes import KeyCopy, PlannedKey
from cachectl.policy import NO_RULE, Policy
from cachectl.server.rights.probing import KEY, Probe, Verdict, ask, user_of
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import OWN_PREFIX

_FOOTER = 10


def digest_of(copy: KeyCopy) -> bytes:
    """Return a digest of a copied value, to notice that it changed; empty without the value.

    The payload's footer (version and checksum) is left out: an upgraded server changes it.
    """
    return digest_of_payload(copy.data)


def digest_of_payload(payload: bytes) -> bytes:
    """Return the digest of what DUMP answered; empty for nothing."""
    if not payload:
        return b""
    return hashlib.blake2b(payload[:-_FOOTER], digest_size=12).digest()


def fits(planned: PlannedKey, copy: KeyCopy) -> bool:
    """Return whether a key still is what its plan saw: its type, its TTL and its value."""
    if planned.type and planned.type != copy.type:
        return False
    if planned.guard and copy.data and planned.guard != digest_of(copy):
        return False
    return not ttl_differs(planned.expires_at, copy.expires_at)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one run may change; None takes the profile's limit."""

    max_keys: int | None = None
    max_percent: float | None = None


def check_target(server: Server) -> None:
    """Refuse a profile that is read-only, and a node that is a replica. Raises RefusedError."""
    target = server.target
    if target.read_only:
        raise RefusedError(
            f"the profile {target.name} is read-only",
            hint="use a profile without `read_only: true`",
            target=target.name,
        )
    for node in server.primaries:
        if node.facts.role == "replica":
            primary = ""
            if node.info.get("master_host"):
                primary = f"{node.info['master_host']}:{node.info.get('master_port', '')}"
            raise RefusedError(
                f"{node.name} is a replica, which takes no changes",
                hint=f"connect to its primary{', ' + primary if primary else ''}",
                target=node.name,
            )
    if server.unavailable:
        gap = server.unavailable[0]
        raise RefusedError(
            f"{gap.what} can't be reached: {gap.reason}",
            hint="nothing is changed while a part of the server is missing",
            target=target.name,
        )


def check_amount(server: Server, keys: int, total: int | None, allowance: Allowance) -> None:
    """Refuse more keys than one run may change. total: keys in the database, None: not known.

    Raises RefusedError.
    """
    limits = server.target.limits
    most = limits.max_keys if allowance.max_keys is None else allowance.max_keys
    if keys > most:
        raise RefusedError(
            f"{keys:,} keys are meant, more than the {most:,} that one run may change",
            hint=f"narrow the selection, or give --max-keys {keys}",
            target=server.target.name,
        )
    percent = limits.max_percent if allowance.max_percent is None else allowance.max_percent
    if percent >= 100:
        return
    if total is None:
        raise RefusedError(
            "how many keys there are is not known, so neither is the share that is meant",
            hint="give --max-percent 100 to go on without it",
            target=server.target.name,
        )
    if keys > _FEW and keys * 100 > percent * total:
        share = 100 * keys / max(1, total)
        raise RefusedError(
            f"{keys:,} keys are {share:.0f} % of the {total:,} there are, "
            f"more than the {percent:g} % that one run may change",
            hint=f"narrow the selection, or give --max-percent {min(100, int(share) + 1)}",
            target=server.target.name,
        )


_FEW = 100
"""So many keys may be changed whatever share of a small cache they are."""


class Protection:
    """The keys that no run may change: those that the profile or its policy protects, and our own.

    frees_quarantine: keys that a run has put aside are meant, which are ours otherwise.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        policy: Policy | None = None,
        *,
        frees_quarantine: bool = False,
    ) -> None:
        self._policy = policy if policy and any(rule.protected for rule in policy.rules) else None
        self._frees_quarantine = frees_quarantine
        self._matchers = [
            (pattern, glob.matcher(pattern.encode("utf-8", "surrogateescape")))
            for pattern in patterns
        ]

    def not_ours(self, keys: Sequence[bytes]) -> Sequence[int]:
        """Return the indexes of keys that are no lock or quarantine of cachectl's."""
        if OWN_PREFIX not in b"\n".join(keys):
            return range(len(keys))
        return [i for i, key in enumerate(keys) if not self._is_ours(key)]

    def _is_ours(self, key: bytes) -> bool:
        if not key.startswith(OWN_PREFIX):
            return False
        return not (self._frees_quarantine and key.startswith(QUARANTINE))

    def check(self, keys: Sequence[bytes]) -> None:
        """Raise RefusedError when one of the keys is protected."""
        if self._policy is not None:
            for number in set(self._policy.rule_numbers(keys)):
                rule = self._policy.rules[number]
                if number != NO_RULE and rule.protected:
                    raise RefusedError(
                        f"keys of {rule.name} are protected by the policy",
                        hint=f"leave them out with --not 'namespace={rule.name}'",
                    )
        for pattern, matches in self._matchers:
            for key in keys:
                if matches(key):
                    raise RefusedError(
                        f"keys that match {pattern} are protected by the profile",
                        hint=f"leave them out with --not 'match={pattern}'",
                    )

    def reasons(self, keys: Sequence[bytes]) -> dict[int, str]:
        """Return position → why the key there may not be written."""
        found: dict[int, str] = {}
        if b"\0" + OWN_PREFIX in b"\0" + b"\0".join(keys):  # one search is faster than many
            ours = f"names that begin with {OWN_PREFIX.decode()} are cachectl's own"
            found = {i: ours for i, key in enumerate(keys) if key.startswith(OWN_PREFIX)}
        for pattern, matches in self._matchers:
            reason = f"keys that match {pattern} are protected by the profile"
            found |= {i: reason for i, key in enumerate(keys) if matches(key)}
        if self._policy is not None:
            rules = self._policy.rules
            for i, number in enumerate(self._policy.rule_numbers(keys)):
                if number != NO_RULE and rules[number].protected:
                    found[i] = f"keys of {rules[number].name} are protected by the policy"
        return found


_PROBES: dict[str, Probe] = {
    "UNLINK": Probe(("UNLINK", KEY)),
    "PEXPIRE": Probe(("PEXPIRE", KEY, "x"), fails="not an integer"),
    "PEXPIREAT": Probe(("PEXPIREAT", KEY, "x"), fails="not an integer"),
    "PERSIST": Probe(("PERSIST", KEY)),
    "RENAMENX": Probe(("RENAMENX", KEY, KEY), fails="no such key"),
    "RESTORE": Probe(("RESTORE", KEY, "0", "x"), fails="DUMP payload"),
    "DUMP": Probe(("DUMP", KEY)),
    "MEMORY USAGE": Probe(("MEMORY", "USAGE", KEY), words=2),
    "TYPE": Probe(("TYPE", KEY)),
    "PTTL": Probe(("PTTL", KEY)),
    "WATCH": Probe(("WATCH", KEY)),
    "EXISTS": Probe(("EXISTS", KEY)),
    "TIME": Probe(("TIME",)),
    # Comes last, over a connection that is closed then: DISCARD may be forbidden.
    "MULTI": Probe(("MULTI",), own_connection=True),
    "EXEC": Probe(("EXEC",), fails="without MULTI"),
    "SREM": Probe(("SREM", KEY, "x")),
    "SET": Probe(("SET", KEY, "x", "PX", "x"), fails="not an integer"),
    "RENAME": Probe(("RENAME", KEY, KEY), fails="no such key"),
    "SADD": Probe(("SADD", KEY, "x"), harmless=False),
    "RPUSH": Probe(("RPUSH", KEY, "x"), harmless=False),
    "HSET": Probe(("HSET", KEY, "x", "x"), harmless=False),
    "ZADD": Probe(("ZADD", KEY, "x", "x"), fails="not a valid float"),
    "XADD": Probe(("XADD", KEY, "x", "x", "x"), fails="Invalid stream ID"),
}
_REFUSING = (Verdict.DENIED, Verdict.UNKNOWN, Verdict.BLOCKED)


def check_permissions(server: Server, commands: Iterable[str]) -> None:
    """Refuse when this login may not run one of the commands on one of the nodes.

    Raises PermissionDeniedError before anything is changed. A login that may run a command on some
    keys only is told so by the server, key by key.
    """
    probes = {name: _PROBES[name] for name in commands}
    for node in server.primaries:
        with server.new_connection(node) as connection:
            user = user_of(connection)
            answers = ask(connection, probes.values(), user)
        for name, probe in probes.items():
            if answers[probe].verdict in _REFUSING:
                raise PermissionDeniedError(
                    f"user {user} may not run {name} on {node.name}",
                    hint=f"allow it: ACL SETUSER {user} {probe.rule}",
                    target=node.name,
                )
