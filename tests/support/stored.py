"""What is kept in the state, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.builders import a_digest
from watchtower_async.images.digest import parse_digest
from watchtower_async.state.contents import QuarantineEntry, StoredRollout
from watchtower_async.state.store import StateStore

MORNING = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
HOST = "unix:///x.sock"


def an_entry(
    container: str = "web",
    *,
    host: str = HOST,
    digest: str = "v2",
    minutes: int = 0,
    reason: str = "the new container failed: it exited with code 3",
    detail: tuple[str, ...] = ("log: cannot start",),
) -> QuarantineEntry:
    """Return an entry that was made so many minutes after seven in the morning."""
    return QuarantineEntry(
        host=host,
        container=container,
        image="registry.example/app:1",
        digest=parse_digest(a_digest(digest)),
        since=MORNING + timedelta(minutes=minutes),
        reason=reason,
        detail=detail,
    )


def a_rollout(rollout_id: str = "r1", document: str = "{}", *, minutes: int = 0) -> StoredRollout:
    """Return a rollout that was saved so many minutes after seven in the morning."""
    return StoredRollout(id=rollout_id, document=document, updated_at=MORNING + timedelta(minutes=minutes))


def a_store_in_memory() -> StateStore:
    """Return a state that is not opened, and so never touches a disk."""
    return StateStore(directory=Path("/nonexistent"), tell=lambda problem: None)
