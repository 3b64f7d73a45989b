"""A broken image on a real engine: taken down for it once, and not again until something has changed."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import Outdated, an_outdated_container

pytestmark = pytest.mark.engine

ONCE = ("--run-once", "--rollout-monitor", "1s")
FAILS = ["sh", "-c", "echo cannot start >&2; exit 3"]
RUNS = ["sleep", "1000"]


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


@pytest.fixture
def outdated(docker: DockerCli, testbed: TestBed, prefix: str) -> Outdated:
    """A container whose tag points to an image that exits at once."""
    outdated = an_outdated_container(docker, testbed, prefix)
    publish(docker, outdated, prefix, 3, FAILS)
    return outdated


def publish(docker: DockerCli, outdated: Outdated, prefix: str, version: int, command: list[str]) -> str:
    """Publish another image under the tag and return its digest; the engine keeps nothing of it."""
    image_id = docker.import_image(f"{prefix}-build:{version}", f"ENV VERSION={version}", command=command)
    digest = docker.publish(outdated.image, image_id)
    docker("rmi", "--force", image_id)
    return digest


def started_at(docker: DockerCli, outdated: Outdated) -> str:
    """Return when the container was started last: another moment when it was taken down meanwhile."""
    return str(docker.inspect(outdated.name)["State"]["StartedAt"])


def entries(updater: Updater) -> list[dict[str, Any]]:
    """Return what `quarantine list --json` prints."""
    done = updater("quarantine", "list", "--json")
    assert done.code == 0, done.log
    found: list[dict[str, Any]] = json.loads(done.output)["quarantine"]
    return found


def test_broken_image_takes_the_container_down_once(
    docker: DockerCli, updater: Updater, outdated: Outdated, prefix: str
) -> None:
    """The second process knows what the first one learned, and says it; a newer image is tried at once."""
    first = updater(*ONCE, outdated.name)
    assert "Image is not tried again here" in first.log
    assert str(updater.state_directory) in first.log

    before = started_at(docker, outdated)
    second = updater(*ONCE, outdated.name)
    assert "Replacing container" not in second.log
    assert (docker.inspect(outdated.name)["Id"], started_at(docker, outdated)) == (outdated.container_id, before)
    item = updater("plan", "--json", outdated.name).item(outdated.name)
    assert (item["action"], item["reason"]["code"]) == ("leave", "quarantined")

    (entry,) = entries(updater)
    assert (entry["container"], entry["host"]) == (outdated.name, docker.engine)
    assert entry["digest"] == item["published"]
    assert "exited with code 3" in entry["reason"]
    assert any("cannot start" in line for line in entry["detail"])
    shown = updater("quarantine", "list")
    assert outdated.name in shown.output
    assert "cannot start" in shown.output

    publish(docker, outdated, prefix, 4, RUNS)
    third = updater(*ONCE, outdated.name)
    assert "VERSION=4" in docker.inspect(outdated.name)["Config"]["Env"], third.log
    assert entries(updater) == []


def test_cleared_image_is_tried_again(docker: DockerCli, updater: Updater, outdated: Outdated) -> None:
    """Without a running updater the command changes the file; the image still fails, and is kept again."""
    updater(*ONCE, outdated.name)
    cleared = updater("quarantine", "clear", outdated.name)
    assert (cleared.code, entries(updater)) == (0, []), cleared.log
    before = started_at(docker, outdated)
    again = updater(*ONCE, outdated.name)
    assert "Replacing container" in again.log
    assert started_at(docker, outdated) != before
    assert [entry["container"] for entry in entries(updater)] == [outdated.name]


def test_running_service_is_asked_and_told(docker: DockerCli, updater: Updater, outdated: Outdated) -> None:
    """Over the control socket: it has the entry, loses it, and tries the image in its next session."""
    with updater.running("--interval", "2", "--rollout-monitor", "1s", outdated.name) as service:
        assert updater.wait_until_well().code == 0
        assert [entry["container"] for entry in waited_for(updater)] == [outdated.name]
        before = started_at(docker, outdated)
        cleared = updater("quarantine", "clear", "--all")
        assert cleared.code == 0, cleared.log
        assert waited_for(updater)
        assert started_at(docker, outdated) != before
        service.terminate()
        log = service.stderr.read() if service.stderr else ""
    assert "somebody cleared it" in log
    assert docker.inspect(outdated.name)["State"]["Running"]
    assert [entry["container"] for entry in entries(updater)] == [outdated.name]


def waited_for(updater: Updater, *, seconds: float = 40.0) -> list[dict[str, Any]]:
    """Ask until something is in quarantine."""
    deadline = time.monotonic() + seconds
    while not (found := entries(updater)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_image_that_the_engine_cannot_run_is_kept_too(
    docker: DockerCli, updater: Updater, outdated: Outdated, prefix: str
) -> None:
    """The engine's own words: the program is not in the image."""
    publish(docker, outdated, prefix, 4, ["/nowhere/serve"])
    updater(*ONCE, outdated.name)
    (entry,) = entries(updater)
    assert "/nowhere/serve" in entry["reason"]


ADDRESS = ("127.0.0.77", 7077)
"""Of the loopback network, and of nobody else."""


class PortTaker:
    """Takes a port in the moment in which it gets free, and gives it back when it is told to."""

    def __init__(self) -> None:
        self._give_back = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
        self._thread.join()

    def give_back(self) -> None:
        """Let the next one have the port."""
        self._give_back.set()

    def _run(self) -> None:
        while not self._give_back.is_set():
            with socket.socket() as taken:
                try:
                    taken.bind(ADDRESS)
                    taken.listen()
                except OSError:
                    time.sleep(0.001)
                    continue
                self._give_back.wait(60)


def failed_to_start(docker: DockerCli, prefix: str) -> bool:
    """Say whether the engine could not start one of the containers."""
    found = docker("ps", "--all", "--quiet", "--filter", f"name={prefix}").split()
    return any(docker.inspect(container)["State"]["Error"] for container in found)


def test_port_that_somebody_took_quarantines_nothing(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str
) -> None:
    """The new container cannot have its port, which says nothing about its image: it is tried again."""
    outdated = an_outdated_container(docker, testbed, prefix)
    old_image = docker.inspect(outdated.name)["Image"]
    docker("rm", "--force", outdated.name)
    port = ("--publish", f"{ADDRESS[0]}:{ADDRESS[1]}:80", "--stop-signal", "SIGKILL")
    docker.run(outdated.name, outdated.image, options=port)
    with PortTaker() as taker, updater.running(*ONCE, outdated.name) as process:
        deadline = time.monotonic() + 30
        while not failed_to_start(docker, prefix) and time.monotonic() < deadline:
            time.sleep(0.1)
        taker.give_back()
        _, log = process.communicate(timeout=60)
    assert "already in use" in log
    assert "the old one runs again" in log
    assert docker.inspect(outdated.name)["Image"] == old_image
    assert entries(updater) == []
    done = updater(*ONCE, outdated.name)
    assert docker.inspect(outdated.name)["Image"] == outdated.new_image_id, done.log
