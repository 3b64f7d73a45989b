"""Processes of a benchmark: each answers a line with one line of JSON, and ends when its input does.

The measured program, its floor and what stands in for the world run in processes of their own, so that processor time
and memory are nobody else's. A child whose parent dies sees the end of its input.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

ANSWER_SECONDS = 60.0
END_SECONDS = 10.0


class Child:
    """A process of this benchmark. Used as a context manager, which ends it."""

    def __init__(self, module: str, settings: Mapping[str, object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._module = module
        self.ready = self.ask(json.dumps(settings))
        """What it said when it was ready."""

    def ask(self, line: str) -> Any:
        """Send a line and return the answer. Raises RuntimeError where none comes in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            self._process.kill()
            raise RuntimeError(f"{self._module} did not answer within {ANSWER_SECONDS:g} s")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._module} ended with exit code {self._process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


async def answer_lines(answer: Callable[[str], Awaitable[object]]) -> None:
    """Answer the lines of the standard input until it ends."""
    async for line in _lines():
        say(await answer(line))


async def _lines() -> AsyncIterator[str]:
    source = anyio.wrap_file(sys.stdin)
    while line := await source.readline():
        yield line.strip()


def read_settings() -> dict[str, Any]:
    """Read the first line, in the child."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    return settings


def say(value: object) -> None:
    """Answer, in the child."""
    print(json.dumps(value), flush=True)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes.

    Not `ru_maxrss`: that begins with the size of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell the peak of the resident size")


def processor_seconds(command: Sequence[str], environ: Mapping[str, str]) -> tuple[float, int]:
    """Run a command to its end; return the processor time it used, and its exit code. Its output is dropped."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        files = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        pid = os.posix_spawn(command[0], list(command), dict(environ), file_actions=files)
    finally:
        os.close(null)
    _, status, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)
