"""Every rule of `doctor` on facts that have what it looks for, and on facts that don't."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cachectl.analysis.doctor import configuration, keydesign, security
from cachectl.analysis.doctor.examine import RULES, Diagnosis, examine
from cachectl.analysis.doctor.facts import SETTINGS, Facts, Group, NodeState, Part
from cachectl.analysis.doctor.keydesign import glob_of
from cachectl.analysis.doctor.names import Names, names_of, tag_of
from cachectl.analysis.doctor.vulnerabilities import KNOWN, known, mended, parsed
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.model.findings import Finding, Severity, State, Suppression, Unavailable
from cachectl.model.keys import Page
from cachectl.model.servers import UserRights

TODAY = date(2026, 6, 1)
INFO = {
    "role": "master",
    "maxmemory": "1000000000",
    "maxmemory_policy": "allkeys-lru",
    "aof_enabled": "0",
    "rdb_last_bgsave_status": "ok",
}
HEALTHY_SETTINGS = {
    "save": "",
    "appendfsync": "everysec",
    "stop-writes-on-bgsave-error": "yes",
    "disable-thp": "yes",
    "maxmemory-samples": "5",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8 60",
    "repl-backlog-size": "10485760",
    "replica-read-only": "yes",
    "notify-keyspace-events": "",
    "timeout": "0",
    "tcp-keepalive": "300",
    "bind": "127.0.0.1 -::1",
    "protected-mode": "yes",
    "tls-port": "0",
    "lazyfree-lazy-eviction": "no",
    "slowlog-log-slower-than": "10000",
    "enable-debug-command": "no",
}
NAMES = Names(size=1000, drawn=1000, examples={"unseparated": b"abcdefghij", "binary": b"\xff"})
REPLICA = "ip=10.0.0.2,port=6379,state={},offset=100,lag=0"


OF_NODE = ("lag", "written", "advice", "version", "flavour")


def facts(
    info: dict[str, str] | None = None, settings: dict[str, str] | None = None, **others: Any
) -> Facts:
    own = {name: others.pop(name) for name in OF_NODE if name in others}
    settings = HEALTHY_SETTINGS | (settings or {})
    node = NodeState("n", **{"flavour": "valkey", "version": "9.1.2"} | own,
                     info=INFO | (info or {}), settings=settings)  # fmt: skip
    defaults: dict[str, Any] = {"open_door": False, "names": NAMES, "user": "me"}
    return Facts([node], **defaults | others)


def found(these: Facts, **options: Any) -> dict[str, Severity]:
    options.setdefault("today", TODAY)
    return {one.id: one.severity for one in examine(these, **options).findings}


GIANT = Finding("memory.giant", Severity.WARNING, "a giant", subject="big")
ALL = UserRights("default", True, False, "+@all", "~*")
INFO_, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
REPLICAS = {"slave0": REPLICA.format("online")}

# What plants each finding, how severe it then is, and what is nearly the same and harmless.
PLANTED: list[tuple[str, Severity, dict[str, Any], dict[str, Any]]] = [
    (
        "config.persistence_of_a_cache",
        INFO_,
        {"settings": {"save": "3600 1"}},
        {"settings": {"save": "3600 1"}, "info": {"maxmemory_policy": "noeviction"}},
    ),
    (
        "persistence.failing",
        CRITICAL,
        {"info": {"rdb_last_bgsave_status": "err"}},
        {"info": {"rdb_last_bgsave_status": "ok"}},
    ),
    (
        "persistence.failing",
        WARNING,
        {
            "info": {"rdb_last_bgsave_status": "err"},
            "settings": {"stop-writes-on-bgsave-error": "no"},
        },
        {},
    ),
    (
        "config.appendfsync_always",
        WARNING,
        {
            "info": {"aof_enabled": "1", "maxmemory_policy": "noeviction"},
            "settings": {"appendfsync": "always"},
        },
        {"settings": {"appendfsync": "always"}},
    ),
    ("config.huge_pages", WARNING, {"settings": {"disable-thp": "no"}}, {}),
    ("config.huge_pages", WARNING, {"advice": "… transparent Huge Pages …"}, {"advice": "Dave"}),
    (
        "config.replica_buffer",
        WARNING,
        {"info": REPLICAS, "settings": {"client-output-buffer-limit": "slave 0 0 0"}},
        {"settings": {"client-output-buffer-limit": "slave 0 0 0"}},
    ),
    (
        "config.replica_buffer",
        WARNING,
        {"info": REPLICAS | {"maxmemory": "1000000"}},
        {"info": REPLICAS | {"maxmemory": "2000000000"}},
    ),
    (
        "config.pubsub_buffer",
        WARNING,
        {"settings": {"client-output-buffer-limit": "normal 0 0 0 pubsub 0 0 0"}},
        {"settings": {"client-output-buffer-limit": "normal 0 0 0 pubsub 1 1 1"}},
    ),
    (
        "config.replication_backlog",
        WARNING,
        {"info": REPLICAS, "written": 1e6},
        {"info": REPLICAS, "written": 1e4},
    ),
    (
        "config.writable_replica",
        WARNING,
        {"info": {"role": "slave"}, "settings": {"replica-read-only": "no"}},
        {"settings": {"replica-read-only": "no"}},
    ),
    (
        "replication.link_down",
        CRITICAL,
        {"info": {"role": "slave", "master_link_status": "down"}},
        {"info": {"role": "slave", "master_link_status": "up"}},
    ),
    (
        "replication.not_online",
        WARNING,
        {"info": {"slave0": REPLICA.format("wait_bgsave")}},
        {"info": REPLICAS},
    ),
    ("replication.lag", WARNING, {"lag": 2000, "replica_lag": 1000}, {"lag": 2000}),
    (
        "config.events_of_everything",
        INFO_,
        {"settings": {"notify-keyspace-events": "AKE"}},
        {"settings": {"notify-keyspace-events": "Ex"}},
    ),
    (
        "config.lazy_freeing",
        INFO_,
        {"reported": {"giants": [GIANT]}},
        {"reported": {"giants": [GIANT]}, "settings": {"lazyfree-lazy-eviction": "yes"}},
    ),
    (
        "config.dead_connections",
        WARNING,
        {"settings": {"tcp-keepalive": "0"}},
        {"settings": {"tcp-keepalive": "0", "timeout": "900"}},
    ),
    ("config.nothing_logged", INFO_, {"settings": {"slowlog-log-slower-than": "-1"}}, {}),
    (
        "config.maxmemory_samples",
        INFO_,
        {"settings": {"maxmemory-samples": "1"}},
        {"settings": {"maxmemory-samples": "1"}, "info": {"maxmemory_policy": "volatile-ttl"}},
    ),
    ("security.no_password", INFO_, {"open_door": True}, {"open_door": False}),
    ("security.no_password", WARNING, {"open_door": True, "local": False}, {}),
    ("security.no_password", WARNING, {"open_door": True, "settings": {"bind": "*"}}, {}),
    (
        "security.no_password",
        CRITICAL,
        {"open_door": True, "settings": {"bind": "* -::*", "protected-mode": "no"}},
        {},
    ),
    (
        "security.open_bind",
        WARNING,
        {"settings": {"bind": "0.0.0.0", "protected-mode": "no"}},
        {"settings": {"bind": "10.0.0.1", "protected-mode": "no"}},
    ),
    ("security.no_tls", INFO_, {"local": False}, {"local": False, "encrypted": True}),
    ("security.no_tls", WARNING, {"local": False, "production": True}, {"production": True}),
    (
        "security.default_user",
        INFO_,
        {"default_user": ALL},
        {"default_user": replace(ALL, commands="+@all -@dangerous")},
    ),
    (
        "security.dangerous_commands",
        INFO_,
        {"dangerous": ["FLUSHALL"]},
        {"dangerous": ["FLUSHALL"], "user": "default", "default_user": ALL},
    ),
    (
        "security.debug_commands",
        WARNING,
        {"settings": {"enable-debug-command": "yes"}},
        {"settings": {"enable-debug-command": "local"}},
    ),
    (
        "security.old_version",
        WARNING,
        {"flavour": "redis", "version": "7.0.15"},
        {"flavour": "redis", "version": "8.6.6"},
    ),
    (
        "security.old_version",
        CRITICAL,
        {"flavour": "redis", "version": "8.8.0", "encrypted": True},
        {"flavour": "redis", "version": "8.8.0"},
    ),
    (
        "keys.long_names",
        INFO_,
        {"names": replace(NAMES, long=60, long_bytes=9000)},
        {"names": replace(NAMES, long=40, long_bytes=9000)},
    ),
    (
        "keys.no_separator",
        INFO_,
        {"names": replace(NAMES, unseparated=60)},
        {"names": replace(NAMES, unseparated=60, size=10_000)},
    ),
    (
        "keys.binary_names",
        INFO_,
        {"names": replace(NAMES, binary=60)},
        {"names": replace(NAMES, binary=60, size=50)},
    ),
    (
        "keys.one_hash_tag",
        WARNING,
        {"topology": "cluster", "names": replace(NAMES, tags={b"all": 300.0})},
        {"names": replace(NAMES, tags={b"all": 300.0})},
    ),
    (
        "keys.without_ttl",
        WARNING,
        {"namespaces": [Group(b"a:{id}", 900, 0, 1), Group(b"b:{id}", 100, 100, 1)]},
        {"namespaces": [Group(b"a:{id}", 100, 0, 1), Group(b"b:{id}", 900, 900, 1)]},
    ),
]


@pytest.mark.parametrize(
    ("name", "severity", "ill", "well"),
    PLANTED,
    ids=[f"{one[0]}-{n}" for n, one in enumerate(PLANTED)],
)
def test_rule(name: str, severity: Severity, ill: dict[str, Any], well: dict[str, Any]) -> None:
    assert found(facts(**ill)).get(name) is severity
    assert name not in found(facts(**well))


def test_every_rule_of_ours_is_planted_above() -> None:
    own = (*configuration.RULES, *security.RULES, *keydesign.RULES)
    planted = {name for name, *_ in PLANTED}
    assert {rule.id for rule in own} - {"replication"} <= planted
    assert {"replication.link_down", "replication.not_online", "replication.lag"} <= planted


def test_every_setting_that_is_asked_for_is_looked_at() -> None:
    import inspect

    code = inspect.getsource(configuration) + inspect.getsource(security)
    assert [name for name in SETTINGS if f'"{name}"' not in code] == []


def test_healthy_facts_have_no_findings_and_all_is_well() -> None:
    diagnosis = examine(facts(), today=TODAY)
    assert diagnosis.findings == []
    results = {one.rule.id: one.result for one in diagnosis.looked}
    assert results.pop("ttl") == results.pop("poisoned") == "covered"  # there is no policy
    assert set(results.values()) == {"well"}
    assert diagnosis.worst is None
    assert {verdict.state for verdict in diagnosis.verdicts} == {State.OK}


def test_the_worst_comes_first_and_nothing_twice() -> None:
    twice = {"stats": [GIANT], "giants": [GIANT]}
    diagnosis = examine(
        facts(reported=twice, info={"rdb_last_bgsave_status": "err"}, open_door=True), today=TODAY
    )
    severities = [one.severity for one in diagnosis.findings]
    assert severities == sorted(severities, reverse=True)
    assert [one.id for one in diagnosis.findings].count("memory.giant") == 1


def test_what_cannot_be_looked_at_is_neither_well_nor_ill() -> None:
    gap = Unavailable("settings", "not allowed", "allow it")
    diagnosis = examine(
        facts(settings={"disable-thp": "no"}, missing={Part.SETTINGS: gap}), today=TODAY
    )
    by_rule = {one.rule.id: one for one in diagnosis.looked}
    assert (by_rule["config.huge_pages"].result, by_rule["config.huge_pages"].reason) == (
        "unknown",
        "not allowed",
    )
    assert by_rule["persistence.failing"].result == "well"
    assert "config.huge_pages" not in {verdict.name for verdict in diagnosis.verdicts}


def test_an_open_door_is_told_once_and_nothing_behind_it_is_called_well() -> None:
    diagnosis = examine(
        facts(open_door=True, user="default", default_user=ALL, dangerous=["FLUSHALL"]), today=TODAY
    )
    assert [one.id for one in diagnosis.findings] == ["security.no_password"]
    results = {one.rule.id: one.result for one in diagnosis.looked}
    assert results["security.default_user"] == results["security.dangerous_commands"] == "covered"


# --- Suppressions -----------------------------------------------------------------------------


def suppressed(*suppressions: Suppression, **planted: Any) -> Diagnosis:
    return examine(facts(**planted), suppressions, today=TODAY)


ILL: dict[str, Any] = {"settings": {"disable-thp": "no", "tcp-keepalive": "0"}}


def test_a_suppression_hides_what_it_names_until_its_day_is_over() -> None:
    for until, hidden in ((date(2026, 6, 1), True), (date(2026, 5, 31), False)):
        diagnosis = suppressed(Suppression("config.huge_*", "known", until), **ILL)
        ids = {one.id for one in diagnosis.findings}
        assert ("config.huge_pages" in ids) is not hidden
        assert ("doctor.suppression_expired" in ids) is not hidden
        assert "config.dead_connections" in ids
        assert [one.finding.id for one in diagnosis.suppressed] == ["config.huge_pages"] * hidden
    (expired,) = [one for one in diagnosis.findings if one.id == "doctor.suppression_expired"]
    assert "known" in expired.evidence
    assert "doctor.suppression_expired" in {one.name for one in diagnosis.verdicts}


def test_a_suppression_may_be_about_one_subject() -> None:
    until = date(2027, 1, 1)
    mine = suppressed(Suppression("config.*", "known", until, "n"), **ILL)
    assert mine.findings == []
    other = suppressed(Suppression("config.*", "known", until, "another"), **ILL)
    assert len(other.findings) == 2
    assert [one.subject for one in other.unused] == ["another"]


def test_a_suppressed_rule_is_not_called_well() -> None:
    diagnosis = suppressed(Suppression("config.*", "known", date(2027, 1, 1)), **ILL)
    assert {one.rule.id for one in diagnosis.looked if one.result == "suppressed"} == {
        "config.huge_pages",
        "config.dead_connections",
    }


# --- Names ------------------------------------------------------------------------------------


def test_names_are_weighed_by_node() -> None:
    long, binary, plain = b"x:" + b"y" * 200, b"\xff\xfe:1", b"user:1"
    pages = [Page("a", [long, plain]), Page("b", [binary, b"abcdefghijkl", b"short"])]
    names = names_of(pages, {"a": Stratum(20, 2), "b": Stratum(3, 3)})
    assert (names.size, names.drawn, names.exact) == (23, 5, False)
    assert (names.long, names.long_bytes, names.longest) == (10.0, 2020.0, long)
    assert (names.binary, names.unseparated) == (1.0, 1.0)
    assert names.examples == {"binary": binary, "unseparated": b"abcdefghijkl"}


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{a}:1", b"a"), (b"x{a}{b}", b"a"), (b"{}:1", None), (b"{a", None), (b"a}", None),
        (b"{{a}}", b"{a"), (b"", None),
    ],
)  # fmt: skip
def test_hash_tags(key: bytes, tag: bytes | None) -> None:
    assert tag_of(key) == tag


def test_patterns_of_namespaces_are_quoted_for_a_shell() -> None:
    assert glob_of(b"user:{id}:profile") == "'user:*:profile'"
    assert "'" not in glob_of(b"it's:{id}")[1:-1]


# --- Vulnerabilities --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "version", "where", "ids"),
    [
        ("redis", "6.2.24", ["tls"], set()),
        ("redis", "7.2.16", ["tls"], set()),
        ("redis", "7.2.15", ["tls"], {"CVE-2026-81934"}),
        ("redis", "7.2.10", [], {"CVE-2025-49844"}),
        ("redis", "8.2.2", [], {"CVE-2026-23479", "CVE-2025-62507"}),
        ("redis", "8.2.6", [], set()),
        ("redis", "9.0.0", ["tls"], set()),
        ("redis", "7.0.15", [],
         {"CVE-2025-49844", "CVE-2025-32023", "CVE-2025-21605", "CVE-2024-31228"}),
        ("redis", "5.0.14", [], {"CVE-2022-36021", "CVE-2024-31228", "CVE-2025-49844",
                                 "CVE-2025-32023", "CVE-2025-21605"}),
        ("valkey", "9.1.2", ["tls", "cluster"], set()),
        ("valkey", "9.1.1", [], {"GHSA-fq2f-crmw-q97r"}),
        ("valkey", "8.1.8", [], {"CVE-2026-63639"}),
        ("valkey", "8.1.8", ["tls"], {"CVE-2026-63639", "CVE-2026-56684"}),
        ("valkey", "9.0.2", ["cluster"], {"CVE-2026-27623", "CVE-2026-21863", "CVE-2026-63639"}),
        ("dragonfly", "1.0.0", [], set()),
        ("valkey", "unstable", [], set()),
    ],
)  # fmt: skip
def test_known_vulnerabilities(flavour: str, version: str, where: list[str], ids: set[str]) -> None:
    assert {one.id for one in known(flavour, version, where)} == ids


@pytest.mark.parametrize("flavour", ["redis", "valkey"])
def test_what_to_upgrade_to_has_no_known_flaw_itself(flavour: str) -> None:
    versions = {
        f"{a}.{b}.{max(0, c - 1)}"
        for one in KNOWN
        if one.flavour == flavour
        for a, b, c in one.fixed.values()
    }
    for version in versions:
        for where in ([], ["tls"], ["tls", "cluster"]):
            if known(flavour, version, where):
                better = mended(flavour, version, where)
                assert parsed(better) > parsed(version)
                assert known(flavour, better, where) == []


def test_rules_have_different_names() -> None:
    names = [rule.id for rule in RULES]
    assert len(names) == len(set(names))


def test_the_same_of_several_nodes_is_one_finding_of_them_all() -> None:
    one = facts(settings={"disable-thp": "no"})
    many = replace(one, nodes=[replace(one.nodes[0], node=f"n{number}") for number in range(3)])
    (finding,) = examine(many, today=TODAY).findings
    assert (finding.id, finding.subject) == ("config.huge_pages", "n0, n1, n2")
    assert finding.evidence == "disable-thp is no, on n0; and 2 more"
    kept = examine(many, [Suppression("*", "known", date(2027, 1, 1), "n1")], today=TODAY)
    assert [one.subject for one in kept.findings] == ["n0, n2"]


def test_fields_that_a_fork_does_not_have_or_calls_minus_one_are_no_reason_to_fail() -> None:
    for info in ({}, dict.fromkeys(INFO, "-1"), dict.fromkeys(INFO, "x")):
        node = NodeState("n", "dragonfly", "1.2", info, {})
        diagnosis = examine(Facts([node], open_door=False), today=TODAY)
        assert diagnosis.findings == []
