"""Manifests and indexes as registries send them."""

import json
from typing import Any

import pytest

from tests.support.builders import a_digest
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.manifest import (
    ACCEPT,
    Descriptor,
    Index,
    Manifest,
    is_index_type,
    media_type_of,
    parse_manifest,
)
from watchtower_async.images.platform import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
CONFIG = "application/vnd.oci.image.config.v1+json"

AMD64 = {
    "mediaType": OCI_MANIFEST,
    "digest": a_digest("amd64"),
    "size": 7,
    "platform": {"os": "linux", "architecture": "amd64"},
}
INDEX = {"schemaVersion": 2, "manifests": [AMD64]}
MANIFEST = {"schemaVersion": 2, "config": {"mediaType": CONFIG, "digest": a_digest("c"), "size": 2}, "layers": []}


def body_of(document: Any, **more: Any) -> bytes:
    """Return a document as bytes, with more fields."""
    return json.dumps({**document, **more} if more else document).encode()


def parsed(document: Any, content_type: str | None = None, **more: Any) -> Index | Manifest:
    """Read a document as a registry would send it."""
    return parse_manifest(body_of(document, **more), content_type)


def entry_with(**fields: Any) -> dict[str, Any]:
    """Return an index with one entry that has these fields."""
    return {**INDEX, "manifests": [{**AMD64, **fields}]}


def test_all_four_types_are_asked_for_in_one_field() -> None:
    """With fewer a registry may convert; `*/*` would invite schema 1."""
    assert ACCEPT.split(", ") == [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, ""),
        ("", ""),
        (OCI_INDEX, OCI_INDEX),
        (f"{OCI_INDEX}; charset=utf-8", OCI_INDEX),
        (f" {OCI_INDEX.upper()} ;x", OCI_INDEX),
    ],
)
def test_media_type_is_read_without_parameters(content_type: str | None, expected: str) -> None:
    """Parameters, spaces and case say nothing."""
    assert expected == media_type_of(content_type)


@pytest.mark.parametrize(
    ("media_type", "is_index"),
    [(OCI_INDEX, True), (f"{DOCKER_INDEX};q=1", True), (OCI_MANIFEST, False), (DOCKER_MANIFEST, False), ("", False)],
)
def test_both_kinds_of_index_are_known(media_type: str, is_index: bool) -> None:
    """Docker's manifest list is an index, too."""
    assert is_index_type(media_type) is is_index


@pytest.mark.parametrize(
    "vague", [None, "", "application/json", "text/plain; charset=utf-8", "application/octet-stream"]
)
@pytest.mark.parametrize(
    ("document", "stated", "expected"),
    [
        (INDEX, None, OCI_INDEX),
        (INDEX, DOCKER_INDEX, DOCKER_INDEX),
        (MANIFEST, None, OCI_MANIFEST),
        (MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST),
    ],
)
def test_vague_header_leaves_it_to_the_body(
    vague: str | None, document: dict[str, Any], stated: str | None, expected: str
) -> None:
    """First the type that the body states, then its shape."""
    assert expected == parsed(document, vague, **({"mediaType": stated} if stated else {})).media_type


@pytest.mark.parametrize(("document", "kind"), [(INDEX, OCI_INDEX), (MANIFEST, OCI_MANIFEST)])
def test_header_decides_where_the_body_is_silent_or_agrees(document: dict[str, Any], kind: str) -> None:
    """The type inside is optional in OCI documents."""
    assert kind == parsed(document, f"{kind}; charset=utf-8").media_type
    assert kind == parsed(document, kind, mediaType=kind).media_type


def test_index_keeps_its_entries_in_order_with_what_they_say() -> None:
    """Digest, size, platform and annotations are read; what is missing is empty."""
    second = {
        "mediaType": DOCKER_MANIFEST, "digest": a_digest("arm"), "size": 9, "annotations": {"a": "b", "n": 1},
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7", "os.features": ["f", 1], "os.version": "9"},
    }  # fmt: skip
    third = {"mediaType": OCI_INDEX, "digest": a_digest("nested"), "size": 0, "platform": None}

    index = parsed({**INDEX, "manifests": [AMD64, second, third]})

    assert isinstance(index, Index)
    assert index.descriptors == (
        Descriptor(OCI_MANIFEST, parse_digest(a_digest("amd64")), 7, Platform("linux", "amd64")),
        Descriptor(
            DOCKER_MANIFEST, parse_digest(a_digest("arm")), 9,
            Platform("linux", "arm", "v7", frozenset({"f"})), {"a": "b"},
        ),
        Descriptor(OCI_INDEX, parse_digest(a_digest("nested")), 0),
    )  # fmt: skip


