"""Where requests may go: the address of a registry, and where it may send us.

A challenge names a token service and a redirect names another server, and both are followed with or without a secret.
Whoever can start a container chooses the registry, so neither is trusted:

* nothing goes from https to http, and a token service is asked over http only beside a registry that is itself http;
* a server out there cannot send us to an address inside (loopback, private, link-local, unspecified);
* user info and other schemes are refused.

Only literals are judged; names are not resolved here. URLs are never re-encoded: registries sign and compare them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import yarl

from watchtower_async.errors import ProtocolViolationError
from watchtower_async.images.reference import host_without_port, is_loopback_host

__all__ = [
    "Endpoint",
    "check_realm",
    "check_redirect",
    "host_without_port",
    "may_be_insecure",
    "same_origin",
]

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# `127.1`, `2130706433` and `0x7f.1` are addresses for the resolver of the system, though not in the usual form.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?", re.ASCII)
# Written out, because what the standard library calls private differs between its versions.
_INSIDE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' and clouds' own, RFC 6598
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/128",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The API of a registry: `http` or `https`, and a host with port where one was given."""

    scheme: str
    host: str

    @property
    def base_url(self) -> str:
        """Return the address without a final slash; API paths begin with `/v2/` after it."""
        return f"{self.scheme}://{self.host}"

    def url(self, path_and_query: str) -> yarl.URL:
        """Return a URL below the endpoint exactly as given. Raises ProtocolViolationError for a port out of range."""
        try:
            return _parsed(self.base_url + path_and_query)
        except ValueError:
            message = f"registry {self.host} has no valid address: check host and port in the image name"
            raise ProtocolViolationError(message, host=self.host) from None

    def __str__(self) -> str:
        return self.base_url


def may_be_insecure(host: str, insecure_hosts: frozenset[str]) -> bool:
    """Say whether a registry may be asked without a trusted certificate, or over http.

    That is loopback, told by the text alone, and what the settings list: a host, for all its ports, or host and port.
    """
    if is_loopback_host(host):
        return True
    listed = {entry.lower() for entry in insecure_hosts}
    return host.lower() in listed or host_without_port(host).lower() in listed


def same_origin(a: yarl.URL, b: yarl.URL) -> bool:
    """Say whether a secret for one URL may be sent to the other: same scheme, host and port (RFC 6454)."""
    return a.scheme.lower() == b.scheme.lower() and _place(a) == _place(b)


def check_realm(realm: str, *, endpoint: Endpoint, insecure: bool) -> yarl.URL:
    """Return the token service that a challenge names, if it may be asked; its own query is kept.

    `insecure` says whether the registry may be asked without TLS. Raises ProtocolViolationError.
    """
    registry = endpoint.url("/")
    sender = f"registry {endpoint.host}"
    url = _resolve(registry, realm, sender=sender, what="token service", host=endpoint.host)
    if "#" in realm:
        raise _refusal(sender, "token service", url, "with a fragment: its realm must be a plain URL", endpoint.host)
    if url.scheme == "http" and not _may_use_http(url, registry, insecure=insecure):
        remedy = "over http: set the external URL of the registry to https"
        if registry.scheme == "http":
            remedy = "over http: use https there, or serve it on the host of the registry"
        raise _refusal(sender, "token service", url, remedy, endpoint.host)
    if _leads_inside(registry, url):
        remedy = "at an internal address: set the external URL of the registry to a name that is reachable from outside"
        raise _refusal(sender, "token service", url, remedy, endpoint.host)
    return url


def check_redirect(source: yarl.URL, target: str) -> yarl.URL:
    """Return the URL that a `Location` field names, if it may be followed; a fragment is dropped.

    It does not say that a secret may go there: see `same_origin`. Raises ProtocolViolationError.
    """
    host = _name(source)
    url = _resolve(source, target, sender=host, what="address", host=host)
    if source.scheme == "https" and url.scheme == "http":
        raise _refusal(host, "address", url, "over http: a redirect must not leave https", host)
    if _leads_inside(source, url):
        remedy = "on an internal network, which only an internal server may do: name that server in the image name"
        raise _refusal(host, "address", url, remedy, host)
    return url


def _resolve(base: yarl.URL, text: str, *, sender: str, what: str, host: str) -> yarl.URL:
    """Read an absolute or relative http or https URL without user info."""
    malformed = ProtocolViolationError(
        f"{sender} sends us to a malformed {what}: check the configuration of that server", host=host
    )
    if not _VISIBLE_ASCII.fullmatch(text):
        raise malformed
    try:
        given = _parsed(text.partition("#")[0])
    except ValueError:
        raise malformed from None
    url = given if given.scheme else base.join(given)
    if url.scheme not in ("http", "https"):
        raise ProtocolViolationError(
            f"{sender} sends us to a {what} that is neither http nor https: check the configuration of that server",
            host=host,
        )
    if not _is_plain_host(url.raw_host or ""):
        raise malformed
    if "@" in url.raw_authority:
        raise _refusal(sender, what, url, "with user info in its URL: remove it there", host)
    return url


def _parsed(text: str) -> yarl.URL:
    """Read a URL as it is. Raises ValueError, also for what yarl would notice only at the first use of the port."""
    url = yarl.URL(text, encoded=True)
    _ = url.port
    return url


def _refusal(sender: str, what: str, url: yarl.URL, why: str, host: str) -> ProtocolViolationError:
    return ProtocolViolationError(f"{sender} sends us to the {what} {_name(url)} {why}", host=host)


def _may_use_http(url: yarl.URL, registry: yarl.URL, *, insecure: bool) -> bool:
    if not insecure or registry.scheme != "http":
        return False
    return _place(url)[0] == _place(registry)[0] or (_is_loopback(url) and _is_loopback(registry))


def _leads_inside(source: yarl.URL, target: yarl.URL) -> bool:
    """Say whether a server outside names an address inside, or one whose form hides where it leads."""
    if _place(source) == _place(target) or _is_inside(source):
        return False
    return _is_inside(target) or _is_disguised(target)


def _is_inside(url: yarl.URL) -> bool:
    address = _address(url)
    return _is_loopback(url) or (address is not None and any(address in network for network in _INSIDE))


def _is_disguised(url: yarl.URL) -> bool:
    return _address(url) is None and _ENDS_IN_NUMBER.fullmatch(_place(url)[0]) is not None


def _is_loopback(url: yarl.URL) -> bool:
    return is_loopback_host(_place(url)[0].removesuffix("."))


def _address(url: yarl.URL) -> _Address | None:
    """Return the address that the URL's host is a literal of; an IPv4 address inside an IPv6 one is that address."""
    try:
        address = ipaddress.ip_address(_place(url)[0].removesuffix("."))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_plain_host(host: str) -> bool:
    if ":" not in host or "%" in host:  # a zone id means something on one machine only
        return _HOST_NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _place(url: yarl.URL) -> tuple[str, int | None]:
    return (url.raw_host or "").lower(), url.port


def _name(url: yarl.URL) -> str:
    """Return host and port for people: no user info, path or query, which may hold secrets."""
    host = (url.raw_host or "")[:255]
    shown = f"[{host}]" if ":" in host else host
    return shown if url.explicit_port is None else f"{shown}:{url.explicit_port}"
