"""Events switched on and the setting put back exactly: hidden letters, other users, restarts."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from servers import TestServer
from targets import target_of
from topologies import TestCluster

from cachectl.actions.notifying import Notifications, recover, states
from cachectl.errors import PermissionDeniedError, RefusedError
from cachectl.server.events.notifications import SETTING
from cachectl.server.topology.connect import open_server
from cachectl.storage import borrowed

# What CONFIG GET says of each is not what holds: it leaves n, o and c out beside A.
OLD, NEW, NEWEST = (
    ["", "KEA", "AK"],
    ["KEAn", "KEAmn", "Knxg", "Eg$lshzxtn", "AKn"],
    ["KEAoc", "Exoc"],
)
SETTINGS = [*OLD, *NEW, *NEWEST, "KEAmnoc"]
KNOWN = {
    "redis-6.2": len(OLD),
    "redis-7.0": len(OLD + NEW),
    "redis-8.2": len(SETTINGS),
    "valkey-8.1": len(OLD + NEW),
    "valkey-9.1": len(OLD + NEW),
}


def setting(server: TestServer) -> str:
    return str(server.run("CONFIG", "GET", SETTING)[SETTING.encode()].decode())


def set_it(server: TestServer, value: str) -> bool:
    """Set it; return whether the server knows all letters of it."""
    try:
        server.run("CONFIG", "SET", SETTING, value)
    except redis.ResponseError:
        return False
    return True


def published(server: TestServer) -> set[str]:
    """Return what the server says about keys that come, change and go: what really is set."""
    client = server.client()
    with client.pubsub() as listener:
        listener.psubscribe("__key*__:*")
        listener.get_message(timeout=5)
        client.set("a", 1)
        client.set("a", 2)
        client.get("absent")
        client.delete("a")
        client.rpush("a", 1)
        client.set("a", 3)
        client.delete("a")
        client.publish("__keyend__:", "end")
        said = set()
        while True:
            message = listener.get_message(timeout=5)
            assert message is not None
            if message["data"] == b"end":
                return said
            said.add(f"{message['channel'].decode()} {message['data'].decode()}")


def test_the_setting_is_put_back_exactly(server: TestServer) -> None:
    known = [value for value in SETTINGS if set_it(server, value)]
    assert len(known) == KNOWN[server.flavour]
    for before in known:
        set_it(server, before)
        shown, said = setting(server), published(server)
        wanted = "Exem" if server.flavour == "redis-6.2" else "Exemng$"
        with open_server(target_of(server)) as opened:
            with Notifications(opened, wanted) as switched:
                assert states(opened, wanted)[0].missing == ""
                now = published(server)
                # Nothing that was published before is missing meanwhile.
                assert said <= now
                assert ("n" not in wanted) or "__keyevent@0__:new a" in now
            assert switched.problems == []
        assert setting(server) == shown, before
        assert published(server) == said, before
        assert not borrowed.any_notes()
        assert server.run("KEYS", "*") == []


def test_nothing_is_changed_where_all_is_on(valkey: TestServer) -> None:
    set_it(valkey, "Exem")
    with open_server(target_of(valkey)) as opened, Notifications(opened, "Exe") as switched:
        assert switched.changes == {}
        assert not borrowed.any_notes()
        assert "config|set" not in valkey.command_calls() or setting(valkey) == "xeEm"


def test_what_hides_letters_and_publishes_nothing_is_refused(valkey: TestServer) -> None:
    set_it(valkey, "An")
    with (
        open_server(target_of(valkey)) as opened,
        pytest.raises(RefusedError, match="may hide"),
        Notifications(opened, "Exem"),
    ):
        pass
    assert setting(valkey) == "A"
    assert not borrowed.any_notes()


def test_the_last_of_two_users_puts_it_back(valkey: TestServer) -> None:
    set_it(valkey, "KEAn")
    with open_server(target_of(valkey)) as one, open_server(target_of(valkey)) as other:
        first, second = Notifications(one, "Exem"), Notifications(other, "Exen")
        first.__enter__()
        second.__enter__()
        assert second.changes == {}
        first.put_back()
        assert setting(valkey) == "AKEm"
        second.put_back()
    assert setting(valkey) == "AKE"
    assert any(" new" in one for one in published(valkey))


def test_somebody_elses_change_is_left_alone(valkey: TestServer) -> None:
    with open_server(target_of(valkey)) as opened:
        with Notifications(opened, "Exem") as switched:
            set_it(valkey, "Kg")
        assert "somebody else has changed it" in switched.problems[0]
    assert setting(valkey) == "gK"
    assert not borrowed.any_notes()


def test_a_node_that_is_gone_is_put_right_by_the_next_command(valkey: TestServer) -> None:
    set_it(valkey, "KEAn")
    with open_server(target_of(valkey)) as opened:
        with Notifications(opened, "Exem") as switched:
            opened.target = replace(opened.target, connect_timeout=0.2, timeout=0.2)
            valkey.suspend()
        valkey.resume()
        assert "could not be put back" in switched.problems[0]
    note = borrowed.all_notes()[0]
    assert (note.before, note.shown) == ("AKEn", "AKEm")
    # As long as its process lives, nobody meddles.
    with open_server(target_of(valkey)) as opened:
        assert recover(opened) == []
        kill(note)
        assert "again" in recover(opened)[0]
        assert recover(opened) == []
    assert setting(valkey) == "AKE"
    assert any(" new" in one for one in published(valkey))


def kill(note: borrowed.Note) -> None:
    """Let the users of a note be processes that are dead."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    dead = [json.dumps(json.loads(one) | {"pid": process.pid}) for one in note.users]
    borrowed.save(replace(note, users=tuple(dead)))


