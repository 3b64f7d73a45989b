"""Asks what each tag points to now: one question per distinct image, all registries at the same time.

A registry is asked by us or by the engine. `localhost:5000/app` names the engine's own loopback, so an updater that is
not on that loopback asks through the engine; so it does when it cannot connect to a registry at all. It never does
after a registry has answered, whatever the answer was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import anyio

from watchtower_async.credentials.credential import Anonymous, Credential, registry_auth_header
from watchtower_async.engine.client import Engine
from watchtower_async.errors import (
    CredentialError,
    DeniedError,
    EngineError,
    InvalidReferenceError,
    ManifestNotFoundError,
    NoSuchObjectError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
    WatchtowerError,
)
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.manifest import Index
from watchtower_async.images.platform import Platform
from watchtower_async.images.reference import Reference, is_loopback_host
from watchtower_async.registry.client import Published
from watchtower_async.updates.reason import Reason, ReasonCode

ENGINE_QUESTION_SECONDS = 60.0
_LOGIN_REFUSED = frozenset({ReasonCode.UNAUTHORIZED, ReasonCode.DENIED})
# The engine's own words, with status 500, where it has no credential to answer a Basic challenge with.
_NO_LOGIN = "no basic auth credentials"
# The same, where a token service refuses: the registry's own answer has a status of its own.
_REFUSALS = ((": unauthorized: ", ReasonCode.UNAUTHORIZED), (": denied: ", ReasonCode.DENIED))


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def credential_for(self, reference: Reference) -> Credential | Anonymous:
        """Return the credential for an image. Raises CredentialError."""


class Registries(Protocol):
    """The questions that a scan asks."""

    async def fetch_published(self, reference: Reference) -> Published:
        """Return what the tag points to. Raises RegistryError or CredentialError."""

    async def fetch_index(self, reference: Reference, digest: Digest) -> Index | None:
        """Return the index with this digest, None where the digest is that of a single manifest."""


class ImageDates(Protocol):
    """Who knows when an image was built."""

    async def fetch_created(self, reference: Reference, digest: Digest, platform: Platform) -> datetime | None:
        """Return when the image behind a digest was built for a platform, None where it does not say.

        Raises RegistryError or CredentialError.
        """


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody could say what the tag points to."""

    reason: Reason
    through_engine: bool = field(default=False, compare=False)
    """Whether the engine was asked."""


Answer = Published | Unanswered


