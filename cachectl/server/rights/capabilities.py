"""Which of cachectl's features work with this server and this login, and what would allow the rest.

Features are detected by asking, never by version; nothing is changed by it (see probing).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cachectl.errors import CachectlError
from cachectl.model.servers import NodeFacts
from cachectl.server.rights.probing import KEY, Answer, Probe, Verdict, ask, user_of
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.parallel import run_all
from cachectl.server.wire.resp import ReplyError


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether one feature works.

    feature: its name; purpose: what it is for, as a phrase; reason: why it does not work, or None;
    acl: the command that would allow it, when a permission is all that is missing.
    """

    feature: str
    works: bool
    reason: str | None = None
    acl: str | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What a server lets this login do.

    user: its name there; keys_seen, keys_allowed: of the first keys that SCAN shows, how many
    there were and how many may be read (both None when every key may).
    """

    user: str
    capabilities: tuple[Capability, ...]
    keys_seen: int | None = None
    keys_allowed: int | None = None


@dataclass(frozen=True, slots=True)
class _Feature:
    """needs: all of these; either: besides, one of these. policy: lru or lfu that it requires."""

    name: str
    purpose: str
    needs: tuple[Probe, ...]
    either: tuple[Probe, ...] = ()
    writes: bool = False
    policy: str | None = None


def _two(*command: str, fails: str = "") -> Probe:
    return Probe(command, words=2, fails=fails)


_SCAN = Probe(("SCAN", "0", "COUNT", "1"))
_TYPE = Probe(("TYPE", KEY))
_PTTL = Probe(("PTTL", KEY))
_DUMP = Probe(("DUMP", KEY))
_UNLINK = Probe(("UNLINK", KEY))
_DEL = Probe(("DEL", KEY))
_PEXPIRETIME = Probe(("PEXPIRETIME", KEY))
_CONFIG_GET = _two("CONFIG", "GET", "notify-keyspace-events")
_CONFIG_SET = _two("CONFIG", "SET", "cachectl-no-such-setting", "1", fails="cachectl-no-such")
# Not PSUBSCRIBE, whose pattern must be allowed literally: `&__keyevent@*` would not be enough.
_SUBSCRIBE = Probe(("SUBSCRIBE", "__keyevent@0__:expired"), own_connection=True)

_FEATURES = (
    _Feature("scan", "namespaces and lists of keys", (_SCAN,)),
    _Feature("scan.types", "types of keys", (_TYPE,)),
    _Feature("scan.ttl", "TTLs, audits of them", (_PTTL,)),
    _Feature("scan.bytes", "sizes of keys", (_two("MEMORY", "USAGE", KEY),)),
    _Feature(
        "scan.idle", "idle times", (_two("OBJECT", "IDLETIME", KEY, fails="LFU"),), policy="lru"
    ),
    _Feature(
        "scan.frequency",
        "access frequencies",
        (_two("OBJECT", "FREQ", KEY, fails="LFU"),),
        policy="lfu",
    ),
    _Feature("scan.encoding", "encodings of keys", (_two("OBJECT", "ENCODING", KEY),)),
    _Feature(
        "keys.values",
        "showing what is in a key",
        (
            Probe(("GET", KEY)),
            Probe(("HSCAN", KEY, "0")),
            Probe(("LRANGE", KEY, "0", "0")),
            Probe(("SSCAN", KEY, "0")),
            Probe(("ZRANGE", KEY, "0", "0")),
            Probe(("XRANGE", KEY, "-", "+", "COUNT", "1")),
        ),
    ),
    _Feature(
        "no-touch", "reading without a trace in LRU and LFU", (_two("CLIENT", "NO-TOUCH", "ON"),)
    ),
    _Feature("stats", "hits, misses, memory, evictions", (Probe(("INFO", "stats")),)),
    _Feature("stats.config", "settings of the server", (_CONFIG_GET,)),
    _Feature("stats.slowlog", "slow commands", (_two("SLOWLOG", "GET", "1"),)),
    _Feature("stats.latency", "latency events", (_two("LATENCY", "LATEST"),)),
    _Feature("stats.clients", "who is connected", (_two("CLIENT", "LIST", "ID", "1"),)),
    _Feature(
        "doctor.rights",
        "who may do what, in `doctor`",
        (_two("ACL", "GETUSER", "default"),),
    ),
    _Feature("invalidate", "removing keys", (), either=(_UNLINK, _DEL), writes=True),
    _Feature("archive", "copies before removal", (_DUMP,), either=(_PEXPIRETIME, _PTTL)),
    _Feature(
        "undo",
        "putting keys back",
        (Probe(("RESTORE", KEY, "0", "x"), fails="DUMP payload"),),
        writes=True,
    ),
    _Feature(
        "ttl.repair",
        "setting and removing TTLs",
        (Probe(("PEXPIRE", KEY, "x"), fails="not an integer"), Probe(("PERSIST", KEY))),
        writes=True,
    ),
    _Feature(
        "warm",
        "loading keys",
        (
            Probe(("SET", KEY, "v", "NOSUCHOPTION"), fails="syntax error"),
            Probe(("HSET", KEY, "f", "v", "g"), fails="wrong number of arguments"),
            Probe(("ZADD", KEY, "x", "m"), fails="not a valid float"),
            Probe(("RPUSH", KEY, "v"), harmless=False),
            Probe(("SADD", KEY, "v"), harmless=False),
            Probe(("PEXPIRE", KEY, "x"), fails="not an integer"),
        ),
        writes=True,
    ),
    _Feature("events", "expiries and evictions as they happen", (_SUBSCRIBE, _CONFIG_GET)),
    _Feature("events.enable", "switching notifications of events on", (_CONFIG_SET,)),
    _Feature("monitor", "recording accesses", (Probe(("MONITOR",), harmless=False),)),
)

# Measured wordings and first versions, for features that old servers lack.
_SINCE = {
    "CLIENT NO-TOUCH": "it came with Redis 7.2",
    "PEXPIRETIME": "it came with Redis 7.0",
}
_SAMPLE = 20


def capabilities(server: Server) -> LoginFacts:
    """Find out what this login may do on every primary that can be reached.

    A feature that does not work on one node does not work; its reason names the node when the
    others differ. Raises CannotConnectError when no node can be asked.
    """
    nodes = server.primaries
    answers = run_all([lambda node=node: _of_node(server, node) for node in nodes])  # type: ignore[misc]
    known = [(n, a) for n, a in zip(nodes, answers, strict=True) if isinstance(a, LoginFacts)]
    if not known:
        raise next(answer for answer in answers if isinstance(answer, CachectlError))
    merged = known[0][1]
    for node, facts in known[1:]:
        merged = _merge(merged, facts, node)
    return merged


def _merge(so_far: LoginFacts, facts: LoginFacts, node: Node) -> LoginFacts:
    combined = []
    for one, other in zip(so_far.capabilities, facts.capabilities, strict=True):
        if one.works and not other.works:
            combined.append(replace(other, reason=f"on {node.name}: {other.reason}"))
        else:
            combined.append(one)
    counts = (so_far.keys_seen, facts.keys_seen), (so_far.keys_allowed, facts.keys_allowed)
    seen, allowed = (
        sum(n or 0 for n in pair) if any(n is not None for n in pair) else None for pair in counts
    )
    return LoginFacts(so_far.user, tuple(combined), seen, allowed)


def _of_node(server: Server, node: Node) -> LoginFacts:
    with server.new_connection(node) as connection:
        user = user_of(connection)
        read_only = server.target.read_only
        asked = [feature for feature in _FEATURES if not (feature.writes and read_only)]
        probes = [probe for f in asked for probe in (*f.needs, *f.either)]
        seen = allowed = None
        answers = ask(connection, probes, user)
    if any(answer.verdict is Verdict.KEY_DENIED for answer in answers.values()):
        seen, allowed = _keys_allowed(server, node, answers)
    judged = []
    for feature in _FEATURES:
        if feature.writes and read_only:
            judged.append(_no(feature, "the profile is read-only"))
        else:
            judged.append(_judge(feature, answers, node.facts, user))
    return LoginFacts(user, tuple(judged), seen, allowed)


def _keys_allowed(
    server: Server, node: Node, answers: dict[Probe, Answer]
) -> tuple[int | None, int | None]:
    """Return how many of a few keys there are that SCAN shows, and how many may be read."""
    ways = [probe for probe in (_TYPE, _PTTL) if _is_allowed(answers[probe])]
    if not ways or not _is_allowed(answers[_SCAN]):
        return None, None
    with server.new_connection(node) as connection:
        keys = connection.call("SCAN", "0", "COUNT", _SAMPLE)[1]
        replies = connection.pipeline((ways[0].name, key) for key in keys)
    denied = sum(isinstance(reply, ReplyError) and reply.code == "NOPERM" for reply in replies)
    return len(keys), len(keys) - denied


def _judge(
    feature: _Feature, answers: dict[Probe, Answer], facts: NodeFacts, user: str
) -> Capability:
    if feature.writes and facts.role == "replica":
        return _no(feature, "this is a replica, which refuses writes")
    if feature.policy and facts.policy is not None:
        keeps = "lfu" if "lfu" in facts.policy else "lru"
        if keeps != feature.policy:
            kept = "frequencies instead" if keeps == "lfu" else "idle times instead"
            return _no(feature, f"with the policy {facts.policy} the server keeps {kept}")
    missing = [probe for probe in feature.needs if not _is_allowed(answers[probe])]
    if feature.either and not any(_is_allowed(answers[probe]) for probe in feature.either):
        # A permission is easier to come by than a newer server.
        denied = [p for p in feature.either if answers[p].verdict is not Verdict.UNKNOWN]
        missing.append((denied or feature.either)[0])
    if missing:
        return _no(feature, _reason(missing, answers), _acl(missing, answers, user))
    return Capability(feature.name, True, purpose=feature.purpose)


def _is_allowed(answer: Answer) -> bool:
    # A key that this login may not touch says that the command is allowed on others.
    return answer.verdict in (Verdict.ALLOWED, Verdict.KEY_DENIED)


def _no(feature: _Feature, reason: str, acl: str | None = None) -> Capability:
    return Capability(feature.name, False, reason, acl, feature.purpose)


def _reason(missing: Iterable[Probe], answers: dict[Probe, Answer]) -> str:
    by_verdict: dict[Verdict, list[Probe]] = {}
    for probe in missing:
        by_verdict.setdefault(answers[probe].verdict, []).append(probe)
    if len(by_verdict) > 1:
        by_verdict.pop(Verdict.UNTESTED, None)  # the others say enough
    phrases = []
    for verdict, probes in by_verdict.items():
        names = ", ".join(probe.name for probe in probes)
        match verdict:
            case Verdict.DENIED:
                phrases.append(f"this login may not run {names}")
            case Verdict.CHANNEL_DENIED:
                phrases.append("this login may not listen to the channels of key events")
            case Verdict.UNKNOWN:
                since = "; ".join(_SINCE[p.name] for p in probes if p.name in _SINCE)
                why = since or "too old, or disabled"
                phrases.append(f"the server does not know {names} ({why})")
            case Verdict.BLOCKED | Verdict.FULL:
                phrases.append(f"{names}: {answers[probes[0]].text}")
            case _:
                phrases.append(f"whether {names} may be used can't be found out without using it")
    return "; ".join(phrases)


def _acl(missing: list[Probe], answers: dict[Probe, Answer], user: str) -> str | None:
    """Return the command that allows what is missing; None when rules would not be enough."""
    rules = []
    for probe in missing:
        match answers[probe].verdict:
            case Verdict.DENIED | Verdict.UNTESTED:
                rules.append(probe.rule)
            case Verdict.CHANNEL_DENIED:
                rules.append("&__keyevent@*")
            case _:
                return None
    return f"ACL SETUSER {user} {' '.join(dict.fromkeys(rules))}"
