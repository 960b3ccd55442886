"""TLS: what is wrong with it is said in one sentence, and nothing falls back to plain text."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import KEY_PASSWORD, Certificates, Pair
from proxies import Proxy
from servers import TestServer, free_port
from targets import target_of

from cachectl.config.secrets import Secret
from cachectl.config.target import Address, Target, Tls
from cachectl.errors import CannotConnectError
from cachectl.server.topology.connect import open_server

StartProxy = Callable[..., Proxy]


def trusting(certificates: Certificates, pair: Pair | None = None, **settings: object) -> Tls:
    own = {"cert_file": pair.cert, "key_file": pair.key} if pair else {}
    return Tls(**{"ca_file": certificates.ca, **own, **settings})  # type: ignore[arg-type]


def refusal(target: Target) -> CannotConnectError:
    with pytest.raises(CannotConnectError) as caught:
        open_server(target).close()
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("protocol", [2, 3])
def test_good_certificate(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates, protocol: int
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context())
    with open_server(target_of(proxy, tls=trusting(certificates), protocol=protocol)) as server:
        assert server.primaries[0].connection.call("PING") == b"PONG"
        assert server.durations["tls"] > 0
        assert server.warnings == ()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("expired", "the server's certificate has expired"),
        ("not_yet", "the server's certificate is not valid yet"),
        ("wrong_host", "the server's certificate is for another"),
        ("self_signed", "the server's certificate is self-signed"),
        ("stranger", "the server's certificate is signed by an unknown CA"),
    ],
)
def test_bad_certificates(
    kind: str, sentence: str, valkey: TestServer, start_proxy: StartProxy,
    certificates: Certificates,
) -> None:  # fmt: skip
    proxy = start_proxy(valkey, tls=certificates.server_context(getattr(certificates, kind)))
    found = refusal(target_of(proxy, tls=trusting(certificates)))
    assert found.message.startswith(f"cannot connect to {proxy.address}: {sentence}")


def test_name_is_checked_and_can_be_given(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context(certificates.wrong_host))
    named = trusting(certificates, server_name="cache.example.com")
    with open_server(target_of(proxy, tls=named)) as server:
        assert server.primaries[0].connection.call("PING") == b"PONG"
    wrong = trusting(certificates, server_name="other.example.com")
    assert "another host name" in refusal(target_of(proxy, tls=wrong)).message


def test_system_authorities_do_not_know_ours(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context())
    assert "unknown CA" in refusal(target_of(proxy, tls=Tls())).message


def test_verification_that_is_off_warns(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context(certificates.expired))
    with open_server(target_of(proxy, tls=Tls(verify=False))) as server:
        assert "not verified" in server.warnings[0]


def test_tls_port_with_a_plain_profile(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context())
    found = refusal(target_of(proxy))
    assert "TLS" in found.message + (found.hint or "")


def test_plain_port_with_a_tls_profile(server: TestServer, certificates: Certificates) -> None:
    """A plain server waits for a line end that the handshake may never send."""
    found = refusal(target_of(server, tls=trusting(certificates), connect_timeout=0.6))
    assert "TLS" in found.message
    assert "leave `tls` out" in (found.hint or "")


def test_reset_in_the_handshake_is_not_retried_in_plain(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey)
    proxy.slam()
    found = refusal(target_of(proxy, tls=trusting(certificates)))
    assert "closed the connection in the handshake" in found.message
    assert proxy.connections == 1


def test_black_hole_in_the_handshake(certificates: Certificates) -> None:
    from socket import socket

    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        addresses = (Address("127.0.0.1", port),)
        tls = trusting(certificates)
        found = refusal(target_of(addresses=addresses, tls=tls, connect_timeout=0.5))
    assert "kept silent" in found.message


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_client_certificate(
    valkey: TestServer,
    start_proxy: StartProxy,
    certificates: Certificates,
    highest: ssl.TLSVersion,
) -> None:
    context = certificates.server_context(client_ca=certificates.ca, highest=highest)
    proxy = start_proxy(valkey, tls=context)
    found = refusal(target_of(proxy, tls=trusting(certificates)))
    assert "certificate of the client" in found.message + (found.hint or "")
    assert "cert_file" in (found.hint or "")
    with open_server(target_of(proxy, tls=trusting(certificates, certificates.client))):
        pass
    sealed = trusting(certificates, certificates.encrypted, key_password=Secret.of(KEY_PASSWORD))
    with open_server(target_of(proxy, tls=sealed)):
        pass
    strange = refusal(target_of(proxy, tls=trusting(certificates, certificates.stranger)))
    assert "client" in strange.message + (strange.hint or "")


def test_own_files_that_do_not_fit(any_server: TestServer, certificates: Certificates) -> None:
    def why(tls: Tls) -> str:
        return refusal(target_of(any_server, tls=tls)).message

    assert "does not belong to the certificate" in why(
        trusting(certificates, certificates.mismatched)
    )
    sealed = certificates.encrypted
    assert "is encrypted, and no password was given" in why(trusting(certificates, sealed))
    wrong = Secret.of("not the password")
    sentence = why(trusting(certificates, sealed, key_password=wrong))
    assert f"the password for the key {sealed.key} is wrong" in sentence
    assert "not the password" not in sentence
    none = certificates.directory / "none.pem"
    assert f"cannot read {none}: no such file" in why(Tls(ca_file=none))
    empty = certificates.directory / "empty.pem"
    empty.write_text("")
    assert "holds no certificate" in why(Tls(ca_file=empty))
    junk = Pair(Path(empty), certificates.client.key)
    assert "is not a PEM certificate or key" in why(trusting(certificates, junk))


def test_old_versions_only(certificates: Certificates) -> None:
    """What OpenSSL says of a server that knows TLS 1.0 alone; its own settings may forbid one."""
    from cachectl.server.wire.tls import handshake_reason

    error = ssl.SSLError()
    error.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    assert "older than 1.2" in handshake_reason(error)[0]


def test_server_with_tls_of_its_own(
    start_server: Callable[..., TestServer], certificates: Certificates
) -> None:
    """Debian's build has TLS; it closes without a word where OpenSSL's proxy sends an alert."""
    port = free_port()
    try:
        server = start_server("redis-7.0", *certificates.server_arguments(port, client=True))
    except RuntimeError as error:
        if "tls-port" not in str(error):
            raise
        pytest.skip("the redis-7.0 on PATH was built without TLS")
    at = (Address(server.host, port),)
    with open_server(
        target_of(addresses=at, tls=trusting(certificates, certificates.client))
    ) as opened:
        assert opened.facts.version.startswith("7.0")
    without = refusal(target_of(addresses=at, tls=trusting(certificates)))
    assert "certificate of the client" in without.message + (without.hint or "")
    plain = refusal(target_of(addresses=at))
    assert "TLS" in plain.message + (plain.hint or "")
