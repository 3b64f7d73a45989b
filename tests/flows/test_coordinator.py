"""A rollout carried out in virtual time, with a runner that does as the script says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from tests.support.rollouts import BROKEN, DONE, GONE, NOT_NEEDED, a_course
from watchtower_async.errors import EngineError, EngineUnavailableError, PredecessorLostError, RegistryUnavailableError
from watchtower_async.rollout.coordinator import (
    LOOK_SECONDS,
    PREPARE_SECONDS,
    RECORD_SECONDS,
    ROLL_BACK_SECONDS,
    Clock,
    Coordinator,
    Prepared,
    RolledBack,
    RunEnd,
    SlotReport,
)
from watchtower_async.rollout.course import (
    Course,
    IllegalTransitionError,
    PlannedGroup,
    Progress,
    RolloutState,
    ends,
    read_progress,
)
from watchtower_async.rollout.course_events import (
    AbortAsked,
    Announcement,
    Found,
    GroupFailed,
    GroupFound,
    GroupNotRolledBack,
    GroupPrepared,
    GroupRolledBack,
    GroupSettled,
    GroupSkipped,
    PauseAsked,
    ResumeAsked,
    StateChanged,
    Superseded,
)
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.policy import FailureAction

pytestmark = pytest.mark.looptime

S = RolloutState
PAUSE, ROLLBACK = FailureAction.PAUSE, FailureAction.ROLLBACK
EPOCH = 1_700_000_000.0
SAFE_POINT = 2.0
FOREVER = 1e6


@dataclass
class Script:
    """How a group behaves, in seconds."""

    pull: float = 0.0
    start: float = 1.0
    """From the stop until it runs."""
    monitor: float = 5.0
    fails_starting: bool = False
    fails_after: float | None = None
    """After it ran."""
    back: float = 1.0
    prepare_end: Prepared | Exception | None = None
    start_error: Exception | None = None
    """Raised when it is down."""
    early_error: Exception | None = None
    """Raised before anything is touched."""
    back_error: Exception | None = None
    back_end: RolledBack | None = None
    found: Found = Found.UPDATED


@dataclass
class ScriptedRunner:
    """Does as the scripts say, and writes down what it did and when."""

    scripts: dict[str, Script] = field(default_factory=dict)
    log: list[tuple[float, str]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    most_down: int = 0

    def script(self, planned: PlannedGroup) -> Script:
        return self.scripts.get(planned.key, Script())

    def note(self, what: str) -> None:
        self.log.append((round(anyio.current_time(), 3), what))

    def take_down(self, key: str) -> None:
        self.down.add(key)
        self.most_down = max(self.most_down, len(self.down))

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        script = self.script(planned)
        async with self.cancellable(f"pull {planned.key}"):
            await anyio.sleep(script.pull)
        if isinstance(script.prepare_end, Exception):
            raise script.prepare_end
        return script.prepare_end or GroupPrepared(planned.key)

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        key, script = planned.key, self.script(planned)
        self.note(f"start {key}")
        async with self.cancellable(key):
            if script.early_error is not None:
                raise script.early_error
            slot.down()
            self.take_down(key)
            if script.start_error is not None:
                raise script.start_error
            await anyio.sleep(script.start)
            if script.fails_starting:
                return GroupFailed(key, slot.now(), BROKEN)
            self.down.discard(key)
            slot.up()
            self.note(f"up {key}")
            if script.fails_after is not None:
                await anyio.sleep(script.fails_after)
                self.take_down(key)
                return GroupFailed(key, slot.now(), BROKEN)
            await anyio.sleep(script.monitor)
        self.note(f"settled {key}")
        return GroupSettled(key, DONE)

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        key, script = planned.key, self.script(planned)
        self.note(f"roll back {key}")
        self.take_down(key)
        if script.back_error is not None:
            raise script.back_error
        await anyio.sleep(script.back)
        self.down.discard(key)
        self.note(f"back {key}")
        return script.back_end or GroupRolledBack(key, now(), ("log: x",) if failure else ())

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        self.note(f"look {planned.key}")
        await anyio.sleep(self.script(planned).start)
        return GroupFound(planned.key, now(), self.script(planned).found, DONE)

    @asynccontextmanager
    async def cancellable(self, what: str) -> AsyncIterator[None]:
        """A cancelled runner comes to a safe point first, which takes a while."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(SAFE_POINT)
            self.note(f"safe {what}")
            raise


