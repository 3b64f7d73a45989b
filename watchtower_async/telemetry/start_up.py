"""The start-up message: what the updater works with, in the lines and the order of the original Watchtower.

What is said is a value, made from the settings and from what was found out about engine and surroundings; saying it is
one call. Nothing in it is a secret: of a notification service its scheme is named.

Scopes follow the newer Watchtower: without one, the containers are meant that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from watchtower_async.settings import Endpoint, HttpApiSettings, SelectionSettings, Settings

_TIME_FORM = "%Y-%m-%d %H:%M:%S %z %Z"


class Mode(Enum):
    """When sessions run."""

    SCHEDULED = auto()
    ONCE = auto()
    ON_REQUEST = auto()
    """Only when somebody asks for one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log: an identifier, and values."""

    event: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the settings alone do not say."""

    version: str
    """Of this program."""
    api_version: tuple[int, int]
    """In which the engine is spoken to."""
    scope: str = ""
    """The scope that counts, from the settings or from the updater's own label; empty for none."""
    services: tuple[str, ...] = ()
    """Schemes of the notification services: `smtp`, `slack`."""
    now: datetime
    first_session: datetime | None = None
    """When the schedule comes first, in the zone in which it is meant; None where there is no schedule."""
    about: Mapping[str, object] = field(default_factory=dict)
    """Anything else that belongs into the first line, such as the engine's address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """All that the message says."""

    version: str
    api_version: tuple[int, int]
    about: Mapping[str, object]
    services: tuple[str, ...]
    filters: tuple[str, ...]
    """What narrows the choice of containers down, in words, without the scope."""
    scope: str
    mode: Mode
    first_session: datetime | None
    wait: timedelta
    """From now to then."""
    api_address: str | None
    """Where the HTTP API listens, `:8080` for all interfaces; None where it does not."""
    api_has_tls: bool
    is_silent: bool
    """Whether nothing is to be said."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return the message; nothing where it is not wanted."""
        if self.is_silent:
            return ()
        version = ".".join(map(str, self.api_version))
        return (
            Line("updater.started", {"version": self.version, "api_version": version, **self.about}),
            self._notifications(),
            self._selection(),
            *self._schedule(),
            *self._api(),
        )

    def _notifications(self) -> Line:
        if not self.services:
            return Line("notifications.none")
        return Line("notifications.used", {"services": ", ".join(self.services)})

    def _selection(self) -> Line:
        if not self.filters and not self.scope:
            return Line("selection.everything", {"scope": _scope_in_words("")})
        return Line("selection.limited", {"which": ", ".join((*self.filters, _scope_in_words(self.scope)))})

    def _schedule(self) -> Iterator[Line]:
        if self.mode is Mode.ONCE:
            yield Line("schedule.once")
        elif self.mode is Mode.ON_REQUEST or self.first_session is None:
            yield Line("schedule.none")
        else:
            yield Line("schedule.first_session", {"at": self.first_session.strftime(_TIME_FORM).rstrip()})
            yield Line("schedule.first_wait", {"wait": in_words(self.wait)})

    def _api(self) -> Iterator[Line]:
        if self.api_address is not None:
            yield Line("api.enabled", {"address": self.api_address, "tls": self.api_has_tls})


class Log(Protocol):
    """A logger, as far as it is needed."""

    def info(self, event: str, **values: object) -> object:
        """Write one entry."""


def start_up(settings: Settings, surroundings: Surroundings) -> StartUp:
    """Put the message together."""
    first = surroundings.first_session
    mode = _mode(settings)
    return StartUp(
        version=surroundings.version,
        api_version=surroundings.api_version,
        about=surroundings.about,
        services=tuple(dict.fromkeys(surroundings.services)),
        filters=tuple(_filters(settings.names, settings.selection)),
        scope="" if surroundings.scope == "none" else surroundings.scope,
        mode=mode,
        first_session=first,
        wait=timedelta(0) if first is None else max(first - surroundings.now, timedelta(0)),
        # Nobody can ask before a single session is over, so it is not switched on for one.
        api_address=None if mode is Mode.ONCE else _address(settings.http_api),
        api_has_tls=settings.http_api.tls_cert is not None,
        is_silent=settings.log.no_startup_message,
    )


def say(message: StartUp, log: Log) -> None:
    """Log the message, a line at a time."""
    for line in message.lines:
        log.info(line.event, **line.values)


def in_words(wait: timedelta) -> str:
    """Return a duration as `23 hours, 59 minutes, 59 seconds`; parts of a second are left out."""
    minutes, seconds = divmod(int(wait.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (seconds, "second")]
    shown = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    return ", ".join(shown) or "0 seconds"


def _mode(settings: Settings) -> Mode:
    if settings.schedule.run_once:
        return Mode.ONCE
    is_on_request = Endpoint.UPDATE in settings.http_api.enabled and not settings.http_api.periodic_polls
    return Mode.ON_REQUEST if is_on_request else Mode.SCHEDULED


def _address(api: HttpApiSettings) -> str | None:
    if not api.enabled:
        return None
    host = f"[{api.host}]" if ":" in api.host else api.host
    return f"{host}:{api.port}"


def _filters(names: tuple[str, ...], selection: SelectionSettings) -> Iterator[str]:
    if names:
        yield f"which name matches {_any_of(names)}"
    if selection.disable_containers:
        yield f"not named one of {_any_of(selection.disable_containers)}"
    if selection.monitor_image_names:
        yield f"which image matches {_any_of(selection.monitor_image_names)}"
    if selection.skip_image_names:
        yield f"whose image is not one of {_any_of(selection.skip_image_names)}"
    if selection.label_enable:
        yield "using enable label"
    if selection.enable_by_label:
        yield f"with label {_any_label(selection.enable_by_label)}"
    if selection.disable_by_label:
        yield f"without label {_any_label(selection.disable_by_label)}"


def _any_of(words: Iterable[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)


def _any_label(pairs: Iterable[tuple[str, str]]) -> str:
    return " or ".join(f'{key}="{value}"' if value else key for key, value in pairs)


def _scope_in_words(scope: str) -> str:
    return f'in scope "{scope}"' if scope else "without a scope"
