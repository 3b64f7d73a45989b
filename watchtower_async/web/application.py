"""One HTTP application from declared routes, the same for the control socket and for TCP.

It describes itself at `/swagger/`, answers a bug with 500 and a line in the log, and ends its streams when it stops.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from watchtower_async.web.openapi import openapi_document, page
from watchtower_async.web.route import HTML, JSON, Access, Answer, Endpoint, Handler, Route

LONGEST_BODY = 1 << 20
STREAMS: web.AppKey[set[Callable[[], None]]] = web.AppKey("streams")
"""What ends each stream that is open now."""

REQUEST_ID = "X-Request-ID"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HEADERS = {
    "Server": "watchtower_async",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_COMPRESSED_FROM = 1024


class _ServerLog(logging.Handler):
    """Says in our log what the server itself could not do, and nothing about requests that are no HTTP.

    Those are answered with 400. Anybody can send them, and what they hold may be a token in an address.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of the server's."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            structlog.get_logger().error("api.request_failed", problem=type(error).__name__)


SERVER_LOGGER = logging.Logger("watchtower_async.web", logging.WARNING)
"""For the server of aiohttp. It belongs to no tree of loggers, so that nothing of it goes anywhere else."""
SERVER_LOGGER.addHandler(_ServerLog())


def make_application(
    routes: Sequence[Route],
    *,
    middlewares: Sequence[Middleware] = (),
    describes_itself: bool = True,
) -> web.Application:
    """Make an application; `middlewares` decide before a handler does."""
    application = web.Application(middlewares=[_boundary, *middlewares], client_max_size=LONGEST_BODY)
    application[STREAMS] = set()
    application.on_response_prepare.append(_add_headers)
    application.on_shutdown.append(_end_streams)
    for route in (*routes, *(description_of(routes) if describes_itself else ())):
        route.add_to(application.router)
    return application


def description_of(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the routes that describe these routes."""

    async def answer_document(_request: web.Request) -> web.Response:
        return web.json_response(document)

    async def answer_page(_request: web.Request) -> web.Response:
        return web.Response(text=shown, content_type=HTML)

    shows = Answer(status=200, description="The page.", content_type=HTML, schema={"type": "string"})
    holds = Answer(status=200, description="The document.", content_type=JSON, schema={"type": "object"})
    own = (
        _describing("/swagger/doc.json", "This document.", answer_document, holds),
        _describing("/swagger/", "A page about the API.", answer_page, shows),
        _describing("/swagger/index.html", "The same page.", answer_page, shows),
    )
    document, shown = openapi_document((*routes, *own)), page((*routes, *own))
    return own


def _describing(path: str, summary: str, handler: Handler, answer: Answer) -> Route:
    return Route(
        method="GET",
        path=path,
        endpoint=Endpoint.SWAGGER,
        summary=summary,
        handler=handler,
        answers=(answer,),
        access=Access.OPEN,
    )


@web.middleware
async def _boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    if (request.content_length or 0) > LONGEST_BODY:
        return web.Response(status=413, text="the body is too large\n")
    try:
        response = await handler(request)
    except web.HTTPException:
        raise
    except Exception:  # a bug costs one answer, and is seen
        structlog.get_logger().exception("api.request_failed", method=request.method, path=request.path)
        return web.Response(status=500, text="the request could not be answered; the log says why\n")
    if isinstance(response, web.Response) and len(response.body or b"") >= _COMPRESSED_FROM:  # type: ignore[arg-type]
        response.enable_compression()
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    given = request.headers.get(REQUEST_ID, "")
    response.headers[REQUEST_ID] = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


async def _end_streams(application: web.Application) -> None:
    streams = application[STREAMS]
    for end in tuple(streams):
        end()
