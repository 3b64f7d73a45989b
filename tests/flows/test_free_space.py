"""Pulls that wait for free space, on the simulated engine, under virtual time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from tests.support.engine_sim import connected
from tests.support.replacing import a_replacer, a_world, assert_in_order
from watchtower_async.engine.disk import EngineDisk, Viewpoint
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.outcome import OutcomeKind

pytestmark = pytest.mark.looptime


@dataclass
class FullDisk:
    """A disk without room."""

    looks: int = 0

    async def reason_against_pull(self) -> str | None:
        """Say so."""
        self.looks += 1
        return "the engine's disk has 1 GB free"


async def test_nothing_is_pulled_or_touched_without_room() -> None:
    """The update fails with the reason before anything happens, and nobody takes the image for bad."""
    world = await a_world()
    async with connected(world.engine) as client:
        outcome = await (await a_replacer(client, disk=FullDisk())).replace(world.target())
        assert client.calls["pull_image"] == 0
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.reason == "the new image is not pulled: the engine's disk has 1 GB free"
    assert outcome.blame is Blame.HOST
    assert_in_order(world, image=world.old_image)
    assert world.new_image == "not pulled"


async def test_image_that_is_there_already_needs_no_room() -> None:
    """With --no-pull nothing is pulled, so the disk is not looked at."""
    world = await a_world()
    disk = FullDisk()
    async with connected(world.engine) as client:
        await client.pull_image(f"registry.example/app@{world.digest}", registry_auth="e30=")
        target = replace(world.target(), local_image=world.new_image)
        outcome = await (await a_replacer(client, disk=disk)).replace(target)
    assert outcome.kind is OutcomeKind.UPDATED
    assert disk.looks == 0


async def test_unknown_free_space_holds_nothing_back_and_is_told_once() -> None:
    """The engine says itself when a pull does not fit."""
    world = await a_world()
    told: list[str] = []
    viewpoint = Viewpoint(has_socket_here=False, is_own_engine=False)
    async with connected(world.engine) as client:
        disk = EngineDisk(engine=client, viewpoint=viewpoint, min_free=10**9, tell=told.append)
        outcome = await (await a_replacer(client, disk=disk)).replace(world.target())
        assert await disk.reason_against_pull() is None
    assert outcome.kind is OutcomeKind.UPDATED
    assert len(told) == 1
    assert told[0].startswith(
        "--min-free holds no pull back, as nobody knows how full the engine's disk is: the engine"
    )


async def test_disk_is_not_looked_at_without_the_option() -> None:
    """Nobody is told what nobody wants to know, and the engine is not asked."""
    world = await a_world()
    told: list[str] = []
    async with connected(world.engine) as client:
        viewpoint = Viewpoint(has_socket_here=False, is_own_engine=False)
        disk = EngineDisk(engine=client, viewpoint=viewpoint, min_free=0, tell=told.append)
        before = client.calls["system_info"]
        assert await disk.reason_against_pull() is None
        assert client.calls["system_info"] == before
    assert told == []
