"""Tells a monitor that sessions still take place, so that somebody hears of it when they do not.

The forms are those of Healthchecks (https://healthchecks.io/docs/http_api/): a good end is a POST to the URL as it is,
a bad one to the URL with `/fail` behind its path. The body says what happened. The URL is a secret: who has it can
pretend that all is well.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import aiohttp
import anyio

from watchtower_async.notify.courier import Answer

_LONGEST_BODY = 10_000
_PAUSE_SECONDS = 1.0
_TRIES = 3


def heartbeat_url(url: str, *, is_good: bool) -> str:
    """Return the URL to call after a session."""
    if is_good:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))


def parse_heartbeat_url(text: str) -> str:
    """Read the URL. Raises ValueError with a reason that can be shown."""
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError("expected the http or https URL of a monitor")
    return text.strip()


class Heartbeat:
    """Calls the monitor after each session."""

    def __init__(self, url: str, *, deadline: float = 20.0) -> None:
        """`deadline` is in seconds, for all tries together."""
        self._url = url
        self._deadline = deadline
        parts = urlsplit(url)
        self._name = f"{parts.scheme}://{parts.hostname or ''}/***"

    def __repr__(self) -> str:
        return f"Heartbeat({self._name})"

    async def beat(self, *, is_good: bool, text: str = "") -> Answer:
        """Tell how a session ended, and try again where the monitor cannot be reached; every end is an answer."""
        answer = Answer(self._name, is_ok=False, text="it was not called")
        with anyio.move_on_after(self._deadline) as scope:
            for attempt in range(_TRIES):
                if attempt:
                    await anyio.sleep(_PAUSE_SECONDS * attempt)
                answer = await self._call(heartbeat_url(self._url, is_good=is_good), text)
                if answer.is_ok or answer.is_final:
                    break
        if scope.cancelled_caught:
            return Answer(self._name, is_ok=False, text=f"it did not answer within {self._deadline:g} seconds")
        return answer

    async def _call(self, url: str, text: str) -> Answer:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._deadline)) as client,
                client.post(url, data=text.encode(errors="replace")[:_LONGEST_BODY], allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            # Its text may hold the URL.
            return Answer(self._name, is_ok=False, text=f"it cannot be reached ({type(error).__name__})")
        return Answer(
            self._name,
            is_ok=200 <= status < 300,
            text=f"HTTP status {status}",
            is_final=400 <= status < 500 and status != 429,
        )
