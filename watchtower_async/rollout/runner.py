"""Does what a rollout asks for, on one engine: prepares groups, replaces their containers, brings them back.

What is only restarted for a group is restarted when all of the group runs, and before its slot is given back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
import anyio.lowlevel

from watchtower_async.credentials.credential import Anonymous, Credential, registry_auth_header
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec_parts import section
from watchtower_async.errors import CredentialError, EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.coordinator import Clock, Prepared, RolledBack, RunEnd, SlotReport
from watchtower_async.rollout.course import PlannedGroup
from watchtower_async.rollout.course_events import (
    Found,
    GroupFailed,
    GroupFound,
    GroupNotRolledBack,
    GroupPrepared,
    GroupRolledBack,
    GroupSettled,
    GroupSkipped,
    GroupUnfinished,
)
from watchtower_async.rollout.groups import Member, Role
from watchtower_async.rollout.hook_plan import Failed, HookResult, Skip
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.own_container import OwnContainer
from watchtower_async.rollout.replacement import Failure, PreparedGroup, ReplacementTarget, Replacer
from watchtower_async.rollout.transitions import situations
from watchtower_async.settings import Order

FRESH_SECONDS = 600.0
"""How long what was prepared is taken for true; after that it is looked at again."""

_TAKEN_BACK = "the rollout is rolled back"


class Credentials(Protocol):
    """The credential store, as the runner needs it."""

    async def credential_for(self, reference: Reference) -> Credential | Anonymous:
        """Return the credential for an image. Raises CredentialError."""


@dataclass(frozen=True, slots=True)
class SideEffect:
    """What happened to a container because of another one. `problem` is None where it went well."""

    container: str
    because_of: str
    is_recreated: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told what."""

    on_side_effect: Callable[[SideEffect], None] = lambda _: None
    on_hook: Callable[[HookResult], None] = lambda _: None
    on_condemned: Callable[[Member, Outcome], Awaitable[None]]
    """An image failed by itself in this member, which is back on the image before."""


@dataclass(slots=True)
class _Work:
    """What is known about a group between two steps."""

    prepared: PreparedGroup
    at: float


