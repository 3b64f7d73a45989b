"""Opens what a session works with: credentials and registries without an engine, and the engine with what asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watchtower_async import __version__
from watchtower_async.credentials.config_file import AUTH_VARIABLE
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.repo_login import RepoLogin, read_repo_login
from watchtower_async.credentials.store import ConfigDirectory, CredentialStore, find_config_directory
from watchtower_async.engine.address import EngineAddress, resolve_address
from watchtower_async.engine.client import Engine, connect_engine
from watchtower_async.engine.identity import SelfContainer, find_self, runs_in_container
from watchtower_async.engine.limits_left_out import limits_left_out
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.events import Announcer, Degraded
from watchtower_async.registry.client import RegistryClient
from watchtower_async.registry.encryption import encryption
from watchtower_async.registry.transport import UNHEARD, RegistryListener
from watchtower_async.settings import Settings, UpdateSettings
from watchtower_async.updates.cooldown import FirstSeen
from watchtower_async.updates.planner import Planner
from watchtower_async.updates.scanner import Scanner
from watchtower_async.updates.selection import SelectionPolicy


@dataclass(frozen=True, slots=True)
class Opened:
    """What is made without an engine."""

    location: ConfigDirectory
    login: RepoLogin | None
    login_problem: str | None
    helpers: HelperRunner
    store: CredentialStore
    registries: RegistryClient
    announcer: Announcer

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the settings."""
        found = (self.location.problem, self.login_problem, *self.store.warnings)
        return tuple(problem for problem in found if problem is not None)


@dataclass(frozen=True, slots=True)
class Reached:
    """What is made for an engine that answers."""

    engine: Engine
    address: EngineAddress
    facts: EngineFacts
    own_id: str | None
    shares_loopback: bool
    scanner: Scanner
    planner: Planner


class Connection:
    """Opens things, by one set of settings."""

    def __init__(self, *, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ

    @asynccontextmanager
    async def open(self, announcer: Announcer, *, listener: RegistryListener = UNHEARD) -> AsyncIterator[Opened]:
        """Open what needs no engine. Reads and asks nothing yet. `listener` hears how registries answer."""
        given = self._settings.registry
        location = find_config_directory(setting=given.config_directory, environ=self._environ)
        encrypted = encryption(tls_skip=given.tls_skip, tls_min_version=given.tls_min_version)
        login, login_problem = read_repo_login(given.repo_user, given.repo_password, given.repo_registries)
        async with HelperRunner(environ=self._environ) as helpers:
            store = CredentialStore(
                directory=location.directory,
                auth_variable=self._environ.get(AUTH_VARIABLE, ""),
                login=login,
                helpers=helpers,
                on_degraded=lambda problem: announcer.announce(Degraded(problem)),
            )
            async with RegistryClient(
                credentials=store,
                user_agent=f"watchtower_async/{__version__}",
                insecure_hosts=frozenset(given.insecure_registries),
                ssl_context=encrypted.usual,
                unverified_context=encrypted.unverified,
                listener=listener,
            ) as registries:
                yield Opened(location, login, login_problem, helpers, store, registries, announcer)

    @asynccontextmanager
    async def reach_engine(self, opened: Opened, *, first_seen: FirstSeen | None = None) -> AsyncIterator[Reached]:
        """Connect the engine and what asks it. Raises EngineUnavailableError, and EngineError where it is ill.

        `first_seen` tells since when images are known, for cooldowns.
        """
        inside = runs_in_container()
        address = resolve_address(
            host=self._settings.engine.host,
            environ=self._settings.engine.environment(self._environ),
            inside_container=inside,
            config_dir=self._settings.registry.config_directory,
        )
        async with connect_engine(address, api_version=self._settings.engine.api_version) as engine:
            own = await find_self(engine) if inside else None
            own_id = own.id if own else None
            facts = await _engine_facts(engine, self._settings.update)
            is_shared = shares_loopback(address=address, inside_container=inside, own=own)
            scanner = Scanner(
                registries=opened.registries,
                engine=engine,
                credentials=opened.store,
                shares_loopback=is_shared,
                dates=opened.registries,
            )
            planner = Planner(
                engine=engine,
                scanner=scanner,
                policy=selection_policy(self._settings, own_id),
                facts=facts,
                first_seen=first_seen,
            )
            yield Reached(engine, address, facts, own_id, is_shared, scanner, planner)


def selection_policy(settings: Settings, own_id: str | None) -> SelectionPolicy:
    """Return which containers the settings choose, for an updater that is the container with this id, if it is one."""
    chosen, update = settings.selection, settings.update
    return SelectionPolicy(
        names=settings.names,
        label_enable=chosen.label_enable,
        disable_containers=chosen.disable_containers,
        monitor_image_names=chosen.monitor_image_names,
        skip_image_names=chosen.skip_image_names,
        enable_by_label=chosen.enable_by_label,
        disable_by_label=chosen.disable_by_label,
        scope=chosen.scope,
        include_stopped=chosen.include_stopped,
        include_restarting=chosen.include_restarting,
        revive_stopped=update.revive_stopped,
        monitor_only=update.monitor_only,
        no_pull=update.no_pull,
        no_restart=update.no_restart,
        label_take_precedence=update.label_take_precedence,
        cooldown=update.cooldown,
        cooldown_os=update.cooldown_os,
        cooldown_architecture=update.cooldown_architecture,
        cooldown_variant=update.cooldown_variant,
        use_compose_depends_on=update.use_compose_depends_on,
        own_id=own_id,
        updates_itself=not settings.schedule.run_once,
    )


def shares_loopback(*, address: EngineAddress, inside_container: bool, own: SelfContainer | None) -> bool:
    """Say whether our loopback interface is the engine's, so that `localhost:5000` means the same to both."""
    if not address.is_local:
        return False
    if not inside_container:
        return True
    return own is not None and own.host_network


async def _engine_facts(engine: Engine, update: UpdateSettings) -> EngineFacts:
    info = await engine.system_info()
    return EngineFacts(
        api_version=engine.info.api_version,
        is_podman=engine.info.is_podman,
        host_name=str(info.get("Name", "")),
        platform=f"{engine.info.os}/{engine.info.architecture}",
        left_out=limits_left_out(
            is_podman=engine.info.is_podman,
            cpu_copy_mode=update.cpu_copy_mode,
            without_swappiness=update.disable_memory_swappiness,
        ),
    )
