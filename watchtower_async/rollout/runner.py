"""Does what a rollout asks for, on one engine: prepares groups, replaces their containers, brings them back.

* What was prepared is looked at again before it is used: a container that somebody has stopped in the meantime is not
  started, and what has joined its namespaces is not cut off.
* What is only restarted for a group is restarted when all of the group runs, and before its slot is given back. It is
  left alone where it has been started after the group anyway.
* A replacement that was cut off in the middle is brought to its end here, as recovery would do it: recovery itself
  leaves everything alone while a rollout is at work.
* An image that fails by itself is condemned as soon as that is known, since the updater may be killed in the undo.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel

from watchtower_async.credentials.credential import registry_auth_header
from watchtower_async.credentials.store import StoreState
from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec import Neighbourhood
from watchtower_async.engine.spec_parts import labels_of, section
from watchtower_async.engine.temporary_name import RunState
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import (
    CredentialError,
    EngineError,
    EngineUnavailableError,
    NoSuchObjectError,
    PredecessorLostError,
)
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
    GroupStalled,
    GroupUnfinished,
)
from watchtower_async.rollout.groups import Member, Role
from watchtower_async.rollout.health import Bad
from watchtower_async.rollout.hook_plan import Failed, HookResult, Skip
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.logins import Credentials, Login, await_another, look_up
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.own_container import OwnContainer
from watchtower_async.rollout.replacement import Failure, PreparedGroup, ReplacementTarget, Replacer
from watchtower_async.rollout.steps import STOP_SIGNAL_LABEL
from watchtower_async.rollout.transitions import UP, situations
from watchtower_async.settings import Order

FRESH_SECONDS = 600.0
"""How long what was prepared is taken for true; after that it is looked at again."""
LOGIN_WAIT_SECONDS = 300.0
"""How long a group whose pull was refused waits for another login."""
LEFTOVER_SECONDS = 600.0
"""How long a group that was in flight is looked at until it is in order. Recovery waits for what may be another's."""
LEFTOVER_PAUSE_SECONDS = 15.0
ATTEMPTS = 3
ATTEMPT_PAUSE_SECONDS = 1.0

_TAKEN_BACK = "the rollout is rolled back"
_AS_BEFORE = "it is as it was before"
_STARTED_SINCE = "it was started since"

Answer = TypeVar("Answer")


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
    on_wait: Callable[[str], None] = lambda _: None
    """Something is waited for that a person may have to do."""
    on_condemned: Callable[[Member, Outcome], Awaitable[None]]
    """An image failed by itself in this member: first of kind failed, at once; then rolled back, when it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftercare:
    """What a runner needs of others when it takes a rollout up again."""

    recover: Callable[[], Awaitable[None]]
    """Recovers whatever is left over on the engine."""
    is_condemned: Callable[[Member], bool]
    """Says whether the image that a member was to move to is in quarantine for it."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A pull that a registry refused."""

    planned: PlannedGroup
    outcome: Outcome
    tried: dict[Reference, Login]
    known: StoreState


