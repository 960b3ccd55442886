"""kill -9 at every durable write and every flight of a warming: --resume ends as it should have.

The full sweep runs by hand (`-m soak -s`, prints its figures); the normal run takes a sample.
"""

from __future__ import annotations

import json
import os
import shutil

import keyspace
import pytest
from crashing import KILLED, Crasher, points_of

MANIFEST = """\
manifest: 1
sources:
  rows:
    file: rows.ndjson
entries:
  - source: rows
    key: "s:{{id}}"
    ttl: 1h
    existing: {existing}
    tags: ["tag:{{shop}}"]
  - name: never
    source: rows
    key: "never:{{id}}"
    ttl: never
    existing: {existing}
    where: {{shop: "3"}}
  - name: lists
    source: rows
    key: "list:{{shop}}"
    type: list
    gather: true
    value: {{elements: ["{{id}}", "x"]}}
    ttl: 2h
    existing: {existing}
  - name: big
    source: rows
    key: "stream:{{id}}"
    type: stream
    ttl: 3h
    existing: {existing}
    where: {{id: "7"}}
"""


@pytest.fixture(scope="module")
def crasher():
    with Crasher() as running:
        yield running


@pytest.fixture
def manifest(tmp_path):
    def written(existing):
        lines = [json.dumps({"id": i, "shop": i // 60}) for i in range(1200)]
        (tmp_path / "rows.ndjson").write_text("\n".join(lines) + "\n")
        path = tmp_path / "crash.yaml"
        path.write_text(MANIFEST.format(existing=existing))
        return path

    return written


def fill(client):
    """What the application has there already: some of the keys, one with another type."""
    client.flushall()
    client.set("s:5", "theirs", ex=9_000)
    client.set("list:2", "theirs", ex=9_000)
    client.set("never:200", "theirs")


def sweep(crasher, server, path, existing, most):
    """Crash at up to `most` points; return how many were tried and recovered from."""
    client = server.client(protocol=2)
    command = ("--url", server.url, "warm", "run", str(path), "-o", "json")
    env = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("XDG_")}
    fill(client)
    code, total, out, err = crasher.run(*command, env=env)
    assert code == 0, err
    whole = json.loads(out)
    after = keyspace.truth(client)
    tried = recovered = 0
    for at in points_of(total, most):
        shutil.rmtree(keyspace.state_home(), ignore_errors=True)
        fill(client)
        code, _, _, err = crasher.run(*command, at=at, env=env)
        if code != KILLED:
            continue  # the points of threads differ a little from run to run
        tried += 1
        for key in client.scan_iter("cachectl:warm:2*"):
            assert client.pttl(key) > 0, (at, key)  # what is half-written goes by itself
        was_done = any(
            json.loads(path.read_text())["state"] == "done"
            for path in (keyspace.state_home() / "warmings").glob("*/run.json")
        )
        code, _, out, err = crasher.run(*command, "--resume", env=env)
        assert code == 0, (at, err, out)
        done = json.loads(out)
        counts = [(one["entry"], one["written"], one["kept"]) for one in done["entries"]]
        wanted = [(one["entry"], one["written"], one["kept"]) for one in whole["entries"]]
        if was_done and existing != "replace":  # then this is the second run
            wanted = [(name, 0, written + kept) for name, written, kept in wanted]
        assert counts == wanted, at
        assert keyspace.truth(client) == after, at
        recovered += 1
    client.close()
    return tried, recovered


@pytest.mark.parametrize("existing", ["keep", "replace", "replace-if-different"])
def test_a_sample_of_crashes_is_recovered_from(crasher, valkey, manifest, existing, isolated_home):
    tried, recovered = sweep(crasher, valkey, manifest(existing), existing, 8)
    assert tried >= 7
    assert recovered == tried


@pytest.mark.soak
@pytest.mark.parametrize("existing", ["keep", "replace", "replace-if-different"])
def test_every_crash_is_recovered_from(crasher, valkey, manifest, existing, isolated_home):
    tried, recovered = sweep(crasher, valkey, manifest(existing), existing, 80)
    print(f"\n{existing}: {tried} crash points, {recovered} recovered")
    assert tried >= 30
    assert recovered == tried
