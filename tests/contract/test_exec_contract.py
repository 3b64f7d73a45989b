"""What our client relies on when it runs commands inside containers holds for the real engine and the simulated one.

Each text for the shell is said twice: a real shell runs it, and `SCRIPTS` tells the simulation what it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.support.engine_lab import Lab, SimulatedLab, eventually
from tests.support.engine_sim import Command, Fault, SimulatedEngine, connected
from watchtower_async.engine.exec import OUTPUT_BYTES, ExecResult
from watchtower_async.errors import EngineConflictError, EngineUnavailableError, NoSuchObjectError

DEADLINE = 0.4
PATIENCE = 20.0

SPEAKS = "echo out; sleep 0.1; echo err >&2; exit 75"
TELLS = 'echo "$GREETING"; echo "$UID_IS"; id -u'
HANGS = "trap '' TERM; sleep 1471 & while :; do sleep 1472; done"
HIDES_BEHIND_SESSION = "echo begun; busybox setsid sleep 1473 & sleep 1474"
LEAVES_A_CHILD = "sleep 1475 & echo done"
CLOSES_ITS_OUTPUT = "echo x; exec >/dev/null 2>&1; sleep 0.3; exit 4"
WRITES_A_LOT = "echo first; busybox yes | busybox head -c 3000000; echo last"
SCRIPTS: Mapping[str, Command] = {
    SPEAKS: Command(75, ((1, "out\n"), (2, "err\n")), seconds=0.1),
    TELLS: Command(output=((1, "hello world\n\n1000\n"),)),
    HANGS: Command(seconds=math.inf),
    HIDES_BEHIND_SESSION: Command(output=((1, "begun\n"),), seconds=math.inf),
    LEAVES_A_CHILD: Command(output=((1, "done\n"),), keeps_output_open=True),
    CLOSES_ITS_OUTPUT: Command(4, ((1, "x\n"),), seconds=0.3),
    WRITES_A_LOT: Command(output=((1, "first\n" + "y\n" * 1_500_000 + "last\n"),)),
    "/bin/sleep 1476": Command(seconds=math.inf),
}


async def an_app(lab: Lab, *, has_shell: bool = True) -> str:
    """Start a container in which the scripts can be run; without a shell its search path leads nowhere."""
    fields: dict[str, Any] = {} if has_shell else {"Cmd": ["/bin/sleep", "1000"], "Env": ["PATH=/nowhere"]}
    container_id = await lab.run("app", "deaf", **fields)
    if isinstance(lab, SimulatedLab):
        container = lab.engine.containers[lab.name("app")]
        container.behaviour = replace(container.behaviour, commands=SCRIPTS, has_shell=has_shell)
    return container_id


async def run(
    lab: Lab,
    container_id: str,
    text: str,
    *,
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    deadline: float = PATIENCE,
) -> ExecResult:
    """Run a text for the shell."""
    return await lab.client.run_in_container(
        container_id, ("sh", "-c", text), user=user, env=env or {}, deadline=deadline
    )


async def sleepers(lab: Lab, container_id: str) -> list[str]:
    """Return what runs of the scripts."""
    if isinstance(lab, SimulatedLab):
        return lab.engine.execs.running()
    listing = "for f in /proc/[0-9]*/cmdline; do cat $f; echo; done"
    output = (await run(lab, container_id, listing)).output
    return [line.replace("\0", " ") for line in output.splitlines() if "sleep\x00147" in line]


# ---- what it tells -------------------------------------------------------------------------------------------------


async def test_output_and_exit_code_are_told(lab: Lab) -> None:
    """Both streams come without their frames, and the exit code is the command's."""
    result = await run(lab, await an_app(lab), SPEAKS)
    assert ExecResult(75, "out\nerr\n") == result


async def test_user_and_environment_are_given(lab: Lab) -> None:
    """The command runs as the user, and its environment holds what was given, blanks and all."""
    env = {"GREETING": "hello world", "UID_IS": ""}
    result = await run(lab, await an_app(lab), TELLS, user="1000:1000", env=env)
    assert ExecResult(0, "hello world\n\n1000\n") == result


async def test_command_without_a_shell_cannot_start(lab: Lab) -> None:
    """That is an exit code, and the output tells what was not found."""
    result = await run(lab, await an_app(lab, has_shell=False), SPEAKS)
    assert result.exit_code == (126 if lab.api < (1, 48) else 127)
    assert 'exec: "sh": executable file not found in $PATH' in result.output


async def test_end_is_noticed_though_a_child_keeps_the_output_open(lab: Lab) -> None:
    """What a command leaves behind on purpose does not hold anybody up."""
    container_id = await an_app(lab)
    with anyio.fail_after(4):
        assert ExecResult(0, "done\n") == await run(lab, container_id, LEAVES_A_CHILD)


async def test_end_is_waited_for_when_the_output_is_closed_early(lab: Lab) -> None:
    """The end of the output is not the end of the command."""
    assert ExecResult(4, "x\n") == await run(lab, await an_app(lab), CLOSES_ITS_OUTPUT)


async def test_long_output_keeps_its_beginning_and_its_end(lab: Lab) -> None:
    """The command is not held up by it, and we do not hold it all."""
    result = await run(lab, await an_app(lab), WRITES_A_LOT)
    assert result.exit_code == 0
    assert result.output.startswith("first\ny\n")
    assert result.output.endswith("y\nlast\n")
    assert 0 <= len(result.output) - OUTPUT_BYTES < 100
    assert f"{3_000_011 - OUTPUT_BYTES} bytes left out" in result.output


# ---- what is refused -----------------------------------------------------------------------------------------------


