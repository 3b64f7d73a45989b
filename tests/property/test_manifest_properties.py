"""Manifests of hostile registries: a value or a ValueError, never anything else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import a_digest
from watchtower_async.images.manifest import INDEX_TYPES, MANIFEST_TYPES, Index, Manifest, parse_manifest
from watchtower_async.images.platform import Platform, choose_manifest, normalise, parse_platform

TYPES = sorted(INDEX_TYPES | MANIFEST_TYPES)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
content_types = st.none() | st.sampled_from([*TYPES, "", "application/json", "text/html"]) | st.text(max_size=20)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw what belongs there, sometimes something else."""
    return st.one_of(good, good, good, anything)


systems = st.sampled_from(["linux", "Linux", "windows", "unknown", "macos", ""])
processors = st.sampled_from(["amd64", "x86_64", "arm", "armhf", "arm64", "aarch64", "i386", "unknown", "s390x", ""])
variants = st.sampled_from(["", "v1", "v2", "v5", "v6", "v7", "v8", "v8.2", "v9", "v9.3", "8", "V9", "x"])
platform_documents = st.fixed_dictionaries(
    {"os": mostly(systems), "architecture": mostly(processors)},
    optional={"variant": mostly(variants), "os.features": mostly(st.lists(st.text(max_size=3), max_size=2))},
)
descriptors = st.fixed_dictionaries(
    {
        "mediaType": mostly(st.sampled_from(TYPES)),
        "digest": mostly(st.sampled_from([a_digest(word) for word in "abc"])),
        "size": mostly(st.integers(0, 1 << 40)),
    },
    optional={
        "platform": mostly(platform_documents),
        "annotations": mostly(st.dictionaries(st.sampled_from(["vnd.docker.reference.type", "x"]), scalars)),
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": mostly(st.just(2)),
        "mediaType": mostly(st.sampled_from(TYPES)),
        "manifests": mostly(st.lists(mostly(descriptors), max_size=4)),
        "config": mostly(descriptors),
        "layers": mostly(st.just([])),
        "fsLayers": mostly(st.just([])),
    },
)
platforms = st.builds(Platform, systems, processors, variants)


@given(st.binary() | anything.map(lambda value: json.dumps(value).encode()), content_types)
def test_any_body_is_a_manifest_or_a_value_error(body: bytes, content_type: str | None) -> None:
    """A registry cannot end a session with what it sends."""
    try:
        parse_manifest(body, content_type)
    except ValueError as error:
        assert len(str(error)) < 400  # noqa: PT017 - whether it is raised is not the question


@given(documents, content_types, platforms)
def test_document_that_is_read_is_what_it_says(
    document: dict[str, Any], content_type: str | None, host: Platform
) -> None:
    """An index has as many entries as were sent, the type is one that we asked for, and choosing is safe."""
    try:
        found = parse_manifest(json.dumps(document).encode(), content_type)
    except ValueError:
        return
    if isinstance(found, Index):
        assert found.media_type in INDEX_TYPES
        assert len(found.descriptors) == len(document["manifests"] or [])
        chosen = choose_manifest(found.descriptors, host)
        assert chosen is None or (chosen in found.descriptors and chosen.is_image)
    else:
        assert isinstance(found, Manifest)
        assert found.media_type in MANIFEST_TYPES
        assert str(found.config.digest) == document["config"]["digest"]


@given(platforms)
def test_normal_form_of_a_platform_is_its_own(platform: Platform) -> None:
    """Normalising twice changes nothing, and the text of a complete one is read back."""
    normal = normalise(platform)
    assert normalise(normal) == normal
    if normal.os and normal.architecture:
        assert parse_platform(str(normal)) == normal
