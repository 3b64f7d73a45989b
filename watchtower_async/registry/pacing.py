"""Waiting for registries: turns, retries and rate limits. `limits` decides, this waits.

A check (all requests about one image) runs when its registry has a slot free, and then has a deadline. Waiting for a
registry that limits its rate happens outside the slot, so that it holds up nobody else, and does not count.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import anyio

from watchtower_async.errors import RateLimitedError, RegistryError
from watchtower_async.registry.exchange import Reply, Request
from watchtower_async.registry.limits import (
    RETRIED_STATUSES,
    Account,
    ClientLimits,
    Outages,
    RateGates,
    RateLimit,
    backoff,
    parse_rate_limit,
    retry_after,
)
from watchtower_async.registry.memory import Memory
from watchtower_async.registry.transport import (
    UNHEARD,
    ExchangeFailedError,
    FailureKind,
    RegistryListener,
    Transport,
)

T = TypeVar("T")

_KNOWN_HOSTS = 1000
_RATE_LIMITED_IN_ONE_CHECK = 3


def utc_now() -> datetime:
    """Return the wall-clock time, which only dates in header fields and texts for people need."""
    return datetime.now(UTC)


class Pacing:
    """The turns of all checks of one client."""

    def __init__(
        self,
        *,
        transport: Transport,
        limits: ClientLimits,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        now: Callable[[], datetime] = utc_now,
        listener: RegistryListener = UNHEARD,
    ) -> None:
        """`draw` returns a random number from 0 to 1, for the jitter."""
        self._transport = transport
        self._limits = limits
        self._draw = draw
        self._sleep = sleep
        self._now = now
        self._listener = listener
        self._gates = RateGates()
        self._outages = Outages()
        self._all = anyio.CapacityLimiter(limits.in_all)
        self._slots: Memory[str, anyio.CapacityLimiter] = Memory(limit=_KNOWN_HOSTS, clock=anyio.current_time)
        self._rate_limits: Memory[str, RateLimit] = Memory(limit=_KNOWN_HOSTS, clock=anyio.current_time)

    def rate_limit(self, host: str) -> RateLimit | None:
        """Return what a registry said last about its pull limit."""
        return self._rate_limits.get(host)

    def forget(self, host: str) -> None:
        """Ask a registry again at once, whatever it said or failed to say before."""
        self._gates.forget(host)
        self._outages.answered(host)

    def slots(self, host: str) -> anyio.CapacityLimiter:
        """Return the limiter of what may go on at one host at the same time."""
        limiter = self._slots.get(host)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._limits.per_host)
            self._slots.put(host, limiter)
        return limiter

    async def take_turn(self, account: Account, subject: str, check: Callable[[], Awaitable[T]]) -> T:
        """Run a check when it is its turn. `subject` is what the check is about, for messages."""
        waited, rate_limited = 0.0, 0
        while True:
            waited += await self._wait_at_gate(account, self._limits.longest_wait_seconds - waited)
            async with self.slots(account.host), self._all:
                if self._gates.seconds_left(account, anyio.current_time()):
                    continue
                down = self._outages.current(account.host, anyio.current_time())
                if down is not None:
                    raise down
                try:
                    with self._outcome_noted(account.host), self._deadline(account.host, subject):
                        return await check()
                except RateLimitedError:
                    rate_limited += 1
                    if rate_limited == _RATE_LIMITED_IN_ONE_CHECK:
                        raise

    async def send(
        self, request: Request, account: Account, *, final: frozenset[int] = frozenset(), is_trial: bool = False
    ) -> Reply:
        """Send a request and return the answer; repeat it where that makes sense, and not if it is a trial.

        Answers with a status in `final` are not waited for to get better. Raises RateLimitedError after 429, and what
        the transport raises.
        """
        attempt = 0
        while True:
            attempt += 1
            sent_at = anyio.current_time()
            is_last = is_trial or attempt >= self._limits.attempts
            wait = 0.0
            try:
                reply = await self._transport.exchange(request)
            except ExchangeFailedError as error:
                if is_last or not error.may_pass:
                    raise
            else:
                if reply.status == 429:
                    raise self._rate_limited(request, account, reply, sent_at)
                self._gates.passed(account, sent_at=sent_at)
                if reply.status not in RETRIED_STATUSES or reply.status in final or is_last:
                    return reply
                wait = retry_after(reply.headers, reply.body, self._now()) or 0.0
                if wait > self._limits.check_seconds:  # the deadline would come first
                    return reply
            await self._sleep(backoff(attempt, self._draw()) + wait)

    def note_rate_limit(self, host: str, reply: Reply) -> None:
        """Keep what a reply tells about the pull limit."""
        found = parse_rate_limit(reply.headers)
        if found is not None:
            self._rate_limits.put(host, found)
            self._listener.rate_limit_told(host, found.limit, found.remaining)

    async def _wait_at_gate(self, account: Account, budget: float) -> float:
        """Wait until the account may ask; return for how long. Raises RateLimitedError when that is no use."""
        seconds = self._gates.seconds_left(account, anyio.current_time())
        if not seconds:
            return 0.0
        if seconds > budget or self._gates.is_hopeless(account):
            raise self._rate_limited_error(account, seconds)
        await self._sleep(seconds)
        return seconds

    def _rate_limited(self, request: Request, account: Account, reply: Reply, sent_at: float) -> RateLimitedError:
        self.note_rate_limit(request.host, reply)
        now = anyio.current_time()
        wait = retry_after(reply.headers, reply.body, self._now())
        self._gates.close(account, sent_at=sent_at, now=now, wait=wait, draw=self._draw())
        return self._rate_limited_error(account, self._gates.seconds_left(account, now))

    def _rate_limited_error(self, account: Account, seconds: float) -> RateLimitedError:
        until = self._now() + timedelta(seconds=seconds)
        message = (
            f"registry {account.host} is rate limited until {until:%Y-%m-%d %H:%M:%S} UTC: "
            "check less often, or log in for a higher limit"
        )
        return RateLimitedError(message, host=account.host, retry_after=seconds)

    @contextmanager
    def _deadline(self, host: str, subject: str) -> Iterator[None]:
        try:
            with anyio.fail_after(self._limits.check_seconds):
                yield
        except TimeoutError:
            message = (
                f"registry {host} did not answer about {subject} within {self._limits.check_seconds:g} s: try later"
            )
            raise ExchangeFailedError(message, host=host, kind=FailureKind.TIMEOUT) from None

    @contextmanager
    def _outcome_noted(self, host: str) -> Iterator[None]:
        """Note how a check ended, for those that wait for their turn."""
        try:
            yield
        except ExchangeFailedError as error:
            self._outages.failed(host, error, anyio.current_time())
            raise
        except RegistryError:
            self._outages.answered(host)
            raise
        self._outages.answered(host)
