"""The main job on a real registry that asks for tokens, through the installed command.

The registry is on loopback, so an updater in a container asks through the engine, and one on the machine asks by
itself. Here it is told both, wherever the tests run.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.container_mark import NoMountNamespaceError, launcher
from tests.support.docker_cli import DockerCli, write_private
from tests.support.testbed import TestBed, TokenRegistry
from tests.support.updater import Updater
from tests.support.updating import Outdated, an_outdated_container, assert_updated
from watchtower_async.images.reference import parse_reference

pytestmark = pytest.mark.engine

FAST = ("--rollout-monitor", "1s")
OURS = "watchtower_async/"
"""How we name ourselves to a token service; the engine does it otherwise."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Two containers whose images are out of date."""

    private: Outdated
    public: Outdated


@pytest.fixture
def tokens(testbed: TestBed) -> TokenRegistry:
    """The registry that asks for tokens."""
    return testbed.tokens


@pytest.fixture
def updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command as on the machine: it asks the registry by itself."""
    return the_updater(docker, tmp_path, in_container=False)


@pytest.fixture
def contained_updater(docker: DockerCli, tmp_path: Path) -> Updater:
    """The installed command as in a container: it asks through the engine."""
    return the_updater(docker, tmp_path, in_container=True)


@pytest.fixture(params=["updater", "contained_updater"])
def any_updater(request: pytest.FixtureRequest) -> Updater:
    """Each of the two."""
    updater: Updater = request.getfixturevalue(request.param)
    return updater


def the_updater(docker: DockerCli, directory: Path, *, in_container: bool) -> Updater:
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
def outdated(docker: DockerCli, testbed: TestBed, tokens: TokenRegistry, prefix: str) -> Outdated:
    """A container that runs an old image of a private repository. The login is by user and password."""
    docker.log_in(tokens.address, tokens.user, tokens.password)
    return an_outdated_container(docker, testbed, prefix, image=f"{tokens.address}/{prefix}/app:latest")


@pytest.fixture(scope="module")
def standing(
    testbed: TestBed, session_docker: DockerCli, run_label: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standing]:
    """Containers with old images, for tests that change nothing."""
    docker = replace(session_docker, config_directory=tmp_path_factory.mktemp("standing"))
    docker.log_in(testbed.tokens.address, testbed.tokens.user, testbed.tokens.password)
    name = f"wta-{run_label.rpartition('=')[2]}"
    private, public = (
        an_outdated_container(docker, testbed, f"{name}-{kind}", image=f"{testbed.tokens.address}/{path}:latest")
        for kind, path in {"private": f"{name}/app", "public": f"public/{name}"}.items()
    )
    yield Standing(private, public)
    docker("rm", "--force", private.name, public.name)


def log_in_with(docker: DockerCli, tokens: TokenRegistry, kind: str, secret: str) -> None:
    """Leave a login in the configuration: a password, or an identity token as `docker login` keeps it."""
    if kind == "password":
        docker.log_in(tokens.address, tokens.user, secret)
        return
    entry = {"auth": "", "identitytoken": secret}
    write_private(docker.config_directory / "config.json", json.dumps({"auths": {tokens.address: entry}}))


def repository(outdated: Outdated) -> str:
    """Return the path of the container's image."""
    return parse_reference(outdated.image).path


def test_password_passes_plan_scan_and_pull(
    docker: DockerCli, any_updater: Updater, tokens: TokenRegistry, outdated: Outdated
) -> None:
    """The plan tells the update and touches nothing; a run makes it; then there is nothing to do."""
    plan = any_updater("plan", "--json", outdated.name)
    item = plan.item(outdated.name)
    assert (plan.code, item["action"], item["reason"]["code"]) == (2, "update", "newer_image"), plan.log
    assert docker.inspect(outdated.name)["Id"] == outdated.container_id
    done = any_updater("--run-once", "--exit-code", *FAST, outdated.name)
    assert done.code == 0, done.log
    assert_updated(docker, outdated, done.log)
    assert any_updater("plan", outdated.name).code == 0
    asked = {(entry["grant"], entry["status"]) for entry in tokens.token_requests(repository(outdated), client=OURS)}
    assert asked == (set() if item["asked_through_engine"] else {("basic", 200)})
    assert tokens.password not in plan.output + plan.log + done.log


def test_identity_token_of_a_real_login_passes_scan_and_pull(
    docker: DockerCli, any_updater: Updater, tokens: TokenRegistry, outdated: Outdated
) -> None:
    """`docker login` keeps a token instead of the password. We and the engine show it by POST, and nothing else."""
    before = len(tokens.token_requests(repository(outdated)))
    docker("login", "--username", tokens.user, "--password-stdin", tokens.address, stdin=tokens.password.encode())
    entry = json.loads((docker.config_directory / "config.json").read_text())["auths"][tokens.address]
    assert (entry["identitytoken"], base64.b64decode(entry["auth"])) == (
        tokens.identity_token,
        f"{tokens.user}:".encode(),
    )
    done = any_updater("--run-once", "--exit-code", *FAST, outdated.name)
    assert done.code == 0, done.log
    assert_updated(docker, outdated, done.log)
    asked = tokens.token_requests(repository(outdated))[before:]
    assert {(entry["method"], entry["grant"], entry["status"]) for entry in asked} == {("POST", "refresh_token", 200)}
    assert tokens.identity_token not in done.log


