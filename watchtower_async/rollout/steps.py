"""The sequences of engine calls that bring a container's name in order. Each may be repeated from its beginning.

Every call's goal is a state, and a state that is reached already is a success, so a sequence that was cut off anywhere
is finished by running it again. Rules for the order:

* a restart policy changes only on a container that is down: on a running one the engine rewrites its whole resource
  set, which takes devices away from some runtimes;
* a restarting container is stopped before it is renamed: engines before 28 refuse the other order;
* at no moment do both containers carry a policy that would start them, and at most for one call neither does;
* the predecessor is removed last, and a failed successor only when the predecessor is up;
* of containers that share namespaces, dependents stop first and targets start first;
* what the engine removes at its stop (`--rm`) has no way back: its successor takes the name last, since nothing else
  would tell that somebody was at work.

Nothing here is cancelled half-way but the watching. Each call has its own deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.inventory import read_container
from watchtower_async.engine.spec_parts import labels_of, section
from watchtower_async.engine.spec_relations import relations
from watchtower_async.engine.temporary_name import Part, RestartPolicy, RunState, TemporaryName, read_policy
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import EngineError, InvalidReferenceError, NoSuchObjectError
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.rollout.blame import Blame, blame_for
from watchtower_async.rollout.health import Bad, Good, collect_evidence, judge_successor, watch_successor
from watchtower_async.rollout.transitions import UP, Found, Situation, situations

STOP_SIGNAL_LABEL = "com.centurylinklabs.watchtower.stop-signal"
HOLD_POLL_SECONDS = 0.5
HOLD_MARGIN_SECONDS = 2.0
HASTE_SECONDS = 4.0
"""What all that is being stopped still gets when we have to leave: Docker gives us ten seconds by default."""
VANISH_SECONDS = 30.0
VANISH_POLL_SECONDS = 0.05

ALWAYS = RestartPolicy("always")
NEVER = RestartPolicy("no")


@dataclass(frozen=True, slots=True)
class StopOrder:
    """How a container is stopped. `timeout` is in seconds, None leaves it to the engine."""

    container_id: str
    timeout: int | None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class CutOver:
    """What the part with the downtime needs, known before it begins."""

    stop: StopOrder
    successor_id: str
    ran: RunState
    policy: RestartPolicy
    first_start: bool = True
    """Whether the successor was never started."""
    starts: bool | None = None
    """Whether the successor is started; None is as the predecessor ran."""

    @property
    def is_to_run(self) -> bool:
        """Say whether the successor is started."""
        return self.ran is not RunState.STOPPED if self.starts is None else self.starts


@dataclass(frozen=True, slots=True)
class FailedImage:
    """What a successor ran that failed by itself: for the quarantine."""

    container: str
    """Its original name."""
    image: str
    """Its image, as its configuration names it."""
    image_id: str


class Steps:
    """Carries sequences out on one engine. Raises EngineError where a call fails."""

    def __init__(self, *, engine: Engine, owner: str, stop_timeout: int, monitor: float, haste: anyio.Event) -> None:
        """`stop_timeout` (seconds) is for containers that name none; `monitor` (seconds) is the monitor window.

        From when `haste` is set on, what is begun is brought to an end within seconds.
        """
        self._engine = engine
        self._owner = owner
        self._stop_timeout = stop_timeout
        self._monitor = monitor
        self._haste = haste
        self._kill_at: float | None = None

    def stop_order(self, document: JsonObject) -> StopOrder:
        """Return how to stop an inspected container: its own time-out and signal come first."""
        own = section(document, "Config").get("StopTimeout")
        timeout = self._stop_timeout if own is None else int(own)
        return StopOrder(str(document["Id"]), timeout, labels_of(document).get(STOP_SIGNAL_LABEL) or None)

    # ---- forward -----------------------------------------------------------------------------------------------

    async def make_way(self, order: CutOver) -> None:
        """Stop the predecessor, so that the engine alone brings it up again until the successor has started."""
        if order.ran is RunState.STOPPED:
            return
        await self.stop(order.stop)
        # Both are down now. If we never come back, `always` is what makes the engine bring a stopped container up.
        if order.first_start and order.policy not in (NEVER, ALWAYS):
            await self._engine.set_restart_policy(order.stop.container_id, ALWAYS.as_json())

    async def start(self, order: CutOver) -> None:
        """Start the successor where it is to run."""
        if order.is_to_run:
            await self._engine.start_container(order.successor_id)

    async def neutralise(self, order: CutOver) -> None:
        """See that the predecessor stays down, and that the successor is as it was."""
        if order.ran is RunState.STOPPED and not order.is_to_run:
            return
        if order.policy != NEVER:
            await self._engine.set_restart_policy(order.stop.container_id, NEVER.as_json())
        if order.ran is RunState.PAUSED and order.is_to_run:
            await self._engine.pause_container(order.successor_id)

    async def watch(
        self,
        successor_id: str,
        ran: RunState,
        on_up: Callable[[], None] = lambda: None,
        *,
        monitor: float | None = None,
    ) -> Good | Bad:
        """Wait until it is known whether the successor is good; tell when it runs, and is healthy if it has a check.

        `monitor` is a window of its own, in seconds.
        """
        if ran is RunState.RUNNING:
            window = self._monitor if monitor is None else monitor
            return await watch_successor(self._engine, successor_id, monitor=window, on_up=on_up)
        on_up()
        return Good("it is not started" if ran is RunState.STOPPED else "it is paused, as before")

    async def forward(self, members: Sequence[Situation]) -> tuple[Good | Bad, FailedImage | None]:
        """Go on where somebody stopped: cut over if that is not done, watch, and remove the predecessors of good ones.

        Each situation has a successor under the name and a predecessor. Targets stand first. Returns also what failed
        by itself. Cancelled while it watches, it puts the predecessors back where a successor has failed already.
        """
        with anyio.CancelScope(shield=True):
            orders = [await self._order_of(situation) for situation in members]
            index, verdict = await self._go_on(members, orders)
        if isinstance(verdict, Good):
            try:
                index, verdict = await self.watch_all([(order.successor_id, order.ran) for order in orders])
            except anyio.get_cancelled_exc_class():
                await self._leave(members, orders)
                raise
        with anyio.CancelScope(shield=True):
            if isinstance(verdict, Bad) and not any(situation.is_joined for situation in members):
                return verdict, await self._failed_image(members[index], verdict)
            for order in reversed(orders):
                await self._engine.remove_container(order.stop.container_id)
        if isinstance(verdict, Bad):
            # What lives in its namespaces is settled on it, so there is no way back for these alone.
            text = f"{members[index].base} is kept, as others were settled on it, although {verdict.reason}"
            return Good(text), None
        return verdict, None

    async def _go_on(self, members: Sequence[Situation], orders: Sequence[CutOver]) -> tuple[int, Good | Bad]:
        """Cut over, and say which successor the engine could not start."""
        for order in reversed(orders):
            await self.make_way(order)
        for index, order in enumerate(orders):
            try:
                await self.start(order)
            except EngineError as error:
                if error.transient or any(situation.is_joined for situation in members):
                    raise
                return index, Bad(f"it did not start: {error}", blame_for(error))
            await self.neutralise(order)
        await self._rejoin([order.successor_id for order in orders])
        return 0, Good("it was started")

    async def _leave(self, members: Sequence[Situation], orders: Sequence[CutOver]) -> None:
        """See that the containers run when nobody will watch them any more."""
        with anyio.CancelScope(shield=True), suppress(EngineError):
            failed = await self.failed_already([(order.successor_id, order.ran) for order in orders])
            if failed is not None and not any(situation.is_joined for situation in members):
                await self.undo(members)

    async def failed_already(self, watched: Sequence[tuple[str, RunState]]) -> tuple[int, Bad] | None:
        """Look once: return the index and verdict of a successor that has failed, None where none is known to."""
        for index, (successor, ran) in enumerate(watched):
            if ran is not RunState.RUNNING:
                continue
            try:
                document = await self._engine.inspect_container(successor)
            except NoSuchObjectError:
                return index, Bad("it was removed while it was watched", Blame.HOST)
            judgement = judge_successor(document, watched=0.0, monitor=self._monitor)
            if isinstance(judgement, Bad):
                return index, judgement
        return None

    async def _failed_image(self, situation: Situation, verdict: Bad) -> FailedImage | None:
        if verdict.blame is not Blame.IMAGE or situation.successor is None:
            return None
        try:
            document = await self._engine.inspect_container(situation.successor.id)
        except NoSuchObjectError:
            return None
        image = str(section(document, "Config").get("Image") or "")
        return FailedImage(situation.base, image, str(document.get("Image") or ""))

    async def _order_of(self, situation: Situation) -> CutOver:
        old, successor, code = situation.old, situation.named, situation.code
        assert old is not None
        assert successor is not None
        assert code is not None
        document = await self._engine.inspect_container(old.id)
        return CutOver(self.stop_order(document), successor.id, code.ran, code.policy, not successor.was_started)

    async def watch_all(
        self,
        watched: Sequence[tuple[str, RunState]],
        on_up: Callable[[], None] = lambda: None,
        *,
        monitor: float | None = None,
    ) -> tuple[int, Good | Bad]:
        """Watch successors at once. Return a bad one's index and verdict as soon as there is one, else the first's.

        `on_up` is told when all of them run, and are healthy where they have a check.
        """
        verdicts: dict[int, Good | Bad] = {}
        waiting = set(range(len(watched)))
        failure: EngineError | None = None

        def is_up(index: int) -> None:
            waiting.discard(index)
            if not waiting:
                on_up()

        async def watch(index: int, successor: str, ran: RunState) -> None:
            nonlocal failure
            try:
                verdicts[index] = await self.watch(successor, ran, lambda: is_up(index), monitor=monitor)
            except EngineError as error:
                failure = error
            if failure is not None or isinstance(verdicts[index], Bad):
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for index, (successor, ran) in enumerate(watched):
                group.start_soon(watch, index, successor, ran)
        bad = next((index for index in sorted(verdicts) if isinstance(verdicts[index], Bad)), None)
        if bad is not None:
            return bad, verdicts[bad]
        if failure is not None:
            raise failure
        return 0, verdicts[0]

    async def _rejoin(self, ids: Sequence[str]) -> None:
        """Restart what runs in a namespace that is gone, as its target was started after it. Targets stand first."""
        started: dict[str, datetime] = {}
        for identity in ids:
            document = await self._engine.inspect_container(identity)
            since = parse_time(str(section(document, "State").get("StartedAt") or ""))
            if since is None or section(document, "State").get("Status") != "running":
                continue
            targets = [started[relation.target] for relation in relations(document) if relation.target in started]
            if any(target > since for target in targets):
                order = self.stop_order(document)
                await self._engine.restart_container(identity, timeout=order.timeout)
                since = datetime.now(UTC)
            started[identity] = since

    # ---- back --------------------------------------------------------------------------------------------------

    async def undo(self, members: Sequence[Situation]) -> tuple[str, ...]:
        """Put the predecessors back under their names; return what failed successors left to understand it.

        Targets stand first. A successor that was only created is removed. All successors are set aside before the
        first predecessor comes up, and nothing is removed before all of them have.
        """
        for situation in reversed(members):
            if situation.successor is not None and situation.is_past_create:
                assert situation.code is not None
                await self._set_aside(situation.successor, situation.code)
        for situation in members:
            assert situation.code is not None
            if situation.predecessor is not None:
                name = situation.base if situation.is_past_create else None
                await self._bring_up(situation.predecessor.id, situation.code, name=name)
        await self._rejoin([found.id for situation in members if (found := situation.predecessor) is not None])
        for situation in members:
            if situation.predecessor is not None and situation.may_still_be_stopped:
                assert situation.code is not None
                await self._hold_up(situation.predecessor.id, situation.code)
        evidence: list[str] = []
        for situation in reversed(members):
            evidence += await self._clear_away(situation)
        return tuple(evidence)

    async def _clear_away(self, situation: Situation) -> tuple[str, ...]:
        """Remove the successor, and let the tag point to the predecessor's image again."""
        predecessor, successor = situation.predecessor, situation.successor
        if successor is None:
            return ()
        evidence = await collect_evidence(self._engine, successor.id) if situation.is_past_create else ()
        if predecessor is not None:
            await self._restore_tag(predecessor=predecessor, successor=successor)
        if not situation.is_past_create:
            await self._stop_if_up(await self._engine.inspect_container(successor.id))
        await self._engine.remove_container(successor.id, force=True)
        return evidence

    async def promote_new(self, situation: Situation) -> None:
        """Give the name to a successor whose predecessor somebody removed."""
        new, code = situation.new, situation.code
        assert new is not None
        assert code is not None
        await self.start_and_name(new.id, code.ran, situation.base)

    async def replace_for_good(self, situation: Situation) -> None:
        """Replace what removes itself at its stop. It may be stopping already, so there is no other way than on."""
        assert situation.old is not None
        with suppress(NoSuchObjectError):
            await self.stop_for_good(self.stop_order(await self._engine.inspect_container(situation.old.id)))
        await self.promote_new(situation)

    async def stop_for_good(self, order: StopOrder) -> None:
        """Stop what removes itself at its stop, and wait until it is gone: it holds its ports and its name so long."""
        with suppress(NoSuchObjectError):
            await self.stop(order)
        deadline = anyio.current_time() + VANISH_SECONDS
        while anyio.current_time() < deadline:
            try:
                await self._engine.inspect_container(order.container_id)
            except NoSuchObjectError:
                return
            await anyio.sleep(VANISH_POLL_SECONDS)
        raise EngineError("the engine has not removed a container with --rm after its stop")

    async def clear_for_good(self, names: Sequence[str]) -> tuple[str, ...]:
        """Stop what removes itself at its stop, under any of these names; return what it left to understand it."""
        evidence: tuple[str, ...] = ()
        for name in names:
            with suppress(NoSuchObjectError):
                # By name: what is being removed is listed without one, though it still holds it.
                document = await self._engine.inspect_container(name)
                evidence = evidence or await collect_evidence(self._engine, str(document["Id"]))
                await self.stop_for_good(self.stop_order(document))
        return evidence

    async def start_and_name(self, container_id: str, ran: RunState, name: str) -> None:
        """Start a successor that gets its name last."""
        if ran is not RunState.STOPPED:
            await self._engine.start_container(container_id)
        await self.name_last(container_id, ran, name)

    async def name_last(self, container_id: str, ran: RunState, name: str) -> None:
        """Give a successor that runs already its name."""
        if ran is RunState.PAUSED:
            await self._engine.pause_container(container_id)
        await self._engine.rename_container(container_id, name)

    async def promote_bad(self, situation: Situation) -> None:
        """Bring up the failed successor, because nothing else is left under this name."""
        bad, code = situation.bad, situation.code
        assert bad is not None
        assert code is not None
        await self._bring_up(bad.id, code, name=situation.base)

    async def _set_aside(self, successor: Found, code: TemporaryName) -> None:
        """Stop the successor, free the name, and keep the engine from starting it again."""
        try:
            await self._stop_if_up(await self._engine.inspect_container(successor.id))
            if successor.name is None or successor.name.part is not Part.BAD:
                name = replace(code, part=Part.BAD, owner=code.owner or self._owner)
                await self._engine.rename_container(successor.id, str(name))
            await self._engine.set_restart_policy(successor.id, NEVER.as_json())
        except NoSuchObjectError:
            return  # somebody removed it, which is as good

    async def _bring_up(self, container_id: str, code: TemporaryName, *, name: str | None = None) -> None:
        """Give a container back its policy and name, and let it run as it ran."""
        document = await self._engine.inspect_container(container_id)
        if read_policy(section(document, "HostConfig").get("RestartPolicy")) != code.policy:
            await self._stop_if_up(document)
            await self._engine.set_restart_policy(container_id, code.policy.as_json())
        if name is not None:
            await self._engine.rename_container(container_id, name)
        if code.ran is RunState.STOPPED or section(document, "State").get("Paused"):
            return
        await self._engine.start_container(container_id)
        if code.ran is RunState.PAUSED:
            await self._engine.pause_container(container_id)

    async def _hold_up(self, container_id: str, code: TemporaryName) -> None:
        """Start a container again when a stop that was still on its way reaches it."""
        if code.ran is RunState.STOPPED:
            return
        document = await self._engine.inspect_container(container_id)
        timeout = self.stop_order(document).timeout
        deadline = anyio.current_time() + max(timeout or 0, 0) + HOLD_MARGIN_SECONDS
        while anyio.current_time() < deadline and not self._haste.is_set():
            document = await self._engine.inspect_container(container_id)
            if section(document, "State").get("Status") in ("exited", "created"):
                await self._engine.start_container(container_id)
                if code.ran is RunState.PAUSED:
                    await self._engine.pause_container(container_id)
                return
            await anyio.sleep(HOLD_POLL_SECONDS)

    # ---- shared ------------------------------------------------------------------------------------------------

    async def stop(self, order: StopOrder) -> None:
        """Stop a container as its owner wants it stopped; in haste, it is killed where it does not end soon."""
        failure: EngineError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._kill_in_haste, order.container_id)
            try:
                await self._engine.stop_container(order.container_id, timeout=order.timeout, signal=order.signal)
            except EngineError as error:
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _kill_in_haste(self, container_id: str) -> None:
        await self._haste.wait()
        if self._kill_at is None:
            self._kill_at = anyio.current_time() + HASTE_SECONDS
        await anyio.sleep_until(self._kill_at)  # one deadline for all: several may have to be stopped one by one
        with suppress(EngineError):  # the stop itself tells what is wrong
            await self._engine.kill_container(container_id)

    async def _stop_if_up(self, document: JsonObject) -> None:
        if section(document, "State").get("Status") in UP:
            await self.stop(self.stop_order(document))

    async def _restore_tag(self, *, predecessor: Found, successor: Found) -> None:
        try:
            document = await self._engine.inspect_container(successor.id)
            reference = parse_reference(str(section(document, "Config").get("Image") or ""))
        except (NoSuchObjectError, InvalidReferenceError):
            return
        new_image = str(document.get("Image") or "")
        await self.restore_tag(
            reference, old_image=predecessor.container.image_id, new_image=new_image, besides=successor.id
        )

    async def restore_tag(self, reference: Reference, *, old_image: str, new_image: str, besides: str = "") -> None:
        """Let the local tag point to the predecessor's image again.

        Otherwise the next `docker compose up` would install the image that has just failed. Where another container of
        this engine runs the new image, it is good for that one, and the tag stays.
        """
        if reference.is_pinned or not old_image or old_image == new_image:
            return
        containers = [read_container(document) for document in await self._engine.list_containers()]
        if any(item.image_id == new_image and item.state == "running" and item.id != besides for item in containers):
            return
        try:
            await self._engine.tag_image(old_image, repository=reference.repository, tag=reference.tag_or_latest)
        except NoSuchObjectError:
            return  # the image is gone, and a tag cannot bring it back

    async def observe(self, base: str) -> Situation:
        """Look at what there is under this name now."""
        (situation,) = await self.observe_all([base])
        return situation

    async def observe_all(self, bases: Sequence[str], *, joined: frozenset[str] = frozenset()) -> list[Situation]:
        """Look at what there is under these names now."""
        containers = [read_container(document) for document in await self._engine.list_containers()]
        found = situations(containers)
        named = {item.name: Found(item) for item in containers}
        members = [found.get(base) or Situation(base, named.get(base)) for base in bases]
        return [
            replace(member, is_joined=member.base in joined, vanishes=await self._vanishes(member))
            for member in members
        ]

    async def _vanishes(self, situation: Situation) -> bool:
        """Say whether the engine removes the predecessor at its stop, where that decides what is done."""
        if situation.old is None or situation.new is None or not situation.should_run:
            return False
        try:
            document = await self._engine.inspect_container(situation.new.id)
        except NoSuchObjectError:
            return False
        return bool(section(document, "HostConfig").get("AutoRemove"))
