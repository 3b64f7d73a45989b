"""Older state files become files of today, in one step or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from watchtower_async.state.schema import STEPS, NewerSchemaError, Step, migrate, transaction, version_of


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the tables."""
    return sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


FIRST: Step = ("CREATE TABLE a (x)",)
SECOND: Step = ("ALTER TABLE a ADD COLUMN y DEFAULT 7", "CREATE TABLE b (z)")


def test_new_file_takes_all_steps(connection: sqlite3.Connection) -> None:
    """Its version is their number."""
    migrate(connection)
    assert version_of(connection) == len(STEPS)
    assert tables(connection) == ["outbox", "quarantine", "rollouts", "sightings"]


def test_file_of_today_is_left_as_it_is(connection: sqlite3.Connection) -> None:
    """Nothing is written, so that a full disk is no trouble here."""
    migrate(connection)
    before = connection.total_changes
    migrate(connection)
    assert connection.total_changes == before


def test_older_file_takes_only_the_missing_steps_and_keeps_its_rows(connection: sqlite3.Connection) -> None:
    """A step that was taken would fail the second time."""
    migrate(connection, (FIRST,))
    connection.execute("INSERT INTO a VALUES (1)")
    migrate(connection, (FIRST, SECOND))
    assert version_of(connection) == 2
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 7)]


def test_step_that_fails_leaves_the_file_as_it_was(connection: sqlite3.Connection) -> None:
    """Also what came before it in the same migration."""
    migrate(connection, (FIRST,))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (FIRST, SECOND, ("CREATE TABLE c (z)", "nonsense")))
    assert version_of(connection) == 1
    assert tables(connection) == ["a"]
    assert not connection.in_transaction


def test_newer_file_is_refused_with_both_versions(connection: sqlite3.Connection) -> None:
    """And not touched."""
    migrate(connection, (FIRST, SECOND))
    with pytest.raises(NewerSchemaError, match=r"schema 2, this one knows 1"):
        migrate(connection, (FIRST,))
    assert version_of(connection) == 2


def test_transaction_is_all_or_nothing(connection: sqlite3.Connection) -> None:
    """What came before the failure is gone, and the next one is not disturbed."""
    migrate(connection, (("CREATE TABLE b (x UNIQUE)",),))
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        # The first row is in before the second one fails.
        connection.executemany("INSERT INTO b VALUES (?)", [(1,), (1,)])
    with transaction(connection):
        connection.execute("INSERT INTO b VALUES (2)")
    assert connection.execute("SELECT x FROM b").fetchall() == [(2,)]
