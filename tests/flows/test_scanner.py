"""Who is asked what a tag points to, and what is made of the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from tests.support.builders import a_digest
from tests.support.small_engine import Answers, SmallEngine
from tests.support.small_registries import INDEX, SmallCredentials, SmallRegistries, digest, published
from watchtower_async.credentials.credential import Credential
from watchtower_async.engine.client import JsonObject
from watchtower_async.errors import (
    CredentialError,
    CredentialFileInvalidError,
    DeniedError,
    EngineError,
    EngineUnavailableError,
    ManifestNotFoundError,
    NoSuchObjectError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
    WatchtowerError,
)
from watchtower_async.images.manifest import Index
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import Published
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.scanner import ENGINE_QUESTION_SECONDS, Answer, Scanner, Unanswered, reason_for

APP, LOCAL = "host.example/app:1", "localhost:5000/app:1"
HOST = "host.example"


def dead(*, connected: bool = False) -> RegistryUnavailableError:
    """Return the error of a registry that cannot be reached."""
    return RegistryUnavailableError("host.example: connection refused", host=HOST, connected=connected)


def from_engine(word: str, media_type: str = INDEX) -> JsonObject:
    """Return an engine's answer about an image."""
    return {"Descriptor": {"digest": a_digest(word), "mediaType": media_type, "size": 1}, "Platforms": []}


def a_scanner(
    *,
    registries: SmallRegistries | None = None,
    engine: SmallEngine | None = None,
    credentials: SmallCredentials | None = None,
    shares_loopback: bool = True,
) -> Scanner:
    """Return a scanner in a small world."""
    return Scanner(
        registries=registries or SmallRegistries(),
        engine=engine or SmallEngine(),
        credentials=credentials or SmallCredentials(),
        shares_loopback=shares_loopback,
    )


async def asked(image: str, **world: Any) -> Answer:
    """Ask for one image."""
    return await a_scanner(**world).ask(parse_reference(image))


async def through_engine(answers: Answers, image: str = LOCAL, **world: Any) -> Answer:
    """Ask for an image that only the engine can reach."""
    name = str(parse_reference(image))
    engine = SmallEngine(distribution={name: answers[image]})
    return await asked(image, engine=engine, shares_loopback=False, **world)


async def test_each_distinct_question_is_asked_once() -> None:
    """A hundred containers of one image are one question; other tags are others."""
    registries = SmallRegistries({APP: published(APP, "v1"), "redis": published("redis", "r")})
    images = [APP] * 100 + ["redis", "docker.io/library/redis:latest", "host.example/app:2"]

    answers = await a_scanner(registries=registries).scan(parse_reference(image) for image in images)

    assert registries.asked == {APP: 1, "redis:latest": 1, "host.example/app:2": 1}
    assert answers[parse_reference(APP)] == published(APP, "v1")
    assert answers[parse_reference("redis")] == published("redis", "r")
    assert isinstance(answers[parse_reference("host.example/app:2")], Unanswered)


async def test_registries_are_asked_at_the_same_time() -> None:
    """A slow registry does not hold up the others."""

    class Meeting(SmallRegistries):
        """Answers nobody before everybody has asked."""

        def __init__(self, expected: int) -> None:
            super().__init__()
            self._missing = expected
            self._complete = anyio.Event()

        async def fetch_published(self, reference: Reference) -> Published:
            self._missing -= 1
            if self._missing == 0:
                self._complete.set()
            await self._complete.wait()
            return published(str(reference), "v1")

    scanner = a_scanner(registries=Meeting(20))
    with anyio.fail_after(5):
        answers = await scanner.scan(parse_reference(f"host{number}.example/app:1") for number in range(20))
    assert all(isinstance(answer, Published) for answer in answers.values())


