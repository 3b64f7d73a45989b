"""Which containers are watched."""

import pytest

from tests.support.builders import a_container, an_inventory
from watchtower_async.updates.reason import ReasonCode
from watchtower_async.updates.selection import SelectionPolicy, select

ENABLE = "com.centurylinklabs.watchtower.enable"


def the_reason(labels: dict[str, str], policy: SelectionPolicy | None = None, **facts: str) -> ReasonCode | None:
    """Return why a container with these labels is left alone, None when it is watched."""
    container = a_container(facts.pop("name", "web"), labels=labels, **facts)
    selection = select(an_inventory(container), policy or SelectionPolicy())
    return selection.left_alone[0].reason.code if selection.left_alone else None


@pytest.mark.parametrize(
    ("label", "manager"),
    [
        ("com.docker.swarm.task.id", "Docker Swarm"),
        ("io.kubernetes.pod.name", "Kubernetes"),
        ("com.hashicorp.nomad.alloc_id", "Nomad"),
        ("PODMAN_SYSTEMD_UNIT", "systemd"),
        ("supervisor_managed", "Home Assistant"),
    ],
)
def test_container_of_another_manager_is_left_alone(label: str, manager: str) -> None:
    """What another manager owns is never watched, and the reason names the manager."""
    selection = select(an_inventory(a_container("web", labels={label: "x"})), SelectionPolicy())
    assert not selection.watched
    assert f"managed by {manager}" in selection.left_alone[0].reason.text


@pytest.mark.parametrize(
    ("labels", "label_enable", "expected"),
    [
        ({}, False, None),
        ({}, True, ReasonCode.NOT_ENABLED),
        ({ENABLE: "true"}, True, None),
        ({ENABLE: "1"}, True, None),
        ({ENABLE: "maybe"}, True, ReasonCode.NOT_ENABLED),
        ({ENABLE: "maybe"}, False, None),
        ({ENABLE: "false"}, False, ReasonCode.DISABLED),
        ({ENABLE: "false"}, True, ReasonCode.DISABLED),
    ],
)
def test_enable_label_decides(labels: dict[str, str], label_enable: bool, expected: ReasonCode | None) -> None:
    """`false` always excludes; with --label-enable the label must be there and be true."""
    assert the_reason(labels, SelectionPolicy(label_enable=label_enable)) is expected


@pytest.mark.parametrize("state", ["created", "exited", "paused", "restarting", "dead", "removing"])
def test_container_that_does_not_run_is_left_alone(state: str) -> None:
    """Only running containers are watched."""
    assert the_reason({}, state=state) is ReasonCode.NOT_RUNNING


@pytest.mark.parametrize(
    ("names", "is_watched"),
    [(("web",), True), (("/web",), True), (("w.*",), True), (("we",), False), (("[",), False), (("db", "web"), True)],
)
def test_names_are_anchored_patterns(names: tuple[str, ...], is_watched: bool) -> None:
    """A name must match as a whole; a pattern that does not compile is taken literally."""
    assert (the_reason({}, SelectionPolicy(names=names)) is None) is is_watched


def test_scoped_container_is_left_to_its_own_updater() -> None:
    """Without a scope of our own, scoped containers are not ours; `none` is no scope."""
    assert the_reason({"com.centurylinklabs.watchtower.scope": "blue"}) is ReasonCode.OTHER_SCOPE
    assert the_reason({"com.centurylinklabs.watchtower.scope": "none"}) is None


def test_own_scope_is_taken_from_the_own_container() -> None:
    """An updater with a scope label watches that scope only."""
    scope = {"com.centurylinklabs.watchtower.scope": "blue"}
    updater, web, other = a_container("updater", labels=scope), a_container("web", labels=scope), a_container("other")
    selection = select(an_inventory(updater, web, other), SelectionPolicy(own_id=updater.id))
    assert [item.container.name for item in selection.watched] == ["web"]


def test_updater_does_not_update_itself_yet() -> None:
    """The updater's own container is left alone with a reason."""
    updater = a_container("updater")
    selection = select(an_inventory(updater), SelectionPolicy(own_id=updater.id))
    assert selection.left_alone[0].reason.code is ReasonCode.ITSELF


@pytest.mark.parametrize("label", ["no-pull", "cooldown-delay"])
def test_label_that_asks_for_less_and_is_not_supported_holds_the_container(label: str) -> None:
    """A wish to be left alone is never ignored in silence."""
    value = "true" if label == "no-pull" else "3d"
    assert the_reason({f"com.centurylinklabs.watchtower.{label}": value}) is ReasonCode.NOT_SUPPORTED


def test_label_that_names_another_image_holds_the_container() -> None:
    """The container's own image name is not the one to ask for."""
    label = {"com.centurylinklabs.zodiac.original-image": "registry.example/app:1"}
    assert the_reason(label) is ReasonCode.NOT_SUPPORTED


def test_temporary_names_of_a_replacement_are_left_alone() -> None:
    """Halves of an unfinished replacement are recovery's business."""
    assert the_reason({}, name="web.wta-old-ra-1f3c9b2d77aa") is ReasonCode.UNFINISHED


def test_monitor_only_label_or_setting_watches_without_touching() -> None:
    """Either is enough."""
    labelled = a_container("web", labels={"com.centurylinklabs.watchtower.monitor-only": "true"})
    assert select(an_inventory(labelled), SelectionPolicy()).watched[0].monitor_only
    assert select(an_inventory(a_container("db")), SelectionPolicy(monitor_only=True)).watched[0].monitor_only
