"""What a replacement cannot do yet, though the container could be created again as it is. Pure.

A container whose namespaces others share, or that others link to, must be replaced together with them: alone, it would
leave them in a dead network. One that the engine removes at its stop (`--rm`) could not be put back.
"""

from __future__ import annotations

from collections.abc import Iterable

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec import Recreation
from watchtower_async.engine.spec_parts import JsonObject
from watchtower_async.engine.spec_relations import CONTAINER_MODE, relations
from watchtower_async.engine.temporary_name import parse_temporary_name

_TOGETHER = "which must be replaced together with it; that is not supported yet"


def sharers_listed(container: ContainerSummary, containers: Iterable[ContainerSummary]) -> tuple[str, ...]:
    """Name the containers that live in this one's network or link to it, as far as a list of containers tells."""
    # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
    linked = {alias.strip("/").partition("/")[0] for alias in container.aliases}
    living = {item.name for item in containers if item.network_mode == f"{CONTAINER_MODE}{container.id}"}
    return tuple(sorted(name for name in linked | living if parse_temporary_name(name) is None))


def sharers_inspected(container_id: str, documents: Iterable[JsonObject]) -> tuple[str, ...]:
    """Name the containers that share a namespace of this one or link to it."""
    found = {
        str(document.get("Name", "")).removeprefix("/")
        for document in documents
        for relation in relations(document)
        if relation.target == container_id and relation.setting != "VolumesFrom"
    }
    return tuple(sorted(found))


def out_of_reach(recreation: Recreation, sharers: tuple[str, ...]) -> tuple[str, ...]:
    """Return why the replacement is refused, nothing where it is not."""
    reasons = [f"{name} shares its namespaces or links to it, {_TOGETHER}" for name in sharers]
    if recreation.vanishes_at_stop:
        reasons.append("HostConfig.AutoRemove (--rm) is set and is not carried over yet")
    return tuple(reasons)
