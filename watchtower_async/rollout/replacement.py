"""One replacement: containers move to new images, and are never lost on the way.

Mostly it is one container. Where others share its namespaces or link to it, all are created anew in one transaction:
each step is done for all of them before the next one begins, and all go on or all go back.

Everything that the request can make fail, fails while the predecessor runs:

    pull by digest · tag · create the successor under a temporary name, with all its networks
    rename the predecessor · rename the successor      (before the start, since log drivers take the name then)
    stop the predecessor · start the successor         (the downtime)
    watch · remove the predecessor

With start-first, the successor starts and is watched before the names change and the predecessor stops.

A container that the engine removes at its stop (`--rm`) cannot be put back, only be made again from what was prepared:
its successor is created before, and gets the name last.

From the create on, whatever goes wrong is put right by looking at the names and undoing what they tell. Cancelled
before the cut-over, the predecessor is as it was; cancelled while the successor is watched, it runs and recovery goes
on with it. The cut-over itself is not cancelled; it has a deadline, and is hastened when the updater has to leave.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from watchtower_async.engine.client import CALL_SECONDS, STOP_EXTRA_SECONDS, Engine
from watchtower_async.engine.disk import Disk
from watchtower_async.engine.injected_files import carry_over
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.temporary_name import Part, RunState
from watchtower_async.errors import (
    EngineConflictError,
    EngineError,
    EngineUnavailableError,
    NoSuchObjectError,
    PredecessorLostError,
)
from watchtower_async.rollout.blame import Blame, blame_for
from watchtower_async.rollout.health import Bad, Good
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.preparation import Preparation, Prepared, PreparedGroup, ReplacementTarget
from watchtower_async.rollout.sharers import Sharers
from watchtower_async.rollout.steps import CutOver, FailedImage, Steps
from watchtower_async.rollout.transitions import Move, Situation, decide_together
from watchtower_async.settings import Order

__all__ = ["PreparedGroup", "ReplacementSettings", "ReplacementTarget", "Replacer", "Restored"]

UNDO_ATTEMPTS = 4
UNDO_PAUSE_SECONDS = 1.0
LEAST_OVERLAP_SECONDS = 3.0
"""How long both run at least with start-first, however soon the new one is healthy."""


@dataclass(frozen=True, slots=True)
class ReplacementSettings:
    """Settings of a replacement, in seconds."""

    monitor: float
    """How long a successor without a health check must keep running."""
    stop_timeout: int
    """What a container gets to end by itself, where it names no time of its own."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Names that are in order again: what was done, and what failed successors left to understand it."""

    moves: tuple[Move, ...]
    evidence: tuple[str, ...] = ()
    verdict: Good | Bad | None = None
    """How the successors were found where they were watched."""
    failed: tuple[FailedImage, ...] = ()
    """Images that failed by themselves."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The successors will not run as they should. What is there is left as it is, to be taken back."""

    outcome: Outcome
    is_touched: bool = True
    """Whether a predecessor's name or state has changed."""


class Slot(Protocol):
    """What a replacement tells in the meantime."""

    def down(self) -> None:
        """Say that the first container is about to be taken down."""

    def up(self) -> None:
        """Say that all of the successors run, and are healthy where they have a check."""


class _Untold:
    """Nobody wants to know."""

    def down(self) -> None:
        """Say nothing."""

    def up(self) -> None:
        """Say nothing."""


_UNTOLD = _Untold()


async def _no_drain() -> None:
    """Nothing is to be done before the stop."""


class _NotOursError(Exception):
    """Another updater is at work on the same container."""


