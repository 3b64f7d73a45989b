"""The state file: SQLite in WAL mode, opened by one process for writing.

What cannot be read as such a file, because it is damaged, foreign or newer, is moved aside and never deleted at once:
`state.sqlite3.broken-<time>` and its log, of which a few are kept. What only cannot be used now (full, read-only,
unreachable) stays where it is, and is an error for the caller.

Everything here blocks, and is for one thread at a time.

https://www.sqlite.org/wal.html, https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import parse_digest
from watchtower_async.state.contents import Contents, QuarantineEntry, Sighting, StoredRollout, read_entry
from watchtower_async.state.schema import NewerSchemaError, migrate, transaction

FILE_NAME = "state.sqlite3"
BUSY_SECONDS = 2.0
"""How long another process may hold the file locked."""
MOST_BROKEN = 3

_SHORT_READ = 522
# Result codes that speak of the file's content, not of the disk or of who may use it: ERROR (a table of another
# shape), CORRUPT, SCHEMA, TOOBIG, CONSTRAINT, MISMATCH, FORMAT, NOTADB.
_CONTENT = frozenset({1, 11, 17, 18, 19, 20, 24, 26})

Key = TypeVar("Key")
Row = tuple[Any, ...]


class UnreadableStateError(Exception):
    """The file's content cannot be used. The text goes on after the file's name."""


class Database:
    """A state file that is open for writing."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises UnreadableStateError, sqlite3.Error and OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the same mode: container logs may hold secrets.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = _connect(str(path))
        try:
            with _told_apart():
                self.contents = self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> Contents:
        with suppress(sqlite3.OperationalError):
            # Not on every file system. Any other journal is as safe, readers only have to wait.
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA synchronous = FULL")
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise UnreadableStateError(f"is damaged ({_plain(str(found))})")
        migrate(self._connection)
        return _read(self._connection)

    def save(self, before: Contents | None, after: Contents) -> None:
        """Write the difference, or with None, where nobody knows what the file holds, everything. Idempotent."""
        with transaction(self._connection):
            if before is None:
                self._connection.execute("DELETE FROM quarantine")
                self._connection.execute("DELETE FROM rollouts")
                self._connection.execute("DELETE FROM sightings")
                self._connection.execute("DELETE FROM outbox")
                before = Contents()
            gone, new = _difference(before.quarantine, after.quarantine)
            self._connection.executemany("DELETE FROM quarantine WHERE host = ? AND container = ?", gone)
            self._connection.executemany(
                "INSERT OR REPLACE INTO quarantine (host, container, image, digest, since, reason, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [_row_of(after.quarantine[key]) for key in new],
            )
            ended, changed = _difference(before.rollouts, after.rollouts)
            self._connection.executemany("DELETE FROM rollouts WHERE id = ?", [(key,) for key in ended])
            self._connection.executemany(
                "INSERT OR REPLACE INTO rollouts (id, document, updated_at) VALUES (?, ?, ?)",
                [
                    (item.id, item.document, item.updated_at.isoformat())
                    for item in (after.rollouts[key] for key in changed)
                ],
            )
            self._save_sightings(before, after)
            self._save_messages(before, after)

    def _save_sightings(self, before: Contents, after: Contents) -> None:
        gone, new = _difference(before.sightings, after.sightings)
        self._connection.executemany(
            "DELETE FROM sightings WHERE image = ? AND digest = ?", [(image, str(digest)) for image, digest in gone]
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO sightings (image, digest, since) VALUES (?, ?, ?)",
            [(item.image, str(item.digest), item.since.isoformat()) for item in (after.sightings[key] for key in new)],
        )

    def _save_messages(self, before: Contents, after: Contents) -> None:
        gone, new = _difference(before.messages, after.messages)
        self._connection.executemany("DELETE FROM outbox WHERE key = ?", [(key,) for key in gone])
        self._connection.executemany(
            "INSERT OR REPLACE INTO outbox (key, text) VALUES (?, ?)", [(key, after.messages[key]) for key in new]
        )

    def close(self) -> None:
        """Close the file. The log beside it goes into it."""
        self._connection.close()


def look(path: Path) -> Contents:
    """Read a file without changing it; one that is not there is empty. An older one is brought up to date in memory.

    Raises UnreadableStateError, sqlite3.Error and OSError.
    """
    if not path.exists():
        return Contents()
    # In a directory that cannot be written, SQLite reads a file in WAL mode only when told that nobody writes it.
    try:
        return _look(path, "mode=ro")
    except sqlite3.OperationalError:
        return _look(path, "mode=ro&immutable=1")


