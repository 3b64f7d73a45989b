"""One run of a credential helper, from the search for its program until nothing of it is left.

The helper gets a session of its own, so that it and whatever it started can be ended together: many are scripts whose
child does the work and keeps the pipe open. That happens when it takes too long, when it writes too much, and when
nobody waits for it any more. What it leaves running after an orderly end is its own business (an agent, for example).

Its standard input is a pipe that already holds the question, so nothing waits for a helper that does not read it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
import structlog

from watchtower_async.credentials.helper_protocol import (
    failed,
    helper_environment,
    last_words,
    not_installed,
    read_reply,
)
from watchtower_async.credentials.lookup import HelperFailed, HelperQuestion, HelperReply

LARGEST_OUTPUT = 1024 * 1024
_KEPT_ERRORS = 4096
_END_SECONDS = 5.0
_PAUSE_SECONDS = 0.005


async def run_helper(question: HelperQuestion, *, environ: Mapping[str, str], seconds: float) -> HelperReply:
    """Ask a helper once, for at most so many seconds. Every way to fail is a reply.

    When the call is over, cancelled or not, the helper is gone, unless the system itself cannot end it.
    """
    began = anyio.current_time()
    run = _Run()
    try:
        with anyio.fail_after(seconds):
            reply = await _ask(question, environ, run)
    except TimeoutError:
        text = f"did not answer within {seconds:g} seconds and was ended: it may wait for a password or a locked key"
        reply = failed(question, text)
    structlog.get_logger().debug(
        "credentials.helper_asked",
        helper=question.suffix,
        server=question.server,
        duration=round(anyio.current_time() - began, 3),
        exit_status=run.status,
        said=last_words(bytes(run.errors), bytes(run.output)) if isinstance(reply, HelperFailed) else "",
    )
    return reply


def find_program(name: str, search: str) -> Path | None:
    """Find a program in the absolute directories of a search path; one that cannot be executed only as a last resort.

    Directories that cannot be searched are left out. Blocks: they may be on a network mount.
    """
    paths = [Path(directory, name) for directory in search.split(os.pathsep) if directory.startswith("/")]
    found = [path for path in paths if os.path.isfile(path)]  # noqa: PTH113 - Path.is_file raises for some directories
    return next((path for path in found if os.access(path, os.X_OK)), found[0] if found else None)


class _Run(asyncio.SubprocessProtocol):
    """What has come from the process so far."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.status: int | None = None
        self.is_too_large = False
        self.exited = anyio.Event()
        self.answered = anyio.Event()
        """Set when standard output is complete and the process has ended, or there is too much output."""
        self._transport: asyncio.SubprocessTransport | None = None
        self._output_is_open = True

    @property
    def is_over(self) -> bool:
        """Say whether the process has come to an end by itself, as far as can be seen."""
        return self.exited.is_set() and not self._output_is_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.errors += data[: _KEPT_ERRORS - len(self.errors)]
            return
        self.output += data[: LARGEST_OUTPUT + 1 - len(self.output)]
        if len(self.output) > LARGEST_OUTPUT:
            self.is_too_large = True
            self.answered.set()

    def pipe_connection_lost(self, fd: int, _error: Exception | None) -> None:
        if fd == 1:
            self._output_is_open = False
            self._check()

    def process_exited(self) -> None:
        assert self._transport is not None
        self.status = self._transport.get_returncode()
        self.exited.set()
        self._check()

    def _check(self) -> None:
        if self.is_over:
            self.answered.set()


async def _ask(question: HelperQuestion, environ: Mapping[str, str], run: _Run) -> HelperReply:
    search = environ.get("PATH", os.defpath)
    program = await anyio.to_thread.run_sync(find_program, question.program, search, abandon_on_cancel=True)
    if program is None:
        return not_installed(question)
    try:
        transport = await _start(program, question.server, environ, run)
    except OSError as error:
        return failed(question, _start_problem(program, error))
    try:
        await run.answered.wait()
    finally:
        await _end(transport, run)
    if run.is_too_large:
        return failed(question, f"wrote more than {LARGEST_OUTPUT // 1024 // 1024} MiB and was ended")
    assert run.status is not None
    return read_reply(question, run.status, bytes(run.output))


async def _start(program: Path, text: str, environ: Mapping[str, str], run: _Run) -> asyncio.SubprocessTransport:
    """Start the program with a text on its standard input. Raises OSError. Takes no time, so it is not cancelled."""
    reading = _pipe_with(text)
    try:
        with anyio.CancelScope(shield=True):
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: run,
                str(program),
                "get",
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=helper_environment(environ),
                start_new_session=True,
            )
    finally:
        os.close(reading)
    return transport


def _pipe_with(text: str) -> int:
    """Return the end of a pipe from which a short text can be read. The name of a registry fits into any pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, text.encode())
    finally:
        os.close(writing)
    return reading


async def _end(transport: asyncio.SubprocessTransport, run: _Run) -> None:
    """End what still runs and let go of it."""
    try:
        with anyio.move_on_after(_END_SECONDS, shield=True):
            if not run.is_over:
                await _end_group(transport.get_pid(), run)
    finally:
        transport.close()


async def _end_group(leader: int, run: _Run) -> None:
    """Kill a process group, and wait for those of its members that are our children.

    As the first process of a container we become the parent of all whose own parent is gone.
    """
    # Nobody else gets this number while the leader is not waited for, or while its children are in the group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    await run.exited.wait()  # the event loop waits for the leader itself
    with suppress(ChildProcessError):
        while True:
            ended, _ = os.waitpid(-leader, os.WNOHANG)  # noqa: ASYNC222 - does not block
            if not ended:
                await anyio.sleep(_PAUSE_SECONDS)


def _start_problem(program: Path, error: OSError) -> str:
    match error.errno:
        case errno.EACCES:
            return f"is not executable: chmod +x {program}, and let its file system be mounted without noexec"
        case errno.ENOEXEC:
            return (
                f"cannot be started: {program} is not made for this machine ({platform.machine()}), "
                "or is a script without #! in its first line"
            )
        case errno.ENOENT:
            return (
                f"cannot be started: {program} is there, but the interpreter that its first line names, "
                "or the loader that it was linked for, is not"
            )
        case _:
            return f"cannot be started: {program}: {error.strerror}"
