"""Rollouts on a simulated engine: how much is down at once, in which order, and what becomes of failures and pauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Command, Fault
from tests.support.family import a_family, assert_family_in_order
from tests.support.registry_world import a_login
from tests.support.replacing import BROKEN, GOOD, leftovers
from tests.support.rolling import MortalStore, kinds, stops, versions, watched
from tests.support.town import Town, a_town
from watchtower_async.assembly import Assembly
from watchtower_async.events import (
    Degraded,
    DependentRestarted,
    HookRan,
    ImageQuarantined,
    ReplacementFinished,
    RolloutLimitExceeded,
    RolloutStateChanged,
)
from watchtower_async.rollout.course import IllegalTransitionError, RolloutState
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.rollout.runner import LOGIN_WAIT_SECONDS
from watchtower_async.session import SessionReport
from watchtower_async.settings import FailureAction, Order
from watchtower_async.updates.plan import Action, UpdatePlan
from watchtower_async.updates.reason import ReasonCode

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(300)]

MONITOR = 5.0
STOP_SECONDS = 2.0
SLOW = Behaviour(start_seconds=1.0, stop_seconds=STOP_SECONDS)
"""It is seen going down."""
UNHEALTHY = Behaviour(unhealthy_after=3.0, health_output="no answer")
"""It fails before it gives its slot back."""
BROKEN_LATE = Behaviour(exits_after=MONITOR - 1.0, exit_code=3, log="cannot go on\n")
DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"
ROLLING_RESTART = UpdatePolicy(failure_action=FailureAction.PAUSE)


async def outdated(town: Town, *names: str, old: Behaviour = SLOW, **labels: str) -> None:
    """Run containers on version 1, each of an image of its own, and publish version 2."""
    for name in names:
        await town.outdated(
            name, f"team/{name}", old=old, labels={key.replace("_", "-"): labels[key] for key in labels}
        )


def states(town: Town) -> list[str]:
    """Return the states that rollouts were told to be in."""
    return [event.state for event in town.events if isinstance(event, RolloutStateChanged)]


def items(plan: UpdatePlan) -> dict[str, tuple[Action, ReasonCode]]:
    """Return what a plan says of each container."""
    return {item.name: (item.action, item.reason.code) for item in plan.items}


def started(town: Town, name: str) -> datetime:
    """Return when a container was started last."""
    moment = town.engine.containers[name].started
    assert moment is not None
    return moment


async def until(condition: Callable[[], bool], *, seconds: float = 600.0) -> None:
    """Wait for something."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the simulated engine tells nobody
            await anyio.sleep(0.05)


# ---- how much at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parallelism", "most"), [(1, 1), (2, 2), (0, 4)])
async def test_no_more_groups_are_down_than_there_are_slots(parallelism: int, most: int) -> None:
    """By the engine's account; 0 means all at once."""
    names = ("aa", "bb", "cc", "dd")
    async with a_town() as town:
        await outdated(town, *names)
        async with watched(town.engine, *names) as watch:
            report = await town.run(policy=UpdatePolicy(parallelism=parallelism))
        assert most == watch.most_down
        assert report.updated == 4
        assert set(versions(town, names).values()) == {"2"}


async def test_next_group_begins_as_soon_as_one_runs() -> None:
    """The window slides: nobody waits for the monitor window of the one before."""
    async with a_town() as town:
        await outdated(town, "aa", "bb")
        async with watched(town.engine, "aa", "bb") as watch:
            await town.run()
        assert watch.first_down("bb") - watch.up_again("aa") < MONITOR


async def test_slot_rests_for_the_delay() -> None:
    """After a group runs, and not before its slot is used again."""
    async with a_town() as town:
        await outdated(town, "aa", "bb")
        async with watched(town.engine, "aa", "bb") as watch:
            await town.run(policy=UpdatePolicy(delay=timedelta(seconds=30)))
        assert 30 <= watch.first_down("bb") - watch.up_again("aa") + 0.2 < 30 + MONITOR


async def test_slot_is_kept_until_the_health_check_passes() -> None:
    """With a check, running is not enough."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=20.0), old=SLOW)
        await outdated(town, "bb")
        async with watched(town.engine, "aa", "bb") as watch:
            await town.run()
        assert watch.first_down("bb") - watch.up_again("aa") >= 20


async def test_window_of_a_label_is_the_one_that_counts() -> None:
    """A container that fails after the common window, and within its own, goes back."""
    async with a_town() as town:
        late = Behaviour(exits_after=20.0, exit_code=3)
        await town.outdated("aa", "team/aa", late, labels={"watchtower-async.rollout.monitor": "30s"})
        report = await town.run()
        assert kinds(report) == {"aa": OutcomeKind.ROLLED_BACK}
        assert town.version("aa") == "1"


async def test_labels_make_a_rollout_of_their_own() -> None:
    """A compose project's labels count for all of it, and for nobody else."""
    async with a_town() as town:
        project = {"com.docker.compose.project": "shop", "com.docker.compose.service": "x"}
        for name in ("p1", "p2", "p3"):
            labels = project | ({"watchtower-async.rollout.parallelism": "3"} if name == "p2" else {})
            await town.outdated(name, f"team/{name}", SLOW, old=SLOW, labels=labels)
        await outdated(town, "aa", "bb")
        async with watched(town.engine, "p1", "p2", "p3") as project_watch, watched(town.engine, "aa", "bb") as watch:
            report = await town.run()
        assert (project_watch.most_down, watch.most_down) == (3, 1)
        assert report.updated == 5


