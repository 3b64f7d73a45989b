"""An engine in memory for tests that only read: documents in, the same documents out, and every call counted.

What an engine *does* (names, states, refusals) is the simulator's; here an engine is a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from watchtower_async.engine.client import Engine, EngineInfo, JsonObject
from watchtower_async.errors import EngineError, NoSuchObjectError

AMD64 = EngineInfo(version="28.5.1", api_version=(1, 51), os="linux", architecture="amd64", is_podman=False)

Answers = Mapping[str, JsonObject | EngineError]
"""What is answered about a key; an error is raised."""


class SmallEngine(Engine):
    """Answers reads from tables. A container is found by id, by a prefix of it, or by name."""

    def __init__(
        self,
        *,
        containers: Iterable[JsonObject] = (),
        listed: Iterable[JsonObject] | None = None,
        images: Answers | None = None,
        distribution: Answers | None = None,
        broken: Mapping[str, EngineError] | None = None,
        info: EngineInfo = AMD64,
    ) -> None:
        """`listed` are the entries of the list where they differ; `broken` maps ids to what inspecting them raises."""
        self.name = "unix:///small.sock"
        self.info = info
        self.calls: Counter[str] = Counter()
        self.headers: list[str] = []
        self._containers = list(containers)
        self._listed = self._containers if listed is None else list(listed)
        self._images = images or {}
        self._distribution = distribution or {}
        self._broken = broken or {}

    async def list_containers(self) -> list[JsonObject]:
        """Return the entries of the list."""
        self.calls["list_containers"] += 1
        return self._listed

    async def list_images(self) -> list[JsonObject]:
        """Return the images that can be inspected."""
        self.calls["list_images"] += 1
        return [document for document in self._images.values() if isinstance(document, dict)]

    async def inspect_container(self, id_or_name: str) -> JsonObject:
        """Find a container as an engine does."""
        self.calls["inspect_container"] += 1
        if id_or_name in self._broken:
            raise self._broken[id_or_name]
        for document in self._containers:
            if document["Id"].startswith(id_or_name) or document.get("Name") == f"/{id_or_name}":
                return document
        raise NoSuchObjectError(f"No such container: {id_or_name}", status=404)

    async def inspect_image(self, id_or_ref: str) -> JsonObject:
        """Return an image's document."""
        self.calls["inspect_image"] += 1
        return _answer(self._images, id_or_ref)

    async def inspect_distribution(self, name: str, *, registry_auth: str) -> JsonObject:
        """Answer for a registry, and remember the header that came along."""
        self.calls["inspect_distribution"] += 1
        self.headers.append(registry_auth)
        return _answer(self._distribution, name)


def _answer(answers: Answers, key: str) -> JsonObject:
    answer = answers.get(key, NoSuchObjectError(f"no such thing: {key}", status=404))
    if isinstance(answer, EngineError):
        raise answer
    return answer
