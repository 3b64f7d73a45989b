"""The updater's own container is replaced by a helper, on the simulated engine.

The helper's process is its function, run against the engine. Where a fault kills it, its container crashes, the engine
starts that again, and the function is run anew: as often as the container is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Command, Fault, connected
from tests.support.engine_sim.faults import FaultKind
from tests.support.self_updating import ASK, HELPER, IMAGE, NAME, READY, Tower, a_tower
from watchtower_async.engine.inventory import read_container
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.rollout.recovery import has_leftovers
from watchtower_async.rollout.self_update import HelperResult, not_left_to_helpers, wait_for_helper

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(300)]

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
MOST_REQUESTS = 60
BAD = {
    "exits": Behaviour(exits_after=1.0, exit_code=3, log="cannot start\n"),
    "exits well": Behaviour(exits_after=1.0),
    "hangs": Behaviour(commands={ASK: Command(seconds=math.inf)}, ignores_stop_signal=True),
    "never gets ready": Behaviour(commands={ASK: Command(exit_code=1)}),
    "does not start": Behaviour(start_error='exec: "/watchtower": no such file'),
}


def numbers() -> Iterator[int]:
    """Yield request numbers; the caller stops when its fault was not reached."""
    yield from range(1, MOST_REQUESTS)


@pytest.mark.parametrize("policy", ["no", "always", "unless-stopped", "on-failure"])
async def test_updater_moves_to_a_good_image(tmp_path: Path, policy: str) -> None:
    """It runs on it under its name with its own policy and port, and the helper is gone."""
    tower = await a_tower(tmp_path, policy=policy)
    assert await tower.start_helper() is None
    outcome = await tower.run_helper()
    assert outcome is not None
    assert outcome.kind is OutcomeKind.UPDATED
    tower.assert_in_order(image=tower.order.image_id)
    assert tower.engine.containers[NAME].ports["8080/tcp"][0]["HostPort"] == "18080"
    assert tower.engine.image_behind(IMAGE) == tower.order.image_id


@pytest.mark.parametrize("bad", BAD)
async def test_updater_comes_back_from_a_bad_image(tmp_path: Path, bad: str) -> None:
    """The old one runs again, the tag points to its image, and the word that is left condemns the new one."""
    tower = await a_tower(tmp_path, behaviour=BAD[bad])
    await tower.start_helper()
    outcome = await tower.run_helper()
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    tower.assert_in_order(image=tower.old_image)
    assert tower.engine.containers[NAME].id == tower.order.container_id
    assert tower.engine.image_behind(IMAGE) == tower.old_image
    left = tower.results.take()
    assert left == HelperResult(tower.order, replace(outcome, culprit=""))
    assert left.outcome.condemns_image
    assert tower.results.take() is None


async def test_helper_removes_itself_last(tmp_path: Path) -> None:
    """As long as there is something to do, there is somebody whom the engine starts again."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    await tower.run_helper()
    assert tower.engine.changes()[-1].startswith(f"DELETE containers/{HELPER}?force=")