async def test_container_that_does_not_run_is_refused(lab: Lab) -> None:
    """Nothing can be run in it."""
    with pytest.raises(EngineConflictError, match="is not running"):
        await run(lab, await lab.create("app"), SPEAKS)


async def test_paused_container_is_refused(lab: Lab) -> None:
    """Nothing would go on in it."""
    container_id = await an_app(lab)
    await lab.client.pause_container(container_id)
    with pytest.raises(EngineConflictError, match="is paused"):
        await run(lab, container_id, SPEAKS)


async def test_container_that_is_not_there_is_refused(lab: Lab) -> None:
    """The error says so."""
    with pytest.raises(NoSuchObjectError, match="No such container"):
        await run(lab, lab.name("nobody"), SPEAKS)


# ---- time-outs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [HANGS, HIDES_BEHIND_SESSION])
async def test_command_that_hangs_is_ended(lab: Lab, text: str) -> None:
    """It and its children are gone, also those with a session of their own; what it wrote is kept."""
    container_id = await an_app(lab)
    result = await run(lab, container_id, text, deadline=DEADLINE)
    assert ExecResult(None, SCRIPTS[text].output[0][1] if SCRIPTS[text].output else "", timed_out=True) == result
    assert await sleepers(lab, container_id) == []
    assert (await lab.state(container_id))["Running"]


async def test_command_that_nobody_waits_for_is_ended(lab: Lab) -> None:
    """When the caller is cancelled, the command goes, too."""
    container_id = await an_app(lab)
    with anyio.move_on_after(DEADLINE):
        await run(lab, container_id, HANGS)
    assert await sleepers(lab, container_id) == []


async def test_other_commands_are_not_ended(lab: Lab) -> None:
    """Only the one whose time is up."""
    container_id = await an_app(lab)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: run(lab, container_id, HIDES_BEHIND_SESSION))
        await anyio.sleep(DEADLINE)
        before = await sleepers(lab, container_id)
        await run(lab, container_id, HANGS, deadline=DEADLINE)
        after = await sleepers(lab, container_id)
        group.cancel_scope.cancel()
    assert before
    assert before == after


async def test_without_a_shell_it_is_left_running(lab: Lab) -> None:
    """There is nothing to end it with; the caller gets its answer all the same, and is told."""
    container_id = await an_app(lab, has_shell=False)
    with anyio.fail_after(10):
        result = await lab.client.run_in_container(
            container_id, ("/bin/sleep", "1476"), user=None, env={}, deadline=DEADLINE
        )
    assert ExecResult(None, "", timed_out=True, left_running=True) == result


async def test_command_ends_with_its_container(lab: Lab) -> None:
    """Whoever waits for it is told soon."""
    container_id = await an_app(lab)
    results: list[ExecResult] = []

    async def hook() -> None:
        results.append(await run(lab, container_id, HANGS))

    async with anyio.create_task_group() as group:
        group.start_soon(hook)
        await anyio.sleep(DEADLINE)
        await lab.client.kill_container(container_id)
        with anyio.fail_after(5):
            expected: list[int | None] = [137]
            assert expected == await eventually(lambda: exit_codes(results), expected)


async def exit_codes(results: list[ExecResult]) -> list[int | None]:
    """Return the exit codes that are known by now."""
    return [result.exit_code for result in results]


# ---- an engine in trouble, simulated only --------------------------------------------------------------------------


@pytest.mark.looptime
async def test_engine_that_dies_in_the_middle_is_told() -> None:
    """It is the engine that failed, not the command, and nobody waits for the deadline."""
    engine = SimulatedEngine()
    async with connected(engine) as client:
        lab = SimulatedLab(client, engine)
        container_id = await an_app(lab)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: _dying(engine))
            with anyio.fail_after(2), pytest.raises(EngineUnavailableError, match="cannot be reached"):
                await run(lab, container_id, HANGS)
            group.cancel_scope.cancel()


async def _dying(engine: SimulatedEngine) -> None:
    await anyio.sleep(1)
    await engine.restart(seconds=60)


@pytest.mark.looptime
async def test_restarted_engine_does_not_know_the_command_any_more() -> None:
    """That is an error, too, and not a wait without end."""
    engine = SimulatedEngine(live_restore=True)
    async with connected(engine) as client:
        lab = SimulatedLab(client, engine)
        container_id = await an_app(lab)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: _restarting(engine))
            with anyio.fail_after(3), pytest.raises(NoSuchObjectError, match="No such exec"):
                await run(lab, container_id, HANGS)


async def _restarting(engine: SimulatedEngine) -> None:
    await anyio.sleep(1)
    await engine.restart()


@pytest.mark.looptime
async def test_engine_that_does_not_answer_costs_no_more_than_the_deadline() -> None:
    """The start hangs; the deadline holds."""
    engine = SimulatedEngine()
    async with connected(engine) as client:
        lab = SimulatedLab(client, engine)
        container_id = await an_app(lab)
        engine.fault = Fault(at=2, kind="hang")
        with anyio.fail_after(30 + 6):
            result = await run(lab, container_id, SPEAKS, deadline=30)
    assert [result.timed_out, result.left_running] == [True, True]


@pytest.mark.looptime
async def test_command_that_cannot_be_found_is_left_running() -> None:
    """A command may hide; then that is told."""
    engine = SimulatedEngine()
    async with connected(engine) as client:
        lab = SimulatedLab(client, engine)
        container_id = await an_app(lab)
        container = engine.containers[lab.name("app")]
        hides = {"hide": Command(seconds=math.inf, cannot_be_ended=True)}
        container.behaviour = replace(container.behaviour, commands=hides)
        result = await run(lab, container_id, "hide", deadline=1)
        assert ExecResult(None, "", timed_out=True, left_running=True) == result
        assert engine.execs.running() == ["hide"]
