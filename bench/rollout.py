"""CPU time of a large rollout, and how it grows: `scripts/bench rollout`.

A simulated engine's containers are grouped, their labels read, rollouts planned and carried out by the coordinator.
The runner is done at once, so that only what the updater itself adds is measured. Each group is a namespace owner with
a new image, those that live in its network, and those that are restarted after it; groups follow each other in chains.
The rollout is written as the text in which it would be stored.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

import anyio
import anyio.lowlevel
from rich.console import Console
from rich.table import Table

from tests.support.builders import a_container
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.rollout.coordinator import Clock, Coordinator, Prepared, RolledBack, RunEnd, SlotReport
from watchtower_async.rollout.course import Course, PlannedGroup, Progress, RolloutState, ends, write_document
from watchtower_async.rollout.course_events import (
    Found,
    GroupFailed,
    GroupFound,
    GroupPrepared,
    GroupRolledBack,
    GroupSettled,
)
from watchtower_async.rollout.groups import make_groups
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.planning import plan_rollouts
from watchtower_async.rollout.policy import UpdatePolicy, read_policies

GROUP_SIZE = 50
CHAIN = 5
FAILS_EVERY = 50
"""Every so many groups one fails after it ran."""
GOAL_SECONDS = 3.0
GROWTH = 10
GOAL_GROWTH = 12.0

_DONE = Outcome(OutcomeKind.UPDATED, "still running after 5 s")
_BROKEN = Outcome(OutcomeKind.FAILED, "it exited with code 1")
_DEPENDS_ON = "com.docker.compose.depends_on"


def containers_of(groups: int) -> list[ContainerSummary]:
    """Return the containers of an engine: half of each group lives in its owner's network, half is restarted."""
    found: list[ContainerSummary] = []
    for number in range(groups):
        project = {"com.docker.compose.project": f"project{number // CHAIN}"}
        after = f"owner{number - 1}:service_healthy:false" if number % CHAIN else ""
        labels = {**project, "com.docker.compose.service": f"owner{number}", _DEPENDS_ON: after}
        owner = a_container(f"owner{number}", labels=labels)
        found.append(owner)
        sharing = {**project, "com.docker.compose.service": f"sharer{number}"}
        found += [
            a_container(f"sharer{number}-{index}", labels=sharing, network_mode=f"container:{owner.id}")
            for index in range((GROUP_SIZE - 1) // 2)
        ]
        restarted = {**project, _DEPENDS_ON: f"owner{number}:service_started:true"}
        found += [
            a_container(f"dependent{number}-{index}", labels=restarted)
            for index in range(GROUP_SIZE - 1 - (GROUP_SIZE - 1) // 2)
        ]
    return found


class ReadyRunner:
    """Is done with everything at once, and lets a few groups fail."""

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        """Pull nothing."""
        await anyio.lowlevel.checkpoint()
        return GroupPrepared(planned.key)

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        """Replace nothing."""
        slot.down()
        await anyio.lowlevel.checkpoint()
        slot.up()
        await anyio.lowlevel.checkpoint()
        if int(planned.key.removeprefix("owner")) % FAILS_EVERY == FAILS_EVERY - 1:
            return GroupFailed(planned.key, slot.now(), _BROKEN)
        return GroupSettled(planned.key, _DONE)

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        """Bring nothing back."""
        await anyio.lowlevel.checkpoint()
        return GroupRolledBack(planned.key, now(), () if failure is None else failure.detail)

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        """Find everything in order."""
        return GroupFound(planned.key, now(), Found.UPDATED, _DONE)


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds."""

    containers: int
    groups: int
    planning: float
    coordinating: float

    @property
    def total(self) -> float:
        """Return the sum."""
        return self.planning + self.coordinating


def measure(groups: int) -> Measured:
    """Plan and carry out one rollout."""
    containers = containers_of(groups)
    gc.collect()
    gc.disable()  # as `timeit` does: how long a pass takes depends on everything else in the process
    begun = time.process_time()
    updates = [item.name for item in containers if item.name.startswith("owner")]
    grouping = make_groups(containers, updates=updates)
    book = read_policies(containers, UpdatePolicy(parallelism=10, monitor=timedelta(seconds=5)))
    (course,) = plan_rollouts(grouping, book, rollout_id="bench", needs=lambda _: 60.0)
    planned = time.process_time()
    progress = anyio.run(carry_out, course)
    ended = time.process_time()
    gc.enable()
    assert not grouping.left_out
    assert len(course.groups) == groups
    assert progress.state is RolloutState.COMPLETED
    assert len(ends(course, progress)) == len(containers)
    return Measured(len(containers), groups, planned - begun, ended - planned)


async def carry_out(course: Course) -> Progress:
    """Carry a rollout out, and store it as JSON text."""
    texts: list[int] = []

    async def record(stored: Course, progress: Progress) -> None:
        texts.append(len(write_document(stored, progress)))
        await anyio.lowlevel.checkpoint()

    coordinator = Coordinator(course=course, runner=ReadyRunner(), announce=lambda _: None, record=record)
    return await coordinator.run()


@dataclass(frozen=True, slots=True)
class Round:
    """A large rollout between two small ones: a machine that is slower for a while is so for all three."""

    before: Measured
    large: Measured
    after: Measured

    def growth(self, part: Callable[[Measured], float]) -> float:
        """Return how much more the large one cost."""
        return 2 * part(self.large) / (part(self.before) + part(self.after))


PARTS: tuple[tuple[str, Callable[[Measured], float]], ...] = (
    ("planning", lambda found: found.planning),
    ("coordinating", lambda found: found.coordinating),
    ("in all", lambda found: found.total),
)


def main() -> None:
    """Measure and print a table; exit with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench rollout", description=__doc__)
    parser.add_argument("--groups", type=int, default=200, choices=range(20, 1001), metavar="20-1000")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 21), metavar="1-20")
    arguments = parser.parse_args()
    groups = arguments.groups
    measure(20)  # imports and caches
    rounds = [Round(measure(groups), measure(groups * GROWTH), measure(groups)) for _ in range(arguments.rounds)]
    small = [found for one in rounds for found in (one.before, one.after)]
    large = [one.large for one in rounds]
    table = Table(title=f"CPU seconds of a rollout in groups of {GROUP_SIZE}, medians of {len(rounds)} rounds")
    for heading in ("containers", "groups", *(name for name, _ in PARTS)):
        table.add_column(heading, justify="right")
    for found in (small, large):
        medians = (f"{median(map(part, found)):.2f}" for _, part in PARTS)
        table.add_row(str(found[0].containers), str(found[0].groups), *medians)
    growths = {name: median(one.growth(part) for one in rounds) for name, part in PARTS}
    table.add_row(f"× {GROWTH}", "", *(f"× {growth:.1f}" for growth in growths.values()))
    console = Console()
    console.print(table)
    cost, growth = median(found.total for found in small), growths["in all"]
    met = cost <= GOAL_SECONDS and growth <= GOAL_GROWTH
    console.print(
        f"goals: at most {GOAL_SECONDS:g} s, and × {GOAL_GROWTH:g} when it grows × {GROWTH}; "
        f"{'met' if met else 'NOT met'} ({cost:.2f} s, × {growth:.1f})"
    )
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