class EngineRunner:
    """Runs the groups of one engine."""

    def __init__(
        self,
        *,
        replacer: Replacer,
        credentials: Credentials,
        hooks: HookRunner,
        listeners: Listeners,
        own: OwnContainer | None = None,
    ) -> None:
        """`own` is the container that this process runs in, where it is one of the engine's."""
        self._own = own
        self._replacer = replacer
        self._engine = replacer.engine
        self._credentials = credentials
        self._hooks = hooks
        self._listeners = listeners
        self._prepared: dict[str, _Work] = {}
        self._in_work: dict[str, PreparedGroup] = {}

    # ---- forward -----------------------------------------------------------------------------------------------

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        """Pull all images of the group, and look at everything that can be looked at before."""
        found = await self._prepare(planned)
        if isinstance(found, Outcome):
            if found.kind is OutcomeKind.SKIPPED:
                return GroupSkipped(planned.key, found)
            return GroupFailed(planned.key, 0.0, found, is_touched=False)
        self._prepared[planned.key] = _Work(found, anyio.current_time())
        return GroupPrepared(planned.key)

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        """Replace the group, watch it, restart what depends on it, and remove the predecessors."""
        prepared = await self._prepared_lately(planned)
        stopper = prepared if isinstance(prepared, Outcome) else await self._ask_hooks(planned, prepared)
        if stopper is not None:
            if stopper.kind is OutcomeKind.SKIPPED:
                return GroupSkipped(planned.key, stopper)
            return GroupFailed(planned.key, slot.now(), stopper, is_touched=False)
        assert isinstance(prepared, PreparedGroup)
        if self._own is not None and self._own.is_in(planned.group):
            return await self._run_own(self._own, planned, prepared, slot)
        self._in_work[planned.key] = prepared
        ended = await self._carry_out(planned, prepared, slot)
        if isinstance(ended, Failure):
            return GroupFailed(planned.key, slot.now(), ended.outcome, ended.is_touched)
        del self._in_work[planned.key]
        if ended.kind is OutcomeKind.UNFINISHED:
            return GroupUnfinished(planned.key, ended)
        ended = replace(ended, detail=(*ended.detail, *_why_stopped_first(planned, prepared)))
        self._tell_recreated(planned, None)
        await self._hooks_after(planned)
        return GroupSettled(planned.key, ended)

    async def _run_own(
        self, own: OwnContainer, planned: PlannedGroup, prepared: PreparedGroup, slot: SlotReport
    ) -> RunEnd:
        """Let a helper replace our own container. Where we are still there afterwards, it was put back."""
        outcome = await own.replace(planned, prepared)
        if outcome.condemns_image:
            for member in planned.group.updated:
                await self._listeners.on_condemned(member, outcome)
        if outcome.kind is OutcomeKind.SKIPPED:
            return GroupSkipped(planned.key, outcome)
        return GroupFailed(planned.key, slot.now(), outcome, is_touched=False)

    async def _prepare(self, planned: PlannedGroup) -> PreparedGroup | Outcome:
        try:
            targets = [await self._target(member) for member in planned.group.create_order]
        except (CredentialError, ValueError) as error:
            return Outcome(OutcomeKind.FAILED, str(error))
        return await self._replacer.prepare(targets, order=planned.order)

    async def _target(self, member: Member) -> ReplacementTarget:
        target = ReplacementTarget(container_id=member.container_id, name=member.name, is_up=member.is_up)
        if member.aim is None:
            return target
        reference = parse_reference(member.aim.image)
        target = replace(target, reference=reference, starts=member.aim.starts)
        if member.aim.local_image:
            return replace(target, local_image=member.aim.local_image)
        credential = await self._credentials.credential_for(reference)
        return replace(
            target,
            digest=parse_digest(member.aim.digest),
            registry_auth=registry_auth_header(credential, reference.credential_key),
        )

    async def _prepared_lately(self, planned: PlannedGroup) -> PreparedGroup | Outcome:
        work = self._prepared.pop(planned.key, None)
        if work is not None and anyio.current_time() - work.at < FRESH_SECONDS:
            return work.prepared
        return await self._prepare(planned)

    async def _carry_out(self, planned: PlannedGroup, prepared: PreparedGroup, slot: SlotReport) -> Outcome | Failure:
        relay = _Relay(slot)
        gone: EngineUnavailableError | None = None
        ended: Outcome | Failure | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._when_up, planned, relay, slot)
            try:
                ended = await self._replacer.carry_out(prepared, relay)
                # A signal may have come; then nobody asks for a rollback any more.
                await anyio.lowlevel.checkpoint_if_cancelled()
            except EngineUnavailableError as error:
                gone = error
            except anyio.get_cancelled_exc_class():
                if isinstance(ended, Failure) and ended.is_touched:
                    await self._replacer.take_back(prepared, ended)
                raise
            if not relay.is_up.is_set():
                group.cancel_scope.cancel()
        if gone is not None:
            raise gone
        assert ended is not None
        return ended

    async def _when_up(self, planned: PlannedGroup, relay: _Relay, slot: SlotReport) -> None:
        """Restart what depends on the group, once all of it runs, and give the slot back."""
        await relay.is_up.wait()
        await self._restart_all(planned)
        slot.up()

    async def _restart_all(self, planned: PlannedGroup) -> None:
        for member in planned.group.restart_order:
            problem = await self._restart(member)
            self._listeners.on_side_effect(SideEffect(member.name, planned.key, is_recreated=False, problem=problem))

    async def _restart(self, member: Member) -> str | None:
        """Restart a container in one call, which the engine carries through also without us."""
        try:
            document = await self._engine.inspect_container(member.container_id)
            if not section(document, "State").get("Running"):
                return "it does not run any more"
            own = section(document, "Config").get("StopTimeout")
            timeout = self._replacer.settings.stop_timeout if own is None else int(own)
            await self._engine.restart_container(member.container_id, timeout=timeout)
        except NoSuchObjectError:
            return "it was removed since the plan"
        except EngineError as error:
            return str(error)
        return None

    def _tell_recreated(self, planned: PlannedGroup, problem: str | None) -> None:
        for member in planned.group.create_order:
            if member.role is Role.RECREATE:
                self._listeners.on_side_effect(SideEffect(member.name, planned.key, is_recreated=True, problem=problem))

    # ---- hooks -------------------------------------------------------------------------------------------------

    async def _ask_hooks(self, planned: PlannedGroup, prepared: PreparedGroup) -> Outcome | None:
        """Run what is to run before the update. Return why the group is not updated, if it is not."""
        for member, container in await self._hooked(planned.group.updated):
            cleared = await self._hooks.before_update(container)
            if cleared.result is not None:
                self._listeners.on_hook(cleared.result)
            if isinstance(cleared, Skip | Failed):
                kind = OutcomeKind.SKIPPED if isinstance(cleared, Skip) else OutcomeKind.FAILED
                return Outcome(
                    kind, f"{member.name}: {cleared.reason}" if len(prepared.members) > 1 else cleared.reason
                )
        for _, container in await self._hooked(planned.group.create_order):
            drained = await self._hooks.before_stop(container)
            if drained is not None:
                self._listeners.on_hook(drained)
        return None

    async def _hooks_after(self, planned: PlannedGroup) -> None:
        for _, container in await self._hooked(planned.group.updated):
            done = await self._hooks.after_update(container)
            if done is not None:
                self._listeners.on_hook(done)

    async def _hooked(self, members: Sequence[Member]) -> list[tuple[Member, ContainerSummary]]:
        if not self._hooks.is_enabled:
            return []
        by_name = await self._by_name()
        return [(member, by_name[member.name]) for member in members if member.name in by_name]

    # ---- back --------------------------------------------------------------------------------------------------

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        """Bring the group back to its old images, however far it got."""
        prepared = self._in_work.pop(planned.key, None)
        if prepared is not None:
            reason = failure or Outcome(OutcomeKind.FAILED, _TAKEN_BACK, blame=Blame.HOST)
            outcome = await self._replacer.take_back(prepared, Failure(reason))
        else:
            outcome = await self._move_back(planned)
        if outcome.kind is OutcomeKind.UNFINISHED:
            return GroupUnfinished(planned.key, outcome)
        if outcome.kind is not OutcomeKind.ROLLED_BACK:
            return GroupNotRolledBack(planned.key, outcome)
        await self._restart_all(planned)
        if failure is not None and failure.blame is Blame.IMAGE:
            await self._condemn(planned, replace(failure, kind=OutcomeKind.ROLLED_BACK, detail=outcome.detail))
        return GroupRolledBack(planned.key, now(), outcome.detail)

    async def _condemn(self, planned: PlannedGroup, failure: Outcome) -> None:
        """Condemn the image that failed; where nobody knows which, all that the group was to move to."""
        updated = planned.group.updated
        guilty = [member for member in updated if member.name == failure.culprit] or list(updated)
        if failure.culprit and failure.culprit not in {member.name for member in updated}:
            return  # it failed on the image that it had before
        for member in guilty:
            await self._listeners.on_condemned(member, failure)

    async def _move_back(self, planned: PlannedGroup) -> Outcome:
        """Replace what has been settled on its new image by containers on the old one."""
        by_name = await self._by_name()
        targets: list[ReplacementTarget] = []
        for member in planned.group.create_order:
            current = by_name.get(member.name)
            if current is None:
                return Outcome(OutcomeKind.LOST, f"{member.name} is not there any more")
            target = ReplacementTarget(container_id=current.id, name=member.name, is_up=member.is_up)
            if member.aim is not None and current.image_id != member.image_id:
                reference = parse_reference(member.aim.image)
                target = replace(target, reference=reference, local_image=member.image_id)
            targets.append(target)
        if all(target.reference is None for target in targets):
            return Outcome(OutcomeKind.ROLLED_BACK, "all of it is on the image before")
        outcome = await self._replacer.replace(*targets)
        is_back = outcome.kind in (OutcomeKind.UPDATED, OutcomeKind.SKIPPED)
        return replace(outcome, kind=OutcomeKind.ROLLED_BACK) if is_back else outcome

    # ---- after a restart of the updater --------------------------------------------------------------------------

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        """Say what has become of a group that was in flight. Recovery has been there before."""
        by_name = await self._by_name()
        found = {member.name: await self._find(member, by_name) for member in planned.group.create_order}
        kinds = set(found.values())
        if len(kinds) == 1 and Found.UNCLEAR not in kinds:
            (kind,) = kinds
            if kind is Found.AS_BEFORE and self._own is not None and self._own.is_in(planned.group):
                kind = Found.ROLLED_BACK  # never begun again by itself: each attempt takes the updater down
            is_updated = kind is Found.UPDATED
            text = "it runs on the new image" if is_updated else "it is as it was before"
            outcome = Outcome(OutcomeKind.UPDATED if is_updated else OutcomeKind.FAILED, text)
            return GroupFound(planned.key, now(), kind, outcome)
        unclear = ", ".join(sorted(name for name, kind in found.items() if kind is not Found.AS_BEFORE))
        outcome = Outcome(
            OutcomeKind.UNFINISHED, f"the updater was restarted, and {unclear} is in no state that it knows"
        )
        return GroupFound(planned.key, now(), Found.UNCLEAR, outcome)

    async def _find(self, member: Member, by_name: dict[str, ContainerSummary]) -> Found:
        current = by_name.get(member.name)
        if current is None or member.name in situations(by_name.values()):
            return Found.UNCLEAR
        if current.id == member.container_id:
            return Found.AS_BEFORE
        if member.aim is None:
            return Found.UPDATED if current.image_id == member.image_id else Found.UNCLEAR
        return Found.UPDATED if current.image_id == await self._aimed_image(member) else Found.UNCLEAR

    async def _aimed_image(self, member: Member) -> str | None:
        assert member.aim is not None
        if member.aim.local_image:
            return member.aim.local_image
        try:
            name = f"{parse_reference(member.aim.image).repository}@{member.aim.digest}"
            return str((await self._engine.inspect_image(name)).get("Id") or "")
        except NoSuchObjectError:
            return None

    async def _by_name(self) -> dict[str, ContainerSummary]:
        containers = [read_container(document) for document in await self._engine.list_containers()]
        return {item.name: item for item in containers}


class _Relay:
    """Hands on that a group goes down, and keeps to itself that it is up, until its dependents are restarted."""

    def __init__(self, slot: SlotReport) -> None:
        self._slot = slot
        self.is_up = anyio.Event()

    def down(self) -> None:
        """Say that the first container is about to be taken down."""
        self._slot.down()

    def up(self) -> None:
        """Note that all of the group runs."""
        self.is_up.set()


def _why_stopped_first(planned: PlannedGroup, prepared: PreparedGroup) -> tuple[str, ...]:
    """Say why the old container was stopped first although somebody wanted it otherwise."""
    if planned.order is Order.STOP_FIRST or prepared.order.order is not Order.STOP_FIRST:
        return ()
    return (f"stopped first: {'; '.join(prepared.order.reasons)}",)
