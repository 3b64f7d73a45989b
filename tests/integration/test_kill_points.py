"""On the real engine: a fault at every engine call of a replacement, and SIGKILL of the real updater among them.

The list is made by running into it: a fault at the first changing call, at the second, until a run is over before its
fault is reached. After each, the next start has to leave exactly one container under the name, running, configured as
before, with nothing left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker_cli import DockerCli
from tests.support.engine_proxy import EngineProxy, ProxyFault, engine_proxy
from tests.support.testbed import TestBed
from tests.support.updater import Updater
from tests.support.updating import Outdated, an_outdated_container

pytestmark = [pytest.mark.engine, pytest.mark.full, pytest.mark.timeout(1800)]

MOST_CALLS = 30
FAST = ("--rollout-monitor", "1s")
KINDS: tuple[ProxyFault, ...] = ("kill_before", "kill_after", "fail", "lost")


def numbers() -> Iterator[int]:
    """Yield call numbers."""
    yield from range(1, MOST_CALLS)


def run_with_fault(updater: Updater, name: str, kind: ProxyFault, at: int) -> EngineProxy:
    """Run the updater once with a fault at a call."""
    with engine_proxy(updater.engine, kind=kind, at=at) as proxy:
        through = replace(updater, engine=proxy.address)
        with through.running("--run-once", *FAST, name) as process:
            proxy.victim = lambda: process.pid
            assert process.stderr is not None
            process.stderr.read()
            process.wait(120)
    return proxy


def facts(document: dict[str, Any]) -> dict[str, Any]:
    """Return what must be as before, whatever the image."""
    # An engine that was asked for nothing shows null, the command line's request an empty object.
    host = {
        key: document["HostConfig"][key] or None for key in ("Binds", "RestartPolicy", "NetworkMode", "PortBindings")
    }
    own = {key: document["Config"][key] for key in ("Image", "Labels", "StopSignal")}
    return {**host, **own, "Env": [entry for entry in document["Config"]["Env"] if not entry.startswith("VERSION=")]}


def problem_with(docker: DockerCli, outdated: Outdated, before: dict[str, Any], *, old_image: str) -> str | None:
    """Return what is not in order, None when all is."""
    names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{outdated.name}").split()
    if names != [outdated.name]:
        return f"there are {names}"
    after = docker.inspect(outdated.name)
    if not after["State"]["Running"]:
        return f"it is {after['State']['Status']}"
    if after["Image"] not in (old_image, outdated.new_image_id):
        return f"it runs {after['Image']}"
    return None if facts(before) == facts(after) else f"{facts(before)} became {facts(after)}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("image", "policy"), [("good", "unless-stopped"), ("bad", "always")])
def test_every_call_may_be_the_last(
    docker: DockerCli, testbed: TestBed, prefix: str, tmp_path: Path, image: str, policy: str, kind: ProxyFault
) -> None:
    """Prints how many runs the container survived."""
    survived, failures = 0, []
    for number in numbers():
        name = f"{prefix}-{kind.replace('_', '')}{number}"
        updater = Updater(docker.engine, docker.config_directory, tmp_path / name)
        outdated = an_outdated_container(docker, testbed, name, options=("--restart", policy), broken=image == "bad")
        before = docker.inspect(outdated.name)
        proxy = run_with_fault(updater, outdated.name, kind, number)
        if not proxy.fired:
            docker("rm", "--force", outdated.name)
            break
        done = updater("--run-once", *FAST, outdated.name)
        problem = problem_with(docker, outdated, before, old_image=before["Image"])
        if problem is None:
            survived += 1
        else:
            failures.append(f"{kind} at {number} ({proxy.changes[-1]}): {problem}\n{done.log}")
        docker("rm", "--force", outdated.name)
    print(f"survived {survived} of {survived + len(failures)}")
    assert not failures, "\n".join(failures)
    assert survived > 1


def test_proxy_is_no_obstacle(docker: DockerCli, testbed: TestBed, prefix: str, tmp_path: Path) -> None:
    """Without a fault everything is as without a proxy."""
    outdated = an_outdated_container(docker, testbed, prefix)
    with engine_proxy(docker.engine) as proxy:
        updater = Updater(proxy.address, docker.config_directory, tmp_path / "state")
        done = updater("--run-once", *FAST, outdated.name)
    assert docker.inspect(outdated.name)["Image"] == outdated.new_image_id, done.log
