"""What rollouts do to the containers of a town, as its engine sees it; and updaters that are killed and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from tests.support.engine_sim import SimulatedEngine
from tests.support.town import Town
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.session import SessionReport
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.state.store import StateStore

LOOK_SECONDS = 0.1


@dataclass(slots=True)
class Watch:
    """Who was down, look by look."""

    engine: SimulatedEngine
    names: tuple[str, ...]
    looks: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    def look(self) -> None:
        """Note who has no running container, under the name or a temporary one of it."""
        running = set(self.engine.running_names())
        bases = {found.base for name in running if (found := parse_temporary_name(name)) is not None}
        down = frozenset(name for name in self.names if name not in running and name not in bases)
        self.looks.append((anyio.current_time(), down))

    @property
    def most_down(self) -> int:
        """Return how many were down at once at most."""
        return max(len(down) for _, down in self.looks)

    def first_down(self, name: str) -> float:
        """Return when somebody was first seen down."""
        return next(at for at, down in self.looks if name in down)

    def up_again(self, name: str) -> float:
        """Return when somebody was seen up again after that."""
        since = self.first_down(name)
        return next(at for at, down in self.looks if at > since and name not in down)

    def was_down(self, name: str) -> bool:
        """Say whether somebody was ever seen down."""
        return any(name in down for _, down in self.looks)


@asynccontextmanager
async def watched(engine: SimulatedEngine, *names: str) -> AsyncIterator[Watch]:
    """Look at the engine all the time."""
    watch = Watch(engine, names)

    async def look() -> None:
        while True:
            watch.look()
            await anyio.sleep(LOOK_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        yield watch
        group.cancel_scope.cancel()


class MortalStore(StateStore):
    """The state of an updater that writes nothing any more once it is killed, as the engine's faults say."""

    def __init__(self, engine: SimulatedEngine) -> None:
        super().__init__(directory=Path("/nonexistent"), tell=lambda problem: None)
        self._engine = engine

    @property
    def _is_dead(self) -> bool:
        return self._engine.faults.client_is_dead

    async def save_rollout(self, rollout_id: str, document: str) -> None:
        """Keep a rollout's state."""
        if not self._is_dead:
            await super().save_rollout(rollout_id, document)

    async def forget_rollout(self, rollout_id: str) -> None:
        """Drop a rollout."""
        if not self._is_dead:
            await super().forget_rollout(rollout_id)

    async def add_to_quarantine(self, entry: QuarantineEntry) -> None:
        """Keep an entry."""
        if not self._is_dead:
            await super().add_to_quarantine(entry)


def kinds(report: SessionReport) -> dict[str, OutcomeKind]:
    """Return how it ended, by container."""
    return {item.name: outcome.kind for item, outcome in report.outcomes}


def versions(town: Town, names: Iterable[str]) -> dict[str, str]:
    """Return who runs which version."""
    return {name: town.version(name) for name in names}


def stops(town: Town, name: str) -> int:
    """Count how often somebody was stopped or restarted, under whatever name."""
    texts = [item.text.partition("?")[0] for item in town.engine.trace]
    found = [text.split("/") for text in texts if text.endswith(("/stop", "/restart"))]
    return sum(_base(parts[1]) == name for parts in found)


def _base(name: str) -> str:
    found = parse_temporary_name(name)
    return name if found is None else found.base
