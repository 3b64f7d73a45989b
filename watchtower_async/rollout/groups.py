"""What is updated together, and in which order. Pure.

A *group* is what a rollout takes down at a time. Its members are

* the containers to be *updated*;
* those that must be *re-created* with them, updated or not: they share the network, pid or ipc namespace of a member,
  or link to one (`HostConfig.Links`), and a re-created target is another one to the engine. This goes on from member to
  member, and includes stopped ones, which could not be started any more;
* those that are *restarted* after them: their `depends_on` says `restart: true`, or the label `….depends-on` names a
  member, or they share a namespace with a restarted one. They keep their container; only running ones are restarted.

The first two kinds are one transaction: all move on, or all go back. Groups follow what their members depend on, also
through containers that are not updated. What several groups would restart is restarted by the last of them. Containers
that depend on each other in a circle have no order; that costs the groups with such a member, and only those.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec_parts import JsonObject, section
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.rollout.graph import Union, walk
from watchtower_async.rollout.transitions import UP
from watchtower_async.updates.ordering import (
    COMPOSE_DEPENDS_ON,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    DEPENDS_ON,
    dependencies,
)

_RESTARTABLE = frozenset({"running", "restarting"})
_LEAVING = frozenset({"dead", "removing"})
"""States of containers that are no member of anything any more."""
_SHARED_MODES = ("NetworkMode", "PidMode", "IpcMode")


class Role(StrEnum):
    """What happens to a member of a group."""

    UPDATE = "update"
    RECREATE = "recreate"
    """It gets a new container on the image that it has."""
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Aim:
    """The image that a container moves to."""

    image: str
    """The reference, as text."""
    digest: str
    """The published digest."""
    local_image: str = ""
    """The engine's id of the image, where it is there and must not be pulled."""
    starts: bool = True
    """Whether the new container is started."""

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "image": self.image,
            "digest": self.digest,
            "local_image": self.local_image,
            "starts": self.starts,
        }


def _read_aim(document: Mapping[str, Any] | None) -> Aim | None:
    if document is None:
        return None
    return Aim(str(document["image"]), str(document["digest"]), str(document["local_image"]), bool(document["starts"]))


@dataclass(frozen=True, slots=True)
class Member:
    """A container in a group."""

    container_id: str
    name: str
    role: Role
    is_up: bool = True
    """Whether it ran when the group was made; one that did not is re-created and not started."""
    image_id: str = ""
    """The id of the image that it has before."""
    aim: Aim | None = None
    """What one that is updated moves to."""

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "id": self.container_id,
            "name": self.name,
            "role": str(self.role),
            "is_up": self.is_up,
            "image_id": self.image_id,
            "aim": None if self.aim is None else self.aim.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """What is taken down together. The members stand targets first, the restarted ones last."""

    key: str
    """The name of its first updated container."""
    members: tuple[Member, ...]
    after: frozenset[str] = frozenset()
    """The keys of the groups that must run before this one is taken down."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all members."""
        return tuple(member.name for member in self.members)

    @property
    def updated(self) -> tuple[Member, ...]:
        """Return the members that get a new image."""
        return tuple(member for member in self.members if member.role is Role.UPDATE)

    @property
    def create_order(self) -> tuple[Member, ...]:
        """Return the members that get a new container, targets first: a dependent's request names its target's id."""
        return tuple(member for member in self.members if member.role is not Role.RESTART)

    @property
    def stop_order(self) -> tuple[Member, ...]:
        """Return the order to stop them in: dependents first."""
        return tuple(member for member in reversed(self.create_order) if member.is_up)

    @property
    def start_order(self) -> tuple[Member, ...]:
        """Return the order to start them in: targets first, as a shared namespace is that of a running container."""
        return tuple(member for member in self.create_order if member.is_up)

    @property
    def remove_order(self) -> tuple[Member, ...]:
        """Return the order to remove predecessors in: dependents' first.

        A target's predecessor is the only thing that tells what a dead id in its dependents meant.
        """
        return tuple(reversed(self.create_order))

    @property
    def restart_order(self) -> tuple[Member, ...]:
        """Return what is restarted once the others run, in order."""
        return tuple(member for member in self.members if member.role is Role.RESTART)

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "key": self.key,
            "members": [member.as_json() for member in self.members],
            "after": sorted(self.after),
        }


