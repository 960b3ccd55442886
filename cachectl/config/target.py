"""What a profile resolves to: whom to talk to, how, and within which limits.

Plain frozen dataclasses: the room `server` reads nothing else of `config`, and a command that is
given `--url` needs neither pydantic nor yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cachectl.config.secrets import Secret
from cachectl.model.findings import Suppression

Topology = Literal["standalone", "sentinel", "cluster"]
Environment = Literal["production", "staging", "development"]
PaceName = Literal["gentle", "normal", "flat-out"]

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Address:
    """Where one node listens: host and port, or the path of a Unix socket."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    socket: str | None = None

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings. Verification of chain and host name is on unless `verify` is False."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    server_name: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """User name and password of the data nodes, or of the sentinels. Both may be absent."""

    username: str | None = None
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard cachectl may work on the server, and how much it may change in one run.

    pace: None means gentle on production and normal elsewhere. max_rate: keys per second.
    max_latency, critical_latency: seconds of round trip above which work slows down, or stops.
    max_lag, critical_lag: bytes a replica may be behind. max_keys, max_percent: what one run may
    remove or change. max_archive: bytes of one run's archive.
    """

    pace: PaceName | None = None
    max_rate: int | None = None
    max_latency: float = 0.05
    critical_latency: float = 1.0
    max_lag: int = 64 * 1024 * 1024
    critical_lag: int = 512 * 1024 * 1024
    max_keys: int = 1_000_000
    max_percent: float = 50.0
    max_archive: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class CheckRanges:
    """When one check warns and when it is critical, in the syntax of cachectl.ranges."""

    warn: str | None = None
    critical: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When `check` and `doctor` speak up; ratios are 0–1, latency is seconds.

    checks: name of a check → its ranges, in the check's own unit.
    """

    hit_ratio: float = 0.80
    latency_p99: float = 0.100
    memory: float = 0.80
    fragmentation: float = 1.5
    evicted_per_second: float | None = None
    connected_clients: int | None = None
    blocked_clients: int | None = None
    replica_lag: int | None = None
    checks: Mapping[str, CheckRanges] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Everything that a profile, a URL and the root options say about one server.

    name: the profile's name, or the address for a bare URL. addresses: the node, the sentinels or
    the seed nodes. address_map: what a cluster or sentinel announces → what is reachable from here
    (`host:port`, or a bare host). timeout: seconds a reply may take; connect_timeout: seconds for
    connecting and logging in to one node. source: the file it came from, for messages.
    protected: globs of keys that no run may change. suppressions: findings that are accepted.
    description: one line for people.
    """

    name: str
    topology: Topology = "standalone"
    addresses: tuple[Address, ...] = (Address(),)
    login: Login = Login()
    sentinel_master: str | None = None
    sentinel_login: Login = Login()
    address_map: Mapping[str, str] = field(default_factory=dict)
    database: int = 0
    protocol: Literal[2, 3] = 2
    tls: Tls | None = None
    connect_timeout: float = 3.0
    timeout: float = 5.0
    wait_loading: float = 30.0
    environment: Environment = "development"
    read_only: bool = False
    protected: tuple[str, ...] = ()
    limits: Limits = Limits()
    thresholds: Thresholds = Thresholds()
    policy_file: Path | None = None
    suppressions: tuple[Suppression, ...] = ()
    source: Path | None = None
    description: str = ""

    @property
    def pace(self) -> PaceName:
        """The pace to use when the command line names none."""
        if self.limits.pace:
            return self.limits.pace
        return "gentle" if self.environment == "production" else "normal"
