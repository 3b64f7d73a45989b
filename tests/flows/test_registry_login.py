"""A login that is shown to a registry without asking for an image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from tests.support.loopback import LoopbackResolver, certificate_for
from tests.support.registry_world import a_client, a_login
from tests.support.simulated_registry import (
    Answer,
    BasicAuth,
    BearerAuth,
    Misbehave,
    SimulatedRegistry,
    SimulatedTokens,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import (
    CredentialError,
    ProtocolViolationError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.client import RegistryClient

MARKER = "Sw0rdfish-marker"
LOGIN = a_login(password=MARKER)
NAMES = ("registry.example", "auth.example", "other.example")


def tokens(**options: object) -> SimulatedTokens:
    """Return a service that knows the login."""
    return SimulatedTokens(users={"tester": MARKER}, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(registry: SimulatedRegistry) -> AsyncIterator[str]:
    """Serve a registry under a name that is not loopback; yield host and port."""
    async with registry.serve(tls=certificate_for(*NAMES).server) as address:
        yield f"registry.example:{address.rpartition(':')[2]}"


def client_of(**options: object) -> RegistryClient:
    """Return a client that trusts the certificate of this module and has no login of its own."""
    return a_client(trusts=certificate_for(*NAMES), **options)  # type: ignore[arg-type]


async def shown(registry: SimulatedRegistry, credential: Credential | Anonymous = LOGIN) -> bool:
    """Show a login to a registry."""
    async with serving(registry) as host, client_of() as client:
        return await client.check_login(host, credential)


async def refused(registry: SimulatedRegistry, credential: Credential | Anonymous = LOGIN) -> RegistryError:
    """Show a login, expect a failure, and make sure that nothing of it holds the marker."""
    with capture_logs() as logs, pytest.raises(RegistryError) as caught:
        await shown(registry, credential)
    assert MARKER not in f"{caught.value!r} {logs}"
    return caught.value


async def test_basic_login_is_shown_at_the_root_once_it_is_demanded() -> None:
    """The first question goes out without it."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))
    assert await shown(registry)
    assert [(seen.path, seen.authorization.partition(" ")[0]) for seen in registry.requests] == [
        ("/v2/", ""), ("/v2/", "Basic"),
    ]  # fmt: skip


async def test_wrong_basic_login_is_refused_with_the_remedy() -> None:
    """Its source and the command are named."""
    error = await refused(SimulatedRegistry(auth=BasicAuth({"tester": "another"})))
    assert isinstance(error, UnauthorizedError)
    assert "from config.json was rejected: log in again with `docker login registry.example:" in str(error)


async def test_bearer_login_buys_a_token_without_a_scope_and_the_registry_sees_only_that() -> None:
    """No repository is asked for."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(anonymous=False)))
    assert await shown(registry)
    assert [(seen.kind, seen.authorization.partition(" ")[0]) for seen in registry.requests] == [
        ("root", ""), ("token", "Basic"), ("root", "Bearer"),
    ]  # fmt: skip
    assert registry.requests[1].query == "service=registry.test"


async def test_identity_token_is_posted_without_a_scope() -> None:
    """An empty scope would be one."""
    registry = SimulatedRegistry(auth=BearerAuth(SimulatedTokens(identity_tokens=[MARKER], anonymous=False)))
    assert await shown(registry, Credential(identity_token=MARKER, source="config.json"))
    (asked,) = [seen for seen in registry.requests if seen.kind == "token"]
    assert asked.method == "POST"
    assert b"scope" not in asked.body


async def test_realm_without_service_and_scope_is_asked_as_it_is() -> None:
    """There is no query to add."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(anonymous=False, service="")))
    assert await shown(registry)
    assert [seen.path + seen.query for seen in registry.requests if seen.kind == "token"] == ["/token"]


async def test_scope_that_the_registry_names_when_none_was_not_enough_is_asked_for() -> None:
    """Some want one of their own, even at the root."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(anonymous=False)))
    async with serving(registry) as host, client_of() as client:
        challenge = f'Bearer realm="https://{host}/token",service="s",scope="aws",error="insufficient_scope"'
        registry.misbehave(Misbehave(Answer(401, {"WWW-Authenticate": challenge}), kind="root", times=2))
        assert await client.check_login(host, LOGIN)
    assert [seen.query for seen in registry.requests if seen.kind == "token"] == ["service=s", "service=s&scope=aws"]


async def test_login_that_the_token_service_refuses_is_refused_though_everybody_gets_a_token() -> None:
    """Being let in as nobody says nothing about the login."""
    registry = SimulatedRegistry(auth=BearerAuth(SimulatedTokens(users={"tester": "another"})))
    error = await refused(registry)
    assert isinstance(error, UnauthorizedError)
    assert registry.requests[-1].status == 200


async def test_registry_token_that_has_ended_is_told() -> None:
    """No other login helps."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(anonymous=False)))
    registry.misbehave(Misbehave(Answer(401, {"WWW-Authenticate": 'Bearer realm="/token"'}), kind="root"))
    error = await refused(registry, Credential(registry_token=MARKER, source="config.json"))
    assert "has expired or was rejected: get a new one" in str(error)
    assert registry.count("token") == 0


