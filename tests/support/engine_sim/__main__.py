"""A simulated engine as a process of its own: `python -m tests.support.engine_sim SOCKET [WORLD]`.

WORLD is a JSON file, or `-` for the standard input:

    {"api_version": "1.51", "registry": "127.0.0.1:5000", "images": 100, "containers": 1000, "running": true}

The images are `<registry>/app<number>:latest`, offered with a newer version than the one that runs where `stale` says
how many of them. Their containers are `app<number>-<number>`, spread evenly. Prints `ready` when it can be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from tests.support.engine_sim.engine import SimulatedEngine
from tests.support.engine_sim.server import serving


async def build(world: dict[str, Any]) -> SimulatedEngine:
    """Make the engine that a description asks for."""
    engine = SimulatedEngine(api_version=world.get("api_version", "1.51"))
    names = [f"{world.get('registry', 'registry.example')}/app{number}:latest" for number in range(world["images"])]
    for name in names:
        engine.offer(name, config={"Env": ["VERSION=1", f"NAME={name}"]})
    for number in range(world["containers"]):
        image = number % len(names)
        await engine.run(f"app{image}-{number}", names[image], running=world.get("running", True))
    for name in names[: world.get("stale", 0)]:
        engine.offer(name, config={"Env": ["VERSION=2", f"NAME={name}"]})
    return engine


async def serve(socket: Path, world: dict[str, Any]) -> None:
    """Serve until the process is ended."""
    engine = await build(world)
    async with serving(engine, socket):
        print("ready", flush=True)
        await anyio.sleep_forever()


def main(arguments: list[str]) -> None:
    """Read the description and serve it."""
    socket, source = arguments[0], arguments[1] if len(arguments) > 1 else "-"
    text = sys.stdin.read() if source == "-" else Path(source).read_text()
    anyio.run(serve, Path(socket), json.loads(text))


if __name__ == "__main__":
    main(sys.argv[1:])
