"""All settings groups, and the options that they declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from watchtower_async.settings.containers import HookSettings, RolloutSettings, SelectionSettings, UpdateSettings
from watchtower_async.settings.http_api import HttpApiSettings
from watchtower_async.settings.notice import Notice
from watchtower_async.settings.notifications import (
    EmailSettings,
    GotifySettings,
    MsTeamsSettings,
    NotificationSettings,
    SlackSettings,
)
from watchtower_async.settings.option import Option, options_of
from watchtower_async.settings.registries import RegistrySettings
from watchtower_async.settings.running import EngineSettings, LogSettings, ScheduleSettings, StateSettings

GROUPS: Mapping[str, type[Any]] = {
    "engine": EngineSettings,
    "schedule": ScheduleSettings,
    "selection": SelectionSettings,
    "update": UpdateSettings,
    "rollout": RolloutSettings,
    "hooks": HookSettings,
    "registry": RegistrySettings,
    "http_api": HttpApiSettings,
    "notification": NotificationSettings,
    "email": EmailSettings,
    "slack": SlackSettings,
    "msteams": MsTeamsSettings,
    "gotify": GotifySettings,
    "log": LogSettings,
    "state": StateSettings,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All groups, and the positional names."""

    names: tuple[str, ...] = ()
    engine: EngineSettings = EngineSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    selection: SelectionSettings = SelectionSettings()
    update: UpdateSettings = UpdateSettings()
    rollout: RolloutSettings = RolloutSettings()
    hooks: HookSettings = HookSettings()
    registry: RegistrySettings = RegistrySettings()
    http_api: HttpApiSettings = HttpApiSettings()
    notification: NotificationSettings = NotificationSettings()
    email: EmailSettings = EmailSettings()
    slack: SlackSettings = SlackSettings()
    msteams: MsTeamsSettings = MsTeamsSettings()
    gotify: GotifySettings = GotifySettings()
    log: LogSettings = LogSettings()
    state: StateSettings = StateSettings()
    notices: tuple[Notice, ...] = ()
    """What is to be said about these settings, once, at the start."""


def declared_options() -> Iterator[Option]:
    """Yield every option in the order of declaration, with `key` (`group.field`) and group title filled in."""
    for name, group in GROUPS.items():
        yield from options_of(name, group)