@dataclass
class Scene:
    """A rollout, its runner, and what it announced and stored."""

    coordinator: Coordinator
    runner: ScriptedRunner
    announced: list[Announcement]
    stored: list[tuple[float, str]]

    @property
    def outcomes(self) -> dict[str, str]:
        found = ends(self.coordinator.course, self.coordinator.progress)
        return {end.name: str(end.outcome.kind) for end in found}

    def outcome(self, key: str) -> Outcome:
        found = self.coordinator.progress.groups[key].outcome
        assert found is not None
        return found

    def seen(self, *words: str) -> list[tuple[float, str]]:
        """Return the log lines that begin with these words."""
        return [line for line in self.runner.log if line[1].startswith(words)]

    def last_stored(self) -> Progress:
        return read_progress(json.loads(self.stored[-1][1]), self.coordinator.course)


def a_scene(course: Course, *, stored: Progress | None = None, **scripts: Script) -> Scene:
    runner = ScriptedRunner(scripts)
    announced: list[Announcement] = []
    records: list[tuple[float, str]] = []

    async def record(_: Course, progress: Progress) -> None:
        await anyio.lowlevel.checkpoint()
        records.append((round(anyio.current_time(), 3), json.dumps(progress.as_json())))

    coordinator = Coordinator(
        course=course,
        runner=runner,
        announce=announced.append,
        record=record,
        stored=stored,
        epoch=lambda: EPOCH,
    )
    return Scene(coordinator, runner, announced, records)


