"""The state as the rest of the program has it: read from memory, written to the file behind it.

What is in memory is what counts. A file that cannot be had, read or written costs only what a later process would know;
each such trouble is told once, and a file that can be written again gets everything that it has missed.

Only the process that holds the control socket writes. Any other one looks at the file once, and keeps what it learns
itself in memory. Nothing here is needed to bring a container in order after a crash: names on the engine tell that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio

from watchtower_async.credentials.worker import Worker
from watchtower_async.images.digest import Digest
from watchtower_async.state.contents import DOCUMENT_CHARACTERS, Contents, QuarantineEntry, Sighting, StoredRollout
from watchtower_async.state.database import FILE_NAME, Database, UnreadableStateError, look, move_aside

DEADLINE_SECONDS = 10.0
"""For one access to the file, however slow its disk is."""
CLOSE_SECONDS = 2.0

_Trouble = (sqlite3.Error, OSError, UnreadableStateError, TimeoutError)


class StateStore:
    """The state of one directory. Before it is opened, and where it cannot be, it is in memory only."""

    def __init__(
        self,
        *,
        directory: Path,
        tell: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        """`tell` hears of trouble, once each. `deadline` is in seconds."""
        self.path = directory / FILE_NAME
        self._tell = tell
        self._clock = clock
        self._worker = Worker(deadline=deadline)
        self._turn = anyio.Lock()
        self._ready = anyio.Event()
        self._database: Database | None = None
        self._contents = Contents()
        self._written: Contents | None = None
        """What the file holds; None where nobody knows."""
        self._in_trouble = False

    @asynccontextmanager
    async def opened(self, *, may_write: bool) -> AsyncIterator[StateStore]:
        """Have the file while the context is open. `may_write` is for the holder of the control socket only."""
        try:
            await (self._open() if may_write else self._look())
            self._ready.set()
            yield self
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._close()

    @property
    def is_kept(self) -> bool:
        """Say whether what changes is written to the file."""
        return self._database is not None

    async def ready(self) -> None:
        """Wait until the file was read, or cannot be."""
        await self._ready.wait()

    # ---- quarantine --------------------------------------------------------------------------------------------

    @property
    def quarantined(self) -> tuple[QuarantineEntry, ...]:
        """Return all entries, by host and container."""
        return self._contents.entries_of(None, None)

    async def add_to_quarantine(self, entry: QuarantineEntry) -> None:
        """Keep an entry, in place of an older one for the same container. Raises nothing that a disk can cause."""
        await self._change(self._contents.with_entry(entry))

    async def lift_quarantine(
        self, container: str | None = None, *, host: str | None = None
    ) -> tuple[QuarantineEntry, ...]:
        """Drop the entries of a container and a host, None stands for all, and return them."""
        lifted = self._contents.entries_of(container, host)
        if lifted:
            await self._change(self._contents.without_entries(lifted))
        return lifted

    # ---- rollouts ----------------------------------------------------------------------------------------------

    def load_rollouts(self) -> tuple[StoredRollout, ...]:
        """Return the rollouts that are not finished, by id."""
        return tuple(item for _, item in sorted(self._contents.rollouts.items()))

    async def save_rollout(self, rollout_id: str, document: str) -> None:
        """Keep a rollout's state. One that is too long is told and not kept; the state before it stays."""
        if len(document) > DOCUMENT_CHARACTERS:
            self._tell(
                f"the state of rollout {rollout_id} is too long to be kept ({len(document)} characters); "
                "a restart of the updater goes on from an older one"
            )
            return
        rollout = StoredRollout(id=rollout_id, document=document, updated_at=self._clock())
        await self._change(self._contents.with_rollout(rollout))

    async def forget_rollout(self, rollout_id: str) -> None:
        """Drop a rollout that is finished. One that is not there is forgotten already."""
        if rollout_id in self._contents.rollouts:
            await self._change(self._contents.without_rollout(rollout_id))

    # ---- first seen --------------------------------------------------------------------------------------------

    def first_seen(self, image: str, digest: Digest) -> datetime | None:
        """Return when a tag was first seen to point to a digest, None where that was never noted."""
        sighting = self._contents.sightings.get((image, digest))
        return None if sighting is None else sighting.since

    async def note_sightings(self, sightings: Iterable[Sighting]) -> None:
        """Keep when tags were first seen; an earlier time that is known stays. Idempotent."""
        contents = self._contents.with_sightings(sightings)
        if contents is not self._contents:
            await self._change(contents)

    # ---- notifications -----------------------------------------------------------------------------------------

    @property
    def outbox(self) -> StoredOutbox:
        """Return what keeps the notifications that are not delivered yet."""
        return StoredOutbox(self)

    @property
    def messages(self) -> Mapping[str, str]:
        """Return the notifications that are not delivered yet, by key."""
        return self._contents.messages

    async def save_message(self, key: str, text: str) -> None:
        """Keep a notification, in place of an older one with this key. When there are too many, the oldest go."""
        await self._change(self._contents.with_message(key, text))

    async def forget_message(self, key: str) -> None:
        """Drop a notification, if it is there."""
        if key in self._contents.messages:
            await self._change(self._contents.without_message(key))

    # ---- the file ----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        try:
            database, moved = await self._worker.run(partial(_open_or_move_aside, self.path, self._clock))
        except _Trouble as error:
            self._tell(
                f"the state cannot be kept in {self.path.parent} ({_text(error)}); "
                "what is learned now is forgotten when the updater stops"
            )
            with suppress(*_Trouble):  # perhaps it can be read at least
                self._contents = await self._worker.run(partial(look, self.path))
            return
        if moved is not None:
            self._tell(moved)
        self._database = database
        self._contents = self._written = database.contents

    async def _look(self) -> None:
        try:
            self._contents = await self._worker.run(partial(look, self.path))
        except UnreadableStateError as error:
            self._tell(f"the state file {self.path} {error}; this process goes on without it")
        except _Trouble as error:
            self._tell(f"the state file {self.path} cannot be read ({_text(error)}); this process goes on without it")

    async def _change(self, contents: Contents) -> None:
        self._contents = contents
        await self._save()

    async def _save(self) -> None:
        async with self._turn:
            database, before, after = self._database, self._written, self._contents
            if database is None or before is after:
                return
            self._written = None  # until it is known that the file has it
            try:
                await self._worker.run(partial(database.save, before, after))
            except _Trouble as error:
                self._complain(error)
            else:
                self._written = after
                self._in_trouble = False

    def _complain(self, error: Exception) -> None:
        if not self._in_trouble:
            self._tell(
                f"the state cannot be written to {self.path} ({_text(error)}); "
                "if that stays so, what changes now is forgotten when the updater stops"
            )
        self._in_trouble = True

    async def _close(self) -> None:
        await self._save()
        database, self._database = self._database, None
        if database is not None:
            try:
                await self._worker.run(database.close)
            except _Trouble as error:
                self._complain(error)


class StoredOutbox:
    """The notifications in the state, as their dispatcher has them. Nothing that a disk can cause is raised."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def save(self, key: str, text: str) -> None:
        """Keep a text, in place of an older one with this key."""
        await self._store.save_message(key, text)

    async def load(self) -> dict[str, str]:
        """Return all that is kept."""
        return dict(self._store.messages)

    async def forget(self, key: str) -> None:
        """Drop a text, if it is there."""
        await self._store.forget_message(key)


def _open_or_move_aside(path: Path, clock: Callable[[], datetime]) -> tuple[Database, str | None]:
    """Return the open file and, where another one was in its place, what became of that."""
    try:
        return Database(path), None
    except UnreadableStateError as error:
        name = move_aside(path, clock())
        text = f"the state file {path} {error}; it was moved aside as {name}, and what it held is not known any more"
        return Database(path), text


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
