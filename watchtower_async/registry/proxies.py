"""Which proxy a request goes through: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as curl and Docker read them.

The HTTP library could read them itself, but it would then also read `~/.netrc` and add credentials from there to
requests that must have none. A loopback address is never asked through a proxy.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

import yarl

from watchtower_async.images.reference import is_loopback_host


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and what it wants to see. Its URL holds no user info."""

    url: yarl.URL
    authorization: str | None = field(default=None, repr=False)


def has_proxies(environ: Mapping[str, str]) -> bool:
    """Say whether any proxy is configured."""
    return any(_variable(environ, f"{scheme}_proxy") for scheme in ("http", "https"))


def proxy_for(url: yarl.URL, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a URL, None where it is asked directly.

    Raises ValueError, with a text that can be shown, for a proxy that cannot be used.
    """
    host = (url.raw_host or "").lower()
    text = _variable(environ, f"{url.scheme}_proxy")
    if not text or is_loopback_host(f"[{host}]" if ":" in host else host):
        return None
    if _is_excluded(host, url.port, _variable(environ, "no_proxy")):
        return None
    return _read_proxy(text, f"{url.scheme.upper()}_PROXY")


def _read_proxy(text: str, variable: str) -> Proxy:
    try:
        url = yarl.URL(text if "://" in text else f"http://{text}")
        authorization = None
        if url.raw_user is not None or url.raw_password is not None:
            pair = f"{url.user or ''}:{url.password or ''}".encode()
            authorization = "Basic " + base64.b64encode(pair).decode("ascii")
            url = url.with_user(None)
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{variable} is not usable: expected http://host:port")
    return Proxy(url, authorization)


def _is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    return any(_excludes(entry.strip().lower(), host, port) for entry in no_proxy.split(","))


def _excludes(entry: str, host: str, port: int | None) -> bool:
    """Say whether one entry of `NO_PROXY` matches: `*`, an address, a network, or a domain with all below it."""
    if entry in ("", "*"):
        return entry == "*"
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
        entry = name.strip("[]")
    bare = entry.removeprefix("*").removeprefix(".")
    return host.endswith(f".{bare}") or (host == bare and not entry.startswith("."))


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable; lower case goes first, as everywhere."""
    return environ.get(name) or environ.get(name.upper()) or ""
