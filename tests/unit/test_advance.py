"""The rules of a rollout, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from tests.support.rollouts import BROKEN, DEADLINE, DONE, GONE, MONITOR, NOT_NEEDED, a_course
from watchtower_async.rollout.advance import SETTLE_SECONDS, advance, reopen
from watchtower_async.rollout.course import (
    FINAL,
    Course,
    IllegalTransitionError,
    Phase,
    Progress,
    RolloutState,
    begin,
    ends,
    held_by,
)
from watchtower_async.rollout.course_events import (
    AbortAsked,
    Announcement,
    CancelGroup,
    Command,
    Found,
    GroupDown,
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
from watchtower_async.rollout.policy import FailureAction

S = RolloutState
PAUSE, ROLLBACK = FailureAction.PAUSE, FailureAction.ROLLBACK


class Rollout:
    """A rollout that a test drives; images are pulled at once."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.now = 0.0
        self.progress: Progress = begin(course)
        self.wake_at: float | None = None
        self.announced: list[Announcement] = []
        self.commands = self.send(TimePassed())

    def send(self, *events: RolloutEvent) -> list[Command]:
        """Send events; return the commands that are more than announcements and preparation."""
        given: list[Command] = []
        for event in events:
            given += self._take(advance(self.course, self.progress, event, now=self.now))
        return given

    def restart(self) -> list[Command]:
        return self._take(reopen(self.course, self.progress, now=self.now))

    def _take(self, step: Step) -> list[Command]:
        self.progress, self.wake_at = step.progress, step.wake_at
        given: list[Command] = []
        for command in step.commands:
            match command:
                case PrepareGroup(key):
                    given += self.send(GroupPrepared(key))
                case StateChanged() | GroupMoved() | LimitExceeded():
                    self.announced.append(command)
                case _:
                    given.append(command)
        return given

    def at(self, now: float, *events: RolloutEvent) -> list[Command]:
        self.now = now
        return self.send(*(events or (TimePassed(),)))

    def up(self, *keys: str) -> list[Command]:
        return self.send(*(GroupUp(key, self.now) for key in keys))

    def good(self, *keys: str) -> list[Command]:
        """Let groups run, and settle."""
        given = self.up(*keys)
        return given + self.send(*(GroupSettled(key, DONE) for key in keys))

    def fail(self, key: str, at: float | None = None) -> list[Command]:
        return self.send(GroupFailed(key, self.now if at is None else at, BROKEN))

    @property
    def state(self) -> RolloutState:
        return self.progress.state

    def is_in(self, state: RolloutState) -> bool:
        return self.progress.state is state

    @property
    def outcomes(self) -> dict[str, str]:
        return {end.name: str(end.outcome.kind) for end in ends(self.course, self.progress)}


def a_rollout(
    groups: Mapping[str, Iterable[str]] | Iterable[str], action: FailureAction = FailureAction.CONTINUE,
    *, parallelism: int = 1, delay: float = 0, ratio: float = 0,
) -> Rollout:  # fmt: skip
    return Rollout(
        a_course(groups, parallelism=parallelism, delay=delay, max_failure_ratio=ratio, failure_action=action)
    )


def test_window_slides() -> None:
    """A slow group does not hold the others up."""
    rollout = a_rollout("abcd", parallelism=2)
    assert rollout.commands == [StartGroup("a"), StartGroup("b")]
    assert rollout.up("b") == [StartGroup("c")]
    assert rollout.up("c") == [StartGroup("d")]
    assert rollout.up("d") == []


def test_parallelism_of_nothing_is_all() -> None:
    """As in Swarm."""
    assert a_rollout("abc", parallelism=0).commands == [StartGroup("a"), StartGroup("b"), StartGroup("c")]


def test_one_group_more_than_slots_is_prepared() -> None:
    """Its images are there when its turn comes."""
    course = a_course("abcd", parallelism=2)
    step = advance(course, begin(course), TimePassed(), now=0)
    assert [command for command in step.commands if isinstance(command, PrepareGroup)] == [
        PrepareGroup("a"), PrepareGroup("b"), PrepareGroup("c"),
    ]  # fmt: skip


