"""What the parts of the specification share: the facts about the engine, and when a value counts as not given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from posixpath import normpath
from typing import Any

JsonObject = dict[str, Any]

SHORT_ID_LENGTH = 12
COMPOSE_IMAGE_LABEL = "com.docker.compose.image"
COMPOSE_PROJECT_LABEL = "com.docker.compose.project"
SWARM_TASK_LABEL = "com.docker.swarm.task.id"

ENDPOINTS_AT_CREATE = (1, 44)
"""From this API version on, create takes several endpoints, each with its own MAC address (Engine 25)."""

RANDOM_MAC = (1, 48)
"""From this API version on generated MAC addresses are random and `eth0` sysctls belong to the endpoint (Engine 28)."""

NEWEST_WITH_ASKED_MAC = (1, 51)
"""After this API version inspect no longer tells which MAC address was asked for."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the rules need to know about the engine that the documents were read from and will be sent to."""

    api_version: tuple[int, int]
    is_podman: bool = False
    host_name: str = ""
    """`Name` of `GET /info`; containers with the host's network get it when they ask for no host name."""
    platform: str = ""
    """`os/arch[/variant]` of the machine, empty when unknown."""
    left_out: frozenset[str] = frozenset()
    """Fields of `HostConfig` that no new container gets, whatever its predecessor has."""


def is_empty(value: object) -> bool:
    """Say whether the engine treats this value as not given: null, absent, empty, zero and false are one."""
    return value is None or value in ("", 0) or value in ([], {})


def section(document: Mapping[str, Any], key: str) -> JsonObject:
    """Return the object under this key; an absent or null one is empty."""
    return document.get(key) or {}


def given(document: Mapping[str, Any], keys: Iterable[str]) -> JsonObject:
    """Copy the values under these keys that are not empty."""
    return {key: deepcopy(document[key]) for key in keys if not is_empty(document.get(key))}


def without_defaults(value: Mapping[str, Any] | None, defaults: Mapping[str, Any] | None) -> JsonObject:
    """Copy the entries that the defaults do not hold with the same value."""
    known = defaults or {}
    return {key: deepcopy(item) for key, item in (value or {}).items() if key not in known or known[key] != item}


def clean_path(path: str) -> str:
    """Return an absolute path in its shortest form."""
    return normpath("/" + path.lstrip("/"))


def short_id(container: Mapping[str, Any]) -> str:
    """Return the first 12 digits of the container's id, its default host name."""
    return str(container.get("Id", ""))[:SHORT_ID_LENGTH]


def labels_of(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the container's labels."""
    return section(section(container, "Config"), "Labels")
