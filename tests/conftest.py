"""Fixtures for tests on the real engine and registry of the test bed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.docker_cli import TESTBED_LABEL, DockerCli
from tests.support.testbed import TestBed, read_testbed


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Logging as it is before anything sets it up: the program's entry point does that once, for its whole process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def testbed() -> TestBed:
    """The test bed; without one the test is skipped, or fails where CI=true demands it."""
    bed = read_testbed()
    if bed is not None:
        return bed
    reason = os.environ.get("WTA_NO_TESTBED") or "no test bed is up; scripts/test brings one up"
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs the test bed: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def run_label() -> str:
    """A label for everything that this run makes on the engine, so that only this is swept away."""
    return f"watchtower-async.run={secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def session_docker(testbed: TestBed, run_label: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerCli]:
    """The docker command line with a login to the test bed's registry; at the end, what this run made is removed."""
    directory = tmp_path_factory.mktemp("docker-config")
    docker = DockerCli(engine=testbed.engine, config_directory=directory, labels=(TESTBED_LABEL, run_label))
    docker.log_in(testbed.registry, testbed.user, testbed.password)
    yield docker
    left = docker.remove_labelled(run_label)
    assert not left, "the tests left behind what cannot be removed: " + "; ".join(left)


@pytest.fixture
def docker(session_docker: DockerCli, prefix: str, tmp_path: Path) -> Iterator[DockerCli]:
    """The docker command line with its own login; containers, volumes and networks of this test go at its end."""
    label = f"watchtower-async.test={prefix}"
    directory = tmp_path / "docker-config"
    directory.mkdir()
    login = session_docker.config_directory / "config.json"
    (directory / "config.json").write_bytes(login.read_bytes())
    docker = DockerCli(engine=session_docker.engine, config_directory=directory, labels=(*session_docker.labels, label))
    yield docker
    left = docker.remove_labelled(label)
    assert not left, "the test left behind what cannot be removed: " + "; ".join(left)


@pytest.fixture
def prefix() -> str:
    """A name prefix that no other test and no other run uses."""
    return f"wta-{secrets.token_hex(4)}"