class Scanner:
    """Asks the questions of one engine's containers."""

    def __init__(
        self,
        *,
        registries: Registries,
        engine: Engine,
        credentials: CredentialSource,
        shares_loopback: bool,
        dates: ImageDates | None = None,
    ) -> None:
        """`shares_loopback` says whether our loopback is the engine's. Without `dates` no image's age is known."""
        self._registries = registries
        self._engine = engine
        self._credentials = credentials
        self._shares_loopback = shares_loopback
        self._dates = dates

    async def scan(self, references: Iterable[Reference]) -> Mapping[Reference, Answer]:
        """Answer each distinct reference once. Never raises for a single one."""
        answers: dict[Reference, Answer] = {}

        async def ask(reference: Reference) -> None:
            answers[reference] = await self.ask(reference)

        async with anyio.create_task_group() as group:
            for reference in dict.fromkeys(references):
                group.start_soon(ask, reference, name=f"ask {reference}")
        return answers

    async def ask(self, reference: Reference) -> Answer:
        """Answer one reference."""
        if is_loopback_host(reference.domain) and not self._shares_loopback:
            return await self._ask_engine(reference, None)
        try:
            return await self._registries.fetch_published(reference)
        except RegistryUnavailableError as error:
            if error.connected:
                return Unanswered(reason_for(error))
            return await self._ask_engine(reference, error)
        except WatchtowerError as error:
            return Unanswered(reason_for(error))

    async def index_of(self, published: Published) -> Index | Unanswered | None:
        """Fetch the index behind an answer; None where there is none, or where only the engine can reach it."""
        if published.through_engine:
            return None
        try:
            return await self._registries.fetch_index(published.reference, published.digest)
        except WatchtowerError as error:
            return Unanswered(reason_for(error))

    async def created(self, published: Published, platform: Platform) -> datetime | None:
        """Return when the image behind an answer was built, None where that cannot be known. Costs a few requests."""
        if self._dates is None or published.through_engine:
            return None
        try:
            return await self._dates.fetch_created(published.reference, published.digest, platform)
        except WatchtowerError:
            return None  # it is not needed to decide, only to wait longer where it is late

    async def _ask_engine(self, reference: Reference, unreachable: RegistryUnavailableError | None) -> Answer:
        try:
            credential = await self._credentials.credential_for(reference)
        except CredentialError as error:
            return Unanswered(reason_for(error))
        answer = await self._ask_engine_as(reference, credential, unreachable)
        refused = isinstance(answer, Unanswered) and answer.reason.code in _LOGIN_REFUSED
        if refused and isinstance(credential, Credential):
            # Some registries refuse a wrong login even for a public image.
            without = await self._ask_engine_as(reference, Anonymous(), unreachable)
            return replace(without, login_refused=True) if isinstance(without, Published) else answer
        return answer

    async def _ask_engine_as(
        self,
        reference: Reference,
        credential: Credential | Anonymous,
        unreachable: RegistryUnavailableError | None,
    ) -> Answer:
        header = registry_auth_header(credential, reference.credential_key)
        try:
            with anyio.fail_after(ENGINE_QUESTION_SECONDS):
                reply = await self._engine.inspect_distribution(str(reference), registry_auth=header)
            descriptor = reply["Descriptor"]
            return Published(
                reference=reference,
                digest=parse_digest(str(descriptor["digest"])),
                media_type=str(descriptor.get("mediaType", "")),
                through_engine=True,
            )
        except (KeyError, TypeError, InvalidReferenceError):
            reason = Reason(ReasonCode.PROTOCOL, "the engine's answer about the image holds no digest")
            return Unanswered(reason, through_engine=True)
        except (EngineError, TimeoutError) as error:
            return Unanswered(_engine_reason(reference, error, unreachable, credential.source), through_engine=True)


def _engine_reason(
    reference: Reference, error: EngineError | TimeoutError, unreachable: RegistryUnavailableError | None, source: str
) -> Reason:
    if isinstance(error, NoSuchObjectError) and _lacks_endpoint(str(error).lower()):
        text = (
            f"{reference.domain} is not reachable from here and this engine cannot be asked: "
            "run the updater with host networking"
        )
        return Reason(ReasonCode.UNREACHABLE, text)
    if _NO_LOGIN in str(error):
        text = f"registry {reference.domain} asks for a login, and no credential is configured for it"
        return Reason(ReasonCode.UNAUTHORIZED, f"{text} ({source}; asked through the engine)")
    # The engine gives the registry's own words only. They tell a refusal from a dead host, nothing finer.
    said = str(error) or "no answer in time"
    own = f"{unreachable}; " if unreachable is not None else ""
    status = error.status if isinstance(error, EngineError) else 0
    code = {401: ReasonCode.UNAUTHORIZED, 403: ReasonCode.DENIED, 404: ReasonCode.NOT_FOUND}.get(status)
    code = code or next((refusal for words, refusal in _REFUSALS if words in said), None)
    return Reason(code or ReasonCode.UNREACHABLE, f"{own}asked through the engine: {said}")


def _lacks_endpoint(message: str) -> bool:
    # Docker's router, a Podman that says so, and Podman's router for names with a slash.
    return "page not found" in message or "not supported" in message or message == "not found"


_CODES: tuple[tuple[type[WatchtowerError], ReasonCode], ...] = (
    (CredentialError, ReasonCode.CREDENTIALS),
    (UnauthorizedError, ReasonCode.UNAUTHORIZED),
    (DeniedError, ReasonCode.DENIED),
    (ManifestNotFoundError, ReasonCode.NOT_FOUND),
    (RateLimitedError, ReasonCode.RATE_LIMITED),
    (RegistryUnavailableError, ReasonCode.UNREACHABLE),
    (ProtocolViolationError, ReasonCode.PROTOCOL),
    (RegistryError, ReasonCode.PROTOCOL),
)


def reason_for(error: WatchtowerError) -> Reason:
    """Turn an error into the reason that a person is shown."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ReasonCode.ENGINE)
    return Reason(code, str(error))
