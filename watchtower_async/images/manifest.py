"""Manifests and indexes as registries send them.

The shapes are those of the OCI image specification (v1.1, `manifest.md` and `image-index.md`) and of Docker's manifest
schema 2. Only what an updater needs is read: which manifests there are, for which platforms, and their digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.platform import Platform

_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

# All four, always, in one field: with fewer a registry may convert, and the digest is that of the representation.
ACCEPT = ", ".join((_OCI_INDEX, _DOCKER_INDEX, _OCI_MANIFEST, _DOCKER_MANIFEST))
INDEX_TYPES = frozenset({_OCI_INDEX, _DOCKER_INDEX})
MANIFEST_TYPES = frozenset({_OCI_MANIFEST, _DOCKER_MANIFEST})
_SCHEMA_1_PREFIX = "application/vnd.docker.distribution.manifest.v1+"
# Servers send these for anything; they say nothing about the body.
_VAGUE_TYPES = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_REFERENCE_TYPE = "vnd.docker.reference.type"  # BuildKit marks what is attached to an image and is none

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What an index or a manifest says about a blob that it names."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_image(self) -> bool:
        """Say whether it names an image, or an index of images, and not an attestation or something unknown."""
        return self.media_type in INDEX_TYPES | MANIFEST_TYPES and _REFERENCE_TYPE not in self.annotations


@dataclass(frozen=True, slots=True)
class Index:
    """The manifests of one image for several platforms, in the order of the document."""

    media_type: str
    descriptors: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image for one platform."""

    media_type: str
    config: Descriptor


def media_type_of(content_type: str | None) -> str:
    """Return a `Content-Type` without its parameters, in lower case; empty where there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_index_type(media_type: str) -> bool:
    """Say whether a media type, with or without parameters, is that of an index."""
    return media_type_of(media_type) in INDEX_TYPES


def parse_manifest(body: bytes, content_type: str | None) -> Index | Manifest:
    """Read a document by its media type. Raises ValueError with a text that can be shown.

    The type in the header and the one in the body must not contradict each other, and a document that can be read
    both ways is refused: clients that disagree on what they see would run different images.
    """
    document = _json_object(body)
    media_type = _media_type(document, media_type_of(content_type))
    if "manifests" in document and ("config" in document or "layers" in document):
        raise ValueError("the document is an index and a manifest at the same time")
    if media_type in INDEX_TYPES:
        entries = _list(document, "manifests")
        return Index(media_type, tuple(_descriptor(entry, f"manifests[{i}]") for i, entry in enumerate(entries)))
    if "config" not in document:
        raise ValueError("the manifest has no config")
    return Manifest(media_type, _descriptor(document["config"], "config"))


def _json_object(body: bytes) -> JsonObject:
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # The decoder's error holds the document.
        raise ValueError("the manifest is not JSON") from None
    return _object(document, "the manifest")


def _media_type(document: JsonObject, header: str) -> str:
    inside = document.get("mediaType")
    if inside is not None and not isinstance(inside, str):
        raise ValueError("mediaType in the manifest is not a string")
    stated = media_type_of(inside)
    if header not in _VAGUE_TYPES and stated and stated != header:
        raise ValueError(f"the registry says {header[:100]!r} but the manifest says {stated[:100]!r}")
    media_type = (stated if header in _VAGUE_TYPES else header) or _type_by_shape(document)
    if media_type.startswith(_SCHEMA_1_PREFIX):
        raise ValueError("the registry sent the obsolete manifest schema 1, which engines refuse to pull")
    if media_type not in INDEX_TYPES | MANIFEST_TYPES:
        raise ValueError(f"{media_type[:100]!r} is not the media type of an image")
    return media_type


def _type_by_shape(document: JsonObject) -> str:
    if "manifests" in document:
        return _OCI_INDEX
    if "config" in document and "layers" in document:
        return _OCI_MANIFEST
    if "fsLayers" in document:
        return _SCHEMA_1_PREFIX + "json"
    raise ValueError("the document is neither an index nor a manifest")


def _descriptor(value: object, where: str) -> Descriptor:
    entry = _object(value, where)
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{where}.size is not a size")
    try:
        digest = parse_digest(_string(entry, "digest", where))
    except InvalidReferenceError as error:
        raise ValueError(f"{where}: {error}") from None
    return Descriptor(
        media_type=media_type_of(_string(entry, "mediaType", where)),
        digest=digest,
        size=size,
        platform=_platform(entry.get("platform"), f"{where}.platform"),
        annotations=_annotations(entry.get("annotations"), f"{where}.annotations"),
    )


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    entry = _object(value, where)
    features = _list(entry, "os.features", f"{where}.") if "os.features" in entry else []
    return Platform(
        os=_string(entry, "os", where),
        architecture=_string(entry, "architecture", where),
        variant=_string(entry, "variant", where),
        os_features=frozenset(feature for feature in features if isinstance(feature, str)),
    )


def _annotations(value: object, where: str) -> dict[str, str]:
    entries = {} if value is None else _object(value, where)
    return {key: text for key, text in entries.items() if isinstance(text, str)}


def _object(value: object, where: str) -> JsonObject:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")  # noqa: TRY004 - one error class for the caller
    return value


def _string(entry: JsonObject, key: str, where: str) -> str:
    """Return a string, empty where it is missing or null."""
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where}.{key} is not a string")
    return value or ""


def _list(entry: JsonObject, key: str, where: str = "") -> list[Any]:
    """Return a list, empty where it is null: that is how Go writes one without elements."""
    if key not in entry or not isinstance(entry[key], list | None):
        raise ValueError(f"{where}{key} is missing or is not a list")
    return entry[key] or []
