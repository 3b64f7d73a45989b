"""From an engine's inventory to a complete plan. Reads only; nothing is pulled, touched or noted.

Engine calls: one inspect per container that is stale or listed by image id, one per distinct
old image of the stale ones. A registry is asked for an image's date only where a cooldown is over without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio

from watchtower_async.credentials.overview import Use
from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.each import each
from watchtower_async.engine.inventory import ContainerSummary, Inventory
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Refusal, recreate
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.images.digest import Digest
from watchtower_async.images.manifest import is_index_type
from watchtower_async.images.platform import Platform, normalise
from watchtower_async.images.reference import Reference, is_image_id
from watchtower_async.registry.client import Published
from watchtower_async.state.contents import Sighting
from watchtower_async.updates.companions import companions
from watchtower_async.updates.cooldown import FirstSeen, date_note, sight, wait_for
from watchtower_async.updates.ordering import dependencies, find_cycles, in_order
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan, action_for
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.scanner import Answer, Scanner, Unanswered, reason_for
from watchtower_async.updates.selection import ImageFilter, LeftAlone, SelectionPolicy, Watched, original_image, select
from watchtower_async.updates.staleness import (
    Checkable,
    Freshness,
    Verdict,
    checkable,
    judge,
    judge_local,
    judge_platform,
)

ENGINE_READS_AT_ONCE = 8

Failure = tuple[str, Digest]
"""A container's name and the published digest that failed in it."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A watched container on its way to a plan item."""

    watched: Watched
    image_text: str
    verdict: Verdict
    checked: Checkable | None = None
    local: Reference | None = None
    """What was looked for on the engine, where no registry may be asked."""
    published: Published | None = None
    document: JsonObject | None = None
    """The container's own, where it was needed before."""
    refusal: Refusal | None = None
    notes: tuple[str, ...] = ()
    sighting: Sighting | None = None
    held_until: datetime | None = None

    @property
    def reference(self) -> Reference | None:
        """Return the reference whose tag counts, if there is one."""
        return self.checked.reference if self.checked is not None else self.local


@dataclass(frozen=True, slots=True)
class _Round:
    """What is the same for all containers of one plan."""

    inventory: Inventory
    neighbourhood: Neighbourhood
    now: datetime


@dataclass(frozen=True, slots=True)
class Focus:
    """The images that a plan is about, where it is not about all: no others are asked for or listed."""

    includes: Callable[[Reference], bool] | None = None
    first: frozenset[Reference] = frozenset()
    """Those that are asked for before the others."""
    names: Callable[[str], bool] | None = None
    """The containers that it is about."""

    def narrow(self, judged: Iterable[_Judged]) -> list[_Judged]:
        """Return the containers with these images, in the order in which to ask for them."""
        found = [(item.reference, item) for item in judged if item.reference is not None]
        included = [(reference, item) for reference, item in found if self._is_about(reference, item)]
        return [item for _, item in sorted(included, key=lambda pair: pair[0] not in self.first)]

    def _is_about(self, reference: Reference, item: _Judged) -> bool:
        is_image = self.includes is None or self.includes(reference)
        return is_image and (self.names is None or self.names(item.watched.container.name))


_ImageText = tuple[Watched, str | Verdict, JsonObject | None]
"""A container, the reference it was made from or why that is not known, and its document where it was read."""


