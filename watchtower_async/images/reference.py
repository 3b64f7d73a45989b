"""Image references: what people write after `docker run`, as a value with every default filled in.

The grammar is that of https://github.com/distribution/reference and the defaults are those of the Docker CLI:

* without a registry the domain is `docker.io`, and one without a name space gets `library/`;
* the text before the first `/` is a registry only if it has a `.`, a `:` or an upper-case letter, or is `localhost`;
* without tag and digest the tag is `latest`; with a digest no tag is implied.

Everything is ASCII, and nothing is trimmed, lowered or repaired. Image ids are not references and are refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, parse_digest

DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIAS = "index.docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"  # docker.io itself serves a web page
_DOCKER_HUB_CREDENTIAL_KEY = "https://index.docker.io/v1/"  # historical; nothing is fetched from it
_OFFICIAL = "library/"
_IMPLIED_TAG = "latest"
_LONGEST_PATH = 255
_SHORTEST_ID_PREFIX = 4

_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__|_|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_UPPER = re.compile(r"[A-Z]", re.ASCII)
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_DIGEST_SHAPE = re.compile(r"[A-Za-z0-9+._-]+:[0-9A-Fa-f]+", re.ASCII)
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A registry, a repository in it, and a tag or a digest or both.

    `tag` is None only when there is a digest. The case of the domain is kept, as the Docker CLI does.
    """

    domain: str
    path: str
    tag: str | None
    digest: Digest | None

    @property
    def repository(self) -> str:
        """Return the full name without tag and digest: `docker.io/library/redis`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Return the name as `docker ps` shows it: `redis`, `vendor/app`, `ghcr.io/vendor/app`.

        A name on Docker Hub that would read as one of another registry keeps its domain.
        """
        if self.domain != DOCKER_HUB:
            return self.repository
        rest = self.path.removeprefix(_OFFICIAL)
        short = self.path if "/" in rest else rest
        return short if _split_domain(short) == (DOCKER_HUB, short) else self.repository

    @property
    def familiar(self) -> str:
        """Return the familiar name with tag and digest; an implied `latest` is shown."""
        text = self.familiar_name + self._suffix
        return str(self) if is_image_id(text) else text

    @property
    def tag_or_latest(self) -> str:
        """Return the tag, `latest` where there is only a digest."""
        return self.tag or _IMPLIED_TAG

    @property
    def is_pinned(self) -> bool:
        """Say whether the reference names content that cannot change; a tag beside the digest is only a note."""
        return self.digest is not None

    @property
    def host(self) -> str:
        """Return the host, with port if any, that serves the registry API."""
        return _DOCKER_HUB_API if self.domain == DOCKER_HUB else self.domain

    @property
    def credential_key(self) -> str:
        """Return the key under which Docker stores and asks for the credential of this registry."""
        return _DOCKER_HUB_CREDENTIAL_KEY if self.domain == DOCKER_HUB else self.domain

    def with_digest(self, digest: Digest) -> Reference:
        """Return the same reference pinned to this digest; the tag stays as a note."""
        return replace(self, digest=digest)

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag if self.digest is None else f"{tag}@{self.digest}"

    def __str__(self) -> str:
        return self.repository + self._suffix


def parse_reference(text: str) -> Reference:
    """Read an image name as the Docker CLI does. Raises InvalidReferenceError, also for image ids."""
    if _IMAGE_ID.fullmatch(text):
        raise InvalidReferenceError(f"{_shown(text)} is an image id, not an image name")
    rest, at, digest_text = text.rpartition("@")
    named = rest if at else text
    domain, remainder = _split_domain(named)
    if not _DOMAIN.fullmatch(domain):
        raise InvalidReferenceError(f"{_shown(text)} is not an image name: the registry host is malformed")
    path, colon, tag = remainder.partition(":")
    if domain == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    _check_path(path, text)
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReferenceError(f"{_shown(text)} is not an image name: the tag is malformed")
    digest = parse_digest(digest_text) if at else None
    implied = None if digest else _IMPLIED_TAG
    return Reference(domain, path, tag if colon else implied, digest)


def _split_domain(named: str) -> tuple[str, str]:
    first, slash, rest = named.partition("/")
    is_domain = "." in first or ":" in first or first == "localhost" or _UPPER.search(first) is not None
    if not slash or not is_domain:
        return DOCKER_HUB, named
    return (DOCKER_HUB if first == _DOCKER_HUB_ALIAS else first), rest


def _check_path(path: str, text: str) -> None:
    if _UPPER.search(path):
        raise InvalidReferenceError(f"{_shown(text)} is not an image name: the repository must be lower case")
    if not _PATH.fullmatch(path):
        raise InvalidReferenceError(f"{_shown(text)} is not an image name: the repository is malformed")
    if len(path) > _LONGEST_PATH:
        raise InvalidReferenceError(f"{_shown(text)} is too long: a repository has at most {_LONGEST_PATH} characters")


def _shown(text: str, limit: int = 150) -> str:
    """Quote the text for a message: on one line, cut, and without what may be the user info of a URL."""
    before, at, after = text.rpartition("@")
    if at and ":" in before and ("@" in before or not _DIGEST_SHAPE.fullmatch(after)):
        text = f"***@{after}"
    return repr(text if len(text) <= limit else text[:limit] + "…")


def is_image_id(text: str, image_id: str | None = None) -> bool:
    """Say whether the text names an image by id: in full, or as a prefix of the given id.

    A prefix shorter than four digits is taken for a name: names such as `a` or `db` exist, ids that short do not.
    """
    if _IMAGE_ID.fullmatch(text):
        return True
    if image_id is None:
        return False
    digits = text.removeprefix("sha256:")
    is_prefix = len(digits) >= _SHORTEST_ID_PREFIX and _HEX.fullmatch(digits) is not None
    return is_prefix and image_id.removeprefix("sha256:").startswith(digits)


def host_without_port(host: str) -> str:
    """Return `host[:port]` without the port; brackets of an IPv6 address stay. Other texts come back as they are."""
    match = _HOST.fullmatch(host)
    return match.group(1) if match else host


def is_loopback_host(host: str) -> bool:
    """Say whether a host, with or without port, is by its text alone the machine it is asked on.

    `localhost`, names below it (RFC 6761), and literals in 127.0.0.0/8 or equal to ::1. Nothing is resolved.
    """
    name = host_without_port(host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return address in _LOOPBACK_V4 or address == _LOOPBACK_V6


def repo_digest_matches(repo_digest: str, reference: Reference) -> Digest | None:
    """Return the digest of an engine's `RepoDigests` entry that belongs to the reference's repository, else None.

    Entries are in familiar form. The placeholder `<none>@<none>` and malformed ones belong to nobody.
    """
    try:
        recorded = parse_reference(repo_digest)
    except InvalidReferenceError:
        return None
    same_registry = recorded.domain.lower() == reference.domain.lower()
    return recorded.digest if same_registry and recorded.path == reference.path else None
