"""The simulated engine on a unix socket: the HTTP API, and faults on the way."""

from __future__ import annotations

import base64
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

from tests.support.engine_sim.behaviour import EngineRefusal, JsonObject, NotModified
from tests.support.engine_sim.container import Container
from tests.support.engine_sim.engine import SimulatedEngine
from tests.support.engine_sim.faults import Traced
from tests.support.engine_sim.files import archive_of, stat_of, unpack
from tests.support.engine_sim.images import MANIFEST_TYPE, familiar, repository_of
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import Engine, connect_engine

_VERSION = re.compile(r"/v(\d+)\.(\d+)(/.*)")
_PROGRESS_LINES = 2
_FOREVER = 1e9


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says: JSON, raw bytes, or the lines of a stream that end with an error or not."""

    status: int = 200
    json: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawStream:
    """Bytes that come as they are made."""

    chunks: AsyncIterator[bytes]

    def __call__(self) -> AsyncIterator[bytes]:
        """Return the bytes."""
        return self.chunks


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the verbs need it."""

    params: dict[str, str]
    body: JsonObject
    auth: str | None
    data: bytes = b""
    """The body as it was sent."""

    def flag(self, name: str) -> bool:
        """Say whether a parameter is set."""
        return self.params.get(name, "").lower() not in ("", "0", "false", "no")


@asynccontextmanager
async def serving(engine: SimulatedEngine, path: Path | None = None) -> AsyncIterator[EngineAddress]:
    """Serve an engine on a unix socket, by default in a directory of its own, and tell its address."""
    with tempfile.TemporaryDirectory(prefix="sim-", dir="/tmp") as directory:
        socket = path or Path(directory) / "engine.sock"  # such paths are at most some hundred bytes long
        server = EngineServer(engine)
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=_silent(),
            handler_cancellation=True,
            keepalive_timeout=_FOREVER,
            shutdown_timeout=0.1,
        )
        await runner.setup()

        def cut() -> None:
            for connection in [] if runner.server is None else runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()

        engine.cut_connections.append(cut)
        try:
            await web.UnixSite(runner, str(socket)).start()
            yield EngineAddress(url=f"unix://{socket}", source="test", is_local=True)
        finally:
            engine.cut_connections.remove(cut)
            cut()
            await runner.cleanup()
        if server.mistakes:
            raise ExceptionGroup("mistakes in the simulated engine", server.mistakes)


@asynccontextmanager
async def connected(engine: SimulatedEngine, *, call_timeout: float = 60.0) -> AsyncIterator[Engine]:
    """Serve an engine and connect our client to it."""
    async with serving(engine) as address, connect_engine(address, call_timeout=call_timeout) as client:
        yield client


def _silent() -> logging.Logger:
    logger = logging.getLogger("simulated-engine")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


