"""The start-up message, as people know it from Watchtower."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog
from structlog.testing import capture_logs

from watchtower_async.settings import build_settings
from watchtower_async.telemetry.sentences import log_sentence
from watchtower_async.telemetry.start_up import StartUp, Surroundings, in_words, say, start_up

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 1, 2, 15, 4, 5, tzinfo=BERLIN)
TOKEN = "s3cr3t-marker"


def a_message(environ: Mapping[str, str] | None = None, *, names: tuple[str, ...] = (), **found: Any) -> StartUp:
    """Return the message for these variables."""
    settings = build_settings(command_line={}, environ=dict(environ or {}), names=names, secret_of=lambda text: text)
    usual: dict[str, Any] = {
        "version": "1.2.3",
        "api_version": (1, 51),
        "now": NOW,
        "first_session": NOW + timedelta(hours=23, minutes=59, seconds=59),
    }
    return start_up(settings, Surroundings(**usual | found))


def sentences(message: StartUp) -> list[str]:
    """Return what people read."""
    return [log_sentence(line.event, line.values) for line in message.lines]


def test_message_without_settings_has_watchtowers_lines_in_their_order() -> None:
    """Version, notifications, filter, and the first run twice: when, and how long until then."""
    assert sentences(a_message()) == [
        "Watchtower 1.2.3 using Docker API v1.51",
        "Using no notifications",
        "Checking all containers (except explicitly disabled with label) without a scope",
        "Scheduling first run: 2024-01-03 15:04:04 +0100 CET",
        "Note that the first check will be performed in 23 hours, 59 minutes, 59 seconds",
    ]


def test_message_tells_all_that_is_switched_on() -> None:
    """Services by scheme, every filter, the scope, and where the API listens."""
    environ = {
        "WATCHTOWER_HTTP_API_ENDPOINTS": "metrics",
        "WATCHTOWER_HTTP_API_TOKEN": TOKEN,
        "WATCHTOWER_LABEL_ENABLE": "true",
    }
    message = a_message(environ, names=("a", "b"), scope="x", services=("smtp", "slack", "smtp"))
    shown = sentences(message)
    assert shown[1:3] == [
        "Using notifications: smtp, slack",
        'Only checking containers which name matches "a" or "b", using enable label, in scope "x"',
    ]
    assert shown[-1] == "The HTTP API is enabled at :8080."
    assert TOKEN not in repr(message)


@pytest.mark.parametrize(
    ("environ", "which"),
    [
        ({"WATCHTOWER_DISABLE_CONTAINERS": "c d"}, 'not named one of "c" or "d"'),
        ({"WATCHTOWER_MONITOR_IMAGE_NAMES": "nginx"}, 'which image matches "nginx"'),
        ({"WATCHTOWER_SKIP_IMAGE_NAMES": "redis:7"}, 'whose image is not one of "redis:7"'),
        ({"WATCHTOWER_LABEL_ENABLE": "true"}, "using enable label"),
        ({"WATCHTOWER_ENABLE_CONTAINERS_BY_LABEL": "k=v,k2="}, 'with label k="v" or k2'),
        ({"WATCHTOWER_DISABLE_CONTAINERS_BY_LABEL": "k=v"}, 'without label k="v"'),
    ],
)
def test_filter_is_described(environ: Mapping[str, str], which: str) -> None:
    """Each in its words, and always the scope."""
    assert f"Only checking containers {which}, without a scope" == sentences(a_message(environ))[2]


@pytest.mark.parametrize(
    ("scope", "sentence"),
    [
        ("x", 'Only checking containers in scope "x"'),
        ("none", "Checking all containers (except explicitly disabled with label) without a scope"),
    ],
)
def test_scope_alone_is_a_filter(scope: str, sentence: str) -> None:
    """Also where it comes from the updater's own label and not from the settings."""
    assert sentence == sentences(a_message(scope=scope))[2]


def test_one_time_update_has_neither_schedule_nor_api() -> None:
    """Nobody can ask before it is over."""
    environ = {
        "WATCHTOWER_RUN_ONCE": "true",
        "WATCHTOWER_HTTP_API_UPDATE": "true",
        "WATCHTOWER_HTTP_API_TOKEN": TOKEN,
    }
    assert sentences(a_message(environ))[3:] == ["Running a one time update."]


@pytest.mark.parametrize(
    ("environ", "is_periodic"),
    [
        ({"WATCHTOWER_HTTP_API_UPDATE": "true"}, False),
        ({"WATCHTOWER_HTTP_API_ENDPOINTS": "update"}, False),
        ({"WATCHTOWER_HTTP_API_ENDPOINTS": "metrics"}, True),
        ({"WATCHTOWER_HTTP_API_UPDATE": "true", "WATCHTOWER_HTTP_API_PERIODIC_POLLS": "true"}, True),
    ],
)
def test_updates_by_request_take_the_schedules_place_unless_both_are_wanted(
    environ: Mapping[str, str], is_periodic: bool
) -> None:
    """As in Watchtower."""
    shown = sentences(a_message({**environ, "WATCHTOWER_HTTP_API_TOKEN": TOKEN}))
    assert is_periodic == any(text.startswith("Scheduling first run") for text in shown)
    assert is_periodic != ("Periodic runs are not enabled." in shown)


@pytest.mark.parametrize(("host", "address"), [("", ":8080"), ("127.0.0.1", "127.0.0.1:8080"), ("::1", "[::1]:8080")])
def test_address_of_the_api_is_told_as_it_is_written(host: str, address: str) -> None:
    """Without a host it is all interfaces."""
    environ = {
        "WATCHTOWER_HTTP_API_ENDPOINTS": "health",
        "WATCHTOWER_HTTP_API_HOST": host,
        "WATCHTOWER_HTTP_API_TOKEN": TOKEN,
    }
    last = a_message(environ).lines[-1]
    assert f"The HTTP API is enabled at {address}." == log_sentence(last.event, last.values)
    assert {"address": address, "tls": False} == last.values


def test_zone_without_a_name_is_told_by_its_offset() -> None:
    """A fixed offset has none that people know."""
    first = datetime(2024, 7, 1, 4, 0, tzinfo=timezone(timedelta(hours=2), ""))
    assert sentences(a_message(first_session=first))[3] == "Scheduling first run: 2024-07-01 04:00:00 +0200"


def test_time_that_has_come_already_is_no_wait() -> None:
    """A start may take longer than the schedule's first time is away."""
    shown = sentences(a_message(first_session=NOW - timedelta(seconds=3)))
    assert shown[4] == "Note that the first check will be performed in 0 seconds"


def test_message_that_is_not_wanted_is_empty() -> None:
    """Neither logged nor notified."""
    assert a_message({"WATCHTOWER_NO_STARTUP_MESSAGE": "true"}).lines == ()


def test_message_is_logged_line_by_line_with_its_values() -> None:
    """Programs read the values, such as the engine's address."""
    with capture_logs() as entries:
        say(a_message(about={"engine": "unix:///x"}), structlog.get_logger())
    assert entries[:2] == [
        {
            "event": "updater.started", "log_level": "info", "version": "1.2.3", "api_version": "1.51",
            "engine": "unix:///x",
        },
        {"event": "notifications.none", "log_level": "info"},
    ]  # fmt: skip
    assert len(entries) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (0.9, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (3601, "1 hour, 1 second"),
        (86399, "23 hours, 59 minutes, 59 seconds"),
        (90000, "25 hours"),
    ],
)
def test_duration_in_words(seconds: float, text: str) -> None:
    """Hours are the largest unit, and a part that is zero is left out."""
    assert text == in_words(timedelta(seconds=seconds))
