"""Whatever happens at whichever engine request of a whole rollout: afterwards everything is in order.

The rollout has two groups: `db`, for which `web` is restarted, and `head`, with which `side` is created anew as it
lives in its network. After the fault the updater is started again, and runs sessions as it would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault
from tests.support.engine_sim.faults import FaultKind
from tests.support.replacing import GOOD, leftovers
from tests.support.rolling import MortalStore
from tests.support.town import Town, a_town
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.settings import FailureAction

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(3600)]

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
MOST_REQUESTS = 1000
SESSIONS = 4
SESSIONS_APART = 300.0
HOST_FAULT = "context deadline exceeded"
"""Nobody takes this for a fault of the image."""
DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"
NAMES = ("db", "web", "head", "side")

EXITS = Behaviour(exits_after=2.0, exit_code=3, log="cannot start\n")
UNHEALTHY = Behaviour(unhealthy_after=10.0)
ROLLBACK = UpdatePolicy(failure_action=FailureAction.ROLLBACK)
PAUSE = UpdatePolicy(failure_action=FailureAction.PAUSE)


@dataclass(frozen=True, slots=True)
class Case:
    """How the new images behave, and the policy."""

    db: Behaviour = GOOD
    head: Behaviour = GOOD
    policy: UpdatePolicy = field(default_factory=UpdatePolicy)

    @property
    def bad(self) -> list[str]:
        """Return who cannot be updated."""
        return [name for name, behaviour in (("db", self.db), ("head", self.head)) if behaviour is not GOOD]

    async def make(self, town: Town) -> None:
        """Make the containers."""
        town.state = MortalStore(town.engine)
        always = {"RestartPolicy": {"Name": "always"}}
        await town.outdated("db", "team/db", self.db, HostConfig=always)
        town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"}, HostConfig=always)
        await town.outdated("head", "team/head", self.head, HostConfig=always)
        network = {"NetworkMode": f"container:{town.engine.containers['head'].id}"}
        town.publish("team/side", 1)
        await town.engine.run("side", town.image("team/side"), HostConfig=always | network)


CASES = {
    "good": Case(),
    "all at once": Case(policy=UpdatePolicy(parallelism=0)),
    "the first fails": Case(db=EXITS),
    "the second fails": Case(head=EXITS),
    "the settled one goes back": Case(head=UNHEALTHY, policy=ROLLBACK),
    "paused": Case(db=UNHEALTHY, policy=PAUSE),
}
SHORT = {
    ("good", "kill_after"): 3,
    ("good", "fail"): 7,
    ("good", "lost"): 7,
    ("the first fails", "kill_before"): 7,
    ("the settled one goes back", "kill_after"): 5,
    ("the settled one goes back", "lost"): 11,
}
"""Those that run by default, and of how many requests one is taken. All take long."""


@dataclass(slots=True)
class Score:
    """How many runs there were, and what went wrong in which."""

    survived: int = 0
    resumed: int = 0
    """How often a person had to resume a paused rollout."""
    failures: list[str] = field(default_factory=list)

    def report(self) -> None:
        """Print the score and fail where it is not perfect."""
        total = self.survived + len(self.failures)
        print(f"survived {self.survived} of {total}; {self.resumed} were resumed by hand")
        assert not self.failures, "\n".join([f"survived {self.survived} of {total}", *self.failures])
        assert total > 0


async def _hit(town: Town, case: Case, fault: Fault) -> bool:
    """Run a session with a fault; say whether it was reached."""
    async with town.session(policy=case.policy) as session:
        town.engine.fault = fault
        await session.run()
    reached = town.engine.fault_fired
    town.engine.revive()
    return reached


async def _go_on(town: Town, case: Case, score: Score) -> None:
    """Run sessions as the next process does; somebody resumes what has paused."""
    for number in range(SESSIONS):
        async with town.assembly(policy=case.policy) as assembly:
            await assembly.session.run()
            for view in assembly.rollouts.views:
                if number > 0 and view.may_resume:
                    score.resumed += not case.bad
                    assembly.rollouts.resume(view.id)
                    await assembly.rollouts.finish_wanted()
        await anyio.sleep(SESSIONS_APART)


def _judge(town: Town, case: Case) -> None:
    engine = town.engine
    assert sorted(NAMES) == sorted(engine.containers), "names"
    assert leftovers(engine) == []
    assert engine.running_names() == sorted(NAMES)
    assert {container.policy for container in engine.containers.values()} == {"always"}, "restart policies"
    assert engine.containers["side"].host["NetworkMode"] == f"container:{engine.containers['head'].id}"
    assert not engine.is_cut_off("side"), "cut off"
    for name in ("db", "head"):
        expected = "1" if name in case.bad else "2"
        assert (name, town.version(name)) == (name, expected)
        assert engine.image_behind(town.image(f"team/{name}")) == engine.containers[name].image_id, f"tag of {name}"
    assert [entry.container for entry in town.state.quarantined] == case.bad
    web, db = engine.containers["web"].started, engine.containers["db"].started
    assert web is not None
    assert db is not None
    assert web >= db, "web was not restarted after db"
    assert town.state.load_rollouts() == ()


async def _run(name: str, fault: Fault, score: Score) -> bool:
    case = CASES[name]
    async with a_town() as town:
        await case.make(town)
        if not await _hit(town, case, fault):
            return False
        last = town.engine.trace[-1].text
        await _go_on(town, case, score)
        try:
            _judge(town, case)
        except (AssertionError, KeyError) as error:
            found = {key: (item.status, item.policy) for key, item in town.engine.containers.items()}
            score.failures.append(f"{name}, {fault.kind} at {fault.at} ({last}): {str(error).splitlines()[:3]} {found}")
        else:
            score.survived += 1
    return True


async def _a_fault_everywhere(name: str, kind: FaultKind, *, step: int = 1, changes_only: bool = True) -> Score:
    score = Score()
    for number in range(1, MOST_REQUESTS, step):
        fault = Fault(at=number, kind=kind, changes_only=changes_only, text=HOST_FAULT)
        if not await _run(name, fault, score):
            break
    return score


@pytest.mark.parametrize("name", CASES)
async def test_rollout_without_a_fault_is_in_order(name: str) -> None:
    """So what is judged afterwards is what must be."""
    score, case = Score(), CASES[name]
    async with a_town() as town:
        await case.make(town)
        await _go_on(town, case, score)
        _judge(town, case)
    assert score.resumed == 0


@pytest.mark.parametrize(("name", "kind"), SHORT)
async def test_rollout_survives_faults(name: str, kind: FaultKind) -> None:
    """A sample of the requests."""
    (await _a_fault_everywhere(name, kind, step=SHORT[name, kind])).report()


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", FAULTS)
async def test_rollout_survives_a_fault_at_every_request(kind: FaultKind, name: str) -> None:
    """Each request that changes something."""
    (await _a_fault_everywhere(name, kind)).report()


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", FAULTS)
async def test_rollout_survives_a_fault_at_a_reading_request(kind: FaultKind, name: str) -> None:
    """A fifth of all requests, those that only read included."""
    (await _a_fault_everywhere(name, kind, step=5, changes_only=False)).report()
