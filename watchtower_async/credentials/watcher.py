"""Notices that the configuration directory has changed, and lets the store look.

* Polling makes it correct: now and then the status of the files is compared with the last one. File system events only
  shorten the wait; network mounts and some virtual machines have none.
* A burst of events is one look. One that found something broken is repeated, sooner at first; one that found nothing
  where something was is repeated when the store's grace is over.
* Watches are renewed when what they watch is not what is there any more: a directory that was replaced, for example.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus
from watchfiles import awatch

from watchtower_async.credentials.store import StoreState
from watchtower_async.credentials.survey import Survey

POLL_SECONDS = 30.0
_RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0)
_STEP_MS = 15
"""How often the watching library looks for events; it tells them when none came in such a time."""
_LONGEST_BURST_MS = 50
_GATHER_SECONDS = 0.015
"""With the time before, and the 20 ms that a file must hold still to be read, 50 ms are one change."""

Events: TypeAlias = Callable[[tuple[str, ...], anyio.Event], AsyncGenerator[frozenset[str], None]]
"""Watches paths until the event is set, and yields those that changed."""


async def file_system_events(paths: tuple[str, ...], stop: anyio.Event) -> AsyncGenerator[frozenset[str], None]:
    """Yield what changed at these paths and directly below them. Raises OSError and RuntimeError.

    Cancellation alone may take seconds to end it; `stop` ends it at once.
    """
    batches = awatch(
        *paths,
        stop_event=stop,
        watch_filter=None,
        recursive=False,
        step=_STEP_MS,
        debounce=_LONGEST_BURST_MS,
        force_polling=False,
        ignore_permission_denied=True,
        debug=False,
    )
    async with aclosing(batches):
        async for batch in batches:
            yield frozenset(path for _, path in batch)


class Store(Protocol):
    """The credential store, as the watcher needs it."""

    @property
    def state(self) -> StoreState:
        """Return what is in use, and what is wrong."""

    def watched(self) -> AbstractContextManager[None]:
        """Declare that somebody calls `check`."""

    async def check(self) -> float | None:
        """Look at the directory once; return when content that is away is to be looked for again."""


class CredentialWatcher:
    """Lets the store of a directory look when there is something to see."""

    def __init__(
        self,
        *,
        store: Store,
        survey: Callable[[], Awaitable[Survey]],
        events: Events | None = file_system_events,
        poll_seconds: float = POLL_SECONDS,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Without `events` there is only polling. `tell` is told, once, when events cannot be had."""
        self._store = store
        self._survey = survey
        self._events = events
        self._poll_seconds = poll_seconds
        self._tell = tell
        self._has_told = False
        self._wake = anyio.Event()
        self._changed: set[str] = set()
        self._retry_at: float | None = None
        self._failures = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; started after the first look. Leaves no task and no thread behind."""
        with self._store.watched():
            known = await self._survey()
            await self._look()
            async with anyio.create_task_group() as group:
                stop = anyio.Event()
                try:
                    stop = await self._listen_anew(stop, group, known)
                    task_status.started()
                    while True:
                        changed = await self._wait()
                        found = await self._survey()  # before the look: what changes during it shows the next time
                        await self._look_if(changed, known, found)
                        # The number of an inode is given away again, so an event counts as well.
                        if found.watched != known.watched or not known.directories.isdisjoint(changed):
                            stop = await self._listen_anew(stop, group, found)
                        known = found
                finally:
                    stop.set()

    async def _wait(self) -> frozenset[str]:
        """Wait for an event or for the time to look again; return the paths that changed."""
        poll_at = anyio.current_time() + self._poll_seconds
        with anyio.move_on_at(poll_at if self._retry_at is None else min(poll_at, self._retry_at)):
            await self._wake.wait()
            await anyio.sleep(_GATHER_SECONDS)
        changed, self._changed, self._wake = frozenset(self._changed), set(), anyio.Event()
        return changed

    async def _look_if(self, changed: frozenset[str], known: Survey, found: Survey) -> None:
        is_retry_due = self._retry_at is not None and self._retry_at <= anyio.current_time()
        # Status has a coarse clock, so an event of a file counts more than a status that is the same.
        if is_retry_due or not known.files.isdisjoint(changed) or found != known:
            await self._look()

    async def _look(self) -> None:
        self._retry_at = await self._store.check()
        if self._store.state.problem is None:
            self._failures = 0
        elif self._retry_at is None:
            pauses = (*_RETRY_SECONDS, self._poll_seconds)
            self._retry_at = anyio.current_time() + pauses[min(self._failures, len(_RETRY_SECONDS))]
            self._failures += 1

    async def _listen_anew(self, stop: anyio.Event, group: TaskGroup, found: Survey) -> anyio.Event:
        """Begin to listen at the paths of a survey and end what listened before; return what stops it."""
        stop.set()
        stop = anyio.Event()
        if self._events is not None and found.watched:
            group.start_soon(self._listen, self._events(found.paths, stop), name="credential events")
            await anyio.lowlevel.checkpoint()  # a turn of the loop, in which the watch is set up
            self._wake.set()  # what changed before is seen by another survey
        return stop

    async def _listen(self, batches: AsyncGenerator[frozenset[str], None]) -> None:
        problem: str | None = None
        try:
            async with aclosing(batches):
                async for paths in batches:
                    self._changed |= paths
                    self._wake.set()
        except* FileNotFoundError:
            self._wake.set()  # a directory went away before it could be watched
        except* (OSError, RuntimeError) as errors:
            problem = str(_first(errors))
        if problem is not None and not self._has_told:
            self._has_told = True
            self._tell(
                f"changes of the credential configuration are noticed every {self._poll_seconds:g} seconds only, "
                f"as they cannot be watched: {problem}"
            )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