async def test_unusable_label_is_told_and_changes_nothing() -> None:
    """Once, and the flags count."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", labels={"watchtower-async.rollout.parallelism": "many"})
        report = await town.run()
        told = [event.problem for event in town.events if isinstance(event, Degraded)]
        assert report.updated == 1
        assert len([text for text in told if "watchtower-async.rollout.parallelism='many'" in text]) == 1


# ---- order -----------------------------------------------------------------------------------------------------------


async def test_group_waits_for_what_it_depends_on_and_others_do_not() -> None:
    """With slots for all, the dependent begins when its target runs; the independent one at once."""
    async with a_town() as town:
        await outdated(town, "db", "other")
        await town.outdated("web", "team/web", SLOW, old=SLOW, labels={DEPENDS_ON: "db"})
        async with watched(town.engine, "db", "web", "other") as watch:
            await town.run(policy=UpdatePolicy(parallelism=0))
        assert watch.first_down("web") >= watch.up_again("db")
        assert watch.first_down("other") < watch.up_again("db")


async def test_circle_costs_its_members_only() -> None:
    """They have no order; the others are updated."""
    async with a_town() as town:
        await town.outdated("xx", "team/xx", labels={DEPENDS_ON: "yy"})
        await town.outdated("yy", "team/yy", labels={DEPENDS_ON: "xx"})
        await outdated(town, "good")
        report = await town.run()
        assert kinds(report) == {"good": OutcomeKind.UPDATED}
        assert versions(town, ("xx", "yy", "good")) == {"xx": "1", "yy": "1", "good": "2"}


async def test_dependent_is_restarted_once_after_its_target_and_before_the_next_group() -> None:
    """It keeps its container, and the slot is not given back until it runs again."""
    async with a_town() as town:
        await outdated(town, "db", "next")
        town.publish("team/web", 1, SLOW)
        web = await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"})
        async with watched(town.engine, "db", "web", "next") as watch:
            report = await town.run()
        assert stops(town, "web") == 1
        assert web.id == town.engine.containers["web"].id
        assert watch.first_down("web") >= watch.up_again("db")
        assert watch.first_down("next") >= watch.up_again("web")
        assert [event for event in town.events if isinstance(event, DependentRestarted)] == [
            DependentRestarted("web", "db", False, None)
        ]
        assert report.restarted == 1


async def test_dependent_of_two_groups_is_restarted_once() -> None:
    """After the last of them."""
    async with a_town() as town:
        await outdated(town, "db", "cache")
        town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db,cache"})
        await town.run()
        assert stops(town, "web") == 1


async def test_dependent_is_restarted_again_when_its_target_goes_back() -> None:
    """It would talk to a container that is gone."""
    async with a_town() as town:
        await town.outdated("db", "team/db", BROKEN_LATE)
        town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"})
        await town.run()
        assert stops(town, "web") == 2
        assert started(town, "web") >= started(town, "db")


async def test_dependent_is_left_alone_when_its_target_was_never_down() -> None:
    """A successor that fails beside its predecessor is nobody's affair."""
    async with a_town() as town:
        await town.outdated("db", "team/db", BROKEN, labels={"watchtower-async.order": "start-first"})
        town.publish("team/web", 1)
        await anyio.sleep(1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"})
        report = await town.run()
        assert kinds(report) == {"db": OutcomeKind.ROLLED_BACK}
        assert 0 == stops(town, "web") == stops(town, "db")


async def test_dependent_that_was_stopped_in_the_meantime_is_not_started() -> None:
    """Its problem is told."""
    async with a_town() as town:
        await town.outdated("db", "team/db", Behaviour(healthy_after=10.0))
        town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"})
        async with anyio.create_task_group() as group:
            group.start_soon(town.run)
            await until(lambda: any("/start" in text for text in town.engine.changes()))
            await town.engine.lifecycle.stop(town.engine.containers["web"], 1, None)
        (event,) = (event for event in town.events if isinstance(event, DependentRestarted))
        assert event.problem == "it does not run any more (exited)"
        assert "web" not in town.engine.running_names()


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [GOOD, BROKEN])
async def test_those_that_share_namespaces_or_link_are_created_anew_together(behaviour: Behaviour) -> None:
    """One of them is out of date; none is cut off, whether the new image is good or bad."""
    async with a_town() as town:
        family = await a_family(town.engine, running=("network", "link"), stopped=(), stale=())
        # The town's registry speaks for its own images only, so the head gets one of these.
        await town.engine.api_remove(town.engine.containers["web-network"], force=True, with_volumes=False)
        await town.engine.api_remove(town.engine.containers["web-link"], force=True, with_volumes=False)
        del family.members["web-network"], family.members["web-link"]
        await town.outdated("head", "team/head", behaviour, old=SLOW)
        head = town.engine.containers["head"]
        town.publish("team/side", 1)
        side = await town.engine.run(
            "side", town.image("team/side"), HostConfig={"NetworkMode": f"container:{head.id}"}
        )
        link = await town.engine.run("link", town.image("team/side"), HostConfig={"Links": ["head:db"]})
        report = await town.run()
        assert_family_in_order(town.engine, family)
        now = town.engine.containers
        assert leftovers(town.engine) == []
        assert f"container:{now['head'].id}" == now["side"].host["NetworkMode"]
        assert not town.engine.is_cut_off("side")
        assert [now["head"].id] == [found.target.id for found in now["link"].links]
        is_good = behaviour is GOOD
        assert ("2" if is_good else "1") == town.version("head")
        assert is_good is (now["side"].id != side.id)
        assert is_good is (now["link"].id != link.id)
        assert (2 if is_good else 0) == report.restarted


