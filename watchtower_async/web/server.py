"""The API over TCP, for those who ask for it: what is switched on, with a token, at a limited rate, with TLS if wanted.

The token may come as `Authorization: Bearer …`, as the bare value of that field, or as the cookie `access_token`. A
cookie is sent by browsers also for pages of other people, so it counts only for requests that no foreign page caused.
Events have a token of their own, which may also stand in the address, as a browser's EventSource sends no header field.

What cannot be served is a value with a reason.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from aiohttp import web
from aiohttp.typedefs import Middleware
from anyio import to_thread

from watchtower_async.web.application import SERVER_LOGGER, description_of, make_application
from watchtower_async.web.client_address import client_address, parse_networks
from watchtower_async.web.rate_limit import DEFAULT_LIMIT, RateLimiter
from watchtower_async.web.route import Access, Endpoint, Handler, Route, Routes

DEFAULT_PORT = 8080
SHUTDOWN_SECONDS = 1.0
IDLE_SECONDS = 30.0
COOKIE = "access_token"
_ALL_ORIGINS = "*"
_METHODS = "GET, POST, DELETE, OPTIONS"
_FIELDS = "Authorization, Content-Type, Last-Event-ID, X-Request-ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What is served, where, and to whom."""

    endpoints: frozenset[str]
    """Names of `Endpoint`."""
    host: str = ""
    """An address of this machine; empty is all of them."""
    port: int = DEFAULT_PORT
    token: str = field(default="", repr=False)
    events_token: str = field(default="", repr=False)
    rate_limit: int = DEFAULT_LIMIT
    """Requests in a minute for each client."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: str = "X-Forwarded-For"
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The result of trying to serve."""

    url: str
    problem: str | None

    @property
    def is_serving(self) -> bool:
        """Say whether somebody can ask."""
        return self.problem is None


class _UnusableError(Exception):
    """The settings, or what they name, do not allow to serve."""


@asynccontextmanager
async def serve_api(settings: ServerSettings, *subjects: Routes) -> AsyncIterator[ApiServer]:
    """Answer over TCP while the context is open. What cannot be served is a value, not an error."""
    where = f"{settings.host or '*'}:{settings.port}"
    try:
        application = make_tcp_application(settings, *subjects)
        tls = await to_thread.run_sync(_tls_context, settings)
    except _UnusableError as error:
        yield ApiServer(where, str(error))
        return
    runner = web.AppRunner(
        application,
        handle_signals=False,
        access_log=None,
        logger=SERVER_LOGGER,
        shutdown_timeout=SHUTDOWN_SECONDS,
        keepalive_timeout=IDLE_SECONDS,
    )
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host or None, settings.port, ssl_context=tls).start()
        except OSError as error:
            yield ApiServer(where, f"the API cannot listen on {where}: {error.strerror or error}")
            return
        yield ApiServer(_url_of(runner, is_tls=tls is not None), None)
    finally:
        with anyio.move_on_after(2 * SHUTDOWN_SECONDS, shield=True):
            await runner.cleanup()


def make_tcp_application(settings: ServerSettings, *subjects: Routes) -> web.Application:
    """Make the application with its access rules. Raises _UnusableError."""
    all_routes = [route for subject in subjects for route in subject.routes]
    routes = [route for route in all_routes if route.endpoint in settings.endpoints]
    shows_itself = Endpoint.SWAGGER in settings.endpoints
    guard = _Guard(settings, [*routes, *(description_of(routes) if shows_itself else ())])
    application = make_application(routes, middlewares=[guard.middleware], describes_itself=shows_itself)
    application.on_response_prepare.append(guard.allow_origin)
    return application


