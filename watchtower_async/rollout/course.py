"""What a rollout is and where it stands: values that can be stored, and the states they may go through. Pure.

A rollout takes groups of containers through these phases:

    waiting ─▶ preparing ─▶ prepared ─▶ starting ─▶ monitored ─▶ updated
                                            └───────────┴─▶ rolling back ─▶ ended

Preparing (pulling all images of the group) touches no container and takes no slot. A slot is taken when the group is
told to start, so before its first container stops, and is free again when the group runs. `updated` groups can still
be undone while the rollout lasts. `advance` has the rules; this file has the nouns, and the tables of what may follow
what. A transition that is not in a table raises, and changes nothing.

Instants are seconds on the clock of whoever carries the rollout out. It must not be set back while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from watchtower_async.errors import WatchtowerError
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.groups import Group, Role, read_group
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.policy import UpdatePolicy, read_policy
from watchtower_async.settings import Order


class IllegalTransitionError(WatchtowerError):
    """Something was asked for, or happened, that does not fit where the rollout stands. Nothing has changed."""


class RolloutState(StrEnum):
    """Where a rollout stands, by Swarm's names; the last two are ours."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"
    ABANDONING = "abandoning"
    """Nothing new begins; what was begun is brought to its end."""
    ABANDONED = "abandoned"


_S = RolloutState
LEGAL_STATES: Mapping[RolloutState, frozenset[RolloutState]] = {
    _S.UPDATING: frozenset({_S.PAUSED, _S.COMPLETED, _S.ROLLBACK_STARTED, _S.ABANDONING}),
    _S.PAUSED: frozenset({_S.UPDATING, _S.ROLLBACK_STARTED, _S.ABANDONING}),
    _S.COMPLETED: frozenset(),
    _S.ROLLBACK_STARTED: frozenset({_S.ROLLBACK_PAUSED, _S.ROLLBACK_COMPLETED, _S.ABANDONING}),
    _S.ROLLBACK_PAUSED: frozenset({_S.ROLLBACK_STARTED, _S.ABANDONING}),
    _S.ROLLBACK_COMPLETED: frozenset(),
    _S.ABANDONING: frozenset({_S.ABANDONED}),
    _S.ABANDONED: frozenset(),
}
"""A rollback is never rolled back: from its states no way leads to `updating`, and its failures pause it."""

FINAL = frozenset(state for state, following in LEGAL_STATES.items() if not following)
AT_REST = frozenset({*FINAL, _S.PAUSED, _S.ROLLBACK_PAUSED})
"""States in which nothing new begins until somebody asks for it."""


ROLLING_BACK = frozenset({_S.ROLLBACK_STARTED, _S.ROLLBACK_PAUSED})


class Phase(StrEnum):
    """Where one group stands."""

    WAITING = "waiting"
    PREPARING = "preparing"
    PREPARED = "prepared"
    STARTING = "starting"
    """It has its slot: its containers are taken down and come up."""
    MONITORED = "monitored"
    """It runs; a failure now still counts."""
    UPDATED = "updated"
    ROLLING_BACK = "rolling_back"
    """It failed by itself."""
    UNDOING = "undoing"
    """It is good, and the rollout is rolled back."""
    LOOKING = "looking"
    """The updater was restarted, and the engine is asked what has become of it."""
    ENDED = "ended"


_P = Phase
LEGAL_PHASES: Mapping[Phase, frozenset[Phase]] = {
    _P.WAITING: frozenset({_P.PREPARING, _P.ENDED}),
    _P.PREPARING: frozenset({_P.PREPARED, _P.WAITING, _P.ENDED}),
    _P.PREPARED: frozenset({_P.STARTING, _P.WAITING, _P.ENDED}),
    _P.STARTING: frozenset({_P.MONITORED, _P.ROLLING_BACK, _P.LOOKING, _P.ENDED}),
    _P.MONITORED: frozenset({_P.UPDATED, _P.ROLLING_BACK, _P.UNDOING, _P.LOOKING, _P.ENDED}),
    _P.UPDATED: frozenset({_P.ROLLING_BACK, _P.UNDOING}),
    _P.ROLLING_BACK: frozenset({_P.LOOKING, _P.ENDED}),
    _P.UNDOING: frozenset({_P.LOOKING, _P.ENDED}),
    _P.LOOKING: frozenset({_P.WAITING, _P.UPDATED, _P.ROLLING_BACK, _P.ENDED}),
    _P.ENDED: frozenset(),
}

IN_FLIGHT = frozenset(Phase) - {_P.WAITING, _P.UPDATED, _P.ENDED}
"""Phases in which somebody is at work on the group."""
TOUCHED = frozenset({_P.STARTING, _P.MONITORED, _P.ROLLING_BACK, _P.UNDOING, _P.LOOKING})
"""Phases in which its containers may be in any state."""
RUNS = frozenset({_P.MONITORED, _P.UPDATED})


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """A group, and how long is waited for it (seconds)."""

    group: Group
    monitor: float
    start_deadline: float
    order: Order = Order.STOP_FIRST

    @property
    def key(self) -> str:
        """Return what the group is known by."""
        return self.group.key

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "group": self.group.as_json(),
            "monitor": self.monitor,
            "start_deadline": self.start_deadline,
            "order": str(self.order),
        }


