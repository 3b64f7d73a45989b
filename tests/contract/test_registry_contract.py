"""What the client counts on, over the simulated registry and over a real one that asks for a login."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from tests.support.docker_cli import DockerCli
from tests.support.registry_world import a_client, a_login
from tests.support.simulated_registry import BasicAuth, SimulatedRegistry
from tests.support.testbed import TestBed
from watchtower_async.errors import ManifestNotFoundError, UnauthorizedError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.manifest import ACCEPT, MANIFEST_TYPES
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.challenge import parse_challenges

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


async def send(subject: Subject, method: str, name: str, *, authorization: str = "", path: str | None = None) -> Reply:
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
