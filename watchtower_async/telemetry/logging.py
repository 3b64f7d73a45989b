"""Log set-up: one line per fact on standard error, as people or programs want it.

Events have constant identifiers (`replacement.updated`) with values as keys. `msg` holds the sentence for people, from
`sentences.py`. The forms are those of the original Watchtower, with its names for keys and levels:

- `logfmt`: time, level, sentence, then the values as they were given; quoted where a value needs it
- `json`: an object per line
- `pretty`: for people, with colours in a terminal unless those are not wanted (https://no-color.org)
- `auto`: pretty in a terminal, logfmt everywhere else, and where colours are not wanted

A line is a line: what registries and programs say cannot begin another one, nor send commands to a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO, cast

from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.telemetry.hidden_module import hidden_module
from watchtower_async.telemetry.redaction import Redactor
from watchtower_async.telemetry.sentences import legacy_sentence, log_sentence

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
_FIRST = ("time", "level", "msg")
_TRACEBACK = "traceback"
_UNQUOTED = re.compile(r"[A-Za-z0-9\-._/@^+]+", re.ASCII)
"""What the original Watchtower writes without quotation marks."""


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """One line of the log, redacted, for who tells it on: a notification."""

    identifier: str
    level: str
    """`debug`, `info`, `warning` or `error`."""
    time: datetime
    message: str
    """The sentence for those who see nothing but it."""
    values: Mapping[str, object] = field(default_factory=dict)


def configure_logging(
    settings: LogSettings,
    *,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    listener: Callable[[LoggedEntry], None] | None = None,
) -> None:
    """Set structlog up, by default for standard error. Called once, by the entry point.

    `secrets` are masked wherever they stand. `listener` hears every entry that is written; it must not raise, nor log.
    """
    stream = stream or sys.stderr
    hear = [] if listener is None else [_heard_by(listener)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True, key="time"),
            _without_locals,
            _with_sentence,
            Redactor(secrets),
            *hear,
            _without_legacy_sentence,
            _renderer(settings, stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _renderer(settings: LogSettings, stream: TextIO) -> structlog.typing.Processor:
    is_coloured = stream.isatty() and not settings.no_color
    match settings.format:
        case LogFormat.JSON:
            return cast("structlog.typing.Processor", structlog.processors.JSONRenderer())
        case LogFormat.PRETTY:
            return _coloured if is_coloured else _plain
        case LogFormat.AUTO if is_coloured:
            return _coloured
        case _:
            return _logfmt


_LEGACY = "legacy_sentence"


def _with_sentence(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    identifier = str(event.pop("event", ""))
    event["msg"] = log_sentence(identifier, event)
    event[_LEGACY] = legacy_sentence(identifier, event)
    event["event"] = identifier
    if event.get("level") == "critical":
        event["level"] = "error"
    return event


def _without_legacy_sentence(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    del event[_LEGACY]
    return event


def _heard_by(listener: Callable[[LoggedEntry], None]) -> structlog.typing.Processor:
    not_values = {*_FIRST, _LEGACY, "event"}

    def hear(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        listener(
            LoggedEntry(
                identifier=event["event"],
                level=event["level"],
                time=datetime.fromisoformat(event["time"]).astimezone(UTC),
                message=event[_LEGACY],
                values={key: value for key, value in event.items() if key not in not_values},
            )
        )
        return event

    return hear


def _without_locals(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Render a traceback without the values of local variables, which may be secrets."""
    error = event.pop("exc_info", None)
    if error:
        import traceback  # noqa: PLC0415 - only a bug needs it

        shown = error if isinstance(error, BaseException) else sys.exception()
        event[_TRACEBACK] = "".join(traceback.format_exception(shown, limit=30)).rstrip()
    return event


def _logfmt(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    ordered = {key: event.pop(key) for key in _FIRST if key in event} | dict(event)
    return " ".join(f"{_key(key)}={_quoted(_text(value))}" for key, value in ordered.items() if value is not None)


def _key(key: str) -> str:
    return re.sub(r"[^\w.\-]", "_", key)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _quoted(text: str) -> str:
    """Quote a text unless it is one that the original Watchtower leaves as it is."""
    if _UNQUOTED.fullmatch(text):
        return text
    return '"' + _printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _printable(text: str) -> str:
    """Write what would move the cursor, or do worse, in a form that can be read."""
    return "".join(letter if letter.isprintable() else _ESCAPES.get(letter, f"\\u{ord(letter):04x}") for letter in text)


_ESCAPES: Mapping[str, str] = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_COLOURS: Mapping[str, str] = {"error": "\033[31m", "warning": "\033[33m", "info": "\033[32m", "debug": "\033[2m"}
_NO_COLOURS: Mapping[str, str] = {}
_SHORT_LEVELS: Mapping[str, str] = {"warning": "WARN"}


def _plain(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _pretty(event, _NO_COLOURS, "")


def _coloured(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _pretty(event, _COLOURS, "\033[0m")


def _pretty(event: MutableMapping[str, Any], colours: Mapping[str, str], end: str) -> str:
    level = str(event.pop("level", "info"))
    clock = str(event.pop("time", ""))[11:19]
    message = _printable(str(event.pop("msg", "")))
    traceback = str(event.pop(_TRACEBACK, ""))
    event.pop("event", None)
    colour = colours.get(level, "")
    shown = {key: _text(value) for key, value in event.items() if value not in (None, "", ())}
    pairs = "  ".join(f"{_key(key)}={_printable(value)}" for key, value in shown.items())
    line = f"{clock} {colour}{_SHORT_LEVELS.get(level, level.upper()):5}{end} {message}  {pairs}".rstrip()
    return "\n".join([line, *(f"  {_printable(part)}" for part in traceback.splitlines())])
