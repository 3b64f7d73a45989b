"""Which logins answer for what is in use and what is configured, and what registries say about them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.builders import a_digest
from tests.support.loopback import LoopbackResolver, certificate_for
from tests.support.scripted_helpers import ScriptedHelpers, answer
from tests.support.simulated_registry import (
    Answer,
    BasicAuth,
    BearerAuth,
    Misbehave,
    SimulatedRegistry,
    SimulatedTokens,
)
from tests.support.small_engine import Answers, SmallEngine
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.overview import Use
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.errors import EngineError, NoSuchObjectError
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.client import RegistryClient
from watchtower_async.updates.login_check import LoginCheck, LoginRow, Verdict, warnings_beside
from watchtower_async.updates.scanner import Scanner

MARKER = "Sw0rdfish-marker"
RIGHT = {"username": "tester", "password": MARKER}
WRONG = {"username": "tester", "password": f"wrong-{MARKER}"}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HUB_API = "registry-1.docker.io"


@dataclass
class World:
    """A configuration directory, helpers, an engine that answers from a table, and the registries that are served."""

    directory: Path
    helpers: ScriptedHelpers
    engine: SmallEngine = field(default_factory=SmallEngine)
    shares_loopback: bool = True
    has_engine: bool = True
    ports: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def configure(self, auths: Mapping[str, object], **more: object) -> None:
        """Write the configuration."""
        path = self.directory / "config.json"
        path.write_text(json.dumps({"auths": auths, **more}))
        path.chmod(0o600)

    async def rows(self, *, check: bool = True, with_unused: bool = True, **images: str) -> tuple[LoginRow, ...]:
        """Return the rows for containers with these images, and make sure that nothing holds the marker."""
        uses = [Use(name, parse_reference(image)) for name, image in images.items()]
        with capture_logs() as logs:
            async with AsyncExitStack() as stack:
                rows = await self._rows(stack, uses, check=check, with_unused=with_unused)
        assert MARKER not in f"{rows!r} {[row.as_json() for row in rows]} {self.warnings} {logs}"
        return rows

    async def row(self, **given: object) -> LoginRow:
        """Return the only row."""
        (row,) = await self.rows(**given)  # type: ignore[arg-type]
        return row

    async def _rows(
        self, stack: AsyncExitStack, uses: list[Use], *, check: bool, with_unused: bool
    ) -> tuple[LoginRow, ...]:
        helpers = await stack.enter_async_context(HelperRunner(environ=self.helpers.environ))
        store = CredentialStore(directory=self.directory, helpers=helpers, grace=0.0)
        await store.reload()
        client = RegistryClient(
            credentials=store,
            user_agent="test",
            insecure_hosts=frozenset(),
            environ={},
            resolver=LoopbackResolver(ports=self.ports),
            ssl_context=certificate_for(HUB_API).client,
            draw=lambda: 0.0,
        )
        await stack.enter_async_context(client)
        scanner = Scanner(
            registries=client, engine=self.engine, credentials=store, shares_loopback=self.shares_loopback
        )
        login_check = LoginCheck(
            helpers=helpers,
            registries=client,
            images=scanner if self.has_engine else None,
            shares_loopback=self.shares_loopback,
            now=lambda: NOW,
        )
        rows = await login_check.rows(store.state, uses, with_unused=with_unused, check=check)
        self.warnings = warnings_beside(store.state, rows)
        return rows


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world without logins, helpers and registries."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "config").mkdir()
    return World(tmp_path / "config", ScriptedHelpers(tmp_path / "helpers"))


@asynccontextmanager
async def serving(auth: BasicAuth | BearerAuth | None, *images: str) -> AsyncIterator[tuple[SimulatedRegistry, str]]:
    """Serve a registry with these repositories; yield it and its host and port."""
    registry = SimulatedRegistry(auth=auth)
    for image in images:
        registry.publish_image(image, "1")
    async with registry.serve() as address:
        yield registry, address


def basic(**options: object) -> BasicAuth:
    """Return an auth that knows the right login."""
    return BasicAuth({"tester": MARKER}, **options)  # type: ignore[arg-type]


def bearer(**options: object) -> BearerAuth:
    """Return an auth with tokens for the right login."""
    return BearerAuth(SimulatedTokens(users={"tester": MARKER}, **options))  # type: ignore[arg-type]


def verdict(row: LoginRow) -> Verdict:
    """Return what the registry said."""
    assert row.state is not None
    return row.state.verdict


def text(row: LoginRow) -> str:
    """Return its words."""
    assert row.state is not None
    return row.state.text


# ---- what is in use ----


@pytest.mark.parametrize("auth", [basic(), bearer(anonymous=False)])
async def test_login_in_use_is_accepted_by_head_for_one_image(world: World, auth: BasicAuth | BearerAuth) -> None:
    """As a scan asks, and for one image of three."""
    async with serving(auth, "a/app", "b/app", "c/app") as (registry, host):
        world.configure({host: RIGHT})
        row = await world.row(one=f"{host}/a/app:1", two=f"{host}/b/app:1", three=f"{host}/c/app:1")
    assert (verdict(row), row.is_good) == (Verdict.ACCEPTED, True)
    assert row.state is not None
    assert row.state.image == f"{host}/a/app:1"
    asked = [(seen.method, seen.path) for seen in registry.requests if seen.kind == "manifest"]
    assert set(asked) == {("HEAD", "/v2/a/app/manifests/1")}


@pytest.mark.parametrize("auth", [basic(), bearer(anonymous=False)])
async def test_wrong_login_is_refused_with_source_and_remedy(world: World, auth: BasicAuth | BearerAuth) -> None:
    """A person knows what to correct where."""
    async with serving(auth, "a/app") as (_, host):
        world.configure({host: WRONG})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.REFUSED, False)
    assert f'from config.json entry "{host}" was rejected' in text(row)
    assert f"docker login {host}" in text(row)


async def test_registry_without_an_entry_is_refused_where_a_login_is_needed(world: World) -> None:
    """And told apart from a wrong login."""
    async with serving(basic(), "a/app") as (_, host):
        world.configure({})
        row = await world.row(web=f"{host}/a/app:1")
    assert (row.row.source, verdict(row)) == ("no entry", Verdict.REFUSED)
    assert "no credential is configured for it" in text(row)


async def test_public_image_needs_no_entry(world: World) -> None:
    """That is all right."""
    async with serving(bearer(), "a/app") as (_, host):
        world.configure({})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.ACCEPTED, True)
    assert "can be had without a login" in text(row)


async def test_rejected_login_is_refused_though_its_image_is_public(world: World) -> None:
    """The next private image would fail."""
    async with serving(bearer(), "a/app") as (_, host):
        world.configure({host: WRONG})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.REFUSED, False)
    assert f"a/app:1 can be had without a login only: log in again with `docker login {host}`" in text(row)


async def test_login_that_a_public_image_does_not_need_is_shown_to_the_registry(world: World) -> None:
    """The image says nothing about it."""
    for login, expected in ((RIGHT, Verdict.ACCEPTED), (WRONG, Verdict.REFUSED)):
        async with serving(basic(public=frozenset({"a/app"})), "a/app") as (registry, host):
            world.configure({host: login})
            assert verdict(await world.row(web=f"{host}/a/app:1")) is expected
        assert {seen.path for seen in registry.that_hold(MARKER)} == {"/v2/"}


async def test_login_at_an_open_registry_is_untested_and_no_fault(world: World) -> None:
    """Nobody looks at it, so it is not sent."""
    async with serving(None, "a/app") as (registry, host):
        world.configure({host: RIGHT})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.UNTESTED, True)
    assert registry.that_hold(MARKER) == []


async def test_image_that_is_not_there_is_followed_by_the_next(world: World) -> None:
    """A deleted tag says nothing about the login."""
    async with serving(basic(), "b/app", "c/app") as (registry, host):
        world.configure({host: RIGHT})
        row = await world.row(one=f"{host}/a/app:1", two=f"{host}/b/app:1", three=f"{host}/c/app:1")
    assert (verdict(row), text(row)) == (Verdict.ACCEPTED, f"{host}/b/app:1 was found")
    assert not [seen for seen in registry.requests if "c/app" in seen.path]


async def test_login_whose_images_are_all_gone_is_shown_to_the_registry(world: World) -> None:
    """It is accepted, and what is missing is named."""
    async with serving(basic()) as (_, host):
        world.configure({host: RIGHT})
        row = await world.row(one=f"{host}/a/app:1", two=f"{host}/b/app:1")
    assert (verdict(row), row.is_good) == (Verdict.ACCEPTED, True)
    assert text(row).startswith(f"registry {host} lets this login in; registry {host} has no repository a/app")


async def test_nobody_whose_images_are_all_gone_is_unknown(world: World) -> None:
    """The image may be private."""
    async with serving(None) as (_, host):
        world.configure({})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.UNKNOWN, False)
    assert f"or run `docker login {host}` if it is private" in text(row)


async def test_name_space_keys_are_checked_one_by_one(world: World) -> None:
    """The team's login is wrong, the other one is right."""
    async with serving(bearer(anonymous=False), "team/app", "other/app") as (_, host):
        world.configure({host: RIGHT, f"{host}/team": WRONG})
        rows = await world.rows(web=f"{host}/team/app:1", db=f"{host}/other/app:1")
    assert {row.row.source: (row.row.containers, verdict(row)) for row in rows} == {
        f'config.json entry "{host}"': (("db",), Verdict.ACCEPTED),
        f'config.json entry "{host}/team"': (("web",), Verdict.REFUSED),
    }