async def test_open_registry_looks_at_no_login_and_is_shown_none() -> None:
    """What is not demanded is not volunteered."""
    registry = SimulatedRegistry()
    assert not await shown(registry)
    assert registry.that_hold(MARKER) == []


async def test_registry_that_demands_a_login_refuses_nobody() -> None:
    """And says where none was found."""
    error = await refused(SimulatedRegistry(auth=BasicAuth({})), Anonymous())
    assert "asks for a login, and none is configured (no entry): run `docker login" in str(error)


async def test_identity_token_cannot_answer_basic() -> None:
    """It is never sent as a password."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))
    with pytest.raises(CredentialError, match="holds an identity token"):
        await shown(registry, Credential(identity_token=MARKER, source="config.json"))
    assert registry.that_hold(MARKER) == []


@pytest.mark.parametrize(("status", "kind"), [(404, ProtocolViolationError), (503, RegistryUnavailableError)])
async def test_server_that_is_no_registry_or_is_ill_refuses_no_login(status: int, kind: type[RegistryError]) -> None:
    """The login may be all right."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(Answer(status), kind="root"))
    assert isinstance(await refused(registry), kind)


@pytest.mark.parametrize("realm", ["http://auth.example/token", "https://127.0.0.1/token", "https://a@auth.example/t"])
async def test_unsafe_token_service_gets_nothing(realm: str) -> None:
    """The rules are those of a scan."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(), realm=realm))
    assert isinstance(await refused(registry), ProtocolViolationError)
    assert registry.that_hold(MARKER) == []


async def test_server_that_a_redirect_leads_to_gets_no_login() -> None:
    """And that it lets us in says nothing about the login."""
    async with serving(SimulatedRegistry()) as other:
        elsewhere = SimulatedRegistry()
        elsewhere.redirects["/v2/"] = f"https://{other.replace('registry', 'other')}/v2/"
        assert not await shown(elsewhere)
    assert elsewhere.that_hold(MARKER) == []


async def test_login_that_a_redirect_leaves_behind_was_not_looked_at() -> None:
    """The registry demands it and sends us on; who answers then has not seen it."""
    async with serving(SimulatedRegistry()) as other:
        registry = SimulatedRegistry()
        registry.redirects["/v2/"] = f"https://{other.replace('registry', 'other')}/v2/"
        demand = Answer(401, {"WWW-Authenticate": 'Basic realm="simulated"'})
        registry.misbehave(Misbehave(demand, kind="root", times=1))
        assert not await shown(registry)
    assert [seen.authorization.partition(" ")[0] for seen in registry.requests] == ["", "Basic"]


async def test_plain_http_is_used_where_it_may_be_only() -> None:
    """Without TLS a login goes to loopback and to what the settings list."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))
    async with registry.serve() as address, a_client(resolver=LoopbackResolver()) as client:
        with pytest.raises(RegistryUnavailableError):
            await client.check_login(f"registry.example:{address.rpartition(':')[2]}", LOGIN)
        assert registry.that_hold(MARKER) == []
        assert await client.check_login(address, LOGIN)


async def test_what_became_of_a_login_is_known_after_a_question_about_an_image() -> None:
    """Accepted, refused though the image is public, or not looked at; a changed login begins anew."""
    accepting = SimulatedRegistry(auth=BearerAuth(tokens()))
    refusing = SimulatedRegistry(auth=BearerAuth(SimulatedTokens(users={"tester": "another"})))
    for registry, expected in ((accepting, True), (refusing, False), (SimulatedRegistry(), None)):
        registry.publish_image("vendor/app", "1")
        async with registry.serve() as address, a_client({address: LOGIN}) as client:
            await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
            assert client.is_accepted(address, LOGIN) is expected
            assert client.is_accepted(address, a_login(password="newer")) is None
            client.forget(address)
            assert client.is_accepted(address, LOGIN) is None


async def test_expired_login_that_hides_nothing_is_known_to_be_of_no_use() -> None:
    """ECR answers 403 to a token that an old password bought, even for what everybody may read."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens()))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: LOGIN}) as client:
        await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
        registry.misbehave(Misbehave(Answer(403), kind="manifest", times=1))
        await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
        assert client.is_accepted(address, LOGIN) is False


async def test_life_of_the_token_is_told_for_the_login_that_bought_it() -> None:
    """Not for another login, and not for another registry."""
    registry = SimulatedRegistry(auth=BearerAuth(tokens(expires_in=300)))
    async with registry.serve() as address, a_client() as client:
        assert client.token_seconds(address, LOGIN) is None
        await client.check_login(address, LOGIN)
        seconds = client.token_seconds(address, LOGIN)
        assert seconds is not None
        assert 290 < seconds <= 300
        assert client.token_seconds(address, a_login(password="another")) is None
        assert client.token_seconds("other.example", LOGIN) is None
