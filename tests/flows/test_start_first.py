"""Start-first: the successor is good before the predecessor stops, so the container is up all the time."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import get_args

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault, connected
from tests.support.engine_sim.faults import FaultKind
from tests.support.replacing import BROKEN, GOOD, World, a_replacer, a_world, assert_in_order, leftovers, recover_all
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.settings import Order

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(600)]

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
POLICIES = ("always", "unless-stopped", "no")
BEHAVIOURS = {
    "good": GOOD,
    "healthy late": Behaviour(healthy_after=20.0),
    "exits": BROKEN,
    "does not start": Behaviour(start_error="no such file"),
    "never healthy": Behaviour(healthy_after=math.inf),
}
BAD = ("exits", "does not start", "never healthy")
MOST_REQUESTS = 60
SESSIONS_APART = 300.0
"""A successor that runs has no owner, so it is left alone until nobody can be watching its health check any more."""


async def replaced(world: World, fault: Fault | None = None) -> tuple[Outcome | None, bool]:
    """Replace with start-first and a fault; return the outcome and whether the fault was reached."""
    outcome: Outcome | None = None
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = fault
        with suppress(EngineUnavailableError):
            outcome = await replacer.replace(world.target(), order=Order.START_FIRST)
    reached = world.engine.fault_fired
    world.engine.revive()
    return outcome, reached


async def recovered(world: World) -> None:
    """Recover as session after session does."""
    for _ in range(3):
        await anyio.sleep(SESSIONS_APART)
        async with connected(world.engine) as client:
            await recover_all(client)
        if not leftovers(world.engine):
            return


@pytest.mark.parametrize("name", ["good", "healthy late"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_good_successor_is_up_before_the_predecessor_stops(policy: str, name: str) -> None:
    """It starts under its temporary name, and the names change when it is known to be good."""
    world = await a_world(policy=policy, behaviour=BEHAVIOURS[name])
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.UPDATED, outcome
    assert_in_order(world, image=world.new_image)
    steps = [text.partition("?")[0].rpartition("/")[2] for text in world.engine.changes() if "containers/" in text]
    guards = [] if policy == "no" else ["update"]
    assert steps[:6] == ["create", "start", "rename", "rename", "stop", "start"]
    assert steps[6:-1] == guards


@pytest.mark.parametrize("name", BAD)
async def test_bad_successor_costs_no_downtime(name: str) -> None:
    """The predecessor is never stopped and keeps its name; the image is condemned."""
    world = await a_world(behaviour=BEHAVIOURS[name])
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert outcome.condemns_image
    assert_in_order(world, image=world.old_image)
    assert world.engine.containers["web"].id == world.old_id
    assert not any("containers/web/stop" in text for text in world.engine.changes())
    assert world.old_image == world.engine.image_behind("registry.example/app:1")


async def test_paused_container_is_not_started_first() -> None:
    """Nobody can tell whether a paused successor is good, so nothing is gained."""
    world = await a_world()
    async with connected(world.engine) as client:
        await client.pause_container("web")
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.UPDATED
    assert world.engine.containers["web"].paused
    changes = [text.partition("?")[0] for text in world.engine.changes()]
    assert changes.index("POST containers/web/rename") < changes.index("POST containers/web/start")


async def test_cancelled_while_the_successor_is_watched_leaves_the_predecessor() -> None:
    """It runs under its name, and nothing is left of the successor."""
    world = await a_world(behaviour=BEHAVIOURS["never healthy"])
    with anyio.move_on_after(8.0):
        await replaced(world)
    assert_in_order(world, image=world.old_image)


async def _a_fault_everywhere(policy: str, name: str, kind: FaultKind) -> tuple[int, list[str]]:
    survived, failures = 0, []
    for number in range(1, MOST_REQUESTS):
        world = await a_world(policy=policy, behaviour=BEHAVIOURS[name])
        _, reached = await replaced(world, Fault(at=number, kind=kind))
        if not reached:
            break
        up = world.engine.running_names()
        await recovered(world)
        try:
            assert up, "nothing was up"
            assert_in_order(world, image=world.old_image if name in BAD else None)
        except AssertionError as error:
            found = {key: (item.status, item.policy) for key, item in world.engine.containers.items()}
            failures.append(f"{policy}, {name}, {kind} at {number}: {str(error).partition(chr(10))[0]} {found}")
        else:
            survived += 1
    return survived, failures


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("kind", FAULTS)
async def test_start_first_survives_a_fault_at_every_request(kind: FaultKind, name: str) -> None:
    """One of the two is up at every moment, and afterwards the container is in order."""
    survived, failures = await _a_fault_everywhere("unless-stopped", name, kind)
    print(f"survived {survived} of {survived + len(failures)}")
    assert not failures, "\n".join(failures)
    assert survived > 0


@pytest.mark.full
@pytest.mark.parametrize("policy", ["always", "no", "on-failure"])
@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("kind", FAULTS)
async def test_start_first_survives_with_every_policy(kind: FaultKind, name: str, policy: str) -> None:
    """The same for the other policies."""
    survived, failures = await _a_fault_everywhere(policy, name, kind)
    print(f"survived {survived} of {survived + len(failures)}")
    assert not failures, "\n".join(failures)
    assert survived > 0
