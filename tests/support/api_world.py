"""An updater as the HTTP API sees it: sessions that can be held open, a small engine, and an engine's sign of life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import anyio
from prometheus_client import CollectorRegistry

from tests.support.builders import a_digest
from tests.support.open_rollouts import open_rollouts
from tests.support.stored import an_entry
from watchtower_async.errors import EngineError
from watchtower_async.events import Announcer
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.telemetry.metrics import Metrics
from watchtower_async.web.api import Api, ApiLimits
from watchtower_async.web.health import HealthRoutes
from watchtower_async.web.history import History
from watchtower_async.web.live import Live
from watchtower_async.web.ports import (
    AlreadyRunning,
    CheckedContainer,
    ConfigView,
    ContainerView,
    ImageView,
    SessionResult,
    Summary,
    Unavailable,
    Vitals,
)
from watchtower_async.web.quarantine import QuarantineRoutes
from watchtower_async.web.rollouts import RolloutRoutes
from watchtower_async.web.route import Endpoint, Routes
from watchtower_async.web.server import ApiServer, ServerSettings, serve_api

NOON = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)
TOKEN = "the-token"
EVENTS_TOKEN = "the-events-token"


@dataclass(slots=True)
class Sessions:
    """Carries nothing out. A session ends when it may."""

    result: SessionResult = SessionResult(summary=Summary(scanned=3, updated=1, skipped=2), duration_seconds=62.5)
    unavailable: Unavailable | None = None
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    """Images and names of each session that ran or will."""
    may_end: anyio.Event = field(default_factory=anyio.Event)
    begun: anyio.Event = field(default_factory=anyio.Event)
    queued: anyio.Event = field(default_factory=anyio.Event)
    """Set when a second one was asked for."""
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def request_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> SessionResult | AlreadyRunning | Unavailable:
        """Run one when it is its turn."""
        refused = self.begin_session(images, names, wait)
        if refused is not None:
            return refused
        async with self._turn:
            self.begun.set()
            await self.may_end.wait()
        return self.result

    def begin_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> AlreadyRunning | Unavailable | None:
        """Note what was asked for."""
        if self.unavailable is not None:
            return self.unavailable
        if self._turn.locked() and not wait:
            return AlreadyRunning()
        self.asked.append((images, names))
        if len(self.asked) == 2:
            self.queued.set()
        return None


@dataclass(slots=True)
class SmallViews:
    """Two containers; an engine that refuses, or is slow, on demand."""

    refusal: str | None = None
    delay: float = 0.0
    has_bug: bool = False
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    async def check(self, images: tuple[str, ...], names: tuple[str, ...]) -> tuple[CheckedContainer, ...]:
        """Say that web is outdated and that db could not be checked."""
        self.asked.append((images, names))
        await self._answer()
        web = CheckedContainer(
            name="web",
            image="redis:7",
            image_id=a_digest("i"),
            digest=a_digest("v1"),
            update_available=True,
            latest_digest=a_digest("v2"),
            timestamp=NOON,
        )
        db = CheckedContainer(
            name="db",
            image="db:1",
            image_id=a_digest("j"),
            digest="",
            update_available=False,
            error="no answer",
            timestamp=NOON,
        )
        return web, db

    async def containers(self) -> tuple[ContainerView, ...]:
        """Return both."""
        await self._answer()
        web = ContainerView(name="web", image="redis:7", image_id=a_digest("i"), digest=a_digest("v1"))
        db = ContainerView(name="db", image="db:1", image_id=a_digest("j"), digest="", monitor_only=True, scope="prod")
        return web, db

    async def images(self) -> tuple[ImageView, ...]:
        """Return the image of each."""
        await self._answer()
        return (
            ImageView(name="redis:7", image_id=a_digest("i"), digest=a_digest("v1"), containers=("web",)),
            ImageView(name="db:1", image_id=a_digest("j"), digest="", containers=("db",)),
        )

    def config(self) -> ConfigView:
        """Return some settings."""
        if self.has_bug:
            raise KeyError("the inside")
        return ConfigView(cleanup=True, scope="prod", filter_desc="everything")

    async def _answer(self) -> None:
        if self.refusal is not None:
            raise EngineError(self.refusal)
        await anyio.sleep(self.delay)


@dataclass(slots=True)
class Vital:
    """A process and its engine, as they are set."""

    now: Vitals = field(default_factory=lambda: Vitals(is_started=True))
    problem: str | None = None
    engine_hangs: bool = False

    def vitals(self) -> Vitals:
        """Return how the process is."""
        return self.now

    async def engine_problem(self) -> str | None:
        """Return how the engine is."""
        if self.engine_hangs:
            await anyio.sleep_forever()
        return self.problem


class _Quarantine:
    quarantined: tuple[QuarantineEntry, ...] = (an_entry("web"),)

    async def ready(self) -> None:
        """Be ready."""

    async def lift_quarantine(self, container: str | None = None) -> tuple[QuarantineEntry, ...]:
        """Drop the entry."""
        lifted = tuple(entry for entry in self.quarantined if container in {None, entry.container})
        self.quarantined = tuple(entry for entry in self.quarantined if entry not in lifted)
        return lifted


class World:
    """All parts of the API."""

    def __init__(self, *, limits: ApiLimits | None = None, live: Live | None = None) -> None:
        self.sessions = Sessions()
        self.views = SmallViews()
        self.vital = Vital()
        self.history = History(now=lambda: NOON)
        self.live = live or Live(session_settings=lambda: {"cleanup": True}, now=lambda: NOON, run="run")
        self.metrics = Metrics(registry=CollectorRegistry(), quarantined=lambda: 2)
        self.announcer = Announcer((self.history, self.live, self.metrics))
        api = Api(
            updates=self.sessions,
            views=self.views,
            history=self.history,
            live=self.live,
            metrics=self.metrics,
            limits=limits,
            now=lambda: NOON,
        )
        self.health = HealthRoutes(status=self.vital, now=lambda: NOON)
        quarantine = QuarantineRoutes(quarantine=_Quarantine(), announcer=self.announcer)
        self.rollouts = open_rollouts("r1", "r2")
        rollouts = RolloutRoutes(rollouts=self.rollouts, now=lambda: NOON)
        self.subjects: tuple[Routes, ...] = (api, self.health, quarantine, rollouts)

    @asynccontextmanager
    async def served(self, **settings: Any) -> AsyncIterator[Caller]:
        """Serve on the loopback interface, and return who asks."""
        async with (
            serve_api(some_settings(**settings), *self.subjects) as server,
            aiohttp.ClientSession() as session,
        ):
            assert server.problem is None
            yield Caller(server, session)


def some_settings(**changes: Any) -> ServerSettings:
    """Return settings that switch on everything on a free port."""
    given: dict[str, Any] = {
        "endpoints": frozenset(Endpoint),
        "host": "127.0.0.1",
        "port": 0,
        "token": TOKEN,
        "events_token": EVENTS_TOKEN,
        "rate_limit": 100_000,
    }
    return ServerSettings(**given | changes)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str
    document: Any = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Asks the API, with the token unless told otherwise."""

    server: ApiServer
    session: aiohttp.ClientSession

    async def __call__(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        """Send a request."""
        headers = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        with anyio.fail_after(10):
            async with self.session.request(
                method, self.server.url + path, headers=headers, allow_redirects=False, **options
            ) as answer:
                text = await answer.text()
                document = await answer.json() if answer.content_type == "application/json" else None
                return Reply(answer.status, dict(answer.headers), text, document)
