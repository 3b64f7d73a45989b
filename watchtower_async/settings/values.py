"""The words that an option may have for its value."""

from __future__ import annotations

from enum import StrEnum


class LogLevel(StrEnum):
    """Levels by Watchtower's names; `panic` and `fatal` show what `error` shows, `trace` what `debug` shows."""

    PANIC = "panic"
    FATAL = "fatal"
    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


class LogFormat(StrEnum):
    """How a log line is written."""

    AUTO = "auto"
    PRETTY = "pretty"
    LOGFMT = "logfmt"
    JSON = "json"


class Order(StrEnum):
    """Which of the two containers of a replacement comes first."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"
    AUTO = "auto"
    """Start-first where nothing speaks against it."""


class FailureAction(StrEnum):
    """What a rollout does when more of it failed than its policy allows."""

    PAUSE = "pause"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


class Porcelain(StrEnum):
    """Which stable report for programs is written to standard output."""

    V1 = "v1"
    JSON = "json"


class CpuCopyMode(StrEnum):
    """Which CPU limits of a predecessor its successor gets."""

    AUTO = "auto"
    """All, but on Podman not the one that it refuses together with others."""
    FULL = "full"
    NONE = "none"


class HeadWarning(StrEnum):
    """When Watchtower warns that a registry did not answer a HEAD request."""

    ALWAYS = "always"
    AUTO = "auto"
    NEVER = "never"


class TlsVersion(StrEnum):
    """The oldest TLS that is spoken with a registry."""

    TLS1_2 = "tls1.2"
    TLS1_3 = "tls1.3"


class Endpoint(StrEnum):
    """A part of the HTTP API that can be switched on."""

    ALL = "all"
    HEALTH = "health"
    UPDATE = "update"
    METRICS = "metrics"
    CONTAINERS = "containers"
    CHECK = "check"
    HISTORY = "history"
    IMAGES = "images"
    CONFIG = "config"
    EVENTS = "events"
    SWAGGER = "swagger"
    QUARANTINE = "quarantine"
    ROLLOUTS = "rollouts"


class NotificationType(StrEnum):
    """A kind of notification that has options of its own, from the time before URLs."""

    EMAIL = "email"
    SLACK = "slack"
    MSTEAMS = "msteams"
    GOTIFY = "gotify"
    SHOUTRRR = "shoutrrr"
    """Only what the URLs name."""
