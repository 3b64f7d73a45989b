"""Composition root: the only module that knows all classes, and the one root task group.

The service runs sessions beside a control socket and a watcher of the credentials. A signal ends it: a replacement in
progress is brought to a safe point first (it puts its own container in order when it is cancelled), then everything is
closed.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog

from watchtower_async import __version__
from watchtower_async.credentials.config_file import AUTH_VARIABLE
from watchtower_async.credentials.helper import HelperRunner
from watchtower_async.credentials.overview import Use
from watchtower_async.credentials.repo_login import RepoLogin, read_repo_login
from watchtower_async.credentials.store import ConfigDirectory, CredentialStore, find_config_directory
from watchtower_async.credentials.survey import DirectorySurvey
from watchtower_async.credentials.watcher import CredentialWatcher
from watchtower_async.engine.address import EngineAddress, resolve_address
from watchtower_async.engine.client import Engine, connect_engine
from watchtower_async.engine.identity import SelfContainer, find_self, read_traces, runs_in_container
from watchtower_async.engine.inventory import Inventory, take_inventory
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.errors import EngineError
from watchtower_async.events import Announcer, Degraded
from watchtower_async.instance import owner_id
from watchtower_async.registry.client import RegistryClient
from watchtower_async.rollout.recovery import RecoveryReport, recover
from watchtower_async.rollout.replacement import ReplacementSettings, Replacer
from watchtower_async.service import Service, Status
from watchtower_async.session import Session, SessionPolicy
from watchtower_async.settings import Settings, unsupported_variables
from watchtower_async.state.location import keeping_of
from watchtower_async.state.store import StateStore
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.updates.login_check import LoginCheck, LoginReport, warnings_beside
from watchtower_async.updates.plan import UpdatePlan
from watchtower_async.updates.planner import Planner
from watchtower_async.updates.scanner import Scanner
from watchtower_async.updates.selection import SelectionPolicy
from watchtower_async.web.control import serve_control_socket
from watchtower_async.web.health_check import SOCKET_NAME, ask_credentials, state_directory
from watchtower_async.web.quarantine import QuarantineRoutes

EXIT_DONE = 0
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class _Opened:
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
class _Reached:
    """What is made for an engine that answers."""

    engine: Engine
    address: EngineAddress
    facts: EngineFacts
    own_id: str | None
    shares_loopback: bool
    scanner: Scanner
    planner: Planner


@dataclass(frozen=True, slots=True)
class _Connected:
    """What is made for one engine."""

    session: Session
    store: CredentialStore
    directory: Path
    """Of the credential configuration."""
    registries: RegistryClient
    announcer: Announcer


class App:
    """The program, for one set of settings."""

    def __init__(self, *, settings: Settings, environ: Mapping[str, str], command_as_name: str | None = None) -> None:
        """`command_as_name` is the command's word where Watchtower would have taken it for a container name."""
        self._settings = settings
        self._environ = environ
        self._command_as_name = command_as_name
        self._log = structlog.get_logger()
        configured = settings.state.directory
        self._state = state_directory(environ, str(configured) if configured else None)

    def run_service(self) -> int:
        """Run sessions until a signal comes, or one with `--run-once`. Raises EngineUnavailableError at start."""
        return anyio.run(self._run_service)

    def make_plan(self) -> UpdatePlan:
        """Make the plan of the next session. Raises EngineUnavailableError."""
        return anyio.run(self._make_plan)

    def describe_credentials(self, check: bool) -> LoginReport:
        """Say which login answers for which registry; with `check` registries are asked. Works without an engine."""
        running = ask_credentials(self._state / SOCKET_NAME)
        return replace(anyio.run(self._describe_credentials, check), running=running)

    async def _describe_credentials(self, check: bool) -> LoginReport:
        async with self._open(Announcer()) as opened, AsyncExitStack() as stack:
            settings_problems = opened.problems
            reached: _Reached | None = None
            uses: tuple[Use, ...] = ()
            engine_problem = word_problem = None
            try:
                reached = await stack.enter_async_context(self._reach_engine(opened))
                uses = await reached.planner.uses(await take_inventory(reached.engine))
                word_problem = await self._word_problem(reached.engine)
            except EngineError as error:
                engine_problem = str(error)
            await opened.store.reload()
            state = opened.store.state
            login_check = LoginCheck(
                helpers=opened.helpers,
                registries=opened.registries,
                images=reached.scanner if reached else None,
                shares_loopback=reached.shares_loopback if reached else not runs_in_container(),
            )
            # Who names containers asks about their registries only, as long as it is known which those are.
            with_unused = not self._settings.names or engine_problem is not None
            rows = await login_check.rows(state, uses, with_unused=with_unused, check=check)
        beside = (*settings_problems, word_problem, *warnings_beside(state, rows))
        return LoginReport(
            directory=str(opened.location.directory),
            rows=rows,
            is_checked=check,
            engine=reached.engine.name if reached else None,
            engine_problem=engine_problem,
            problem=state.problem,
            warnings=tuple(dict.fromkeys(text for text in beside if text is not None)),
        )

    async def _make_plan(self) -> UpdatePlan:
        announcer = Announcer((EventLog(),))
        state = self._state_store(announcer)
        async with (
            state.opened(may_write=False),
            self._connect(announcer, state, holds_control_socket=False, is_command=True) as connected,
        ):
            return await connected.session.make_plan()

    async def _run_service(self) -> int:
        status = Status(started=datetime.now(UTC))
        announcer = Announcer((EventLog(),))
        state = self._state_store(announcer)
        routes = QuarantineRoutes(quarantine=state, announcer=announcer)
        async with serve_control_socket(self._state, status.health, routes) as control:
            if control.problem is not None:
                self._log.warning("updater.degraded", problem=control.problem)
            async with (
                state.opened(may_write=control.is_held),
                self._connect(announcer, state, holds_control_socket=control.is_held) as connected,
            ):
                return await self._until_signal(connected, status)

    async def _until_signal(self, connected: _Connected, status: Status) -> int:
        exit_code = EXIT_DONE
        schedule = self._settings.schedule
        service = Service(
            sessions=connected.session,
            credentials=connected.store,
            forget=connected.registries.forget,
            announcer=connected.announcer,
            interval=schedule.interval,
            status=status,
        )
        watcher = CredentialWatcher(
            store=connected.store,
            survey=DirectorySurvey(connected.directory),
            tell=lambda problem: connected.announcer.announce(Degraded(problem)),
        )
        async with anyio.create_task_group() as root:

            async def run_once() -> None:
                nonlocal exit_code
                status.is_ready = True
                report = await service.run_session()
                exit_code = EXIT_FAILED if schedule.exit_code and not report.is_good else EXIT_DONE
                root.cancel_scope.cancel()

            async def run_for_ever() -> None:
                root.start_soon(service.tell_news, name="credential news")
                await root.start(watcher.run, name="credential watcher")
                await service.run()

            root.start_soon(run_once if schedule.run_once else run_for_ever, name="sessions")
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for number in signals:
                    self._log.info("updater.stopped", signal=signal.Signals(number).name)
                    root.cancel_scope.cancel()
                    break
        return exit_code

    @asynccontextmanager
    async def _connect(
        self, announcer: Announcer, state: StateStore, *, holds_control_socket: bool, is_command: bool = False
    ) -> AsyncIterator[_Connected]:
        """Connect everything a session needs. Raises EngineUnavailableError.

        A command answers a person, so it does not say at length what it works with.
        """
        async with self._open(announcer) as opened, self._reach_engine(opened) as reached:
            if not is_command:
                self._say_hello(reached.engine, reached.address, opened.location.directory, state)
            await self._say_problems(reached.engine, reached.address, opened.problems)
            if opened.login is not None:
                self._log.info("credentials.repo_login", registries=opened.login.reach)
            owner = owner_id(
                own_container_id=reached.own_id, directory=self._state, holds_control_socket=holds_control_socket
            )
            session = self._compose(
                engine=reached.engine,
                planner=reached.planner,
                store=opened.store,
                state=state,
                facts=reached.facts,
                owner=owner,
                announcer=announcer,
            )
            yield _Connected(session, opened.store, opened.location.directory, opened.registries, announcer)

    @asynccontextmanager
    async def _open(self, announcer: Announcer) -> AsyncIterator[_Opened]:
        """Open what needs no engine. Reads and asks nothing yet."""
        given = self._settings.registry
        location = find_config_directory(setting=given.config_directory, environ=self._environ)
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
                insecure_hosts=frozenset(self._settings.registry.insecure_registries),
            ) as registries:
                yield _Opened(location, login, login_problem, helpers, store, registries, announcer)

    @asynccontextmanager
    async def _reach_engine(self, opened: _Opened) -> AsyncIterator[_Reached]:
        """Connect the engine and what asks it. Raises EngineUnavailableError, and EngineError where it is ill."""
        inside = runs_in_container()
        address = resolve_address(
            host=self._settings.engine.host,
            environ=self._environ,
            inside_container=inside,
            config_dir=self._settings.registry.config_directory,
        )
        async with connect_engine(address) as engine:
            own = await find_self(engine) if inside else None
            own_id = own.id if own else None
            facts = await _engine_facts(engine)
            is_shared = shares_loopback(address=address, inside_container=inside, own=own)
            scanner = Scanner(
                registries=opened.registries, engine=engine, credentials=opened.store, shares_loopback=is_shared
            )
            planner = Planner(engine=engine, scanner=scanner, policy=self._selection_policy(own_id), facts=facts)
            yield _Reached(engine, address, facts, own_id, is_shared, scanner, planner)

    def _compose(
        self,
        *,
        engine: Engine,
        planner: Planner,
        store: CredentialStore,
        state: StateStore,
        facts: EngineFacts,
        owner: str,
        announcer: Announcer,
    ) -> Session:
        update = self._settings.update
        replacer = Replacer(
            engine=engine,
            owner=owner,
            facts=facts,
            settings=ReplacementSettings(
                monitor=self._settings.rollout.monitor.total_seconds(),
                stop_timeout=int(update.stop_timeout.total_seconds()),
            ),
        )

        given = self._settings
        return assemble(
            engine=engine,
            planner=planner,
            replacer=replacer,
            hooks=HookRunner(
                engine=engine,
                enabled=given.hooks.enabled,
                uid=given.hooks.uid,
                gid=given.hooks.gid,
            ),
            credentials=store,
            state=state,
            policies=Policies(
                session=SessionPolicy(monitor_only=update.monitor_only),
                update=policy_from(given.rollout),
                cleanup=update.cleanup,
            ),
            announcer=announcer,
        )

    def _selection_policy(self, own_id: str | None) -> SelectionPolicy:
        return SelectionPolicy(
            names=self._settings.names,
            label_enable=self._settings.selection.label_enable,
            monitor_only=self._settings.update.monitor_only,
            own_id=own_id,
        )

    def _state_store(self, announcer: Announcer) -> StateStore:
        return StateStore(directory=self._state, tell=lambda problem: announcer.announce(Degraded(problem)))

    def _say_hello(self, engine: Engine, address: EngineAddress, config_directory: Path, state: StateStore) -> None:
        self._log.info(
            "updater.started",
            version=__version__,
            engine=engine.name,
            engine_version=engine.info.version,
            engine_from=address.source,
            credentials=str(config_directory),
            state=str(state.path),
            state_kept=_state_kept(state),
        )

    async def _say_problems(self, engine: Engine, address: EngineAddress, problems: Iterable[str | None]) -> None:
        for problem in (*problems, *address.notes):
            if problem is not None:
                self._log.warning("updater.degraded", problem=problem)
        for name in unsupported_variables(self._environ):
            self._log.warning("settings.no_effect", variable=name)
        problem = await self._word_problem(engine)
        if problem is not None:
            self._log.warning("updater.degraded", problem=problem)

    async def _word_problem(self, engine: Engine) -> str | None:
        """Say so where Watchtower would have taken the command for the name of a container that is there."""
        word = self._command_as_name
        if word is None or not any(f"/{word}" in item.get("Names", ()) for item in await engine.list_containers()):
            return None
        return f"{word!r} was taken as the command, and a container has that name; put -- before it to name it"


def _state_kept(state: StateStore) -> str:
    """Say whether what is learned now is still known to the next container of this service."""
    if not state.is_kept:
        return "no: what this process learns is forgotten when it ends"
    directory = str(state.path.parent.resolve())
    keeping = keeping_of(directory, mountinfo=read_traces().mountinfo, inside_container=runs_in_container())
    return keeping.text


def shares_loopback(*, address: EngineAddress, inside_container: bool, own: SelfContainer | None) -> bool:
    """Say whether our loopback interface is the engine's, so that `localhost:5000` means the same to both."""
    if not address.is_local:
        return False
    if not inside_container:
        return True
    return own is not None and own.host_network


async def _engine_facts(engine: Engine) -> EngineFacts:
    info = await engine.system_info()
    return EngineFacts(
        api_version=engine.info.api_version,
        is_podman=engine.info.is_podman,
        host_name=str(info.get("Name", "")),
        platform=f"{engine.info.os}/{engine.info.architecture}",
    )
