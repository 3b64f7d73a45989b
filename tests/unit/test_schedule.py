"""When does the next session begin?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from watchtower_async.updates.schedule import Cron, Interval, latest_due, parse_schedule, with_jitter
from watchtower_async.updates.zone import local_zone, parse_zone

# A Monday.
MONDAY = "2024-07-08T15:00:00+00:00"


def at(text: str) -> datetime:
    """Return the moment, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def next_of(schedule: str, moment: str, zone: str = "UTC") -> datetime:
    """Return when a schedule is due after a moment."""
    return parse_schedule(schedule, zone=parse_zone(zone)).next_after(at(moment))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("30 4 * * *", "2024-07-09T04:30:00+00:00"),
        ("30 4 5 * * *", "2024-07-09T05:04:30+00:00"),
        ("* * * * * *", "2024-07-08T15:00:01+00:00"),
        ("? ? ? ? ? ?", "2024-07-08T15:00:01+00:00"),
        ("0 0 */6 * * *", "2024-07-08T18:00:00+00:00"),
        ("0 5/20 * * * *", "2024-07-08T15:05:00+00:00"),
        ("0 10-30/15 * * * *", "2024-07-08T15:10:00+00:00"),
        ("0 0 0 * jan ?", "2025-01-01T00:00:00+00:00"),
        ("0 0 0 * Feb-apr SAT", "2025-02-01T00:00:00+00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ("0 0 04 ? * sun,TUE", "2024-07-09T04:00:00+00:00"),
        ("0 0 0 1,,15, * *", "2024-07-15T00:00:00+00:00"),
        ("  '0 0 4 * * *'  ", "2024-07-09T04:00:00+00:00"),
        ('"@daily"', "2024-07-09T00:00:00+00:00"),
    ],
)
def test_fields_mean_what_they_mean_to_watchtower(schedule: str, expected: str) -> None:
    """Five fields begin with the minute, six with the second; steps, lists, ranges and names as in robfig/cron."""
    assert at(expected) == next_of(schedule, MONDAY)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@yearly", "2025-01-01"),
        ("@annually", "2025-01-01"),
        ("@monthly", "2024-08-01"),
        ("@weekly", "2024-07-14"),
        ("@daily", "2024-07-09"),
        ("@midnight", "2024-07-09"),
        ("@Daily", "2024-07-09"),
    ],
)
def test_descriptors_begin_at_midnight(schedule: str, expected: str) -> None:
    """Weeks begin on Sunday."""
    assert at(f"{expected}T00:00:00+00:00") == next_of(schedule, MONDAY)


def test_hourly_is_at_the_full_hour() -> None:
    """It is a time of the clock, not an interval."""
    assert at("2024-07-08T16:00:00+00:00") == next_of("@hourly", "2024-07-08T15:20:10+00:00")


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        # Either is enough where both are restricted: the Tuesday before the 10th.
        ("10 * TUE", "2024-07-09"),
        # A step is a restriction: 1, 11, 21 and 31, or any Sunday.
        ("*/10 * SUN", "2024-07-11"),
        ("1-31 * SUN", "2024-07-09"),
        # A star is none, nor is a question mark, nor a step of one, nor a star in a list.
        ("10 * *", "2024-07-10"),
        ("? * SUN", "2024-07-14"),
        ("*/1 * SUN", "2024-07-14"),
        ("1,* * SUN", "2024-07-14"),
        # From Monday on means to Saturday: Sunday is 0 only.
        ("? * 1/3", "2024-07-11"),
        ("? * MON/6", "2024-07-15"),
    ],
)
def test_days_of_month_and_of_week_are_joined_as_watchtower_joins_them(days: str, expected: str) -> None:
    """Both must fit, unless both are restricted: then either is enough."""
    assert at(f"{expected}T00:00:00+00:00") == next_of(f"0 0 0 {days}", MONDAY)


