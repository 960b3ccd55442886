"""`scan --save` and `--resume`: what was read is kept, and gone on with, whatever stops it."""

from __future__ import annotations

import gzip
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filling import fill, keys_of
from programs import cachectl, cachectl_started
from proxies import Proxy
from servers import TestServer
from topologies import TestCluster, wait_until

from cachectl.model.keys import NO_TTL
from cachectl.storage.snapshots import Snapshot

SLOW = ("--rate", "2000")


def keys_in(path: Path) -> Counter[bytes]:
    return Counter(key for page in Snapshot(path).pages() for key in page.keys)


def interrupted(url: str, path: Path, number: int = signal.SIGINT, *words: str) -> Any:
    """Scan slowly into `path`, and stop it when some pages are in."""
    with cachectl_started("-v", "--url", url, "scan", *words, *SLOW, "--save", str(path)) as run:
        _until_read(run)
        run.signal(number)
        return run.finish()


def _until_read(run: Any) -> None:
    time.sleep(2.0)
    assert run.process.poll() is None, run.err


def test_a_snapshot_is_the_scan(server: TestServer, tmp_path: Path) -> None:
    fill(server, 3000)
    path = tmp_path / "a.ndjson.gz"
    done = cachectl("--url", server.url, "scan", "--save", str(path), "-o", "json").check(0)
    assert f"3,000 keys saved to {path}" in done.stderr
    assert keys_in(path) == Counter(keys_of(3000))
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    reported = {row["namespace"]: row for row in done.json["namespaces"]}
    saved: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        saved.setdefault(row["namespace"], []).append(row)
    assert saved.keys() == reported.keys()
    for name, mine in saved.items():
        assert len(mine) == reported[name]["keys"]
        assert sum(row["bytes"] for row in mine) == reported[name]["bytes"]
        assert sum(row["ttl"] is None for row in mine) == reported[name]["no_ttl"]
        assert Counter(row["type"] for row in mine) == reported[name]["types"]
    page = next(Snapshot(path).pages())
    assert server.run("PTTL", page.keys[0]) == pytest.approx(page.ttls[0], abs=20_000)
    assert page.sizes[0] == server.run("MEMORY", "USAGE", page.keys[0])


@pytest.mark.parametrize("by", ["type", "prefix", "node"])
def test_namespaces_are_saved_however_the_report_groups(
    valkey: TestServer, tmp_path: Path, by: str
) -> None:
    fill(valkey, 500)
    path = tmp_path / "a.ndjson"
    cachectl("--url", valkey.url, "scan", "--by", by, "--save", str(path)).check(0)
    names = {json.loads(line)["namespace"] for line in path.read_text().splitlines()}
    assert "session:{hex}" in names


def test_names_that_fold_while_they_are_scanned(valkey: TestServer, tmp_path: Path) -> None:
    """More groups than are kept at once: rows are named as the report names them."""
    with valkey.client() as client:
        for start in range(0, 30_000, 5000):
            pairs = {f"w{_word(n)}:state:x": 1 for n in range(start, start + 5000)}
            client.mset(pairs)
    path = tmp_path / "a.ndjson"
    done = cachectl("--url", valkey.url, "scan", "--save", str(path), "-o", "json").check(0)
    names = Counter(json.loads(line)["namespace"] for line in path.read_text().splitlines())
    assert names == {row["namespace"]: row["keys"] for row in done.json["namespaces"]}
    assert done.json["keys"] == 30_000


def _word(number: int) -> str:
    letters = ""
    for _ in range(5):
        number, rest = divmod(number * 7 + 3, 26)
        letters += chr(97 + rest)
        number += rest * 31
    return letters


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_stopped_goes_on(
    server: TestServer, tmp_path: Path, number: int, code: int
) -> None:
    fill(server, 20_000)
    path = tmp_path / "part.ndjson.gz"
    done = interrupted(server.url, path, number)
    assert done.exit_code == code, done
    assert "partial: not everything" in done.stderr
    info = Snapshot(path).info
    assert info.partial
    assert 0 < info.keys < 20_000
    assert f"--resume {path}" in done.stderr
    found = cachectl("--url", server.url, "scan", "--resume", str(path), "-o", "json").check(0)
    assert found.json["keys"] == 20_000
    assert keys_in(path) == Counter(keys_of(20_000))
    assert not Snapshot(path).info.partial
    again = cachectl("--url", server.url, "scan", "--resume", str(path)).check(2)
    assert "complete" in again.stderr


