"""Takes requests from the moment a socket is open, and hands them to those who carry them out once these are there.

The control socket decides who is *the* updater, so it is open before an engine is. Until then, and once the updater
ends, a request gets a reason instead of an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from watchtower_async.errors import WatchtowerError
from watchtower_async.rollout.rollouts import RolloutView
from watchtower_async.web.ports import (
    AlreadyRunning,
    CheckedContainer,
    ConfigView,
    ContainerView,
    ImageView,
    SessionResult,
    Unavailable,
    Updates,
    Views,
)
from watchtower_async.web.rollouts import RolloutControl

STARTING = "the updater is starting"
ENDING = "the updater is stopping"


class NotAtWorkError(WatchtowerError):
    """There is no engine yet, or none any more."""

    transient = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Those who carry requests out."""

    updates: Updates
    views: Views
    rollouts: RolloutControl
    ping: Callable[[], Awaitable[object]]
    """Asks the engine for a sign of life. Raises EngineError."""


class Desk:
    """Is `Updates`, `Views` and `RolloutControl` for as long as the process lives."""

    def __init__(self) -> None:
        self._work: Work | None = None
        self._absence = STARTING

    @contextmanager
    def opened_for(self, work: Work) -> Iterator[None]:
        """Hand requests over while the context is open. It is opened once."""
        self._work = work
        try:
            yield
        finally:
            self._work, self._absence = None, ENDING

    async def ping(self) -> None:
        """Ask the engine for a sign of life. Raises EngineError, and NotAtWorkError."""
        await self._open_work().ping()

    # ---- sessions ----------------------------------------------------------------------------------------------

    async def request_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> SessionResult | AlreadyRunning | Unavailable:
        """Have a session run, and return how it ended."""
        if self._work is None:
            return Unavailable(self._absence)
        return await self._work.updates.request_session(images, names, wait)

    def begin_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> AlreadyRunning | Unavailable | None:
        """Have a session run, and return at once."""
        if self._work is None:
            return Unavailable(self._absence)
        return self._work.updates.begin_session(images, names, wait)

    # ---- views -------------------------------------------------------------------------------------------------

    async def check(self, images: tuple[str, ...], names: tuple[str, ...]) -> tuple[CheckedContainer, ...]:
        """Ask registries about containers. Raises WatchtowerError."""
        return await self._open_work().views.check(images, names)

    async def containers(self) -> tuple[ContainerView, ...]:
        """Return the containers of the engine. Raises WatchtowerError."""
        return await self._open_work().views.containers()

    async def images(self) -> tuple[ImageView, ...]:
        """Return the images that containers use. Raises WatchtowerError."""
        return await self._open_work().views.images()

    def config(self) -> ConfigView:
        """Return the settings. Raises NotAtWorkError."""
        return self._open_work().views.config()

    # ---- rollouts ----------------------------------------------------------------------------------------------

    @property
    def views(self) -> tuple[RolloutView, ...]:
        """Return where the open rollouts stand. Raises NotAtWorkError."""
        return self._open_work().rollouts.views

    def pause(self, rollout: str, reason: str) -> RolloutView:
        """Let nothing new begin. Raises IllegalTransitionError where that is not possible, and NotAtWorkError."""
        return self._open_work().rollouts.pause(rollout, reason)

    def resume(self, rollout: str) -> RolloutView:
        """Let a paused rollout go on. Raises as `pause` does."""
        return self._open_work().rollouts.resume(rollout)

    def abandon(self, rollout: str, reason: str) -> RolloutView:
        """Give a rollout up. Raises as `pause` does."""
        return self._open_work().rollouts.abandon(rollout, reason)

    def _open_work(self) -> Work:
        if self._work is None:
            raise NotAtWorkError(f"{self._absence}: try again in a moment")
        return self._work
