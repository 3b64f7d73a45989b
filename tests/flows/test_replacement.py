"""One replacement on the simulated engine, under virtual time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Fault, SimulatedEngine, connected
from tests.support.replacing import (
    BROKEN,
    GOOD,
    IMAGE,
    STOP,
    World,
    a_replacer,
    a_world,
    assert_in_order,
    leftovers,
)
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.rollout.outcome import Outcome, OutcomeKind

pytestmark = pytest.mark.looptime

POLICIES = ["no", "always", "unless-stopped", "on-failure"]


async def replaced(world: World) -> Outcome:
    """Run the replacement that the plan says."""
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        return await replacer.replace(world.target())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("api_version", ["1.41", "1.51"])
async def test_container_moves_to_the_new_image(policy: str, api_version: str) -> None:
    """The new image runs under the name with the old settings and its own restart policy."""
    world = await a_world(policy=policy, engine=SimulatedEngine(api_version=api_version))
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.UPDATED, outcome
    assert_in_order(world, image=world.new_image)
    assert world.new_image == world.engine.image_behind(IMAGE)


async def test_containerd_store_is_updated_alike() -> None:
    """Image ids are manifest digests there."""
    world = await a_world(engine=SimulatedEngine(containerd=True))
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert_in_order(world, image=world.new_image)


async def test_predecessor_is_removed_last() -> None:
    """Until the successor is known to be good, the predecessor is there."""
    world = await a_world()
    await replaced(world)
    changes = [text for text in world.engine.changes() if "containers" in text]
    assert changes[-1].startswith("DELETE containers/web.wta-old-ra-")
    assert [text.partition("?")[0] for text in changes] == [
        "POST containers/create",
        "POST containers/web/rename",
        "POST containers/web.wta-new-ra/rename",
        f"POST containers/web.wta-old-ra-{'x23456789012'}/stop",
        "POST containers/web/start",
        f"POST containers/web.wta-old-ra-{'x23456789012'}/update",
        f"DELETE containers/web.wta-old-ra-{'x23456789012'}",
    ]


@pytest.mark.parametrize("policy", POLICIES)
async def test_successor_that_exits_is_rolled_back(policy: str) -> None:
    """The predecessor runs again with its own policy, the tag points to its image, and the log says why."""
    world = await a_world(policy=policy, behaviour=BROKEN)
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert any("cannot start" in line for line in outcome.detail)
    assert_in_order(world, image=world.old_image)
    assert world.engine.containers["web"].id == world.old_id
    assert world.old_image == world.engine.image_behind(IMAGE)


async def test_job_that_ends_well_is_kept() -> None:
    """Exit code 0 under policy `no` is success."""
    world = await a_world(policy="no", behaviour=Behaviour(exits_after=1.0))
    assert (await replaced(world)).kind is OutcomeKind.UPDATED


async def test_successor_that_never_gets_healthy_is_rolled_back() -> None:
    """Its check gets its own time, then it is taken back."""
    world = await a_world(behaviour=Behaviour(healthy_after=math.inf))
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert "health check" in outcome.reason
    assert_in_order(world, image=world.old_image)


async def test_successor_that_gets_healthy_late_is_kept() -> None:
    """Health comes long after the monitor window, and that is fine."""
    world = await a_world(behaviour=Behaviour(healthy_after=45.0))
    outcome = await replaced(world)
    assert outcome == Outcome(OutcomeKind.UPDATED, "its health check passes", outcome.detail)


async def test_successor_that_the_engine_cannot_start_is_rolled_back() -> None:
    """A start that fails is undone at once."""
    world = await a_world(behaviour=Behaviour(start_error='exec: "serve": executable file not found in $PATH'))
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert "executable file not found" in outcome.reason
    assert_in_order(world, image=world.old_image)


async def test_tag_stays_where_another_container_runs_the_new_image() -> None:
    """The new image is good for the other one, so the tag is not taken from it."""
    world = await a_world(behaviour=BROKEN)
    async with connected(world.engine) as client:
        await client.pull_image(IMAGE, registry_auth="e30=")
    await world.engine.run("other", IMAGE, behaviour=Behaviour())
    assert (await replaced(world)).kind is OutcomeKind.ROLLED_BACK
    assert world.new_image == world.engine.image_behind(IMAGE)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("write /var/lib/docker/tmp: no space left on device", "too little disk space"),
        ("unauthorized: authentication required", "could not be pulled: unauthorized"),
    ],
)
async def test_failed_pull_touches_nothing(error: str, expected: str) -> None:
    """Not even the tag; the reason tells too little space from a refusal."""
    world = await a_world()
    world.digest = world.engine.offer(IMAGE, config={"Env": ["VERSION=3"]}, error=error)
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.FAILED
    assert expected in outcome.reason
    assert world.engine.containers["web"].id == world.old_id
    assert world.old_image == world.engine.image_behind(IMAGE)


async def test_missing_network_is_found_before_anything_is_touched() -> None:
    """The engine would notice it at the start only, when the predecessor is down."""
    engine = SimulatedEngine()
    engine.add_network("first")
    engine.add_network("gone", "10.98.0.0/24")
    world = await a_world(
        engine=engine,
        HostConfig={"NetworkMode": "first", "RestartPolicy": {"Name": "always"}},
        NetworkingConfig={"EndpointsConfig": {"first": {}, "gone": {}}},
    )
    engine.remove_network("gone")
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.FAILED
    assert "network gone does not exist" in outcome.reason
    assert not any("create" in text for text in engine.changes())


@pytest.mark.parametrize("api_version", ["1.41", "1.51"])
async def test_all_networks_are_kept(api_version: str) -> None:
    """Also where an engine takes one network at create only."""
    engine = SimulatedEngine(api_version=api_version)
    engine.add_network("first")
    engine.add_network("second", "10.98.0.0/24")
    world = await a_world(engine=engine, HostConfig={"NetworkMode": "first"}, policy="no")
    async with connected(engine) as client:
        await client.connect_network("second", "web", {"Aliases": ["db"]})
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    endpoints = engine.containers["web"].endpoints
    assert sorted(endpoints) == ["first", "second"]


async def test_container_that_vanished_since_the_plan_is_skipped() -> None:
    """It costs nothing, and nothing is pulled."""
    world = await a_world()
    async with connected(world.engine) as client:
        await client.remove_container("web", force=True)
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.SKIPPED
    assert not any("images/create" in text for text in world.engine.changes())


async def test_container_that_was_stopped_since_the_plan_is_skipped() -> None:
    """Whoever stopped it wanted it stopped."""
    world = await a_world()
    async with connected(world.engine) as client:
        await client.stop_container("web", timeout=1)
    assert (await replaced(world)).kind is OutcomeKind.SKIPPED
    assert world.engine.running_names() == []


async def test_same_image_under_a_new_digest_is_no_replacement() -> None:
    """After the pull the image ids decide."""
    world = await a_world()
    world.digest = world.engine.offer(IMAGE, config={"Env": ["VERSION=1"]}, digest="sha256:" + "ab" * 32)
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.SKIPPED
    assert world.engine.containers["web"].id == world.old_id


async def test_file_that_compose_copied_in_is_carried_over() -> None:
    """Compose copied it in between create and start; so do we."""
    world = await a_world(Labels={"com.docker.compose.project": "shop"})
    web = world.engine.containers["web"]
    web.changed_files["/run/secrets/key"] = {
        "name": "key",
        "size": 6,
        "mode": 0o444,
        "mtime": world.engine.now().replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        "content": b"secret",
    }
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.UPDATED, outcome
    assert world.engine.containers["web"].changed_files["/run/secrets/key"]["content"] == b"secret"


@pytest.mark.parametrize("number", range(1, 12))
async def test_engine_that_dies_in_the_search_for_copied_files_is_told_as_that(number: int) -> None:
    """Whichever reading request it is, the error is the engine's, and nothing is touched."""
    world = await a_world(Labels={"com.docker.compose.project": "shop"})
    for name in ("a", "b", "c"):
        world.engine.containers["web"].changed_files[f"/{name}"] = {
            "name": name,
            "size": 1,
            "mode": 0o644,
            "mtime": "2001-01-01T00:00:00.5Z",
        }
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        world.engine.fault = Fault(at=number, kind="kill_before", changes_only=False)
        try:
            outcome = await replacer.replace(world.target())
        except EngineUnavailableError:
            outcome = None
    assert world.engine.fault_fired
    assert outcome is None or outcome.kind in (OutcomeKind.FAILED, OutcomeKind.UNFINISHED)
    assert world.engine.containers["web"].id == world.old_id


