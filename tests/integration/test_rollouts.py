"""Rollouts on a real engine: containers that belong together, those that depend on each other, and a signal at work."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import Outdated, an_outdated_container, assert_updated

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

FAST = ("--rollout-monitor", "1s")
QUICK = ("--stop-signal", "SIGKILL")
LEAVING_SECONDS = 8.0
"""Docker gives a container ten seconds to leave."""


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command with the test's own login."""
    return Updater(docker.engine, docker.config_directory, tmp_path / "state")


def a_dependent(docker: DockerCli, outdated: Outdated, kind: str, *options: str) -> str:
    """Run a container beside it on the same old image, by its id, so that it is not updated itself."""
    name = f"{outdated.name}-{kind}"
    image = docker.inspect(outdated.name)["Image"]
    docker.run(name, image, "sleep", "1000", options=(*QUICK, *options))
    return name


def wait_for(condition: Callable[[], object], *, seconds: float = 30.0) -> bool:
    """Wait until the condition is fulfilled; say whether it was in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def all_names(docker: DockerCli, prefix: str) -> list[str]:
    """Return the names of all containers of this test."""
    return sorted(docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{prefix}-").split())


@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
def test_containers_that_share_namespaces_are_replaced_together_or_not_at_all(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str, broken: bool
) -> None:
    """Afterwards each lives with the container that has its target's name, whether the new image is good or not."""
    outdated = an_outdated_container(docker, testbed, prefix, broken=broken, options=("--ipc", "shareable"))
    guests = {
        kind: a_dependent(docker, outdated, kind, f"--{kind}", f"container:{outdated.name}")
        for kind in ("network", "pid", "ipc")
    }
    linked = a_dependent(docker, outdated, "linked", "--link", f"{outdated.name}:target")
    before = {name: docker.inspect(name)["Id"] for name in (*guests.values(), linked)}
    done = updater("--run-once", *FAST, outdated.name)
    web = docker.inspect(outdated.name)
    assert web["State"]["Running"], done.log
    assert (web["Image"] == outdated.new_image_id) is not broken, done.log
    for kind, name in guests.items():
        guest = docker.inspect(name)
        assert guest["State"]["Running"], done.log
        assert guest["HostConfig"][f"{kind.capitalize()}Mode"] == f"container:{web['Id']}", done.log
    assert docker.inspect(linked)["HostConfig"]["Links"] == [f"/{outdated.name}:/{linked}/target"], done.log
    assert docker.inspect(linked)["State"]["Running"], done.log
    is_kept = {name: docker.inspect(name)["Id"] == identity for name, identity in before.items()}
    assert set(is_kept.values()) == {broken}, is_kept
    assert all_names(docker, prefix) == sorted([outdated.name, linked, *guests.values()]), done.log


def test_network_of_the_new_container_is_alive_in_the_one_that_shares_it(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str
) -> None:
    """Both see the same interface."""
    outdated = an_outdated_container(docker, testbed, prefix)
    guest = a_dependent(docker, outdated, "guest", "--network", f"container:{outdated.name}")
    done = updater("--run-once", *FAST, outdated.name)
    seen = [docker("exec", name, "cat", "/sys/class/net/eth0/address") for name in (outdated.name, guest)]
    assert seen[0] == seen[1], done.log


def test_dependent_is_restarted_after_the_one_that_it_depends_on(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str
) -> None:
    """It stays the same container, and has started later than the new one."""
    outdated = an_outdated_container(docker, testbed, prefix)
    label = f"com.centurylinklabs.watchtower.depends-on={outdated.name}"
    dependent = a_dependent(docker, outdated, "app", "--label", label)
    before = docker.inspect(dependent)
    done = updater("--run-once", *FAST, outdated.name)
    assert_updated(docker, outdated, done.log)
    after = docker.inspect(dependent)
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] > docker.inspect(outdated.name)["State"]["StartedAt"], done.log
    assert "Restarted container" in done.log


def test_signal_during_a_long_stop_leaves_the_container_running_in_time(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str
) -> None:
    """The container ignores its stop signal and has five minutes; the updater has ten seconds."""
    outdated = an_outdated_container(
        docker, testbed, prefix, options=("--stop-signal", "SIGUSR1", "--stop-timeout", "300", "--restart", "always")
    )
    with updater.running("--run-once", *FAST, outdated.name) as process:
        assert wait_for(lambda: f"{outdated.name}.wta-old" in "".join(all_names(docker, prefix)))
        time.sleep(1.0)  # the stop is under way
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        took = time.monotonic() - started
    assert took < LEAVING_SECONDS
    assert docker.inspect(outdated.name)["State"]["Running"]
    done = updater("--run-once", *FAST, outdated.name)
    assert all_names(docker, prefix) == [outdated.name], done.log
    assert docker.inspect(outdated.name)["State"]["Running"]


def test_start_first_starts_the_new_one_before_the_old_one_stops(
    docker: DockerCli, testbed: TestBed, updater: Updater, prefix: str
) -> None:
    """The events of the engine tell the order."""
    outdated = an_outdated_container(docker, testbed, prefix, options=("--label", "watchtower-async.order=start-first"))
    since = str(int(time.time()))
    done = updater("--run-once", *FAST, outdated.name)
    assert_updated(docker, outdated, done.log)
    until = str(int(time.time()) + 1)
    events = docker(
        "events", "--since", since, "--until", until, "--filter", "type=container", "--format", "{{.Action}} {{.ID}}"
    ).splitlines()
    new_id = docker.inspect(outdated.name)["Id"]
    assert events.index(f"start {new_id}") < events.index(f"die {outdated.container_id}"), events