async def test_failed_pull_touches_nothing_of_its_group() -> None:
    """All images of a group are there before its first container stops."""
    async with a_town() as town:
        await outdated(town, "head")
        head = town.engine.containers["head"]
        await town.outdated("side", "team/side", HostConfig={"NetworkMode": f"container:{head.id}"})
        town.publish("team/side", 2, error="no route to host")
        await outdated(town, "good")
        report = await town.run()
        assert (stops(town, "head"), stops(town, "side")) == (0, 0)
        assert (kinds(report)["head"], kinds(report)["side"]) == (OutcomeKind.FAILED, OutcomeKind.FAILED)
        assert town.version("good") == "2"


async def test_only_the_image_that_failed_is_condemned() -> None:
    """The other one of the group is not tried again now, and is not to blame."""
    async with a_town() as town:
        await outdated(town, "head")
        head = town.engine.containers["head"]
        await town.outdated("side", "team/side", BROKEN, HostConfig={"NetworkMode": f"container:{head.id}"})
        await town.run()
        assert {"side"} == {entry.container for entry in town.state.quarantined}
        (event,) = (event for event in town.events if isinstance(event, ImageQuarantined))
        assert event.entry.detail == ("log: cannot start",)
        report = await town.run()
        assert report.plan is not None
        assert items(report.plan)["side"] == (Action.LEAVE, ReasonCode.QUARANTINED)
        assert versions(town, ("head", "side")) == {"head": "2", "side": "1"}
        assert not town.engine.is_cut_off("side")


async def test_container_that_was_stopped_while_it_waited_is_not_started() -> None:
    """It was prepared while it ran; what counts is how it is when its turn comes."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=20.0), old=SLOW)
        await outdated(town, "bb")
        async with anyio.create_task_group() as group:
            group.start_soon(town.run)
            await until(lambda: "POST containers/aa/start" in town.engine.changes())
            await town.engine.lifecycle.stop(town.engine.containers["bb"], 1, None)
        assert "bb" not in town.engine.running_names()
        assert town.version("bb") == "1"


async def test_who_joins_a_group_while_it_waits_is_not_cut_off() -> None:
    """The group is looked at again, and left to the next session."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=20.0), old=SLOW)
        await outdated(town, "bb")
        async with anyio.create_task_group() as group:
            group.start_soon(town.run)
            await until(lambda: "POST containers/aa/start" in town.engine.changes())
            mode = f"container:{town.engine.containers['bb'].id}"
            await town.engine.run("late", town.image("team/aa"), HostConfig={"NetworkMode": mode})
        assert not town.engine.is_cut_off("late")
        await town.run()
        assert not town.engine.is_cut_off("late")
        assert town.version("bb") == "2"


# ---- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [BROKEN, BROKEN_LATE, Behaviour(start_error="exec: no such file")])
async def test_failure_costs_its_own_group_by_default(behaviour: Behaviour) -> None:
    """It goes back and is condemned; the others go on."""
    async with a_town() as town:
        await outdated(town, "aa", "cc")
        await town.outdated("bb", "team/bb", behaviour, old=SLOW)
        report = await town.run()
        assert versions(town, ("aa", "bb", "cc")) == {"aa": "2", "bb": "1", "cc": "2"}
        assert OutcomeKind.ROLLED_BACK is kinds(report)["bb"]
        assert [entry.container for entry in town.state.quarantined] == ["bb"]
        assert states(town) == ["completed"]


async def test_rolling_restart_pauses_at_the_first_failure() -> None:
    """What has not begun is not touched, and waits; the pause is told once."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", UNHEALTHY, old=SLOW)
        await outdated(town, "bb", "cc")
        report = await town.run(policy=ROLLING_RESTART)
        assert versions(town, ("aa", "bb", "cc")) == {"aa": "1", "bb": "1", "cc": "1"}
        assert stops(town, "bb") == 0
        assert states(town) == ["paused"]
        assert OutcomeKind.SKIPPED is kinds(report)["bb"]
        (told,) = (event for event in town.events if isinstance(event, RolloutLimitExceeded))
        assert (told.failures, told.groups, told.action) == (1, 3, "pause")


async def test_failures_up_to_the_ratio_are_borne() -> None:
    """Strictly more than the ratio takes the action: one of four is 25 %."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", UNHEALTHY)
        await outdated(town, "bb", "cc", "dd")
        await town.run(policy=replace(ROLLING_RESTART, max_failure_ratio=0.25))
        assert versions(town, ("aa", "bb", "cc", "dd")) == {"aa": "1", "bb": "2", "cc": "2", "dd": "2"}


