"""Lifecycle hooks, seen from outside: one session in which every container has some."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.blackbox.scene import PREFIX, Scene, Told

pytestmark = pytest.mark.engine

_NOTE_USER = 'echo "uid=$(id -u) gid=$(id -g)"'


@dataclass(frozen=True)
class Hooked:
    """A session over containers with hooks."""

    scene: Scene
    told: Told
    ids: dict[str, str]
    since: float

    def hook(self, short: str, kind: str) -> dict[str, Any]:
        """Return what the log says about a hook."""
        name = self.scene.name(short)
        found = [line for line in self.told.events("hook.ran") if (line["container"], line["hook"]) == (name, kind)]
        assert len(found) == 1, f"{len(found)} times {kind} of {short}: {self.told.log}"
        return found[0]

    def is_untouched(self, short: str) -> bool:
        """Say whether the container is the one from before."""
        return self.scene.is_as_it_was(short, self.ids[short])


@pytest.fixture(scope="module")
def hooked(scene: Scene) -> Hooked:
    """The session, with hooks switched on and a user for them."""
    run = scene.outdated
    ids = {
        "all": run(
            "all",
            lifecycle__pre_check="echo before the check",
            lifecycle__pre_update='echo "$WT_CONTAINER"',
            lifecycle__post_update='echo "new $VERSION"',
            lifecycle__post_check="echo after the check",
        ),
        "later": run("later", lifecycle__pre_update="echo busy; exit 75"),
        "broken": run("broken", lifecycle__pre_update="echo no space >&2; exit 2"),
        "grumpy": run("grumpy", lifecycle__pre_check="exit 3", lifecycle__post_update="exit 4"),
        "users": run("users", lifecycle__pre_update=_NOTE_USER),
        "root": run("root", lifecycle__pre_update=_NOTE_USER, lifecycle__uid="0", lifecycle__gid="0"),
        "odd": run("odd", lifecycle__pre_update=_NOTE_USER, lifecycle__uid="nobody"),
    }
    label = f"--label={PREFIX}.depends-on={scene.name('broken')}"
    ids["dependent"] = scene.docker.run(
        scene.name("dependent"), f"{scene.prefix}-keep:old", options=("--stop-signal=SIGKILL", label)
    )
    since = time.time()
    options = ("--enable-lifecycle-hooks", "--lifecycle-uid", "1234", "--lifecycle-gid", "1235")
    return Hooked(scene, scene.once(*options, f"{scene.prefix}-.*"), ids, since)


@pytest.mark.row("12.1", "6.8", "2.36")
def test_pre_check_runs_before_the_check_and_decides_nothing(hooked: Hooked) -> None:
    """It is told before the first image is found; a failure does not hold the update."""
    first = hooked.hook("all", "pre-check")
    events = [line["event"] for line in hooked.told.lines]
    assert hooked.told.lines.index(first) < events.index("container.newer_image_found")
    assert "exit code 3" in hooked.hook("grumpy", "pre-check")["reason"]
    assert hooked.scene.is_updated("grumpy")


@pytest.mark.row("12.2", "6.8")
def test_pre_update_runs_in_the_old_container_and_any_failure_holds_it_back(hooked: Hooked) -> None:
    """The container is as it was, and the report counts it as failed."""
    assert "exit code 2" in hooked.hook("broken", "pre-update")["reason"]
    assert hooked.is_untouched("broken")
    assert hooked.told.state(hooked.scene.name("broken")) == "Failed"


@pytest.mark.row("12.3", "6.8")
def test_post_update_runs_in_the_new_container_and_decides_nothing(hooked: Hooked) -> None:
    """It sees the new image; a failure does not take the update back."""
    assert "new new" in hooked.hook("all", "post-update")["output"]
    assert "exit code 4" in hooked.hook("grumpy", "post-update")["reason"]
    assert hooked.told.state(hooked.scene.name("grumpy")) == "Updated"


@pytest.mark.row("12.4", "6.8")
def test_post_check_runs_at_the_end_in_the_container_that_is_there_then(hooked: Hooked) -> None:
    """After the update, also where the container was replaced."""
    last = hooked.hook("all", "post-check")
    assert "after the check" in last["output"]
    assert hooked.told.lines.index(hooked.hook("all", "post-update")) < hooked.told.lines.index(last)


@pytest.mark.row("12.5")
def test_exit_code_75_asks_for_another_time(hooked: Hooked) -> None:
    """The container is as it was, which is no failure."""
    assert "exit code 75" in hooked.hook("later", "pre-update")["reason"]
    assert hooked.is_untouched("later")
    assert hooked.told.state(hooked.scene.name("later")) != "Failed"


@pytest.mark.row("12.6")
def test_dependents_of_a_container_that_its_hook_holds_back(hooked: Hooked) -> None:
    """Nothing was replaced, so there is nothing to restart for."""
    started = [name for name, _ in hooked.scene.actions(hooked.since, "start", "image")]
    assert hooked.scene.name("dependent") not in started
    assert hooked.is_untouched("dependent")


@pytest.mark.row("12.8")
def test_environment_tells_about_the_container(hooked: Hooked) -> None:
    """`WT_CONTAINER` is JSON with the name, the old ID, the image, the signal, and the labels that concern us."""
    told = json.loads(hooked.hook("all", "pre-update")["output"])
    assert {"name", "id", "image_name", "stop_signal", "labels"} == told.keys()
    assert (hooked.scene.name("all"), hooked.ids["all"]) == (told["name"], told["id"])
    assert (hooked.scene.image(), "SIGKILL") == (told["image_name"], told["stop_signal"])
    assert all(name.startswith(f"{PREFIX}.") for name in told["labels"])
    assert told["labels"][f"{PREFIX}.lifecycle.post-check"] == "echo after the check"


@pytest.mark.row("12.9", "6.12", "2.37")
def test_user_of_hooks_is_the_label_else_the_option(hooked: Hooked) -> None:
    """A label may ask for root; one that cannot be read counts for nothing."""
    assert "uid=1234 gid=1235" in hooked.hook("users", "pre-update")["output"]
    assert "uid=0 gid=0" in hooked.hook("root", "pre-update")["output"]
    assert "uid=1234 gid=1235" in hooked.hook("odd", "pre-update")["output"]


@pytest.mark.row("12.10", "12.11")
def test_output_of_hooks_is_in_the_log(hooked: Hooked) -> None:
    """The command's own text, from both streams."""
    assert hooked.hook("broken", "pre-update")["output"].strip() == "no space"
    assert hooked.hook("all", "pre-check")["output"].strip() == "before the check"