@pytest.mark.parametrize(
    ("zone", "schedule", "moment", "expected"),
    [
        # Spring: 02:00 to 03:00 does not exist, so nothing comes in it on that day.
        ("Europe/Berlin", "0 30 2 * * *", "2024-03-31T00:00:00+01:00", "2024-04-01T02:30:00+02:00"),
        ("Europe/Berlin", "0 0 * * * *", "2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"),
        ("Europe/Berlin", "0 0 3 * * *", "2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"),
        ("Europe/Berlin", "0 30 2 31 3 *", "2024-03-31T00:00:00+01:00", "2025-03-31T02:30:00+02:00"),
        ("America/New_York", "0 0 2 * * *", "2024-03-10T00:00:00-05:00", "2024-03-11T02:00:00-04:00"),
        ("America/New_York", "0 */20 * * * *", "2024-03-10T01:40:00-05:00", "2024-03-10T03:00:00-04:00"),
        # Autumn: the hour comes twice, and so does what is in it.
        ("Europe/Berlin", "0 30 2 * * *", "2024-10-27T00:00:00+02:00", "2024-10-27T02:30:00+02:00"),
        ("Europe/Berlin", "0 30 2 * * *", "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"),
        ("Europe/Berlin", "0 30 2 * * *", "2024-10-27T02:30:00+01:00", "2024-10-28T02:30:00+01:00"),
        ("Europe/Berlin", "0 0 * * * *", "2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"),
        ("America/New_York", "0 30 1 * * *", "2024-11-03T01:45:00-04:00", "2024-11-03T01:30:00-05:00"),
        ("America/New_York", "0 0 2 * * *", "2024-11-03T01:59:59-04:00", "2024-11-03T02:00:00-05:00"),
        # Midnight itself may be left out.
        ("Africa/Cairo", "0 0 0 * * *", "2024-04-25T12:00:00+02:00", "2024-04-27T00:00:00+03:00"),
        ("Africa/Cairo", "0 0 0 26 4 *", "2024-04-01T00:00:00+02:00", "2025-04-26T00:00:00+03:00"),
        # Clocks may be changed by half an hour: 02:00 comes after the second half past one.
        ("Australia/Lord_Howe", "0 0 2 * * *", "2024-04-07T01:45:00+10:30", "2024-04-07T02:00:00+10:30"),
        # No changes at all.
        ("Asia/Shanghai", "0 30 2 * * *", "2024-03-31T00:00:00+08:00", "2024-03-31T02:30:00+08:00"),
        ("Asia/Shanghai", "0 30 2 * * *", "2024-10-27T02:30:00+08:00", "2024-10-28T02:30:00+08:00"),
    ],
)
def test_clock_changes_skip_what_they_leave_out_and_repeat_what_they_show_twice(
    zone: str, schedule: str, moment: str, expected: str
) -> None:
    """The wall clock decides, as robfig/cron has it."""
    assert at(expected) == next_of(schedule, moment, zone)


def test_next_time_is_in_utc() -> None:
    """Python compares times of one zone by what the clock shows, which is wrong in the hour that comes twice."""
    assert UTC is next_of("0 0 4 * * *", MONDAY, "Europe/Berlin").tzinfo


def test_fraction_of_a_second_is_no_reason_to_fire_twice() -> None:
    """A session that begins late in its second is followed by the next one."""
    assert at("2024-07-09T04:00:00+00:00") == next_of("0 0 4 * * *", "2024-07-08T04:00:00.9+00:00")


@pytest.mark.parametrize(
    "schedule",
    ["CRON_TZ=America/New_York 0 0 4 * * *", "TZ=America/New_York  0 4 * * *", "'TZ=America/New_York 0 4 * * *'"],
)
def test_zone_in_front_goes_before_the_default(schedule: str) -> None:
    """Both spellings do."""
    assert at("2024-07-09T04:00:00-04:00") == next_of(schedule, MONDAY, "Europe/Berlin")


