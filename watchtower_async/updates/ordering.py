"""Order of updates: what others depend on comes first.

Sources, in Watchtower's order: the label `….depends-on` replaces all others; else compose's `depends_on`, legacy links
and a shared network namespace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from watchtower_async.engine.inventory import ContainerSummary

DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"
COMPOSE_DEPENDS_ON = "com.docker.compose.depends_on"
COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"


def dependencies(containers: Sequence[ContainerSummary], *, use_compose: bool = True) -> dict[str, frozenset[str]]:
    """Map each container's name to the names it depends on, those that exist on this engine.

    `use_compose` says whether compose's `depends_on` counts.
    """
    by_service: dict[tuple[str, str], list[str]] = {}
    for item in containers:
        key = (item.labels.get(COMPOSE_PROJECT, ""), item.labels.get(COMPOSE_SERVICE, ""))
        by_service.setdefault(key, []).append(item.name)
    names_by_id = {item.id: item.name for item in containers}
    linked = _link_targets(containers)
    known = {item.name for item in containers}
    services = by_service if use_compose else {}
    return {
        item.name: (frozenset(_targets(item, services, names_by_id, linked)) & known) - {item.name}
        for item in containers
    }


def _link_targets(containers: Sequence[ContainerSummary]) -> dict[str, set[str]]:
    # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
    targets: dict[str, set[str]] = {}
    for item in containers:
        for alias in item.aliases:
            targets.setdefault(alias.strip("/").partition("/")[0], set()).add(item.name)
    return targets


def _targets(
    item: ContainerSummary,
    by_service: Mapping[tuple[str, str], list[str]],
    names_by_id: Mapping[str, str],
    linked: Mapping[str, set[str]],
) -> Iterable[str]:
    label = item.labels.get(DEPENDS_ON, "")
    if label:
        yield from (name.strip().removeprefix("/") for name in label.split(","))
        return
    project = item.labels.get(COMPOSE_PROJECT, "")
    for service in _compose_services(item.labels.get(COMPOSE_DEPENDS_ON, "")):
        yield from by_service.get((project, service), ())
    yield from linked.get(item.name, ())
    if item.network_mode.startswith("container:"):
        target = item.network_mode.removeprefix("container:")
        yield names_by_id.get(target, target)


def _compose_services(text: str) -> list[str]:
    if text.startswith("{"):
        try:
            return list(json.loads(text))
        except (ValueError, RecursionError):
            return []
    return [part.partition(":")[0].strip() for part in text.split(",") if part.strip()]


def find_cycles(graph: Mapping[str, frozenset[str]]) -> tuple[frozenset[str], ...]:
    """Return the sets of names that depend on each other in a circle."""
    remaining = dict(graph)
    cycles: list[frozenset[str]] = []
    while True:
        try:
            TopologicalSorter(remaining).prepare()
        except CycleError as error:
            members = frozenset(error.args[1])
            cycles.append(members)
            remaining = {name: targets - members for name, targets in remaining.items() if name not in members}
        else:
            return tuple(cycles)


def in_order(names: Iterable[str], graph: Mapping[str, frozenset[str]]) -> list[str]:
    """Sort names so that each comes after what it depends on, directly or not; otherwise by name.

    The graph must be free of cycles.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(graph):
        sorter.add(name, *sorted(graph[name]))
    position = {name: index for index, name in enumerate(sorter.static_order())}
    return sorted(names, key=lambda name: (position.get(name, -1), name))
