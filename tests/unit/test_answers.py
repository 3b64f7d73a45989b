"""What a registry's answer means."""

from __future__ import annotations

import json

import pytest
import yarl

from tests.support.simulated_registry import OCI_INDEX, OCI_MANIFEST, digest_of, image_manifest
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import (
    DeniedError,
    ManifestNotFoundError,
    ProtocolViolationError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.answers import error_code, failure, needs_get, published_by_head, read_manifest
from watchtower_async.registry.exchange import Reply

URL = yarl.URL("https://registry.example/v2/")
IMAGE = parse_reference("registry.example/vendor/app:1")
LOGIN = Credential("user", "secret", source='config.json entry "registry.example"')
NOBODY = Anonymous()


def a_reply(status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
    """Return a reply."""
    return Reply(status, URL, headers or {}, (), body)


def an_error(code: object) -> bytes:
    """Return an error body."""
    return json.dumps({"errors": [{"code": code, "message": "secret"}]}).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (an_error("DENIED"), "DENIED"),
        (an_error("SOMETHING_OF_OURS"), ""),
        (an_error(["DENIED"]), ""),
        (b'{"errors": []}', ""),
        (b'{"errors": null}', ""),
        (b'{"details": "x"}', ""),
        (b"[]", ""),
        (b"<html>", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"", ""),
    ],
)
def test_only_known_codes_are_read(body: bytes, code: str) -> None:
    """Anything may come, and of what comes nothing else is shown."""
    assert error_code(body) == code


def test_head_tells_digest_and_type() -> None:
    """Parameters of the type do not count."""
    digest = digest_of(b"x")
    headers = {"Docker-Content-Digest": digest, "Content-Type": f"{OCI_INDEX}; charset=utf-8"}
    assert published_by_head(a_reply(headers=headers)) == (parse_digest(digest), OCI_INDEX)


@pytest.mark.parametrize("digest", ["", "sha256:abc", digest_of(b"x").upper(), digest_of(b"x", "sha512"), "md5:00"])
def test_head_without_usable_digest_tells_nothing(digest: str) -> None:
    """Then a GET must tell."""
    reply = a_reply(headers={"Docker-Content-Digest": digest})
    assert published_by_head(reply) is None
    assert needs_get(reply, is_hub=True)


@pytest.mark.parametrize(
    ("status", "elsewhere", "on_hub"),
    [(404, True, False), (405, True, False), (500, True, False), (401, False, False), (429, False, False)],
)
def test_get_after_head_depends_on_status_and_registry(status: int, elsewhere: bool, on_hub: bool) -> None:
    """401 and 429 are about us; and on Docker Hub a GET is a pull."""
    assert needs_get(a_reply(status), is_hub=False) is elsewhere
    assert needs_get(a_reply(status), is_hub=True) is on_hub


def test_manifest_has_the_digest_of_its_bytes() -> None:
    """Not that of the same document written differently."""
    body = image_manifest("x") + b"\n"
    digest, _ = read_manifest(a_reply(headers={"Content-Type": OCI_MANIFEST}, body=body))
    assert str(digest) == digest_of(body)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_content_asked_for_by_digest_is_checked_with_its_own_algorithm(algorithm: str) -> None:
    """All registered algorithms count."""
    body = image_manifest("x")
    reply = a_reply(body=body)
    read_manifest(reply, expected=parse_digest(digest_of(body, algorithm)))
    with pytest.raises(ValueError, match="asked for"):
        read_manifest(reply, expected=parse_digest(digest_of(b"other", algorithm)))


def test_digest_field_of_an_unknown_algorithm_is_ignored() -> None:
    """It can be neither checked nor believed."""
    read_manifest(a_reply(headers={"Docker-Content-Digest": "md5:00"}, body=image_manifest("x")))


@pytest.mark.parametrize(
    ("status", "body", "credential", "kind", "words"),
    [
        (401, b"", NOBODY, UnauthorizedError, "no credential is configured"),
        (401, b"", LOGIN, UnauthorizedError, "was rejected"),
        (403, an_error("DENIED"), NOBODY, DeniedError, "403 DENIED"),
        (403, an_error("DENIED"), LOGIN, DeniedError, "read access"),
        (403, b"token has expired", LOGIN, DeniedError, "has expired"),
        (404, an_error("MANIFEST_UNKNOWN"), NOBODY, ManifestNotFoundError, "the tag was deleted"),
        (404, an_error("NAME_UNKNOWN"), NOBODY, ManifestNotFoundError, "no repository vendor/app"),
        (404, b"<html>", NOBODY, ManifestNotFoundError, "or hides it"),
        (400, b"", LOGIN, ProtocolViolationError, "400"),
        (302, b"", LOGIN, ProtocolViolationError, "302"),
        (204, b"", LOGIN, ProtocolViolationError, "204"),
        (407, b"", LOGIN, RegistryUnavailableError, "proxy"),
        (503, b"", LOGIN, RegistryUnavailableError, "try later"),
    ],
)
def test_failure_has_a_class_and_names_registry_and_remedy(
    status: int, body: bytes, credential: Credential | Anonymous, kind: type[RegistryError], words: str
) -> None:
    """What is missing is told apart from what was refused, and no secret is shown."""
    error = failure(a_reply(status, body=body), IMAGE, credential)
    assert type(error) is kind
    assert words in str(error)
    assert "registry.example" in str(error)
    assert "secret" not in str(error)
    assert error.host == "registry.example"


@pytest.mark.parametrize("credential", [NOBODY, LOGIN])
def test_refusal_of_docker_hub_is_ambiguous(credential: Credential | Anonymous) -> None:
    """It hides what is missing behind what is private."""
    error = failure(a_reply(401), parse_reference("vendor/app"), credential)
    assert "vendor/app:latest on Docker Hub: not found or no access" in str(error)
    assert "`docker login`" in str(error)


def test_expired_registry_token_is_called_so() -> None:
    """A new login would not renew it."""
    credential = Credential(registry_token="secret", source="config.json")
    assert "registry token" in str(failure(a_reply(401), IMAGE, credential))
