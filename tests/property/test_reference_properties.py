"""Image names: what is printed is read back, and nothing but the promised error leaves the parser."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import a_digest, an_id
from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.reference import (
    Reference,
    host_without_port,
    is_image_id,
    is_loopback_host,
    parse_reference,
    repo_digest_matches,
)

digests = st.binary(max_size=4).map(lambda data: parse_digest(a_digest(data.hex())))
domains = st.sampled_from(["docker.io", "localhost", "host.example", "my-host:5000", "Host", "[::1]:5000", "10.0.0.1"])
words = st.sampled_from(
    ["a", "0", "library", "localhost", "sha256", "docker.io", "host.example", "x--y", "b__c", "b_c"]
)
paths = st.lists(words, min_size=1, max_size=4).map("/".join)
tags = st.sampled_from(["latest", "1.0", "_", "V1-alpha.2", an_id("x"), "a" * 128])

# Pieces that have a meaning in names, and others: most of what they form is wrong, some of it in a subtle way.
pieces = st.sampled_from(
    [
        "a",
        "A",
        "0",
        ".",
        "_",
        "__",
        "-",
        "/",
        ":",
        "@",
        "docker.io",
        "localhost",
        "library/",
        "sha256:",
        "[",
        "]",
        "::1",
    ]
)
nearly = st.lists(pieces | digests.map(str), max_size=8).map("".join)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    """Draw any reference that the parser could return."""
    domain, path = draw(domains), draw(paths)
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    digest = draw(st.none() | digests)
    return Reference(domain, path, draw(st.none() | tags) if digest else draw(tags), digest)


@given(references())
def test_reference_is_read_back_from_both_of_its_forms(reference: Reference) -> None:
    """Neither the full nor the familiar form ever means another image."""
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


@given(references())
def test_full_form_is_stable(reference: Reference) -> None:
    """Printing what was read from a printed name changes nothing."""
    assert str(parse_reference(str(reference))) == str(reference)


@given(references(), digests)
def test_pinned_reference_finds_its_own_record(reference: Reference, digest: Digest) -> None:
    """The engine's record of a pull belongs to the reference that was pulled, in either form."""
    pinned = Reference(reference.domain, reference.path, None, digest)
    assert repo_digest_matches(str(pinned), reference) == digest
    assert repo_digest_matches(pinned.familiar, reference) == digest


@given(st.text() | nearly)
@example("\u212a/app")
@example("a\n")
@example("\u0660:\u0660")
def test_only_the_promised_error_leaves_the_parser(text: str) -> None:
    """Whatever people write is a reference or an InvalidReferenceError, and what is accepted is stable."""
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    assert text.isascii()
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


@given(st.text() | nearly)
def test_only_the_promised_error_leaves_the_digest_parser(text: str) -> None:
    """A digest that is read prints as it was written."""
    try:
        digest = parse_digest(text)
    except InvalidReferenceError:
        return
    assert str(digest) == text


@given(st.text() | nearly)
def test_questions_about_any_text_have_an_answer(text: str) -> None:
    """Hosts and ids come from other programs; a strange one is no failure."""
    assert host_without_port(text) in text
    assert is_loopback_host(text) in {True, False}
    assert is_image_id(text, a_digest("x")) in {True, False}
    assert repo_digest_matches(text, parse_reference("redis")) is None or "redis" in text
