"""Options about notifications: by URL, and the older groups for single services."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from watchtower_async.settings.option import declare
from watchtower_async.settings.parsing import (
    many_of,
    parse_bool,
    parse_csv,
    parse_list,
    parse_log_level,
    parse_path,
    parse_port,
    parse_positive_duration,
    parse_urls,
    parse_whole,
)
from watchtower_async.settings.values import LogLevel, NotificationType

_BY_URL = "--notification-url"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """Notifications"""

    urls: tuple[str, ...] = declare(
        _BY_URL, env="WATCHTOWER_NOTIFICATION_URL", default=(), parse=parse_whole, parse_env=parse_urls,
        metavar="URL", is_secret=True, help="Where to send notifications; a file holds one URL in each line.",
    )  # fmt: skip
    types: tuple[NotificationType, ...] = declare(
        "--notifications", "-n", env="WATCHTOWER_NOTIFICATIONS", default=(), parse=many_of(NotificationType, parse_csv),
        parse_env=many_of(NotificationType, parse_list), metavar="TYPES", replaced_by=_BY_URL,
        help="email, slack, msteams, gotify, shoutrrr: kinds of notifications, with the options below.",
    )  # fmt: skip
    level: LogLevel = declare(
        "--notifications-level", env="WATCHTOWER_NOTIFICATIONS_LEVEL", default=LogLevel.INFO, parse=parse_log_level,
        metavar="LEVEL", shown_default="info", help="Least level of what is notified.",
    )  # fmt: skip
    delay: timedelta = declare(
        "--notifications-delay", env="WATCHTOWER_NOTIFICATIONS_DELAY", default=timedelta(0),
        parse=parse_positive_duration, metavar="SECONDS", shown_default="0",
        help="Wait this long before each notification.",
    )  # fmt: skip
    host_name: str = declare(
        "--notifications-hostname", env="WATCHTOWER_NOTIFICATIONS_HOSTNAME", default="", metavar="NAME",
        shown_default="that of the machine", help="Name of this host in titles.",
    )  # fmt: skip
    template: str = declare(
        "--notification-template", env="WATCHTOWER_NOTIFICATION_TEMPLATE", default="", metavar="TEMPLATE",
        help="Template of the text, or the name of a built-in one.",
    )  # fmt: skip
    template_file: Path | None = declare(
        "--notification-template-file", env="WATCHTOWER_NOTIFICATION_TEMPLATE_FILE", default=None, parse=parse_path,
        metavar="FILE", help="File with the template; it wins over --notification-template.",
    )  # fmt: skip
    report: bool = declare(
        "--notification-report", env="WATCHTOWER_NOTIFICATION_REPORT", default=False, parse=parse_bool,
        help="Notify the report of a session in place of its log.",
    )  # fmt: skip
    title_tag: str = declare(
        "--notification-title-tag", env="WATCHTOWER_NOTIFICATION_TITLE_TAG", default="",
        help="Text in brackets before the title.",
    )  # fmt: skip
    skip_title: bool = declare(
        "--notification-skip-title", env="WATCHTOWER_NOTIFICATION_SKIP_TITLE", default=False, parse=parse_bool,
        help="Send no title.",
    )  # fmt: skip
    log_stdout: bool = declare(
        "--notification-log-stdout", env="WATCHTOWER_NOTIFICATION_LOG_STDOUT", default=False, parse=parse_bool,
        help="Write what goes to logger:// to standard output.",
    )  # fmt: skip
    split_by_container: bool = declare(
        "--notification-split-by-container", env="WATCHTOWER_NOTIFICATION_SPLIT_BY_CONTAINER", default=False,
        parse=parse_bool, help="Send one notification for each container.",
    )  # fmt: skip
    heartbeat_url: str = declare(
        "--heartbeat-url", env="WATCHTOWER_HEARTBEAT_URL", default="", metavar="URL", is_secret=True,
        help="URL to call after each session, as healthchecks.io takes it.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailSettings:
    """Notifications by email, older options"""

    sender: str = declare(
        "--notification-email-from", env="WATCHTOWER_NOTIFICATION_EMAIL_FROM", default="", metavar="ADDRESS",
        replaced_by=_BY_URL, help="Address of the sender.",
    )  # fmt: skip
    recipients: str = declare(
        "--notification-email-to", env="WATCHTOWER_NOTIFICATION_EMAIL_TO", default="", metavar="ADDRESSES",
        replaced_by=_BY_URL, help="Addresses of the recipients, with commas between them.",
    )  # fmt: skip
    server: str = declare(
        "--notification-email-server", env="WATCHTOWER_NOTIFICATION_EMAIL_SERVER", default="", metavar="HOST",
        replaced_by=_BY_URL, help="Mail server.",
    )  # fmt: skip
    port: int = declare(
        "--notification-email-server-port", env="WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PORT", default=25,
        parse=parse_port, metavar="PORT", shown_default="25", replaced_by=_BY_URL, help="Its port.",
    )  # fmt: skip
    user: str = declare(
        "--notification-email-server-user", env="WATCHTOWER_NOTIFICATION_EMAIL_SERVER_USER", default="",
        replaced_by=_BY_URL, help="User name there.",
    )  # fmt: skip
    password: str = declare(
        "--notification-email-server-password", env="WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PASSWORD", default="",
        is_secret=True, replaced_by=_BY_URL, help="Password there.",
    )  # fmt: skip
    tls_skip_verify: bool = declare(
        "--notification-email-server-tls-skip-verify", env="WATCHTOWER_NOTIFICATION_EMAIL_SERVER_TLS_SKIP_VERIFY",
        default=False, parse=parse_bool, replaced_by=_BY_URL, help="Do not verify its certificate.",
    )  # fmt: skip
    delay: timedelta = declare(
        "--notification-email-delay", env="WATCHTOWER_NOTIFICATION_EMAIL_DELAY", default=timedelta(0),
        parse=parse_positive_duration, metavar="SECONDS", shown_default="0", replaced_by="--notifications-delay",
        help="Wait this long before each notification; it wins over --notifications-delay.",
    )  # fmt: skip
    subject_tag: str = declare(
        "--notification-email-subjecttag", env="WATCHTOWER_NOTIFICATION_EMAIL_SUBJECTTAG", default="",
        replaced_by="--notification-title-tag",
        help="Text in brackets before the title, where there is no --notification-title-tag.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """Notifications to Slack, older options"""

    hook_url: str = declare(
        "--notification-slack-hook-url", env="WATCHTOWER_NOTIFICATION_SLACK_HOOK_URL", default="", metavar="URL",
        is_secret=True, replaced_by=_BY_URL, help="URL of the incoming web hook.",
    )  # fmt: skip
    identifier: str = declare(
        "--notification-slack-identifier", env="WATCHTOWER_NOTIFICATION_SLACK_IDENTIFIER", default="watchtower",
        metavar="NAME", shown_default="watchtower", replaced_by=_BY_URL, help="Name under which messages appear.",
    )  # fmt: skip
    channel: str = declare(
        "--notification-slack-channel", env="WATCHTOWER_NOTIFICATION_SLACK_CHANNEL", default="", metavar="NAME",
        no_effect="the web hook has its channel, as in Watchtower", help="Channel to write to.",
    )  # fmt: skip
    icon_emoji: str = declare(
        "--notification-slack-icon-emoji", env="WATCHTOWER_NOTIFICATION_SLACK_ICON_EMOJI", default="",
        replaced_by=_BY_URL, help="Emoji for the messages.",
    )  # fmt: skip
    icon_url: str = declare(
        "--notification-slack-icon-url", env="WATCHTOWER_NOTIFICATION_SLACK_ICON_URL", default="", metavar="URL",
        replaced_by=_BY_URL, help="Picture for the messages; it wins over the emoji.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MsTeamsSettings:
    """Notifications to Microsoft Teams, older options"""

    hook_url: str = declare(
        "--notification-msteams-hook", env="WATCHTOWER_NOTIFICATION_MSTEAMS_HOOK_URL", default="", metavar="URL",
        is_secret=True, replaced_by=_BY_URL, help="URL of the web hook or workflow.",
    )  # fmt: skip
    use_log_data: bool = declare(
        "--notification-msteams-data", env="WATCHTOWER_NOTIFICATION_MSTEAMS_USE_LOG_DATA", default=False,
        parse=parse_bool, no_effect="messages hold what the template says, as in Watchtower",
        help="Add the data of log entries.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GotifySettings:
    """Notifications by Gotify, older options"""

    url: str = declare(
        "--notification-gotify-url", env="WATCHTOWER_NOTIFICATION_GOTIFY_URL", default="", metavar="URL",
        replaced_by=_BY_URL, help="URL of the server.",
    )  # fmt: skip
    token: str = declare(
        "--notification-gotify-token", env="WATCHTOWER_NOTIFICATION_GOTIFY_TOKEN", default="", is_secret=True,
        replaced_by=_BY_URL, help="Token of the application there.",
    )  # fmt: skip
    tls_skip_verify: bool = declare(
        "--notification-gotify-tls-skip-verify", env="WATCHTOWER_NOTIFICATION_GOTIFY_TLS_SKIP_VERIFY", default=False,
        parse=parse_bool, no_effect="the certificate is verified, as in Watchtower",
        help="Do not verify the server's certificate.",
    )  # fmt: skip
