"""What runs on an engine, and on which images: everything a scan needs, in two calls however many containers there are.

The documents are an engine's or Podman's; a field that is missing or null is read as empty, and an entry without an id
is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.engine.client import Engine
from watchtower_async.engine.spec_parts import clean_path

_NO_NAME = "<none>"  # how engines before API 1.43 list an image without a tag or a digest


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """A container as the engine lists it."""

    id: str
    name: str
    aliases: frozenset[str]
    """Names that legacy links of others give it, such as `/web/db`."""
    image_text: str
    """The reference it was made from, or an image id once the reference means another image on this engine."""
    image_id: str
    labels: Mapping[str, str] = field(repr=False)
    state: str
    network_mode: str
    created: int
    """Seconds since 1970."""
    mount_targets: frozenset[str] = frozenset()
    """Where something is mounted in it."""


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """An image as the engine lists it."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    labels: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All containers of an engine and its images by id."""

    containers: tuple[ContainerSummary, ...]
    images: Mapping[str, ImageSummary]


async def take_inventory(engine: Engine) -> Inventory:
    """List an engine. Exactly two calls. Raises EngineUnavailableError."""
    # Containers first: an image that a listed container runs on cannot be gone when the images are listed.
    containers = [read_container(document) for document in await engine.list_containers()]
    images = [read_image(document) for document in await engine.list_images()]
    return Inventory(
        containers=tuple(item for item in containers if item.id),
        images={item.id: item for item in images if item.id},
    )


def read_container(document: Mapping[str, Any]) -> ContainerSummary:
    """Read one entry of `GET /containers/json`."""
    names = _texts(document.get("Names"))
    own = [name for name in names if name.count("/") == 1]
    identity = str(document.get("Id") or "")
    return ContainerSummary(
        id=identity,
        # One that is being removed has no name any more.
        name=own[0].removeprefix("/") if own else identity[:12],
        aliases=frozenset(name for name in names if name.count("/") > 1),
        image_text=str(document.get("Image") or ""),
        image_id=str(document.get("ImageID") or ""),
        labels=_labels(document.get("Labels")),
        state=str(document.get("State") or ""),
        network_mode=_network_mode(document.get("HostConfig")),
        created=_number(document.get("Created")),
        mount_targets=_mount_targets(document.get("Mounts")),
    )


def read_image(document: Mapping[str, Any]) -> ImageSummary:
    """Read one entry of `GET /images/json`, or what inspect tells about an image."""
    return ImageSummary(
        id=str(document.get("Id") or ""),
        repo_tags=tuple(text for text in _texts(document.get("RepoTags")) if _is_tag(text)),
        repo_digests=tuple(text for text in _texts(document.get("RepoDigests")) if _NO_NAME not in text),
        labels=_labels(document.get("Labels")),
    )


def _is_tag(text: str) -> bool:
    # The containerd image store lists the name by which an image was pulled here, also where that is a digest.
    return _NO_NAME not in text and "@" not in text


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, Iterable) else []


def _labels(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}


def _network_mode(host_config: object) -> str:
    return str(host_config.get("NetworkMode") or "") if isinstance(host_config, Mapping) else ""


def _mount_targets(value: object) -> frozenset[str]:
    mounts = value if isinstance(value, list) else ()
    targets = (mount.get("Destination") for mount in mounts if isinstance(mount, Mapping))
    return frozenset(clean_path(target) for target in targets if isinstance(target, str))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
