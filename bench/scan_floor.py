"""The floor of the scan: the same requests with the same limits, sent by a bare loop. `python -m bench.scan_floor`.

It knows beforehand what to ask, reads every answer to its end and understands none of it, except the tokens. What must
wait for an answer in the scan waits for it here: the token for the challenge, the question for the token, and what is
asked about stale containers for the registries.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import aiohttp
import anyio

from bench.children import answer_lines, read_settings, say
from bench.fleet import PASSWORD, USER, Fleet, Image
from tests.support.loopback import LoopbackResolver
from watchtower_async.images.manifest import ACCEPT
from watchtower_async.registry.limits import ClientLimits
from watchtower_async.updates.planner import ENGINE_READS_AT_ONCE

Thing = TypeVar("Thing")


class Floor:
    """A loop and its connections."""

    def __init__(self, fleet: Fleet, registries: aiohttp.ClientSession, engine: aiohttp.ClientSession) -> None:
        limits = ClientLimits()
        assert limits.per_host * fleet.registries <= limits.in_all, "then the limit of all is that of the hosts"
        self._per_host = limits.per_host
        self._fleet = fleet
        self._registries = registries
        self._engine = engine
        self._tokens: dict[str, str] = {}

    async def scan(self) -> dict[str, float]:
        """Send everything once; the first time with challenges and tokens."""
        fleet = self._fleet
        begun = time.perf_counter()
        await self._read_all("containers/json?all=1")
        await self._read_all("images/json")
        await self._read_all(*(f"containers/{name}/json" for name in fleet.container_names(fleet.retagged)))
        asked = time.perf_counter()
        async with anyio.create_task_group() as group:
            for host in fleet.hosts:
                group.start_soon(self._ask_host, host)
        answered = time.perf_counter()
        await self._read_all(*(f"images/{fleet.image(number).name}/json" for number in fleet.stale))
        await self._read_all(*(f"containers/{name}/json" for name in fleet.container_names(fleet.stale)))
        return {"whole": time.perf_counter() - begun, "registries": answered - asked}

    async def _read_all(self, *paths: str) -> None:
        await _with_workers(min(ENGINE_READS_AT_ONCE, len(paths)), paths, self._read)

    async def _ask_host(self, host: str) -> None:
        images = [image for image in self._fleet.all_images() if image.host == host]
        if not self._tokens.keys() & {image.name for image in images}:
            await self._head(images[0], None, expected=401)
        await _with_workers(self._per_host, images, self._ask)

    async def _ask(self, image: Image) -> None:
        if image.name not in self._tokens:
            basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            url = f"https://{image.host}/token?service={image.host}&scope=repository:{image.repository}:pull"
            async with self._registries.get(url, headers={"Authorization": f"Basic {basic}"}) as response:
                self._tokens[image.name] = json.loads(await response.read())["token"]
        await self._head(image, self._tokens[image.name], expected=200)

    async def _head(self, image: Image, token: str | None, *, expected: int) -> None:
        headers = {"Accept": ACCEPT} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = f"https://{image.host}/v2/{image.repository}/manifests/latest"
        async with self._registries.head(url, headers=headers) as response:
            assert response.status == expected, response.status

    async def _read(self, path: str) -> None:
        async with self._engine.get(f"http://engine/v1.41/{path}") as response:
            await response.read()
            assert response.status == 200, (path, response.status)


async def _with_workers(count: int, things: Iterable[Thing], work: Callable[[Thing], Awaitable[None]]) -> None:
    """Work on all things, so many at a time. One iterator is shared, so each takes what is next."""
    rest = iter(list(things))

    async def worker() -> None:
        for thing in rest:
            await work(thing)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(worker)


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        headers={"Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def serve(settings: dict[str, Any]) -> None:
    """Send whenever told to."""
    trusted = ssl.create_default_context(cafile=settings["certificate"])
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted, resolver=LoopbackResolver(ports=settings["ports"]))
    engine_connector = aiohttp.UnixConnector(settings["engine"].removeprefix("unix://"))
    async with _session(connector) as registries, _session(engine_connector) as engine:
        floor = Floor(Fleet(**settings["fleet"]), registries, engine)

        async def answer(_line: str) -> object:
            return await floor.scan()

        say("ready")
        await answer_lines(answer)


if __name__ == "__main__":
    anyio.run(serve, read_settings())
