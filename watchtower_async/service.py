"""The long-running form: a session at each scheduled time, and one at once when credentials have changed.

There is never more than one session that plans; its rollouts go on beside the next one. The one after a change is
about exactly the images whose credential may be another one now; what changes while a session plans, or within a
moment, is one session more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from watchtower_async import __version__
from watchtower_async.credentials.snapshot import Snapshot, SnapshotChange
from watchtower_async.credentials.store import StoreState
from watchtower_async.errors import EngineError
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
from watchtower_async.updates.agenda import Turns, draw_up, first_turns
from watchtower_async.updates.schedule import Schedule, with_jitter
from watchtower_async.updates.window import Windows
from watchtower_async.web.control import Health
from watchtower_async.web.ports import AlreadyRunning, SessionResult, Summary, Unavailable

LONGEST_SLEEP_SECONDS = 60.0
NEVER = datetime.max.replace(tzinfo=UTC)
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
    running_since: datetime | None = None
    sessions: int = 0
    last: SessionReport | None = None
    last_finished: datetime | None = None
    next_session: datetime | None = None
    credentials_problem: str | None = None
    credentials: CredentialStatus = field(default_factory=CredentialStatus)

    _running: int = 0

    def begin(self, now: datetime) -> None:
        """Note that a session begins."""
        self._running += 1
        self.running_since = self.running_since or now

    def end(self) -> None:
        """Note that a session has ended, whatever became of it."""
        self._running -= 1
        if not self._running:
            self.running_since = None

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

    @property
    def schedules(self) -> Mapping[str, str | None]:
        """Return by name the schedules that containers had in their labels when the engine was looked at last."""

    async def open(self) -> None:
        """Recover what the last process left over, and take up its rollouts. Raises EngineError."""

    async def run(
        self,
        *,
        only: Callable[[Reference], bool] | None = None,
        names: Callable[[str], bool] | None = None,
        hold: str | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> SessionReport:
        """Run one. With `only` and `names` it is about such images and containers; with `hold` it only reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When there are sessions, and when they may update something."""

    schedule: Schedule | None
    """None where sessions only run on request."""
    windows: Windows = Windows()
    jitter: timedelta = timedelta(0)
    """By how much a session is put off at most, at random, so that a fleet does not ask at one moment."""
    on_start: bool = False
    draw: Callable[[], float] = random.random
    zone: tzinfo = UTC
    """In which the schedule is meant."""


class Credentials(Protocol):
    """The credential store, as the service needs it."""

    @property
    def state(self) -> StoreState:
        """Return what is in use, and what is wrong."""

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait until the state is another than this one, and return it."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """Who has their turn, and when something is due next. All have where an update window opens."""

    next_due: datetime
    only: frozenset[str] | None = None
    """None where all have their turn, those included that nobody has seen yet."""
    besides: frozenset[str] = frozenset()
    """Those that have a schedule of their own, which is not due."""

    @property
    def names(self) -> Callable[[str], bool] | None:
        """Return whether a container has its turn; None where all have."""
        if self.only is not None:
            return self.only.__contains__
        return (lambda name: name not in self.besides) if self.besides else None


class Service:
    """Runs sessions for ever."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        credentials: Credentials,
        forget: Callable[[str], None],
        announcer: Announcer,
        timetable: Timetable,
        status: Status,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`forget` drops what is remembered about a registry, named by its host, whose credential has changed."""
        self._sessions = sessions
        self._credentials = credentials
        self._forget = forget
        self._announcer = announcer
        self._timetable = timetable
        self._status = status
        self._clock = clock
        self._told = credentials.state
        self._snapshot: Snapshot | None = None
        """What the last session went by."""
        self._references: frozenset[Reference] = frozenset()
        """The images that were asked for."""
        self._turns: Turns[str] = first_turns(clock())
        self._complaints: set[str] = set()
        self._group: TaskGroup | None = None
        self._planning = anyio.Lock()
        """Held by a session until its rollouts are known, so there is never more than one that plans."""
        self._log = structlog.get_logger()

    async def tell_news(self) -> None:
        """Announce what happens to the credentials, for ever."""
        self._status.credentials.note(self._told, self._clock())
        while True:
            state = await self._credentials.state_after(self._told)
            self._status.credentials.note(state, self._clock())
            self._status.credentials_problem = state.problem
            for event in news(self._told, state):
                self._announcer.announce(event)
            self._told = state

    async def run(self) -> None:
        """Run a session at each scheduled time, for ever, and one after each change of the credentials in use now."""
        async with anyio.create_task_group() as self._group:
            self._snapshot = self._credentials.state.snapshot
            self._turns = first_turns(self._clock())
            due = self._schedule(self._clock()).next_due
            begins = self._put_off(due)
            self._status.is_ready = True
            await self._open()
            if self._timetable.on_start:
                await self._begin_session()
            while True:
                is_due = not await self._changed_before(begins)
                change = self._take_change()
                if is_due:
                    await self._begin_session(names=self._schedule(due).names)
                    due = self._schedule(self._clock()).next_due
                    begins = self._put_off(due)
                elif change is not None:
                    await self._begin_session(only=change.concerns)

    async def run_session(
        self,
        *,
        only: Callable[[Reference], bool] | None = None,
        names: Callable[[str], bool] | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> SessionReport:
        """Run one session, about all images and containers or about some, until its rollouts are over or rest."""
        self._status.begin(self._clock())
        try:
            report = await self._sessions.run(only=only, names=names, hold=self._hold(), begun=begun)
        finally:
            self._status.end()
        self._status.sessions += 1
        self._status.last = report
        self._status.last_finished = self._clock()
        if report.plan is not None:
            asked = {item.reference for item in report.plan.items if item.reference is not None}
            self._references = frozenset(asked) if only is None and names is None else self._references | asked
        return report

    async def _open(self) -> None:
        """Put in order what the last process left. Where the engine is not there, the first session tries again."""
        try:
            await self._sessions.open()
        except EngineError as error:
            self._announcer.announce(Degraded(f"nothing could be recovered at the start: {error}"))

    async def _begin_session(
        self,
        *,
        only: Callable[[Reference], bool] | None = None,
        names: Callable[[str], bool] | None = None,
        tell: Callable[[SessionReport], None] = lambda _: None,
    ) -> None:
        """Begin a session, and wait until its rollouts are known. They go on beside what comes next."""
        assert self._group is not None
        async with self._planning:
            await self._group.start(self._session, only, names, tell)

    async def _session(
        self,
        only: Callable[[Reference], bool] | None,
        names: Callable[[str], bool] | None,
        tell: Callable[[SessionReport], None],
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        has_begun = False

        def begun() -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                task_status.started()

        tell(await self.run_session(only=only, names=names, begun=begun))
        begun()

    def _hold(self) -> str | None:
        """Say why nothing may be updated now, None where it may."""
        windows, now = self._timetable.windows, self._clock()
        if windows.is_open(now):
            return None
        return f"outside the update window, which opens at {windows.next_opening(now):%Y-%m-%d %H:%M %Z}"

    def _schedule(self, looked: datetime) -> _Turn:
        """Say what is due when the engine's labels are looked at now, and when to wake up next.

        What was missed is not made up for.
        """
        table, now = self._timetable, self._clock()
        if table.schedule is None:
            return _Turn(NEVER)
        agenda = draw_up(
            self._turns, labels=self._sessions.schedules, common=table.schedule, zone=table.zone, at=max(now, looked)
        )
        self._turns = agenda.turns
        for name, problem in agenda.problems.items():
            self._complain(f"{name}: {problem}")
        due = agenda.next_wake_up
        opening = table.windows.next_opening(now)
        own = {name for name, label in self._sessions.schedules.items() if label} - agenda.problems.keys()
        has_turns = agenda.common_is_due or bool(agenda.due)
        return _Turn(
            opening if now < opening < due else due,
            only=None if agenda.common_is_due or not has_turns else agenda.due,
            besides=frozenset(own - agenda.due) if has_turns else frozenset(),
        )

    def _put_off(self, due: datetime) -> datetime:
        """Return when to begin what is due then, and tell it."""
        table = self._timetable
        if due == NEVER:
            self._status.next_session = None
            return due
        begins = with_jitter(due, table.jitter, table.draw)
        self._status.next_session = begins
        if self._status.is_ready:  # the first one is part of the start-up message
            self._log.info("schedule.next_session", at=begins.astimezone(table.zone).isoformat(timespec="seconds"))
        return begins

    def _complain(self, problem: str) -> None:
        if problem not in self._complaints:
            self._complaints.add(problem)
            self._announcer.announce(Degraded(problem))

    async def _changed_before(self, due: datetime) -> bool:
        """Wait for a change of the credentials and what follows at once; False when the scheduled time comes first."""
        while (left := (due - self._clock()).total_seconds()) > 0:
            # Not longer than a minute: a clock may be set, and a machine may sleep.
            with anyio.move_on_after(min(left, LONGEST_SLEEP_SECONDS)) as scope:
                state = self._credentials.state
                while state.snapshot is self._snapshot:
                    state = await self._credentials.state_after(state)
                await anyio.sleep(GATHER_SECONDS)
            if not scope.cancelled_caught:
                return True
        return False

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

    # ---- on demand ---------------------------------------------------------------------------------------------

    async def request_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> SessionResult | AlreadyRunning | Unavailable:
        """Have a session run, and return how it ended. Whoever stops waiting does not end it."""
        done = anyio.Event()
        results: list[SessionResult] = []

        def tell(result: SessionResult) -> None:
            results.append(result)
            done.set()

        refused = self._begin_requested(images, names, wait, tell)
        if refused is not None:
            return refused
        await done.wait()
        return results[0]

    def begin_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> AlreadyRunning | Unavailable | None:
        """Have a session run, and return at once."""
        return self._begin_requested(images, names, wait, lambda _: None)

    def _begin_requested(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool, tell: Callable[[SessionResult], None]
    ) -> AlreadyRunning | Unavailable | None:
        if self._group is None or not self._status.is_ready:
            return Unavailable("the updater is starting")
        if self._status.running_since is not None and not wait:
            return AlreadyRunning()
        self._group.start_soon(self._requested, images, names, tell, name="requested session")
        return None

    async def _requested(
        self, images: tuple[str, ...], names: tuple[str, ...], tell: Callable[[SessionResult], None]
    ) -> None:
        started = anyio.current_time()

        def tell_result(report: SessionReport) -> None:
            duration = anyio.current_time() - started
            tell(SessionResult(summary=_summary(report), duration_seconds=duration, failure=report.failure))

        await self._begin_session(only=wanted_images(images), names=wanted_names(names), tell=tell_result)


def wanted_images(images: tuple[str, ...]) -> Callable[[Reference], bool] | None:
    """Return whether an image is one of these, as people write them; a name without a tag means all of its tags."""
    if not images:
        return None
    wanted = set(images)

    def is_wanted(reference: Reference) -> bool:
        name = reference.familiar.rpartition("@")[0] or reference.familiar
        return not wanted.isdisjoint({name, name.rpartition(":")[0], str(reference), reference.repository})

    return is_wanted


def wanted_names(names: tuple[str, ...]) -> Callable[[str], bool] | None:
    """Return whether a container's whole name fits one of these regular expressions."""
    if not names:
        return None
    patterns = [_pattern(name) for name in names]
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.removeprefix("/"))
    except re.error:
        return re.compile(re.escape(text))


def _summary(report: SessionReport) -> Summary:
    return Summary(
        scanned=report.scanned - report.unknown,
        updated=report.updated,
        failed=report.failed - report.unknown,
        restarted=report.restarted,
        skipped=report.unknown,
    )


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
