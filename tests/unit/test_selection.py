"""Which containers are watched."""

from datetime import timedelta

import pytest

from tests.support.builders import a_container, an_inventory
from watchtower_async.engine.temporary_name import RunState
from watchtower_async.updates.patterns import LabelPair
from watchtower_async.updates.reason import ReasonCode
from watchtower_async.updates.selection import ImageFilter, SelectionPolicy, Watched, select

PREFIX = "com.centurylinklabs.watchtower"
ENABLE = f"{PREFIX}.enable"
SCOPE = f"{PREFIX}.scope"
COOLDOWN = f"{PREFIX}.cooldown-delay"
DAY = timedelta(days=1)


def the_reason(labels: dict[str, str], policy: SelectionPolicy | None = None, **facts: str) -> ReasonCode | None:
    """Return why a container with these labels is left alone, None when it is watched."""
    container = a_container(facts.pop("name", "web"), labels=labels, **facts)
    selection = select(an_inventory(container), policy or SelectionPolicy())
    return selection.left_alone[0].reason.code if selection.left_alone else None


def the_watched(labels: dict[str, str], policy: SelectionPolicy | None = None, **facts: str) -> Watched:
    """Return how a container with these labels is watched."""
    (watched,) = select(an_inventory(a_container("web", labels=labels, **facts)), policy or SelectionPolicy()).watched
    return watched


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


def test_temporary_names_of_a_replacement_are_left_alone() -> None:
    """Halves of an unfinished replacement are recovery's business."""
    assert the_reason({}, name="web.wta-old-ra-1f3c9b2d77aa") is ReasonCode.UNFINISHED


def test_monitor_only_label_or_setting_watches_without_touching() -> None:
    """Either is enough."""
    labelled = a_container("web", labels={"com.centurylinklabs.watchtower.monitor-only": "true"})
    assert select(an_inventory(labelled), SelectionPolicy()).watched[0].monitor_only
    assert select(an_inventory(a_container("db")), SelectionPolicy(monitor_only=True)).watched[0].monitor_only


# ---- names and labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "is_watched"),
    [(("web",), False), (("/web",), False), (("w.*",), False), (("we",), True), (("db",), True), (("[",), True)],
)
def test_disabled_names_are_anchored_patterns(names: tuple[str, ...], is_watched: bool) -> None:
    """They are read as the names on the command line are, and take away."""
    assert (the_reason({}, SelectionPolicy(disable_containers=names)) is None) is is_watched


def test_disabled_name_wins_over_a_given_one() -> None:
    """Who asks for less is heard."""
    policy = SelectionPolicy(names=("web.*",), disable_containers=("web",))
    assert the_reason({}, policy) is ReasonCode.DISABLED
    assert the_reason({}, policy, name="web2") is None


@pytest.mark.parametrize(
    ("labels", "pairs", "is_on"),
    [
        ({"tier": "front"}, (("tier", "front"),), True),
        ({"tier": "back"}, (("tier", "front"),), False),
        ({"tier": "back"}, (("tier", ""),), True),
        ({"tier": ""}, (("tier", ""),), True),
        ({}, (("tier", ""),), False),
        ({"b": "2"}, (("a", "1"), ("b", "2")), True),
    ],
)
def test_any_label_pair_enables_or_disables(labels: dict[str, str], pairs: tuple[LabelPair, ...], is_on: bool) -> None:
    """Any pair is enough; one without a value asks for the label only."""
    enabling = the_reason(labels, SelectionPolicy(enable_by_label=pairs))
    assert enabling is (None if is_on else ReasonCode.NOT_ENABLED)
    disabling = the_reason(labels, SelectionPolicy(disable_by_label=pairs))
    assert disabling is (ReasonCode.DISABLED if is_on else None)


@pytest.mark.parametrize(
    ("image", "wanted", "unwanted", "expected"),
    [
        ("nginx", ("nginx:latest",), (), None),
        ("nginx", ("nginx",), (), ReasonCode.IMAGE_NOT_NAMED),
        ("nginx:1", ("nginx:.*", "redis:.*"), (), None),
        ("host:5000/app", ("host:5000/app:latest",), (), None),
        ("vendor/nginx:1", ("nginx:.*",), (), ReasonCode.IMAGE_NOT_NAMED),
        ("nginx:1", (), ("nginx:.*",), ReasonCode.DISABLED),
        ("nginx:1", (), ("redis:.*",), None),
        ("nginx:1", ("nginx:.*",), ("nginx:1",), ReasonCode.DISABLED),
        ("app@sha256:00", ("app@sha256:.*",), (), None),
    ],
)
def test_image_names_are_anchored_patterns_with_the_tag(
    image: str, wanted: tuple[str, ...], unwanted: tuple[str, ...], expected: ReasonCode | None
) -> None:
    """The whole name counts as it was written, with `latest` where it has no tag."""
    policy = SelectionPolicy(monitor_image_names=wanted, skip_image_names=unwanted)
    reason = ImageFilter(policy).reason_against(image)
    assert (reason.code if reason else None) is expected


