"""Tells what rollouts do as facts about containers, and keeps what failed in quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

import anyio

from watchtower_async.events import (
    Announcer,
    DependentRestarted,
    HookRan,
    ImageQuarantined,
    ReplacementFinished,
    ReplacementStarted,
    RolloutLimitExceeded,
    RolloutStateChanged,
)
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.course import FINAL, Course, Phase
from watchtower_async.rollout.course_events import Announcement, GroupMoved, LimitExceeded, StateChanged
from watchtower_async.rollout.groups import Member
from watchtower_async.rollout.hook_plan import HookResult
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.runner import SideEffect
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode


class Quarantine(Protocol):
    """Keeps what failed, over restarts where it can."""

    @property
    def quarantined(self) -> tuple[QuarantineEntry, ...]:
        """Return the entries, of all hosts."""

    async def add_to_quarantine(self, entry: QuarantineEntry) -> None:
        """Keep an entry, in place of an older one for the same container."""


class Narrator:
    """Tells about the rollouts of one engine."""

    def __init__(self, *, host: str, announcer: Announcer, quarantine: Quarantine) -> None:
        """`host` is the engine's name."""
        self._host = host
        self._announcer = announcer
        self._quarantine = quarantine
        self._items: dict[str, PlanItem] = {}
        self._started: dict[str, float] = {}

    def know(self, items: Iterable[PlanItem]) -> None:
        """Remember what a plan says about what it updates, as it knows more of that than a rollout does.

        A later plan does not replace it: it says of the same containers that they are in the hands of a rollout.
        """
        self._items |= {item.container_id: item for item in items if item.action is Action.UPDATE}

    def tell(self, course: Course, announcement: Announcement) -> None:
        """Announce what a rollout says."""
        match announcement:
            case GroupMoved():
                self._tell_moved(course, announcement)
            case StateChanged():
                self._announcer.announce(
                    RolloutStateChanged(course.id, course.name, str(announcement.state), announcement.reason)
                )
                if announcement.state in FINAL:
                    self._forget(course)
            case LimitExceeded():
                self._announcer.announce(
                    RolloutLimitExceeded(
                        course.id, announcement.failures, announcement.groups, str(announcement.action)
                    )
                )

    def tell_side_effect(self, effect: SideEffect) -> None:
        """Announce what happened to a container because of another one."""
        self._announcer.announce(
            DependentRestarted(effect.container, effect.because_of, effect.is_recreated, effect.problem)
        )

    def tell_hook(self, result: HookResult) -> None:
        """Announce how a hook ended."""
        self._announcer.announce(
            HookRan(result.container, str(result.kind), str(result.end), result.reason, result.output)
        )

    async def condemn(self, member: Member, outcome: Outcome) -> None:
        """Put the image that failed in a container into quarantine; tell it when the container is back."""
        assert member.aim is not None
        entry = QuarantineEntry(
            host=self._host,
            container=member.name,
            image=self._item(member).image,
            digest=parse_digest(member.aim.digest),
            since=datetime.now(UTC),
            reason=outcome.reason,
            detail=outcome.detail,
        )
        await self._quarantine.add_to_quarantine(entry)
        if outcome.kind is OutcomeKind.ROLLED_BACK:
            self._announcer.announce(ImageQuarantined(entry))

    def is_condemned(self, member: Member) -> bool:
        """Say whether the image that a container is to move to is in quarantine for it."""
        return member.aim is not None and any(
            (entry.host, entry.container, str(entry.digest)) == (self._host, member.name, member.aim.digest)
            for entry in self._quarantine.quarantined
        )

    def _tell_moved(self, course: Course, moved: GroupMoved) -> None:
        updated = course.planned(moved.key).group.updated
        if moved.phase is Phase.STARTING:
            for member in updated:
                self._started[member.container_id] = anyio.current_time()
                self._announcer.announce(ReplacementStarted(self._item(member)))
        if moved.outcome is None or moved.phase not in (Phase.UPDATED, Phase.ENDED):
            return
        for member in updated:
            started = self._started.get(member.container_id, anyio.current_time())
            self._announcer.announce(
                ReplacementFinished(
                    item=self._item(member),
                    outcome=str(moved.outcome.kind),
                    reason=moved.outcome.reason,
                    detail=moved.outcome.detail,
                    duration=anyio.current_time() - started,
                )
            )

    def _forget(self, course: Course) -> None:
        for planned in course.groups:
            for member in planned.group.members:
                self._items.pop(member.container_id, None)
                self._started.pop(member.container_id, None)

    def _item(self, member: Member) -> PlanItem:
        return self._items.get(member.container_id) or _item_of(member)


def _item_of(member: Member) -> PlanItem:
    """Return what a rollout that was taken up again knows of a container."""
    assert member.aim is not None
    return PlanItem(
        container_id=member.container_id,
        name=member.name,
        image=member.aim.image,
        image_id=member.image_id,
        action=Action.UPDATE,
        reason=Reason(ReasonCode.NEWER_IMAGE, "a newer image was published"),
        published=parse_digest(member.aim.digest),
        reference=parse_reference(member.aim.image),
    )
