"""Every option, declared once: name, environment variable, type, default, help and validation.

The fields of the settings groups are the declarations. The command line, the environment reader, `--help` and the
documentation are derived from them, so adding an option means adding a field to the group that uses it. A class gets
its group, never the whole.

Precedence: command line, then environment, then default. An empty environment variable counts as unset.

Nothing that somebody sets is silent: what cannot be read is a problem, and what does nothing, is old, or is not known
becomes a notice.
"""

from __future__ import annotations

from watchtower_async.settings.build import build_settings
from watchtower_async.settings.containers import HookSettings, RolloutSettings, SelectionSettings, UpdateSettings
from watchtower_async.settings.groups import Settings, declared_options
from watchtower_async.settings.http_api import HttpApiSettings
from watchtower_async.settings.notice import Notice, NoticeKind
from watchtower_async.settings.notices import ENV_PREFIX, NOT_SETTINGS, unsupported_variables
from watchtower_async.settings.notifications import (
    EmailSettings,
    GotifySettings,
    MsTeamsSettings,
    NotificationSettings,
    SlackSettings,
)
from watchtower_async.settings.option import Option
from watchtower_async.settings.parsing import (
    one_of,
    parse_bool,
    parse_cooldown,
    parse_count,
    parse_deadline,
    parse_directory,
    parse_duration,
    parse_id,
    parse_interval,
    parse_list,
    parse_log_level,
    parse_positive_duration,
    parse_ratio,
    parse_size,
    parse_user_name,
)
from watchtower_async.settings.registries import RegistrySettings
from watchtower_async.settings.running import EngineSettings, LogSettings, ScheduleSettings, StateSettings
from watchtower_async.settings.values import (
    CpuCopyMode,
    Endpoint,
    FailureAction,
    HeadWarning,
    LogFormat,
    LogLevel,
    NotificationType,
    Order,
    Porcelain,
    TlsVersion,
)

__all__ = [
    "ENV_PREFIX",
    "NOT_SETTINGS",
    "CpuCopyMode",
    "EmailSettings",
    "Endpoint",
    "EngineSettings",
    "FailureAction",
    "GotifySettings",
    "HeadWarning",
    "HookSettings",
    "HttpApiSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "MsTeamsSettings",
    "Notice",
    "NoticeKind",
    "NotificationSettings",
    "NotificationType",
    "Option",
    "Order",
    "Porcelain",
    "RegistrySettings",
    "RolloutSettings",
    "ScheduleSettings",
    "SelectionSettings",
    "Settings",
    "SlackSettings",
    "StateSettings",
    "TlsVersion",
    "UpdateSettings",
    "build_settings",
    "declared_options",
    "one_of",
    "parse_bool",
    "parse_cooldown",
    "parse_count",
    "parse_deadline",
    "parse_directory",
    "parse_duration",
    "parse_id",
    "parse_interval",
    "parse_list",
    "parse_log_level",
    "parse_positive_duration",
    "parse_ratio",
    "parse_size",
    "parse_user_name",
    "unsupported_variables",
]