class Planner:
    """Makes the plan of one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        scanner: Scanner,
        policy: SelectionPolicy,
        facts: EngineFacts,
        first_seen: FirstSeen | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Who carries a plan out notes its sightings where `first_seen` finds them; without it all images are new."""
        self._engine = engine
        self._scanner = scanner
        self._policy = policy
        self._image_filter = ImageFilter(policy)
        self._facts = facts
        self._first_seen = first_seen
        self._clock = clock
        self._reads = anyio.CapacityLimiter(ENGINE_READS_AT_ONCE)

    async def make(
        self,
        inventory: Inventory,
        *,
        quarantined: frozenset[Failure] = frozenset(),
        repairs: tuple[str, ...] = (),
        problems: tuple[str, ...] = (),
        focus: Focus | None = None,
    ) -> UpdatePlan:
        """Judge every container, or those in the focus. Raises EngineUnavailableError when the engine goes away.

        `quarantined` are images that failed in a container; they are not tried in it again.
        """
        selection = select(inventory, self._policy)
        graph = self._graph(inventory)
        watched, in_cycles = _without_cycles(selection.watched, graph)
        judged = [_held_back(item, quarantined) for item in await self._judge_all(watched, inventory, focus)]
        stale = [item for item in judged if item.verdict.is_stale]
        others = [item for item in judged if not item.verdict.is_stale]
        examined = await self._examine_all(stale, inventory)
        items = [_item_of(item) for item in (*others, *examined)]
        if focus is None:
            items += [_left_alone_item(item) for item in (*selection.left_alone, *in_cycles)]
        sightings = dict.fromkeys(item.sighting for item in examined if item.sighting is not None)
        return UpdatePlan(
            engine=self._engine.name,
            items=_arranged(items, graph),
            repairs=repairs,
            problems=problems,
            sightings=tuple(sightings),
        )

    def watched(self, inventory: Inventory) -> tuple[ContainerSummary, ...]:
        """Return the containers that a plan is about."""
        return tuple(item.container for item in select(inventory, self._policy).watched)

    async def uses(self, inventory: Inventory) -> tuple[Use, ...]:
        """Return what a session asks registries for, and for which containers. Raises EngineUnavailableError."""
        selection = select(inventory, self._policy)
        watched, _ = _without_cycles(selection.watched, self._graph(inventory))
        identified = await self._identify_all(watched, inventory)
        return tuple(Use(item.watched.container.name, item.checked.reference) for item in identified if item.checked)

    def _graph(self, inventory: Inventory) -> dict[str, frozenset[str]]:
        return dependencies(inventory.containers, use_compose=self._policy.use_compose_depends_on)

    async def _judge_all(self, watched: Iterable[Watched], inventory: Inventory, focus: Focus | None) -> list[_Judged]:
        first = await self._identify_all(watched, inventory)
        if focus is not None:
            first = focus.narrow(first)
        answers = await self._scanner.scan(item.checked.reference for item in first if item.checked)
        return [_answered(item, answers) for item in first]

    async def _identify_all(self, watched: Iterable[Watched], inventory: Inventory) -> list[_Judged]:
        """Find out what to ask for, for each container."""
        texts = await self._image_texts(watched)
        checks: dict[tuple[str, str], Checkable | Verdict] = {}
        first: list[_Judged] = []
        for item, text, document in texts:
            if isinstance(text, Verdict):
                first.append(_Judged(item, item.container.image_text, text))
                continue
            unwanted = self._image_filter.reason_against(text)
            if unwanted is not None:
                first.append(_Judged(item, text, Verdict(Freshness.NOT_CHECKED, unwanted)))
                continue
            image = text, item.container.image_id
            if item.no_pull:
                local, verdict = judge_local(*image, inventory)
                first.append(_Judged(item, text, verdict, local=local, document=document))
                continue
            check = checks.get(image) or checks.setdefault(image, checkable(*image, inventory))
            if isinstance(check, Verdict):
                first.append(_Judged(item, text, check))
            else:
                first.append(_Judged(item, text, _PENDING, check, document=document))
        return first

    async def _image_texts(self, watched: Iterable[Watched]) -> list[_ImageText]:
        # The engine lists a container by image id as soon as its tag has moved on locally; inspect keeps the name.
        given = [(item, original_image(item.container.labels) or item.container.image_text) for item in watched]
        by_id = [item for item, text in given if is_image_id(text, item.container.image_id)]
        found = {item.container.id: text for item, text in zip(by_id, await each(by_id, self._inspect), strict=True)}
        return [found.get(item.container.id) or (item, text, None) for item, text in given]

    async def _inspect(self, item: Watched) -> _ImageText:
        document = await self._read(self._engine.inspect_container, item.container.id)
        if isinstance(document, Reason):
            return item, _unreadable(document), None
        return item, str((document.get("Config") or {}).get("Image") or item.container.image_text), document

    async def _examine_all(self, stale: list[_Judged], inventory: Inventory) -> list[_Judged]:
        surroundings = _Round(inventory, Neighbourhood(inventory.containers), self._clock())
        image_ids = dict.fromkeys(item.watched.container.image_id for item in stale)

        async def inspect(image_id: str) -> tuple[str, JsonObject | Reason]:
            return image_id, await self._read(self._engine.inspect_image, image_id)

        old_images = dict(await each(image_ids, inspect))

        async def examine(item: _Judged) -> _Judged:
            old_image = old_images[item.watched.container.image_id]
            return await self._examine(item, old_image, surroundings)

        return await each(stale, examine)

    async def _examine(self, item: _Judged, old_image: JsonObject | Reason, surroundings: _Round) -> _Judged:
        """Look closer at a stale container: is it stale for its platform, old enough, and can it be re-created?"""
        container = item.document or await self._read(self._engine.inspect_container, item.watched.container.id)
        if isinstance(container, Reason):
            return replace(item, verdict=_unreadable(container))
        if isinstance(old_image, Reason):
            return replace(item, verdict=replace(_unreadable(old_image), published=item.verdict.published))
        platform = self._platform_of(old_image)
        item = replace(item, verdict=await self._platform_verdict(item, platform))
        if item.verdict.is_stale:
            item = await self._cooled_down(item, platform, surroundings.now)
        if not item.verdict.is_stale:
            return item
        result = recreate(
            container=container,
            old_image=old_image,
            new_image=None,
            engine=self._facts,
            neighbourhood=surroundings.neighbourhood,
        )
        if isinstance(result, Refusal):
            return replace(item, refusal=result)
        together = companions(item.watched.container, surroundings.inventory.containers)
        if together and result.vanishes_at_stop:
            text = f"HostConfig.AutoRemove (--rm) is set, and {', '.join(together)} must be replaced together with it"
            return replace(item, refusal=Refusal((text,)))
        notes = (f"replaced together with it: {', '.join(together)}",) if together else ()
        return replace(item, notes=(*item.notes, *notes, *result.notes))

    async def _cooled_down(self, item: _Judged, platform: Platform, now: datetime) -> _Judged:
        """Hold a container back whose new image is too young, and say since when that is known."""
        delay = item.watched.cooldown
        if not delay or item.watched.monitor_only or item.published is None:
            return item
        image, digest = str(item.published.reference), item.published.digest
        known = None if self._first_seen is None else self._first_seen.first_seen(image, digest)
        seen = sight(image, digest, known, now)
        wait = wait_for(delay, seen, created=None, now=now)
        created = None
        if wait is None:
            created = await self._scanner.created(item.published, self._dated_platform(platform))
            wait = wait_for(delay, seen, created=created, now=now)
        if wait is not None:
            verdict = replace(item.verdict, freshness=Freshness.NOT_CHECKED, reason=wait.reason)
            return replace(item, verdict=verdict, sighting=seen, held_until=wait.until)
        note = date_note(created, now)
        return replace(item, sighting=seen, notes=(*item.notes, note) if note else item.notes)

    def _dated_platform(self, running: Platform) -> Platform:
        policy = self._policy
        if not (policy.cooldown_os or policy.cooldown_architecture or policy.cooldown_variant):
            return running
        given = Platform(
            os=policy.cooldown_os or running.os,
            architecture=policy.cooldown_architecture or running.architecture,
            variant=policy.cooldown_variant or ("" if policy.cooldown_architecture else running.variant),
        )
        return normalise(given)

    def _platform_of(self, image: JsonObject) -> Platform:
        platform = Platform(
            os=str(image.get("Os") or "linux"),
            architecture=str(image.get("Architecture") or self._engine.info.architecture),
            variant=str(image.get("Variant") or ""),
        )
        return normalise(platform)

    async def _platform_verdict(self, item: _Judged, platform: Platform) -> Verdict:
        if item.published is None or item.checked is None:
            return item.verdict
        if item.published.media_type and not is_index_type(item.published.media_type):
            return item.verdict
        index = await self._scanner.index_of(item.published)
        if index is None:
            return item.verdict
        if isinstance(index, Unanswered):
            return Verdict(Freshness.UNKNOWN, index.reason, item.verdict.running, item.verdict.published)
        return judge_platform(item.checked, published=item.published.digest, index=index, platform=platform)

    async def _read(self, call: Callable[[str], Awaitable[JsonObject]], key: str) -> JsonObject | Reason:
        try:
            async with self._reads:
                return await call(key)
        except NoSuchObjectError:
            return Reason(ReasonCode.VANISHED, "was removed while we looked")
        except EngineUnavailableError:
            raise
        except EngineError as error:
            return reason_for(error)