def test_empty_list_of_go_is_an_index_without_entries() -> None:
    """Go writes a list without elements as null."""
    index = parsed({"manifests": None}, OCI_INDEX)
    assert isinstance(index, Index)
    assert index.descriptors == ()


def test_manifest_names_its_configuration() -> None:
    """The configuration's descriptor is what an image id is compared with."""
    manifest = parsed(MANIFEST)
    assert isinstance(manifest, Manifest)
    assert Descriptor(CONFIG, parse_digest(a_digest("c")), 2) == manifest.config


@pytest.mark.parametrize(
    ("fields", "is_image"),
    [
        ({}, True),
        ({"mediaType": DOCKER_MANIFEST}, True),
        ({"mediaType": OCI_INDEX}, True),
        ({"mediaType": f"{OCI_MANIFEST}; charset=utf-8"}, True),
        ({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}, False),
        ({"mediaType": "application/vnd.example+json"}, False),
        ({"mediaType": None}, False),
    ],
)
def test_attestation_and_unknown_kinds_are_no_images(fields: dict[str, Any], is_image: bool) -> None:
    """What BuildKit attaches to an image is not an image."""
    index = parsed(entry_with(**fields))
    assert isinstance(index, Index)
    assert index.descriptors[0].is_image is is_image


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"", None, "not JSON"),
        (b"<html>", None, "not JSON"),
        (b"\xff\xfe", None, "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b"1" * 100_000, None, "not JSON"),
        (b"[]", None, "not an object"),
        (b"null", OCI_INDEX, "not an object"),
        (b"{}", None, "neither an index nor a manifest"),
        (b"{}", OCI_INDEX, "manifests is missing"),
        (b"{}", OCI_MANIFEST, "has no config"),
        (body_of(INDEX), "text/html", "'text/html' is not the media type of an image"),
        (body_of(INDEX), OCI_MANIFEST, "has no config"),
        (body_of(INDEX, mediaType=DOCKER_INDEX), OCI_INDEX, "the registry says"),
        (body_of(MANIFEST, mediaType=OCI_MANIFEST), OCI_INDEX, "the registry says"),
        (body_of(INDEX, mediaType=7), None, "mediaType in the manifest is not a string"),
        (body_of(INDEX, mediaType=CONFIG), None, "is not the media type of an image"),
        (body_of(INDEX, **MANIFEST), OCI_INDEX, "at the same time"),
        (body_of(INDEX, **MANIFEST), OCI_MANIFEST, "at the same time"),
        (body_of(INDEX, layers=[]), None, "at the same time"),
        (body_of({"schemaVersion": 1, "fsLayers": []}), None, "schema 1"),
        (body_of({"schemaVersion": 1, "fsLayers": []}), SCHEMA_1, "schema 1"),
        (body_of({"manifests": {}}), None, "manifests is missing or is not a list"),
        (body_of({"manifests": [1]}), None, r"manifests\[0\] is not an object"),
        (body_of(MANIFEST, config=None), None, "config is not an object"),
    ],
)  # fmt: skip
def test_document_that_is_no_image_is_refused_with_the_reason(body: bytes, content_type: str | None, said: str) -> None:
    """Whatever clients could read differently is an error, and so is what nobody can read."""
    with pytest.raises(ValueError, match=said):
        parse_manifest(body, content_type)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": "7"}, "size"),
        ({"size": None}, "size"),
        ({"digest": None}, "not a digest"),
        ({"digest": 5}, "digest is not a string"),
        ({"digest": "sha256:abc"}, "not a digest"),
        ({"digest": "md5:" + "a" * 32}, "not supported"),
        ({"mediaType": []}, "mediaType is not a string"),
        ({"platform": "linux/amd64"}, "platform is not an object"),
        ({"platform": {"os": 1, "architecture": "amd64"}}, "os is not a string"),
        ({"platform": {"os": "linux", "architecture": "amd64", "os.features": "x"}}, "os.features is missing or"),
        ({"annotations": []}, "annotations is not an object"),
    ],
)
def test_malformed_entry_is_refused_and_named(fields: dict[str, Any], said: str) -> None:
    """The message says which entry and what is wrong with it."""
    with pytest.raises(ValueError, match=rf"manifests\[0\].*{said}"):
        parsed(entry_with(**fields))


def test_error_holds_neither_the_document_nor_a_cause_with_it() -> None:
    """A body may be a login page with secrets in it."""
    with pytest.raises(ValueError, match="not JSON") as caught:
        parse_manifest(b'{"token": "s3cr3t"', None)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "s3cr3t" not in str(caught.value)


def test_text_of_the_other_side_is_cut_in_the_message() -> None:
    """A header as long as a book does not reach the log."""
    with pytest.raises(ValueError, match="media type") as caught:
        parsed(INDEX, "x" * 10_000)
    assert len(str(caught.value)) < 200
