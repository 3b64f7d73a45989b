"""The installed command, run as a person or a script runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("watchtower-async")
RUN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended."""

    code: int
    output: str
    """Standard output: the plan."""
    log: str
    """Standard error: the log."""

    @property
    def plan(self) -> dict[str, Any]:
        """Return what `plan --json` printed."""
        document: dict[str, Any] = json.loads(self.output)
        return document

    def item(self, name: str) -> dict[str, Any]:
        """Return one container of the printed plan."""
        return next(item for item in self.plan["containers"] if item["name"] == name)


@dataclass(frozen=True, slots=True)
class Updater:
    """Runs `watchtower-async` against one engine, with a Docker configuration and a state directory of its own."""

    engine: str
    config_directory: Path
    state_directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    """The command that the command is given to."""

    def __call__(self, *arguments: str, timeout: float = RUN_SECONDS) -> Finished:
        """Run the command to its end."""
        done = subprocess.run(
            [*self.launcher, COMMAND, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            env=self._environment(),
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run the service while the context is open. It is ended with SIGTERM, or SIGKILL where that takes too long."""
        with subprocess.Popen(
            [*self.launcher, COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(),
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()

    def wait_until_well(self, *, seconds: float = 20.0) -> Finished:
        """Ask the running service until it says that it is well."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self("--health-check")
            if answer.code == 0 or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOCKER_", "WATCHTOWER_", "REPO_"))
        }
        return {
            **inherited,
            "DOCKER_HOST": self.engine,
            "DOCKER_CONFIG": str(self.config_directory),
            "WATCHTOWER_STATE_DIR": str(self.state_directory),
            **self.environment,
        }
