"""What a session would do, complete before anything is touched: data that can be printed, stored and carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from watchtower_async.engine.temporary_name import RunState
from watchtower_async.images.digest import Digest
from watchtower_async.images.reference import Reference
from watchtower_async.state.contents import Sighting
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.staleness import Freshness, Verdict

HIDDEN_FROM_PEOPLE = frozenset({ReasonCode.NOT_RUNNING, ReasonCode.NOT_NAMED, ReasonCode.IMAGE_NOT_NAMED})
"""Containers left alone for these reasons are in the JSON form only: nobody asked for them."""


class Action(StrEnum):
    """What happens to a container."""

    UPDATE = "update"
    NOTHING = "nothing"
    REPORT = "report"
    """A newer image exists, and monitor-only forbids to touch the container."""
    REFUSE = "refuse"
    """A newer image exists, and the container cannot be re-created as it is."""
    LEAVE = "leave"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One container: what would happen to it, and why."""

    container_id: str
    name: str
    image: str
    image_id: str
    """The engine's id of the image that runs now."""
    action: Action
    reason: Reason
    running: Digest | None = None
    published: Digest | None = None
    reference: Reference | None = None
    notes: tuple[str, ...] = ()
    asked_through_engine: bool = False
    local_image: str | None = None
    """The engine's id of the image to move to where nothing may be pulled; the digests are image ids then."""
    ran: RunState = RunState.RUNNING
    """How the container ran when the plan was made."""
    starts: bool = True
    """Whether the successor is started."""
    held_until: datetime | None = None
    """When the cooldown ends, where that is what holds the container back."""

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "name": self.name,
            "container_id": self.container_id,
            "image": self.image,
            "running": str(self.running) if self.running else None,
            "published": str(self.published) if self.published else None,
            "action": str(self.action),
            "reason": {"code": str(self.reason.code), "text": self.reason.text},
            "notes": list(self.notes),
            "asked_through_engine": self.asked_through_engine,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePlan:
    """All containers of one engine; updates stand in the order in which they are carried out."""

    engine: str
    items: tuple[PlanItem, ...]
    repairs: tuple[str, ...] = ()
    """What recovery found left over from an interrupted replacement."""
    problems: tuple[str, ...] = ()
    """What went wrong beside single containers, such as a broken credential file."""
    sightings: tuple[Sighting, ...] = ()
    """Since when the published images of containers with a cooldown are known; to be noted, or no wait ever ends."""

    @property
    def updates(self) -> tuple[PlanItem, ...]:
        """Return the containers to be replaced, in order."""
        return tuple(item for item in self.items if item.action is Action.UPDATE)

    @property
    def has_unknown(self) -> bool:
        """Say whether something could not be checked."""
        return any(item.action is Action.UNKNOWN for item in self.items)

    @property
    def has_newer(self) -> bool:
        """Say whether a newer image exists for some container, whatever is done about it."""
        return any(item.action in {Action.UPDATE, Action.REPORT, Action.REFUSE} for item in self.items)

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "engine": self.engine,
            "containers": [item.as_json() for item in self.items],
            "repairs": list(self.repairs),
            "problems": list(self.problems),
        }


def action_for(verdict: Verdict, *, monitor_only: bool, refused: bool) -> Action:
    """Turn a verdict into what happens."""
    match verdict.freshness:
        case Freshness.FRESH:
            return Action.NOTHING
        case Freshness.UNKNOWN:
            return Action.UNKNOWN
        case Freshness.NOT_CHECKED:
            return Action.LEAVE
        case Freshness.STALE:
            if refused:
                return Action.REFUSE
            return Action.REPORT if monitor_only else Action.UPDATE
