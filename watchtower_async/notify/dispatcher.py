"""Sees to it that every message reaches every service, each at its own pace.

Each service has a lane: its messages go out in order, one at a time, so one that is down holds nobody else up. A
message is in the outbox before it is tried and until it arrived, so a crash may have it sent twice but not lost. What
fails is tried again with growing pauses, until it is too old to be news. When the program stops, each lane goes on
without pauses for as long as there is time; what is left stays in the outbox for the next start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import anyio
import anyio.abc

from watchtower_async.notify.courier import Answer, Delivering
from watchtower_async.notify.outbox import Outbox, Pending, new_pending, read_pending, write_pending
from watchtower_async.notify.render import Message
from watchtower_async.notify.services import Service

_MOST_PENDING = 1000
_SAVE_ON_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """How patient delivery is."""

    delay: timedelta = timedelta(0)
    """Pause before each message."""
    first_pause: timedelta = timedelta(seconds=10)
    """Pause after the first failure; it doubles with each further one."""
    longest_pause: timedelta = timedelta(minutes=15)
    give_up_after: timedelta = timedelta(days=1)
    drain: timedelta = timedelta(seconds=5)
    """How long delivery goes on when the program stops."""

    def pause_after(self, failures: int) -> timedelta:
        """Return how long to wait after so many failures in a row."""
        doublings = min(failures - 1, 32)
        return min(self.first_pause * (1 << doublings), self.longest_pause)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one try. `is_over` when the message is not tried again; without success it is lost then."""

    answer: Answer
    attempt: int
    is_over: bool


class Dispatcher:
    """Delivers what is submitted. `run` is a part of the program, and everything else is called from its loop."""

    def __init__(
        self,
        *,
        services: Iterable[Service],
        courier: Delivering,
        outbox: Outbox,
        policy: DeliveryPolicy,
        tell: Callable[[Delivery], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`tell` hears of each try, from the loop."""
        self._lanes = {
            service.name: _Lane(service, courier=courier, outbox=outbox, policy=policy, tell=tell, now=now)
            for service in services
        }
        self._outbox = outbox
        self._policy = policy
        self._now = now
        self._numbers = count()
        self._stopping = anyio.Event()

    def submit(self, message: Message) -> None:
        """Take a message for all services. It returns at once, and does not raise."""
        for name, lane in self._lanes.items():
            lane.put(new_pending(name, message, now=self._now(), number=next(self._numbers)))

    def stop(self) -> None:
        """Let `run` deliver what it can within the time for that, and end."""
        self._stopping.set()
        for lane in self._lanes.values():
            lane.close()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Deliver until `stop`. Cancelled, what is pending is in the outbox, or is put there within two seconds."""
        await self._load()
        task_status.started()
        try:
            async with anyio.create_task_group() as lanes:
                for lane in self._lanes.values():
                    lanes.start_soon(lane.run, name=f"notify {lane.name}")
                await self._stopping.wait()
                lanes.cancel_scope.deadline = anyio.current_time() + self._policy.drain.total_seconds()
        finally:
            with anyio.move_on_after(_SAVE_ON_STOP_SECONDS, shield=True):
                for lane in self._lanes.values():
                    await lane.save()

    async def _load(self) -> None:
        for key, text in sorted((await self._outbox.load()).items(), reverse=True):
            pending = read_pending(key, text)
            lane = self._lanes.get(pending.service) if pending else None
            if pending is None or lane is None:
                await self._outbox.forget(key)
            else:
                lane.put_back(pending)


class _Lane:
    """The messages of one service, in order."""

    def __init__(
        self,
        service: Service,
        *,
        courier: Delivering,
        outbox: Outbox,
        policy: DeliveryPolicy,
        tell: Callable[[Delivery], None],
        now: Callable[[], datetime],
    ) -> None:
        self._service = service
        self._courier = courier
        self._outbox = outbox
        self._policy = policy
        self._tell = tell
        self._now = now
        self._queue: deque[Pending] = deque()
        self._unsaved: deque[Pending] = deque()
        self._overdue: deque[str] = deque()
        self._news = anyio.Event()
        self._is_closed = False
        self._failures = 0

    @property
    def name(self) -> str:
        return self._service.name

    def put(self, pending: Pending) -> None:
        """Take a new message; when there are too many, the oldest is lost."""
        self._queue.append(pending)
        self._unsaved.append(pending)
        if len(self._queue) > _MOST_PENDING:
            lost = self._queue.popleft()
            self._overdue.append(lost.key)
            answer = Answer(
                self.name, is_ok=False, text=f"more than {_MOST_PENDING} messages are waiting", is_final=True
            )
            self._tell(Delivery(answer, self._failures, is_over=True))
        self._news.set()

    def put_back(self, pending: Pending) -> None:
        """Take a message that the outbox kept, and that comes before all others."""
        self._queue.appendleft(pending)
        self._news.set()

    def close(self) -> None:
        """Go on without pauses, and end when there is nothing left to do or it fails."""
        self._is_closed = True
        self._news.set()

    async def save(self) -> None:
        """Put into the outbox what is not there yet."""
        while self._overdue:
            await self._outbox.forget(self._overdue[0])
            self._overdue.popleft()
        while self._unsaved:
            pending = self._unsaved[0]
            if pending in self._queue:
                await self._outbox.save(pending.key, write_pending(pending))
            self._unsaved.popleft()

    async def run(self) -> None:
        """Deliver until closed."""
        while True:
            await self.save()
            if self._queue:
                await self._wait(self._pause())
                if not (await self._deliver_first() or not self._is_closed):
                    return
            elif self._is_closed:
                return
            else:
                await self._wait(None)

    def _pause(self) -> timedelta:
        if self._failures:
            return self._policy.pause_after(self._failures)
        return self._policy.delay

    async def _wait(self, pause: timedelta | None) -> None:
        """Wait so long, or without end until there is news; save meanwhile what comes in. Closing ends it."""
        until = None if pause is None else anyio.current_time() + pause.total_seconds()
        while True:
            self._news = anyio.Event() if self._news.is_set() else self._news
            await self.save()
            left = None if until is None else until - anyio.current_time()
            is_due = bool(self._queue) if left is None else left <= 0
            if self._is_closed or is_due:
                return
            with anyio.move_on_after(left):
                await self._news.wait()

    async def _deliver_first(self) -> bool:
        """Try the first message once; return whether the next one can be tried."""
        pending = self._queue[0]
        answer = await self._courier.deliver(self._service, pending.message)
        attempt = self._failures + 1
        is_over = answer.is_ok or answer.is_final or self._now() - pending.since > self._policy.give_up_after
        self._tell(Delivery(answer, attempt, is_over))
        if not is_over:
            self._failures = attempt
            return False
        self._failures = 0
        if pending in self._queue:
            self._queue.remove(pending)
        await self._outbox.forget(pending.key)
        return True


async def try_services(services: Iterable[Service], *, courier: Delivering, message: Message) -> tuple[Answer, ...]:
    """Send one message to each service, one after the other, and return what each answered."""
    return tuple([await courier.deliver(service, message) for service in services])