async def test_rollback_undoes_what_was_settled_long_ago() -> None:
    """In reverse order, within the slots; tags point to the old images again, and only the failed one is condemned."""
    async with a_town() as town:
        await outdated(town, "aa", "bb")
        await town.outdated("cc", "team/cc", Behaviour(healthy_after=30.0), old=SLOW)
        old = {name: town.engine.containers[name].image_id for name in ("aa", "bb", "cc")}
        policy = UpdatePolicy(failure_action=FailureAction.ROLLBACK)
        await town.outdated("dd", "team/dd", Behaviour(unhealthy_after=30.0), old=SLOW)
        async with watched(town.engine, "aa", "bb", "cc", "dd") as watch:
            report = await town.run(policy=policy)
        assert old == {name: town.engine.image_of(name) for name in ("aa", "bb", "cc")}
        assert old == {name: town.engine.image_behind(town.image(f"team/{name}")) for name in ("aa", "bb", "cc")}
        assert {OutcomeKind.ROLLED_BACK} == set(kinds(report).values())
        assert states(town) == ["rollback_started", "rollback_completed"]
        assert watch.most_down == 1
        assert [entry.container for entry in town.state.quarantined] == ["dd"]
        assert leftovers(town.engine) == []


async def test_rollback_spares_what_somebody_has_changed_in_the_meantime() -> None:
    """It is not ours any more, so the rollback stops and says so."""
    async with a_town() as town:
        await outdated(town, "aa")
        await town.outdated("bb", "team/bb", Behaviour(unhealthy_after=30.0))
        policy = UpdatePolicy(failure_action=FailureAction.ROLLBACK)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: town.run(policy=policy))
            await until(lambda: "POST containers/bb/start" in town.engine.changes())
            await anyio.sleep(MONITOR + 2)
            await town.engine.api_remove(town.engine.containers["aa"], force=True, with_volumes=False)
            digest = town.publish("team/aa", 3)
            await town.engine.run("aa", f"{town.registry.address}/team/aa@{digest}")
        assert town.version("aa") == "3"
        assert states(town) == ["rollback_started", "rollback_paused"]


async def test_start_deadline_takes_a_group_back() -> None:
    """It counts as a failure of the image, which had everything that it needed."""
    async with a_town() as town:
        slow = Behaviour(healthy_after=25.0)
        await town.outdated("aa", "team/aa", slow, labels={"watchtower-async.rollout.start-deadline": "10s"})
        report = await town.run()
        ((_, outcome),) = report.outcomes
        assert OutcomeKind.ROLLED_BACK is outcome.kind
        assert outcome.reason == "it did not run within 10 s, which is its start deadline"
        assert [entry.container for entry in town.state.quarantined] == ["aa"]
        assert town.version("aa") == "1"


async def test_late_failure_of_the_host_condemns_nothing() -> None:
    """The next session tries again."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", Behaviour(start_error="network team not found"))
        await town.run()
        assert town.state.quarantined == ()
        assert town.version("aa") == "1"


# ---- start-first -----------------------------------------------------------------------------------------------------


async def test_auto_starts_first_where_nothing_speaks_against_it() -> None:
    """Nobody sees the container down."""
    async with a_town() as town:
        await outdated(town, "aa")
        async with watched(town.engine, "aa") as watch:
            report = await town.run(policy=UpdatePolicy(order=Order.AUTO))
        assert not watch.was_down("aa")
        assert town.version("aa") == "2"
        ((_, outcome),) = report.outcomes
        assert not any("stopped first" in line for line in outcome.detail)


@pytest.mark.parametrize("behaviour", [GOOD, BROKEN])
async def test_auto_says_why_it_stops_first(behaviour: Behaviour) -> None:
    """In the outcome, good or bad."""
    async with a_town() as town:
        ports = {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
        await town.outdated("aa", "team/aa", behaviour, ExposedPorts={"80/tcp": {}}, HostConfig=ports)
        report = await town.run(policy=UpdatePolicy(order=Order.AUTO))
        ((_, outcome),) = report.outcomes
        assert "stopped first: it publishes 80/tcp on host port 8080" in outcome.detail


# ---- hooks -----------------------------------------------------------------------------------------------------------


def hooked(code: int = 0, seconds: float = 0.0) -> Behaviour:
    """Return a container in which `hook` ends so."""
    return replace(SLOW, commands={"hook": Command(code, seconds=seconds), "drain": Command(seconds=20.0)})


PRE_UPDATE = "com.centurylinklabs.watchtower.lifecycle.pre-update"
POST_UPDATE = "com.centurylinklabs.watchtower.lifecycle.post-update"


async def test_pre_update_hook_may_ask_for_another_time() -> None:
    """Exit code 75 skips the container; the others go on, and it is no failure."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", old=hooked(75), labels={PRE_UPDATE: "hook"})
        await outdated(town, "bb")
        report = await town.run(policy=ROLLING_RESTART)
        assert kinds(report) == {"aa": OutcomeKind.SKIPPED, "bb": OutcomeKind.UPDATED}
        assert report.is_good
        assert stops(town, "aa") == 0


