"""The next time of a schedule, compared with a look at every minute. What a field holds is known without reading it."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchtower_async.updates.schedule import Interval, latest_due, parse_schedule
from watchtower_async.updates.wall_clock import next_change
from watchtower_async.updates.window import parse_windows
from watchtower_async.updates.zone import parse_zone

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Havana",
    "Asia/Kathmandu",
)
MINUTE = timedelta(minutes=1)
MINUTES = 2 * 24 * 60
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
YEAR = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Field:
    """Text of a field, what it holds, and whether it restricts."""

    text: str
    values: frozenset[int]
    is_free: bool


@st.composite
def fields(draw: st.DrawFn, lowest: int, highest: int) -> Field:
    """Return a field in one of the forms that people write."""
    first = draw(st.integers(lowest, highest))
    last = draw(st.integers(first, highest))
    step = draw(st.integers(2, 25))
    other = draw(st.integers(lowest, highest))
    whole = range(lowest, highest + 1)
    forms: dict[str, tuple[frozenset[int], bool]] = {
        "*": (frozenset(whole), True),
        "?": (frozenset(whole), True),
        f"*/{step}": (frozenset(whole[::step]), False),
        f"{first}": (frozenset({first}), False),
        f"{first},{other}": (frozenset({first, other}), False),
        f"{first}-{last}": (frozenset(range(first, last + 1)), False),
        f"{first}/{step}": (frozenset(range(first, highest + 1, step)), False),
        f"{first}-{last}/{step},{other}": (frozenset(range(first, last + 1, step)) | {other}, False),
    }
    text = draw(st.sampled_from(sorted(forms)))
    return Field(text, *forms[text])


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """Return a moment of 2024, often one that is close to a change of the clocks."""
    moment = YEAR + timedelta(seconds=draw(st.integers(0, 366 * 86400)))
    change = next_change(parse_zone(zone), after=moment, until=moment + timedelta(days=366))
    if change is None or draw(st.integers(0, 3)) == 0:
        return moment
    return change + timedelta(seconds=draw(st.integers(-40 * 3600, 7200)))


def fits(wall: datetime, minute: Field, hour: Field, day: Field, month: Field, weekday: Field) -> bool:
    """Say whether a wall time fits, by the rules in words."""
    in_day, in_week = wall.day in day.values, wall.isoweekday() % 7 in weekday.values
    right_day = in_day and in_week if day.is_free or weekday.is_free else in_day or in_week
    return wall.minute in minute.values and wall.hour in hour.values and wall.month in month.values and right_day


def first_minute(moment: datetime, zone: str, is_right: Callable[[datetime], bool]) -> datetime | None:
    """Look at each full minute after a moment, for two days."""
    rules = parse_zone(zone)
    minutes = (moment.replace(second=0, microsecond=0) + count * MINUTE for count in range(1, MINUTES))
    return next((minute for minute in minutes if is_right(minute.astimezone(rules))), None)


@given(
    st.data(),
    st.sampled_from(ZONES),
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    st.just(Field("*", frozenset(range(1, 13)), is_free=True)) | fields(1, 12),
    fields(0, 6),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_next_time_is_later_and_fits_and_nothing_before_it_does(
    data: st.DataObject, zone: str, minute: Field, hour: Field, day: Field, month: Field, weekday: Field, six: bool
) -> None:
    """In every zone, around every change of the clocks, for every form of a field."""
    text = " ".join(field.text for field in (minute, hour, day, month, weekday))
    moment = data.draw(moments(zone))
    if weekday.is_free and min(day.values) > max(monthrange(2024, number)[1] for number in month.values):
        with pytest.raises(ValueError, match="never comes"):
            parse_schedule(text, zone=UTC)
        return

    due = parse_schedule(f"0 {text}" if six else text, zone=parse_zone(zone)).next_after(moment)

    assert due > moment
    assert fits(due.astimezone(parse_zone(zone)), minute, hour, day, month, weekday)
    assert due.second == due.microsecond == 0
    seen = first_minute(moment, zone, lambda wall: fits(wall, minute, hour, day, month, weekday))
    assert due == seen if seen is not None else due >= moment.replace(second=0) + MINUTES * MINUTE


@given(st.data(), st.sampled_from(ZONES), fields(0, 59), fields(0, 59))
@settings(max_examples=40, deadline=None)
def test_seconds_are_kept_to(data: st.DataObject, zone: str, second: Field, minute: Field) -> None:
    """Every second until the next time is looked at."""
    moment = data.draw(moments(zone))
    due = parse_schedule(f"{second.text} {minute.text} * * * *", zone=parse_zone(zone)).next_after(moment)
    seconds = [moment + timedelta(seconds=count) for count in range(1, int((due - moment).total_seconds()) + 1)]
    rules = parse_zone(zone)

    assert [due] == [
        each for each in seconds if each.second in second.values and each.astimezone(rules).minute in minute.values
    ]


@given(
    st.data(),
    st.sampled_from(ZONES),
    st.lists(
        st.tuples(st.sets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(1, 1439)),
        min_size=1,
        max_size=3,
    ),
)
@settings(max_examples=60, deadline=None)
def test_next_opening_is_open_and_nothing_before_it_is(
    data: st.DataObject, zone: str, spans: list[tuple[set[int], int, int]]
) -> None:
    """Windows begin and end at full minutes, so a look at every minute sees all."""
    moment = data.draw(moments(zone)).replace(second=0)
    windows = parse_windows(";".join(written(*span) for span in spans), zone=parse_zone(zone))

    opening = windows.next_opening(moment)

    assert opening >= moment
    assert windows.is_open(opening)
    seen = first_minute(moment - MINUTE, zone, lambda wall: any(is_open(wall, *span) for span in spans))
    assert opening == seen if seen is not None else opening >= moment + (MINUTES - 1) * MINUTE


def written(days: set[int], opens: int, length: int) -> str:
    """Write a window."""
    closes = (opens + length) % 1440
    names = ",".join(DAYS[day] for day in sorted(days))
    return f"{names} {opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"


def is_open(wall: datetime, days: set[int], opens: int, length: int) -> bool:
    """Say whether a window is open, counted in minutes of the day and of the day before."""
    shown = wall.hour * 60 + wall.minute
    today, yesterday = wall.weekday(), (wall.weekday() - 1) % 7
    return (today in days and opens <= shown < opens + length) or (
        yesterday in days and opens <= shown + 1440 < opens + length
    )


@given(
    st.timedeltas(timedelta(seconds=-5), timedelta(days=40)),
    moments("UTC"),
    st.timedeltas(timedelta(0), timedelta(days=90)),
)
def test_interval_keeps_its_pace_however_late_it_is(every: timedelta, last: datetime, passed: timedelta) -> None:
    """What counts as done is never later than now, the next time is, and both are on the same grid."""
    schedule = Interval(every)
    at = last + passed
    counted = latest_due(schedule, last=last, at=at)

    assert counted <= at < schedule.next_after(counted)
    grid = last.replace(microsecond=0)
    assert timedelta(0) == (schedule.next_after(counted) - grid) % schedule.every
