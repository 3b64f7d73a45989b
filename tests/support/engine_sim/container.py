"""A container of the simulated engine: its state, and the documents that show it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from tests.support.engine_sim.behaviour import Behaviour, EngineRefusal, JsonObject
from tests.support.engine_sim.clock import Timers, text_of
from tests.support.engine_sim.images import SHORT, Image
from tests.support.engine_sim.networks import Endpoint


@dataclass(slots=True)
class Health:
    """What the health check said."""

    status: str = "starting"
    failing_streak: int = 0
    log: list[JsonObject] = field(default_factory=list)

    def document(self) -> JsonObject:
        """Return `State.Health`."""
        return {"Status": self.status, "FailingStreak": self.failing_streak, "Log": deepcopy(self.log)}


@dataclass(slots=True)
class Pending:
    """A start or restart that takes a while."""

    done: anyio.Event = field(default_factory=anyio.Event)
    error: EngineRefusal | None = None


@dataclass(slots=True, eq=False)
class Namespace:
    """What the process of one container brought up with it and others can join. Each start makes a new one."""

    is_alive: bool = True
    """Whether the process for which it was made runs. Who joined the network of one that has ended is cut off."""


@dataclass(slots=True)
class Link:
    """A legacy link to another container."""

    target: Container
    alias: str


@dataclass(slots=True, eq=False)
class Container:
    """A container. Tests may look at everything, and set `behaviour` for its next start."""

    id: str
    name: str
    image: Image
    behaviour: Behaviour
    created: datetime
    config: JsonObject
    host: JsonObject
    mounts: list[JsonObject]
    own_volumes: set[str]
    """Anonymous volumes that were made for it."""
    endpoints: dict[str, Endpoint]
    links: list[Link]
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    """Those in which its process lives, or lived at last: by `NetworkMode`, `PidMode` and `IpcMode`."""
    running: bool = False
    """Also between two attempts of a restart loop, and while it is paused."""
    paused: bool = False
    restarting: bool = False
    removing: bool = False
    dead: bool = False
    exit_code: int = 0
    error: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    restart_count: int = 0
    was_stopped_by_hand: bool = False
    gives_up: bool = False
    """It does not come back when its process ends, whatever its policy."""
    back_off: float = 0.0
    health: Health | None = None
    ports: JsonObject = field(default_factory=dict)
    output: list[tuple[int, str]] = field(default_factory=list)
    """Lines by stream."""
    changed_files: dict[str, JsonObject] = field(default_factory=dict)
    """Files that differ from the image, with what the archive tells of each: `name`, `size`, `mode`, `mtime`.

    They may have a `content`, `uid` and `gid`, too.
    """
    timers: Timers = field(default_factory=Timers)
    down: anyio.Event = field(default_factory=anyio.Event)
    pending_start: Pending | None = None
    pending_restart: Pending | None = None
    """It is to be started as soon as it is down."""

    @property
    def short_id(self) -> str:
        """The first 12 digits of the id."""
        return self.id[:SHORT]

    @property
    def image_id(self) -> str:
        """The id of its image."""
        return self.image.id

    @property
    def policy(self) -> str:
        """The name of its restart policy; `no` where it has none."""
        return self.host["RestartPolicy"].get("Name") or "no"

    @property
    def network_mode(self) -> str:
        """The network mode, with an id where another container was named."""
        return str(self.host["NetworkMode"])

    @property
    def status(self) -> str:
        """Return `State.Status`."""
        if self.running:
            return "paused" if self.paused else "restarting" if self.restarting else "running"
        if self.removing:
            return "removing"
        if self.dead:
            return "dead"
        return "created" if self.started is None else "exited"

    @property
    def is_up(self) -> bool:
        """Say whether its process runs now."""
        return self.running and not self.restarting

    def forget_restart(self) -> None:
        """Nobody starts it any more once it is down."""
        if self.pending_restart is not None:
            self.pending_restart.error = EngineRefusal(409, "container is marked for removal and cannot be started")
            self.pending_restart.done.set()
            self.pending_restart = None

    def document(self, names: Mapping[str, str]) -> JsonObject:
        """Return the container as inspect shows it. `names` tells the keys of endpoints whose network has an id."""
        command = [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]
        return {
            "Id": self.id,
            "Created": text_of(self.created),
            "Path": command[0] if command else "",
            "Args": command[1:],
            "State": self._state(),
            "Image": self.image.id,
            "Name": f"/{self.name}",
            "RestartCount": self.restart_count,
            "Driver": "overlay2",
            "Platform": "linux",
            "ExecIDs": None,
            "HostConfig": {**deepcopy(self.host), "Links": self.link_texts() or None},
            "Mounts": deepcopy(self.mounts),
            "Config": deepcopy(self.config),
            "NetworkSettings": {"Ports": deepcopy(self.ports), "Networks": self._networks(names)},
        }

    def _state(self) -> JsonObject:
        state: JsonObject = {
            "Status": self.status,
            "Running": self.running,
            "Paused": self.paused,
            "Restarting": self.restarting,
            "OOMKilled": False,
            "Dead": self.dead,
            "Pid": 4242 if self.is_up else 0,
            "ExitCode": 0 if self.is_up else self.exit_code,
            "Error": self.error,
            "StartedAt": text_of(self.started),
            "FinishedAt": text_of(self.finished),
        }
        return state | ({} if self.health is None else {"Health": self.health.document()})

    def _networks(self, names: Mapping[str, str]) -> JsonObject:
        return {names.get(key, key): endpoint.document() for key, endpoint in self.endpoints.items()}

    def link_texts(self) -> list[str]:
        """Return its links with the names of now."""
        return [f"/{link.target.name}:/{self.name}/{link.alias}" for link in self.links]

    def listed(self, image_text: str, aliases: list[str], names: Mapping[str, str]) -> JsonObject:
        """Return the container as the engine lists it."""
        command = [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]
        return {
            "Id": self.id,
            "Names": [*([] if self.removing else [f"/{self.name}"]), *aliases],
            "Image": image_text,
            "ImageID": self.image.id,
            "Command": " ".join(command),
            "Created": int(self.created.timestamp()),
            "Ports": [],
            "Labels": dict(self.config.get("Labels") or {}),
            "State": self.status,
            "Status": self.status.capitalize(),
            "HostConfig": {"NetworkMode": self.network_mode},
            "NetworkSettings": {"Networks": self._networks(names)},
            "Mounts": deepcopy(self.mounts),
        }