async def test_failing_hook_fails_its_container_only() -> None:
    """Nothing of it is touched."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", old=hooked(1), labels={PRE_UPDATE: "hook"})
        await outdated(town, "bb")
        report = await town.run()
        assert kinds(report) == {"aa": OutcomeKind.FAILED, "bb": OutcomeKind.UPDATED}
        assert stops(town, "aa") == 0
        assert leftovers(town.engine) == []


async def test_slow_hook_does_not_count_against_the_start_deadline() -> None:
    """By default the deadline has room for what a hook may take."""
    async with a_town() as town:
        minutes = {PRE_UPDATE: "hook", f"{PRE_UPDATE}-timeout": "30"}
        await town.outdated("aa", "team/aa", old=hooked(seconds=1500.0), labels=minutes)
        report = await town.run()
        assert kinds(report) == {"aa": OutcomeKind.UPDATED}


@pytest.mark.parametrize("order", [Order.STOP_FIRST, Order.START_FIRST])
async def test_drain_ends_before_the_stop_and_after_all_is_ready(order: Order) -> None:
    """With start-first the new one is good before the old one is drained."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", old=hooked(), labels={"watchtower-async.drain": "drain"})
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: town.run(policy=UpdatePolicy(order=order)))
            await until(lambda: any("/exec" in text for text in town.engine.changes()))
            await anyio.sleep(10)
            before = list(town.engine.changes())
            assert any("containers/create" in text for text in before)
            assert (order is Order.START_FIRST) is any(text.endswith("/start") for text in before if "exec" not in text)
            assert stops(town, "aa") == 0
        assert town.version("aa") == "2"
        (event,) = (event for event in town.events if isinstance(event, HookRan))
        assert (event.kind, event.end) == ("drain", "succeeded")


async def test_post_update_hook_runs_in_the_new_container() -> None:
    """After its monitor window."""
    async with a_town() as town:
        commands = Behaviour(commands={"hook": Command(output=((1, "done\n"),))})
        await town.outdated("aa", "team/aa", commands, labels={POST_UPDATE: "hook"})
        await town.run()
        (event,) = (event for event in town.events if isinstance(event, HookRan))
        assert (event.kind, event.end) == ("post-update", "succeeded")


# ---- pause, resume, abandon ------------------------------------------------------------------------------------------


async def _paused(town: Town) -> SessionReport:
    """Let a rollout pause: `a` has failed, `b` and `c` wait."""
    await town.outdated("aa", "team/aa", UNHEALTHY, old=SLOW)
    await outdated(town, "bb", "cc")
    return await town.run(policy=ROLLING_RESTART)


async def test_paused_rollout_is_still_paused_after_a_restart() -> None:
    """Its containers are held in plans with the reason, also in one that touches nothing."""
    async with a_town() as town:
        await _paused(town)
        plan = await town.plan()
        assert items(plan)["bb"] == (Action.LEAVE, ReasonCode.IN_ROLLOUT)
        reason = next(item.reason.text for item in plan.items if item.name == "bb")
        assert "paused: 1 of 3 failed" in reason
        async with town.assembly(policy=ROLLING_RESTART) as assembly:
            before = len(town.engine.changes())
            report = await assembly.session.run()
            assert before == len(town.engine.changes())
            assert report.plan is not None
            assert items(report.plan)["cc"] == (Action.LEAVE, ReasonCode.IN_ROLLOUT)
            (view,) = assembly.rollouts.views
            assert RolloutState.PAUSED is view.state
            assert view.may_resume
        assert states(town) == ["paused"]


async def test_resumed_rollout_goes_on() -> None:
    """Also in another process than the one that paused it."""
    async with a_town() as town:
        await _paused(town)
        async with town.assembly(policy=ROLLING_RESTART) as assembly:
            await assembly.session.open()
            (view,) = assembly.rollouts.views
            assert RolloutState.UPDATING is assembly.rollouts.resume(view.id).state
            await assembly.rollouts.finish_wanted()
            assert assembly.rollouts.views == ()
        assert versions(town, ("aa", "bb", "cc")) == {"aa": "1", "bb": "2", "cc": "2"}
        assert town.state.load_rollouts() == ()


async def test_abandoned_rollout_lets_its_containers_go() -> None:
    """The next session plans them anew."""
    async with a_town() as town:
        await _paused(town)
        async with town.assembly() as assembly:
            await assembly.session.open()
            (view,) = assembly.rollouts.views
            assembly.rollouts.abandon(view.id, "somebody gave it up")
            await assembly.rollouts.finish_wanted()
            assert assembly.rollouts.holds() == {}
            report = await assembly.session.run()
        assert kinds(report) == {"bb": OutcomeKind.UPDATED, "cc": OutcomeKind.UPDATED}
        assert town.state.load_rollouts() == ()