class _Guard:
    """Decides about each request before its handler hears of it."""

    def __init__(self, settings: ServerSettings, routes: list[Route]) -> None:
        _refuse_missing_tokens(settings, routes)
        self._access = {(route.method, route.path): route.access for route in routes}
        self._tokens = {Access.TOKEN: _hashed(settings.token), Access.EVENTS_TOKEN: _hashed(settings.events_token)}
        self._limiter = RateLimiter(settings.rate_limit)
        self._proxy_header = settings.proxy_header
        self._origins = frozenset(origin.rstrip("/") for origin in settings.cors_origins)
        try:
            self._trusted = parse_networks(settings.trusted_proxies)
            if settings.host:
                ipaddress.ip_address(settings.host)
        except ValueError as error:
            raise _UnusableError(f"the API needs addresses, not names: {error}") from None

    @property
    def middleware(self) -> Middleware:
        """Return it in the form that the application takes."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = self._refusal(request)
            return refused if refused is not None else await handler(request)

        return guard

    async def allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say to a browser which other pages may read the answer."""
        origin = request.headers.get("Origin", "")
        if _ALL_ORIGINS in self._origins:
            response.headers["Access-Control-Allow-Origin"] = _ALL_ORIGINS
        elif self._origins:
            response.headers["Vary"] = "Origin"
            if origin in self._origins:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Allow-Credentials"] = "true"

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self._limiter.admits(self._client_of(request), anyio.current_time()):
            return web.Response(status=429)
        if request.method == "OPTIONS" and self._is_allowed_preflight(request):
            headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Allow-Headers": _FIELDS}
            return web.Response(status=204, headers=headers)
        resource = request.match_info.route.resource
        if resource is None:
            return None  # no such path or method: 404 and 405 tell nothing that is not public
        access = self._access.get((request.method, resource.canonical), Access.TOKEN)
        if access is Access.OPEN:
            return None
        if access is Access.EVENTS_TOKEN and self._is_foreign(request, self._origins):
            return web.Response(status=403, text="this origin is not allowed\n")
        if not self._knows(self._tokens[access], request, access):
            return web.Response(status=401, text="unauthorized\n", headers={"WWW-Authenticate": "Bearer"})
        return None

    def _client_of(self, request: web.Request) -> str:
        forwarded = ",".join(request.headers.getall(self._proxy_header, ())) if self._trusted else ""
        return client_address(request.remote or "", forwarded, self._trusted)

    def _is_allowed_preflight(self, request: web.Request) -> bool:
        is_preflight = "Access-Control-Request-Method" in request.headers
        return is_preflight and bool(self._origins & {_ALL_ORIGINS, request.headers.get("Origin", "")})

    def _knows(self, token: bytes, request: web.Request, access: Access) -> bool:
        # All are compared, so that the time does not tell which one it was.
        found = [secrets.compare_digest(token, _hashed(text)) for text in self._presented(request, access) if text]
        return any(found)

    def _presented(self, request: web.Request, access: Access) -> Iterator[str]:
        given = request.headers.get("Authorization", "")
        scheme, _, rest = given.partition(" ")
        yield given
        if scheme.lower() == "bearer":
            yield rest.strip()
        if access is Access.EVENTS_TOKEN:
            yield request.query.get(COOKIE, "")
        elif not self._is_foreign(request, self._origins - {_ALL_ORIGINS}):
            yield request.cookies.get(COOKIE, "")

    def _is_foreign(self, request: web.Request, allowed: frozenset[str]) -> bool:
        """Say whether a page of an origin that is not allowed caused the request, as far as the browser tells."""
        origin = request.headers.get("Origin")
        if origin is not None:
            is_same = origin != "null" and urlsplit(origin).netloc == request.host
            return not is_same and not allowed & {_ALL_ORIGINS, origin}
        return request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}


def _refuse_missing_tokens(settings: ServerSettings, routes: list[Route]) -> None:
    needed = {route.access for route in routes}
    if Access.TOKEN in needed and not settings.token:
        raise _UnusableError(
            "api token is empty or has not been set: give --http-api-token (WATCHTOWER_HTTP_API_TOKEN)"
        )
    if Access.EVENTS_TOKEN in needed and not settings.events_token:
        raise _UnusableError(
            "the events endpoint needs a token of its own: give --http-api-events-token "
            "(WATCHTOWER_HTTP_API_EVENTS_TOKEN)"
        )


def _tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise _UnusableError("--http-api-tls-cert and --http-api-tls-key belong together: give both or neither")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a pass phrase must fail: nobody is there to be asked for it.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _UnusableError(f"the certificate {certificate} with the key {key} cannot be used: {reason}") from None
    return context


def _hashed(text: str) -> bytes:
    """Return a form of equal length for all, so that a comparison takes equal time."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _url_of(runner: web.AppRunner, *, is_tls: bool) -> str:
    host, port = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"
