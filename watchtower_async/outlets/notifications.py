"""Notifications: what sessions and the log have to tell, on its way to the services, and the heartbeat.

It listens twice: to announced facts, of which a session's report is made, and to the log, whose entries the older
templates show. The start of the program and each session are a batch; outside of one, each entry is a message. When
sessions overlap, an entry goes out with the one that ends first.

Listening returns at once and never raises: what is heard is put into a short queue, and `run` makes messages of it.
What it has to say about itself is for the log only. Otherwise a service that is down would be told about for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc
import structlog

from watchtower_async.events import (
    ContainerJudged,
    DependentRestarted,
    Event,
    ReplacementFinished,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.notify.courier import Courier, Delivering
from watchtower_async.notify.dispatcher import Delivery, Dispatcher
from watchtower_async.notify.heartbeat import Heartbeat
from watchtower_async.notify.outbox import Outbox
from watchtower_async.notify.render import Gathering, Message, Rendered, counts, render
from watchtower_async.notify.report import ImageLabels, LogEntry
from watchtower_async.outlets.image_lookup import Engine, ImageLookup
from watchtower_async.outlets.notification_plan import NotificationPlan
from watchtower_async.outlets.session_record import SessionRecord, has_newer
from watchtower_async.telemetry.logging import LoggedEntry
from watchtower_async.telemetry.redaction import redact_text
from watchtower_async.updates.plan import PlanItem

_MOST_WAITING = 1000
_MOST_BEATS = 10
_STOPPING_SECONDS = 6.0
"""How long what was heard may still become messages when the program stops, and the monitor be called."""
_LOOKUP_SECONDS = 5.0
_STOPPING_LOOKUP_SECONDS = 1.0
_NO_NEWS = frozenset({"schedule.next_session", "session.started", "updater.stopped", "credentials.reloaded"})
"""What is logged in the normal course of things, and would be a message each time. Watchtower does not tell it."""

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    """A queue that takes at once; when it is full, the oldest is lost."""

    def __init__(self, most: int) -> None:
        self._items: deque[Item] = deque(maxlen=most)
        self._news: anyio.Event | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        if not self._is_closed:
            self._items.append(item)
            self._wake()

    def close(self) -> None:
        """Let who takes have what is left, and nothing after that."""
        self._is_closed = True
        self._wake()

    async def take(self) -> Item | None:
        """Wait for the next one; None when there is none any more."""
        while not self._items:
            if self._is_closed:
                return None
            self._news = anyio.Event()
            await self._news.wait()
        return self._items.popleft()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()


@dataclass(slots=True)
class _Running:
    """A session that has begun, and the labels of the images that its containers run on, by image id."""

    record: SessionRecord
    labels: dict[str, ImageLabels] = field(default_factory=dict)
    is_looked_up: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """Images whose labels are to be known before an update removes them."""

    session: _Running


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch that is complete; without a session it is the start of the program."""

    entries: Gathering
    session: _Running | None = None


@dataclass(frozen=True, slots=True)
class _Beat:
    """A session ended, for the monitor."""

    is_good: bool
    text: str


_Heard = LogEntry | _Look | _Batch


