"""Small rollouts for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tests.support.builders import an_id
from watchtower_async.rollout.course import Course, PlannedGroup
from watchtower_async.rollout.groups import Group, Member, Role
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.policy import UpdatePolicy

MONITOR = 5.0
DEADLINE = 60.0

DONE = Outcome(OutcomeKind.UPDATED, "still running after 5 s")
BROKEN = Outcome(OutcomeKind.FAILED, "it exited with code 3", ("log: cannot start",))
NOT_NEEDED = Outcome(OutcomeKind.SKIPPED, "the published image is the one that runs already")
GONE = Outcome(OutcomeKind.LOST, "the old container was removed")


def a_group(key: str, after: Iterable[str] = (), *, restarts: Iterable[str] = ()) -> Group:
    """Return a group of one updated container, and of restarted ones."""
    restarted = (Member(an_id(name), name, Role.RESTART) for name in restarts)
    return Group(key, (Member(an_id(key), key, Role.UPDATE), *restarted), frozenset(after))


def a_course(
    groups: Mapping[str, Iterable[str]] | Iterable[str],
    *,
    monitor: float = MONITOR,
    deadline: float = DEADLINE,
    delay: float = 0,
    **policy: Any,
) -> Course:
    """Return a rollout of groups of one container each; a mapping says what each follows."""
    follows: Mapping[str, Iterable[str]] = groups if isinstance(groups, Mapping) else dict.fromkeys(groups, ())
    return Course(
        id="r1",
        policy=UpdatePolicy(monitor=timedelta(seconds=monitor), delay=timedelta(seconds=delay), **policy),
        groups=tuple(PlannedGroup(a_group(key, after), monitor, deadline) for key, after in follows.items()),
    )
