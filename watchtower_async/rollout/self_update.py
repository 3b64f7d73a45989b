"""The updater's own container is replaced like any other, only that a helper does it.

    the updater    pulls, looks at everything that can be refused, starts a helper, and waits
    the helper     replaces the updater's container; the new one is good when it reports that it is ready
                   leaves word how it ended, and removes itself last
    the updater    old or new, waits for the helper's end, and takes the word

The helper may be killed and come back at any moment. Like every updater it first puts in order what its names tell. It
begins a replacement only in its first run: after that, an untouched predecessor may be one that was put back, and an
image that takes the machine down with it would be tried for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import anyio

from watchtower_async.engine.client import CALL_SECONDS, Engine
from watchtower_async.engine.injected_files import carry_over, find_injected_files
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.temporary_name import RunState
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import EngineConflictError, EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.health import Bad, Good
from watchtower_async.rollout.helper_container import (
    SUFFIX,
    HelperOrder,
    base_of,
    helper_of,
    helper_request,
    is_abandoned,
    not_left_to_helpers,
)
from watchtower_async.rollout.helper_result import HelperResult, ResultFile
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.readiness import watch_updater
from watchtower_async.rollout.recovery import RecoveryReport, recover
from watchtower_async.rollout.replacement import ReplacementSettings, ReplacementTarget, Replacer
from watchtower_async.rollout.steps import Steps
from watchtower_async.rollout.transitions import situations

__all__ = [
    "HelperOrder",
    "HelperPlace",
    "HelperResult",
    "ResultFile",
    "SelfReplacer",
    "helper_request",
    "not_left_to_helpers",
    "replace_self",
    "start_helper",
    "wait_for_helper",
]

POLL_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 1800.0
"""A helper bounds each of its steps. One that is at work for longer than this is not waited for any more."""


# ---- the updater -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperPlace:
    """Where a helper runs, and what."""

    program: tuple[str, ...]
    """The program in the image that runs now, with the options that it needs beside the environment."""
    socket: str | None
    """The engine's unix socket as this container sees it, None where the engine is reached over a network."""
    state_directory: str


async def start_helper(engine: Engine, order: HelperOrder, *, facts: EngineFacts, place: HelperPlace) -> Outcome | None:
    """Create and start the helper. Return why it was not started; then nothing is left of it.

    The image is pulled by now, and the replacement was prepared, so that it is known to be possible. Raises
    EngineUnavailableError.
    """
    created: str | None = None
    try:
        found = await _helper_spec(engine, order, facts, place)
        if isinstance(found, Outcome):
            return found
        request, injected = found
        created = await _create(engine, order, request)
        for network, endpoint in request.extra_networks:
            await engine.connect_network(network, created, endpoint)
        await carry_over(engine, order.container_id, created, injected)
        await engine.start_container(created)
    except EngineConflictError:
        await _discard(engine, created)
        return Outcome(
            OutcomeKind.FAILED, f"{order.helper} is there already: it is at work, or somebody must remove it"
        )
    except EngineUnavailableError:
        raise  # whoever comes back finds the helper, started or not
    except EngineError as error:
        await _discard(engine, created)
        return Outcome(OutcomeKind.FAILED, f"the helper {order.helper} could not be started: {error}", blame=Blame.HOST)
    except anyio.get_cancelled_exc_class():
        await _discard(engine, created)
        raise
    return None


async def _helper_spec(
    engine: Engine, order: HelperOrder, facts: EngineFacts, place: HelperPlace
) -> tuple[Recreation, tuple[str, ...]] | Outcome:
    containers = await _containers(engine)
    document = await engine.inspect_container(order.container_id)
    image = await engine.inspect_image(str(document.get("Image") or ""))
    found = helper_request(
        document,
        image,
        facts,
        (*place.program, *order.arguments()),
        neighbourhood=Neighbourhood(containers),
        socket=place.socket,
        state_directory=place.state_directory,
    )
    if isinstance(found, Refusal):
        return Outcome(OutcomeKind.FAILED, "a helper cannot be created like it: " + "; ".join(found.reasons))
    injected = await find_injected_files(engine, document) if found.needs_injected_file_check else ()
    if isinstance(injected, str):
        return Outcome(OutcomeKind.FAILED, f"a helper cannot be created like it: {injected}")
    return found, injected


