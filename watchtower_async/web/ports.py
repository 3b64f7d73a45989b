"""What the API asks the updater for, as values and small protocols. No I/O, and nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from watchtower_async.images.digest import Digest
from watchtower_async.updates.plan import Action, PlanItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A session in five numbers. `scanned` are the containers whose check had a result, `skipped` the others."""

    scanned: int = 0
    updated: int = 0
    failed: int = 0
    restarted: int = 0
    skipped: int = 0

    def as_json(self) -> dict[str, int]:
        """Return the form for programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """How a session that somebody asked for ended."""

    summary: Summary
    duration_seconds: float
    failure: str | None = None
    """Why it could not be carried through."""


@dataclass(frozen=True, slots=True)
class AlreadyRunning:
    """A session runs, and the asker did not want to wait for its end."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No session can be had now, because the updater begins or ends."""

    reason: str


class Updates(Protocol):
    """Has sessions run. The sessions are its own: whoever stops waiting for one does not end it.

    `images` are references as people write them, `names` regular expressions for the whole name of a container. With
    neither a session is about everything. With `wait` a session that runs is waited for.
    """

    async def request_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> SessionResult | AlreadyRunning | Unavailable:
        """Have a session run, and return how it ended."""

    def begin_session(
        self, images: tuple[str, ...], names: tuple[str, ...], wait: bool
    ) -> AlreadyRunning | Unavailable | None:
        """Have a session run, and return at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedContainer:
    """What a check found out about a container."""

    name: str
    image: str
    image_id: str
    digest: str
    update_available: bool
    latest_image_id: str = ""
    """Known only where the image is on the engine already."""
    latest_digest: str = ""
    error: str | None = None
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """A container as the API shows it."""

    name: str
    image: str
    image_id: str
    digest: str
    running: bool = True
    watchtower: bool = False
    monitor_only: bool = False
    no_pull: bool = False
    enabled: bool = True
    """Whether it is watched."""
    stale: bool = False
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image that containers use."""

    name: str
    image_id: str
    digest: str
    containers: tuple[str, ...]
    """Their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """The settings that somebody who looks at the API wants to know."""

    monitor_only: bool = False
    cleanup: bool = False
    no_pull: bool = False
    no_restart: bool = False
    rolling_restart: bool = False
    include_stopped: bool = False
    include_restarting: bool = False
    lifecycle_hooks: bool = False
    label_enable: bool = False
    filter_desc: str = ""
    scope: str = ""


class Views(Protocol):
    """Looks at the engine and at registries without changing or pulling anything. Its calls raise WatchtowerError."""

    async def check(self, images: tuple[str, ...], names: tuple[str, ...]) -> tuple[CheckedContainer, ...]:
        """Ask registries about containers, chosen as a session would."""

    async def containers(self) -> tuple[ContainerView, ...]:
        """Return the containers of the engine."""

    async def images(self) -> tuple[ImageView, ...]:
        """Return the images that containers use."""

    def config(self) -> ConfigView:
        """Return the settings."""


class Exposition(Protocol):
    """Shows metrics in the text form of Prometheus."""

    content_type: str

    def render(self) -> bytes:
        """Return them as they are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How the process is, as far as it knows without asking anybody."""

    is_started: bool
    """Whether credentials are watched and the schedule runs."""
    running_since: datetime | None = None
    """Since when a session runs."""
    last_finished: datetime | None = None
    last_failure: str | None = None
    """Why the last session could not be carried through."""
    next_session: datetime | None = None
    has_overrun: bool = False
    """Whether the last session took longer than until the next one was due."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else belongs to the answer of the health check."""


class Status(Protocol):
    """Knows how the process and its engine are."""

    def vitals(self) -> Vitals:
        """Return how the process is."""

    async def engine_problem(self) -> str | None:
        """Ask the engine for a sign of life, and return why there is none."""


def checked_containers(items: Iterable[PlanItem], *, now: datetime) -> tuple[CheckedContainer, ...]:
    """Return what a plan says about the containers that were checked."""
    return tuple(
        CheckedContainer(
            name=item.name,
            image=item.image,
            image_id=item.image_id,
            digest=_text(item.running),
            update_available=item.action in {Action.UPDATE, Action.REPORT, Action.REFUSE},
            latest_digest=_text(item.published),
            error=item.reason.text if item.action is Action.UNKNOWN else None,
            timestamp=now,
        )
        for item in items
        if item.action is not Action.LEAVE
    )


def _text(digest: Digest | None) -> str:
    return "" if digest is None else str(digest)


Clock = Callable[[], datetime]
