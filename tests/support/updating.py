"""An update on the test bed as a test sees it: a container that is out of date, an updater, and the result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.docker_cli import DockerCli, DockerCliError
from tests.support.testbed import TestBed

# `sleep` as a container's first process ignores the usual stop signal, and tests do not wait for its time-out.
_QUICK = ("--stop-signal", "SIGKILL")


@dataclass(frozen=True, slots=True)
class Outdated:
    """What the test needs to see whether the container was updated."""

    name: str
    image: str
    container_id: str
    new_image_id: str
    """The image behind the tag; the engine does not have it yet."""


def an_outdated_container(
    docker: DockerCli,
    testbed: TestBed,
    prefix: str,
    *,
    image: str = "",
    options: tuple[str, ...] = (),
    broken: bool = False,
) -> Outdated:
    """Start a container from the password-protected registry and publish a newer image under its tag.

    `image` is one of another registry, `options` are of `docker run`; a `broken` new image exits at once.
    """
    command = ["sh", "-c", "echo cannot start >&2; exit 3"] if broken else ["sleep", "1000"]
    image = image or f"{testbed.registry}/{prefix}/app:latest"
    old = docker.import_image(f"{prefix}-build:1", "ENV VERSION=1", command=["sleep", "1000"])
    new = docker.import_image(f"{prefix}-build:2", "ENV VERSION=2", command=command)
    docker.publish(image, old)
    docker("rmi", "--force", old)
    docker("pull", image)
    container_id = docker.run(f"{prefix}-web", image, options=("--env", "MARK=kept", *_QUICK, *options))
    docker.publish(image, new)
    docker("rmi", "--force", new)
    return Outdated(name=f"{prefix}-web", image=image, container_id=container_id, new_image_id=new)


def login_file(docker: DockerCli) -> Path:
    """Return the login as a file that whoever runs in a container can read."""
    path = docker.config_directory / "config.json"
    path.chmod(0o644)
    return path


def wait_until_well(docker: DockerCli, name: str, *, seconds: float = 30.0) -> None:
    """Ask the health check inside the container until it is content."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            docker("exec", name, "/watchtower", "--health-check")
        except DockerCliError:
            if time.monotonic() > deadline or not docker.inspect(name)["State"]["Running"]:
                raise AssertionError(f"the service is not well: {docker.both_outputs('logs', name)}") from None
            time.sleep(0.2)
        else:
            return


def assert_updated(docker: DockerCli, outdated: Outdated, said: str) -> None:
    """The container runs the published image and is otherwise as it was."""
    after = docker.inspect(outdated.name)
    assert after["Config"]["Image"] == outdated.image, said
    assert after["Image"] == outdated.new_image_id, said
    assert after["State"]["Running"], said
    assert after["Id"] != outdated.container_id
    assert "MARK=kept" in after["Config"]["Env"]