def test_group_that_is_slow_to_prepare_takes_no_slot() -> None:
    """The next one that is prepared starts."""
    course = a_course("abc")
    step = advance(course, begin(course), TimePassed(), now=0)
    step = advance(course, step.progress, GroupPrepared("b"), now=0)
    assert StartGroup("b") in step.commands


def test_group_that_waits_for_a_login_is_prepared_further_and_not_counted() -> None:
    """However many wait, the others are prepared and start; it has its turn when it is prepared after all."""
    course = a_course("abcd")
    step = advance(course, begin(course), TimePassed(), now=0)
    step = advance(course, step.progress, GroupStalled("a"), now=0)
    assert [command for command in step.commands if isinstance(command, PrepareGroup)] == [
        PrepareGroup("a"), PrepareGroup("c"),
    ]  # fmt: skip
    step = advance(course, step.progress, GroupStalled("b"), now=0)
    assert PrepareGroup("d") in step.commands
    step = advance(course, step.progress, GroupPrepared("c"), now=0)
    assert StartGroup("c") in step.commands
    step = advance(course, step.progress, GroupPrepared("a"), now=0)
    assert not step.progress.in_play["a"].is_stalled


def test_chain_does_not_keep_others_from_free_slots() -> None:
    """However many groups stand before them that must wait for each other."""
    rollout = a_rollout({"a": (), "b": "a", "c": "b", "d": "c", "e": "d", "f": ()}, parallelism=2)
    assert rollout.commands == [StartGroup("a"), StartGroup("f")]


def test_group_starts_when_those_it_follows_run() -> None:
    """Not before, whatever slots are free; their monitor window runs beside it."""
    rollout = a_rollout({"db": (), "web": ("db",), "other": ()}, parallelism=3)
    assert rollout.commands == [StartGroup("db"), StartGroup("other")]
    assert rollout.send(GroupDown("db")) == []
    assert rollout.up("db") == [StartGroup("web")]


def test_group_starts_when_what_it_follows_was_rolled_back() -> None:
    """The order is an order, not a condition: what it needs runs."""
    rollout = a_rollout({"db": (), "web": ("db",)})
    assert rollout.fail("db") == [RollBackGroup("db", BROKEN)]
    assert rollout.send(GroupRolledBack("db", 0)) == [StartGroup("web")]


def test_slot_rests_for_the_delay() -> None:
    """From the instant at which its group ran; each slot by itself."""
    rollout = a_rollout("abcd", parallelism=2, delay=10)
    rollout.now = 3.0
    assert rollout.send(GroupUp("a", 2.0)) == []
    assert rollout.wake_at == 12.0
    assert rollout.at(5.0, GroupUp("b", 5.0)) == []
    assert rollout.at(11.9) == []
    assert rollout.at(12.0) == [StartGroup("c")]
    assert rollout.at(15.0) == [StartGroup("d")]


def test_rollout_ends_with_the_last_monitor_window() -> None:
    """Not with the last start."""
    rollout = a_rollout("ab")
    rollout.up("a")
    rollout.up("b")
    rollout.send(GroupSettled("a", DONE))
    assert rollout.is_in(S.UPDATING)
    rollout.send(GroupSettled("b", DONE))
    assert rollout.is_in(S.COMPLETED)
    assert rollout.outcomes == {"a": "updated", "b": "updated"}


def test_empty_rollout_is_complete_at_once() -> None:
    """There is nothing to wait for."""
    assert a_rollout("").state is S.COMPLETED


def test_group_that_fails_before_it_runs_keeps_its_slot() -> None:
    """It is down until it is back."""
    rollout = a_rollout("abc", parallelism=2)
    assert rollout.fail("a") == [RollBackGroup("a", BROKEN)]
    assert rollout.up("b") == []
    assert rollout.send(GroupRolledBack("a", 0, ("log: x",))) == [StartGroup("c")]
    assert rollout.progress.groups["a"].outcome == Outcome(
        OutcomeKind.ROLLED_BACK, "it exited with code 3", ("log: cannot start", "log: x")
    )


