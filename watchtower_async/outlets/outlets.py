"""All outlets of one process, put together: who listens to events, who answers, and what is served where.

It is made inside the running loop, before anything can happen: the announcer needs its listeners, and the control
socket its routes. The engine comes later, with `opened_for`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from watchtower_async.events import Announcer, Listener
from watchtower_async.outlets.api import ApiOutlet, api_outlet
from watchtower_async.outlets.desk import Desk, Work
from watchtower_async.outlets.shown_settings import session_settings
from watchtower_async.outlets.vitals import ServiceVitals
from watchtower_async.registry.transport import RegistryListener
from watchtower_async.service import Status
from watchtower_async.settings import Settings
from watchtower_async.updates.schedule import Schedule
from watchtower_async.web.control import Health
from watchtower_async.web.health import HealthRoutes
from watchtower_async.web.history import History
from watchtower_async.web.live import Live
from watchtower_async.web.quarantine import Quarantine, QuarantineRoutes
from watchtower_async.web.rollouts import RolloutRoutes
from watchtower_async.web.route import Routes

if TYPE_CHECKING:
    from watchtower_async.telemetry.metrics import Metrics


class Outlets:
    """The outlets of one process."""

    def __init__(self, *, settings: Settings, status: Status, schedule: Schedule | None) -> None:
        """`status` is the service's, and `schedule` that of its timetable. Needs a running loop."""
        self._settings = settings
        self._quarantine: Quarantine | None = None
        self._desk = Desk()
        self._vitals = ServiceVitals(status=status, schedule=schedule, ping=self._desk.ping)
        self._health = HealthRoutes(status=self._vitals)
        self._history = History()
        self._live = Live(session_settings=lambda: session_settings(settings))
        self._metrics = _make_metrics(self._count_quarantined)
        self._subjects: tuple[Routes, ...] = ()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return who listens to events."""
        return (self._history, self._live, self._metrics, self._vitals)

    @property
    def registry_listener(self) -> RegistryListener:
        """Return who listens to what registries answer."""
        return self._metrics

    def connect(self, *, quarantine: Quarantine, announcer: Announcer) -> tuple[Routes, ...]:
        """Return the routes, for the control socket; TCP has those of them that are switched on."""
        from watchtower_async.web.api import Api, ApiLimits  # noqa: PLC0415 - it loads the server

        given = self._settings.http_api
        self._quarantine = quarantine
        api = Api(
            updates=self._desk,
            views=self._desk,
            history=self._history,
            live=self._live,
            metrics=self._metrics,
            limits=ApiLimits(
                update_seconds=given.update_timeout.total_seconds(), check_seconds=given.check_timeout.total_seconds()
            ),
        )
        quarantined = QuarantineRoutes(quarantine=quarantine, announcer=announcer)
        self._subjects = (api, self._health, quarantined, RolloutRoutes(rollouts=self._desk))
        return self._subjects

    async def health(self) -> Health:
        """Return the answer for `--health-check`."""
        return await self._health.health()

    def opened_for(self, work: Work) -> AbstractContextManager[None]:
        """Hand requests over while the context is open."""
        return self._desk.opened_for(work)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[ApiOutlet]:
        """Answer over TCP while the context is open, where the settings ask for it. A single session has no API."""
        if self._settings.schedule.run_once:
            yield ApiOutlet()
            return
        async with api_outlet(self._settings.http_api, self._subjects) as outlet:
            yield outlet

    def _count_quarantined(self) -> int:
        entries = () if self._quarantine is None else self._quarantine.quarantined
        return len({entry.digest for entry in entries})


def _make_metrics(quarantined: Callable[[], int]) -> Metrics:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - a plan counts nothing

    from watchtower_async.telemetry.metrics import Metrics  # noqa: PLC0415

    return Metrics(registry=CollectorRegistry(), quarantined=quarantined)
