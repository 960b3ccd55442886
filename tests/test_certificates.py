"""Each kind of certificate is refused for its own reason, and the good ones are accepted."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from certificates import KEY_PASSWORD, Certificates
from proxies import Proxy
from servers import TestServer, free_port, plain_client

StartProxy = Callable[..., Proxy]


def ask(host: str, port: int, ca: Path, **options: object) -> bool:
    with plain_client(host, port, ssl=True, ssl_ca_certs=str(ca), **options) as client:
        return bool(client.ping())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "certificate has expired"),
        ("not_yet", "certificate is not yet valid"),
        ("wrong_host", "IP address mismatch"),
        ("self_signed", "self-signed certificate"),
        ("stranger", "unable to get local issuer"),
    ],
)
def test_bad_certificate_is_refused_for_its_reason(
    kind: str, reason: str, valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context(getattr(certificates, kind)))
    with pytest.raises(redis.ConnectionError, match=reason):
        ask(proxy.host, proxy.port, certificates.ca)


def test_good_certificate_is_accepted_and_the_faults_work_behind_it(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    proxy = start_proxy(valkey, tls=certificates.server_context())
    assert proxy.url.startswith("rediss://")
    assert ask(proxy.host, proxy.port, certificates.ca)
    proxy.lose_request("PING")
    with pytest.raises(redis.ConnectionError):
        ask(proxy.host, proxy.port, certificates.ca)


def test_client_certificate_is_demanded(
    valkey: TestServer, start_proxy: StartProxy, certificates: Certificates
) -> None:
    context = certificates.server_context(client_ca=certificates.ca)
    proxy = start_proxy(valkey, tls=context)
    with pytest.raises(redis.ConnectionError):
        ask(proxy.host, proxy.port, certificates.ca)
    pairs = [(certificates.client, None), (certificates.encrypted, KEY_PASSWORD)]
    for pair, password in pairs:
        assert ask(
            proxy.host,
            proxy.port,
            certificates.ca,
            ssl_certfile=str(pair.cert),
            ssl_keyfile=str(pair.key),
            ssl_password=password,
        )
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLError, match=r"(?i)mismatch"):
        context.load_cert_chain(certificates.mismatched.cert, certificates.mismatched.key)


def test_server_with_tls_of_its_own(
    start_server: Callable[..., TestServer], certificates: Certificates
) -> None:
    """Debian's build has TLS; the wheels' have not."""
    port = free_port()
    try:
        server = start_server("redis-7.0", *certificates.server_arguments(port, client=True))
    except RuntimeError as error:
        if "tls-port" not in str(error):
            raise
        pytest.skip("the redis-7.0 on PATH was built without TLS")
    pair = certificates.client
    options = {"ssl_certfile": str(pair.cert), "ssl_keyfile": str(pair.key)}
    assert ask(server.host, port, certificates.ca, **options)
    with pytest.raises(redis.ConnectionError):
        ask(server.host, port, certificates.ca)
