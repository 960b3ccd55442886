"""URLs of servers, read without help: `--url` costs neither pydantic nor yaml nor urllib.

    redis://[user[:password]@]host[:port][/db]        valkey:// is the same
    rediss://…                                        with TLS; valkeys:// is the same
    unix://[user[:password]@]/path/of/socket[?db=N]
    redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/master[/db]
                                                      rediss+sentinel://, valkey(s)+sentinel://

User, password, path and master name are percent-encoded UTF-8. Options: `?db=N&protocol=2|3&
timeout=3s`. Anything else is refused, and no message repeats what stands before the `@`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from cachectl.config.durations import parse_duration
from cachectl.config.target import DEFAULT_PORT, DEFAULT_SENTINEL_PORT, Address, Topology

Kind = Literal["tcp", "unix", "sentinel"]

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("tcp", False),
    "rediss": ("tcp", True),
    "valkey": ("tcp", False),
    "valkeys": ("tcp", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "valkey+sentinel": ("sentinel", False),
    "valkeys+sentinel": ("sentinel", True),
}
"""Scheme → (what its path means, whether it asks for TLS)."""

_OPTIONS = ("db", "protocol", "timeout")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_HOST = re.compile(r"[^\s\x00-\x20\x7f-\x9f\ud800-\udfff/?#@\[\]:%,\\]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z._-]+)?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_ENCODE_HINT = "in a user name or password write # as %23, @ as %40, / as %2F, : as %3A, % as %25"


class UrlError(ValueError):
    """What is wrong with a URL, as the end of a sentence that starts with "the URL"."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """What a URL says; None where it is silent. timeout: seconds.

    password is plain text: whoever parses puts it into a Secret at once. It is not in the repr.
    """

    addresses: tuple[Address, ...]
    topology: Topology = "standalone"
    tls: bool = False
    username: str | None = None
    password: str | None = None
    master: str | None = None
    database: int | None = None
    protocol: Literal[2, 3] | None = None
    timeout: float | None = None

    def __repr__(self) -> str:
        password = "None" if self.password is None else "…"
        return f"ServerUrl({self.addresses}, {self.topology}, tls={self.tls}, password={password})"


def parse_url(text: str) -> ServerUrl:
    """Return what the URL says. Raises UrlError (a ValueError), which holds no secret.

    >>> parse_url("rediss://alice@cache.example.com/2").addresses[0].port
    6379
    """
    scheme, colon, rest = text.strip().partition("://")
    if not colon:
        raise UrlError("has no scheme", "write it like redis://host:6379/0")
    if scheme.lower() not in _SCHEMES:
        raise UrlError(
            "has a scheme that is not known",
            "use redis://, rediss:// (TLS), valkey://, valkeys://, unix:// or redis+sentinel://",
        )
    if "#" in rest:
        raise UrlError("holds a #, which ends a URL", _ENCODE_HINT)
    kind, tls = _SCHEMES[scheme.lower()]
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    user, password, hosts = _split_login(authority, path)
    options = _options(query)
    url = ServerUrl(
        addresses=(),
        tls=tls,
        username=user,
        password=password,
        database=_database(options.get("db")),
        protocol=_protocol(options.get("protocol")),
        timeout=_timeout(options.get("timeout")),
    )
    return _PARSERS[kind](url, hosts, path)


def _tcp(url: ServerUrl, hosts: str, path: str) -> ServerUrl:
    address = parse_address(hosts, DEFAULT_PORT)
    return replace(url, addresses=(address,), database=_one_database(path, url.database))


def _unix(url: ServerUrl, hosts: str, path: str) -> ServerUrl:
    if hosts or not path:
        raise UrlError("names no socket", "write it like unix:///run/redis.sock?db=0")
    return replace(url, addresses=(Address(socket="/" + _decode(path)),))


def _sentinel(url: ServerUrl, hosts: str, path: str) -> ServerUrl:
    master, _, database = path.partition("/")
    if not master:
        raise UrlError(
            "names no master", "write it like redis+sentinel://host:26379,host2:26379/mymaster"
        )
    return replace(
        url,
        topology="sentinel",
        addresses=tuple(parse_address(host, DEFAULT_SENTINEL_PORT) for host in hosts.split(",")),
        master=_decode(master),
        database=_one_database(database, url.database),
    )


_PARSERS: dict[Kind, Callable[[ServerUrl, str, str], ServerUrl]] = {
    "tcp": _tcp,
    "unix": _unix,
    "sentinel": _sentinel,
}


def _split_login(authority: str, path: str) -> tuple[str | None, str | None, str]:
    """Return (user, password, hosts) of what stands between `://` and the path."""
    login, at, hosts = authority.rpartition("@")
    if "@" in login or (authority and not at and "@" in path):
        # An @ or a / that was not encoded: cutting anywhere would send the wrong password.
        raise UrlError("has more than one @, or a / before it", _ENCODE_HINT)
    if not at:
        return None, None, hosts
    user, colon, password = login.partition(":")
    if ":" in password:
        raise UrlError("has more than one : before the @", _ENCODE_HINT)
    return _decode(user) or None, (_decode(password) or None) if colon else None, hosts


def parse_address(text: str, default_port: int) -> Address:
    """Return host and port of `host`, `host:port`, `[v6]` or `[v6]:port`. Raises UrlError."""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or not _IPV6.fullmatch(host) or (port and not port.startswith(":")):
            raise UrlError("has a damaged IPv6 address", "write it like [::1]:6379")
        # A zone (fe80::1%eth0) is written %25eth0 in a URL, by RFC 6874.
        return Address(host.replace("%25", "%"), _port(port[1:], default_port))
    if text.count(":") > 1:
        raise UrlError("has an IPv6 address without brackets", "write it like [::1]:6379")
    host, _, port = text.partition(":")
    if not host:
        raise UrlError("names no host", "write it like redis://host:6379/0")
    if not _HOST.fullmatch(host):
        raise UrlError("has a host name with characters that no host name has")
    return Address(host, _port(port, default_port))


def _port(text: str, default: int) -> int:
    if text == "":
        return default
    if not _NUMBER.fullmatch(text) or not 0 < int(text) < 65536:
        raise UrlError("has a port that is not a number from 1 to 65535")
    return int(text)


def _decode(text: str) -> str:
    """Return percent-encoded text decoded; raise UrlError for a lone % or bytes not UTF-8."""

    def byte(match: re.Match[str]) -> str:
        if match.group(1) is None:
            raise UrlError("holds a % that encodes nothing", _ENCODE_HINT)
        return chr(int(match.group(1), 16))

    # Each escape is a byte; the rest is text already. Both meet as UTF-8, read as Latin-1.
    pieces = text.encode("utf-8", "surrogateescape").decode("latin-1")
    try:
        decoded = _PERCENT.sub(byte, pieces).encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise UrlError("holds percent-encoded bytes that are not UTF-8") from None
    if "\x00" in decoded:
        raise UrlError("holds a NUL byte")
    return decoded


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in _OPTIONS:
            # The name stays out of the sentence: a ? in a password would end up here.
            raise UrlError(
                "has an option that is not known",
                f"a URL takes {', '.join(_OPTIONS)}; the rest belongs into a profile",
            )
        if name in options:
            raise UrlError(f"has the option {name} twice")
        options[name] = _decode(value)
    return options


def _database(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not _NUMBER.fullmatch(text):
        raise UrlError("has a path that is no database number", f"write it like /0; {_ENCODE_HINT}")
    return int(text)


def _one_database(path: str, option: int | None) -> int | None:
    if path and option is not None:
        raise UrlError("gives the database twice, as a path and as ?db=")
    return _database(path) if path else option


def _protocol(text: str | None) -> Literal[2, 3] | None:
    match text:
        case None:
            return None
        case "2":
            return 2
        case "3":
            return 3
    raise UrlError("has a protocol that is neither 2 nor 3")


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UrlError(f"has a timeout that {error}") from None
    if seconds <= 0:
        raise UrlError("has a timeout of 0")
    return seconds
