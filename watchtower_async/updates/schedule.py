"""When sessions begin: after a fixed time, or at times of the wall clock.

The grammar is that of Watchtower (the Go library robfig/cron, version 3):

- six fields `second minute hour day-of-month month day-of-week`, or five without the second, which then is 0
- in a field `*` or `?`, `a`, `a-b`, `a/n` (from a on), `a-b/n`, `*/n`, and several of these with commas
- months and days of the week also by name; Sunday is 0, and 7 is refused
- where both kinds of day are restricted, either is enough; `*/2` is a restriction, `*` and `?` are none
- `@daily` and its like, `@every 1h30m`, and `CRON_TZ=Europe/Berlin` or `TZ=` in front

A time that the clocks leave out in spring does not come on that day, and one that they show twice in autumn comes
twice. Nothing is made up for: what came due during a session, or while the machine slept, comes once or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from cronsim import CronSim, CronSimError

from watchtower_async.settings import parse_duration
from watchtower_async.updates.wall_clock import first_moment
from watchtower_async.updates.zone import parse_zone

_SECOND = timedelta(seconds=1)
_EVERY = "@every"
_ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(\S*)(?:\s+(.*))?", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_DESCRIPTORS: Mapping[str, str] = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
# Any date would do to find out whether there is a match: the calendar repeats itself, but for leap days in 2100.
_SOME_DAY = datetime(2001, 1, 1)  # noqa: DTZ001 - a wall time


class Schedule(Protocol):
    """Says when to begin."""

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time that is later than the moment, in UTC."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Full seconds from start to start, at least one."""

    every: timedelta

    def __post_init__(self) -> None:
        whole = max(self.every // _SECOND * _SECOND, _SECOND)
        object.__setattr__(self, "every", whole)

    def next_after(self, moment: datetime) -> datetime:
        """Return the time one interval later."""
        return moment.astimezone(UTC).replace(microsecond=0) + self.every


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of the wall clock in a zone. Made by `parse_schedule`, so that there is always a next one."""

    text: str
    """As it was written, without the zone."""
    zone: tzinfo
    expression: str
    """Six fields in which every value is listed, for cronsim; it reads shorter forms in another way than we promise."""

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after the moment that the clock shows a fitting time."""
        start = moment.astimezone(UTC).replace(microsecond=0) + _SECOND
        due = first_moment(self.zone, start=start, search=lambda wall: _first_match(self.expression, wall))
        assert due is not None, "an expression without a match is refused when it is read"
        return due


def parse_schedule(text: str, *, zone: tzinfo) -> Cron | Interval:
    """Read a schedule, in this zone where it names none. Raises ValueError that says which field is wrong."""
    bare = text.strip().strip("\"'").strip()
    prefix = _ZONE_PREFIX.fullmatch(bare)
    if prefix is not None:
        zone = parse_zone(prefix[1])
        bare = (prefix[2] or "").strip()
    if not bare:
        raise ValueError('the schedule is empty; right is for example "0 0 4 * * *" (every day at 04:00)')
    if bare.lower().startswith(_EVERY):
        return _parse_every(bare)
    written = _described(bare) if bare.startswith("@") else bare
    expression = _expression(written)
    if _first_match(expression, _SOME_DAY) is None:
        raise ValueError(f"the schedule {bare!r} never comes: no such month has such a day of month")
    return Cron(bare, zone, expression)


def latest_due(schedule: Schedule, *, last: datetime, at: datetime) -> datetime:
    """Return where to count from once everything up to `at` counts as done; `last` itself where nothing came due.

    An interval goes on from the time it should have come, so that sessions that begin late do not shift the others.
    """
    first = schedule.next_after(last)
    at = at.astimezone(UTC)
    if first > at:
        return last
    if isinstance(schedule, Interval):
        return first + (at - first) // schedule.every * schedule.every
    return at


def with_jitter(at: datetime, longest: timedelta, draw: Callable[[], float]) -> datetime:
    """Return a time that is later by a random part of `longest`. `draw` returns a number from 0 up to 1."""
    return at + longest * draw()


def _parse_every(text: str) -> Interval:
    try:
        return Interval(parse_duration(text[len(_EVERY) :]))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a schedule: {error}; right is for example @every 1h30m") from None


def _described(text: str) -> str:
    try:
        return _DESCRIPTORS[text.lower()]
    except KeyError:
        known = ", ".join([*_DESCRIPTORS, "@every 1h30m"])
        raise ValueError(f"{text!r} is not a schedule; those with @ are {known}") from None


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    lowest: int
    highest: int
    example: str
    names: tuple[str, ...] = ()
    """Names of the values, the lowest first."""

    def problem(self, part: str, what: str) -> ValueError:
        return ValueError(f"{self.name} {part!r} {what}; right is for example {self.example}")


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("second", 0, 59, "0 or */30"),
    _Field("minute", 0, 59, "30 or */15"),
    _Field("hour", 0, 23, "4 or 2-5"),
    _Field("day of month", 1, 31, "1,15 or *"),
    _Field("month", 1, 12, "1-6 or JAN-JUN", _MONTHS),
    _Field("day of week", 0, 6, "1-5 or MON-FRI (Sunday is 0 or SUN)", _WEEKDAYS),
)