def test_group_that_fails_in_its_window_comes_on_top() -> None:
    """Its rollback goes first; what is starting goes on, and nothing new starts."""
    rollout = a_rollout("abc")
    assert rollout.up("a") == [StartGroup("b")]
    assert rollout.fail("a") == [RollBackGroup("a", BROKEN)]
    assert rollout.up("b") == []
    assert rollout.send(GroupRolledBack("a", 0)) == [StartGroup("c")]


def test_failed_pull_touches_nothing() -> None:
    """There is nothing to roll back, and it counts."""
    course = a_course("ab", failure_action=PAUSE)
    step = advance(course, begin(course), TimePassed(), now=0)
    step = advance(course, step.progress, GroupFailed("a", 0, BROKEN, is_touched=False), now=0)
    assert step.progress.groups["a"].outcome == BROKEN
    assert step.progress.state is S.PAUSED
    assert not [command for command in step.commands if isinstance(command, RollBackGroup | StartGroup)]


def test_group_that_went_down_is_rolled_back_whatever_the_runner_says() -> None:
    """It was touched."""
    rollout = a_rollout("ab")
    rollout.send(GroupDown("a"))
    assert rollout.send(GroupFailed("a", 0, BROKEN, is_touched=False)) == [RollBackGroup("a", BROKEN)]


def test_skipped_group_is_no_failure() -> None:
    """Nothing was to be done after all."""
    rollout = a_rollout("ab", PAUSE)
    assert rollout.send(GroupSkipped("a", NOT_NEEDED)) == [StartGroup("b")]
    assert rollout.progress.failures == 0


@pytest.mark.parametrize(("at", "counts"), [(MONITOR, True), (MONITOR + 0.1, False)])
def test_failure_is_judged_by_its_own_time(at: float, counts: bool) -> None:
    """However late it is heard of; it is rolled back in any case."""
    rollout = a_rollout("ab", PAUSE)
    rollout.up("a")
    rollout.now = 100.0
    assert rollout.fail("a", at) == [RollBackGroup("a", BROKEN)]
    assert (rollout.progress.failures, rollout.state) == ((1, S.PAUSED) if counts else (0, S.UPDATING))


def test_failure_that_is_heard_of_after_the_group_settled_counts() -> None:
    """If it happened in the window; otherwise it is not the rollout's affair."""
    rollout = a_rollout("ab", PAUSE)
    rollout.good("a")
    with pytest.raises(IllegalTransitionError):
        rollout.fail("a", MONITOR + 1)
    assert rollout.fail("a", MONITOR - 1) == [RollBackGroup("a", BROKEN)]
    assert rollout.is_in(S.PAUSED)


@pytest.mark.parametrize(
    ("ratio", "groups", "failures"), [(0, 4, 1), (0.25, 4, 2), (0.3, 10, 4), (0.5, 3, 2), (1, 2, None)]
)
def test_ratio_must_be_exceeded(ratio: float, groups: int, failures: int | None) -> None:
    """Strictly; the whole is all groups of the rollout, not those that are done."""
    rollout = a_rollout("abcdefghij"[:groups], PAUSE, parallelism=0, ratio=ratio)
    for number, key in enumerate("abcdefghij"[:groups], start=1):
        rollout.fail(key)
        expected = S.PAUSED if failures is not None and number >= failures else S.UPDATING
        assert rollout.is_in(expected)
    assert [item for item in rollout.announced if isinstance(item, LimitExceeded)] == (
        [] if failures is None else [LimitExceeded(failures, groups, PAUSE)]
    )


def test_continue_goes_on_and_tells_once() -> None:
    """The independent others are not stopped."""
    rollout = a_rollout("abc")
    rollout.fail("a")
    assert rollout.send(GroupRolledBack("a", 0)) == [StartGroup("b")]
    rollout.fail("b")
    assert rollout.send(GroupRolledBack("b", 0)) == [StartGroup("c")]
    rollout.good("c")
    assert rollout.is_in(S.COMPLETED)
    assert sum(isinstance(item, LimitExceeded) for item in rollout.announced) == 1


