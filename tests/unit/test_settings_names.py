"""Every flag and variable of Watchtower is there, under its names and with its default."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from watchtower_async.settings import LogFormat, LogLevel, Option, build_settings, declared_options

W = "WATCHTOWER_"

# Long flag, short flag, variable, default. Where the two programs of that name differ, what a drop-in has to take.
NAMES: tuple[tuple[str, str, str, Any], ...] = (
    ("--host", "-H", "DOCKER_HOST", None),
    ("--tlsverify", "-v", "DOCKER_TLS_VERIFY", False),
    ("--api-version", "-a", "DOCKER_API_VERSION", ""),
    ("--cert-path", "", "DOCKER_CERT_PATH", None),
    ("--interval", "-i", W + "POLL_INTERVAL", timedelta(seconds=86400)),
    ("--schedule", "-s", W + "SCHEDULE", ""),
    ("--update-on-start", "", W + "UPDATE_ON_START", False),
    ("--run-once", "-R", W + "RUN_ONCE", False),
    ("--porcelain", "-P", W + "PORCELAIN", None),
    ("--no-startup-message", "", W + "NO_STARTUP_MESSAGE", False),
    ("--self-update-orchestrator", "", "", False),
    ("--label-enable", "-e", W + "LABEL_ENABLE", False),
    ("--disable-containers", "-x", W + "DISABLE_CONTAINERS", ()),
    ("--scope", "", W + "SCOPE", ""),
    ("--include-stopped", "-S", W + "INCLUDE_STOPPED", False),
    ("--include-restarting", "", W + "INCLUDE_RESTARTING", False),
    ("--revive-stopped", "", W + "REVIVE_STOPPED", False),
    ("--monitor-image-names", "", W + "MONITOR_IMAGE_NAMES", ()),
    ("--skip-image-names", "", W + "SKIP_IMAGE_NAMES", ()),
    ("--enable-containers-by-label", "", W + "ENABLE_CONTAINERS_BY_LABEL", ()),
    ("--disable-containers-by-label", "", W + "DISABLE_CONTAINERS_BY_LABEL", ()),
    ("--cleanup", "-c", W + "CLEANUP", False),
    ("--no-pull", "", W + "NO_PULL", False),
    ("--no-restart", "", W + "NO_RESTART", False),
    ("--monitor-only", "-m", W + "MONITOR_ONLY", False),
    ("--rolling-restart", "", W + "ROLLING_RESTART", False),
    ("--stop-timeout", "-t", W + "TIMEOUT", timedelta(seconds=10)),
    ("--remove-volumes", "", W + "REMOVE_VOLUMES", False),
    ("--label-take-precedence", "", W + "LABEL_TAKE_PRECEDENCE", False),
    ("--cooldown-delay", "", W + "COOLDOWN_DELAY", timedelta(0)),
    ("--cooldown-platform-os", "", W + "COOLDOWN_PLATFORM_OS", ""),
    ("--cooldown-platform-arch", "", W + "COOLDOWN_PLATFORM_ARCH", ""),
    ("--cooldown-platform-variant", "", W + "COOLDOWN_PLATFORM_VARIANT", ""),
    ("--use-compose-depends-on", "", W + "USE_COMPOSE_DEPENDS_ON", True),
    ("--ephemeral-self-update", "", W + "EPHEMERAL_SELF_UPDATE", False),
    ("--enable-lifecycle-hooks", "", W + "LIFECYCLE_HOOKS", False),
    ("--lifecycle-uid", "", W + "LIFECYCLE_UID", 0),
    ("--lifecycle-gid", "", W + "LIFECYCLE_GID", 0),
    ("--disable-memory-swappiness", "", W + "DISABLE_MEMORY_SWAPPINESS", False),
    ("--cpu-copy-mode", "", W + "CPU_COPY_MODE", "auto"),
    ("--warn-on-head-failure", "", W + "WARN_ON_HEAD_FAILURE", "auto"),
    ("--registry-tls-skip", "", W + "REGISTRY_TLS_SKIP", False),
    ("--registry-tls-min-version", "", W + "REGISTRY_TLS_MIN_VERSION", "tls1.2"),
    ("--repo-user", "", "REPO_USER", ""),
    ("--repo-pass", "", "REPO_PASS", ""),
    ("--docker-config", "", "DOCKER_CONFIG", None),
    ("--http-api-update", "", W + "HTTP_API_UPDATE", False),
    ("--http-api-metrics", "", W + "HTTP_API_METRICS", False),
    ("--http-api-token", "", W + "HTTP_API_TOKEN", ""),
    ("--http-api-periodic-polls", "", W + "HTTP_API_PERIODIC_POLLS", False),
    ("--http-api-endpoints", "", W + "HTTP_API_ENDPOINTS", ()),
    ("--http-api-containers", "", W + "HTTP_API_CONTAINERS", False),
    ("--http-api-host", "", W + "HTTP_API_HOST", ""),
    ("--http-api-port", "", W + "HTTP_API_PORT", 8080),
    ("--http-api-events-token", "", W + "HTTP_API_EVENTS_TOKEN", ""),
    ("--http-api-rate-limit", "", W + "HTTP_API_RATE_LIMIT", 60),
    ("--http-api-tls-cert", "", W + "HTTP_API_TLS_CERT", None),
    ("--http-api-tls-key", "", W + "HTTP_API_TLS_KEY", None),
    ("--http-api-trusted-proxies", "", W + "HTTP_API_TRUSTED_PROXIES", ()),
    ("--http-api-proxy-header", "", W + "HTTP_API_PROXY_HEADER", "X-Forwarded-For"),
    ("--http-api-cors-origins", "", W + "HTTP_API_CORS_ORIGINS", ()),
    ("--http-api-check-timeout", "", W + "HTTP_API_CHECK_TIMEOUT", timedelta(minutes=5)),
    ("--http-api-update-timeout", "", W + "HTTP_API_UPDATE_TIMEOUT", timedelta(minutes=10)),
    ("--notification-url", "", W + "NOTIFICATION_URL", ()),
    ("--notifications", "-n", W + "NOTIFICATIONS", ()),
    ("--notifications-level", "", W + "NOTIFICATIONS_LEVEL", LogLevel.INFO),
    ("--notifications-delay", "", W + "NOTIFICATIONS_DELAY", timedelta(0)),
    ("--notifications-hostname", "", W + "NOTIFICATIONS_HOSTNAME", ""),
    ("--notification-template", "", W + "NOTIFICATION_TEMPLATE", ""),
    ("--notification-template-file", "", W + "NOTIFICATION_TEMPLATE_FILE", None),
    ("--notification-report", "", W + "NOTIFICATION_REPORT", False),
    ("--notification-title-tag", "", W + "NOTIFICATION_TITLE_TAG", ""),
    ("--notification-skip-title", "", W + "NOTIFICATION_SKIP_TITLE", False),
    ("--notification-log-stdout", "", W + "NOTIFICATION_LOG_STDOUT", False),
    ("--notification-split-by-container", "", W + "NOTIFICATION_SPLIT_BY_CONTAINER", False),
    ("--notification-email-from", "", W + "NOTIFICATION_EMAIL_FROM", ""),
    ("--notification-email-to", "", W + "NOTIFICATION_EMAIL_TO", ""),
    ("--notification-email-server", "", W + "NOTIFICATION_EMAIL_SERVER", ""),
    ("--notification-email-server-port", "", W + "NOTIFICATION_EMAIL_SERVER_PORT", 25),
    ("--notification-email-server-user", "", W + "NOTIFICATION_EMAIL_SERVER_USER", ""),
    ("--notification-email-server-password", "", W + "NOTIFICATION_EMAIL_SERVER_PASSWORD", ""),
    ("--notification-email-server-tls-skip-verify", "", W + "NOTIFICATION_EMAIL_SERVER_TLS_SKIP_VERIFY", False),
    ("--notification-email-delay", "", W + "NOTIFICATION_EMAIL_DELAY", timedelta(0)),
    ("--notification-email-subjecttag", "", W + "NOTIFICATION_EMAIL_SUBJECTTAG", ""),
    ("--notification-slack-hook-url", "", W + "NOTIFICATION_SLACK_HOOK_URL", ""),
    ("--notification-slack-identifier", "", W + "NOTIFICATION_SLACK_IDENTIFIER", "watchtower"),
    ("--notification-slack-channel", "", W + "NOTIFICATION_SLACK_CHANNEL", ""),
    ("--notification-slack-icon-emoji", "", W + "NOTIFICATION_SLACK_ICON_EMOJI", ""),
    ("--notification-slack-icon-url", "", W + "NOTIFICATION_SLACK_ICON_URL", ""),
    ("--notification-msteams-hook", "", W + "NOTIFICATION_MSTEAMS_HOOK_URL", ""),
    ("--notification-msteams-data", "", W + "NOTIFICATION_MSTEAMS_USE_LOG_DATA", False),
    ("--notification-gotify-url", "", W + "NOTIFICATION_GOTIFY_URL", ""),
    ("--notification-gotify-token", "", W + "NOTIFICATION_GOTIFY_TOKEN", ""),
    ("--notification-gotify-tls-skip-verify", "", W + "NOTIFICATION_GOTIFY_TLS_SKIP_VERIFY", False),
    ("--log-level", "", W + "LOG_LEVEL", LogLevel.INFO),
    ("--log-format", "-l", W + "LOG_FORMAT", LogFormat.AUTO),
    ("--debug", "-d", W + "DEBUG", False),
    ("--trace", "", W + "TRACE", False),
    ("--no-color", "", "NO_COLOR", False),
)  # fmt: skip

SECRETS = {
    "--repo-user", "--repo-pass", "--http-api-token", "--http-api-events-token", "--notification-url",
    "--notification-email-server-password", "--notification-slack-hook-url", "--notification-msteams-hook",
    "--notification-gotify-token", "--heartbeat-url",
}  # fmt: skip
"""Whose value is never shown, and may be in a file."""


def option_called(flag: str) -> Option:
    """Return the option with this long flag."""
    return next(option for option in declared_options() if option.name == flag)


@pytest.mark.parametrize(("flag", "short", "variable", "default"), NAMES, ids=[name[0] for name in NAMES])
def test_option_has_the_names_and_default_that_people_know(flag: str, short: str, variable: str, default: Any) -> None:
    """Long flag, short flag, variable, default."""
    option = option_called(flag)
    group, _, field = option.key.partition(".")
    value = getattr(getattr(build_settings(command_line={}, environ={}), group), field)
    assert (flag, short, variable) == (option.name, "".join(option.flags[1:]), option.env)
    assert (default, default) == (value, option.default)


def test_secrets_are_exactly_those() -> None:
    """A secret that is not marked would be shown; a path that is marked would be read."""
    assert {option.name for option in declared_options() if option.is_secret} == SECRETS


def test_time_zone_is_that_of_the_process() -> None:
    """`TZ`, as everywhere."""
    assert build_settings(command_line={}, environ={"TZ": "Europe/Berlin"}).schedule.time_zone == "Europe/Berlin"
