"""What the client counts on, over simulated registries and real ones: one asks for a login, one for tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import anyio
import pytest
import yarl

from tests.support.docker_cli import DockerCli
from tests.support.registry_world import a_client, a_login
from tests.support.simulated_registry import BasicAuth, BearerAuth, SimulatedRegistry, SimulatedTokens
from tests.support.testbed import TestBed, TokenRegistry
from tests.support.token_service import SERVICE
from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import ManifestNotFoundError, UnauthorizedError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.manifest import ACCEPT, MANIFEST_TYPES
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.challenge import Challenge, parse_challenges
from watchtower_async.registry.token_request import read_token_reply

USER, PASSWORD = "tester", "right"


@dataclass(frozen=True, slots=True)
class Subject:
    """A registry with one image."""

    address: str
    user: str
    password: str
    path: str
    digest: str

    @property
    def basic(self) -> str:
        """Return the authorisation that it accepts."""
        return aiohttp.encode_basic_auth(self.user, self.password)


@dataclass(frozen=True, slots=True)
class World:
    """Where the subject comes from: None makes a simulated one."""

    real: Subject | None = None

    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        """Yield the registry."""
        if self.real is not None:
            yield self.real
            return
        registry = SimulatedRegistry(auth=BasicAuth({USER: PASSWORD}))
        digest = registry.publish_image("contract/app", "1")
        async with registry.serve() as address:
            yield Subject(address, USER, PASSWORD, "contract/app", digest)


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.engine)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One of the two registries."""
    if request.param == "simulated":
        yield World()
        return
    testbed: TestBed = request.getfixturevalue("testbed")
    docker: DockerCli = request.getfixturevalue("docker")
    path = f"{request.getfixturevalue('prefix')}/app"
    image = docker.import_image(f"{path}-build:1", "ENV VERSION=1")
    digest = docker.publish(f"{testbed.registry}/{path}:1", image)
    docker("rmi", "--force", image)
    yield World(Subject(testbed.registry, testbed.user, testbed.password, path, digest))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    fields: tuple[str, ...]
    content_type: str
    digest: str
    body: bytes

    @property
    def code(self) -> str:
        """Return the error code."""
        return str(json.loads(self.body)["errors"][0]["code"])


async def send(
    subject: Subject | TokenSubject, method: str, name: str, *, authorization: str = "", path: str | None = None
) -> Reply:
    """Send a bare request for a manifest, or for the root of the API where the name is empty."""
    url = f"http://{subject.address}/v2/" + (f"{path or subject.path}/manifests/{name}" if name else "")
    headers = {"Accept": ACCEPT} | ({"Authorization": authorization} if authorization else {})
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as response:
        return Reply(
            status=response.status,
            fields=tuple(response.headers.getall("WWW-Authenticate", ())),
            content_type=response.headers.get("Content-Type", ""),
            digest=response.headers.get("Docker-Content-Digest", ""),
            body=await response.read(),
        )


@pytest.mark.parametrize(("method", "name"), [("GET", ""), ("GET", "1"), ("HEAD", "1")])
async def test_stranger_gets_401_with_a_basic_challenge(world: World, method: str, name: str) -> None:
    """Root and resources name the same scheme."""
    async with world.subject() as subject:
        reply = await send(subject, method, name)
    assert reply.status == 401
    assert [challenge.scheme for challenge in parse_challenges(reply.fields)] == ["basic"]
    assert parse_challenges(reply.fields)[0].realm
    assert method == "HEAD" or reply.code == "UNAUTHORIZED"


async def test_wrong_password_gets_401_with_a_challenge(world: World) -> None:
    """It looks like no password at all."""
    async with world.subject() as subject:
        wrong = aiohttp.encode_basic_auth(subject.user, "wrong")
        reply = await send(subject, "HEAD", "1", authorization=wrong)
    assert reply.status == 401
    assert reply.fields


async def test_root_answers_200_to_a_user(world: World) -> None:
    """That is how an API of version 2 is known."""
    async with world.subject() as subject:
        assert (await send(subject, "GET", "", authorization=subject.basic)).status == 200