async def test_docker_hub_hides_a_missing_image_behind_a_refusal(world: World) -> None:
    """A wrong name must not look like a wrong login, and a wrong login not like a wrong name."""
    registry = SimulatedRegistry(auth=bearer())
    registry.hides_unknown = True
    registry.publish_image("library/redis", "7")
    async with registry.serve(tls=certificate_for(HUB_API).server) as address:
        world.ports[HUB_API] = int(address.rpartition(":")[2])
        assert isinstance(registry.auth, BearerAuth)
        registry.auth.realm = f"https://{HUB_API}/token"
        world.configure({"docker.io": RIGHT})
        found = await world.row(a="built-here:1", b="redis:7")
        none = await world.row(a="built-here:1")
        world.configure({"docker.io": WRONG})
        wrong = await world.row(a="built-here:1", b="redis:7")
        wrong_only = await world.row(a="built-here:1")
    assert (verdict(found), text(found)) == (Verdict.ACCEPTED, "redis:7 was found")
    assert verdict(none) is Verdict.REFUSED
    assert "registry docker.io lets this login in; built-here:1 on Docker Hub: not found or no access" in text(none)
    assert (verdict(wrong), wrong.row.registry) == (Verdict.REFUSED, "docker.io")
    assert text(wrong) == "redis:7 can be had without a login only: log in again with `docker login`"
    assert verdict(wrong_only) is Verdict.REFUSED
    assert 'from config.json entry "docker.io" was rejected: log in again with `docker login`' in text(wrong_only)