@dataclass(frozen=True, slots=True)
class _Work:
    """What is known about a group that is prepared."""

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
        aftercare: Aftercare,
        own: OwnContainer | None = None,
    ) -> None:
        """`own` is the container that this process runs in, where it is one of the engine's."""
        self._own = own
        self._replacer = replacer
        self._engine = replacer.engine
        self._credentials = credentials
        self._hooks = hooks
        self._listeners = listeners
        self._aftercare = aftercare
        self._refused: dict[str, _Refused] = {}
        self._prepared: dict[str, _Work] = {}
        self._in_work: dict[str, PreparedGroup] = {}
        self._cut_short: set[str] = set()
        """The groups whose run was cancelled."""

    # ---- preparing ---------------------------------------------------------------------------------------------

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        """Pull all images of the group, and look at everything that can be looked at before.

        Where a registry refuses the login, the group stalls; asked again, it waits for another login of that registry.
        """
        refused = self._refused.pop(planned.key, None)
        is_called_again = refused is not None and refused.planned is planned
        found = await self._wait_for_login(refused) if refused and is_called_again else await self._prepare(planned)
        if isinstance(found, _Refused):
            if self._credentials.is_watched and not is_called_again:
                self._refused[planned.key] = found
                self._listeners.on_wait(
                    f"{planned.key} waits up to {LOGIN_WAIT_SECONDS:g} s for another login: {found.outcome.reason}"
                )
                return GroupStalled(planned.key)
            found = found.outcome
        if isinstance(found, Outcome):
            if found.kind is OutcomeKind.SKIPPED:
                return await self._skipped(planned, found)
            return GroupFailed(planned.key, 0.0, found, is_touched=False)
        self._prepared[planned.key] = _Work(found, anyio.current_time())
        return GroupPrepared(planned.key)

    async def _wait_for_login(self, refused: _Refused) -> PreparedGroup | Outcome | _Refused:
        deadline = anyio.current_time() + LOGIN_WAIT_SECONDS
        found: PreparedGroup | Outcome | _Refused = refused
        while isinstance(found, _Refused):
            with anyio.move_on_after(deadline - anyio.current_time()) as waiting:
                await await_another(self._credentials, found.tried, found.known)
            if waiting.cancelled_caught:
                break
            found = await self._prepare(refused.planned)
        return found

    async def _prepare(self, planned: PlannedGroup) -> PreparedGroup | Outcome | _Refused:
        known = self._credentials.state
        aims = [member.aim for member in planned.group.updated if member.aim is not None]
        pulled = [parse_reference(aim.image) for aim in aims if not aim.local_image]
        logins = await look_up(self._credentials, pulled)
        unusable = next((login for login in logins.values() if isinstance(login, CredentialError)), None)
        if unusable is not None:
            return _Refused(planned, Outcome(OutcomeKind.FAILED, str(unusable)), logins, known)
        targets = [_target_of(member, logins) for member in planned.group.create_order]
        found = await self._replacer.prepare(targets, order=planned.order)
        if isinstance(found, Outcome) and found.wants_login:
            return _Refused(planned, found, logins, known)
        return found

    async def _skipped(self, planned: PlannedGroup, outcome: Outcome) -> GroupSkipped:
        """Skip a group; where it is done already, do what is left: we may have been stopped before that was stored."""
        found, _ = await self._find_all(planned)
        if found is Found.UPDATED:
            await self._restart_dependents(planned)
            outcome = Outcome(OutcomeKind.UPDATED, "it runs on the new image")
        return GroupSkipped(planned.key, outcome)

    async def _prepared_lately(
        self, planned: PlannedGroup, containers: Sequence[ContainerSummary]
    ) -> PreparedGroup | Outcome:
        """Return what was prepared where it is still true, among these neighbours; else prepare it again."""
        work = self._prepared.pop(planned.key, None)
        if work is not None and anyio.current_time() - work.at < FRESH_SECONDS:
            ids = [member.target.container_id for member in work.prepared.members]
            outsiders = await self._replacer.sharers.of(containers, ids)
            if not outsiders and _is_as_prepared(work.prepared, containers):
                return replace(work.prepared, neighbourhood=Neighbourhood(containers))
        found = await self._prepare(planned)
        return found.outcome if isinstance(found, _Refused) else found

    # ---- forward -----------------------------------------------------------------------------------------------

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        """Replace the group, watch it, restart what depends on it, and remove the predecessors."""
        key = planned.key
        containers = await self._containers()
        prepared = await self._prepared_lately(planned, containers)
        stopper = prepared if isinstance(prepared, Outcome) else await self._ask_hooks(planned, containers)
        if stopper is not None:
            if stopper.kind is OutcomeKind.SKIPPED:
                return await self._skipped(planned, stopper)
            return GroupFailed(key, slot.now(), stopper, is_touched=False)
        assert isinstance(prepared, PreparedGroup)
        if self._own is not None and self._own.is_in(planned.group):
            return await self._run_own(self._own, planned, prepared, slot)
        self._in_work[key] = prepared
        try:
            ended = await self._carry_out(planned, prepared, slot, partial(self._drain, planned, containers))
        except anyio.get_cancelled_exc_class():
            self._cut_short.add(key)
            raise
        if isinstance(ended, Failure):
            return GroupFailed(key, slot.now(), _with_order(ended.outcome, planned, prepared), ended.is_touched)
        del self._in_work[key]
        if ended.kind is not OutcomeKind.UPDATED:
            return GroupUnfinished(key, ended)
        self._tell_recreated(planned)
        await self._hooks_after(planned)
        return GroupSettled(key, _with_order(ended, planned, prepared))

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

    async def _carry_out(
        self, planned: PlannedGroup, prepared: PreparedGroup, slot: SlotReport, drain: Callable[[], Awaitable[None]]
    ) -> Outcome | Failure:
        relay = _Relay(slot)
        gone: EngineUnavailableError | None = None
        ended: Outcome | Failure | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._when_up, planned, relay, slot)
            try:
                ended = await self._replacer.carry_out(prepared, relay, monitor=planned.monitor, before_stop=drain)
                # A signal may have come; then nobody asks for a rollback any more.
                await anyio.lowlevel.checkpoint_if_cancelled()
                ended = await self._brought_to_an_end(planned, ended)
            except EngineUnavailableError as error:
                gone = error
            except anyio.get_cancelled_exc_class():
                if isinstance(ended, Failure) and ended.is_touched:
                    await self._replacer.take_back(prepared, ended)
                raise
            if isinstance(ended, Outcome) and ended.kind is OutcomeKind.UPDATED:
                relay.up()
            if not relay.is_up.is_set():
                group.cancel_scope.cancel()
        if gone is not None:
            raise gone
        assert ended is not None
        return ended

    async def _brought_to_an_end(self, planned: PlannedGroup, ended: Outcome | Failure) -> Outcome | Failure:
        """Return how it ends after all, where nobody knew. Raises EngineUnavailableError."""
        if isinstance(ended, Failure) or ended.kind in (OutcomeKind.UPDATED, OutcomeKind.LOST):
            return ended
        if ended.kind is not OutcomeKind.UNFINISHED:
            return Failure(ended)
        try:
            restored = await self._replacer.restore(_names(planned), give_up=False)
            found, _ = await self._find_all(planned)
        except EngineUnavailableError:
            raise
        except PredecessorLostError as error:
            return Outcome(OutcomeKind.LOST, str(error))
        except EngineError as error:
            return replace(ended, reason=f"{ended.reason}; and then: {error}")
        match found:
            case Found.UPDATED:
                return Outcome(OutcomeKind.UPDATED, f"good, although it was interrupted: {ended.reason}")
            case Found.AS_BEFORE if isinstance(restored.verdict, Bad):
                culprit = restored.failed[0].container if restored.failed else ""
                reason = f"the new container failed: {restored.verdict.reason}"
                return Failure(Outcome(OutcomeKind.FAILED, reason, restored.evidence, restored.verdict.blame, culprit))
            case Found.AS_BEFORE:
                return Failure(replace(ended, kind=OutcomeKind.FAILED, blame=Blame.HOST))
            case _:
                return ended

    async def _when_up(self, planned: PlannedGroup, relay: _Relay, slot: SlotReport) -> None:
        """Restart what depends on the group, once all of it runs, and give the slot back."""
        await relay.is_up.wait()
        await self._restart_dependents(planned)
        slot.up()

    def _tell_recreated(self, planned: PlannedGroup) -> None:
        for member in planned.group.create_order:
            if member.role is Role.RECREATE:
                self._listeners.on_side_effect(SideEffect(member.name, planned.key, is_recreated=True))

    # ---- dependents --------------------------------------------------------------------------------------------

    async def _restart_dependents(self, planned: PlannedGroup) -> None:
        """Restart what has been running since before the group was started."""
        if not planned.group.restart_order:
            return
        since = await self._started_last(planned)
        for member in planned.group.restart_order:
            await self._restart_surely(planned, member, since)

    async def _restart_surely(self, planned: PlannedGroup, member: Member, since: datetime | None) -> None:
        problem: str | None = None
        for attempt in range(ATTEMPTS):
            try:
                problem = await self._restart(member, since)
            except EngineError as error:
                problem = str(error)
                await anyio.sleep(ATTEMPT_PAUSE_SECONDS)
                continue
            if problem == _STARTED_SINCE:
                if attempt == 0:
                    return
                problem = None  # only the answer was lost
            break
        self._listeners.on_side_effect(SideEffect(member.name, planned.key, is_recreated=False, problem=problem))

    async def _started_last(self, planned: PlannedGroup) -> datetime | None:
        """Return when the last one of the group was started; None where nobody can say."""
        moments: list[datetime] = []
        for member in planned.group.create_order:
            try:
                moment = _started(await self._engine.inspect_container(member.name))
            except NoSuchObjectError:
                continue
            except EngineError:
                return None
            if moment is not None:
                moments.append(moment)
        return max(moments, default=None)

    async def _restart(self, member: Member, since: datetime | None) -> str | None:
        """Restart a container in one call, which the engine carries through also without us; return why not."""
        try:
            document = await self._engine.inspect_container(member.container_id)
            state = section(document, "State")
            if not state.get("Running") or state.get("Paused"):
                return f"it does not run any more ({state.get('Status')})"
            started = _started(document)
            if since is not None and started is not None and started > since:
                return _STARTED_SINCE
            own = section(document, "Config").get("StopTimeout")
            await self._engine.restart_container(
                member.container_id,
                timeout=self._replacer.settings.stop_timeout if own is None else int(own),
                signal=labels_of(document).get(STOP_SIGNAL_LABEL) or None,
            )
        except NoSuchObjectError:
            return "it was removed since the plan"
        return None

    # ---- hooks -------------------------------------------------------------------------------------------------

    async def _ask_hooks(self, planned: PlannedGroup, containers: Sequence[ContainerSummary]) -> Outcome | None:
        """Run what is to run before the update. Return why the group is not updated, if it is not."""
        for member, container in self._hooked(planned.group.updated, containers):
            cleared = await self._hooks.before_update(container)
            if cleared.result is not None:
                self._listeners.on_hook(cleared.result)
            if isinstance(cleared, Skip | Failed):
                kind = OutcomeKind.SKIPPED if isinstance(cleared, Skip) else OutcomeKind.FAILED
                is_alone = len(planned.group.create_order) == 1
                return Outcome(kind, cleared.reason if is_alone else f"{member.name}: {cleared.reason}")
        return None

    async def _drain(self, planned: PlannedGroup, containers: Sequence[ContainerSummary]) -> None:
        """Run what is to run before a predecessor stops, dependents first, as they stop."""
        for _, container in self._hooked(planned.group.stop_order, containers):
            drained = await self._hooks.before_stop(container)
            if drained is not None:
                self._listeners.on_hook(drained)

    async def _hooks_after(self, planned: PlannedGroup) -> None:
        containers: list[ContainerSummary] = []
        if self._hooks.is_enabled:
            with suppress(EngineError):  # the update is done, whatever becomes of its hook
                containers = await self._containers()
        for _, container in self._hooked(planned.group.updated, containers):
            done = await self._hooks.after_update(container)
            if done is not None:
                self._listeners.on_hook(done)

    def _hooked(
        self, members: Sequence[Member], containers: Sequence[ContainerSummary]
    ) -> list[tuple[Member, ContainerSummary]]:
        if not self._hooks.is_enabled:
            return []
        by_name = {item.name: item for item in containers}
        return [(member, by_name[member.name]) for member in members if member.name in by_name]

    # ---- back --------------------------------------------------------------------------------------------------

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        """Bring the group back to its old images, however far it got."""
        prepared = self._in_work.pop(planned.key, None)
        if failure is not None:
            failure = await self._with_blame(planned, failure, prepared)
            await self._condemn(planned, failure)
        taken_back: Outcome | None = None
        if prepared is not None:
            reason = failure or Outcome(OutcomeKind.FAILED, _TAKEN_BACK, blame=Blame.HOST)
            taken_back = await self._taken_back(planned, prepared, Failure(reason))
        # What was settled when it was to go back has no predecessor any more.
        is_back = taken_back is None or taken_back.kind is OutcomeKind.ROLLED_BACK
        outcome = await self._moved_back(planned) if is_back else taken_back
        assert outcome is not None
        await self._restart_dependents(planned)
        if outcome.kind is not OutcomeKind.ROLLED_BACK:
            return GroupNotRolledBack(planned.key, outcome)
        detail = (*(taken_back.detail if taken_back is not None else ()), *outcome.detail)
        if failure is not None:
            everything = (*failure.detail, *detail)
            await self._condemn(planned, replace(failure, kind=OutcomeKind.ROLLED_BACK, detail=everything))
        return GroupRolledBack(planned.key, now(), detail)

    async def _taken_back(self, planned: PlannedGroup, prepared: PreparedGroup, failure: Failure) -> Outcome:
        """Put the predecessors back, where they are. Raises EngineUnavailableError."""
        outcome = await self._replacer.take_back(prepared, failure)
        if outcome.kind is not OutcomeKind.UNFINISHED:
            return outcome
        try:
            restored = await self._replacer.restore(_names(planned), give_up=True)
        except PredecessorLostError as error:
            return Outcome(OutcomeKind.LOST, f"{failure.outcome.reason}; {error}")
        return replace(failure.outcome, kind=OutcomeKind.ROLLED_BACK, detail=restored.evidence)

    async def _with_blame(self, planned: PlannedGroup, failure: Outcome, prepared: PreparedGroup | None) -> Outcome:
        """Blame the images for a run that took too long, where all that was left was that they do their work."""
        was_cut_short = planned.key in self._cut_short
        self._cut_short.discard(planned.key)
        if prepared is None or failure.blame is not None or not was_cut_short:
            return failure
        old = {member.target.container_id for member in prepared.members}
        by_name = {item.name: item for item in await self._containers()}
        current = [by_name.get(name) for name in prepared.names]
        have_started = all(item is not None and item.id not in old and item.state == "running" for item in current)
        return replace(failure, blame=Blame.IMAGE) if have_started else failure

    async def _condemn(self, planned: PlannedGroup, failure: Outcome) -> None:
        """Condemn the image that failed; where nobody knows which, all that the group was to move to."""
        if failure.blame is not Blame.IMAGE:
            return
        updated = planned.group.updated
        guilty = [member for member in updated if not failure.culprit or member.name == failure.culprit]
        for member in guilty:  # nobody, where it failed on the image that it had before
            await self._listeners.on_condemned(member, failure)

    async def _moved_back(self, planned: PlannedGroup) -> Outcome:
        """Move it back, and try again where that was not the old image's fault: nobody else will."""
        for _ in range(ATTEMPTS - 1):
            outcome = await self._move_back(planned)
            if outcome.kind is not OutcomeKind.FAILED or outcome.blame is Blame.IMAGE:
                return outcome
            await anyio.sleep(ATTEMPT_PAUSE_SECONDS)
        return await self._move_back(planned)

    async def _move_back(self, planned: PlannedGroup) -> Outcome:
        """Replace what has been settled on its new image by containers on the old one."""
        by_name = {item.name: item for item in await self._containers()}
        targets: list[ReplacementTarget] = []
        for member in planned.group.create_order:
            current = by_name.get(member.name)
            if current is None:
                return Outcome(OutcomeKind.LOST, f"{member.name} is not there any more")
            target = await self._target_back(member, current)
            if isinstance(target, Outcome):
                return target
            targets.append(target)
        if all(target.reference is None for target in targets):
            return Outcome(OutcomeKind.ROLLED_BACK, _AS_BEFORE)
        prepared = await self._replacer.prepare(targets, order=planned.order)
        if isinstance(prepared, Outcome):
            return replace(prepared, kind=OutcomeKind.FAILED, reason=f"it stays on the new image: {prepared.reason}")
        ended = await self._replacer.carry_out(prepared, monitor=planned.monitor)
        if isinstance(ended, Failure):
            ended = await self._taken_back(planned, prepared, ended)
        try:
            if ended.kind is OutcomeKind.UNFINISHED:
                await self._replacer.restore(_names(planned), give_up=False)
            found, _ = await self._find_all(planned)
        except PredecessorLostError as error:
            return Outcome(OutcomeKind.LOST, str(error))
        if found is Found.AS_BEFORE:
            return Outcome(OutcomeKind.ROLLED_BACK, "it runs on the old image again")
        kind = OutcomeKind.LOST if ended.kind is OutcomeKind.LOST else OutcomeKind.FAILED
        return replace(ended, kind=kind, reason=f"it could not go back to the old image: {ended.reason}")

    async def _target_back(self, member: Member, current: ContainerSummary) -> ReplacementTarget | Outcome:
        target = ReplacementTarget(
            container_id=current.id, name=member.name, is_up=current.state in UP, starts=member.is_up
        )
        if member.aim is None or current.image_id == member.image_id:
            return target
        if current.image_id != await self._aimed_image(member):
            return Outcome(OutcomeKind.FAILED, f"somebody has moved {member.name} to another image in the meantime")
        if await self._image_id(member.image_id) is None:
            return Outcome(OutcomeKind.FAILED, f"the old image of {member.name} is not on the engine any more")
        return replace(target, reference=parse_reference(member.aim.image), local_image=member.image_id)

    # ---- after a restart of the updater --------------------------------------------------------------------------

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        """Say what has become of a group that was in flight, and do what is left to be done about it."""
        await self._put_in_order(planned)
        found, unclear = await self._find_all(planned)
        if found is Found.UNCLEAR:
            text = f"the updater was restarted, and {', '.join(unclear)} is in no state that it knows"
            return GroupFound(planned.key, now(), found, Outcome(OutcomeKind.UNFINISHED, text))
        await self._restart_dependents(planned)
        if found is Found.UPDATED:
            return GroupFound(planned.key, now(), found, Outcome(OutcomeKind.UPDATED, "it runs on the new image"))
        outcome = Outcome(OutcomeKind.FAILED, _AS_BEFORE)
        if self._own is not None and self._own.is_in(planned.group):
            found = Found.ROLLED_BACK  # never begun again by itself: each attempt takes the updater down
        if any(self._aftercare.is_condemned(member) for member in planned.group.updated):
            found = Found.ROLLED_BACK
            outcome = Outcome(OutcomeKind.FAILED, "the new image failed, and the old container was put back")
        return GroupFound(planned.key, now(), found, outcome)

    async def _put_in_order(self, planned: PlannedGroup) -> None:
        """Recover what is left over of the group. What may be another updater's is waited for."""
        names = {member.name for member in planned.group.create_order}
        deadline = anyio.current_time() + LEFTOVER_SECONDS
        while not names.isdisjoint(situations(await self._containers())):
            await self._aftercare.recover()
            if names.isdisjoint(situations(await self._containers())) or anyio.current_time() > deadline:
                return
            await anyio.sleep(LEFTOVER_PAUSE_SECONDS)

    async def _find_all(self, planned: PlannedGroup) -> tuple[Found, list[str]]:
        """Return what has become of the whole group, and which of its containers are in no known state."""
        containers = await self._containers()
        by_name = {item.name: item for item in containers}
        leftovers = situations(containers)
        found: dict[str, Found | None] = {}
        for member in planned.group.create_order:
            current = None if member.name in leftovers else by_name.get(member.name)
            found[member.name] = Found.UNCLEAR if current is None else await self._find(member, current)
        kinds = {kind for kind in found.values() if kind is not None}
        if len(kinds) == 1 and Found.UNCLEAR not in kinds:
            return kinds.pop(), []
        return Found.UNCLEAR, sorted(name for name, kind in found.items() if kind is not Found.AS_BEFORE)

    async def _find(self, member: Member, current: ContainerSummary) -> Found | None:
        """Return what has become of one container; None where it fits to both directions."""
        if current.id == member.container_id:
            return Found.AS_BEFORE
        if member.aim is None:
            return None if current.image_id == member.image_id else Found.UNCLEAR
        if current.image_id == member.image_id:
            return Found.AS_BEFORE  # made anew from its old image, as what removes itself at its stop is
        return Found.UPDATED if current.image_id == await self._aimed_image(member) else Found.UNCLEAR

    async def _aimed_image(self, member: Member) -> str | None:
        assert member.aim is not None
        if member.aim.local_image:
            return member.aim.local_image
        return await self._image_id(f"{parse_reference(member.aim.image).repository}@{member.aim.digest}")

    async def _image_id(self, name: str) -> str | None:
        try:
            return str((await _patiently(lambda: self._engine.inspect_image(name))).get("Id") or "")
        except NoSuchObjectError:
            return None

    async def _containers(self) -> list[ContainerSummary]:
        return [read_container(document) for document in await _patiently(self._engine.list_containers)]


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


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask an engine, and again where it does not answer well: much hangs on one question here."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await ask()
        except NoSuchObjectError:
            raise
        except EngineError:
            await anyio.sleep(ATTEMPT_PAUSE_SECONDS)
    return await ask()


