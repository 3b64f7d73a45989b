"""What the contract suite cannot ask of a shared engine: restarts of the engine itself, and the injected faults."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.engine_sim import Behaviour, Container, Fault, SimulatedEngine, connected
from tests.support.engine_sim.faults import FaultKind
from tests.support.family import a_family, assert_family_in_order
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import Engine, connect_engine
from watchtower_async.errors import EngineError, EngineUnavailableError

pytestmark = pytest.mark.looptime

IMAGE = "registry.example/app:1"
POLICIES = ("no", "always", "unless-stopped", "on-failure")


def an_engine(behaviour: Behaviour | None = None, *, live_restore: bool = False) -> SimulatedEngine:
    """Return an engine with one image."""
    engine = SimulatedEngine(live_restore=live_restore)
    engine.add_image(IMAGE, behaviour=behaviour or Behaviour())
    return engine


async def a_container(engine: SimulatedEngine, policy: str, before: str) -> Container:
    """Set up a container with this policy in this state."""
    host = {"RestartPolicy": {"Name": policy}}
    web = await engine.run("web", IMAGE, running=before != "created", HostConfig=host)
    if before == "stopped":
        await engine.lifecycle.stop(web, 1, None)
    if before == "killed":
        await engine.lifecycle.kill(web, "KILL")
    if before == "paused":
        engine.lifecycle.pause(web)
    return web


@pytest.mark.parametrize(
    ("before", "kill", "after"),
    [
        ("created", False, dict.fromkeys(POLICIES, "created")),
        ("running", False, {"no": "exited", "always": "running", "unless-stopped": "running", "on-failure": "exited"}),
        ("running", True, {"no": "exited", "always": "running", "unless-stopped": "exited", "on-failure": "exited"}),
        ("stopped", False, {"no": "exited", "always": "running", "unless-stopped": "exited", "on-failure": "exited"}),
        ("killed", False, {"no": "exited", "always": "running", "unless-stopped": "exited", "on-failure": "running"}),
        ("paused", False, {"no": "exited", "always": "running"}),
    ],
)
async def test_engine_restart_brings_up_what_policy_says(before: str, kill: bool, after: dict[str, str]) -> None:
    """The table of what a restart of dockerd makes of each state and policy, as measured with Engine 28."""
    found = {}
    for policy in after:
        engine = an_engine()
        web = await a_container(engine, policy, before)
        await engine.restart(kill=kill)
        found[policy] = web.status
    assert after == found


async def test_engine_restart_starts_failed_process_again() -> None:
    """With on-failure, a process that ends with an error when the engine stops it is brought up."""
    engine = an_engine(Behaviour(stop_exit_code=143))
    web = await a_container(engine, "on-failure", "running")
    await engine.restart()
    assert [web.status, web.restart_count] == ["running", 0]


@pytest.mark.parametrize("before", ["created", "running"])
async def test_engine_restart_deletes_auto_remove_containers(before: str) -> None:
    """Also those that never ran."""
    engine = an_engine()
    await engine.run("web", IMAGE, running=before == "running", HostConfig={"AutoRemove": True})
    await engine.restart()
    assert engine.containers == {}


async def test_engine_restart_brings_a_family_back_together() -> None:
    """Everybody is in the namespaces of whoever runs now, and those that were down stay so."""
    engine = SimulatedEngine()
    family = await a_family(engine, chained=True, policy="unless-stopped")
    await engine.restart()
    assert_family_in_order(engine, family, updated=[], replaced=False)


async def test_dependents_of_a_target_that_did_not_come_up_are_down() -> None:
    """The engine does not try again; the error says why."""
    engine = SimulatedEngine()
    await a_family(engine, stopped=(), policy="always")
    engine.containers["web"].host["RestartPolicy"] = {"Name": "no"}
    await engine.restart()
    assert engine.running_names() == []
    assert "is not running" in engine.containers["web-pid"].error


async def test_dependents_of_a_target_that_was_started_again_are_cut_off() -> None:
    """It shows, for the network along the chain and for the memory, until they are started again, too."""
    engine = SimulatedEngine()
    family = await a_family(engine, chained=True)
    await engine.lifecycle.restart(engine.containers["web"], 1, None)
    await anyio.sleep(1)  # the policy brings back the one whose processes were killed
    cut_off = [name for name in engine.containers if engine.is_cut_off(name)]
    assert cut_off == ["web-network", "web-chained"]
    assert engine.dead_namespaces("web-ipc") == ["IpcMode"]
    with pytest.raises(AssertionError, match="web-network is cut off"):
        assert_family_in_order(engine, family)
    for name in ("web-network", "web-chained", "web-ipc"):
        await engine.lifecycle.restart(engine.containers[name], 1, None)
    assert_family_in_order(engine, family, updated=[], replaced=False)


async def test_engine_that_ends_during_a_restart_of_a_container_does_not_start_it() -> None:
    """What was to come is forgotten; the policy says whether it comes back."""
    engine = an_engine(Behaviour(ignores_stop_signal=True))
    web = await engine.run("web", IMAGE)
    with anyio.move_on_after(0.5):
        await engine.lifecycle.restart(web, 10, None)
    await engine.restart()
    await anyio.sleep(20)
    assert web.status == "exited"


async def test_live_restore_keeps_processes() -> None:
    """Running containers do not notice the restart."""
    engine = an_engine(live_restore=True)
    web = await a_container(engine, "no", "running")
    await engine.restart(kill=True)
    assert [web.status, web.finished] == ["running", None]


async def test_engine_restart_breaks_calls_and_refuses_for_its_time() -> None:
    """A call that is under way breaks; calls work again when the engine is back."""
    engine = an_engine(Behaviour(stop_seconds=5))
    await a_container(engine, "no", "running")
    async with connected(engine) as client, anyio.create_task_group() as group:
        group.start_soon(expect_unavailable, client, "web")
        await anyio.sleep(1)
        group.start_soon(lambda: engine.restart(seconds=3))
        await anyio.sleep(1)
        await expect_unavailable(client, "web")
        await anyio.sleep(2.5)
        assert (await client.inspect_container("web"))["State"]["Status"] == "exited"


async def expect_unavailable(client: Engine, name: str) -> None:
    """A stop breaks off."""
    with pytest.raises(EngineUnavailableError):
        await client.stop_container(name, timeout=10)


async def test_restart_loop_backs_off_and_resets_after_ten_seconds() -> None:
    """0.1 s, doubling; after a run of ten seconds it begins anew."""
    engine = an_engine(Behaviour(exits_after=1, exit_code=1))
    web = await a_container(engine, "always", "running")
    starts = []
    for seconds in (1.2, 1.2, 1.4):
        await anyio.sleep(seconds)
        assert web.started is not None
        starts.append(round((web.started - web.created).total_seconds(), 2))
    assert starts == [1.1, 2.3, 3.7]
    web.behaviour = Behaviour()
    await anyio.sleep(30)
    engine.crash("web")
    assert web.back_off == 0.1


async def test_time_stands_still_while_paused() -> None:
    """A process that would end does so as much later."""
    engine = an_engine(Behaviour(exits_after=5))
    web = await a_container(engine, "no", "running")
    await anyio.sleep(4)
    engine.lifecycle.pause(web)
    await anyio.sleep(100)
    engine.lifecycle.unpause(web)
    await anyio.sleep(0.9)
    assert web.status == "running"
    await anyio.sleep(0.2)
    assert web.status == "exited"


async def test_health_changes_at_its_time() -> None:
    """Healthy and unhealthy come exactly when the behaviour says."""
    engine = an_engine(Behaviour(healthy_after=2, unhealthy_after=7))
    web = await a_container(engine, "no", "running")
    seen = []
    for _ in range(3):
        assert web.health is not None
        seen.append(web.health.status)
        await anyio.sleep(4)
    assert seen == ["starting", "healthy", "unhealthy"]


# ---- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "works"),
    [
        ("kill_before", "running", False),
        ("kill_during", "running", False),
        ("kill_after", "exited", False),
        ("fail", "running", True),
        ("hang", "running", True),
        ("lost", "exited", True),
    ],
)
async def test_fault_strikes_at_its_number(kind: FaultKind, status: str, works: bool) -> None:
    """The second change meets it: with or without effect, and later calls work unless the client was killed."""
    engine = an_engine(Behaviour(stop_seconds=5))
    web = await a_container(engine, "no", "running")
    async with connected(engine) as client:
        engine.fault = Fault(at=2, kind=kind)
        await client.rename_container(web.id, "renamed")
        await client.inspect_container(web.id)
        with pytest.raises(EngineError):
            await client.stop_container(web.id, timeout=10)
        assert [status, True] == [web.status, engine.fault_fired]
        if not works:
            with pytest.raises(EngineUnavailableError):
                await client.start_container(web.id)
            engine.revive()
        assert (await client.inspect_container("renamed"))["State"]["Status"] == web.status


async def test_stop_of_a_killed_client_goes_on() -> None:
    """The engine has been asked, and does it."""
    engine = an_engine(Behaviour(stop_seconds=5))
    web = await a_container(engine, "always", "running")
    async with connected(engine) as client:
        engine.fault = Fault(at=1, kind="kill_during")
        await expect_unavailable(client, "web")
    await anyio.sleep(4.5)
    assert web.status == "running"
    await anyio.sleep(1)
    assert web.status == "exited"


async def test_killed_client_pulls_nothing() -> None:
    """A pull ends with its client."""
    engine = an_engine()
    engine.offer("registry.example/new:1", seconds=10)
    async with connected(engine) as client:
        engine.fault = Fault(at=1, kind="kill_during")
        with pytest.raises(EngineError):
            await client.pull_image("registry.example/new:1", registry_auth="")
    await anyio.sleep(20)
    assert engine.image_behind("registry.example/new:1") is None


async def test_fault_beyond_the_last_request_does_not_fire() -> None:
    """So a loop over all numbers knows where to end."""
    engine = an_engine()
    await a_container(engine, "no", "running")
    async with connected(engine) as client:
        engine.fault = Fault(at=2, kind="fail")
        await client.rename_container("web", "renamed")
        assert not engine.fault_fired


async def test_fault_may_count_questions_too() -> None:
    """With `changes_only=False` the next question meets it."""
    engine = an_engine()
    async with connected(engine) as client:
        engine.fault = Fault(at=1, kind="fail", changes_only=False, text="no space left on device", status=507)
        with pytest.raises(EngineError, match="no space left on device") as caught:
            await client.list_images()
    assert caught.value.status == 507


async def test_trace_names_containers() -> None:
    """A request with an id shows the name of that time."""
    engine = an_engine()
    web = await a_container(engine, "no", "running")
    async with connected(engine) as client:
        await client.rename_container(web.id, "renamed")
        await client.inspect_container(web.id)
    assert engine.changes() == ["POST containers/web/rename?name=renamed"]
    assert engine.trace[-1].text == "GET containers/renamed/json"


# ---- images --------------------------------------------------------------------------------------------------------


async def test_containerd_store_has_published_digest_as_image_id() -> None:
    """There the digest that a registry tells and the container's image id can be compared directly."""
    engine = SimulatedEngine(containerd=True)
    digest = engine.offer(IMAGE)
    await engine.run("web", IMAGE)
    async with connected(engine) as client:
        document = await client.inspect_container("web")
        image = await client.inspect_image(IMAGE)
    assert [digest, digest, digest] == [document["Image"], image["Id"], image["Descriptor"]["digest"]]


