"""Containers with `--rm`: the engine removes them at their stop, so there is no way back, only the way of making anew.

Its successor is created before that, and gets the name last: whoever finds the two later can tell how far it went.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import get_args

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault, SimulatedEngine, connected
from tests.support.engine_sim.faults import FaultKind
from tests.support.replacing import (
    BROKEN,
    GOOD,
    IMAGE,
    OWNER,
    World,
    a_replacer,
    a_world,
    assert_in_order,
    leftovers,
    recover_all,
)
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.replacement import ReplacementTarget
from watchtower_async.settings import Order

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(600)]

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
BAD = {
    "exits": BROKEN,
    "does not start": Behaviour(start_error="no such file"),
    "never healthy": Behaviour(healthy_after=math.inf),
}
MOST_REQUESTS = 60


async def a_vanishing_world(
    behaviour: Behaviour = GOOD, old_behaviour: Behaviour = GOOD, api_version: str = "1.51"
) -> World:
    """Make `web` with `--rm`."""
    engine = SimulatedEngine(api_version=api_version)
    host = {"AutoRemove": True}
    return await a_world(policy="no", engine=engine, behaviour=behaviour, old_behaviour=old_behaviour, HostConfig=host)


async def replaced(world: World, fault: Fault | None = None, **options: Order) -> tuple[Outcome | None, bool]:
    """Replace with a fault; return the outcome and whether the fault was reached."""
    outcome: Outcome | None = None
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = fault
        with suppress(EngineUnavailableError):
            outcome = await replacer.replace(world.target(), **options)
    reached = world.engine.fault_fired
    world.engine.revive()
    return outcome, reached


async def recovered(world: World) -> None:
    """Recover as session after session does."""
    for _ in range(3):
        async with connected(world.engine) as client:
            await recover_all(client)
        if not leftovers(world.engine):
            return


@pytest.mark.parametrize("order", [Order.STOP_FIRST, Order.START_FIRST, Order.AUTO])
@pytest.mark.parametrize("api_version", ["1.41", "1.51"])
async def test_container_moves_to_the_new_image(api_version: str, order: Order) -> None:
    """The successor is created before the stop, is started when the predecessor is gone, and has `--rm` as well."""
    world = await a_vanishing_world(api_version=api_version)
    outcome, _ = await replaced(world, order=order)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.UPDATED, outcome
    assert_in_order(world, image=world.new_image)
    assert world.engine.containers["web"].host["AutoRemove"]
    changes = [text.partition("?")[0] for text in world.engine.changes() if "containers/" in text]
    assert changes[:5] == [
        "POST containers/create",
        "POST containers/web/rename",
        f"POST containers/web.wta-old-rn-{OWNER}/stop",
        "POST containers/web.wta-new-rn/start",
        "POST containers/web.wta-new-rn/rename",
    ]


@pytest.mark.parametrize("name", BAD)
async def test_bad_successor_is_followed_by_a_container_on_the_old_image(name: str) -> None:
    """It is made again from what was known of the predecessor, and the tag points to its image again."""
    world = await a_vanishing_world(BAD[name])
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ROLLED_BACK, outcome
    assert outcome.condemns_image
    assert_in_order(world, image=world.old_image)
    assert world.engine.containers["web"].host["AutoRemove"]
    assert world.old_image == world.engine.image_behind(IMAGE)


async def test_container_is_made_again_from_an_image_whose_name_another_one_has() -> None:
    """Another container runs the new image well, so the tag stays; the old one is made from its image's id."""
    world = await a_vanishing_world(BROKEN)
    async with connected(world.engine) as client:
        await client.pull_image(IMAGE, registry_auth="e30=")
    await world.engine.run("other", IMAGE, behaviour=GOOD)
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert world.old_image == world.engine.containers["web"].image_id
    assert world.new_image == world.engine.image_behind(IMAGE)


async def test_paused_container_is_paused_again() -> None:
    """The engine thaws it for the stop."""
    world = await a_vanishing_world()
    async with connected(world.engine) as client:
        await client.pause_container("web")
    outcome, _ = await replaced(world)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.UPDATED
    assert world.engine.containers["web"].paused
    assert world.new_image == world.engine.containers["web"].image_id


async def test_container_with_dependents_is_refused() -> None:
    """The group could not be put back."""
    world = await a_vanishing_world()
    guest = await world.engine.run("guest", IMAGE, HostConfig={"NetworkMode": f"container:{world.old_id}"})
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        outcome = await replacer.replace(world.target(), ReplacementTarget(container_id=guest.id, name="guest"))
    assert outcome.kind is OutcomeKind.FAILED
    assert "AutoRemove" in outcome.reason
    assert world.engine.containers["web"].id == world.old_id


@pytest.mark.parametrize("old_behaviour", [GOOD, Behaviour(stop_seconds=6.0)])
@pytest.mark.parametrize("kind", FAULTS)
async def test_good_image_survives_a_fault_at_every_request(kind: FaultKind, old_behaviour: Behaviour) -> None:
    """A stop that goes on in the engine takes the predecessor away, and then the successor has its place."""
    failures: list[str] = []
    survived = 0
    for number in range(1, MOST_REQUESTS):
        world = await a_vanishing_world(old_behaviour=old_behaviour)
        _, reached = await replaced(world, Fault(at=number, kind=kind))
        if not reached:
            break
        await recovered(world)
        await anyio.sleep(60)
        try:
            assert_in_order(world)
        except (AssertionError, KeyError) as error:
            found = {key: item.status for key, item in world.engine.containers.items()}
            failures.append(f"{kind} at {number} ({world.engine.changes()[-1]}): {error} {found}")
        else:
            survived += 1
    print(f"survived {survived} of {survived + len(failures)}")
    assert not failures, "\n".join(failures)
    assert survived > 5


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["fail", "lost"])
async def test_bad_image_and_a_failing_request_leave_the_old_one_or_a_loud_message(kind: FaultKind, name: str) -> None:
    """Where the container could not be made again, the outcome says that it is lost."""
    for number in range(1, MOST_REQUESTS):
        world = await a_vanishing_world(BAD[name])
        outcome, reached = await replaced(world, Fault(at=number, kind=kind))
        if not reached:
            break
        await recovered(world)
        await anyio.sleep(60)
        said = outcome is not None and outcome.kind in (OutcomeKind.LOST, OutcomeKind.UNFINISHED)
        assert said or world.engine.running_names() == ["web"], (number, outcome, world.engine.changes()[-3:])