class Replacer:
    """Replaces containers of one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        owner: str,
        facts: EngineFacts,
        settings: ReplacementSettings,
        sharers: Sharers | None = None,
        haste: anyio.Event | None = None,
        disk: Disk | None = None,
    ) -> None:
        """`owner` is what this updater writes into the names of an unfinished replacement.

        `haste` is set when the updater has to leave: what is begun is then brought to an end within seconds. `disk`
        says whether there is room for a pull.
        """
        self.engine = engine
        self.owner = owner
        self.settings = settings
        self.sharers = sharers or Sharers(engine)
        self._preparation = Preparation(engine=engine, facts=facts, sharers=self.sharers, disk=disk)
        self._steps = Steps(
            engine=engine,
            owner=owner,
            stop_timeout=settings.stop_timeout,
            monitor=settings.monitor,
            haste=haste or anyio.Event(),
        )

    async def replace(self, *targets: ReplacementTarget, order: Order = Order.STOP_FIRST) -> Outcome:
        """Replace containers together, targets first; every expected end is an outcome.

        Raises EngineUnavailableError when the engine is gone before anything was touched.
        """
        prepared = await self.prepare(targets, order=order)
        if isinstance(prepared, Outcome):
            return prepared
        ended = await self.carry_out(prepared)
        return await self.take_back(prepared, ended) if isinstance(ended, Failure) else ended

    async def prepare(
        self, targets: Sequence[ReplacementTarget], *, order: Order = Order.STOP_FIRST
    ) -> PreparedGroup | Outcome:
        """Do what touches no container, as `Preparation.prepare` says. Raises EngineUnavailableError."""
        return await self._preparation.prepare(targets, order=order)

    async def carry_out(
        self,
        group: PreparedGroup,
        slot: Slot = _UNTOLD,
        *,
        monitor: float | None = None,
        before_stop: Callable[[], Awaitable[None]] = _no_drain,
    ) -> Outcome | Failure:
        """Create the successors, cut over, watch them, and remove the predecessors.

        A failure after the first container was touched is left as it is, for `take_back`. `monitor` is a window of its
        own, in seconds. `before_stop` is awaited when all is ready for the cut-over; cancelled there, all is as before.
        """
        successors = await self._create(group)
        if isinstance(successors, Failure):
            return successors
        slot.down()
        if group.order.order is Order.START_FIRST:
            early = await self._start_early(group, successors, monitor)
            if early is not None:
                return early
        await self._drain(group, before_stop)
        cut_over = self._replace_for_good if group.members[0].vanishes else self._cut_over
        failure = await cut_over(group, successors)
        if failure is not None:
            return failure
        watched = [(successors[member.target.container_id], _watched_as(member)) for member in group.members]
        try:
            index, verdict = await self._steps.watch_all(watched, slot.up, monitor=monitor)
        except EngineError as error:
            # Nobody knows how the successors are. They run, and recovery watches them again.
            return Outcome(OutcomeKind.UNFINISHED, f"the new container could not be watched: {error}")
        except anyio.get_cancelled_exc_class():
            await self._leave(group, watched)
            raise
        if isinstance(verdict, Bad):
            if any(member.is_worth_going_back_to for member in group.members):
                return _failed_successor(group, index, verdict)
            verdict = Good(f"the new container failed, too, as the old one had before: {verdict.reason}")
        return await self._settle(group, verdict)

    # ---- before the cut-over -----------------------------------------------------------------------------------

    async def _create(self, group: PreparedGroup) -> dict[str, str] | Failure:
        """Tag the new images and create the successors. Cancelled, or in vain, everything is as it was."""
        created: dict[str, str] = {}
        try:
            for member in group.members:
                await self._create_successor(group, member, created)
        except EngineConflictError:
            await self._forget(group, created)
            return _untouched(Outcome(OutcomeKind.FAILED, "the successor's name is taken: another updater is at work"))
        except _NotOursError:
            await self._forget(group, created)
            return _untouched(Outcome(OutcomeKind.FAILED, "another updater is at work on this container"))
        except EngineError as error:
            reason = f"the new container could not be created: {error}"
            failure = Failure(Outcome(OutcomeKind.FAILED, reason, blame=blame_for(error)), is_touched=False)
            return replace(failure, outcome=await self.take_back(group, failure))
        except anyio.get_cancelled_exc_class():
            await self.take_back(group, Failure(Outcome(OutcomeKind.FAILED, "stopped"), is_touched=False))
            raise
        return created

    async def _create_successor(self, group: PreparedGroup, member: Prepared, created: dict[str, str]) -> None:
        target = member.target
        if target.reference is not None:
            await self.engine.tag_image(
                member.new_image_id, repository=target.reference.repository, tag=target.reference.tag_or_latest
            )
        # Targets are created before those that need them, so that these can name the new ones.
        recreation = self._preparation.recreation_with(member, group.neighbourhood.replacing(created))
        name = member.temporary_name(Part.NEW)
        successor = await self.engine.create_container(name, recreation.request, platform=recreation.platform)
        created[target.container_id] = successor
        for network, endpoint in recreation.extra_networks:
            await self.engine.connect_network(network, successor, endpoint)
        if member.injected:
            await carry_over(self.engine, target.container_id, successor, member.injected)
        document = await self.engine.inspect_container(successor)
        if document.get("Image") != member.new_image_id:
            raise EngineError("its tag was moved to another image at this moment; the next session looks again")
        situation = await self._steps.observe(target.name)
        if situation.old is not None or situation.bad is not None or situation.has_doubles:
            raise _NotOursError

    async def _forget(self, group: PreparedGroup, created: dict[str, str]) -> None:
        """Remove what was created, and nothing else: the names belong to another updater."""
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            for successor in reversed(created.values()):
                try:
                    await self.engine.remove_container(successor, force=True)
                except EngineError:
                    continue  # recovery finds it by its name
        await self._untouch_tags(group)

    async def _untouch_tags(self, group: PreparedGroup) -> None:
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            for member in group.members:
                if member.target.reference is None:
                    continue
                try:
                    await self._steps.restore_tag(
                        member.target.reference, old_image=member.old_image_id, new_image=member.new_image_id
                    )
                except EngineError:
                    continue  # the container is as it was; the next session finds the tag and the container apart

    async def _start_early(
        self, group: PreparedGroup, successors: dict[str, str], monitor: float | None
    ) -> Outcome | Failure | None:
        """Start the successor beside the predecessor, and wait until it is good. Cancelled, it is taken back."""
        (member,) = group.members
        successor = successors[member.target.container_id]
        try:
            await self.engine.start_container(successor)
            started = anyio.current_time()
            verdict = await self._steps.watch(successor, member.ran, monitor=monitor)
            # Names lead to it before its network interface answers; whoever was sent there must not be left alone.
            await anyio.sleep_until(started + LEAST_OVERLAP_SECONDS)
        except EngineUnavailableError as error:
            return Outcome(OutcomeKind.UNFINISHED, f"the new container could not be watched: {error}")
        except EngineError as error:
            reason = f"the new container did not start: {error}"
            return Failure(Outcome(OutcomeKind.FAILED, reason, blame=blame_for(error)))
        except anyio.get_cancelled_exc_class():
            await self.take_back(group, Failure(Outcome(OutcomeKind.FAILED, "stopped"), is_touched=False))
            raise
        if isinstance(verdict, Bad):
            return _failed_successor(group, 0, verdict)
        return None

    async def _drain(self, group: PreparedGroup, before_stop: Callable[[], Awaitable[None]]) -> None:
        try:
            await before_stop()
        except anyio.get_cancelled_exc_class():
            await self.take_back(group, Failure(Outcome(OutcomeKind.FAILED, "stopped"), is_touched=False))
            raise

    # ---- the cut-over ------------------------------------------------------------------------------------------

    async def _cut_over(self, group: PreparedGroup, successors: dict[str, str]) -> Failure | None:
        runs_already = group.order.order is Order.START_FIRST
        orders = [
            replace(self._order_of(member, successors[member.target.container_id]), first_start=not runs_already)
            for member in group.members
        ]
        renamed = False
        starting = ""
        try:
            with anyio.fail_after(self._cut_over_budget(orders), shield=True):
                for member, order in zip(group.members, orders, strict=True):
                    if member.is_restarting:
                        await self._steps.make_way(order)  # engines before 28 cannot rename it otherwise
                for member in group.members:
                    old = member.target.container_id
                    await self.engine.rename_container(old, member.temporary_name(Part.OLD, self.owner))
                    await self.engine.rename_container(successors[old], member.target.name)
                    renamed = True
                for order in reversed(orders):
                    await self._steps.make_way(order)
                for member, order in zip(group.members, orders, strict=True):
                    starting = member.target.name
                    await self._steps.start(order)
                    starting = ""
                    await self._steps.neutralise(order)
        except EngineError as error:
            blame = blame_for(error) if starting else Blame.HOST
            reason = f"the new container did not start: {error}"
            return Failure(Outcome(OutcomeKind.FAILED, reason, blame=blame, culprit=starting), renamed)
        except TimeoutError:
            reason = "the engine took too long to change over"
            return Failure(Outcome(OutcomeKind.FAILED, reason, blame=Blame.HOST), renamed)
        return None

    def _order_of(self, member: Prepared, successor: str) -> CutOver:
        stop = self._steps.stop_order(member.document)
        return CutOver(stop, successor, member.ran, member.policy, starts=member.starts)

    def _cut_over_budget(self, orders: Sequence[CutOver]) -> float:
        return sum(_patience(order.stop.timeout) + STOP_EXTRA_SECONDS + 3 * CALL_SECONDS for order in orders)

    async def _replace_for_good(self, group: PreparedGroup, successors: dict[str, str]) -> Outcome | Failure | None:
        """Cut over what the engine removes at its stop. From the stop on there is no way but on."""
        (member,) = group.members
        old = member.target.container_id
        is_starting = False
        try:
            with anyio.fail_after(self._cut_over_budget([self._order_of(member, "")]), shield=True):
                await self.engine.rename_container(old, member.temporary_name(Part.OLD, self.owner))
                await self._steps.stop_for_good(self._steps.stop_order(member.document))
                is_starting = True
                await self.engine.start_container(successors[old])
                is_starting = False
                await self._steps.name_last(successors[old], member.ran, member.target.name)
        except (EngineError, TimeoutError) as error:
            if is_starting and isinstance(error, EngineError) and not error.transient:
                reason = f"the new container did not start: {error}"
                return Failure(Outcome(OutcomeKind.FAILED, reason, blame=blame_for(error)))
            return await self._go_on_for_good(group, successors[old], f"the change-over was interrupted: {error}")
        return None

    async def _go_on_for_good(self, group: PreparedGroup, successor: str, reason: str) -> Outcome | Failure | None:
        """Find out what an interrupted change-over has done, and go on with the successor where that is possible."""
        (member,) = group.members
        try:
            with anyio.fail_after(2 * self._cut_over_budget([self._order_of(member, "")]), shield=True):
                await self.restore(group.names, give_up=False)
                document = await self.engine.inspect_container(member.target.name)
        except (EngineUnavailableError, TimeoutError) as error:
            return Outcome(OutcomeKind.UNFINISHED, f"{reason}; the engine went away: {error}")
        except (EngineError, PredecessorLostError) as error:
            return Failure(Outcome(OutcomeKind.FAILED, f"{reason}; {error}", blame=Blame.HOST))
        if document.get("Id") == successor:
            return None
        with anyio.CancelScope(shield=True):
            await self._untouch_tags(group)
        return Outcome(OutcomeKind.FAILED, f"{reason}; the old container runs on", blame=Blame.HOST)

    # ---- after it ----------------------------------------------------------------------------------------------

    async def _settle(self, group: PreparedGroup, verdict: Good) -> Outcome:
        notes = tuple(note for member in group.members for note in member.recreation.notes)
        try:
            with anyio.fail_after(CALL_SECONDS * len(group.members), shield=True):
                # Dependents first: what a dead id in one of them meant, only its target's predecessor can tell.
                for member in reversed(group.members):
                    await self.engine.remove_container(member.target.container_id)
        except (EngineError, TimeoutError) as error:
            notes = (*notes, f"the old container is not removed yet, recovery does it: {error}")
        return Outcome(OutcomeKind.UPDATED, verdict.reason, notes)

    async def take_back(self, group: PreparedGroup, failure: Failure) -> Outcome:
        """Put the predecessors back, whatever state they are in. Not cancelled, and bounded."""
        if failure.is_touched and group.members[0].vanishes and await self._is_gone(group.members[0]):
            return await self._make_again(group, failure)
        reason = failure.outcome.reason
        budget = 2 * self._cut_over_budget([self._order_of(member, "") for member in group.members])
        try:
            with anyio.fail_after(budget, shield=True):
                restored = await self.restore(group.names, give_up=True)
                if not restored.moves:
                    await self._untouch_tags(group)
        except (EngineUnavailableError, TimeoutError) as error:
            text = f"{reason}; the engine went away, and recovery goes on as soon as it is back: {error}"
            return Outcome(OutcomeKind.UNFINISHED, text)
        except PredecessorLostError as error:
            return Outcome(OutcomeKind.LOST, f"{reason}; {error}")
        except EngineError as error:
            return await self._not_put_back(group, reason, error)
        kind = OutcomeKind.ROLLED_BACK if failure.is_touched else OutcomeKind.FAILED
        return replace(failure.outcome, kind=kind, detail=restored.evidence)

    async def _make_again(self, group: PreparedGroup, failure: Failure) -> Outcome:
        """Make a container that removed itself at its stop anew, from its own settings and its old image."""
        (member,) = group.members
        try:
            with anyio.fail_after(2 * self._cut_over_budget([self._order_of(member, "")]), shield=True):
                evidence = await self._steps.clear_for_good((member.target.name, member.temporary_name(Part.NEW)))
                await self._untouch_tags(group)
                await self._create_again(group, member)
        except (EngineError, TimeoutError) as error:
            text = f"{failure.outcome.reason}; it had --rm, and could not be made again: {error}"
            return Outcome(OutcomeKind.LOST, text, blame=failure.outcome.blame)
        return replace(failure.outcome, kind=OutcomeKind.ROLLED_BACK, detail=evidence)

    async def _is_gone(self, member: Prepared) -> bool:
        with anyio.CancelScope(shield=True):
            try:
                await self.engine.inspect_container(member.target.container_id)
            except NoSuchObjectError:
                return True
            except EngineError:
                return False
        return False

    async def _create_again(self, group: PreparedGroup, member: Prepared) -> None:
        kept = replace(member, new_image=member.old_image)
        recreation = self._preparation.recreation_with(kept, group.neighbourhood)
        request = recreation.request
        try:
            meant = (await self.engine.inspect_image(str(request.get("Image") or ""))).get("Id")
        except NoSuchObjectError:
            meant = None
        if meant != member.old_image_id:
            request = {**request, "Image": member.old_image_id}  # its tag belongs to another image now
        name = member.target.name
        container = await self.engine.create_container(name, request, platform=recreation.platform)
        for network, endpoint in recreation.extra_networks:
            await self.engine.connect_network(network, container, endpoint)
        await self._steps.start_and_name(container, member.ran, name)

    async def _leave(self, group: PreparedGroup, watched: Sequence[tuple[str, RunState]]) -> None:
        """Take back at once what is seen to have failed when nobody will watch it any more."""
        failed: tuple[int, Bad] | None = None
        with anyio.move_on_after(CALL_SECONDS, shield=True), suppress(EngineError):
            failed = await self._steps.failed_already(watched)
        if failed is not None:
            await self.take_back(group, _failed_successor(group, *failed))

    async def _not_put_back(self, group: PreparedGroup, reason: str, error: EngineError) -> Outcome:
        with anyio.move_on_after(CALL_SECONDS, shield=True):
            down = [member.target.name for member in group.members if not await self._is_as_it_ran(member)]
            if not down:
                names = " and ".join(group.names)
                text = f"{reason}; {names} runs, and recovery clears up what could not be removed: {error}"
                return Outcome(OutcomeKind.FAILED, text)
        return Outcome(OutcomeKind.LOST, f"{reason}; and the old container could not be put back: {error}")

    async def _is_as_it_ran(self, member: Prepared) -> bool:
        try:
            document = await self.engine.inspect_container(member.target.name)
        except EngineError:
            return False
        return bool(section(document, "State").get("Running")) or not member.target.is_up

    # ---- for recovery ------------------------------------------------------------------------------------------

    async def restore(self, bases: Sequence[str], *, give_up: bool, joined: frozenset[str] = frozenset()) -> Restored:
        """Bring names in order together, targets first, looking afresh before each move.

        `joined` are those whose successors others were settled on, so that they cannot go back. Raises EngineError when
        it fails repeatedly, and PredecessorLostError when only a failed successor could be brought up, or a person
        must decide.
        """
        moves: list[Move] = []
        evidence: tuple[str, ...] = ()
        verdict: Good | Bad | None = None
        failed: tuple[FailedImage, ...] = ()
        failures = 0
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    members = await self._steps.observe_all(bases, joined=joined)
                    move, concerned = decide_together(members, give_up=give_up or isinstance(verdict, Bad))
                    if move is Move.NOTHING:
                        _see_that_it_is_there(moves, members)
                        return Restored(tuple(moves), evidence, verdict, failed)
                    moves.append(move)
                    if move is not Move.FORWARD:
                        evidence = await self._move(move, concerned) or evidence
                if move is Move.FORWARD:
                    verdict, image = await self._steps.forward(concerned)
                    failed = failed if image is None else (image,)
            except EngineError as error:
                failures += 1
                if failures >= UNDO_ATTEMPTS:
                    raise
                # What the engine refused is undone; what it did not answer is tried again.
                give_up = give_up or not error.transient
                await anyio.sleep(UNDO_PAUSE_SECONDS * failures)

    async def _move(self, move: Move, concerned: Sequence[Situation]) -> tuple[str, ...]:
        if move in (Move.UNDO, Move.DISCARD_NEW):
            return await self._steps.undo(concerned)
        situation = concerned[0]
        if move is Move.REPLACE_FOR_GOOD:
            await self._steps.replace_for_good(situation)
            return ()
        if move is Move.PROMOTE_NEW:
            await self._steps.promote_new(situation)
            return ()
        if move is Move.PROMOTE_BAD:
            await self._steps.promote_bad(situation)
            raise PredecessorLostError(
                f"the old container of {situation.base} was removed while it was being put back; "
                "the new one, which had failed, has the name now"
            )
        raise PredecessorLostError(
            f"somebody made a container {situation.base} while it was being replaced; "
            "look at the containers whose names begin with it"
        )


def _watched_as(member: Prepared) -> RunState:
    """Return how the successor is watched: as the predecessor ran, or as what it is started for."""
    if not member.starts:
        return RunState.STOPPED
    return RunState.RUNNING if member.ran is RunState.STOPPED else member.ran


def _patience(timeout: int | None) -> float:
    return CALL_SECONDS if timeout is None or timeout < 0 else float(timeout)


def _see_that_it_is_there(moves: Sequence[Move], members: Sequence[Situation]) -> None:
    """Raise PredecessorLostError where the engine removed a successor that it could not start (`--rm`)."""
    gone = [situation.base for situation in members if situation.named is None]
    if gone and moves and moves[-1] in (Move.PROMOTE_NEW, Move.REPLACE_FOR_GOOD):
        raise PredecessorLostError(
            f"{gone[0]} had --rm, and the engine removed its successor as well, which did not start"
        )


def _untouched(outcome: Outcome) -> Failure:
    return Failure(outcome, is_touched=False)


def _failed_successor(group: PreparedGroup, index: int, verdict: Bad) -> Failure:
    whose = "the new container" if len(group.members) == 1 else f"the new container of {group.names[index]}"
    reason = f"{whose} failed: {verdict.reason}"
    culprit = group.names[index] if len(group.members) > 1 else ""
    return Failure(Outcome(OutcomeKind.FAILED, reason, blame=verdict.blame, culprit=culprit))
