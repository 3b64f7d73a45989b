"""The HTTP API over TCP, for those who ask for it in the settings. What cannot be served is a value with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchtower_async.settings import Endpoint as Switch
from watchtower_async.settings import HttpApiSettings
from watchtower_async.web.route import Endpoint, Routes

if TYPE_CHECKING:
    from watchtower_async.web.server import ServerSettings


@dataclass(frozen=True, slots=True)
class ApiOutlet:
    """The result of trying to serve."""

    url: str | None = None
    """Where somebody can ask; None where nobody can."""
    problem: str | None = None
    """Why not, where that was asked for."""


@asynccontextmanager
async def api_outlet(given: HttpApiSettings, subjects: Iterable[Routes]) -> AsyncIterator[ApiOutlet]:
    """Answer over TCP while the context is open, where the settings switch something on."""
    if not given.enabled:
        yield ApiOutlet()
        return
    from watchtower_async.web.server import serve_api  # noqa: PLC0415 - it loads the server

    async with serve_api(server_settings(given), *subjects) as server:
        yield ApiOutlet(server.url if server.is_serving else None, server.problem)


def server_settings(given: HttpApiSettings) -> ServerSettings:
    """Return the server's settings, by those of the user."""
    from watchtower_async.web.server import ServerSettings  # noqa: PLC0415

    return ServerSettings(
        endpoints=switched_on(given),
        host=given.host,
        port=given.port,
        token=given.token,
        events_token=given.events_token,
        rate_limit=given.rate_limit,
        tls_certificate=given.tls_cert,
        tls_key=given.tls_key,
        trusted_proxies=given.trusted_proxies,
        proxy_header=given.proxy_header,
        cors_origins=given.cors_origins,
    )


def switched_on(given: HttpApiSettings) -> frozenset[Endpoint]:
    """Return what is served over TCP."""
    if Switch.ALL in given.endpoints:
        return frozenset(Endpoint)
    return frozenset(Endpoint(str(switch)) for switch in given.enabled)
