"""The API of Watchtower: its paths, parameters, statuses and bodies, for whoever asks over the socket or TCP.

* `GET /v1/update` answers as the original does: 200 with no body when the session has ended, and at once where one runs
  already. `POST` answers with the result, or 429 where one runs.
* A session about certain images or containers waits for its turn.
* Who gives up waiting does not end the session.

Who may ask is not decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import structlog
from aiohttp import web

from watchtower_async.errors import WatchtowerError
from watchtower_async.web.application import STREAMS
from watchtower_async.web.history import History, utc_now
from watchtower_async.web.live import RETRY_MILLISECONDS, Batch, Client, Live, render, rfc3339
from watchtower_async.web.ports import (
    AlreadyRunning,
    Clock,
    ContainerView,
    Exposition,
    SessionResult,
    Unavailable,
    Updates,
    Views,
)
from watchtower_async.web.query import (
    LONGEST_PATTERN,
    BadQueryError,
    go_duration,
    parse_flag,
    parse_limit,
    parse_patterns,
    parse_time,
    parse_timeout,
    parse_words,
)
from watchtower_async.web.route import (
    A_COUNT,
    A_FLAG,
    A_TEXT,
    A_TIME,
    JSON,
    STREAM,
    TEXT,
    Access,
    Answer,
    Endpoint,
    Handler,
    Parameter,
    Route,
    Schema,
    a_list,
    an_object,
)

API_VERSION = "v1"
READ_SECONDS = 30.0
PATIENT_SECONDS = 6 * 3600.0
"""The original answers when the session has ended. Nobody waits for longer than this."""
BUSY = "another update is already running"
BUSY_RETRY_SECONDS = 30
KEEP_ALIVE_SECONDS = 15.0
WRITE_SECONDS = 30.0
"""For a client that does not read what it asked for."""

T = TypeVar("T")

_COUNTS: Mapping[str, Schema] = dict.fromkeys(("scanned", "updated", "failed", "restarted", "skipped"), A_COUNT)
_ENVELOPE: Mapping[str, Schema] = {"timestamp": A_TIME, "api_version": {"const": API_VERSION}}
_CONTAINER: Mapping[str, Schema] = dict.fromkeys(("name", "image", "image_id", "digest"), A_TEXT)
_DETAILS: Mapping[str, Schema] = {
    **dict.fromkeys(("running", "watchtower", "monitor_only", "no_pull", "enabled", "stale"), A_FLAG),
    "scope": A_TEXT,
}
_CHECKED: Mapping[str, Schema] = {
    **_CONTAINER,
    "update_available": A_FLAG,
    "latest_image_id": A_TEXT,
    "latest_digest": A_TEXT,
    "timestamp": A_TIME,
}
_IMAGE: Mapping[str, Schema] = {**dict.fromkeys(("name", "image_id", "digest"), A_TEXT), "containers": a_list(A_TEXT)}
_CONFIG: Mapping[str, Schema] = {
    **dict.fromkeys(
        (
            "monitor_only",
            "cleanup",
            "no_pull",
            "no_restart",
            "rolling_restart",
            "include_stopped",
            "include_restarting",
            "lifecycle_hooks",
            "label_enable",
        ),
        A_FLAG,
    ),
    "filter_desc": A_TEXT,
    "scope": A_TEXT,
}
_RESULT = an_object(
    {
        "summary": an_object(_COUNTS),
        "timing": an_object({"duration_ms": A_COUNT, "duration": A_TEXT}),
        **_ENVELOPE,
    }
)
_ERROR = an_object({"error": A_TEXT, **_ENVELOPE})
_DURATION: Schema = {"type": "string", "pattern": r"^[1-9][0-9]{0,4}(ms|s|m|h)$"}

_IMAGE_WORDS = Parameter(
    name="image", description="Images; repeated, or a list with commas.", schema=A_TEXT, is_repeated=True
)
_CONTAINER_WORDS = Parameter(
    name="container",
    description="Regular expressions for whole names of containers; repeated, or a list with commas.",
    schema={"type": "string", "format": "regex", "maxLength": LONGEST_PATTERN},
    is_repeated=True,
)
_TIMEOUT = Parameter(name="timeout", description="How long to wait for the answer, such as 90s.", schema=_DURATION)
_ASYNC = Parameter(
    name="async",
    description="Answer at once.",
    schema={"enum": ["true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"]},
)


def _text_answer(status: int, description: str) -> Answer:
    return Answer(status=status, description=description, content_type=TEXT, schema=A_TEXT)


def _json_answer(status: int, description: str, schema: Schema) -> Answer:
    return Answer(status=status, description=description, content_type=JSON, schema=schema)


_BAD_QUERY = _text_answer(400, "A parameter cannot be understood.")
_TIMED_OUT = _text_answer(408, "It took too long.")
_UNAVAILABLE = _text_answer(503, "The updater begins or ends.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """How long an answer may take."""

    update_seconds: float = 600.0
    check_seconds: float = 300.0


class Api:
    """All endpoints below `/v1`."""

    def __init__(
        self,
        *,
        updates: Updates,
        views: Views,
        history: History,
        live: Live,
        metrics: Exposition,
        limits: ApiLimits | None = None,
        now: Clock = utc_now,
    ) -> None:
        self._updates = updates
        self._views = views
        self._history = history
        self._live = live
        self._metrics = metrics
        self._limits = limits or ApiLimits()
        self._now = now
        self._log = structlog.get_logger()

    @property
    def routes(self) -> tuple[Route, ...]:
        """Declare them."""
        return (*self._work_routes(), *self._view_routes(), *self._session_routes())

    def _work_routes(self) -> tuple[Route, ...]:
        declare = partial(_declare, access=Access.TOKEN)
        return (
            declare(
                "GET",
                "/v1/update",
                Endpoint.UPDATE,
                "Run a session; the answer says nothing about how it ended.",
                self._update_silently,
                Answer(status=200, description="It has ended, or another one was running."),
                _BAD_QUERY,
                _TIMED_OUT,
                _UNAVAILABLE,
                parameters=(_IMAGE_WORDS, _CONTAINER_WORDS),
            ),
            declare(
                "POST",
                "/v1/update",
                Endpoint.UPDATE,
                "Run a session and return what it did.",
                self._update,
                _json_answer(200, "What it did.", _RESULT),
                _text_answer(202, "It will run."),
                _json_answer(429, "Another session runs; try again after Retry-After.", _ERROR),
                _json_answer(500, "It could not be carried through.", _ERROR),
                _BAD_QUERY,
                _TIMED_OUT,
                _UNAVAILABLE,
                parameters=(_IMAGE_WORDS, _CONTAINER_WORDS, _ASYNC, _TIMEOUT),
            ),
            declare(
                "POST",
                "/v1/check",
                Endpoint.CHECK,
                "Ask registries, without pulling or changing anything.",
                self._check,
                _json_answer(200, "What was found.", _listed("containers", _CHECKED, {"error": A_TEXT})),
                _BAD_QUERY,
                _TIMED_OUT,
                parameters=(_IMAGE_WORDS, _CONTAINER_WORDS, _TIMEOUT),
            ),
        )

    def _view_routes(self) -> tuple[Route, ...]:
        by_name = Parameter(name="name", description="Exact name.", schema=A_TEXT)
        by_image = Parameter(name="image", description="Exact image.", schema=A_TEXT)
        by_id = Parameter(name="id", description="Exact id.", schema=A_TEXT)
        return (
            _declare(
                "GET",
                "/v1/containers",
                Endpoint.CONTAINERS,
                "List the containers.",
                self._containers,
                _json_answer(200, "The containers.", _listed("containers", _CONTAINER)),
                _TIMED_OUT,
                parameters=(by_name, by_image),
            ),
            _declare(
                "GET",
                "/v1/containers/details",
                Endpoint.CONTAINERS,
                "List the containers and how they are treated.",
                self._details,
                _json_answer(200, "The containers.", _listed("containers", {**_CONTAINER, **_DETAILS})),
                _TIMED_OUT,
                parameters=(by_name, by_image),
            ),
            _declare(
                "GET",
                "/v1/images",
                Endpoint.IMAGES,
                "List the images that containers use.",
                self._images,
                _json_answer(200, "The images.", _listed("images", _IMAGE)),
                _TIMED_OUT,
                parameters=(by_name, by_id),
            ),
            _declare(
                "GET",
                "/v1/config",
                Endpoint.CONFIG,
                "Return the settings in use.",
                self._config,
                _json_answer(200, "The settings.", an_object({"config": an_object(_CONFIG), **_ENVELOPE})),
            ),
        )

    def _session_routes(self) -> tuple[Route, ...]:
        limit = Parameter(
            name="limit",
            description="The newest so many; 0 is all.",
            schema={"type": "integer", "minimum": 0, "maximum": 999_999_999},
        )
        entries = _listed("entries", {"timestamp": A_TIME, **_COUNTS})
        return (
            _declare(
                "GET",
                "/v1/history",
                Endpoint.HISTORY,
                "List the last sessions, the newest one last.",
                self._list_history,
                _json_answer(200, "The sessions.", entries),
                _BAD_QUERY,
                parameters=(
                    Parameter(name="since", description="Not before.", schema=A_TIME),
                    Parameter(name="until", description="Not after.", schema=A_TIME),
                    limit,
                ),
            ),
            _declare(
                "GET",
                "/v1/status",
                Endpoint.METRICS,
                "Return what the last session did.",
                self._last_session,
                _json_answer(200, "What it did.", an_object({"summary": an_object(_COUNTS), **_ENVELOPE})),
                Answer(status=204, description="There was none yet."),
            ),
            _declare(
                "GET",
                "/v1/metrics",
                Endpoint.METRICS,
                "Return metrics for Prometheus.",
                self._show_metrics,
                _text_answer(200, "The metrics."),
            ),
            _declare(
                "GET",
                "/v1/events",
                Endpoint.EVENTS,
                "Return events as they happen.",
                self._stream,
                Answer(status=200, description="The stream.", content_type=STREAM, schema=A_TEXT),
                _text_answer(403, "The page that asks is of another origin."),
                _text_answer(503, "Too many listen already."),
                parameters=(
                    Parameter(name="Last-Event-ID", description="The last one seen.", schema=A_TEXT, place="header"),
                ),
                access=Access.EVENTS_TOKEN,
            ),
        )

    # ---- work --------------------------------------------------------------------------------------------------------

    async def _update_silently(self, request: web.Request) -> web.StreamResponse:
        images, names = _chosen(request)
        self._log.info("api.update_requested", method=request.method)
        with anyio.fail_after(PATIENT_SECONDS):
            result = await self._updates.request_session(images, names, bool(images or names))
        if isinstance(result, Unavailable):
            return _text(503, result.reason)
        return web.Response(body=b"")

    async def _update(self, request: web.Request) -> web.StreamResponse:
        images, names = _chosen(request)
        seconds = parse_timeout(request.query.get("timeout"), self._limits.update_seconds)
        is_async = parse_flag("async", request.query.get("async"))
        self._log.info("api.update_requested", method=request.method)
        wait = bool(images or names)
        if is_async:
            refused = self._updates.begin_session(images, names, wait)
            return _text(202, "Accepted") if refused is None else self._answer_session(refused)
        with anyio.fail_after(seconds):
            result = await self._updates.request_session(images, names, wait)
        return self._answer_session(result)

    def _answer_session(self, result: SessionResult | AlreadyRunning | Unavailable) -> web.Response:
        match result:
            case AlreadyRunning():
                return self._json({"error": BUSY}, status=429, headers={"Retry-After": str(BUSY_RETRY_SECONDS)})
            case Unavailable(reason):
                return _text(503, reason)
            case SessionResult(failure=str(failure)):
                return self._json({"error": failure}, status=500)
            case SessionResult(summary=summary, duration_seconds=seconds):
                timing = {"duration_ms": round(seconds * 1000), "duration": go_duration(seconds)}
                return self._json({"summary": summary.as_json(), "timing": timing})

    async def _check(self, request: web.Request) -> web.StreamResponse:
        images, names = _chosen(request)
        with anyio.fail_after(parse_timeout(request.query.get("timeout"), self._limits.check_seconds)):
            found = await self._views.check(images, names)
        items = [{**asdict(item), "timestamp": rfc3339(item.timestamp)} for item in found]
        return self._list("containers", [_without_none(item) for item in items])

    # ---- views -------------------------------------------------------------------------------------------------------

    async def _containers(self, request: web.Request) -> web.StreamResponse:
        found = await self._found_containers(request)
        return self._list("containers", [{key: getattr(item, key) for key in _CONTAINER} for item in found])

    async def _details(self, request: web.Request) -> web.StreamResponse:
        return self._list("containers", [asdict(item) for item in await self._found_containers(request)])

    async def _found_containers(self, request: web.Request) -> list[ContainerView]:
        name, image = request.query.get("name"), request.query.get("image")
        found = await _within(READ_SECONDS, self._views.containers)
        return [item for item in found if name in {None, "", item.name} and image in {None, "", item.image}]

    async def _images(self, request: web.Request) -> web.StreamResponse:
        name, identity = request.query.get("name"), request.query.get("id")
        found = await _within(READ_SECONDS, self._views.images)
        wanted = [item for item in found if name in {None, "", item.name} and identity in {None, "", item.image_id}]
        return self._list("images", [asdict(item) for item in wanted])

    async def _config(self, _request: web.Request) -> web.StreamResponse:
        return self._json({"config": asdict(self._views.config())})

    # ---- sessions ----------------------------------------------------------------------------------------------------

    async def _list_history(self, request: web.Request) -> web.StreamResponse:
        found = self._history.between(
            parse_time("since", request.query.get("since")),
            parse_time("until", request.query.get("until")),
            parse_limit(request.query.get("limit")),
        )
        return self._list("entries", [{"timestamp": rfc3339(item.at), **item.summary.as_json()} for item in found])

    async def _last_session(self, _request: web.Request) -> web.StreamResponse:
        last = self._history.last
        return web.Response(status=204) if last is None else self._json({"summary": last.as_json()})

    async def _show_metrics(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": self._metrics.content_type})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        client = self._live.connect(request.headers.get("Last-Event-ID", ""))
        if client is None:
            return _text(503, "too many clients listen already")
        end = partial(self._live.disconnect, client)
        request.app[STREAMS].add(end)
        try:
            return await self._send_events(request, client)
        finally:
            request.app[STREAMS].discard(end)
            end()

    async def _send_events(self, request: web.Request, client: Client) -> web.StreamResponse:
        # A proxy that collects what it passes on would hold events back.
        response = web.StreamResponse(headers={"Content-Type": STREAM, "X-Accel-Buffering": "no"})
        try:
            await _write(response, f"retry: {RETRY_MILLISECONDS}\n\n", request)
            while True:
                batch: Batch | None = Batch(0, ())
                with anyio.move_on_after(KEEP_ALIVE_SECONDS):
                    batch = await client.next()
                if batch is None:
                    return response
                await _write(response, render(self._live, batch) or ": still here\n\n")
        except (ConnectionError, TimeoutError):
            return response  # the client is gone, or does not read

    # ---- bodies ------------------------------------------------------------------------------------------------------

    def _list(self, name: str, items: list[dict[str, Any]]) -> web.Response:
        return self._json({name: items, "count": len(items)})

    def _json(
        self, content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        body = {**content, "timestamp": rfc3339(self._now()), "api_version": API_VERSION}
        return web.json_response(body, status=status, headers=headers)


def _declare(
    method: str,
    path: str,
    endpoint: Endpoint,
    summary: str,
    handler: Handler,
    *answers: Answer,
    parameters: tuple[Parameter, ...] = (),
    access: Access = Access.TOKEN,
) -> Route:
    return Route(
        method=method,
        path=path,
        endpoint=endpoint,
        summary=summary,
        handler=_translating(handler),
        answers=answers,
        parameters=parameters,
        access=access,
    )


def _translating(handler: Handler) -> Handler:
    """Turn what was expected to go wrong into an answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadQueryError as error:
            return _text(400, str(error))
        except TimeoutError:
            return _text(408, "it took too long")
        except WatchtowerError as error:
            return _text(500, str(error))

    return answer


def _listed(name: str, members: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return an_object({name: a_list(an_object(members, optional)), "count": A_COUNT, **_ENVELOPE})


def _chosen(request: web.Request) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return parse_words(request.query.getall("image", [])), parse_patterns(request.query.getall("container", []))


async def _within(seconds: float, look: Callable[[], Awaitable[T]]) -> T:
    with anyio.fail_after(seconds):
        return await look()


async def _write(response: web.StreamResponse, text: str, request: web.Request | None = None) -> None:
    with anyio.fail_after(WRITE_SECONDS):
        if request is not None:
            await response.prepare(request)
        await response.write(text.encode())


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


def _without_none(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if value is not None}
