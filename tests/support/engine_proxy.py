"""A socket in front of a real engine that counts what changes something, and lets one request go wrong.

The updater is a real process and does not know of it. `kill_before` and `kill_after` end that process with SIGKILL at
the moment before or after the engine has done the work.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
import anyio
from aiohttp import web

ProxyFault = Literal["kill_before", "kill_after", "fail", "lost"]
START_SECONDS = 10.0
# Hop-by-hop fields (RFC 9110 section 7.6.1), and what the server writes by itself.
_NOT_HANDED_ON = frozenset({"connection", "transfer-encoding", "content-length", "upgrade", "keep-alive"})


@dataclass(slots=True)
class EngineProxy:
    """One run's socket. `at` counts requests that change something, from 1; 0 is never."""

    engine: str
    kind: ProxyFault = "kill_after"
    at: int = 0
    victim: Callable[[], int | None] = lambda: None
    """Returns the process to kill."""
    address: str = ""
    changes: list[str] = field(default_factory=list)
    fired: bool = False

    async def serve(self, socket: Path, ready: threading.Event, stop: anyio.Event) -> None:
        """Serve until told to stop."""
        connector = aiohttp.UnixConnector(self.engine.removeprefix("unix://"), force_close=True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                return await self._handle(request, session)

            runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
            await runner.setup()
            try:
                await web.UnixSite(runner, str(socket)).start()
                ready.set()
                await stop.wait()
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest, session: aiohttp.ClientSession) -> web.StreamResponse:
        is_hit = False
        if request.method not in ("GET", "HEAD"):
            self.changes.append(f"{request.method} {request.path.partition('/v1.')[2].partition('/')[2]}")
            is_hit = len(self.changes) == self.at
        if is_hit:
            self.fired = True
            if self.kind == "kill_before":
                self._kill()
                return self._cut(request)
            if self.kind == "fail":
                return web.json_response({"message": "injected failure"}, status=500)
        return await self._forward(request, session, is_hit=is_hit)

    async def _forward(
        self, request: web.BaseRequest, session: aiohttp.ClientSession, *, is_hit: bool
    ) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_HANDED_ON}
        body = await request.read()
        url = f"http://engine{request.raw_path}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with session.request(request.method, url, headers=headers, data=body, timeout=timeout) as reply:
            if is_hit:
                await reply.read()
                if self.kind == "kill_after":
                    self._kill()
                return self._cut(request)
            kept = {key: value for key, value in reply.headers.items() if key.lower() not in _NOT_HANDED_ON}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            with suppress(ConnectionError):
                async for chunk in reply.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response

    def _cut(self, request: web.BaseRequest) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _kill(self) -> None:
        pid = self.victim()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def engine_proxy(engine: str, *, kind: ProxyFault = "kill_after", at: int = 0) -> Iterator[EngineProxy]:
    """Serve a proxy in a thread while the context is open."""
    proxy = EngineProxy(engine=engine, kind=kind, at=at)
    ready = threading.Event()
    stops: list[Callable[[], None]] = []

    async def main(socket: Path) -> None:
        stop = anyio.Event()
        token = anyio.lowlevel.current_token()
        stops.append(lambda: anyio.from_thread.run_sync(stop.set, token=token))
        await proxy.serve(socket, ready, stop)

    with tempfile.TemporaryDirectory(prefix="wta-proxy-") as directory:
        socket = Path(directory, "engine.sock")
        thread = threading.Thread(target=anyio.run, args=(main, socket), daemon=True)
        thread.start()
        assert ready.wait(START_SECONDS), "the proxy did not come up"
        proxy.address = f"unix://{socket}"
        try:
            yield proxy
        finally:
            stops[0]()
            thread.join(START_SECONDS)
