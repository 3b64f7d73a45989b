"""A Docker Engine for tests: it has an engine's behaviour, and a world that tests set up and look at.

engine = SimulatedEngine()
engine.offer("registry.example/app:1", config={"Env": ["VERSION=1"]})
await engine.run("web", "registry.example/app:1", HostConfig={"RestartPolicy": {"Name": "always"}})
engine.offer("registry.example/app:1", config={"Env": ["VERSION=2"]}, behaviour=Behaviour(exits_after=1, exit_code=3))
async with connected(engine) as client: ...
assert engine.running_names() == ["web"]

Containers can share namespaces (`NetworkMode`, `PidMode`, `IpcMode`), be linked, and use each other's volumes. Who
shares the network of one that has ended or been started again runs on, as in a real engine, but is cut off:
`engine.is_cut_off(name)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import anyio

from tests.support.builders import a_digest
from tests.support.engine_sim.behaviour import RUNS, Behaviour, EngineRefusal, JsonObject
from tests.support.engine_sim.clock import text_of
from tests.support.engine_sim.container import Container
from tests.support.engine_sim.creation import check_name, check_policy, create, endpoint_of, known_aliases
from tests.support.engine_sim.execs import Execs
from tests.support.engine_sim.faults import Fault, FaultBox, Traced
from tests.support.engine_sim.images import Image, Offer, digests_of_words, familiar, image_config
from tests.support.engine_sim.lifecycle import KILLED, Lifecycle
from tests.support.engine_sim.world import World


class SimulatedEngine:
    """A simulated engine. All of its time is the event loop's."""

    def __init__(
        self,
        *,
        name: str = "engine",
        api_version: str = "1.51",
        containerd: bool = False,
        host_name: str = "machine",
        architecture: str = "amd64",
        live_restore: bool = False,
    ) -> None:
        major, _, minor = api_version.partition(".")
        self.world = World(
            name=name,
            api=(int(major), int(minor)),
            containerd=containerd,
            host_name=host_name,
            architecture=architecture,
        )
        self.lifecycle = Lifecycle(self.world)
        self.execs = Execs(self.world)
        self.faults = FaultBox()
        self.trace: list[Traced] = []
        self.is_down = False
        self.cut_connections: list[Callable[[], None]] = []
        """How each server of this engine breaks its connections, busy and idle ones."""
        self._live_restore = live_restore

    # ---- setting up a world ----------------------------------------------------------------------------------------

    def add_image(
        self,
        name: str,
        *,
        config: Mapping[str, object] | None = None,
        behaviour: Behaviour = RUNS,
        digests: Iterable[str] = (),
        architecture: str | None = None,
    ) -> str:
        """Put an image on the engine as if it had been built there; return its id.

        The tag moves to it. `digests` are digests, or words to make some of, under which it was pulled before.
        """
        offer = self._offer(name, config, behaviour, None, architecture)
        identity = offer.digest if self.world.images.containerd else offer.config_digest
        image = Image(identity, offer.config, behaviour, self.now(), offer.architecture)
        self.world.images.add(image, tags=[offer.name], digests=digests_of_words(offer.name, digests))
        return identity

    def offer(
        self,
        name: str,
        *,
        config: Mapping[str, object] | None = None,
        behaviour: Behaviour = RUNS,
        digest: str | None = None,
        login: tuple[str, str] | None = None,
        error: str | None = None,
        seconds: float = 0.0,
        architecture: str | None = None,
    ) -> str:
        """Let the registry offer an image under a tag; return its digest, under which it can be pulled for ever.

        The same configuration and behaviour are the same image. With `login` only this user with this password gets it,
        with `error` a pull fails after it has begun, and takes `seconds`.
        """
        offer = self._offer(name, config, behaviour, digest, architecture, login=login, error=error, seconds=seconds)
        self.world.registry.offer(offer)
        return offer.digest

    def _offer(
        self,
        name: str,
        config: Mapping[str, object] | None,
        behaviour: Behaviour,
        digest: str | None,
        architecture: str | None,
        *,
        login: tuple[str, str] | None = None,
        error: str | None = None,
        seconds: float = 0.0,
    ) -> Offer:
        complete = image_config(config, behaviour)
        architecture = architecture or self.world.architecture
        config_digest = a_digest(f"{json.dumps(complete, sort_keys=True)} {behaviour} {architecture}")
        return Offer(
            name=familiar(name),
            digest=digest or a_digest(f"manifest of {config_digest}"),
            config_digest=config_digest,
            config=complete,
            behaviour=behaviour,
            architecture=architecture,
            login=login,
            error=error,
            seconds=seconds,
        )

    def add_network(self, name: str, subnet: str = "10.99.0.0/24") -> str:
        """Make a network and return its id."""
        return self.world.networks.add(name, subnet).id

    def remove_network(self, name: str) -> None:
        """Remove a network, whoever is in it."""
        self.world.networks.remove(name)

    async def run(
        self, name: str, image: str, *, running: bool = True, behaviour: Behaviour | None = None, **fields: object
    ) -> Container:
        """Create a container, and start it unless `running` is false. An image that is not here is pulled.

        `fields` are those of a create request, such as `HostConfig={…}`. A `behaviour` overrides the image's, for this
        container only.
        """
        if self.world.images.find(image) is None:
            found = self.world.registry.find(image)
            assert found is not None, f"neither here nor in the registry: {image}"
            self.world.images.take(found, familiar(image), self.now())
        container = create(self.world, name, {"Image": image, **fields})
        if behaviour is not None:
            container.behaviour = behaviour
        if running:
            await self.lifecycle.start(container)
        return container

    def crash(self, name: str, exit_code: int = 1) -> None:
        """Let a container's process end now, by itself."""
        self.lifecycle.end(self.containers[name], exit_code)

    async def restart(self, *, kill: bool = False, seconds: float = 0.0) -> None:
        """Restart the engine: by SIGTERM, or by SIGKILL. Connections break, also new ones for `seconds`."""
        self.is_down = True
        for cut in self.cut_connections:
            cut()
        if not self._live_restore:
            self.lifecycle.go_down(kill=kill)
        self.execs.clear()
        await anyio.sleep(seconds)
        self.is_down = False
        self.lifecycle.come_back_up()

    # ---- looking at it ---------------------------------------------------------------------------------------------

    @property
    def containers(self) -> dict[str, Container]:
        """All containers by name."""
        return {container.name: container for container in self.world.containers.values()}

    def running_names(self) -> list[str]:
        """Return the names of the containers whose process runs, paused or not, in order."""
        return sorted(name for name, container in self.containers.items() if container.is_up)

    def image_behind(self, name: str) -> str | None:
        """Return the id of the local image that a name means."""
        image = self.world.images.find(name)
        return None if image is None else image.id

    def image_of(self, name: str) -> str:
        """Return the id of a container's image."""
        return self.containers[name].image.id

    def dead_namespaces(self, name: str) -> list[str]:
        """Return the settings, such as `NetworkMode`, by which a running container sits in what another one has left.

        The other one has ended, or been started again with namespaces of its own, since this one was started.
        """
        container = self.containers[name]
        return [key for key, space in container.namespaces.items() if container.is_up and not space.is_alive]

    def is_cut_off(self, name: str) -> bool:
        """Say whether a running container cannot be reached: the network that it shares is gone."""
        return "NetworkMode" in self.dead_namespaces(name)

    @property
    def volumes(self) -> set[str]:
        """The names of all volumes."""
        return self.world.volumes

    def now(self) -> datetime:
        """Return the engine's time of day. It goes with the event loop's."""
        return self.world.clock.now()

    def changes(self) -> list[str]:
        """Return the requests that may have changed something."""
        return [item.text for item in self.trace if item.changes]

    # ---- faults ----------------------------------------------------------------------------------------------------

    @property
    def fault(self) -> Fault | None:
        """What is to go wrong; setting it begins to count."""
        return self.faults.fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.faults.arm(fault)

    @property
    def fault_fired(self) -> bool:
        """Say whether the request of the fault has come: a loop over all numbers ends where it does not."""
        return self.faults.fired

    def revive(self) -> None:
        """After a kill: let requests through again, and forget the fault."""
        self.faults.client_is_dead = False
        self.faults.arm(None)

    # ---- the verbs of the API --------------------------------------------------------------------------------------

    def api_create(self, name: str, request: JsonObject, platform: str | None) -> JsonObject:
        """Create a container."""
        return {"Id": create(self.world, name, request, platform).id, "Warnings": []}

    def api_rename(self, container: Container, name: str) -> None:
        """Rename a container."""
        new = name.removeprefix("/")
        if not new:
            raise EngineRefusal(400, "Neither old nor new names may be empty")
        if new == container.name:
            raise EngineRefusal(400, "Renaming a container with the same name as its current name")
        if container.restarting and self.world.api < (1, 48):
            raise EngineRefusal(404, f"sandbox {container.short_id} not found")
        try:
            check_name(self.world, new)
        except EngineRefusal as refusal:
            if refusal.status == 400:
                raise EngineRefusal(400, f"Error when allocating new name: {refusal.message}") from None
            raise EngineRefusal(409, f"Error when allocating new name: {refusal.message}") from None
        container.name = new

    def api_update(self, container: Container, request: JsonObject) -> JsonObject:
        """Change the restart policy."""
        policy: JsonObject = request.get("RestartPolicy") or {}
        check_policy(policy)
        if container.removing or container.dead:
            text = 'Container is marked for removal and cannot be "update".'
            raise EngineRefusal(409, f"Cannot update container {container.id}: {text}")
        if policy.get("Name"):
            if container.host["AutoRemove"] and policy["Name"] != "no":
                text = "Restart policy cannot be updated because AutoRemove is enabled for the container"
                raise EngineRefusal(409, f"Cannot update container {container.id}: {text}")
            container.host["RestartPolicy"] = {"MaximumRetryCount": 0, **policy}
        return {"Warnings": None}

    async def api_remove(self, container: Container, *, force: bool, with_volumes: bool) -> None:
        """Remove a container."""
        await self.lifecycle.settle(container)
        if container.removing:
            raise EngineRefusal(409, f"removal of container {container.id} is already in progress")
        if container.running:
            if not force:
                raise EngineRefusal(409, self._still_runs(container))
            container.gives_up = True
            container.forget_restart()
            if container.is_up:
                self.lifecycle.end(container, KILLED)
        self.world.forget(container, with_volumes=with_volumes)

    def _still_runs(self, container: Container) -> str:
        state = container.status
        if self.world.api >= (1, 48):
            what = "unpause and then stop" if state == "paused" else "stop"
            return (
                f'cannot remove container "/{container.name}": container is {state}: '
                f"{what} the container before removing or force remove"
            )
        what = "Unpause and then stop" if state == "paused" else "Stop"
        return (
            f"You cannot remove a {state} container {container.id}. "
            f"{what} the container before attempting removal or force remove"
        )

    def api_list(self) -> list[JsonObject]:
        """List all containers, the newest first."""
        aliases: dict[str, list[str]] = {}
        for container in self.world.containers.values():
            for link in container.links:
                aliases.setdefault(link.target.id, []).append(f"/{container.name}/{link.alias}")
        return [
            container.listed(self._image_text(container), aliases.get(container.id, []), self._network_names(container))
            for container in reversed(self.world.containers.values())
        ]

    def _image_text(self, container: Container) -> str:
        text = str(container.config["Image"])
        found = self.world.images.find(text)
        return text if found is not None and found.id == container.image.id else container.image.id

    def _network_names(self, container: Container) -> dict[str, str]:
        """After the start, the engine shows an endpoint that was asked for by the network's id under its name."""
        names = {}
        for key, endpoint in container.endpoints.items():
            if endpoint.was_started and key == endpoint.network_id:
                names[key] = self.world.networks.find(key).name
        return names

    def api_inspect(self, container: Container) -> JsonObject:
        """Return a container's document."""
        document = container.document(self._network_names(container))
        if self.world.images.containerd and self.world.api >= (1, 48):
            platform = {"os": "linux", "architecture": container.image.architecture}
            document["ImageManifestDescriptor"] = {"digest": container.image.id, "platform": platform}
        return document

    def api_connect(self, network_text: str, request: JsonObject) -> None:
        """Connect a container to a network."""
        network = self.world.networks.find(network_text)
        container = self.world.find(str(request.get("Container", "")))
        if container.network_mode.startswith("container:") or container.network_mode == "host":
            raise EngineRefusal(
                409,
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network",
            )
        if network.name in container.endpoints and container.running:
            text = f"endpoint with name {container.name} already exists in network {network.name}"
            raise EngineRefusal(403, text)
        endpoint = endpoint_of(request.get("EndpointConfig"))
        endpoint.asked.pop("MacAddress", None)  # ignored up to Engine 28
        if container.running:
            self.lifecycle.connect(container, network.name, endpoint)
        else:
            known_aliases(self.world, container, network.name, endpoint)
        container.endpoints[network.name] = endpoint

    def api_disconnect(self, network_text: str, request: JsonObject) -> None:
        """Disconnect a container from a network."""
        network = self.world.networks.find(network_text)
        container = self.world.find(str(request.get("Container", "")))
        found = [key for key in container.endpoints if key in (network.name, network.id)]
        if not found:
            text = f"container {container.id} is not connected to network {network.name}"
            raise EngineRefusal(500, text)
        address = container.endpoints.pop(found[0]).address
        network.taken.pop(address, None)

    def api_version(self) -> JsonObject:
        """Return `GET /version`."""
        api = self.world.api
        oldest = "1.12" if api < (1, 44) else "1.24" if api < (1, 52) else "1.44"
        return {
            "Version": {(1, 41): "20.10.24", (1, 44): "25.0.0", (1, 45): "26.1.5", (1, 51): "28.5.2"}.get(
                api, "28.0.0"
            ),
            "ApiVersion": "{}.{}".format(*api),
            "MinAPIVersion": oldest,
            "Os": "linux",
            "Arch": self.world.architecture,
            "Components": [{"Name": "Engine"}],
        }

    def api_info(self) -> JsonObject:
        """Return `GET /info`."""
        return {
            "ID": self.world.name,
            "Name": self.world.host_name,
            "Containers": len(self.world.containers),
            "Images": len(self.world.images.images),
            "OSType": "linux",
            "Architecture": "x86_64" if self.world.architecture == "amd64" else self.world.architecture,
            "ServerVersion": self.api_version()["Version"],
            "SystemTime": text_of(self.now()),
            "LiveRestoreEnabled": self._live_restore,
            "DefaultRuntime": "runc",
            "Runtimes": {"runc": {"path": "runc"}},
        }
