"""Certificates of every kind that a TLS test needs, good and bad, made on the spot.

`files = make_certificates(directory)`; `files.ca`, `files.server`, `files.expired`, …
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_PASSWORD = "key password"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """What `make_certificates` made.

    ca signed server, client, expired, wrong_host, not_yet and encrypted; self_signed is its own;
    other_ca signed stranger. encrypted's key opens with KEY_PASSWORD. mismatched has the client's
    certificate and another key.
    """

    directory: Path
    ca: Path
    other_ca: Path
    server: Pair
    client: Pair
    encrypted: Pair
    mismatched: Pair
    expired: Pair
    not_yet: Pair
    wrong_host: Pair
    self_signed: Pair
    stranger: Pair

    def server_context(
        self,
        pair: Pair | None = None,
        *,
        client_ca: Path | None = None,
        highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> ssl.SSLContext:
        """Return a server's context: with this pair; demanding clients that client_ca signed."""
        pair = pair or self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = highest
        return context

    def server_arguments(self, port: int, *, client: bool = False) -> list[str]:
        """Return the words that make a server with TLS in its build listen on port."""
        words = ["--tls-port", str(port), "--tls-ca-cert-file", str(self.ca)]
        words += ["--tls-cert-file", str(self.server.cert), "--tls-key-file", str(self.server.key)]
        return [*words, "--tls-auth-clients", "yes" if client else "no"]


class _Authority:
    def __init__(self, directory: Path, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = directory / f"{name}.pem"
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self.identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 400 * _DAY)
            .not_valid_after(now + 400 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(self.identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(
        self,
        directory: Path,
        name: str,
        hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
        *,
        days: tuple[int, int] = (-30, 300),
        self_signed: bool = False,
        password: str | None = None,
    ) -> Pair:
        """Return a new pair, valid for hosts from days[0] to days[1] from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        by = identifier if self_signed else self.identifier
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * _DAY)
            .not_valid_after(now + days[1] * _DAY)
            .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(by), critical=False
            )
            .sign(key if self_signed else self.key, hashes.SHA256())
        )
        pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            cipher = serialization.BestAvailableEncryption(password.encode())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
        )
        pair.key.touch(0o600)
        pair.key.write_bytes(pem)
        return pair


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def make_certificates(directory: Path) -> Certificates:
    """Write two authorities and a pair of each kind into directory (well below a second)."""
    ca, other = _Authority(directory, "ca"), _Authority(directory, "other-ca")
    client = ca.sign(directory, "client")
    server = ca.sign(directory, "server")
    return Certificates(
        directory=directory,
        ca=ca.path,
        other_ca=other.path,
        server=server,
        client=client,
        encrypted=ca.sign(directory, "encrypted", password=KEY_PASSWORD),
        mismatched=Pair(client.cert, server.key),
        expired=ca.sign(directory, "expired", days=(-30, -1)),
        not_yet=ca.sign(directory, "not-yet", days=(1, 30)),
        wrong_host=ca.sign(directory, "wrong-host", ["cache.example.com"]),
        self_signed=ca.sign(directory, "self-signed", self_signed=True),
        stranger=other.sign(directory, "stranger"),
    )
