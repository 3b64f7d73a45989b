"""What `scripts/testbed up --env` tells about the test bed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TestBed:
    """A Docker Engine and a registry on its loopback that asks for a login."""

    __test__ = False  # not a class of tests

    engine: str
    """The engine's address, such as `unix:///var/run/docker.sock`."""
    registry: str
    """The registry's host and port as the engine and this machine see it."""
    user: str
    password: str = field(repr=False)
    directory: Path
    """A private directory; `cache` in it outlives the test bed."""

    @contextmanager
    def another_user(self, name: str, password: str) -> Iterator[None]:
        """Let the registry know one more user while the context is open. It reads its file again when that changes."""
        path = self.directory / "run" / "htpasswd"
        before = path.read_text()
        # The password goes over standard input, never onto a command line.
        made = subprocess.run(
            ["htpasswd", "-niB", name], input=password, capture_output=True, text=True, check=True, timeout=30
        )
        path.write_text(before.rstrip("\n") + "\n" + made.stdout.strip() + "\n")
        try:
            yield
        finally:
            path.write_text(before)


def read_testbed(environ: Mapping[str, str] = os.environ) -> TestBed | None:
    """Return the test bed that the environment names, or None."""
    if environ.get("WTA_NO_TESTBED") or not environ.get("WTA_ENGINE"):
        return None
    return TestBed(
        engine=environ["WTA_ENGINE"],
        registry=environ["WTA_REGISTRY"],
        user=environ["WTA_REGISTRY_USER"],
        password=Path(environ["WTA_REGISTRY_PASSWORD_FILE"]).read_text().strip(),
        directory=Path(environ["WTA_TESTBED_DIR"]),
    )
