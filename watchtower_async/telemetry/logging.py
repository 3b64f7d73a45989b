"""Log set-up: one line per fact on standard error, as people or programs want it.

Events have constant identifiers (`replacement.updated`) with values as keys. `msg` holds the sentence for people; where
Watchtower has a sentence for the same fact it is that one, so that scripts which read it go on working.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.telemetry.hidden_module import hidden_module
from watchtower_async.telemetry.redaction import redact_event

# It would import rich for tracebacks that we do not use, which costs more time and memory than all the rest of it. Can
# go when it imports rich only to render.
with hidden_module("rich"):
    import structlog

_LEVELS: Mapping[LogLevel, int] = {
    LogLevel.PANIC: logging.ERROR,
    LogLevel.FATAL: logging.ERROR,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARN: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.TRACE: logging.DEBUG,
}

_SENTENCES: Mapping[str, str] = {
    "session.started": "Session begins",
    "session.finished": "Session done",
    "session.failed": "Session could not be finished",
    "container.newer_image_found": "Found new image",
    "container.left_alone": "Container is left alone",
    "container.unknown": "Unable to check container",
    "container.refused": "Container has a newer image but cannot be re-created as it is",
    "container.up_to_date": "Container is up to date",
    "replacement.started": "Replacing container",
    "replacement.updated": "Started new container",
    "replacement.skipped": "Container needed no replacement",
    "replacement.rolled_back": "New container failed, the old one runs again",
    "replacement.failed": "Container could not be replaced and was not changed",
    "replacement.unfinished": "Replacement is not finished, recovery goes on with it",
    "replacement.lost": "CONTAINER IS DOWN: putting it back failed, look at it now",
    "replacement.recovered": "Interrupted replacement",
    "quarantine.added": "Image is not tried again here until its tag moves or it is cleared",
    "quarantine.lifted": "Image may be tried again",
    "image.removed": "Removing image",
    "credentials.reloaded": "Credentials reloaded",
    "credentials.reload_rejected": "Credentials cannot be used as they are now",
    "credentials.recovered": "Credentials can be used again",
    "credentials.repo_login": "REPO_USER and REPO_PASS go to these registries",
    "credentials.helper_asked": "Credential helper was asked",
    "registry.credential_rejected": "Registry rejects the credential, the image can be had without one",
    "updater.started": "watchtower_async",
    "updater.degraded": "Something does not work as it should",
    "updater.stopped": "Stopped",
    "schedule.next_session": "Next scheduled run",
    "settings.no_effect": "Setting has no effect yet",
}


def configure_logging(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Set structlog up, by default for standard error. Called once, by the entry point."""
    stream = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _without_locals,
            _with_sentence,
            redact_event,
            _renderer(settings.format, stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _renderer(log_format: LogFormat, stream: TextIO) -> structlog.typing.Processor:
    is_terminal = stream.isatty()
    if log_format is LogFormat.JSON:
        return cast("structlog.typing.Processor", structlog.processors.JSONRenderer())
    if log_format is LogFormat.PRETTY or (log_format is LogFormat.AUTO and is_terminal):
        return _coloured if is_terminal else _plain
    return structlog.processors.LogfmtRenderer(key_order=["time", "level", "msg"], drop_missing=True)


def _with_sentence(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    identifier = str(event.pop("event", ""))
    event["msg"] = _SENTENCES.get(identifier, identifier)
    event["event"] = identifier
    if event.get("level") == "critical":
        event["level"] = "error"
    return event


def _without_locals(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Render a traceback without the values of local variables, which may be secrets."""
    error = event.pop("exc_info", None)
    if error:
        import traceback  # noqa: PLC0415 - only a bug needs it

        shown = error if isinstance(error, BaseException) else sys.exception()
        event["traceback"] = "".join(traceback.format_exception(shown, limit=30)).rstrip()
    return event


_COLOURS: Mapping[str, str] = {"error": "\033[31m", "warning": "\033[33m", "info": "\033[32m", "debug": "\033[2m"}
_NO_COLOURS: Mapping[str, str] = {}


def _plain(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _pretty(event, _NO_COLOURS, "")


def _coloured(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _pretty(event, _COLOURS, "\033[0m")


def _pretty(event: MutableMapping[str, Any], colours: Mapping[str, str], end: str) -> str:
    level = str(event.pop("level", "info"))
    clock = str(event.pop("time", ""))[11:19]
    message = event.pop("msg", "")
    event.pop("event", None)
    colour = colours.get(level, "")
    pairs = "  ".join(f"{key}={value}" for key, value in event.items() if value not in (None, "", ()))
    return f"{clock} {colour}{level.upper()[:5]:5}{end} {message}  {pairs}".rstrip()
