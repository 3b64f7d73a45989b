"""The control socket and the health check, on real unix sockets."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from watchtower_async.web.control import LOCK_NAME, Health, serve_control_socket
from watchtower_async.web.health_check import (
    LONGEST_ANSWER,
    SOCKET_NAME,
    ask_credentials,
    ask_health,
    check,
    state_directory,
)

HOLD = """
import anyio, sys
from pathlib import Path
from watchtower_async.web.control import Health, serve_control_socket
async def hold():
    async with serve_control_socket(Path(sys.argv[1]), lambda: Health(True, {"who": "other"})) as control:
        print(control.problem, flush=True)
        await anyio.sleep(60)
anyio.run(hold)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory that does not exist yet, with a name short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        yield Path(name) / "state"


def well() -> Health:
    """Answer as an updater that is well."""
    return Health(True, {"sessions": 3})


def mode_of(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def asked(path: Path) -> tuple[bool, str]:
    """Ask for health as another process would."""
    return await to_thread.run_sync(ask_health, path)


async def test_socket_answers_and_only_its_user_can_reach_it(directory: Path) -> None:
    """Mode 0600 in a directory of mode 0700 is what stands in place of a token."""
    async with serve_control_socket(directory, well) as control:
        assert control.is_held
        assert control.path == directory / SOCKET_NAME
        assert mode_of(directory) == 0o700
        assert control.path.is_socket()
        assert mode_of(control.path) == 0o600
        assert mode_of(directory / LOCK_NAME) == 0o600
        is_well, said = await asked(control.path)
    assert is_well
    assert json.loads(said) == {"status": "ok", "sessions": 3}
    assert not control.path.exists()


async def test_mode_does_not_depend_on_the_umask_and_leaves_it_alone(directory: Path) -> None:
    """A process that runs with an open umask has a closed socket."""
    before = os.umask(0)
    try:
        async with serve_control_socket(directory, well) as control:
            assert mode_of(control.path) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


async def test_health_is_asked_for_each_time(directory: Path) -> None:
    """200 while all is well, 503 while it is not, in the same process."""
    state = Health(True, {})
    async with serve_control_socket(directory, lambda: state) as control:
        assert await asked(control.path) == (True, '{"status": "ok"}')
        state = Health(False, {"problem": "the engine is gone"})
        assert await asked(control.path) == (False, '{"status": "failing", "problem": "the engine is gone"}')


@pytest.mark.parametrize(("is_well", "status"), [(True, b"200"), (False, b"503")])
async def test_status_is_that_of_http(is_well: bool, status: bytes, directory: Path) -> None:
    """Anybody who speaks HTTP can ask."""
    async with serve_control_socket(directory, lambda: Health(is_well, {})) as control:
        async with await anyio.connect_unix(control.path) as stream:
            await stream.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await stream.receive()).split(b" ")[1] == status
        async with await anyio.connect_unix(control.path) as stream:
            await stream.send(b"GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await stream.receive()).split(b" ")[1] == b"404"


async def test_second_updater_goes_on_without_the_socket(directory: Path) -> None:
    """It says so, disturbs nothing, and a third one has the socket once the first has ended."""
    async with serve_control_socket(directory, well):
        async with serve_control_socket(directory, lambda: Health(False, {})) as second:
            assert not second.is_held
            assert second.problem == f"another updater already answers on {second.path}"
        assert (await asked(directory / SOCKET_NAME))[0]
    async with serve_control_socket(directory, well) as third:
        assert third.is_held


async def test_socket_of_a_killed_process_is_taken_over(directory: Path) -> None:
    """The lock dies with its process; the socket file that is left over is in nobody's way."""
    path = directory / SOCKET_NAME
    async with await anyio.open_process([sys.executable, "-c", HOLD, str(directory)], stderr=None) as other:
        try:
            assert other.stdout is not None
            with anyio.fail_after(30):  # its start is Python's start
                said = await BufferedByteReceiveStream(other.stdout).receive_until(b"\n", 1000)
            assert said == b"None"
            async with serve_control_socket(directory, well) as control:
                assert not control.is_held
                assert "other" in (await asked(path))[1]
        finally:
            other.kill()
    assert path.is_socket()
    assert not (await asked(path))[0]
    async with serve_control_socket(directory, well) as control:
        assert control.is_held
        assert (await asked(path))[0]


async def test_cancelled_updater_leaves_neither_socket_nor_lock(directory: Path) -> None:
    """Also with a client that never finishes its question; the way out has a deadline."""
    client = socket.socket(socket.AF_UNIX)
    with client, anyio.fail_after(10):
        with anyio.CancelScope() as scope:
            async with serve_control_socket(directory, well) as control:
                client.connect(str(control.path))
                client.send(b"GET /health HT")
                await anyio.sleep(0.01)
                scope.cancel()
                await anyio.sleep_forever()
        assert not (directory / SOCKET_NAME).exists()
        async with serve_control_socket(directory, well) as control:
            assert control.is_held


def block_with_a_file(directory: Path) -> Path:
    """Put a file where the directory should be."""
    directory.touch()
    return directory


def block_below_a_file(directory: Path) -> Path:
    """Put a file where the parent directory should be."""
    directory.touch()
    return directory / "below"


def block_with_a_link(directory: Path) -> Path:
    """Put a link where the lock should be: somebody else may have made it."""
    directory.mkdir()
    (directory / LOCK_NAME).symlink_to(directory / "elsewhere")
    return directory


def block_the_socket(directory: Path) -> Path:
    """Put a directory where the socket should be."""
    (directory / SOCKET_NAME).mkdir(parents=True)
    return directory


def block_by_length(directory: Path) -> Path:
    """Return a directory whose name is too long for a socket."""
    return directory / ("x" * 120)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (block_with_a_file, "the state directory {} cannot be used: "),
        (block_below_a_file, "the state directory {} cannot be used: "),
        (block_with_a_link, "the state directory {} cannot be used: "),
        (block_the_socket, "the control socket {}/control.sock cannot be opened: "),
        (block_by_length, "the control socket {}/control.sock cannot be opened: "),
    ],
)
async def test_directory_that_cannot_be_used_is_a_value_with_a_reason(
    block: object, said: str, directory: Path
) -> None:
    """The updater works without a control socket, and says why it has none."""
    assert callable(block)
    blocked = block(directory)
    async with serve_control_socket(blocked, well) as control:
        assert not control.is_held
        assert control.problem is not None
        assert control.problem.startswith(said.format(blocked))
        assert len(control.problem) > len(said.format(blocked))