def test_a_restart_ends_the_note(valkey: TestServer) -> None:
    with open_server(target_of(valkey)) as opened:
        switched = Notifications(opened, "Exem")
        switched.__enter__()
    kill(borrowed.all_notes()[0])
    valkey.kill9()
    valkey.restart()
    with open_server(target_of(valkey)) as opened:
        assert recover(opened) == []
    assert not borrowed.any_notes()
    assert setting(valkey) == ""


def test_a_setting_that_outlived_a_restart_is_said_and_left(valkey: TestServer) -> None:
    with open_server(target_of(valkey)) as opened:
        Notifications(opened, "Exem").__enter__()
    kill(borrowed.all_notes()[0])
    valkey.kill9()
    valkey.restart()
    set_it(valkey, "Exem")
    with open_server(target_of(valkey)) as opened:
        assert "left alone" in recover(opened)[0]
        assert recover(opened) == []
    assert setting(valkey) == "xeEm"


def test_every_node_of_a_cluster(cluster: TestCluster) -> None:
    values = ["KEAn", "", "Exm"]
    for node, value in zip(cluster.primaries, values, strict=True):
        set_it(node, value)
    before = [(setting(node), published_names(node)) for node in cluster.primaries]
    with (
        open_server(target_of(cluster.primaries[0], topology="cluster")) as opened,
        Notifications(opened, "Exemn") as switched,
    ):
        assert len(switched.changes) == 3
    assert [(setting(node), published_names(node)) for node in cluster.primaries] == before


def published_names(node: TestServer) -> bool:
    """Return whether a node of a cluster says that a key is new."""
    client = node.client()
    with client.pubsub() as listener:
        listener.subscribe("__keyevent@0__:new", "end")
        for _ in range(2):
            listener.get_message(timeout=5)
        number = 0
        while True:
            try:
                client.set(f"x{number}", 1, px=1)
                break
            except redis.ResponseError:  # another node's slot
                number += 1
        client.publish("end", "")
        message = listener.get_message(timeout=5)
        assert message is not None
        return bool(message["channel"] != b"end")


def test_a_login_that_may_not_is_refused_with_what_would_allow_it(valkey: TestServer) -> None:
    valkey.add_user("eyes", "~*", "&*", "+@all", "-config|set", password="pw")
    target = target_of(valkey, username="eyes", password="pw")
    with (
        open_server(target) as opened,
        pytest.raises(PermissionDeniedError) as refusal,
        Notifications(opened, "Exem"),
    ):
        pass
    assert "+config|set" in str(refusal.value.hint)
    assert "managed service" in str(refusal.value.hint)
    assert not borrowed.any_notes()


def test_a_read_only_profile_changes_nothing(valkey: TestServer) -> None:
    target = replace(target_of(valkey), read_only=True)
    with (
        open_server(target) as opened,
        pytest.raises(RefusedError, match="read-only"),
        Notifications(opened, "Exem"),
    ):
        pass
    assert setting(valkey) == ""


def test_notes_are_private(valkey: TestServer, isolated_home: Path) -> None:
    with open_server(target_of(valkey)) as opened, Notifications(opened, "Exem"):
        files = list((isolated_home / ".state" / "cachectl" / "borrowed").iterdir())
        assert len(files) == 2
        assert all(os.stat(path).st_mode & 0o077 == 0 for path in files)
