"""Hooks run in the containers of the simulated engine, under virtual time."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from tests.support.engine_sim import Behaviour, Command, Fault, SimulatedEngine, connected
from tests.support.engine_sim.faults import FaultKind
from watchtower_async.engine.client import EXEC_END_SECONDS, Engine
from watchtower_async.engine.inventory import ContainerSummary, take_inventory
from watchtower_async.rollout.hook_plan import Failed, Go, HookEnd, HookKind, HookResult, Skip
from watchtower_async.rollout.hooks import HookRunner

pytestmark = pytest.mark.looptime

PREFIX = "com.centurylinklabs.watchtower"
LIFECYCLE = f"{PREFIX}.lifecycle"
IMAGE = "registry.example/app:1"
COMMANDS: Mapping[str, Command] = {
    "fine": Command(output=((1, "saved\n"), (2, "a warning\n")), seconds=3),
    "later": Command(75, ((1, "busy\n"),)),
    "broken": Command(2, ((2, "no space\n"),)),
    "hang": Command(output=((1, "begun\n"),), seconds=math.inf),
    "hide": Command(seconds=math.inf, cannot_be_ended=True),
}


@dataclass(frozen=True)
class Town:
    """An engine with one container."""

    engine: SimulatedEngine
    client: Engine

    def runner(self, *, enabled: bool = True, uid: int = 0, gid: int = 0) -> HookRunner:
        """Return the thing under test."""
        return HookRunner(engine=self.client, enabled=enabled, uid=uid, gid=gid)

    async def listed(self, name: str = "web") -> ContainerSummary:
        """Return a container as the inventory lists it now."""
        found = await take_inventory(self.client)
        return next(item for item in found.containers if item.name == name)

    async def replace(self, labels: Mapping[str, str], commands: Mapping[str, Command]) -> None:
        """Let another container take the name."""
        await self.client.remove_container("web", force=True)
        await self.engine.run("web", IMAGE, behaviour=Behaviour(commands=commands), Labels=dict(labels))


@asynccontextmanager
async def a_town(
    labels: Mapping[str, str], *, running: bool = True, has_shell: bool = True, config: Mapping[str, str] | None = None
) -> AsyncIterator[Town]:
    """Serve an engine on which `web` has these labels; a label after `lifecycle.` may go without its prefix."""
    complete = {name if "." in name else f"{LIFECYCLE}.{name}": text for name, text in labels.items()}
    engine = SimulatedEngine()
    engine.add_image(IMAGE)
    behaviour = Behaviour(commands=COMMANDS, has_shell=has_shell)
    await engine.run("web", IMAGE, running=running, behaviour=behaviour, Labels=complete, **(config or {}))
    async with connected(engine) as client:
        yield Town(engine, client)


def a_result(
    kind: HookKind, end: HookEnd, reason: str, command: str, *, exit_code: int | None, output: str
) -> HookResult:
    """Return a result of the container `web`."""
    return HookResult(kind, "web", end, f"its {kind} hook {reason}", command, exit_code, output)


# ---- before the update ---------------------------------------------------------------------------------------------


async def test_success_lets_the_update_go_on() -> None:
    """Its whole output is in the result, from both streams, and the time that it took."""
    async with a_town({"pre-update": "fine"}) as town:
        cleared = await town.runner().before_update(await town.listed())
    expected = a_result(
        HookKind.PRE_UPDATE, HookEnd.SUCCEEDED, "succeeded", "fine", exit_code=0, output="saved\na warning\n"
    )
    assert cleared == Go(expected)
    assert cleared.result is not None
    assert 3 <= cleared.result.duration < 4.5


async def test_exit_code_75_asks_for_another_time() -> None:
    """The container is not updated, which is no failure."""
    async with a_town({"pre-update": "later"}) as town:
        cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Skip)
    assert cleared.reason == "its pre-update hook asks for another time (exit code 75, EX_TEMPFAIL)"
    assert cleared.result.output == "busy\n"


@pytest.mark.parametrize(("command", "code"), [("broken", 2), ("nobody-knows", 127)])
async def test_any_other_exit_code_holds_the_update(command: str, code: int) -> None:
    """Also where only the command is missing."""
    async with a_town({"pre-update": command}) as town:
        cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Failed)
    assert cleared.reason == f"its pre-update hook failed with exit code {code}"
    assert cleared.result.exit_code == code


@pytest.mark.parametrize(("labels", "seconds"), [({}, 60), ({"pre-update-timeout": "3"}, 180)])
async def test_hook_that_hangs_is_ended_at_its_time_out(labels: dict[str, str], seconds: int) -> None:
    """The update is held, the container runs on without the hook, and what it wrote is there."""
    async with a_town({"pre-update": "hang", **labels}) as town:
        began = anyio.current_time()
        cleared = await town.runner().before_update(await town.listed())
        took = anyio.current_time() - began
        assert town.engine.execs.running() == []
        assert town.engine.running_names() == ["web"]
    assert isinstance(cleared, Failed)
    assert cleared.reason == f"its pre-update hook took longer than {seconds} s and was ended"
    assert cleared.result.output == "begun\n"
    assert seconds <= took < seconds + 1


async def test_hook_that_cannot_be_ended_costs_no_more_than_its_time() -> None:
    """It is told that it may still run."""
    async with a_town({"pre-update": "hide"}) as town:
        with anyio.fail_after(60 + EXEC_END_SECONDS + 1):
            cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Failed)
    assert "could not be ended: it may still run" in cleared.reason


async def test_image_without_a_shell_holds_the_update() -> None:
    """The reason names the label to remove."""
    async with a_town({"pre-update": "fine"}, has_shell=False) as town:
        cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Failed)
    assert f"no shell; remove the label {LIFECYCLE}.pre-update" in cleared.reason


async def test_container_that_does_not_run_has_nobody_to_ask() -> None:
    """Its update goes on, and the result says that the hook was not run."""
    async with a_town({"pre-update": "broken"}, running=False) as town:
        cleared = await town.runner().before_update(await town.listed())
        assert town.engine.execs.ran == []
    assert isinstance(cleared, Go)
    assert cleared.result is not None
    assert cleared.result.end is HookEnd.NOT_RUN
    assert cleared.result.reason == "its pre-update hook was not run, as the container is created"


async def test_paused_container_holds_its_update() -> None:
    """Its hook cannot be run; the engine's words say why."""
    async with a_town({"pre-update": "fine"}) as town:
        await town.client.pause_container("web")
        cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Failed)
    assert "is paused, unpause the container" in cleared.reason


