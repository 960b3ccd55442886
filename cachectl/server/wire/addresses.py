"""Addresses that servers announce, and where they can be reached from here."""

from __future__ import annotations

from collections.abc import Mapping

from cachectl.config.target import Address


def parse_address(text: str, default_port: int) -> Address:
    """Return `host`, `host:port`, `[v6]:port` or a bare IPv6 address as an Address."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return Address(host, int(port) if port.isdigit() else default_port)


def reachable(address_map: Mapping[str, str], host: str, port: int) -> Address:
    """Return where the node that announces `host` and `port` is reached from here.

    The map's names are tried as `host:port`, then as a bare host (whose port is kept unless the
    value names one). What is not in the map is taken as it is.
    """
    announced = Address(host, port)
    to = address_map.get(str(announced)) or address_map.get(f"{host}:{port}")
    to = to or address_map.get(host)
    return parse_address(to, port) if to else announced
