"""Events as they happen, for those who listen over HTTP (server-sent events, WHATWG HTML section 9.2).

The last events are kept in one ring. A client is a place in it: what waits for a slow client is bounded by the ring and
costs nothing more. Who falls behind the ring is told how many events it missed, and goes on with the oldest one.

An identifier is a run of this process and a number. A client that comes back with the last one it saw gets what
followed; one of an earlier process gets everything, and is told that there may be a gap.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio

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
from watchtower_async.tally import Tallies
from watchtower_async.web.history import utc_now
from watchtower_async.web.ports import Clock

KEPT_EVENTS = 500
KEPT_REPLACEMENTS = 500
MOST_CLIENTS = 100
RETRY_MILLISECONDS = 5000
_AT_ONCE = 50
"""Messages handed to a client in one piece."""

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent."""

    number: int
    kind: str
    text: str
    """JSON on one line."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows for one client."""

    missed: int | None
    """How many events are lost to it; None when nobody knows, as they were of an earlier process."""
    messages: tuple[Message, ...]


class Live:
    """The ring and its clients. A listener of events."""

    def __init__(
        self,
        *,
        session_settings: Callable[[], Data] = dict,
        now: Clock = utc_now,
        run: str | None = None,
        kept: int = KEPT_EVENTS,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        """`session_settings` is what `scan_started` tells; `run` names this process in identifiers."""
        self._settings = session_settings
        self._now = now
        self._run = run or secrets.token_hex(4)
        self._ring: deque[Message] = deque(maxlen=kept)
        self._next = 1
        self._most_clients = most_clients
        self._clients: set[Client] = set()
        self._news = anyio.Event()
        self._tallies = Tallies()
        self._replaced: dict[str, ReplacementStarted] = {}
        """By the id of the image that was replaced, for the event about its removal."""

    def __call__(self, event: Event) -> None:
        """Take in a fact."""
        if isinstance(event, ReplacementStarted):
            self._remember(event)
        self._tallies.take_in(event)
        kind, data = self._told(event)
        document = {"type": kind, "timestamp": rfc3339(self._now()), "data": data}
        self._ring.append(Message(self._next, kind, json.dumps(document, separators=(",", ":"))))
        self._next += 1
        self._wake()

    def connect(self, last_seen: str = "") -> Client | None:
        """Return a client that begins after the event it saw last, or now. None where there are too many."""
        if len(self._clients) >= self._most_clients:
            return None
        client = Client(self, *self._place_after(last_seen))
        self._clients.add(client)
        return client

    def disconnect(self, client: Client) -> None:
        """Let a client go; it hears nothing more. Idempotent."""
        self._clients.discard(client)
        self._wake()

    def identifier(self, message: Message) -> str:
        """Return what a client sends as `Last-Event-ID` after this message."""
        return f"{self._run}-{message.number}"

    def is_connected(self, client: Client) -> bool:
        """Say whether a client still hears."""
        return client in self._clients

    @property
    def news(self) -> anyio.Event:
        """Return what is set when something happens after now."""
        return self._news

    def after(self, place: int) -> tuple[int, tuple[Message, ...]]:
        """Return how many messages after a place are lost, and the first of those that follow."""
        oldest = self._next - len(self._ring)
        begin = max(place + 1, oldest)
        skipped = begin - oldest
        return begin - place - 1, tuple(self._ring[index] for index in range(skipped, len(self._ring))[:_AT_ONCE])

    def _place_after(self, last_seen: str) -> tuple[int, bool]:
        """Return a place, and whether what was before it is unknown."""
        run, _, number = last_seen.rpartition("-")
        if not last_seen:
            return self._next - 1, False
        if run == self._run and number.isascii() and number.isdigit() and len(number) < 18:
            return min(int(number), self._next - 1), False
        return self._next - 1 - len(self._ring), True

    def _remember(self, event: ReplacementStarted) -> None:
        # An image is removed when its rollout is over, and by then other sessions may have begun.
        self._replaced.pop(event.item.image_id, None)
        self._replaced[event.item.image_id] = event
        if len(self._replaced) > KEPT_REPLACEMENTS:
            del self._replaced[next(iter(self._replaced))]

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _told(self, event: Event) -> tuple[str, Data]:
        match event:
            case SessionStarted():
                return "scan_started", {**self._settings(), "session": event.session}
            case ImageRemoved():
                return "image_cleanup", {"images": [self._removed(event)]}
            case SessionFinished():
                return "scan_completed", self._completed(event)
            case _:
                return told(event)

    def _completed(self, event: SessionFinished) -> Data:
        """A check without a result is counted apart, as in the answer to `/v1/update` and in the metrics."""
        unknown = self._tallies.close(event.session).unknown
        return {
            "scanned": max(0, event.scanned - unknown),
            "updated": event.updated,
            "failed": max(0, event.failed - unknown),
            "session": event.session,
            "duration": round(event.duration, 3),
        }

    def _removed(self, event: ImageRemoved) -> Data:
        started = self._replaced.get(event.image_id)
        return {
            "image_id": event.image_id,
            "image_name": event.image,
            "container_id": started.item.container_id if started else "",
            "container_name": started.item.name if started else "",
        }


class Client:
    """One who listens."""

    def __init__(self, live: Live, place: int, is_gap_unknown: bool) -> None:
        self._live = live
        self._place = place
        self._is_gap_unknown = is_gap_unknown

    async def next(self) -> Batch | None:
        """Wait for what follows. None once the client was let go."""
        while self._live.is_connected(self):
            news = self._live.news
            missed, messages = self._live.after(self._place)
            if self._is_gap_unknown:
                self._is_gap_unknown = False
                self._place = messages[-1].number if messages else self._place
                return Batch(None, messages)
            if messages:
                self._place = messages[-1].number
                return Batch(missed, messages)
            await news.wait()
        return None


def render(live: Live, batch: Batch) -> str:
    """Write a batch as an event stream."""
    parts = []
    if batch.missed != 0:
        parts.append(f"event: gap\ndata: {json.dumps({'type': 'gap', 'data': {'missed': batch.missed}})}\n\n")
    parts += [
        f"id: {live.identifier(message)}\nevent: {message.kind}\ndata: {message.text}\n\n" for message in batch.messages
    ]
    return "".join(parts)


def told(event: Event) -> tuple[str, Data]:
    """Return the name and the data of an event that needs nothing else to be told.

    What a container wrote into its log is left out: it may hold anything.
    """
    match event:
        case SessionFailed(session, reason):
            return "scan_failed", {"error": reason, "session": session}
        case ContainerJudged(item):
            return "container_judged", item.as_json()
        case ReplacementStarted(item):
            return "replacement_started", item.as_json()
        case ReplacementFinished():
            end = {"outcome": event.outcome, "reason": event.reason, "duration": round(event.duration, 3)}
            return "replacement_finished", {"container": event.item.name, "image": event.item.image, **end}
        case ReplacementRecovered():
            about = {"container": event.container, "action": event.action, "is_lost": event.is_lost}
            return "replacement_recovered", about
        case DependentRestarted() | RolloutStateChanged() | RolloutLimitExceeded() | HookRan():
            return _told_of_rollout(event)
        case _:
            return _told_beside(event)


def _told_of_rollout(
    event: DependentRestarted | RolloutStateChanged | RolloutLimitExceeded | HookRan,
) -> tuple[str, Data]:
    """Tell what a rollout does beside replacing containers. What a hook wrote is left out, as logs are."""
    match event:
        case DependentRestarted():
            about = {"container": event.container, "because_of": event.because_of, "problem": event.problem}
            return "dependent_restarted", {**about, "is_recreated": event.is_recreated}
        case RolloutStateChanged():
            about = {"rollout": event.rollout, "name": event.name, "state": event.state, "reason": event.reason}
            return "rollout_state_changed", about
        case RolloutLimitExceeded():
            counts = {"failures": event.failures, "groups": event.groups}
            return "rollout_limit_exceeded", {"rollout": event.rollout, **counts, "action": event.action}
        case HookRan():
            end = {"kind": event.kind, "end": event.end, "reason": event.reason}
            return "hook_ran", {"container": event.container, **end}


def _told_beside(event: Event) -> tuple[str, Data]:
    """Tell what is not part of replacing a container."""
    match event:
        case ImageQuarantined(entry):
            return "image_quarantined", _about(entry)
        case QuarantineLifted(entry, why):
            return "quarantine_lifted", {**_about(entry), "why": why}
        case Degraded(problem):
            return "degraded", {"problem": problem}
        case CredentialsReloaded():
            keys = {"added": event.added, "removed": event.removed, "changed": event.changed}
            listed = {name: sorted(found) for name, found in keys.items()}
            return "credentials_reloaded", {**listed, "generation": event.generation}
        case CredentialsProblem(problem):
            return "credentials_problem", {"problem": problem}
        case CredentialsRecovered():
            return "credentials_recovered", {}
        case _:
            # An event that somebody adds is heard of at once, by its name; its data follow with a case of its own.
            return _snake(type(event).__name__), {}


def _about(entry: QuarantineEntry) -> Data:
    return {"container": entry.container, "image": entry.image, "digest": str(entry.digest), "reason": entry.reason}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def rfc3339(moment: datetime) -> str:
    """Write a time in UTC, as JSON holds it."""
    return moment.isoformat().replace("+00:00", "Z")
