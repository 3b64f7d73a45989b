"""The quarantine over HTTP: `GET /quarantine`, `DELETE /quarantine/{name}`, and `DELETE /quarantine` for all of it.

Each answers `{"quarantine": […]}`: the entries that there are, or those that were dropped. A container without an entry
is 404.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from watchtower_async.events import Announcer, QuarantineLifted
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.web.route import (
    A_TEXT,
    A_TIME,
    JSON,
    Answer,
    Endpoint,
    Handler,
    Parameter,
    Route,
    a_list,
    an_object,
)

if TYPE_CHECKING:
    from aiohttp import web

CLEARED = "somebody cleared it"

_ENTRY = an_object(
    {
        **dict.fromkeys(("host", "container", "image", "digest", "reason"), A_TEXT),
        "since": A_TIME,
        "detail": a_list(A_TEXT),
    }
)
_ENTRIES = an_object({"quarantine": a_list(_ENTRY)})


class Quarantine(Protocol):
    """The state, as these answers need it."""

    async def ready(self) -> None:
        """Wait until the state was read."""

    @property
    def quarantined(self) -> tuple[QuarantineEntry, ...]:
        """Return all entries."""

    async def lift_quarantine(self, container: str | None = None) -> tuple[QuarantineEntry, ...]:
        """Drop the entries of a container, or all, and return them."""


class QuarantineRoutes:
    """Answers for one state."""

    def __init__(self, *, quarantine: Quarantine, announcer: Announcer) -> None:
        self._quarantine = quarantine
        self._announcer = announcer

    @property
    def routes(self) -> tuple[Route, ...]:
        """Declare them."""
        name = Parameter(name="name", description="Name of the container.", schema=A_TEXT, place="path")
        return (
            _declare("GET", "/quarantine", "List what failed and is not tried again.", self._show),
            _declare("DELETE", "/quarantine", "Have all of it tried again.", self._clear),
            _declare("DELETE", "/quarantine/{name}", "Have it tried again in one container.", self._clear, name),
        )

    async def _show(self, _request: web.Request) -> web.Response:
        await self._quarantine.ready()
        return _answer(self._quarantine.quarantined)

    async def _clear(self, request: web.Request) -> web.Response:
        await self._quarantine.ready()
        name = request.match_info.get("name")
        lifted = await self._quarantine.lift_quarantine(name)
        for entry in lifted:
            self._announcer.announce(QuarantineLifted(entry, CLEARED))
        return _answer(lifted, status=404 if name is not None and not lifted else 200)


def _declare(method: str, path: str, summary: str, handler: Handler, *parameters: Parameter) -> Route:
    answers = [Answer(status=200, description="The entries.", content_type=JSON, schema=_ENTRIES)]
    if parameters:
        answers.append(Answer(status=404, description="It has none.", content_type=JSON, schema=_ENTRIES))
    return Route(
        method=method,
        path=path,
        endpoint=Endpoint.QUARANTINE,
        summary=summary,
        handler=handler,
        parameters=parameters,
        answers=tuple(answers),
    )


def _answer(entries: Iterable[QuarantineEntry], *, status: int = 200) -> web.Response:
    from aiohttp import web  # noqa: PLC0415 - a plan needs no server

    return web.json_response({"quarantine": [entry.as_json() for entry in entries]}, status=status)
