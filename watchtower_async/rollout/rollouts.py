"""The rollouts of one engine that are not over: carried out one after the other, stored, paused, taken up again.

Whoever plans asks here which containers are in the hands of a rollout. A rollout that rests in a pause lets the next
one go on; it goes on itself when somebody resumes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from watchtower_async.rollout.coordinator import Coordinator, GroupRunner
from watchtower_async.rollout.course import (
    AT_REST,
    FINAL,
    Course,
    IllegalTransitionError,
    Phase,
    Progress,
    RolloutState,
    read_document,
    write_document,
)
from watchtower_async.rollout.course_events import (
    AbortAsked,
    Announcement,
    PauseAsked,
    Request,
    ResumeAsked,
    Superseded,
)
from watchtower_async.rollout.groups import Role
from watchtower_async.state.contents import StoredRollout

SUPERSEDE_SECONDS = 900.0
"""The longest that a rollout which gives way to another may take to bring what it has begun to its end."""


class RolloutStore(Protocol):
    """Keeps rollouts over restarts where it can. Its calls raise nothing that a disk can cause."""

    def load_rollouts(self) -> tuple[StoredRollout, ...]:
        """Return the rollouts that are not finished, by id."""

    async def save_rollout(self, rollout_id: str, document: str) -> None:
        """Keep a rollout's state."""

    async def forget_rollout(self, rollout_id: str) -> None:
        """Drop a rollout that is finished."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a container is not for a new plan: the rollout that has it, and the digest that it moves to."""

    rollout: str
    reason: str
    digest: str | None
    is_replaced: bool = True
    """Whether the rollout makes it anew; otherwise it only restarts it."""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """Where a rollout stands, for people and programs."""

    id: str
    name: str
    state: RolloutState
    reason: str
    groups: tuple[tuple[str, Phase], ...]

    @property
    def may_resume(self) -> bool:
        """Say whether it waits for somebody."""
        return self.state in (RolloutState.PAUSED, RolloutState.ROLLBACK_PAUSED)

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "id": self.id,
            "name": self.name,
            "state": str(self.state),
            "reason": self.reason,
            "groups": [{"name": key, "phase": str(phase)} for key, phase in self.groups],
        }


Narrate = Callable[[Course, Announcement], None]
OnOver = Callable[[Course, Progress], Awaitable[None]]


