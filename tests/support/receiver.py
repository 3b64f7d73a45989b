"""A notification service on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web
from aiohttp.test_utils import TestServer

MARKER = "Sw0rdfish-marker"
"""A secret, which the service repeats in its answers."""


@dataclass
class Receiver:
    """Writes down what it gets."""

    port: int = 0
    status: int = 200
    gate: anyio.Event | None = None
    bodies: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Keep a request and answer it."""
        self.bodies.append(await request.text())
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        self.news.set()
        if self.gate is not None:
            await self.gate.wait()
        return web.Response(status=self.status, text=f"echo {MARKER}")

    async def has(self, number: int) -> list[str]:
        """Wait until so many messages have come, and return them."""
        with anyio.fail_after(10):
            while len(self.bodies) < number:
                self.news = anyio.Event()
                await self.news.wait()
        return self.bodies


@asynccontextmanager
async def receiving(**more: Any) -> AsyncIterator[Receiver]:
    """Serve a receiver."""
    receiver = Receiver(**more)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    async with TestServer(app, host="127.0.0.1") as server:
        receiver.port = server.port or 0
        yield receiver
        if receiver.gate is not None:
            receiver.gate.set()
