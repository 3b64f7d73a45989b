"""What one scan of a large fleet costs: `scripts/bench scan`.

1000 containers of 200 images from 4 registries that ask for a token and answer after 50 ms. Engine, registries, the
measured program and its floor are processes of their own. The floor is a bare aiohttp loop that sends the same requests
with the same limits. Everything is repeated, and medians count. Exit code 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.children import Child, processor_seconds
from bench.fleet import PASSWORD, USER, Fleet

ANSWER_DELAY = 0.05
LONGEST_RATIO = 1.5
LONGEST_WARM = 1.0
LARGEST_PEAK = 70 * 1000 * 1000
LONGEST_START = 0.7
WARM_SCANS = 3
STARTS = 7
HAS_UPDATES = 2


@dataclass(slots=True)
class Findings:
    """What was measured, and which limits were missed."""

    times: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    """Seconds by who, what and whether cold or warm."""
    requests: dict[str, list[Mapping[str, int]]] = field(default_factory=lambda: {"cold": [], "warm": []})
    calls: list[Mapping[str, int]] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def note(self, who: str, state: str, answer: Mapping[str, float]) -> None:
        """Keep the times of one scan."""
        for what in ("registries", "whole"):
            self.times.setdefault((who, what, state), []).append(answer[what])

    def seconds(self, who: str, what: str, state: str) -> float:
        """Return the median."""
        return statistics.median(self.times[who, what, state])

    def judge(self, text: str, *, is_met: bool) -> str:
        """Note whether a limit was met; return the word for the table."""
        if not is_met:
            self.missed.append(text)
        return "ok" if is_met else "MISSED"


@contextmanager
def world(fleet: Fleet, directory: Path) -> Iterator[tuple[Child, Child, dict[str, Any]]]:
    """Bring up registries and engine; also yields what the scanning processes need."""
    described = dataclasses.asdict(fleet)
    with (
        Child("bench.world_process", {"serve": "registries", "fleet": described, "delay": ANSWER_DELAY}) as registries,
        Child(
            "bench.world_process", {"serve": "engine", "fleet": described, "socket": str(directory / "engine")}
        ) as engine,
    ):
        certificate, config = directory / "certificate.pem", directory / "docker-config"
        certificate.write_text(registries.ready["certificate"])
        config.mkdir(mode=0o700)
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        path = config / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": {host: {"auth": auth} for host in fleet.hosts}}))
        yield (
            registries,
            engine,
            {
                "engine": engine.ready["address"],
                "ports": registries.ready["ports"],
                "certificate": str(certificate),
                "config": str(config),
                "fleet": described,
            },
        )


def measure_scans(fleet: Fleet, rounds: int, directory: Path, findings: Findings) -> None:
    """Scan, in turn with the floor, each time in a new process: one cold scan and some warm ones."""
    with world(fleet, directory) as (registries, engine, settings):
        for _ in range(rounds):
            with Child("bench.scan_floor", settings) as floor:
                for state in _states():
                    findings.note("floor", state, floor.ask("scan"))
            registries.ask("count")
            with Child("bench.scan_process", settings) as scan:
                engine.ask("count")
                for state in _states():
                    answer = scan.ask("scan")
                    assert answer["updates"] == len(fleet.container_names(fleet.stale)), answer
                    findings.note("scan", state, answer)
                    findings.requests[state].append(registries.ask("count"))
                    findings.calls.append(engine.ask("count"))
                findings.peaks.append(scan.ask("peak"))


def _states() -> Sequence[str]:
    return ("cold", *["warm"] * WARM_SCANS)


def measure_start(directory: Path) -> dict[str, float]:
    """Return the processor time of the program's life without any work, and of what it cannot do without."""
    empty = dataclasses.asdict(Fleet(images=0, containers=0, stale_images=0, retagged_images=0))
    socket = directory / "empty"
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "DOCKER_HOST": f"unix://{socket}",
        "WATCHTOWER_STATE_DIR": str(directory / "state"),
    }
    program = [sys.executable, "-P", "-m", "watchtower_async"]
    commands = {
        "bare": [sys.executable, "-P", "-c", "import asyncio, aiohttp"],
        "plan": [*program, "plan", "--json"],
        "service": [*program, "--run-once"],
    }
    with Child("bench.world_process", {"serve": "engine", "fleet": empty, "socket": str(socket)}):
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(STARTS + 1):
            for name, command in commands.items():
                used, code = processor_seconds(command, environ)
                assert code == 0, (command, code)
                if number:  # the first one may compile
                    seconds[name].append(used)
    return {name: statistics.median(values) for name, values in seconds.items()}


