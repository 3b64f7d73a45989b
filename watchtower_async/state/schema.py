"""The tables of the state file, and how an older file becomes one of today.

`user_version` of the file counts the steps that were taken. A step is never changed once it was released: a new table
or column is one step more. All missing steps are taken in one transaction, so a file is never between two versions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Step = tuple[str, ...]
"""The statements that lead from one version to the next."""

STEPS: tuple[Step, ...] = (
    (
        # `since` and `updated_at` are RFC 3339 in UTC, `detail` is a JSON list of lines.
        """
        CREATE TABLE quarantine (
            host TEXT NOT NULL,
            container TEXT NOT NULL,
            image TEXT NOT NULL,
            digest TEXT NOT NULL,
            since TEXT NOT NULL,
            reason TEXT NOT NULL,
            detail TEXT NOT NULL,
            PRIMARY KEY (host, container)
        )
        """,
        """
        CREATE TABLE rollouts (
            id TEXT PRIMARY KEY NOT NULL,
            document TEXT NOT NULL,
            updated_at TEXT NOT NULL
        )
        """,
    ),
    (
        # `image` is a reference in full with its tag, `since` is RFC 3339 in UTC.
        """
        CREATE TABLE sightings (
            image TEXT NOT NULL,
            digest TEXT NOT NULL,
            since TEXT NOT NULL,
            PRIMARY KEY (image, digest)
        ) WITHOUT ROWID
        """,
    ),
    (
        # `key` sorts by age, `text` is JSON that only the notifications read.
        """
        CREATE TABLE outbox (
            key TEXT PRIMARY KEY NOT NULL,
            text TEXT NOT NULL
        )
        """,
    ),
)


class NewerSchemaError(Exception):
    """The file was written by a program that knows more than this one."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many steps a file has taken. Raises sqlite3.Error."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, steps: Sequence[Step] = STEPS) -> None:
    """Take the steps that are missing, all or none. Raises NewerSchemaError and sqlite3.Error.

    The connection is in autocommit mode.
    """
    if not _missing(connection, steps):
        return
    with transaction(connection):
        # Looked at once more under the lock: another process may have taken them.
        for step in _missing(connection, steps):
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")


def _missing(connection: sqlite3.Connection, steps: Sequence[Step]) -> Sequence[Step]:
    version = version_of(connection)
    if version > len(steps):
        raise NewerSchemaError(f"was written by a newer version (schema {version}, this one knows {len(steps)})")
    return steps[max(version, 0) :]


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write everything inside, or nothing. Takes the write lock at once, so that nothing has to be given up later."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise
