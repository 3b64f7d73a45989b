"""From groups and policies to rollouts. Pure.

All groups of an engine are one rollout, except those of compose projects and containers whose labels ask for a rollout
of their own. Several rollouts of one engine are carried out one after the other, each after those that it depends on,
so that the promise about how much is down at once holds for the engine. Rollouts that depend on each other become one,
by the more careful policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce

from watchtower_async.rollout.course import Course, PlannedGroup
from watchtower_async.rollout.graph import Union, walk
from watchtower_async.rollout.groups import Group, Grouping
from watchtower_async.rollout.policy import COMMON, PolicyBook, UpdatePolicy

Needs = Callable[[Group], float]
"""How many seconds stopping and starting a group may take by its containers' own settings."""


def plan_rollouts(grouping: Grouping, book: PolicyBook, *, rollout_id: str, needs: Needs) -> tuple[Course, ...]:
    """Make the rollouts of an engine, in the order to carry them out. Their ids begin with `rollout_id`."""
    groups = grouping.groups
    wishes = _parted(groups, book)
    home = {group.key: wishes.root(book.rollout_of(group.members[0].name)) for group in groups}
    members: dict[str, list[Group]] = {}
    for group in groups:
        members.setdefault(home[group.key], []).append(group)
    parts = {wishes.root(names[0]): names for names in wishes.sets()}
    order = sorted(members, key=walk(_follows(groups, home)).position.__getitem__)
    return tuple(
        _course(rollout_id if len(order) == 1 else f"{rollout_id}-{number}", parts[root], members[root], book, needs)
        for number, root in enumerate(order, start=1)
    )


def _parted(groups: Iterable[Group], book: PolicyBook) -> Union:
    """Return the names of the rollouts, in sets that cannot be carried out one after the other."""
    wishes = Union()
    for group in groups:
        first, *others = book.rollouts_of(group.names)
        wishes.add(first)
        for other in others:
            wishes.join(first, other)
    while True:
        home = {group.key: wishes.root(book.rollout_of(group.members[0].name)) for group in groups}
        circles = walk(_follows(groups, home)).circles
        if not circles:
            return wishes
        for first, *others in map(sorted, circles):
            for other in others:
                wishes.join(first, other)


def _follows(groups: Iterable[Group], home: Mapping[str, str]) -> dict[str, set[str]]:
    follows: dict[str, set[str]] = {name: set() for name in sorted(set(home.values()))}
    for group in groups:
        follows[home[group.key]] |= {home[key] for key in group.after}
    return {name: found - {name} for name, found in follows.items()}


def _course(rollout_id: str, parts: Iterable[str], groups: Iterable[Group], book: PolicyBook, needs: Needs) -> Course:
    inside = frozenset(group.key for group in groups)
    return Course(
        id=rollout_id,
        name="" if set(parts) == {COMMON} else ", ".join(part or "everything else" for part in sorted(parts)),
        policy=reduce(UpdatePolicy.more_careful, map(book.policy_of_rollout, parts)),
        groups=tuple(_planned(group, inside, book, needs) for group in groups),
    )


def _planned(group: Group, inside: frozenset[str], book: PolicyBook, needs: Needs) -> PlannedGroup:
    # What is only restarted has no say in how the others are replaced.
    policy = book.policy_of(member.name for member in group.create_order)
    deadline = needs(group) if policy.start_deadline is None else policy.start_deadline.total_seconds()
    return PlannedGroup(
        replace(group, after=group.after & inside), policy.monitor.total_seconds(), deadline, policy.order
    )
