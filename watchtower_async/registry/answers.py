"""What a registry's answer means: the digest it names, or the error it stands for.

Error bodies are those of the distribution specification, section "Error Codes", but anything may come. Of what servers
write only codes that the specification knows are shown: the rest may repeat what we sent.
"""

from __future__ import annotations

import json
from datetime import datetime

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import (
    DeniedError,
    InvalidReferenceError,
    ManifestNotFoundError,
    ProtocolViolationError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.images.digest import Digest, digest_of, parse_digest
from watchtower_async.images.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Index,
    Manifest,
    media_type_of,
    parse_manifest,
)
from watchtower_async.images.reference import DOCKER_HUB, Reference
from watchtower_async.registry.exchange import Reply

# Old and home-made servers refuse HEAD in many ways; 401 and 429 are about us, not about HEAD.
_MAY_BE_ABOUT_HEAD = frozenset({400, 403, 404, 405, 406, 415, 500, 501})
_DIGEST_FIELD = "Docker-Content-Digest"
_CODES = frozenset(
    {
        "BLOB_UNKNOWN", "DENIED", "DIGEST_INVALID", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "MANIFEST_UNVERIFIED",
        "NAME_INVALID", "NAME_UNKNOWN", "TAG_INVALID", "TOOMANYREQUESTS", "UNAUTHORIZED", "UNAVAILABLE", "UNKNOWN",
        "UNSUPPORTED",
    }
)  # fmt: skip
_TAG_CODES = frozenset({"MANIFEST_UNKNOWN", "TAG_INVALID"})


def login_command(host: str) -> str:
    """Return the command that stores a credential for a registry."""
    return "docker login" if host == "registry-1.docker.io" else f"docker login {host}"


def error_code(body: bytes) -> str:
    """Return the first error code of a body, empty where there is none that the specification knows."""
    try:
        document = json.loads(body.decode("utf-8"))
        code = document["errors"][0]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return code if isinstance(code, str) and code in _CODES else ""


def published_by_head(reply: Reply) -> tuple[Digest, str] | None:
    """Return digest and media type from the answer to HEAD, None where a GET must tell.

    Engines record SHA-256 digests; one of another algorithm could not be compared with theirs.
    """
    if reply.status != 200:
        return None
    try:
        digest = parse_digest(reply.headers.get(_DIGEST_FIELD, ""))
    except InvalidReferenceError:
        return None
    return (digest, image_type(reply.headers.get("Content-Type"))) if digest.algorithm == "sha256" else None


def needs_get(reply: Reply, *, is_hub: bool) -> bool:
    """Say whether a GET may succeed where HEAD did not. Docker Hub's HEAD is reliable, and there a GET is a pull."""
    if reply.status == 200:
        return True
    return reply.status in _MAY_BE_ABOUT_HEAD and not is_hub


def image_type(content_type: str | None) -> str:
    """Return the media type of an image or an index, empty for one that says nothing about the body."""
    media_type = media_type_of(content_type)
    return media_type if media_type in INDEX_TYPES | MANIFEST_TYPES else ""


def read_manifest(reply: Reply, *, expected: Digest | None = None) -> tuple[Digest, Index | Manifest]:
    """Read the answer to GET; the digest is that of exactly these bytes.

    Raises ValueError, with a text that can be shown, for what is no image, and where the bytes have not the digest
    that the registry names or that was asked for.
    """
    if expected is not None and digest_of(reply.body, expected.algorithm) != expected:
        raise ValueError("sends content that has not the digest that was asked for")
    stated = reply.headers.get(_DIGEST_FIELD)
    if stated is not None:
        _check_stated(stated, reply.body)
    return digest_of(reply.body), parse_manifest(reply.body, reply.headers.get("Content-Type"))