def test_descriptor_may_have_a_zone() -> None:
    """Midnight is that of the zone."""
    assert at("2024-07-09T00:00:00+08:00") == next_of("CRON_TZ=Asia/Shanghai @daily", MONDAY)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("@every 1h30m", 5400),
        ("@every 90", 90),
        ("@EVERY 2s", 2),
        ("@every 1500ms", 1),
        ("@every 0s", 1),
        ("@every -5m", 1),
        ("TZ=Europe/Berlin @every 10m", 600),
    ],
)
def test_every_is_an_interval_of_full_seconds(text: str, seconds: int) -> None:
    """Less than one second is one second, as robfig/cron has it."""
    assert Interval(timedelta(seconds=seconds)) == parse_schedule(text, zone=UTC)


def test_interval_counts_from_the_moment() -> None:
    """It has nothing to do with the clock; it comes at a full second."""
    every = Interval(timedelta(hours=1))

    assert at("2024-10-27T01:10:05+00:00") == every.next_after(at("2024-10-27T02:10:05.7+02:00"))


def test_schedule_knows_its_zone_and_its_text() -> None:
    """For those who tell people when it comes."""
    schedule = parse_schedule("CRON_TZ=Europe/Berlin 0 4 * * *", zone=UTC)

    assert isinstance(schedule, Cron)
    assert (ZoneInfo("Europe/Berlin"), "0 4 * * *") == (schedule.zone, schedule.text)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("", ["empty", '"0 0 4 * * *"']),
        ("  ''  ", ["empty"]),
        ("TZ=Europe/Berlin", ["empty"]),
        ("0 4 * *", ["4 fields", '"0 4 * * *"', '"0 0 4 * * *"']),
        ("0 0 4 * * * 2024", ["7 fields"]),
        ("60 0 4 * * *", ["second '60'", "between 0 and 59"]),
        ("0 0,61 4 * * *", ["minute '61'", "between 0 and 59", "*/15"]),
        ("0 24 * * *", ["hour '24'", "between 0 and 23", "2-5"]),
        ("0 0 4 0 * *", ["day of month '0'", "between 1 and 31"]),
        ("0 0 4 L * *", ["day of month 'L'", "cannot be read"]),
        ("0 0 4 * 13 *", ["month '13'", "JAN-JUN"]),
        ("0 0 4 * January *", ["month 'January'", "JAN-JUN"]),
        ("0 0 4 * * 7", ["day of week '7'", "Sunday is 0"]),
        ("0 0 4 * * FRI#2", ["day of week 'FRI#2'"]),
        ("0 0 4 * * SAT-SUN", ["day of week 'SAT-SUN'", "ends before it begins"]),
        ("0 */0 * * * *", ["minute '*/0'", "step"]),
        ("0 1/2/3 * * * *", ["minute '1/2/3'", "step"]),
        ("0 1-2-3 * * * *", ["minute '1-2-3'"]),
        ("0 , * * * *", ["minute ','", "empty"]),
        ("0 -5 * * * *", ["minute '-5'"]),
        ("0 ٣ * * * *", ["minute '٣'"]),
        ("0 0 0 30 2 *", ["never comes"]),
        ("0 0 0 31 4,6 ?", ["never comes"]),
        ("@dayly", ["'@dayly'", "@daily", "@every 1h30m"]),
        ("@every", ["@every 1h30m"]),
        ("@every soon", ["'@every soon'", "@every 1h30m"]),
        ("TZ=Europe/Berln 0 4 * * *", ["'Europe/Berln'", "did you mean Europe/Berlin"]),
    ],
)
def test_wrong_schedule_names_the_field_and_shows_a_right_one(schedule: str, words: list[str]) -> None:
    """A person can mend it without the manual."""
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        parse_schedule(schedule, zone=UTC)

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2024-07-08T15:59:59+00:00", "2024-07-08T15:00:00+00:00"),
        ("2024-07-08T16:00:04+00:00", "2024-07-08T16:00:00+00:00"),
        ("2024-07-08T18:30:00+00:00", "2024-07-08T18:00:00+00:00"),
    ],
)
def test_interval_that_is_overrun_keeps_its_pace(now: str, expected: str) -> None:
    """What came due in the meantime is done with, and sessions that begin late do not shift those that follow."""
    assert at(expected) == latest_due(Interval(timedelta(hours=1)), last=at(MONDAY), at=at(now))


