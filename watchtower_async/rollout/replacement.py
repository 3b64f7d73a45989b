"""One replacement: a container moves to a new image, and is never lost on the way.

Everything that the request can make fail, fails while the predecessor runs:

    pull by digest · tag · create the successor under a temporary name, with all its networks
    rename the predecessor · rename the successor      (before the start, since log drivers take the name then)
    stop the predecessor · start the successor         (the downtime)
    watch · remove the predecessor

From the create on, whatever goes wrong is put right by looking at the names and undoing what they tell. Cancelled
before the cut-over, the predecessor is as it was; cancelled while the successor is watched, it runs and recovery goes
on with it. The cut-over itself is not cancelled, and has a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from watchtower_async.engine.client import CALL_SECONDS, STOP_EXTRA_SECONDS, Engine
from watchtower_async.engine.injected_files import carry_over
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.temporary_name import Part
from watchtower_async.errors import EngineConflictError, EngineError, EngineUnavailableError, PredecessorLostError
from watchtower_async.rollout.blame import Blame, blame_for
from watchtower_async.rollout.health import Bad, Good
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.preparation import Preparation, Prepared, ReplacementTarget
from watchtower_async.rollout.steps import CutOver, Steps
from watchtower_async.rollout.transitions import Move, Situation, decide

__all__ = ["ReplacementSettings", "ReplacementTarget", "Replacer", "Restored"]

UNDO_ATTEMPTS = 4
UNDO_PAUSE_SECONDS = 1.0
LONGEST_STOP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ReplacementSettings:
    """Settings of a replacement, in seconds."""

    monitor: float
    """How long a successor without a health check must keep running."""
    stop_timeout: int
    """What a container gets to end by itself, where it names no time of its own."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A name that is in order again: what was done, and what a failed successor left to understand it."""

    moves: tuple[Move, ...]
    evidence: tuple[str, ...] = ()
    verdict: Good | Bad | None = None
    """How the successor was found where it was watched."""


class _NotOursError(Exception):
    """Another updater is at work on the same container; ours is the successor with this id."""

    def __init__(self, successor: str) -> None:
        super().__init__(successor)
        self.successor = successor