def later(seconds: float, do: Callable[[], object]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def wait_and_do() -> None:
        await anyio.sleep(seconds)
        do()

    return wait_and_do


async def test_slots_are_taken_one_after_the_other() -> None:
    """The monitor window runs beside the next slot, and the rollout ends with the last window."""
    scene = a_scene(a_course("abc"))
    progress = await scene.coordinator.run()
    assert progress.state is S.COMPLETED
    assert scene.seen("start", "settled") == [
        (0, "start a"), (1, "start b"), (2, "start c"), (6, "settled a"), (7, "settled b"), (8, "settled c"),
    ]  # fmt: skip
    assert scene.runner.most_down == 1
    assert anyio.current_time() == pytest.approx(8)


async def test_slow_group_does_not_hold_others_up() -> None:
    """A window, not batches."""
    scene = a_scene(a_course("abcd", parallelism=2), a=Script(start=10))
    await scene.coordinator.run()
    assert scene.seen("start") == [(0, "start a"), (0, "start b"), (1, "start c"), (2, "start d")]
    assert scene.runner.most_down == 2


async def test_delay_is_kept_to_the_instant() -> None:
    """Between a group's coming up and the next one's stop."""
    scene = a_scene(a_course("abc", delay=10))
    await scene.coordinator.run()
    assert scene.seen("start") == [(0, "start a"), (11, "start b"), (22, "start c")]


async def test_images_are_pulled_beside_the_slots() -> None:
    """A slow pull holds its own group only, and none is touched before its images are there."""
    scene = a_scene(a_course("abc"), a=Script(pull=30), b=Script(pull=0), c=Script(pull=5))
    await scene.coordinator.run()
    assert scene.seen("start") == [(0, "start b"), (5, "start c"), (30, "start a")]


async def test_failed_pull_costs_its_group_only() -> None:
    """Whether the runner says so or raises."""
    failed = GroupFailed("a", EPOCH, BROKEN, is_touched=False)
    scene = a_scene(
        a_course("abcd"),
        a=Script(prepare_end=failed),
        b=Script(prepare_end=RegistryUnavailableError("down", host="r", connected=False)),
        c=Script(prepare_end=GroupSkipped("c", NOT_NEEDED)),
    )
    await scene.coordinator.run()
    assert scene.outcomes == {"a": "failed", "b": "failed", "c": "skipped", "d": "updated"}
    assert [what for _, what in scene.seen("start", "roll")] == ["start d"]


async def test_failing_group_is_rolled_back_first() -> None:
    """Nothing starts until it is up; what is starting goes on."""
    scene = a_scene(a_course("abc"), a=Script(fails_after=0.5, back=4), b=Script(start=1))
    await scene.coordinator.run()
    assert scene.seen("start", "up", "roll", "back") == [
        (0, "start a"), (1, "up a"), (1, "start b"), (1.5, "roll back a"), (2, "up b"), (5.5, "back a"),
        (5.5, "start c"), (6.5, "up c"),
    ]  # fmt: skip
    assert scene.outcome("a") == Outcome(
        OutcomeKind.ROLLED_BACK, "it exited with code 3", ("log: cannot start", "log: x")
    )


async def test_group_that_breaks_with_an_error_is_rolled_back() -> None:
    """If it was touched; otherwise there is nothing to do."""
    error = EngineError("driver failed", status=500)
    scene = a_scene(a_course("abc"), a=Script(start_error=error), b=Script(early_error=error))
    await scene.coordinator.run()
    assert scene.outcomes == {"a": "rolled_back", "b": "failed", "c": "updated"}
    assert scene.seen("roll") == [(0, "roll back a")]


async def test_group_that_hangs_is_stopped_at_its_deadline() -> None:
    """The runner comes to its safe point before the rollback begins."""
    scene = a_scene(a_course("ab", deadline=60), a=Script(start=FOREVER))
    await scene.coordinator.run()
    assert scene.seen("start", "safe", "roll") == [
        (0, "start a"), (62, "safe a"), (62, "roll back a"), (63, "start b"),
    ]  # fmt: skip
    assert "start deadline" in scene.outcome("a").reason


async def test_pull_that_hangs_ends_at_its_deadline() -> None:
    """The others went on long before."""
    scene = a_scene(a_course("ab"), a=Script(pull=FOREVER))
    await scene.coordinator.run()
    assert scene.outcomes == {"a": "failed", "b": "updated"}
    assert anyio.current_time() == pytest.approx(PREPARE_SECONDS + SAFE_POINT)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (Script(fails_starting=True, back=FOREVER), OutcomeKind.UNFINISHED),
        (Script(fails_starting=True, back_error=PredecessorLostError("it was removed")), OutcomeKind.LOST),
        (Script(fails_starting=True, back_error=EngineError("no")), OutcomeKind.UNFINISHED),
        (Script(fails_starting=True, back_end=GroupNotRolledBack("a", GONE)), OutcomeKind.LOST),
    ],
)
async def test_what_cannot_be_rolled_back_pauses(script: Script, kind: OutcomeKind) -> None:
    """However that shows, and not later than its deadline."""
    scene = a_scene(a_course("ab"), a=script)
    progress = await scene.coordinator.run()
    assert progress.state is S.PAUSED
    assert scene.outcome("a").kind is kind
    assert anyio.current_time() <= ROLL_BACK_SECONDS + 2
    assert scene.seen("start") == [(0, "start a")]


async def test_engine_that_goes_away_ends_the_rollout() -> None:
    """What waits is not tried one by one."""
    gone = EngineUnavailableError("connection refused")
    scene = a_scene(a_course("abc"), a=Script(start_error=gone))
    progress = await scene.coordinator.run()
    assert progress.state is S.ABANDONED
    assert scene.outcomes == {"a": "unfinished", "b": "skipped", "c": "skipped"}
    assert "connection refused" in scene.outcome("b").reason


async def test_engine_that_is_gone_before_anything_was_touched() -> None:
    """Then the containers are as they were."""
    gone = EngineUnavailableError("connection refused")
    for script, kind in ((Script(early_error=gone), "failed"), (Script(prepare_end=gone), "skipped")):
        scene = a_scene(a_course("ab"), a=script)
        progress = await scene.coordinator.run()
        assert progress.state is S.ABANDONED
        assert scene.outcomes == {"a": kind, "b": "skipped"}
        assert "connection refused" in scene.outcome("a").reason


