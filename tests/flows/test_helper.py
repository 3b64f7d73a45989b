"""Credential helpers as they are in the wild: real processes that are slow, noisy, broken, missing or many."""

import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.scripted_helpers import (
    SEARCH,
    ManualClock,
    ScriptedHelpers,
    answer,
    end,
    ends_soon,
    has_ended,
    not_found,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.helper_process import LARGEST_OUTPUT, find_program
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
)
from watchtower_async.errors import CredentialError

SECRET = "hunter2-marker"
QUESTION = HelperQuestion("box", "ghcr.io")
FOUND = HelperFound(Credential("me", SECRET, source="docker-credential-box"))
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def helpers(tmp_path: Path) -> ScriptedHelpers:
    """A place for helpers, empty."""
    return ScriptedHelpers(tmp_path)


async def ask_once(
    helpers: ScriptedHelpers, script: str | None = None, *, seconds: float = 20.0, question: HelperQuestion = QUESTION
) -> HelperReply:
    """Return the reply of a helper that does what the script says."""
    if script is not None:
        helpers.install(question.suffix, script)
    async with HelperRunner(environ=helpers.environ, seconds=seconds) as runner:
        return await runner.ask(question)


async def reason(helpers: ScriptedHelpers, script: str | None = None, *, seconds: float = 20.0) -> str:
    """Return why such a helper fails."""
    reply = await ask_once(helpers, script, seconds=seconds)
    assert isinstance(reply, HelperFailed)
    assert SECRET not in reply.reason
    return reply.reason


