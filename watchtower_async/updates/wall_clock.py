"""When the clock on the wall shows something next.

People write schedules in the time of their wall clock, and it jumps. A time that it leaves out does not come on that
day, and one that it shows twice comes twice.

Moments are in UTC here. Python compares and subtracts two times of one zone by what the clock shows, which is wrong
around a jump.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

# The clocks of no place are changed and changed back within this time.
_STEP = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def wall_time(at: datetime, zone: tzinfo) -> datetime:
    """Return what the clock shows in the zone, without a zone of its own."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def first_moment(zone: tzinfo, *, start: datetime, search: Callable[[datetime], datetime | None]) -> datetime | None:
    """Return the first moment, not before `start`, at which the clock shows what is searched for.

    `search` returns the first fitting wall time that is not before the one it is given, None when there is none.
    """
    at = start.astimezone(UTC)
    while True:
        wall = wall_time(at, zone)
        found = search(wall)
        if found is None:
            return None
        due = at + (found - wall)
        change = next_change(zone, after=at, until=due)
        if change is None:
            return due
        at = change


def next_change(zone: tzinfo, *, after: datetime, until: datetime) -> datetime | None:
    """Return when the clocks are changed for the first time after one moment and not after another."""
    # Clocks are changed on a full second.
    low, end = (moment.astimezone(UTC).replace(microsecond=0) for moment in (after, until))
    offset = _offset(zone, low)
    while low < end:
        high = min(low + _STEP, end)
        if _offset(zone, high) != offset:
            return _narrow(zone, low, high)
        low = high
    return None


def _narrow(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    offset = _offset(zone, low)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return low + _SECOND


def _offset(zone: tzinfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()
