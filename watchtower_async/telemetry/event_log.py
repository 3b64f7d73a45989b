"""Writes announced facts to the log: one line per container, one per session.

The line of a session begins with the original Watchtower's counts, under its names. What could not be checked is
`Skipped`, and neither `Scanned` nor `Failed`. What has a newer image and is left is `Stale`, and not `Updated`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, assert_never

import structlog

from watchtower_async.events import (
    ContainerJudged,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
    Degraded,
    DependentRestarted,
    Event,
    HookRan,
    ImageQuarantined,
    ImageRemoved,
    QuarantineLifted,
    ReplacementFinished,
    ReplacementRecovered,
    ReplacementStarted,
    RolloutLimitExceeded,
    RolloutStateChanged,
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
_ROLLOUT: Mapping[str, str] = {
    "paused": "error",
    "rollback_paused": "error",
    "rollback_started": "warning",
    "rollback_completed": "warning",
    "abandoned": "warning",
}
"""The levels of states that people should know of; the others are the normal course."""


class EventLog:
    """A listener that logs."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._said_once: set[str] = set()
        self._actions: Counter[Action] = Counter()
        """What happens to the containers of this session."""

    def __call__(self, event: Event) -> None:
        """Log one fact."""
        match event:
            case SessionStarted() | SessionFailed() | SessionFinished():
                self._session(event)
            case ContainerJudged(item):
                self._judged(item)
            case ReplacementStarted(item):
                self._log.info("replacement.started", **_about(item), container_id=item.container_id[:12])
            case ReplacementFinished():
                self._finished(event)
            case DependentRestarted() | HookRan():
                self._beside(event)
            case RolloutStateChanged() | RolloutLimitExceeded():
                self._rollout(event)
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
            case _:
                assert_never(event)

    def _session(self, event: SessionStarted | SessionFailed | SessionFinished) -> None:
        match event:
            case SessionStarted():
                self._actions.clear()
                self._log.debug("session.started", session=event.session, host=event.engine)
            case SessionFailed():
                self._log.error("session.failed", session=event.session, reason=event.reason)
            case SessionFinished():
                unknown = self._actions[Action.UNKNOWN]
                self._log.info(
                    "session.finished",
                    Failed=max(0, event.failed - unknown),
                    Scanned=max(0, event.scanned - unknown),
                    Updated=event.updated,
                    notify="no",
                    Fresh=self._actions[Action.NOTHING],
                    Skipped=unknown,
                    Stale=self._actions[Action.REPORT] + self._actions[Action.REFUSE],
                    session=event.session,
                    duration=round(event.duration, 3),
                )

    def _beside(self, event: DependentRestarted | HookRan) -> None:
        match event:
            case DependentRestarted(container, because_of, is_recreated, problem):
                if problem is not None:
                    self._log.error("dependent.failed", container=container, because_of=because_of, problem=problem)
                else:
                    identifier = "dependent.recreated" if is_recreated else "dependent.restarted"
                    self._log.info(identifier, container=container, because_of=because_of)
            case HookRan():
                level = "info" if event.end == "succeeded" else "warning"
                output = {"output": event.output} if event.output else {}
                getattr(self._log, level)(
                    "hook.ran", container=event.container, hook=event.kind, reason=event.reason, **output
                )

    def _rollout(self, event: RolloutStateChanged | RolloutLimitExceeded) -> None:
        match event:
            case RolloutStateChanged():
                level = _ROLLOUT.get(event.state, "debug")
                named = {"name": event.name} if event.name else {}
                getattr(self._log, level)(
                    "rollout.state", rollout=event.rollout, **named, state=event.state, reason=event.reason
                )
            case RolloutLimitExceeded():
                # Going on is what everybody gets by default, and each failure is told by itself.
                level = "debug" if event.action == "continue" else "error"
                getattr(self._log, level)(
                    "rollout.limit_exceeded",
                    rollout=event.rollout,
                    failures=event.failures,
                    groups=event.groups,
                    action=event.action,
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
        self._actions[item.action] += 1
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
