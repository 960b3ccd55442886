"""`cachectl scan` as its users meet it: on every flavour, for people and for programs."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filling import fill
from programs import Outcome, cachectl, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import TestCluster, TestSentinels, wait_until


def scan(server: TestServer | str, *words: str, **options: Any) -> Outcome:
    url = server if isinstance(server, str) else server.url
    return cachectl("--url", url, "scan", *words, **options)


def cluster_profile(cluster: TestCluster, directory: Path) -> str:
    path = directory / "shards.yaml"
    nodes = ", ".join(cluster.addresses)
    path.write_text(f"cluster: {{nodes: [{nodes}]}}\n", encoding="utf-8")
    return str(path)


def namespaces(server: TestServer | str, *words: str) -> dict[str, dict[str, Any]]:
    found = scan(server, *words, "-o", "json").check(0).json
    return {one["namespace"]: one for one in found["namespaces"]}


def test_json_is_what_scripts_count_on(server: TestServer) -> None:
    filled = fill(server, 3000)
    found = scan(server, "-o", "json").check(0).json
    assert found["schema"] == "cachectl.scan/1"
    assert found["keys"] == 3000
    assert found["sample"] is None
    assert found["partial"] is False
    assert found["types"] == filled.by_type
    assert found["no_ttl"] == filled.no_ttl
    rows = found["namespaces"]
    for figure in ("keys", "bytes", "no_ttl"):
        assert sum(row[figure] for row in rows) == found[figure]
    types: Counter[str] = Counter()
    for row in rows:
        types.update(row["types"])
        assert row["idle_p50"] is not None
        assert row["freq_p50"] is None
    assert types == filled.by_type
    hits = int(server.info("stats")["keyspace_hits"])
    assert found["own_lookups"] == hits


def test_resp2_and_resp3_give_the_same(server: TestServer, start_proxy: Callable[..., Any]) -> None:
    for number in range(50):
        server.run("SET", f"k:{number}", "x", "EX", 10_000_000)
    proxy = start_proxy(server)
    documents = []
    for _ in range(2):
        found = scan(proxy.url, "-o", "json").check(0).json
        for volatile in ("generated_at", "seconds", "server"):
            del found[volatile]
        for row in found["namespaces"]:
            for volatile in ("ttl_p50", "ttl_p95", "idle_p50", "idle_p95"):
                row.pop(volatile)
        documents.append(found)
        proxy.resp2_only()
    assert documents[0] == documents[1]


def test_lfu_policy_has_frequencies(server: TestServer) -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    fill(server, 500)
    found = scan(server, "-o", "json").check(0).json
    assert all(row["freq_p50"] is not None for row in found["namespaces"])
    assert all(row["idle_p50"] is None for row in found["namespaces"])
    assert "freq" in scan(server, "-o", "table", columns=120).check(0).stdout


def test_an_empty_database(valkey: TestServer) -> None:
    done = scan(valkey).check(0)
    assert "No keys." in done.stdout
    found = scan(valkey, "-o", "json").check(0).json
    assert (found["keys"], found["bytes"], found["namespaces"]) == (0, None, [])
    sampled = scan(valkey, "--sample", "100", "-o", "json").check(0).json
    assert (sampled["keys"], sampled["sample"], sampled["namespaces"]) == (0, None, [])


def test_database_15(valkey: TestServer) -> None:
    fill(valkey, 200, db=15)
    assert scan(f"{valkey.url}/15", "-o", "json").check(0).json["keys"] == 200
    assert scan(valkey, "-o", "json").check(0).json["keys"] == 0


def test_pattern_and_type(valkey: TestServer) -> None:
    filled = fill(valkey, 2000)
    only = scan(valkey, "session:*", "-o", "json").check(0).json
    assert only["keys"] == filled.by_namespace["session"]
    assert scan(valkey, "--match", "session:*", "-o", "json").json["keys"] == only["keys"]
    hashes = scan(valkey, "--type", "hash", "-o", "json").check(0).json
    assert hashes["types"] == {"hash": filled.by_type["hash"]}
    scan(valkey, "a*", "--match", "b*").check(2)


def test_grouping(valkey: TestServer) -> None:
    filled = fill(valkey, 2000)
    by_type = namespaces(valkey, "--by", "type")
    assert {name: row["keys"] for name, row in by_type.items()} == filled.by_type
    assert {*namespaces(valkey, "--by", "node")} == {valkey.address}
    prefixes = namespaces(valkey, "--by", "prefix")
    assert prefixes["session:*"]["keys"] == filled.by_namespace["session"]
    deeper = namespaces(valkey, "--by", "prefix", "--depth", "2")
    assert "api:v1:*" in deeper
    shallow = namespaces(valkey, "--depth", "1")
    assert shallow["user:*"]["keys"] == sum(
        row["keys"] for name, row in namespaces(valkey).items() if name.startswith("user:")
    )


@pytest.mark.parametrize(
    ("sort", "figure"),
    [
        ("bytes", "bytes"),
        ("keys", "keys"),
        ("no-ttl", "no_ttl"),
        ("ttl", "ttl_p50"),
        ("idle", "idle_p50"),
    ],
)
def test_sorting_and_limit(valkey: TestServer, sort: str, figure: str) -> None:
    fill(valkey, 2000)
    done = scan(valkey, "--sort", sort, "--limit", "4", "-o", "json").check(0).json
    values = [row[figure] or 0 for row in done["namespaces"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == 4
    assert done["keys"] == 2000
    names = [*namespaces(valkey, "--sort", "name")]
    assert names == sorted(names)


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_a_screen_shows_names_whole(valkey: TestServer, columns: int) -> None:
    fill(valkey, 20_000)
    lines = scan(valkey, "-o", "table", columns=columns).check(0).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for important in ("price:hist:{ticker}:{date}", "api:v1:{uuid}", "TTL p50", "\u2588", "keys"):
        assert important in text
    total = next(line for line in lines if line.startswith("all "))
    assert "20,000" in total
    assert "2,600" in total


def test_hostile_names(valkey: TestServer) -> None:
    names = [
        b"\x1b[2J:1",
        b"a\nb:1",
        b"[red]:1",
        b":key:",
        b"\xff\xfe:1",
        b"",
        "\u202eabc:1".encode(),
    ]
    for name in names:
        valkey.run("SET", name, "x")
    done = scan(valkey, "-o", "table").check(0)
    assert "\x1b[2J" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "[red]:" in done.stdout
    found = scan(valkey, "-o", "json").check(0).json
    assert found["keys"] == len(names)
    assert sum(row["keys"] for row in found["namespaces"]) == len(names)


def test_a_login_that_may_scan_but_not_type(server: TestServer) -> None:
    fill(server, 300)
    password = server.add_user(
        "reader", "~*", "-@all", "+scan", "+pttl", "+dbsize", "+info", "+ping"
    )
    url = server.url.replace("redis://", "redis://reader@")
    found = scan(url, "-o", "json", env={"CACHECTL_PASSWORD": password, "REDISCLI_AUTH": password})
    document = found.check(0).json
    assert document["keys"] == 300
    assert document["bytes"] is None
    assert document["types"] == {}
    missing = {gap["what"] for gap in document["unavailable"]}
    assert {"type", "bytes", "idle"} <= missing
    assert document["no_ttl"] == sum(row["no_ttl"] for row in document["namespaces"])


def test_keys_that_the_login_may_not_read_are_counted(valkey: TestServer) -> None:
    for number in range(20):
        valkey.run("SET", f"app:{number}", "x")
        valkey.run("SET", f"secret:{number}", "x")
    password = valkey.add_user("reader", "~app:*", "+@all")
    url = valkey.url.replace("redis://", "redis://reader@")
    found = scan(url, "-o", "json", env={"REDISCLI_AUTH": password}).check(0).json
    assert (found["keys"], found["unreadable"]) == (20, 20)


def test_a_sample_says_how_sure_it_is(server: TestServer) -> None:
    filled = fill(server, 20_000)
    found = scan(server, "--sample", "2000", "-o", "json").check(0).json
    assert 2000 <= found["sample"]["size"] < 3000
    assert found["sample"]["confidence"] == 0.95
    assert (found["keys_low"], found["keys"], found["keys_high"]) == (20_000,) * 3
    assert found["bytes_low"] < found["bytes"] < found["bytes_high"]
    for row in found["namespaces"]:
        assert row["keys_low"] <= row["keys"] <= row["keys_high"]
        for kind, keys in row["types"].items():
            assert row["types_low"][kind] <= keys <= row["types_high"][kind]
    rows = scan(server, "--sample", "2000", "--by", "type", "-o", "json").json["namespaces"]
    held = [row["keys_low"] <= filled.by_type[row["namespace"]] <= row["keys_high"] for row in rows]
    assert sum(held) >= 3  # of six; each may miss once in twenty, so four do once in ten thousand
    people = scan(server, "--sample", "2000", "-o", "table").check(0).stdout
    assert "\u00b1" in people
    assert "a sample: 2," in people


def test_a_sample_of_few_keys_is_exact(valkey: TestServer) -> None:
    filled = fill(valkey, 300)
    found = scan(valkey, "--sample", "20000", "-o", "json").check(0).json
    assert found["sample"] is None
    assert found["types"] == filled.by_type
    assert "keys_low" not in found


@pytest.mark.parametrize("by", ["prefix", "type", "node", "template"])
def test_a_sample_by_anything(valkey: TestServer, by: str) -> None:
    fill(valkey, 5000)
    found = scan(valkey, "--sample", "500", "--by", by, "--depth", "1", "-o", "json").check(0).json
    assert found["by"] == by
    total = sum(row["keys"] for row in found["namespaces"])
    assert total == pytest.approx(5000, abs=len(found["namespaces"]))


def test_sample_excludes_what_needs_all_keys(valkey: TestServer) -> None:
    scan(valkey, "--sample", "10", "--save", "x.ndjson").check(2)
    scan(valkey, "--sample", "10", "--resume", "x.ndjson").check(2)
    scan(valkey, "--sample", "0").check(2)
    scan(valkey, "--sample", "10000000").check(2)


def test_a_cluster_as_a_whole(cluster: TestCluster, tmp_path: Path) -> None:
    profile = cluster_profile(cluster, tmp_path)
    filled = fill(cluster, 3000)
    found = cachectl("-p", profile, "scan", "-o", "json").check(0).json
    assert (found["keys"], found["types"]) == (3000, filled.by_type)
    rows = cachectl("-p", profile, "scan", "--by", "node", "-o", "json").json["namespaces"]
    by_node = {row["namespace"]: row["keys"] for row in rows}
    assert by_node == {node.address: node.run("DBSIZE") for node in cluster.primaries}
    sampled = cachectl("-p", profile, "scan", "--sample", "600", "-o", "json").check(0).json
    assert sampled["keys"] == 3000


def test_through_sentinels(start_sentinel: Callable[..., TestSentinels]) -> None:
    trio = start_sentinel("valkey-9.1", replicas=1)
    fill(trio.primary, 500)
    hosts = ",".join(trio.addresses)
    found = scan(f"redis+sentinel://{hosts}/{trio.name}", "-o", "json").check(0).json
    assert found["keys"] == 500
    assert found["server"]["topology"] == "sentinel"


def test_expired_keys_that_dbsize_counts(valkey: TestServer) -> None:
    """DBSIZE counts keys that have expired and are still there; a scan does not."""
    valkey.run("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        for number in range(40):
            valkey.run("SET", f"gone:{number}", "x", "PX", 1)
            valkey.run("SET", f"here:{number}", "x")
        found = scan(valkey, "-o", "json").check(0).json
        assert found["keys"] == 40
        assert [row["namespace"] for row in found["namespaces"]] == ["here:{id}"]
    finally:
        valkey.run("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def scans(server: TestServer) -> int:
    """Return how many SCANs a server has answered."""
    found = server.info("commandstats").get("cmdstat_scan", {"calls": 0})
    return int(found["calls"])


def test_a_long_scan_is_announced(valkey: TestServer) -> None:
    fill(valkey, 2000)
    words = ("--url", valkey.url, "scan", "--rate", "50", "--match", "nothing:*", "-o", "json")
    with cachectl_started(*words) as run:
        run.wait_for("--sample 20000")
        before = scans(valkey)
        wait_until("it scans", lambda: scans(valkey) > before)
        run.signal(signal.SIGINT)
        done = run.finish()
    assert "a full scan of 2,000 keys will take about 40s" in done.stderr
    assert done.check(130).json["partial"] is True


def test_a_person_sees_a_sample_before_a_long_scan(valkey: TestServer) -> None:
    fill(valkey, 4000)
    words = ("--url", valkey.url, "scan", "--rate", "100")
    with cachectl_tty(*words, columns=100, rows=60) as screen:
        screen.expect(r"a full scan of 4,000 keys will take about 40s")
        screen.expect(r"a sample: \d+ of 4,000 keys")
        screen.expect(r"% of 4,000 keys")
        screen.ctrl_c()
        done = screen.finish()
        assert done.exit_code == 130
        assert "partial" in screen.text
        screen.sane()


def test_formats_of_a_pipe(valkey: TestServer) -> None:
    fill(valkey, 500)
    for form in ("plain", "csv", "tsv", "ndjson", "yaml", "markdown", "table"):
        done = scan(valkey, "-o", form).check(0)
        assert "\x1b" not in done.stdout
        assert "session" in done.stdout