def read_created(body: bytes) -> datetime | None:
    """Return when an image was built, from its configuration; None where it does not say."""
    try:
        moment = datetime.fromisoformat(json.loads(body.decode("utf-8"))["created"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    # Go writes the year 1 for "not set".
    return moment if moment.tzinfo is not None and moment.year > 1 else None


def _check_stated(stated: str, body: bytes) -> None:
    try:
        digest = parse_digest(stated)
    except InvalidReferenceError:
        return
    if digest_of(body, digest.algorithm) != digest:
        raise ValueError("sends content that has not the digest that it names")


def failure(reply: Reply, reference: Reference, credential: Credential | Anonymous) -> RegistryError:
    """Return the error that an answer stands for."""
    host, code = reference.host, error_code(reply.body)
    answer = f"{reply.status} {code}".rstrip()
    if reply.status == 401:
        return _unauthorized(reference, credential)
    if reply.status == 403:
        return DeniedError(_denied_text(reply, reference, credential, answer), host=host)
    if reply.status == 404:
        return ManifestNotFoundError(_not_found_text(reference, credential, code), host=host)
    if reply.status == 407:
        message = f"the proxy before registry {host} wants a login: put user and password into HTTPS_PROXY"
        return RegistryUnavailableError(message, host=host, connected=False)
    if reply.status >= 500 or reply.status == 408:
        message = f"registry {host} has a problem with {reference.familiar} ({answer}): try later"
        return RegistryUnavailableError(message, host=host, connected=True)
    message = (
        f"registry {host} did not understand the question about {reference.familiar} ({answer}): check its address"
    )
    return ProtocolViolationError(message, host=host)


def login_failure(reply: Reply, host: str, credential: Credential | Anonymous) -> RegistryError:
    """Return the error that an answer at the root of the API stands for; 200 means that it demands nothing more."""
    answer = f"{reply.status} {error_code(reply.body)}".rstrip()
    if reply.status >= 500 or reply.status == 408:
        message = f"registry {host} has a problem ({answer}): try later"
        return RegistryUnavailableError(message, host=host, connected=True)
    if reply.status not in (200, 401, 403):
        message = f"registry {host} does not answer as a registry does ({answer}): check its name"
        return ProtocolViolationError(message, host=host)
    login = login_command(host)
    if isinstance(credential, Anonymous):
        text = f"registry {host} asks for a login, and none is configured ({credential.source}): run `{login}`"
    elif credential.registry_token:
        text = f"the registry token for {host} from {credential.source} has expired or was rejected: get a new one"
    else:
        text = f"the credential for registry {host} from {credential.source} was rejected: log in again with `{login}`"
    return UnauthorizedError(text, host=host)


def _unauthorized(reference: Reference, credential: Credential | Anonymous) -> UnauthorizedError:
    host, image = reference.host, reference.familiar
    login = login_command(host)
    if isinstance(credential, Anonymous):
        if reference.domain == DOCKER_HUB:
            text = f"{image} on Docker Hub: not found or no access; check the name, or run `{login}` if it is private"
        else:
            text = (
                f"registry {host} asks for a login for {image}, and no credential is configured for it "
                f"({credential.source}): run `{login}`"
            )
    elif credential.registry_token:
        text = f"the registry token for {host} from {credential.source} has expired or was rejected: get a new one"
    elif reference.domain == DOCKER_HUB:
        text = (
            f"{image} on Docker Hub: not found or no access with the credential from {credential.source}; "
            f"check the name, or log in again with `{login}`"
        )
    else:
        text = (
            f"the credential for registry {host} from {credential.source} was rejected for {image}: "
            f"log in again with `{login}`"
        )
    return UnauthorizedError(text, host=host)


def _denied_text(reply: Reply, reference: Reference, credential: Credential | Anonymous, answer: str) -> str:
    host, image = reference.host, reference.familiar
    if isinstance(credential, Anonymous):
        return (
            f"registry {host} denies access to {image} ({answer}), and no credential is configured for it "
            f"({credential.source}): run `{login_command(host)}` if the image is private"
        )
    if b"expired" in reply.body.lower():  # ECR says it with 403
        return (
            f"the credential for registry {host} from {credential.source} has expired ({answer}): "
            f"log in again with `{login_command(host)}`"
        )
    return (
        f"registry {host} denies access to {image} ({answer}): let its owner give read access to the account of "
        f"{credential.source}, or log in again with `{login_command(host)}`"
    )


def _not_found_text(reference: Reference, credential: Credential | Anonymous, code: str) -> str:
    host, image = reference.host, reference.familiar
    hint = "" if isinstance(credential, Credential) else f", or run `{login_command(host)}` if it is private"
    if code in _TAG_CODES:
        return f"registry {host} has no {image} any more: the tag was deleted, or the name is wrong"
    if code == "NAME_UNKNOWN":
        return f"registry {host} has no repository {reference.path}, or hides it: check the name{hint}"
    return f"registry {host} has no {image}, or hides it: check the name{hint}"