@pytest.mark.row("2.36")
def test_without_the_option_no_hook_runs(scene: Scene) -> None:
    """One that would hold the update does not."""
    scene.outdated("q-held", lifecycle__pre_update="exit 1")
    told = scene.once(f"{scene.prefix}-q-.*")
    assert scene.is_updated("q-held")
    assert not told.events("hook.ran")


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.row("12.7", "6.9")
def test_time_outs_are_enforced_inside_the_container(scene: Scene) -> None:
    """One minute where the label cannot be read; the command is gone afterwards. With 0 there is no limit."""
    hanging = scene.outdated(
        "t-hang", lifecycle__pre_update="sleep 777", lifecycle__pre_update_timeout="soon", lifecycle__post_update="true"
    )
    scene.outdated("t-long", lifecycle__post_update="sleep 63; echo done", lifecycle__post_update_timeout="0")
    began = time.monotonic()
    told = scene.once("--enable-lifecycle-hooks", f"{scene.prefix}-t-.*", seconds=300)
    hooks = {line["container"]: line for line in told.events("hook.ran")}
    assert 120 < time.monotonic() - began < 200
    assert scene.is_as_it_was("t-hang", hanging)
    assert "took longer than 60 s and was ended" in hooks[scene.name("t-hang")]["reason"]
    assert "sleep 777" not in scene.docker("top", scene.name("t-hang"))
    assert "done" in hooks[scene.name("t-long")]["output"]