@pytest.mark.parametrize("setting", ["NetworkMode", "PidMode", "IpcMode"])
async def test_container_that_others_depend_on_is_refused_by_their_name(setting: str) -> None:
    """Replaced alone, it would leave them in a dead namespace."""
    world = await a_world(HostConfig={"IpcMode": "shareable"})
    await world.engine.run("guest", IMAGE, HostConfig={setting: f"container:{world.old_id}"})
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.FAILED
    assert "guest shares its namespaces" in outcome.reason
    assert world.engine.containers["web"].id == world.old_id


async def test_container_in_the_network_of_another_one_stays_there() -> None:
    """Its target is not replaced, so the id means the same container afterwards."""
    engine = SimulatedEngine()
    engine.offer("registry.example/vpn:1")
    vpn = await engine.run("vpn", "registry.example/vpn:1")
    world = await a_world(engine=engine, HostConfig={"NetworkMode": f"container:{vpn.id}"}, policy="no")
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert engine.containers["web"].host["NetworkMode"] == f"container:{vpn.id}"
    assert sorted(engine.running_names()) == ["vpn", "web"]


async def test_leftover_of_another_updater_holds_the_container() -> None:
    """The name of the successor is the lock."""
    world = await a_world()
    await world.engine.run("web.wta-new-ra", IMAGE, running=False)
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.FAILED
    assert "another updater" in outcome.reason
    assert world.engine.containers["web"].id == world.old_id


