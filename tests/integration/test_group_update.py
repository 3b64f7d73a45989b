"""On the real engine: containers that are replaced together, and those that the engine removes at their stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import an_outdated_container, assert_updated

pytestmark = pytest.mark.engine

FAST = ("--rollout-monitor", "1s")
QUICK = ("--stop-signal", "SIGKILL")


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


def names(docker: DockerCli, prefix: str) -> list[str]:
    """Return all containers of this test."""
    return sorted(docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{prefix}").split())


def test_container_that_removes_itself_is_updated(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater
) -> None:
    """The new one has `--rm` as well."""
    outdated = an_outdated_container(docker, testbed, prefix, options=("--rm",))
    done = updater("--run-once", *FAST, outdated.name)
    assert_updated(docker, outdated, done.log)
    assert docker.inspect(outdated.name)["HostConfig"]["AutoRemove"]
    assert names(docker, prefix) == [outdated.name]


def test_container_that_removes_itself_is_made_again_after_a_bad_image(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater
) -> None:
    """It runs on its old image, under the same tag, with the same settings."""
    outdated = an_outdated_container(docker, testbed, prefix, options=("--rm",), broken=True)
    before = docker.inspect(outdated.name)
    done = updater("--run-once", *FAST, outdated.name)
    after = docker.inspect(outdated.name)
    assert after["Image"] == before["Image"], done.log
    assert after["Config"]["Image"] == outdated.image
    assert after["State"]["Running"], done.log
    assert after["HostConfig"]["AutoRemove"]
    assert "MARK=kept" in after["Config"]["Env"]
    assert names(docker, prefix) == [outdated.name]


@pytest.mark.parametrize("broken", [False, True])
def test_containers_in_its_network_are_replaced_with_it(
    docker: DockerCli, testbed: TestBed, prefix: str, updater: Updater, broken: bool
) -> None:
    """One shares the network, one the IPC namespace; they live with whoever has the name afterwards."""
    outdated = an_outdated_container(docker, testbed, prefix, options=("--ipc", "shareable"), broken=broken)
    guest_image = docker.import_image(f"{prefix}-guest:1", "ENV VERSION=1", command=["sleep", "1000"])
    for kind, option in (("net", "--network"), ("ipc", "--ipc")):
        docker.run(f"{prefix}-{kind}", guest_image, options=(*QUICK, option, f"container:{outdated.name}"))
    done = updater("--run-once", *FAST, outdated.name)
    web = docker.inspect(outdated.name)
    assert (web["Id"] == outdated.container_id) is broken, done.log
    assert docker.inspect(f"{prefix}-net")["HostConfig"]["NetworkMode"] == f"container:{web['Id']}", done.log
    assert docker.inspect(f"{prefix}-ipc")["HostConfig"]["IpcMode"] == f"container:{web['Id']}", done.log
    everybody = [f"{prefix}-ipc", f"{prefix}-net", outdated.name]
    assert names(docker, prefix) == sorted(everybody)
    assert all(docker.inspect(name)["State"]["Running"] for name in everybody)