def read_group(document: Mapping[str, Any]) -> Group:
    """Read what `as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    members = (
        Member(
            str(item["id"]),
            str(item["name"]),
            Role(item["role"]),
            bool(item["is_up"]),
            str(item["image_id"]),
            _read_aim(item["aim"]),
        )
        for item in document["members"]
    )
    return Group(str(document["key"]), tuple(members), frozenset(map(str, document["after"])))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A container that cannot be updated as things are, and why."""

    name: str
    reason: str
    is_circular: bool = False


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups of an engine, each after those that it follows, and what is in none."""

    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...] = ()


def make_groups(
    containers: Sequence[ContainerSummary],
    *,
    updates: Collection[str],
    documents: Mapping[str, JsonObject] | None = None,
    held: Mapping[str, str] | None = None,
    aims: Mapping[str, Aim] | None = None,
    use_compose: bool = True,
) -> Grouping:
    """Group the containers to be updated, given by name. `aims` are what they move to.

    `use_compose` says whether compose's `depends_on` counts.

    The list of containers tells about networks and links only; shared pid and ipc namespaces are known for the
    inspected `documents` (by container id). `held` are containers that must not be touched, each with the reason.
    """
    present = {item.name: item for item in containers if item.state not in _LEAVING}
    stale = frozenset(updates) & present.keys()
    relations = _relations(list(present.values()), documents or {}, use_compose=use_compose)
    grouper = _Grouper(present, relations, stale, _held(present, held or {}))
    drafts, left_out = grouper.draft_all()
    del grouper, relations  # its tables are larger than what comes out
    return Grouping(tuple(_finish(draft, present, stale, aims or {}) for draft in drafts), left_out)


def _held(present: Iterable[str], held: Mapping[str, str]) -> dict[str, str]:
    unfinished = {name: "it is part of an unfinished replacement" for name in present if _is_temporary(name)}
    return {**unfinished, **held}


def _is_temporary(name: str) -> bool:
    return ".wta-" in name and parse_temporary_name(name) is not None


# ---- who depends on whom ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Relations:
    """By name, with the names on the other side that exist. Only `order` has names with none there."""

    order: Mapping[str, frozenset[str]]
    """Everything a container comes after."""
    sharers: Mapping[str, set[str]]
    """Those that live in a namespace of a container."""
    bound: Mapping[str, set[str]]
    """Those that must be re-created with a container."""
    restarted: Mapping[str, set[str]]
    """Those that are restarted when a container was updated or restarted."""


def _relations(
    containers: Sequence[ContainerSummary], documents: Mapping[str, JsonObject], *, use_compose: bool
) -> _Relations:
    names = {item.id: item.name for item in containers}
    order = dependencies(containers, use_compose=use_compose)
    links = _links(containers)
    sharers: dict[str, set[str]] = {}
    bound: dict[str, set[str]] = {}
    for item in containers:
        owners = [_owner(item.network_mode)]
        linked = links.get(item.name, [])
        if item.id in documents:
            host = section(documents[item.id], "HostConfig")
            owners += [_owner(str(host.get(mode) or "")) for mode in _SHARED_MODES]
            linked = [*linked, *(str(link).split(":")[0].removeprefix("/") for link in host.get("Links") or ())]
        owners = [names.get(owner, owner) for owner in owners]
        for target in (*owners, *linked):
            if target not in order or target == item.name:
                continue
            bound.setdefault(target, set()).add(item.name)
            if target in owners:
                sharers.setdefault(target, set()).add(item.name)
            if target not in order[item.name]:  # a label has replaced what the engine tells
                order[item.name] |= {target}
    restarted = _restarted(containers, order.keys(), use_compose=use_compose)
    return _Relations(order, sharers=sharers, bound=bound, restarted=restarted)


def _owner(mode: str) -> str:
    return mode.removeprefix("container:") if mode.startswith("container:") else ""


def _links(containers: Iterable[ContainerSummary]) -> dict[str, list[str]]:
    # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
    targets: dict[str, list[str]] = {}
    for item in containers:
        for alias in item.aliases:
            targets.setdefault(alias.strip("/").partition("/")[0], []).append(item.name)
    return targets


def _restarted(
    containers: Sequence[ContainerSummary], known: Collection[str], *, use_compose: bool
) -> dict[str, set[str]]:
    restarted: dict[str, set[str]] = {}
    by_service: dict[tuple[str, str], list[str]] = {}
    services: list[tuple[str, tuple[str, str]]] = []
    for item in containers:
        labels = item.labels
        project = labels.get(COMPOSE_PROJECT, "")
        by_service.setdefault((project, labels.get(COMPOSE_SERVICE, "")), []).append(item.name)
        if labels.get(DEPENDS_ON):
            for name in labels[DEPENDS_ON].split(","):
                restarted.setdefault(name.strip().removeprefix("/"), set()).add(item.name)
        elif use_compose:
            wanted = restarting_services(labels.get(COMPOSE_DEPENDS_ON, ""))
            services += [(item.name, (project, service)) for service in wanted]
    for dependent, service in services:
        for name in by_service.get(service, ()):
            restarted.setdefault(name, set()).add(dependent)
    return {name: dependents - {name} for name, dependents in restarted.items() if name in known}


def restarting_services(text: str) -> tuple[str, ...]:
    """Return the services of a compose label whose update restarts the container: `db:service_started:true`."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        return tuple(name for name, entry in found.items() if isinstance(entry, dict) and entry.get("restart") is True)
    parts = [part.strip().split(":") for part in text.split(",")]
    return tuple(part[0] for part in parts if len(part) > 2 and part[2].lower() == "true")


