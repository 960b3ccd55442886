"""What the checks measure: figures of a window of counters, and of what INFO says of now.

Of several nodes a rate and a count are the sum, and of a gauge the worst node counts and is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cachectl.analysis.audits.storms import Forecast
from cachectl.analysis.audits.ttl_audit import Audit
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.health.checks import Measurement
from cachectl.analysis.keyspace.sampling import summarise_sample
from cachectl.analysis.naming.namespaces import Grouper
from cachectl.analysis.traffic.counters import decimal, number
from cachectl.analysis.traffic.latency import Distribution
from cachectl.analysis.traffic.pressure import MIN_FRAGMENTED
from cachectl.analysis.traffic.traffic import MIN_LOOKUPS, NodeTraffic, Traffic
from cachectl.model.figures import Estimate, value_of
from cachectl.model.findings import State, Unavailable
from cachectl.model.keys import Page

_RESIDENT_FIELDS = ("used_memory_rss", "used_memory")


def of_traffic(result: Traffic) -> Iterator[Measurement]:
    """Yield what a window tells: hit ratio, memory, fragmentation, evictions, clients, keys."""
    many = len(result.nodes) > 1
    places = [(node, f" on {node.window.node}" if many else "") for node in result.nodes]
    yield _hit_ratio(result)
    yield _worst("memory", [_memory(node, where) for node, where in places])
    yield _worst("fragmentation", [_fragmentation(node, where) for node, where in places])
    yield _rate(result, "evictions", "evicted")
    yield _rate(result, "expirations", "expired")
    gauges = result.gauges
    yield _count("connected_clients", gauges.connected_clients, "clients are connected")
    yield _count("blocked_clients", gauges.blocked_clients, "clients are blocked")
    yield _count("keys", gauges.keys, "keys")


def of_latency(trips: Mapping[str, Distribution], limit: Unavailable | None = None) -> Measurement:
    """Return the worst node's p99. trips: node → round trips; limit: why a node has none."""
    known = [(_p99(one), node, one) for node, one in trips.items() if one.count]
    if not known:
        gap = limit or Unavailable("latency", "no round trip could be measured", "--window 2s")
        return Measurement("latency", None, gap.reason, gap=gap)
    p99, node, one = max(known, key=lambda item: item[0])
    where = f" on {node}" if len(trips) > 1 else ""
    name = "the slowest" if one.p99 is None else "p99"
    text = f"{name} {_ms(p99)}, p50 {_ms(one.p50 or 0)} of {one.count:,} round trips{where}"
    return Measurement("latency", round(p99, 6), text, gap=limit)


def _p99(trips: Distribution) -> float:
    """Return the 99th percentile by nearest rank, which is the slowest of fewer than 100."""
    return (trips.worst or 0.0) if trips.p99 is None else trips.p99


def of_replication(infos: Mapping[str, Mapping[str, str]], lags: Mapping[str, int]) -> Measurement:
    """Return how far replicas are behind. infos, lags: node → INFO, and its slowest replica's."""
    floor, troubles = State.OK, []
    replicas = 0
    for node, info in infos.items():
        if info.get("role") == "slave" and info.get("master_link_status") != "up":
            floor = State.CRITICAL
            troubles.append(f"{node} has lost its primary")
        for state in _replica_states(info):
            replicas += 1
            if state != "online":
                floor = max(floor, State.WARNING)
                troubles.append(f"a replica of {node} is not online ({state})")
    behind = max(lags.values(), default=0)
    if replicas:
        text = f"{behind:,} bytes behind, {replicas} replica{'s' if replicas > 1 else ''}"
    else:
        text = "no replicas"
    return Measurement(
        "replication_lag",
        float(behind) if replicas else None,
        "; ".join([*troubles, text]),
        floor=floor,
    )


def has_replication(info: Mapping[str, str]) -> bool:
    """Return whether a node has replicas, or is one."""
    return info.get("role") == "slave" or bool(_replica_states(info))


def _replica_states(info: Mapping[str, str]) -> list[str]:
    return [
        dict(pair.partition("=")[::2] for pair in line.split(",")).get("state", "")
        for name, line in info.items()
        if name.startswith("slave") and name[5:].isdigit()
    ]


