"""How long a container is down while it is replaced: `scripts/bench replace`.

On the real engine of the test bed, each replacement through the installed command, in turn with the floor and with the
usual way:

* the floor is a bare stop, then a bare start of a container that was created before;
* the usual way is stop, remove, create, start;
* Watchtower's default order stops and removes all containers, the last one first, then creates and starts all. Here it
  does so without pauses, while Watchtower looks once a second whether a container has stopped.

The comparisons speak with the engine over one kept connection, so that no start of a docker command is in their time.
Downtime is from the engine's event `die` of the old container to `start` of the new one, for all alike: the old one is
gone at the end, and nobody could ask the engine for its end. The event comes a little after the process has ended
(about 30 ms on Engine 20.10), so all times are by that much too short, and the ratios a little too strict.

With --start-first a client asks through a network alias all the while, see `bench.start_first`.
Exit code 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from bench.children import Child
from bench.start_first import GREETING, PERIOD
from tests.support.docker_cli import TESTBED_LABEL, DockerCli
from tests.support.testbed import TestBed, read_testbed
from tests.support.updater import Updater

LARGEST_TO_FLOOR = 1.1
LARGEST_TO_WATCHTOWER = 0.15
FLEET = 20
"""How many containers the limit for a session is about."""
NETWORKS = (1, 3)
SHORT_MONITOR = ("--rollout-monitor", "1s")
"""Watching comes after the downtime. Only a client that is asking meanwhile could notice that it is short."""
STOP_SECONDS = 10
CALL_SECONDS = 60.0
SESSION_SECONDS = 600.0
SETTLE_SECONDS = 0.5
"""The kernel takes networks of removed containers down afterwards; that must not fall into the next measurement."""
AFTER_SECONDS = 1.0
"""How long the client goes on asking after the replacement."""
PORT = 80
# A shell that waits has a handler, so the stop signal ends it at once; a server as first process would ignore it.
SERVER = ("sh", "-c", f"trap 'exit 0' TERM; httpd -f -p {PORT} -h /www & wait")
HEALTH_CHECK = {
    "Test": ["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}/"],
    "Interval": 1_000_000_000,
}

JsonObject = dict[str, Any]


class SocketConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineApi:
    """The engine without anything between. Raises RuntimeError where it refuses."""

    def __init__(self, path: str) -> None:
        self._connection = SocketConnection(path)

    def __call__(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        """Make a call and return its answer, None where that is empty."""
        payload = None if body is None else json.dumps(body)
        self._connection.request(method, path, payload, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
        return json.loads(content) if content.strip() else None

    def stop(self, container: str) -> None:
        """Stop a container."""
        self("POST", f"/containers/{container}/stop?t={STOP_SECONDS}")

    def start(self, container: str) -> None:
        """Start a container."""
        self("POST", f"/containers/{container}/start")

    def remove(self, container: str) -> None:
        """Remove a stopped container."""
        self("DELETE", f"/containers/{container}")


class Marks:
    """When containers with a label died and started, by the engine's clock. It listens from the beginning.

    The engine keeps only its last few hundred events, so a question afterwards could come too late.
    """

    def __init__(self, path: str, label: str) -> None:
        filters = {"type": ["container"], "event": ["die", "start"], "label": [label]}
        self._connection = SocketConnection(path)
        self._connection.request("GET", "/events?" + urlencode({"filters": json.dumps(filters)}))
        self._stream = self._connection.getresponse()
        self._seen: dict[tuple[str, str], int] = {}

    def downtime(self, old: str, new: str) -> float:
        """Return the seconds between the end of one container and the start of another. Raises TimeoutError."""
        return (self._at("start", new) - self._at("die", old)) / 1e9

    def _at(self, action: str, container: str) -> int:
        while (action, container) not in self._seen:
            line = self._stream.readline()
            if not line:
                raise RuntimeError("the engine ended its stream of events")
            event = json.loads(line)
            self._seen.setdefault((event["Action"], event["Actor"]["ID"]), event["timeNano"])
        return self._seen[action, container]


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a measurement needs of the engine."""

    docker: DockerCli
    api: EngineApi
    marks: Marks
    updater: Updater
    registry: str
    prefix: str
    images: tuple[str, str]

    def networks(self, count: int, purpose: str) -> tuple[str, ...]:
        """Make user networks and return their names."""
        names = tuple(f"{self.prefix}-{purpose}-{number}" for number in range(count))
        for name in names:
            self.docker("network", "create", *self.docker.label_options, name)
        return names

    def create(
        self, name: str, image: str, networks: Sequence[str], *, config: JsonObject | None = None, alias: str = ""
    ) -> str:
        """Create a server on some networks and return its id."""
        first, *others = networks
        endpoint = {"Aliases": [alias]} if alias else {}
        request = {
            "Image": image,
            "HostConfig": {"NetworkMode": first, "RestartPolicy": {"Name": "unless-stopped"}},
            "NetworkingConfig": {"EndpointsConfig": {first: endpoint}},
            **(config or {}),
        }
        request["Labels"] = {**request.get("Labels", {}), **dict(label.split("=") for label in self.docker.labels)}
        container = str(self.api("POST", f"/containers/create?name={name}", request)["Id"])
        for network in others:
            self.api("POST", f"/networks/{network}/connect", {"Container": container, "EndpointConfig": endpoint})
        return container

    def run(self, name: str, image: str, networks: Sequence[str]) -> str:
        """Create and start a server and return its id."""
        container = self.create(name, image, networks)
        self.api.start(container)
        return container

    def id_of(self, name: str) -> str:
        """Return the id of the container that has this name now."""
        return str(self.api("GET", f"/containers/{name}/json")["Id"])

    def update(self, *names: str, options: Sequence[str] = SHORT_MONITOR) -> None:
        """Run one session for these containers. Raises RuntimeError where one of them failed."""
        done = self.updater("--run-once", "--exit-code", *options, *names, timeout=SESSION_SECONDS)
        if done.code != 0:
            raise RuntimeError(f"the updater ended with exit code {done.code}: {done.log}")


