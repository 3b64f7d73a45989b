"""The monitor that hears of each session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from watchtower_async.notify.heartbeat import Heartbeat, heartbeat_url, parse_heartbeat_url

SECRET = "5f1c9b1e-0c1d-4d4e-9d61-0a1b2c3d4e5f"
PING = f"https://hc-ping.com/{SECRET}"
MONITOR = "https://hc-ping.com/***"


class AnswerOfToday(aiohttp.ClientResponse):
    """An answer with the stream writer that aiohttp 3.14 asks for and aioresponses 0.7.9 does not give."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, stream_writer=Mock(output_size=0), **more)


@pytest.fixture
def http() -> Iterator[aioresponses]:
    """Answers for requests that do not leave the process."""
    with aioresponses() as answers:
        yield answers


def bodies(http: aioresponses, url: str) -> list[bytes]:
    """Return what was sent to a URL."""
    return [call.kwargs["data"] for call in http.requests.get(("POST", URL(url)), [])]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PING, f"{PING}/fail"),
        (f"{PING}/", f"{PING}/fail"),
        (f"{PING}?rid=7", f"{PING}/fail?rid=7"),
        ("http://hc.example.com:8000/ping/key/slug", "http://hc.example.com:8000/ping/key/slug/fail"),
    ],
)
def test_failure_has_a_path_of_its_own(url: str, expected: str) -> None:
    """Parameters stay behind it, and success is the URL as it is given."""
    assert expected == heartbeat_url(url, is_good=False)
    assert url == heartbeat_url(url, is_good=True)


@pytest.mark.parametrize("text", [SECRET, f"ftp://x/{SECRET}", f"https:///{SECRET}", f"https://[{SECRET}/"])
def test_what_is_no_url_is_refused_without_being_shown(text: str) -> None:
    """The URL is a secret."""
    with pytest.raises(ValueError, match="http or https") as caught:
        parse_heartbeat_url(text)
    assert SECRET not in str(caught.value)


async def test_good_session_is_told_with_its_text(http: aioresponses) -> None:
    """The monitor shows it."""
    http.post(PING, status=200, response_class=AnswerOfToday)
    answer = await Heartbeat(PING).beat(is_good=True, text="2 Scanned, 1 Updated, 0 Failed")
    assert (answer.service, answer.is_ok) == (MONITOR, True)
    assert bodies(http, PING) == [b"2 Scanned, 1 Updated, 0 Failed"]


async def test_bad_session_is_told_as_failure(http: aioresponses) -> None:
    """So that somebody is called."""
    http.post(f"{PING}/fail", status=200, response_class=AnswerOfToday)
    answer = await Heartbeat(PING).beat(is_good=False, text="the engine cannot be reached")
    assert answer.is_ok
    assert bodies(http, f"{PING}/fail") == [b"the engine cannot be reached"]


@pytest.mark.looptime
async def test_monitor_that_fails_for_a_moment_is_called_again(http: aioresponses) -> None:
    """A missed beat would raise a false alarm."""
    http.post(PING, exception=aiohttp.ClientConnectionError(f"cannot connect to {PING}"))
    http.post(PING, status=503, response_class=AnswerOfToday)
    http.post(PING, status=200, response_class=AnswerOfToday)
    assert (await Heartbeat(PING).beat(is_good=True)).is_ok
    assert len(bodies(http, PING)) == 3


async def test_unknown_check_is_not_called_again(http: aioresponses) -> None:
    """It stays unknown until its owner changes the URL."""
    http.post(PING, status=404, response_class=AnswerOfToday)
    answer = await Heartbeat(PING).beat(is_good=True)
    assert (answer.is_ok, answer.text) == (False, "HTTP status 404")


@pytest.mark.looptime
async def test_monitor_that_cannot_be_reached_costs_nothing_but_its_answer(http: aioresponses) -> None:
    """And what it says does not hold the URL."""
    http.post(PING, exception=aiohttp.ClientConnectionError(f"cannot connect to {PING}"), repeat=True)
    heartbeat = Heartbeat(PING)
    answer = await heartbeat.beat(is_good=True)
    assert (answer.is_ok, answer.text) == (False, "it cannot be reached (ClientConnectionError)")
    assert SECRET not in f"{answer!r} {heartbeat!r}"
