"""What a tag points to now, asked from its registry.

HEAD costs nothing and is enough for most registries; GET follows where HEAD does not work or tells no digest, and that
is remembered per host for an hour. A digest found by GET is that of exactly the bytes received. The specification is
https://github.com/opencontainers/distribution-spec (v1.1).

How a registry wants to be asked is found out in `access`, when it is asked is decided in `pacing`.
"""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
from aiohttp.abc import AbstractResolver

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import DeniedError, ProtocolViolationError, UnauthorizedError
from watchtower_async.images.digest import Digest, digest_of
from watchtower_async.images.manifest import Descriptor, Index
from watchtower_async.images.platform import Platform, choose_manifest
from watchtower_async.images.reference import DOCKER_HUB, Reference
from watchtower_async.registry.access import Asker, CredentialSource
from watchtower_async.registry.answers import (
    error_code,
    failure,
    login_failure,
    needs_get,
    published_by_head,
    read_created,
    read_manifest,
)
from watchtower_async.registry.exchange import Reply
from watchtower_async.registry.limits import Account, ClientLimits, RateLimit
from watchtower_async.registry.memory import KeyedLocks, Memory
from watchtower_async.registry.pacing import Pacing, utc_now
from watchtower_async.registry.question import Question
from watchtower_async.registry.tokens import Tokens
from watchtower_async.registry.transport import UNHEARD, RegistryListener, Transport

_INDEXES = 500
_HOSTS = 1000
_NO_HEAD_SECONDS = 3600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """What a tag points to."""

    reference: Reference
    digest: Digest
    media_type: str = ""
    """Empty where nobody said."""
    through_engine: bool = False
    """Whether the engine was asked, because the registry cannot be reached from here."""
    login_refused: bool = field(default=False, compare=False)
    """Whether the engine had to be asked without the login, as the registry refuses it."""


@dataclass(frozen=True, slots=True)
class _Content:
    """A manifest that was fetched: an index, or that of a single image with its configuration."""

    media_type: str
    index: Index | None
    config: Descriptor | None = None