async def test_pause_lets_what_has_begun_end_and_begins_nothing() -> None:
    """Asked for in the middle."""
    async with a_town() as town:
        await outdated(town, "aa", "bb")
        async with town.assembly() as assembly, anyio.create_task_group() as group:
            group.start_soon(assembly.session.run)
            await until(lambda: stops(town, "aa") == 1)
            (view,) = assembly.rollouts.views
            assembly.rollouts.pause(view.id, "somebody paused it")
        assert versions(town, ("aa", "bb")) == {"aa": "2", "bb": "1"}
        assert stops(town, "bb") == 0
        assert states(town) == ["paused"]


async def test_what_cannot_be_had_is_refused_with_the_reason() -> None:
    """An unknown rollout, and a resume of one that is not paused."""
    async with a_town() as town:
        await outdated(town, "aa")
        async with town.assembly() as assembly, anyio.create_task_group() as group:
            with pytest.raises(IllegalTransitionError, match="there is no open rollout nobody"):
                assembly.rollouts.pause("nobody", "")
            group.start_soon(assembly.session.run)
            await until(lambda: assembly.rollouts.is_at_work)
            (view,) = assembly.rollouts.views
            with pytest.raises(IllegalTransitionError, match="cannot be resumed"):
                assembly.rollouts.resume(view.id)
        assert town.version("aa") == "2"


async def test_pause_is_told_once_however_often_sessions_come() -> None:
    """It is news only when it begins."""
    async with a_town() as town:
        await _paused(town)
        for _ in range(2):
            await town.run(policy=ROLLING_RESTART)
        assert states(town) == ["paused"]


async def test_held_container_is_not_created_anew_for_others() -> None:
    """A paused rollout has it; who would need that waits, too, and says for what."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", UNHEALTHY)
        town.publish("team/target", 1)
        target = await town.engine.run("target", town.image("team/target"))
        mode = {"NetworkMode": f"container:{target.id}"}
        await town.outdated("side", "team/side", HostConfig=mode)
        await town.run(policy=ROLLING_RESTART)
        town.publish("team/target", 2)
        report = await town.run()
        assert kinds(report) == {"target": OutcomeKind.FAILED}
        assert "part of rollout" in report.outcomes[0][1].reason
        assert (stops(town, "target"), stops(town, "side")) == (0, 0)


# ---- newer images, other sessions ------------------------------------------------------------------------------------


async def test_newer_digest_supersedes_a_paused_rollout() -> None:
    """The rollout gives way, and all of it is planned anew, in the same session."""
    async with a_town() as town:
        await _paused(town)
        town.publish("team/bb", 3)
        report = await town.run()
        assert states(town) == ["paused", "abandoning", "abandoned", "completed"]
        assert kinds(report) == {"bb": OutcomeKind.UPDATED, "cc": OutcomeKind.UPDATED}
        assert versions(town, ("aa", "bb", "cc")) == {"aa": "1", "bb": "3", "cc": "2"}
        assert town.state.load_rollouts() == ()


async def test_newer_digest_supersedes_a_rollout_at_work() -> None:
    """What has begun comes to its end first; then the newer image is installed."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=30.0), old=SLOW)
        await outdated(town, "bb")
        async with town.assembly() as assembly, anyio.create_task_group() as group:
            group.start_soon(assembly.session.run)
            await until(lambda: "POST containers/aa/start" in town.engine.changes())
            town.publish("team/bb", 3)
            report = await assembly.session.run()
        assert versions(town, ("aa", "bb")) == {"aa": "2", "bb": "3"}
        assert kinds(report) == {"bb": OutcomeKind.UPDATED}
        assert stops(town, "bb") == 1


async def test_sessions_overlap_and_share_nothing() -> None:
    """What the first one has is left to it; what is new is updated after it, one at a time."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=30.0), old=SLOW)
        town.publish("team/bb", 1, SLOW)
        await town.engine.run("bb", town.image("team/bb"))
        begun = anyio.Event()
        reports: list[SessionReport] = []

        async def first(assembly: Assembly) -> None:
            reports.append(await assembly.session.run(begun=begun.set))

        async with (
            watched(town.engine, "aa", "bb") as watch,
            town.assembly() as assembly,
            anyio.create_task_group() as group,
        ):
            group.start_soon(first, assembly)
            await begun.wait()
            await until(lambda: stops(town, "aa") == 1)
            town.publish("team/bb", 2)
            second = await assembly.session.run()
        assert second.plan is not None
        assert items(second.plan)["aa"] == (Action.LEAVE, ReasonCode.IN_ROLLOUT)
        assert [kinds(reports[0]), kinds(second)] == [{"aa": OutcomeKind.UPDATED}, {"bb": OutcomeKind.UPDATED}]
        assert watch.most_down == 1
        finished = [event.item for event in town.events if isinstance(event, ReplacementFinished)]
        assert [item.action for item in finished] == [Action.UPDATE, Action.UPDATE]


# ---- restarts of the updater -----------------------------------------------------------------------------------------


async def test_engine_that_goes_away_abandons_the_rollout() -> None:
    """What was watched at that moment is settled by the next session, and the rest is planned anew."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=30.0), old=SLOW)
        await outdated(town, "bb")
        async with town.session() as session, anyio.create_task_group() as group:

            async def go_away() -> None:
                await until(lambda: "POST containers/aa/start" in town.engine.changes())
                await anyio.sleep(3)
                town.engine.fault = Fault(at=1, kind="kill_before", changes_only=False)

            group.start_soon(go_away)
            report = await session.run()
        assert report.failure is not None
        assert states(town) == ["abandoning", "abandoned"]
        assert town.state.load_rollouts() == ()
        town.engine.revive()
        await town.run()
        assert versions(town, ("aa", "bb")) == {"aa": "2", "bb": "2"}
        assert leftovers(town.engine) == []


