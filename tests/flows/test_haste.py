"""When the updater has to leave, the container runs again under its name within eight seconds, at whatever stage."""

from __future__ import annotations

import math
from contextlib import suppress

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault, SimulatedEngine, connected
from tests.support.family import a_family, assert_family_in_order
from tests.support.replacing import World, a_replacer, a_world, leftovers, recover_all
from tests.support.replacing_families import targets_of
from watchtower_async.engine.client import Engine
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.replacement import ReplacementTarget
from watchtower_async.settings import Order

pytestmark = pytest.mark.looptime

MOST_SECONDS = 8.0
STOP_SECONDS = 300
STUBBORN = Behaviour(ignores_stop_signal=True)
STUBBORN_AND_UNHEALTHY = Behaviour(ignores_stop_signal=True, unhealthy_after=1.0)
STUBBORN_AND_NEVER_HEALTHY = Behaviour(ignores_stop_signal=True, healthy_after=math.inf)


async def leave(client: Engine, *targets: ReplacementTarget, after: float, order: Order = Order.STOP_FIRST) -> float:
    """Replace, and have to leave after so many seconds; return how long that took."""
    haste = anyio.Event()
    replacer = await a_replacer(client, haste=haste)
    left = [0.0]

    async with anyio.create_task_group() as group:

        async def terminate() -> None:
            await anyio.sleep(after)
            left[0] = anyio.current_time()
            haste.set()
            group.cancel_scope.cancel()

        group.start_soon(terminate)
        group.start_soon(lambda: replacer.replace(*targets, order=order))
    return anyio.current_time() - left[0]


def assert_up(engine: SimulatedEngine, name: str = "web") -> None:
    """It runs under its name, whichever of the two it is."""
    assert name in engine.running_names(), {key: item.status for key, item in engine.containers.items()}


@pytest.mark.parametrize("after", [0.5, 3.0, 100.0])
@pytest.mark.parametrize("paused", [False, True])
async def test_stop_that_is_ignored_is_cut_short(paused: bool, after: float) -> None:
    """The predecessor would get five minutes; it is killed, and the successor starts."""
    world = await a_world(old_behaviour=STUBBORN, StopTimeout=STOP_SECONDS)
    async with connected(world.engine) as client:
        if paused:
            await client.pause_container("web")
        took = await leave(client, world.target(), after=after)
    assert took <= MOST_SECONDS
    assert_up(world.engine)
    assert world.new_image == world.engine.containers["web"].image_id


@pytest.mark.parametrize("after", [5.5, 6.5, 60.0])
async def test_undo_is_cut_short(after: float) -> None:
    """The failed successor would get five minutes to end; it is killed, and the predecessor starts."""
    world = await a_world(behaviour=STUBBORN_AND_UNHEALTHY, StopTimeout=STOP_SECONDS)
    async with connected(world.engine) as client:
        took = await leave(client, world.target(), after=after)
    assert took <= MOST_SECONDS
    assert_up(world.engine)
    assert world.engine.containers["web"].id == world.old_id


@pytest.mark.parametrize("after", [0.2, 3.0, 20.0])
async def test_start_first_is_cut_short(after: float) -> None:
    """The successor is killed, and the predecessor was never touched."""
    world = await a_world(behaviour=STUBBORN_AND_NEVER_HEALTHY, StopTimeout=STOP_SECONDS)
    async with connected(world.engine) as client:
        took = await leave(client, world.target(), after=after, order=Order.START_FIRST)
    assert took <= MOST_SECONDS
    assert_up(world.engine)
    assert world.engine.containers["web"].id == world.old_id
    assert leftovers(world.engine) == []


async def test_stop_of_start_first_is_cut_short() -> None:
    """The successor has the name and runs; the predecessor is killed."""
    world = await a_world(old_behaviour=STUBBORN, StopTimeout=STOP_SECONDS)
    async with connected(world.engine) as client:
        took = await leave(client, world.target(), after=60.0, order=Order.START_FIRST)
    assert took <= MOST_SECONDS
    assert world.engine.running_names() == ["web"]
    assert world.new_image == world.engine.containers["web"].image_id


async def test_successor_that_has_failed_unseen_is_taken_back() -> None:
    """It ended between two looks; nobody will look again, so the predecessor is put back."""
    world = await a_world(policy="no", behaviour=Behaviour(exits_after=0.1, exit_code=3))
    async with connected(world.engine) as client:
        took = await leave(client, world.target(), after=0.3)
    assert took <= MOST_SECONDS
    assert_up(world.engine)
    assert world.engine.containers["web"].id == world.old_id


async def test_stops_of_a_family_share_one_deadline() -> None:
    """Each would get five minutes, one after the other."""
    engine = SimulatedEngine()
    family = await a_family(engine, running=("network", "link"), stopped=(), chained=True)
    for container in engine.containers.values():
        container.behaviour = STUBBORN
        container.config["StopTimeout"] = STOP_SECONDS
    async with connected(engine) as client:
        took = await leave(client, *targets_of(family), after=30.0)
        assert took <= MOST_SECONDS
        assert sorted(family.members) == [name for name in engine.running_names() if name in family.members]
        await recover_all(client)
    assert_family_in_order(engine, family, updated=["web"])


@pytest.mark.parametrize("behaviour", [STUBBORN, STUBBORN_AND_UNHEALTHY])
@pytest.mark.parametrize("after", [0.3, 3.0, 40.0])
@pytest.mark.parametrize("number", range(3, 9))
async def test_recovery_is_cut_short(number: int, after: float, behaviour: Behaviour) -> None:
    """What was killed at any request and is being recovered runs as well when the updater leaves."""
    world = await _killed(number, behaviour)
    haste, left = anyio.Event(), 0.0
    async with connected(world.engine) as client:
        replacer = await a_replacer(client, haste=haste)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: replacer.restore(["web"], give_up=False))
            await anyio.sleep(after)
            left = anyio.current_time()
            haste.set()
            group.cancel_scope.cancel()
    assert anyio.current_time() - left <= MOST_SECONDS
    assert_up(world.engine)


async def _killed(number: int, behaviour: Behaviour) -> World:
    """Leave what a killed updater leaves; neither of the two ends when it is asked to."""
    world = await a_world(behaviour=behaviour, old_behaviour=STUBBORN, StopTimeout=STOP_SECONDS)
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = Fault(at=number, kind="kill_after")
        with suppress(EngineUnavailableError):
            await replacer.replace(world.target())
    world.engine.revive()
    return world
