"""The updater's own container, replaced on the real engine by a helper of the application image.

The helper is started as the updater starts it. Its process is killed with SIGKILL from the host, which the engine takes
for a crash; `docker kill` would be a person's wish that it stays down.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.test_image import socket_mount
from tests.support.builders import a_digest
from tests.support.docker_cli import DockerCli, DockerCliError
from tests.support.testbed import TestBed
from tests.support.updating import login_file, wait_until_well
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import connect_engine
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.self_update import HelperOrder, HelperPlace, start_helper

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

STATE = "/var/lib/watchtower-async"
QUICK_CHECK = (
    'HEALTHCHECK --interval=1s --timeout=5s --start-period=1s --retries=4 CMD ["/watchtower", "--health-check"]'
)
NEW_IMAGES = {
    "good": QUICK_CHECK,
    "exits": 'ENTRYPOINT ["/bin/sh", "-c", "echo cannot start >&2; exit 3"]',
    "hangs": f'{QUICK_CHECK}\nENTRYPOINT ["sleep", "1000"]',
    "never gets ready": 'HEALTHCHECK --interval=1s --start-period=1s --retries=4 CMD ["/bin/false", "--health-check"]',
}
PROGRAM = ("/opt/watchtower-async/bin/python", "-P", "-m", "watchtower_async", "--rollout-monitor", "1s")
FINISHED_SECONDS = 200.0


@dataclass(frozen=True, slots=True)
class Tower:
    """An updater's container, and the image that it is to move to."""

    docker: DockerCli
    testbed: TestBed
    name: str
    image: str
    old_image: str
    new_image: str

    @property
    def helper(self) -> str:
        """The name of the helper."""
        return f"{self.name}.wta-helper"

    def names(self) -> list[str]:
        """Return the containers whose names begin with the updater's."""
        return sorted(self.docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{self.name}").split())

    async def start_helper(self) -> None:
        """Start it as the updater does."""
        address = EngineAddress(url=self.testbed.engine, source="the test bed")
        async with connect_engine(address) as engine:
            info = await engine.system_info()
            facts = EngineFacts(
                api_version=engine.info.api_version,
                host_name=str(info["Name"]),
                platform=f"{engine.info.os}/{engine.info.architecture}",
            )
            order = HelperOrder(
                name=self.name,
                container_id=str(self.docker.inspect(self.name)["Id"]),
                reference=parse_reference(self.image),
                image_id=self.new_image,
                digest=parse_digest(a_digest("published")),
            )
            place = HelperPlace(program=PROGRAM, socket="/var/run/docker.sock", state_directory=STATE)
            assert await start_helper(engine, order, facts=facts, place=place) is None

    def wait_until(self, is_so: Callable[[list[str]], bool], *, seconds: float = FINISHED_SECONDS) -> None:
        """Look at the names until something is so."""
        deadline = time.monotonic() + seconds
        while not is_so(self.names()):
            assert time.monotonic() < deadline, f"{self.names()}\n{self.log()}"
            time.sleep(0.02)

    def quarantined(self, *, seconds: float) -> bool:
        """Say whether the updater holds its own new image in quarantine, within this time."""
        deadline = time.monotonic() + seconds
        while self.name not in self.docker("exec", self.name, "/watchtower", "quarantine", "list"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)
        return True

    def log(self) -> str:
        """Return what the helper wrote."""
        with suppress(DockerCliError):
            return self.docker.both_outputs("logs", self.helper)
        return "there is no helper any more"

    def kill_helper(self) -> None:
        """Kill its process, wherever it is."""
        with suppress(DockerCliError, ProcessLookupError):
            pid = int(self.docker.inspect(self.helper)["State"]["Pid"])
            if pid:
                os.kill(pid, signal.SIGKILL)

    def assert_in_order(self, image: str) -> None:
        """The updater runs on this image, well and as it was, and is alone."""
        self.wait_until(lambda names: names == [self.name])
        document = self.docker.inspect(self.name)
        assert document["Image"] == image
        assert document["State"]["Running"]
        assert document["Config"]["Image"] == self.image
        assert "MARK=kept" in document["Config"]["Env"]
        assert document["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert document["NetworkSettings"]["Ports"]["8080/tcp"]
        wait_until_well(self.docker, self.name)


@pytest.fixture
def make_tower(
    docker: DockerCli, testbed: TestBed, prefix: str, application_image: str, tmp_path: Path
) -> Iterator[Callable[[str], Tower]]:
    """Return what makes an updater that is well, with a newer image of this kind."""
    name = f"{prefix}-tower"

    def build(tag: str, instructions: str) -> str:
        directory = tmp_path / tag.replace(":", "-")
        directory.mkdir()
        (directory / "Dockerfile").write_text(f"FROM {application_image}\n{instructions}\n")
        docker.build(tag, directory)
        found = docker.image_id(tag)
        assert found is not None
        return found

    def make(kind: str) -> Tower:
        image = f"{prefix}-updater:1"
        old = build(image, QUICK_CHECK)
        new = build(f"{prefix}-updater:next", f"LABEL version=2\n{NEW_IMAGES[kind]}")
        options = ("--restart", "unless-stopped", "--env", "MARK=kept", "--publish", "127.0.0.1::8080")
        docker.run(
            name,
            image,
            *("--interval", "3600", f"{prefix}-nothing"),
            options=(*options, *socket_mount(testbed)),
        )
        wait_until_well(docker, name)
        return Tower(docker, testbed, name, image, old, new)

    yield make
    # The helper has no labels of the test.
    for found in docker("ps", "--all", "--quiet", "--filter", f"name=^{name}").split():
        docker("rm", "--force", "--volumes", found)


async def test_updater_moves_to_a_good_image(make_tower: Callable[[str], Tower]) -> None:
    """With its port, its environment and its state; the tag means the new image, and the helper is gone."""
    tower = make_tower("good")
    state = [mount["Name"] for mount in tower.docker.inspect(tower.name)["Mounts"] if mount["Destination"] == STATE]
    await tower.start_helper()
    helper = tower.docker.inspect(tower.helper)
    assert helper["Image"] == tower.old_image
    assert helper["HostConfig"]["NetworkMode"] == "none"
    tower.assert_in_order(tower.new_image)
    after = tower.docker.inspect(tower.name)
    assert [mount["Name"] for mount in after["Mounts"] if mount["Destination"] == STATE] == state
    assert tower.docker.image_id(tower.image) == tower.new_image


@pytest.mark.parametrize("kind", ["exits", "hangs", "never gets ready"])
async def test_updater_comes_back_from_a_bad_image(make_tower: Callable[[str], Tower], kind: str) -> None:
    """The old one runs again, learns how it ended, and does not try that image again; the tag means its own."""
    tower = make_tower(kind)
    await tower.start_helper()
    tower.assert_in_order(tower.old_image)
    assert tower.docker.image_id(tower.image) == tower.old_image
    assert tower.quarantined(seconds=60.0), tower.docker.both_outputs("logs", tower.name)


def has(part: str) -> Callable[[list[str]], bool]:
    """Wait for a container in this part of a replacement, or for the end of it."""
    return lambda names: any(part in name for name in names) or len(names) == 1


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "part", "image"),
    [
        ("good", ".wta-helper", "old"),
        ("good", ".wta-new-", "either"),
        ("good", ".wta-old-", "either"),
        ("exits", ".wta-old-", "old"),
        ("exits", ".wta-bad-", "old"),
    ],
)
async def test_helper_whose_process_is_killed_goes_on(
    make_tower: Callable[[str], Tower], kind: str, part: str, image: str
) -> None:
    """SIGKILL from the host, when the replacement has come so far: the engine starts it again."""
    tower = make_tower(kind)
    await tower.start_helper()
    tower.wait_until(has(part))
    tower.kill_helper()
    tower.wait_until(lambda names: names == [tower.name])
    ends = {"old": (tower.old_image,), "either": (tower.old_image, tower.new_image)}[image]
    found = tower.docker.inspect(tower.name)["Image"]
    assert found in ends
    tower.assert_in_order(found)