async def test_head_has_digest_and_type_and_no_body(world: World) -> None:
    """One request without a body tells what the tag points to."""
    async with world.subject() as subject:
        reply = await send(subject, "HEAD", "1", authorization=subject.basic)
    assert reply.status == 200
    assert reply.digest == subject.digest
    assert reply.content_type in MANIFEST_TYPES
    assert reply.body == b""


@pytest.mark.parametrize("by_digest", [False, True])
async def test_body_hashes_to_the_digest_that_is_named(world: World, by_digest: bool) -> None:
    """By tag and by digest the same bytes come."""
    async with world.subject() as subject:
        name = subject.digest if by_digest else "1"
        reply = await send(subject, "GET", name, authorization=subject.basic)
    assert reply.status == 200
    assert reply.digest == subject.digest
    assert f"sha256:{hashlib.sha256(reply.body).hexdigest()}" == subject.digest


async def test_unknown_tag_is_404_with_a_code(world: World) -> None:
    """GET tells it in the body, HEAD only by its status."""
    async with world.subject() as subject:
        reply = await send(subject, "GET", "missing", authorization=subject.basic)
        head = await send(subject, "HEAD", "missing", authorization=subject.basic)
    assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")
    assert (head.status, head.body) == (404, b"")


async def test_unknown_repository_is_404(world: World) -> None:
    """Servers differ in the code; both mean that there is nothing."""
    async with world.subject() as subject:
        reply = await send(subject, "GET", "1", authorization=subject.basic, path="no/such/repository")
    assert reply.status == 404
    assert reply.code in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")


async def test_client_finds_the_published_digest(world: World) -> None:
    """The whole way of a check."""
    async with world.subject() as subject:
        login = a_login(subject.user, subject.password)
        async with a_client({subject.address: login}) as client:
            published = await client.fetch_published(parse_reference(f"{subject.address}/{subject.path}:1"))
            assert str(published.digest) == subject.digest
            assert published.media_type in MANIFEST_TYPES
            assert await client.fetch_index(published.reference, parse_digest(subject.digest)) is None


async def test_client_tells_a_missing_tag_from_a_wrong_password(world: World) -> None:
    """Each has its own error."""
    async with world.subject() as subject:
        logins = {subject.address: a_login(subject.user, subject.password)}
        async with a_client(logins) as client:
            with pytest.raises(ManifestNotFoundError):
                await client.fetch_published(parse_reference(f"{subject.address}/{subject.path}:missing"))
        async with a_client({subject.address: a_login(subject.user, "wrong")}) as client:
            with pytest.raises(UnauthorizedError):
                await client.fetch_published(parse_reference(f"{subject.address}/{subject.path}:1"))


# ---- tokens ----

IDENTITY_TOKEN = "identity-marker"


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """A registry that asks for tokens, with an image for its user and one for everybody."""

    address: str
    user: str
    path: str
    public_path: str
    digest: str

    @property
    def login(self) -> Credential:
        """Return user name and password."""
        return a_login(self.user, PASSWORD)

    @property
    def identity(self) -> Credential:
        """Return what stands for both after a login."""
        return Credential(identity_token=IDENTITY_TOKEN + self.user, source="config.json")


@dataclass(frozen=True, slots=True)
class TokenWorld:
    """Where the subject comes from: without a real registry a simulated one is made."""

    real: TokenSubject | None = None
    registry: TokenRegistry | None = field(default=None, repr=False)

    @asynccontextmanager
    async def subject(self, *, life: int = 300) -> AsyncIterator[TokenSubject]:
        """Yield the registry; its tokens live so many seconds."""
        if self.real is not None and self.registry is not None:
            with real_account(self.registry, self.real, life):
                yield self.real
            return
        tokens = SimulatedTokens(
            users={USER: PASSWORD},
            identity_tokens=[IDENTITY_TOKEN + USER],
            public=["public/app"],
            service=SERVICE,
            expires_in=life,
        )
        registry = SimulatedRegistry(auth=BearerAuth(tokens))
        digest = registry.publish_image("contract/app", "1", "content")
        registry.publish_image("public/app", "1", "content")
        async with registry.serve() as address:
            yield TokenSubject(address, USER, "contract/app", "public/app", digest)


