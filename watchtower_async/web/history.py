"""The last sessions in numbers, kept in memory. Listens to events; nothing here is written anywhere."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from watchtower_async.events import Event, SessionFinished
from watchtower_async.tally import Tallies, Tally
from watchtower_async.web.ports import Clock, Summary

MOST_SESSIONS = 500


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A session that ended."""

    at: datetime
    summary: Summary


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class History:
    """The last 500 sessions, the newest one last."""

    def __init__(self, *, now: Clock = utc_now) -> None:
        self._now = now
        self._entries: deque[HistoryEntry] = deque(maxlen=MOST_SESSIONS)
        self._tallies = Tallies()

    def __call__(self, event: Event) -> None:
        """Take in a fact."""
        self._tallies.take_in(event)
        if isinstance(event, SessionFinished):
            tally = self._tallies.close(event.session)
            self._entries.append(HistoryEntry(self._now(), summary_of(event, tally)))

    @property
    def last(self) -> Summary | None:
        """Return the last session."""
        return self._entries[-1].summary if self._entries else None

    def between(self, since: datetime | None, until: datetime | None, limit: int) -> tuple[HistoryEntry, ...]:
        """Return the newest `limit` entries of that time, both ends included; 0 is all of them."""
        found = [entry for entry in self._entries if _is_within(entry.at, since, until)]
        return tuple(found[-limit:] if limit else found)


def summary_of(event: SessionFinished, tally: Tally) -> Summary:
    """Count as Watchtower does: what could not be checked is skipped, neither scanned nor failed."""
    return Summary(
        scanned=max(0, event.scanned - tally.unknown),
        updated=event.updated,
        failed=max(0, event.failed - tally.unknown),
        restarted=tally.restarted,
        skipped=tally.unknown,
    )


def _is_within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at <= until)