@dataclass(frozen=True, kw_only=True)
class Course:
    """A rollout as it was planned. It does not change."""

    id: str
    name: str = ""
    """The compose project or container whose labels made it a rollout of its own; empty for the common one."""
    policy: UpdatePolicy
    groups: tuple[PlannedGroup, ...]
    """In order: each after those that it follows."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for planned in self.groups:
            if planned.key in seen or not planned.group.after <= seen:
                raise ValueError(f"group {planned.key} is there twice, or stands before one that it follows")
            seen.add(planned.key)

    @cached_property
    def text(self) -> str:
        """Return the rollout as JSON text."""
        return json.dumps(self.as_json())

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Return the position of each group."""
        return {planned.key: number for number, planned in enumerate(self.groups)}

    @cached_property
    def followers(self) -> Mapping[str, tuple[str, ...]]:
        """Return for each group those that follow it directly."""
        found: dict[str, list[str]] = {planned.key: [] for planned in self.groups}
        for planned in self.groups:
            for key in planned.group.after:
                found[key].append(planned.key)
        return {key: tuple(keys) for key, keys in found.items()}

    @property
    def slots(self) -> int:
        """Return how many groups may be down at once."""
        return self.policy.parallelism or len(self.groups)

    def planned(self, key: str) -> PlannedGroup:
        """Return a group. Raises IllegalTransitionError when there is none of this key."""
        if key not in self.index:
            raise IllegalTransitionError(f"the rollout has no group {key}")
        return self.groups[self.index[key]]

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "id": self.id,
            "name": self.name,
            "policy": self.policy.as_json(),
            "groups": [planned.as_json() for planned in self.groups],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProgress:
    """Where one group stands that is not waiting any more."""

    phase: Phase
    since: float
    """When this phase began."""
    turn: int = -1
    """Its place among the groups that were started, from 0; -1 for one that was not."""
    is_down: bool = False
    """Whether a container of it was taken down."""
    up_at: float | None = None
    """When it ran, which is where its monitor window begins."""
    is_on_top: bool = False
    """Whether it failed when it had given its slot back already."""
    is_stalled: bool = False
    """Whether preparing it waits for something outside, so that others are prepared in its place."""
    was: Phase | None = None
    """The phase before the updater was restarted."""
    failure: Outcome | None = None
    """Why it is, or was, rolled back."""
    outcome: Outcome | None = None
    """How it ended. Only the end of an updated group may become another one, while the rollout lasts."""

    @property
    def has_passed(self) -> bool:
        """Say whether those that follow it need not wait for it any more: it ran, or it ended otherwise."""
        return self.up_at is not None or self.phase is Phase.ENDED

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "phase": str(self.phase),
            "since": self.since,
            "turn": self.turn,
            "is_down": self.is_down,
            "up_at": self.up_at,
            "is_on_top": self.is_on_top,
            "is_stalled": self.is_stalled,
            "was": None if self.was is None else str(self.was),
            "failure": _outcome_as_json(self.failure),
            "outcome": _outcome_as_json(self.outcome),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a rollout stands."""

    state: RolloutState
    reason: str = ""
    """Why it is in this state, where that is not clear by itself."""
    waiting: tuple[str, ...]
    """The keys of the groups that nothing was done about yet, in order."""
    ready: tuple[str, ...] = ()
    """Those of them that have nothing to wait for but their turn."""
    in_play: Mapping[str, GroupProgress] = field(default_factory=dict)
    """Those that somebody is at work on."""
    done: Mapping[str, GroupProgress] = field(default_factory=dict)
    """Those that are updated or have ended."""
    active: tuple[str, ...] = ()
    """Those in play, in the order of the course."""
    to_undo: tuple[str, ...] = ()
    """In a rollback: those that run or may run on the new image, the last one that started first."""
    turns: int = 0
    """How many groups were started."""
    failures: int = 0
    has_fired: bool = False
    """Whether the failure action was taken, which happens once."""
    resting: tuple[float, ...] = ()
    """When the slots that rest for the policy's delay may be taken again."""

    @property
    def is_over(self) -> bool:
        """Say whether nothing will ever change any more."""
        return self.state in FINAL

    @property
    def groups(self) -> dict[str, GroupProgress]:
        """Return where all groups stand that are not waiting."""
        return {**self.done, **self.in_play}

    @property
    def is_quiet(self) -> bool:
        """Say whether nobody is at work, and nothing begins until somebody asks for it."""
        return self.state in AT_REST and all(found.phase is Phase.PREPARED for found in self.in_play.values())

    def phase_of(self, key: str) -> Phase:
        """Return where a group stands."""
        found = self.in_play.get(key) or self.done.get(key)
        return Phase.WAITING if found is None else found.phase

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "state": str(self.state),
            "reason": self.reason,
            "turns": self.turns,
            "failures": self.failures,
            "has_fired": self.has_fired,
            "resting": list(self.resting),
            "groups": {key: found.as_json() for key, found in self.groups.items()},
        }