async def test_slow_predecessor_is_waited_for() -> None:
    """The stop takes what the container needs, and the successor starts only then."""
    world = await a_world(old_behaviour=Behaviour(ignores_stop_signal=True))
    started = anyio.current_time()
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert anyio.current_time() - started >= STOP


async def test_own_stop_time_of_the_container_comes_first() -> None:
    """`StopTimeout` of the container wins over the setting, also when it is 0."""
    world = await a_world(old_behaviour=Behaviour(ignores_stop_signal=True), StopTimeout=0)
    started = anyio.current_time()
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert anyio.current_time() - started < STOP


async def test_container_that_needs_long_to_stop_gets_its_time() -> None:
    """A quarter of an hour, where it names so much; the change-over waits for it."""
    world = await a_world(old_behaviour=Behaviour(stop_seconds=850.0), StopTimeout=900)
    started = anyio.current_time()
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert anyio.current_time() - started >= 850
    assert world.engine.containers["web"].image_id == world.new_image


@pytest.mark.parametrize("behaviour", [GOOD, BROKEN])
@pytest.mark.parametrize("policy", POLICIES)
async def test_paused_container_is_paused_again(policy: str, behaviour: Behaviour) -> None:
    """Nobody can tell whether a frozen image is good; it is frozen as before, and nothing else is promised."""
    world = await a_world(policy=policy, behaviour=behaviour)
    async with connected(world.engine) as client:
        await client.pause_container("web")
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    web = world.engine.containers["web"]
    assert (web.paused, web.policy, web.image_id) == (True, policy, world.new_image)
    assert leftovers(world.engine) == []


async def test_paused_container_whose_successor_does_not_start_is_put_back_paused() -> None:
    """The predecessor starts again and is frozen."""
    world = await a_world(behaviour=Behaviour(start_error="no such file"))
    async with connected(world.engine) as client:
        await client.pause_container("web")
    assert (await replaced(world)).kind is OutcomeKind.ROLLED_BACK
    assert world.engine.containers["web"].paused
    assert world.engine.containers["web"].id == world.old_id


@pytest.mark.parametrize("after", [0.5, 3.0])
async def test_cancelled_while_watched_leaves_the_successor_running(after: float) -> None:
    """It runs under the name; the predecessor is kept for recovery."""
    world = await a_world()
    with anyio.move_on_after(after):
        await replaced(world)
    assert world.engine.containers["web"].status == "running"
    assert len(leftovers(world.engine)) == 1


async def test_cancelled_in_the_cut_over_finishes_it() -> None:
    """A stop that is under way is not left half-way."""
    world = await a_world(old_behaviour=Behaviour(stop_seconds=5.0))
    with anyio.move_on_after(2.0):
        await replaced(world)
    assert world.engine.containers["web"].status == "running"
    assert world.new_image == world.engine.containers["web"].image_id


async def test_cancelled_in_the_pull_changes_nothing() -> None:
    """Nothing was begun."""
    world = await a_world()
    world.digest = world.engine.offer(IMAGE, config={"Env": ["VERSION=3"]}, seconds=60.0)
    with anyio.move_on_after(5.0):
        await replaced(world)
    assert_in_order(world, image=world.old_image)


