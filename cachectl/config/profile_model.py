"""What may stand in a profile file. The meaning of it all together is in config.profiles.

No default is set here: config.target has them all, and a field that is None was not written.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cachectl.config.fields import (
    FieldError,
    HostName,
    NodeAddress,
    Percent,
    PositiveDuration,
    Ratio,
    Section,
    Size,
)
from cachectl.config.target import Environment, PaceName, Topology
from cachectl.config.urls import parse_url

SOURCES_HINT = (
    "take it from {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]}, "
    "{keyring: {service: S, user: U}} or {prompt: true}"
)

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(gt=0)]


def _env_name(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise FieldError(
            "must be the name of an environment variable: letters, digits and _",
            "the secret itself does not belong into the file",
        )
    return value


def _no_plain_secret(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        raise FieldError("must not be a password in plain text", SOURCES_HINT)
    return value


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


class KeyringEntry(Section):
    """An entry of the system's keyring."""

    service: Text
    user: Text


class SecretSource(Section):
    """Where a secret comes from: exactly one of these."""

    env: Annotated[str, AfterValidator(_env_name)] | None = Field(
        None, description="Name of an environment variable"
    )
    file: Text | None = Field(None, description="A file with the secret alone, mode 0600")
    command: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="A program that prints it, and its arguments; there is no shell"
    )
    keyring: KeyringEntry | None = Field(None, description="An entry of the system's keyring")
    prompt: Literal[True] | None = Field(None, description="Ask at the terminal")

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretSource:
        given = [name for name in SecretSource.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            has = f"has {' and '.join(given)}" if given else "says not where the secret is"
            raise FieldError(f"{has}; it takes exactly one source", SOURCES_HINT)
        return self


SecretField = Annotated[SecretSource, BeforeValidator(_no_plain_secret)]
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


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a profile file, for editors and other tools."""
    schema = ProfileFile.model_json_schema()
    _drop_null(schema)
    tls = schema["properties"]["tls"]
    tls["anyOf"] = [{"type": "boolean"}, {"$ref": tls.pop("$ref")}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "cachectl.profile-file/1",
        **schema,
        "title": "Profile of cachectl",
    }


def _drop_null(node: Any) -> None:
    """Take `null` and its default out: in Python None is "not written", in a file it is a slip."""
    if isinstance(node, list):
        for item in node:
            _drop_null(item)
    if not isinstance(node, dict):
        return
    for item in node.values():
        _drop_null(item)
    if node.get("default", 0) is None:
        del node["default"]
    if isinstance(node.get("title"), str):
        del node["title"]  # pydantic makes titles of the names, and says nothing with them
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del node["anyOf"]
        node.update({**choices[0], **node})
