"""What looking up credentials costs: `scripts/bench credentials`.

10,000 look-ups against a file of 500 entries, once with a fresh index and once with one that remembers; the floor is a
bare dictionary with the same questions. Then 1000 askers for one answer of a helper, which is one process.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table

from watchtower_async.credentials.config_file import ConfigFile, parse_config_file
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.lookup import HelperQuestion, Lookup
from watchtower_async.images.reference import Reference

ENTRIES = 500
LOOK_UPS = 10_000
REPETITIONS = 7
ASKERS = 1000
GOAL_SECONDS = 0.05
HELPER = """#!/bin/sh
echo run >>"$COUNT_FILE"
sleep 0.3
printf '{"Username": "user", "Secret": "secret"}'
"""


def a_file() -> ConfigFile:
    """Return a configuration with hosts, ports, URLs and name spaces."""
    auth = base64.b64encode(b"user:password").decode()
    forms = ("r{}.example", "r{}.example:5000", "https://r{}.example/v1/", "r{}.example/team", "r{}.example/team/app")
    keys = [forms[number % len(forms)].format(number) for number in range(ENTRIES)]
    return parse_config_file(json.dumps({"auths": {key: {"auth": auth} for key in keys}}).encode())


def the_questions(distinct: int) -> list[Reference]:
    """Return the references that are looked up."""
    return [
        Reference(f"r{number % ENTRIES}.example", f"team/app{number % distinct}", "latest", None)
        for number in range(LOOK_UPS)
    ]


def seconds_for(config: ConfigFile, questions: list[Reference]) -> float:
    """Return the processor time of one pass with an index that has been asked nothing before."""
    lookup = Lookup(config)
    started = time.process_time()
    for reference in questions:
        lookup.sources_for(reference)
    return time.process_time() - started


def floor_for(questions: list[Reference]) -> float:
    """Return the processor time of the same questions to a dictionary."""
    known = {reference.domain: reference.path for reference in questions}
    started = time.process_time()
    for reference in questions:
        known.get(reference.domain)
    return time.process_time() - started


async def helper_runs() -> tuple[int, float]:
    """Let many ask at once; return how many processes there were, and how long all of them waited in all."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = directory / "docker-credential-bench"
        program.write_text(HELPER)
        program.chmod(0o755)
        count = directory / "count"
        environ = {"PATH": f"{directory}:{os.environ['PATH']}", "COUNT_FILE": str(count)}
        question = HelperQuestion("bench", "registry.example")
        async with HelperRunner(environ=environ) as runner:
            started = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(ASKERS):
                    group.start_soon(runner.ask, question)
            elapsed = time.perf_counter() - started
        return len(count.read_text().splitlines()), elapsed


def main() -> int:
    """Measure, print a table, and return 1 where a goal is missed."""
    config = a_file()
    table = Table("QUESTIONS", "CPU, MEDIAN", "GOAL", "FLOOR", "RATIO")
    is_met = True
    for title, distinct in (("10,000 of 500 repositories", 1), ("10,000 different repositories", LOOK_UPS)):
        questions = the_questions(distinct)
        spent = statistics.median(seconds_for(config, questions) for _ in range(REPETITIONS))
        floor = statistics.median(floor_for(questions) for _ in range(REPETITIONS))
        is_met = is_met and spent <= GOAL_SECONDS
        goal = f"{GOAL_SECONDS * 1000:.0f} ms"
        table.add_row(title, f"{spent * 1000:.1f} ms", goal, f"{floor * 1000:.2f} ms", f"{spent / floor:.1f}")
    runs, elapsed = anyio.run(helper_runs)
    console = Console()
    console.print(table)
    console.print(f"{ASKERS} askers of one helper: {runs} process, {elapsed:.2f} s in all (the helper takes 0.3 s)")
    return 0 if is_met and runs == 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
