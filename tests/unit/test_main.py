"""The program from its arguments to its exit code."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import structlog

from watchtower_async.cli.main import EXIT_FAILED, EXIT_NO_ENGINE, EXIT_USAGE, run

ENVIRON: Mapping[str, str] = {"HOME": "/nonexistent", "WATCHTOWER_LOG_LEVEL": "error"}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


VERSION = {"ApiVersion": "1.41", "Version": "20.10", "Os": "linux", "Arch": "amd64"}


def an_engine(*containers: Mapping[str, Any]) -> dict[str, tuple[int, Any]]:
    """Return the answers of an engine with these containers and no images."""
    return {
        "/version": (200, VERSION),
        "/v1.41/info": (200, {"Name": "machine"}),
        "/v1.41/containers/json": (200, containers),
        "/v1.41/images/json": (200, None),
    }


@contextmanager
def answering(answers: Mapping[str, tuple[int, Any]]) -> Iterator[str]:
    """Answer HTTP on a unix socket, 500 for paths without an answer; yields the address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path.partition("?")[0], (500, {"message": "the engine is ill"}))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with tempfile.TemporaryDirectory(prefix="wta-") as directory:
        path = Path(directory) / "s"
        with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"unix://{path}"
            finally:
                server.shutdown()
                thread.join()


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["--no-such-flag"], {}, "--no-such-flag"),
        (["plan", "--jsno"], {}, "--jsno"),
        (["--host"], {}, "--host"),
        (["--interval", "soon"], {}, "--interval: 'soon' is not usable"),
        (["plan"], {"WATCHTOWER_CLEANUP": "maybe"}, "WATCHTOWER_CLEANUP: 'maybe' is not usable"),
    ],
)
def test_usage_error_has_its_own_exit_code(
    arguments: list[str], environ: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """64 as in sysexits.h, the problem and where to read on, all on standard error."""
    assert run(["/usr/bin/watchtower", *arguments], {**ENVIRON, **environ}) == EXIT_USAGE == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("watchtower: ")
    assert said in lines[0]
    assert lines[-1] == "Try 'watchtower --help'."


def test_all_wrong_settings_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody wants to start three times to hear of three mistakes."""
    environ = {**ENVIRON, "WATCHTOWER_CLEANUP": "maybe", "WATCHTOWER_TIMEOUT": "-1s"}
    assert run(["watchtower-async", "-l", "xml"], environ) == EXIT_USAGE
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["watchtower", "--help"], "Usage: watchtower [OPTIONS] [CONTAINER]..."),
        (["watchtower", "-h"], "Usage: watchtower [OPTIONS] [CONTAINER]..."),
        (["/opt/x/watchtower-async", "plan", "--help"], "Usage: watchtower-async plan [OPTIONS] [CONTAINER]..."),
        (["/x/watchtower_async/__main__.py", "--help"], "Usage: watchtower-async [OPTIONS] [CONTAINER]..."),
    ],
)
def test_help_is_no_error(arguments: list[str], usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, on standard output, under the name the program was called by."""
    assert run(arguments, {**ENVIRON, "WATCHTOWER_CLEANUP": "maybe"}) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == usage
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["plan", "--host", "unix:///nonexistent/engine.sock"], {}, "/nonexistent/engine.sock cannot be reached"),
        (["--run-once"], {"DOCKER_HOST": "unix:///nonexistent/engine.sock"}, "/nonexistent/engine.sock"),
        (["plan"], {"DOCKER_HOST": "fd://"}, "DOCKER_HOST names an engine by fd://"),
        (["plan"], {"DOCKER_HOST": "ssh://user:pw@host"}, "DOCKER_HOST holds a password"),
        (["plan"], {"DOCKER_CONTEXT": "far"}, "DOCKER_CONTEXT 'far' is not there"),
    ],
)
def test_program_without_an_engine_says_so_in_one_line(
    arguments: list[str], environ: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and a sentence; no traceback, and nothing on standard output."""
    given = {**ENVIRON, "WATCHTOWER_STATE_DIR": str(tmp_path / "state"), **environ}
    assert run(["watchtower-async", *arguments], given) == EXIT_NO_ENGINE == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("watchtower-async: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["plan"], ["plan", "--json"], ["--run-once"]])
def test_engine_that_refuses_is_a_failure_and_no_traceback(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that is there and answers with an error is not "no engine": exit code 1 and its words."""
    environ = {**ENVIRON, "WATCHTOWER_STATE_DIR": str(tmp_path / "state"), "DOCKER_CONFIG": str(tmp_path)}
    with answering({"/version": (200, VERSION)}) as address:
        assert run(["watchtower-async", "--host", address, *arguments], environ) == EXIT_FAILED == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "watchtower-async: the engine is ill\n"


def test_plan_of_an_engine_without_containers_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole program, from the arguments to the answer, on an engine that has nothing."""
    environ = {**ENVIRON, "WATCHTOWER_STATE_DIR": str(tmp_path / "state"), "DOCKER_CONFIG": str(tmp_path)}
    with answering(an_engine()) as address:
        assert run(["watchtower-async", "plan", "--json", "--host", address], environ) == 0
    assert json.loads(capsys.readouterr().out) == {
        "engine": address, "containers": [], "repairs": [], "problems": [],
    }  # fmt: skip
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "name", "is_warned"),
    [
        (["plan"], "plan", True),
        (["plan"], "web", False),
        (["--run-once"], "run", False),
        (["--run-once"], "plan", False),
    ],
)
def test_container_called_like_the_command_is_pointed_out(
    arguments: list[str], name: str, is_warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For Watchtower the first word was a name; a word that nobody wrote is not warned about."""
    environ = {"HOME": str(tmp_path), "WATCHTOWER_STATE_DIR": str(tmp_path / "state"), "WATCHTOWER_LOG_LEVEL": "warn"}
    container = {"Id": "ab" * 32, "Names": [f"/{name}"], "State": "exited"}
    with answering(an_engine(container)) as address:
        assert run(["watchtower", "--host", address, *arguments], environ) == 0
    assert ("was taken as the command" in capsys.readouterr().err) is is_warned


@pytest.mark.parametrize(
    ("arguments", "code", "heavy"),
    [
        (["--health-check", "--state-dir", "/nonexistent"], 1, ["aiodocker", "aiohttp", "anyio", "asyncio", "click"]),
        (["--help"], 0, ["aiodocker", "aiohttp", "anyio"]),
    ],
)
def test_health_check_and_help_import_nothing_heavy(arguments: list[str], code: int, heavy: list[str]) -> None:
    """The engine asks for health every half minute; that must not cost the imports of the service."""
    script = (
        f"import sys; sys.argv = ['watchtower', *{arguments!r}]\n"
        "from watchtower_async.__main__ import main\n"
        f"try:\n    main()\nfinally:\n    print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "LOADED []"), done.stderr
