"""Bearer tokens: who is asked, for what, how often, and what is made of the replies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qs

import anyio
import pytest

from tests.support.registry_world import Logins, a_client, a_login, published_at_once
from tests.support.simulated_registry import Answer, BearerAuth, Misbehave, SimulatedRegistry, SimulatedTokens
from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import (
    ProtocolViolationError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import Published, RegistryClient


@asynccontextmanager
async def a_world(
    tokens: SimulatedTokens, credential: Credential | None = None, **auth: object
) -> AsyncIterator[tuple[SimulatedRegistry, RegistryClient, Reference]]:
    """Serve a registry with this token service and one image; yield it, a client with the credential, the image."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens, **auth))  # type: ignore[arg-type]
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: credential} if credential else {}) as client:
        yield registry, client, parse_reference(f"{address}/vendor/app:1")


def private_tokens() -> SimulatedTokens:
    """Return a token service that knows `tester` and nobody else."""
    return SimulatedTokens(users={"tester": "right"}, anonymous=False)


async def test_anonymous_token_is_asked_for_without_authorization() -> None:
    """Public images need a token as well, and nobody gets one for the asking."""
    async with a_world(SimulatedTokens()) as (registry, client, image):
        await client.fetch_published(image)
    asked = next(seen for seen in registry.requests if seen.kind == "token")
    assert asked.authorization == ""
    assert parse_qs(asked.query) == {"service": ["registry.test"], "scope": ["repository:vendor/app:pull"]}


async def test_scope_is_our_own_whatever_the_challenge_says() -> None:
    """Challenges may hold a placeholder; a token for that would be good for nothing."""
    async with a_world(SimulatedTokens(), scope="repository:user/image:pull") as (registry, client, image):
        await client.fetch_published(image)
    asked = next(seen for seen in registry.requests if seen.kind == "token")
    assert "scope=repository:vendor/app:pull" in asked.query
    assert "user/image" not in asked.query


async def test_query_of_the_realm_is_kept() -> None:
    """Some realms have a query of their own."""
    tokens = SimulatedTokens()
    async with a_world(tokens) as (registry, client, image):
        assert isinstance(registry.auth, BearerAuth)
        registry.auth.realm = f"http://{registry.address}/token?group=a%2Fb"
        await client.fetch_published(image)
    asked = next(seen for seen in registry.requests if seen.kind == "token")
    assert asked.query.startswith("group=a%2Fb&service=")


async def test_missing_service_is_left_out() -> None:
    """An empty service is no service."""
    async with a_world(SimulatedTokens(service="")) as (registry, client, image):
        await client.fetch_published(image)
    assert "service" not in next(seen.query for seen in registry.requests if seen.kind == "token")


async def test_realm_may_be_relative() -> None:
    """It is then on the registry."""
    async with a_world(SimulatedTokens(), realm="/token") as (_, client, image):
        await client.fetch_published(image)


async def test_identity_token_is_posted() -> None:
    """OAuth2: no Authorization field, the token in the body."""
    tokens = SimulatedTokens(identity_tokens=["refresh-me"], anonymous=False)
    async with a_world(tokens, Credential(identity_token="refresh-me")) as (registry, client, image):
        await client.fetch_published(image)
    asked = next(seen for seen in registry.requests if seen.kind == "token")
    assert asked.method == "POST"
    assert asked.authorization == ""
    assert asked.query == ""
    form = parse_qs(asked.body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["scope"] == ["repository:vendor/app:pull"]


async def test_service_without_post_gets_user_and_password_if_there_are_any() -> None:
    """An identity token is the first choice, not the only one."""
    tokens = SimulatedTokens(users={"tester": "right"}, anonymous=False, posts=False)
    both = Credential(username="tester", password="right", identity_token="x")
    async with a_world(tokens, both) as (registry, client, image):
        await client.fetch_published(image)
    assert [seen.method for seen in registry.requests if seen.kind == "token"] == ["POST", "GET"]


async def test_service_without_post_does_not_take_an_identity_token() -> None:
    """Then only another login helps."""
    tokens = SimulatedTokens(anonymous=False, posts=False)
    async with a_world(tokens, Credential(username="0000", identity_token="x")) as (_, client, image):
        with pytest.raises(UnauthorizedError, match="does not accept identity tokens"):
            await client.fetch_published(image)


async def test_token_is_asked_for_once_per_repository() -> None:
    """All tags of a repository share a token, also when they are asked about together."""
    tokens = private_tokens()
    async with a_world(tokens, a_login()) as (registry, client, image):
        tags = [f"v{number}" for number in range(10)]
        for tag in tags:
            registry.publish_image("vendor/app", tag)
        registry.answer_delay = 0.005
        images = [parse_reference(f"{image.repository}:{tag}") for tag in tags]
        answers = await published_at_once(client, images)
    assert all(isinstance(answer, Published) for answer in answers.values())
    assert registry.count("token") == 1


async def test_token_of_one_repository_is_not_tried_for_another() -> None:
    """A token is good for what it was asked for."""
    async with a_world(private_tokens(), a_login()) as (registry, client, image):
        registry.publish_image("vendor/other", "1")
        await client.fetch_published(image)
        await client.fetch_published(parse_reference(f"{image.domain}/vendor/other:1"))
    assert registry.count("token") == 2
    assert registry.count("manifest", status=401) == 1


@pytest.mark.looptime
async def test_token_is_renewed_ten_seconds_before_its_end() -> None:
    """A token that dies on the way would cost a round."""
    async with a_world(private_tokens(), a_login()) as (registry, client, image):
        await client.fetch_published(image)
        await anyio.sleep(289)
        await client.fetch_published(image)
        assert registry.count("token") == 1
        await anyio.sleep(2)
        await client.fetch_published(image)
    assert registry.count("token") == 2
    assert registry.count("manifest", status=401) == 1


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("expires_in", "issued_at", "life"),
    [
        (None, None, 50),
        (0, timedelta(0), 50),
        (-5, None, 50),
        ("120", None, 110),
        ("120.5", None, 110.5),
        ("soon", None, 50),
        (True, None, 50),
        (10, None, 5),
        (300, timedelta(days=1), 290),
        (300, timedelta(days=-1), 290),
        (300, timedelta(seconds=-100), 190),
        (1e308, None, 86390),
    ],
)
async def test_life_of_a_token(expires_in: object, issued_at: timedelta | None, life: float) -> None:
    """60 s where nobody says; numbers in strings count; a date counts only where it is plausible."""
    tokens = SimulatedTokens(expires_in=expires_in)
    tokens.issued_at = issued_at
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client() as client:
        image = parse_reference(f"{address}/vendor/app:1")
        await client.fetch_published(image)
        await anyio.sleep(life - 1)
        await client.fetch_published(image)
        assert registry.count("token") == 1
        await anyio.sleep(2)
        await client.fetch_published(image)
    assert registry.count("token") == 2


