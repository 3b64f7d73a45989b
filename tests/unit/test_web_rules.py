"""The decisions of the HTTP API that need no socket: rates, proxies, parameters."""

from __future__ import annotations

import pytest

from watchtower_async.web.client_address import client_address, parse_networks
from watchtower_async.web.query import go_duration, parse_words
from watchtower_async.web.rate_limit import MOST_CLIENTS, RateLimiter

TRUSTED = parse_networks(["10.0.0.0/8", "192.0.2.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 192.0.2.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: str, client: str) -> None:
    """What stands left of it is the client's own claim."""
    assert client == client_address(peer, forwarded, TRUSTED)


def test_rate_is_that_of_a_minute_that_slides() -> None:
    """What came a minute ago counts by the part that the window still covers."""
    limiter = RateLimiter(10)
    assert [limiter.admits("a", 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert not limiter.admits("a", 60.0)
    assert [limiter.admits("a", 90.0) for _ in range(4)] == [True, True, True, False]
    assert limiter.admits("a", 240.0)


def test_clients_do_not_share_a_rate_and_a_network_of_ipv6_does() -> None:
    """A subscriber has a whole network to send from."""
    limiter = RateLimiter(1)
    assert limiter.admits("203.0.113.1", 0)
    assert limiter.admits("203.0.113.2", 0)
    assert limiter.admits("2001:db8::1", 0)
    assert not limiter.admits("2001:db8::ffff", 0)
    assert limiter.admits("2001:db8:0:1::1", 0)


def test_number_of_clients_is_bounded() -> None:
    """Who was silent longest is forgotten first."""
    limiter = RateLimiter(1)
    for number in range(MOST_CLIENTS + 1):
        limiter.admits(str(number), 0)
    assert limiter.admits("0", 0)
    assert not limiter.admits(str(MOST_CLIENTS), 0)


@pytest.mark.parametrize("limit", [0, -5])
def test_rate_limit_of_nothing_is_the_default(limit: int) -> None:
    """60, as for Watchtower."""
    limiter = RateLimiter(limit)
    assert sum(limiter.admits("a", 0) for _ in range(100)) == 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0123, "12ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (62.5, "1m2.5s"), (3723.001, "1h2m3.001s")],
)
def test_duration_is_written_as_go_does(seconds: float, text: str) -> None:
    """Programs written for Watchtower parse it."""
    assert text == go_duration(seconds)


def test_words_come_from_repeats_and_lists() -> None:
    """Each once, in order."""
    assert parse_words(["a, b", "", "c,a,"]) == ("a", "b", "c")
