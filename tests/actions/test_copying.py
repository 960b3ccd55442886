from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from programs import cachectl
from rows import entry, read, rendered
from servers import TestServer
from topologies import TestCluster

from cachectl.actions.warming.copying import CopyReader
from cachectl.config.manifest import Allowed, Ttl, Value
from cachectl.config.manifests import load_manifest
from cachectl.errors import RefusedError
from cachectl.model.keys import NO_TTL
from cachectl.model.values import LogicalValue
from cachectl.sources.interface import Source, SourceError
from cachectl.sources.opening import open_source

HOUR = 3_600_000


def copying(directory: Path, source: str, *, allowed: Allowed | None = None) -> Source:
    path = directory / "m.yaml"
    path.write_text(
        f"manifest: 1\nsources: {{s: {source}}}\nentries: [{{source: s, key: '{{key}}'}}]"
    )
    manifest = load_manifest(path)
    reader = CopyReader(manifest, dict(os.environ), allowed or Allowed())
    return open_source(manifest.sources["s"], manifest, reader=reader)


def profile(directory: Path, server: TestServer, more: str = "") -> None:
    (directory / "prod.yaml").write_text(f"host: {server.host}\nport: {server.port}\n{more}")


def by_key(source: Source) -> dict[bytes, Any]:
    rows, problems = read(source)
    assert problems == []
    return {row["key"]: row for row in rows}


def fill(client: Any) -> None:
    client.set("a:1", b"\xff", px=HOUR)
    client.rpush("a:2", "x", "y")
    client.hset("b:1", mapping={"f": "v"})
    client.sadd(b"b:\xff", "m")
    client.set("c", "v")


# --- Another cache ------------------------------------------------------------------------------


def test_keys_of_another_cache(server: TestServer, tmp_path: Path) -> None:
    fill(server.admin)
    profile(tmp_path, server)
    source = copying(tmp_path, "{cache: {profile: prod.yaml}}")
    assert source.count() == 5
    found = by_key(source)
    assert len(found) == 5
    assert found[b"a:1"]["value"] == LogicalValue("string", [b"\xff"])
    assert HOUR - 60_000 < found[b"a:1"]["ttl_ms"] <= HOUR
    assert found[b"a:2"]["ttl_ms"] == NO_TTL
    assert found[b"b:1"]["value"].elements == [(b"f", b"v", None)]
    made = entry("new:{key|without:b:}", "copy", Value("copy"), ttl=Ttl("kept", jitter=0))
    (part, _) = rendered(made, [found[b"b:\xff"]])
    assert (part.keys, part.values, part.types) == ([b"new:\xff"], [[b"m"]], ["set"])


@pytest.mark.parametrize(
    ("narrowed", "keys"),
    [
        ("match: 'a:*'", {b"a:1", b"a:2"}),
        ("match: ['a:*', 'c']", {b"a:1", b"a:2", b"c"}),
        ("type: string", {b"a:1", b"c"}),
        ("match: 'a:*', type: list", {b"a:2"}),
    ],
)
def test_some_keys_of_another_cache(
    valkey: TestServer, tmp_path: Path, narrowed: str, keys: set[bytes]
) -> None:
    fill(valkey.admin)
    profile(tmp_path, valkey)
    source = copying(tmp_path, f"{{cache: {{profile: prod.yaml, {narrowed}}}}}")
    assert set(by_key(source)) == keys
    assert source.count() is None


def test_keys_of_a_cluster(cluster: TestCluster, tmp_path: Path) -> None:
    client = cluster.client()
    for i in range(500):
        client.set(f"k:{i}", i)
    node = cluster.nodes[0]
    (tmp_path / "prod.yaml").write_text(f"cluster: {{nodes: ['{node.host}:{node.port}']}}\n")
    source = copying(tmp_path, "{cache: {profile: prod.yaml}}")
    assert {key: row["value"].elements for key, row in by_key(source).items()} == {
        b"k:%d" % i: [b"%d" % i] for i in range(500)
    }