async def test_hook_that_ends_its_container_holds_the_update() -> None:
    """It does not hang; the exit code is that of a kill."""
    async with a_town({"pre-update": "hang"}) as town, anyio.create_task_group() as group:
        group.start_soon(_crash_soon, town.engine)
        cleared = await town.runner().before_update(await town.listed())
    assert isinstance(cleared, Failed)
    assert cleared.reason == "its pre-update hook failed with exit code 137"


async def _crash_soon(engine: SimulatedEngine) -> None:
    await anyio.sleep(1)
    engine.crash("web")


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("kind", ["fail", "lost"])
async def test_engine_in_trouble_holds_the_update(at: int, kind: FaultKind) -> None:
    """Whatever the engine answers is a result, never an exception."""
    async with a_town({"pre-update": "fine"}) as town:
        container = await town.listed()
        town.engine.fault = Fault(at=at, kind=kind)
        cleared = await town.runner().before_update(container)
    assert isinstance(cleared, Failed)
    assert cleared.reason.startswith("its pre-update hook could not be run: ")


async def test_engine_that_dies_holds_the_update() -> None:
    """The caller learns it at once, and goes on with what it knows."""
    async with a_town({"pre-update": "hang"}) as town, anyio.create_task_group() as group:
        container = await town.listed()
        group.start_soon(_die_soon, town.engine)
        with anyio.fail_after(3):
            cleared = await town.runner().before_update(container)
        group.cancel_scope.cancel()
    assert isinstance(cleared, Failed)
    assert "cannot be reached" in cleared.reason


