"""A login that changes on the host while the service runs in its container, mounted in the two ways that people use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updating import an_outdated_container, assert_updated, login_file, wait_until_well

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

WRONG = "wr0ng-marker"
SECONDS = 30.0
"""For an event to be seen and the container to be replaced; the next scheduled session is an hour away."""


@pytest.fixture
def login(docker: DockerCli) -> bytes:
    """The content of a file with the right login."""
    return login_file(docker).read_bytes()


class Service:
    """The service in a container."""

    def __init__(self, docker: DockerCli, testbed: TestBed, image: str, name: str) -> None:
        self.name = name
        self._docker = docker
        self._image = image
        self._socket = f"{testbed.engine.removeprefix('unix://')}:/var/run/docker.sock"

    def start(self, target: str, *options: str) -> None:
        """Let it look after one container."""
        arguments = ("--interval", "3600", "--rollout-monitor", "1s", target)
        self._docker.run(self.name, self._image, *arguments, options=("--volume", self._socket, *options))
        wait_until_well(self._docker, self.name)

    @property
    def said(self) -> str:
        """Return its log."""
        return self._docker.both_outputs("logs", self.name)


@pytest.fixture
def service(docker: DockerCli, testbed: TestBed, application_image: str, prefix: str) -> Service:
    """The service, not started."""
    return Service(docker, testbed, application_image, f"{prefix}-updater")


def wait_for(condition: Callable[[], object]) -> bool:
    """Wait until the condition is fulfilled; say whether it was in time."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def by_directory(directory: Path) -> tuple[str, ...]:
    return ("--volume", f"{directory}:/docker:ro", "--env", "DOCKER_CONFIG=/docker")


def by_file(file: Path) -> tuple[str, ...]:
    return ("--volume", f"{file}:/config.json:ro")


def test_login_that_is_put_right_updates_the_container_at_once(
    docker: DockerCli, testbed: TestBed, service: Service, prefix: str
) -> None:
    """With the directory mounted, a login on the host replaces the file, and the service needs no restart."""
    outdated = an_outdated_container(docker, testbed, prefix)
    docker.log_in(testbed.registry, testbed.user, WRONG)
    service.start(outdated.name, *by_directory(docker.config_directory))
    docker.log_in(testbed.registry, testbed.user, testbed.password)
    wait_for(lambda: "Started new container" in service.said)
    assert_updated(docker, outdated, service.said)
    assert f"changed={testbed.registry}" in service.said.replace('"', "")
    assert testbed.password not in service.said
    assert WRONG not in service.said


def test_second_login_is_seen_as_well_and_a_wrong_one_is_a_reason(
    docker: DockerCli, testbed: TestBed, service: Service, prefix: str
) -> None:
    """Each login makes a new file; what was refused is asked for again with the next."""
    outdated = an_outdated_container(docker, testbed, prefix)
    docker.log_out(testbed.registry)
    service.start(outdated.name, *by_directory(docker.config_directory))
    docker.log_in(testbed.registry, testbed.user, WRONG)
    assert wait_for(lambda: "Unable to check container" in service.said), service.said
    docker.log_in(testbed.registry, testbed.user, testbed.password)
    wait_for(lambda: "Started new container" in service.said)
    assert_updated(docker, outdated, service.said)


def test_write_in_place_is_seen_through_a_mount_of_the_file(
    docker: DockerCli, testbed: TestBed, service: Service, prefix: str, login: bytes
) -> None:
    """A mount of the file alone shows nothing but that, and only to whoever watches the file."""
    outdated = an_outdated_container(docker, testbed, prefix)
    file = login_file(docker)
    file.write_bytes(b"{}")
    service.start(outdated.name, *by_file(file))
    file.write_bytes(login)
    wait_for(lambda: "Started new container" in service.said)
    assert_updated(docker, outdated, service.said)


def test_replaced_file_is_answered_with_the_advice_to_mount_the_directory(
    docker: DockerCli, testbed: TestBed, service: Service, prefix: str
) -> None:
    """Nothing will ever come in through that mount again, and the service says so, once."""
    service.start(f"{prefix}-nothing", *by_file(login_file(docker)))
    docker.log_in(testbed.registry, testbed.user, testbed.password)
    assert wait_for(lambda: "mount its directory" in service.said), service.said
    docker.log_in(testbed.registry, testbed.user, WRONG)
    time.sleep(1.0)
    assert service.said.count("mount its directory") == 1
