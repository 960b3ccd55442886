"""`profiles check` as its user sees it: on a terminal, on a pipe, and when nobody answers."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from programs import cachectl
from servers import TestServer
from topologies import TestCluster


def masked(text: str, server: TestServer) -> str:
    """Take out of a report what differs from run to run."""
    text = text.replace(server.address, "HOST:PORT").replace(server.version, "VERSION")
    text = re.sub(r"[\d.]+ [µm]?s$", "TIME", text, flags=re.MULTILINE)
    return re.sub(r"[\d.]+ MiB", "SIZE", text)


def test_limited_login(valkey: TestServer, isolated_home: Path) -> None:
    valkey.run("SET", "app:1", "x")
    valkey.run("SET", "other:1", "x")
    password = valkey.add_user("reader", "~app:*", "-@all", "+@read", "+info", "+scan", "+ping")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://reader@{valkey.address}\npassword: {{env: READER}}\n")
    done = cachectl(
        "profiles", "check", str(profile), "-o", "table", env={"READER": password},
        secrets=[password],
    ).check(0)  # fmt: skip
    out = masked(done.stdout, valkey)
    assert "answered      valkey VERSION\ntopology      standalone\nuser          reader\n" in out
    assert "HOST:PORT  primary  VERSION" in re.sub(r" {3,}", "  ", out)
    assert re.search(r"^login +TIME$", out, re.MULTILINE)
    assert re.search(r"^scan\.bytes +yes +sizes of keys$", out, re.MULTILINE)
    assert re.search(r"^undo +no +this login may not run RESTORE$", out, re.MULTILINE)
    assert re.search(r"^undo +ACL SETUSER reader \+restore$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80
    assert "may use some keys only: 1 of the first 2" in done.stdout + done.stderr


def test_json(server: TestServer) -> None:
    done = cachectl("--url", server.url, "profiles", "check", "-o", "json").check(0)
    document = done.json
    assert document["schema"] == "cachectl.profile-check/1"
    assert document["server"]["version"] == server.version
    assert document["user"] == "default"
    assert [step["step"] for step in document["steps"]][:2] == ["resolve", "connect"]
    works = {one["feature"]: one["works"] for one in document["capabilities"]}
    assert works["invalidate"]
    assert works["monitor"]
    assert not works["scan.frequency"]
    assert document["partial"] is False
    assert done.stderr == ""


def test_resp2_and_resp3_say_the_same(server: TestServer, isolated_home: Path) -> None:
    documents = []
    for protocol in (2, 3):
        profile = isolated_home / f"resp{protocol}.yaml"
        profile.write_text(f"url: {server.url}\nprotocol: {protocol}\n")
        document = cachectl("-p", str(profile), "profiles", "check", "-o", "json").check(0).json
        assert document.pop("protocol") == protocol
        for changing in ("steps", "generated_at"):
            del document[changing]
        del document["server"]["name"]
        for node in (*document["nodes"], *document["server"]["nodes"]):
            del node["used_memory"]
        documents.append(document)
    assert documents[0] == documents[1]


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = "{}:{}".format(*taken.getsockname())
        done = cachectl("--url", f"redis://{where}", "profiles", "check").check(4)
    assert done.stdout == ""
    assert f"cannot connect to {where}: connection refused" in done.stderr
    assert "hint:" in done.stderr
    assert done.seconds < 3


def test_errors_as_json(valkey: TestServer) -> None:
    valkey.require_password("right")
    done = cachectl("--url", valkey.url, "profiles", "check", "-o", "json").check(4)
    assert done.error["code"] == "authentication"
    assert done.error["target"] == valkey.address


def test_cluster_with_a_dead_node_is_partial(cluster: TestCluster, isolated_home: Path) -> None:
    dead = cluster.primaries[2]
    dead.kill9()
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    done = cachectl("-p", str(profile), "profiles", "check", "-o", "json").check(3)
    assert len(done.json["nodes"]) == 2
    assert done.json["unavailable"][0]["node"] == dead.address
    assert done.stderr.count(dead.address) <= 2, "said once, not in a warning as well"