async def test_same_content_is_the_same_image() -> None:
    """Offered again it has the same digest; another configuration or behaviour is another image."""
    engine = SimulatedEngine()
    first = engine.offer(IMAGE, config={"Env": ["A=1"]})
    assert first == engine.offer(IMAGE, config={"Env": ["A=1"]})
    assert first != engine.offer(IMAGE, config={"Env": ["A=2"]})
    assert first != engine.offer(IMAGE, config={"Env": ["A=1"]}, behaviour=Behaviour(exits_after=1))


# ---- a process of its own ------------------------------------------------------------------------------------------


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory for a unix socket, whose path may have some hundred bytes only."""
    with tempfile.TemporaryDirectory(prefix="sim-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.looptime(False)
async def test_runs_as_a_process_of_its_own(tmp_path: Path, short_directory: Path) -> None:
    """With a world from a description, for benchmarks."""
    world = tmp_path / "world.json"
    world.write_text(json.dumps({"images": 2, "containers": 5, "stale": 1}))
    socket = short_directory / "engine.sock"
    command = [sys.executable, "-m", "tests.support.engine_sim", str(socket), str(world)]
    async with await anyio.open_process(command, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(20):
                assert await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100) == b"ready"
            async with connect_engine(EngineAddress(url=f"unix://{socket}", source="test")) as client:
                assert len(await client.list_containers()) == 5
                assert len(await client.list_images()) == 2
        finally:
            process.terminate()
            await process.wait()
