"""What does not fit together in a profile: given twice, missing beside something, contradicting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachectl.config.fields import Section
from cachectl.config.problems import Problem
from cachectl.config.profile_model import LimitsSection, ProfileFile
from cachectl.config.target import Limits, Topology
from cachectl.config.urls import ServerUrl


def given(section: Section | None, name: str) -> Any:
    """Return a field of a section; None when it, or the section, was not written."""
    return None if section is None else getattr(section, name)


def topology_of(profile: ProfileFile, url: ServerUrl | None) -> Topology:
    """Return what the sections, the URL and `topology` make it."""
    if profile.sentinel is not None or _is_sentinel(url):
        return "sentinel"
    if profile.cluster is not None or profile.topology == "cluster":
        return "cluster"
    return "standalone"


def conflicts(
    profile: ProfileFile, url: ServerUrl | None, written: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield the problems. url: the profile's URL, parsed; written: the file's data as it stands."""
    yield from _of_place(profile)
    if url is not None:
        yield from _of_url(profile, url, written)
    yield from _of_topology(profile, url)
    if topology_of(profile, url) == "sentinel":
        yield from _of_sentinel(profile, url)
    yield from _of_tls(profile)
    yield from _of_limits(profile.limits)


def _is_sentinel(url: ServerUrl | None) -> bool:
    return url is not None and url.topology == "sentinel"


def _places(profile: ProfileFile) -> list[str]:
    """Return which of the fields that lead to one server were written."""
    return [name for name in ("url", "host", "socket") if getattr(profile, name) is not None]


def _of_place(profile: ProfileFile) -> Iterator[Problem]:
    places = _places(profile)
    nodes = given(profile.cluster, "nodes")
    if not places and nodes is None and profile.sentinel is None:
        yield Problem(
            (),
            "does not say where the server is",
            "write `url:`, `host:`, `socket:`, or a section `sentinel:` or `cluster:` with nodes",
        )
    for name in places[1:]:
        yield Problem((name,), f"says again where the server is, after `{places[0]}`")
    if places and nodes is not None:
        yield Problem(("cluster", "nodes"), f"says again where the server is, after `{places[0]}`")
    if profile.port is not None and profile.host is None:
        yield Problem(("port",), "needs `host`", "or write the port into the URL")


def _of_url(profile: ProfileFile, url: ServerUrl, written: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("username", "database", "protocol"):
        if getattr(url, name) is not None and getattr(profile, name) is not None:
            yield Problem((name,), "is given in the URL too")
    if url.tls and written.get("tls") is False:
        yield Problem(("tls",), "is false, but the URL asks for TLS")
    if not url.tls and profile.tls is not None:
        yield Problem(("tls",), "needs a URL that asks for TLS", "write rediss:// or valkeys://")


def _of_topology(profile: ProfileFile, url: ServerUrl | None) -> Iterator[Problem]:
    means = topology_of(profile, url)
    if means == "sentinel" and profile.cluster is not None:
        yield Problem(("cluster",), "cannot stand beside Sentinel")
    if profile.topology == "sentinel" and means != "sentinel":
        yield Problem(("topology",), "needs a section `sentinel`")
    elif profile.topology is not None and profile.topology != means:
        yield Problem(("topology",), f"says {profile.topology}, but the rest means {means}")
    if means == "cluster" and (profile.socket or (url and url.addresses[0].socket)):
        yield Problem(("socket" if profile.socket else "url",), "cannot lead to a cluster")


def _of_sentinel(profile: ProfileFile, url: ServerUrl | None) -> Iterator[Problem]:
    for name in ("master", "nodes"):
        written = given(profile.sentinel, name) is not None
        if _is_sentinel(url) and written:
            yield Problem(("sentinel", name), "is given in the URL too")
        if not _is_sentinel(url) and not written:
            yield Problem(("sentinel", name), "is missing")
    for name in _places(profile):
        if name != "url" or not _is_sentinel(url):
            yield Problem((name,), "cannot stand beside `sentinel`, which finds the server")


def _of_tls(profile: ProfileFile) -> Iterator[Problem]:
    if profile.tls is None:
        return
    if profile.socket is not None:
        yield Problem(("tls",), "cannot stand beside `socket`")
    for name in ("key_file", "key_password"):
        if getattr(profile.tls, name) is not None and profile.tls.cert_file is None:
            yield Problem(("tls", name), "needs `tls.cert_file`")


def _of_limits(section: LimitsSection | None) -> Iterator[Problem]:
    if section is None:
        return
    written = section.model_dump(exclude_none=True)
    limits = Limits(**written)
    for low, high in (("max_latency", "critical_latency"), ("max_lag", "critical_lag")):
        if getattr(limits, low) > getattr(limits, high):
            guilty, than = (high, "less") if high in written else (low, "more")
            other = low if guilty == high else high
            yield Problem(("limits", guilty), f"is {than} than `limits.{other}`")
