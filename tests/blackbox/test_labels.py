"""Labels of containers, seen from outside: most of them in one session of the installed command."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.blackbox.scene import PREFIX, Scene, Told

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Street:
    """A session over containers with all kinds of labels."""

    scene: Scene
    told: Told
    ids: dict[str, str]
    since: float

    def is_untouched(self, short: str) -> bool:
        """Say whether the container is the one from before."""
        return self.scene.is_as_it_was(short, self.ids[short])

    def state(self, short: str) -> str | None:
        """Return its state in the report."""
        return self.told.state(self.scene.name(short))

    def starts(self) -> list[str]:
        """Return the short names of the containers that were started, in order."""
        started = self.scene.actions(self.since, "start", "image")
        return [name.removeprefix(f"{self.scene.prefix}-") for name, _ in started]


@pytest.fixture(scope="module")
def street(scene: Scene) -> Street:
    """The session without any option that concerns labels."""
    run = scene.outdated
    project = f"--label=com.docker.compose.project={scene.prefix}"
    ids = {
        "plain": run("plain"),
        "off": run("off", enable="false"),
        "watched": run("watched", monitor_only="true"),
        "odd": run("odd", monitor_only="perhaps"),
        "local": run("local", tag="local", no_pull="true"),
        "blue": run("blue", scope="blue"),
        "fresh": run("fresh", cooldown_delay="1d"),
        "chain": run("chain", container_chain="0" * 64),
        "orchestrated": run("orchestrated", ephemeral_orchestrator="true"),
        "updater": run("updater", options=(f"--label={PREFIX}=true",)),
        "db": run(
            "db",
            options=(project, "--label=com.docker.compose.service=db", "--label=com.docker.compose.container-number=1"),
        ),
    }
    same = f"{scene.prefix}-keep:old"
    depends = f"--label={PREFIX}.depends-on={scene.name('plain')}"
    ids["dependent"] = scene.docker.run(scene.name("dependent"), same, options=("--stop-signal=SIGKILL", depends))
    compose = (
        project,
        "--label=com.docker.compose.service=app",
        "--label=com.docker.compose.container-number=1",
        "--label=com.docker.compose.depends_on=db:service_started:true",
    )
    ids["app"] = scene.docker.run(scene.name("app"), same, options=("--stop-signal=SIGKILL", *compose))
    since = time.time()
    return Street(scene, scene.once(f"{scene.prefix}-.*"), ids, since)


@pytest.mark.row("6.2")
def test_enable_false_excludes_the_container(street: Street) -> None:
    """It is neither touched nor in the report."""
    assert street.is_untouched("off")
    assert street.state("off") is None


@pytest.mark.row("6.3", "6.19")
def test_monitor_only_true_reports_and_touches_nothing(street: Street) -> None:
    """The report says that the container is out of date."""
    assert street.is_untouched("watched")
    assert street.state("watched") == "Stale"


@pytest.mark.row("6.4")
def test_no_pull_compares_with_what_the_engine_has(street: Street) -> None:
    """The registry has a newer image under the tag, the engine has not."""
    assert street.is_untouched("local")
    assert street.state("local") == "Fresh"


@pytest.mark.row("6.5")
def test_depends_on_restarts_the_dependent(street: Street) -> None:
    """The same container was started anew, after the one that it names was replaced."""
    assert street.is_untouched("dependent")
    assert street.state("dependent") == "Restarted"
    assert street.starts().index("plain") < street.starts().index("dependent")


@pytest.mark.row("6.6", "2.16")
def test_scope_label_takes_the_container_out_of_other_scopes(street: Street) -> None:
    """Who has no scope does not see it; who has its scope sees nothing else."""
    assert street.is_untouched("blue")
    assert street.state("blue") is None


@pytest.mark.row("6.11")
def test_cooldown_delay_label_holds_a_young_image(street: Street) -> None:
    """No option asks for it."""
    assert street.is_untouched("fresh")


@pytest.mark.row("6.13", "6.14")
@pytest.mark.parametrize(("short", "label"), [("chain", "container-chain"), ("orchestrated", "ephemeral-orchestrator")])
def test_internal_labels_of_another_program_are_kept_and_mean_nothing(street: Street, short: str, label: str) -> None:
    """The container is updated as any other, and has its label afterwards."""
    assert street.scene.is_updated(short)
    assert f"{PREFIX}.{label}" in street.scene.docker.inspect(street.scene.name(short))["Config"]["Labels"]


@pytest.mark.row("6.15", "6.16", "2.34")
def test_compose_depends_on_restarts_the_dependent(street: Street) -> None:
    """The service is looked up by the labels of its project."""
    assert street.is_untouched("app")
    assert street.state("app") == "Restarted"
    assert street.starts().index("db") < street.starts().index("app")


@pytest.mark.row("6.17")
def test_absent_label_leaves_the_option_its_default(street: Street) -> None:
    """A container without labels is updated."""
    assert street.scene.is_updated("plain")
    assert street.state("plain") == "Updated"


@pytest.mark.row("6.18")
def test_unreadable_label_counts_as_absent(street: Street) -> None:
    """`monitor-only=perhaps` does not hold the update."""
    assert street.scene.is_updated("odd")


@pytest.mark.full
@pytest.mark.row("6.20", "6.3", "6.17", "6.18", "6.19", "2.27", "2.31")
def test_label_against_the_option_monitor_only(scene: Scene) -> None:
    """A label lifts the option only where labels take precedence."""
    ids = {
        "absent": scene.outdated("l-absent"),
        "odd": scene.outdated("l-odd", monitor_only="perhaps"),
        "true": scene.outdated("l-true", monitor_only="true"),
        "false": scene.outdated("l-false", monitor_only="false"),
    }
    scene.once("--monitor-only", f"{scene.prefix}-l-.*")
    assert all(scene.is_as_it_was(f"l-{short}", container_id) for short, container_id in ids.items())
    scene.once("--monitor-only", "--label-take-precedence", f"{scene.prefix}-l-.*")
    assert [short for short, container_id in ids.items() if not scene.is_as_it_was(f"l-{short}", container_id)] == [
        "false"
    ]
    assert scene.is_updated("l-false")


@pytest.mark.full
@pytest.mark.row("6.2", "2.14")
def test_label_enable_wants_the_label(scene: Scene) -> None:
    """Present and true."""
    bare, odd = scene.outdated("e-bare"), scene.outdated("e-odd", enable="perhaps")
    scene.outdated("e-on", enable="true")
    scene.once("--label-enable", f"{scene.prefix}-e-.*")
    assert scene.is_updated("e-on")
    assert scene.is_as_it_was("e-bare", bare)
    assert scene.is_as_it_was("e-odd", odd)


@pytest.mark.full
@pytest.mark.row("6.6", "2.16")
def test_scope_option_wants_the_label(scene: Scene) -> None:
    """Equal, and nothing else; `none` means those without one."""
    bare, red = scene.outdated("s-bare"), scene.outdated("s-red", scope="red")
    scene.outdated("s-green", scope="green")
    scene.once("--scope", "green", f"{scene.prefix}-s-.*")
    assert scene.is_updated("s-green")
    assert scene.is_as_it_was("s-bare", bare)
    scene.once("--scope", "none", f"{scene.prefix}-s-.*")
    assert scene.is_updated("s-bare")
    assert scene.is_as_it_was("s-red", red)


@pytest.mark.full
@pytest.mark.row("6.11", "2.32")
def test_cooldown_delay_label_overrules_the_option(scene: Scene) -> None:
    """`0` switches it off; what cannot be read leaves the option as it is."""
    bare, odd = scene.outdated("c-bare"), scene.outdated("c-odd", cooldown_delay="soon")
    scene.outdated("c-off", cooldown_delay="0")
    scene.once("--cooldown-delay", "1d", f"{scene.prefix}-c-.*")
    assert scene.is_updated("c-off")
    assert scene.is_as_it_was("c-bare", bare)
    assert scene.is_as_it_was("c-odd", odd)


@pytest.mark.row("6.1")
def test_watchtower_label_does_not_keep_an_updater_from_being_updated(street: Street) -> None:
    """Another updater than the one at work is a container as any other, and keeps its label."""
    assert street.scene.is_updated("updater")
    assert street.scene.docker.inspect(street.scene.name("updater"))["Config"]["Labels"][PREFIX] == "true"