def test_cron_that_is_overrun_goes_on_from_now() -> None:
    """Three hours have passed, and the next time is the next one of the clock."""
    hourly = parse_schedule("@hourly", zone=UTC)
    last = latest_due(hourly, last=at(MONDAY), at=at("2024-07-08T18:30:00+00:00"))

    assert at("2024-07-08T19:00:00+00:00") == hourly.next_after(last)


def test_cron_that_is_not_due_is_counted_from_where_it_was() -> None:
    """Nothing came due, so nothing is counted as done."""
    assert at(MONDAY) == latest_due(
        parse_schedule("@hourly", zone=UTC), last=at(MONDAY), at=at("2024-07-08T15:30:00+00:00")
    )


@pytest.mark.parametrize(("drawn", "minutes"), [(0.0, 0), (0.5, 5), (0.75, 7.5)])
def test_jitter_makes_it_later_by_a_part_of_the_longest(drawn: float, minutes: float) -> None:
    """It never comes earlier."""
    assert at(MONDAY) + timedelta(minutes=minutes) == with_jitter(at(MONDAY), timedelta(minutes=10), lambda: drawn)


def test_zone_is_taken_from_the_variable() -> None:
    """A colon in front is allowed, as the C library has it."""
    assert ZoneInfo("Asia/Shanghai") == local_zone({"TZ": ":Asia/Shanghai"})


@pytest.mark.parametrize("text", ["", "UTC", " "])
def test_empty_variable_means_utc(text: str, tmp_path: Path) -> None:
    """The file of the machine is not looked at then."""
    assert UTC is local_zone({"TZ": text}, berlin_file(tmp_path))


def test_without_the_variable_the_machine_decides(tmp_path: Path) -> None:
    """Its file says what the clock shows."""
    zone = local_zone({}, berlin_file(tmp_path))

    assert timedelta(hours=2) == at(MONDAY).astimezone(zone).utcoffset()


@pytest.mark.parametrize("content", [None, b"no zone"])
def test_machine_without_a_zone_is_in_utc(content: bytes | None, tmp_path: Path) -> None:
    """A missing file and a broken one are the same."""
    path = tmp_path / "localtime"
    if content is not None:
        path.write_bytes(content)

    assert UTC is local_zone({}, path)


def test_variable_may_name_a_file(tmp_path: Path) -> None:
    """As the C library and Go have it."""
    zone = local_zone({"TZ": f":{berlin_file(tmp_path)}"}, tmp_path / "missing")

    assert timedelta(hours=2) == at(MONDAY).astimezone(zone).utcoffset()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "such as Europe/Berlin"),
        ("Europe", "not known"),
        ("../passwd", "not known"),
        ("/etc/passwd", "not a time zone file"),
    ],
)
def test_wrong_zone_is_told_with_a_right_one(text: str, words: str) -> None:
    """Sessions at another time than meant would not be noticed for long."""
    with pytest.raises(ValueError, match=words):
        local_zone({"TZ": text})


def berlin_file(directory: Path) -> Path:
    """Return a zone file with the rules of Berlin since 1996, as its last line states them."""
    path = directory / "berlin"
    header = b"TZif2" + bytes(15)
    counts = [0, 0, 0, 0, 1, 4]
    block = bytes(6) + b"UTC\0"
    body = header + b"".join(count.to_bytes(4, "big") for count in counts) + block
    path.write_bytes(body + body + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n")
    return path
