"""Registries and credentials in memory: tables of what is answered about an image, and a count of what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.support.builders import a_digest
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import CredentialError, ManifestNotFoundError, WatchtowerError
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.manifest import Index
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import Published

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(word: str) -> Digest:
    """Return a digest that depends on the word."""
    return parse_digest(a_digest(word))


def published(image: str, word: str, *, media_type: str = MANIFEST) -> Published:
    """Return what an image's tag points to."""
    return Published(reference=parse_reference(image), digest=digest(word), media_type=media_type)


class SmallRegistries:
    """Answers for any number of registries; an image that is in no table is not found."""

    def __init__(
        self,
        tags: Mapping[str, Published | WatchtowerError] | None = None,
        indexes: Mapping[Digest, Index | WatchtowerError] | None = None,
    ) -> None:
        self.asked: Counter[str] = Counter()
        self.indexes_asked: Counter[Digest] = Counter()
        self._tags = {str(parse_reference(image)): answer for image, answer in (tags or {}).items()}
        self._indexes = indexes or {}

    async def fetch_published(self, reference: Reference) -> Published:
        """Answer from the table."""
        self.asked[reference.familiar] += 1
        missing = ManifestNotFoundError("no such tag", host=reference.host)
        answer = self._tags.get(str(reference), missing)
        if isinstance(answer, WatchtowerError):
            raise answer
        return answer

    async def fetch_index(self, reference: Reference, digest: Digest) -> Index | None:
        """Answer from the table; a digest that is not there is that of a single manifest."""
        self.indexes_asked[digest] += 1
        answer = self._indexes.get(digest)
        if isinstance(answer, WatchtowerError):
            raise answer
        return answer


class SmallCredentials:
    """The same answer for every image."""

    def __init__(self, answer: Credential | Anonymous | CredentialError | None = None) -> None:
        self._answer = answer or Anonymous()

    async def credential_for(self, reference: Reference) -> Credential | Anonymous:
        """Return the answer, or raise it."""
        if isinstance(self._answer, CredentialError):
            raise self._answer
        return self._answer