async def test_registry_that_cannot_be_reached_is_unknown(world: World) -> None:
    """Neither the login nor anything else is refused; but it is not all right either."""
    gone = NoSuchObjectError("page not found", status=404)
    image = "127.0.0.1:1/a/app:1"
    world.engine = SmallEngine(distribution={image: gone})
    world.configure({"127.0.0.1:1": RIGHT})
    row = await world.row(web=image)
    assert (verdict(row), row.is_good) == (Verdict.UNKNOWN, False)
    assert "not reachable from here" in text(row)


async def test_without_the_switch_nobody_is_asked(world: World) -> None:
    """What is configured can be seen without the network."""
    async with serving(basic(), "a/app") as (registry, host):
        world.configure({host: WRONG})
        row = await world.row(check=False, web=f"{host}/a/app:1")
    assert (row.state, row.is_good, row.row.username) == (None, True, "tester")
    assert registry.requests == []


# ---- through the engine ----


async def through_engine(world: World, answers: Answers, login: Mapping[str, str] = RIGHT) -> LoginRow:
    """Check the login for an image that only the engine can reach."""
    world.engine = SmallEngine(distribution=answers)
    world.shares_loopback = False
    world.configure({"localhost:5000": login})
    return await world.row(web="localhost:5000/app:1")


