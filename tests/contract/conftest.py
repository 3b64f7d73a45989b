"""The engines on which contracts are checked: simulated ones of several versions, and the one of the test bed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.podman import difference_shown_by
from tests.support.docker_cli import DockerCli
from tests.support.engine_lab import Lab, RealLab, SharedImages, SimulatedLab
from tests.support.engine_sim import SimulatedEngine, connected
from tests.support.testbed import TestBed
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import Engine, connect_engine

ENGINES = [
    *(pytest.param(version, marks=pytest.mark.looptime) for version in ("1.41", "1.44", "1.51")),
    pytest.param("real", marks=pytest.mark.engine),
]


@pytest.fixture(scope="session")
def shared_images(session_docker: DockerCli) -> SharedImages:
    """Images that the tests on the real engine share."""
    return SharedImages(session_docker)


def expect_known_differences(client: Engine, test: pytest.Function) -> None:
    """Let a test fail on Podman where that is known."""
    difference = difference_shown_by(test.originalname) if client.info.is_podman else None
    if difference is not None:
        test.add_marker(pytest.mark.xfail(reason=difference, strict=False))


@pytest.fixture(params=ENGINES)
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A world on each engine."""
    if request.param != "real":
        engine = SimulatedEngine(api_version=request.param)
        async with connected(engine) as client:
            yield SimulatedLab(client, engine)
        return
    testbed: TestBed = request.getfixturevalue("testbed")
    address = EngineAddress(url=testbed.engine, source="test", is_local=True)
    async with connect_engine(address) as client:
        expect_known_differences(client, request.node)
        lab = RealLab(
            client,
            docker=request.getfixturevalue("session_docker"),
            testbed=testbed,
            images=request.getfixturevalue("shared_images"),
            prefix=request.getfixturevalue("prefix"),
        )
        yield lab
        await lab.clean_up()
