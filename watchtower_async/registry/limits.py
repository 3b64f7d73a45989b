"""How often a registry is asked, and how long it is waited for. Decisions only; `pacing` does the waiting.

* A failed request is sent at most three times, with pauses drawn from 1 and 2 seconds (full jitter).
* 429 closes the gate of that registry and credential: no image fails by itself, all wait together. After three 429s
  in a row, or when the registry names a time too far away, all of them get the answer at once.
* A registry that cannot be reached is not tried again by every image that waits for its turn.

Times are seconds of the loop's clock, given by the caller, except dates in header fields (RFC 9110 section 10.2.3).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from watchtower_async.errors import RegistryUnavailableError

RETRIED_STATUSES = frozenset({408, 500, 502, 503, 504})

_STRIKES = 3
_PAUSE_AFTER_STRIKES = 60.0
_LONGEST_SECONDS = 10 * 366 * 86400.0
_DOWN_SECONDS = 10.0
_TIME_OUTS_IN_A_ROW = 3
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_WINDOW = re.compile(r"([0-9]{1,12})[ \t]*(?:;[ \t]*w=([0-9]{1,12}))?", re.ASCII)
# GHCR puts it into the text: `retry-after: 331.163µs, allowed: 44000/minute`, a duration as Go writes it.
_GO_DURATION_FIELD = re.compile(
    rb"retry-after:[ \t]*((?:[0-9]+(?:\.[0-9]+)?(?:ns|us|\xc2\xb5s|ms|s|m|h))+)", re.IGNORECASE
)
_GO_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What a client allows itself and a registry."""

    connect_seconds: float = 10.0
    """Until a connection stands: name, TCP and TLS."""
    request_seconds: float = 30.0
    """For one request with its redirects and its body."""
    check_seconds: float = 60.0
    """For all requests about one image, not counting the time it waits for its turn."""
    per_host: int = 8
    in_all: int = 32
    attempts: int = 3
    longest_wait_seconds: float = 300.0
    """For how long one image waits, in all, for a registry that limits its rate."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What Docker Hub tells about its pull limit: `76` of `100` left in a window of 21600 seconds."""

    limit: int
    remaining: int
    window_seconds: int | None = None


def retry_after(headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Return for how many seconds a registry wants to be left alone, None when it does not say.

    A date counts from the reply's own `Date`, so that a wrong clock on either side does no harm; `now` stands in.
    """
    text = headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(text):
        return min(float(text), _LONGEST_SECONDS)
    date = _http_date(text)
    if date is not None:
        sent = _http_date(headers.get("Date", "")) or now
        seconds = (date - sent).total_seconds()
        return min(seconds, _LONGEST_SECONDS) if seconds >= 0 else None
    in_body = _GO_DURATION_FIELD.search(body[:4096])
    if in_body is None:
        return None
    parts = _GO_DURATION_PART.findall(in_body[1].decode("utf-8", "replace").lower())
    return min(sum(float(number) * _GO_UNITS[unit] for number, unit in parts), _LONGEST_SECONDS)


def backoff(attempt: int, draw: float) -> float:
    """Return the pause after the given attempt (from 1): `draw`, between 0 and 1, of 1 s, 2 s, 4 s."""
    return draw * float(2 ** (attempt - 1))


def parse_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Read Docker Hub's `ratelimit-limit` and `ratelimit-remaining`, None where they are missing or malformed."""
    limit = _WINDOW.fullmatch(headers.get("ratelimit-limit", "").strip())
    remaining = _WINDOW.fullmatch(headers.get("ratelimit-remaining", "").strip())
    if limit is None or remaining is None:
        return None
    return RateLimit(int(limit[1]), int(remaining[1]), int(limit[2]) if limit[2] else None)


@dataclass(frozen=True, slots=True)
class Account:
    """Who is counted by a rate limit: one credential at one registry."""

    host: str
    fingerprint: str


@dataclass(slots=True)
class _Gate:
    closed_at: float
    opens_at: float
    strikes: int = 0


class RateGates:
    """The gates of all accounts that got a 429; the others have none."""

    def __init__(self) -> None:
        self._gates: dict[Account, _Gate] = {}

    def seconds_left(self, account: Account, now: float) -> float:
        """Return for how long the account must not ask, 0 when it may."""
        gate = self._gates.get(account)
        return 0.0 if gate is None else max(0.0, gate.opens_at - now)

    def is_hopeless(self, account: Account) -> bool:
        """Say whether waiting did not help: three 429s in a row, each after the wait that was asked for."""
        gate = self._gates.get(account)
        return gate is not None and gate.strikes >= _STRIKES

    def close(self, account: Account, *, sent_at: float, now: float, wait: float | None, draw: float) -> None:
        """Note a 429 for a request sent at `sent_at`. Requests that were under way together count once."""
        gate = self._gates.get(account)
        if gate is None:
            gate = self._gates[account] = _Gate(closed_at=-math.inf, opens_at=-math.inf)
        if sent_at > gate.closed_at:
            gate.strikes += 1
            gate.closed_at = now
        pause = backoff(min(gate.strikes, _STRIKES), draw) + (wait or 0.0)
        if gate.strikes >= _STRIKES:
            pause = max(pause, _PAUSE_AFTER_STRIKES)
        gate.opens_at = max(gate.opens_at, now + pause)

    def passed(self, account: Account, *, sent_at: float) -> None:
        """Note that a request was let through."""
        gate = self._gates.get(account)
        if gate is not None and sent_at > gate.closed_at:
            del self._gates[account]

    def forget(self, host: str) -> None:
        """Open the gates of a registry, whoever asks."""
        for account in [account for account in self._gates if account.host == host]:
            del self._gates[account]


@dataclass(slots=True)
class _Outage:
    error: RegistryUnavailableError
    strikes: int
    until: float


class Outages:
    """Registries that did not answer a moment ago.

    One failed connection is enough; time-outs are counted, because one slow image says nothing about the others.
    """

    def __init__(self) -> None:
        self._outages: dict[str, _Outage] = {}

    def current(self, host: str, now: float) -> RegistryUnavailableError | None:
        """Return the failure that all checks of this registry share at the moment."""
        outage = self._outages.get(host)
        if outage is None or now >= outage.until:
            return None
        return RegistryUnavailableError(str(outage.error), host=outage.error.host, connected=outage.error.connected)

    def failed(self, host: str, error: RegistryUnavailableError, now: float) -> None:
        """Note that a check got no answer."""
        earlier = self._outages.get(host)
        strikes = 1 + (earlier.strikes if earlier else 0)
        is_down = not error.connected or strikes >= _TIME_OUTS_IN_A_ROW
        self._outages[host] = _Outage(error, strikes, now + _DOWN_SECONDS if is_down else now)

    def answered(self, host: str) -> None:
        """Note that a registry answered, whatever it said."""
        self._outages.pop(host, None)


def _http_date(text: str) -> datetime | None:
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