async def test_one_bad_registry_costs_only_its_own_answer() -> None:
    """Every error of one question is an answer."""
    registries = SmallRegistries(
        {APP: RateLimitedError("wait", host=HOST, retry_after=1.0), "redis": published("redis", "r")}
    )
    answers = await a_scanner(registries=registries).scan(map(parse_reference, (APP, "redis")))
    assert answers[parse_reference(APP)] == Unanswered(Reason(ReasonCode.RATE_LIMITED, "wait"))
    assert answers[parse_reference("redis")] == published("redis", "r")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CredentialError("x"), ReasonCode.CREDENTIALS),
        (CredentialFileInvalidError("x"), ReasonCode.CREDENTIALS),
        (UnauthorizedError("x", host=HOST), ReasonCode.UNAUTHORIZED),
        (DeniedError("x", host=HOST), ReasonCode.DENIED),
        (ManifestNotFoundError("x", host=HOST), ReasonCode.NOT_FOUND),
        (RateLimitedError("x", host=HOST, retry_after=None), ReasonCode.RATE_LIMITED),
        (RegistryUnavailableError("x", host=HOST, connected=True), ReasonCode.UNREACHABLE),
        (ProtocolViolationError("x", host=HOST), ReasonCode.PROTOCOL),
        (RegistryError("x", host=HOST), ReasonCode.PROTOCOL),
        (EngineError("x"), ReasonCode.ENGINE),
        (WatchtowerError("x"), ReasonCode.ENGINE),
    ],
)
async def test_registry_that_answered_is_never_asked_again_through_the_engine(
    error: WatchtowerError, code: ReasonCode
) -> None:
    """Its answer stands, under a code and in its own words: another question would cost quota."""
    engine = SmallEngine(distribution={APP: from_engine("v1")})
    assert await asked(APP, registries=SmallRegistries({APP: error}), engine=engine) == Unanswered(Reason(code, "x"))
    assert reason_for(error) == Reason(code, "x")
    assert not engine.calls


async def test_registry_that_cannot_be_reached_is_asked_through_the_engine() -> None:
    """The engine may have a proxy, a mirror or a network that we have not."""
    engine = SmallEngine(distribution={APP: from_engine("v1")})
    answer = await asked(APP, registries=SmallRegistries({APP: dead()}), engine=engine)
    assert answer == Published(parse_reference(APP), digest("v1"), INDEX, through_engine=True)
    assert engine.calls == {"inspect_distribution": 1}


@pytest.mark.parametrize("image", [LOCAL, "127.0.0.1:5000/app:1", "[::1]:5000/app:1", "x.localhost/app:1"])
@pytest.mark.parametrize("shares_loopback", [True, False])
async def test_loopback_name_means_the_engines_loopback(image: str, shares_loopback: bool) -> None:
    """Only an updater on that loopback may ask by itself; anybody else would ask another registry."""
    registries = SmallRegistries({image: published(image, "ours")})
    engine = SmallEngine(distribution={image: from_engine("theirs")})
    answer = await asked(image, registries=registries, engine=engine, shares_loopback=shares_loopback)
    assert isinstance(answer, Published)
    assert answer.digest == digest("ours" if shares_loopback else "theirs")
    assert answer.through_engine is not shares_loopback
    assert registries.asked.total() + engine.calls.total() == 1


async def test_engine_gets_the_credential_under_the_registrys_key() -> None:
    """The engine sends it on to that registry only."""
    engine = SmallEngine(distribution={"docker.io/library/redis:7": from_engine("v1")})
    await asked(
        "redis:7",
        registries=SmallRegistries({"redis:7": dead()}),
        engine=engine,
        credentials=SmallCredentials(Credential(username="u", password="p")),
    )
    (header,) = engine.headers
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "u", "password": "p", "serveraddress": "https://index.docker.io/v1/",
    }  # fmt: skip


async def test_credential_that_cannot_be_used_stops_the_question() -> None:
    """Asking as nobody instead would hide what is wrong."""
    credentials = SmallCredentials(CredentialError("the helper failed"))
    answer = await through_engine({LOCAL: from_engine("v1")}, credentials=credentials)
    assert answer == Unanswered(Reason(ReasonCode.CREDENTIALS, "the helper failed"))


