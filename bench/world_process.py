"""The world of the scan: the engine and the registries of the fleet, `python -m bench.world_process`.

Answers `count` with what was asked of it since the last time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from bench.children import answer_lines, read_settings, say
from bench.fleet import PASSWORD, USER, Fleet, container_name, content
from tests.support.engine_sim import SimulatedEngine, serving
from tests.support.loopback import certificate_for
from tests.support.simulated_registry import BearerAuth, Recorded, SimulatedRegistry, SimulatedTokens

_ENGINE_CALLS = (
    (re.compile(r"GET containers/json.*"), "list containers"),
    (re.compile(r"GET images/json.*"), "list images"),
    (re.compile(r"GET containers/[^/]+/json"), "inspect container"),
    (re.compile(r"GET images/.+/json"), "inspect image"),
    (re.compile(r"GET (version|info)"), "at start"),
)


async def build_engine(fleet: Fleet) -> SimulatedEngine:
    """Make the engine: every image was pulled as what runs, whatever has been published since."""
    engine = SimulatedEngine()
    images = fleet.all_images()
    for image in images:
        engine.offer(image.name, config={"Env": [f"NAME={image.name}"]}, digest=image.running)
    for index in range(fleet.containers):
        number = index % fleet.images
        await engine.run(container_name(number, index), images[number].name)
    for number in fleet.retagged:
        engine.add_image(images[number].name, config={"Env": [f"BUILT={number}"]})
    return engine


def build_registries(fleet: Fleet, delay: float) -> dict[str, SimulatedRegistry]:
    """Make the registries: tokens for one user, and nothing for anybody else."""
    registries = {
        host: SimulatedRegistry(
            auth=BearerAuth(SimulatedTokens(users={USER: PASSWORD}, anonymous=False, service=host)), answer_delay=delay
        )
        for host in fleet.hosts
    }
    for number, image in enumerate(fleet.all_images()):
        version = 2 if number in fleet.stale else 1
        digest = registries[image.host].publish_image(image.repository, "latest", content(image.repository, version))
        assert digest == image.published
    return registries


def kind_of_call(text: str) -> str:
    """Name a request to the engine."""
    return next((kind for pattern, kind in _ENGINE_CALLS if pattern.fullmatch(text)), text)


def kind_of_question(seen: Recorded) -> str:
    """Name a request to a registry."""
    match seen.kind, seen.method, seen.status:
        case "manifest", _, 401:
            return "challenge"
        case "manifest", "HEAD", 200:
            return "HEAD of a manifest"
        case "token", _, 200:
            return "token"
        case _:
            return f"{seen.kind} {seen.method} {seen.status}"


@asynccontextmanager
async def _registries(fleet: Fleet, delay: float) -> AsyncIterator[tuple[dict[str, SimulatedRegistry], dict[str, Any]]]:
    certificate = certificate_for(*fleet.hosts)
    registries = build_registries(fleet, delay)
    async with AsyncExitStack() as stack:
        ports = {}
        for host, registry in registries.items():
            address = await stack.enter_async_context(registry.serve(tls=certificate.server))
            ports[host] = int(address.rpartition(":")[2])
        yield registries, {"ports": ports, "certificate": certificate.pem}


async def serve_registries(fleet: Fleet, delay: float) -> None:
    """Serve the registries until the input ends."""
    async with _registries(fleet, delay) as (registries, ready):

        async def count(_line: str) -> object:
            seen = [item for registry in registries.values() for item in registry.requests]
            for registry in registries.values():
                registry.requests.clear()
            return Counter(kind_of_question(item) for item in seen)

        say(ready)
        await answer_lines(count)


async def serve_engine(fleet: Fleet, socket: Path) -> None:
    """Serve the engine until the input ends."""
    engine = await build_engine(fleet)
    async with serving(engine, socket) as address:

        async def count(_line: str) -> object:
            kinds = Counter(kind_of_call(item.text) for item in engine.trace)
            engine.trace.clear()
            return kinds

        say({"address": address.url})
        await answer_lines(count)


def main() -> None:
    """Read what to serve, and serve it."""
    settings = read_settings()
    fleet = Fleet(**settings["fleet"])
    if settings["serve"] == "engine":
        anyio.run(serve_engine, fleet, Path(settings["socket"]))
    else:
        anyio.run(serve_registries, fleet, settings["delay"])


if __name__ == "__main__":
    main()
