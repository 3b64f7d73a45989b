"""Who shares the namespaces of a container, or links to it: those have to be created anew together with it.

The list of containers tells who lives in whose network and who links to whom, but not who shares a process or IPC
namespace. That is asked once per container, as it never changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.each import each
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.spec_relations import CONTAINER_MODE, NAMESPACES
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.errors import NoSuchObjectError

INSPECTED_AT_ONCE = 8


class Sharers:
    """Knows the shared namespaces on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._modes: dict[str, dict[str, str]] = {}

    async def documents(self, containers: Sequence[ContainerSummary]) -> dict[str, JsonObject]:
        """Return for each container what its `HostConfig` says about namespaces. Raises EngineUnavailableError."""
        limiter = anyio.CapacityLimiter(INSPECTED_AT_ONCE)

        async def inspect(identity: str) -> dict[str, str] | None:
            async with limiter:
                try:
                    host = section(await self._engine.inspect_container(identity), "HostConfig")
                except NoSuchObjectError:
                    return None
            return {key: str(host.get(key) or "") for key in NAMESPACES}

        known = {item.id: self._modes[item.id] for item in containers if item.id in self._modes}
        unknown = [item.id for item in containers if item.id not in known]
        found = zip(unknown, await each(unknown, inspect), strict=True)
        self._modes = known | {identity: modes for identity, modes in found if modes is not None}
        return {identity: {"HostConfig": modes} for identity, modes in self._modes.items()}

    async def of(self, containers: Sequence[ContainerSummary], ids: Collection[str]) -> tuple[str, ...]:
        """Name those that share a namespace of one of these, or link to it, and are none of them themselves."""
        documents = await self.documents(containers)
        modes = {f"{CONTAINER_MODE}{identity}" for identity in ids}
        # The engine lists a legacy link among the names of its target: "/web/db" says that web links to this container.
        linked = {alias.strip("/").partition("/")[0] for item in containers if item.id in ids for alias in item.aliases}
        found = {
            item.name
            for item in containers
            if item.id not in ids
            and (
                item.name in linked or not modes.isdisjoint(section(documents.get(item.id, {}), "HostConfig").values())
            )
        }
        return tuple(sorted(name for name in found if parse_temporary_name(name) is None))
