"""Whether the process is alive, ready and started. `judge` decides; the routes ask and answer.

* Alive: the loop that runs sessions goes on. A session may take as long as it needs, but one that is due and does not
  begin means that nothing will happen any more until the process is started again.
* Ready: started, alive, and the engine answers.
* Well, for `--health-check`: ready, and the last session could be carried through.

Nobody needs a token to ask, so these answers hold one word. The reasons are in the log, and on the control socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio

from watchtower_async.web.control import Health
from watchtower_async.web.history import utc_now
from watchtower_async.web.ports import Clock, Status, Vitals
from watchtower_async.web.route import A_TEXT, JSON, Access, Answer, Endpoint, Handler, Route, an_object

if TYPE_CHECKING:
    from aiohttp import web

ENGINE_SECONDS = 3.0
"""For a sign of life of the engine. Less than `--health-check` waits for the whole answer."""
DUE_GRACE = timedelta(minutes=2)
"""How late a session may begin: a busy machine, and a clock that was set."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, in the words for people; None where nothing is."""

    starting: bool
    stalled: str | None
    engine: str | None
    last_session: str | None

    @property
    def is_alive(self) -> bool:
        """Say whether the process does its work, or will."""
        return self.stalled is None

    @property
    def is_ready(self) -> bool:
        """Say whether a session could run now."""
        return self.is_alive and not self.starting and self.engine is None

    @property
    def is_well(self) -> bool:
        """Say whether nothing needs a look."""
        return self.is_ready and self.last_session is None


def judge(vitals: Vitals, now: datetime, *, engine_problem: str | None = None) -> Judgement:
    """Say how the process is."""
    due = vitals.next_session
    is_late = vitals.running_since is None and due is not None and now > due + DUE_GRACE
    stalled = f"the session that was due at {due:%Y-%m-%d %H:%M:%S} UTC has not begun" if is_late else None
    return Judgement(not vitals.is_started, stalled, engine_problem, vitals.last_failure)


class HealthRoutes:
    """`/livez`, `/readyz`, `/startupz`, and the answer for `--health-check`."""

    def __init__(self, *, status: Status, now: Clock = utc_now) -> None:
        self._status = status
        self._now = now

    @property
    def routes(self) -> tuple[Route, ...]:
        """Declare them."""
        return (
            self._declare("/livez", "Whether sessions go on; 503 means that only a restart helps.", self._live),
            self._declare("/readyz", "Whether a session could run now: started, and the engine answers.", self._ready),
            self._declare("/startupz", "Whether the updater has started.", self._started),
        )

    async def health(self) -> Health:
        """Return the whole answer, with its reasons."""
        vitals = self._status.vitals()
        judgement = judge(vitals, self._now(), engine_problem=await self._engine_problem())
        detail: dict[str, Any] = {
            "session_running_since": _iso(vitals.running_since),
            "last_session": _iso(vitals.last_finished),
            "next_session": _iso(vitals.next_session),
            "overran": vitals.has_overrun,
            "engine_problem": judgement.engine,
            "problem": judgement.stalled or judgement.last_session,
            **vitals.detail,
        }
        if judgement.starting:
            detail["status"] = "starting"
        return Health(judgement.is_well, detail)

    async def _live(self, _request: web.Request) -> web.Response:
        return _answer(judge(self._status.vitals(), self._now()).is_alive)

    async def _ready(self, _request: web.Request) -> web.Response:
        problem = await self._engine_problem()
        return _answer(judge(self._status.vitals(), self._now(), engine_problem=problem).is_ready)

    async def _started(self, _request: web.Request) -> web.Response:
        return _answer(self._status.vitals().is_started)

    async def _engine_problem(self) -> str | None:
        with anyio.move_on_after(ENGINE_SECONDS):
            return await self._status.engine_problem()
        return f"the engine does not answer within {ENGINE_SECONDS:g} s"

    def _declare(self, path: str, summary: str, handler: Handler) -> Route:
        schema = an_object({"status": A_TEXT})
        return Route(
            method="GET",
            path=path,
            endpoint=Endpoint.HEALTH,
            summary=summary,
            handler=handler,
            access=Access.OPEN,
            answers=(
                Answer(status=200, description="Yes.", content_type=JSON, schema=schema),
                Answer(status=503, description="No.", content_type=JSON, schema=schema),
            ),
        )


def _answer(is_good: bool) -> web.Response:
    from aiohttp import web  # noqa: PLC0415 - a plan needs no server

    return web.json_response({"status": "ok" if is_good else "failing"}, status=200 if is_good else 503)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