def _look(path: Path, how: str) -> Contents:
    with (
        _told_apart(),
        closing(_connect(f"{path.absolute().as_uri()}?{how}")) as source,
        closing(_connect(":memory:")) as copy,
    ):
        source.backup(copy)
        migrate(copy)
        return _read(copy)


def move_aside(path: Path, now: datetime) -> str:
    """Give an unusable file another name, and return that. Raises OSError."""
    name = f"{path.name}.broken-{now:%Y%m%dT%H%M%SZ}"
    _remove_all(path.with_name(f"{path.name}-shm"))
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        # Changes that are only in it are found again beside the file. A new file must not find it.
        log.replace(path.with_name(f"{name}-wal"))
    path.replace(path.with_name(name))
    broken = sorted(item for item in path.parent.glob(f"{path.name}.broken-*") if not item.name.endswith("-wal"))
    for old in broken[:-MOST_BROKEN]:
        _remove_all(old, old.with_name(f"{old.name}-wal"))
    return name


def _remove_all(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


@contextmanager
def _told_apart() -> Iterator[None]:
    """Turn what speaks of the file's content into one error; the rest goes on as it is."""
    try:
        yield
    except NewerSchemaError as error:
        raise UnreadableStateError(str(error)) from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code == _SHORT_READ or code & 0xFF in _CONTENT:
            raise UnreadableStateError(f"is damaged ({_plain(str(error))})") from error
        raise
    except (MemoryError, UnicodeDecodeError) as error:
        # A length in a damaged file may be anything.
        raise UnreadableStateError(f"is damaged ({type(error).__name__})") from error


def _plain(text: str) -> str:
    """Return the beginning of a text on one line: it may quote what stands in the file."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:120]).split())


def _read(connection: sqlite3.Connection) -> Contents:
    rows = connection.execute("SELECT host, container, image, digest, since, reason, detail FROM quarantine").fetchall()
    entries = [entry for row in rows if (entry := _entry_of(row)) is not None]
    stored = connection.execute("SELECT id, document, updated_at FROM rollouts").fetchall()
    rollouts = [item for row in stored if (item := _rollout_of(row)) is not None]
    noted = connection.execute("SELECT image, digest, since FROM sightings").fetchall()
    sightings = [seen for row in noted if (seen := _sighting_of(row)) is not None]
    messages = connection.execute("SELECT key, text FROM outbox ORDER BY key").fetchall()
    return Contents(
        quarantine={entry.key: entry for entry in entries},
        rollouts={item.id: item for item in rollouts},
        sightings={item.key: item for item in sightings},
        messages={key: text for key, text in messages if isinstance(key, str) and isinstance(text, str)},
    )


def _row_of(entry: QuarantineEntry) -> Row:
    detail = json.dumps(entry.detail)
    since = entry.since.isoformat()
    return entry.host, entry.container, entry.image, str(entry.digest), since, entry.reason, detail


def _entry_of(row: Row) -> QuarantineEntry | None:
    """Return the entry, None where somebody put in what is none: one row costs itself only."""
    if not all(isinstance(value, str) for value in row):
        return None
    host, container, image, digest, since, reason, detail = row
    try:
        lines = json.loads(detail)
    except ValueError:
        return None
    return read_entry(
        {
            "host": host,
            "container": container,
            "image": image,
            "digest": digest,
            "since": since,
            "reason": reason,
            "detail": lines,
        }
    )


def _rollout_of(row: Row) -> StoredRollout | None:
    try:
        rollout_id, document, updated = row
        moment = datetime.fromisoformat(updated)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None or not isinstance(document, str) or not isinstance(rollout_id, str):
        return None
    return StoredRollout(id=rollout_id, document=document, updated_at=moment)


def _sighting_of(row: Row) -> Sighting | None:
    if not all(isinstance(value, str) for value in row):
        return None
    image, text, since = row
    try:
        digest = parse_digest(text)
        moment = datetime.fromisoformat(since)
    except (ValueError, InvalidReferenceError):
        return None
    return None if moment.tzinfo is None else Sighting(image=image, digest=digest, since=moment)


def _difference(before: Mapping[Key, object], after: Mapping[Key, object]) -> tuple[list[Key], list[Key]]:
    """Return the keys that are gone, and those with a new value."""
    gone = [key for key in before if key not in after]
    return gone, [key for key, value in after.items() if key not in before or before[key] != value]
