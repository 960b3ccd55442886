"""The reports of `profiles list` and `profiles show`. Secrets appear as where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cachectl.model.findings import Suppression, Unavailable
from cachectl.output.report import Block, Column, Kind, Pairs, Report, Table

if TYPE_CHECKING:
    from cachectl.config.target import Login, Target

LIST_SCHEMA = "cachectl.profiles/1"
SHOW_SCHEMA = "cachectl.profile/1"


@dataclass(frozen=True, slots=True)
class ListedProfile:
    """One profile that was found.

    place: user, runtime, system or built-in; path: its file; hidden: an earlier place has the name;
    target: what it means, or None with the problem that it has.
    """

    name: str
    place: str
    path: str | None
    hidden: bool
    target: Target | None
    problem: str | None = None


_LIST = (
    Column("name"),
    Column("address", missing="not valid"),
    Column("topology", drop=4),
    Column("environment", drop=1),
    Column("tls", Kind.BOOL, title="TLS", drop=5),
    Column("read_only", Kind.BOOL, drop=6),
    Column("place", title="from", drop=2),
    Column("path", title="file", drop=7),
    Column("hidden", Kind.BOOL, audience="machines"),
    Column("description", drop=3),
    Column("problem", audience="machines"),
)


def list_report(profiles: Sequence[ListedProfile]) -> Report:
    """Return the report of all profiles, the hidden and the broken ones included."""
    return Report(
        schema=LIST_SCHEMA,
        blocks=[Table("profiles", _LIST, [_list_row(profile) for profile in profiles])],
        main="profiles",
        unavailable=[
            Unavailable(f"profile {profile.name}", profile.problem)
            for profile in profiles
            if profile.problem
        ],
        notes=_hidden_notes(profiles),
    )


def _list_row(profile: ListedProfile) -> list[Any]:
    target = profile.target
    meaning = (
        [None] * 5
        if target is None
        else [
            whereabouts(target),
            target.topology,
            target.environment,
            target.tls is not None,
            target.read_only,
        ]
    )
    return [
        profile.name,
        *meaning,
        profile.place,
        profile.path,
        profile.hidden,
        (target.description or None) if target else None,
        profile.problem,
    ]


def _hidden_notes(profiles: Sequence[ListedProfile]) -> list[str]:
    return [
        f"{profile.name} from {profile.place} is hidden by the one above it"
        for profile in profiles
        if profile.hidden
    ]


def whereabouts(target: Target) -> str:
    """Return where the server is in a few words: `cache:6379/2`, `m by s1:26379 and 2 more`."""
    first = str(target.addresses[0])
    text = f"{first}/{target.database}" if target.database else first
    if target.sentinel_master:
        text = f"{target.sentinel_master} by {first}"
    more = len(target.addresses) - 1
    return f"{text} and {more} more" if more else text


# --- One profile --------------------------------------------------------------------------------

_HEAD = (
    Column("name"),
    Column("description"),
    Column("source", missing="built in, or given by URL"),
    Column("environment"),
    Column("read_only", Kind.BOOL),
    Column("topology"),
    Column("addresses", audience="people"),
    Column("addresses", Kind.DATA, audience="machines"),
    Column("sentinel_master", missing="none"),
    Column("address_map", audience="people", missing="none"),
    Column("address_map", Kind.DATA, audience="machines"),
    Column("database", Kind.NUMBER),
    Column("protocol", Kind.NUMBER),
    Column("protected", audience="people", missing="none"),
    Column("protected", Kind.DATA, audience="machines"),
    Column("policy", missing="none"),
)
_LOGIN = (
    Column("username", missing="the default user"),
    Column("password", missing="none"),
)
_TLS = (
    Column("ca_file", title="CA file", missing="the system's CAs"),
    Column("cert_file", missing="none"),
    Column("key_file", missing="none"),
    Column("key_password", missing="none"),
    Column("server_name", missing="the host's name"),
    Column("verify", Kind.BOOL),
)
_TIMEOUTS = (
    Column("connect", Kind.SECONDS),
    Column("reply", Kind.SECONDS),
    Column("loading", Kind.SECONDS),
)
_LIMITS = (
    Column("pace"),
    Column("max_rate", Kind.RATE, title="max keys per second", missing="no limit"),
    Column("max_latency", Kind.SECONDS),
    Column("critical_latency", Kind.SECONDS),
    Column("max_lag", Kind.BYTES),
    Column("critical_lag", Kind.BYTES),
    Column("max_keys", Kind.COUNT, title="max keys in a run"),
    Column("max_percent", Kind.NUMBER, title="max percent in a run"),
    Column("max_archive", Kind.BYTES),
)
_THRESHOLDS = (
    Column("hit_ratio", Kind.RATIO),
    Column("latency_p99", Kind.SECONDS, title="latency p99"),
    Column("memory", Kind.RATIO),
    Column("fragmentation", Kind.NUMBER),
    Column("evicted_per_second", Kind.RATE, title="evicted", missing="not watched"),
    Column("connected_clients", Kind.COUNT, missing="not watched"),
    Column("blocked_clients", Kind.COUNT, missing="not watched"),
    Column("replica_lag", Kind.BYTES, missing="not watched"),
    Column("checks", Kind.DATA, title="ranges of checks", missing="none"),
)
_SUPPRESSIONS = (Column("id"), Column("subject", missing="all"), Column("until"), Column("reason"))


def show_report(target: Target) -> Report:
    """Return the report of one profile with every value that is in force, defaults included."""
    blocks: list[Block] = [
        _head(target),
        Pairs(list(zip(_LOGIN, _login(target.login), strict=True)), "Login", "login"),
    ]
    if target.topology == "sentinel":
        login = list(zip(_LOGIN, _login(target.sentinel_login), strict=True))
        blocks.append(Pairs(login, "Login of the sentinels", "sentinel_login"))
    if target.tls is not None:
        blocks.append(_attributes(_TLS, target.tls, "TLS", "tls"))
    timeouts = (target.connect_timeout, target.timeout, target.wait_loading)
    blocks += [
        Pairs(list(zip(_TIMEOUTS, timeouts, strict=True)), "Timeouts", "timeouts"),
        _attributes(_LIMITS, target.limits, "Limits", "limits", pace=target.pace),
        _attributes(_THRESHOLDS, target.thresholds, "Thresholds", "thresholds"),
    ]
    if target.suppressions:
        blocks.append(_suppressions(target.suppressions))
    notes = []
    if target.tls is not None and not target.tls.verify:
        notes.append("TLS does not verify the server: anybody in between can read and change all")
    return Report(schema=SHOW_SCHEMA, blocks=blocks, notes=notes)


def _suppressions(suppressions: Sequence[Suppression]) -> Table:
    rows = [(one.id, one.subject, one.until.isoformat(), one.reason) for one in suppressions]
    return Table("suppressions", _SUPPRESSIONS, rows, title="Suppressions")


def _head(target: Target) -> Pairs:
    addresses = [str(address) for address in target.addresses]
    values: tuple[Any, ...] = (
        target.name,
        target.description or None,
        target.source and str(target.source),
        target.environment,
        target.read_only,
        target.topology,
        ", ".join(addresses),
        addresses,
        target.sentinel_master,
        ", ".join(f"{seen} is {real}" for seen, real in target.address_map.items()) or None,
        dict(target.address_map),
        target.database,
        target.protocol,
        ", ".join(target.protected) or None,
        list(target.protected),
        target.policy_file and str(target.policy_file),
    )
    return Pairs(list(zip(_HEAD, values, strict=True)))


def _login(login: Login) -> tuple[str | None, str | None]:
    return login.username, login.password.origin if login.password else None


def _attributes(
    columns: Sequence[Column], holder: object, title: str, name: str, **instead: Any
) -> Pairs:
    """Return the attributes of a dataclass that the columns name; paths and secrets as text."""
    values = {column.name: getattr(holder, column.name) for column in columns} | instead
    return Pairs([(column, _plain(values[column.name])) for column in columns], title, name)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {name: asdict(item) for name, item in value.items()} or None
    return str(getattr(value, "origin", value))
