"""The compose files that users copy: each parses, mounts what its comment says, and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updating import an_outdated_container, assert_updated, login_file, wait_until_well

EXAMPLES = Path(__file__).parents[2] / "compose"
STATE = "state:/var/lib/watchtower-async"
SOCKET = "/var/run/docker.sock:/var/run/docker.sock"
FILES = ("basic.yaml", "config-dir.yaml", "docker-login.yaml", "ecr-helper.yaml", "gcloud.yaml")
IMAGE = "${WATCHTOWER_ASYNC_IMAGE:-watchtower-async:latest}"

needs_compose = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")


@dataclass(frozen=True, slots=True)
class Compose:
    """Runs docker-compose on a copy of one example, in a project and a home directory of its own."""

    file: Path
    home: Path
    project: str
    engine: str = ""
    image: str = "watchtower-async:latest"

    def __call__(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "WATCHTOWER_ASYNC_IMAGE": self.image,
        }
        if self.engine:
            environment["DOCKER_HOST"] = self.engine
        files = [word for path in (self.file, self.override) if path.exists() for word in ("--file", str(path))]
        done = subprocess.run(
            ["docker-compose", "--project-name", self.project, *files, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            env=environment,
            cwd=self.file.parent,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr

    @property
    def override(self) -> Path:
        return self.file.with_name("override.yaml")


def copy_of(name: str, directory: Path, project: str) -> Compose:
    """Return a copy of an example that a test can run; the files that it mounts lie beside it."""
    for made in ("home/.docker", "example"):
        (directory / made).mkdir(parents=True)
    file = Path(shutil.copy(EXAMPLES / name, directory / "example"))
    return Compose(file=file, home=directory / "home", project=project)


def service_of(name: str) -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((EXAMPLES / name).read_text())["services"]
    assert list(services) == ["watchtower"]
    return services["watchtower"]


def test_every_example_is_tested() -> None:
    """A new example does not go without a test."""
    assert set(FILES) == {path.name for path in EXAMPLES.glob("*.yaml")}


@pytest.mark.parametrize("name", FILES)
def test_example_runs_the_image_that_the_user_names(name: str) -> None:
    """The image can be replaced by an environment variable, and the service comes back after an engine restart."""
    service = service_of(name)
    assert service["image"] == IMAGE
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize(
    ("name", "volumes", "environment"),
    [
        ("basic.yaml", [SOCKET, STATE], {}),
        ("docker-login.yaml", [SOCKET, "~/.docker/config.json:/config.json:ro", STATE], {}),
        ("config-dir.yaml", [SOCKET, "./docker-config:/config:ro", STATE], {"DOCKER_CONFIG": "/config"}),
        ("gcloud.yaml", [SOCKET, "./docker-config:/config:ro", STATE], {"DOCKER_CONFIG": "/config"}),
        (
            "ecr-helper.yaml",
            [SOCKET, "~/.docker/config.json:/config.json:ro", "~/.aws:/.aws:ro", "helper:/go/bin:ro", STATE],
            {"HOME": "/", "PATH": "${PATH}:/go/bin", "AWS_REGION": "${AWS_REGION:-us-east-1}"},
        ),
    ],
)
def test_example_mounts_what_it_documents(name: str, volumes: list[str], environment: dict[str, str]) -> None:
    """The socket, the state, and the credentials read-only."""
    service = service_of(name)
    assert service["volumes"] == volumes
    assert service.get("environment", {}) == environment


@needs_compose
@pytest.mark.parametrize("name", FILES)
def test_example_is_accepted_by_compose(name: str, tmp_path: Path) -> None:
    """Compose reads the file without complaint."""
    compose = copy_of(name, tmp_path, "wta-parse")
    assert "watchtower-async:latest" in compose("config")


@needs_compose
@pytest.mark.engine
@pytest.mark.timeout(900)
class TestRunningExamples:
    """The examples on the real engine. An override gives the test bed's socket, and a name, so that the updater looks
    at no container that the test did not make."""

    @pytest.fixture
    def make_compose(
        self, docker: DockerCli, testbed: TestBed, application_image: str, prefix: str, tmp_path: Path
    ) -> Iterator[MakeCompose]:
        """Makes a project from an example and takes it down afterwards."""
        made = MakeCompose(docker, testbed, application_image, prefix, tmp_path)
        yield made
        made.take_down()

    def test_basic_service_is_well(self, docker: DockerCli, make_compose: MakeCompose, prefix: str) -> None:
        """`up -d` gives a service that its own health check finds well."""
        compose = make_compose("basic.yaml")
        compose("up", "-d")
        container = compose("ps", "-q").split()[0]
        wait_until_well(docker, container)

    @pytest.mark.parametrize(
        ("name", "place"), [("docker-login.yaml", "home/.docker"), ("config-dir.yaml", "example/docker-config")]
    )
    def test_login_on_the_host_updates_a_private_image(
        self, docker: DockerCli, testbed: TestBed, make_compose: MakeCompose, prefix: str, name: str, place: str
    ) -> None:
        """The mounted login is the one that the updater uses."""
        compose = make_compose(name)
        directory = make_compose.directory / place
        directory.mkdir(exist_ok=True)
        shutil.copy(login_file(docker), directory / "config.json")
        outdated = an_outdated_container(docker, testbed, prefix)
        said = compose("run", "--rm", "watchtower", "--run-once", outdated.name)
        assert_updated(docker, outdated, said)


class MakeCompose:
    """Makes runnable copies of the examples and remembers them for the clean-up."""

    def __init__(self, docker: DockerCli, testbed: TestBed, image: str, prefix: str, directory: Path) -> None:
        self.directory = directory
        self._docker = docker
        self._testbed = testbed
        self._image = image
        self._prefix = prefix
        self._made: list[Compose] = []

    def __call__(self, name: str) -> Compose:
        plain = copy_of(name, self.directory, self._prefix)
        compose = Compose(plain.file, plain.home, self._prefix, engine=self._testbed.engine, image=self._image)
        labels = dict(label.split("=", 1) for label in self._docker.labels)
        socket = f"{self._testbed.engine.removeprefix('unix://')}:/var/run/docker.sock"
        service = {"command": [f"{self._prefix}-nothing"], "volumes": [socket], "labels": labels}
        override = {"services": {"watchtower": service}, "volumes": {"state": {"labels": labels}}}
        compose.override.write_text(yaml.safe_dump(override))
        self._made.append(compose)
        return compose

    def take_down(self) -> None:
        for compose in self._made:
            compose("down", "--volumes", "--remove-orphans")
