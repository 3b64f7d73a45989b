"""The credential store with its helpers, and a registry that refuses what they gave."""

import json
from pathlib import Path

import pytest

from tests.support.loopback import LoopbackResolver
from tests.support.scripted_helpers import ScriptedHelpers, answer, not_found
from tests.support.simulated_registry import (
    Answer,
    BasicAuth,
    BearerAuth,
    Misbehave,
    SimulatedRegistry,
    SimulatedTokens,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.repo_login import RepoLogin
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.errors import CredentialError, DeniedError, UnauthorizedError
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import RegistryClient

IMAGE = parse_reference("ghcr.io/team/app")
FROM_HELPER = Credential("me", "hunter2-marker", source="docker-credential-box")
FROM_FILE = {"username": "file", "password": "pw"}


class World:
    """A configuration directory with `credsStore: box`, and the helpers."""

    def __init__(self, directory: Path) -> None:
        self.helpers = ScriptedHelpers(directory)
        self.config = directory / "config.json"
        self.configure({})
        self.told: list[str] = []

    def configure(self, auths: dict[str, object], **more: object) -> None:
        """Write the configuration."""
        self.config.write_text(json.dumps({"auths": auths, "credsStore": "box", **more}))

    def runner(self) -> HelperRunner:
        """Return a runner of these helpers."""
        return HelperRunner(environ=self.helpers.environ)

    def store(self, runner: HelperRunner, *, login: RepoLogin | None = None) -> CredentialStore:
        """Return a store that asks them."""
        return CredentialStore(
            directory=self.config.parent, helpers=runner, login=login, on_degraded=self.told.append, grace=0.0
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world without a helper yet."""
    return World(tmp_path)


def a_client(store: CredentialStore) -> RegistryClient:
    """Return a client without retries that takes its credentials from a store."""
    return RegistryClient(
        credentials=store, user_agent="test", insecure_hosts=frozenset(), environ={}, resolver=LoopbackResolver()
    )


def an_image(address: str) -> Reference:
    return parse_reference(f"{address}/vendor/app:1")


async def test_helper_gives_the_credential(world: World) -> None:
    """The default helper, and one of the registry's own, each with the server as Docker names it."""
    world.configure({}, credHelpers={"quay.io": "other"})
    world.helpers.install("box", f'cat >"$DIR/input"; {answer()}')
    world.helpers.install("other", answer("other"))
    async with world.runner() as runner:
        store = world.store(runner)
        assert await store.credential_for(IMAGE) == FROM_HELPER
        await store.credential_for(parse_reference("redis"))
        assert world.helpers.left("input") == "https://index.docker.io/v1/"
        found = await store.credential_for(parse_reference("quay.io/a/b"))
    assert isinstance(found, Credential)
    assert (found.username, found.source) == ("other", "docker-credential-other")


async def test_helper_without_the_credential_leaves_it_to_the_file(world: World) -> None:
    """A hand-written entry beside a helper is meant to be used, and nothing is wrong."""
    world.configure({"ghcr.io": FROM_FILE})
    world.helpers.install("box", not_found())
    async with world.runner() as runner:
        store = world.store(runner)
        found = await store.credential_for(IMAGE)
        assert isinstance(found, Credential)
        assert found.username == "file"
        assert await store.credential_for(parse_reference("quay.io/a/b")) == Anonymous()
    assert not world.told


async def test_login_drops_the_answer_for_its_registry_only(world: World) -> None:
    """It leaves an empty entry in the file and a new secret with the helper."""
    world.helpers.install("box", answer("old"))
    quay = parse_reference("quay.io/a/b")
    async with world.runner() as runner:
        store = world.store(runner)
        for image in (IMAGE, quay):
            await store.credential_for(image)
        world.helpers.install("box", answer())
        world.configure({"ghcr.io": {}})
        assert await store.reload() is None
        assert await store.credential_for(IMAGE) == FROM_HELPER
        found = await store.credential_for(quay)
        assert isinstance(found, Credential)
        assert found.username == "old"


async def test_failing_helper_is_an_error_not_nobody(world: World) -> None:
    """An updater must not report a private image as missing because a keyring is locked."""
    world.configure({"ghcr.io": {}})
    world.helpers.install("box", "exit 1")
    async with world.runner() as runner:
        store = world.store(runner)
        for image in (IMAGE, parse_reference("redis")):
            with pytest.raises(CredentialError, match="docker-credential-box"):
                await store.credential_for(image)


async def test_entry_that_stands_in_for_a_failing_helper_is_told_once(world: World) -> None:
    """Once for each registry, and anew when the helper had worked meanwhile."""
    world.configure({"ghcr.io": FROM_FILE, "quay.io": FROM_FILE})
    world.helpers.install("box", "exit 1")
    async with world.runner() as runner:
        store = world.store(runner)
        for image in ("ghcr.io/a", "ghcr.io/b", "quay.io/a", "ghcr.io/a"):
            found = await store.credential_for(parse_reference(image))
            assert isinstance(found, Credential)
            assert found.username == "file"
        assert [text.partition("credential for ")[2].partition(",")[0] for text in world.told] == ["ghcr.io", "quay.io"]
        assert "failed with exit status 1" in world.told[0]
        assert world.told[0].endswith("; meanwhile another credential is used")
        for script, times in ((answer(), 2), ("exit 1", 3)):
            world.helpers.install("box", script)
            runner.forget(lambda _: True)
            await store.credential_for(IMAGE)
            assert len(world.told) == times


async def test_login_from_the_environment_stands_in_for_a_failing_helper(world: World) -> None:
    """It is told, too, and the configuration wins when it works again."""
    login = Credential("env", "pw", source="REPO_USER and REPO_PASS")
    redis = parse_reference("redis")
    world.helpers.install("box", "exit 1")
    async with world.runner() as runner:
        store = world.store(runner, login=RepoLogin(login))
        assert await store.credential_for(redis) == login
        assert len(world.told) == 1
        with pytest.raises(CredentialError, match="exit status 1"):
            await store.credential_for(IMAGE)
        world.helpers.install("box", answer())
        runner.forget(lambda _: True)
        assert await store.credential_for(redis) == FROM_HELPER


async def test_rejected_check_names_the_line_that_adds_the_registry(world: World) -> None:
    """The login is set, and this registry may not have it."""
    registry = SimulatedRegistry(auth=BasicAuth({"env": "pw"}))
    registry.publish_image("vendor/app", "1")
    world.config.unlink()
    login = Credential("env", "pw", source="REPO_USER and REPO_PASS")
    async with registry.serve() as address, world.runner() as runner:
        async with a_client(world.store(runner, login=RepoLogin(login))) as client:
            with pytest.raises(UnauthorizedError, match=f"WATCHTOWER_REPO_REGISTRIES={address} adds {address}"):
                await client.fetch_published(an_image(address))
        assert not any(request.holds("pw") for request in registry.requests)
        async with a_client(world.store(runner, login=RepoLogin(login, (address,)))) as client:
            await client.fetch_published(an_image(address))


@pytest.mark.parametrize("way", ["basic", "bearer", "expired"])
async def test_refused_answer_of_a_helper_is_renewed_within_the_check(world: World, way: str) -> None:
    """Its answer was kept, and the password has changed meanwhile; ECR says so with 403."""
    users = {"me": "new"}
    tokens = SimulatedTokens(users=users, anonymous=False)
    registry = SimulatedRegistry(auth=BearerAuth(tokens) if way == "bearer" else BasicAuth({**users, "old": "old"}))
    registry.publish_image("vendor/app", "1")
    world.helpers.install("box", answer("old", "old"))
    async with registry.serve() as address, world.runner() as runner:
        store = world.store(runner)
        async with a_client(store) as client:
            await store.credential_for(an_image(address))
            world.helpers.install("box", answer("me", "new"))
            if way == "expired":
                body = b"Your authorization token has expired. Reauthenticate and try again."
                registry.misbehave(Misbehave(answer=Answer(403, body=body), kind="manifest", times=3))
            if way == "basic":
                registry.auth = BasicAuth(users)
            await client.fetch_published(an_image(address))
    assert world.helpers.runs("box") == 2


async def test_refusal_of_an_unchanged_answer_stays_a_refusal(world: World) -> None:
    """The helper is asked once more, not for each image; nothing is sent a second time."""
    registry = SimulatedRegistry(auth=BasicAuth({"me": "new"}))
    registry.publish_image("vendor/app", "1")
    world.helpers.install("box", answer("me", "old"))
    async with registry.serve() as address, world.runner() as runner, a_client(world.store(runner)) as client:
        for _ in range(3):
            with pytest.raises(UnauthorizedError, match="from docker-credential-box was rejected"):
                await client.fetch_published(an_image(address))
    assert world.helpers.runs("box") == 2
    assert sum(bool(request.authorization) for request in registry.requests) == 3


async def test_refusal_of_a_file_entry_asks_no_helper_again(world: World) -> None:
    """A new answer could change nothing before the helper's own time is over."""
    registry = SimulatedRegistry(auth=BasicAuth({"me": "new"}))
    world.helpers.install("box", not_found())
    async with registry.serve() as address, world.runner() as runner, a_client(world.store(runner)) as client:
        world.configure({address: FROM_FILE})
        registry.misbehave(Misbehave(answer=Answer(403), kind="manifest"))
        with pytest.raises(DeniedError):
            await client.fetch_published(an_image(address))
    assert world.helpers.runs("box") == 1
