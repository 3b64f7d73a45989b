"""Small worlds for tests: containers and images as an engine lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from watchtower_async.engine.inventory import ContainerSummary, ImageSummary, Inventory


def an_id(text: str) -> str:
    """Return 64 hex digits that depend on the text."""
    return hashlib.sha256(text.encode()).hexdigest()


def a_digest(text: str) -> str:
    """Return a digest in text form that depends on the text."""
    return f"sha256:{an_id(text)}"


def a_container(
    name: str,
    *,
    image: str = "registry.example/app:1",
    image_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    state: str = "running",
    network_mode: str = "default",
    aliases: Iterable[str] = (),
) -> ContainerSummary:
    """Return a running container with this name."""
    return ContainerSummary(
        id=an_id(f"container {name}"),
        name=name,
        aliases=frozenset(aliases),
        image_text=image,
        image_id=image_id or a_digest(f"config of {image}"),
        labels=dict(labels or {}),
        state=state,
        network_mode=network_mode,
        created=1_700_000_000,
    )


def an_image(
    image: str = "registry.example/app:1", *, image_id: str | None = None, digests: Iterable[str] = ("v1",)
) -> ImageSummary:
    """Return an image pulled under the reference's repository with digests made from the given words."""
    repository = image.rpartition(":")[0]
    return ImageSummary(
        id=image_id or a_digest(f"config of {image}"),
        repo_tags=(image,),
        repo_digests=tuple(f"{repository}@{a_digest(word)}" for word in digests),
        labels={},
    )


def an_inventory(*containers: ContainerSummary, images: Iterable[ImageSummary] = ()) -> Inventory:
    """Return an engine's inventory."""
    return Inventory(containers=tuple(containers), images={image.id: image for image in images})