def persists(info: Mapping[str, str], save: str | None) -> bool | None:
    """Return whether a node writes its data to disk; None when that can't be known.

    save: the setting, None when it is not to be had. Then snapshots that were made since the start
    tell, which INFO counts from Redis 7.0 on.
    """
    if info.get("aof_enabled") == "1" or save:
        return True
    if save is not None:
        return False
    saves = number(info, "rdb_saves")
    return True if saves else None


def of_persistence(
    infos: Mapping[str, tuple[Mapping[str, str], float]], saves: Mapping[str, str | None]
) -> Measurement:
    """Return how old what is on disk is. infos: node → INFO and when it was asked (Unix seconds).

    saves: node → its setting `save`. With an append-only file that is written without errors, what
    is on disk is as old as the last fsync: 0.
    """
    name, floor = "persistence_age", State.OK
    on = {node: persists(info, saves.get(node)) for node, (info, _) in infos.items()}
    if True not in on.values():
        if None in on.values():
            gap = Unavailable(
                name, "this login may not ask whether snapshots are on", "allow it with +config|get"
            )
            return Measurement(name, None, gap.reason, gap=gap)
        return Measurement(name, None, "persistence is off")
    ages, troubles = [], []
    for node, (info, now) in infos.items():
        if not on[node]:
            continue
        for field, what, worse in _SAVING:
            if info.get(field) == "err":
                floor = max(floor, worse)
                troubles.append(f"{what} of {node} failed")
        if info.get("aof_enabled") == "1":
            ages.append(0.0)
        elif (saved := number(info, "rdb_last_save_time")) is not None:
            ages.append(max(0.0, now - saved))
    age = round(max(ages)) if ages else None
    saved_text = "nothing was saved yet" if age is None else f"the last save is {age:,} s old"
    text = "written as it comes (AOF)" if age == 0 else saved_text
    return Measurement(name, age, "; ".join([*troubles, text]), floor=floor)


_SAVING = (
    ("rdb_last_bgsave_status", "the last snapshot", State.CRITICAL),
    ("aof_last_write_status", "the last write to the append-only file", State.CRITICAL),
    ("aof_last_bgrewrite_status", "the last rewrite of the append-only file", State.WARNING),
)


def share_of_keys(
    name: str, pages: Sequence[Page], strata: Mapping[str, Stratum], belongs: Grouper
) -> Measurement:
    """Return what share of the bytes the keys hold whose group is `in`, from a sample."""
    summary = summarise_sample(pages, strata, belongs)
    found = next((one for one in summary.namespaces if one.namespace == b"in"), None)
    if found is None:
        bound = "" if summary.exact else f" among {summary.drawn:,} of {summary.size:,}"
        return Measurement(name, 0.0, f"no such keys{bound}")
    share = found.share
    if summary.exact:
        return Measurement(name, round(100 * share.value, 3), f"{share.value:.1%} of the bytes")
    text = f"about {share.value:.1%} ({share.low:.1%}–{share.high:.1%}) of the bytes"
    return Measurement(name, round(100 * share.value, 3), text)


def of_audit(audit: Audit) -> Measurement:
    """Return how many keys violate the policy, and which rules the most."""
    keys = value_of(audit.violating)
    by_rule = {one.rule.name: value_of(one.violating) for one in audit.rules}
    worst = sorted(by_rule.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} {count:,.0f}" for name, count in worst if count)
    about, interval = "", ""
    if isinstance(audit.violating, Estimate) and audit.violating.low < audit.violating.high:
        about, interval = "about ", f" ({audit.violating.low:,.0f}–{audit.violating.high:,.0f})"
    text = f"{about}{keys:,.0f} keys{interval} violate the policy {audit.policy.name}"
    return Measurement("ttl_violations", float(round(keys)), text + (f": {named}" if named else ""))


