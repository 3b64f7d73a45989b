"""How long after the write of a file the new credential is in use: `scripts/bench reload`.

The floor is the time that the reader alone needs, with the 20 ms in which a file must hold still. A change is one login
by renaming, or one write in place, at a random moment.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console
from rich.table import Table

from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.file_reader import read_directory
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.credentials.survey import DirectorySurvey
from watchtower_async.credentials.watcher import CredentialWatcher
from watchtower_async.images.reference import parse_reference

IMAGE = parse_reference("ghcr.io/team/app")
LIMIT_SECONDS = 5.0
GOAL_SECONDS = 0.1


def document(user: str) -> bytes:
    """Return a configuration with this user."""
    auth = base64.b64encode(f"{user}:password".encode()).decode()
    return json.dumps({"auths": {"ghcr.io": {"auth": auth}}}).encode()


def by_renaming(path: Path, data: bytes) -> float:
    """Replace the file as a login does; return when that was done."""
    new = path.with_name("config.json.tmp")
    new.write_bytes(data)
    new.replace(path)
    return time.perf_counter()


def in_place(path: Path, data: bytes) -> float:
    """Write the file as an editor may do; return when that was done."""
    path.write_bytes(data)
    return time.perf_counter()


async def measure(change: Callable[[Path, bytes], float], count: int) -> list[float]:
    """Return for each change how long it took until the new credential answered."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "config.json"
        config.write_bytes(document("user"))
        config.chmod(0o600)
        store = CredentialStore(directory=directory)
        watcher = CredentialWatcher(store=store, survey=DirectorySurvey(directory))
        durations: list[float] = []
        async with anyio.create_task_group() as group:
            await group.start(watcher.run)
            for number in range(count):
                await anyio.sleep(random.uniform(0.1, 0.2))
                durations.append(await _one(store, config, change, f"user{number}"))
            group.cancel_scope.cancel()
        return durations


async def _one(store: CredentialStore, config: Path, change: Callable[[Path, bytes], float], user: str) -> float:
    known = store.state
    written = await anyio.to_thread.run_sync(change, config, document(user))
    with anyio.fail_after(LIMIT_SECONDS):
        while True:
            found = await store.credential_for(IMAGE)
            if isinstance(found, Credential) and found.username == user:
                return time.perf_counter() - written
            known = await store.state_after(known)


def floor(count: int) -> list[float]:
    """Return how long reading alone takes."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "config.json").write_bytes(document("user"))
        durations = []
        for _ in range(count):
            begun = time.perf_counter()
            read_directory(Path(name))
            durations.append(time.perf_counter() - begun)
        return durations


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench reload", description=__doc__)
    parser.add_argument("--changes", type=int, default=100, choices=range(10, 1001), metavar="10-1000")
    count = parser.parse_args().changes
    rows = [
        ("reading alone (floor)", floor(20)),
        ("login by renaming", anyio.run(measure, by_renaming, count)),
        ("write in place", anyio.run(measure, in_place, count)),
    ]
    table = Table(title="From the write of a file to the new credential in use")
    for heading in ("change", "count", "p50", "p99", "longest", "p99 / floor"):
        table.add_column(heading, justify="left" if heading == "change" else "right")
    base = statistics.median(rows[0][1])
    for label, durations in rows:
        p99 = _percentile(durations, 99)
        numbers = (statistics.median(durations), p99, max(durations))
        table.add_row(label, str(len(durations)), *(f"{value * 1000:.1f} ms" for value in numbers), f"{p99 / base:.1f}")
    console = Console()
    console.print(table)
    worst = max(_percentile(durations, 99) for _, durations in rows)
    console.print(f"goal: p99 of at most {GOAL_SECONDS * 1000:.0f} ms; {'met' if worst <= GOAL_SECONDS else 'NOT met'}")


def _percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that so many percent of all do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


if __name__ == "__main__":
    main()