class Notifications:
    """Listens, and tells the services. All of it is called from one thread, `run` once."""

    def __init__(
        self,
        plan: NotificationPlan,
        *,
        mask: Callable[[str], str] = redact_text,
        courier: Delivering | None = None,
    ) -> None:
        """`mask` takes secrets out of what others wrote. The start of the program, which is a batch, begins now."""
        self._plan = plan
        self._mask = mask
        self._courier = courier or courier_of(plan)
        self._heartbeat = Heartbeat(plan.heartbeat_url) if plan.heartbeat_url else None
        self._log = structlog.get_logger()
        self._sessions: dict[str, _Running] = {}
        self._batch: Gathering | None = self._new_batch()
        self._heard: _Waiting[_Heard] = _Waiting(_MOST_WAITING)
        self._beats: _Waiting[_Beat] = _Waiting(_MOST_BEATS)
        self._stopping: anyio.Event | None = None
        self._has_stopped = False
        self._told_of: set[str] = set()
        """What was wrong with the template, each told once."""

    # ---- listening ---------------------------------------------------------------------------------------------

    def hear(self, entry: LoggedEntry) -> None:
        """Take an entry of the log, as its listener."""
        if not self._plan.services or entry.identifier in _NO_NEWS:
            return
        news = LogEntry(entry.message, entry.level, entry.time, entry.values)
        if self._batch is not None:
            self._batch.add(news)
        elif counts(news, self._plan.messages.level):
            self._heard.put(news)

    def started(self) -> None:
        """End the batch of the start. The first session does so, too."""
        if self._batch is not None and not self._sessions:
            self._heard.put(_Batch(self._batch))
            self._batch = None

    def __call__(self, event: Event) -> None:
        """Take an announced fact. It must be heard before the log writes about it."""
        match event:
            case SessionStarted(session):
                self._begin(session)
            case ContainerJudged(item):
                self._judged(item)
            case ReplacementFinished(item):
                running = self._session_where(lambda record: record.wants(item.container_id))
                if running is not None:
                    running.record.items.setdefault(item.container_id, item)
                    running.record.ends[item.container_id] = event
            case DependentRestarted(container, because_of):
                running = self._session_where(lambda record: record.wants_named(because_of))
                if running is not None:
                    running.record.dependents[container] = event
            case SessionFailed(session, reason):
                if session in self._sessions:
                    self._sessions[session].record.failure = reason
            case SessionFinished():
                self._end(event)
            case _:
                pass

    def _begin(self, session: str) -> None:
        self.started()
        self._sessions[session] = _Running(SessionRecord(session))
        if self._batch is None:
            self._batch = self._new_batch()

    def _judged(self, item: PlanItem) -> None:
        # Only one session plans at a time: the one that began last.
        running = next(reversed(self._sessions.values()), None)
        if running is None:
            return
        running.record.items[item.container_id] = item
        if has_newer(item) and not running.is_looked_up and self._plan.services:
            running.is_looked_up = True
            self._heard.put(_Look(running))

    def _end(self, event: SessionFinished) -> None:
        running = self._sessions.pop(event.session, None)
        if running is None:
            return
        failure = running.record.failure
        if self._heartbeat is not None:
            text = f"{event.scanned} Scanned, {event.updated} Updated, {event.failed} Failed"
            is_good = not failure and event.failed == 0
            self._beats.put(_Beat(is_good, self._mask(f"{text}: {failure}") if failure else text))
        if self._batch is not None:
            self._heard.put(_Batch(self._batch, running))
            self._batch = self._new_batch() if self._sessions else None

    def _session_where(self, is_it: Callable[[SessionRecord], bool]) -> _Running | None:
        """Return the session that a fact belongs to; where none says so, the one that began last."""
        latest = list(reversed(self._sessions.values()))
        return next((running for running in latest if is_it(running.record)), latest[0] if latest else None)

    def _new_batch(self) -> Gathering | None:
        if not self._plan.services:
            return None
        batch = Gathering(self._plan.messages)
        batch.begin()
        return batch

    # ---- telling -----------------------------------------------------------------------------------------------

    async def run(
        self,
        *,
        outbox: Outbox,
        engine: Engine | None = None,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Make and deliver messages until `stop`, and then what there is within a few seconds.

        What is not delivered then stays in the outbox. `engine` is asked for the labels of images.
        """
        dispatcher = Dispatcher(
            services=self._plan.services,
            courier=self._courier,
            outbox=outbox,
            policy=self._plan.policy,
            tell=self._tell_delivery,
        )
        self._stopping = anyio.Event()
        if self._has_stopped:
            self._stopping.set()
        async with anyio.create_task_group() as group:
            await group.start(dispatcher.run)
            group.start_soon(self._until_stopped, self._call_monitor, name="heartbeat")
            task_status.started()
            await self._until_stopped(partial(self._make_messages, dispatcher, engine))
            dispatcher.stop()

    def stop(self) -> None:
        """Let `run` tell what it can within its time, and end. What is heard from now on is for the log only."""
        self._has_stopped = True
        self._heard.close()
        self._beats.close()
        if self._stopping is not None:
            self._stopping.set()

    @property
    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def _until_stopped(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work; when the program stops, there are a few seconds to end."""
        assert self._stopping is not None
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await self._stopping.wait()
            group.cancel_scope.deadline = anyio.current_time() + _STOPPING_SECONDS

    async def _make_messages(self, dispatcher: Dispatcher, engine: Engine | None) -> None:
        while (heard := await self._heard.take()) is not None:
            try:
                rendered = await self._rendered(heard, engine)
            except Exception as error:  # the next message may be a good one
                self._log.error("notification.not_made", reason=repr(error), notify="no")
                continue
            self._tell_problem(rendered.problem)
            for message in rendered.messages:
                dispatcher.submit(message)

    async def _rendered(self, heard: _Heard, engine: Engine | None) -> Rendered:
        if isinstance(heard, LogEntry):
            return render(self._plan.messages, (heard,), None)
        if isinstance(heard, _Look):
            if engine is not None:
                images = (item.image_id for item in heard.session.record.with_newer)
                heard.session.labels = await self._lookup(engine).labels(images)
            return Rendered()
        session = heard.session
        if session is None:
            return heard.entries.finish()
        found = {} if engine is None else await self._lookup(engine).after(session.record, session.labels)
        return heard.entries.finish(session.record.report(self._plan.messages.host, found, mask=self._mask))

    def _lookup(self, engine: Engine) -> ImageLookup:
        return ImageLookup(engine, deadline=_STOPPING_LOOKUP_SECONDS if self._is_stopping else _LOOKUP_SECONDS)

    async def _call_monitor(self) -> None:
        while (beat := await self._beats.take()) is not None:
            if self._heartbeat is None:
                continue
            answer = await self._heartbeat.beat(is_good=beat.is_good, text=beat.text)
            if not answer.is_ok:
                self._log.warning("heartbeat.failed", service=answer.service, reason=answer.text, notify="no")

    # ---- what is said about it ---------------------------------------------------------------------------------

    def _tell_delivery(self, delivery: Delivery) -> None:
        answer = delivery.answer
        about = {"service": answer.service, "reason": answer.text, "attempt": delivery.attempt, "notify": "no"}
        if answer.is_ok and delivery.attempt == 1:
            self._log.debug("notification.delivered", **about)
        elif answer.is_ok:
            self._log.info("notification.delivered", **about)
        elif delivery.is_over:
            self._log.error("notification.lost", **about)
        elif delivery.attempt == 1:
            self._log.warning("notification.failed", **about)
        else:
            self._log.debug("notification.failed", **about)

    def _tell_problem(self, problem: str) -> None:
        if problem and problem not in self._told_of:
            self._told_of.add(problem)
            self._log.error("notification.template_failed", problem=problem, notify="no")


def courier_of(plan: NotificationPlan) -> Courier:
    """Return what delivers messages; those for `logger://` go to standard output or to the log."""
    return Courier(to_log=_write_to_stdout if plan.logs_to_stdout else _write_to_log)


def _write_to_stdout(message: Message) -> None:
    # The text alone: programs read it.
    with suppress(OSError):
        print(message.body.removesuffix("\n"), flush=True)  # noqa: T201 - that is where it was asked to go


def _write_to_log(message: Message) -> None:
    title = {"title": message.title} if message.title else {}
    structlog.get_logger().info("notification.text", **title, text=message.body, notify="no")
