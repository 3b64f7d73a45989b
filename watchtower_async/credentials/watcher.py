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
_STEP_MS = 30
"""A burst is over when nothing happens for so long. With the pause that the reader makes, 50 ms are one change."""
_LONGEST_BURST_MS = 50
_SILENCE_MS = 1000

Events: TypeAlias = Callable[[tuple[str, ...]], AsyncGenerator[frozenset[str], None]]
"""Watches paths and yields those that changed. The first batch, perhaps empty, says that the watch is in place."""


async def file_system_events(paths: tuple[str, ...]) -> AsyncGenerator[frozenset[str], None]:
    """Yield what changed at these paths and directly below them. Raises OSError and RuntimeError."""
    batches = awatch(
        *paths,
        watch_filter=None,
        recursive=False,
        step=_STEP_MS,
        debounce=_LONGEST_BURST_MS,
        rust_timeout=_SILENCE_MS,
        yield_on_timeout=True,
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
                listening = self._start_listening(group, known)
                await anyio.lowlevel.checkpoint()  # a turn of the loop, in which the watch is set up
                task_status.started()
                while True:
                    changed = await self._wait()
                    found = await self._survey()  # before the look: what changes during it shows the next time
                    # Status has a coarse clock, so an event counts more than a status that is the same.
                    if self._is_retry_due() or not known.files.isdisjoint(changed) or found != known:
                        await self._look()
                    # The number of an inode is given away again, so here an event counts as well.
                    if found.watched != known.watched or not known.directories.isdisjoint(changed):
                        ending, listening = listening, self._start_listening(group, found)
                        ending.cancel()
                    known = found

    async def _wait(self) -> frozenset[str]:
        """Wait for an event or for the time to look again; return the paths that changed."""
        poll_at = anyio.current_time() + self._poll_seconds
        with anyio.move_on_at(poll_at if self._retry_at is None else min(poll_at, self._retry_at)):
            await self._wake.wait()
        changed, self._changed, self._wake = frozenset(self._changed), set(), anyio.Event()
        return changed

    def _is_retry_due(self) -> bool:
        return self._retry_at is not None and self._retry_at <= anyio.current_time()

    async def _look(self) -> None:
        self._retry_at = await self._store.check()
        if self._store.state.problem is None:
            self._failures = 0
        elif self._retry_at is None:
            pauses = (*_RETRY_SECONDS, self._poll_seconds)
            self._retry_at = anyio.current_time() + pauses[min(self._failures, len(_RETRY_SECONDS))]
            self._failures += 1

    def _start_listening(self, group: TaskGroup, found: Survey) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        if self._events is not None and found.watched:
            group.start_soon(self._listen, self._events(found.paths), scope, name="credential events")
        return scope

    async def _listen(self, batches: AsyncGenerator[frozenset[str], None], scope: anyio.CancelScope) -> None:
        problem: str | None = None
        try:
            with scope:
                await self._pass_on(batches)
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

    async def _pass_on(self, batches: AsyncGenerator[frozenset[str], None]) -> None:
        is_in_place = False
        async with aclosing(batches):
            async for paths in batches:
                # The first batch may be empty: what changed between survey and watch is looked for with it.
                if paths or not is_in_place:
                    self._changed |= paths
                    self._wake.set()
                is_in_place = True


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