async def appears(condition: Callable[[], object]) -> None:
    """Wait until a script has got so far."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a script sets no event
            await anyio.sleep(0.01)


async def ask_all(runner: HelperRunner, questions: list[HelperQuestion]) -> list[HelperReply]:
    """Ask everything at the same time."""
    replies: list[HelperReply] = []

    async def ask(question: HelperQuestion) -> None:
        replies.append(await runner.ask(question))

    async with anyio.create_task_group() as group:
        for question in questions:
            group.start_soon(ask, question)
    return replies


# ---- how a helper is called ----


async def test_helper_reads_the_server_and_gives_the_credential(helpers: ScriptedHelpers) -> None:
    """It gets the word `get`, exactly the server on standard input, and then the end of it."""
    script = f'printf "%s" "$*" >"$DIR/arguments"; cat >"$DIR/input"; {answer()}'
    hub = HelperQuestion("box", "https://index.docker.io/v1/")
    assert await ask_once(helpers, script, question=hub) == FOUND
    assert helpers.left("arguments") == "get"
    assert helpers.left("input") == "https://index.docker.io/v1/"


async def test_input_can_be_opened_by_its_name(helpers: ScriptedHelpers) -> None:
    """Scripts do that, and it works with a pipe only."""
    assert await ask_once(helpers, f'cat /dev/stdin >"$DIR/input"; {answer()}') == FOUND
    assert helpers.left("input") == "ghcr.io"


async def test_helper_that_does_not_read_is_no_trouble(helpers: ScriptedHelpers) -> None:
    """Some serve one registry only; a closed pipe must not hurt."""
    assert await ask_once(helpers, f"exec <&-; {answer()}") == FOUND


async def test_helper_runs_in_the_root_in_a_session_of_its_own(helpers: ScriptedHelpers) -> None:
    """It keeps no directory busy, and can be ended with all its children."""
    script = f"""pwd >"$DIR/pwd"; cut -d' ' -f6 "/proc/$$/stat" >"$DIR/session"; echo $$ >"$DIR/pid"; {answer()}"""
    assert await ask_once(helpers, script) == FOUND
    assert helpers.left("pwd") == "/\n"
    assert helpers.left("session") == helpers.left("pid")


async def test_helper_gets_the_environment_without_our_secrets(helpers: ScriptedHelpers) -> None:
    """Helpers find their own configuration there."""
    helpers.environ.update(GNUPGHOME="/keys", AWS_PROFILE="work", REPO_PASS=SECRET, WATCHTOWER_HTTP_API_TOKEN=SECRET)
    assert await ask_once(helpers, f'env >"$DIR/env"; {answer()}') == FOUND
    environment = helpers.left("env")
    assert "GNUPGHOME=/keys" in environment
    assert "AWS_PROFILE=work" in environment
    assert SECRET not in environment


async def test_helper_holds_no_file_of_ours(helpers: ScriptedHelpers) -> None:
    """Sockets to the engine and registries are nobody else's business."""
    with (helpers.directory / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        assert await ask_once(helpers, f'ls -l "/proc/$$/fd" >"$DIR/fds"; {answer()}') == FOUND
    assert "/ours" not in helpers.left("fds")


async def test_forbidden_name_runs_nothing(helpers: ScriptedHelpers) -> None:
    """A question with a problem is answered with it."""
    helpers.install("box", answer())
    question = HelperQuestion("box", "ghcr.io", "the name is not allowed")
    assert await ask_once(helpers, question=question) == HelperFailed("the name is not allowed")
    assert helpers.runs("box") == 0


# ---- what it answers ----


async def test_not_found_is_a_reply(helpers: ScriptedHelpers) -> None:
    """The helper works and has nothing."""
    assert await ask_once(helpers, not_found()) == HelperNotFound()


async def test_not_found_on_standard_error_is_a_failure(helpers: ScriptedHelpers) -> None:
    """Standard error is for people and means nothing."""
    assert "exit status 1" in await reason(helpers, "echo credentials not found in native keychain >&2; exit 1")


async def test_failure_with_a_complete_answer_is_a_failure(helpers: ScriptedHelpers) -> None:
    """The exit status counts."""
    assert "exit status 3" in await reason(helpers, f"{answer()}; exit 3")


async def test_success_with_text_is_a_failure(helpers: ScriptedHelpers) -> None:
    """Some other program, perhaps."""
    assert "not with a JSON object" in await reason(helpers, f"echo {SECRET} is my password")


async def test_helper_that_is_killed_names_the_signal(helpers: ScriptedHelpers) -> None:
    """The system may have been short of memory."""
    assert "was ended by SIGKILL" in await reason(helpers, f"{answer()}; kill -9 $$")


@pytest.mark.parametrize(("padding", "is_found"), [(0, True), (1, False)])
async def test_output_is_read_up_to_the_limit(helpers: ScriptedHelpers, padding: int, is_found: bool) -> None:
    """One MiB and not a byte more."""
    script = f"""{answer()}; head -c {LARGEST_OUTPUT - 43 + padding} /dev/zero"""
    reply = await ask_once(helpers, script)
    assert is_found == (reply == FOUND)
    assert is_found or "wrote more than 1 MiB" in str(reply)


async def test_endless_output_is_stopped_at_once(helpers: ScriptedHelpers) -> None:
    """It must not fill the memory until the time is over."""
    began = time.monotonic()
    assert "wrote more than 1 MiB" in await reason(helpers, 'echo $$ >"$DIR/pid"; yes', seconds=60)
    assert time.monotonic() - began < 30
    assert has_ended(int(helpers.left("pid")))


async def test_noise_on_standard_error_does_not_block_the_answer(helpers: ScriptedHelpers) -> None:
    """More than a pipe holds, and only the first 4 KiB are kept."""
    assert await ask_once(helpers, f"head -c 3000000 /dev/zero >&2; {answer()}") == FOUND


# ---- helpers that cannot be run ----


async def test_missing_helper_is_named_with_the_remedy(helpers: ScriptedHelpers) -> None:
    """Nothing is installed."""
    text = await reason(helpers)
    assert "docker-credential-box, which keeps the credential for ghcr.io, is not in any directory of PATH" in text


async def test_helper_of_a_desktop_has_its_own_sentence(helpers: ScriptedHelpers) -> None:
    """The most frequent cause of failure in containers."""
    reply = await ask_once(helpers, question=HelperQuestion("desktop", "ghcr.io"))
    assert isinstance(reply, HelperFailed)
    assert "copied from a desktop machine" in reply.reason


async def test_helper_without_permission_says_so(helpers: ScriptedHelpers) -> None:
    """The remedy names the file."""
    path = helpers.install_file("box", b"#!/bin/sh\n", mode=0o644)
    assert f"is not executable: chmod +x {path}" in await reason(helpers)


async def test_helper_for_another_machine_says_so(helpers: ScriptedHelpers) -> None:
    """Its beginning is that of a program, and its machine is none."""
    path = helpers.install_file("box", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xfe\xfe" + bytes(100))
    text = await reason(helpers)
    assert f"{path} is not made for this machine ({platform.machine()})" in text


async def test_helper_without_its_interpreter_says_so(helpers: ScriptedHelpers) -> None:
    """The system says that the file does not exist, though it does."""
    path = helpers.install_file("box", b"#!/nowhere/python3\n")
    text = await reason(helpers)
    assert str(path) in text
    assert "the interpreter that its first line names" in text


async def test_other_refusal_of_the_system_is_told(helpers: ScriptedHelpers) -> None:
    """Whatever else can happen at the start, its reason is passed on."""
    helpers.environ["BALLAST"] = "x" * 3_000_000
    helpers.install("box", answer())
    assert "cannot be started" in await reason(helpers)


async def test_helper_that_appears_later_is_found(helpers: ScriptedHelpers) -> None:
    """It may be mounted or installed while we run; failures are kept for ten seconds."""
    clock = ManualClock()
    async with HelperRunner(environ=helpers.environ, clock=clock) as runner:
        assert isinstance(await runner.ask(QUESTION), HelperFailed)
        helpers.install("box", answer())
        clock.now = 9.9
        assert isinstance(await runner.ask(QUESTION), HelperFailed)
        clock.now = 10.0
        assert await runner.ask(QUESTION) == FOUND


def test_only_absolute_directories_are_searched(tmp_path: Path) -> None:
    """A name without a directory must not run what lies in the working directory."""
    places = [tmp_path / name for name in ("relative", "directory", "plain", "good")]
    for place in places:
        place.mkdir()
        (place / "program").write_bytes(b"")
        (place / "program").chmod(0o755)
    relative, directory, plain, good = places
    (directory / "program").unlink()
    (directory / "program").mkdir()
    (plain / "program").chmod(0o644)
    nowhere = f"{tmp_path / 'missing'}:/dev/null:/{'x' * 300}:/\0"
    search = f"{os.path.relpath(relative)}::.:{nowhere}:{directory}:{plain}:{good}"
    assert good / "program" == find_program("program", search)
    assert plain / "program" == find_program("program", f"{directory}:{plain}")
    assert find_program("program", os.path.relpath(relative)) is None
    assert find_program("program", "") is None


async def test_unset_search_path_is_that_of_the_system(helpers: ScriptedHelpers) -> None:
    """Then programs are where they always are."""
    del helpers.environ["PATH"]
    assert "is not in any directory of PATH" in await reason(helpers)


# ---- helpers that take their time ----


async def test_slow_helper_is_ended_with_its_child(helpers: ScriptedHelpers) -> None:
    """The child does the work and keeps the pipe."""
    script = 'sleep 1000 & echo $! >"$DIR/child"; echo $$ >"$DIR/pid"; wait'
    began = time.monotonic()
    assert "did not answer within 0.5 seconds and was ended" in await reason(helpers, script, seconds=0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert has_ended(int(helpers.left("pid")))
    assert ends_soon(int(helpers.left("child")))


async def test_child_that_keeps_the_pipe_is_ended_after_its_parent(helpers: ScriptedHelpers) -> None:
    """The answer may not be complete while somebody can still write."""
    script = f'sleep 1000 & echo $! >"$DIR/child"; {answer()}; exit 0'
    assert "did not answer within 0.5 seconds" in await reason(helpers, script, seconds=0.5)
    assert ends_soon(int(helpers.left("child")))


async def test_child_that_left_the_session_cannot_hold_us(helpers: ScriptedHelpers) -> None:
    """It keeps the pipe, and nobody may end it; the time limit holds all the same."""
    script = f"""setsid sh -c 'echo $$ >"$DIR/child"; exec sleep 1000' & {answer()}"""
    began = time.monotonic()
    try:
        assert "did not answer within 0.5 seconds" in await reason(helpers, script, seconds=0.5)
        assert time.monotonic() - began < 5
    finally:
        end(int(helpers.left("child")))


async def test_agent_that_keeps_only_standard_error_is_left_alone(helpers: ScriptedHelpers) -> None:
    """The answer is complete, and what a helper starts for later use is its own business."""
    script = f'sleep 1000 >/dev/null </dev/null & echo $! >"$DIR/child"; {answer()}'
    began = time.monotonic()
    assert await ask_once(helpers, script) == FOUND
    assert time.monotonic() - began < 5
    child = int(helpers.left("child"))
    assert not has_ended(child)
    end(child)


async def test_helper_that_ignores_signals_is_ended(helpers: ScriptedHelpers) -> None:
    """The one signal that nobody can ignore is used."""
    script = 'trap "" HUP INT TERM; echo $$ >"$DIR/pid"; while :; do sleep 0.05; done'
    assert "did not answer" in await reason(helpers, script, seconds=0.5)
    assert has_ended(int(helpers.left("pid")))


# ---- many at once ----


async def test_thousand_askers_share_one_process(helpers: ScriptedHelpers) -> None:
    """A scan asks for all its images at the same time."""
    helpers.install("box", f"sleep 0.2; {answer()}")
    async with HelperRunner(environ=helpers.environ) as runner:
        replies = await ask_all(runner, [QUESTION] * 1000)
    assert replies == [FOUND] * 1000
    assert helpers.runs("box") == 1


async def test_each_server_is_asked_for_and_four_run_at_once(helpers: ScriptedHelpers) -> None:
    """The default helper may be asked for many registries."""
    script = f'echo + >>"$DIR/steps"; sleep 0.2; echo - >>"$DIR/steps"; read -r server; {answer()}'
    helpers.install("box", script)
    async with HelperRunner(environ=helpers.environ) as runner:
        await ask_all(runner, [HelperQuestion("box", f"registry-{number}.example") for number in range(10)])
    assert helpers.runs("box") == 10
    busy = most = 0
    for step in helpers.left("steps").split():
        busy += 1 if step == "+" else -1
        most = max(most, busy)
    assert most == 4


async def test_failure_is_shared_like_an_answer(helpers: ScriptedHelpers) -> None:
    """A locked keyring is not asked a thousand times."""
    helpers.install("box", "sleep 0.1; exit 2")
    async with HelperRunner(environ=helpers.environ) as runner:
        replies = await ask_all(runner, [QUESTION] * 20)
    assert len(replies) == 20
    assert len(set(map(str, replies))) == 1
    assert helpers.runs("box") == 1


async def test_cancelled_asker_does_not_disturb_the_others(helpers: ScriptedHelpers) -> None:
    """The first one leaves, and the run goes on."""
    helpers.install("box", f"sleep 0.3; {answer()}")
    replies: list[HelperReply] = []

    async def ask() -> None:
        replies.append(await runner.ask(QUESTION))

    async with HelperRunner(environ=helpers.environ) as runner, anyio.create_task_group() as group:
        with anyio.CancelScope() as leaving:
            async with anyio.create_task_group() as first:
                first.start_soon(runner.ask, QUESTION)
                await appears(lambda: helpers.runs("box"))
                group.start_soon(ask)
                await anyio.sleep(0.05)
                leaving.cancel()
    assert replies == [FOUND]
    assert helpers.runs("box") == 1


async def test_helper_is_ended_when_the_last_asker_leaves(helpers: ScriptedHelpers) -> None:
    """With its children, and the next asker starts afresh."""
    helpers.install("box", 'sleep 1000 & echo $! >"$DIR/child"; wait')
    async with HelperRunner(environ=helpers.environ) as runner:
        async with anyio.create_task_group() as askers:
            for _ in range(3):
                askers.start_soon(runner.ask, QUESTION)
            await appears(lambda: helpers.left("child"))
            askers.cancel_scope.cancel()
        helpers.install("box", answer())
        assert await runner.ask(QUESTION) == FOUND
    assert ends_soon(int(helpers.left("child")))


async def test_asker_that_leaves_before_the_start_starts_nothing(helpers: ScriptedHelpers) -> None:
    """Its turn never comes."""
    helpers.install("box", answer())
    async with HelperRunner(environ=helpers.environ) as runner:
        with anyio.move_on_after(0):
            await runner.ask(QUESTION)
        await anyio.sleep(0.1)
    assert helpers.runs("box") == 0


# ---- the end ----


async def test_end_of_the_runner_ends_its_helpers(helpers: ScriptedHelpers) -> None:
    """No process stays, and nobody waits for ever."""
    helpers.install("box", 'sleep 1000 & echo $! >"$DIR/child"; wait')
    replies: list[HelperReply] = []

    async def ask() -> None:
        replies.append(await runner.ask(QUESTION))

    async with anyio.create_task_group() as group, HelperRunner(environ=helpers.environ) as runner:
        group.start_soon(ask)
        await appears(lambda: helpers.left("child"))
    assert [str(getattr(r, "reason", r)) for r in replies] == ["docker-credential-box was ended, as the updater stops"]
    assert ends_soon(int(helpers.left("child")))


async def test_error_in_the_body_comes_out_as_it_is(helpers: ScriptedHelpers) -> None:
    """Whoever uses the runner handles his own errors, not groups of them."""
    helpers.install("box", 'echo $$ >"$DIR/pid"; exec sleep 1000')

    async def fail() -> None:
        async with HelperRunner(environ=helpers.environ) as runner:
            group.start_soon(runner.ask, QUESTION)
            await appears(lambda: helpers.left("pid"))
            raise CredentialError("as it is")

    async with anyio.create_task_group() as group:
        with pytest.raises(CredentialError, match="as it is"):
            await fail()
    assert has_ended(int(helpers.left("pid")))


async def each_kind(helpers: ScriptedHelpers) -> None:
    """Let helpers end in every way."""
    kinds = [
        answer(), not_found(), "exit 2", "kill -9 $$", "yes", "sleep 1000 & wait", f"sleep 1000 & {answer()}",
        "head -c 100000 /dev/zero >&2; exec <&-; sleep 1000",
    ]  # fmt: skip
    for number, script in enumerate(kinds):
        helpers.install(f"box{number}", script)
    helpers.install_file("bad", b"\x7fELF")
    suffixes = ["bad", "missing", *(f"box{number}" for number in range(len(kinds)))]
    async with HelperRunner(environ=helpers.environ, seconds=0.3) as runner:
        await ask_all(runner, [HelperQuestion(suffix, "ghcr.io") for suffix in suffixes])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> list[str]:
    tasks = Path("/proc/self/task")
    return [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


async def test_no_process_and_no_file_is_left(helpers: ScriptedHelpers) -> None:
    """However helpers end, and also when what they started becomes ours, as in a container without an init."""
    await ask_once(helpers, answer())  # what the event loop opens once is not counted
    libc = ctypes.CDLL(None)
    files, processes = open_files(), children()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        await each_kind(helpers)
        await anyio.sleep(0.05)
        assert processes == children()
        assert files == open_files()
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# ---- how long answers are kept ----


@pytest.mark.parametrize(("script", "seconds"), [(answer(), 300.0), (not_found(), 60.0), ("exit 1", 10.0)])
async def test_replies_are_kept_for_their_time(helpers: ScriptedHelpers, script: str, seconds: float) -> None:
    """Five minutes, one, and ten seconds, counted from the reply."""
    helpers.install("box", script)
    clock = ManualClock(1000.0)
    async with HelperRunner(environ=helpers.environ, clock=clock) as runner:
        first = await runner.ask(QUESTION)
        clock.now += seconds - 0.001
        assert await runner.ask(QUESTION) is first
        assert helpers.runs("box") == 1
        clock.now += 0.001
        await runner.ask(QUESTION)
        assert helpers.runs("box") == 2


async def test_old_replies_do_not_pile_up(helpers: ScriptedHelpers) -> None:
    """Registries come and go, and the updater runs for years."""
    helpers.install("box", answer())
    clock = ManualClock()
    async with HelperRunner(environ=helpers.environ, clock=clock) as runner:
        for number in range(3):
            await runner.ask(HelperQuestion("box", f"registry-{number}.example"))
            clock.now += 200
        assert len(runner) == 2


async def test_forgotten_answer_is_asked_for_again(helpers: ScriptedHelpers) -> None:
    """Only that of the servers that a change concerns."""
    helpers.install("box", answer())
    other = HelperQuestion("box", "quay.io")
    async with HelperRunner(environ=helpers.environ) as runner:
        await ask_all(runner, [QUESTION, other])
        runner.forget(lambda server: server == "ghcr.io")
        await runner.ask(other)
        assert helpers.runs("box") == 2
        await runner.ask(QUESTION)
        assert helpers.runs("box") == 3


async def test_answer_that_began_before_it_was_forgotten_is_not_kept(helpers: ScriptedHelpers) -> None:
    """Who waits for it gets it; who comes later gets a new one at once."""
    helpers.install("box", f'test -e "$DIR/old" || {{ : >"$DIR/old"; sleep 0.4; {answer("old")}; exit; }}; {answer()}')
    early: list[HelperReply] = []

    async def ask() -> None:
        early.append(await runner.ask(QUESTION))

    async with HelperRunner(environ=helpers.environ) as runner:
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await appears((helpers.directory / "old").exists)
            runner.forget(lambda _: True)
            assert await runner.ask(QUESTION) == FOUND
            assert not early
        assert [HelperFound(Credential("old", SECRET, source="docker-credential-box"))] == early
        assert await runner.ask(QUESTION) == FOUND
        assert helpers.runs("box") == 2


async def test_refused_answer_is_asked_for_once_more(helpers: ScriptedHelpers) -> None:
    """A new one counts; the same one again is what there is, and is kept."""
    helpers.install("box", answer("old"))
    async with HelperRunner(environ=helpers.environ) as runner:
        old = await runner.ask(QUESTION)
        assert isinstance(old, HelperFound)
        assert await runner.ask(QUESTION, refused=old.credential) == old
        assert helpers.runs("box") == 2
        assert await runner.ask(QUESTION, refused=old.credential) == old
        assert helpers.runs("box") == 2
        runner.forget(lambda _: True)
        assert await runner.ask(QUESTION) == old
        helpers.install("box", answer())
        assert await runner.ask(QUESTION, refused=old.credential) == FOUND
        assert await runner.ask(QUESTION, refused=old.credential) == FOUND
        assert helpers.runs("box") == 4


async def test_refusals_of_one_answer_cost_one_run(helpers: ScriptedHelpers) -> None:
    """All images of a registry are refused at the same time."""
    helpers.install("box", answer())
    async with HelperRunner(environ=helpers.environ) as runner:
        await runner.ask(QUESTION)

        async def refuse() -> None:
            await runner.ask(QUESTION, refused=FOUND.credential)

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(refuse)
        await refuse()
    assert helpers.runs("box") == 2


@pytest.mark.parametrize("refused", [Anonymous(), Credential("somebody", "else")])
async def test_refusal_of_something_else_costs_nothing(
    helpers: ScriptedHelpers, refused: Credential | Anonymous
) -> None:
    """What is kept is not what was refused."""
    helpers.install("box", answer())
    async with HelperRunner(environ=helpers.environ) as runner:
        await runner.ask(QUESTION)
        assert await runner.ask(QUESTION, refused=refused) == FOUND
    assert helpers.runs("box") == 1


# ---- what is logged ----


async def test_run_is_logged_without_what_was_written(helpers: ScriptedHelpers) -> None:
    """Helper, server, duration, exit status; of a failure the last words, at debug level."""
    with capture_logs() as log:
        await ask_once(helpers, f"echo {SECRET} >&2; {answer()}")
        await ask_once(helpers, f"set -x; {answer()}; exit 7")
        await ask_once(helpers, "echo the keyring is locked >&2; exit 8")
    assert [event["exit_status"] for event in log] == [0, 7, 8]
    assert {"debug"} == {event["log_level"] for event in log}
    assert {("box", "ghcr.io")} == {(event["helper"], event["server"]) for event in log}
    assert all(0 <= event["duration"] < 20 for event in log)
    assert log[0]["said"] == ""
    assert log[2]["said"] == "the keyring is locked"
    assert SECRET not in repr(log)


def test_program_is_searched_where_the_tests_expect_it() -> None:
    """The tests need a shell and its tools."""
    assert all(find_program(name, SEARCH) for name in ("sh", "sleep", "yes", "setsid", "head"))
    assert sys.platform == "linux"


async def test_it_is_known_for_how_long_a_reply_is_kept(helpers: ScriptedHelpers) -> None:
    """For people who wonder when the helper is asked again."""
    clock = ManualClock()
    helpers.install("box", answer())
    async with HelperRunner(environ=helpers.environ, clock=clock) as runner:
        assert runner.kept_seconds(QUESTION) is None
        await runner.ask(QUESTION)
        clock.now += 100
        assert runner.kept_seconds(QUESTION) == 200
        clock.now += 1000
        assert runner.kept_seconds(QUESTION) == 0
