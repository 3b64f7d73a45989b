"""Projects of the real docker-compose before and after an update: its next `up` finds nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose_project import ComposeProject, compose_version
from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Finished, Updater

VERSION = compose_version()
IS_NEW = VERSION is not None and VERSION >= (2,)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(VERSION is None, reason="docker-compose is not installed"),
]
needs_new = pytest.mark.skipif(not IS_NEW, reason=f"docker-compose {VERSION} knows no such thing; 2 does")

RICH: dict[str, Any] = {
    "command": ["sleep", "1000"],
    "stop_signal": "SIGKILL",
    "environment": {"MARK": "kept", "VERSION": "mine"},
    "volumes": ["data:/data", "/anonymous"],
    "networks": {"default": {"aliases": ["alias"]}, "back": {}},
    "ports": ["127.0.0.1::80"],
    "extra_hosts": ["elsewhere:10.0.0.1"],
    "ulimits": {"nofile": 1000},
    "tmpfs": ["/scratch"],
    "restart": "unless-stopped",
    "healthcheck": {"test": ["CMD", "true"], "interval": "1s"},
}
PLAIN: dict[str, Any] = {"command": ["sleep", "1000"], "stop_signal": "SIGKILL"}


@pytest.fixture
def image(docker: DockerCli, testbed: TestBed, prefix: str) -> str:
    """The name of an image whose first version is on the engine, and published."""
    name = f"{testbed.registry}/{prefix}/service:latest"
    publish(docker, name, prefix, 1)
    docker("pull", name)
    return name


@pytest.fixture
def project(docker: DockerCli, prefix: str, tmp_path: Path) -> Iterator[ComposeProject]:
    """A project that is taken down after the test."""
    directory = tmp_path / "project"
    directory.mkdir()
    project = ComposeProject(docker, directory, prefix)
    yield project
    project.take_down()


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


def publish(docker: DockerCli, name: str, prefix: str, version: int) -> None:
    """Publish a version under the tag; the engine keeps nothing of it."""
    image_id = docker.import_image(f"{prefix}-build:{version}", f"ENV VERSION={version} IMAGE={version}")
    docker.publish(name, image_id)
    docker("rmi", "--force", image_id)


def updated(updater: Updater, *containers: dict[str, Any]) -> Finished:
    """Update containers, and fail where that was not possible."""
    names = [container["Name"].removeprefix("/") for container in containers]
    done = updater("--run-once", "--rollout-monitor", "1s", "--exit-code", *names)
    assert done.code == 0, done.log
    return done


def test_up_after_an_update_changes_nothing(
    docker: DockerCli, updater: Updater, project: ComposeProject, image: str, prefix: str
) -> None:
    """The container of the update is the one that Compose wants; version 1 cannot be told so, and the plan says it."""
    services = {"web": {"image": image, **RICH}, "other": {"image": image, **PLAIN, "depends_on": ["web"]}}
    project.write(services, volumes={"data": {}}, networks={"default": {}, "back": {}})
    project("up", "--detach")
    before, other = project.container("web"), project.container("other")
    publish(docker, image, prefix, 2)
    plan = updater("plan", "--json", before["Name"].removeprefix("/"))
    updated(updater, before)
    after = project.container("web")
    assert before["Id"] != after["Id"]
    assert {"IMAGE=2", "VERSION=mine", "MARK=kept"} <= set(after["Config"]["Env"])
    project("up", "--detach", "--no-deps", "web")
    notes = " ".join(plan.item(before["Name"].removeprefix("/"))["notes"])
    assert IS_NEW is (project.container("web")["Id"] == after["Id"])
    assert IS_NEW is ("docker-compose 1.x creates it anew at the next up" not in notes)
    assert project.container("other")["Id"] == other["Id"]


@needs_new
def test_files_that_compose_copied_in_are_there_after_each_update(
    docker: DockerCli, updater: Updater, project: ComposeProject, image: str, prefix: str
) -> None:
    """Also after the second one, and `up` finds nothing to do."""
    service = {
        "image": image,
        **PLAIN,
        "configs": [{"source": "settings", "target": "/etc/app/settings", "mode": 0o440, "uid": "7", "gid": "8"}],
        "secrets": ["key"],
    }
    files = {"configs": {"settings": {"content": "color=red"}}, "secrets": {"key": {"environment": "HOME"}}}
    project.write({"web": service}, **files)
    project("up", "--detach")
    stat = ("exec", project.container("web")["Id"], "ls", "-ln", "/etc/app/settings")
    owner = docker(*stat).split()[:4]
    for version in (2, 3):
        before = project.container("web")
        publish(docker, image, prefix, version)
        updated(updater, before)
        after = project.container("web")
        assert before["Id"] != after["Id"]
        assert docker("exec", after["Id"], "cat", "/etc/app/settings") == "color=red"
        assert docker("exec", after["Id"], "cat", "/run/secrets/key") != ""
        assert owner == docker("exec", after["Id"], "ls", "-ln", "/etc/app/settings").split()[:4]
        project("up", "--detach")
        assert project.container("web")["Id"] == after["Id"]