@pytest.mark.parametrize("kind", ["password", "identity token"])
def test_wrong_login_is_a_reason_and_no_update(
    docker: DockerCli, any_updater: Updater, tokens: TokenRegistry, standing: Standing, kind: str
) -> None:
    """The refusal is told, and the secret is not."""
    log_in_with(docker, tokens, kind, "wr0ng-marker")
    done = any_updater("plan", "--json", standing.private.name)
    item = done.item(standing.private.name)
    assert (done.code, item["action"], item["reason"]["code"]) == (1, "unknown", "unauthorized")
    assert tokens.address in item["reason"]["text"]
    assert "wr0ng-marker" not in done.output + done.log


def test_rejected_login_is_named_with_its_remedy(
    docker: DockerCli, updater: Updater, tokens: TokenRegistry, standing: Standing
) -> None:
    """Where we ask by ourselves, a person learns which entry it is and what to do."""
    log_in_with(docker, tokens, "identity token", "wr0ng-marker")
    text = updater("plan", "--json", standing.private.name).item(standing.private.name)["reason"]["text"]
    assert f'config.json entry "{tokens.address}" was rejected' in text
    assert f"docker login {tokens.address}" in text


def test_missing_login_is_told_apart_from_a_wrong_one(
    updater: Updater, tokens: TokenRegistry, standing: Standing
) -> None:
    """A person learns that no credential is configured, and for which registry."""
    item = updater("plan", "--json", standing.private.name).item(standing.private.name)
    assert item["reason"]["code"] == "unauthorized"
    assert "no credential is configured" in item["reason"]["text"]
    assert f"docker login {tokens.address}" in item["reason"]["text"]


def test_user_without_rights_is_refused(
    docker: DockerCli, any_updater: Updater, tokens: TokenRegistry, standing: Standing, prefix: str
) -> None:
    """The token service grants a token with fewer rights, and the registry refuses that."""
    docker.log_in(tokens.address, prefix, "right")
    with tokens.account(prefix, password="right", repositories="elsewhere/"):
        done = any_updater("plan", "--json", standing.private.name)
    item = done.item(standing.private.name)
    assert (done.code, item["action"]) == (1, "unknown")
    assert item["reason"]["code"] in ("unauthorized", "denied"), item["reason"]


@pytest.mark.parametrize(("name", "through_engine"), [("updater", False), ("contained_updater", True)])
def test_public_image_needs_no_login(
    request: pytest.FixtureRequest, standing: Standing, name: str, through_engine: bool
) -> None:
    """A token is granted to nobody in particular, whoever asks."""
    updater: Updater = request.getfixturevalue(name)
    done = updater("plan", "--json", standing.public.name)
    item = done.item(standing.public.name)
    assert (done.code, item["reason"]["code"]) == (2, "newer_image"), done.log
    assert item["asked_through_engine"] is through_engine


@pytest.mark.parametrize("kind", ["password", "identity token"])
def test_public_image_is_checked_in_spite_of_a_wrong_login(
    docker: DockerCli, updater: Updater, tokens: TokenRegistry, standing: Standing, kind: str
) -> None:
    """It is left out, and one warning says so."""
    log_in_with(docker, tokens, kind, "wr0ng-marker")
    done = updater("plan", "--json", standing.public.name)
    assert (done.code, done.item(standing.public.name)["reason"]["code"]) == (2, "newer_image"), done.log
    assert done.log.count("event=registry.credential_rejected") == 1
    assert "wr0ng-marker" not in done.output + done.log


def test_public_image_is_updated_with_a_wrong_login(
    docker: DockerCli, testbed: TestBed, any_updater: Updater, tokens: TokenRegistry, prefix: str
) -> None:
    """The registry refuses the login even for what everybody may have; then it is left out, once."""
    docker.log_in(tokens.address, tokens.user, tokens.password)
    public = an_outdated_container(docker, testbed, prefix, image=f"{tokens.address}/public/{prefix}:latest")
    log_in_with(docker, tokens, "password", "wr0ng-marker")
    done = any_updater("--run-once", "--exit-code", *FAST, public.name)
    assert_updated(docker, public, done.log)
    assert "wr0ng-marker" not in done.log


def test_token_that_ends_between_two_sessions_is_renewed(
    docker: DockerCli, updater: Updater, tokens: TokenRegistry, standing: Standing, prefix: str
) -> None:
    """The reply promises a long life, but the registry refuses the token after two seconds."""
    docker.log_in(tokens.address, prefix, "right")
    watch = ("--interval", "1", "--monitor-only", standing.private.name)
    deadline = time.monotonic() + 20
    with (
        tokens.account(prefix, password="right", expires_in=300, refused_after=2),
        updater.running(*watch) as service,
    ):
        while len(asked := of_account(tokens, standing.private, prefix)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        service.send_signal(signal.SIGTERM)
        _, log = service.communicate(timeout=20)
    assert [entry["status"] for entry in asked[:3]] == [200, 200, 200], log
    assert log.count("Session done") >= 3
    assert "Unable to check" not in log


def of_account(tokens: TokenRegistry, outdated: Outdated, name: str) -> list[dict[str, Any]]:
    """Return what we asked as this user."""
    asked = tokens.token_requests(repository(outdated), client=OURS)
    return [entry for entry in asked if entry["account"] == name]