@pytest.mark.full
async def test_helper_that_is_killed_while_the_new_updater_is_watched_goes_on(
    make_tower: Callable[[str], Tower],
) -> None:
    """It finds the names changed, watches again, and keeps what is good."""
    tower = make_tower("good")
    await tower.start_helper()
    tower.wait_until(lambda names: tower.name in names and tower.docker.inspect(tower.name)["Image"] == tower.new_image)
    tower.wait_until(lambda _: bool(tower.docker.inspect(tower.name)["State"]["Running"]))
    tower.kill_helper()
    tower.assert_in_order(tower.new_image)


@pytest.mark.parametrize("kind", ["good", "exits"])
def test_service_updates_itself_and_keeps_what_it_was_started_with(
    docker: DockerCli, testbed: TestBed, application_image: str, prefix: str, kind: str, tmp_path: Path
) -> None:
    """The whole way: the service finds a newer image of its own tag, and is the new one, or the old one, afterwards."""
    image, name = f"{testbed.registry}/{prefix}/updater:latest", f"{prefix}-updater"

    def published(tag: str, instructions: str) -> str:
        directory = tmp_path / tag
        directory.mkdir()
        (directory / "Dockerfile").write_text(f"FROM {application_image}\n{instructions}\n")
        docker.build(f"{prefix}-{tag}", directory)
        found = docker.image_id(f"{prefix}-{tag}")
        assert found is not None
        docker.publish(image, found)
        return found

    old = published("v1", QUICK_CHECK)
    docker("pull", image)
    login_file(docker)
    login = ("--volume", f"{docker.config_directory}:/docker:ro", "--env", "DOCKER_CONFIG=/docker")
    kept = ("--volume", f"{name}-state:{STATE}", "--restart", "always", "--env", "MARK=kept")
    arguments = ("--interval", "2", "--rollout-monitor", "1s", name)
    docker.run(name, image, *arguments, options=(*socket_mount(testbed), *login, *kept))
    try:
        wait_until_well(docker, name)
        new = published("v2", f"LABEL version=2\n{NEW_IMAGES[kind]}")
        expected = new if kind == "good" else old
        said = wait_until_it_is_over(docker, name, expected, is_good=kind == "good")
        found = docker.inspect(name)
        assert found["State"]["Running"], said
        assert found["Image"] == expected, said
        assert "MARK=kept" in found["Config"]["Env"]
        wait_until_well(docker, name)
    finally:
        for left in docker("ps", "--all", "--quiet", "--filter", f"name=^{name}").split():
            docker("rm", "--force", "--volumes", left)
        docker("volume", "rm", "--force", f"{name}-state")


def wait_until_it_is_over(docker: DockerCli, name: str, image: str, *, is_good: bool) -> str:
    """Wait until the updater is alone on this image, having told of it where it was put back; return what it said."""
    deadline = time.monotonic() + FINISHED_SECONDS
    said = ""
    while time.monotonic() < deadline:
        with suppress(DockerCliError):
            said = docker.both_outputs("logs", name)
            names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{name}").split()
            is_told = is_good or "is not tried again" in said
            if is_told and names == [name] and docker.inspect(name)["Image"] == image:
                break
        time.sleep(0.3)
    return said
