"""One session, from inventory to report: recover, plan, hand over to rollouts, report.

A failure costs the container it happened to. Only an engine that goes away ends the session. What a rollout of an
earlier session still has in its hands is left to it, unless there is a newer image: then the rollout gives way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from watchtower_async.engine.client import Engine
from watchtower_async.engine.each import each
from watchtower_async.engine.inventory import ContainerSummary, Inventory, take_inventory
from watchtower_async.errors import EngineError, EngineUnavailableError
from watchtower_async.events import (
    Announcer,
    ContainerJudged,
    Degraded,
    QuarantineLifted,
    ReplacementFinished,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.images.reference import Reference
from watchtower_async.narration import Narrator
from watchtower_async.rollout.coordinator import ENGINE_GONE
from watchtower_async.rollout.course import Course, Progress
from watchtower_async.rollout.drawing import Drawn
from watchtower_async.rollout.hook_plan import HookResult
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.recovery import RecoveryReport, has_leftovers
from watchtower_async.rollout.rollouts import Hold
from watchtower_async.state.contents import QuarantineEntry, Sighting
from watchtower_async.updates.agenda import SCHEDULE_LABEL
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.planner import Focus, Planner
from watchtower_async.updates.reason import Reason, ReasonCode

_REFUSALS = frozenset({ReasonCode.UNAUTHORIZED, ReasonCode.DENIED, ReasonCode.CREDENTIALS})
"""What another credential may put right."""
_IN_BETWEEN = frozenset({ReasonCode.NOT_RUNNING, ReasonCode.UNFINISHED})
"""How a container may look while it is replaced."""


class Credentials(Protocol):
    """The credential store, as a session needs it."""

    async def reload(self) -> str | None:
        """Read the configuration afresh; return what is wrong with it, None when all is well."""


class Rolling(Protocol):
    """The rollouts of the engine."""

    @property
    def is_at_work(self) -> bool:
        """Say whether a rollout is being carried out now."""

    def holds(self) -> dict[str, Hold]:
        """Return by name the containers that an open rollout has not let go of."""

    async def carry_out(self, courses: Sequence[Course], *, on_begun: Callable[[], None]) -> dict[str, Progress]:
        """Carry rollouts out; return where each stands when it is over or rests."""

    async def supersede(self, rollouts: Iterable[str]) -> None:
        """Let rollouts give way to a newer image, and wait until they have stopped."""

    def load(self) -> None:
        """Read what is stored, to know of it; nothing begins."""

    async def take_up(self) -> None:
        """Take up what the last process left: once, and after recovery."""

    async def finish_wanted(self) -> None:
        """Carry out what was taken up, and return when all of it is over or rests."""


class CheckHooks(Protocol):
    """Runs what containers want to be run around a check."""

    @property
    def is_enabled(self) -> bool:
        """Say whether hooks run at all."""

    async def before_check(self, container: ContainerSummary) -> HookResult | None:
        """Run the pre-check hook; None where there is none. Its end changes nothing."""

    async def after_check(self, container: ContainerSummary) -> HookResult | None:
        """Run the post-check hook in what now runs under the container's name."""


class Drawing(Protocol):
    """Makes rollouts from a plan."""

    async def draw(
        self, session: str, plan: UpdatePlan, inventory: Inventory, *, held: Mapping[str, str] | None = None
    ) -> Drawn:
        """Return the rollouts, and what is in none of them; `held` are in the hands of others. Raises EngineError."""


