"""What may stand in a profile file. The meaning of it all together is in config.profiles.

No default is set here: config.target has them all, and a field that is None was not written.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cachectl.config.fields import (
    Count,
    FieldError,
    HostName,
    NodeAddress,
    Percent,
    PositiveCount,
    PositiveDuration,
    RangesSection,
    Ratio,
    Section,
    Size,
    Text,
)
from cachectl.config.json_schema import file_schema
from cachectl.config.secret_model import SecretField
from cachectl.config.target import Environment, PaceName, Topology
from cachectl.config.urls import parse_url


def _url(value: str) -> str:
    if parse_url(value).password is not None:
        raise FieldError(
            "must not contain a password", "remove it, and say in `password:` where it comes from"
        )
    return value


def _tls_switch(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return value


AddressMap = dict[NodeAddress, NodeAddress]


class SentinelSection(Section):
    """Which sentinels to ask for which master."""

    master: Text | None = Field(None, description="Name of the master that the sentinels watch")
    nodes: Annotated[list[NodeAddress], Field(min_length=1)] | None = Field(
        None, description="The sentinels; the port is 26379 unless given"
    )
    username: Text | None = Field(None, description="User of the sentinels themselves")
    password: SecretField | None = Field(None, description="Password of the sentinels themselves")
    address_map: AddressMap | None = Field(
        None, description="What the sentinels announce: what is reachable from here"
    )


class ClusterSection(Section):
    """Where to ask for the cluster's slots."""

    nodes: Annotated[list[NodeAddress], Field(min_length=1)] | None = Field(
        None, description="Some of the nodes; the first that answers knows the others"
    )
    address_map: AddressMap | None = Field(
        None, description="What the nodes announce: what is reachable from here (NAT, tunnels)"
    )


class TlsSection(Section):
    """TLS; with none of the fields the system's CAs are trusted."""

    ca_file: Text | None = Field(None, description="PEM file of the CAs to trust")
    cert_file: Text | None = Field(None, description="PEM file of our certificate (mTLS)")
    key_file: Text | None = Field(None, description="PEM file of its key, if not in cert_file")
    key_password: SecretField | None = Field(None, description="Password of the key")
    server_name: Text | None = Field(None, description="Name that the certificate must carry")
    verify: bool | None = Field(None, description="false trusts anybody: for tests alone")


class TimeoutsSection(Section):
    """How long to wait."""

    connect: PositiveDuration | None = Field(None, description="For connecting and logging in")
    reply: PositiveDuration | None = Field(None, description="For one reply")
    loading: PositiveDuration | None = Field(
        None, description="For a server that is loading its data"
    )


class LimitsSection(Section):
    """How hard cachectl may work, and how much it may change in one run."""

    pace: PaceName | None = Field(None, description="gentle on production unless given")
    max_rate: PositiveCount | None = Field(None, description="Keys per second")
    max_latency: PositiveDuration | None = Field(
        None, description="Round trip above which work slows down"
    )
    critical_latency: PositiveDuration | None = Field(
        None, description="Round trip above which work stops"
    )
    max_lag: Size | None = Field(None, description="Bytes a replica may lag before work pauses")
    critical_lag: Size | None = Field(None, description="Bytes of lag at which work stops")
    max_keys: Count | None = Field(None, description="Keys that one run may remove or change")
    max_percent: Percent | None = Field(None, description="The same as a share of all keys")
    max_archive: Size | None = Field(None, description="Bytes of one run's archive")


class ThresholdsSection(Section):
    """When `check` and `doctor` speak up."""

    hit_ratio: Ratio | None = Field(None, description="Below this")
    latency_p99: PositiveDuration | None = Field(None, description="Above this")
    memory: Ratio | None = Field(None, description="Used share of maxmemory, above this")
    fragmentation: Annotated[float, Field(gt=0)] | None = Field(None, description="Above this")
    evicted_per_second: Annotated[float, Field(ge=0)] | None = Field(None, description="Above this")
    connected_clients: Count | None = Field(None, description="Above this")
    blocked_clients: Count | None = Field(None, description="Above this")
    replica_lag: Size | None = Field(None, description="Bytes, above this")
    checks: dict[Text, RangesSection] | None = Field(
        None, description="Ranges of any check of `cachectl check`, which go before those above"
    )


def _date(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise FieldError("must be a day", "write it like 2026-12-31") from None


class SuppressionSection(Section):
    """A finding that is known and accepted, for a while."""

    id: Text = Field(description="Id of the finding, or a glob of ids: config.*")
    subject: Text | None = Field(None, description="Only about this node or namespace; a glob")
    reason: Text = Field(description="Why it is accepted")
    until: Annotated[str, AfterValidator(_date)] = Field(
        description="The last day on which it is: 2026-12-31"
    )


class SuppressionsFile(Section):
    """A file of findings that are known and accepted."""

    suppressions: list[SuppressionSection]


class ProfileFile(Section):
    """A profile: a named connection with its guards, limits, policy and thresholds."""

    description: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="One line for people, shown by `profiles list`"
    )
    url: Annotated[str, AfterValidator(_url)] | None = Field(
        None, description="redis://, rediss://, valkey://, unix:// or redis+sentinel://"
    )
    host: HostName | None = Field(None, description="Host name or IP address")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="6379")
    socket: Text | None = Field(None, description="Path of a Unix socket")
    topology: Topology | None = Field(
        None, description="Follows from `sentinel:` or `cluster:`, else standalone"
    )
    sentinel: SentinelSection | None = None
    cluster: ClusterSection | None = None
    tls: Annotated[TlsSection | None, BeforeValidator(_tls_switch)] = Field(
        None, description="true, or its settings"
    )
    username: Text | None = Field(None, description="ACL user; none is the default user")
    password: SecretField | None = None
    database: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(None, description="0")
    protocol: Literal[2, 3] | None = Field(None, description="RESP version")
    timeouts: TimeoutsSection | None = None
    environment: Environment | None = Field(None, description="How careful to be")
    read_only: bool | None = Field(None, description="Refuse every command that changes a key")
    protected: list[Text] | None = Field(None, description="Globs of keys that no run may change")
    limits: LimitsSection | None = None
    thresholds: ThresholdsSection | None = None
    policy: Text | None = Field(None, description="Policy file")
    suppressions: list[SuppressionSection] | None = Field(
        None, description="Findings of `doctor` that are known and accepted, each for a while"
    )


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a profile file, for editors and other tools."""
    schema = file_schema(ProfileFile, "cachectl.profile-file/1", "Profile of cachectl")
    tls = schema["properties"]["tls"]
    tls["anyOf"] = [{"type": "boolean"}, {"$ref": tls.pop("$ref")}]
    return schema
