"""Which facts belong to which session, where one goes on beside the next."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.test_metrics import an_item
from watchtower_async.events import ContainerJudged, DependentRestarted, Event, SessionFailed, SessionStarted
from watchtower_async.tally import Tallies, Tally
from watchtower_async.updates.plan import Action

UNKNOWN = ContainerJudged(replace(an_item(), action=Action.UNKNOWN))
RESTARTED = DependentRestarted("web", "db", is_recreated=False, problem=None)


def tallies_after(*events: Event) -> Tallies:
    """Return what was counted."""
    tallies = Tallies()
    for event in events:
        tallies.take_in(event)
    return tallies


def test_facts_of_one_session_are_its_own() -> None:
    """The next one begins at nothing."""
    tallies = tallies_after(SessionStarted("a", "e"), UNKNOWN, ContainerJudged(an_item()), RESTARTED, UNKNOWN)
    assert tallies.close("a") == Tally(unknown=2, restarted=1)
    tallies.take_in(SessionStarted("b", "e"))
    assert tallies.close("b") == Tally()


def test_session_that_goes_on_beside_the_next_one_keeps_its_numbers() -> None:
    """What is judged then is the new one's; what is restarted is the old one's, whose turn it is."""
    tallies = tallies_after(
        SessionStarted("a", "e"),
        UNKNOWN,
        SessionStarted("b", "e"),
        UNKNOWN,
        UNKNOWN,
        RESTARTED,
        SessionFailed("a", "x"),
    )
    assert tallies.close("a") == Tally(unknown=1, restarted=1, has_failed=True)
    assert tallies.close("b") == Tally(unknown=2)


def test_restart_that_did_not_work_and_one_outside_of_a_session_are_not_counted() -> None:
    """The latter is of a rollout that was resumed later."""
    tallies = tallies_after(RESTARTED, UNKNOWN, SessionFailed("z", "x"), SessionStarted("a", "e"))
    tallies.take_in(DependentRestarted("web", "db", is_recreated=True, problem="it is gone"))
    assert tallies.close("a") == Tally()
    assert tallies.close("never heard of") == Tally()
