"""Looks at a directory in a thread, because it may be on a network mount that no longer answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

_PAUSE_SECONDS = 0.05

T = TypeVar("T")


class Worker:
    """Runs blocking work, one at a time. What does not end in time is given up, and nothing is started beside it."""

    def __init__(self, *, deadline: float) -> None:
        """`deadline` is in seconds and counts from the call."""
        self._deadline = deadline
        self._turn = anyio.Lock()
        self._busy = threading.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns. Raises TimeoutError, and what the work raises."""
        with anyio.fail_after(self._deadline):
            async with self._turn:
                while self._busy.locked():  # noqa: ASYNC110 - a thread that was given up sets no event
                    await anyio.sleep(_PAUSE_SECONDS)
                return await anyio.to_thread.run_sync(self._run, work, abandon_on_cancel=True)

    def _run(self, work: Callable[[], T]) -> T:
        with self._busy:
            return work()
