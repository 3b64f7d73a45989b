"""What the engine knows about images before and after a session: their labels, for names that people understand.

Asked for as soon as it is decided to replace a container, since an update may remove the old image. The answers make a
report nicer and nothing more: what cannot be had in time is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import anyio

from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.spec_parts import labels_of
from watchtower_async.errors import EngineError
from watchtower_async.notify.report import ImageLabels, read_labels
from watchtower_async.outlets.session_record import Found, SessionRecord
from watchtower_async.updates.plan import PlanItem

_AT_ONCE = 4


class Engine(Protocol):
    """The engine, as far as it is asked."""

    async def inspect_container(self, id_or_name: str) -> JsonObject:
        """Return a container's document. Raises EngineError."""

    async def inspect_image(self, id_or_ref: str) -> JsonObject:
        """Return an image's document. Raises EngineError."""


class ImageLookup:
    """Asks the engine, a few questions at a time. Nothing is raised."""

    def __init__(self, engine: Engine, *, deadline: float) -> None:
        """`deadline` is in seconds, for all questions of one call together."""
        self._engine = engine
        self._deadline = deadline

    async def labels(self, image_ids: Iterable[str]) -> dict[str, ImageLabels]:
        """Return what images say about themselves, by id."""
        found: dict[str, ImageLabels] = {}
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(image_id: str) -> None:
            async with limiter:
                document = await self._image(image_id)
            found[image_id] = read_labels(labels_of(document))

        with anyio.move_on_after(self._deadline):
            async with anyio.create_task_group() as group:
                for image_id in dict.fromkeys(image_ids):
                    group.start_soon(ask, image_id)
        return found

    async def after(self, record: SessionRecord, old_labels: Mapping[str, ImageLabels]) -> dict[str, Found]:
        """Return by container id what is known now; `old_labels` are those that were known before, by image id."""
        found = {
            item.container_id: Found(old_labels=old_labels.get(item.image_id, ImageLabels()))
            for item in record.with_newer
        }
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(item: PlanItem) -> None:
            async with limiter:
                new_id, image = await self._new(item, is_updated=record.was_updated(item))
            old = found[item.container_id].old_labels
            found[item.container_id] = Found(new_id, str(image.get("Id") or ""), old, read_labels(labels_of(image)))

        with anyio.move_on_after(self._deadline):
            async with anyio.create_task_group() as group:
                for item in record.with_newer:
                    group.start_soon(ask, item)
        return found

    async def _new(self, item: PlanItem, *, is_updated: bool) -> tuple[str, JsonObject]:
        """Return the new container's id and the new image's document; empty where they are not there."""
        container = await self._container(item.name) if is_updated else {}
        image = str(container.get("Image") or item.local_image or _published(item))
        return str(container.get("Id") or ""), await self._image(image) if image else {}

    async def _container(self, name: str) -> JsonObject:
        try:
            return await self._engine.inspect_container(name)
        except EngineError:
            return {}

    async def _image(self, name: str) -> JsonObject:
        try:
            return await self._engine.inspect_image(name)
        except EngineError:
            return {}


def _published(item: PlanItem) -> str:
    """Return the name under which an engine that has pulled the image knows it."""
    if item.reference is None or item.published is None:
        return ""
    return f"{item.reference.familiar_name}@{item.published}"
