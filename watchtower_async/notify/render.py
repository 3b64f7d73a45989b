"""Messages made of a session: which entries count, how many messages there are, and what is sent when a template fails.

A batch is a session, or the start of the program: its entries and its report make one message (or one for each
container that something happened to). Outside of a batch each entry is a message of its own. A message without text is
not sent. Entries below the level, and those that say `notify=no`, do not count; the same line twice in a batch counts
once. With a report and the level `error` a session is only told when something failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from watchtower_async.notify.report import ContainerReport, LogEntry, Report, State, TemplateData
from watchtower_async.notify.templates import Template, built_in
from watchtower_async.settings import LogLevel

_RANKS = {
    "panic": 0, "fatal": 1, "critical": 1, "error": 2, "warn": 3, "warning": 3, "info": 4, "debug": 5, "trace": 6,
}  # fmt: skip
_QUIET = 2
"""The rank from which on only failures are told."""
MOST_ENTRIES = 2000
"""In one batch; what is logged after that is in the log only."""


class MessageKind(StrEnum):
    """How good the news is, in Apprise's words."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to every service."""

    title: str
    body: str
    kind: MessageKind = MessageKind.INFO


@dataclass(frozen=True, slots=True)
class Rendered:
    """Messages, and what was wrong with the template, if anything."""

    messages: tuple[Message, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """What a message looks like and when there is one."""

    template: Template
    is_report: bool
    title: str
    host: str
    level: LogLevel = LogLevel.INFO
    split_by_container: bool = False


def title_for(host: str, *, tag: str = "", is_skipped: bool = False) -> str:
    """Return the title of all messages of a host."""
    if is_skipped:
        return ""
    return f"{f'[{tag}] ' if tag else ''}Watchtower updates on {host}"


def counts(entry: LogEntry, level: LogLevel) -> bool:
    """Say whether an entry is for messages of this level."""
    if str(entry.data.get("notify", "")) == "no":
        return False
    return _RANKS.get(entry.level.lower(), _RANKS["info"]) <= _RANKS[str(level)]


def split_by_container(report: Report) -> tuple[Report, ...]:
    """Return one report for each container that something happened to.

    It is the only one of its state in it; containers in other states are all there, so that the numbers stay right.
    """
    return tuple(_about(report, container) for container in report.all if _is_worth_telling(container))


def render(settings: MessageSettings, entries: Iterable[LogEntry], report: Report | None) -> Rendered:
    """Make the messages of a batch, or of one entry outside of a batch."""
    kept = _without_repeats(entry for entry in entries if counts(entry, settings.level))
    if report is None or not settings.is_report:
        return _rendered(settings, kept, (report,))
    if _RANKS[str(settings.level)] <= _QUIET and not report.failed:
        return Rendered()
    reports = split_by_container(report) if settings.split_by_container else (report,)
    return _rendered(settings, kept, reports)


def _rendered(settings: MessageSettings, entries: tuple[LogEntry, ...], reports: Iterable[Report | None]) -> Rendered:
    messages: list[Message] = []
    problem = ""
    for report in reports:
        data = TemplateData(settings.title, settings.host, entries, report)
        try:
            body = settings.template.render(data)
        except ValueError as error:
            # The news matter more than their looks.
            problem = str(error)
            body = built_in("default" if settings.is_report else "default-legacy").render(data)
        if body.strip():
            messages.append(Message(settings.title, body, _kind_of(entries, report)))
    return Rendered(tuple(messages), problem)


def _kind_of(entries: tuple[LogEntry, ...], report: Report | None) -> MessageKind:
    worst = min((_RANKS.get(entry.level.lower(), _RANKS["info"]) for entry in entries), default=_RANKS["info"])
    if (report is not None and report.failed) or worst <= _RANKS["error"]:
        return MessageKind.FAILURE
    if (report is not None and report.skipped) or worst == _RANKS["warning"]:
        return MessageKind.WARNING
    return MessageKind.SUCCESS if report is not None and report.updated else MessageKind.INFO


def _is_worth_telling(container: ContainerReport) -> bool:
    if container.state is State.STALE:
        return container.is_monitor_only or container.is_cooling_down
    if container.state is State.SKIPPED:
        return container.is_cooling_down
    return container.state in {State.UPDATED, State.RESTARTED, State.FAILED}


def _about(report: Report, container: ContainerReport) -> Report:
    others = (other for other in report.all if other.state is not container.state)
    return replace(report, all=(container, *others))


def _without_repeats(entries: Iterable[LogEntry]) -> tuple[LogEntry, ...]:
    kept: dict[tuple[str, str], LogEntry] = {}
    for entry in entries:
        kept.setdefault((entry.message, repr(sorted(entry.data.items()))), entry)
    return tuple(kept.values())


class Gathering:
    """Collects entries, and hands messages on when they are complete."""

    def __init__(self, settings: MessageSettings) -> None:
        self._settings = settings
        self._batch: list[LogEntry] | None = None

    def begin(self) -> None:
        """Begin a batch, if none has begun."""
        if self._batch is None:
            self._batch = []

    def add(self, entry: LogEntry) -> Rendered:
        """Take an entry; return its message, which is empty within a batch."""
        if self._batch is None:
            return render(self._settings, (entry,), None) if counts(entry, self._settings.level) else Rendered()
        if counts(entry, self._settings.level) and len(self._batch) < MOST_ENTRIES:
            self._batch.append(entry)
        return Rendered()

    def finish(self, report: Report | None = None) -> Rendered:
        """End the batch and return its messages; without a batch there are none."""
        batch, self._batch = self._batch, None
        if batch is None or not (batch or report):
            return Rendered()
        return render(self._settings, batch, report)


def preview(settings: MessageSettings, entries: Iterable[LogEntry], report: Report | None) -> str:
    """Return what a session would be told like, for people. Raises ValueError where the template fails."""
    found = render(settings, entries, report)
    if found.problem:
        raise ValueError(found.problem)
    texts = [f"{message.title}\n\n{message.body}" if message.title else message.body for message in found.messages]
    return "\n\n".join(texts) if texts else "(no message is sent)"
