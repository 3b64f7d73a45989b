"""What there is on a simulated engine, and how its parts find each other."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.engine_sim.behaviour import EngineRefusal
from tests.support.engine_sim.clock import Clock
from tests.support.engine_sim.container import Container
from tests.support.engine_sim.images import ImageStore, Registry, Usage
from tests.support.engine_sim.networks import Networks


class World:
    """Containers, images, networks and volumes of one engine."""

    def __init__(self, *, name: str, api: tuple[int, int], containerd: bool, host_name: str, architecture: str) -> None:
        self.name = name
        self.api = api
        self.host_name = host_name
        self.architecture = architecture
        self.clock = Clock()
        self.images = ImageStore(containerd=containerd)
        self.registry = Registry()
        self.networks = Networks(name)
        self.containers: dict[str, Container] = {}
        self.volumes: set[str] = set()
        self.made = 0

    def find(self, text: str) -> Container:
        """Return a container by id, name or the beginning of its id. Raises EngineRefusal."""
        found = self.look_up(text)
        if found is None:
            raise EngineRefusal(404, f"No such container: {text}")
        return found

    def look_up(self, text: str) -> Container | None:
        """Return a container by id, name or the beginning of its id."""
        if text in self.containers:
            return self.containers[text]
        name = text.removeprefix("/")
        for container in self.containers.values():
            if container.name == name:
                return container
        found = [container for identity, container in self.containers.items() if text and identity.startswith(text)]
        return found[0] if len(found) == 1 else None

    def usages(self) -> dict[str, list[Usage]]:
        """Return who uses which image."""
        usages: dict[str, list[Usage]] = {}
        for container in self.containers.values():
            usages.setdefault(container.image.id, []).append(Usage(container.id, container.running))
        return usages

    def sharing(self, namespace: str, target: Container) -> Iterator[Container]:
        """Yield the containers that share this namespace (`NetworkMode`, `PidMode`, `IpcMode`) of a container."""
        for container in list(self.containers.values()):
            if container.host.get(namespace) == f"container:{target.id}":
                yield container

    def forget(self, container: Container, *, with_volumes: bool) -> None:
        """Remove everything of a container; its anonymous volumes where nobody else uses them."""
        container.timers.clear()
        container.running = container.paused = container.restarting = False
        container.down.set()
        self.networks.release(container.id)
        self.containers.pop(container.id, None)
        if with_volumes:
            used = {mount.get("Name") for other in self.containers.values() for mount in other.mounts}
            self.volumes -= container.own_volumes - used