def begin(course: Course) -> Progress:
    """Return where a rollout stands that was only planned."""
    waiting = tuple(planned.key for planned in course.groups)
    ready = tuple(planned.key for planned in course.groups if not planned.group.after)
    return Progress(state=RolloutState.UPDATING, waiting=waiting, ready=ready)


def started_last_first(groups: Mapping[str, GroupProgress]) -> tuple[str, ...]:
    """Return the groups that run or may run on the new image, the last one that started first."""
    turns = [(found.turn, key) for key, found in groups.items() if found.turn >= 0 and found.phase is not Phase.ENDED]
    return tuple(key for _, key in sorted(turns, reverse=True))


def is_ready(course: Course, key: str, get: Callable[[str], GroupProgress | None]) -> bool:
    """Say whether everything that this group follows has passed, so that it waits for nothing but its turn."""
    before = (get(other) for other in course.planned(key).group.after)
    return all(found is not None and found.has_passed for found in before)


# ---- stored and read again -------------------------------------------------------------------------------------------


def write_document(course: Course, progress: Progress) -> str:
    """Return a rollout and where it stands as one text."""
    return f'{{"course": {course.text}, "progress": {json.dumps(progress.as_json())}}}'


def read_document(text: str) -> tuple[Course, Progress]:
    """Read what `write_document` wrote. Raises ValueError for anything else."""
    try:
        document = json.loads(text)
        course = read_course(document["course"])
        return course, read_progress(document["progress"], course)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the stored rollout cannot be read: {error!r}") from error


def read_course(document: Mapping[str, Any]) -> Course:
    """Read what `Course.as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return Course(
        id=str(document["id"]),
        name=str(document["name"]),
        policy=read_policy(document["policy"]),
        groups=tuple(
            PlannedGroup(
                read_group(item["group"]), float(item["monitor"]), float(item["start_deadline"]), Order(item["order"])
            )
            for item in document["groups"]
        ),
    )


def read_progress(document: Mapping[str, Any], course: Course) -> Progress:
    """Read what `Progress.as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    groups = {str(key): _read_group_progress(item) for key, item in document["groups"].items()}
    if not groups.keys() <= course.index.keys():
        raise ValueError("the stored progress is that of another rollout")
    waiting = tuple(planned.key for planned in course.groups if planned.key not in groups)
    in_play = {key: found for key, found in groups.items() if found.phase in IN_FLIGHT}
    state = RolloutState(document["state"])
    return Progress(
        state=state,
        reason=str(document["reason"]),
        waiting=waiting,
        ready=tuple(key for key in waiting if is_ready(course, key, groups.get)),
        in_play=in_play,
        done={key: found for key, found in groups.items() if key not in in_play},
        active=tuple(sorted(in_play, key=course.index.__getitem__)),
        to_undo=started_last_first(groups) if state in ROLLING_BACK else (),
        turns=int(document["turns"]),
        failures=int(document["failures"]),
        has_fired=bool(document["has_fired"]),
        resting=tuple(float(at) for at in document["resting"]),
    )


def _read_group_progress(document: Mapping[str, Any]) -> GroupProgress:
    up_at, was = document["up_at"], document["was"]
    return GroupProgress(
        phase=Phase(document["phase"]),
        since=float(document["since"]),
        turn=int(document["turn"]),
        is_down=bool(document["is_down"]),
        up_at=None if up_at is None else float(up_at),
        is_on_top=bool(document["is_on_top"]),
        is_stalled=bool(document.get("is_stalled")),
        was=None if was is None else Phase(was),
        failure=_read_outcome(document["failure"]),
        outcome=_read_outcome(document["outcome"]),
    )


def _outcome_as_json(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "kind": str(outcome.kind),
        "reason": outcome.reason,
        "detail": list(outcome.detail),
        "blame": None if outcome.blame is None else str(outcome.blame),
        "culprit": outcome.culprit,
    }


def _read_outcome(document: Mapping[str, Any] | None) -> Outcome | None:
    if document is None:
        return None
    blame = document["blame"]
    return Outcome(
        OutcomeKind(document["kind"]),
        str(document["reason"]),
        tuple(str(line) for line in document["detail"]),
        None if blame is None else Blame(blame),
        str(document.get("culprit") or ""),
    )


# ---- what it means for containers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How the rollout ended for one container. The outcome is that of its group, whose members go together."""

    name: str
    role: Role
    outcome: Outcome


def ends(course: Course, progress: Progress) -> tuple[ContainerEnd, ...]:
    """Return the end of each container whose group has one; of all containers once the rollout is over."""
    groups = progress.groups
    return tuple(
        ContainerEnd(member.name, member.role, found.outcome)
        for planned in course.groups
        if (found := groups.get(planned.key)) is not None and found.outcome is not None
        for member in planned.group.members
    )


def held_by(course: Course, progress: Progress) -> dict[str, str]:
    """Return the containers that later plans must leave alone because of this rollout, each with the reason."""
    if progress.is_over:
        return {}
    why = f": {progress.reason}" if progress.reason else ""
    return {
        name: f"its rollout is not finished ({progress.state}{why})"
        for planned in course.groups
        for name in planned.group.names
    }