def real_account(registry: TokenRegistry, subject: TokenSubject, life: int) -> AbstractContextManager[None]:
    """Let the token service know the user of the subject."""
    return registry.account(
        subject.user,
        password=PASSWORD,
        identity_token=subject.identity.identity_token,
        expires_in=life,
        refused_after=life,
    )


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.engine)])
def token_world(request: pytest.FixtureRequest) -> TokenWorld:
    """One of the two registries."""
    if request.param == "simulated":
        return TokenWorld()
    testbed: TestBed = request.getfixturevalue("testbed")
    docker: DockerCli = request.getfixturevalue("docker")
    prefix: str = request.getfixturevalue("prefix")
    tokens = testbed.tokens
    docker.log_in(tokens.address, tokens.user, tokens.password)
    image = docker.import_image(f"{prefix}-build:1", "ENV VERSION=1")
    digest = docker.publish(f"{tokens.address}/{prefix}/app:1", image)
    docker.publish(f"{tokens.address}/public/{prefix}:1", image)
    docker("rmi", "--force", image)
    return TokenWorld(TokenSubject(tokens.address, prefix, f"{prefix}/app", f"public/{prefix}", digest), tokens)


async def challenge_of(subject: TokenSubject, path: str | None = None) -> Challenge:
    """Return what a stranger is told."""
    reply = await send(subject, "GET", "1", path=path)
    (challenge,) = parse_challenges(reply.fields)
    return challenge


async def ask_for_token(
    subject: TokenSubject, *, path: str = "", authorization: str = "", form: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Ask the token service bare, with a form by POST; return status and body."""
    challenge = await challenge_of(subject)
    asked = {"service": challenge.service, "scope": f"repository:{path or subject.path}:pull"}
    headers = {"Authorization": authorization} if authorization else {}
    method = "GET" if form is None else "POST"
    data = None if form is None else asked | dict(form)
    url = yarl.URL(challenge.realm).with_query(asked) if form is None else yarl.URL(challenge.realm)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, data=data) as response,
    ):
        return response.status, await response.read()


async def token_for(subject: TokenSubject, *, path: str = "") -> str:
    """Return a token of the user as it is shown to the registry."""
    status, body = await ask_for_token(subject, path=path, authorization=subject.login.basic_header())
    assert status == 200
    return f"Bearer {read_token_reply(body, datetime.now(UTC))[0]}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_stranger_is_told_where_tokens_are_granted(token_world: TokenWorld, method: str) -> None:
    """One challenge names the service's URL and name, and the scope that the question needs."""
    async with token_world.subject() as subject:
        reply = await send(subject, method, "1")
    (challenge,) = parse_challenges(reply.fields)
    assert (reply.status, challenge.scheme) == (401, "bearer")
    assert yarl.URL(challenge.realm).is_absolute()
    assert (challenge.service, challenge.scope) == (SERVICE, f"repository:{subject.path}:pull")
    assert challenge.error == ""


async def test_root_names_the_same_token_service(token_world: TokenWorld) -> None:
    """Where a resource tells nothing, the root of the API does."""
    async with token_world.subject() as subject:
        (at_root,) = parse_challenges((await send(subject, "GET", "")).fields)
        at_resource = await challenge_of(subject)
    assert (at_root.scheme, at_root.realm, at_root.service) == ("bearer", at_resource.realm, at_resource.service)


async def test_password_buys_a_token_that_the_registry_takes(token_world: TokenWorld) -> None:
    """By GET with a Basic header; the life is told with it."""
    async with token_world.subject() as subject:
        status, body = await ask_for_token(subject, authorization=subject.login.basic_header())
        token, life = read_token_reply(body, datetime.now(UTC))
        reply = await send(subject, "HEAD", "1", authorization=f"Bearer {token}")
        root = await send(subject, "GET", "", authorization=f"Bearer {token}")
    assert (status, reply.status, root.status) == (200, 200, 200)
    assert life == pytest.approx(300, abs=5)
    assert reply.digest == subject.digest


async def test_identity_token_buys_a_token_that_the_registry_takes(token_world: TokenWorld) -> None:
    """By POST, as OAuth2 has it."""
    async with token_world.subject() as subject:
        identity = subject.identity.identity_token
        form = {"grant_type": "refresh_token", "client_id": "test", "refresh_token": identity}
        status, body = await ask_for_token(subject, form=form)
        token, _ = read_token_reply(body, datetime.now(UTC))
        reply = await send(subject, "HEAD", "1", authorization=f"Bearer {token}")
    assert (status, reply.status) == (200, 200)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"grant_type": "refresh_token", "client_id": "test", "refresh_token": "wrong"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "wrong"}, 400),
        ({"client_id": "test", "refresh_token": "wrong"}, 400),
    ],
)
async def test_wrong_identity_token_is_401_and_an_incomplete_form_400(
    token_world: TokenWorld, form: dict[str, str], expected: int
) -> None:
    """The one is about us, the other about the question."""
    async with token_world.subject() as subject:
        status, body = await ask_for_token(subject, form=form)
    assert status == expected
    assert json.loads(body)["errors"][0]["code"]


