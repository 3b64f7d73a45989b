"""Which containers have their turn, and when to wake up next: the common schedule, and those of single containers.

A container may have a schedule of its own in its label. It then has its turn at those times only. A label that cannot
be read is told, and its container follows the common schedule.

As with the common schedule, nothing is due at the start. A container that is seen for the first time, or with another
label than before, counts from the last look, when it was not there yet.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Generic, TypeVar

from watchtower_async.updates.schedule import Schedule, latest_due, parse_schedule

SCHEDULE_LABEL = "watchtower-async.schedule"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the schedule of one container's label is counted from."""

    label: str
    last: datetime


@dataclass(frozen=True, slots=True)
class Turns(Generic[Key]):
    """Where all schedules are counted from; handed from one look to the next."""

    common: datetime
    looked: datetime
    """When the labels were looked at last."""
    own: Mapping[Key, Turn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda(Generic[Key]):
    """What one look at the labels says."""

    due: frozenset[Key]
    """The containers that have their turn now."""
    common_is_due: bool
    """Whether the common schedule is due, be there containers that follow it or not."""
    next_wake_up: datetime
    """When something is due next, in UTC."""
    problems: Mapping[Key, str]
    """What is wrong with labels that cannot be read."""
    turns: Turns[Key]
    """For the next look."""


def first_turns(at: datetime) -> Turns[Key]:
    """Return where schedules are counted from when the service starts."""
    return Turns(common=at.astimezone(UTC), looked=at.astimezone(UTC))


def draw_up(
    turns: Turns[Key], *, labels: Mapping[Key, str | None], common: Schedule, zone: tzinfo, at: datetime
) -> Agenda[Key]:
    """Say who has their turn now and when to wake up next.

    `labels` holds every container that is watched, under a name that stays when the container is replaced, with the
    text of its label. `zone` is for labels that name none.
    """
    at = at.astimezone(UTC)
    schedules, problems = _read_labels(labels, zone)
    counted = {key: _turn(turns, key, labels[key] or "") for key in schedules}
    own = {key: Turn(turn.label, latest_due(schedules[key], last=turn.last, at=at)) for key, turn in counted.items()}
    last_common = latest_due(common, last=turns.common, at=at)
    common_is_due = last_common != turns.common
    due = frozenset(key for key in labels if (own[key] != counted[key] if key in own else common_is_due))
    wake_ups = [common.next_after(last_common), *(schedules[key].next_after(turn.last) for key, turn in own.items())]
    return Agenda(
        due=due,
        common_is_due=common_is_due,
        next_wake_up=min(wake_ups),
        problems=problems,
        turns=Turns(common=last_common, looked=at, own=own),
    )


def _read_labels(labels: Mapping[Key, str | None], zone: tzinfo) -> tuple[Mapping[Key, Schedule], Mapping[Key, str]]:
    schedules: dict[Key, Schedule] = {}
    problems: dict[Key, str] = {}
    for key, label in labels.items():
        if label is None or not label.strip():
            continue
        try:
            schedules[key] = parse_schedule(label, zone=zone)
        except ValueError as error:
            problems[key] = f"the common schedule is used, as label {SCHEDULE_LABEL} cannot be: {error}"
    return schedules, problems


def _turn(turns: Turns[Key], key: Key, label: str) -> Turn:
    known = turns.own.get(key)
    return known if known is not None and known.label == label else Turn(label, turns.looked)