async def _die_soon(engine: SimulatedEngine) -> None:
    await anyio.sleep(1)
    await engine.restart(seconds=1000)


async def test_container_that_is_gone_holds_its_update() -> None:
    """There is nothing to update any more, and somebody removed it."""
    async with a_town({"pre-update": "fine"}) as town:
        container = await town.listed()
        await town.client.remove_container("web", force=True)
        cleared = await town.runner().before_update(container)
    assert isinstance(cleared, Failed)
    assert "No such container" in cleared.reason


async def test_one_hook_that_hangs_does_not_hold_up_another() -> None:
    """Hooks of several containers run at the same time."""
    async with a_town({"pre-update": "hang"}) as town:
        behaviour = Behaviour(commands=COMMANDS)
        await town.engine.run("db", IMAGE, behaviour=behaviour, Labels={f"{LIFECYCLE}.pre-update": "fine"})
        web, db = await town.listed("web"), await town.listed("db")
        runner = town.runner()
        async with anyio.create_task_group() as group:
            group.start_soon(runner.before_update, web)
            with anyio.fail_after(5):
                assert isinstance(await runner.before_update(db), Go)
            group.cancel_scope.cancel()
        assert town.engine.execs.running() == []


# ---- what a hook is given ------------------------------------------------------------------------------------------


async def test_hook_is_told_about_its_container() -> None:
    """In the environment, as Watchtower does it."""
    async with a_town({"pre-update": "fine"}, config={"StopSignal": "SIGQUIT"}) as town:
        container = await town.listed()
        await town.runner().before_update(container)
        (ran,) = town.engine.execs.ran
    assert json.loads(ran.env["WT_CONTAINER"]) == {
        "name": "web",
        "id": container.id,
        "image_name": IMAGE,
        "stop_signal": "SIGQUIT",
        "labels": {f"{LIFECYCLE}.pre-update": "fine"},
    }


async def test_user_of_the_flags_is_used_unless_a_label_says_otherwise() -> None:
    """Without either it is the container's own."""
    async with a_town({"pre-check": "fine", "gid": "7"}) as town:
        container = await town.listed()
        await town.runner(uid=1000, gid=1000).before_check(container)
        await town.runner().before_check(container)
        assert [ran.user for ran in town.engine.execs.ran] == ["1000:7", ":7"]


async def test_label_that_cannot_be_used_is_told() -> None:
    """The hook runs all the same."""
    async with a_town({"pre-check": "fine", "uid": "root"}) as town:
        result = await town.runner().before_check(await town.listed())
    assert result is not None
    assert result.end is HookEnd.SUCCEEDED
    assert [f"label {LIFECYCLE}.uid='root' is not usable: expected a number from 0 to 2147483647; it is left out"] == (
        list(result.problems)
    )


# ---- the other kinds -----------------------------------------------------------------------------------------------


async def run_kind(town: Town, kind: HookKind) -> HookResult | None:
    """Run a hook that decides nothing."""
    runner, container = town.runner(), await town.listed()
    methods = {
        HookKind.PRE_CHECK: runner.before_check,
        HookKind.DRAIN: runner.before_stop,
        HookKind.POST_UPDATE: runner.after_update,
        HookKind.POST_CHECK: runner.after_check,
    }
    return await methods[kind](container)


OTHERS = [HookKind.PRE_CHECK, HookKind.DRAIN, HookKind.POST_UPDATE, HookKind.POST_CHECK]


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize(
    ("command", "end"), [("fine", HookEnd.SUCCEEDED), ("later", HookEnd.FAILED), ("hang", HookEnd.TIMED_OUT)]
)
async def test_other_kinds_tell_how_they_ended(kind: HookKind, command: str, end: HookEnd) -> None:
    """A failure is a result with the output, and the container runs on."""
    async with a_town({kind.label: command}) as town:
        with anyio.fail_after(62):
            result = await run_kind(town, kind)
        assert town.engine.running_names() == ["web"]
        assert town.engine.execs.running() == []
    assert result is not None
    assert [kind, "web", end, command] == [result.kind, result.container, result.end, result.command]
    assert COMMANDS[command].output[0][1] in result.output