async def test_revoked_token_is_replaced_once() -> None:
    """A remembered token that is refused is not the end."""
    tokens = private_tokens()
    async with a_world(tokens, a_login()) as (registry, client, image):
        await client.fetch_published(image)
        tokens.revoke_all()
        tokens.token_text = "later-{number}"
        await client.fetch_published(image)
    assert registry.count("token") == 2


async def test_remembered_token_answered_with_400_is_replaced_once() -> None:
    """ECR Public says 400 when a token has expired."""
    async with a_world(private_tokens(), a_login()) as (registry, client, image):
        await client.fetch_published(image)
        registry.misbehave(Misbehave(answer=Answer(400, body=b'{"errors":[{"code":"DENIED"}]}'), times=1))
        await client.fetch_published(image)
    assert registry.count("token") == 2


async def test_insufficient_scope_adds_the_scope_of_the_challenge_in_front() -> None:
    """Some services honour only the first scope."""
    tokens = private_tokens()
    tokens.narrow.add("repository:vendor/app:pull")
    async with a_world(tokens, a_login(), scope="aws") as (registry, client, image):
        await client.fetch_published(image)
    last = [seen for seen in registry.requests if seen.kind == "token"][-1]
    assert parse_qs(last.query)["scope"] == ["aws", "repository:vendor/app:pull"]
    assert registry.count("token") == 2


async def test_changed_credential_does_not_reuse_a_token() -> None:
    """A token belongs to whoever asked for it."""
    tokens = SimulatedTokens(users={"one": "right", "two": "right"}, anonymous=False)
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    registry.publish_image("vendor/app", "1")
    logins = Logins()
    async with registry.serve() as address, a_client(logins) as client:
        image = parse_reference(f"{address}/vendor/app:1")
        for user in ("one", "two"):
            logins.logins[address] = a_login(user)
            await client.fetch_published(image)
    assert registry.count("token") == 2


async def test_forgetting_a_registry_drops_its_tokens() -> None:
    """After a reload of the configuration nothing of the old login is used."""
    async with a_world(private_tokens(), a_login()) as (registry, client, image):
        await client.fetch_published(image)
        client.forget(image.host)
        await client.fetch_published(image)
    assert registry.count("token") == 2


@pytest.mark.looptime
async def test_cancelled_request_for_a_token_is_taken_over() -> None:
    """Nobody's cancellation fails those who wait for the same token."""
    async with a_world(private_tokens(), a_login()) as (registry, client, image):
        await client.fetch_published(image)
        client.forget(image.host)
        registry.misbehave(Misbehave(stall=20.0, kind="token", times=1))
        found: list[Published] = []

        async def wait() -> None:
            found.append(await client.fetch_published(image))

        async with anyio.create_task_group() as group:
            with anyio.move_on_after(5) as first:
                group.start_soon(_after_a_second, wait)
                await client.fetch_published(image)
            assert first.cancelled_caught
    assert len(found) == 1


async def _after_a_second(work: Callable[[], Awaitable[None]]) -> None:
    await anyio.sleep(1)
    await work()


