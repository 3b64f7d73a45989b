"""The measured process: scans the fleet as the program does, and does nothing else. `python -m bench.scan_process`.

Answers `scan` with how long one took, and `peak` with its memory. The first scan is the cold one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

import watchtower_async.cli.main  # noqa: F401 - first, as in the program
from bench.children import answer_lines, peak_memory, read_settings, say
from tests.support.loopback import LoopbackResolver
from watchtower_async import __version__
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import Engine, connect_engine
from watchtower_async.engine.inventory import take_inventory
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.images.reference import Reference
from watchtower_async.registry.client import RegistryClient
from watchtower_async.updates.planner import Planner
from watchtower_async.updates.scanner import Answer, Scanner
from watchtower_async.updates.selection import SelectionPolicy


class TimedScanner(Scanner):
    """Tells how long the questions to the registries took."""

    seconds = 0.0

    async def scan(self, references: Iterable[Reference]) -> Mapping[Reference, Answer]:
        """Answer each distinct reference once."""
        begun = time.perf_counter()
        answers = await super().scan(references)
        self.seconds = time.perf_counter() - begun
        return answers


@asynccontextmanager
async def scanning(settings: dict[str, Any]) -> AsyncIterator[tuple[Engine, CredentialStore, TimedScanner, Planner]]:
    """Put together what a scan needs, with the limits of the program."""
    address = EngineAddress(url=settings["engine"], source="benchmark", is_local=True)
    store = CredentialStore(directory=Path(settings["config"]))
    async with (
        connect_engine(address) as engine,
        RegistryClient(
            credentials=store,
            user_agent=f"watchtower_async/{__version__}",
            insecure_hosts=frozenset(),
            ca_bundle=Path(settings["certificate"]),
            resolver=LoopbackResolver(ports=settings["ports"]),
            environ={},
        ) as registries,
    ):
        scanner = TimedScanner(registries=registries, engine=engine, credentials=store, shares_loopback=True)
        info = await engine.system_info()
        facts = EngineFacts(
            api_version=engine.info.api_version,
            is_podman=engine.info.is_podman,
            host_name=str(info["Name"]),
            platform=f"{engine.info.os}/{engine.info.architecture}",
        )
        policy = SelectionPolicy(names=(), label_enable=False, monitor_only=False, own_id=None)
        yield engine, store, scanner, Planner(engine=engine, scanner=scanner, policy=policy, facts=facts)


async def serve(settings: dict[str, Any]) -> None:
    """Scan whenever told to."""
    import watchtower_async.app  # noqa: F401, PLC0415 - the whole program is in the memory that is measured

    async with scanning(settings) as (engine, store, scanner, planner):

        async def answer(line: str) -> object:
            if line == "peak":
                return peak_memory()
            begun = time.perf_counter()
            problem = await store.reload()
            plan = await planner.make(await take_inventory(engine))
            seconds = time.perf_counter() - begun
            assert problem is None, problem
            unknown = [f"{item.name}: {item.reason.text}" for item in plan.items if item.action == "unknown"]
            assert not unknown, unknown[:3]
            return {"whole": seconds, "registries": scanner.seconds, "updates": len(plan.updates)}

        say("ready")
        await answer_lines(answer)


if __name__ == "__main__":
    anyio.run(serve, read_settings())