def _names(planned: PlannedGroup) -> list[str]:
    return [member.name for member in planned.group.create_order]


def _target_of(member: Member, logins: dict[Reference, Login]) -> ReplacementTarget:
    """Return what is to be done with a member. Raises InvalidReferenceError for an aim that cannot be read."""
    target = ReplacementTarget(container_id=member.container_id, name=member.name, is_up=member.is_up)
    if member.aim is None:
        return target
    reference = parse_reference(member.aim.image)
    target = replace(target, reference=reference, starts=member.aim.starts)
    if member.aim.local_image:
        return replace(target, local_image=member.aim.local_image)
    login = logins[reference]
    assert not isinstance(login, CredentialError)
    return replace(
        target,
        digest=parse_digest(member.aim.digest),
        registry_auth=registry_auth_header(login, reference.credential_key),
    )


def _is_as_prepared(prepared: PreparedGroup, containers: Sequence[ContainerSummary]) -> bool:
    """Say whether all of the group are there under their names, run as they ran, and nobody is at work on them."""
    by_id = {item.id: item for item in containers}
    leftovers = situations(containers)
    for member in prepared.members:
        current = by_id.get(member.target.container_id)
        if current is None or current.name != member.target.name or current.name in leftovers:
            return False
        if _how_it_runs(current.state) is not member.ran:
            return False
    return True


def _how_it_runs(state: str) -> RunState:
    if state == "paused":
        return RunState.PAUSED
    return RunState.RUNNING if state in UP else RunState.STOPPED


def _with_order(outcome: Outcome, planned: PlannedGroup, prepared: PreparedGroup) -> Outcome:
    """Say why the old container was stopped first although somebody wanted it otherwise."""
    if planned.order is Order.STOP_FIRST or prepared.order.order is not Order.STOP_FIRST:
        return outcome
    return replace(outcome, detail=(*outcome.detail, f"stopped first: {'; '.join(prepared.order.reasons)}"))


def _started(document: JsonObject) -> datetime | None:
    return parse_time(str(section(document, "State").get("StartedAt") or ""))
