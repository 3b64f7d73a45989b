"""How long a published image must wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import a_digest
from watchtower_async.images.digest import parse_digest
from watchtower_async.settings import parse_cooldown
from watchtower_async.state.contents import Sighting
from watchtower_async.updates.cooldown import cooldown_of, date_note, show_duration, sight, wait_for
from watchtower_async.updates.reason import ReasonCode

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IMAGE, DIGEST = "registry.example/app:1", parse_digest(a_digest("v2"))


def seen(ago: timedelta) -> Sighting:
    """Return that the image was seen so long before noon."""
    return Sighting(image=IMAGE, digest=DIGEST, since=NOON - ago)


# ---- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta(0)),
        ("90", timedelta(seconds=90)),
        ("1.5", timedelta(seconds=1.5)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("2w", timedelta(days=14)),
        ("1M", timedelta(days=30)),
        ("1m", timedelta(minutes=1)),
        ("1M1w2d3h4m5s", timedelta(days=39, hours=3, minutes=4, seconds=5)),
        ("5s1h", timedelta(hours=1, seconds=5)),
        ("1.5d", timedelta(hours=36)),
        (" 3d ", timedelta(days=3)),
        ("+3d", timedelta(days=3)),
    ],
)
def test_cooldown_is_read_with_all_units(text: str, expected: timedelta) -> None:
    """A capital M is a month of 30 days, a small one a minute; a bare number is seconds."""
    assert expected == parse_cooldown(text)


@pytest.mark.parametrize("text", ["", " ", "d", "3 d", "3D", "3y", "500ms", "1d,2h", "three days", "٣d", "1e3"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    """With an example of what is one."""
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_cooldown(text)


@pytest.mark.parametrize("text", ["-1", "-3d", " -1h"])
def test_negative_cooldown_is_refused(text: str) -> None:
    """There is no image from the future to be used."""
    with pytest.raises(ValueError, match="must be non-negative"):
        parse_cooldown(text)


@pytest.mark.parametrize("text", ["11000d", "9" * 400, "9" * 400 + "d"])
def test_endless_cooldown_is_refused(text: str) -> None:
    """Whoever wants no updates has another label for it."""
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_cooldown(text)


@given(st.text(max_size=20))
def test_any_label_is_survived(text: str) -> None:
    """What cannot be read is told, and the default counts."""
    delay, problem = cooldown_of(text, DAY)
    assert problem is None or delay == DAY


@given(st.integers(0, 3000 * 86400))
def test_shown_duration_reads_as_the_same(seconds: int) -> None:
    """People can write what they read."""
    duration = timedelta(seconds=seconds)
    assert duration == parse_cooldown(show_duration(duration))


# ---- deciding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "waits"),
    [(timedelta(0), True), (23 * HOUR, True), (DAY, True), (DAY + timedelta(seconds=1), False), (9 * DAY, False)],
)
def test_image_waits_from_when_we_saw_it(ago: timedelta, waits: bool) -> None:
    """Up to and including the delay."""
    wait = wait_for(DAY, seen(ago), created=None, now=NOON)
    assert (wait is not None) is waits
    assert wait is None or wait.until == NOON - ago + DAY


def test_old_image_that_is_tagged_anew_waits() -> None:
    """Its own date would let it pass at once."""
    wait = wait_for(DAY, seen(HOUR), created=NOON - 400 * DAY, now=NOON)
    assert wait is not None
    assert wait.until == NOON + 23 * HOUR
    assert wait.reason.code is ReasonCode.COOLING_DOWN
    assert wait.reason.text == (
        "a newer image is published and waits until 2024-05-07 11:00:00 UTC: "
        "cooldown of 1d, first seen 2024-05-06 11:00:00 UTC"
    )


def test_later_date_of_the_image_counts() -> None:
    """Our clock was behind when we noted it."""
    wait = wait_for(DAY, seen(9000 * DAY), created=NOON - 2 * HOUR, now=NOON)
    assert wait is not None
    assert wait.until == NOON + 22 * HOUR
    assert "built 2024-05-06 10:00:00 UTC" in wait.reason.text


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), 9000 * DAY])
def test_image_from_the_future_is_judged_by_when_we_saw_it(ahead: timedelta) -> None:
    """It would wait for years otherwise; a note tells that a clock is wrong."""
    assert wait_for(DAY, seen(2 * DAY), created=NOON + ahead, now=NOON) is None
    assert wait_for(DAY, seen(HOUR), created=NOON + ahead, now=NOON) is not None
    assert "in the future" in (date_note(NOON + ahead, NOON) or "")
    assert date_note(NOON, NOON) is None
    assert date_note(None, NOON) is None


def test_first_sight_is_now_and_then_stays() -> None:
    """Unless it was noted by a clock that was ahead."""
    assert sight(IMAGE, DIGEST, None, NOON).since == NOON
    assert sight(IMAGE, DIGEST, NOON - DAY, NOON).since == NOON - DAY
    assert sight(IMAGE, DIGEST, NOON + 900 * DAY, NOON).since == NOON


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (5, "5s"), (90, "1m30s"), (3 * 86400, "3d"), (9 * 86400 + 3600, "1w2d1h"), (0.5, "0.5s")],
)
def test_duration_is_shown_as_it_may_be_written(seconds: float, expected: str) -> None:
    """In the largest units."""
    assert expected == show_duration(timedelta(seconds=seconds))