class Rollouts:
    """Has all open rollouts of an engine."""

    def __init__(
        self,
        *,
        runner: GroupRunner,
        store: RolloutStore,
        narrate: Narrate,
        on_over: OnOver,
        tell: Callable[[str], None],
    ) -> None:
        """`narrate` hears every announcement; `on_over` is awaited once for each rollout that has come to its end.

        `tell` is told what is wrong with stored rollouts.
        """
        self._runner = runner
        self._store = store
        self._narrate = narrate
        self._on_over = on_over
        self._tell = tell
        self._open: dict[str, Coordinator] = {}
        self._over: dict[str, tuple[Course, Progress] | None] = {}
        """What is stored and over, but was not closed; None for what cannot be read."""
        self._at_work: str | None = None
        self._turn = anyio.Lock()
        self._wanted: list[str] = []
        self._news = anyio.Event()

    # ---- what there is -----------------------------------------------------------------------------------------

    @property
    def views(self) -> tuple[RolloutView, ...]:
        """Return where the open rollouts stand."""
        return tuple(map(_view, self._open.values()))

    @property
    def is_at_work(self) -> bool:
        """Say whether a rollout is being carried out now."""
        return self._at_work is not None

    @property
    def images_needed(self) -> frozenset[str]:
        """Return the ids of the images that an open rollout may have to go back to."""
        return frozenset(
            member.image_id
            for coordinator in self._open.values()
            for planned in coordinator.course.groups
            if coordinator.progress.phase_of(planned.key) is not Phase.ENDED
            for member in planned.group.create_order
        )

    def holds(self) -> dict[str, Hold]:
        """Return by name the containers that an open rollout has not let go of."""
        found: dict[str, Hold] = {}
        for coordinator in self._open.values():
            progress = coordinator.progress
            text = f"part of rollout {coordinator.course.id}, which is {_words(progress)}"
            for planned in coordinator.course.groups:
                if progress.phase_of(planned.key) is Phase.ENDED:
                    continue
                for member in planned.group.members:
                    digest = None if member.aim is None else member.aim.digest
                    is_replaced = member.role is not Role.RESTART
                    found[member.name] = Hold(coordinator.course.id, text, digest, is_replaced)
        return found

    # ---- carrying out ------------------------------------------------------------------------------------------

    async def carry_out(self, courses: Sequence[Course], *, on_begun: Callable[[], None]) -> dict[str, Progress]:
        """Carry rollouts out in their order. Return, by id, where each stands when it is over or rests in a pause.

        `on_begun` is told when they are known here, so that other plans take them into account.
        """
        coordinators = [self._add(course, None) for course in courses]
        for coordinator in coordinators:
            await self._record(coordinator.course, coordinator.progress)
        on_begun()
        for coordinator in coordinators:
            await self._carry_out(coordinator)
        return {coordinator.course.id: coordinator.progress for coordinator in coordinators}

    async def take_up(self) -> None:
        """Take up what the last process left: once, and after recovery. What was paused stays so."""
        self.load()
        for identity, left in tuple(self._over.items()):
            await self._close(identity, left)
        self._wanted += [
            identity for identity, coordinator in self._open.items() if coordinator.progress.state not in AT_REST
        ]
        self._news.set()

    def load(self) -> None:
        """Read what is stored, to know of it; nothing begins."""
        for stored in self._store.load_rollouts():
            if stored.id in self._open or stored.id in self._over:
                continue
            try:
                course, progress = read_document(stored.document)
            except ValueError as error:
                self._tell(f"rollout {stored.id} is given up: {error}")
                self._over[stored.id] = None
                continue
            if progress.state in FINAL:
                self._over[stored.id] = (course, progress)
            else:
                self._add(course, progress)

    async def finish_wanted(self) -> None:
        """Carry out what was taken up or resumed, and return when all of it is over or rests."""
        while self._wanted:
            coordinator = self._open.get(self._wanted.pop(0))
            if coordinator is not None:
                await self._carry_out(coordinator)

    async def serve(self) -> None:
        """Carry out what is taken up or resumed, for ever."""
        while True:
            await self.finish_wanted()
            self._news = anyio.Event()
            if not self._wanted:
                await self._news.wait()

    def _add(self, course: Course, stored: Progress | None) -> Coordinator:
        coordinator = Coordinator(
            course=course,
            runner=self._runner,
            announce=lambda announcement: self._narrate(course, announcement),
            record=self._record,
            stored=stored,
        )
        self._open[course.id] = coordinator
        return coordinator

    async def _record(self, course: Course, progress: Progress) -> None:
        await self._store.save_rollout(course.id, write_document(course, progress))

    async def _carry_out(self, coordinator: Coordinator, *, patience: float | None = None) -> None:
        """Carry it out when its turn comes; with `patience` (seconds) only where that is soon enough."""
        # One at a time, so that the promise about how much is down at once holds for the engine.
        has_turn = False
        with anyio.move_on_after(patience):
            await self._turn.acquire()
            has_turn = True
        if not has_turn:
            return
        try:
            await self._carry_out_now(coordinator)
        finally:
            self._turn.release()

    async def _carry_out_now(self, coordinator: Coordinator) -> None:
        identity = coordinator.course.id
        if identity not in self._open:
            return  # somebody else had it carried out in the meantime
        self._at_work = identity
        try:
            await coordinator.run()
        finally:
            self._at_work = None
        if coordinator.progress.is_over:
            self._over[identity] = (coordinator.course, coordinator.progress)
            del self._open[identity]
            await self._close(identity, self._over[identity])

    async def _close(self, identity: str, left: tuple[Course, Progress] | None) -> None:
        """Do what is due at the end, and forget it. Interrupted, the next start does it again."""
        if left is not None:
            await self._on_over(*left)
        await self._store.forget_rollout(identity)
        self._over.pop(identity, None)

    # ---- requests ----------------------------------------------------------------------------------------------

    def pause(self, rollout: str, reason: str) -> RolloutView:
        """Let nothing new begin. Raises IllegalTransitionError where that is not possible, or nothing has this id."""
        return self._ask(rollout, PauseAsked(reason))

    def resume(self, rollout: str) -> RolloutView:
        """Let a paused rollout go on. Raises IllegalTransitionError as `pause` does."""
        return self._ask(rollout, ResumeAsked())

    def abandon(self, rollout: str, reason: str) -> RolloutView:
        """Give a rollout up; what it has begun comes to its end. Raises IllegalTransitionError as `pause` does."""
        return self._ask(rollout, AbortAsked(reason))

    async def supersede(self, rollouts: Iterable[str]) -> None:
        """Let rollouts give way to a newer image, and wait until they have stopped."""
        for identity in rollouts:
            with suppress(IllegalTransitionError):
                self._ask(identity, Superseded("a newer image is there"))
            if identity in self._open:
                await self._carry_out(self._open[identity], patience=SUPERSEDE_SECONDS)

    def _ask(self, rollout: str, request: Request) -> RolloutView:
        coordinator = self._open.get(rollout)
        if coordinator is None:
            known = ", ".join(self._open) or "there is none"
            raise IllegalTransitionError(f"there is no open rollout {rollout}; open: {known}")
        coordinator.ask(request)
        if rollout != self._at_work and rollout not in self._wanted:
            self._wanted.append(rollout)
            self._news.set()
        return _view(coordinator)


def _view(coordinator: Coordinator) -> RolloutView:
    course, progress = coordinator.course, coordinator.progress
    groups = tuple((planned.key, progress.phase_of(planned.key)) for planned in course.groups)
    return RolloutView(course.id, course.name, progress.state, progress.reason, groups)


def _words(progress: Progress) -> str:
    state = str(progress.state).replace("_", " ")
    return f"{state}: {progress.reason}" if progress.reason else state
