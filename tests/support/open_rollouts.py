"""Rollouts that an earlier process has left, and that nobody carries out."""

from __future__ import annotations

from dataclasses import replace

from tests.support.rollouts import a_course
from tests.support.stored import a_rollout
from watchtower_async.rollout.coordinator import Clock, Prepared, RolledBack, RunEnd, SlotReport
from watchtower_async.rollout.course import Course, PlannedGroup, Progress, begin, write_document
from watchtower_async.rollout.course_events import GroupFound
from watchtower_async.rollout.outcome import Outcome
from watchtower_async.rollout.rollouts import Rollouts
from watchtower_async.state.contents import StoredRollout


class _Nobody:
    """Does no work, and notices when it is asked to."""

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        raise AssertionError(planned)

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        raise AssertionError(planned)

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        raise AssertionError(planned)

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        raise AssertionError(planned)


class _Left:
    """What is stored."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self._ids = ids

    def load_rollouts(self) -> tuple[StoredRollout, ...]:
        courses = (replace(a_course(["db", "web"]), id=identity) for identity in self._ids)
        return tuple(a_rollout(course.id, write_document(course, begin(course))) for course in courses)

    async def save_rollout(self, rollout_id: str, document: str) -> None:
        raise AssertionError(rollout_id)

    async def forget_rollout(self, rollout_id: str) -> None:
        raise AssertionError(rollout_id)


async def _over(course: Course, progress: Progress) -> None:
    raise AssertionError(course, progress)


def open_rollouts(*ids: str) -> Rollouts:
    """Return rollouts of `db` and `web` that are updating, and that nobody goes on with."""
    rollouts = Rollouts(
        runner=_Nobody(), store=_Left(ids), narrate=lambda course, said: None, on_over=_over, tell=lambda problem: None
    )
    rollouts.load()
    return rollouts
