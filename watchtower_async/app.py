"""Composition root: the only module that knows all classes, and the one root task group.

The service runs sessions beside a control socket and a watcher of the credentials. A signal ends it: a replacement in
progress is brought to a safe point first (it puts its own container in order when it is cancelled), then everything is
closed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from watchtower_async import __version__
from watchtower_async.assembly import Assembly, Policies, assemble
from watchtower_async.connection import Connection, Opened, Reached, selection_policy
from watchtower_async.credentials.overview import Use
from watchtower_async.credentials.survey import DirectorySurvey
from watchtower_async.credentials.watcher import CredentialWatcher
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import Engine
from watchtower_async.engine.disk import EngineDisk, Viewpoint, this_machine
from watchtower_async.engine.identity import read_traces, runs_in_container
from watchtower_async.engine.inventory import take_inventory
from watchtower_async.engine.spec_parts import labels_of
from watchtower_async.errors import EngineError, SettingsError, WatchtowerError
from watchtower_async.events import Announcer, Degraded
from watchtower_async.instance import owner_id
from watchtower_async.registry.transport import UNHEARD, RegistryListener
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.own_container import OwnContainer
from watchtower_async.rollout.policy import policy_from
from watchtower_async.rollout.replacement import ReplacementSettings, Replacer
from watchtower_async.rollout.rollouts import Rollouts
from watchtower_async.rollout.self_update import HelperPlace, ResultFile
from watchtower_async.service import Service, Status, Timetable
from watchtower_async.session import Session, SessionPolicy
from watchtower_async.settings import Endpoint, Settings
from watchtower_async.state.location import keeping_of
from watchtower_async.state.store import StateStore
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.telemetry.logging import configure_logging
from watchtower_async.telemetry.redaction import Redactor, secret_values
from watchtower_async.telemetry.start_up import Surroundings, say, start_up
from watchtower_async.updates.login_check import LoginCheck, LoginReport, warnings_beside
from watchtower_async.updates.plan import UpdatePlan
from watchtower_async.updates.schedule import Cron, Interval, parse_schedule
from watchtower_async.updates.selection import SCOPE
from watchtower_async.updates.window import Windows, parse_windows
from watchtower_async.updates.zone import local_zone
from watchtower_async.web.control import serve_control_socket
from watchtower_async.web.health_check import SOCKET_NAME, ask_credentials, state_directory

if TYPE_CHECKING:
    from watchtower_async.outlets.desk import Work
    from watchtower_async.outlets.notification_plan import NotificationPlan
    from watchtower_async.outlets.notifications import Notifications
    from watchtower_async.outlets.outlets import Outlets

EXIT_DONE = 0
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class _Connected:
    """What is made for one engine."""

    opened: Opened
    reached: Reached
    session: Session
    rollouts: Rollouts


class App:
    """The program, for one set of settings."""

    def __init__(self, *, settings: Settings, environ: Mapping[str, str], command_as_name: str | None = None) -> None:
        """Raise SettingsError for a schedule that cannot be read.

        `command_as_name` is the command's word where Watchtower would have taken it for a container name.
        """
        self._settings = settings
        self._environ = environ
        self._command_as_name = command_as_name
        self._log = structlog.get_logger()
        configured = settings.state.directory
        self._state = state_directory(environ, str(configured) if configured else None)
        self._connection = Connection(settings=settings, environ=environ)
        self._timetable = read_timetable(settings)
        self._haste = anyio.Event()
        self._leaving: anyio.CancelScope | None = None
        """What a signal ends."""

    def run_service(self) -> int:
        """Run sessions until a signal comes, or one with `--run-once`.

        Raises EngineUnavailableError at start, and SettingsError for notifications that cannot be sent.
        """
        from watchtower_async.outlets.notification_plan import read_plan  # noqa: PLC0415 - a plan tells nobody
        from watchtower_async.outlets.notifications import Notifications  # noqa: PLC0415

        plan = read_plan(self._settings)
        secrets = secret_values(self._settings)
        told = Notifications(plan, mask=Redactor(secrets).text)
        configure_logging(self._settings.log, secrets=secrets, listener=told.hear)
        return anyio.run(self._run_service, plan, told)

    def make_plan(self) -> UpdatePlan:
        """Make the plan of the next session. Raises EngineUnavailableError."""
        return anyio.run(self._make_plan)

    def describe_credentials(self, check: bool) -> LoginReport:
        """Say which login answers for which registry; with `check` registries are asked. Works without an engine."""
        running = ask_credentials(self._state / SOCKET_NAME)
        return replace(anyio.run(self._describe_credentials, check), running=running)

    async def _describe_credentials(self, check: bool) -> LoginReport:
        async with self._connection.open(Announcer()) as opened, AsyncExitStack() as stack:
            settings_problems = opened.problems
            reached: Reached | None = None
            uses: tuple[Use, ...] = ()
            engine_problem = word_problem = None
            try:
                reached = await stack.enter_async_context(self._connection.reach_engine(opened))
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
            self._connect(announcer, state, holds_control_socket=False) as connected,
        ):
            return await connected.session.make_plan()

    async def _run_service(self, plan: NotificationPlan, told: Notifications) -> int:
        exit_code = EXIT_DONE
        problem: WatchtowerError | None = None
        # From the first moment to the last, so that no signal finds Python's own handler in the middle of something.
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group:
                self._leaving = group.cancel_scope
                group.start_soon(self._hear_signals, signals)
                try:
                    exit_code = await self._serve(plan, told)
                except WatchtowerError as error:
                    problem = error
                group.cancel_scope.cancel()
        if problem is not None:
            raise problem
        return exit_code

    async def _hear_signals(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            self._log.info("updater.stopped", signal=signal.Signals(number).name)
            # Docker kills after ten seconds. Until then every container that is down must be up again.
            self._haste.set()
            if self._leaving is not None:
                self._leaving.cancel()

    async def _serve(self, plan: NotificationPlan, told: Notifications) -> int:
        from watchtower_async.outlets.outlets import Outlets  # noqa: PLC0415 - a plan needs no server and no metrics

        status = Status(started=datetime.now(UTC))
        once = self._settings.schedule.run_once
        outlets = Outlets(settings=self._settings, status=status, schedule=None if once else self._timetable.schedule)
        announcer = Announcer((told, EventLog(), *outlets.listeners))
        state = self._state_store(announcer)
        routes = outlets.connect(quarantine=state, announcer=announcer)
        async with serve_control_socket(self._state, outlets.health, *routes) as control:
            if control.problem is not None:
                self._log.warning("updater.degraded", problem=control.problem)
            async with (
                state.opened(may_write=control.is_held),
                self._connect(
                    announcer,
                    state,
                    holds_control_socket=control.is_held,
                    plan=plan,
                    listener=outlets.registry_listener,
                ) as connected,
                outlets.served() as api,
                anyio.create_task_group() as around,
            ):
                if api.problem is not None:
                    self._log.warning("updater.degraded", problem=api.problem)
                # Not in the group that a signal ends: the last report goes out after it.
                await around.start(partial(told.run, outbox=state.outbox, engine=connected.reached.engine))
                told.started()
                exit_code = await self._until_signal(connected, announcer, status, outlets)
                told.stop()
            return exit_code

    async def _work_of(self, connected: _Connected, service: Service, status: Status) -> Work:
        """Return what people and programs may ask for and look at."""
        from watchtower_async.outlets.desk import Work  # noqa: PLC0415
        from watchtower_async.outlets.shown_settings import config_view  # noqa: PLC0415
        from watchtower_async.outlets.views import EngineViews  # noqa: PLC0415

        reached = connected.reached
        scope = self._settings.selection.scope or await _own_scope(reached)
        views = EngineViews(
            engine=reached.engine,
            planner=reached.planner,
            selection=selection_policy(self._settings, reached.own_id),
            credentials=connected.opened.store,
            config=config_view(self._settings, scope=scope),
            last_plan=lambda: status.last.plan if status.last else None,
        )
        return Work(updates=service, views=views, rollouts=connected.rollouts, ping=reached.engine.system_info)

    async def _until_signal(self, connected: _Connected, announcer: Announcer, status: Status, outlets: Outlets) -> int:
        opened = connected.opened
        service = Service(
            sessions=connected.session,
            credentials=opened.store,
            forget=opened.registries.forget,
            announcer=announcer,
            timetable=self._timetable,
            status=status,
        )
        watcher = CredentialWatcher(
            store=opened.store,
            survey=DirectorySurvey(opened.location.directory),
            tell=lambda problem: announcer.announce(Degraded(problem)),
        )
        with outlets.opened_for(await self._work_of(connected, service, status)):
            return await self._run_root(connected, service, watcher, status)

    async def _run_root(
        self, connected: _Connected, service: Service, watcher: CredentialWatcher, status: Status
    ) -> int:
        exit_code = EXIT_DONE
        schedule = self._settings.schedule
        before = self._leaving
        async with anyio.create_task_group() as root:
            self._leaving = root.cancel_scope  # what has to end in order is outside of it

            async def run_once() -> None:
                nonlocal exit_code
                status.is_ready = True
                report = await service.run_session()
                exit_code = EXIT_FAILED if schedule.exit_code and not report.is_good else EXIT_DONE
                root.cancel_scope.cancel()

            async def run_for_ever() -> None:
                root.start_soon(service.tell_news, name="credential news")
                await root.start(watcher.run, name="credential watcher")
                root.start_soon(connected.rollouts.serve, name="rollouts")
                await service.run()

            root.start_soon(run_once if schedule.run_once else run_for_ever, name="sessions")
        self._leaving = before
        return exit_code

    @asynccontextmanager
    async def _connect(
        self,
        announcer: Announcer,
        state: StateStore,
        *,
        holds_control_socket: bool,
        plan: NotificationPlan | None = None,
        listener: RegistryListener = UNHEARD,
    ) -> AsyncIterator[_Connected]:
        """Connect everything a session needs. Raises EngineUnavailableError.

        `plan` is what is told to whom; a command answers a person, so it tells nobody, and does not say at length what
        it works with.
        """
        async with (
            self._connection.open(announcer, listener=listener) as opened,
            self._connection.reach_engine(opened, first_seen=state) as reached,
        ):
            problems = opened.problems
            if plan is not None:
                await self._say_hello(opened, reached, state, plan)
                problems += plan.warnings
            await self._say_problems(reached.engine, reached.address, problems)
            if opened.login is not None:
                self._log.info("credentials.repo_login", registries=opened.login.reach)
            owner = owner_id(
                own_container_id=reached.own_id, directory=self._state, holds_control_socket=holds_control_socket
            )
            assembly = self._assemble(opened, reached, state, owner=owner, announcer=announcer)
            yield _Connected(opened, reached, assembly.session, assembly.rollouts)

    def _assemble(
        self, opened: Opened, reached: Reached, state: StateStore, *, owner: str, announcer: Announcer
    ) -> Assembly:
        given = self._settings
        replacer = Replacer(
            engine=reached.engine,
            owner=owner,
            facts=reached.facts,
            settings=ReplacementSettings(
                monitor=given.rollout.monitor.total_seconds(),
                stop_timeout=int(given.update.stop_timeout.total_seconds()),
            ),
            haste=self._haste,
            disk=self._disk(reached, announcer),
        )
        own = (
            None if reached.own_id is None or given.schedule.run_once else self._own_container(reached, reached.own_id)
        )
        hooks = HookRunner(engine=reached.engine, enabled=given.hooks.enabled, uid=given.hooks.uid, gid=given.hooks.gid)
        return assemble(
            engine=reached.engine,
            planner=reached.planner,
            replacer=replacer,
            hooks=hooks,
            credentials=opened.store,
            state=state,
            policies=Policies(
                session=SessionPolicy(monitor_only=given.update.monitor_only),
                update=policy_from(given.rollout),
                cleanup=given.update.cleanup,
                use_compose_depends_on=given.update.use_compose_depends_on,
            ),
            announcer=announcer,
            own=own,
        )

    def _disk(self, reached: Reached, announcer: Announcer) -> EngineDisk:
        host_name, kernel = this_machine()
        return EngineDisk(
            engine=reached.engine,
            viewpoint=Viewpoint(
                has_socket_here=reached.address.socket_path is not None,
                is_own_engine=reached.own_id is not None,
                mountinfo=read_traces().mountinfo,
                host_name=host_name,
                kernel=kernel,
            ),
            min_free=self._settings.update.min_free,
            tell=lambda problem: announcer.announce(Degraded(problem)),
        )

    def _own_container(self, reached: Reached, own_id: str) -> OwnContainer:
        """Return what has our own container replaced. Its helper gets our environment, and these options."""
        given = self._settings
        options = {
            "--stop-timeout": f"{given.update.stop_timeout.total_seconds():g}s",
            "--rollout-monitor": f"{given.rollout.monitor.total_seconds():g}s",
            "--state-dir": str(self._state),
        }
        if given.engine.host:
            options["--host"] = given.engine.host
        if given.engine.cert_path is not None:
            options["--cert-path"] = str(given.engine.cert_path)
        if given.engine.api_version:
            options["--api-version"] = given.engine.api_version
        options["--cpu-copy-mode"] = str(given.update.cpu_copy_mode)
        words = [word for pair in options.items() for word in pair]
        if given.engine.tls_verify:
            words.append("--tlsverify")
        if given.update.disable_memory_swappiness:
            words.append("--disable-memory-swappiness")
        return OwnContainer(
            engine=reached.engine,
            container_id=own_id,
            facts=reached.facts,
            place=HelperPlace(
                program=(sys.executable, "-P", "-m", "watchtower_async", *words),
                socket=reached.address.socket_path,
                state_directory=str(self._state),
            ),
            results=ResultFile(self._state),
        )

    def _state_store(self, announcer: Announcer) -> StateStore:
        return StateStore(directory=self._state, tell=lambda problem: announcer.announce(Degraded(problem)))

    async def _say_hello(self, opened: Opened, reached: Reached, state: StateStore, plan: NotificationPlan) -> None:
        now = datetime.now(UTC)
        schedule = None if self._settings.schedule.run_once else self._timetable.schedule
        first = None if schedule is None else schedule.next_after(now)
        surroundings = Surroundings(
            version=__version__,
            api_version=reached.engine.info.api_version,
            scope=self._settings.selection.scope or await _own_scope(reached),
            services=plan.schemes,
            now=now,
            first_session=first.astimezone(self._timetable.zone) if first is not None else None,
            about={
                "engine": reached.engine.name,
                "engine_version": reached.engine.info.version,
                "engine_from": reached.address.source,
                "credentials": str(opened.location.directory),
                "state": str(state.path),
                "state_kept": _state_kept(state),
            },
        )
        say(start_up(self._settings, surroundings), self._log)

    async def _say_problems(self, engine: Engine, address: EngineAddress, problems: Iterable[str | None]) -> None:
        for problem in (*problems, *address.notes):
            if problem is not None:
                self._log.warning("updater.degraded", problem=problem)
        for notice in self._settings.notices:
            self._log.warning("settings.notice", setting=notice.name, notice=notice.text)
        problem = await self._word_problem(engine)
        if problem is not None:
            self._log.warning("updater.degraded", problem=problem)

    async def _word_problem(self, engine: Engine) -> str | None:
        """Say so where Watchtower would have taken the command for the name of a container that is there."""
        word = self._command_as_name
        if word is None or not any(f"/{word}" in item.get("Names", ()) for item in await engine.list_containers()):
            return None
        return f"{word!r} was taken as the command, and a container has that name; put -- before it to name it"


async def _own_scope(reached: Reached) -> str:
    """Return the scope label of our own container; empty for none."""
    if reached.own_id is None:
        return ""
    return labels_of(await reached.engine.inspect_container(reached.own_id)).get(SCOPE, "")


def read_timetable(settings: Settings) -> Timetable:
    """Return when there are sessions. Raises SettingsError."""
    given, api = settings.schedule, settings.http_api
    try:
        zone = local_zone({"TZ": given.time_zone} if given.time_zone else {})
        schedule = parse_schedule(given.schedule, zone=zone) if given.schedule else Interval(given.interval)
        zone = schedule.zone if isinstance(schedule, Cron) else zone
        windows = parse_windows("; ".join(given.update_windows), zone=zone) if given.update_windows else Windows()
    except ValueError as error:
        raise SettingsError((str(error),)) from None
    # As with Watchtower: who switches updates by request on has no others, unless both are asked for.
    is_on_request = Endpoint.UPDATE in api.enabled and not api.periodic_polls
    return Timetable(
        schedule=None if is_on_request else schedule,
        windows=windows,
        jitter=given.jitter,
        on_start=given.update_on_start,
        zone=zone,
    )


def _state_kept(state: StateStore) -> str:
    """Say whether what is learned now is still known to the next container of this service."""
    if not state.is_kept:
        return "no: what this process learns is forgotten when it ends"
    directory = str(state.path.parent.resolve())
    keeping = keeping_of(directory, mountinfo=read_traces().mountinfo, inside_container=runs_in_container())
    return keeping.text