# ---- groups ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Draft:
    """A group while it is made."""

    key: str
    together: list[str]
    """One transaction, targets first."""
    restarts: list[str] = field(default_factory=list)
    after: set[str] = field(default_factory=set)


class _Grouper:
    """Makes the groups of one engine."""

    def __init__(
        self,
        present: Mapping[str, ContainerSummary],
        relations: _Relations,
        updates: frozenset[str],
        held: Mapping[str, str],
    ) -> None:
        self._present = present
        self._relations = relations
        self._updates = updates
        self._held = held
        walked = walk(relations.order)
        self._circle_of = {name: circle for circle in walked.circles for name in circle}
        self._position = walked.position
        self._left_out: list[LeftOut] = []

    def draft_all(self) -> tuple[list[_Draft], tuple[LeftOut, ...]]:
        """Return the groups, in order, and what is in none."""
        drafts = [draft for together in self._transactions() if (draft := self._draft(together)) is not None]
        home = {name: draft.key for draft in drafts for name in draft.together}
        for draft in drafts:
            draft.after = self._follows(draft, home)
        drafts = self._without_circles(drafts)
        self._distribute_restarts(drafts, home.keys())
        return drafts, tuple(self._left_out)

    def _transactions(self) -> list[list[str]]:
        """Return for all updates what is bound to them, as sets that do not overlap."""
        union = Union()
        for start in sorted(self._updates):
            stack = [start]
            while stack:
                name = stack.pop()
                for other in self._relations.bound.get(name, ()):
                    is_new = other not in union
                    union.join(name, other)
                    if is_new and other not in self._updates:
                        stack.append(other)
            union.add(start)
        return union.sets()

    def _draft(self, together: list[str]) -> _Draft | None:
        updates = [name for name in together if name in self._updates]
        circular = next(filter(self._circle_of.__contains__, together), None)
        if circular is not None:
            circle = ", ".join(sorted(self._circle_of[circular]))
            self._leave_out(updates, f"these depend on each other in a circle: {circle}", is_circular=True)
            return None
        untouchable = next(filter(self._held.__contains__, together), None)
        if untouchable is not None:
            reason = f"{untouchable} would have to be re-created with it, and must not be: {self._held[untouchable]}"
            if untouchable in updates:
                reason = self._held[untouchable]
            self._leave_out(updates, reason)
            return None
        ordered = sorted(together, key=self._position.__getitem__)
        return _Draft(next(name for name in ordered if name in self._updates), ordered)

    def _leave_out(self, names: Iterable[str], reason: str, *, is_circular: bool = False) -> None:
        self._left_out += [LeftOut(name, reason, is_circular) for name in sorted(names)]

    def _follows(self, draft: _Draft, home: Mapping[str, str]) -> set[str]:
        """Return the groups that this one depends on, also through containers that are in no group."""
        found: set[str] = set()
        seen = set(draft.together)
        stack = list(draft.together)
        while stack:
            for target in self._relations.order[stack.pop()]:
                if target in seen:
                    continue
                seen.add(target)
                if target in home:
                    found.add(home[target])
                else:
                    stack.append(target)
        return found - {draft.key}

    def _without_circles(self, drafts: list[_Draft]) -> list[_Draft]:
        """Sort the drafts, and leave out those that follow each other: a transaction can close a circle."""
        walked = walk({draft.key: draft.after for draft in sorted(drafts, key=lambda draft: draft.key)})
        circular = {key for circle in walked.circles for key in circle}
        for draft in drafts:
            if draft.key in circular:
                updates = [name for name in draft.together if name in self._updates]
                reason = f"what must be re-created together depends on each other in a circle: {', '.join(updates)}"
                self._leave_out(updates, reason, is_circular=True)
        kept = {draft.key: draft for draft in drafts if draft.key not in circular}
        for draft in kept.values():
            draft.after &= kept.keys()
        return sorted(kept.values(), key=lambda draft: walked.position[draft.key])

    def _distribute_restarts(self, drafts: list[_Draft], taken: Collection[str]) -> None:
        last: dict[str, _Draft] = {}
        earlier: dict[str, list[str]] = {}
        for draft in drafts:
            for name in self._restarts(draft, taken):
                if name in last:
                    earlier.setdefault(name, []).append(last[name].key)
                last[name] = draft
        for name, keys in earlier.items():
            last[name].after.update(keys)
        for name in sorted(last, key=self._position.__getitem__):
            last[name].restarts.append(name)

    def _restarts(self, draft: _Draft, taken: Collection[str]) -> set[str]:
        """Return what is restarted after this group, from one to the next."""
        found: set[str] = set()
        stack = list(draft.together)
        while stack:
            name = stack.pop()
            dependents = set(self._relations.restarted.get(name, ()))
            if name in found:
                dependents |= self._relations.sharers.get(name, set())
            for other in dependents - found:
                if other not in taken and self._may_restart(other):
                    found.add(other)
                    stack.append(other)
        return found

    def _may_restart(self, name: str) -> bool:
        return self._present[name].state in _RESTARTABLE and name not in self._held and name not in self._circle_of


def _finish(
    draft: _Draft, present: Mapping[str, ContainerSummary], updates: frozenset[str], aims: Mapping[str, Aim]
) -> Group:
    def member(name: str, role: Role) -> Member:
        container = present[name]
        aim = aims.get(name) if role is Role.UPDATE else None
        return Member(container.id, name, role, container.state in UP, container.image_id, aim)

    together = [member(name, Role.UPDATE if name in updates else Role.RECREATE) for name in draft.together]
    restarted = [member(name, Role.RESTART) for name in draft.restarts]
    return Group(draft.key, (*together, *restarted), frozenset(draft.after))