async def test_predecessor_that_cannot_be_put_back_is_told_as_lost() -> None:
    """Neither runs: nothing is louder than that."""
    world = await a_world(behaviour=BROKEN, old_behaviour=Behaviour(), policy="no")
    world.engine.containers["web"].behaviour = Behaviour(start_error="its device is gone")
    outcome = await replaced(world)
    assert outcome.kind is OutcomeKind.LOST
    assert "its device is gone" in outcome.reason


async def test_removal_that_fails_at_the_end_does_not_undo_a_good_update() -> None:
    """The successor is good; recovery removes the predecessor later."""
    world = await a_world(policy="no")
    # tag, create, rename, rename, stop, start, remove; the pull comes first
    world.engine.fault = Fault(at=8, kind="fail")
    outcome = await replaced(world)
    assert world.engine.fault_fired
    assert outcome.kind is OutcomeKind.UPDATED
    assert world.new_image == world.engine.containers["web"].image_id
    assert len(leftovers(world.engine)) == 1


async def replaced_with(world: World, **changes: Any) -> Outcome:
    """Run the replacement with another target than the plan's."""
    async with connected(world.engine) as client:
        replacer = await a_replacer(client)
        return await replacer.replace(replace(world.target(), **changes))


async def test_successor_that_is_not_to_run_takes_the_place_and_stays_down() -> None:
    """With --no-restart: the new container is there, and nobody has started it."""
    world = await a_world()
    assert (await replaced_with(world, starts=False)).kind is OutcomeKind.UPDATED
    (web,) = world.engine.containers.values()
    assert (web.name, web.status, web.image_id) == ("web", "created", world.new_image)


async def test_stopped_container_is_replaced_and_not_started() -> None:
    """With --include-stopped: nothing runs before or after."""
    world = await a_world()
    await stop_web(world)
    assert (await replaced_with(world, is_up=False, starts=False)).kind is OutcomeKind.UPDATED
    (web,) = world.engine.containers.values()
    assert (web.name, web.status, web.image_id) == ("web", "created", world.new_image)


async def test_stopped_container_is_revived_with_the_new_image() -> None:
    """With --revive-stopped the new one runs, and is watched as others are."""
    world = await a_world()
    await stop_web(world)
    assert (await replaced_with(world, is_up=False, starts=True)).kind is OutcomeKind.UPDATED
    assert_in_order(world, image=world.new_image)


async def test_stopped_container_whose_new_image_fails_is_as_before() -> None:
    """It was not running before, and is not afterwards."""
    world = await a_world(behaviour=BROKEN)
    await stop_web(world)
    assert (await replaced_with(world, is_up=False, starts=True)).kind is OutcomeKind.ROLLED_BACK
    (web,) = world.engine.containers.values()
    assert (web.name, web.id, web.status) == ("web", world.old_id, "exited")


async def stop_web(world: World) -> None:
    """Stop the container, as a person does."""
    async with connected(world.engine) as client:
        await client.stop_container("web", timeout=1)


@pytest.mark.parametrize("api_version", ["1.41", "1.51"])
async def test_container_in_a_restart_loop_is_cured_by_a_good_image(api_version: str) -> None:
    """Older engines cannot rename it before it is stopped."""
    engine = SimulatedEngine(api_version=api_version)
    world = await a_world(old_behaviour=Behaviour(exits_after=0.2, exit_code=1), engine=engine)
    await anyio.sleep(30)
    assert engine.containers["web"].status == "restarting"
    assert (await replaced(world)).kind is OutcomeKind.UPDATED
    assert_in_order(world, image=world.new_image)


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_container_that_failed_before_is_put_back_only_where_its_label_says_so(is_wanted: bool) -> None:
    """One restart loop is as good as the other, and the newer image may be mended next."""
    labels = {"watchtower-async.rollback-to-failing": "true"} if is_wanted else {}
    failing = Behaviour(exits_after=0.2, exit_code=1)
    world = await a_world(old_behaviour=failing, behaviour=BROKEN, Labels=labels)
    await anyio.sleep(30)
    outcome = await replaced(world)
    assert outcome.kind is (OutcomeKind.ROLLED_BACK if is_wanted else OutcomeKind.UPDATED), outcome
    assert (world.engine.containers["web"].id == world.old_id) is is_wanted
    assert not leftovers(world.engine)
