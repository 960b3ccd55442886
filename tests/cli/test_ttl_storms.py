"""`cachectl ttl storms` against servers in which storms were planted."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, cachectl
from servers import TestServer
from topologies import TestCluster

HOUR = 3_600_000
STORM_AT = 1860
"""Seconds: in the middle of two minutes, which is what a line of the chart shows of an hour."""


def plant(client: Any, *, storm: bool = True) -> None:
    """12,000 keys spread over an hour, 600 in one second of it, 50 that expire later or never.

    At times that do not depend on how long planting takes. The storm's keys are in two heaps, so
    that no edge of it is too low to be seen, wherever the seconds are cut.
    """
    rng = random.Random(1)
    now = int(time.time() * 1000)
    pipe = client.pipeline(transaction=False)
    for number in range(12_000):
        pipe.set(f"user:{number}", "x", pxat=now + 60_000 + rng.randrange(HOUR - 60_000))
    for number in range(600 if storm else 0):
        pipe.set(f"catalog:{number}", "x", pxat=now + STORM_AT * 1000 + 700 * (number % 2))
    for number in range(30):
        pipe.set(f"later:{number}", "x", ex=90_000)
    for number in range(20):
        pipe.set(f"ever:{number}", "x")
    pipe.execute()


def storms(server: TestServer, *words: str) -> Outcome:
    return cachectl("--url", server.url, "ttl", "storms", *words)


def test_a_planted_storm_is_found_and_nothing_else(server: TestServer) -> None:
    plant(server.admin)
    found = storms(server, "--within", "1h", "-o", "json").check(0).json
    assert (found["schema"], found["bin"], found["horizon"]) == ("cachectl.ttl-storms/1", 1, 3600)
    assert (found["within"], found["later"], found["never"]) == (12_600, 30, 20)
    (storm,) = found["storms"]
    # They were planted a while ago.
    assert STORM_AT - 120 <= storm["in"] <= STORM_AT
    assert 600 <= storm["keys"] <= 600 + 30 * storm["lasts"]
    assert storm["namespace"] == "catalog:{id}"
    assert storm["namespaces"][0] == {"namespace": "catalog:{id}", "keys": 600}
    assert storm["factor"] > 10
    assert storm["jitter"] >= 30
    assert storm["flattened"] < storm["rate"]
    assert sum(one["keys"] for one in found["bins"]) == 12_600
    (finding,) = found["findings"]
    assert (finding["id"], finding["severity"]) == ("ttl.storm", "warning")
    assert "ttl spread --namespace 'catalog:{id}' --over " in finding["remedy"]


def test_no_storm_where_none_was_planted(valkey: TestServer) -> None:
    plant(valkey.admin, storm=False)
    done = storms(valkey, "--within", "1h", "-o", "table", "--fail-on", "info").check(0)
    assert "No storm stands out." in done.stdout


def test_a_sample_finds_it_too(valkey: TestServer) -> None:
    plant(valkey.admin)
    found = storms(valkey, "--sample", "3000", "--within", "1h", "-o", "json").check(0).json
    assert found["sample"]["size"] >= 3000
    storm = max(found["storms"], key=lambda one: one["keys"])
    assert storm["namespace"] == "catalog:{id}"
    assert storm["keys_low"] <= storm["keys"] <= storm["keys_high"]
    assert storm["keys"] == pytest.approx(600, abs=4 * 55)


def test_what_people_see(valkey: TestServer) -> None:
    plant(valkey.admin)
    done = storms(valkey, "--within", "1h", "-o", "table", "--fail-on", "warning").check(1)
    marked = [line for line in done.stdout.splitlines() if line.endswith("<--")]
    assert len(marked) == 1
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "catalog:{id}" in done.stdout


def test_an_empty_server_has_no_storms(valkey: TestServer) -> None:
    done = storms(valkey, "-o", "json").check(0)
    assert (done.json["storms"], done.json["bins"]) == ([], [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--within", "5s"), "--within is a minute at least"),
        (("--within", "soon"), "--within 'soon': must be a duration"),
        (("--bin", "90s"), "--bin is a whole number of seconds from 1s to 1m"),
        (("--bin", "500ms"), "--bin is a whole number"),
    ],
)
def test_words_that_make_no_sense(words: tuple[str, ...], sentence: str) -> None:
    done = cachectl("--url", "redis://127.0.0.1:1", "ttl", "storms", *words).check(2)
    assert sentence in done.stderr


def test_nodes_of_a_cluster_make_one_storm(cluster: TestCluster, tmp_path: Path) -> None:
    plant(cluster.client())
    profile = tmp_path / "shards.yaml"
    profile.write_text(f"cluster: {{nodes: [{', '.join(cluster.addresses)}]}}\n")
    words = ("ttl", "storms", "--within", "1h", "-o", "json")
    found = cachectl("-p", str(profile), *words).check(0).json
    storm = max(found["storms"], key=lambda one: one["keys"])
    assert storm["namespaces"][0]["keys"] >= 500
