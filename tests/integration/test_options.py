"""Options that were wanted seldom, on a real engine, through the installed command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import an_outdated_container, assert_updated

pytestmark = pytest.mark.engine

FAST = ("--run-once", "--exit-code", "--rollout-monitor", "1s")
LIMITS = ("--cpu-shares", "512", "--memory", "64m")


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


def test_without_free_space_nothing_is_pulled(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater
) -> None:
    """No disk has as much as is asked for here; where nobody can see the disk, that is told and nothing held back."""
    outdated = an_outdated_container(docker, testbed, prefix)
    done = updater(*FAST, "--min-free", "900000TB", outdated.name)
    if "--min-free holds no pull back" in done.log:
        assert_updated(docker, outdated, done.log)
        return
    assert done.code == 1, done.log
    assert "--min-free asks for" in done.log
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id


def test_enough_free_space_holds_nothing_back(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater
) -> None:
    """A byte is free everywhere."""
    outdated = an_outdated_container(docker, testbed, prefix)
    done = updater(*FAST, "--min-free", "1", outdated.name)
    assert done.code == 0, done.log
    assert_updated(docker, outdated, done.log)


def test_cpu_limits_are_copied_unless_they_are_not_wanted(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater
) -> None:
    """Other limits stay in any case."""
    outdated = an_outdated_container(docker, testbed, prefix, options=LIMITS)
    done = updater(*FAST, "--cpu-copy-mode", "none", outdated.name)
    assert done.code == 0, done.log
    host = docker.inspect(outdated.name)["HostConfig"]
    assert docker.inspect(outdated.name)["Image"] == docker.image_id(outdated.image)
    assert (host["CpuShares"], host["Memory"]) == (0, 64 << 20)


def test_api_version_that_cannot_be_spoken_ends_the_start(updater: Updater) -> None:
    """With the remedy; one that can be is spoken."""
    done = updater("--run-once", "--api-version", "1.25", "wta-nobody-has-this-name")
    assert done.code == 3
    assert "API version 1.25 is asked for" in done.log
    done = updater("--run-once", "--api-version", "1.41", "wta-nobody-has-this-name")
    assert done.code == 0, done.log


@pytest.mark.parametrize("is_wanted", [True, False])
def test_dependent_by_compose_is_restarted_unless_that_is_not_wanted(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater, is_wanted: bool
) -> None:
    """By the label with which compose says `restart: true`."""
    of_compose = ("--label", f"com.docker.compose.project={prefix}", "--label")
    outdated = an_outdated_container(docker, testbed, prefix, options=(*of_compose, "com.docker.compose.service=web"))
    depends = ("--label", "com.docker.compose.depends_on=web:service_started:true", "--stop-signal", "SIGKILL")
    labels = (*of_compose, "com.docker.compose.service=job", *depends)
    docker.run(f"{prefix}-job", outdated.image, options=labels)
    started = docker.inspect(f"{prefix}-job")["State"]["StartedAt"]
    flag = f"--use-compose-depends-on={str(is_wanted).lower()}"
    done = updater(*FAST, flag, outdated.name)
    assert done.code == 0, done.log
    assert_updated(docker, outdated, done.log)
    assert is_wanted is (started != docker.inspect(f"{prefix}-job")["State"]["StartedAt"])
