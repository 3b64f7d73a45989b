"""Replacing and recovering a whole family on the simulated engine, with a fault at one of the requests."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from tests.support.engine_sim import Fault, SimulatedEngine, connected
from tests.support.family import Family
from tests.support.replacing import a_replacer, leftovers, recover_all
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.outcome import Outcome
from watchtower_async.rollout.replacement import ReplacementTarget

RECOVERY_ATTEMPTS = 3


def targets_of(family: Family) -> list[ReplacementTarget]:
    """Return what a plan would say: all of them together, targets first."""
    return [
        replace(family.target_of(member.name), is_up=member.ran)
        if member.name in family.digests
        else ReplacementTarget(container_id=member.old_id, name=member.name, is_up=member.ran)
        for member in family.members.values()
    ]


async def replace_family(family: Family, fault: Fault | None = None) -> tuple[Outcome | None, bool]:
    """Replace it with a fault; return the outcome, None where the engine went away, and whether it was reached."""
    outcome: Outcome | None = None
    async with connected(family.engine) as client:
        replacer = await a_replacer(client)
        family.engine.fault = fault
        with suppress(EngineUnavailableError):
            outcome = await replacer.replace(*targets_of(family))
    return outcome, _reached(family.engine)


async def recover_engine(engine: SimulatedEngine, fault: Fault | None = None) -> bool:
    """Recover as the next start does, with a fault; return whether it was reached."""
    async with connected(engine) as client:
        await client.system_info()
        engine.fault = fault
        with suppress(EngineUnavailableError):
            await recover_all(client)
    return _reached(engine)


async def recover_until_in_order(engine: SimulatedEngine) -> None:
    """Recover as session after session does."""
    for _ in range(RECOVERY_ATTEMPTS):
        await recover_engine(engine)
        if not leftovers(engine):
            return


def _reached(engine: SimulatedEngine) -> bool:
    reached = engine.fault_fired
    engine.revive()
    return reached
