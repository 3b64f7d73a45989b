"""The long-running form: a session at each scheduled time, and one at once when credentials have changed.

There is never more than one session at a time. The one after a change is about exactly the images whose credential may
be another one now; what changes while a session runs, or within a moment, is one session more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio
import structlog

from watchtower_async import __version__
from watchtower_async.credentials.snapshot import Snapshot, SnapshotChange
from watchtower_async.credentials.store import StoreState
from watchtower_async.events import (
    Announcer,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
    Degraded,
    Event,
)
from watchtower_async.images.reference import Reference
from watchtower_async.session import SessionReport
from watchtower_async.web.control import Health

GATHER_SECONDS = 0.25
"""Changes that follow the first one within this time are part of it: a script logs in to one registry after another."""


@dataclass(slots=True)
class CredentialStatus:
    """How the credentials in use came about, for the health answer. Times are those at which it was noticed."""

    generation: int | None = None
    reloaded: datetime | None = None
    problem: str | None = None
    """Why what is there now cannot be used."""
    last_problem: str | None = None
    last_problem_at: datetime | None = None

    def note(self, state: StoreState, now: datetime) -> None:
        """Take in the state of the store."""
        if state.snapshot is not None and state.snapshot.generation != self.generation:
            self.generation, self.reloaded = state.snapshot.generation, now
        if state.problem is not None and state.problem != self.problem:
            self.last_problem, self.last_problem_at = state.problem, now
        self.problem = state.problem

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "generation": self.generation,
            "reloaded": _iso(self.reloaded),
            "problem": self.problem,
            "last_problem": self.last_problem,
            "last_problem_at": _iso(self.last_problem_at),
        }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


@dataclass(slots=True)
class Status:
    """How the service is, for the health answer."""

    started: datetime
    is_ready: bool = False
    """False until credentials are watched and the schedule runs: what happens before is no change, it is the start."""
    sessions: int = 0
    last: SessionReport | None = None
    last_finished: datetime | None = None
    next_session: datetime | None = None
    credentials_problem: str | None = None
    credentials: CredentialStatus = field(default_factory=CredentialStatus)

    def health(self) -> Health:
        """Say how the service is. It is not well before it is ready, nor when its last session failed as a whole."""
        failure = self.last.failure if self.last else None
        detail: dict[str, Any] = {
            "version": __version__,
            "sessions": self.sessions,
            "last_session": self.last_finished.isoformat() if self.last_finished else None,
            "next_session": self.next_session.isoformat() if self.next_session else None,
            "problem": failure,
            "credentials_problem": self.credentials_problem,
            "credentials": self.credentials.as_json(),
        }
        if not self.is_ready:
            detail["status"] = "starting"
        return Health(self.is_ready and failure is None, detail)


class Sessions(Protocol):
    """Runs sessions."""

    async def run(self, *, only: Callable[[Reference], bool] | None = None) -> SessionReport:
        """Run one; with `only` it is about containers with such an image."""


class Credentials(Protocol):
    """The credential store, as the service needs it."""

    @property
    def state(self) -> StoreState:
        """Return what is in use, and what is wrong."""

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait until the state is another than this one, and return it."""


class Service:
    """Runs sessions for ever."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        credentials: Credentials,
        forget: Callable[[str], None],
        announcer: Announcer,
        interval: timedelta,
        status: Status,
    ) -> None:
        """`forget` drops what is remembered about a registry, named by its host, whose credential has changed."""
        self._sessions = sessions
        self._credentials = credentials
        self._forget = forget
        self._announcer = announcer
        self._interval = interval.total_seconds()
        self._status = status
        self._told = credentials.state
        self._snapshot: Snapshot | None = None
        """What the last session went by."""
        self._references: frozenset[Reference] = frozenset()
        """The images that were asked for."""
        self._log = structlog.get_logger()

    async def tell_news(self) -> None:
        """Announce what happens to the credentials, for ever."""
        self._status.credentials.note(self._told, datetime.now(UTC))
        while True:
            state = await self._credentials.state_after(self._told)
            self._status.credentials.note(state, datetime.now(UTC))
            self._status.credentials_problem = state.problem
            for event in news(self._told, state):
                self._announcer.announce(event)
            self._told = state

    async def run(self) -> None:
        """Run a session at each scheduled time, for ever, and one after each change of the credentials in use now."""
        self._snapshot = self._credentials.state.snapshot
        due = self._schedule(anyio.current_time() + self._interval)
        self._status.is_ready = True
        while True:
            is_due = not await self._changed_before(due)
            change = self._take_change()
            if is_due:
                await self.run_session()
                # Counted from start to start; a session that overran is not made up for.
                due = self._schedule(max(due + self._interval, anyio.current_time()))
            elif change is not None:
                await self.run_session(only=change.concerns)

    async def run_session(self, *, only: Callable[[Reference], bool] | None = None) -> SessionReport:
        """Run one session, about all images or about some."""
        report = await self._sessions.run(only=only)
        self._status.sessions += 1
        self._status.last = report
        self._status.last_finished = datetime.now(UTC)
        if report.plan is not None:
            asked = {item.reference for item in report.plan.items if item.reference is not None}
            self._references = frozenset(asked) if only is None else self._references | asked
        return report

    def _schedule(self, due: float) -> float:
        at = datetime.now(UTC) + timedelta(seconds=due - anyio.current_time())
        self._status.next_session = at
        self._log.info("schedule.next_session", at=at.isoformat(timespec="seconds"))
        return due

    async def _changed_before(self, due: float) -> bool:
        """Wait for a change of the credentials and what follows at once; False when the scheduled time comes first."""
        with anyio.move_on_at(due) as scope:
            state = self._credentials.state
            while state.snapshot is self._snapshot:
                state = await self._credentials.state_after(state)
            await anyio.sleep(GATHER_SECONDS)
        return not scope.cancelled_caught

    def _take_change(self) -> SnapshotChange | None:
        """Return what has changed since the last session, if anything, and forget its registries."""
        before, after = self._snapshot, self._credentials.state.snapshot
        self._snapshot = after
        if after is None or after is before:
            return None
        change = SnapshotChange(before, after)
        for host in {reference.host for reference in self._references if change.concerns(reference)}:
            self._forget(host)
        return change or None


def news(before: StoreState, after: StoreState) -> tuple[Event, ...]:
    """Say what is worth telling: what changed, a problem when it begins and when it ends, and new warnings."""
    events: list[Event] = [Degraded(text) for text in after.warnings if text not in before.warnings]
    if before.problem is None and after.complaint is not None:
        events.append(CredentialsProblem(after.complaint))
    if before.problem is not None and after.problem is None:
        events.append(CredentialsRecovered())
    is_first = before.snapshot is None and before.problem is None
    if after.snapshot is not None and after.snapshot is not before.snapshot and not is_first:
        events += _reloaded(SnapshotChange(before.snapshot, after.snapshot))
    return tuple(events)


def _reloaded(change: SnapshotChange) -> list[Event]:
    keys = change.keys
    if not keys:
        return []
    generation = change.after.generation
    return [CredentialsReloaded(keys.added, keys.removed, keys.changed, keys.default_helper_changed, generation)]