def test_pause_lets_what_is_in_flight_end() -> None:
    """And nothing new starts until it is resumed, which the action does not fire in again."""
    rollout = a_rollout("abcd", PAUSE, parallelism=2)
    rollout.fail("a")
    assert rollout.is_in(S.PAUSED)
    assert rollout.good("b") == []
    assert rollout.send(GroupRolledBack("a", 0)) == []
    assert rollout.progress.is_quiet
    assert rollout.send(ResumeAsked()) == [StartGroup("c"), StartGroup("d")]
    rollout.fail("c")
    assert rollout.is_in(S.UPDATING)


def test_paused_rollout_holds_its_containers() -> None:
    """Later plans say why; when it is over, none is held."""
    rollout = a_rollout("ab", PAUSE)
    rollout.fail("a")
    held = held_by(rollout.course, rollout.progress)
    assert held == dict.fromkeys("ab", "its rollout is not finished (paused: 1 of 2 failed)")
    rollout.send(AbortAsked("enough"), GroupRolledBack("a", 0))
    assert rollout.is_in(S.ABANDONED)
    assert held_by(rollout.course, rollout.progress) == {}
    assert rollout.outcomes == {"a": "rolled_back", "b": "skipped"}


def test_rollback_undoes_in_reverse_after_what_is_starting() -> None:
    """What waits is not begun; those that follow are back before what they follow."""
    rollout = a_rollout({"a": (), "b": ("a",), "c": ("b",), "d": ("c",), "e": ()}, ROLLBACK, parallelism=2)
    rollout.good("a", "e")
    rollout.good("b")
    assert rollout.up("c") == [StartGroup("d")]
    assert rollout.fail("c") == [RollBackGroup("c", BROKEN)]
    assert rollout.is_in(S.ROLLBACK_STARTED)
    assert rollout.send(GroupRolledBack("c", 0)) == []
    assert rollout.up("d") == [RollBackGroup("d", None), RollBackGroup("b", None)]
    assert rollout.send(GroupRolledBack("d", 0)) == [RollBackGroup("e", None)]
    assert rollout.send(GroupRolledBack("b", 0)) == [RollBackGroup("a", None)]
    rollout.send(GroupRolledBack("a", 0), GroupRolledBack("e", 0))
    assert rollout.is_in(S.ROLLBACK_COMPLETED)
    assert rollout.outcomes == dict.fromkeys("abcde", "rolled_back")


def test_rollback_is_never_rolled_back() -> None:
    """It pauses; resumed, it goes on with the others."""
    rollout = a_rollout("abc", ROLLBACK)
    rollout.good("a")
    rollout.good("b")
    rollout.fail("c")
    assert rollout.send(GroupRolledBack("c", 0)) == [RollBackGroup("b", None)]
    assert rollout.send(GroupNotRolledBack("b", GONE)) == []
    assert rollout.is_in(S.ROLLBACK_PAUSED)
    assert rollout.send(ResumeAsked()) == [RollBackGroup("a", None)]
    rollout.send(GroupRolledBack("a", 0))
    assert rollout.is_in(S.ROLLBACK_COMPLETED)
    assert rollout.outcomes == {"a": "rolled_back", "b": "lost", "c": "rolled_back"}


def test_action_that_falls_due_in_a_pause_waits_for_its_end() -> None:
    """Nothing begins while somebody looks at it."""
    rollout = a_rollout("abc", ROLLBACK)
    rollout.good("a")
    rollout.send(PauseAsked("let me see"))
    rollout.fail("b")
    assert rollout.send(GroupRolledBack("b", 0)) == []
    assert rollout.is_in(S.PAUSED)
    assert rollout.send(ResumeAsked()) == [CancelGroup("c"), RollBackGroup("a", None)]