@pytest.mark.looptime
async def test_refusal_is_shared_for_five_seconds() -> None:
    """Ten containers of an image do not try a wrong password ten times."""
    async with a_world(private_tokens(), a_login(password="wrong")) as (registry, client, image):
        tags = [parse_reference(f"{image.repository}:v{number}") for number in range(10)]
        answers = await published_at_once(client, tags)
        assert all(isinstance(answer, UnauthorizedError) for answer in answers.values())
        asked = registry.count("token")
        assert asked == 2  # with the credential, and as nobody
        await anyio.sleep(6)
        with pytest.raises(UnauthorizedError):
            await client.fetch_published(image)
    assert registry.count("token") == 4


@pytest.mark.parametrize("refusal", [400, 401, 403])
async def test_rejected_credential_does_not_hide_a_public_image(refusal: int) -> None:
    """GHCR refuses an expired token even for public images; as nobody they can be had."""
    tokens = SimulatedTokens(users={"tester": "right"}, public=["vendor/app"])
    tokens.refusal = refusal
    async with a_world(tokens, a_login(password="expired")) as (registry, client, image):
        await client.fetch_published(image)
    assert [seen.authorization != "" for seen in registry.requests if seen.kind == "token"] == [True, False]


async def test_rejected_credential_is_named_when_the_image_is_private() -> None:
    """The message says where the credential is from, and not that none is configured."""
    async with a_world(private_tokens(), a_login(password="wrong")) as (_, client, image):
        with pytest.raises(UnauthorizedError, match=r"from config\.json was rejected") as caught:
            await client.fetch_published(image)
    assert image.host in str(caught.value)
    assert "no credential is configured" not in str(caught.value)


async def test_no_token_without_a_login_says_that_none_is_configured() -> None:
    """Private image, no credential: the remedy is a login."""
    async with a_world(private_tokens()) as (_, client, image):
        with pytest.raises(UnauthorizedError, match=r"no credential is configured.*docker login"):
            await client.fetch_published(image)


async def test_403_with_a_token_is_tried_once_as_nobody() -> None:
    """A token of an expired credential may be refused where nobody would be welcome."""
    tokens = SimulatedTokens(users={"tester": "right"})
    async with a_world(tokens, a_login()) as (registry, client, image):
        await client.fetch_published(image)
        registry.misbehave(Misbehave(answer=Answer(403), kind="manifest", times=1))
        await client.fetch_published(image)
    assert registry.count("token") == 2


@pytest.mark.parametrize("token_field", ["token", "access_token"])
async def test_both_names_of_the_token_are_read(token_field: str) -> None:
    """The two specifications name it differently."""
    tokens = SimulatedTokens()
    tokens.token_field = token_field
    async with a_world(tokens) as (_, client, image):
        await client.fetch_published(image)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>Sign in</html>", "did not return JSON"),
        (b"\xff\xfe", "did not return JSON"),
        (b"[" * 5000, "did not return JSON"),
        (b"[]", "JSON object"),
        (b"{}", "no token"),
        (b'{"token": ""}', "no token"),
        (b'{"token": 7}', "characters"),
        (b'{"token": "a\\r\\nX-Other: b"}', "characters"),
        (b'{"token": "a\\u0000b"}', "characters"),
        (b'{"token": "' + b"x" * (64 << 10) + b'"}', "64 KiB"),
    ],
)
async def test_reply_that_holds_no_token_is_an_error(body: bytes, words: str) -> None:
    """Captive portals, hostile services and broken ones: the message names the service."""
    async with a_world(SimulatedTokens()) as (registry, client, image):
        registry.misbehave(Misbehave(answer=Answer(200, body=body), kind="token"))
        with pytest.raises(ProtocolViolationError, match=words) as caught:
            await client.fetch_published(image)
    assert f"token service {registry.address}" in str(caught.value)


async def test_token_of_sixteen_kibibytes_is_used() -> None:
    """Many claims make long tokens."""
    tokens = SimulatedTokens()
    tokens.token_text = "t" * 16000 + "{number}"
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    registry.publish_image("vendor/app", "1")
    registry.longest_header = 32_000
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))


@pytest.mark.parametrize("status", [404, 405, 418])
async def test_unexpected_status_of_the_service_names_it(status: int) -> None:
    """A wrong realm is a matter of the registry's configuration."""
    async with a_world(SimulatedTokens()) as (registry, client, image):
        registry.misbehave(Misbehave(answer=Answer(status), kind="token"))
        with pytest.raises(ProtocolViolationError, match=f"token service .*{status}"):
            await client.fetch_published(image)


@pytest.mark.looptime
async def test_broken_token_service_is_unavailable_after_three_attempts() -> None:
    """5xx passes; it is not a refusal."""
    async with a_world(SimulatedTokens()) as (registry, client, image):
        registry.misbehave(Misbehave(answer=Answer(503), kind="token"))
        with pytest.raises(RegistryUnavailableError, match="token service"):
            await client.fetch_published(image)
    assert registry.count("token") == 3


@pytest.mark.looptime
async def test_rate_limit_of_the_token_service_is_waited_for() -> None:
    """429 means the same there."""
    async with a_world(SimulatedTokens()) as (registry, client, image):
        registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "7"}), kind="token", times=1))
        begin = anyio.current_time()
        await client.fetch_published(image)
        assert anyio.current_time() - begin == pytest.approx(7.5, abs=0.01)
