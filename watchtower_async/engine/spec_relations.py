"""Other containers that a request names: those whose namespaces or volumes it uses, and those it links to.

The engine stores the owner of a namespace by id, and so does Compose the source of volumes. An id means one container
for ever, so it goes dead when that container is created anew; a link follows the old container, under whatever name it
has then. So each is translated: to the successor where that is made in the same transaction, else to the container
that has the name now. What means nobody any more is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from posixpath import basename
from types import MappingProxyType

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec_parts import SHORT_ID_LENGTH, JsonObject, section
from watchtower_async.engine.temporary_name import parse_temporary_name

NO_SUCCESSORS: Mapping[str, str] = MappingProxyType({})

NAMESPACES = ("NetworkMode", "PidMode", "IpcMode", "Cgroup")
"""Settings that may name another container, whose namespace is shared."""

CONTAINER_MODE = "container:"

NOT_IN_THE_NETWORK_OF_ANOTHER = ("PortBindings", "PublishAllPorts", "Dns", "ExtraHosts")
"""Settings that the engine refuses together with the network of another container: they are that one's."""

_HEX_ID = re.compile(r"[0-9a-f]{12,64}")
_CAN_BE_JOINED = ("running", "paused")
_UP = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True)
class Relation:
    """What one setting says about another container. `target` is an id or a name, as the engine shows it."""

    setting: str
    target: str
    rest: str = ""
    """The alias of a link, the mode of volumes."""


@dataclass(frozen=True, slots=True)
class Relative:
    """The container that is meant, as the new request has to name it."""

    id: str
    name: str
    """Its name now or, for one that is being replaced, after it."""
    can_be_joined: bool
    """Whether another container can be started in its namespaces, or with a link to it."""
    mount_targets: frozenset[str]


class Neighbourhood:
    """The containers of the engine at one moment, and which of them are replaced by which in one transaction."""

    def __init__(self, containers: Iterable[ContainerSummary] = ()) -> None:
        self._by_id = {item.id: item for item in containers}
        self._by_name = {item.name: item for item in self._by_id.values()}
        self._successors: Mapping[str, str] = {}

    def replacing(self, successors: Mapping[str, str]) -> Neighbourhood:
        """Return the same containers, where more are replaced: ids of predecessors to those of their successors."""
        other = copy(self)
        other._successors = {**self._successors, **successors}
        return other

    def find(self, text: str) -> Relative | None:
        """Return the container that an id or a name means today; None for one that is gone."""
        found = self._look_up(text)
        if found is None:
            successor = self._successors.get(text)
            return None if successor is None else Relative(successor, successor, True, frozenset())
        temporary = parse_temporary_name(found.name)
        if found.id in self._successors:
            name = found.name if temporary is None else temporary.base
            return Relative(self._successors[found.id], name, True, found.mount_targets)
        if temporary is not None:
            # The name tells what the id meant: the container that has been replaced.
            return None if temporary.base not in self._by_name else self.find(temporary.base)
        return Relative(found.id, found.name, found.state in _CAN_BE_JOINED, found.mount_targets)

    def _look_up(self, text: str) -> ContainerSummary | None:
        found = self._by_id.get(text) or self._by_name.get(text.removeprefix("/"))
        if found is not None or not _HEX_ID.fullmatch(text):
            return found
        matches = [item for identity, item in self._by_id.items() if identity.startswith(text)]
        return matches[0] if len(matches) == 1 else None


NO_NEIGHBOURS = Neighbourhood()


def shares_network(container: JsonObject) -> bool:
    """Say whether the container lives in the network of another one."""
    return str(section(container, "HostConfig").get("NetworkMode") or "").startswith(CONTAINER_MODE)


def relations(container: JsonObject) -> tuple[Relation, ...]:
    """Return what the container's settings say about others, in a fixed order."""
    host = section(container, "HostConfig")
    shared = ((key, str(host.get(key) or "")) for key in NAMESPACES)
    found = [
        Relation(key, mode.removeprefix(CONTAINER_MODE)) for key, mode in shared if mode.startswith(CONTAINER_MODE)
    ]
    # Shown as "/target:/own name/alias", in random order.
    links = sorted(str(link).partition(":") for link in host.get("Links") or ())
    found += [Relation("Links", target.removeprefix("/"), basename(alias or target)) for target, _, alias in links]
    sources = (str(source).partition(":") for source in host.get("VolumesFrom") or ())
    found += [Relation("VolumesFrom", target, mode) for target, _, mode in sources]
    return tuple(found)


def relation_requests(container: JsonObject, neighbourhood: Neighbourhood) -> JsonObject:
    """Return the parts of `HostConfig` that name other containers, for a container that is not refused."""
    request: JsonObject = {}
    for relation in relations(container):
        relative = neighbourhood.find(relation.target)
        if relative is None:
            continue
        if relation.setting in NAMESPACES:
            request[relation.setting] = CONTAINER_MODE + relative.id
        elif relation.setting == "Links":
            # By id: until the names have changed, the name is the predecessor's.
            request.setdefault("Links", []).append(f"{relative.id}:{relation.rest}")
        else:
            # By name: an id would be dead once the source is created anew without this one. The volumes are the same.
            mode = f":{relation.rest}" if relation.rest else ""
            request.setdefault("VolumesFrom", []).append(relative.name + mode)
    return request


def borrowed_targets(container: JsonObject, neighbourhood: Neighbourhood) -> frozenset[str]:
    """Return where the volumes of others are mounted, which `VolumesFrom` brings by itself."""
    sources = [relation for relation in relations(container) if relation.setting == "VolumesFrom"]
    found = (neighbourhood.find(relation.target) for relation in sources)
    return frozenset(target for relative in found if relative is not None for target in relative.mount_targets)


def relation_reasons(container: JsonObject, neighbourhood: Neighbourhood) -> Iterable[str]:
    """Say which named containers are gone, or cannot be joined by one that has to run."""
    is_up = section(container, "State").get("Status") in _UP
    for relation in relations(container):
        relative = neighbourhood.find(relation.target)
        if relative is None:
            yield (
                f"HostConfig.{relation.setting} names container {_shown(relation.target)}, which is gone; "
                "create this one anew together with it, as docker compose up --force-recreate does"
            )
        elif is_up and relation.setting != "VolumesFrom" and not relative.can_be_joined:
            yield f"HostConfig.{relation.setting} names container {relative.name}, which is not running"


def _shown(target: str) -> str:
    return target[:SHORT_ID_LENGTH] if _HEX_ID.fullmatch(target) else target
