"""Finishes or undoes the replacements that an updater left behind: killed, cut off from its engine, or restarted.

The names on the engine tell everything. Not everything that is found is ours: another updater may be at work on it
right now. Its owner in the names, or the age of what was found where no name has an owner yet, decides that. What is
too young is waited for, after everything else is in order; what another updater owns is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError, PredecessorLostError
from watchtower_async.rollout.families import Family, families
from watchtower_async.rollout.health import Bad, watch_budget
from watchtower_async.rollout.replacement import Replacer, Restored
from watchtower_async.rollout.steps import FailedImage
from watchtower_async.rollout.transitions import (
    MARGIN_SECONDS,
    UP,
    Found,
    Move,
    Situation,
    Turn,
    decide_together,
    situations,
    whose_turn,
)

__all__ = ["FailedImage", "RecoveryReport", "has_leftovers", "recover"]

CLOCK_MARGIN_SECONDS = 1.0
"""The engine's clock and ours do not tick together."""

LONGEST_WAIT_SECONDS = 150.0
"""A replacement that is too young to be touched is waited for at most so long; the next session looks again."""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was found under one name, and what was done, or with a dry run would be done, about it."""

    name: str
    text: str
    is_lost: bool = False
    """A person must look at it now."""
    failed: tuple[FailedImage, ...] = ()
    """Images that failed by themselves and were taken back, so that they are not tried again."""


def has_leftovers(containers: Iterable[ContainerSummary]) -> bool:
    """Say whether there is anything to recover."""
    return bool(situations(containers))


async def recover(
    *,
    replacer: Replacer,
    containers: Iterable[ContainerSummary],
    dry_run: bool,
    on_wait: Callable[[str], None] = lambda _: None,
) -> tuple[RecoveryReport, ...]:
    """Bring every name of an engine in order. Idempotent; may be killed anywhere. Raises EngineUnavailableError.

    `on_wait` is told what is waited for, as that can take a minute.
    """
    recovery = _Recovery(replacer, dry_run=dry_run, on_wait=on_wait)
    found = tuple(containers)
    reports: list[RecoveryReport] = []
    for family in families(found, await replacer.sharers.documents(found)):
        reports += await recovery.handle(family)
    for family in recovery.too_young:
        reports += await recovery.handle(family, patient=True)
    return tuple(reports)


class _Recovery:
    """One pass over one engine."""

    def __init__(self, replacer: Replacer, *, dry_run: bool, on_wait: Callable[[str], None]) -> None:
        self._replacer = replacer
        self._on_wait = on_wait
        self._engine: Engine = replacer.engine
        self._dry_run = dry_run
        self.too_young: list[Family] = []

    async def handle(self, family: Family, *, patient: bool = False) -> list[RecoveryReport]:
        """Deal with what belongs together. What is too young is noted for later, or, with `patient`, waited for."""
        names = " and ".join(family.bases)
        try:
            members, turn = await self._look(family)
            if patient and not turn.is_ours and 0 < turn.wait <= LONGEST_WAIT_SECONDS:
                self._on_wait(f"{names} has an unfinished replacement: {turn.reason}; waiting {turn.wait:.0f} s")
                await anyio.sleep(turn.wait + CLOCK_MARGIN_SECONDS)
                members, turn = await self._look(family)
            if not members:
                return []  # whoever was at work has finished
            if self._dry_run:
                return [RecoveryReport(names, _would_do(members, turn))]
            if turn.is_ours:
                restored = await self._replacer.restore(family.bases, give_up=False, joined=family.joined)
                return [_done(names, restored)]
            if turn.wait and not patient:
                self.too_young.append(family)
                return []
            return [RecoveryReport(names, f"an unfinished replacement is left alone: {turn.reason}")]
        except EngineUnavailableError:
            raise
        except PredecessorLostError as error:
            return [RecoveryReport(names, str(error), is_lost=True)]
        except EngineError as error:
            text = f"an unfinished replacement could not be put in order, the next session tries again: {error}"
            return [RecoveryReport(names, text, is_lost=True)]

    async def _look(self, family: Family) -> tuple[list[Situation], Turn]:
        """Return what is open, and whether it is our turn: with all of it, or with nothing."""
        containers = [read_container(document) for document in await self._engine.list_containers()]
        found = situations(containers)
        members = [replace(found[base], is_joined=base in family.joined) for base in family.bases if base in found]
        running = frozenset(item.id for item in containers if item.state in UP)
        turns = [await self._turn(member, running) for member in members]
        others = [turn for turn in turns if not turn.is_ours]
        if not others:
            return members, Turn(True)
        # One that nobody can tell the wait for keeps all of them waiting.
        waits = [turn.wait for turn in others]
        return members, replace(others[0], wait=max(waits) if all(waits) else 0.0)

    async def _turn(self, situation: Situation, running: frozenset[str]) -> Turn:
        documents = [document for found in _members(situation) if (document := await self._inspect(found))]
        return whose_turn(
            situation,
            us=self._replacer.owner,
            running=running,
            age=await self._age(documents),
            budget=self._budget(documents),
        )

    async def _inspect(self, found: Found) -> JsonObject | None:
        try:
            return await self._engine.inspect_container(found.id)
        except NoSuchObjectError:
            return None

    async def _age(self, documents: list[JsonObject]) -> float:
        """Return how many seconds ago the youngest container changed, by the engine's own clock."""
        moments = [moment for document in documents for moment in _changes(document)]
        info = await self._engine.system_info()
        now = parse_time(str(info.get("SystemTime") or "")) or datetime.now(UTC)
        return (now - max(moments)).total_seconds() if moments else MARGIN_SECONDS

    def _budget(self, documents: list[JsonObject]) -> float:
        settings = self._replacer.settings
        watches = [watch_budget(document, settings.monitor) for document in documents]
        stops = [section(document, "Config").get("StopTimeout") for document in documents]
        longest_stop = max([settings.stop_timeout, *(int(stop) for stop in stops if stop is not None)])
        return longest_stop + max(watches, default=settings.monitor)


