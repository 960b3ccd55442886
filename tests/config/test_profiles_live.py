"""Profiles against a real server: whatever the password looks like, it arrives, and only there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import TestServer

from cachectl.config.locate import resolve
from cachectl.config.target import Target
from cachectl.errors import AuthenticationError, RefusedError
from cachectl.server.topology.connect import open_server

PASSWORDS = ("pläin", "#@/:%?&[] '\"\\", "%41%", "пароль 密码", " spaced ", "a" * 500)


def ping(target: Target) -> bytes:
    with open_server(target) as server:
        return bytes(server.primaries[0].connection.call("PING"))


@pytest.mark.parametrize("password", PASSWORDS)
def test_any_password_arrives_from_every_source(
    valkey: TestServer, tmp_path: Path, password: str
) -> None:
    valkey.require_password(password)
    secret = tmp_path / "secret"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    environ = {"PW": password}
    command = [sys.executable, "-c", "import sys; print(sys.argv[1])", password]
    for source in ({"env": "PW"}, {"file": "secret"}, {"command": command}):
        profile = tmp_path / "p.yaml"
        profile.write_text(json.dumps({"url": valkey.url, "password": source}, ensure_ascii=False))
        assert ping(resolve(str(profile), environ=environ)) == b"PONG"
    url = valkey.url.replace("://", f"://:{quote(password, safe='')}@")
    assert ping(resolve(environ={"CACHECTL_URL": url})) == b"PONG"
    assert ping(resolve(url=valkey.url, environ={"REDISCLI_AUTH": password})) == b"PONG"


def test_a_user_and_a_database(valkey: TestServer) -> None:
    password = valkey.add_user("re:der", "~*", "+@all")
    url = valkey.url.replace("://", f"://re%3Ader:{quote(password, safe='')}@") + "/15"
    with open_server(resolve(environ={"CACHECTL_URL": url})) as server:
        connection = server.primaries[0].connection
        assert connection.call("ACL", "WHOAMI") == b"re:der"
        connection.call("SET", "here", "1")
    assert valkey.client(db=15).get("here") == b"1"


def test_a_unix_socket(start_server: Callable[..., TestServer], tmp_path: Path) -> None:
    server = start_server(unixsocket=True)
    os.symlink(str(server.unixsocket), tmp_path / "x.sock")
    profile = tmp_path / "p.yaml"
    profile.write_text("socket: x.sock\n")
    assert ping(resolve(str(profile), environ={})) == b"PONG"
    assert ping(resolve(url=f"unix://{server.unixsocket}", environ={})) == b"PONG"


def test_a_secret_file_that_others_may_read_is_refused_before_the_login(
    valkey: TestServer, tmp_path: Path
) -> None:
    valkey.require_password("right")
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o644)
    profile = tmp_path / "p.yaml"
    profile.write_text(f"{{url: '{valkey.url}', password: {{file: secret}}}}")
    with pytest.raises(RefusedError, match="can be read by others"):
        ping(resolve(str(profile), environ={}))
    assert valkey.client().acl_log() == []


def test_a_wrong_password_is_tried_once(valkey: TestServer) -> None:
    valkey.require_password("right")
    with pytest.raises(AuthenticationError) as caught:
        ping(resolve(url=valkey.url, environ={"REDISCLI_AUTH": "wr0ng-canary"}))
    assert "wr0ng-canary" not in f"{caught.value} {caught.value.hint}"
    assert [entry["count"] for entry in valkey.client().acl_log()] == [1]