@pytest.mark.parametrize(
    "reply",
    [
        {}, {"Descriptor": None}, {"Descriptor": []}, {"Descriptor": "x"}, {"Descriptor": {}},
        {"Descriptor": {"digest": None}}, {"Descriptor": {"digest": 5}}, {"Descriptor": {"digest": "sha256:abc"}},
    ],
)  # fmt: skip
async def test_engines_answer_without_a_digest_is_no_answer(reply: Mapping[str, Any]) -> None:
    """A strange engine costs this answer, not the session."""
    answer = await through_engine({LOCAL: dict(reply)})
    assert answer == Unanswered(Reason(ReasonCode.PROTOCOL, "the engine's answer about the image holds no digest"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("unauthorized", status=401), ReasonCode.UNAUTHORIZED),
        (EngineError("denied", status=403), ReasonCode.DENIED),
        (EngineError('Head "http://x/v2/a": unauthorized: wrong password', status=500), ReasonCode.UNAUTHORIZED),
        (EngineError('Head "http://x/v2/a": denied: not yours', status=500), ReasonCode.DENIED),
        (NoSuchObjectError("manifest unknown", status=404), ReasonCode.NOT_FOUND),
        (EngineError("dial tcp: no such host", status=500), ReasonCode.UNREACHABLE),
        (EngineUnavailableError("did not answer in time"), ReasonCode.UNREACHABLE),
    ],
)
async def test_words_of_the_engine_are_passed_on(error: EngineError, code: ReasonCode) -> None:
    """Its status tells a refusal from a dead registry, and who was asked is said."""
    said = f"asked through the engine: {error}"
    assert await through_engine({LOCAL: error}) == Unanswered(Reason(code, said))
    both = await through_engine({APP: error}, APP, registries=SmallRegistries({APP: dead()}))
    assert both == Unanswered(Reason(code, f"host.example: connection refused; {said}"))


async def test_registry_that_wants_a_login_is_told_from_a_dead_one() -> None:
    """An engine reports both with status 500; only its words differ, and the remedy does."""
    answer = await through_engine({LOCAL: EngineError("Head http://x: no basic auth credentials", status=500)})
    assert isinstance(answer, Unanswered)
    assert answer.reason.code is ReasonCode.UNAUTHORIZED
    assert "localhost:5000 asks for a login" in answer.reason.text
    assert "(no entry; asked through the engine)" in answer.reason.text


@pytest.mark.parametrize("message", ["page not found", "Path /v1.41/distribution/x is not supported", "Not Found"])
async def test_engine_without_the_question_gets_a_remedy(message: str) -> None:
    """Podman and old engines cannot be asked; the tag may well exist."""
    answer = await through_engine({LOCAL: NoSuchObjectError(message, status=404)})
    assert isinstance(answer, Unanswered)
    assert answer.reason.code is ReasonCode.UNREACHABLE
    assert answer.reason.text == (
        "localhost:5000 is not reachable from here and this engine cannot be asked: "
        "run the updater with host networking"
    )


@pytest.mark.looptime
async def test_engine_that_says_nothing_is_given_up() -> None:
    """The wait has a deadline of its own."""

    class Silent(SmallEngine):
        async def inspect_distribution(self, name: str, *, registry_auth: str) -> JsonObject:
            await anyio.sleep_forever()
            raise AssertionError

    started = anyio.current_time()
    answer = await asked(LOCAL, engine=Silent(), shares_loopback=False)
    assert answer == Unanswered(Reason(ReasonCode.UNREACHABLE, "asked through the engine: no answer in time"))
    assert anyio.current_time() - started == ENGINE_QUESTION_SECONDS


async def test_index_is_fetched_by_the_published_digest() -> None:
    """None means that the digest is that of a single manifest."""
    index = Index(INDEX, ())
    scanner = a_scanner(registries=SmallRegistries(indexes={digest("idx"): index}))
    assert await scanner.index_of(published(APP, "idx")) is index
    assert await scanner.index_of(published(APP, "single")) is None


async def test_index_that_only_the_engine_can_reach_is_not_asked_for() -> None:
    """There is no such question to an engine."""
    registries = SmallRegistries()
    answer = Published(parse_reference(APP), digest("idx"), INDEX, through_engine=True)
    assert await a_scanner(registries=registries).index_of(answer) is None
    assert not registries.indexes_asked


async def test_index_that_cannot_be_fetched_is_unanswered() -> None:
    """The reason is kept: rate limited is not "no index"."""
    registries = SmallRegistries(indexes={digest("idx"): RateLimitedError("wait", host=HOST, retry_after=None)})
    answer = await a_scanner(registries=registries).index_of(published(APP, "idx"))
    assert answer == Unanswered(Reason(ReasonCode.RATE_LIMITED, "wait"))
