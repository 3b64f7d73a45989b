"""One session, from inventory to report: recover, plan, replace in order, clean up.

A failure costs the container it happened to. Only an engine that goes away ends the session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from watchtower_async.credentials.credential import Anonymous, Credential, registry_auth_header
from watchtower_async.engine.client import Engine
from watchtower_async.engine.inventory import Inventory, take_inventory
from watchtower_async.errors import CredentialError, EngineError, EngineUnavailableError
from watchtower_async.events import (
    Announcer,
    ContainerJudged,
    Degraded,
    ImageQuarantined,
    ImageRemoved,
    QuarantineLifted,
    ReplacementFinished,
    ReplacementRecovered,
    ReplacementStarted,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.images.reference import Reference
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.recovery import RecoveryReport, has_leftovers
from watchtower_async.rollout.replacement import ReplacementTarget
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.planner import Focus, Planner
from watchtower_async.updates.reason import ReasonCode

_REFUSALS = frozenset({ReasonCode.UNAUTHORIZED, ReasonCode.DENIED, ReasonCode.CREDENTIALS})
"""What another credential may put right."""


class Credentials(Protocol):
    """The credential store, as a session needs it."""

    async def reload(self) -> str | None:
        """Read the configuration afresh; return what is wrong with it, None when all is well."""

    async def credential_for(self, reference: Reference) -> Credential | Anonymous:
        """Return the credential for an image. Raises CredentialError."""


class Replacing(Protocol):
    """Carries out one replacement."""

    async def replace(self, target: ReplacementTarget) -> Outcome:
        """Replace one container; every expected end is an outcome."""


class Quarantine(Protocol):
    """Keeps what failed, over restarts where it can. Its calls raise nothing that a disk can cause."""

    @property
    def quarantined(self) -> tuple[QuarantineEntry, ...]:
        """Return the entries of all hosts."""

    async def add_to_quarantine(self, entry: QuarantineEntry) -> None:
        """Keep an entry, in place of an older one for the same container."""

    async def lift_quarantine(
        self, container: str | None = None, *, host: str | None = None
    ) -> tuple[QuarantineEntry, ...]:
        """Drop entries and return them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """Settings of a session."""

    monitor_only: bool
    cleanup: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """What a session did."""

    session: str
    plan: UpdatePlan | None
    outcomes: tuple[tuple[PlanItem, Outcome], ...] = ()
    failure: str | None = None

    @property
    def updated(self) -> int:
        """Count the replaced containers."""
        return sum(outcome.kind is OutcomeKind.UPDATED for _, outcome in self.outcomes)

    @property
    def failed(self) -> int:
        """Count what failed, was rolled back or stayed unknown."""
        bad = {OutcomeKind.FAILED, OutcomeKind.ROLLED_BACK, OutcomeKind.UNFINISHED, OutcomeKind.LOST}
        unknown = sum(item.action is Action.UNKNOWN for item in self.plan.items) if self.plan else 0
        return unknown + sum(outcome.kind in bad for _, outcome in self.outcomes)

    @property
    def scanned(self) -> int:
        """Count the containers that were checked."""
        return sum(item.action is not Action.LEAVE for item in self.plan.items) if self.plan else 0

    @property
    def is_good(self) -> bool:
        """Say whether nothing failed and nothing stayed unknown."""
        return self.failure is None and self.failed == 0


Recover = Callable[[Inventory, bool], Awaitable[tuple[RecoveryReport, ...]]]
"""Recovers what interrupted replacements left over in this inventory; with True it only reports."""


