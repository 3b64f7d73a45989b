"""What the API shows of an engine, and what it finds out from registries. Nothing is pulled, changed or announced.

A check is a plan that nobody carries out. It holds nothing back: what cools down or is in quarantine is newer all the
same, and so is what a rollout has in its hands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from watchtower_async.engine.client import Engine
from watchtower_async.engine.each import each
from watchtower_async.engine.inventory import ContainerSummary, Inventory, take_inventory
from watchtower_async.errors import NoSuchObjectError
from watchtower_async.images.reference import is_image_id
from watchtower_async.service import wanted_images, wanted_names
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.planner import ENGINE_READS_AT_ONCE, Focus, Planner
from watchtower_async.updates.reason import ReasonCode
from watchtower_async.updates.selection import (
    MONITOR_ONLY,
    NO_PULL,
    SCOPE,
    WATCHTOWER,
    ImageFilter,
    SelectionPolicy,
    label_is_true,
    original_image,
    select,
)
from watchtower_async.updates.staleness import Checkable, checkable
from watchtower_async.web.history import utc_now
from watchtower_async.web.ports import (
    CheckedContainer,
    Clock,
    ConfigView,
    ContainerView,
    ImageView,
    checked_containers,
)

_RUNS = frozenset({"running", "paused"})
_NEWER = frozenset({Action.UPDATE, Action.REPORT, Action.REFUSE})


class Credentials(Protocol):
    """The credential store, as a check needs it."""

    async def reload(self) -> str | None:
        """Read the configuration afresh; return what is wrong with it, None when all is well."""


@dataclass(frozen=True, slots=True)
class _Image:
    """What a container was made from: the name, and the digest under which it was pulled; empty for none."""

    name: str
    digest: str


class EngineViews:
    """Looks at one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        planner: Planner,
        selection: SelectionPolicy,
        credentials: Credentials,
        config: ConfigView,
        last_plan: Callable[[], UpdatePlan | None],
        now: Clock = utc_now,
    ) -> None:
        """`selection` is the planner's. `last_plan` returns what the last session found, for what is known as stale."""
        self._engine = engine
        self._planner = planner
        self._selection = selection
        self._image_filter = ImageFilter(selection)
        self._credentials = credentials
        self._config = config
        self._last_plan = last_plan
        self._now = now
        self._reads = anyio.CapacityLimiter(ENGINE_READS_AT_ONCE)

    async def check(self, images: tuple[str, ...], names: tuple[str, ...]) -> tuple[CheckedContainer, ...]:
        """Ask registries about containers, chosen as a session would. Raises EngineUnavailableError."""
        await self._credentials.reload()  # what is wrong with it stands in the answers of those that need it
        inventory = await take_inventory(self._engine)
        focus = Focus(wanted_images(images), names=wanted_names(names)) if images or names else None
        plan = await self._planner.make(inventory, focus=focus)
        here = _ids_by_digest(inventory)
        return tuple(
            replace(found, latest_image_id=here.get(found.latest_digest, ""))
            for found in checked_containers(map(_released, plan.items), now=self._now())
        )

    async def containers(self) -> tuple[ContainerView, ...]:
        """Return the containers of the engine, by name. Raises EngineError."""
        inventory = await take_inventory(self._engine)
        images = await self._images_of(inventory)
        watched = {item.container.id: item for item in select(inventory, self._selection).watched}
        stale = self._known_as_stale()
        return tuple(
            ContainerView(
                name=item.name,
                image=images[item.id].name,
                image_id=item.image_id,
                digest=images[item.id].digest,
                running=item.state in _RUNS,
                watchtower=label_is_true(item.labels, WATCHTOWER),
                monitor_only=watched[item.id].monitor_only if item.id in watched else self._reports_only(item),
                no_pull=watched[item.id].no_pull if item.id in watched else self._pulls_not(item),
                enabled=item.id in watched and self._image_filter.reason_against(images[item.id].name) is None,
                stale=item.id in stale,
                scope=item.labels.get(SCOPE, ""),
            )
            for item in sorted(inventory.containers, key=lambda item: item.name)
        )

    async def images(self) -> tuple[ImageView, ...]:
        """Return the images that containers use, by name. Raises EngineError."""
        inventory = await take_inventory(self._engine)
        images = await self._images_of(inventory)
        users: dict[tuple[str, str, str], list[str]] = {}
        for item in inventory.containers:
            image = images[item.id]
            users.setdefault((image.name, item.image_id, image.digest), []).append(item.name)
        return tuple(
            ImageView(name=name, image_id=image_id, digest=digest, containers=tuple(sorted(found)))
            for (name, image_id, digest), found in sorted(users.items())
        )

    def config(self) -> ConfigView:
        """Return the settings."""
        return self._config

    def _reports_only(self, container: ContainerSummary) -> bool:
        return self._selection.monitor_only or label_is_true(container.labels, MONITOR_ONLY)

    def _pulls_not(self, container: ContainerSummary) -> bool:
        return self._selection.no_pull or label_is_true(container.labels, NO_PULL)

    def _known_as_stale(self) -> frozenset[str]:
        plan = self._last_plan()
        return frozenset(item.container_id for item in plan.items if item.action in _NEWER) if plan else frozenset()

    async def _images_of(self, inventory: Inventory) -> dict[str, _Image]:
        texts = await self._image_texts(inventory.containers)
        return {item.id: _image(texts[item.id], item.image_id, inventory) for item in inventory.containers}

    async def _image_texts(self, containers: Iterable[ContainerSummary]) -> dict[str, str]:
        """Return by container id the name of the image. Where the list has only an id, inspect keeps the name."""
        given = {item.id: original_image(item.labels) or item.image_text for item in containers}
        unnamed = [item for item in containers if is_image_id(given[item.id], item.image_id)]

        async def look(item: ContainerSummary) -> str:
            try:
                async with self._reads:
                    document = await self._engine.inspect_container(item.id)
            except NoSuchObjectError:
                return item.image_text
            return str((document.get("Config") or {}).get("Image") or item.image_text)

        found = await each(unnamed, look)
        return given | {item.id: text for item, text in zip(unnamed, found, strict=True)}


def _image(text: str, image_id: str, inventory: Inventory) -> _Image:
    found = checkable(text, image_id, inventory)
    if isinstance(found, Checkable):
        return _Image(found.reference.familiar, "" if found.shown is None else str(found.shown))
    return _Image(text, "" if found.running is None else str(found.running))


def _ids_by_digest(inventory: Inventory) -> Mapping[str, str]:
    """Return the engine's ids of the images that were pulled, by their digests, which are those of their content."""
    return {text.rpartition("@")[2]: image.id for image in inventory.images.values() for text in image.repo_digests}


def _released(item: PlanItem) -> PlanItem:
    """Show what only waits as what it is: newer."""
    if item.action is Action.LEAVE and item.reason.code is ReasonCode.COOLING_DOWN:
        return replace(item, action=Action.REPORT)
    return item
