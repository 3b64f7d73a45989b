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
    gone = scene.directory / "gone"
    gone.mkdir()
    mount = (f"--mount=type=bind,source={gone},target=/data", *options(f"depends-on={scene.name('updated')}"))
    ids["stuck"] = docker.run(scene.name("stuck"), keep, options=mount)
    gone.rmdir()
    told = scene.once("--enable-lifecycle-hooks", f"{scene.prefix}-.*")
    return Reported(scene, told, ids)


@pytest.mark.row("14.1", "2.68")
def test_collections_are_there_and_sorted_by_id(reported: Reported) -> None:
    """Each container is in the list of its state."""
    report = reported.told.report
    assert {"scanned", "updated", "failed", "skipped", "stale", "fresh", "restarted"} == report.keys()
    assert all([item["id"] for item in items] == sorted(item["id"] for item in items) for items in report.values())


@pytest.mark.row("14.2", "14.7")
def test_check_that_failed_is_skipped_and_not_scanned(reported: Reported) -> None:
    """Whether it is only watched or not."""
    assert {"unknown"} == reported.names("skipped")
    assert "unknown" not in reported.names("scanned")


@pytest.mark.row("14.3")
def test_same_image_is_fresh(reported: Reported) -> None:
    """Nothing is newer."""
    assert {"fresh"} == reported.names("fresh")


@pytest.mark.row("14.4")
def test_what_was_replaced_is_updated(reported: Reported) -> None:
    """And nothing else is."""
    assert {"updated"} == reported.names("updated")
    assert reported.scene.is_updated("updated")


@pytest.mark.row("14.5", "14.10")
def test_failed_hook_makes_failed_and_not_updated(reported: Reported) -> None:
    """It is counted after the work."""
    assert "failed" in reported.names("failed")
    assert "failed" not in reported.names("updated")


@pytest.mark.row("14.6")
def test_anything_else_is_stale(reported: Reported) -> None:
    """Here the one that is only watched."""
    assert {"stale"} == reported.names("stale")


@pytest.mark.row("14.8")
def test_linked_restart_that_succeeded_is_restarted(reported: Reported) -> None:
    """Not Fresh."""
    assert {"restarted"} == reported.names("restarted")


@pytest.mark.row("14.9")
def test_linked_restart_that_failed_is_told(reported: Reported) -> None:
    """The log says so, and the container is not called restarted."""
    failed = [line["container"] for line in reported.told.events("dependent.failed")]
    assert [reported.scene.name("stuck")] == failed
    assert "stuck" not in reported.names("restarted")


@pytest.mark.row("14.11", "14.12", "14.13", "14.14", "14.16")
def test_fields_of_a_container(reported: Reported) -> None:
    """The old container's ID, names without a slash, the images before and after, all IDs short."""
    scene = reported.scene
    assert {
        "id": reported.ids["updated"][:12],
        "name": scene.name("updated"),
        "imageName": scene.image(),
        "currentImageId": scene.old.removeprefix("sha256:")[:12],
        "latestImageId": scene.new.removeprefix("sha256:")[:12],
        "state": "Updated",
    } == reported.told.item(scene.name("updated"))


@pytest.mark.row("14.15")
def test_error_is_the_reason(reported: Reported) -> None:
    """Of the hook, and of the registry."""
    assert "exit code 1" in reported.told.item(reported.scene.name("failed"))["error"]
    assert "unauthorized" in reported.told.item(reported.scene.name("unknown"))["error"]