class MovingTag:
    """A tag of the registry that goes back and forth between two images. The engine has both."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.reference = f"{stage.registry}/{stage.prefix}/{name}:latest"
        self._stage = stage
        self._published, self._other = stage.images
        for image in (self._other, self._published):
            stage.docker.publish(self.reference, image)
        stage.docker("pull", self.reference)

    def move(self) -> None:
        """Publish the other image."""
        self._published, self._other = self._other, self._published
        self._stage.docker.publish(self.reference, self._published)


class Contender(Protocol):
    """A way to replace a container."""

    def prepare(self) -> None:
        """Do what is no part of a replacement, or what does not count."""

    def replace(self) -> float:
        """Replace a running container once; return its downtime in seconds."""


class Ours:
    """The installed command."""

    def __init__(self, stage: Stage, networks: Sequence[str]) -> None:
        self._stage = stage
        self._tag = MovingTag(stage, f"ours-{len(networks)}")
        self._name = f"{stage.prefix}-ours-{len(networks)}"
        self._container = stage.run(self._name, self._tag.reference, networks)

    def prepare(self) -> None:
        """Publish another image."""
        self._tag.move()

    def replace(self) -> float:
        """Run a session."""
        self._stage.update(self._name)
        old, self._container = self._container, self._stage.id_of(self._name)
        assert old != self._container, "the updater did not replace the container"
        return self._stage.marks.downtime(old, self._container)


class Floor:
    """A bare stop and a bare start of what was prepared."""

    def __init__(self, stage: Stage, networks: Sequence[str]) -> None:
        self._stage = stage
        self._networks = networks
        self.prepare()
        self._container = self._successor
        stage.api.start(self._container)

    def prepare(self) -> None:
        """Create the successor."""
        name = f"{self._stage.prefix}-floor-{secrets.token_hex(4)}"
        self._successor = self._stage.create(name, self._stage.images[0], self._networks)

    def replace(self) -> float:
        """Change over."""
        api, old, new = self._stage.api, self._container, self._successor
        api.stop(old)
        api.start(new)
        self._container = new
        api.remove(old)
        return self._stage.marks.downtime(old, new)


class Stepwise:
    """Stop, remove, create, start."""

    def __init__(self, stage: Stage, networks: Sequence[str]) -> None:
        self._stage = stage
        self._networks = networks
        self._name = f"{stage.prefix}-stepwise-{len(networks)}"
        self._container = stage.run(self._name, stage.images[0], networks)

    def prepare(self) -> None:
        """Nothing is prepared."""

    def replace(self) -> float:
        """Do one after the other, under the same name."""
        api, old = self._stage.api, self._container
        api.stop(old)
        api.remove(old)
        self._container = self._stage.run(self._name, self._stage.images[0], self._networks)
        return self._stage.marks.downtime(old, self._container)


CONTENDERS: Mapping[str, Callable[[Stage, Sequence[str]], Contender]] = {
    "ours": Ours,
    "floor": Floor,
    "stepwise": Stepwise,
}


@dataclass(slots=True)
class Findings:
    """What was measured, and which limits were missed."""

    downtimes: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    """Seconds by number of networks and who."""
    missed: list[str] = field(default_factory=list)

    def median(self, networks: int, who: str) -> float:
        """Return the median downtime."""
        return statistics.median(self.downtimes[networks, who])

    def judge(self, text: str, *, is_met: bool) -> str:
        """Note whether a limit was met; return the word for the table."""
        if not is_met:
            self.missed.append(text)
        return "ok" if is_met else "MISSED"


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """Downtimes of a fleet in seconds, by container."""

    ours: Sequence[float]
    watchtower: Sequence[float]

    @property
    def ratio(self) -> float:
        """Return the summed downtime of ours to that of Watchtower's default order."""
        return sum(self.ours) / sum(self.watchtower)