def _members(situation: Situation) -> list[Found]:
    return [
        found for found in (situation.new, situation.old, situation.bad, _young_only(situation)) if found is not None
    ]


def _young_only(situation: Situation) -> Found | None:
    """Return the container under the name where it may be the successor; the predecessor's age tells nothing."""
    return situation.named if situation.old is not None else None


def _changes(document: JsonObject) -> list[datetime]:
    state = section(document, "State")
    texts = [document.get("Created")]
    if not document.get("RestartCount"):  # else the engine moves them on by itself, in a restart loop for ever
        texts += [state.get("StartedAt"), state.get("FinishedAt")]
    return [moment for text in texts if (moment := parse_time(str(text or ""))) is not None]


_WOULD: dict[Move, str] = {
    Move.DISCARD_NEW: "a prepared successor would be removed",
    Move.UNDO: "the old container would be put back",
    Move.FORWARD: "the replacement would be finished",
    Move.REPLACE_FOR_GOOD: "the replacement would be finished",
    Move.PROMOTE_NEW: "the old container is gone; the new one would get its name",
    Move.PROMOTE_BAD: "the old container is gone; the failed new one would get its name",
    Move.ASK_A_PERSON: "a person must look at it: somebody made a container of that name in the meantime",
}
_DID: dict[Move, str] = {
    Move.DISCARD_NEW: "a prepared successor was removed",
    Move.UNDO: "the old container was put back",
    Move.FORWARD: "the replacement was finished",
    Move.REPLACE_FOR_GOOD: "the replacement was finished",
    Move.PROMOTE_NEW: "the old container was gone; the new one has its name now",
}


def _would_do(members: list[Situation], turn: Turn) -> str:
    if not turn.is_ours:
        return f"unfinished replacement, left alone: {turn.reason}"
    move, _ = decide_together(members)
    return f"unfinished replacement: {_WOULD[move]}"


def _done(base: str, restored: Restored) -> RecoveryReport:
    last = restored.moves[-1] if restored.moves else Move.NOTHING
    text = f"interrupted replacement: {_DID.get(last, 'it was in order already')}"
    if isinstance(restored.verdict, Bad):
        text += f", because the new one failed: {restored.verdict.reason}"
    return RecoveryReport(base, "; ".join((text, *restored.evidence)), failed=restored.failed)