class EngineServer:
    """Turns requests into verbs of the engine, unless a fault is in the way."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine
        self._world = engine.world
        self.mistakes: list[Exception] = []
        """Errors in the simulation itself."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, or let it meet its fault."""
        try:
            return await self._handle(request)
        except ConnectionError:
            raise  # the client went away
        except Exception as error:
            self.mistakes.append(error)
            raise

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        faults = self._engine.faults
        if self._engine.is_down or faults.client_is_dead:
            return _cut(request)
        changes = request.method not in ("GET", "HEAD")
        self._engine.trace.append(Traced(len(self._engine.trace) + 1, self._describe(request), changes))
        kind = faults.next(changes=changes)
        fault = faults.fault
        if kind == "kill_before":
            faults.client_is_dead = True
            return _cut(request)
        if kind == "hang":
            await anyio.sleep_forever()
        if kind == "fail":
            assert fault is not None
            return _json({"message": fault.text}, fault.status)
        if kind == "kill_during":
            faults.client_is_dead = True
            with anyio.move_on_after(0):  # it begins, and its end is not waited for
                await self._silently(request, data)
            return _cut(request)
        if kind in ("kill_after", "lost"):
            await self._silently(request, data)
            faults.client_is_dead = kind == "kill_after"
            return _cut(request)
        return await self._answer(request, data)

    async def _silently(self, request: web.Request, data: bytes) -> None:
        answer = await self._dispatch(request, data)
        if callable(answer):
            async for _ in answer():
                pass

    async def _answer(self, request: web.Request, data: bytes) -> web.StreamResponse:
        answer = await self._dispatch(request, data)
        if isinstance(answer, Answer):
            if self._engine.is_down:
                return _cut(request)
            if answer.raw is not None:
                return web.Response(status=answer.status, body=answer.raw)
            if answer.json is None:
                return web.Response(status=answer.status, headers=answer.headers)
            return _json(answer.json, answer.status)
        is_raw = isinstance(answer, RawStream)
        kind = "application/vnd.docker.raw-stream" if is_raw else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        async for item in answer():
            await response.write(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\r\n")
        await response.write_eof()
        return response

    async def _dispatch(self, request: web.Request, data: bytes) -> Answer | RawStream | Stream:
        try:
            path = self._path(request.path)
            is_json = request.content_type == "application/json"
            body = json.loads(data or b"{}") or {} if is_json else {}
            sent = Request(dict(request.query), body, request.headers.get("X-Registry-Auth"), data)
            for method, pattern, verb in _ROUTES:
                match = pattern.fullmatch(path)
                if match and method == request.method:
                    return await verb(self, sent, *match.groups())
        except EngineRefusal as refusal:
            return Answer(refusal.status, {"message": refusal.message})
        except NotModified:
            return Answer(304)
        return Answer(404, {"message": "page not found"})

    def _path(self, path: str) -> str:
        match = _VERSION.fullmatch(path)
        if match is None:
            return path
        asked, newest = (int(match[1]), int(match[2])), self._world.api
        if asked > newest:
            text = "client version {}.{} is too new. Maximum supported API version is {}.{}"
            raise EngineRefusal(400, text.format(*asked, *newest))
        return match[3]

    def _describe(self, request: web.Request) -> str:
        path = _VERSION.sub(r"\3", request.path).removeprefix("/")
        parts = path.split("/")
        if len(parts) > 1 and parts[0] == "containers":
            found = self._world.look_up(parts[1])
            parts[1] = parts[1] if found is None else found.name
        query = "&".join(f"{key}={value}" for key, value in request.query.items())
        return f"{request.method} {'/'.join(parts)}" + (f"?{query}" if query else "")

    # ---- verbs -----------------------------------------------------------------------------------------------------

    async def _version(self, sent: Request) -> Answer:
        return Answer(json=self._engine.api_version())

    async def _info(self, sent: Request) -> Answer:
        return Answer(json=self._engine.api_info())

    async def _list(self, sent: Request) -> Answer:
        listed = self._engine.api_list()
        if not sent.flag("all"):
            listed = [item for item in listed if item["State"] in ("running", "paused", "restarting")]
        return Answer(json=listed)

    async def _create(self, sent: Request) -> Answer:
        name, platform = sent.params.get("name", ""), sent.params.get("platform")
        return Answer(201, self._engine.api_create(name, sent.body, platform))

    async def _inspect(self, sent: Request, text: str) -> Answer:
        return Answer(json=self._engine.api_inspect(self._world.find(text)))

    async def _rename(self, sent: Request, text: str) -> Answer:
        self._engine.api_rename(self._world.find(text), sent.params.get("name", ""))
        return Answer(204)

    async def _start(self, sent: Request, text: str) -> Answer:
        await self._engine.lifecycle.start(self._world.find(text))
        return Answer(204)

    async def _stop(self, sent: Request, text: str) -> Answer:
        timeout = int(sent.params["t"]) if "t" in sent.params else None
        signal = sent.params.get("signal") if self._world.api >= (1, 42) else None
        await self._engine.lifecycle.stop(self._world.find(text), timeout, signal)
        return Answer(204)

    async def _restart(self, sent: Request, text: str) -> Answer:
        timeout = int(sent.params["t"]) if "t" in sent.params else None
        signal = sent.params.get("signal") if self._world.api >= (1, 42) else None
        await self._engine.lifecycle.restart(self._world.find(text), timeout, signal)
        return Answer(204)

    async def _kill(self, sent: Request, text: str) -> Answer:
        await self._engine.lifecycle.kill(self._world.find(text), sent.params.get("signal", "KILL"))
        return Answer(204)

    async def _pause(self, sent: Request, text: str) -> Answer:
        self._engine.lifecycle.pause(self._world.find(text))
        return Answer(204)

    async def _unpause(self, sent: Request, text: str) -> Answer:
        self._engine.lifecycle.unpause(self._world.find(text))
        return Answer(204)

    async def _update(self, sent: Request, text: str) -> Answer:
        return Answer(json=self._engine.api_update(self._world.find(text), sent.body))

    async def _remove(self, sent: Request, text: str) -> Answer:
        container = self._world.find(text)
        await self._engine.api_remove(container, force=sent.flag("force"), with_volumes=sent.flag("v"))
        return Answer(204)

    async def _logs(self, sent: Request, text: str) -> Answer:
        container = self._world.find(text)
        wanted = [stream for stream, name in ((1, "stdout"), (2, "stderr")) if sent.flag(name)]
        if not wanted:
            raise EngineRefusal(400, "Bad parameters: you must choose at least one stream")
        return Answer(raw=_output(container, wanted, sent.params.get("tail", "all")))

    async def _changes(self, sent: Request, text: str) -> Answer:
        paths = self._world.find(text).changed_files
        return Answer(raw=json.dumps([{"Path": path, "Kind": 1} for path in sorted(paths)] or None).encode())

    async def _stat(self, sent: Request, text: str) -> Answer:
        stat = json.dumps(stat_of(self._world.find(text), sent.params.get("path", ""))).encode()
        return Answer(headers={"X-Docker-Container-Path-Stat": base64.b64encode(stat).decode()})

    async def _get_archive(self, sent: Request, text: str) -> Answer:
        return Answer(raw=archive_of(self._world.find(text), sent.params.get("path", "")))

    async def _put_archive(self, sent: Request, text: str) -> Answer:
        unpack(self._world.find(text), sent.params.get("path", ""), sent.data)
        return Answer(200)

    async def _create_exec(self, sent: Request, text: str) -> Answer:
        return Answer(201, self._engine.execs.create(self._world.find(text), sent.body))

    async def _start_exec(self, sent: Request, text: str) -> RawStream:
        return RawStream(self._engine.execs.start(text))

    async def _inspect_exec(self, sent: Request, text: str) -> Answer:
        return Answer(json=self._engine.execs.inspect(text))

    async def _images(self, sent: Request) -> Answer:
        return Answer(json=self._world.images.listing(self._world.api))

    async def _image(self, sent: Request, text: str) -> Answer:
        image = self._world.images.find(text)
        if image is None:
            prefix = f"no such image: {text}: " if self._world.api < (1, 44) else ""
            raise EngineRefusal(404, f"{prefix}No such image: {familiar(text)}")
        return Answer(json=self._world.images.document(image, self._world.api))

    async def _tag(self, sent: Request, text: str) -> Answer:
        self._world.images.tag(text, f"{sent.params['repo']}:{sent.params.get('tag') or 'latest'}")
        return Answer(201)

    async def _remove_image(self, sent: Request, text: str) -> Answer:
        records = self._world.images.remove(text, force=sent.flag("force"), usages=self._world.usages())
        return Answer(json=records)

    async def _pull(self, sent: Request) -> Stream:
        name, version = sent.params["fromImage"], sent.params.get("tag") or "latest"
        name = familiar(f"{name}@{version}" if ":" in version else f"{name}:{version}")
        offer = self._world.registry.ask(name, sent.auth, for_pull=True)
        platform = (sent.params.get("platform") or f"linux/{offer.architecture}").split("/")
        if platform[1:2] != [offer.architecture]:
            raise EngineRefusal(404, f"no matching manifest for {'/'.join(platform)} in the manifest list entries")

        async def lines() -> AsyncIterator[JsonObject]:
            yield {"status": f"Pulling from {repository_of(name).partition('/')[2]}", "id": version}
            for _ in range(_PROGRESS_LINES):
                await anyio.sleep(offer.seconds / _PROGRESS_LINES)
                yield {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "315fb56cebbb"}
            if offer.error is not None:
                yield {"errorDetail": {"message": offer.error}, "error": offer.error}
                return
            known = self._world.images.find(name)
            image = self._world.images.take(offer, name, self._engine.now())
            yield {"status": f"Digest: {offer.digest}"}
            news = "Image is up to date" if known == image else "Downloaded newer image"
            yield {"status": f"Status: {news} for {name}"}

        return lines

    async def _distribution(self, sent: Request, text: str) -> Answer:
        offer = self._world.registry.ask(familiar(text), sent.auth, for_pull=False)
        return Answer(
            json={
                "Descriptor": {"mediaType": MANIFEST_TYPE, "digest": offer.digest, "size": 527},
                "Platforms": [{"architecture": offer.architecture, "os": "linux"}],
            }
        )

    async def _network(self, sent: Request, text: str) -> Answer:
        return Answer(json=self._world.networks.find(text).document())

    async def _connect(self, sent: Request, text: str) -> Answer:
        self._engine.api_connect(text, sent.body)
        return Answer(200)

    async def _disconnect(self, sent: Request, text: str) -> Answer:
        self._engine.api_disconnect(text, sent.body)
        return Answer(200)


Stream = Callable[[], AsyncIterator[JsonObject]]
_Verb = Callable[..., Awaitable[Answer | RawStream | Stream]]


def _route(method: str, pattern: str, verb: _Verb) -> tuple[str, re.Pattern[str], _Verb]:
    return method, re.compile(pattern), verb


_ROUTES = [
    _route("GET", "/version", EngineServer._version),
    _route("GET", "/info", EngineServer._info),
    _route("GET", "/containers/json", EngineServer._list),
    _route("POST", "/containers/create", EngineServer._create),
    _route("GET", "/containers/([^/]+)/json", EngineServer._inspect),
    _route("POST", "/containers/([^/]+)/rename", EngineServer._rename),
    _route("POST", "/containers/([^/]+)/start", EngineServer._start),
    _route("POST", "/containers/([^/]+)/stop", EngineServer._stop),
    _route("POST", "/containers/([^/]+)/restart", EngineServer._restart),
    _route("POST", "/containers/([^/]+)/kill", EngineServer._kill),
    _route("POST", "/containers/([^/]+)/pause", EngineServer._pause),
    _route("POST", "/containers/([^/]+)/unpause", EngineServer._unpause),
    _route("POST", "/containers/([^/]+)/update", EngineServer._update),
    _route("DELETE", "/containers/([^/]+)", EngineServer._remove),
    _route("GET", "/containers/([^/]+)/logs", EngineServer._logs),
    _route("GET", "/containers/([^/]+)/changes", EngineServer._changes),
    _route("HEAD", "/containers/([^/]+)/archive", EngineServer._stat),
    _route("GET", "/containers/([^/]+)/archive", EngineServer._get_archive),
    _route("PUT", "/containers/([^/]+)/archive", EngineServer._put_archive),
    _route("POST", "/containers/([^/]+)/exec", EngineServer._create_exec),
    _route("POST", "/exec/([^/]+)/start", EngineServer._start_exec),
    _route("GET", "/exec/([^/]+)/json", EngineServer._inspect_exec),
    _route("GET", "/images/json", EngineServer._images),
    _route("POST", "/images/create", EngineServer._pull),
    _route("GET", "/images/(.+)/json", EngineServer._image),
    _route("POST", "/images/(.+)/tag", EngineServer._tag),
    _route("DELETE", "/images/(.+)", EngineServer._remove_image),
    _route("GET", "/distribution/(.+)/json", EngineServer._distribution),
    _route("GET", "/networks/([^/]+)", EngineServer._network),
    _route("POST", "/networks/([^/]+)/connect", EngineServer._connect),
    _route("POST", "/networks/([^/]+)/disconnect", EngineServer._disconnect),
]


def _json(value: Any, status: int) -> web.Response:
    # The engine names no character set, and clients compare.
    return web.Response(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _output(container: Container, wanted: list[int], tail: str) -> bytes:
    lines = [(stream, text.encode()) for stream, text in container.output if stream in wanted]
    if tail.isdecimal():
        lines = lines[len(lines) - min(int(tail), len(lines)) :]
    if container.config.get("Tty"):
        return b"".join(text for _, text in lines)
    return b"".join(bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for stream, text in lines)