class Replacer:
    """Replaces containers of one engine, one at a time."""

    def __init__(self, *, engine: Engine, owner: str, facts: EngineFacts, settings: ReplacementSettings) -> None:
        """`owner` is what this updater writes into the names of an unfinished replacement."""
        self.engine = engine
        self.owner = owner
        self.settings = settings
        self._preparation = Preparation(engine=engine, facts=facts)
        self._steps = Steps(engine=engine, owner=owner, stop_timeout=settings.stop_timeout, monitor=settings.monitor)

    async def replace(self, target: ReplacementTarget) -> Outcome:
        """Replace one container; every expected end is an outcome.

        Raises EngineUnavailableError when the engine is gone before anything was touched.
        """
        prepared = await self._preparation.prepare(target)
        if isinstance(prepared, Outcome):
            return prepared
        successor = await self._create(prepared)
        if isinstance(successor, Outcome):
            return successor
        problem = await self._cut_over(prepared, successor)
        if problem is not None:
            return problem
        try:
            verdict = await self._steps.watch(successor, prepared.ran)
        except EngineError as error:
            # Nobody knows how the successor is. It runs, and recovery watches it again.
            return Outcome(OutcomeKind.UNFINISHED, f"the new container could not be watched: {error}")
        if isinstance(verdict, Bad):
            return await self._take_back(
                prepared, f"the new container failed: {verdict.reason}", verdict.blame, was_down=True
            )
        return await self._settle(prepared, verdict)

    # ---- before the cut-over -----------------------------------------------------------------------------------

    async def _create(self, prepared: Prepared) -> str | Outcome:
        """Tag the new image and create the successor. Cancelled, or in vain, everything is as it was."""
        try:
            return await self._create_successor(prepared)
        except EngineConflictError:
            await self._untouch_tag(prepared)
            return Outcome(OutcomeKind.FAILED, "the successor's name is taken: another updater is at work")
        except _NotOursError as error:
            await self._remove(error.successor)
            return Outcome(OutcomeKind.FAILED, "another updater is at work on this container")
        except EngineError as error:
            reason = f"the new container could not be created: {error}"
            return await self._take_back(prepared, reason, blame_for(error), was_down=False)
        except anyio.get_cancelled_exc_class():
            await self._take_back(prepared, "stopped", Blame.HOST, was_down=False)
            raise

    async def _create_successor(self, prepared: Prepared) -> str:
        target, recreation = prepared.target, prepared.recreation
        await self.engine.tag_image(
            prepared.new_image, repository=target.reference.repository, tag=target.reference.tag_or_latest
        )
        name = prepared.temporary_name(Part.NEW)
        successor = await self.engine.create_container(name, recreation.request, platform=recreation.platform)
        for network, endpoint in recreation.extra_networks:
            await self.engine.connect_network(network, successor, endpoint)
        if prepared.injected:
            await carry_over(self.engine, target.container_id, successor, prepared.injected)
        document = await self.engine.inspect_container(successor)
        if document.get("Image") != prepared.new_image:
            raise EngineError("its tag was moved to another image at this moment; the next session looks again")
        situation = await self._steps.observe(target.name)
        if situation.old is not None or situation.bad is not None or situation.has_doubles:
            raise _NotOursError(successor)
        return successor

    async def _remove(self, successor: str) -> None:
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            try:
                await self.engine.remove_container(successor, force=True)
            except EngineError:
                return  # recovery finds it by its name

    async def _untouch_tag(self, prepared: Prepared) -> None:
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            try:
                await self._steps.restore_tag(
                    prepared.target.reference, old_image=prepared.old_image, new_image=prepared.new_image
                )
            except EngineError:
                return  # the container is as it was; the next session finds the tag and the container apart

    # ---- the cut-over ------------------------------------------------------------------------------------------

    async def _cut_over(self, prepared: Prepared, successor: str) -> Outcome | None:
        order = CutOver(self._steps.stop_order(prepared.document), successor, prepared.ran, prepared.policy)
        old = prepared.target.container_id
        renamed = is_starting = False
        try:
            with anyio.fail_after(self._cut_over_budget(order), shield=True):
                await self.engine.rename_container(old, prepared.temporary_name(Part.OLD, self.owner))
                await self.engine.rename_container(successor, prepared.target.name)
                renamed = True
                await self._steps.make_way(order)
                is_starting = True
                await self._steps.start(order)
                is_starting = False
                await self._steps.neutralise(order)
        except EngineError as error:
            blame = blame_for(error) if is_starting else Blame.HOST
            reason = f"the new container did not start: {error}"
            return await self._take_back(prepared, reason, blame, was_down=renamed)
        except TimeoutError:
            reason = "the engine took too long to change over"
            return await self._take_back(prepared, reason, Blame.HOST, was_down=renamed)
        return None

    def _cut_over_budget(self, order: CutOver) -> float:
        timeout = order.stop.timeout
        patience = CALL_SECONDS if timeout is None or timeout < 0 else min(float(timeout), LONGEST_STOP_SECONDS)
        return patience + STOP_EXTRA_SECONDS + 3 * CALL_SECONDS

    # ---- after it ----------------------------------------------------------------------------------------------

    async def _settle(self, prepared: Prepared, verdict: Good) -> Outcome:
        notes = prepared.recreation.notes
        try:
            with anyio.fail_after(CALL_SECONDS, shield=True):
                await self.engine.remove_container(prepared.target.container_id)
        except (EngineError, TimeoutError) as error:
            notes = (*notes, f"the old container is not removed yet, recovery does it: {error}")
        return Outcome(OutcomeKind.UPDATED, verdict.reason, notes)

    async def _take_back(self, prepared: Prepared, reason: str, blame: Blame, *, was_down: bool) -> Outcome:
        """Put the predecessor back, whatever state it is in. Not cancelled, and bounded."""
        budget = 2 * self._cut_over_budget(
            CutOver(self._steps.stop_order(prepared.document), "", prepared.ran, prepared.policy)
        )
        try:
            with anyio.fail_after(budget, shield=True):
                restored = await self.restore(prepared.target.name, give_up=True)
                if not restored.moves:
                    await self._untouch_tag(prepared)
        except (EngineUnavailableError, TimeoutError) as error:
            text = f"{reason}; the engine went away, and recovery goes on as soon as it is back: {error}"
            return Outcome(OutcomeKind.UNFINISHED, text)
        except PredecessorLostError as error:
            return Outcome(OutcomeKind.LOST, f"{reason}; {error}")
        except EngineError as error:
            return await self._not_put_back(prepared, reason, error)
        kind = OutcomeKind.ROLLED_BACK if was_down else OutcomeKind.FAILED
        return Outcome(kind, reason, restored.evidence, blame)

    async def _not_put_back(self, prepared: Prepared, reason: str, error: EngineError) -> Outcome:
        name = prepared.target.name
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            try:
                document = await self.engine.inspect_container(name)
            except EngineError:
                document = {}
            if section(document, "State").get("Running"):
                text = f"{reason}; {name} runs, and recovery clears up what could not be removed: {error}"
                return Outcome(OutcomeKind.FAILED, text)
        return Outcome(OutcomeKind.LOST, f"{reason}; and the old container could not be put back: {error}")

    # ---- for recovery ------------------------------------------------------------------------------------------

    async def restore(self, base: str, *, give_up: bool) -> Restored:
        """Bring a name in order, looking afresh before each move. Raises EngineError when that fails repeatedly.

        Raises PredecessorLostError when only a failed successor could be brought up, or a person must decide.
        """
        moves: list[Move] = []
        evidence: tuple[str, ...] = ()
        verdict: Good | Bad | None = None
        failures = 0
        while True:
            try:
                situation = await self._steps.observe(base)
                move = decide(situation, give_up=give_up or isinstance(verdict, Bad))
                if move is Move.NOTHING:
                    return Restored(tuple(moves), evidence, verdict)
                moves.append(move)
                if move is Move.FORWARD:
                    verdict = await self._steps.forward(situation)
                else:
                    evidence = await self._move(move, situation) or evidence
            except EngineError as error:
                failures += 1
                if failures >= UNDO_ATTEMPTS:
                    raise
                # What the engine refused is undone; what it did not answer is tried again.
                give_up = give_up or not error.transient
                await anyio.sleep(UNDO_PAUSE_SECONDS * failures)

    async def _move(self, move: Move, situation: Situation) -> tuple[str, ...]:
        match move:
            case Move.DISCARD_NEW:
                await self._steps.discard_new(situation)
            case Move.PROMOTE_NEW:
                await self._steps.promote_new(situation)
            case Move.UNDO:
                return await self._steps.undo(situation)
            case Move.PROMOTE_BAD:
                await self._steps.promote_bad(situation)
                raise PredecessorLostError(
                    f"the old container of {situation.base} was removed while it was being put back; "
                    "the new one, which had failed, has the name now"
                )
            case _:
                raise PredecessorLostError(
                    f"somebody made a container {situation.base} while it was being replaced; "
                    "look at the containers whose names begin with it"
                )
        return ()
