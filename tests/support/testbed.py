"""What `scripts/testbed up --env` tells about the test bed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenRegistry:
    """A registry that asks for tokens, and the service that grants them; see `tests.support.token_service`."""

    address: str
    """Host and port as the engine and this machine see it."""
    user: str
    """Who may read and write everything."""
    password: str = field(repr=False)
    identity_token: str = field(repr=False)
    accounts: Path
    """The directory of the service's accounts."""
    log: Path
    """What the service wrote."""

    @contextmanager
    def account(self, name: str, **settings: str | int) -> Iterator[None]:
        """Let the service know one more user while the context is open; the settings are fields of its `Account`."""
        path = self.accounts / f"{name}.json"
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(settings))
        beside.replace(path)
        try:
            yield
        finally:
            path.unlink()

    def token_requests(self, repository: str, *, client: str = "") -> list[dict[str, Any]]:
        """Return what the service told about the questions for a repository, of clients whose name begins so."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [
            entry
            for entry in entries
            if any(f":{repository}:" in scope for scope in entry["asked"]) and entry["client"].startswith(client)
        ]


@dataclass(frozen=True, slots=True)
class TestBed:
    """A Docker Engine, and on its loopback a registry that asks for a login and one that asks for tokens."""

    __test__ = False  # not a class of tests

    engine: str
    """The engine's address, such as `unix:///var/run/docker.sock`."""
    registry: str
    """The registry's host and port as the engine and this machine see it."""
    user: str
    password: str = field(repr=False)
    directory: Path
    """A private directory; `cache` in it outlives the test bed."""
    tokens: TokenRegistry

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
        tokens=_read_token_registry(environ),
    )


def _read_token_registry(environ: Mapping[str, str]) -> TokenRegistry:
    run = Path(environ["WTA_TESTBED_DIR"]) / "run"
    return TokenRegistry(
        address=environ["WTA_TOKEN_REGISTRY"],
        user=environ["WTA_TOKEN_USER"],
        password=Path(environ["WTA_TOKEN_PASSWORD_FILE"]).read_text().strip(),
        identity_token=Path(environ["WTA_TOKEN_IDENTITY_FILE"]).read_text().strip(),
        accounts=run / "tokens" / "accounts",
        log=run / "token_service.log",
    )
