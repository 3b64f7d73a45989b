"""Who sent a request, where a proxy that is trusted says it for others. Pure.

A header field counts only when the connection itself comes from a trusted proxy. It is read from the right, since each
proxy adds to the end: the first address that is no trusted proxy is the client. What stands left of it is a claim of
the client's and means nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks (`10.0.0.0/8`). Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_address(peer: str, forwarded: str, trusted: tuple[Network, ...]) -> str:
    """Return the address of the client behind a connection; the peer's own where nobody trusted says otherwise."""
    client = _parse(peer)
    if client is None:
        return peer
    for text in reversed(forwarded.split(",")):
        if not _is_trusted(client, trusted):
            break
        before = _parse(text)
        if before is None:
            break
        client = before
    return str(client)


def _parse(text: str) -> Address | None:
    text = text.strip().partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
