"""How many requests one client may send in a minute. Pure: the caller gives the time.

The minute slides: what came in the minute before counts in part, by how much of it the window still covers. So each
client costs two numbers, and there are at most so many clients; the one that was silent longest is forgotten first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
DEFAULT_LIMIT = 60
MOST_CLIENTS = 10_000
_IPV6_SUBSCRIBER_BITS = 64


@dataclass(slots=True)
class _Window:
    number: int
    count: int = 0
    before: int = 0
    """Requests in the window before this one."""


class RateLimiter:
    """Counts the requests of each client."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """0 and less is the default, as for Watchtower."""
        self._limit = limit if limit > 0 else DEFAULT_LIMIT
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def admits(self, client: str, now: float) -> bool:
        """Count a request, and say whether it may be answered. What is refused counts too."""
        number, position = divmod(now, WINDOW_SECONDS)
        window = self._window_of(_key_of(client), int(number))
        window.count += 1
        still_covered = 1 - position / WINDOW_SECONDS
        return window.count + window.before * still_covered <= self._limit

    def _window_of(self, key: str, number: int) -> _Window:
        window = self._windows.get(key) or _Window(number)
        if window.number != number:
            window = _Window(number, before=window.count if window.number == number - 1 else 0)
        self._windows[key] = window
        self._windows.move_to_end(key)
        if len(self._windows) > MOST_CLIENTS:
            self._windows.popitem(last=False)
        return window


def _key_of(client: str) -> str:
    """Return who is counted: an IPv6 subscriber has a whole network to send from (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((int(address), _IPV6_SUBSCRIBER_BITS), strict=False))
