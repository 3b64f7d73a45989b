"""May the successor start before the predecessor stops? Decided from the predecessor, as the engine shows it. Pure.

With `auto` a container is started first only where nothing speaks against it: two of it must be able to run side by
side, nobody may depend on which of the two it is, and the log must not remember a temporary name. With `start-first`
somebody says that two side by side are fine; what the engine would refuse, or what would break others, still counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import normpath
from typing import Any

from watchtower_async.engine.spec_network import endpoints, network_mode
from watchtower_async.engine.spec_parts import EngineFacts, JsonObject, labels_of, section
from watchtower_async.settings import Order, parse_list

RELEASE_LABEL = "watchtower-async.order.release"
"""Mount points, or names of volumes, that two containers may write to at once."""

# Others, also those of plug-ins, may send the container's name, which is a temporary one when the successor starts.
_NAMELESS_LOG_DRIVERS = frozenset({"", "none", "local", "json-file", "syslog", "awslogs", "splunk", "k8s-file"})
_NAME_IN_TAG = re.compile(r"\.(Name|ContainerName)\b")
_ENGINE_SOCKETS = ("/docker.sock", "/podman.sock")
_ADDRESSES = ("IPv4Address", "IPv6Address", "LinkLocalIPs")
_NOT_SHARED = frozenset({"tmpfs", "image"})
"""Kinds of mounts that each container has for itself."""


@dataclass(frozen=True, slots=True)
class OrderChoice:
    """Which comes first. `reasons` say why it is not the successor, and are empty where it is."""

    order: Order
    reasons: tuple[str, ...] = ()


def choose_order(
    document: JsonObject, *, asked: Order, engine: EngineFacts, dependents: tuple[str, ...] = ()
) -> OrderChoice:
    """Choose for an inspected predecessor. `dependents` share one of its namespaces or link to it."""
    if asked is Order.STOP_FIRST:
        return OrderChoice(Order.STOP_FIRST, ("stop-first is asked for",))
    reasons = [*_impossible(document, engine, dependents)]
    if asked is Order.AUTO:
        reasons += _unsafe(document)
    return OrderChoice(Order.STOP_FIRST if reasons else Order.START_FIRST, tuple(reasons))


def _impossible(document: JsonObject, engine: EngineFacts, dependents: tuple[str, ...]) -> Iterator[str]:
    """Yield what the engine would refuse, and what would break other containers."""
    host = section(document, "HostConfig")
    yield from _ports(host)
    yield from _addresses(document, engine)
    for kind in ("network", "pid", "ipc"):
        if str(host.get(f"{kind.capitalize()}Mode") or "").startswith("container:"):
            yield f"it shares the {kind} namespace of another container"
    if dependents:
        yield f"{_and(dependents)} must be re-created with it"
    if host.get("Links"):
        yield "it has legacy links"


def _unsafe(document: JsonObject) -> Iterator[str]:
    """Yield what the engine would let pass, and what only its owner can judge."""
    host = section(document, "HostConfig")
    if network_mode(document) == "host":
        yield "it uses the host's network, so nobody can say on which ports it listens"
    yield from _writable_mounts(document)
    if host.get("Devices") or host.get("DeviceRequests"):
        yield "it uses devices"
    yield from _log(section(host, "LogConfig"))


def _ports(host: JsonObject) -> Iterator[str]:
    asked = [
        (port, str(binding.get("HostPort") or ""))
        for port, bindings in section(host, "PortBindings").items()
        for binding in bindings or ()
    ]
    for port, number in asked:
        if number in ("", "0"):
            yield f"it publishes {port} on a random host port, which would be another one"
        else:
            yield f"it publishes {port} on host port {number}"
    if host.get("PublishAllPorts") and not asked:
        yield "it publishes its ports on random host ports, which would be others"


def _addresses(document: JsonObject, engine: EngineFacts) -> Iterator[str]:
    wanted = endpoints(document, engine)
    requests: dict[str, Mapping[str, Any]] = {**wanted.at_create, **dict(wanted.extra)}
    networks = sorted(requests)
    for network in networks:
        if any(section(requests[network], "IPAMConfig").get(key) for key in _ADDRESSES):
            yield f"it has a static address in network {network}"
    if section(document, "Config").get("MacAddress") or any(requests[name].get("MacAddress") for name in networks):
        yield "it has a fixed MAC address"


def _writable_mounts(document: JsonObject) -> Iterator[str]:
    released = {normpath(name) for name in parse_list(labels_of(document).get(RELEASE_LABEL, ""))}
    for mount in document.get("Mounts") or ():
        place, name = str(mount.get("Destination") or ""), str(mount.get("Name") or "")
        if not mount.get("RW", True) or mount.get("Type") in _NOT_SHARED or {normpath(place), name} & released:
            continue
        if str(mount.get("Source") or "").endswith(_ENGINE_SOCKETS):
            continue  # asking an engine is not writing
        kind = "volume" if mount.get("Type") == "volume" else "bind mount"
        yield f"two would write to the {kind} at {place}; {RELEASE_LABEL}={place} allows it"


def _log(config: JsonObject) -> Iterator[str]:
    driver = str(config.get("Type") or "")
    if driver not in _NAMELESS_LOG_DRIVERS:
        yield f"its log driver {driver} may use the container's name, which is a temporary one at that moment"
    elif _NAME_IN_TAG.search(str(section(config, "Config").get("tag") or "")):
        yield "its log tag uses the container's name, which is a temporary one at that moment"


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