async def test_answer_that_is_lost_once_does_not_end_a_rollout() -> None:
    """The engine is asked again."""
    async with a_town() as town:
        await outdated(town, "aa", "bb")
        async with town.session() as session, anyio.create_task_group() as group:

            async def lose() -> None:
                await until(lambda: "POST containers/aa/start" in town.engine.changes())
                town.engine.fault = Fault(at=3, kind="lost", changes_only=False)

            group.start_soon(lose)
            report = await session.run()
        assert town.engine.fault_fired
        assert kinds(report) == {"aa": OutcomeKind.UPDATED, "bb": OutcomeKind.UPDATED}
        assert states(town) == ["completed"]


@pytest.mark.parametrize("at", [3, 6, 9, 12])
async def test_unfinished_rollout_goes_on_after_a_restart(at: int) -> None:
    """Killed in the middle, the next process brings it to its end, as the same rollout."""
    async with a_town() as town:
        town.state = MortalStore(town.engine)
        await outdated(town, "aa", "bb", "cc")
        async with town.session() as session:
            town.engine.fault = Fault(at=at, kind="kill_after")
            await session.run()
        assert town.engine.fault_fired
        (stored,) = town.state.load_rollouts()
        town.engine.revive()
        async with town.assembly() as assembly:
            await assembly.session.open()
            assert [stored.id] == [view.id for view in assembly.rollouts.views]
            await assembly.rollouts.finish_wanted()
            assert assembly.rollouts.views == ()
        assert versions(town, ("aa", "bb", "cc")) == {"aa": "2", "bb": "2", "cc": "2"}
        assert leftovers(town.engine) == []
        assert town.state.load_rollouts() == ()


async def test_dependent_is_restarted_also_where_the_updater_was_restarted_in_between() -> None:
    """Killed between the target's start and the restart."""
    async with a_town() as town:
        town.state = MortalStore(town.engine)
        await town.outdated("db", "team/db", Behaviour(healthy_after=10.0))
        town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"), Labels={DEPENDS_ON: "db"})
        async with town.session() as session, anyio.create_task_group() as group:

            async def kill() -> None:
                await until(lambda: "POST containers/db/start" in town.engine.changes())
                await anyio.sleep(2)
                town.engine.fault = Fault(at=1, kind="kill_before", changes_only=False)

            group.start_soon(kill)
            await session.run()
        assert stops(town, "web") == 0
        town.engine.revive()
        await town.run()
        assert town.version("db") == "2"
        assert stops(town, "web") == 1
        assert started(town, "web") >= started(town, "db")


async def test_image_that_failed_while_nobody_watched_is_not_tried_again() -> None:
    """Recovery has put the old one back and condemned the new one, so the rollout counts a failure."""
    async with a_town() as town:
        town.state = MortalStore(town.engine)
        policy = replace(ROLLING_RESTART, delay=timedelta(minutes=5))
        await town.outdated("aa", "team/aa", Behaviour(exits_after=4.0, exit_code=3), old=SLOW)
        await outdated(town, "bb")
        async with town.session(policy=policy) as session, anyio.create_task_group() as group:

            async def kill() -> None:
                await until(lambda: "POST containers/aa/start" in town.engine.changes())
                await anyio.sleep(0.5)
                town.engine.fault = Fault(at=1, kind="kill_before", changes_only=False)

            group.start_soon(kill)
            await session.run()
        town.engine.revive()
        await anyio.sleep(60)
        begun = town.engine.changes().count("POST containers/create?name=aa.wta-new-ra")
        await town.run(policy=policy)
        assert versions(town, ("aa", "bb")) == {"aa": "1", "bb": "1"}
        assert begun == town.engine.changes().count("POST containers/create?name=aa.wta-new-ra")
        assert [entry.container for entry in town.state.quarantined] == ["aa"]
        assert states(town)[-1] == "paused"


async def test_stopped_updater_goes_on_where_it_was() -> None:
    """Told to leave in the middle, it leaves everything running, and the next one goes on."""
    async with a_town() as town:
        await town.outdated("aa", "team/aa", replace(SLOW, healthy_after=30.0), old=SLOW)
        await outdated(town, "bb")
        async with town.session() as session:
            with anyio.move_on_after(15):
                await session.run()
        assert "aa" in town.engine.running_names()
        assert len(town.state.load_rollouts()) == 1
        await town.run()
        assert versions(town, ("aa", "bb")) == {"aa": "2", "bb": "2"}
        assert town.state.load_rollouts() == ()


