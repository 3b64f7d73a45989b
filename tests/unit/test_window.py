"""When may updates be made?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watchtower_async.updates.window import Windows, parse_windows
from watchtower_async.updates.zone import parse_zone

WEEKEND = "Sat,Sun 02:00-05:00"


def at(text: str) -> datetime:
    """Return the moment."""
    return datetime.fromisoformat(text)


def in_zone(text: str, zone: str = "UTC") -> Windows:
    """Return the windows in a zone."""
    return parse_windows(text, zone=parse_zone(zone))


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        # 2024-07-13 is a Saturday.
        (WEEKEND, "2024-07-13T01:59:59", False),
        (WEEKEND, "2024-07-13T02:00:00", True),
        (WEEKEND, "2024-07-14T04:59:59.9", True),
        (WEEKEND, "2024-07-14T05:00:00", False),
        (WEEKEND, "2024-07-15T03:00:00", False),
        ("02:00-05:00", "2024-07-15T03:00:00", True),
        ("00:00-24:00", "2024-07-15T23:59:59", True),
        ("Sat 22:00-02:00", "2024-07-13T22:00:00", True),
        ("Sat 22:00-02:00", "2024-07-14T01:59:59", True),
        ("Sat 22:00-02:00", "2024-07-13T01:00:00", False),
        ("Sat 22:00-00:00", "2024-07-13T23:59:59", True),
        ("Sat 22:00-24:00", "2024-07-14T00:00:00", False),
        ("Fri-Mon 02:00-05:00", "2024-07-15T03:00:00", True),
        ("Fri-Mon 02:00-05:00", "2024-07-16T03:00:00", False),
        ("sat, SUNDAY 2:00 - 5:00", "2024-07-14T03:00:00", True),
        ("Mon - Wed 02:00-05:00", "2024-07-16T03:00:00", True),
        ("Sat 02:00-05:00; Sun 06:00-07:00;", "2024-07-14T06:30:00", True),
        ("Sat 02:00-05:00; Sun 06:00-07:00", "2024-07-14T03:00:00", False),
    ],
)
def test_window_is_open_from_its_opening_to_before_its_closing(text: str, moment: str, expected: bool) -> None:
    """Over midnight it belongs to the day on which it opens."""
    assert expected == in_zone(text).is_open(at(f"{moment}+00:00"))


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        (WEEKEND, "2024-07-10T12:00:00+00:00", "2024-07-13T02:00:00+00:00"),
        (WEEKEND, "2024-07-13T05:00:00+00:00", "2024-07-14T02:00:00+00:00"),
        (WEEKEND, "2024-07-14T05:00:00+00:00", "2024-07-20T02:00:00+00:00"),
        ("Sat 02:00-05:00", "2024-07-13T05:00:00.5+00:00", "2024-07-20T02:00:00+00:00"),
        ("Sun 06:00-07:00; Sat 02:00-05:00", "2024-07-13T06:00:00+00:00", "2024-07-14T06:00:00+00:00"),
        # It is open now.
        (WEEKEND, "2024-07-13T03:00:00.25+00:00", "2024-07-13T03:00:00.25+00:00"),
        ("Sat 22:00-02:00", "2024-07-14T01:00:00+00:00", "2024-07-14T01:00:00+00:00"),
    ],
)
def test_next_opening_is_now_or_the_first_one_to_come(text: str, moment: str, expected: str) -> None:
    """Where it is open, there is nothing to wait for."""
    assert at(expected) == in_zone(text).next_opening(at(moment))


@pytest.mark.parametrize(
    ("zone", "text", "moment", "expected"),
    [
        ("America/New_York", "02:00-05:00", "2024-07-13T00:00:00-04:00", "2024-07-13T02:00:00-04:00"),
        ("Asia/Shanghai", "02:00-05:00", "2024-07-12T18:00:00+00:00", "2024-07-13T02:00:00+08:00"),
        # Spring: the clock goes from 02:00 to 03:00, into the window.
        ("Europe/Berlin", "02:30-05:00", "2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"),
        ("Europe/Berlin", "02:30-05:00", "2024-03-31T01:59:58.7+01:00", "2024-03-31T03:00:00+02:00"),
        # The window is left out on that day.
        ("Europe/Berlin", "02:00-03:00", "2024-03-31T01:00:00+01:00", "2024-04-01T02:00:00+02:00"),
        # Autumn: the clock goes back into the window.
        ("Europe/Berlin", "02:10-02:50", "2024-10-27T02:50:00+02:00", "2024-10-27T02:10:00+01:00"),
        ("Europe/Berlin", "02:10-02:50", "2024-10-27T02:50:00+01:00", "2024-10-28T02:10:00+01:00"),
    ],
)
def test_wall_clock_of_the_zone_decides(zone: str, text: str, moment: str, expected: str) -> None:
    """What it leaves out is not open, and what it shows twice is open twice."""
    assert at(expected) == in_zone(text, zone).next_opening(at(moment))


def test_next_opening_is_in_utc() -> None:
    """Python compares times of one zone by what the clock shows, which is wrong in the hour that comes twice."""
    berlin = parse_zone("Europe/Berlin")
    windows = parse_windows(WEEKEND, zone=berlin)

    assert UTC is windows.next_opening(at("2024-07-10T12:00:00+00:00").astimezone(berlin)).tzinfo
    assert UTC is Windows().next_opening(at("2024-07-10T12:00:00+00:00").astimezone(berlin)).tzinfo


def test_no_windows_are_always_open() -> None:
    """Who sets no window has no limit."""
    moment = at("2024-07-10T12:00:00+00:00")

    assert Windows().is_open(moment)
    assert moment == Windows().next_opening(moment)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no maintenance window"),
        (" ; ", "no maintenance window"),
        ("Sat,Sun", "'Sat,Sun' cannot be read"),
        ("02:00-05:00 Sat", "cannot be read"),
        ("Sat 2-5", "cannot be read"),
        ("Sam 02:00-05:00", "'Sam' is no day of the week"),
        ("Sat- 02:00-05:00", "'' is no day of the week"),
        ("Sat 02:00-05:00 Sun 02:00-05:00", "is no day of the week"),
        ("Sat 02:60-05:00", "02:60 is no time of day"),
        ("Sat 02:00-24:01", "24:01 is no time of day"),
        ("Sat 02:00-02:00", "00:00-24:00"),
        ("Sat 24:00-02:00", "00:00-24:00"),
    ],
)
def test_wrong_window_is_told_with_a_right_one(text: str, words: str) -> None:
    """A person can mend it without the manual."""
    with pytest.raises(ValueError, match=words) as caught:
        in_zone(text)

    assert "Sat,Sun 02:00-05:00" in str(caught.value) or "00:00-24:00" in str(caught.value)