def _expression(text: str) -> str:
    """Turn five or six fields into the form in which every value is listed."""
    parts = text.split()
    if len(parts) not in {5, 6}:
        raise ValueError(
            f"the schedule {text!r} has {len(parts)} fields, not 5 or 6; right is for example "
            '"0 4 * * *" (minute, hour, day of month, month, day of week) or "0 0 4 * * *" (with the second in front)'
        )
    six = parts if len(parts) == 6 else ["0", *parts]
    # To cronsim either kind of day is enough where neither is a star, however much it lists: that is our rule, too.
    return " ".join(str(_parse_field(part, field)) for part, field in zip(six, _FIELDS, strict=True))


@dataclass(frozen=True, slots=True)
class _Values:
    values: frozenset[int]
    is_free: bool
    """Whether a `*` or `?` stands there, which is no restriction."""

    def __str__(self) -> str:
        return "*" if self.is_free else ",".join(str(value) for value in sorted(self.values))


def _parse_field(text: str, field: _Field) -> _Values:
    parts = [part for part in text.split(",") if part]
    if not parts:
        raise field.problem(text, "is empty")
    read = [_parse_part(part, field) for part in parts]
    return _Values(frozenset().union(*(item.values for item in read)), any(item.is_free for item in read))


def _parse_part(part: str, field: _Field) -> _Values:
    span, slash, step_text = part.partition("/")
    step = _parse_step(part, step_text, field) if slash else 1
    if span in {"*", "?"}:
        return _Values(frozenset(range(field.lowest, field.highest + 1, step)), is_free=step == 1)
    first_text, dash, last_text = span.partition("-")
    first = _parse_value(first_text, part, field)
    last = _parse_value(last_text, part, field) if dash else (field.highest if slash else first)
    if last < first:
        raise field.problem(part, "ends before it begins")
    return _Values(frozenset(range(first, last + 1, step)), is_free=False)


def _parse_step(part: str, text: str, field: _Field) -> int:
    if not _NUMBER.fullmatch(text) or int(text) == 0:
        raise field.problem(part, "has a step that is not a number from 1 on")
    return int(text)


def _parse_value(text: str, part: str, field: _Field) -> int:
    if text.upper() in field.names:
        return field.lowest + field.names.index(text.upper())
    if not _NUMBER.fullmatch(text):
        raise field.problem(part, "cannot be read")
    if not field.lowest <= int(text) <= field.highest:
        raise field.problem(part, f"is not between {field.lowest} and {field.highest}")
    return int(text)


def _first_match(expression: str, wall: datetime) -> datetime | None:
    """Return the first wall time that fits, from this one on; None when there is none in fifty years."""
    try:
        return next(CronSim(expression, wall - _SECOND), None)
    except CronSimError:
        return None
