"""The same small world on a simulated engine and on a real one, for the tests that compare them."""

from __future__ import annotations

import base64
import json
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio

from tests.support.docker_cli import DockerCli, DockerCliError
from tests.support.engine_sim import Behaviour, SimulatedEngine
from tests.support.testbed import TestBed
from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.inventory import take_inventory

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05
SECOND = 1_000_000_000
USER, PASSWORD = "tester", "secret of the simulation"


@dataclass(frozen=True, slots=True)
class Kind:
    """What containers of an image do, said to a builder and to the simulation."""

    command: tuple[str, ...]
    behaviour: Behaviour
    changes: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)


SERVES = Kind(
    ("sh", "-c", 'trap "exit 0" TERM; echo out; sleep 0.1; echo err >&2; sleep 1000 & wait'),
    Behaviour(log="out\n", error_log="err\n"),
)
DEAF = Kind(("sleep", "1000"), Behaviour(ignores_stop_signal=True))
"""Its first process does not hear the stop signal."""
FAILS = Kind(("sh", "-c", "exit 3"), Behaviour(exits_after=0.02, exit_code=3))
DONE = Kind(("true",), Behaviour(exits_after=0.02))
BROKEN = Kind(("/nope",), Behaviour(start_error='exec: "/nope": stat /nope: no such file or directory: unknown'))
HEALTHY = Kind(
    ("sleep", "1000"),
    Behaviour(healthy_after=0.3, health_output="fine\n", ignores_stop_signal=True),
    ("HEALTHCHECK --interval=300ms CMD echo fine",),
    {"Healthcheck": {"Test": ["CMD-SHELL", "echo fine"], "Interval": 3 * SECOND // 10}},
)
UNHEALTHY = Kind(
    ("sleep", "1000"),
    Behaviour(unhealthy_after=0.3, health_output="broken\n", ignores_stop_signal=True),
    ("HEALTHCHECK --interval=300ms --retries=1 CMD echo broken; exit 1",),
    {"Healthcheck": {"Test": ["CMD-SHELL", "echo broken; exit 1"], "Interval": 3 * SECOND // 10, "Retries": 1}},
)
RICH = Kind(
    ("sleep", "1000"),
    Behaviour(ignores_stop_signal=True),
    ("ENV A=image", "EXPOSE 8080", "VOLUME /data", "WORKDIR /tmp", "USER 1000"),
    {
        "Env": ["PATH=/bin", "A=image"],
        "ExposedPorts": {"8080/tcp": {}},
        "Volumes": {"/data": {}},
        "WorkingDir": "/tmp",
        "User": "1000",
    },
)
KINDS = {
    "serves": SERVES,
    "deaf": DEAF,
    "fails": FAILS,
    "done": DONE,
    "broken": BROKEN,
    "healthy": HEALTHY,
    "unhealthy": UNHEALTHY,
    "rich": RICH,
}


def auth_header(user: str, password: str) -> str:
    """Return an `X-Registry-Auth` header."""
    return base64.urlsafe_b64encode(json.dumps({"username": user, "password": password}).encode()).decode()


class Lab(ABC):
    """A client of an engine, with images, a registry that wants a login, and networks."""

    def __init__(self, client: Engine, *, prefix: str, registry: str, auth: str) -> None:
        self.client = client
        self.prefix = prefix
        self.registry = registry
        self.auth = auth
        self.bad_auth = auth_header("tester", "wrong")
        self.no_auth = base64.urlsafe_b64encode(b"{}").decode()

    @property
    def api(self) -> tuple[int, int]:
        """The API version in which the client speaks."""
        return self.client.info.api_version

    def name(self, word: str) -> str:
        """Return a name that no other test has."""
        return f"{self.prefix}-{word}"

    @abstractmethod
    def image(self, kind: str) -> str:
        """Return the name of an image of this kind, which all tests share."""

    @abstractmethod
    def own_image(self, name: str, version: str) -> str:
        """Make an image that only this test has, under this name; return its id. Each version is another image."""

    @abstractmethod
    def publish(self, name: str, version: str, *, broken: bool = False) -> str:
        """Publish an image that the engine does not have; return its digest. A pull of a broken one fails half-way."""

    @abstractmethod
    def network(self, word: str, subnet: str) -> str:
        """Make a network and return its name."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels that everything of this test needs."""
        return {}

    @property
    def has_containerd_store(self) -> bool:
        """Whether containerd keeps the images: their ids are digests of manifests, and pulls fail in other words."""
        return False

    def request(self, kind: str = "serves", **fields: Any) -> JsonObject:
        """Return a create request."""
        return {"Image": self.image(kind), **fields, "Labels": {**fields.get("Labels", {}), **self.labels}}

    async def create(self, word: str, kind: str = "serves", **fields: Any) -> str:
        """Create a container and return its id."""
        return await self.client.create_container(self.name(word), self.request(kind, **fields))

    async def run(self, word: str, kind: str = "serves", **fields: Any) -> str:
        """Create and start a container and return its id."""
        container_id = await self.create(word, kind, **fields)
        await self.client.start_container(container_id)
        return container_id

    async def state(self, container_id: str) -> JsonObject:
        """Return `State` of a container."""
        document = await self.client.inspect_container(container_id)
        return dict(document["State"])

    async def until(self, container_id: str, holds: Callable[[JsonObject], object]) -> JsonObject:
        """Inspect a container until something holds for it; return the document."""
        async for document in _repeatedly(lambda: self.client.inspect_container(container_id)):
            if holds(document):
                return document
        raise AssertionError(f"it did not happen; the last state was {document.get('State')}")

    async def listed(self, container_id: str) -> JsonObject:
        """Return a container's entry of the list."""
        return next(item for item in await self.client.list_containers() if item["Id"] == container_id)

    async def listed_image(self, image_id: str) -> JsonObject | None:
        """Return an image's entry of the list, if it is in it."""
        return next((item for item in await self.client.list_images() if item["Id"] == image_id), None)


class SimulatedLab(Lab):
    """On a simulated engine."""

    def __init__(self, client: Engine, engine: SimulatedEngine) -> None:
        super().__init__(client, prefix="sim", registry="registry.example:5000", auth=auth_header(USER, PASSWORD))
        self.engine = engine

    def image(self, kind: str) -> str:
        """Return the name of an image of this kind."""
        name, what = f"kind:{kind}", KINDS[kind]
        self.engine.add_image(name, config={**what.config, "Cmd": list(what.command)}, behaviour=what.behaviour)
        return name

    def own_image(self, name: str, version: str) -> str:
        """Make an image."""
        return self.engine.add_image(name, config={"Env": [f"VERSION={version}"]})

    def publish(self, name: str, version: str, *, broken: bool = False) -> str:
        """Publish an image."""
        return self.engine.offer(
            name,
            config={"Env": [f"VERSION={version}"]},
            login=(USER, PASSWORD),
            error="unknown blob" if broken else None,
        )

    def network(self, word: str, subnet: str) -> str:
        """Make a network."""
        self.engine.add_network(self.name(word), subnet)
        return self.name(word)


class SharedImages:
    """The images of all kinds on the real engine, each made when it is first wanted."""

    def __init__(self, docker: DockerCli) -> None:
        self._docker = docker
        self._prefix = f"wta-contract-{secrets.token_hex(4)}"
        self._made: set[str] = set()
        self.are_with_containerd = "io.containerd.snapshotter" in docker("info", "--format", "{{.DriverStatus}}")

    def name_of(self, kind: str) -> str:
        """Return the name of an image of this kind."""
        name, what = f"{self._prefix}:{kind}", KINDS[kind]
        if kind not in self._made:
            self._docker.import_image(name, *what.changes, command=what.command)
            self._made.add(kind)
        return name


class RealLab(Lab):
    """On the engine and with the registry of the test bed."""

    def __init__(
        self, client: Engine, *, docker: DockerCli, testbed: TestBed, images: SharedImages, prefix: str
    ) -> None:
        auth = auth_header(testbed.user, testbed.password)
        super().__init__(client, prefix=prefix, registry=testbed.registry, auth=auth)
        self._docker = docker
        self._testbed = testbed
        self._images = images
        self._own_images: list[str] = []
        self._networks: list[str] = []

    async def clean_up(self) -> None:
        """Remove what the test made, in as few calls as there are kinds; the run's sweep takes what is left."""
        inventory = await take_inventory(self.client)
        containers = [container.id for container in inventory.containers if container.name.startswith(self.prefix)]
        for command, names in (
            (("rm", "--force", "--volumes"), containers),
            (("rmi", "--force"), [name for name in self._own_images if name in inventory.images]),
            (("network", "rm"), self._networks),
        ):
            if names:
                self._remove(*command, *names)

    def _remove(self, *command: str) -> None:
        try:
            self._docker(*command)
        except DockerCliError as error:
            # Podman keeps what others depend on; by now those are gone.
            if "has dependent containers" not in str(error):
                raise
            self._docker(*command)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the test, by which everything is removed."""
        return {label.partition("=")[0]: label.partition("=")[2] for label in self._docker.labels}

    @property
    def has_containerd_store(self) -> bool:
        """Told by the store's driver."""
        return self._images.are_with_containerd

    def image(self, kind: str) -> str:
        """Return the name of an image of this kind."""
        return self._images.name_of(kind)

    def own_image(self, name: str, version: str) -> str:
        """Make an image."""
        image_id = self._docker.import_image(name, f"ENV VERSION={version} OF={self.prefix}", command=["sleep", "9"])
        self._own_images.append(image_id)
        return image_id

    def publish(self, name: str, version: str, *, broken: bool = False) -> str:
        """Publish an image with a layer of its own, so that a pull has something to fetch."""
        files = {f"/tmp/{self.prefix}": version}
        image_id = self._docker.import_image(f"{self.prefix}-published:{version}", files=files, command=["sleep", "9"])
        digest = self._docker.publish(name, image_id)
        self._docker("rmi", "--force", image_id)
        self._own_images.append(image_id)
        if broken:
            self._lose_a_layer(digest)
        return digest

    def _lose_a_layer(self, digest: str) -> None:
        manifest = json.loads(self._blob(digest).read_text())
        self._blob(manifest["layers"][0]["digest"]).unlink()

    def _blob(self, digest: str) -> Path:
        digits = digest.removeprefix("sha256:")
        blobs = self._testbed.directory / "run/registry/docker/registry/v2/blobs/sha256"
        return blobs / digits[:2] / digits / "data"

    def network(self, word: str, subnet: str) -> str:
        """Make a network."""
        name = self.name(word)
        self._networks.append(name)
        self._docker("network", "create", *self._docker.label_options, "--subnet", subnet, name)
        return name


def free_port() -> str:
    """Return a port on which nobody listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


async def eventually(ask: Callable[[], Awaitable[T]], wanted: T) -> T:
    """Ask until the answer is the wanted one; return the last answer."""
    answer = wanted
    async for answer in _repeatedly(ask):
        if answer == wanted:
            break
    return answer


async def _repeatedly(ask: Callable[[], Awaitable[T]]) -> AsyncIterator[T]:
    deadline = anyio.current_time() + PATIENCE_SECONDS
    while True:
        yield await ask()
        if anyio.current_time() > deadline:
            return
        await anyio.sleep(POLL_SECONDS)
