"""`warm run` as its users meet it: guards, estimates, exit codes, and reports for people and CI."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET

import pytest
from programs import cachectl, cachectl_started

MANIFEST = """\
manifest: 1
sources:
  products:
    file: products.ndjson
entries:
  - source: products
    key: "product:{id}"
    ttl: 1h
    tags: ["tag:shop:{shop}"]
  - name: prices
    source: products
    key: "price:{id}"
    type: hash
    value: {columns: [id, price]}
    ttl: 30m
"""


@pytest.fixture
def catalogue(tmp_path):
    """A manifest of 300 products, which make 600 keys."""
    path = tmp_path / "catalogue.yaml"
    path.write_text(MANIFEST)
    rows(tmp_path, range(300))
    return path


def rows(directory, numbers):
    lines = [json.dumps({"id": i, "price": i / 4, "shop": i % 7}) for i in numbers]
    (directory / "products.ndjson").write_text("\n".join(lines) + "\n")


def warm(server, manifest, *words, **options):
    return cachectl("--url", server.url, "warm", "run", manifest, *words, **options)


def names(server):
    return [k for k in server.client(protocol=2).scan_iter(count=1000) if k[:9] != b"cachectl:"]


def test_what_the_manifest_says_is_written(any_server, catalogue):
    done = warm(any_server, catalogue, "-o", "json").check(0)
    report = done.json
    assert (report["written"], report["kept"], report["failed"]) == (600, 0, 0)
    assert "about 600 keys to warm" in done.stderr
    client = any_server.client(protocol=2)
    assert json.loads(client.get("product:7")) == {"id": 7, "price": 1.75, "shop": 0}
    assert client.hgetall("price:8") == {b"id": b"8", b"price": b"2.0"}
    assert client.scard("tag:shop:3") == 43
    assert len(names(any_server)) == 607
    again = warm(any_server, catalogue, "-o", "json").check(0).json
    assert (again["written"], again["kept"], again["failed"]) == (0, 600, 0)


def test_a_dry_run_shows_the_estimate_and_changes_nothing(any_server, catalogue):
    rows(catalogue.parent, range(400))
    shown = warm(any_server, catalogue, "--dry-run", "-o", "json").check(0).json
    assert shown["keys"] == 800
    assert shown.get("bytes_low", 0) <= shown["bytes"]
    assert [one["is_measured"] for one in shown["entries"]] == [True, True]
    assert names(any_server) == []
    warm(any_server, catalogue).check(0)
    client = any_server.client(protocol=2)
    kept = [key for key in names(any_server) if not key.startswith(b"tag:")]
    taken = sum(client.memory_usage(key) for key in kept)
    assert taken < shown["bytes"] < 2 * taken  # hash tables come on top


def test_a_bad_row_is_told_with_exit_code_3(any_server, catalogue):
    with (catalogue.parent / "products.ndjson").open("a") as file:
        file.write("nonsense\n" + json.dumps({"price": 1}) + "\n")
    done = warm(any_server, catalogue, "-o", "json").check(3).json
    assert (done["written"], done["failed"], done["partial"]) == (600, 4, True) or done[
        "failed"
    ] in (3, 4)
    assert {one["row"] for one in done["failures"]} == {301, 302}
    assert "--resume" in warm(any_server, catalogue).check(3).stderr


def test_junit_has_a_case_for_each_entry_and_source(any_server, catalogue):
    document = ET.fromstring(warm(any_server, catalogue, "-o", "junit").check(0).out)
    cases = {case.get("name"): case for case in document.iter("testcase")}
    assert set(cases) == {"entry.products", "entry.prices", "source.products"}
    assert not list(document.iter("failure"))
    any_server.run("SET", "tag:shop:1", "no set")
    any_server.run("DEL", "product:1")
    document = ET.fromstring(warm(any_server, catalogue, "-o", "junit").check(3).out)
    assert [case.get("name") for case in document.iter("testcase") if len(case)] == [
        "entry.products"
    ]


def test_nothing_is_written_where_nothing_may_be(any_server, catalogue, tmp_path):
    profile = tmp_path / "prod.yaml"
    text = f"host: {any_server.host}\nport: {any_server.port}\n"
    profile.write_text(text + "read_only: true\n")
    assert "read-only" in cachectl("-p", profile, "warm", "run", catalogue).check(5).stderr
    profile.write_text(text + "environment: production\n")
    done = cachectl("-p", profile, "warm", "run", catalogue).check(5)
    assert "--confirm prod" in done.stderr
    login = any_server.add_user("writer", "~*", "+@all", "-hset", password="secret")
    url = any_server.url.replace("redis://", "redis://writer@")
    env = {"REDISCLI_AUTH": login}
    denied = cachectl("--url", url, "warm", "run", catalogue, env=env).check(5)
    assert "HSET" in denied.stderr
    assert names(any_server) == []
    cachectl("-p", profile, "warm", "run", catalogue, "--confirm", "prod").check(0)
    assert len(names(any_server)) == 607


def test_a_replica_takes_nothing(start_server, catalogue):
    primary, replica = start_server("valkey-9.1"), start_server("valkey-9.1")
    replica.run("REPLICAOF", primary.host, primary.port)
    assert "replica" in warm(replica, catalogue).check(5).stderr


def test_a_server_without_room_is_spared(any_server, catalogue):
    rows(catalogue.parent, range(5000))
    any_server.admin.mset({f"other:{i}": "x" * 300 for i in range(20_000)})
    used = any_server.info("memory")["used_memory"]
    any_server.run("CONFIG", "SET", "maxmemory", used + 300_000)
    any_server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    done = warm(any_server, catalogue).check(5)
    assert "would be evicted" in done.stderr
    assert "--allow-evictions" in done.stderr
    assert {name[:6] for name in names(any_server)} == {b"other:"}
    any_server.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert "refuse the rest" in warm(any_server, catalogue).check(5).stderr
    any_server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    warm(any_server, catalogue, "--allow-evictions").check(0)
    assert any_server.info("stats")["evicted_keys"] > 0


def test_ctrl_c_leaves_what_resume_goes_on_from(any_server, catalogue):
    rows(catalogue.parent, range(20_000))
    words = ("--url", any_server.url, "warm", "run", catalogue, "--rate", "2000", "-o", "json")
    with cachectl_started(*words) as running:
        running.wait_for("keys to warm")
        while any_server.admin.dbsize() < 500:
            assert running.process.poll() is None
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.exit_code == 130
    assert "--resume" in done.stderr
    assert "--resume would go on" in warm(any_server, catalogue, "--max-time", "1ms").stderr
    ended = warm(any_server, catalogue, "--resume", "-o", "json").check(0).json
    assert ended["written"] + ended["kept"] == 40_000
    assert "anew" in warm(any_server, catalogue, "--resume").check(0).stderr


def test_the_time_budget_ends_with_exit_code_3(any_server, catalogue):
    done = warm(any_server, catalogue, "--max-time", "1ms", "-o", "json").check(3).json
    assert "time is over" in done["stopped"]
    assert warm(any_server, catalogue, "--resume", "-o", "json").check(0).json["written"] == 600


def test_a_line_in_the_audit_log(any_server, catalogue, isolated_home):
    warm(any_server, catalogue, "--audit-stream", "audit").check(0)
    line = json.loads(next((isolated_home / ".state").rglob("audit*")).read_text().splitlines()[-1])
    assert line["event"] == "warm"
    assert line["outcome"]["written"] == 600
    assert any_server.admin.xlen("audit") == 1


def test_what_does_not_fit_together_is_a_usage_error(any_server, catalogue):
    warm(any_server, catalogue, "--resume", "--dry-run").check(2)
    warm(any_server, catalogue, "--max-time", "soon").check(2)
    catalogue.write_text(MANIFEST.replace("    ttl: 1h\n", ""))
    assert "how long" in warm(any_server, catalogue).check(2).stderr


def test_every_flavour_is_warmed_and_quiet_is_quiet(server, catalogue):
    done = cachectl("-q", "--url", server.url, "warm", "run", catalogue, "-o", "json").check(0)
    assert done.json["written"] == 600
    assert done.err == b""


@pytest.mark.parametrize("output", ["plain", "csv"])
def test_formats(any_server, catalogue, output):
    done = warm(any_server, catalogue, "-o", output).check(0)
    assert b"products" in done.out
    assert b"\x1b" not in done.out


def test_a_cluster(cluster, catalogue, tmp_path):
    node = cluster.primaries[0]
    profile = tmp_path / "cluster.yaml"
    profile.write_text(f"host: {node.host}\nport: {node.port}\ntopology: cluster\n")
    done = cachectl("-p", profile, "warm", "run", catalogue, "-o", "json").check(0).json
    assert (done["written"], done["failed"]) == (600, 0)
    client = cluster.client()
    assert client.scard("tag:shop:3") == 43
    assert client.hgetall("price:8") == {b"id": b"8", b"price": b"2.0"}
    client.close()