def requests_table(fleet: Fleet, findings: Findings) -> Table:
    """Show what was asked of the registries and of the engine."""
    table = _table("Requests", "kind", "cold", "at most", "warm", "at most", "")
    most = {
        "challenge": (fleet.registries, 0),
        "token": (fleet.images, 0),
        "HEAD of a manifest": (fleet.images, fleet.images),
    }
    cold, warm = _most(findings.requests["cold"]), _most(findings.requests["warm"])
    for kind in dict.fromkeys((*most, *cold, *warm)):
        limits = most.get(kind, (0, 0))
        met = cold.get(kind, 0) <= limits[0] and warm.get(kind, 0) <= limits[1]
        numbers = (cold.get(kind, 0), limits[0], warm.get(kind, 0), limits[1])
        table.add_row(kind, *map(str, numbers), findings.judge(f"registry requests: {kind}", is_met=met))
    return table


def calls_table(fleet: Fleet, findings: Findings) -> Table:
    """Show what was asked of the engine by one scan."""
    table = _table("Engine calls of one scan", "kind", "calls", "at most", "")
    inspected = len(fleet.container_names(range(fleet.stale_images + fleet.retagged_images)))
    most = {
        "list containers": 1,
        "list images": 1,
        "inspect container": inspected,
        "inspect image": fleet.stale_images,
    }
    calls = _most(findings.calls)
    for kind in dict.fromkeys((*most, *calls)):
        limit = most.get(kind, 0)
        met = findings.judge(f"engine calls: {kind}", is_met=calls.get(kind, 0) <= limit)
        table.add_row(kind, str(calls.get(kind, 0)), str(limit), met)
    return table


def times_table(findings: Findings) -> Table:
    """Show how long it took, beside the floor."""
    table = _table("Time", "what", "scan", "floor", "ratio", "at most", "")
    words = {"registries": "all questions to registries", "whole": "whole scan, from inventory to plan"}
    for what, text in words.items():
        for state in ("cold", "warm"):
            scan, floor = findings.seconds("scan", what, state), findings.seconds("floor", what, state)
            limits = [f"{LONGEST_RATIO:g} × floor"]
            met = scan <= LONGEST_RATIO * floor
            if state == "warm":
                limits.append(f"{LONGEST_WARM:g} s")
                met = met and scan <= LONGEST_WARM
            table.add_row(
                f"{text}, {state}", f"{scan * 1000:.0f} ms", f"{floor * 1000:.0f} ms", f"{scan / floor:.2f}",
                " and ".join(limits), findings.judge(f"time: {text}, {state}", is_met=met),
            )  # fmt: skip
    return table


def costs_table(findings: Findings, start: Mapping[str, float]) -> Table:
    """Show memory and start."""
    table = _table("Memory and start", "what", "measured", "at most", "")
    peak = max(findings.peaks)
    met = findings.judge("peak memory", is_met=peak <= LARGEST_PEAK)
    table.add_row("peak memory of the scanning process", f"{peak / 1e6:.1f} MB", f"{LARGEST_PEAK / 1e6:.0f} MB", met)
    words = {
        "plan": "processor time of `plan --json`, nothing to plan",
        "service": "processor time of `--run-once`, nothing to do",
    }
    for name, text in words.items():
        met = findings.judge(text, is_met=start[name] <= LONGEST_START)
        table.add_row(text, f"{start[name]:.2f} s", f"{LONGEST_START:g} s", met)
    table.add_row("for comparison: Python with asyncio and aiohttp", f"{start['bare']:.2f} s", "", "")
    return table


def _most(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest count of each kind."""
    return {kind: max(count.get(kind, 0) for count in counts) for kind in dict.fromkeys(k for c in counts for k in c)}


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("kind", "what", "") else "right")
    return table


def main() -> int:
    """Measure, print the tables and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench scan", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 51), metavar="1-50")
    rounds = parser.parse_args().rounds
    fleet, findings, load = Fleet(), Findings(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="watchtower-async-bench-") as name:
        directory = Path(name)
        measure_scans(fleet, rounds, directory, findings)
        start = measure_start(directory)
    console = Console(width=None if sys.stdout.isatty() else 110)
    stale, by_id = fleet.container_names(fleet.stale), fleet.container_names(fleet.retagged)
    console.print(
        f"{fleet.containers} containers of {fleet.images} images on {fleet.registries} registries that answer after "
        f"{ANSWER_DELAY * 1000:.0f} ms; {len(stale)} containers of {fleet.stale_images} images are stale, {len(by_id)} "
        f"are listed by image id. Medians of {rounds} cold and {rounds * WARM_SCANS} warm scans. "
        f"{os.cpu_count()} processors; {load:.1f} processes wanted one before this began.\n",
        highlight=False,
    )
    console.print(requests_table(fleet, findings))
    console.print(calls_table(fleet, findings))
    console.print(times_table(findings))
    console.print(costs_table(findings, start))
    for text in findings.missed:
        console.print(f"missed: {text}")
    return 1 if findings.missed else 0


if __name__ == "__main__":
    sys.exit(main())
