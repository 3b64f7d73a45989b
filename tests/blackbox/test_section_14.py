"""The report of a session, seen from outside: every state that a container can have in it, in one session."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.blackbox.scene import PREFIX, Scene, Told

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Reported:
    """A session, and which containers it met."""

    scene: Scene
    told: Told
    ids: dict[str, str]

    def state(self, short: str) -> str | None:
        """Return the state of a container."""
        return self.told.state(self.scene.name(short))

    def names(self, collection: str) -> set[str]:
        """Return the short names in a list of the report."""
        cut = len(self.scene.prefix) + 1
        return {item["name"][cut:] for item in self.told.report[collection]}


def options(*labels: str) -> tuple[str, ...]:
    """Return options of `docker run` that set labels."""
    return ("--stop-signal=SIGKILL", *(f"--label={PREFIX}.{label}" for label in labels))


def without_login(scene: Scene) -> str:
    """Pull an image from a registry whose login is gone afterwards, and return its name."""
    tokens = scene.testbed.tokens
    image = f"{tokens.address}/{scene.prefix}/app:latest"
    scene.docker.log_in(tokens.address, tokens.user, tokens.password)
    scene.docker.publish(image, scene.old)
    scene.docker("pull", image)
    scene.docker.log_out(tokens.address)
    return image


@pytest.fixture(scope="module")
def reported(scene: Scene) -> Reported:
    """The session."""
    docker, keep = scene.docker, f"{scene.prefix}-keep:old"
    ids = {
        "updated": scene.outdated("updated"),
        "failed": scene.outdated("failed", lifecycle__pre_update="exit 1"),
        "stale": scene.outdated("stale", monitor_only="true"),
        "local": docker.run(scene.name("local"), keep, options=options()),
        "restarted": docker.run(scene.name("restarted"), keep, options=options(f"depends-on={scene.name('updated')}")),
    }
    current = scene.image("current")
    docker("pull", current)
    ids["fresh"] = docker.run(scene.name("fresh"), current, options=options())
    ids["unknown"] = docker.run(scene.name("unknown"), without_login(scene), options=options())
    told = scene.once("--enable-lifecycle-hooks", f"{scene.prefix}-.*")
    return Reported(scene, told, ids)


def test_print(reported: Reported) -> None:
    import json

    print(json.dumps(reported.told.report, indent=1))
    print(reported.told.log)
    assert 0