async def test_registry_on_the_engines_loopback_is_asked_through_the_engine(world: World) -> None:
    """As a scan does."""
    answers: Answers = {"localhost:5000/app:1": {"Descriptor": {"digest": a_digest("v1")}}}
    row = await through_engine(world, answers)
    assert (verdict(row), row.as_json()["check"]["asked_through_engine"]) == (Verdict.ACCEPTED, True)


async def test_refusal_through_the_engine_gets_a_remedy(world: World) -> None:
    """The engine has the registry's own words only."""
    refusal = EngineError("unauthorized: authentication required", status=401)
    row = await through_engine(world, {"localhost:5000/app:1": refusal}, WRONG)
    assert (verdict(row), row.as_json()["check"]["asked_through_engine"]) == (Verdict.REFUSED, True)
    assert text(row).endswith("unauthorized: authentication required: log in with `docker login localhost:5000`")


async def test_login_that_the_engine_had_to_leave_out_is_refused(world: World) -> None:
    """The image is public, and the login is still wrong."""

    class Choosy(SmallEngine):
        async def inspect_distribution(self, name: str, *, registry_auth: str) -> dict[str, object]:
            if registry_auth != "e30=":  # an empty object
                raise EngineError("unauthorized", status=401)
            return {"Descriptor": {"digest": a_digest("v1")}}

    world.engine = Choosy()
    world.shares_loopback = False
    world.configure({"localhost:5000": WRONG})
    row = await world.row(web="localhost:5000/app:1")
    assert (verdict(row), row.is_good) == (Verdict.REFUSED, False)
    assert "localhost:5000/app:1 can be had without a login only" in text(row)


async def test_engines_loopback_without_an_image_in_use_is_untested(world: World) -> None:
    """The engine asks for images only, and our own loopback is another one."""
    async with serving(basic(), "a/app") as (registry, host):
        world.shares_loopback = False
        world.configure({host: RIGHT})
        row = await world.row()
    assert (verdict(row), row.is_good) == (Verdict.UNTESTED, True)
    assert "on the loopback of the engine" in text(row)
    assert registry.requests == []


# ---- what is configured and not in use ----


@pytest.mark.parametrize("auth", [basic(), bearer(anonymous=False), bearer()])
@pytest.mark.parametrize(("login", "expected"), [(RIGHT, Verdict.ACCEPTED), (WRONG, Verdict.REFUSED)])
@pytest.mark.parametrize("key", ["{}", "https://{}/v2/", "{}/team"])
async def test_login_that_is_not_in_use_is_shown_to_the_root(
    world: World, auth: BasicAuth | BearerAuth, login: Mapping[str, str], expected: Verdict, key: str
) -> None:
    """Without naming a repository."""
    async with serving(auth) as (registry, host):
        world.configure({key.format(host): login})
        row = await world.row()
    assert (row.row.registry, row.row.containers, verdict(row)) == (host, (), expected)
    assert registry.count("manifest") == 0
    assert all("scope" not in seen.query for seen in registry.requests)


async def test_registries_are_asked_without_an_engine(world: World) -> None:
    """What is configured can be checked anyway."""
    async with serving(basic()) as (_, host):
        world.has_engine = False
        world.configure({host: RIGHT})
        assert verdict(await world.row()) is Verdict.ACCEPTED


async def test_empty_entry_is_shown_to_nobody(world: World) -> None:
    """There is nothing to show, and nothing in use."""
    async with serving(basic()) as (registry, host):
        world.configure({host: {}})
        row = await world.row()
    assert (verdict(row), row.is_good) == (Verdict.UNTESTED, True)
    assert registry.requests == []


