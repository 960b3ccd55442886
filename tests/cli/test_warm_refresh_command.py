"""`warm refresh` as its users meet it: for cron, and continuously."""

from __future__ import annotations

import json
import signal

import pytest
from programs import cachectl, cachectl_started


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "catalogue.yaml"
    rows = json.dumps([{"id": i, "name": f"n{i}"} for i in range(20)])
    entries = '[{source: s, key: "product:{id}", ttl: 1h}]'
    path.write_text(f"manifest: 1\nsources: {{s: {{rows: {rows}}}}}\nentries: {entries}\n")
    return path


def test_one_pass_for_cron(any_server, manifest):
    words = ("--url", any_server.url, "warm", "refresh", manifest)
    first = cachectl(*words, "-o", "json").check(0).json
    assert [(p["missing"], p["written"]) for p in first["passes"]] == [(20, 20)]
    any_server.admin.expire("product:3", 60)
    second = cachectl(*words, "--within", "2m", "-o", "ndjson").check(0).ndjson
    assert (second[0]["due"], second[0]["written"]) == (1, 1)
    cachectl(*words, "--count", "2").check(2)
    wide = cachectl(*words, "--within", "1h").check(0)
    assert "every pass loads all" in wide.stderr


def test_watch_goes_on_until_ctrl_c(any_server, manifest):
    words = ("--url", any_server.url, "warm", "refresh", manifest, "--watch", "--every", "1s")
    with cachectl_started(*words, "-o", "ndjson") as running:
        running.wait_for('"written"')
        any_server.admin.delete("product:3")
        while not any_server.admin.exists("product:3"):
            assert running.process.poll() is None
        refused = cachectl(*words, "--count", "1").check(6)
        assert "warm refresh" in refused.stderr
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.exit_code == 130
    assert any_server.admin.dbsize() == 20
