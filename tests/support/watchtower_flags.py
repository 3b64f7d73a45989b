"""One use of each of Watchtower's flags: a text for it and what it means."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from watchtower_async.settings import Option, declared_options

# Long flag, text, value. A switch has an empty text on the command line.
USES: tuple[tuple[str, str, Any], ...] = (
    ("--host", "tcp://engine:2375", "tcp://engine:2375"),
    ("--tlsverify", "true", True),
    ("--api-version", "1.44", "1.44"),
    ("--cert-path", "/certs", Path("/certs")),
    ("--interval", "300", timedelta(minutes=5)),
    ("--schedule", "0 0 4 * * *", "0 0 4 * * *"),
    ("--update-on-start", "true", True),
    ("--run-once", "true", True),
    ("--porcelain", "v1", "v1"),
    ("--no-startup-message", "true", True),
    ("--self-update-orchestrator", "true", True),
    ("--label-enable", "true", True),
    ("--disable-containers", "web,db", ("web", "db")),
    ("--scope", "prod", "prod"),
    ("--include-stopped", "true", True),
    ("--include-restarting", "true", True),
    ("--revive-stopped", "true", True),
    ("--monitor-image-names", "nginx:.*", ("nginx:.*",)),
    ("--skip-image-names", "redis:7", ("redis:7",)),
    ("--enable-containers-by-label", "team=a", (("team", "a"),)),
    ("--disable-containers-by-label", "team=b", (("team", "b"),)),
    ("--cleanup", "true", True),
    ("--no-pull", "true", True),
    ("--no-restart", "true", True),
    ("--monitor-only", "true", True),
    ("--rolling-restart", "true", True),
    ("--stop-timeout", "45s", timedelta(seconds=45)),
    ("--remove-volumes", "true", True),
    ("--label-take-precedence", "true", True),
    ("--cooldown-delay", "1w2d", timedelta(days=9)),
    ("--cooldown-platform-os", "linux", "linux"),
    ("--cooldown-platform-arch", "arm64", "arm64"),
    ("--cooldown-platform-variant", "v8", "v8"),
    ("--use-compose-depends-on", "false", False),
    ("--ephemeral-self-update", "true", True),
    ("--enable-lifecycle-hooks", "true", True),
    ("--lifecycle-uid", "1000", 1000),
    ("--lifecycle-gid", "1000", 1000),
    ("--disable-memory-swappiness", "true", True),
    ("--cpu-copy-mode", "none", "none"),
    ("--warn-on-head-failure", "never", "never"),
    ("--registry-tls-skip", "true", True),
    ("--registry-tls-min-version", "TLS1.3", "tls1.3"),
    ("--repo-user", "user", "user"),
    ("--repo-pass", "pa$s:word#1", "pa$s:word#1"),
    ("--docker-config", "/logins", Path("/logins")),
    ("--http-api-update", "true", True),
    ("--http-api-metrics", "true", True),
    ("--http-api-containers", "true", True),
    ("--http-api-token", "tok'en\"1", "tok'en\"1"),
    ("--http-api-periodic-polls", "true", True),
    ("--http-api-endpoints", "update,metrics", ("update", "metrics")),
    ("--http-api-host", "127.0.0.1", "127.0.0.1"),
    ("--http-api-port", "8090", 8090),
    ("--http-api-events-token", "events", "events"),
    ("--http-api-rate-limit", "10", 10),
    ("--http-api-tls-cert", "/tls/cert.pem", Path("/tls/cert.pem")),
    ("--http-api-tls-key", "/tls/key.pem", Path("/tls/key.pem")),
    ("--http-api-trusted-proxies", "10.0.0.0/8", ("10.0.0.0/8",)),
    ("--http-api-proxy-header", "X-Real-IP", "X-Real-IP"),
    ("--http-api-cors-origins", "https://a.example", ("https://a.example",)),
    ("--http-api-check-timeout", "2m", timedelta(minutes=2)),
    ("--http-api-update-timeout", "90s", timedelta(seconds=90)),
    ("--notification-url", "discord://token@123", ("discord://token@123",)),
    ("--notifications", "shoutrrr", ("shoutrrr",)),
    ("--notifications-level", "warn", "warn"),
    ("--notifications-delay", "5", timedelta(seconds=5)),
    ("--notifications-hostname", "nas", "nas"),
    ("--notification-template", "{{range .}}{{.Message}}{{end}}", "{{range .}}{{.Message}}{{end}}"),
    ("--notification-template-file", "/template", Path("/template")),
    ("--notification-report", "true", True),
    ("--notification-title-tag", "prod", "prod"),
    ("--notification-skip-title", "true", True),
    ("--notification-log-stdout", "true", True),
    ("--notification-split-by-container", "true", True),
    ("--notification-email-from", "a@example.com", "a@example.com"),
    ("--notification-email-to", "b@example.com", "b@example.com"),
    ("--notification-email-server", "mail.example.com", "mail.example.com"),
    ("--notification-email-server-port", "587", 587),
    ("--notification-email-server-user", "mailer", "mailer"),
    ("--notification-email-server-password", "p@ss", "p@ss"),
    ("--notification-email-server-tls-skip-verify", "true", True),
    ("--notification-email-delay", "3", timedelta(seconds=3)),
    ("--notification-email-subjecttag", "tag", "tag"),
    (
        "--notification-slack-hook-url",
        "https://hooks.slack.com/services/A/B/C",
        "https://hooks.slack.com/services/A/B/C",
    ),
    ("--notification-slack-identifier", "nas", "nas"),
    ("--notification-slack-channel", "#ops", "#ops"),
    ("--notification-slack-icon-emoji", ":whale:", ":whale:"),
    ("--notification-slack-icon-url", "https://a.example/i.png", "https://a.example/i.png"),
    ("--notification-msteams-hook", "https://a.example/hook", "https://a.example/hook"),
    ("--notification-msteams-data", "true", True),
    ("--notification-gotify-url", "https://gotify.example", "https://gotify.example"),
    ("--notification-gotify-token", "token", "token"),
    ("--notification-gotify-tls-skip-verify", "true", True),
    ("--log-level", "debug", "debug"),
    ("--log-format", "json", "json"),
    ("--debug", "true", True),
    ("--trace", "true", True),
    ("--no-color", "true", True),
    ("--time-zone", "Europe/Berlin", "Europe/Berlin"),
)

OURS = frozenset(
    {
        "--jitter", "--update-window", "--exit-code", "--min-free", "--insecure-registries", "--repo-registries",
        "--state-dir", "--heartbeat-url", "--update-schedule",
    }
)  # fmt: skip
"""Options that Watchtower does not have, besides those for rollouts."""

COMPANIONS = {
    "--http-api-update": {"WATCHTOWER_HTTP_API_TOKEN": "t"},
    "--http-api-metrics": {"WATCHTOWER_HTTP_API_TOKEN": "t"},
    "--http-api-containers": {"WATCHTOWER_HTTP_API_TOKEN": "t"},
    "--http-api-endpoints": {"WATCHTOWER_HTTP_API_TOKEN": "t"},
    "--http-api-tls-cert": {"WATCHTOWER_HTTP_API_TLS_KEY": "/k"},
    "--http-api-tls-key": {"WATCHTOWER_HTTP_API_TLS_CERT": "/c"},
}
"""What must be set beside an option, or the settings are refused."""


def option_named(flag: str) -> Option:
    """Return the declaration of a flag."""
    return next(option for option in declared_options() if option.name == flag)
