"""Puts together what carries sessions out on one engine, for the service, for commands and for tests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from watchtower_async.engine.client import Engine
from watchtower_async.events import Announcer, Degraded, ImageRemoved
from watchtower_async.narration import Narrator
from watchtower_async.repairs import Repairs
from watchtower_async.rollout.clean_up import remove_unused
from watchtower_async.rollout.course import Course, Progress
from watchtower_async.rollout.drawing import RolloutDrawing
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.logins import Credentials as RunnerCredentials
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.rollout.own_container import OwnContainer
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.rollout.replacement import Replacer
from watchtower_async.rollout.rollouts import Rollouts
from watchtower_async.rollout.runner import Aftercare, EngineRunner, Listeners
from watchtower_async.session import Credentials as SessionCredentials
from watchtower_async.session import Session, SessionPolicy
from watchtower_async.state.store import StateStore
from watchtower_async.updates.planner import Planner


class Credentials(RunnerCredentials, SessionCredentials, Protocol):
    """The credential store, as sessions and rollouts need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How sessions and rollouts are carried out."""

    session: SessionPolicy
    update: UpdatePolicy
    cleanup: bool
    use_compose_depends_on: bool = True


@dataclass(frozen=True, slots=True)
class Assembly:
    """What carries sessions out on one engine."""

    session: Session
    rollouts: Rollouts


def assemble(
    *,
    engine: Engine,
    planner: Planner,
    replacer: Replacer,
    hooks: HookRunner,
    credentials: Credentials,
    state: StateStore,
    policies: Policies,
    announcer: Announcer,
    own: OwnContainer | None = None,
) -> Assembly:
    """Put it together. Nothing is asked or begun yet. `own` is the container that this process runs in."""
    own_id = None if own is None else own.container_id
    narrator = Narrator(host=engine.name, announcer=announcer, quarantine=state)

    def complain(problem: str) -> None:
        announcer.announce(Degraded(problem))

    async def close(course: Course, progress: Progress) -> None:
        if policies.cleanup:
            await clean_up(engine, announcer, course, progress, spare=rollouts.images_needed)

    repairs = Repairs(replacer=replacer, narrator=narrator, announcer=announcer, own_id=own_id, on_wait=complain)
    rollouts = Rollouts(
        runner=EngineRunner(
            replacer=replacer,
            credentials=credentials,
            hooks=hooks,
            listeners=Listeners(
                on_side_effect=narrator.tell_side_effect,
                on_hook=narrator.tell_hook,
                on_wait=complain,
                on_condemned=narrator.condemn,
            ),
            aftercare=Aftercare(recover=repairs.recover_now, is_condemned=narrator.is_condemned),
            own=own,
        ),
        store=state,
        narrate=narrator.tell,
        on_over=close,
        tell=complain,
    )

    async def take_word() -> None:
        if own is not None:
            await own.take_word(narrator.condemn)

    session = Session(
        engine=engine,
        planner=planner,
        rollouts=rollouts,
        drawing=RolloutDrawing(
            engine=engine,
            sharers=replacer.sharers,
            policy=policies.update,
            stop_timeout=replacer.settings.stop_timeout,
            own_id=own_id,
            use_compose=policies.use_compose_depends_on,
        ),
        recover=repairs.recover,
        hooks=hooks,
        take_word=take_word,
        credentials=credentials,
        memory=state,
        policy=policies.session,
        narrator=narrator,
        announcer=announcer,
    )
    return Assembly(session, rollouts)


async def clean_up(
    engine: Engine, announcer: Announcer, course: Course, progress: Progress, *, spare: Collection[str]
) -> None:
    """Remove the old images of what a rollout has updated, except those to spare. Nothing of it goes back any more."""
    groups = progress.groups
    left: dict[str, str] = {}
    for planned in course.groups:
        found = groups.get(planned.key)
        if found is None or found.outcome is None or found.outcome.kind is not OutcomeKind.UPDATED:
            continue
        left |= {member.image_id: member.aim.image for member in planned.group.updated if member.aim is not None}
    unneeded = {identity: name for identity, name in left.items() if identity not in spare}
    for identity, name in (await remove_unused(engine, unneeded)).items():
        announcer.announce(ImageRemoved(identity, name))
