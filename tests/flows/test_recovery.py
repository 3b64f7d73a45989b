"""Recovery: what is ours is put in order, what another updater is at work on is left alone."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault, connected
from tests.support.replacing import (
    ANOTHER,
    BROKEN,
    IMAGE,
    MONITOR,
    OWNER,
    STOP,
    World,
    a_replacer,
    a_world,
    assert_in_order,
    leftovers,
    recover_all,
)
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.recovery import FailedImage, RecoveryReport

pytestmark = pytest.mark.looptime


async def rename(world: World, before: str, after: str) -> None:
    """Give a container another name, as a killed updater has left it."""
    async with connected(world.engine) as client:
        await client.rename_container(before, after)


async def recovered(world: World, *, owner: str = OWNER, dry_run: bool = False) -> tuple[RecoveryReport, ...]:
    """Recover as a session does."""
    async with connected(world.engine) as client:
        return await recover_all(client, owner=owner, dry_run=dry_run)


async def test_nothing_left_over_is_nothing_to_do() -> None:
    """No report, and no request that changes something."""
    world = await a_world()
    before = len(world.engine.changes())
    assert await recovered(world) == ()
    assert before == len(world.engine.changes())


async def test_predecessor_that_lost_its_name_gets_it_back() -> None:
    """The successor was removed by hand."""
    world = await a_world()
    await rename(world, "web", f"web.wta-old-ra-{OWNER}")
    (report,) = await recovered(world)
    assert world.engine.running_names() == ["web"]
    assert "put back" in report.text


async def test_dry_run_says_what_it_would_do_and_touches_nothing() -> None:
    """`plan` and monitor-only only report."""
    world = await a_world()
    await rename(world, "web", f"web.wta-old-ra-{OWNER}")
    before = len(world.engine.changes())
    (report,) = await recovered(world, dry_run=True)
    assert "would be put back" in report.text
    assert before == len(world.engine.changes())


async def test_work_of_another_updater_that_runs_is_left_alone() -> None:
    """The owner in the name is the beginning of a running container's id."""
    world = await a_world()
    updater = await world.engine.run("updater", IMAGE)
    name = f"web.wta-old-ra-{updater.id[:12]}"
    await rename(world, "web", name)
    await anyio.sleep(10_000)
    (report,) = await recovered(world)
    assert leftovers(world.engine) == [name]
    assert "left alone" in report.text


async def test_work_of_an_updater_that_died_is_taken_over() -> None:
    """Its container is there and does not run."""
    world = await a_world()
    updater = await world.engine.run("updater", IMAGE)
    await rename(world, "web", f"web.wta-old-ra-{updater.id[:12]}")
    async with connected(world.engine) as client:
        await client.stop_container("updater", timeout=1)
    await recovered(world)
    assert world.engine.running_names() == ["web"]


async def test_work_of_an_unknown_updater_is_taken_when_it_is_old() -> None:
    """It is older than a replacement can take."""
    world = await a_world()
    await rename(world, "web", f"web.wta-old-ra-{ANOTHER}")
    await recovered(world)
    assert leftovers(world.engine)
    await anyio.sleep(STOP + MONITOR + 61)
    await recovered(world)
    assert world.engine.running_names() == ["web"]


async def test_young_successor_is_waited_for_and_then_removed() -> None:
    """Whoever made it may be at work right now; the wait ends within the same call."""
    world = await a_world()
    await world.engine.run("web.wta-new-ra", IMAGE, running=False)
    started = anyio.current_time()
    await recovered(world)
    assert anyio.current_time() - started >= 59
    assert sorted(world.engine.containers) == ["web"]


async def test_successor_without_predecessor_gets_the_name() -> None:
    """Somebody removed the old one; the new one is what is left."""
    world = await a_world()
    await rename(world, "web", "web.wta-new-ra")
    await recovered(world)
    assert world.engine.running_names() == ["web"]


async def test_failed_successor_that_is_all_there_is_is_told_loudly() -> None:
    """The predecessor was removed in the middle of the undo."""
    world = await a_world()
    await rename(world, "web", f"web.wta-bad-ra-{OWNER}")
    (report,) = await recovered(world)
    assert report.is_lost
    assert world.engine.running_names() == ["web"]


async def test_container_that_somebody_made_in_the_middle_is_left_to_a_person() -> None:
    """Three containers of one name: no rule can know which is meant."""
    world = await a_world()
    await rename(world, "web", f"web.wta-old-ra-{OWNER}")
    await world.engine.run("web.wta-new-ra", IMAGE, running=False)
    await world.engine.run("web", IMAGE)
    (report,) = await recovered(world)
    assert report.is_lost
    assert "look at" in report.text
    assert len(world.engine.containers) == 3


async def test_one_name_that_cannot_be_put_in_order_does_not_stop_the_others() -> None:
    """Each name is its own."""
    world = await a_world()
    await world.engine.run("db", IMAGE)
    await rename(world, "db", f"db.wta-bad-ra-{OWNER}")
    await rename(world, "web", f"web.wta-old-ra-{OWNER}")
    reports = await recovered(world)
    assert {report.name: report.is_lost for report in reports} == {"db": True, "web": False}
    assert sorted(world.engine.running_names()) == ["db", "web"]


async def test_image_that_recovery_takes_back_is_named() -> None:
    """So that it is not tried again: the killed updater cannot tell any more."""
    world = await a_world(behaviour=BROKEN)
    await killed(world, after=8)
    (report,) = await recovered(world)
    assert (FailedImage("web", IMAGE, world.new_image),) == report.failed
    assert_in_order(world, image=world.old_image)


async def test_image_that_the_engine_cannot_start_is_named_as_well() -> None:
    """The killed updater had only stopped the predecessor."""
    world = await a_world(behaviour=Behaviour(start_error='exec: "serve": executable file not found in $PATH'))
    await killed(world, after=6)
    (report,) = await recovered(world)
    assert (FailedImage("web", IMAGE, world.new_image),) == report.failed
    assert "did not start" in report.text
    assert_in_order(world, image=world.old_image)


async def test_good_image_is_not_named() -> None:
    """It is finished."""
    world = await a_world()
    await killed(world, after=6)
    (report,) = await recovered(world)
    assert report.failed == ()
    assert_in_order(world, image=world.new_image)


async def test_successor_in_a_restart_loop_gets_old_as_well() -> None:
    """A start by the engine itself says nothing about whoever made it."""
    world = await a_world()
    await world.engine.run("web.wta-new-ra", IMAGE, behaviour=BROKEN, HostConfig={"RestartPolicy": {"Name": "always"}})
    await anyio.sleep(200)
    await recovered(world)
    assert sorted(world.engine.containers) == ["web"]


async def killed(world: World, *, after: int) -> None:
    """Let an updater die after so many changing requests of a replacement."""
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = Fault(at=after, kind="kill_after")
        with suppress(EngineUnavailableError):
            await replacer.replace(world.target())
    assert world.engine.fault_fired
    world.engine.revive()