async def test_what_is_not_in_use_can_be_left_out(world: World) -> None:
    """Who asks about one container need not wait for other registries."""
    async with serving(basic(), "a/app") as (_, host):
        world.configure({host: RIGHT, "registry.invalid": RIGHT})
        rows = await world.rows(with_unused=False, web=f"{host}/a/app:1")
    assert [row.row.registry for row in rows] == [host]


# ---- helpers and broken configurations ----


async def test_answer_of_a_helper_is_accepted_and_both_ends_are_told(world: World) -> None:
    """Until when the answer is kept here, and the life of the token that it bought."""
    world.helpers.install("box", answer("tester", MARKER))
    async with serving(bearer(anonymous=False, expires_in=300), "a/app") as (_, host):
        world.configure({}, credHelpers={host: "box"})
        row = await world.row(web=f"{host}/a/app:1")
    document = row.as_json()
    assert (document["source"], document["username"], document["from_helper"], verdict(row)) == (
        "docker-credential-box", "tester", True, Verdict.ACCEPTED,
    )  # fmt: skip
    assert row.token_until is not None
    assert row.helper_answer_until is not None
    assert NOW + timedelta(seconds=280) < row.token_until <= NOW + timedelta(seconds=300)
    assert NOW + timedelta(seconds=280) < row.helper_answer_until <= NOW + timedelta(seconds=300)
    assert world.helpers.runs("box") == 1


async def test_helper_that_fails_is_a_problem_and_its_registry_is_not_asked(world: World) -> None:
    """What only it could answer cannot be checked."""
    world.helpers.install("box", f"echo {MARKER}; exit 3")
    async with serving(basic(), "a/app") as (registry, host):
        world.configure({}, credHelpers={host: "box"})
        row = await world.row(web=f"{host}/a/app:1")
    assert (row.state, row.is_good) == (None, False)
    assert "docker-credential-box" in str(row.row.problem)
    assert registry.requests == []


async def test_entry_beside_a_helper_that_fails_is_checked(world: World) -> None:
    """It is in use, so it counts; the helper's failure is told."""
    async with serving(basic(), "a/app") as (_, host):
        world.configure({host: RIGHT}, credHelpers={host: "box"})
        row = await world.row(web=f"{host}/a/app:1")
    assert (verdict(row), row.is_good) == (Verdict.ACCEPTED, True)
    assert "meanwhile another credential is used" in str(row.row.problem)


async def test_broken_entry_costs_its_own_row(world: World) -> None:
    """And is not told twice."""
    async with serving(basic(), "a/app") as (_, host):
        world.configure({host: RIGHT, "ghcr.io": {"auth": f"*{MARKER}"}, "*.example.com": RIGHT})
        rows = await world.rows(web=f"{host}/a/app:1")
    assert [(row.row.registry, row.is_good) for row in rows] == [(host, True), ("ghcr.io", False)]
    assert world.warnings == (
        '"*.example.com" in the configuration is no registry that an image name can have: it serves nothing',
    )


async def test_broken_file_is_the_problem_of_every_registry_in_use(world: World) -> None:
    """Nobody is asked as nobody instead."""
    async with serving(bearer(), "a/app") as (registry, host):
        (world.directory / "config.json").write_text('{"auths": {' + MARKER)
        row = await world.row(web=f"{host}/a/app:1")
    assert (row.state, row.is_good) == (None, False)
    assert "is not valid JSON: line 1" in str(row.row.problem)
    assert registry.requests == []


async def test_server_that_repeats_the_login_does_not_bring_it_to_people(world: World) -> None:
    """What a registry says is not shown, but for codes that the specification knows."""
    async with serving(basic()) as (registry, host):
        body = json.dumps({"errors": [{"code": MARKER, "message": MARKER}]}).encode()
        registry.misbehave(Misbehave(Answer(418, {"X-Said": MARKER}, body)))
        world.configure({host: RIGHT})
        assert verdict(await world.row()) is Verdict.UNKNOWN