async def test_rollback_action_undoes_in_reverse() -> None:
    """Settled groups and those in their window alike; a window that is open is closed first."""
    course = a_course("abcd", failure_action=ROLLBACK)
    scene = a_scene(course, a=Script(monitor=0), c=Script(fails_starting=True))
    progress = await scene.coordinator.run()
    assert progress.state is S.ROLLBACK_COMPLETED
    assert scene.seen("roll", "safe", "back") == [
        (3, "roll back c"), (4, "back c"), (6, "safe b"), (6, "roll back b"), (7, "back b"), (7, "roll back a"),
        (8, "back a"),
    ]  # fmt: skip
    assert scene.outcomes == {"a": "rolled_back", "b": "rolled_back", "c": "rolled_back", "d": "skipped"}


# ---- requests --------------------------------------------------------------------------------------------------------


async def test_paused_rollout_ends_when_quiet_and_goes_on_later() -> None:
    """What was in flight is brought to its end first."""
    scene = a_scene(a_course("abc"))
    async with anyio.create_task_group() as group:
        group.start_soon(later(0.5, lambda: scene.coordinator.ask(PauseAsked("by hand"))))
        progress = await scene.coordinator.run()
    assert (progress.state, progress.reason) == (S.PAUSED, "by hand")
    assert scene.seen("start", "settled") == [(0, "start a"), (6, "settled a")]
    scene.coordinator.ask(ResumeAsked())
    progress = await scene.coordinator.run()
    assert progress.state is S.COMPLETED
    assert scene.outcomes == dict.fromkeys("abc", "updated")


async def test_pause_and_resume_while_it_runs() -> None:
    """At once, and without waiting for anything."""
    scene = a_scene(a_course("abc"), a=Script(start=3))
    async with anyio.create_task_group() as group:
        group.start_soon(later(1, lambda: scene.coordinator.ask(PauseAsked("by hand"))))
        group.start_soon(later(5, lambda: scene.coordinator.ask(ResumeAsked())))
        await scene.coordinator.run()
    assert scene.seen("start") == [(0, "start a"), (5, "start b"), (6, "start c")]


async def test_superseded_rollout_stops_and_then_is_over() -> None:
    """Pulls are given up, what is in flight ends, nothing else is touched."""
    scene = a_scene(a_course("abc"), b=Script(pull=FOREVER))
    async with anyio.create_task_group() as group:
        group.start_soon(later(0.5, lambda: scene.coordinator.ask(Superseded("a newer image"))))
        progress = await scene.coordinator.run()
    assert progress.state is S.ABANDONED
    assert scene.outcomes == {"a": "updated", "b": "skipped", "c": "skipped"}
    assert anyio.current_time() == pytest.approx(6)


async def test_request_that_is_not_possible_raises() -> None:
    """Whoever asks gets to know."""
    scene = a_scene(a_course("a"))
    with pytest.raises(IllegalTransitionError, match="cannot be resumed"):
        scene.coordinator.ask(ResumeAsked())
    await scene.coordinator.run()
    with pytest.raises(IllegalTransitionError, match="completed"):
        scene.coordinator.ask(AbortAsked("too late"))


# ---- stopping and starting again -------------------------------------------------------------------------------------


async def test_cancelled_rollout_lets_groups_reach_a_safe_point() -> None:
    """It does not return before; what is stored says that they were in flight."""
    scene = a_scene(a_course("abc", parallelism=2), a=Script(start=100), b=Script(start=100))
    with anyio.move_on_after(3):
        await scene.coordinator.run()
    assert sorted(scene.seen("safe")) == [(5, "safe a"), (5, "safe b")]
    assert scene.last_stored() == scene.coordinator.progress
    assert [scene.last_stored().phase_of(key) for key in "abc"] == ["starting", "starting", "prepared"]


