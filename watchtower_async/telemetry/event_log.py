"""Writes announced facts to the log: one line per container, one per session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from watchtower_async.events import (
    ContainerJudged,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
    Degraded,
    Event,
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
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.updates.plan import HIDDEN_FROM_PEOPLE, Action, PlanItem
from watchtower_async.updates.reason import ReasonCode

_JUDGED: Mapping[Action, tuple[str, str]] = {
    Action.UPDATE: ("info", "container.newer_image_found"),
    Action.REPORT: ("info", "container.newer_image_found"),
    Action.REFUSE: ("warning", "container.refused"),
    Action.UNKNOWN: ("warning", "container.unknown"),
    Action.LEAVE: ("debug", "container.left_alone"),
    Action.NOTHING: ("debug", "container.up_to_date"),
}
_SAID_ONCE = frozenset({ReasonCode.LOCAL_IMAGE, ReasonCode.NOT_SUPPORTED, ReasonCode.ITSELF, ReasonCode.QUARANTINED})
_FINISHED: Mapping[str, str] = {
    "updated": "info",
    "skipped": "info",
    "rolled_back": "error",
    "failed": "error",
    "unfinished": "error",
    "lost": "critical",
}


class EventLog:
    """A listener that logs."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._said_once: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Log one fact."""
        match event:
            case SessionStarted():
                self._log.debug("session.started", session=event.session, host=event.engine)
            case ContainerJudged(item):
                self._judged(item)
            case ReplacementStarted(item):
                self._log.info("replacement.started", **_about(item))
            case ReplacementFinished():
                self._finished(event)
            case ImageQuarantined() | QuarantineLifted():
                self._quarantine(event)
            case ImageRemoved():
                self._log.info("image.removed", image_id=event.image_id.removeprefix("sha256:")[:12], image=event.image)
            case ReplacementRecovered():
                level = "critical" if event.is_lost else "warning"
                getattr(self._log, level)("replacement.recovered", container=event.container, action=event.action)
            case Degraded(problem):
                self._log.warning("updater.degraded", problem=problem)
            case CredentialsReloaded() | CredentialsProblem() | CredentialsRecovered():
                self._credentials(event)
            case SessionFailed():
                self._log.error("session.failed", session=event.session, reason=event.reason)
            case SessionFinished():
                self._log.info(
                    "session.finished",
                    Failed=event.failed,
                    Scanned=event.scanned,
                    Updated=event.updated,
                    notify="no",
                    session=event.session,
                    duration=round(event.duration, 3),
                )

    def _quarantine(self, event: ImageQuarantined | QuarantineLifted) -> None:
        match event:
            case ImageQuarantined(entry):
                self._log.warning("quarantine.added", **_about_entry(entry))
            case QuarantineLifted(entry, why):
                self._log.info("quarantine.lifted", **_about_entry(entry), reason=why)

    def _credentials(self, event: CredentialsReloaded | CredentialsProblem | CredentialsRecovered) -> None:
        match event:
            case CredentialsReloaded():
                keys = {"added": event.added, "removed": event.removed, "changed": event.changed}
                listed = {name: ", ".join(sorted(found)) for name, found in keys.items() if found}
                helper = {"default_helper": "changed"} if event.default_helper_changed else {}
                self._log.info("credentials.reloaded", **listed, **helper, generation=event.generation)
            case CredentialsProblem(problem):
                self._log.warning("credentials.reload_rejected", problem=problem)
            case CredentialsRecovered():
                self._log.info("credentials.recovered")

    def _judged(self, item: PlanItem) -> None:
        if item.reason.code in HIDDEN_FROM_PEOPLE:
            return
        level, identifier = _JUDGED[item.action]
        if item.reason.code in _SAID_ONCE:
            level = self._first_time(item, level)
        getattr(self._log, level)(identifier, **_about(item), reason=item.reason.text)

    def _first_time(self, item: PlanItem, level: str) -> str:
        # Said once at a visible level: the owner must know, but not every five minutes.
        key = f"{item.container_id} {item.reason.code}"
        if key in self._said_once:
            return level
        self._said_once.add(key)
        return "info"

    def _finished(self, event: ReplacementFinished) -> None:
        level = _FINISHED.get(event.outcome, "warning")
        extra: dict[str, Any] = {"detail": " | ".join(event.detail)} if event.detail else {}
        getattr(self._log, level)(
            f"replacement.{event.outcome}",
            **_about(event.item),
            reason=event.reason,
            duration=round(event.duration, 3),
            **extra,
        )


def _about_entry(entry: QuarantineEntry) -> dict[str, Any]:
    return {"container": entry.container, "image": entry.image, "digest": entry.digest.short}


def _about(item: PlanItem) -> dict[str, Any]:
    about: dict[str, Any] = {"container": item.name, "image": item.image}
    if item.running is not None:
        about["digest_from"] = item.running.short
    if item.published is not None and item.published != item.running:
        about["digest_to"] = item.published.short
    return about
