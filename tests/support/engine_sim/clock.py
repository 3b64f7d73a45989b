"""Time in the simulated engine: the event loop's, so that it can be virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NEVER = "0001-01-01T00:00:00Z"


class Clock:
    """Tells the engine's time: it was `BEGINNING` when the loop's clock was at `zero`."""

    def __init__(self, *, zero: float = 0.0) -> None:
        self._zero = zero
        self._last = BEGINNING

    def seconds(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """Return the engine's time of day."""
        return max(self._last, BEGINNING + timedelta(seconds=self.seconds() - self._zero))

    def stamp(self) -> datetime:
        """Return the time of something that happens now; nothing else has the same."""
        self._last = max(self._last + timedelta(microseconds=1), self.now())
        return self._last


def text_of(moment: datetime | None) -> str:
    """Write a time as the engine does."""
    return NEVER if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class Timers:
    """Actions to come. They stand still while a container is paused."""

    def __init__(self) -> None:
        self._handles: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        self._frozen: list[tuple[float, Callable[[], None]]] = []

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later. An endless time is never."""
        if seconds == float("inf"):
            return

        def fire() -> None:
            del self._handles[handle]
            action()

        handle = asyncio.get_running_loop().call_later(seconds, fire)
        self._handles[handle] = action

    def freeze(self) -> None:
        """Let time stand still."""
        now = asyncio.get_running_loop().time()
        self._frozen += [(handle.when() - now, action) for handle, action in self._handles.items()]
        self._cancel()

    def thaw(self) -> None:
        """Let time go on."""
        frozen, self._frozen = self._frozen, []
        for seconds, action in frozen:
            self.after(max(seconds, 0.0), action)

    def clear(self) -> None:
        """Forget everything that is to come."""
        self._frozen = []
        self._cancel()

    def _cancel(self) -> None:
        for handle in self._handles:
            handle.cancel()
        self._handles = {}