def measure_replacements(stage: Stage, rounds: int, networks: Mapping[int, Sequence[str]], findings: Findings) -> None:
    """Let the contenders take turns, each time another one first."""
    contenders = {
        (count, who): make(stage, names) for count, names in networks.items() for who, make in CONTENDERS.items()
    }
    order = list(contenders)
    for number in range(rounds):
        first = number % len(order)
        for key in (*order[first:], *order[:first]):
            contenders[key].prepare()
            time.sleep(SETTLE_SECONDS)
            findings.downtimes.setdefault(key, []).append(contenders[key].replace())
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def measure_session(stage: Stage, size: int, networks: Sequence[str]) -> SessionTimes:
    """Replace a whole fleet: by one session of ours, then in Watchtower's default order."""
    tag = MovingTag(stage, "fleet")
    names = [f"{stage.prefix}-fleet-{number:02}" for number in range(size)]
    old = [stage.run(name, tag.reference, networks) for name in names]
    tag.move()
    stage.update(*names)
    new = [stage.id_of(name) for name in names]
    ours = [stage.marks.downtime(*pair) for pair in zip(old, new, strict=True)]
    old = new
    time.sleep(SETTLE_SECONDS)
    for container in reversed(old):
        stage.api.stop(container)
        stage.api.remove(container)
    new = [stage.run(name, stage.images[0], networks) for name in names]
    return SessionTimes(ours, [stage.marks.downtime(*pair) for pair in zip(old, new, strict=True)])


def measure_start_first(stage: Stage, networks: Sequence[str], order: str, *, has_check: bool) -> JsonObject:
    """Replace a server while a client asks for it; return the client's tally, see `bench.start_first`.

    With the order `stop-first` questions must fail, which shows that the client would notice an outage.
    """
    purpose = f"{order}-{'check' if has_check else 'plain'}"
    tag, name = MovingTag(stage, purpose), f"{stage.prefix}-{purpose}"
    config: JsonObject = {"Labels": {"watchtower-async.order": order}}
    if has_check:
        config["Healthcheck"] = HEALTH_CHECK
    old = stage.create(name, tag.reference, networks, config=config, alias=purpose)
    stage.api.start(old)
    with a_client(stage, f"{name}-client", networks, purpose) as client:
        tag.move()
        stage.update(name, options=())
        assert old != stage.id_of(name), "the updater did not replace the container"
        time.sleep(AFTER_SECONDS)
        tally: JsonObject = client.ask("tally")
    return tally


@contextmanager
def a_client(stage: Stage, name: str, networks: Sequence[str], alias: str) -> Iterator[Child]:
    """Let a client ask for an alias from inside a container's network, once the alias answers."""
    # Names that the engine does not know go nowhere, instead of out into the world.
    stage.docker.run(name, stage.images[0], options=("--network", networks[0], "--dns", "127.0.0.1"))
    pid = int(stage.docker.inspect(name)["State"]["Pid"])
    try:
        with Child("bench.start_first", {"pid": pid, "alias": alias, "port": PORT}) as client:
            yield client
    finally:
        stage.docker("rm", "--force", name)


def downtime_table(findings: Findings) -> Table:
    """Show the downtimes beside the floor and the usual way."""
    table = _table("Downtime of one replacement", "what", "ours", "floor", "ratio", "at most", "", "usual way", "ratio")
    for count in NETWORKS:
        ours, floor, stepwise = (findings.median(count, who) for who in CONTENDERS)
        text = f"{count} network{'s' if count > 1 else ''}"
        met = findings.judge(f"downtime with {text}", is_met=ours <= LARGEST_TO_FLOOR * floor)
        table.add_row(
            text, _ms(ours), _ms(floor), f"{ours / floor:.3f}", f"{LARGEST_TO_FLOOR:g} × floor", met,
            _ms(stepwise), f"{ours / stepwise:.3f}",
        )  # fmt: skip
    return table


def spread_table(findings: Findings) -> Table:
    """Show how far the single measurements lie apart."""
    table = _table("Spread", "what", "least", "quarter", "median", "three quarters", "most")
    for (count, who), values in sorted(findings.downtimes.items()):
        cuts = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        table.add_row(f"{who}, {count} network{'s' if count > 1 else ''}", *map(_ms, (min(values), *cuts, max(values))))
    return table


