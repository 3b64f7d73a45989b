"""`credentials` on a real engine and real registries that ask for a login and for tokens."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.container_mark import NoMountNamespaceError, launcher
from tests.support.docker_cli import DockerCli
from tests.support.testbed import TestBed
from tests.support.updater import Finished, Updater
from tests.support.updating import Outdated, an_outdated_container, login_file

pytestmark = pytest.mark.engine

WRONG = "wr0ng-marker"


@pytest.fixture(params=[False, True], ids=["on the machine", "in a container"])
def updater(request: pytest.FixtureRequest, docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command, which asks registries on loopback by itself, or through the engine."""
    return an_updater(docker, tmp_path, in_container=request.param)


@pytest.fixture
def updater_on_the_machine(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command, which asks registries on loopback by itself."""
    return an_updater(docker, tmp_path, in_container=False)


def an_updater(docker: DockerCli, directory: Path, *, in_container: bool) -> Updater:
    root = directory / "root"
    root.mkdir()
    try:
        launched = launcher(root, in_container=in_container)
    except NoMountNamespaceError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs both kinds of updaters: {error}")
        pytest.skip(str(error))
    return Updater(docker.engine, docker.config_directory, directory / "state", launcher=launched)


@pytest.fixture
def outdated(docker: DockerCli, testbed: TestBed, prefix: str) -> Outdated:
    """A container with an image of the registry that asks for a login; a newer one is published."""
    return an_outdated_container(docker, testbed, prefix)


@pytest.fixture
def web(outdated: Outdated) -> str:
    """The name of that container."""
    return outdated.name


def row(done: Finished, registry: str) -> dict[str, Any]:
    """Return what was printed about a registry, and make sure that no password was."""
    assert WRONG not in done.output + done.log
    (found,) = [entry for entry in json.loads(done.output)["registries"] if entry["registry"] == registry]
    return dict(found)


def test_right_login_is_accepted_without_pulling(
    docker: DockerCli, testbed: TestBed, updater: Updater, outdated: Outdated
) -> None:
    """Registry, container, source, user and kind are told; the engine does not get the newer image."""
    done = updater("credentials", "--check", "--json", outdated.name)
    found = row(done, testbed.registry)
    assert done.code == 0, done.log + done.output
    assert (found["check"]["verdict"], found["check"]["image"]) == ("accepted", outdated.image)
    assert (found["containers"], found["username"], found["kind"]) == ([outdated.name], testbed.user, "password")
    assert found["source"] == f'config.json entry "{testbed.registry}"'
    assert testbed.password not in done.output + done.log
    assert docker.image_id(outdated.new_image_id) is None


def test_wrong_password_is_refused_and_only_the_check_sees_it(
    docker: DockerCli, testbed: TestBed, updater: Updater, web: str
) -> None:
    """With the command that puts it right."""
    docker.log_in(testbed.registry, testbed.user, WRONG)
    unchecked = updater("credentials", "--json", web)
    assert (unchecked.code, row(unchecked, testbed.registry)["check"]) == (0, None)
    done = updater("credentials", "--check", "--json", web)
    found = row(done, testbed.registry)
    assert (done.code, found["check"]["verdict"]) == (1, "refused")
    assert f"docker login {testbed.registry}" in found["check"]["text"]


def test_missing_login_is_told_apart_from_a_wrong_one(
    docker: DockerCli, testbed: TestBed, updater: Updater, web: str
) -> None:
    """The registry is in use, no entry answers for it, and it is refused."""
    docker.log_out(testbed.registry)
    done = updater("credentials", "--check", "--json", web)
    found = row(done, testbed.registry)
    assert (done.code, found["source"], found["kind"], found["check"]["verdict"]) == (1, "no entry", "none", "refused")


def test_table_for_people(docker: DockerCli, testbed: TestBed, updater: Updater, web: str) -> None:
    """One row, and a line about the running updater."""
    done = updater("credentials", "--check", web)
    assert done.code == 0, done.log
    for word in (testbed.registry, web, testbed.user, "password", "accepted", "No running updater answers; read now."):
        assert word in done.output


@pytest.mark.parametrize(
    ("entry", "kind", "verdict"),
    [
        ("password", "password", "accepted"),
        ("identity", "identity_token", "accepted"),
        ("wrong", "password", "refused"),
    ],
)
def test_login_that_no_container_needs_is_shown_to_the_registry(
    docker: DockerCli, testbed: TestBed, updater_on_the_machine: Updater, entry: str, kind: str, verdict: str
) -> None:
    """A real registry with tokens takes one without a scope; how long it is good is told."""
    tokens = testbed.tokens
    given = {
        "password": {"username": tokens.user, "password": tokens.password},
        "identity": {"identitytoken": tokens.identity_token},
        "wrong": {"username": tokens.user, "password": WRONG},
    }
    login_file(docker).write_text(json.dumps({"auths": {f"{tokens.address}/nobody/is/here": given[entry]}}))
    done = updater_on_the_machine("credentials", "--check", "--json")
    found = next(item for item in json.loads(done.output)["registries"] if f"{tokens.address}/nobody" in item["source"])
    assert (found["containers"], found["kind"], found["check"]["verdict"]) == ([], kind, verdict), found
    assert (found["token_until"] is not None) is (verdict == "accepted")
    assert WRONG not in done.output + done.log
    assert tokens.identity_token not in done.output + done.log


def test_configured_registries_are_shown_and_checked_without_an_engine(
    testbed: TestBed, updater_on_the_machine: Updater, tmp_path: Path
) -> None:
    """One line says why no container is known."""
    nowhere = replace(updater_on_the_machine, engine=f"unix://{tmp_path}/none.sock")
    done = nowhere("credentials", "--check")
    assert done.code == 0, done.log + done.output
    assert testbed.registry in done.output
    assert "accepted" in done.output
    assert done.output.count("No engine, so it is not known which containers use what") == 1


def test_running_updater_says_when_it_read_what_it_uses(
    docker: DockerCli, testbed: TestBed, updater_on_the_machine: Updater, web: str
) -> None:
    """A broken file changes nothing for it, and both its problem and what it goes by are told."""
    updater = updater_on_the_machine
    with updater.running("--interval", "3600", web):
        assert updater.wait_until_well().code == 0
        before = running_state(updater, generation=1)
        login_file(docker).write_text('{"auths": {')
        broken = running_state(updater, problem=True)
        assert broken["generation"] == 1
        assert "is not valid JSON" in broken["problem"]
        login_file(docker).write_text("{}")
        after = running_state(updater, generation=2)
        shown = updater("credentials", web)
    assert before["problem"] is None
    assert after["reloaded"] >= before["reloaded"]
    assert "is not valid JSON" in after["last_problem"]
    assert "(generation 2). Its last problem, which is over: " in shown.output


def running_state(updater: Updater, *, generation: int = 0, problem: bool = False) -> dict[str, Any]:
    """Ask until the running updater has the generation, or a problem."""
    deadline = time.monotonic() + 20
    while True:
        found: dict[str, Any] = json.loads(updater("credentials", "--json").output)["running"] or {}
        if (found.get("problem") is not None) if problem else found.get("generation") == generation:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.timeout(900)
def test_command_answers_inside_the_image(
    docker: DockerCli, testbed: TestBed, application_image: str, prefix: str, web: str
) -> None:
    """As the documentation says: `docker exec`, in the service's own container."""
    login_file(docker)
    socket = f"{testbed.engine.removeprefix('unix://')}:/var/run/docker.sock"
    options = (
        "--volume",
        socket,
        "--volume",
        f"{docker.config_directory}:/docker:ro",
        "--env",
        "DOCKER_CONFIG=/docker",
    )
    name = f"{prefix}-updater"
    docker.run(name, application_image, "--interval", "3600", web, options=options)
    deadline = time.monotonic() + 30
    while True:
        document = json.loads(docker("exec", name, "/watchtower", "credentials", "--check", "--json", web))
        if (document["running"] or {}).get("generation") == 1:
            break
        assert time.monotonic() < deadline, document
        time.sleep(0.2)
    (found,) = document["registries"]
    assert (found["registry"], found["containers"], found["check"]["verdict"]) == (testbed.registry, [web], "accepted")
    assert found["check"]["asked_through_engine"]
