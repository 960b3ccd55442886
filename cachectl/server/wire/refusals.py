"""Why a server could not be reached or used: each cause as one sentence with what to do next.

Texts of a server are passed on raw: they are escaped where they are printed.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from cachectl.config.target import Address, Target
from cachectl.errors import CannotConnectError


class ConnectionLostError(CannotConnectError):
    """The connection broke, or a reply did not come in time, after the login had worked."""

    slug = "connection-lost"


def _cannot_connect(address: Address, sentence: str, hint: str | None = None) -> CannotConnectError:
    return CannotConnectError(
        f"cannot connect to {address}: {sentence}", hint=hint, target=str(address)
    )


def cannot_resolve(address: Address, error: Exception) -> CannotConnectError:
    """Return the error for a host name that did not become an address."""
    match error:
        case TimeoutError():
            return _cannot_connect(
                address, "the name server did not answer in time", "check the network, or use an IP"
            )
        case socket.gaierror() if error.errno == socket.EAI_AGAIN:
            return _cannot_connect(
                address,
                f"unknown host {address.host} (the name server could not be asked)",
                "check the host name in the profile, and the network",
            )
        case socket.gaierror():
            return _cannot_connect(
                address, f"unknown host {address.host}", "check the host name in the profile"
            )
    return _cannot_connect(
        address, f"{address.host} is not a host name", "check the host name in the profile"
    )


def cannot_dial(address: Address, error: OSError) -> CannotConnectError:
    """Return the error for a TCP or Unix socket that could not be opened."""
    return _cannot_connect(
        address, *(_socket_reason(error) if address.socket else _dial_reason(error))
    )


def _dial_reason(error: OSError) -> tuple[str, str | None]:
    match error:
        case TimeoutError():
            return "no answer in time", "check the address, firewalls, and `timeouts.connect`"
        case ConnectionRefusedError():
            return "connection refused", "is the server running on that port?"
        case ConnectionResetError():
            return "the connection was reset", "is there a proxy or firewall in between?"
        case OSError() if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return "no route to the host", "check the address and the network"
    return (error.strerror or str(error)).lower(), None


def _socket_reason(error: OSError) -> tuple[str, str | None]:
    match error:
        case FileNotFoundError():
            return "there is no such socket", "check the path, and whether the server is running"
        case PermissionError():
            return "permission denied", "check who may open the socket (`unixsocketperm`)"
        case ConnectionRefusedError():
            return "nobody listens on that socket", "is the server running?"
        case TimeoutError():
            return "no answer in time", "is the server frozen or overloaded?"
    return (error.strerror or str(error)).lower(), None


def lost(address: Address, target: Target, error: OSError, timeout: float) -> ConnectionLostError:
    """Return the error for a connection that broke after the login."""
    sentence, hint = why_lost(target, error, timeout)
    return ConnectionLostError(
        f"lost the connection to {address}: {sentence}", hint=hint, target=str(address)
    )


def why_lost(target: Target, error: OSError, timeout: float) -> tuple[str, str | None]:
    """Return (sentence, hint) for a connection that broke."""
    if isinstance(error, TimeoutError):
        return f"no reply within {timeout:g} s", "raise `--timeout`, or see whether it is blocked"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "closed by the other side", "did the server restart, or a proxy in between?"
    if target.tls is not None:
        from cachectl.server.wire import tls

        return tls.handshake_reason(error)
    return (error.strerror or str(error)).lower(), None


def not_redis(address: Address, start: bytes) -> CannotConnectError:
    """Return the error for bytes that are not RESP. start: the first of them."""
    where = str(address)
    if start[:2] in (b"\x15\x03", b"\x16\x03"):  # a TLS record: alert, handshake
        return CannotConnectError(
            f"{where} speaks TLS, and the profile does not",
            hint="add `tls:` to the profile, or use a URL that begins with rediss://",
            target=where,
        )
    line = start.splitlines()[0][:60].decode("utf-8", "replace") if start.strip() else ""
    said = f" (it says: {line})" if line.isprintable() and line else ""
    return CannotConnectError(
        f"what answers at {where} is not a Redis or Valkey server{said}",
        hint="check the host and the port in the profile",
        target=where,
    )


def garbled(address: Address) -> CannotConnectError:
    """Return the error for a stream that stopped being RESP after the login."""
    return CannotConnectError(
        f"{address} sent something that is not the Redis protocol",
        hint="is there a proxy in between?",
        target=str(address),
    )


def no_greeting(
    address: Address, target: Target, error: OSError, seconds: float
) -> CannotConnectError:
    """Return the error for a server that took the connection but did not answer the login."""
    where = str(address)
    if isinstance(error, TimeoutError):
        tls = "" if target.tls or address.socket else " does this port expect TLS?"
        return CannotConnectError(
            f"connected to {where}, but got no answer to the login within {seconds:.1f} s",
            hint=f"is the server frozen or overloaded?{tls}",
            target=where,
        )
    if target.tls is None:
        tls = "" if address.socket else ", or does this port expect TLS?"
        return CannotConnectError(
            f"connected to {where}, but the other side closed the connection at the login",
            hint=f"is a proxy or firewall in between{tls or '?'}",
            target=where,
        )
    if isinstance(error, ConnectionError):
        # With TLS 1.3 a server looks at our certificate after the handshake, and may just hang up.
        return _cannot_connect(
            address,
            "the server closed the connection after the TLS handshake",
            "does it ask for a certificate of the client (`tls.cert_file`)?"
            if target.tls.cert_file is None
            else "does it trust the certificate of the client, `tls.cert_file`?",
        )
    return _cannot_connect(address, *why_lost(target, error, seconds))


def unexpected_pong(address: Address, reply: Any) -> CannotConnectError:
    """Return the error for a server whose answer to PING is not PONG."""
    text = reply if isinstance(reply, bytes) else repr(reply).encode()
    return not_redis(address, text)


def masterdown(address: Address) -> CannotConnectError:
    """Return the error for a replica without its primary that answers nothing."""
    return CannotConnectError(
        f"{address} is a replica that has lost its primary, and serves no stale data",
        hint="connect to the primary, or see why the replication is down",
        target=str(address),
    )