async def test_wrong_password_buys_nothing(token_world: TokenWorld) -> None:
    """Not even a token for what everybody may have."""
    async with token_world.subject() as subject:
        wrong = aiohttp.encode_basic_auth(subject.user, "wrong")
        private, _ = await ask_for_token(subject, authorization=wrong)
        public, _ = await ask_for_token(subject, path=subject.public_path, authorization=wrong)
    assert (private, public) == (401, 401)


async def test_stranger_gets_tokens_for_public_repositories_only(token_world: TokenWorld) -> None:
    """And such a token is good."""
    async with token_world.subject() as subject:
        private, _ = await ask_for_token(subject)
        public, body = await ask_for_token(subject, path=subject.public_path)
        token, _ = read_token_reply(body, datetime.now(UTC))
        reply = await send(subject, "HEAD", "1", authorization=f"Bearer {token}", path=subject.public_path)
    assert (private, public, reply.status) == (401, 200, 200)


async def test_token_of_another_repository_has_insufficient_scope(token_world: TokenWorld) -> None:
    """The challenge says so and names the scope that is needed."""
    async with token_world.subject() as subject:
        other = await token_for(subject, path="some/other")
        reply = await send(subject, "GET", "1", authorization=other)
    (challenge,) = parse_challenges(reply.fields)
    assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
    assert (challenge.error, challenge.scope) == ("insufficient_scope", f"repository:{subject.path}:pull")


async def test_token_past_its_life_is_invalid_and_renewed(token_world: TokenWorld) -> None:
    """The registry tells it from a token with too few rights; the client does not wait to be told."""
    async with token_world.subject(life=1) as subject, a_client({subject.address: subject.login}) as client:
        reference = parse_reference(f"{subject.address}/{subject.path}:1")
        first = await client.fetch_published(reference)
        token = await token_for(subject)
        await anyio.sleep(1.1)
        reply = await send(subject, "GET", "1", authorization=token)
        second = await client.fetch_published(reference)
    (challenge,) = parse_challenges(reply.fields)
    assert (reply.status, challenge.error) == (401, "invalid_token")
    assert {str(first.digest), str(second.digest)} == {subject.digest}


@pytest.mark.parametrize("kind", ["password", "identity token"])
async def test_client_buys_tokens_with_what_it_has(token_world: TokenWorld, kind: str) -> None:
    """The whole way of a check."""
    async with token_world.subject() as subject:
        credential = subject.login if kind == "password" else subject.identity
        async with a_client({subject.address: credential}) as client:
            published = await client.fetch_published(parse_reference(f"{subject.address}/{subject.path}:1"))
    assert str(published.digest) == subject.digest


@pytest.mark.parametrize(
    "credential",
    [None, a_login(password="wrong"), Credential(identity_token="wrong", source="config.json")],
    ids=["nothing", "password", "identity token"],
)
async def test_client_needs_no_login_for_public_images_only(
    token_world: TokenWorld, credential: Credential | None
) -> None:
    """A wrong login is left out; without one a private image is refused."""
    async with (
        token_world.subject() as subject,
        a_client({subject.address: credential} if credential else {}) as client,
    ):
        published = await client.fetch_published(parse_reference(f"{subject.address}/{subject.public_path}:1"))
        with pytest.raises(UnauthorizedError):
            await client.fetch_published(parse_reference(f"{subject.address}/{subject.path}:1"))
    assert str(published.digest) == subject.digest