_PENDING = Verdict(Freshness.UNKNOWN, Reason(ReasonCode.UNREACHABLE, "not asked"))


def _unreadable(reason: Reason) -> Verdict:
    gone = reason.code is ReasonCode.VANISHED
    return Verdict(Freshness.NOT_CHECKED if gone else Freshness.UNKNOWN, reason)


def _answered(item: _Judged, answers: Mapping[Reference, Answer]) -> _Judged:
    if item.checked is None:
        return item
    answer = answers[item.checked.reference]
    if isinstance(answer, Unanswered):
        return replace(item, verdict=Verdict(Freshness.UNKNOWN, answer.reason, running=item.checked.shown))
    return replace(item, verdict=judge(item.checked, published=answer.digest), published=answer)


def _held_back(item: _Judged, quarantined: frozenset[Failure]) -> _Judged:
    published = item.verdict.published
    if not item.verdict.is_stale or published is None or (item.watched.container.name, published) not in quarantined:
        return item
    text = "the published image failed here before; not tried until the tag moves or `quarantine clear` is called"
    reason = Reason(ReasonCode.QUARANTINED, text)
    return replace(item, verdict=replace(item.verdict, freshness=Freshness.NOT_CHECKED, reason=reason))


def _without_cycles(
    watched: tuple[Watched, ...], graph: Mapping[str, frozenset[str]]
) -> tuple[list[Watched], list[LeftAlone]]:
    kept: list[Watched] = []
    held: list[LeftAlone] = []
    cycle_of = {name: cycle for cycle in find_cycles(graph) for name in cycle}
    for item in watched:
        cycle = cycle_of.get(item.container.name)
        if cycle is None:
            kept.append(item)
        else:
            text = "circular dependency between " + ", ".join(sorted(cycle))
            held.append(LeftAlone(item.container, Reason(ReasonCode.CIRCULAR, text)))
    return kept, held


