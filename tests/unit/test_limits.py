"""How often a registry is asked, and for how long it is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watchtower_async.errors import RegistryUnavailableError
from watchtower_async.registry.limits import (
    Account,
    Outages,
    RateGates,
    RateLimit,
    backoff,
    parse_rate_limit,
    retry_after,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = Account("registry.example", "one")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "٣"}, None),
        ({}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT"}, 60),
        ({"Retry-After": "Sun, 01 Mar 2026 11:59:00 GMT"}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 18:01:00 GMT", "Date": "Sun, 01 Mar 2026 18:00:00 GMT"}, 60),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT", "Date": "yesterday"}, 60),
        ({"Retry-After": "Sun, 99 Mar 2026 12:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """A date counts from the reply's own date; what is negative or no number is ignored."""
    assert retry_after(headers, b"", NOON) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ("toomanyrequests: retry-after: 331.163µs, allowed: 44000/minute", 0.000331163),
        ("Retry-After: 1m30s, allowed: 5/minute", 90),
        ("retry-after: 2h", 7200),
        ("slow down", None),
        ("retry-after: soon", None),
    ],
)
def test_retry_after_may_be_in_the_text(body: str, seconds: float | None) -> None:
    """GHCR writes it into the body, as Go writes durations."""
    assert retry_after({}, body.encode(), NOON) == pytest.approx(seconds)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 1), (2, 2), (3, 4)])
def test_backoff_doubles_and_has_full_jitter(attempt: int, longest: float) -> None:
    """Anything from nothing to the whole pause, so that a fleet does not come back in step."""
    assert backoff(attempt, 0.0) == 0
    assert backoff(attempt, 1.0) == longest


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("100;w=21600", "76;w=21600", RateLimit(100, 76, 21600)),
        ("100; w=21600", "0", RateLimit(100, 0, 21600)),
        ("100", "76", RateLimit(100, 76, None)),
        ("many", "76", None),
        ("", "", None),
    ],
)
def test_pull_limit_of_docker_hub_is_read(limit: str, remaining: str, expected: RateLimit | None) -> None:
    """The numbers change, so they are read and not known."""
    assert parse_rate_limit({"ratelimit-limit": limit, "ratelimit-remaining": remaining}) == expected


def closed(gates: RateGates, *, sent_at: float, now: float, wait: float | None = None) -> None:
    """Note a 429 without jitter."""
    gates.close(ACCOUNT, sent_at=sent_at, now=now, wait=wait, draw=0.0)


def test_gate_stays_closed_for_the_time_named() -> None:
    """Nobody asks before, and everybody may after."""
    gates = RateGates()
    closed(gates, sent_at=0, now=1, wait=30)
    assert gates.seconds_left(ACCOUNT, 1) == 30
    assert gates.seconds_left(ACCOUNT, 31) == 0


def test_gate_is_that_of_one_account() -> None:
    """Another credential, or another registry, has its own limit."""
    gates = RateGates()
    closed(gates, sent_at=0, now=1, wait=30)
    assert gates.seconds_left(Account("registry.example", "two"), 1) == 0
    assert gates.seconds_left(Account("other.example", "one"), 1) == 0


def test_answers_to_requests_under_way_together_count_once() -> None:
    """Eight connections that get 429 at the same time are one refusal."""
    gates = RateGates()
    for number in range(8):
        closed(gates, sent_at=0, now=1 + number / 100, wait=5)
    assert not gates.is_hopeless(ACCOUNT)


def test_three_refusals_in_a_row_are_hopeless_for_a_minute() -> None:
    """Waiting did not help, so nobody waits any more."""
    gates = RateGates()
    for start in (0, 10, 20):
        closed(gates, sent_at=start, now=start + 1)
    assert gates.is_hopeless(ACCOUNT)
    assert gates.seconds_left(ACCOUNT, 21) == 60


def test_answer_sent_for_after_the_refusal_opens_the_gate() -> None:
    """What was under way before says nothing."""
    gates = RateGates()
    closed(gates, sent_at=0, now=2, wait=5)
    gates.passed(ACCOUNT, sent_at=1)
    assert gates.seconds_left(ACCOUNT, 2) == 5
    gates.passed(ACCOUNT, sent_at=7)
    assert gates.seconds_left(ACCOUNT, 2) == 0


def unavailable(*, connected: bool) -> RegistryUnavailableError:
    """Return a failure."""
    return RegistryUnavailableError("down", host="registry.example", connected=connected)


def test_refused_connection_is_shared_for_ten_seconds() -> None:
    """Two hundred images do not try a dead registry one after the other."""
    outages = Outages()
    outages.failed("registry.example", unavailable(connected=False), now=100)
    shared = outages.current("registry.example", 109)
    assert shared is not None
    assert not shared.connected
    assert outages.current("registry.example", 110) is None
    assert outages.current("other.example", 100) is None


def test_time_outs_are_shared_after_the_third_in_a_row() -> None:
    """One slow image says nothing about the others, and any answer starts the count anew."""
    outages = Outages()
    for _ in range(2):
        outages.failed("registry.example", unavailable(connected=True), now=100)
    assert outages.current("registry.example", 100) is None
    outages.answered("registry.example")
    for _ in range(2):
        outages.failed("registry.example", unavailable(connected=True), now=100)
    assert outages.current("registry.example", 100) is None
    outages.failed("registry.example", unavailable(connected=True), now=100)
    assert outages.current("registry.example", 100) is not None
