"""A Compose project on the test bed's engine, run by the real docker-compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.docker_cli import DockerCli

COMMAND = os.environ.get("WTA_COMPOSE", "docker-compose")
"""Debian had docker-compose 1 up to bookworm. What was rewritten in version 2 differs in what matters here."""


def compose_version() -> tuple[int, ...] | None:
    """Return the version of docker-compose, None where there is none."""
    if shutil.which(COMMAND) is None:
        return None
    said = subprocess.check_output([COMMAND, "version", "--short"], text=True, timeout=30, stdin=subprocess.DEVNULL)
    numbers = said.strip().removeprefix("v").partition("-")[0].split(".")
    return tuple(int(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A project with its file in a directory of its own."""

    docker: DockerCli
    directory: Path
    name: str

    def write(self, services: dict[str, dict[str, Any]], **sections: Any) -> None:
        """Write the file; whatever it makes carries the labels by which tests clean up."""
        labels = dict(label.split("=", 1) for label in self.docker.labels)
        document = {
            "version": "3.7",
            "services": {name: {"labels": labels, "init": True, **service} for name, service in services.items()},
            "networks": {"default": {}},
            **sections,
        }
        for made in (*document["networks"].values(), *document.get("volumes", {}).values()):
            made["labels"] = labels
        if (compose_version() or (0,))[0] > 1:
            del document["version"]
        (self.directory / "compose.yaml").write_text(yaml.safe_dump(document))

    def __call__(self, *arguments: str) -> str:
        """Run docker-compose and return what it wrote."""
        done = subprocess.run(
            [COMMAND, "--project-name", self.name, "--file", "compose.yaml", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            env={
                **os.environ,
                "DOCKER_HOST": self.docker.engine,
                "DOCKER_CONFIG": str(self.docker.config_directory),
            },
            cwd=self.directory,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr

    def container(self, service: str) -> dict[str, Any]:
        """Return the only container of a service, as inspect shows it."""
        found = self("ps", "--quiet", service).split()
        assert len(found) == 1, found
        return self.docker.inspect(found[0])

    def take_down(self) -> None:
        """Remove everything. A volume that an update carried over has a name, and Compose leaves it."""
        containers = [self.docker.inspect(container) for container in self("ps", "--quiet").split()]
        mounts = [mount for container in containers for mount in container["Mounts"] if mount["Type"] == "volume"]
        self("down", "--volumes", "--remove-orphans")
        for name in dict.fromkeys(mount["Name"] for mount in mounts):
            self.docker("volume", "rm", "--force", name)
