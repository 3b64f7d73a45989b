"""A simulated engine and a simulated registry that know the same images, and a session over both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from tests.support.engine_sim import Behaviour, SimulatedEngine, connected
from tests.support.registry_world import Logins, a_client
from tests.support.replacing import GOOD, a_replacer
from tests.support.simulated_registry import Misbehave, SimulatedRegistry
from tests.support.stored import a_store_in_memory
from watchtower_async.assembly import Assembly, Policies, assemble
from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.store import StoreState
from watchtower_async.engine.client import Engine
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.events import Announcer, Event, Listener
from watchtower_async.registry.transport import UNHEARD, RegistryListener
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.session import Session, SessionPolicy, SessionReport
from watchtower_async.state.store import StateStore
from watchtower_async.updates.plan import UpdatePlan
from watchtower_async.updates.planner import Planner
from watchtower_async.updates.scanner import Scanner
from watchtower_async.updates.selection import SelectionPolicy

ENGINE_NAME = "unix:///town.sock"
"""The same for each connection, although each has a socket of its own."""
COMMON_POLICY = UpdatePolicy()


class FreshLogins(Logins):
    """Logins that are read afresh for each session, and watched by somebody where a test says so."""

    problem: str | None = None
    is_watched: bool = False

    def __init__(self, logins: Mapping[str, Credential] | None = None) -> None:
        super().__init__(logins)
        self.state = StoreState()
        self._changes = 0
        self._news = anyio.Event()

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait for another state."""
        while self.state == known:
            await self._news.wait()
        return self.state

    def log_in(self, domain: str, login: Credential) -> None:
        """Write another login down, which whoever watches notices."""
        self.logins[domain] = login
        self._changes += 1
        self.state = StoreState(warnings=(f"change {self._changes}",))
        self._news.set()
        self._news = anyio.Event()

    async def reload(self) -> str | None:
        """Return what is wrong with the file."""
        return self.problem


@dataclass(frozen=True, slots=True)
class Connected:
    """What the application makes for the town's engine."""

    engine: Engine
    planner: Planner
    selection: SelectionPolicy
    assembly: Assembly


@dataclass(slots=True)
class Town:
    """An engine and a registry on its loopback that know the same images."""

    engine: SimulatedEngine = field(default_factory=SimulatedEngine)
    registry: SimulatedRegistry = field(default_factory=SimulatedRegistry)
    store: FreshLogins = field(default_factory=FreshLogins)
    events: list[Event] = field(default_factory=list)
    listeners: tuple[Listener, ...] = ()
    state: StateStore = field(default_factory=a_store_in_memory)

    def image(self, repository: str) -> str:
        """Return the reference of a repository's image."""
        return f"{self.registry.address}/{repository}:1"

    def publish(
        self,
        repository: str,
        version: int,
        behaviour: Behaviour = GOOD,
        *,
        error: str | None = None,
        labels: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        seconds: float = 0.0,
    ) -> str:
        """Let the tag point to a version, for the registry and for the engine's pulls, which take `seconds`.

        With `login` the engine gets it only with this user and password, although the registry answers everybody.
        """
        digest = self.registry.publish_image(repository, "1", f"{repository} {version}")
        name = f"{self.registry.address}/{repository}"
        config: dict[str, object] = {"Env": [f"VERSION={version}", f"REPOSITORY={repository}"]}
        if labels:
            config["Labels"] = labels
        self.engine.offer(
            f"{name}:1", config=config, behaviour=behaviour, digest=digest, error=error, login=login, seconds=seconds
        )
        return digest

    async def outdated(
        self,
        name: str,
        repository: str,
        behaviour: Behaviour = GOOD,
        *,
        old: Behaviour = GOOD,
        labels: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Run a container on version 1, which behaves like `old`, and publish version 2.

        `labels` and `fields` are the container's.
        """
        self.publish(repository, 1, old)
        await self.engine.run(name, self.image(repository), Labels=dict(labels or {}), **fields)
        self.publish(repository, 2, behaviour)

    def trouble(self, repository: str, misbehave: Misbehave) -> None:
        """Let requests for one repository go wrong."""
        misbehave.path = f"/{repository}/"
        self.registry.misbehave(misbehave)

    @asynccontextmanager
    async def session(
        self, *, monitor_only: bool = False, cleanup: bool = False, policy: UpdatePolicy = COMMON_POLICY
    ) -> AsyncIterator[Session]:
        """Connect a session as the application does."""
        async with self.assembly(monitor_only=monitor_only, cleanup=cleanup, policy=policy) as assembly:
            yield assembly.session

    @asynccontextmanager
    async def assembly(
        self, *, monitor_only: bool = False, cleanup: bool = False, policy: UpdatePolicy = COMMON_POLICY
    ) -> AsyncIterator[Assembly]:
        """Connect everything that carries sessions out, as the application does."""
        async with self.connected(monitor_only=monitor_only, cleanup=cleanup, policy=policy) as found:
            yield found.assembly

    @asynccontextmanager
    async def connected(
        self,
        *,
        monitor_only: bool = False,
        cleanup: bool = False,
        policy: UpdatePolicy = COMMON_POLICY,
        listener: RegistryListener = UNHEARD,
    ) -> AsyncIterator[Connected]:
        """Connect the engine, and everything that asks it. `listener` hears how the registry answers."""
        async with connected(self.engine) as client, a_client(self.store, listener=listener) as registries:
            client.name = ENGINE_NAME
            scanner = Scanner(registries=registries, engine=client, credentials=self.store, shares_loopback=True)
            facts = EngineFacts(api_version=client.info.api_version, platform="linux/amd64")
            selection = SelectionPolicy(monitor_only=monitor_only)
            planner = Planner(engine=client, scanner=scanner, policy=selection, facts=facts)
            assembly = assemble(
                engine=client,
                planner=planner,
                replacer=await a_replacer(client),
                hooks=HookRunner(engine=client, enabled=True),
                credentials=self.store,
                state=self.state,
                policies=Policies(session=SessionPolicy(monitor_only=monitor_only), update=policy, cleanup=cleanup),
                announcer=Announcer((self.events.append, *self.listeners)),
            )
            yield Connected(client, planner, selection, assembly)

    async def run(
        self, *, monitor_only: bool = False, cleanup: bool = False, policy: UpdatePolicy = COMMON_POLICY
    ) -> SessionReport:
        """Run one session."""
        async with self.session(monitor_only=monitor_only, cleanup=cleanup, policy=policy) as session:
            return await session.run()

    async def plan(self) -> UpdatePlan:
        """Make a plan."""
        async with self.session() as session:
            return await session.make_plan()

    def version(self, name: str) -> str:
        """Return the version that a container runs."""
        env = self.engine.containers[name].config["Env"]
        return next(str(entry).partition("=")[2] for entry in env if entry.startswith("VERSION="))


@asynccontextmanager
async def a_town() -> AsyncIterator[Town]:
    """A town whose registry is served."""
    town = Town()
    async with town.registry.serve():
        yield town
