"""Credential helpers that are small shell scripts, made by the test that runs them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SEARCH = "/usr/local/bin:/usr/bin:/bin"


def answer(username: str = "me", secret: str = "hunter2-marker") -> str:
    """Return the shell command that gives a credential."""
    return f"""printf '%s' '{{"Username":"{username}","Secret":"{secret}"}}'"""


def not_found() -> str:
    """Return the shell commands that say that there is no credential."""
    return "echo credentials not found in native keychain; exit 1"


@dataclass(slots=True)
class ManualClock:
    """A clock that goes on when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(frozen=True, slots=True)
class ScriptedHelpers:
    """A directory of helpers that is searched first; `$DIR` in a script is where it may leave what a test reads."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.directory / "bin").mkdir()
        self.environ.update(PATH=f"{self.directory / 'bin'}:{SEARCH}", DIR=str(self.directory))

    def install(self, suffix: str, script: str) -> Path:
        """Install a helper that notes each run, then does what the shell script says."""
        return self.install_file(suffix, f'#!/bin/sh\necho run >>"$DIR/{suffix}.runs"\n{script}\n'.encode())

    def install_file(self, suffix: str, content: bytes, *, mode: int = 0o755) -> Path:
        """Install a file of any content under a helper's name."""
        path = self.directory / "bin" / f"docker-credential-{suffix}"
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def runs(self, suffix: str) -> int:
        """Count how often a helper was run."""
        return len(self.left(f"{suffix}.runs").split())

    def left(self, name: str) -> str:
        """Return what a script has left, empty where it has not yet."""
        path = self.directory / name
        return path.read_text() if path.exists() else ""


def has_ended(pid: int) -> bool:
    """Say whether a process does nothing any more; nobody may have waited for it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def ends_soon(pid: int, *, seconds: float = 5.0) -> bool:
    """Wait for the end of a process that was killed; False when it does not come."""
    deadline = time.monotonic() + seconds
    while not has_ended(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end(pid: int) -> None:
    """End a process that a script of the test has left behind."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
