"""Whatever happens at whichever engine call: containers that are replaced together are never lost, and stay together.

The faults are those of a single replacement, at each request of a family's: a head whose image is out of date, and
those that share its namespaces or link to it. Afterwards all of them are there, each runs if it ran, and belongs to
whoever has its target's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import get_args

import pytest

from tests.support.engine_sim import Behaviour, Fault, SimulatedEngine
from tests.support.engine_sim.faults import FaultKind
from tests.support.family import KINDS, Family, Kind, a_family, assert_family_in_order
from tests.support.replacing_families import recover_engine, recover_until_in_order, replace_family
from watchtower_async.rollout.outcome import OutcomeKind

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(1200)]

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
KILLS: tuple[FaultKind, ...] = ("kill_before", "kill_during", "kill_after")
MOST_REQUESTS = 400
STRIDE = 3
"""Of what takes long, every third request is taken."""
BROKEN = Behaviour(exits_after=1.0, exit_code=3, log="cannot start\n")
UNSTARTABLE = Behaviour(start_error="no such file")
FAILS_WHEN_STOPPED = Behaviour(stop_exit_code=143)


@dataclass(frozen=True, slots=True)
class Case:
    """A family, and how its new images behave."""

    running: tuple[Kind, ...] = ("network", "link")
    stopped: tuple[Kind, ...] = ("pid",)
    chained: bool = False
    head_runs: bool = True
    policy: str = "always"
    stale: tuple[str, ...] = ()
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    api_version: str = "1.51"

    @property
    def is_bad(self) -> bool:
        """Say whether it has to go back."""
        return bool(self.behaviours)

    @property
    def updated(self) -> list[str] | None:
        """Return who runs on a published image afterwards; None where it depends on when the fault comes."""
        return [] if self.is_bad else None

    async def make(self) -> Family:
        """Make it on an engine of its own."""
        return await a_family(
            SimulatedEngine(api_version=self.api_version),
            running=self.running,
            stopped=self.stopped,
            chained=self.chained,
            head_runs=self.head_runs,
            policy=self.policy,
            stale=self.stale,
            behaviours=self.behaviours,
        )


SMALL = {
    "good": Case(),
    "the head exits": Case(behaviours={"web": BROKEN}),
    "a dependent exits": Case(stale=("web-network",), behaviours={"web-network": BROKEN}),
}
LARGE = {
    "good, all kinds": Case(running=KINDS, stopped=KINDS, chained=True),
    "good, all kinds, no policy": Case(running=KINDS, stopped=KINDS, chained=True, policy="no"),
    "good, unless-stopped": Case(running=KINDS, stopped=(), chained=True, policy="unless-stopped"),
    "good, on-failure": Case(running=("network", "pid"), policy="on-failure"),
    "good, on an old engine": Case(running=KINDS, stopped=KINDS, chained=True, api_version="1.41"),
    "good, several": Case(running=KINDS, stopped=(), chained=True, stale=("web-network", "web-link")),
    "good, nothing runs": Case(running=(), stopped=KINDS, head_runs=False),
    "the head exits, all kinds": Case(running=KINDS, stopped=KINDS, chained=True, behaviours={"web": BROKEN}),
    "the head exits, on an old engine": Case(running=KINDS, behaviours={"web": BROKEN}, api_version="1.41"),
    "the head does not start": Case(running=KINDS, chained=True, behaviours={"web": UNSTARTABLE}),
    "the head exits, no policy": Case(running=KINDS, chained=True, policy="no", behaviours={"web": BROKEN}),
    "the head exits, unless-stopped": Case(running=KINDS, policy="unless-stopped", behaviours={"web": BROKEN}),
    "a dependent that is not out of date exits": Case(running=KINDS, chained=True, behaviours={"web-link": BROKEN}),
    "a dependent does not start": Case(chained=True, stale=("web-network",), behaviours={"web-network": UNSTARTABLE}),
    "the last one exits": Case(chained=True, stale=("web-chained",), behaviours={"web-chained": BROKEN}),
}
CASES = SMALL | LARGE
SHORT = (
    ("good", "kill_after"),
    ("good", "kill_during"),
    ("good", "fail"),
    ("good", "lost"),
    ("the head exits", "kill_after"),
    ("the head exits", "fail"),
    ("a dependent exits", "kill_before"),
    ("a dependent exits", "lost"),
)
"""Those that run by default; the others take long."""


@dataclass(slots=True)
class Score:
    """How many runs there were, and what went wrong in which."""

    survived: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, family: Family, what: str, updated: list[str] | None) -> None:
        """Judge the family at the end of a run."""
        try:
            assert_family_in_order(family.engine, family, updated=updated)
        except (AssertionError, KeyError) as error:
            found = {name: (item.status, item.policy) for name, item in family.engine.containers.items()}
            self.failures.append(f"{what}: {str(error).splitlines()[0] if str(error) else 'not in order'} {found}")
        else:
            self.survived += 1

    def report(self) -> None:
        """Print the score and fail where it is not perfect."""
        total = self.survived + len(self.failures)
        print(f"survived {self.survived} of {total}")
        assert not self.failures, "\n".join([f"survived {self.survived} of {total}", *self.failures])
        assert total > 0


def numbers() -> Iterator[int]:
    """Yield request numbers; the caller stops when its fault was not reached."""
    yield from range(1, MOST_REQUESTS)


@pytest.mark.parametrize("name", CASES)
async def test_family_is_replaced_together(name: str) -> None:
    """With good images all are new and those out of date are updated; with a bad one all are as they were."""
    case = CASES[name]
    family = await case.make()
    outcome, _ = await replace_family(family)
    assert outcome is not None
    assert outcome.kind is (OutcomeKind.ROLLED_BACK if case.is_bad else OutcomeKind.UPDATED), outcome
    updated = [] if case.is_bad else ["web", *case.stale]
    assert_family_in_order(family.engine, family, updated=updated, replaced=not case.is_bad)


async def _a_fault_everywhere(
    name: str, kind: FaultKind, *, changes_only: bool = True, first: int = 1, step: int = 1
) -> Score:
    case, score = CASES[name], Score()
    for number in range(first, MOST_REQUESTS, step):
        family = await case.make()
        _, reached = await replace_family(family, Fault(at=number, kind=kind, changes_only=changes_only))
        if not reached:
            break
        await recover_until_in_order(family.engine)
        score.count(family, f"{name}, {kind} at {number}", case.updated)
    return score


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if (name, kind) in SHORT else pytest.mark.full)
        for name in SMALL
        for kind in FAULTS
    ],
)
async def test_small_family_survives_a_fault_at_every_request(name: str, kind: FaultKind) -> None:
    """The fault may hit the undo as well."""
    (await _a_fault_everywhere(name, kind)).report()


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("kind", FAULTS)
async def test_family_survives_a_fault_at_every_request(kind: FaultKind, name: str) -> None:
    """The same for all kinds of dependents, policies and engines; each request is hit by two of the faults."""
    first = 1 + FAULTS.index(kind) % STRIDE
    (await _a_fault_everywhere(name, kind, first=first, step=STRIDE)).report()


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", FAULTS)
async def test_fault_at_a_reading_request_is_survived_alike(kind: FaultKind, name: str) -> None:
    """Requests that change nothing can fail, too."""
    first = 1 + FAULTS.index(kind) % STRIDE
    (await _a_fault_everywhere(name, kind, changes_only=False, first=first, step=STRIDE)).report()


async def _killed_twice(name: str, first: FaultKind, second: FaultKind, *, step: int = 1) -> Score:
    case, score = CASES[name], Score()
    for number in range(1, MOST_REQUESTS, step):
        for again in range(1 + number // step % step, MOST_REQUESTS, step):
            family = await case.make()
            _, reached = await replace_family(family, Fault(at=number, kind=first))
            if not reached:
                return score
            if not await recover_engine(family.engine, Fault(at=again, kind=second)):
                break
            await recover_until_in_order(family.engine)
            score.count(family, f"{name}, {first} at {number}, {second} at {again}", case.updated)
    return score


@pytest.mark.parametrize("name", ["good", "the head exits"])
async def test_recovery_survives_a_kill(name: str) -> None:
    """A sample of the pairs: killed in the replacement, then in the recovery."""
    (await _killed_twice(name, "kill_after", "kill_during", step=7)).report()


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("first", KILLS)
@pytest.mark.parametrize("second", KILLS)
async def test_recovery_survives_every_kind_of_kill(second: FaultKind, first: FaultKind, name: str) -> None:
    """Killed in the replacement, then in the recovery: a ninth of all pairs of requests, evenly spread."""
    (await _killed_twice(name, first, second, step=STRIDE)).report()


async def _restarted(name: str, *, kill: bool, with_us: bool) -> Score:
    # An engine starts what it stopped itself, and under `always` also what somebody else stopped.
    case = replace(CASES[name], stopped=()) if kill else replace(CASES[name], policy="unless-stopped")
    score = Score()
    for number in numbers():
        family = await case.make()
        _, reached = await replace_family(family, Fault(at=number, kind="kill_after"))
        if not reached:
            break
        last = family.engine.changes()[-1]
        await family.engine.restart(kill=kill)
        if with_us:
            await recover_engine(family.engine, Fault(at=number % 7 + 1, kind="kill_after"))
            await family.engine.restart(kill=kill)
        await recover_until_in_order(family.engine)
        score.count(family, f"{name}, restart after {number} ({last})", case.updated)
    return score


@pytest.mark.parametrize("name", ["good", "the head exits"])
async def test_small_family_survives_an_engine_restart(name: str) -> None:
    """The updater dies, the engine restarts, and the next updater puts it right."""
    (await _restarted(name, kill=True, with_us=False)).report()


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kill", [True, False])
@pytest.mark.parametrize("with_us", [True, False])
async def test_engine_restarts_are_survived(with_us: bool, kill: bool, name: str) -> None:
    """Also where the next updater dies in its recovery, and the engine restarts once more."""
    (await _restarted(name, kill=kill, with_us=with_us)).report()
