"""The endpoints of a create request, from `NetworkSettings.Networks`, which is request and result in one object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from watchtower_async.engine.spec_host import ENDPOINT_SYSCTLS, interface_sysctls
from watchtower_async.engine.spec_parts import (
    ENDPOINTS_AT_CREATE,
    RANDOM_MAC,
    EngineFacts,
    JsonObject,
    given,
    section,
    short_id,
)
from watchtower_async.engine.spec_relations import shares_network

COPIED = ("IPAMConfig", "Links", "DriverOpts", "GwPriority")
TRANSLATED = ("Aliases", "MacAddress")
DROPPED = (  # results
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "DNSNames",
)
KNOWN = frozenset((*COPIED, *TRANSLATED, *DROPPED))

WITHOUT_ENDPOINTS = ("host", "none")
DEFAULT_MODES = ("", "default", "bridge")

_HEX_ID = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the container is connected: what create takes, what is connected afterwards, before the start."""

    at_create: JsonObject
    extra: tuple[tuple[str, JsonObject], ...]
    kept_mac: tuple[str, ...] = ()
    """Networks whose MAC address is kept although the engine does not tell whether it was asked for."""


def network_mode(container: JsonObject) -> str:
    """Return `HostConfig.NetworkMode`."""
    return str(section(container, "HostConfig").get("NetworkMode") or "")


def networks_of(container: JsonObject) -> JsonObject:
    """Return the container's endpoints by network name."""
    return section(section(container, "NetworkSettings"), "Networks")


def main_network(container: JsonObject) -> str | None:
    """Return the name of the network that `NetworkMode` means, None when the container is not connected to it."""
    mode, networks = network_mode(container), networks_of(container)
    if mode in DEFAULT_MODES:
        return "bridge" if "bridge" in networks else None
    if mode in networks:
        return mode
    if not _HEX_ID.fullmatch(mode):
        return None
    by_id = [name for name, endpoint in networks.items() if str(endpoint.get("NetworkID") or "").startswith(mode)]
    if not by_id and len(networks) == 1:
        # A container that was never started shows no network ids.
        by_id = [name for name, endpoint in networks.items() if not endpoint.get("NetworkID")]
    return by_id[0] if by_id else None


def endpoints(container: JsonObject, engine: EngineFacts) -> Endpoints:
    """Return the endpoints as they were asked for."""
    if network_mode(container) in WITHOUT_ENDPOINTS or shares_network(container):
        return Endpoints({}, ())
    main, networks = main_network(container), networks_of(container)
    requests = {name: _endpoint(container, name, engine) for name in sorted(networks)}
    kept = tuple(name for name in requests if name != main and _is_undecidable_mac(requests[name], engine))
    first = main if main is not None else next(iter(requests), None)
    if engine.api_version >= ENDPOINTS_AT_CREATE:
        is_plain = len(requests) == 1 and main is not None and not requests[main]
        return Endpoints({} if is_plain else requests, (), kept)
    rest = tuple((name, request) for name, request in requests.items() if name != first)
    at_create = {first: requests[first]} if first is not None and (requests[first] or first != main) else {}
    return Endpoints(at_create, rest)


def _endpoint(container: JsonObject, name: str, engine: EngineFacts) -> JsonObject:
    endpoint: JsonObject = networks_of(container)[name] or {}
    request = given(endpoint, COPIED)
    aliases = _aliases(container, endpoint, engine)
    mac_address = _mac_address(container, name, engine)
    sysctls = interface_sysctls(container, engine) if name == main_network(container) else {}
    if aliases:
        request["Aliases"] = aliases
    if mac_address:
        request["MacAddress"] = mac_address
    if sysctls:
        request["DriverOpts"] = _with_sysctls(request.get("DriverOpts") or {}, sysctls)
    return request


def _aliases(container: JsonObject, endpoint: Mapping[str, Any], engine: EngineFacts) -> list[str]:
    added = {short_id(container)}
    if engine.api_version < ENDPOINTS_AT_CREATE:
        added.add(str(section(container, "Config").get("Hostname") or ""))
    return [alias for alias in deepcopy(endpoint.get("Aliases") or []) if alias not in added]


def _mac_address(container: JsonObject, name: str, engine: EngineFacts) -> str:
    """Return the MAC address that belongs into the endpoint. An automatic one must not be pinned."""
    if engine.api_version < ENDPOINTS_AT_CREATE:
        return ""  # such engines ignore it here; the container-wide one is in the request's top level
    if name == main_network(container):
        return str(section(container, "Config").get("MacAddress") or "")
    endpoint: JsonObject = networks_of(container)[name] or {}
    shown, address = str(endpoint.get("MacAddress") or ""), str(endpoint.get("IPAddress") or "")
    if shown.lower() == _generated_mac(address):
        return ""
    never_started = not address and not endpoint.get("EndpointID")
    if address or never_started or engine.api_version >= RANDOM_MAC:
        return shown
    return ""  # IPv6 only: Engine 25 to 27 generate a random one then


def _is_undecidable_mac(request: JsonObject, engine: EngineFacts) -> bool:
    return engine.api_version >= RANDOM_MAC and "MacAddress" in request


def _generated_mac(address: str) -> str | None:
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdigit() for part in parts):
        return None
    return "02:42:" + ":".join(f"{int(part):02x}" for part in parts)


def _with_sysctls(options: Mapping[str, Any], sysctls: Mapping[str, str]) -> JsonObject:
    asked = [options[ENDPOINT_SYSCTLS]] if options.get(ENDPOINT_SYSCTLS) else []
    moved = [f"{name.replace('.eth0.', '.IFNAME.', 1)}={value}" for name, value in sorted(sysctls.items())]
    return {**options, ENDPOINT_SYSCTLS: ",".join((*asked, *moved))}
