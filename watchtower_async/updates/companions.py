"""Which containers are replaced together with one, as far as a list of containers tells. Pure.

A container that lives in the network of another one, or links to it, is created anew with it; so are those that live
with that one. Shared process and IPC namespaces are not listed; whoever carries the plan out looks for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec_relations import CONTAINER_MODE
from watchtower_async.engine.temporary_name import parse_temporary_name


def companions(container: ContainerSummary, containers: Sequence[ContainerSummary]) -> tuple[str, ...]:
    """Name those that are replaced together with this one, in order, without half of a replacement."""
    found: dict[str, ContainerSummary] = {}
    waiting = [container]
    while waiting:
        target = waiting.pop()
        for user in _users(target, containers):
            if user.id not in found and user.id != container.id:
                found[user.id] = user
                waiting.append(user)
    return tuple(sorted(item.name for item in found.values()))


def _users(target: ContainerSummary, containers: Sequence[ContainerSummary]) -> list[ContainerSummary]:
    # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
    linked = {alias.strip("/").partition("/")[0] for alias in target.aliases}
    mode = f"{CONTAINER_MODE}{target.id}"
    return [
        item
        for item in containers
        if (item.name in linked or item.network_mode == mode) and parse_temporary_name(item.name) is None
    ]
