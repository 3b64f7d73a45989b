"""Whatever happens at whichever engine call: afterwards exactly one container has the name, and runs.

The list of faults is not written down. A replacement runs with a fault at its first request, then at its second, until
the fault is not reached any more; then the next process recovers. Each run is one the container has to survive.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import get_args

import pytest

from tests.support.engine_sim import Behaviour, Fault, SimulatedEngine, connected
from tests.support.engine_sim.faults import FaultKind
from tests.support.replacing import BROKEN, GOOD, World, a_replacer, a_world, assert_in_order, leftovers, recover_all
from watchtower_async.errors import EngineUnavailableError

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(600)]

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
KILLS: tuple[FaultKind, ...] = ("kill_before", "kill_during", "kill_after")
POLICIES = ("no", "always", "unless-stopped", "on-failure")
MOST_REQUESTS = 60
FAILING = {"exits": BROKEN, "does not start": Behaviour(start_error="no such file")}
RECOVERY_ATTEMPTS = 3
# Under `on-failure` an engine brings a container up only if that did not end with 0.
FAILS_WHEN_STOPPED = Behaviour(stop_exit_code=143)


@dataclass(slots=True)
class Score:
    """How many runs there were, and what went wrong in which."""

    survived: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, world: World, what: str, image: str | None = None) -> None:
        """Judge the world at the end of a run."""
        try:
            assert_in_order(world, image=image)
        except AssertionError as error:
            found = {name: (item.status, item.policy) for name, item in world.engine.containers.items()}
            self.failures.append(f"{what}: {str(error).splitlines()[0] if str(error) else 'not in order'} {found}")
        else:
            self.survived += 1

    def report(self) -> None:
        """Print the score and fail where it is not perfect."""
        total = self.survived + len(self.failures)
        print(f"survived {self.survived} of {total}")
        assert not self.failures, "\n".join(self.failures)
        assert total > 0


def numbers() -> Iterator[int]:
    """Yield request numbers; the caller stops when its fault was not reached."""
    yield from range(1, MOST_REQUESTS)


async def replaced(world: World, fault: Fault | None = None) -> bool:
    """Run the replacement with a fault; return whether it was reached."""
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = fault
        with suppress(EngineUnavailableError):
            await replacer.replace(world.target())
    reached = world.engine.fault_fired
    world.engine.revive()
    return reached


async def recovered(world: World, fault: Fault | None = None) -> bool:
    """Run recovery as the next start does, with a fault; return whether it was reached."""
    async with connected(world.engine) as client:
        await client.system_info()
        world.engine.fault = fault
        with suppress(EngineUnavailableError):
            await recover_all(client)
    reached = world.engine.fault_fired
    world.engine.revive()
    return reached


async def until_in_order(world: World) -> None:
    """Recover as session after session does."""
    for _ in range(RECOVERY_ATTEMPTS):
        await recovered(world)
        if not leftovers(world.engine):
            return


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", POLICIES)
async def test_replacement_by_a_good_image_survives_a_fault_at_every_request(policy: str, kind: FaultKind) -> None:
    """The container ends on the old or the new image, and a kill after the cut-over ends on the new one."""
    score = Score()
    for number in numbers():
        world = await a_world(policy=policy)
        if not await replaced(world, Fault(at=number, kind=kind)):
            break
        await until_in_order(world)
        score.count(world, f"{policy} {kind} at {number}")
    score.report()


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("kind", KINDS)
async def test_replacement_by_a_bad_image_survives_a_fault_at_every_request(failing: str, kind: FaultKind) -> None:
    """The container ends on the old image; the fault may hit the undo as well."""
    score = Score()
    for policy in ("always", "no"):
        for number in numbers():
            world = await a_world(policy=policy, behaviour=FAILING[failing])
            if not await replaced(world, Fault(at=number, kind=kind)):
                break
            await until_in_order(world)
            score.count(world, f"{policy} {failing} {kind} at {number}", world.old_image)
    score.report()


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_stop_survives_a_fault_at_every_request(kind: FaultKind) -> None:
    """A stop goes on in the engine when its caller dies, and must not take the container down later."""
    score = Score()
    for number in numbers():
        world = await a_world(old_behaviour=Behaviour(stop_seconds=6.0))
        if not await replaced(world, Fault(at=number, kind=kind)):
            break
        await until_in_order(world)
        score.count(world, f"slow stop {kind} at {number}")
    score.report()


@pytest.mark.parametrize("new", [GOOD, FAILING["does not start"]])
@pytest.mark.parametrize("old", [GOOD, Behaviour(stop_seconds=6.0)])
@pytest.mark.parametrize("kind", KINDS)
async def test_paused_container_survives_a_fault_at_every_request(
    kind: FaultKind, old: Behaviour, new: Behaviour
) -> None:
    """It is paused afterwards, whichever of the two it is."""
    failures = []
    for number in numbers():
        world = await a_world(behaviour=new, old_behaviour=old)
        world.engine.lifecycle.pause(world.engine.containers["web"])
        if not await replaced(world, Fault(at=number, kind=kind)):
            break
        await until_in_order(world)
        found = {name: (item.status, item.policy) for name, item in world.engine.containers.items()}
        if found != {"web": ("paused", "always")}:
            failures.append(f"{kind} at {number} ({world.engine.changes()[-1]}): {found}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("behaviour", ["good", "bad"])
@pytest.mark.parametrize("api_version", ["1.41", "1.51"])
async def test_fault_at_a_reading_request_is_survived_alike(behaviour: str, api_version: str) -> None:
    """Requests that change nothing can fail, too."""
    score = Score()
    for kind in KINDS:
        for number in numbers():
            engine = SimulatedEngine(api_version=api_version)
            world = await a_world(engine=engine, behaviour=BROKEN if behaviour == "bad" else GOOD)
            if not await replaced(world, Fault(at=number, kind=kind, changes_only=False)):
                break
            await until_in_order(world)
            score.count(world, f"{behaviour} {kind} at {number}")
    score.report()


@pytest.mark.full
@pytest.mark.parametrize("second", KILLS)
@pytest.mark.parametrize("first", KILLS)
@pytest.mark.parametrize("behaviour", ["good", "bad"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_recovery_survives_a_kill_at_every_request(
    policy: str, behaviour: str, first: FaultKind, second: FaultKind
) -> None:
    """Killed in the replacement, then in the recovery, at every pair of requests."""
    score = await _killed_twice(policy, BROKEN if behaviour == "bad" else GOOD, first, second)
    score.report()


@pytest.mark.parametrize("behaviour", ["good", "bad"])
async def test_recovery_survives_a_kill_after_every_request(behaviour: str) -> None:
    """The short form of the above."""
    score = await _killed_twice("unless-stopped", BROKEN if behaviour == "bad" else GOOD, "kill_after", "kill_after")
    score.report()


async def _killed_twice(policy: str, behaviour: Behaviour, first: FaultKind, second: FaultKind) -> Score:
    score = Score()
    for number in numbers():
        for again in numbers():
            world = await a_world(policy=policy, behaviour=behaviour)
            if not await replaced(world, Fault(at=number, kind=first)):
                return score
            if not await recovered(world, Fault(at=again, kind=second)):
                break
            await until_in_order(world)
            score.count(world, f"{policy} {first} at {number}, {second} at {again}")
    return score


@pytest.mark.parametrize(
    ("policy", "kill", "behaviour"),
    [
        ("always", True, "good"),
        ("always", True, "bad"),
        ("always", False, "good"),
        ("always", False, "bad"),
        ("unless-stopped", False, "good"),
        ("unless-stopped", False, "bad"),
        # Not with a bad image: a successor that has used up its attempts stays down, as it would without us.
        ("on-failure", False, "good"),
    ],
)
async def test_engine_restart_is_survived_without_us(policy: str, kill: bool, behaviour: str) -> None:
    """If the updater never comes back, the engine alone brings exactly one of the two up.

    That is so wherever the engine would have brought the untouched container up, and except where the documented
    windows of one engine call are hit: between the stop of the predecessor and its guard, and in an undo between the
    stop of the failed successor and the start of the predecessor.
    """
    untouched = await a_world(policy=policy, old_behaviour=FAILS_WHEN_STOPPED)
    await untouched.engine.restart(kill=kill)
    assert untouched.engine.containers["web"].status == "running"
    score = Score()
    for number in numbers():
        new = replace(BROKEN, stop_exit_code=143) if behaviour == "bad" else FAILS_WHEN_STOPPED
        world = await a_world(policy=policy, behaviour=new, old_behaviour=FAILS_WHEN_STOPPED)
        if not await replaced(world, Fault(at=number, kind="kill_after")):
            break
        last = world.engine.changes()[-1]
        await world.engine.restart(kill=kill)
        up = [name for name, item in world.engine.containers.items() if item.is_up]
        assert _is_window(world, last, policy) or len(up) == 1, f"{policy} {behaviour} after {last}: {up} is up"
        await until_in_order(world)
        score.count(world, f"{policy} {behaviour} restart after {number} ({last})")
    score.report()


def _is_window(world: World, last: str, policy: str) -> bool:
    names = set(world.engine.containers)
    is_undo = any(".wta-bad-" in name for name in names)
    between_stop_and_guard = last.endswith("/stop") or "/stop?" in last
    between_start_and_neutralise = last.endswith("web/start")
    return is_undo or between_start_and_neutralise or (between_stop_and_guard and policy != "always")
