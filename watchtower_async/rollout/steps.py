"""The sequences of engine calls that bring a container's name in order. Each may be repeated from its beginning.

Every call's goal is a state, and a state that is reached already is a success, so a sequence that was cut off anywhere
is finished by running it again. Rules for the order:

* a restart policy changes only on a container that is down: on a running one the engine rewrites its whole resource
  set, which takes devices away from some runtimes;
* a restarting container is stopped before it is renamed: engines before 28 refuse the other order;
* at no moment do both containers carry a policy that would start them, and at most for one call neither does;
* the predecessor is removed last, and a failed successor only when the predecessor is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.inventory import read_container
from watchtower_async.engine.spec_parts import labels_of, section
from watchtower_async.engine.temporary_name import Part, RestartPolicy, RunState, TemporaryName, read_policy
from watchtower_async.errors import InvalidReferenceError, NoSuchObjectError
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.rollout.health import Bad, Good, collect_evidence, watch_successor
from watchtower_async.rollout.transitions import UP, Found, Situation, situations

STOP_SIGNAL_LABEL = "com.centurylinklabs.watchtower.stop-signal"
HOLD_POLL_SECONDS = 0.5
HOLD_MARGIN_SECONDS = 2.0

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


class Steps:
    """Carries sequences out on one engine. Raises EngineError where a call fails."""

    def __init__(self, *, engine: Engine, owner: str, stop_timeout: int, monitor: float) -> None:
        """`stop_timeout` (seconds) is for containers that name none; `monitor` (seconds) is the monitor window."""
        self._engine = engine
        self._owner = owner
        self._stop_timeout = stop_timeout
        self._monitor = monitor

    def stop_order(self, document: JsonObject) -> StopOrder:
        """Return how to stop an inspected container: its own time-out and signal come first."""
        own = section(document, "Config").get("StopTimeout")
        timeout = self._stop_timeout if own is None else int(own)
        return StopOrder(str(document["Id"]), timeout, labels_of(document).get(STOP_SIGNAL_LABEL) or None)

    # ---- forward -----------------------------------------------------------------------------------------------

    async def cut_over(self, order: CutOver) -> None:
        """Stop the predecessor and start the successor, which has the name already."""
        await self.make_way(order)
        await self.start(order)
        await self.neutralise(order)

    async def make_way(self, order: CutOver) -> None:
        """Stop the predecessor, so that the engine alone brings it up again until the successor has started."""
        await self.stop(order.stop)
        if order.ran is RunState.STOPPED:
            return
        # Both are down now. If we never come back, `always` is what makes the engine bring a stopped container up.
        if order.first_start and order.policy not in (NEVER, ALWAYS):
            await self._engine.set_restart_policy(order.stop.container_id, ALWAYS.as_json())

    async def start(self, order: CutOver) -> None:
        """Start the successor where the predecessor ran."""
        if order.ran is not RunState.STOPPED:
            await self._engine.start_container(order.successor_id)

    async def neutralise(self, order: CutOver) -> None:
        """See that the predecessor stays down, and that the successor is as it was."""
        if order.ran is RunState.STOPPED:
            return
        if order.policy != NEVER:
            await self._engine.set_restart_policy(order.stop.container_id, NEVER.as_json())
        if order.ran is RunState.PAUSED:
            await self._engine.pause_container(order.successor_id)

    async def watch(self, successor_id: str, ran: RunState) -> Good | Bad:
        """Wait until it is known whether the successor is good."""
        if ran is RunState.STOPPED:
            return Good("it was not running before")
        if ran is RunState.PAUSED:
            return Good("it is paused, as before")
        return await watch_successor(self._engine, successor_id, monitor=self._monitor)

    async def forward(self, situation: Situation) -> Good | Bad:
        """Go on where somebody stopped: cut over if that is not done, watch, and remove the predecessor of a good one.

        The situation has both a successor under the name and a predecessor.
        """
        old, successor, code = situation.old, situation.named, situation.code
        assert old is not None
        assert successor is not None
        assert code is not None
        document = await self._engine.inspect_container(old.id)
        await self.cut_over(
            CutOver(self.stop_order(document), successor.id, code.ran, code.policy, not successor.was_started)
        )
        verdict = await self.watch(successor.id, code.ran)
        if isinstance(verdict, Good):
            await self._engine.remove_container(old.id)
        return verdict

    # ---- back --------------------------------------------------------------------------------------------------

    async def discard_new(self, situation: Situation) -> None:
        """Remove a successor that was only created, and see that the predecessor is as it was."""
        named, new, code = situation.named, situation.new, situation.code
        assert named is not None
        assert new is not None
        assert code is not None
        await self._bring_up(named.id, code)
        await self._restore_tag(predecessor=named, successor=new)
        await self._stop_if_up(await self._engine.inspect_container(new.id))
        await self._engine.remove_container(new.id, force=True)

    async def undo(self, situation: Situation) -> tuple[str, ...]:
        """Put the predecessor back under its name; return what the failed successor left to understand it."""
        predecessor, successor, code = situation.predecessor, situation.successor, situation.code
        assert predecessor is not None
        assert code is not None
        if successor is not None:
            await self._set_aside(successor, code)
        await self._bring_up(predecessor.id, code, name=situation.base)
        if predecessor.is_up and situation.new is None:
            # The names had changed, so a stop may have been asked for. The engine goes on with one whose caller died.
            await self._hold_up(predecessor.id, code)
        if successor is None:
            return ()
        evidence = await collect_evidence(self._engine, successor.id)
        await self._restore_tag(predecessor=predecessor, successor=successor)
        await self._engine.remove_container(successor.id, force=True)
        return evidence

    async def promote_new(self, situation: Situation) -> None:
        """Give the name to a successor whose predecessor somebody removed."""
        assert situation.new is not None
        if situation.should_run:
            await self._engine.start_container(situation.new.id)
        await self._engine.rename_container(situation.new.id, situation.base)

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
        if code.ran is not RunState.RUNNING:
            return
        document = await self._engine.inspect_container(container_id)
        timeout = self.stop_order(document).timeout
        deadline = anyio.current_time() + max(timeout or 0, 0) + HOLD_MARGIN_SECONDS
        while anyio.current_time() < deadline:
            document = await self._engine.inspect_container(container_id)
            if section(document, "State").get("Status") in ("exited", "created"):
                await self._engine.start_container(container_id)
                return
            await anyio.sleep(HOLD_POLL_SECONDS)

    # ---- shared ------------------------------------------------------------------------------------------------

    async def stop(self, order: StopOrder) -> None:
        """Stop a container as its owner wants it stopped."""
        await self._engine.stop_container(order.container_id, timeout=order.timeout, signal=order.signal)

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
        containers = [read_container(document) for document in await self._engine.list_containers()]
        found = situations(containers).get(base)
        if found is not None:
            return found
        named = next((item for item in containers if item.name == base), None)
        return Situation(base, Found(named) if named is not None else None)