def test_what_cannot_be_put_back_pauses_whatever_the_action() -> None:
    """It is down. Those that follow it are not begun."""
    rollout = a_rollout({"db": (), "web": ("db",), "other": ()})
    rollout.fail("db")
    assert rollout.send(GroupNotRolledBack("db", GONE)) == []
    assert rollout.is_in(S.PAUSED)
    assert rollout.progress.groups["db"].outcome == Outcome(
        OutcomeKind.LOST, "it exited with code 3; the old container was removed", ("log: cannot start",)
    )
    assert rollout.send(ResumeAsked()) == [StartGroup("other")]
    web = rollout.progress.groups["web"].outcome
    assert web == Outcome(OutcomeKind.SKIPPED, "not begun: it needs db, which is down")


def test_engine_that_goes_away_pauses_too() -> None:
    """Nobody knows what is up."""
    rollout = a_rollout("ab")
    rollout.send(GroupUnfinished("a", Outcome(OutcomeKind.UNFINISHED, "no engine")))
    assert (rollout.state, rollout.progress.failures) == (S.PAUSED, 1)


def test_group_that_does_not_run_in_time_has_failed() -> None:
    """Its deadline is the rollout's to watch."""
    rollout = a_rollout("ab", PAUSE)
    assert rollout.wake_at == DEADLINE
    assert rollout.at(DEADLINE - 0.1) == []
    (command,) = rollout.at(DEADLINE)
    assert isinstance(command, RollBackGroup)
    assert command.failure is not None
    assert "start deadline" in command.failure.reason
    assert rollout.is_in(S.PAUSED)


def test_deadline_that_takes_the_action_ends_what_was_prepared() -> None:
    """All in one step."""
    rollout = a_rollout("abc", ROLLBACK)
    first, *others = rollout.at(DEADLINE)
    assert isinstance(first, RollBackGroup)
    assert others == [CancelGroup("b"), CancelGroup("c")]
    assert rollout.is_in(S.ROLLBACK_STARTED)
    assert rollout.outcomes == {"b": "skipped", "c": "skipped"}


def test_good_group_that_cannot_remove_its_predecessors_is_good() -> None:
    """The rollout does not wait for ever."""
    rollout = a_rollout("a")
    rollout.up("a")
    assert rollout.at(MONITOR + SETTLE_SECONDS) == [CancelGroup("a")]
    assert rollout.is_in(S.COMPLETED)
    assert rollout.outcomes == {"a": "updated"}


def test_abandoned_rollout_brings_what_has_begun_to_its_end() -> None:
    """A failure there is rolled back, and takes no action any more."""
    rollout = a_rollout("abcd", ROLLBACK, parallelism=2)
    rollout.good("a")
    assert rollout.send(Superseded("a newer image is published")) == [CancelGroup("d")]
    assert rollout.is_in(S.ABANDONING)
    assert rollout.fail("b") == [RollBackGroup("b", BROKEN)]
    assert rollout.send(GroupRolledBack("b", 0)) == []
    rollout.good("c")
    assert (rollout.state, rollout.progress.reason) == (S.ABANDONED, "a newer image is published")
    assert rollout.outcomes == {"a": "updated", "b": "rolled_back", "c": "updated", "d": "skipped"}
    assert not [item for item in rollout.announced if isinstance(item, LimitExceeded)]


def test_every_change_of_state_is_announced() -> None:
    """With its reason, once."""
    rollout = a_rollout("ab", PAUSE)
    rollout.fail("a")
    rollout.send(GroupRolledBack("a", 0), ResumeAsked())
    rollout.good("b")
    assert [item for item in rollout.announced if isinstance(item, StateChanged)] == [
        StateChanged(S.PAUSED, "1 of 2 failed"),
        StateChanged(S.UPDATING, "resumed"),
        StateChanged(S.COMPLETED, ""),
    ]