async def _create(engine: Engine, order: HelperOrder, request: Recreation) -> str:
    try:
        return await engine.create_container(order.helper, request.request, platform=request.platform)
    except EngineConflictError:
        # One that was never started, or has ended, was left by somebody who was killed.
        document = await engine.inspect_container(order.helper)
        if not is_abandoned(document, now=await _engine_time(engine), has_begun=True):
            raise
        await engine.remove_container(str(document["Id"]), force=True)
        return await engine.create_container(order.helper, request.request, platform=request.platform)


async def _discard(engine: Engine, helper_id: str | None) -> None:
    if helper_id is None:
        return
    with anyio.move_on_after(CALL_SECONDS, shield=True):
        try:
            await engine.remove_container(helper_id, force=True)
        except EngineError:
            return  # it was never started, and is removed as an abandoned one


async def wait_for_helper(engine: Engine, own_id: str, *, patience: float = LONGEST_WAIT_SECONDS) -> bool:
    """Wait until no helper works on our container any more; return whether that is so. Remove an abandoned one.

    An updater that is ready calls this before its first session, and one that has started a helper after that. Raises
    EngineUnavailableError.
    """
    deadline = anyio.current_time() + patience
    while True:
        containers = await _containers(engine)
        helper = helper_of(containers, own_id)
        if helper is None or await _is_removed(engine, helper, containers):
            return True
        if anyio.current_time() >= deadline:
            return False
        await anyio.sleep(POLL_SECONDS)


async def _is_removed(engine: Engine, helper: ContainerSummary, containers: Sequence[ContainerSummary]) -> bool:
    """Remove the helper if it will do nothing any more, and say whether it is gone."""
    try:
        document = await engine.inspect_container(helper.id)
        has_begun = helper.name.removesuffix(SUFFIX) in situations(containers)
        if not is_abandoned(document, now=await _engine_time(engine), has_begun=has_begun):
            return False
        await engine.remove_container(helper.id, force=True)
    except NoSuchObjectError:
        return True
    except EngineUnavailableError:
        raise
    except EngineError:
        return False
    return True


# ---- the helper ------------------------------------------------------------------------------------------------------


class Watch(Protocol):
    """Waits until it is known whether a successor is good."""

    async def __call__(
        self, engine: Engine, container_id: str, /, *, monitor: float, on_up: Callable[[], None]
    ) -> Good | Bad:
        """Return the verdict; tell when it is up. Raises EngineUnavailableError."""


class SelfReplacer(Replacer):
    """Replaces updaters: a new one is good when it reports that it is ready."""

    def __init__(
        self,
        *,
        engine: Engine,
        owner: str,
        facts: EngineFacts,
        settings: ReplacementSettings,
        haste: anyio.Event | None = None,
        watch: Watch = watch_updater,
    ) -> None:
        """`owner` is the helper's, of which the updaters can see whether it runs."""
        haste = haste or anyio.Event()
        super().__init__(engine=engine, owner=owner, facts=facts, settings=settings, haste=haste)
        self._steps = _WatchingSteps(
            engine=engine,
            owner=owner,
            stop_timeout=settings.stop_timeout,
            monitor=settings.monitor,
            haste=haste,
            watch=watch,
        )