def of_storms(forecast: Forecast) -> Measurement:
    """Return how many storms come, and the first of them."""
    storms = forecast.storms
    if not storms:
        return Measurement("storms", 0.0, f"none within {forecast.horizon / 3600:.0f} h")
    first = storms[0]
    names = ", ".join(one.namespace.decode("utf-8", "backslashreplace") for one in first.namespaces)
    text = (
        f"{len(storms)} within {forecast.horizon / 3600:.0f} h; the first, in {first.at:,.0f} s, "
        f"of {value_of(first.keys):,.0f} keys within {first.until - first.at:.0f} s: {names}"
    )
    return Measurement("storms", float(len(storms)), text)


def _hit_ratio(result: Traffic) -> Measurement:
    totals = result.totals
    if result.silent:
        return _replaced("hit_ratio", result)
    if totals.counts.get("hits") is None:
        return _untold("hit_ratio", "hits and misses")
    ratio = totals.hit_ratio
    if ratio is None:
        return Measurement("hit_ratio", None, f"no look-ups in {totals.seconds:.0f} s")
    few = totals.lookups < MIN_LOOKUPS
    said = ", too few to judge" if few else ""
    text = f"{ratio:.1%} of {totals.lookups:,} look-ups hit{said}"
    return Measurement("hit_ratio", round(100 * ratio, 3), text, judged=not few)


def _rate(result: Traffic, name: str, field: str) -> Measurement:
    rate = result.totals.rates.get(field)
    if result.silent:
        return _replaced(name, result)
    if rate is None:
        return _untold(name, f"keys that are {field}")
    count = result.totals.counts.get(field) or 0
    text = f"{rate:,.1f}/s {field}, {count:,} in {result.totals.seconds:.0f} s"
    return Measurement(name, round(rate, 3), text)


def _count(name: str, count: int | None, text: str) -> Measurement:
    if count is None:
        return _untold(name, text)
    return Measurement(name, float(count), f"{count:,} {text}")


def _memory(node: NodeTraffic, where: str) -> Measurement:
    gauges, info = node.gauges, node.window.after
    if gauges.used_memory is None:
        return _untold("memory", "its memory")
    if (share := gauges.used_share) is not None:
        policy = info.get("maxmemory_policy", "policy unknown")
        text = f"{share:.1%} of maxmemory used ({policy}){where}"
        return Measurement("memory", round(100 * share, 3), text)
    machine = number(info, "total_system_memory")
    resident = next((n for field in _RESIDENT_FIELDS if (n := number(info, field))), None)
    if not machine or resident is None:
        return Measurement("memory", None, "no maxmemory is set, and the machine's is not known")
    share = resident / machine
    text = f"{share:.1%} of the machine's memory used; no maxmemory is set{where}"
    return Measurement("memory", round(100 * share, 3), text)


def _fragmentation(node: NodeTraffic, where: str) -> Measurement:
    ratio = node.gauges.fragmentation
    if ratio is None:
        return _untold("fragmentation", "fragmentation")
    wasted = number(node.window.after, "mem_fragmentation_bytes")
    rss, used = (decimal(node.window.after, field) or 0 for field in _RESIDENT_FIELDS)
    lost = wasted if wasted is not None else max(0, rss - used)
    small = lost <= MIN_FRAGMENTED
    said = ", too little memory to judge" if small and ratio > 1.5 else ""
    text = f"{ratio:.2f} times what is used{where}{said}"
    return Measurement("fragmentation", round(ratio, 3), text, judged=not small)


def _worst(name: str, parts: Sequence[Measurement]) -> Measurement:
    """Return the node that is worst: judged before not, the highest value first."""
    if not parts:
        return _untold(name, "its figures")

    def weight(one: Measurement) -> tuple[bool, bool, float]:
        return one.value is not None, one.judged, one.value or 0.0

    return max(parts, key=weight)


def _replaced(name: str, result: Traffic) -> Measurement:
    reason = f"another process took the place of {', '.join(result.silent)} in the window"
    return Measurement(name, None, reason, gap=Unavailable(name, reason, "ask again"))


def _untold(name: str, what: str) -> Measurement:
    gap = Unavailable(name, f"the server does not say {what}")
    return Measurement(name, None, gap.reason, gap=gap)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g} ms"
