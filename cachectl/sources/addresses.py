"""Which addresses an HTTP source may talk to: none of this machine, none with a cloud's secrets.

A name is resolved once and its address kept: what a name server says next time does not matter.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from cachectl.config.manifest import Network
from cachectl.sources.interface import SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata services that are at no link-local address: AWS over IPv6, Alibaba.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def resolve(host: str, port: int, allowed: Sequence[Network]) -> list[str]:
    """Return the addresses of a host, which are all allowed.

    Raises SourceError: it is not found, or one of its addresses is not allowed.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or "not a host's name").lower()
        raise SourceError(f"cannot find the host {host}: {reason}", retryable=True) from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for text in addresses:
        refuse(host, text, allowed)
    return addresses


def refuse(host: str, text: str, allowed: Sequence[Network]) -> None:
    """Raise SourceError when an address is not allowed. host: what led to it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    for meant in (address, *_inside(address)):
        kind = _kind(meant)
        if kind and not any(meant in network for network in allowed):
            also = "" if host == text == str(meant) else f", which is {meant}"
            raise SourceError(
                f"may not ask {host}{also}: {kind}",
                hint=f"if it is meant, allow it: --allow-network {meant}",
            )


def _inside(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 one is a way to write."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in inner if one is not None]


def _kind(address: Address) -> str:
    if address.is_loopback:
        return "this machine"
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_link_local:
        return "a link-local address, where clouds keep their metadata"
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return "no address of a service"
    return ""