class _WatchingSteps(Steps):
    """Steps that judge by another measure."""

    def __init__(
        self, *, engine: Engine, owner: str, stop_timeout: int, monitor: float, haste: anyio.Event, watch: Watch
    ) -> None:
        super().__init__(engine=engine, owner=owner, stop_timeout=stop_timeout, monitor=monitor, haste=haste)
        self._judge = watch

    async def watch(
        self,
        successor_id: str,
        ran: RunState,
        on_up: Callable[[], None] = lambda: None,
        *,
        monitor: float | None = None,
    ) -> Good | Bad:
        """Wait until it is known whether the successor is good."""
        if ran is not RunState.RUNNING:
            return await super().watch(successor_id, ran, on_up, monitor=monitor)
        window = self._monitor if monitor is None else monitor
        return await self._judge(self._engine, successor_id, monitor=window, on_up=on_up)


async def replace_self(
    replacer: Replacer, order: HelperOrder, *, results: ResultFile, tell: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Do what a helper does, from wherever an earlier run of it was stopped; at the end the helper is removed.

    `tell` is told what a person should read. Raises EngineError where it is not finished: then the process ends, and
    the engine starts it again.
    """
    engine = replacer.engine
    helper = await engine.inspect_container(order.helper)
    ran_before = parse_time(str(section(helper, "State").get("FinishedAt") or "")) is not None
    repairs = await _recover(replacer, order, tell)
    outcome = _find_out(order, await _containers(engine), repairs, ran_before=ran_before)
    if outcome is None:
        target = ReplacementTarget(
            container_id=order.container_id,
            name=order.name,
            reference=order.reference,
            digest=order.digest,
            local_image=order.image_id,
            is_always_put_back=True,
        )
        outcome = await replacer.replace(target)
        tell(outcome.reason)
        await _recover(replacer, order, tell)
    problem = results.leave(HelperResult(order, outcome))
    if problem is not None:
        tell(problem)
    if outcome.kind in (OutcomeKind.UNFINISHED, OutcomeKind.LOST):
        raise EngineError(outcome.reason)
    await engine.remove_container(str(helper["Id"]), force=True)
    return outcome


async def _recover(replacer: Replacer, order: HelperOrder, tell: Callable[[str], None]) -> tuple[RecoveryReport, ...]:
    """Bring the name in order, and nothing else. Raises EngineError where that was not possible."""
    containers = [item for item in await _containers(replacer.engine) if base_of(item.name) == order.name]
    if order.name not in situations(containers):
        return ()
    repairs = await recover(replacer=replacer, containers=containers, dry_run=False, on_wait=tell)
    for repair in repairs:
        tell(f"{repair.name}: {repair.text}")
    if order.name in situations(await _containers(replacer.engine)):
        raise EngineError("; ".join(repair.text for repair in repairs) or "the replacement is not finished")
    return repairs


def _find_out(
    order: HelperOrder,
    containers: Sequence[ContainerSummary],
    repairs: Sequence[RecoveryReport],
    *,
    ran_before: bool,
) -> Outcome | None:
    """Say how it has ended, where nothing is unfinished; None where it is still to begin."""
    found = next((item for item in containers if item.name == order.name), None)
    if found is None:
        return Outcome(OutcomeKind.SKIPPED, f"{order.name} was removed")
    said = tuple(repair.text for repair in repairs)
    if found.id != order.container_id:
        is_ours = found.image_id == order.image_id
        kind = OutcomeKind.UPDATED if is_ours else OutcomeKind.SKIPPED
        return Outcome(kind, "it runs on the new image" if is_ours else "somebody else has created it anew", said)
    if not ran_before:
        return None
    if any(repair.failed for repair in repairs):
        return Outcome(OutcomeKind.ROLLED_BACK, "the new updater failed", said, Blame.IMAGE)
    return Outcome(OutcomeKind.FAILED, "the helper was interrupted, and the updater is as it was", said, Blame.HOST)


# ---- shared ----------------------------------------------------------------------------------------------------------


async def _containers(engine: Engine) -> list[ContainerSummary]:
    return [read_container(document) for document in await engine.list_containers()]


async def _engine_time(engine: Engine) -> datetime:
    info = await engine.system_info()
    return parse_time(str(info.get("SystemTime") or "")) or datetime.now(UTC)
