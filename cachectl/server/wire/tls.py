"""TLS: the context that a profile asks for, and why a handshake failed."""

from __future__ import annotations

import functools
import socket
import ssl
from pathlib import Path

from cachectl.config.target import Address, Tls
from cachectl.errors import CannotConnectError
from cachectl.server.wire.dial import left

_NO_TLS_HINT = "does this port speak TLS? if not, leave `tls` out of the profile"
_CLOSED = (
    "TLS failed: the server closed the connection in the handshake",
    "does this port speak TLS, and does the server ask for a certificate of the client "
    "(`tls.cert_file`)?",
)

# X509_V_ERR_… of OpenSSL's x509_vfy.h → what it means, and what to do.
_CERTIFICATE_REASONS = {
    9: ("the server's certificate is not valid yet", "compare the clocks of both machines"),
    10: ("the server's certificate has expired", "renew it on the server"),
    18: ("the server's certificate is self-signed", "give it, or its CA, as `tls.ca_file`"),
    19: (
        "the server's certificate is signed by a CA that is not trusted here",
        "give that CA's certificate as `tls.ca_file`",
    ),
    20: (
        "the server's certificate is signed by an unknown CA",
        "give that CA's certificate as `tls.ca_file`",
    ),
    21: (
        "the server's certificate is signed by an unknown CA",
        "give that CA's certificate as `tls.ca_file`",
    ),
    23: ("the server's certificate has been revoked", None),
    62: (
        "the server's certificate is for another host name",
        "use the name that it was made for, or set `tls.server_name`",
    ),
    64: (
        "the server's certificate is for another IP address",
        "use the name that it was made for, or set `tls.server_name`",
    ),
}


@functools.lru_cache(maxsize=8)
def context_of(tls: Tls) -> ssl.SSLContext:
    """Return the context for `tls`: chain and host name verified unless `verify` is False.

    Raises CannotConnectError when a file is missing or does not fit. Reading the system's CAs
    takes 20 ms, so a context is made once for all connections.
    """
    for path in (tls.ca_file, tls.cert_file, tls.key_file):
        _check_readable(path)
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    except (ssl.SSLError, OSError) as error:
        raise _unusable(
            f"{tls.ca_file} holds no certificate of a CA", "it must be a PEM file"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        _load_own_certificate(context, tls)
    return context


def _check_readable(path: Path | None) -> None:
    if path is None:
        return
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _unusable(f"cannot read {path}: {reason}", "check the paths under `tls`") from error


def _load_own_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    # An encrypted key without a password would make OpenSSL ask on the terminal.
    password = tls.key_password.reveal if tls.key_password else (lambda: "")
    try:
        context.load_cert_chain(str(tls.cert_file), tls.key_file, password=password)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(*_key_reason(tls, getattr(error, "reason", None))) from error


def _key_reason(tls: Tls, reason: str | None) -> tuple[str, str]:
    key = tls.key_file or tls.cert_file
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key {key} does not belong to the certificate {tls.cert_file}", (
            "the two files are from different pairs"
        )
    if key is not None and b"ENCRYPTED" in key.read_bytes():
        if tls.key_password is None:
            return f"the key {key} is encrypted, and no password was given", (
                "add `tls.key_password` to the profile"
            )
        return f"the password for the key {key} is wrong", "check `tls.key_password`"
    return f"{tls.cert_file} or {key} is not a PEM certificate or key", (
        "check `tls.cert_file` and `tls.key_file` in the profile"
    )


def wrap(raw: socket.socket, tls: Tls, address: Address, deadline: float) -> ssl.SSLSocket:
    """Return `raw` after the TLS handshake; it is closed on failure. Raises CannotConnectError.

    There is no second attempt in plain text, whatever happens.
    """
    try:
        context = context_of(tls)
        raw.settimeout(left(deadline))
        return context.wrap_socket(raw, server_hostname=tls.server_name or address.host)
    except CannotConnectError:
        raw.close()
        raise
    except (OSError, ValueError) as error:
        raw.close()
        sentence, hint = handshake_reason(error)
        raise CannotConnectError(
            f"cannot connect to {address}: {sentence}", hint=hint, target=str(address)
        ) from error


def handshake_reason(error: Exception) -> tuple[str, str | None]:
    """Return (sentence, hint) for a handshake that failed, or an alert that came after it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _CERTIFICATE_REASONS.get(error.verify_code)
        return known or (
            f"the server's certificate is not trusted ({error.verify_message})",
            "check `tls.ca_file` and `tls.server_name` in the profile",
        )
    if isinstance(error, ssl.SSLError):
        return _protocol_reason(error.reason or "")
    if isinstance(error, TimeoutError):
        return "TLS failed: the server accepted the connection, then kept silent", _NO_TLS_HINT
    if isinstance(error, ConnectionError):
        return _CLOSED
    return f"TLS failed: {str(error).lower()}", None


def _protocol_reason(reason: str) -> tuple[str, str | None]:
    if "CERTIFICATE_REQUIRED" in reason or "PEER_DID_NOT_RETURN" in reason:
        return (
            "the server asks for a certificate of the client, and the profile names none",
            "set `tls.cert_file` and `tls.key_file`",
        )
    if "ALERT_UNKNOWN_CA" in reason or "ALERT_BAD_CERTIFICATE" in reason:
        return "the server does not accept the certificate of the client", (
            "check `tls.cert_file`: the server must trust the CA that signed it"
        )
    if "ALERT_CERTIFICATE_EXPIRED" in reason:
        return "the server says that the certificate of the client has expired", (
            "renew `tls.cert_file`"
        )
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return "the server offers only versions of TLS older than 1.2", (
            "allow TLS 1.2 or newer on the server"
        )
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "what answers there does not speak TLS", _NO_TLS_HINT
    if "EOF" in reason:
        return _CLOSED
    return f"TLS failed ({reason.lower().replace('_', ' ') or 'handshake failure'})", _NO_TLS_HINT


def _unusable(sentence: str, hint: str) -> CannotConnectError:
    return CannotConnectError(f"TLS cannot be set up: {sentence}", hint=hint)