@pytest.mark.parametrize("kind", OTHERS)
async def test_kinds_do_not_take_each_other_for_their_own(kind: HookKind) -> None:
    """Only the hook of this moment runs."""
    labels = {other.label: "broken" for other in [*OTHERS, HookKind.PRE_UPDATE] if other is not kind}
    async with a_town(labels) as town:
        assert await run_kind(town, kind) is None
        assert town.engine.execs.ran == []


async def test_drain_has_its_own_time_out() -> None:
    """A duration."""
    async with a_town({"watchtower-async.drain": "hang", "watchtower-async.drain-timeout": "90s"}) as town:
        result = await run_kind(town, HookKind.DRAIN)
    assert result is not None
    assert result.reason == "its drain hook took longer than 90 s and was ended"


async def test_drain_runs_in_the_predecessor_under_whatever_name() -> None:
    """It has given its name away by then; the hook is told the container's own."""
    async with a_town({"watchtower-async.drain": "fine"}) as town:
        container = await town.listed()
        await town.client.rename_container("web", "web.old")
        await town.engine.run("web", IMAGE)
        await town.runner().before_stop(container)
        (ran,) = town.engine.execs.ran
    assert [container.id, "web"] == [ran.container_id, json.loads(ran.env["WT_CONTAINER"])["name"]]


@pytest.mark.parametrize("kind", [HookKind.POST_UPDATE, HookKind.POST_CHECK])
async def test_hooks_after_the_update_run_in_the_successor(kind: HookKind) -> None:
    """By its name, as the predecessor is gone."""
    async with a_town({kind.label: "fine"}) as town:
        before = await town.listed()
        await town.replace({kind.label: "fine"}, COMMANDS)
        runner = town.runner()
        result = await (runner.after_update if kind is HookKind.POST_UPDATE else runner.after_check)(before)
        after = await town.listed()
        assert [after.id] == [ran.container_id for ran in town.engine.execs.ran]
    assert result is not None
    assert result.end is HookEnd.SUCCEEDED


async def test_new_label_of_the_successor_counts_after_the_update() -> None:
    """A new image may bring its own hook, and drop the old one."""
    async with a_town({"post-update": "broken"}) as town:
        before = await town.listed()
        await town.replace({f"{LIFECYCLE}.post-update": "fine"}, COMMANDS)
        result = await town.runner().after_update(before)
        assert result is not None
        assert result.command == "fine"
        await town.replace({}, COMMANDS)
        assert await town.runner().after_update(before) is None


# ---- what it costs -------------------------------------------------------------------------------------------------


async def test_hooks_run_only_when_they_are_enabled() -> None:
    """Without the flag a label starts nothing and no call is made."""
    labels = {kind.label: "broken" for kind in HookKind}
    async with a_town(labels) as town:
        container = await town.listed()
        before = town.client.calls.total()
        runner = town.runner(enabled=False)
        results = [
            await runner.before_check(container),
            await runner.before_update(container),
            await runner.before_stop(container),
            await runner.after_update(container),
            await runner.after_check(container),
        ]
        assert [None, Go(), None, None, None] == results
        assert before == town.client.calls.total()


async def test_containers_without_hooks_cost_no_call() -> None:
    """But for the one after an update, as the new image may have brought a hook."""
    async with a_town({}) as town:
        container = await town.listed()
        before = town.client.calls.total()
        runner = town.runner()
        await runner.before_check(container)
        await runner.before_update(container)
        await runner.before_stop(container)
        await runner.after_check(container)
        assert before == town.client.calls.total()
        await runner.after_update(container)
        assert before + 1 == town.client.calls.total()
