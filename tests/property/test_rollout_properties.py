"""Rollouts with thousands of random outcomes. What is expected is counted here from the outside, by commands alone.

At each step: never more groups taken down than there are slots, those that failed in their monitor window apart;
nothing starts while a group is rolled back, or in a pause; a group starts after those that it follows; the failure
action is taken once, when it is due; and going on from what was stored changes nothing. At the end every container has
exactly one outcome.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.support.rollouts import BROKEN, DEADLINE, DONE, GONE, NOT_NEEDED, a_group
from watchtower_async.rollout.advance import SETTLE_SECONDS, advance, reopen
from watchtower_async.rollout.course import (
    FINAL,
    LEGAL_STATES,
    Course,
    IllegalTransitionError,
    PlannedGroup,
    RolloutState,
    begin,
    ends,
    read_course,
    read_progress,
)
from watchtower_async.rollout.course_events import (
    AbortAsked,
    CancelGroup,
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
from watchtower_async.rollout.policy import FailureAction, UpdatePolicy

S = RolloutState
PAUSED = (S.PAUSED, S.ROLLBACK_PAUSED)
KEYS = "abcdefgh"


@st.composite
def courses(
    draw: st.DrawFn,
    *,
    fewest: int = 1,
    actions: tuple[FailureAction, ...] = tuple(FailureAction),
    most_ratio: float = 1,
) -> Course:
    """Draw a rollout of a few groups that follow each other in some way."""
    keys = KEYS[: draw(st.integers(fewest, len(KEYS)))]
    monitor = draw(st.sampled_from([0.0, 5.0]))
    policy = UpdatePolicy(
        parallelism=draw(st.sampled_from([1, 1, 2, 3, 0])),
        delay=timedelta(seconds=draw(st.sampled_from([0, 3]))),
        max_failure_ratio=min(most_ratio, draw(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0]))),
        failure_action=draw(st.sampled_from(actions)),
    )
    groups = [
        a_group(key, draw(st.sets(st.sampled_from(keys[:place]), max_size=2)) if place else ())
        for place, key in enumerate(keys)
    ]
    return Course(id="r", policy=policy, groups=tuple(PlannedGroup(group, monitor, DEADLINE) for group in groups))


@dataclass
class World:
    """What can be seen from the outside, by commands given and events told."""

    course: Course
    jobs: dict[str, str] = field(default_factory=dict)
    """What somebody is at work on, by group: prepare, run, roll back or look."""
    stage: dict[str, str] = field(default_factory=dict)
    """starting, monitored, updated, rolling back, undoing; nothing for a group that is as before."""
    taken: set[str] = field(default_factory=set)
    """Groups that the rollout has taken down."""
    down: set[str] = field(default_factory=set)
    began: dict[str, float] = field(default_factory=dict)
    up_at: dict[str, float] = field(default_factory=dict)
    rests: list[float] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    failures: int = 0
    fired: int = 0
    is_due: bool = False
    starts: list[str] = field(default_factory=list)

    @property
    def slots(self) -> int:
        return self.course.policy.parallelism or len(self.course.groups)


class RolloutMachine(RuleBasedStateMachine):
    """A rollout, and an outside world in which anything may happen."""

    @initialize(course=courses(), rounds=st.just(0))
    def begin(self, course: Course, rounds: int) -> None:
        self.course = read_course(json.loads(json.dumps(course.as_json())))
        assert self.course == course
        self.world = World(course)
        self.now = 1000.0
        self.progress = begin(course)
        self.send(TimePassed())
        for _ in range(rounds):
            self.go_well(1.0)

    # ---- taking steps ------------------------------------------------------------------------------------------

    def send(self, event: RolloutEvent) -> None:
        before = self.progress.state
        self.take(advance(self.course, self.progress, event, now=self.now), before)

    def take(self, step: Step, before: RolloutState) -> None:
        # What has rested does not rest again when the clock is set back.
        self.world.rests = [at for at in self.world.rests if at > self.now]
        stored = json.dumps(step.progress.as_json())
        self.progress = read_progress(json.loads(stored), self.course)
        assert self.progress == step.progress
        state = before
        for command in step.commands:
            match command:
                case StateChanged():
                    assert command.state in LEGAL_STATES[state]
                    state = command.state
                case PrepareGroup(key):
                    assert state is S.UPDATING
                    assert key not in self.world.jobs
                    self.world.jobs[key] = "prepare"
                case StartGroup(key):
                    self.check_start(key, state)
                case RollBackGroup(key, failure):
                    self.check_roll_back(key, failure, state)
                case LookAtGroup(key):
                    self.world.jobs[key] = "look"
                case CancelGroup(key):
                    self.world.jobs.pop(key, None)
                    if self.world.stage.get(key) == "monitored":
                        self.world.stage[key] = "updated"
                case LimitExceeded():
                    self.world.fired += 1
                    assert self.world.is_due
                case GroupMoved():
                    pass
        assert state is self.progress.state
        assert self.world.fired == self.world.is_due, "the failure action is taken once, at the moment it is due"
        assert len(self.world.taken) <= self.world.slots
        assert self.progress.failures == self.world.failures
        assert self.progress.is_over or self.world.jobs or self.progress.state in PAUSED or self.is_waiting_for_time()

        self.check_no_slot_is_idle()

    def check_no_slot_is_idle(self) -> None:
        """What could start has started."""
        world, jobs = self.world, set(self.world.jobs.values())
        resting = len(world.rests)
        if self.progress.state is not S.UPDATING or jobs & {"roll back", "look"}:
            return
        for planned in self.course.groups:
            runs = all(self.progress.phase_of(key) in ("monitored", "updated", "ended") for key in planned.group.after)
            if runs and self.progress.phase_of(planned.key) == "prepared":
                assert len(world.taken) + resting >= world.slots
            if runs and self.progress.phase_of(planned.key) == "waiting":
                assert len(world.taken) + resting >= world.slots or "prepare" in jobs

    def is_waiting_for_time(self) -> bool:
        return bool(self.world.rests)

    def check_start(self, key: str, state: RolloutState) -> None:
        world = self.world
        assert state is S.UPDATING
        assert self.progress.state is S.UPDATING, "nothing starts in a step that ends in a pause"
        assert not {"roll back", "look"} & set(world.jobs.values())
        for other in self.course.planned(key).group.after:
            assert self.progress.phase_of(other) in ("monitored", "updated", "ended")
            assert other not in world.lost
        assert len(world.taken) + len(world.rests) < world.slots
        world.taken.add(key)
        world.starts.append(key)
        world.jobs[key], world.stage[key], world.began[key] = "run", "starting", self.now

    def check_roll_back(self, key: str, failure: Outcome | None, state: RolloutState) -> None:
        world = self.world
        world.jobs[key] = "roll back"
        if failure is not None:
            world.stage[key] = "rolling back"
            return
        assert state is S.ROLLBACK_STARTED
        assert self.progress.state is S.ROLLBACK_STARTED
        assert list(world.jobs.values()).count("run") == sum(
            world.stage[other] == "monitored" for other, job in world.jobs.items() if job == "run"
        ), "what is starting comes to its end first"
        for other in self.course.followers[key]:
            assert other not in world.stage, "those that follow are back before"
        world.stage[key] = "undoing"
        world.taken.add(key)

    def count(self) -> None:
        """One failure more; it is due when the ratio is exceeded while the rollout can still act."""
        world = self.world
        world.failures += 1
        exceeded = world.failures / len(self.course.groups) > self.course.policy.max_failure_ratio
        world.is_due = world.is_due or (exceeded and self.progress.state in (S.UPDATING, S.PAUSED))

    def free(self, key: str, at: float | None) -> None:
        """The group is not down any more; its slot rests."""
        delay = self.course.policy.delay.total_seconds()
        if key in self.world.taken and delay and at is not None:
            self.world.rests.append(at + delay)
        self.world.taken.discard(key)

    def back(self, key: str) -> None:
        """The group is as before the rollout."""
        self.world.jobs.pop(key, None)
        self.world.stage.pop(key, None)
        self.world.up_at.pop(key, None)
        self.world.down.discard(key)

    # ---- what may happen ---------------------------------------------------------------------------------------

    def pick(self, data: st.DataObject, job: str, *stages: str) -> str:
        world = self.world
        keys = [key for key, at in world.jobs.items() if at == job and (not stages or world.stage[key] in stages)]
        return data.draw(st.sampled_from(sorted(keys)))

    def has(self, job: str, *stages: str) -> bool:
        found = getattr(self, "world", None)
        return found is not None and any(
            at == job and (not stages or found.stage[key] in stages) for key, at in found.jobs.items()
        )

    @precondition(lambda self: self.has("prepare"))
    @rule(data=st.data(), how=st.sampled_from(["good"] * 6 + ["failed", "skipped"]))
    def prepared(self, data: st.DataObject, how: str) -> None:
        key = self.pick(data, "prepare")
        del self.world.jobs[key]
        if how == "good":
            self.send(GroupPrepared(key))
        elif how == "skipped":
            self.send(GroupSkipped(key, NOT_NEEDED))
        else:
            self.count()
            self.send(GroupFailed(key, self.now, BROKEN, is_touched=False))

    @precondition(lambda self: self.has("run", "starting"))
    @rule(
        data=st.data(),
        how=st.sampled_from(["down", "up", "up", "up", "failed", "failed", "untouched", "skipped", "unfinished"]),
    )
    def starting(self, data: st.DataObject, how: str) -> None:
        key = self.pick(data, "run", "starting")
        is_down = key in self.world.down
        if how == "down" and not is_down:
            self.world.down.add(key)
            self.send(GroupDown(key))
        elif how == "up":
            self.free(key, self.now)
            self.world.stage[key], self.world.up_at[key] = "monitored", self.now
            self.send(GroupUp(key, self.now))
        elif how == "failed" or (how == "untouched" and is_down):
            self.count()
            self.send(GroupFailed(key, self.now, BROKEN, is_touched=how == "failed"))
        elif how == "untouched":
            self.count()
            self.free(key, self.now)
            self.back(key)
            self.send(GroupFailed(key, self.now, BROKEN, is_touched=False))
        elif how == "skipped" and not is_down:
            self.free(key, self.now)
            self.back(key)
            self.send(GroupSkipped(key, NOT_NEEDED))
        elif how == "unfinished":
            self.count()
            self.lose(key)
            self.send(GroupUnfinished(key, Outcome(OutcomeKind.UNFINISHED, "no engine")))

    @precondition(lambda self: self.has("run", "monitored"))
    @rule(data=st.data(), is_good=st.sampled_from([True, True, False]))
    def monitored(self, data: st.DataObject, is_good: bool) -> None:
        key = self.pick(data, "run", "monitored")
        if is_good:
            del self.world.jobs[key]
            self.world.stage[key] = "updated"
            self.send(GroupSettled(key, DONE))
            return
        at = self.world.up_at[key] + data.draw(st.floats(0, self.now - self.world.up_at[key]))
        if at <= self.world.up_at[key] + self.course.planned(key).monitor:
            self.count()
        self.send(GroupFailed(key, at, BROKEN))

    @precondition(lambda self: self.has("roll back"))
    @rule(data=st.data(), how=st.sampled_from(["good", "good", "lost"]))
    def rolled_back(self, data: st.DataObject, how: str) -> None:
        key = self.pick(data, "roll back")
        if how == "good":
            self.free(key, self.now if self.world.stage[key] == "rolling back" else None)
            self.back(key)
            self.send(GroupRolledBack(key, self.now))
        else:
            self.lose(key)
            self.send(GroupNotRolledBack(key, GONE))
            assert self.progress.state not in (S.UPDATING, S.ROLLBACK_STARTED), "it must be looked at by a person"

    def lose(self, key: str) -> None:
        self.world.lost.add(key)
        self.world.taken.discard(key)
        self.back(key)

    @precondition(lambda self: self.has("look"))
    @rule(data=st.data(), found=st.sampled_from(Found))
    def looked(self, data: st.DataObject, found: Found) -> None:
        key = self.pick(data, "look")
        stage = self.world.stage[key]
        del self.world.jobs[key]
        outcome = DONE if found is Found.UPDATED else Outcome(OutcomeKind.UNFINISHED, "look at it")
        if found is Found.UNCLEAR:
            if stage in ("starting", "monitored"):
                self.count()
            self.lose(key)
        elif found is Found.UPDATED and stage != "rolling back":
            self.world.taken.discard(key)
            self.world.stage[key] = "updated"
            self.world.up_at.setdefault(key, self.now)
        elif found is not Found.UPDATED:
            if stage == "monitored" or (stage == "starting" and found is Found.ROLLED_BACK):
                self.count()
            self.world.taken.discard(key)
            self.back(key)
        self.send(GroupFound(key, self.now, found, outcome))

    @rule(seconds=st.sampled_from([1.0, 1.0, 3.0, 5.0, 70.0, 310.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        world = self.world
        for key, job in sorted(world.jobs.items()):
            if job == "run" and world.stage[key] == "starting" and world.began[key] + DEADLINE <= self.now:
                self.count()
        late = [
            key
            for key, job in world.jobs.items()
            if job == "run"
            and world.stage[key] == "monitored"
            and world.up_at[key] + self.course.planned(key).monitor + SETTLE_SECONDS <= self.now
        ]
        self.send(TimePassed())
        assert not set(late) & world.jobs.keys() or self.progress.state is S.ROLLBACK_STARTED

    @precondition(lambda self: self.progress.state in (S.UPDATING, S.ROLLBACK_STARTED))
    @rule()
    def pause(self) -> None:
        self.send(PauseAsked("somebody wants it"))
        assert self.progress.state in PAUSED

    @precondition(lambda self: self.progress.state in PAUSED)
    @rule()
    def resume(self) -> None:
        self.send(ResumeAsked())
        assert self.progress.state not in PAUSED

    @precondition(lambda self: self.progress.state not in {*FINAL, S.ABANDONING})
    @rule(event=st.sampled_from([AbortAsked("enough"), Superseded("a newer image")]), chance=st.integers(0, 9))
    def abandon(self, event: AbortAsked | Superseded, chance: int) -> None:
        if chance == 0:
            self.send(event)
            assert self.progress.state in (S.ABANDONING, S.ABANDONED)

    @rule(seconds=st.sampled_from([0.0, 10.0, -10.0]), chance=st.integers(0, 4))
    def restart(self, seconds: float, chance: int) -> None:
        """The updater is killed and started again, on a clock that may have been set."""
        if chance:
            return
        self.now += seconds
        self.world.jobs.clear()
        self.world.rests = [min(at, self.now + self.course.policy.delay.total_seconds()) for at in self.world.rests]
        self.take(reopen(self.course, self.progress, now=self.now), self.progress.state)

    @rule(key=st.sampled_from([*KEYS, "nobody"]), data=st.data())
    def nonsense(self, key: str, data: st.DataObject) -> None:
        """What does not fit raises, and changes nothing."""
        world, before = self.world, json.dumps(self.progress.as_json())
        job, stage = world.jobs.get(key), world.stage.get(key)
        unfit: list[GroupEvent] = []
        if job != "prepare":
            unfit.append(GroupPrepared(key))
        if (job, stage) != ("run", "starting"):
            unfit += [GroupUp(key, self.now), GroupDown(key)]
        if (job, stage) != ("run", "monitored"):
            unfit.append(GroupSettled(key, DONE))
        if job != "roll back":
            unfit += [GroupRolledBack(key, self.now), GroupNotRolledBack(key, GONE)]
        if job != "look":
            unfit.append(GroupFound(key, self.now, Found.UPDATED, DONE))
        with pytest.raises(IllegalTransitionError):
            advance(self.course, self.progress, data.draw(st.sampled_from(unfit)), now=self.now)
        assert json.dumps(self.progress.as_json()) == before

    @precondition(lambda self: self.has("prepare") or self.has("run") or self.has("roll back"))
    @rule(rounds=st.integers(1, 4), seconds=st.sampled_from([0.0, 1.0, 4.0]))
    def all_goes_well_for_a_while(self, rounds: int, seconds: float) -> None:
        """So that much has been done when something goes wrong."""
        for _ in range(rounds):
            self.go_well(seconds)

    # ---- the end -----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """From wherever it stands, the rollout ends when everything goes well from now on."""
        if not hasattr(self, "world"):
            return
        for _ in range(20 * len(KEYS)):
            if self.progress.is_over:
                break
            if self.progress.state in PAUSED:
                self.send(ResumeAsked())
            self.go_well(1.0)
        assert self.progress.is_over
        assert not self.world.jobs
        assert not self.world.taken
        found = ends(self.course, self.progress)
        assert sorted(self.course.index) == sorted(end.name for end in found), "exactly one outcome each"
        updated = {end.name for end in found if end.outcome.kind is OutcomeKind.UPDATED}
        assert updated == {key for key, stage in self.world.stage.items() if stage == "updated"}
        assert self.progress.state is not S.ROLLBACK_COMPLETED or not updated

    def go_well(self, seconds: float) -> None:
        self.now += seconds
        for key, job in sorted(self.world.jobs.items()):
            if self.world.jobs.get(key) != job:
                continue
            if job == "prepare":
                del self.world.jobs[key]
                self.send(GroupPrepared(key))
            elif job == "run" and self.world.stage[key] == "starting":
                self.free(key, self.now)
                self.world.stage[key], self.world.up_at[key] = "monitored", self.now
                self.send(GroupUp(key, self.now))
            elif job == "run":
                del self.world.jobs[key]
                self.world.stage[key] = "updated"
                self.send(GroupSettled(key, DONE))
            elif job == "roll back":
                self.free(key, self.now if self.world.stage[key] == "rolling back" else None)
                self.back(key)
                self.send(GroupRolledBack(key, self.now))
            elif job == "look":
                self.send_found(key)
        self.send(TimePassed())

    def send_found(self, key: str) -> None:
        """Nothing has happened to what was only starting; everything else is where it should be."""
        stage = self.world.stage[key]
        del self.world.jobs[key]
        self.world.taken.discard(key)
        if stage in ("starting", "rolling back", "undoing"):
            self.back(key)
            self.send(GroupFound(key, self.now, Found.AS_BEFORE, Outcome(OutcomeKind.UNFINISHED, "as before")))
        else:
            self.world.stage[key] = "updated"
            self.send(GroupFound(key, self.now, Found.UPDATED, DONE))


class RollbackMachine(RolloutMachine):
    """A rollout that is rolled back at its first failure, when some of it is updated already."""

    @initialize(course=courses(fewest=4, actions=(FailureAction.ROLLBACK,), most_ratio=0), rounds=st.integers(1, 6))
    def begin(self, course: Course, rounds: int) -> None:
        super().begin(course, rounds)


# Without the phase that explains a failure: it traces every line, and takes minutes before it tells the failure.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)


@pytest.mark.parametrize("machine", [RolloutMachine, RollbackMachine])
def test_random_rollouts_keep_their_promises(machine: type[RolloutMachine]) -> None:
    """Whatever happens in whatever order."""
    quick = settings(max_examples=100, stateful_step_count=40, deadline=None, phases=PHASES)
    run_state_machine_as_test(machine, settings=quick)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", [RolloutMachine, RollbackMachine])
def test_many_random_rollouts_keep_their_promises(machine: type[RolloutMachine]) -> None:
    """The same for longer, and with longer rollouts."""
    long = settings(max_examples=3000, stateful_step_count=80, deadline=None, phases=PHASES)
    run_state_machine_as_test(machine, settings=long)
