"""When updates may be made: maintenance windows.

`Sat,Sun 02:00-05:00; Mon-Fri 23:30-01:00` is open twice at the weekend's nights and on working days over midnight. A
window over midnight belongs to the day on which it opens. Without days it opens every day. The wall clock of the
schedule's zone decides: what it leaves out in spring is not open, and what it shows twice is open twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from watchtower_async.updates.wall_clock import first_moment, wall_time

_EXAMPLE = "right is for example Sat,Sun 02:00-05:00"
_WINDOW = re.compile(r"(.*?)\s*([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})", re.ASCII)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = timedelta(days=1)
_EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Window:
    """One span of the day. `opens` and `closes` are counted from the midnight before it opens."""

    days: frozenset[int]
    """Days of the week on which it opens; Monday is 0."""
    opens: timedelta
    closes: timedelta
    """More than a day where it goes over midnight."""

    def holds(self, wall: datetime) -> bool:
        """Say whether it is open when the clock shows this."""
        today = _midnight(wall)
        return any(
            day.weekday() in self.days and day + self.opens <= wall < day + self.closes for day in (today, today - _DAY)
        )

    def next_opening(self, wall: datetime) -> datetime:
        """Return the first time, from this one on, at which it opens."""
        days = (_midnight(wall) + count * _DAY for count in range(8))
        return next(day + self.opens for day in days if day.weekday() in self.days and day + self.opens >= wall)


@dataclass(frozen=True, slots=True)
class Windows:
    """Several windows in one zone. None at all means no limit: always open."""

    windows: tuple[Window, ...] = ()
    zone: tzinfo = UTC

    def is_open(self, at: datetime) -> bool:
        """Say whether updates may be made."""
        return not self.windows or self._holds(wall_time(at, self.zone))

    def next_opening(self, at: datetime) -> datetime:
        """Return the first moment, in UTC, from this one on, at which it is open: this one where it is open now."""
        if not self.windows:
            return at.astimezone(UTC)
        opening = first_moment(self.zone, start=at, search=self._first_open)
        assert opening is not None, "each window opens every week"
        return opening

    def _holds(self, wall: datetime) -> bool:
        return any(window.holds(wall) for window in self.windows)

    def _first_open(self, wall: datetime) -> datetime:
        return wall if self._holds(wall) else min(window.next_opening(wall) for window in self.windows)


def parse_windows(text: str, *, zone: tzinfo) -> Windows:
    """Read windows, separated by semicolons. Raises ValueError."""
    parts = [part.strip() for part in text.strip().strip("\"'").split(";")]
    windows = tuple(_parse_window(part) for part in parts if part)
    if not windows:
        raise ValueError(f"no maintenance window is given; {_EXAMPLE}")
    return Windows(windows, zone)


def _parse_window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"maintenance window {text!r} cannot be read; {_EXAMPLE}")
    opens, closes = _parse_time(match[2], match[3], text), _parse_time(match[4], match[5], text)
    if opens in {closes, _DAY}:
        raise ValueError(f"maintenance window {text!r} holds no time; a whole day is written as 00:00-24:00")
    return Window(_parse_days(match[1], text), opens, closes if closes > opens else closes + _DAY)


def _parse_time(hour: str, minute: str, text: str) -> timedelta:
    read = timedelta(hours=int(hour), minutes=int(minute))
    if int(minute) > 59 or read > _DAY:
        raise ValueError(f"maintenance window {text!r}: {hour}:{minute} is no time of day (00:00 to 24:00); {_EXAMPLE}")
    return read


def _parse_days(text: str, window: str) -> frozenset[int]:
    if not text:
        return _EVERY_DAY
    parts = [part for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text)) if part]
    return frozenset(day for part in parts for day in _parse_day_range(part, window))


def _parse_day_range(part: str, window: str) -> tuple[int, ...]:
    first_name, dash, last_name = part.partition("-")
    first = _parse_day(first_name, window)
    last = _parse_day(last_name, window) if dash else first
    # Sat-Mon goes over the end of the week.
    return tuple((first + count) % 7 for count in range((last - first) % 7 + 1))


def _parse_day(name: str, window: str) -> int:
    lower = name.lower()
    for number, day in enumerate(_DAYS):
        if lower in {day, day[:3]}:
            return number
    raise ValueError(f"maintenance window {window!r}: {name!r} is no day of the week; {_EXAMPLE}")


def _midnight(wall: datetime) -> datetime:
    return datetime.combine(wall, time())