class Session:
    """Runs sessions on one engine, one at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        planner: Planner,
        replacer: Replacing,
        recover: Recover,
        credentials: Credentials,
        quarantine: Quarantine,
        policy: SessionPolicy,
        announcer: Announcer,
    ) -> None:
        self._engine = engine
        self._planner = planner
        self._replacer = replacer
        self._recover = recover
        self._credentials = credentials
        self._quarantine = quarantine
        self._policy = policy
        self._announcer = announcer
        self._refused: frozenset[Reference] = frozenset()
        """What could not be asked for, for want of the right credential, when it was tried last."""

    async def make_plan(self) -> UpdatePlan:
        """Decide without touching or pulling anything; recovery only reports. Raises EngineUnavailableError."""
        return await self._plan(only_report=True)

    async def run(self, *, only: Callable[[Reference], bool] | None = None) -> SessionReport:
        """Run one session. Raises nothing that an engine or a registry can cause.

        With `only` it is about containers with such an image; the others are neither asked for nor touched.
        """
        session = secrets.token_hex(4)
        started = time.monotonic()
        self._announcer.announce(SessionStarted(session, self._engine.name))
        try:
            report = await self._run(session, only)
        except EngineUnavailableError as error:
            report = SessionReport(session=session, plan=None, failure=str(error))
            self._announcer.announce(SessionFailed(session, str(error)))
        except EngineError as error:
            report = SessionReport(session=session, plan=None, failure=f"the engine refused: {error}")
            self._announcer.announce(SessionFailed(session, report.failure or ""))
        self._announcer.announce(
            SessionFinished(
                session=session,
                scanned=report.scanned,
                updated=report.updated,
                failed=report.failed,
                duration=time.monotonic() - started,
            )
        )
        return report

    async def _run(self, session: str, only: Callable[[Reference], bool] | None) -> SessionReport:
        focus = None if only is None else Focus(only, first=self._refused)
        plan = await self._plan(only_report=self._policy.monitor_only, focus=focus)
        self._refused = _refused_in(plan, before=self._refused)
        for item in plan.items:
            self._announcer.announce(ContainerJudged(item))
        await self._lift_what_is_over(plan)
        outcomes, failure = await self._replace_all(session, plan)
        if self._policy.cleanup:
            await self._remove_unused([item for item, outcome in outcomes if outcome.kind is OutcomeKind.UPDATED])
        return SessionReport(session=session, plan=plan, outcomes=tuple(outcomes), failure=failure)

    async def _replace_all(self, session: str, plan: UpdatePlan) -> tuple[list[tuple[PlanItem, Outcome]], str | None]:
        """Replace in order. When the engine goes away, the rest is not tried, and each of it says so."""
        outcomes: list[tuple[PlanItem, Outcome]] = []
        failure: str | None = None
        for item in plan.updates:
            if failure is not None:
                outcomes.append((item, Outcome(OutcomeKind.FAILED, failure)))
                continue
            try:
                outcomes.append((item, await self._replace(item)))
            except EngineUnavailableError as error:
                failure = str(error)
                outcomes.append((item, Outcome(OutcomeKind.FAILED, failure)))
                self._announcer.announce(SessionFailed(session, failure))
        return outcomes, failure

    async def _plan(self, *, only_report: bool, focus: Focus | None = None) -> UpdatePlan:
        problem = await self._credentials.reload()
        if problem is not None:
            self._announcer.announce(Degraded(problem))
        inventory = await take_inventory(self._engine)
        repairs: tuple[RecoveryReport, ...] = ()
        if has_leftovers(inventory.containers):
            repairs = await self._recover(inventory, only_report)
            inventory = await take_inventory(self._engine)
        for repair in repairs:
            self._announcer.announce(ReplacementRecovered(repair.name, repair.text, repair.is_lost))
        return await self._planner.make(
            inventory,
            quarantined=frozenset((entry.container, entry.digest) for entry in self._entries()),
            repairs=tuple(f"{repair.name}: {repair.text}" for repair in repairs),
            problems=(problem,) if problem else (),
            focus=focus,
        )

    async def _replace(self, item: PlanItem) -> Outcome:
        started = time.monotonic()
        self._announcer.announce(ReplacementStarted(item))
        outcome = await self._outcome_of(item)
        self._announcer.announce(
            ReplacementFinished(
                item=item,
                outcome=str(outcome.kind),
                reason=outcome.reason,
                detail=outcome.detail,
                duration=time.monotonic() - started,
            )
        )
        if outcome.condemns_image:
            await self._put_into_quarantine(item, outcome)
        return outcome

    async def _put_into_quarantine(self, item: PlanItem, outcome: Outcome) -> None:
        assert item.published is not None
        entry = QuarantineEntry(
            host=self._engine.name,
            container=item.name,
            image=item.image,
            digest=item.published,
            since=datetime.now(UTC),
            reason=outcome.reason,
            detail=outcome.detail,
        )
        await self._quarantine.add_to_quarantine(entry)
        self._announcer.announce(ImageQuarantined(entry))

    async def _lift_what_is_over(self, plan: UpdatePlan) -> None:
        items = {item.name: item for item in plan.items}
        for entry in self._entries():
            item = items.get(entry.container)
            why = None if item is None else _end_of(entry, item)
            if why is not None:
                await self._quarantine.lift_quarantine(entry.container, host=entry.host)
                self._announcer.announce(QuarantineLifted(entry, why))

    def _entries(self) -> list[QuarantineEntry]:
        return [entry for entry in self._quarantine.quarantined if entry.host == self._engine.name]

    async def _outcome_of(self, item: PlanItem) -> Outcome:
        assert item.reference is not None
        assert item.published is not None
        try:
            credential = await self._credentials.credential_for(item.reference)
        except CredentialError as error:
            return Outcome(OutcomeKind.FAILED, str(error))
        target = ReplacementTarget(
            container_id=item.container_id,
            name=item.name,
            reference=item.reference,
            digest=item.published,
            registry_auth=registry_auth_header(credential, item.reference.credential_key),
        )
        return await self._replacer.replace(target)

    async def _remove_unused(self, updated: list[PlanItem]) -> None:
        """Remove the images that the updates left behind, unless something else uses or names them."""
        for old_image, name in {item.image_id: item.image for item in updated}.items():
            try:
                image = await self._engine.inspect_image(old_image)
                if image.get("RepoTags"):
                    continue  # somebody tagged it, so somebody wants it
                await self._engine.remove_image(old_image)
            except EngineError:
                continue  # still used, or gone already: both are fine
            self._announcer.announce(ImageRemoved(old_image, name))


def _end_of(entry: QuarantineEntry, item: PlanItem) -> str | None:
    """Say why an entry is over, None where it is not or nobody knows."""
    if item.published is None:
        return None
    if item.published != entry.digest:
        return "the tag points to another image now"
    return "the container runs this image now" if item.action is Action.NOTHING else None


def _refused_in(plan: UpdatePlan, *, before: frozenset[Reference]) -> frozenset[Reference]:
    asked = {item.reference for item in plan.items if item.reference is not None}
    refused = {item.reference for item in plan.items if item.reference and item.reason.code in _REFUSALS}
    return (before - asked) | refused