def test_a_large_value_is_a_problem_of_its_row(valkey: TestServer, tmp_path: Path) -> None:
    valkey.admin.set("large", b"x" * 200_000)
    valkey.admin.set("small", "x")
    profile(tmp_path, valkey)
    rows, problems = read(copying(tmp_path, "{cache: {profile: prod.yaml}, max_row: 100kb}"))
    assert [row["key"] for row in rows] == [b"small"]
    assert "more than max_row (102,400)" in problems[0].what


def test_a_cache_that_is_not_there(valkey: TestServer, tmp_path: Path) -> None:
    (tmp_path / "prod.yaml").write_text("host: 127.0.0.1\nport: 1\n")
    with pytest.raises(SourceError, match="the source s cannot be read: ") as caught:
        read(copying(tmp_path, "{cache: {profile: prod.yaml}}"))
    assert caught.value.retryable
    with pytest.raises(SourceError, match="there is no profile called nosuch") as caught:
        read(copying(tmp_path, "{cache: {profile: nosuch}}"))
    assert not caught.value.retryable


# --- An archive of ours -------------------------------------------------------------------------


def test_keys_of_an_archive(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey.admin)
    done = cachectl("--url", valkey.url, "invalidate", "a:*", "--yes", "-o", "json").check()
    run = done.json["run"]
    assert not valkey.admin.exists("a:1")
    found = by_key(copying(tmp_path, "{archive: {run: last}}"))
    assert set(found) == {b"a:1", b"a:2"}
    assert found[b"a:1"]["value"] == LogicalValue("string", [b"\xff"])
    assert HOUR - 60_000 < found[b"a:1"]["ttl_ms"] <= HOUR
    assert found[b"a:2"]["value"].elements == [b"x", b"y"]
    assert set(by_key(copying(tmp_path, f"{{archive: {{run: {run}, match: '*:2'}}}}"))) == {b"a:2"}
    later = CopyReader(load_manifest(tmp_path / "m.yaml"), {}, now=lambda: time.time() + 7200)
    spec = load_manifest(tmp_path / "m.yaml").sources["s"]
    assert [row["ttl_ms"] for row in later.rows(spec)] == [NO_TTL]


def test_an_archive_that_is_not_there_or_is_damaged(valkey: TestServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no run 'last'"):
        read(copying(tmp_path, "{archive: {run: last}}"))
    fill(valkey.admin)
    cachectl("--url", valkey.url, "invalidate", "a:*", "--yes").check()
    (archive,) = Path(os.environ["XDG_STATE_HOME"]).glob("cachectl/runs/*/archive")
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(SourceError, match="damaged"):
        read(copying(tmp_path, "{archive: {run: last}}"))


# --- A saved scan -------------------------------------------------------------------------------


def test_names_of_a_saved_scan(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey.admin)
    file = tmp_path / "scan.ndjson.gz"
    cachectl("--url", valkey.url, "scan", "--save", str(file)).check()
    source = copying(tmp_path, "{snapshot: {file: scan.ndjson.gz}}")
    assert source.count() == 5
    found = by_key(source)
    assert set(found) == {b"a:1", b"a:2", b"b:1", b"b:\xff", b"c"}
    assert found[b"a:2"] == {"key": b"a:2", "type": "list", "ttl_ms": NO_TTL}
    assert 0 < found[b"a:1"]["ttl_ms"] <= HOUR
    part = copying(tmp_path, "{snapshot: {file: scan.ndjson.gz, match: 'b:*'}}")
    assert set(by_key(part)) == {b"b:1", b"b:\xff"}


def test_a_saved_scan_lies_in_the_manifests_directory(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="names a file outside of"):
        read(copying(tmp_path, "{snapshot: {file: ../scan.ndjson}}"))
    with pytest.raises(SourceError, match="there is no file"):
        read(copying(tmp_path, "{snapshot: {file: scan.ndjson}}"))