def _item_of(judged: _Judged) -> PlanItem:
    action = action_for(judged.verdict, monitor_only=judged.watched.monitor_only, refused=judged.refusal is not None)
    reference = judged.reference
    return PlanItem(
        container_id=judged.watched.container.id,
        name=judged.watched.container.name,
        image=reference.familiar if reference else judged.image_text,
        image_id=judged.watched.container.image_id,
        action=action,
        reason=_shown_reason(judged, action),
        running=judged.verdict.running,
        published=judged.verdict.published,
        reference=reference,
        notes=(*judged.watched.notes, *judged.notes),
        asked_through_engine=judged.published is not None and judged.published.through_engine,
        local_image=str(judged.verdict.published) if judged.local and action is Action.UPDATE else None,
        ran=judged.watched.ran,
        starts=judged.watched.starts,
        held_until=judged.held_until,
    )


def _shown_reason(judged: _Judged, action: Action) -> Reason:
    if action is Action.REFUSE and judged.refusal is not None:
        return Reason(ReasonCode.REFUSED, "cannot be re-created as it is: " + "; ".join(judged.refusal.reasons))
    if action is Action.REPORT:
        return replace(judged.verdict.reason, text=f"{judged.verdict.reason.text}; monitor-only, nothing is touched")
    return judged.verdict.reason


def _left_alone_item(left: LeftAlone) -> PlanItem:
    container: ContainerSummary = left.container
    return PlanItem(
        container_id=container.id,
        name=container.name,
        image=container.image_text,
        image_id=container.image_id,
        action=Action.LEAVE,
        reason=left.reason,
    )


def _arranged(items: list[PlanItem], graph: Mapping[str, frozenset[str]]) -> tuple[PlanItem, ...]:
    """Put the updates first, in the order in which they are carried out, then the rest by name."""
    cyclic = frozenset(name for cycle in find_cycles(graph) for name in cycle)
    acyclic = {name: targets - cyclic for name, targets in graph.items() if name not in cyclic}
    updates = {item.name: item for item in items if item.action is Action.UPDATE}
    rest = sorted((item for item in items if item.action is not Action.UPDATE), key=lambda item: item.name)
    return (*(updates[name] for name in in_order(updates, acyclic)), *rest)