class Memory(Protocol):
    """Keeps what was learned, over restarts where it can. Its calls raise nothing that a disk can cause."""

    @property
    def quarantined(self) -> tuple[QuarantineEntry, ...]:
        """Return the entries of the quarantine, of all hosts."""

    async def note_sightings(self, sightings: Iterable[Sighting]) -> None:
        """Keep when tags were first seen to point to an image."""

    async def lift_quarantine(
        self, container: str | None = None, *, host: str | None = None
    ) -> tuple[QuarantineEntry, ...]:
        """Drop entries and return them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """Settings of a session."""

    monitor_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """What a session did."""

    session: str
    plan: UpdatePlan | None
    outcomes: tuple[tuple[PlanItem, Outcome], ...] = ()
    restarted: int = 0
    """How many containers were restarted or created anew for others."""
    failure: str | None = None

    @property
    def updated(self) -> int:
        """Count the replaced containers."""
        return sum(outcome.kind is OutcomeKind.UPDATED for _, outcome in self.outcomes)

    @property
    def failed(self) -> int:
        """Count what failed, was rolled back or stayed unknown."""
        bad = {OutcomeKind.FAILED, OutcomeKind.ROLLED_BACK, OutcomeKind.UNFINISHED, OutcomeKind.LOST}
        return self.unknown + sum(outcome.kind in bad for _, outcome in self.outcomes)

    @property
    def unknown(self) -> int:
        """Count what could not be checked."""
        return sum(item.action is Action.UNKNOWN for item in self.plan.items) if self.plan else 0

    @property
    def scanned(self) -> int:
        """Count the containers that were checked."""
        return sum(item.action is not Action.LEAVE for item in self.plan.items) if self.plan else 0

    @property
    def is_good(self) -> bool:
        """Say whether nothing failed and nothing stayed unknown."""
        return self.failure is None and self.failed == 0


Recover = Callable[[Inventory, bool], Awaitable[tuple[RecoveryReport, ...]]]
"""Recovers what interrupted replacements left over in this inventory, and tells it; with True it only reports."""


async def nothing_to_learn() -> None:
    """Learn nothing: nobody replaced us."""


class Session:
    """Runs sessions on one engine, one at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        planner: Planner,
        rollouts: Rolling,
        drawing: Drawing,
        recover: Recover,
        credentials: Credentials,
        memory: Memory,
        policy: SessionPolicy,
        narrator: Narrator,
        announcer: Announcer,
        hooks: CheckHooks,
        take_word: Callable[[], Awaitable[None]] = nothing_to_learn,
    ) -> None:
        """`take_word` learns how the replacement of our own container ended, once and before anything else."""
        self._hooks = hooks
        self._take_word = take_word
        self._engine = engine
        self._planner = planner
        self._rollouts = rollouts
        self._drawing = drawing
        self._recover = recover
        self._credentials = credentials
        self._memory = memory
        self._policy = policy
        self._narrator = narrator
        self._announcer = announcer
        self._refused: frozenset[Reference] = frozenset()
        """What could not be asked for, for want of the right credential, when it was tried last."""
        self._is_open = False
        self._schedules: dict[str, str | None] = {}
        self._repairs: tuple[RecoveryReport, ...] = ()
        """What was recovered at the start, for the first plan."""
        self._complaints: set[str] = set()

    @property
    def schedules(self) -> Mapping[str, str | None]:
        """Return by name the schedules that containers had in their labels when the engine was looked at last."""
        return self._schedules

    async def make_plan(self) -> UpdatePlan:
        """Decide without touching or pulling anything; recovery only reports. Raises EngineUnavailableError."""
        self._rollouts.load()
        plan, _ = await self._plan(only_report=True)
        return plan

    async def open(self) -> None:
        """Recover what the last process left over, and take up its rollouts. Raises EngineError.

        Monitor-only does neither.
        """
        if self._is_open:
            return
        await self._take_word()
        if self._policy.monitor_only:
            await self._look(only_report=True)
            self._rollouts.load()
        else:
            _, self._repairs = await self._look()
            await self._rollouts.take_up()
        self._is_open = True

    async def run(
        self,
        *,
        only: Callable[[Reference], bool] | None = None,
        names: Callable[[str], bool] | None = None,
        hold: str | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> SessionReport:
        """Run one session. Raises nothing that an engine or a registry can cause.

        With `only` and `names` it is about such images and containers; the others are neither asked for nor touched.
        With `hold`, the reason why nothing may be updated now, it only reports. `begun` is told when the rollouts are
        known: another session may begin then. The session ends when they are over, or rest.
        """
        session = secrets.token_hex(4)
        started = time.monotonic()
        self._announcer.announce(SessionStarted(session, self._engine.name))
        try:
            focus = None if only is None and names is None else Focus(only, first=self._refused, names=names)
            report = await self._run(session, focus, hold, begun)
        except EngineUnavailableError as error:
            report = SessionReport(session=session, plan=None, failure=str(error))
        except EngineError as error:
            report = SessionReport(session=session, plan=None, failure=f"the engine refused: {error}")
        if report.failure is not None:
            self._announcer.announce(SessionFailed(session, report.failure))
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

    async def _run(
        self, session: str, focus: Focus | None, hold: str | None, begun: Callable[[], None]
    ) -> SessionReport:
        if not self._is_open:
            await self.open()
            await self._rollouts.finish_wanted()
        await self._run_hooks(self._hooks.before_check)
        plan, inventory = await self._plan(only_report=self._policy.monitor_only, focus=focus)
        outdated = _outdated(plan, self._rollouts.holds())
        if outdated and hold is None and not self._policy.monitor_only:
            await self._rollouts.supersede(sorted(outdated))
            plan, inventory = await self._plan(only_report=False, focus=focus)
        if hold is not None:
            plan = _held_back(plan, Reason(ReasonCode.OUTSIDE_WINDOW, hold))
        self._refused = _refused_in(plan, before=self._refused)
        self._narrator.know(plan.items)
        for item in plan.items:
            self._announcer.announce(ContainerJudged(item))
        await self._memory.note_sightings(plan.sightings)
        await self._lift_what_is_over(plan)
        report = await self._carry_out(session, plan, inventory, begun)
        with suppress(EngineError):  # what the session did is not undone by that
            await self._run_hooks(self._hooks.after_check)
        return report

    async def _run_hooks(self, hook: Callable[[ContainerSummary], Awaitable[HookResult | None]]) -> None:
        """Run the hooks of all watched containers, at once: one that hangs costs the others nothing."""
        if not self._hooks.is_enabled:
            return

        async def run(container: ContainerSummary) -> None:
            result = await hook(container)
            if result is not None:
                self._narrator.tell_hook(result)

        await each(self._planner.watched(await take_inventory(self._engine)), run)

    async def _carry_out(
        self, session: str, plan: UpdatePlan, inventory: Inventory, begun: Callable[[], None]
    ) -> SessionReport:
        """Carry the plan out. When the engine goes away, the rest is not begun."""
        if not plan.updates:
            begun()
            return SessionReport(session=session, plan=plan)
        held = {name: hold.reason for name, hold in self._rollouts.holds().items() if hold.is_replaced}
        drawn = await self._drawing.draw(session, plan, inventory, held=held)
        self._complain(drawn.problems)
        self._tell_left_out(plan, drawn)
        progresses = await self._rollouts.carry_out(drawn.courses, on_begun=begun)
        found = {item.name: Outcome(OutcomeKind.FAILED, item.reason) for item in drawn.left_out}
        for course in drawn.courses:
            found |= _outcomes_of(course, progresses[course.id])
        reasons = (progress.reason for progress in progresses.values())
        failure = next((reason for reason in reasons if reason.startswith(ENGINE_GONE)), None)
        unknown = Outcome(OutcomeKind.SKIPPED, "it is in no rollout any more")
        return SessionReport(
            session=session,
            plan=plan,
            outcomes=tuple((item, found.get(item.name, unknown)) for item in plan.updates),
            restarted=sum(_count_restarted(course, progresses[course.id]) for course in drawn.courses),
            failure=failure,
        )

    async def _plan(self, *, only_report: bool, focus: Focus | None = None) -> tuple[UpdatePlan, Inventory]:
        problem = await self._credentials.reload()
        if problem is not None:
            self._announcer.announce(Degraded(problem))
        inventory, repairs = await self._look(only_report=only_report)
        repairs, self._repairs = (*self._repairs, *repairs), ()
        plan = await self._planner.make(
            inventory,
            quarantined=frozenset((entry.container, entry.digest) for entry in self._entries()),
            repairs=tuple(f"{repair.name}: {repair.text}" for repair in repairs),
            problems=(problem,) if problem else (),
            focus=focus,
        )
        return _with_holds(plan, self._rollouts.holds()), inventory

    async def _look(self, *, only_report: bool = False) -> tuple[Inventory, tuple[RecoveryReport, ...]]:
        """Take the inventory, in which nothing is left over that could be put in order.

        While a rollout is at work, what looks like a leftover is what it is doing.
        """
        inventory = await take_inventory(self._engine)
        repairs: tuple[RecoveryReport, ...] = ()
        if has_leftovers(inventory.containers) and not self._rollouts.is_at_work:
            repairs = await self._recover(inventory, only_report)
            inventory = await take_inventory(self._engine)
        self._schedules = {item.name: item.labels.get(SCHEDULE_LABEL) for item in inventory.containers}
        return inventory, repairs

    async def _lift_what_is_over(self, plan: UpdatePlan) -> None:
        items = {item.name: item for item in plan.items}
        for entry in self._entries():
            item = items.get(entry.container)
            why = None if item is None else _end_of(entry, item)
            if why is not None:
                await self._memory.lift_quarantine(entry.container, host=entry.host)
                self._announcer.announce(QuarantineLifted(entry, why))

    def _complain(self, problems: Iterable[str]) -> None:
        """Tell what is wrong with labels, once."""
        for problem in problems:
            if problem not in self._complaints:
                self._complaints.add(problem)
                self._announcer.announce(Degraded(problem))

    def _tell_left_out(self, plan: UpdatePlan, drawn: Drawn) -> None:
        """Tell what is in no rollout: its update has ended before it began."""
        reasons = {item.name: item.reason for item in drawn.left_out}
        for item in plan.updates:
            if item.name in reasons:
                end = ReplacementFinished(item, str(OutcomeKind.FAILED), reasons[item.name], detail=(), duration=0.0)
                self._announcer.announce(end)

    def _entries(self) -> list[QuarantineEntry]:
        return [entry for entry in self._memory.quarantined if entry.host == self._engine.name]


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


def _outdated(plan: UpdatePlan, holds: Mapping[str, Hold]) -> frozenset[str]:
    """Return the rollouts that move a container to an image which is not the newest any more."""
    newest = {item.name: str(item.published) for item in plan.items if item.published is not None}
    return frozenset(
        hold.rollout
        for name, hold in holds.items()
        if hold.digest is not None and newest.get(name, hold.digest) != hold.digest
    )


def _held_back(plan: UpdatePlan, reason: Reason) -> UpdatePlan:
    """Return the plan in which nothing is updated now."""
    items = (
        replace(item, action=Action.REPORT, reason=reason) if item.action is Action.UPDATE else item
        for item in plan.items
    )
    return replace(plan, items=tuple(items))


def _with_holds(plan: UpdatePlan, holds: Mapping[str, Hold]) -> UpdatePlan:
    """Leave to a rollout what it has, and what looks odd because of it."""
    if not holds:
        return plan
    items = (
        replace(item, action=Action.LEAVE, reason=Reason(ReasonCode.IN_ROLLOUT, holds[item.name].reason))
        if item.name in holds and (item.action is Action.UPDATE or item.reason.code in _IN_BETWEEN)
        else item
        for item in plan.items
    )
    return replace(plan, items=tuple(items))


def _count_restarted(course: Course, progress: Progress) -> int:
    """Count what was restarted or created anew for others, where these have come up."""
    groups, count = progress.groups, 0
    for planned in course.groups:
        found = groups.get(planned.key)
        if found is None:
            continue
        if found.outcome is not None and found.outcome.kind is OutcomeKind.UPDATED:
            count += len(planned.group.create_order) - len(planned.group.updated)
        if found.up_at is not None:
            count += len(planned.group.restart_order)
    return count


def _outcomes_of(course: Course, progress: Progress) -> dict[str, Outcome]:
    """Return how it ended for each updated container."""
    groups = progress.groups
    found: dict[str, Outcome] = {}
    for planned in course.groups:
        group = groups.get(planned.key)
        outcome = group.outcome if group is not None else None
        waits = Outcome(OutcomeKind.SKIPPED, f"its turn has not come: rollout {course.id} is {progress.state}")
        for member in planned.group.updated:
            found[member.name] = outcome or waits
    return found
