"""The rules of a rollout: an event comes in, the next state and what is to be done go out. Pure.

* Sliding window: the next group starts as soon as a slot is free, whatever the others do. A slot is taken until the
  group runs; then it rests for the policy's delay. The monitor window runs beside the next slot.
* One group more than there are slots is prepared in advance; one whose preparation waits for a login is not counted.
* A failure counts by its own time stamp: up to the end of the group's monitor window, whenever it is heard of.
* A group that fails is rolled back at once, whatever the slots, and nothing starts until that is done. One that fails
  before it runs keeps its slot until then; one that fails later is down on top of the slots.
* Failures over the number of groups, strictly greater than the ratio, take the failure action, once per rollout.
* The `rollback` action lets what is starting come to its end, then undoes in reverse order, within the same slots.
* What cannot be rolled back pauses the rollout, whatever the action, since it is down and may not be the last.
* In a pause nothing begins, except that a group which failed is rolled back. An action that falls due in a pause
  waits for its end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from watchtower_async.rollout.course import (
    IN_FLIGHT,
    LEGAL_PHASES,
    LEGAL_STATES,
    RUNS,
    TOUCHED,
    Course,
    GroupProgress,
    IllegalTransitionError,
    Phase,
    Progress,
    RolloutState,
    is_ready,
    started_last_first,
)
from watchtower_async.rollout.course_events import (
    AbortAsked,
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
    PauseAsked,
    PrepareGroup,
    Request,
    ResumeAsked,
    RollBackGroup,
    RolloutEvent,
    StartGroup,
    StateChanged,
    Step,
    Superseded,
    TimePassed,
)
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.settings import FailureAction

AHEAD = 1
"""How many groups more than there are slots are prepared."""
SETTLE_SECONDS = 300.0
"""How long after its monitor window a good group may take to remove its predecessors."""

_UPCOMING = frozenset({Phase.PREPARING, Phase.PREPARED})
_FAILING = frozenset({Phase.ROLLING_BACK, Phase.LOOKING})
_SLOTS_TAKEN = frozenset({Phase.STARTING, Phase.ROLLING_BACK, Phase.UNDOING, Phase.LOOKING})
_OVER_FOR_OTHERS = RUNS | {Phase.ENDED}
_DOWN_FOR_GOOD = frozenset({OutcomeKind.LOST, OutcomeKind.UNFINISHED})
_UNDONE = "the rollout was rolled back"


def advance(course: Course, progress: Progress, event: RolloutEvent, *, now: float) -> Step:
    """Take one event. Raises IllegalTransitionError where it does not fit; then nothing has changed."""
    turn = _Turn(course, progress, now)
    match event:
        case TimePassed():
            turn.overdue()
        case PauseAsked() | ResumeAsked() | AbortAsked() | Superseded():
            turn.request(event)
        case _:
            turn.hear(event)
    return turn.step()


def reopen(course: Course, progress: Progress, *, now: float) -> Step:
    """Go on after a restart of the updater: what was in flight is looked at first."""
    turn = _Turn(course, progress, now)
    turn.reopen()
    return turn.step()


class _Turn:
    """One step on a copy of where the rollout stands."""

    def __init__(self, course: Course, progress: Progress, now: float) -> None:
        self._course = course
        self._now = now
        self._state = progress.state
        self._reason = progress.reason
        self._waiting = progress.waiting
        self._ready = progress.ready
        self._in_play = dict(progress.in_play)
        self._done: Mapping[str, GroupProgress] = progress.done
        self._active = list(progress.active)
        self._to_undo = progress.to_undo
        self._turns = progress.turns
        self._failures = progress.failures
        self._has_fired = progress.has_fired
        self._resting = progress.resting
        self._commands: list[Command] = []

    def step(self) -> Step:
        """Begin what may begin, and return the answer."""
        self._resting = tuple(at for at in self._resting if at > self._now)
        self._schedule()
        progress = Progress(
            state=self._state,
            reason=self._reason,
            waiting=self._waiting,
            ready=self._ready,
            in_play=self._in_play,
            done=self._done,
            active=tuple(self._active),
            to_undo=self._to_undo,
            turns=self._turns,
            failures=self._failures,
            has_fired=self._has_fired,
            resting=self._resting,
        )
        return Step(progress, tuple(self._commands), self._wake_at())

    # ---- what happened -----------------------------------------------------------------------------------------

    def hear(self, event: GroupEvent) -> None:
        """Take what happened to a group."""
        self._course.planned(event.key)
        match event:
            case GroupPrepared():
                self._expect(event, Phase.PREPARING)
                self._move(event.key, Phase.PREPARED, is_stalled=False)
            case GroupStalled():
                self._stall(event)
            case GroupDown():
                self._down(event)
            case GroupUp():
                self._expect(event, Phase.STARTING)
                self._rest(event.key, event.at)
                self._move(event.key, Phase.MONITORED, up_at=event.at)
            case GroupSettled():
                self._expect(event, Phase.MONITORED)
                self._move(event.key, Phase.UPDATED, outcome=event.outcome)
            case GroupFailed():
                self._fail(event)
            case GroupSkipped():
                self._skip(event)
            case GroupUnfinished():
                self._unfinished(event)
            case GroupRolledBack():
                self._expect(event, Phase.ROLLING_BACK, Phase.UNDOING)
                self._rest(event.key, event.at)
                self._end(event.key, self._rolled_back(event.key, event.detail))
            case GroupNotRolledBack():
                self._expect(event, Phase.ROLLING_BACK, Phase.UNDOING)
                self._end(event.key, self._with_failure(event.key, event.outcome))
                self._stop_short(event.key, event.outcome)
            case GroupFound():
                self._expect(event, Phase.LOOKING)
                self._found(event)
            case _:
                assert_never(event)

    def _down(self, event: GroupDown) -> None:
        self._expect(event, Phase.STARTING)
        if self._in_play[event.key].is_down:
            raise IllegalTransitionError(f"group {event.key} is down already")
        self._in_play[event.key] = replace(self._in_play[event.key], is_down=True)

    def _stall(self, event: GroupStalled) -> None:
        """Let others be prepared in its place while it waits."""
        self._expect(event, Phase.PREPARING)
        self._in_play[event.key] = replace(self._in_play[event.key], is_stalled=True)
        self._commands.append(PrepareGroup(event.key))

    def _skip(self, event: GroupSkipped) -> None:
        self._expect(event, Phase.PREPARING, Phase.STARTING)
        if self._in_play[event.key].is_down:
            raise IllegalTransitionError(f"group {event.key} is down and cannot be skipped")
        self._rest(event.key, self._now)
        self._end(event.key, event.outcome)

    def _fail(self, event: GroupFailed) -> None:
        key = event.key
        self._expect(event, Phase.PREPARING, Phase.STARTING, Phase.MONITORED, Phase.UPDATED)
        found = self._found_at(key)
        counts = found.up_at is None or event.at <= found.up_at + self._course.planned(key).monitor
        if found.phase is Phase.UPDATED and not (counts and self._may_still_fail()):
            raise IllegalTransitionError(
                f"group {key} failed after its monitor window, which is not the rollout's affair"
            )
        is_touched = found.phase in RUNS or found.is_down or (event.is_touched and found.phase is Phase.STARTING)
        if not is_touched:
            self._rest(key, event.at)
            self._end(key, event.outcome)
        else:
            self._roll_back(key, event.outcome)
        if counts:
            self._count()

    def _may_still_fail(self) -> bool:
        return self._state in (RolloutState.UPDATING, RolloutState.PAUSED)

    def _unfinished(self, event: GroupUnfinished) -> None:
        key = event.key
        self._expect(event, *TOUCHED)
        was = self._in_play[key].was or self._in_play[key].phase
        self._end(key, self._with_failure(key, event.outcome))
        if was in (Phase.STARTING, Phase.MONITORED):
            self._count()
        self._stop_short(key, event.outcome)

    def _found(self, event: GroupFound) -> None:
        key, was = event.key, self._in_play[event.key].was
        failed_before = was is Phase.ROLLING_BACK
        match event.found:
            case Found.UPDATED if failed_before:
                self._roll_back(key, self._in_play[key].failure)
            case Found.UPDATED:
                up_at = self._in_play[key].up_at
                self._move(
                    key, Phase.UPDATED, was=None, up_at=event.at if up_at is None else up_at, outcome=event.outcome
                )
            case Found.AS_BEFORE | Found.ROLLED_BACK if was in (Phase.ROLLING_BACK, Phase.UNDOING):
                self._end(key, self._rolled_back(key, event.outcome.detail))
            case Found.AS_BEFORE if was is Phase.STARTING:
                self._again(key)
            case Found.AS_BEFORE | Found.ROLLED_BACK:
                self._end(key, replace(event.outcome, kind=OutcomeKind.ROLLED_BACK))
                self._count()
            case Found.UNCLEAR:
                self._end(key, self._with_failure(key, event.outcome))
                if was in (Phase.STARTING, Phase.MONITORED):
                    self._count()
                self._stop_short(key, event.outcome)

    def _again(self, key: str) -> None:
        """Nothing has become of a start: it waits for its turn again, or was never begun where none comes."""
        if self._may_still_fail():
            self._wait(key)
        else:
            self._end(key, _not_begun(self._reason or f"the rollout is {self._state}"))

    # ---- failures ----------------------------------------------------------------------------------------------

    def _roll_back(self, key: str, failure: Outcome | None) -> None:
        found = self._found_at(key)
        is_on_top = found.is_on_top or found.up_at is not None
        self._move(key, Phase.ROLLING_BACK, is_on_top=is_on_top, was=None, failure=failure, outcome=None)
        self._commands.append(RollBackGroup(key, failure))

    def _rolled_back(self, key: str, detail: tuple[str, ...]) -> Outcome:
        failure = self._in_play[key].failure
        if failure is None:
            return Outcome(OutcomeKind.ROLLED_BACK, _UNDONE, detail)
        return replace(failure, kind=OutcomeKind.ROLLED_BACK, detail=(*failure.detail, *detail))

    def _with_failure(self, key: str, outcome: Outcome) -> Outcome:
        failure = self._in_play[key].failure
        if failure is None:
            return outcome
        detail = (*failure.detail, *outcome.detail)
        return replace(outcome, reason=f"{failure.reason}; {outcome.reason}", detail=detail, blame=failure.blame)

    def _count(self) -> None:
        """Count one more failure, and take the action when it is one too many."""
        self._failures += 1
        policy, total = self._course.policy, len(self._course.groups)
        if self._has_fired or not self._may_still_fail() or self._failures / total <= policy.max_failure_ratio:
            return
        self._has_fired = True
        self._commands.append(LimitExceeded(self._failures, total, policy.failure_action))
        if self._state is RolloutState.PAUSED:
            return
        reason = f"{self._failures} of {total} failed"
        match policy.failure_action:
            case FailureAction.PAUSE:
                self._enter(RolloutState.PAUSED, reason)
            case FailureAction.ROLLBACK:
                self._begin_rollback(reason)
            case FailureAction.CONTINUE:
                pass

    def _stop_short(self, key: str, outcome: Outcome) -> None:
        """Pause after something that cannot be put right."""
        reason = f"{key}: {outcome.reason}"
        if self._state is RolloutState.UPDATING:
            self._enter(RolloutState.PAUSED, reason)
        elif self._state is RolloutState.ROLLBACK_STARTED:
            self._enter(RolloutState.ROLLBACK_PAUSED, reason)

    def _begin_rollback(self, reason: str) -> None:
        self._enter(RolloutState.ROLLBACK_STARTED, reason)
        self._to_undo = started_last_first({**self._done, **self._in_play})
        self._drop_upcoming("the rollout is rolled back")

    def overdue(self) -> None:
        """Deal with groups that take longer than they may."""
        for key in tuple(self._active):
            if key not in self._in_play:
                continue  # the one before was one failure too many, and nothing else is begun
            deadline = self._deadline(key)
            if deadline is None or deadline > self._now:
                continue
            planned = self._course.planned(key)
            if self._in_play[key].phase is Phase.STARTING:
                reason = f"it did not run within {planned.start_deadline:g} s, which is its start deadline"
                self._roll_back(key, Outcome(OutcomeKind.FAILED, reason))
                self._count()
            else:
                self._commands.append(CancelGroup(key))
                reason = "still running; the old containers could not be removed in time, and recovery does it"
                self._move(key, Phase.UPDATED, outcome=Outcome(OutcomeKind.UPDATED, reason))

    def _deadline(self, key: str) -> float | None:
        found, planned = self._in_play[key], self._course.planned(key)
        if found.phase is Phase.STARTING:
            return found.since + planned.start_deadline
        if found.phase is Phase.MONITORED and found.up_at is not None:
            return found.up_at + planned.monitor + SETTLE_SECONDS
        return None

    # ---- what is asked for -------------------------------------------------------------------------------------

    def request(self, event: Request) -> None:
        """Do what somebody asks for."""
        match event:
            case PauseAsked():
                paused = {
                    RolloutState.UPDATING: RolloutState.PAUSED,
                    RolloutState.ROLLBACK_STARTED: RolloutState.ROLLBACK_PAUSED,
                }
                self._enter(paused.get(self._state), event.reason, asked="paused")
            case ResumeAsked():
                self._resume()
            case AbortAsked() | Superseded():
                self._enter(RolloutState.ABANDONING, event.reason, asked="abandoned")
                self._to_undo = ()
                self._drop_upcoming(f"the rollout was abandoned: {event.reason}")

    def _resume(self) -> None:
        if self._state is RolloutState.ROLLBACK_PAUSED:
            self._enter(RolloutState.ROLLBACK_STARTED, "resumed")
        elif self._state is not RolloutState.PAUSED:
            raise IllegalTransitionError(f"the rollout is {self._state} and cannot be resumed")
        elif self._has_fired and self._course.policy.failure_action is FailureAction.ROLLBACK:
            self._begin_rollback(f"{self._failures} of {len(self._course.groups)} failed")
        else:
            self._enter(RolloutState.UPDATING, "resumed")

    def _drop_upcoming(self, reason: str) -> None:
        dropped, self._waiting, self._ready = self._waiting, (), ()
        for key in tuple(self._active):
            if self._in_play[key].phase in _UPCOMING:
                self._commands.append(CancelGroup(key))
                self._end(key, _not_begun(reason))
        for key in dropped:
            self._end(key, _not_begun(reason))

    # ---- what may begin ----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        match self._state:
            case RolloutState.UPDATING:
                self._prepare_next()
                self._start_next()
                if not self._waiting and not self._active:
                    self._enter(RolloutState.COMPLETED)
            case RolloutState.ROLLBACK_STARTED:
                self._undo_next()
                if not self._active and not self._to_undo:
                    self._enter(RolloutState.ROLLBACK_COMPLETED)
            case RolloutState.ABANDONING:
                if not self._active:
                    self._enter(RolloutState.ABANDONED, self._reason)

    def _prepare_next(self) -> None:
        """Prepare what can start as soon as there is a slot; with room left, also what must wait for others first."""
        upcoming = [
            key for key in self._active if self._in_play[key].phase in _UPCOMING and not self._in_play[key].is_stalled
        ]
        limit = self._course.slots + AHEAD
        for key in self._ready[: max(0, limit - sum(self._is_ready(key) for key in upcoming))]:
            self._prepare(key)
            upcoming.append(key)
        for key in self._waiting[: max(0, limit - len(upcoming))]:
            self._prepare(key)

    def _prepare(self, key: str) -> None:
        self._waiting = self._without(self._waiting, key)
        self._ready = self._without(self._ready, key)
        self._move(key, Phase.PREPARING)
        self._commands.append(PrepareGroup(key))

    def _is_ready(self, key: str) -> bool:
        return is_ready(self._course, key, self._get)

    def _start_next(self) -> None:
        if self._count_active(_FAILING):
            return
        free = self._course.slots - self._slots_taken() - len(self._resting)
        held = False
        for key in tuple(self._active):
            if self._in_play[key].phase is not Phase.PREPARED:
                continue
            before = self._course.planned(key).group.after
            gone = sorted(other for other in before if self._is_down_for_good(other))
            if gone:
                self._end(key, _not_begun(f"it needs {', '.join(gone)}, which is down"))
                held = True
            elif free > 0 and all(self._phase(other) in _OVER_FOR_OTHERS for other in before):
                self._start(key)
                free -= 1
        if held:
            self._prepare_next()

    def _start(self, key: str) -> None:
        self._move(key, Phase.STARTING, turn=self._turns)
        self._turns += 1
        self._commands.append(StartGroup(key))

    def _is_down_for_good(self, key: str) -> bool:
        found = self._done.get(key)
        return found is not None and found.outcome is not None and found.outcome.kind in _DOWN_FOR_GOOD

    def _undo_next(self) -> None:
        if self._count_active(_FAILING | {Phase.STARTING}):
            return
        free = self._course.slots - self._slots_taken()
        for key in self._to_undo:
            if free <= 0:
                return
            if self._phase(key) not in RUNS:
                continue
            if all(self._is_back(other) for other in self._course.followers[key]):
                self._move(key, Phase.UNDOING, outcome=None)
                self._commands.append(RollBackGroup(key, None))
                free -= 1

    def _is_back(self, key: str) -> bool:
        return self._phase(key) in (Phase.WAITING, Phase.ENDED)

    def _slots_taken(self) -> int:
        return sum(
            self._in_play[key].phase in _SLOTS_TAKEN and not self._in_play[key].is_on_top for key in self._active
        )

    def _count_active(self, phases: frozenset[Phase]) -> int:
        return sum(self._in_play[key].phase in phases for key in self._active)

    def _wake_at(self) -> float | None:
        deadlines = (self._deadline(key) for key in self._active)
        return min((*self._resting, *(at for at in deadlines if at is not None)), default=None)

    # ---- after a restart ---------------------------------------------------------------------------------------

    def reopen(self) -> None:
        """Ask what has become of everything that was in flight; what was only prepared waits again."""
        longest = self._now + self._course.policy.delay.total_seconds()
        self._resting = tuple(min(at, longest) for at in self._resting)
        for key in tuple(self._active):
            found = self._in_play[key]
            if found.phase in _UPCOMING:
                self._wait(key)
                continue
            if found.phase is not Phase.LOOKING:
                self._move(key, Phase.LOOKING, was=found.phase)
            self._commands.append(LookAtGroup(key))

    # ---- the only places that change something -----------------------------------------------------------------

    def _enter(self, state: RolloutState | None, reason: str = "", *, asked: str = "") -> None:
        if state is None or state not in LEGAL_STATES[self._state]:
            raise IllegalTransitionError(f"the rollout is {self._state} and cannot be {asked or state}")
        self._state, self._reason = state, reason
        self._commands.append(StateChanged(state, reason))

    def _move(self, key: str, phase: Phase, **changes: Any) -> None:
        found = self._get(key)
        before = Phase.WAITING if found is None else found.phase
        if phase not in LEGAL_PHASES[before]:
            raise IllegalTransitionError(f"group {key} is {before} and cannot be {phase}")
        if found is None:
            after = GroupProgress(phase=phase, since=self._now, **changes)
        else:
            after = replace(found, phase=phase, since=self._now, **changes)
        self._put(key, after, was_active=before in IN_FLIGHT)
        if after.has_passed:
            self._let_pass(key)
        if phase is Phase.ENDED and self._to_undo:
            self._to_undo = tuple(other for other in self._to_undo if other != key)
        self._commands.append(GroupMoved(key, phase, after.outcome))

    def _put(self, key: str, after: GroupProgress, *, was_active: bool) -> None:
        is_active = after.phase in IN_FLIGHT
        if is_active:
            self._in_play[key] = after
            if key in self._done:
                self._done = {other: found for other, found in self._done.items() if other != key}
        else:
            self._in_play.pop(key, None)
            self._done = {**self._done, key: after}
        self._note(key, was_active=was_active, is_active=is_active)

    def _end(self, key: str, outcome: Outcome) -> None:
        self._move(key, Phase.ENDED, was=None, outcome=outcome)

    def _wait(self, key: str) -> None:
        """Put a group back to those that wait, as if nothing had been done about it."""
        if Phase.WAITING not in LEGAL_PHASES[self._phase(key)]:
            raise IllegalTransitionError(f"group {key} is {self._phase(key)} and cannot wait again")
        del self._in_play[key]
        self._note(key, was_active=True, is_active=False)
        self._waiting = self._with(self._waiting, key)
        if self._is_ready(key):
            self._ready = self._with(self._ready, key)
        self._commands.append(GroupMoved(key, Phase.WAITING))

    def _let_pass(self, key: str) -> None:
        """Let those that follow this group go on."""
        for other in self._course.followers[key]:
            if self._is_ready(other) and self._find(self._waiting, other) and not self._find(self._ready, other):
                self._ready = self._with(self._ready, other)

    def _note(self, key: str, *, was_active: bool, is_active: bool) -> None:
        if was_active and not is_active:
            self._active.remove(key)
        elif is_active and not was_active:
            self._active.append(key)
            self._active.sort(key=self._course.index.__getitem__)

    # Keys stand in the order of the course, so that they are found without looking at all of them.

    def _place(self, keys: tuple[str, ...], key: str) -> int:
        return bisect_left(keys, self._course.index[key], key=self._course.index.__getitem__)

    def _find(self, keys: tuple[str, ...], key: str) -> bool:
        place = self._place(keys, key)
        return keys[place : place + 1] == (key,)

    def _with(self, keys: tuple[str, ...], key: str) -> tuple[str, ...]:
        place = self._place(keys, key)
        return (*keys[:place], key, *keys[place:])

    def _without(self, keys: tuple[str, ...], key: str) -> tuple[str, ...]:
        place = self._place(keys, key)
        return keys[:place] + keys[place + 1 :] if self._find(keys, key) else keys

    # ---- small questions ---------------------------------------------------------------------------------------

    def _get(self, key: str) -> GroupProgress | None:
        return self._in_play.get(key) or self._done.get(key)

    def _found_at(self, key: str) -> GroupProgress:
        return self._in_play[key] if key in self._in_play else self._done[key]

    def _phase(self, key: str) -> Phase:
        found = self._get(key)
        return Phase.WAITING if found is None else found.phase

    def _expect(self, event: GroupEvent, *phases: Phase) -> None:
        if self._phase(event.key) not in phases:
            what = type(event).__name__
            raise IllegalTransitionError(f"{what} does not fit: group {event.key} is {self._phase(event.key)}")

    def _rest(self, key: str, at: float) -> None:
        """Let the slot of this group rest, if it has one."""
        delay = self._course.policy.delay.total_seconds()
        found = self._in_play[key]
        is_undoing = found.phase is Phase.UNDOING
        if delay > 0 and found.phase in _SLOTS_TAKEN and not found.is_on_top and not is_undoing:
            self._resting = tuple(sorted((*self._resting, at + delay)))


def _not_begun(reason: str) -> Outcome:
    return Outcome(OutcomeKind.SKIPPED, f"not begun: {reason}")