async def test_updater_without_its_socket_holds_no_lock(directory: Path) -> None:
    """Once the obstacle is gone, the next one has both."""
    block_the_socket(directory)
    async with serve_control_socket(directory, well):
        (directory / SOCKET_NAME).rmdir()
        async with serve_control_socket(directory, well) as next_one:
            assert next_one.is_held


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1\r\n\r\n200", b"x" * (2 * LONGEST_ANSWER)],
)
async def test_answer_that_is_not_200_is_not_well(answer: bytes, directory: Path) -> None:
    """Whatever else listens there is no healthy updater, and cannot fill the memory."""
    path = directory.with_name(SOCKET_NAME)

    async def reply(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            try:
                await stream.send(answer)
            except anyio.BrokenResourceError:
                return  # the asker has heard enough

    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, reply)
        is_well, said = await asked(path)
        group.cancel_scope.cancel()
    assert not is_well
    assert len(said) < 2 * LONGEST_ANSWER


@pytest.mark.parametrize("form", ["--state-dir DIR", "--state-dir=DIR", "--cleanup --state-dir DIR web", "environment"])
@pytest.mark.parametrize("is_well", [True, False])
async def test_health_check_finds_the_updater_and_tells_by_its_exit_code(
    form: str, is_well: bool, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and standard output when it is well, else 1 and standard error."""
    from_environment = form == "environment"
    arguments = [] if from_environment else form.replace("DIR", str(directory)).split(" ")
    environ = {"WATCHTOWER_STATE_DIR": str(directory) if from_environment else "/nowhere"}
    async with serve_control_socket(directory, lambda: Health(is_well, {"version": "1"})):
        code = await to_thread.run_sync(check, ["--health-check", *arguments], environ)
    out, err = capsys.readouterr()
    assert code == (0 if is_well else 1)
    assert '"version": "1"' in (out if is_well else err)
    assert (err if is_well else out) == ""


def test_health_check_without_an_updater_names_where_it_asked(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and a sentence, not a traceback; also where the name is too long for a socket."""
    assert check([], {"WATCHTOWER_STATE_DIR": str(directory)}) == 1
    assert capsys.readouterr().err.startswith(f"no running updater answers on {directory / SOCKET_NAME}: ")
    assert check(["--state-dir", "/" + "x" * 200], {}) == 1
    assert "no running updater answers on /xxx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "environ", "expected"),
    [
        ("/set", {"WATCHTOWER_STATE_DIR": "/env"}, "/set"),
        (None, {"WATCHTOWER_STATE_DIR": "/env", "XDG_STATE_HOME": "/xdg"}, "/env"),
        ("", {"WATCHTOWER_STATE_DIR": "", "XDG_STATE_HOME": "/xdg"}, "/xdg/watchtower-async"),
        (None, {"HOME": "/users/u"}, "/users/u/.local/state/watchtower-async"),
        (None, {"HOME": "", "XDG_STATE_HOME": ""}, "/.local/state/watchtower-async"),
    ],
)
def test_state_directory_is_the_setting_or_the_users_own(
    setting: str | None, environ: dict[str, str], expected: str
) -> None:
    """Updater and health check must look in the same place."""
    assert Path(expected) == state_directory(environ, setting)


@pytest.mark.parametrize("is_well", [True, False])
async def test_state_of_the_credentials_can_be_asked_for(directory: Path, is_well: bool) -> None:
    """Also of an updater that is not well; an older one says nothing about them."""
    async with serve_control_socket(directory, lambda: Health(is_well, {"credentials": {"generation": 3}})) as control:
        assert await to_thread.run_sync(ask_credentials, control.path) == {"generation": 3}
    async with serve_control_socket(directory, lambda: Health(is_well, {"credentials": None})) as control:
        assert await to_thread.run_sync(ask_credentials, control.path) == {}
    assert await to_thread.run_sync(ask_credentials, directory / SOCKET_NAME) is None
