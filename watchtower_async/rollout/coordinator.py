"""Carries a rollout out: tells `advance` what happens, and does what it answers.

One task group per rollout, at most one task per group of containers. The work on a group is done by a runner, which
knows engines; here is only order, time and cancellation.

Cancelled (the updater stops), every group in flight is cancelled too, and its runner brings it to a safe point under a
shield of its own. What is stored then says that it was in flight, and the next start looks at the engine.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from watchtower_async.errors import EngineUnavailableError, PredecessorLostError, WatchtowerError
from watchtower_async.rollout.advance import advance, reopen
from watchtower_async.rollout.course import FINAL, Course, PlannedGroup, Progress, RolloutState, begin
from watchtower_async.rollout.course_events import (
    AbortAsked,
    Announcement,
    CancelGroup,
    Command,
    Found,
    GroupDown,
    GroupEvent,
    GroupFailed,
    GroupFound,
    GroupMoved,
    GroupNotRolledBack,
    GroupPrepared,
    GroupRolledBack,
    GroupSettled,
    GroupSkipped,
    GroupStalled,
    GroupUnfinished,
    GroupUp,
    LimitExceeded,
    LookAtGroup,
    PrepareGroup,
    Request,
    RollBackGroup,
    RolloutEvent,
    StartGroup,
    StateChanged,
    Step,
    TimePassed,
)
from watchtower_async.rollout.outcome import Outcome, OutcomeKind

PREPARE_SECONDS = 4 * 3600.0
"""The longest that preparing a group may take: a large image over a slow line, or a wait for another login."""
ROLL_BACK_SECONDS = 1800.0
LOOK_SECONDS = 900.0
"""The longest that finding out about a group may take, where its new containers are watched again."""
STOP_SECONDS = 900.0
"""The longest that a cancelled runner may take to its safe point."""
RECORD_SECONDS = 1.0
"""How long a change of a group alone may wait to be stored. After a restart the engine tells what has become of it."""
LAST_RECORD_SECONDS = 2.0
LEAST_PAUSE_SECONDS = 0.01
ENGINE_GONE = "the engine went away"
"""How the reason begins for which a rollout is given up by itself."""

Prepared = GroupPrepared | GroupStalled | GroupFailed | GroupSkipped
RunEnd = GroupSettled | GroupFailed | GroupSkipped | GroupUnfinished
RolledBack = GroupRolledBack | GroupNotRolledBack | GroupUnfinished
Record = Callable[[Course, Progress], Awaitable[None]]


Clock = Callable[[], float]
"""Tells the instant, for the events that a runner returns."""


class SlotReport(Protocol):
    """What a runner tells while it has a slot."""

    def now(self) -> float:
        """Return the instant, for the event that the runner returns."""

    def down(self) -> None:
        """Say that the first container is about to be taken down."""

    def up(self) -> None:
        """Say that all of the group runs, and is healthy where it has a check. The slot is given back."""


class GroupRunner(Protocol):
    """Does the work on groups of containers. May raise WatchtowerError, which is an end like others.

    A method that is cancelled brings its group to a safe point first, within a deadline of its own. The same method, or
    another one, may be called for the group afterwards.
    """

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        """Do what touches no container: pull all images. After `GroupStalled` it is called again, and waits."""

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        """Move the group to its new images, watch it for its monitor window, and remove the predecessors.

        It tells `down` and `up` in the meantime. A group that fails is left as it is; `roll_back` follows.
        """

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        """Bring the group back to its old images, however far it got, and whether or not it was settled."""

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        """Say what has become of a group that was in flight when the updater stopped."""


@dataclass(eq=False, slots=True)
class _Task:
    """Work on one group."""

    key: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class Coordinator:
    """Carries one rollout out."""

    def __init__(
        self,
        *,
        course: Course,
        runner: GroupRunner,
        announce: Callable[[Announcement], None],
        record: Record,
        stored: Progress | None = None,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        """`stored` is where an interrupted rollout stood. `epoch` tells the time of day, once."""
        self.course = course
        self.progress = begin(course) if stored is None else stored
        self._is_reopened = stored is not None
        self._runner = runner
        self._announce = announce
        self._record = record
        self._epoch = epoch
        self._offset: float | None = None
        self._commands: list[Command] = []
        self._changed = anyio.Event()
        self._wake_at: float | None = None
        self._tasks: dict[str, _Task] = {}
        self._recorded: tuple[float, Progress | None] = (0.0, None)

    # ---- for others --------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Pause, resume or abandon. Raises IllegalTransitionError where that is not possible now.

        A rollout that `run` has returned from is only told; it goes on with the next `run`.
        """
        self._open()
        self._hear(request)

    async def run(self) -> Progress:
        """Carry out until the rollout is over, or paused with nobody at work. May be called again after a pause.

        Cancelled, it returns when all groups in flight have reached a safe point.
        """
        self._open()
        self._hear(TimePassed())
        try:
            async with anyio.create_task_group() as group:
                await self._carry_out_all(group)
        finally:
            await self._record_last()
        return self.progress

    def _open(self) -> None:
        if self._is_reopened:
            self._is_reopened = False
            self._take(reopen(self.course, self.progress, now=self._now()))

    # ---- the loop ----------------------------------------------------------------------------------------------

    async def _carry_out_all(self, group: TaskGroup) -> None:
        while True:
            self._changed = changed = anyio.Event()
            commands, self._commands = self._commands, []
            await self._record_if_due()
            for command in commands:
                self._carry_out(command, group)
            if self.progress.is_quiet and not self._commands and not self._tasks:
                return
            if not await self._wait(changed):
                self._hear(TimePassed())

    async def _wait(self, changed: anyio.Event) -> bool:
        """Wait until something happens; say whether it did before it was time to wake up."""
        instants = [at for at in (self._wake_at, self._record_at()) if at is not None]
        # What is left may be too little for a clock to notice.
        patience = max(LEAST_PAUSE_SECONDS, min(instants) - self._now()) if instants else None
        with anyio.move_on_after(patience):
            await changed.wait()
            return True
        return False

    def _carry_out(self, command: Command, group: TaskGroup) -> None:
        match command:
            case StateChanged() | GroupMoved() | LimitExceeded():
                self._announce(command)
            case CancelGroup(key):
                self._cancel(key)
            case PrepareGroup(key):
                group.start_soon(self._prepare, self._new_task(key), name=f"prepare {key}")
            case StartGroup(key):
                group.start_soon(self._start, self._new_task(key), name=f"update {key}")
            case RollBackGroup(key, failure):
                self._cancel(key)
                before = self._tasks.get(key)
                group.start_soon(self._roll_back, self._new_task(key), before, failure, name=f"roll back {key}")
            case LookAtGroup(key):
                group.start_soon(self._look, self._new_task(key), name=f"look at {key}")

    # ---- work on one group -------------------------------------------------------------------------------------

    async def _prepare(self, task: _Task) -> None:
        key = task.key
        with self._at_work(task):
            try:
                with anyio.fail_after(PREPARE_SECONDS):
                    event: GroupEvent = await self._runner.prepare(self.course.planned(key))
            except TimeoutError:
                event = self._failed(key, f"preparing it took longer than {PREPARE_SECONDS:g} s", is_touched=False)
            except EngineUnavailableError as error:
                self._give_up(task, self._failed(key, str(error), is_touched=False), str(error))
                return
            except WatchtowerError as error:
                event = self._failed(key, str(error), is_touched=False)
            self._report(task, event)

    async def _start(self, task: _Task) -> None:
        key = task.key
        # The course has the deadlines: it rolls a group back that takes too long, and that cancels this.
        with self._at_work(task):
            slot = _Slot(task, tell=self._report, clock=self._now)
            try:
                event: GroupEvent = await self._runner.run(self.course.planned(key), slot)
            except EngineUnavailableError as error:
                lost = self._failed(key, str(error), is_touched=False)
                self._give_up(task, self._unfinished(key, error) if slot.is_touched else lost, str(error))
                return
            except WatchtowerError as error:
                event = self._failed(key, str(error), is_touched=slot.is_touched)
            self._report(task, event)

    async def _roll_back(self, task: _Task, before: _Task | None, failure: Outcome | None) -> None:
        key = task.key
        with self._at_work(task):
            if before is not None and not await _has_stopped(before):
                reason = "what was done about it could not be stopped, and recovery goes on with it"
                self._report(task, GroupUnfinished(key, Outcome(OutcomeKind.UNFINISHED, reason)))
                return
            try:
                with anyio.fail_after(ROLL_BACK_SECONDS):
                    event: GroupEvent = await self._runner.roll_back(self.course.planned(key), failure, self._now)
            except TimeoutError:
                event = _not_rolled_back(key, f"it could not be rolled back within {ROLL_BACK_SECONDS:g} s")
            except EngineUnavailableError as error:
                self._give_up(task, self._unfinished(key, error), str(error))
                return
            except PredecessorLostError as error:
                event = _not_rolled_back(key, str(error), OutcomeKind.LOST)
            except WatchtowerError as error:
                event = _not_rolled_back(key, f"it could not be rolled back: {error}")
            self._report(task, event)

    async def _look(self, task: _Task) -> None:
        key = task.key
        with self._at_work(task):
            try:
                with anyio.fail_after(LOOK_SECONDS):
                    event: GroupEvent = await self._runner.look(self.course.planned(key), self._now)
            except TimeoutError:
                event = self._unclear(key, f"nobody could find out within {LOOK_SECONDS:g} s what has become of it")
            except EngineUnavailableError as error:
                self._give_up(task, self._unfinished(key, error), str(error))
                return
            except WatchtowerError as error:
                event = self._unclear(key, str(error))
            self._report(task, event)

    def _unclear(self, key: str, reason: str) -> GroupFound:
        return GroupFound(key, self._now(), Found.UNCLEAR, Outcome(OutcomeKind.UNFINISHED, reason))

    def _failed(self, key: str, reason: str, *, is_touched: bool) -> GroupFailed:
        return GroupFailed(key, self._now(), Outcome(OutcomeKind.FAILED, reason), is_touched)

    def _unfinished(self, key: str, error: EngineUnavailableError) -> GroupUnfinished:
        reason = f"the engine went away, and recovery goes on as soon as it is back: {error}"
        return GroupUnfinished(key, Outcome(OutcomeKind.UNFINISHED, reason))

    def _give_up(self, task: _Task, event: GroupEvent, reason: str) -> None:
        """Give the rollout up, and report a group: without its engine, all others would only fail one by one."""
        if self.progress.state not in {*FINAL, RolloutState.ABANDONING}:
            self._hear(AbortAsked(f"{ENGINE_GONE}: {reason}"))
        self._report(task, event)

    # ---- tasks -------------------------------------------------------------------------------------------------

    def _new_task(self, key: str) -> _Task:
        """Note the work on a group before it begins, so that it can be cancelled from now on."""
        task = self._tasks[key] = _Task(key)
        return task

    @contextmanager
    def _at_work(self, task: _Task) -> Iterator[None]:
        """Run the block as this work; it ends quietly where that is cancelled."""
        try:
            with task.scope:
                yield
        finally:
            task.ended.set()
            if self._tasks.get(task.key) is task:
                del self._tasks[task.key]
            self._changed.set()

    def _cancel(self, key: str) -> None:
        if key in self._tasks:
            self._tasks[key].scope.cancel()

    def _report(self, task: _Task, event: GroupEvent) -> None:
        """Hear an event, unless the work was cancelled: then it does not matter any more what came of it."""
        if not task.scope.cancel_called:
            self._hear(event)

    # ---- events ------------------------------------------------------------------------------------------------

    def _hear(self, event: RolloutEvent) -> None:
        step = advance(self.course, self.progress, event, now=self._now())
        if isinstance(event, TimePassed) and not step.commands:
            self._wake_at = step.wake_at  # nothing has changed, so there is nothing to store
        else:
            self._take(step)

    def _take(self, step: Step) -> None:
        self.progress = step.progress
        self._wake_at = step.wake_at
        # At once, and not when its turn comes: what a group tells after this is not heard any more.
        for command in step.commands:
            if isinstance(command, CancelGroup | RollBackGroup):
                self._cancel(command.key)
        self._commands += step.commands
        self._changed.set()

    def _now(self) -> float:
        if self._offset is None:
            self._offset = self._epoch() - anyio.current_time()
        return anyio.current_time() + self._offset

    # ---- storing -----------------------------------------------------------------------------------------------

    def _record_at(self) -> float | None:
        at, recorded = self._recorded
        return None if recorded is self.progress else at + RECORD_SECONDS

    async def _record_if_due(self) -> None:
        """Store a change of state before anything is done about it, everything else after a moment."""
        at, recorded = self._recorded
        if recorded is self.progress:
            return
        has_moved = recorded is None or recorded.state is not self.progress.state
        if has_moved or self._now() >= at + RECORD_SECONDS:
            await self._record_now()

    async def _record_now(self) -> None:
        progress = self.progress
        await self._record(self.course, progress)
        self._recorded = (self._now(), progress)

    async def _record_last(self) -> None:
        if self._recorded[1] is not self.progress:
            with anyio.move_on_after(LAST_RECORD_SECONDS, shield=True):
                await self._record_now()


class _Slot:
    """What the runner of one group tells."""

    def __init__(self, task: _Task, *, tell: Callable[[_Task, GroupEvent], None], clock: Clock) -> None:
        self._task = task
        self._tell = tell
        self.now = clock
        self.is_touched = False

    def down(self) -> None:
        """Say that the first container is about to be taken down."""
        self.is_touched = True
        self._tell(self._task, GroupDown(self._task.key))

    def up(self) -> None:
        """Say that all of the group runs."""
        self.is_touched = True
        self._tell(self._task, GroupUp(self._task.key, self.now()))


def _not_rolled_back(key: str, reason: str, kind: OutcomeKind = OutcomeKind.UNFINISHED) -> GroupNotRolledBack:
    return GroupNotRolledBack(key, Outcome(kind, reason))


async def _has_stopped(task: _Task) -> bool:
    """Wait for the safe point of work that was cancelled. Say whether it came."""
    with anyio.move_on_after(STOP_SECONDS):
        await task.ended.wait()
    return task.ended.is_set()
