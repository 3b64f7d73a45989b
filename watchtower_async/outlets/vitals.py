"""How the process is, from what the service notes about itself and from the end of each session.

A session has overrun when another one was due before its end. The engine is asked for a sign of life each time somebody
wants to know, and never for longer than the deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio

from watchtower_async import __version__
from watchtower_async.errors import WatchtowerError
from watchtower_async.events import Event, SessionFinished
from watchtower_async.service import Status
from watchtower_async.updates.schedule import Schedule
from watchtower_async.web.history import utc_now
from watchtower_async.web.ports import Clock, Vitals

PING_SECONDS = 2.5
"""For a sign of life of the engine. Less than the health answer waits, so that the reason can be ours."""


class ServiceVitals:
    """The vitals of one service. A listener of events."""

    def __init__(
        self,
        *,
        status: Status,
        schedule: Schedule | None,
        ping: Callable[[], Awaitable[object]],
        now: Clock = utc_now,
    ) -> None:
        """`ping` asks the engine for a sign of life, and raises WatchtowerError where there is none."""
        self._status = status
        self._schedule = schedule
        self._ping = ping
        self._now = now
        self._has_overrun = False

    def __call__(self, event: Event) -> None:
        """Take in a fact."""
        if isinstance(event, SessionFinished) and self._schedule is not None:
            ended = self._now()
            began = ended - timedelta(seconds=event.duration)
            self._has_overrun = self._schedule.next_after(began) < ended

    def vitals(self) -> Vitals:
        """Return how the process is."""
        status = self._status
        return Vitals(
            is_started=status.is_ready,
            running_since=status.running_since,
            last_finished=status.last_finished,
            last_failure=status.last.failure if status.last is not None else None,
            next_session=status.next_session,
            has_overrun=self._has_overrun,
            detail={
                "version": __version__,
                "sessions": status.sessions,
                "credentials_problem": status.credentials_problem,
                "credentials": status.credentials.as_json(),
            },
        )

    async def engine_problem(self) -> str | None:
        """Ask the engine for a sign of life, and return why there is none."""
        with anyio.move_on_after(PING_SECONDS):
            try:
                await self._ping()
            except WatchtowerError as error:
                return str(error)
            return None
        return f"the engine does not answer within {PING_SECONDS:g} s"