def test_a_stop_shows_what_was_seen(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    with cachectl_started("--url", valkey.url, "scan", *SLOW, "-o", "json") as run:
        _until_read(run)
        run.signal(signal.SIGINT)
        done = run.finish()
    assert done.exit_code == 130
    assert done.json["partial"] is True
    assert 0 < done.json["keys"] < 20_000
    assert done.json["keys"] == sum(row["keys"] for row in done.json["namespaces"])
    for row in done.json["namespaces"]:
        assert sum(row["types"].values()) == row["keys"]


def test_a_resumed_scan_keeps_its_pattern(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey, 20_000)
    everything = cachectl("--url", valkey.url, "scan", "--type", "hash", "-o", "json").json
    path = tmp_path / "part.ndjson"
    interrupted(valkey.url, path, signal.SIGINT, "user:*", "--type", "hash")
    cachectl("--url", valkey.url, "scan", "x*", "--resume", str(path)).check(2)
    cachectl("--url", valkey.url, "scan", "--type", "set", "--resume", str(path)).check(2)
    found = cachectl("--url", valkey.url, "scan", "--resume", str(path), "-o", "json").check(0)
    assert {*found.json["types"]} == {"hash"}
    assert found.json["keys"] == sum(
        row["keys"] for row in everything["namespaces"] if row["namespace"].startswith("user:")
    )
    assert (Snapshot(path).info.match, Snapshot(path).info.type) == ("user:*", "hash")


def test_a_restarted_server_is_read_anew(
    start_server: Callable[..., TestServer], tmp_path: Path
) -> None:
    """A cursor holds for one process; so nothing of the earlier part may be left."""
    server = start_server("valkey-9.1")
    fill(server, 20_000)
    path = tmp_path / "part.ndjson.gz"
    interrupted(server.url, path)
    before = Snapshot(path).info.keys
    server.run("SAVE")
    server.restart()
    wait_until("it is loaded", lambda: server.info("persistence")["loading"] == 0)
    keys = server.run("DBSIZE")
    done = cachectl("--url", server.url, "scan", "--resume", str(path), "-o", "json").check(0)
    assert "it is read again" in done.stderr
    assert done.json["keys"] == keys
    assert before
    assert sum(keys_in(path).values()) == keys


def test_only_what_fits_is_gone_on_with(
    valkey: TestServer, start_server: Callable[..., TestServer], tmp_path: Path
) -> None:
    fill(valkey, 20_000)
    path = tmp_path / "part.ndjson"
    interrupted(valkey.url, path)
    other = start_server("valkey-9.1")
    done = cachectl("--url", other.url, "scan", "--resume", str(path)).check(7)
    assert valkey.address in done.stderr
    cachectl("--url", f"{valkey.url}/3", "scan", "--resume", str(path)).check(7)
    path.write_bytes(path.read_bytes()[:-100])
    cachectl("--url", valkey.url, "scan", "--resume", str(path)).check(7)
    cachectl("--url", valkey.url, "scan", "--resume", str(tmp_path / "none")).check(2)


def test_a_node_that_dies_is_named_and_gone_on_with(cluster: TestCluster, tmp_path: Path) -> None:
    fill(cluster, 9000)
    profile = tmp_path / "shards.yaml"
    profile.write_text(
        f"cluster: {{nodes: [{', '.join(cluster.addresses)}]}}\ntimeouts: {{reply: 1s}}\n"
    )
    path = tmp_path / "part.ndjson.gz"
    victim = cluster.primaries[1]
    words = ("-p", str(profile), "scan", "--rate", "3000", "--save", str(path), "-o", "json")
    with cachectl_started(*words) as run:
        _until_read(run)
        victim.suspend()
        try:
            done = run.finish(timeout=60)
        finally:
            victim.resume()
    done.check(3)
    assert done.json["partial"] is True
    assert any(victim.address in error for error in done.json["errors"])
    assert f"-p {profile} scan --resume {path}" in done.stderr
    cluster.wait_ok()
    found = cachectl("-p", str(profile), "scan", "--resume", str(path), "-o", "json").check(0)
    assert found.json["keys"] == 9000
    assert keys_in(path) == Counter(keys_of(9000))


def test_the_disk_is_asked_before_the_server(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey, 100)
    letter = tmp_path / "letter"
    letter.write_text("dear all")
    for name in ("letter", "none/a.ndjson", "a.csv"):
        done = cachectl("--url", valkey.url, "scan", "--save", str(tmp_path / name)).check(2)
        assert done.stdout == ""
    assert letter.read_text() == "dear all"
    assert "scan" not in valkey.command_calls()


def test_a_lost_connection_loses_nothing(
    server: TestServer, start_proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    fill(server, 5000)
    proxy = start_proxy(server)
    proxy.cut_after(40_000)
    path = tmp_path / "a.ndjson"
    cachectl("--url", proxy.url, "scan", "--save", str(path)).check(0)
    assert keys_in(path) == Counter(keys_of(5000))


def test_ttls_that_could_not_be_had_are_not_none(server: TestServer, tmp_path: Path) -> None:
    fill(server, 100)
    password = server.add_user(
        "reader", "~*", "-@all", "+scan", "+type", "+dbsize", "+info", "+ping"
    )
    url = server.url.replace("redis://", "redis://reader@")
    path = tmp_path / "a.ndjson"
    env = {"REDISCLI_AUTH": password}
    cachectl("--url", url, "scan", "--save", str(path), env=env).check(0)
    pages = [*Snapshot(path).pages()]
    assert {page.ttls is None for page in pages} == {True}
    assert pages[0].types
    assert NO_TTL == -1


def _imported(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        reason = f"{name} is not installed"
        print(reason, file=sys.stderr)
        return pytest.skip(reason)


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_duckdb_reads_it_as_it_is(valkey: TestServer, tmp_path: Path, name: str) -> None:
    duckdb = _imported("duckdb")
    filled = fill(valkey, 2000)
    valkey.run("SET", b"\xff\x00", "x")
    path = tmp_path / name
    cachectl("--url", valkey.url, "scan", "--save", str(path)).check(0)
    question = f"SELECT count(*), count(*) FILTER (ttl IS NULL), count(key_b64) FROM '{path}'"
    assert duckdb.sql(question).fetchall() == [(2001, filled.no_ttl + 1, 1)]


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_pandas_reads_it_as_it_is(valkey: TestServer, tmp_path: Path, name: str) -> None:
    pandas = _imported("pandas")
    filled = fill(valkey, 2000)
    path = tmp_path / name
    cachectl("--url", valkey.url, "scan", "--save", str(path)).check(0)
    frame = pandas.read_json(path, lines=True)
    assert len(frame) == 2000
    assert int(frame.ttl.isna().sum()) == filled.no_ttl