# ---- another login ---------------------------------------------------------------------------------------------------


async def _locked(town: Town, *names: str) -> None:
    """Let pulls be refused, although the registry answers the check."""
    for name in names:
        town.publish(f"team/{name}", 1)
        await town.engine.run(name, town.image(f"team/{name}"))
        town.publish(f"team/{name}", 2, login=("tester", "new"))


async def test_another_login_wakes_the_group_whose_pull_was_refused() -> None:
    """It waits while the others go on, and is updated when the login is there. Another registry's does nothing."""
    async with a_town() as town:
        town.store.is_watched = True
        await _locked(town, "a1", "a2", "a3")
        await outdated(town, "bb")
        async with town.session() as session, anyio.create_task_group() as group:
            reports: list[SessionReport] = []

            async def run() -> None:
                reports.append(await session.run())

            group.start_soon(run)
            await until(lambda: town.version("bb") == "2", seconds=60)
            pulls = town.engine.changes().count
            town.store.log_in("other.example", a_login("tester", "new"))
            await anyio.sleep(10)
            asked = len([text for text in town.engine.changes() if "images/create" in text])
            await anyio.sleep(30)
            assert asked == len([text for text in town.engine.changes() if "images/create" in text])
            assert pulls("POST containers/a1/stop") == 0
            town.store.log_in(town.registry.address, a_login("tester", "new"))
        assert versions(town, ("a1", "a2", "a3")) == {"a1": "2", "a2": "2", "a3": "2"}
        assert reports[0].is_good


async def test_wait_for_another_login_is_bounded() -> None:
    """Then the group is given up, with the registry's reason."""
    async with a_town() as town:
        town.store.is_watched = True
        await _locked(town, "aa")
        began = anyio.current_time()
        report = await town.run()
        ((_, outcome),) = report.outcomes
        assert LOGIN_WAIT_SECONDS <= anyio.current_time() - began < LOGIN_WAIT_SECONDS + 30
        assert OutcomeKind.FAILED is outcome.kind
        assert "could not be pulled" in outcome.reason
        assert len([event for event in town.events if isinstance(event, Degraded)]) == 1


async def test_nobody_waits_for_a_login_that_nobody_would_notice() -> None:
    """A single run, whose files nobody watches, goes on at once."""
    async with a_town() as town:
        await _locked(town, "aa")
        began = anyio.current_time()
        report = await town.run()
        assert kinds(report) == {"aa": OutcomeKind.FAILED}
        assert anyio.current_time() - began < 30


# ---- clean-up --------------------------------------------------------------------------------------------------------


async def test_old_images_are_kept_until_the_rollout_is_over() -> None:
    """A rollback needs them; afterwards they are removed."""
    async with a_town() as town:
        await outdated(town, "aa")
        await town.outdated("bb", "team/bb", Behaviour(healthy_after=30.0))
        old = town.engine.containers["aa"].image_id
        async with town.session(cleanup=True) as session, anyio.create_task_group() as group:
            group.start_soon(session.run)
            await until(lambda: "POST containers/bb/start" in town.engine.changes())
            await anyio.sleep(MONITOR + 2)
            assert town.version("aa") == "2"
            assert old == town.engine.image_behind(old)
        assert town.engine.image_behind(old) is None


async def test_image_that_a_paused_rollout_may_go_back_to_is_kept() -> None:
    """Another rollout leaves the same image behind, and does not remove it."""
    async with a_town() as town:
        labels = {"watchtower-async.rollout.failure-action": "pause", "com.docker.compose.project": "shop"}
        town.publish("team/aa", 1)
        await town.engine.run("p-a", town.image("team/aa"), Labels=labels)
        await town.engine.run("z-a", town.image("team/aa"))
        old = town.engine.containers["p-a"].image_id
        town.publish("team/aa", 2)
        await town.outdated("p-b", "team/bb", BROKEN, labels=labels)
        await town.run(cleanup=True)
        assert versions(town, ("p-a", "z-a")) == {"p-a": "2", "z-a": "2"}
        assert "paused" in states(town)
        assert old == town.engine.image_behind(old)
        async with town.assembly(cleanup=True) as assembly:
            await assembly.session.open()
            (view,) = assembly.rollouts.views
            assembly.rollouts.resume(view.id)
            await assembly.rollouts.finish_wanted()
        assert town.engine.image_behind(old) is None


async def test_rollout_that_was_over_when_the_updater_died_is_closed_by_the_next() -> None:
    """Nothing is left in the state, and its old images are removed."""
    async with a_town() as town:
        town.state = MortalStore(town.engine)
        await outdated(town, "aa")
        old = town.engine.containers["aa"].image_id
        async with town.session(cleanup=True) as session, anyio.create_task_group() as group:

            async def kill() -> None:
                await until(lambda: "completed" in states(town))
                town.engine.fault = Fault(at=1, kind="kill_before", changes_only=False)

            group.start_soon(kill)
            await session.run()
        town.engine.revive()
        await town.run(cleanup=True)
        assert town.state.load_rollouts() == ()
        assert town.engine.image_behind(old) is None