async def test_rollout_goes_on_after_a_restart() -> None:
    """The engine is asked about what was in flight, and nothing starts before it has answered."""
    course = a_course("abc")
    first = a_scene(course, b=Script(start=100))
    with anyio.move_on_after(3):
        await first.coordinator.run()
    begun = anyio.current_time()
    second = a_scene(course, stored=first.last_stored(), a=Script(start=7), b=Script(start=2, found=Found.AS_BEFORE))
    progress = await second.coordinator.run()
    assert progress.state is S.COMPLETED
    assert second.outcomes == dict.fromkeys("abc", "updated")
    assert [(at - begun, what) for at, what in second.seen("look", "start")] == [
        (0, "look a"), (0, "look b"), (7, "start b"), (9, "start c"),
    ]  # fmt: skip


async def test_engine_that_cannot_tell_what_became_of_a_group_pauses() -> None:
    """After its deadline."""
    course = a_course("ab")
    first = a_scene(course, a=Script(start=100))
    with anyio.move_on_after(3):
        await first.coordinator.run()
    second = a_scene(course, stored=first.last_stored(), a=Script(start=FOREVER))
    begun = anyio.current_time()
    progress = await second.coordinator.run()
    assert progress.state is S.PAUSED
    assert anyio.current_time() - begun == pytest.approx(LOOK_SECONDS)
    assert second.outcome("a").kind is OutcomeKind.UNFINISHED


async def test_paused_rollout_stays_paused_after_a_restart() -> None:
    """It returns at once, and goes on when it is asked to."""
    course = a_course("abc", failure_action=PAUSE)
    first = a_scene(course, a=Script(fails_starting=True))
    await first.coordinator.run()
    second = a_scene(course, stored=first.last_stored())
    assert (await second.coordinator.run()).state is S.PAUSED
    assert second.runner.log == []
    second.coordinator.ask(ResumeAsked())
    assert (await second.coordinator.run()).state is S.COMPLETED
    assert second.outcomes == {"a": "rolled_back", "b": "updated", "c": "updated"}


async def test_stored_rollout_may_be_asked_before_it_runs() -> None:
    """A person resumes it right after the start of the updater."""
    course = a_course("ab", failure_action=PAUSE)
    first = a_scene(course, a=Script(fails_starting=True))
    await first.coordinator.run()
    second = a_scene(course, stored=first.last_stored())
    second.coordinator.ask(ResumeAsked())
    assert (await second.coordinator.run()).state is S.COMPLETED


# ---- storing and announcing ------------------------------------------------------------------------------------------


async def test_change_of_state_is_stored_before_anything_is_done_about_it() -> None:
    """A pause that nobody remembers is none."""
    scene = a_scene(a_course("abc", failure_action=ROLLBACK), c=Script(fails_starting=True))
    await scene.coordinator.run()
    moments = [at for at, text in scene.stored if json.loads(text)["state"] == "rollback_started"]
    assert moments[0] == 3
    assert json.loads(scene.stored[-1][1])["state"] == "rollback_completed"


async def test_many_changes_are_stored_together() -> None:
    """At most one record per second while only groups move; the last state is always there."""
    scripts: dict[str, Any] = {key: Script(start=0.01, monitor=0.01) for key in "abcdefgh"}
    scene = a_scene(a_course("abcdefgh"), **scripts)
    await scene.coordinator.run()
    assert len(scene.stored) <= 3
    assert scene.last_stored() == scene.coordinator.progress
    assert anyio.current_time() < RECORD_SECONDS


async def test_waiting_stores_nothing() -> None:
    """An hour in which nothing happens costs nothing."""
    scene = a_scene(a_course("a", deadline=7200), a=Script(start=3600))
    await scene.coordinator.run()
    assert len(scene.stored) <= 6


async def test_announcements_come_in_order() -> None:
    """The states of the rollout, with reasons."""
    scene = a_scene(a_course("ab", failure_action=ROLLBACK), b=Script(fails_starting=True))
    await scene.coordinator.run()
    assert [item for item in scene.announced if isinstance(item, StateChanged)] == [
        StateChanged(S.ROLLBACK_STARTED, "1 of 2 failed"),
        StateChanged(S.ROLLBACK_COMPLETED, ""),
    ]
