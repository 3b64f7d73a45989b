"""Rollouts over HTTP: `GET /v1/rollouts`, and `POST /v1/rollouts/{id}/pause`, `/resume` and `/abandon`.

The list holds what is not over. Who asks for something gets the rollout as it stands then: 409 where it cannot be had
in the rollout's state, 404 where no rollout has this id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from watchtower_async.errors import WatchtowerError
from watchtower_async.rollout.course import IllegalTransitionError, Phase, RolloutState
from watchtower_async.rollout.rollouts import RolloutView
from watchtower_async.web.history import utc_now
from watchtower_async.web.live import rfc3339
from watchtower_async.web.ports import Clock
from watchtower_async.web.route import (
    A_COUNT,
    A_TEXT,
    A_TIME,
    JSON,
    Answer,
    Endpoint,
    Handler,
    Parameter,
    Route,
    Schema,
    a_list,
    an_object,
)

if TYPE_CHECKING:
    from aiohttp import web

API_VERSION = "v1"
PAUSED = "somebody paused it"
ABANDONED = "somebody gave it up"

_ENVELOPE: Mapping[str, Schema] = {"timestamp": A_TIME, "api_version": {"const": API_VERSION}}
_GROUP = an_object({"name": A_TEXT, "phase": {"enum": [str(phase) for phase in Phase]}})
_ROLLOUT = an_object(
    {
        **dict.fromkeys(("id", "name", "reason"), A_TEXT),
        "state": {"enum": [str(state) for state in RolloutState]},
        "groups": a_list(_GROUP),
    }
)
_ERROR = an_object({"error": A_TEXT, **_ENVELOPE})
_ID = Parameter(name="id", description="Id of the rollout.", schema=A_TEXT, place="path")


class RolloutControl(Protocol):
    """The rollouts of the engine. Its calls raise WatchtowerError where there is no engine yet, or none any more."""

    @property
    def views(self) -> tuple[RolloutView, ...]:
        """Return where the open rollouts stand."""

    def pause(self, rollout: str, reason: str) -> RolloutView:
        """Let nothing new begin. Raises IllegalTransitionError where that is not possible."""

    def resume(self, rollout: str) -> RolloutView:
        """Let a paused rollout go on. Raises IllegalTransitionError as `pause` does."""

    def abandon(self, rollout: str, reason: str) -> RolloutView:
        """Give a rollout up; what it has begun comes to its end. Raises IllegalTransitionError as `pause` does."""


class RolloutRoutes:
    """Answers for the rollouts of one engine."""

    def __init__(self, *, rollouts: RolloutControl, now: Clock = utc_now) -> None:
        self._rollouts = rollouts
        self._now = now

    @property
    def routes(self) -> tuple[Route, ...]:
        """Declare them."""
        listed = an_object({"rollouts": a_list(_ROLLOUT), "count": A_COUNT, **_ENVELOPE})
        rollouts = self._rollouts
        return (
            Route(
                method="GET",
                path="/v1/rollouts",
                endpoint=Endpoint.ROLLOUTS,
                summary="List the rollouts that are not over.",
                handler=self._handler(self._show),
                answers=(_answer(200, "The rollouts.", listed), _UNAVAILABLE),
            ),
            self._asking("pause", "Let nothing new begin in it.", lambda found: rollouts.pause(found, PAUSED)),
            self._asking("resume", "Let it go on.", rollouts.resume),
            self._asking(
                "abandon",
                "Give it up; what it has begun comes to its end.",
                lambda found: rollouts.abandon(found, ABANDONED),
            ),
        )

    def _asking(self, verb: str, summary: str, ask: Callable[[str], RolloutView]) -> Route:
        def answer(request: web.Request) -> web.Response:
            identity = request.match_info["id"]
            known = [view.id for view in self._rollouts.views]
            if identity not in known:
                return self._json({"error": _unknown(identity, known)}, status=404)
            return self._json({"rollout": ask(identity).as_json()})

        return Route(
            method="POST",
            path=f"/v1/rollouts/{{id}}/{verb}",
            endpoint=Endpoint.ROLLOUTS,
            summary=summary,
            handler=self._handler(answer),
            parameters=(_ID,),
            answers=(
                _answer(200, "How it stands now.", an_object({"rollout": _ROLLOUT, **_ENVELOPE})),
                _answer(404, "No open rollout has this id.", _ERROR),
                _answer(409, "Its state does not allow it.", _ERROR),
                _UNAVAILABLE,
            ),
        )

    def _show(self, _request: web.Request) -> web.Response:
        found = [view.as_json() for view in self._rollouts.views]
        return self._json({"rollouts": found, "count": len(found)})

    def _handler(self, answer: Callable[[web.Request], web.Response]) -> Handler:
        """Turn what was expected to go wrong into an answer."""

        async def handle(request: web.Request) -> web.Response:
            try:
                return answer(request)
            except IllegalTransitionError as error:
                return self._json({"error": str(error)}, status=409)
            except WatchtowerError as error:
                return self._json({"error": str(error)}, status=503)

        return handle

    def _json(self, content: Mapping[str, Any], *, status: int = 200) -> web.Response:
        from aiohttp import web  # noqa: PLC0415 - a plan needs no server

        body = {**content, "timestamp": rfc3339(self._now()), "api_version": API_VERSION}
        return web.json_response(body, status=status)


def _unknown(identity: str, known: list[str]) -> str:
    return f"there is no open rollout {identity}; open: {', '.join(known) or 'there is none'}"


def _answer(status: int, description: str, schema: Schema) -> Answer:
    return Answer(status=status, description=description, content_type=JSON, schema=schema)


_UNAVAILABLE = _answer(503, "The updater begins or ends.", _ERROR)