class RegistryClient:
    """Asks any number of registries at the same time. Used as an async context manager."""

    def __init__(
        self,
        *,
        credentials: CredentialSource,
        user_agent: str,
        insecure_hosts: frozenset[str],
        limits: ClientLimits = ClientLimits(),  # noqa: B008 - frozen
        ca_bundle: Path | None = None,
        ssl_context: ssl.SSLContext | None = None,
        unverified_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        environ: Mapping[str, str] = os.environ,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        now: Callable[[], datetime] = utc_now,
        listener: RegistryListener = UNHEARD,
    ) -> None:
        """`insecure_hosts` may be asked without a trusted certificate, or over http, as loopback ones always may.

        Certificates are checked with `ssl_context`, else the CAs of `ca_bundle`, else those of the system or of
        `SSL_CERT_FILE`; `unverified_context` is for insecure hosts. `environ` names the proxies. `draw` returns random
        numbers from 0 to 1. `listener` hears how registries answer.
        """
        if ssl_context is None and ca_bundle is not None:
            ssl_context = ssl.create_default_context(cafile=str(ca_bundle))
        self._credentials = credentials
        self._transport = Transport(
            user_agent=user_agent,
            limits=limits,
            environ=environ,
            ssl_context=ssl_context,
            unverified_context=unverified_context,
            resolver=resolver,
            listener=listener,
        )
        self._pacing = Pacing(
            transport=self._transport, limits=limits, draw=draw, sleep=sleep, now=now, listener=listener
        )
        self._tokens = Tokens(slots=self._pacing.slots, now=now)
        self._asker = Asker(
            pacing=self._pacing, tokens=self._tokens, credentials=credentials, insecure_hosts=insecure_hosts
        )
        self._indexes: Memory[Digest, _Content] = Memory(limit=_INDEXES, clock=anyio.current_time)
        self._index_locks: KeyedLocks[Digest] = KeyedLocks()
        self._without_head: Memory[str, bool] = Memory(limit=_HOSTS, clock=anyio.current_time)

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def fetch_published(self, reference: Reference) -> Published:
        """Return what the tag points to now. Raises RegistryError or CredentialError."""
        resource = reference.tag or str(reference.digest)
        return await self._with_login(reference, f"manifests/{resource}", self._published)

    async def fetch_index(self, reference: Reference, digest: Digest) -> Index | None:
        """Return the index with this digest, None where the digest is that of a single manifest.

        Content with a digest never changes, so it is fetched once. Raises RegistryError or CredentialError.
        """
        return (await self._manifest_with(reference, digest)).index

    async def fetch_created(self, reference: Reference, digest: Digest, platform: Platform) -> datetime | None:
        """Return when the image behind a digest was built for a platform, None where it does not say.

        Costs the manifests that are not known yet, and the image's configuration. Raises RegistryError or
        CredentialError.
        """
        content = await self._manifest_with(reference, digest)
        if content.index is not None:
            chosen = choose_manifest(content.index.descriptors, platform)
            if chosen is None:
                return None
            content = await self._manifest_with(reference, chosen.digest)
        config = content.config
        if config is None:
            return None
        expected = config.digest

        async def fetch(question: Question) -> datetime | None:
            reply = await self._asker.ask("GET", question)
            if reply.status != 200:
                raise failure(reply, reference, question.credential)
            if digest_of(reply.body, expected.algorithm) != expected:
                message = f"registry {reference.host} sends another configuration for {reference.familiar} than asked"
                raise ProtocolViolationError(message, host=reference.host)
            return read_created(reply.body)

        return await self._with_login(reference, f"blobs/{expected}", fetch)

    def rate_limit(self, host: str) -> RateLimit | None:
        """Return what a registry said last about its pull limit, None where it never did."""
        return self._pacing.rate_limit(host)

    async def check_login(self, domain: str, credential: Credential | Anonymous) -> bool:
        """Show a registry a credential without asking for an image; False where it let us in without looking at it.

        Raises RegistryError, UnauthorizedError where the credential is refused, and CredentialError.
        """
        root = Reference(domain, "", "latest", None)
        account = Account(root.host, credential.fingerprint())
        question = Question(root, credential, "/v2/", account)
        reply = await self._pacing.take_turn(account, "a login", lambda: self._asker.ask("GET", question))
        is_accepted = self._asker.is_accepted(account)
        if reply.status != 200 or is_accepted is False:
            raise login_failure(reply, root.host, credential)
        return is_accepted is True

    def is_accepted(self, host: str, credential: Credential | Anonymous) -> bool | None:
        """Say whether a credential was of use when its registry demanded it last; None where it never did."""
        return self._asker.is_accepted(Account(host, credential.fingerprint()))

    def token_seconds(self, host: str, credential: Credential | Anonymous) -> float | None:
        """Return for how long the token that a credential has bought is good; None where there is none."""
        return self._tokens.seconds_left(host, credential)

    def forget(self, host: str) -> None:
        """Drop the tokens of a registry and what failed there: its credential has changed."""
        self._tokens.forget(host)
        self._asker.forget(host)
        self._pacing.forget(host)

    async def _manifest_with(self, reference: Reference, digest: Digest) -> _Content:
        async with self._index_locks.lock(digest):
            known = self._indexes.get(digest)
            if known is None:
                pinned = reference.with_digest(digest)

                async def fetch(question: Question) -> _Content:
                    _, content = self._content(await self._asker.ask("GET", question), question, digest)
                    return content

                known = await self._with_login(pinned, f"manifests/{digest}", fetch)
        return known

    async def _with_login(self, reference: Reference, resource: str, work: Callable[[Question], Awaitable[T]]) -> T:
        """Ask with the credential of the moment; once more if it is refused and there is a newer one by then."""
        credential = await self._credentials.credential_for(reference)
        try:
            return await self._in_turn(reference, resource, credential, work)
        except (UnauthorizedError, DeniedError):
            newer = await self._credentials.credential_for(reference, refused=credential)
            if newer.fingerprint() == credential.fingerprint():
                raise
        return await self._in_turn(reference, resource, newer, work)

    async def _in_turn(
        self,
        reference: Reference,
        resource: str,
        credential: Credential | Anonymous,
        work: Callable[[Question], Awaitable[T]],
    ) -> T:
        account = Account(reference.host, credential.fingerprint())
        path = f"/v2/{reference.path}/{resource}"
        question = Question(reference, credential, path, account)
        return await self._pacing.take_turn(account, reference.familiar, lambda: work(question))

    async def _published(self, question: Question) -> Published:
        reference = question.reference
        is_hub = reference.domain == DOCKER_HUB
        asked_for = reference.digest if reference.tag is None else None
        head_works = not self._without_head.get(reference.host)
        if head_works:
            reply = await self._asker.ask("HEAD", question)
            found = published_by_head(reply)
            if found is not None and asked_for in (None, found[0]):
                return Published(reference, *found)
            if not needs_get(reply, is_hub=is_hub):
                raise failure(reply, reference, question.credential)
        reply = await self._get_published(question)
        digest, content = self._content(reply, question, asked_for)
        if head_works and not is_hub:
            self._without_head.put(reference.host, True, _NO_HEAD_SECONDS)
        return Published(reference, digest, content.media_type)

    async def _get_published(self, question: Question) -> Reply:
        reply = await self._asker.ask("GET", question)
        if reply.status == 404 and error_code(reply.body) == "NAME_UNKNOWN":
            return await self._asker.ask_as_user("GET", question) or reply
        return reply

    def _content(self, reply: Reply, question: Question, expected: Digest | None) -> tuple[Digest, _Content]:
        """Read and remember a manifest. Raises RegistryError."""
        reference = question.reference
        if reply.status != 200:
            raise failure(reply, reference, question.credential)
        try:
            digest, manifest = read_manifest(reply, expected=expected)
        except ValueError as error:
            message = f"registry {reference.host} does not answer with an image for {reference.familiar}: {error}"
            raise ProtocolViolationError(message, host=reference.host) from None
        if isinstance(manifest, Index):
            content = _Content(manifest.media_type, manifest)
        else:
            content = _Content(manifest.media_type, None, manifest.config)
        self._indexes.put(expected or digest, content)
        return digest, content
