"""Removes the images that updates have left unused (`--cleanup`), and only those."""

from __future__ import annotations

from collections.abc import Mapping

from watchtower_async.engine.client import Engine
from watchtower_async.engine.inventory import read_image
from watchtower_async.errors import EngineError


async def remove_unused(engine: Engine, images: Mapping[str, str]) -> dict[str, str]:
    """Remove images by id unless something uses or names them; return those that are gone. Raises nothing.

    The values are the names that people know them by.
    """
    removed: dict[str, str] = {}
    for identity, name in images.items():
        try:
            image = await engine.inspect_image(identity)
            if read_image(image).repo_tags:
                continue  # somebody tagged it, so somebody wants it
            await engine.remove_image(identity)
        except EngineError:
            continue  # still used, or gone already: both are fine
        removed[identity] = name
    return removed
