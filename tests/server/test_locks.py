"""The lock in the server: one run at a time, and none that a dead process holds for long."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from topologies import wait_until

from cachectl.config.target import Address, Target
from cachectl.errors import LockedError, RefusedError
from cachectl.server.topology.connect import open_server
from cachectl.server.transactions.locks import Lock, Owner


@pytest.fixture
def opened(any_server):
    target = Target("here", addresses=(Address(any_server.host, any_server.port),))
    with open_server(target) as server:
        yield server


KEY = b"cachectl:lock"


def test_the_second_run_is_told_who_holds_the_lock(opened, any_server):
    with Lock(opened, "run a"):
        with (
            pytest.raises(LockedError, match=r"run a .*process") as caught,
            Lock(opened, "run b"),
        ):
            pass
        assert caught.value.exit_code == 6
        assert 0 < any_server.client().pttl(KEY) <= 30_000
    assert not any_server.client().exists(KEY)
    with Lock(opened, "run b") as lock:
        assert lock.note is None


def test_a_lock_is_renewed_while_it_is_held(opened, any_server):
    with Lock(opened, "slow", life=0.6) as lock:
        time.sleep(1.3)
        assert any_server.client().exists(KEY)
        assert not lock.lost.is_set()


def test_a_lock_of_a_dead_process_of_this_machine_is_taken_over(opened, any_server):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cachectl.server.transactions.locks import Owner\n"
            "print(Owner.this_process('old').pack().decode())",
        ],
        check=True,
        capture_output=True,
    )
    any_server.client().set(KEY, done.stdout.strip(), px=60_000)
    with Lock(opened, "new") as lock:
        assert "took over" in lock.note
        assert Owner.unpack(any_server.client().get(KEY)).token == lock.owner.token


def test_a_lock_of_another_machine_is_respected_until_it_ends(opened, any_server):
    there = json.loads(Owner.this_process("there").pack()) | {"machine": "elsewhere", "pid": 1}
    any_server.client().set(KEY, json.dumps(there), px=400)
    with pytest.raises(LockedError, match="elsewhere"), Lock(opened, "new"):
        pass
    time.sleep(0.5)
    with Lock(opened, "new"):
        pass


def test_a_value_that_is_no_lock_of_ours_is_respected_too(opened, any_server):
    any_server.client().set(KEY, b"\xff{", px=60_000)
    with pytest.raises(LockedError, match="another run"), Lock(opened, "new"):
        pass


def test_a_lock_that_was_taken_away_is_noticed_and_not_deleted(opened, any_server):
    client = any_server.client()
    with Lock(opened, "mine", life=0.3) as lock:
        client.set(KEY, b"someone else")
        assert lock.lost.wait(2)
    assert client.get(KEY) == b"someone else"


def test_a_login_that_may_not_lock_is_refused(any_server):
    password = any_server.add_user("reader", "~app:*", "-@all", "+info", "+ping", "+select")
    from cachectl.config.secrets import Secret
    from cachectl.config.target import Login

    login = Login("reader", Secret.of(password))
    address = Address(any_server.host, any_server.port)
    target = Target("here", addresses=(address,), login=login)
    with (
        open_server(target) as server,
        pytest.raises(RefusedError, match="cannot take the lock"),
        Lock(server, "x"),
    ):
        pass


def test_a_full_server_has_a_lock_all_the_same(opened, any_server):
    client = any_server.client()
    client.config_set("maxmemory", 1)
    with Lock(opened, "first") as lock:
        assert lock.note
        assert "out of memory" in lock.note
        assert not client.exists(KEY)
        with pytest.raises(LockedError, match="another run"), Lock(opened, "second"):
            pass
    with Lock(opened, "third", life=0.3) as lock:
        client.config_set("maxmemory", 0)
        wait_until("the lock is a key again", lambda: client.exists(KEY))
        assert not lock.lost.is_set()


def test_runs_in_two_databases_of_one_server_exclude_each_other(opened, any_server):
    other = Target("here", addresses=opened.target.addresses, database=3)
    with (
        Lock(opened, "run a"),
        open_server(other) as second,
        pytest.raises(LockedError, match="run a"),
        Lock(second, "run b"),
    ):
        pass