# ---- scopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "label", "is_watched"),
    [
        ("", None, True),
        ("", "blue", False),
        ("none", None, True),
        ("none", "", True),
        ("none", "none", True),
        ("none", "blue", False),
        ("blue", "blue", True),
        ("blue", "red", False),
        ("blue", None, False),
        ("blue", "none", False),
    ],
)
def test_scope_divides_containers_between_updaters(scope: str, label: str | None, is_watched: bool) -> None:
    """Not set is the same as `none` where our own container has none; a missing label is `none`, too."""
    labels = {} if label is None else {SCOPE: label}
    assert (the_reason(labels, SelectionPolicy(scope=scope)) is None) is is_watched


def test_given_scope_wins_over_that_of_the_own_container() -> None:
    """What somebody wrote for this process counts."""
    updater, web = a_container("updater", labels={SCOPE: "blue"}), a_container("web")
    selection = select(an_inventory(updater, web), SelectionPolicy(own_id=updater.id, scope="none"))
    assert [item.container.name for item in selection.watched] == ["web"]


def test_instance_that_watchtower_left_behind_is_left_alone() -> None:
    """Only where it is one: others may have such a name."""
    assert the_reason({PREFIX: "true"}, name="watchtower-old-1a2b3c") is ReasonCode.UNFINISHED
    assert the_reason({}, name="watchtower-old-1a2b3c") is None
    assert the_reason({PREFIX: "true"}, name="watchtower") is None


# ---- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["created", "exited", "restarting", "paused", "dead", "removing"])
def test_states_are_included_one_by_one(state: str) -> None:
    """Paused, dead and half removed containers are never watched."""
    stopped = the_reason({}, SelectionPolicy(include_stopped=True), state=state)
    assert (stopped is None) is (state in {"created", "exited"})
    restarting = the_reason({}, SelectionPolicy(include_restarting=True), state=state)
    assert (restarting is None) is (state == "restarting")


@pytest.mark.parametrize(
    ("state", "revive", "no_restart", "ran", "starts"),
    [
        ("running", False, False, RunState.RUNNING, True),
        ("running", False, True, RunState.RUNNING, False),
        ("restarting", False, False, RunState.RUNNING, True),
        ("exited", False, False, RunState.STOPPED, False),
        ("exited", True, False, RunState.STOPPED, True),
        ("created", True, False, RunState.STOPPED, True),
        ("exited", True, True, RunState.STOPPED, False),
    ],
)
def test_successor_is_started_as_its_predecessor_ran(
    state: str, revive: bool, no_restart: bool, ran: RunState, starts: bool
) -> None:
    """A stopped one stays down unless it is to be revived, and without restarts none is started."""
    policy = SelectionPolicy(
        include_stopped=True, include_restarting=True, revive_stopped=revive, no_restart=no_restart
    )
    watched = the_watched({}, policy, state=state)
    assert (watched.ran, watched.starts) == (ran, starts)


# ---- labels against settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["monitor-only", "no-pull"])
@pytest.mark.parametrize(
    ("label", "setting", "takes_precedence", "expected", "is_noted"),
    [
        (None, False, False, False, False),
        (None, True, False, True, False),
        (None, True, True, True, False),
        ("true", False, False, True, False),
        ("true", False, True, True, False),
        ("false", True, False, True, False),
        ("false", True, True, False, False),
        ("", True, False, True, False),
        ("", True, True, False, False),
        ("maybe", True, True, True, True),
        ("maybe", False, False, False, True),
    ],
)
def test_label_and_setting_are_combined(
    name: str, label: str | None, setting: bool, takes_precedence: bool, expected: bool, is_noted: bool
) -> None:
    """Either is enough; `false` lifts the setting only where labels take precedence; nonsense is told."""
    field = name.replace("-", "_")
    policy = SelectionPolicy(label_take_precedence=takes_precedence, **{field: setting})  # type: ignore[arg-type]
    watched = the_watched({} if label is None else {f"{PREFIX}.{name}": label}, policy)
    assert getattr(watched, field) is expected
    noted = (f"label {PREFIX}.{name}='maybe' is ignored: expected true or false",)
    assert watched.notes == (noted if is_noted else ())


@pytest.mark.parametrize("takes_precedence", [True, False])
@pytest.mark.parametrize(
    ("label", "expected"),
    [(None, DAY), ("", DAY), (" ", DAY), ("3d", 3 * DAY), ("1h", DAY / 24), ("0", 0 * DAY), ("-1d", DAY), ("x", DAY)],
)
def test_cooldown_label_always_wins_where_it_can_be_read(
    label: str | None, expected: timedelta, takes_precedence: bool
) -> None:
    """Also a shorter one, and `0` switches it off."""
    labels = {} if label is None else {COOLDOWN: label}
    watched = the_watched(labels, SelectionPolicy(cooldown=DAY, label_take_precedence=takes_precedence))
    assert watched.cooldown == expected
    assert bool(watched.notes) is (label in {"-1d", "x"})


@pytest.mark.parametrize("name", ["no-pull", "cooldown-delay"])
def test_label_that_asks_for_less_does_not_hold_the_container(name: str) -> None:
    """It is obeyed, not refused."""
    assert the_reason({f"{PREFIX}.{name}": "1"}) is None
