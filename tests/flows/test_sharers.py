"""Who shares the namespaces of a container, or links to it, on the simulated engine."""

from __future__ import annotations

import pytest

from tests.support.engine_sim import Fault, SimulatedEngine, connected
from tests.support.family import KINDS, Kind, a_family
from watchtower_async.engine.client import Engine
from watchtower_async.engine.inventory import read_container
from watchtower_async.errors import EngineError
from watchtower_async.rollout.sharers import Sharers

pytestmark = pytest.mark.looptime


async def sharers_of(client: Engine, sharers: Sharers, *ids: str) -> tuple[str, ...]:
    """Ask as a replacement does."""
    containers = [read_container(document) for document in await client.list_containers()]
    return await sharers.of(containers, ids)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_dependent_is_named(kind: Kind) -> None:
    """Running or stopped: both cannot be started with a target that is gone."""
    engine = SimulatedEngine()
    family = await a_family(engine, running=[kind], stopped=[kind])
    async with connected(engine) as client:
        found = await sharers_of(client, Sharers(client), family.members["web"].old_id)
    assert found == (f"web-{kind}", f"web-{kind}-down")


async def test_those_that_are_replaced_themselves_are_not_named() -> None:
    """Asked for all of a family, nobody is left out."""
    engine = SimulatedEngine()
    family = await a_family(engine, chained=True)
    async with connected(engine) as client:
        assert await sharers_of(client, Sharers(client), *family.old_ids().values()) == ()


async def test_half_of_a_replacement_is_nobody() -> None:
    """Recovery deals with it."""
    engine = SimulatedEngine()
    family = await a_family(engine, running=["network"], stopped=[])
    async with connected(engine) as client:
        await client.rename_container("web-network", "web-network.wta-old-ra-x23456789012")
        assert await sharers_of(client, Sharers(client), family.members["web"].old_id) == ()


async def test_container_is_inspected_once_in_its_life() -> None:
    """Whose namespaces it shares never changes, so a second question costs the list only."""
    engine = SimulatedEngine()
    family = await a_family(engine)
    async with connected(engine) as client:
        sharers = Sharers(client)
        await sharers_of(client, sharers, family.members["web"].old_id)
        assert client.calls["inspect_container"] == len(family.members)
        await sharers_of(client, sharers, family.members["web"].old_id)
        assert client.calls["inspect_container"] == len(family.members)


async def test_engine_that_fails_is_one_error() -> None:
    """Many are asked about at once; whoever asks hears of one that failed, and not of a group of errors."""
    engine = SimulatedEngine()
    family = await a_family(engine)
    async with connected(engine) as client:
        engine.fault = Fault(at=3, kind="fail", changes_only=False)
        with pytest.raises(EngineError, match="injected failure"):
            await sharers_of(client, Sharers(client), family.members["web"].old_id)