ALL_EVENTS: tuple[RolloutEvent, ...] = (
    PauseAsked("x"), ResumeAsked(), AbortAsked("x"), Superseded("x"), GroupPrepared("a"), GroupDown("a"),
    GroupUp("a", 0), GroupSettled("a", DONE), GroupFailed("a", 0, BROKEN), GroupSkipped("a", NOT_NEEDED),
    GroupUnfinished("a", GONE), GroupRolledBack("a", 0), GroupNotRolledBack("a", GONE),
    GroupFound("a", 0, Found.UPDATED, DONE),
)  # fmt: skip


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", [state for state in FINAL if state is not S.ROLLBACK_COMPLETED])
def test_nothing_happens_to_a_rollout_that_is_over(event: RolloutEvent, state: RolloutState) -> None:
    """Whatever somebody wants of it, or tells."""
    rollout = a_rollout("a")
    rollout.good("a")
    if state is S.ABANDONED:
        rollout = a_rollout("a")
        rollout.send(AbortAsked("enough"))
        rollout.good("a")
    assert rollout.state is state
    before = rollout.progress.as_json()
    with pytest.raises(IllegalTransitionError):
        rollout.send(event)
    assert before == rollout.progress.as_json()


@pytest.mark.parametrize("key", ["b", "nobody"])
def test_event_that_does_not_fit_changes_nothing(key: str) -> None:
    """It is told with the group and where that stands."""
    rollout = a_rollout("ab")
    with pytest.raises(IllegalTransitionError, match=key):
        rollout.send(GroupUp(key, 0))
    assert rollout.progress.phase_of("b") is Phase.PREPARED


# ---- after a restart of the updater ----------------------------------------------------------------------------------


def test_groups_in_flight_are_looked_at_after_a_restart() -> None:
    """What was prepared waits again, and nothing starts until all are known."""
    rollout = a_rollout("abcd", parallelism=2)
    rollout.up("a")
    assert rollout.restart() == [LookAtGroup("a"), LookAtGroup("b"), LookAtGroup("c")]
    assert rollout.send(GroupFound("a", 0, Found.UPDATED, DONE)) == []
    assert rollout.send(GroupFound("b", 0, Found.AS_BEFORE, DONE)) == []
    assert rollout.send(GroupFound("c", 0, Found.UPDATED, DONE)) == [StartGroup("b"), StartGroup("d")]


def test_group_that_recovery_put_back_has_failed() -> None:
    """Its new containers were watched, and were not good."""
    rollout = a_rollout("ab", PAUSE)
    rollout.restart()
    rollout.send(GroupFound("a", 0, Found.ROLLED_BACK, BROKEN))
    assert (rollout.state, rollout.outcomes) == (S.PAUSED, {"a": "rolled_back"})


def test_rollback_goes_on_after_a_restart() -> None:
    """With the reason that it had."""
    rollout = a_rollout("ab")
    rollout.fail("a")
    rollout.restart()
    assert rollout.send(GroupFound("a", 0, Found.UPDATED, DONE)) == [RollBackGroup("a", BROKEN)]


def test_undoing_goes_on_after_a_restart() -> None:
    """What is undone is not undone again."""
    rollout = a_rollout("abc", ROLLBACK, parallelism=0)
    rollout.good("a", "b")
    rollout.fail("c")
    assert rollout.send(GroupRolledBack("c", 0)) == [RollBackGroup("b", None), RollBackGroup("a", None)]
    assert rollout.restart() == [LookAtGroup("a"), LookAtGroup("b")]
    rollout.send(GroupFound("b", 0, Found.AS_BEFORE, DONE))
    assert rollout.send(GroupFound("a", 0, Found.UPDATED, DONE)) == [RollBackGroup("a", None)]


def test_pause_outlives_a_restart() -> None:
    """Nothing begins by itself."""
    rollout = a_rollout("ab", PAUSE)
    rollout.fail("a")
    rollout.send(GroupRolledBack("a", 0))
    assert rollout.restart() == []
    assert rollout.is_in(S.PAUSED)
    assert rollout.send(ResumeAsked()) == [StartGroup("b")]


def test_clock_that_was_set_back_does_not_stretch_the_delay() -> None:
    """Nobody waits for an hour because the machine's clock was wrong."""
    rollout = a_rollout("ab", delay=10)
    rollout.at(3600.0, GroupUp("a", 3600.0), GroupSettled("a", DONE))
    rollout.now = 100.0
    rollout.restart()
    assert rollout.wake_at == 110.0
    assert rollout.at(110.0) == [StartGroup("b")]
