"""Targets for tests: what a profile that points at a test server resolves to."""

from __future__ import annotations

from typing import Any, Protocol

from cachectl.config.secrets import Secret
from cachectl.config.target import Address, Login, Target


class Endpoint(Protocol):
    """A test server, or a proxy in front of one."""

    host: str
    port: int


def target_of(*endpoints: Endpoint, **settings: Any) -> Target:
    """Return a Target that points at the endpoints, with short timeouts.

    username, password: the login; everything else as in Target.
    """
    login = login_of(settings.pop("username", None), settings.pop("password", None))
    defaults: dict[str, Any] = {
        "name": "test",
        "addresses": tuple(Address(one.host, one.port) for one in endpoints),
        "login": login,
        "connect_timeout": 2.0,
        "timeout": 3.0,
        "wait_loading": 3.0,
    }
    return Target(**{**defaults, **settings})


def login_of(username: str | None = None, password: str | None = None) -> Login:
    """Return a Login; None for what is not given."""
    return Login(username, None if password is None else Secret.of(password))