def session_table(times: SessionTimes, findings: Findings) -> Table:
    """Show the summed downtime of a session."""
    size = len(times.ours)
    table = _table(f"Session of {size} stale containers", "what", "summed downtime", "longest", "ratio", "at most", "")
    limit, met = f"only for {FLEET}", ""
    if size == FLEET:
        limit = f"{LARGEST_TO_WATCHTOWER:g}"
        met = findings.judge("summed downtime of a session", is_met=times.ratio <= LARGEST_TO_WATCHTOWER)
    table.add_row("ours", f"{sum(times.ours):.2f} s", _ms(max(times.ours)), f"{times.ratio:.3f}", limit, met)
    table.add_row(
        "Watchtower's default order", f"{sum(times.watchtower):.2f} s", _ms(max(times.watchtower)), "", "", ""
    )
    return table


def start_first_table(tallies: Mapping[tuple[str, bool], JsonObject], findings: Findings) -> Table:
    """Show what became of the client's questions. Of stop-first some must fail, or the client is no witness."""
    title = f"A client asking through an alias every {PERIOD * 1000:g} ms"
    table = _table(title, "what", "asked", "failed", "at most", "", "by a second address", "slowest")
    for (order, has_check), tally in tallies.items():
        text = f"{order}, {'with' if has_check else 'without'} a health check"
        is_met = tally["failed"] == 0 if order == "start-first" else tally["failed"] > 0
        limit = "0" if order == "start-first" else "some"
        table.add_row(
            text, str(tally["asked"]), str(tally["failed"]), limit,
            findings.judge(f"requests, {text}: {tally['reasons']}", is_met=is_met),
            str(tally["second_tries"]), _ms(tally["slowest"]),
        )  # fmt: skip
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    return table


@contextmanager
def a_stage(bed: TestBed, directory: Path) -> Iterator[Stage]:
    """Prepare the engine; in the end, whatever ends it, remove all that was made there."""
    if not bed.engine.startswith("unix://"):
        raise SystemExit(f"This benchmark needs an engine on this machine, over a socket; WTA_ENGINE is {bed.engine}")
    path, label = bed.engine.removeprefix("unix://"), f"watchtower-async.run={secrets.token_hex(6)}"
    config, state, prefix = directory / "docker-config", directory / "state", f"wta-{secrets.token_hex(4)}"
    config.mkdir(mode=0o700)
    docker = DockerCli(engine=bed.engine, config_directory=config, labels=(TESTBED_LABEL, label))
    docker.log_in(bed.registry, bed.user, bed.password)
    try:
        images = [
            docker.import_image(
                f"{prefix}-build:{version}", f"ENV VERSION={version}", files={"www/index.html": GREETING},
                command=SERVER,
            )
            for version in (1, 2)
        ]  # fmt: skip
        yield Stage(
            docker=docker,
            api=EngineApi(path),
            marks=Marks(path, label),
            updater=Updater(bed.engine, config, state),
            registry=bed.registry,
            prefix=prefix,
            images=(images[0], images[1]),
        )
    finally:
        # A second Ctrl-C must not leave anything behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for left in docker.remove_labelled(label):
            print(f"could not be removed: {left}", file=sys.stderr)


def main() -> int:
    """Measure, print the tables and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench replace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replacements", type=int, default=20, choices=range(1, 101), metavar="1-100")
    parser.add_argument(
        "--fleet", type=int, default=FLEET, choices=range(101), metavar="0-100", help="containers of the session"
    )
    parser.add_argument("--start-first", action="store_true", help="also count the failed requests of a client")
    arguments = parser.parse_args()
    bed = read_testbed()
    if bed is None:
        raise SystemExit('No test bed is up; bring one up with: eval "$(scripts/testbed up --env)"')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    findings, load, times = Findings(), os.getloadavg()[0], None
    tallies: dict[tuple[str, bool], JsonObject] = {}
    with tempfile.TemporaryDirectory(prefix="watchtower-async-bench-") as name, a_stage(bed, Path(name)) as stage:
        networks = {count: stage.networks(count, f"net{count}") for count in NETWORKS}
        measure_replacements(stage, arguments.replacements, networks, findings)
        if arguments.fleet:
            times = measure_session(stage, arguments.fleet, networks[1])
        for order in ("stop-first", "start-first") if arguments.start_first else ():
            for has_check in (False, True):
                tallies[order, has_check] = measure_start_first(stage, networks[1], order, has_check=has_check)
        version = stage.api("GET", "/version")["Version"]
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"Engine {version}; a small server that ends at once when it is told to. Medians of {arguments.replacements} "
        f"replacements. {os.cpu_count()} processors; {load:.1f} processes wanted one before this began.\n",
        highlight=False,
    )
    console.print(downtime_table(findings))
    console.print(spread_table(findings))
    if times is not None:
        console.print(session_table(times, findings))
    if tallies:
        console.print(start_first_table(tallies, findings))
    for text in findings.missed:
        console.print(f"missed: {text}", markup=False)
    return 1 if findings.missed else 0


if __name__ == "__main__":
    sys.exit(main())
