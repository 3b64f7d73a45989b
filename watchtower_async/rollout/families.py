"""Which unfinished replacements belong together: containers that share namespaces or link to each other. Pure.

They are told by what the containers of both generations say: the id of the owner of a namespace, the names that links
give. A dependent that is settled already has no leftovers any more; then its target cannot go back alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec_parts import JsonObject, section
from watchtower_async.engine.spec_relations import CONTAINER_MODE
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.rollout.graph import Union, walk
from watchtower_async.rollout.transitions import Situation, situations


@dataclass(frozen=True, slots=True)
class Family:
    """Original names whose replacements are brought in order together, targets first."""

    bases: tuple[str, ...]
    joined: frozenset[str] = frozenset()
    """Those whose successors others, which are settled already, live with."""


def families(containers: Sequence[ContainerSummary], documents: Mapping[str, JsonObject]) -> tuple[Family, ...]:
    """Group the names with leftovers. `documents` have the `HostConfig` of each container, by id."""
    found = situations(containers)
    base_of = {item.id: base for item in containers if (base := _base(item, found)) is not None}
    order: dict[str, set[str]] = {base: set() for base in found}
    joined: set[str] = set()
    union = Union()
    for base in found:
        union.add(base)
    for user, target in _relations(containers, documents):
        if target not in base_of:
            continue
        if user not in base_of:
            joined |= _joined_by_outsider(found[base_of[target]], target)
        elif base_of[user] != base_of[target]:
            order[base_of[user]].add(base_of[target])
            union.join(base_of[user], base_of[target])
    position = walk(order).position
    return tuple(
        Family(tuple(sorted(bases, key=position.__getitem__)), frozenset(bases) & joined)
        for bases in sorted(map(sorted, union.sets()))
    )


def _base(container: ContainerSummary, found: Mapping[str, Situation]) -> str | None:
    temporary = parse_temporary_name(container.name)
    base = container.name if temporary is None else temporary.base
    return base if base in found else None


def _joined_by_outsider(situation: Situation, target: str) -> frozenset[str]:
    named = situation.named
    is_successor = situation.old is not None and named is not None and named.id == target
    return frozenset({situation.base}) if is_successor else frozenset()


def _relations(
    containers: Sequence[ContainerSummary], documents: Mapping[str, JsonObject]
) -> Iterator[tuple[str, str]]:
    """Yield who belongs to whom, by ids: the user and the target."""
    ids = {item.name: item.id for item in containers}
    for item in containers:
        for mode in section(documents.get(item.id, {}), "HostConfig").values():
            if str(mode).startswith(CONTAINER_MODE):
                yield item.id, str(mode).removeprefix(CONTAINER_MODE)
        # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
        for alias in item.aliases:
            user = ids.get(alias.strip("/").partition("/")[0])
            if user is not None:
                yield user, item.id
