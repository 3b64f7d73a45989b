"""Which containers have their turn, and when is the next wake-up?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from watchtower_async.updates.agenda import Agenda, Turns, draw_up, first_turns
from watchtower_async.updates.schedule import Interval, Schedule, parse_schedule
from watchtower_async.updates.zone import parse_zone

START = datetime(2024, 7, 8, 12, 0, 0, tzinfo=UTC)
EVERY_HOUR = Interval(timedelta(hours=1))
NIGHTLY = "0 0 4 * * *"


def after(**parts: int) -> datetime:
    """Return a moment after the start."""
    return START + timedelta(**parts)


def look(
    turns: Turns[str], labels: Mapping[str, str | None], at: datetime, common: Schedule = EVERY_HOUR, zone: str = "UTC"
) -> Agenda[str]:
    """Draw up the agenda of one moment."""
    return draw_up(turns, labels=labels, common=common, zone=parse_zone(zone), at=at)


def looked_at_start(labels: Mapping[str, str | None], common: Schedule = EVERY_HOUR) -> Turns[str]:
    """Return where schedules are counted from after the look at the start."""
    return look(first_turns(START), labels, START, common).turns


def test_nothing_is_due_at_the_start() -> None:
    """Whoever wants a session then asks for it by another setting."""
    agenda = look(first_turns(START), {"web": None, "db": "@every 10m"}, START)

    assert frozenset() == agenda.due
    assert not agenda.common_is_due
    assert after(minutes=10) == agenda.next_wake_up


def test_own_schedule_has_its_turn_alone() -> None:
    """At its times only its container is due."""
    labels = {"web": None, "db": "@every 10m"}
    agenda = look(looked_at_start(labels), labels, after(minutes=10, seconds=3))

    assert frozenset({"db"}) == agenda.due
    assert not agenda.common_is_due
    assert after(minutes=20) == agenda.next_wake_up


def test_common_schedule_leaves_out_those_with_their_own() -> None:
    """Their owner has said when."""
    labels = {"web": None, "plain": "  ", "db": NIGHTLY}
    agenda = look(looked_at_start(labels), labels, after(hours=1))

    assert frozenset({"web", "plain"}) == agenda.due
    assert agenda.common_is_due


def test_schedules_that_are_due_together_share_a_session() -> None:
    """Both turns are taken, so neither is due again."""
    labels = {"web": None, "db": "@every 30m"}
    agenda = look(looked_at_start(labels), labels, after(hours=1))

    assert frozenset({"web", "db"}) == agenda.due
    assert after(minutes=90) == agenda.next_wake_up


def test_turns_that_were_missed_are_taken_once() -> None:
    """A session that takes longer than the interval is not made up for."""
    labels = {"db": "@every 10m", "web": None}
    late = look(looked_at_start(labels), labels, after(minutes=47))
    again = look(late.turns, labels, after(minutes=48))

    assert frozenset({"db"}) == late.due
    assert after(minutes=50) == late.next_wake_up
    assert frozenset() == again.due


def test_common_schedule_wakes_up_when_nobody_follows_it() -> None:
    """New containers are noticed then."""
    labels: dict[str, str | None] = {"db": NIGHTLY}
    agenda = look(looked_at_start(labels), labels, after(hours=1))

    assert frozenset() == agenda.due
    assert agenda.common_is_due
    assert after(hours=2) == agenda.next_wake_up


def test_new_container_is_due_with_those_of_the_same_times() -> None:
    """It counts from the last look, so that it does not wait for a whole round."""
    turns = looked_at_start({"old": NIGHTLY}, common=parse_schedule(NIGHTLY, zone=UTC))
    night = datetime(2024, 7, 9, 4, 0, 0, 200, tzinfo=UTC)

    assert frozenset({"old", "new"}) == look(turns, {"old": NIGHTLY, "new": NIGHTLY}, night).due


def test_new_container_counts_from_the_last_look() -> None:
    """It was not there then; an earlier look has nothing to do with it."""
    turns = look(looked_at_start({"db": "@every 20m"}), {"db": "@every 20m"}, after(minutes=20)).turns
    agenda = look(turns, {"db": "@every 20m", "new": "@every 30m"}, after(minutes=40))

    assert frozenset({"db"}) == agenda.due
    assert after(minutes=50) == agenda.next_wake_up


def test_changed_label_counts_anew() -> None:
    """What the new schedule would have been before it was set is not made up for."""
    turns = looked_at_start({"db": "@every 720h"})
    turns = look(turns, {"db": "@every 720h"}, after(days=5)).turns
    agenda = look(turns, {"db": "0 0 0 * * *"}, after(days=5, hours=2))

    assert frozenset() == agenda.due
    assert agenda.turns.own["db"].label == "0 0 0 * * *"


def test_container_that_is_gone_is_forgotten() -> None:
    """Its times wake nobody up."""
    agenda = look(looked_at_start({"db": "@every 1m"}), {}, after(minutes=1))

    assert agenda.turns.own == {}
    assert after(hours=1) == agenda.next_wake_up


def test_invalid_label_is_told_and_its_container_follows_the_common_schedule() -> None:
    """It is not left out in silence."""
    labels = {"web": "every night", "db": None}
    agenda = look(looked_at_start(labels), labels, after(hours=1))

    assert frozenset({"web", "db"}) == agenda.due
    assert {"web"} == set(agenda.problems)
    assert "watchtower-async.schedule" in agenda.problems["web"]
    assert "2 fields" in agenda.problems["web"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [(NIGHTLY, "2024-07-09T04:00:00+02:00"), (f"TZ=America/New_York {NIGHTLY}", "2024-07-09T04:00:00-04:00")],
)
def test_label_is_read_in_the_common_zone_unless_it_names_one(label: str, expected: str) -> None:
    """As the schedule of the command line is."""
    yearly = parse_schedule("@yearly", zone=UTC)
    agenda = look(first_turns(START), {"db": label}, START, common=yearly, zone="Europe/Berlin")

    assert datetime.fromisoformat(expected) == agenda.next_wake_up