async def test_helper_pulls_nothing(tmp_path: Path) -> None:
    """The updater has pulled the image, and no login is needed any more."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    before = len(tower.engine.trace)
    await tower.run_helper()
    assert not [item.text for item in tower.engine.trace[before:] if "images/create" in item.text]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behaviour", ["good", "exits", pytest.param("hangs", marks=pytest.mark.full)])
async def test_helper_survives_a_fault_at_every_request(tmp_path: Path, behaviour: str, kind: FaultKind) -> None:
    """Afterwards the updater runs, on the old or the new image, a bad one excepted, and nothing is left over."""
    survived = 0
    for number in numbers():
        tower = await a_tower(tmp_path, behaviour=BAD.get(behaviour, READY))
        await tower.start_helper()
        await tower.run_helper(Fault(at=number, kind=kind))
        reached = tower.engine.fault_fired
        tower.engine.revive()
        if not reached:
            break
        await tower.run_helper_until_gone()
        tower.assert_in_order(image=tower.old_image if behaviour in BAD else None)
        survived += 1
    print(f"survived {survived} of {survived}")
    assert survived > 5


@pytest.mark.parametrize("kill", [False, True])
async def test_helper_survives_a_restart_of_the_engine_after_every_request(tmp_path: Path, kill: bool) -> None:
    """The engine brings the helper up with the updater, and that finishes or undoes."""
    survived = 0
    for number in numbers():
        tower = await a_tower(tmp_path)
        await tower.start_helper()
        await tower.run_helper(Fault(at=number, kind="kill_after"))
        reached = tower.engine.fault_fired
        tower.engine.revive()
        if not reached:
            break
        await tower.engine.restart(kill=kill)
        await tower.run_helper_until_gone()
        tower.assert_in_order()
        survived += 1
    assert survived > 5


@pytest.mark.parametrize("kind", KINDS)
async def test_start_of_a_helper_survives_a_fault_at_every_request(tmp_path: Path, kind: FaultKind) -> None:
    """The updater that comes back gets rid of what was not started; what runs does its work."""
    for number in numbers():
        tower = await a_tower(tmp_path)
        tower.engine.fault = Fault(at=number, kind=kind)
        with suppress(EngineUnavailableError):
            await tower.start_helper()
        reached = tower.engine.fault_fired
        tower.engine.revive()
        if not reached:
            break
        helper = tower.engine.containers.get(HELPER)
        if helper is not None and helper.status == "running":
            await tower.run_helper()
            tower.assert_in_order(image=tower.order.image_id)
            continue
        async with connected(tower.engine) as client:
            assert await wait_for_helper(client, tower.order.container_id)
        tower.assert_in_order(image=tower.old_image)


async def test_helper_that_was_stopped_is_removed_after_a_minute(tmp_path: Path) -> None:
    """Somebody stopped it, so the engine does not bring it back; until then it may be between two attempts."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    await tower.engine.lifecycle.stop(tower.engine.containers[HELPER], 1, None)
    started = anyio.current_time()
    async with connected(tower.engine) as client:
        assert await wait_for_helper(client, tower.order.container_id)
    assert 60 <= anyio.current_time() - started <= 65
    tower.assert_in_order(image=tower.old_image)


async def test_helper_at_work_is_waited_for_and_not_removed(tmp_path: Path) -> None:
    """Patience ends sometime, and the helper is still there."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    async with connected(tower.engine) as client:
        assert not await wait_for_helper(client, tower.order.container_id, patience=300)
    assert tower.engine.containers[HELPER].status == "running"


async def test_helper_that_never_gets_to_work_is_removed(tmp_path: Path) -> None:
    """Its process ends again and again, and nothing was begun."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    tower.engine.containers[HELPER].behaviour = Behaviour(exits_after=0.1, exit_code=64)
    tower.engine.crash(HELPER, 64)
    async with connected(tower.engine) as client:
        assert await wait_for_helper(client, tower.order.container_id, patience=300)
    tower.assert_in_order(image=tower.old_image)


async def test_second_helper_is_not_started(tmp_path: Path) -> None:
    """One is at work; its name is the lock."""
    tower = await a_tower(tmp_path)
    await tower.start_helper()
    first = tower.engine.containers[HELPER].id
    refused = await tower.start_helper()
    assert refused is not None
    assert "is there already" in refused.reason
    assert tower.engine.containers[HELPER].id == first


async def _half_way(tower: Tower) -> None:
    """Kill the helper when the new updater has been started."""
    await tower.start_helper()
    await tower.run_helper(Fault(at=6, kind="kill_before"))
    tower.engine.revive()


@pytest.mark.parametrize("helper_is_up", [True, False])
async def test_new_updater_leaves_its_own_name_to_the_helper(tmp_path: Path, helper_is_up: bool) -> None:
    """Its recovery would stop the very process that runs it; the helper comes back or is removed first."""
    tower = await a_tower(tmp_path)
    await _half_way(tower)
    if not helper_is_up:
        await tower.engine.lifecycle.stop(tower.engine.containers[HELPER], 1, None)
    async with connected(tower.engine) as client:
        containers = [read_container(document) for document in await client.list_containers()]
    own = tower.engine.containers[NAME]
    assert own.id != tower.order.container_id
    assert has_leftovers(containers)
    assert not has_leftovers(not_left_to_helpers(containers, own.id))
    assert has_leftovers(not_left_to_helpers(containers)) is not helper_is_up
