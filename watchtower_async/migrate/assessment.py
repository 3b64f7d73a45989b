"""What becomes of each setting of a Watchtower service, found with the readers that our own settings have. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import TypeVar

from watchtower_async.errors import SettingsError
from watchtower_async.migrate.changes import Setting, change_of, different_anyway
from watchtower_async.migrate.finding import Finding, FindingKind
from watchtower_async.migrate.old_service import OldService, Program
from watchtower_async.migrate.words import Flag, Words, read_words
from watchtower_async.notify.services import read_service
from watchtower_async.notify.templates import BUILT_IN, read_template
from watchtower_async.settings import (
    ENV_PREFIX,
    NOT_SETTINGS,
    NoticeKind,
    Option,
    Settings,
    build_settings,
    declared_options,
)
from watchtower_async.settings.given import Given, Texts, Unusable, read_given
from watchtower_async.settings.notices import nearest_variable
from watchtower_async.updates.schedule import parse_schedule
from watchtower_async.updates.zone import parse_zone

_HIDDEN = "not-known-here"
_HIDDEN_URL = "file://not-known-here"
"""These stand for a secret that is in a file of the service's own container, or in a variable of somebody's shell."""
_URLS = "notification.urls"
_ALIKE = 0.7
_UPGRADE_COMMAND = "notify-upgrade"


@dataclass(frozen=True, slots=True)
class Assessment:
    """All findings, and the settings that the service would get here; None where it would not start."""

    findings: tuple[Finding, ...]
    settings: Settings | None = field(default=None, repr=False)

    @property
    def would_start(self) -> bool:
        """Say whether the updater would start with this."""
        return not any(finding.kind is FindingKind.REFUSED for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Read:
    """One option as far as it could be read."""

    option: Option
    name: str
    given: Given | None
    text: str = field(repr=False)
    origin: str
    """Variables on which its value depends, for one that is not known."""


def assess(service: OldService, commands: Iterable[str] = (), *, options: Iterable[Option] | None = None) -> Assessment:
    """Find out what becomes of a service.

    `commands` are the words that our command line takes for commands; `options` are the declared ones.
    """
    options = tuple(declared_options() if options is None else options)
    words = read_words(service.words, options)
    texts = _without_files(words.texts(), {option.key: option for option in options})
    known = {name: text.value for name, text in service.environment.items() if text.is_known}
    environ = _without_files(known, {option.env: option for option in options if option.env})
    refused: list[Finding] = [*_unknown_flags(words, options), *_wrong_names(words, commands)]
    read: list[_Read] = []
    for option in options:
        found = read_given(option, texts, environ, str)
        if isinstance(found, Unusable) and not option.is_tolerant:
            texts.pop(option.key, None)
            environ.pop(option.env, None)
            refused.append(_unusable(found, service.program))
        elif isinstance(found, Given):
            read.append(_Read(option, found.name, found, _text_of(option, texts, environ), ""))
        elif found is None:
            read += _unknown_value(option, words, service)
    settings, problems = _build(texts, _with_placeholders(environ, read), words)
    refused += problems
    findings = [
        *refused,
        *_unread_variables(service, options),
        *(_become(item, service.program, settings) for item in read),
        *_names(words),
        *_remarks(settings),
        *_details(settings, {item.option.key: item.name for item in read if item.given}),
        *(Finding(FindingKind.ADVICE, "", note) for note in service.notes),
        *_anyway(service.program, read),
    ]
    has_refused = any(finding.kind is FindingKind.REFUSED for finding in findings)
    return Assessment(tuple(findings), None if has_refused else settings)


T = TypeVar("T", str, str | tuple[str, ...])


def _without_files(given: Mapping[str, T], options: Mapping[str, Option]) -> dict[str, T]:
    """Return what was given, with something that stands for secrets in files: those are not looked at here."""
    return {
        key: _without_file(options[key], text) if key in options and options[key].is_secret else text
        for key, text in given.items()
    }


def _without_file(option: Option, text: T) -> T:
    if isinstance(text, tuple):
        return tuple(_without_file(option, item) for item in text)
    stand_in = _HIDDEN_URL if option.key == _URLS else _HIDDEN
    words = text.split() if option.key == _URLS else [text]
    return " ".join(stand_in if ":" not in word and "/" in word else word for word in words)


def _text_of(option: Option, texts: Texts, environ: Mapping[str, str]) -> str:
    text = texts.get(option.key) or environ.get(option.env, "")
    return text if isinstance(text, str) else text[-1]


def _unknown_flags(words: Words, options: Iterable[Option]) -> Iterator[Finding]:
    names = tuple(flag for option in options for flag in option.flags)
    for flag in words.flags:
        if flag.option is None:
            near = difflib.get_close_matches(flag.name, names, n=1, cutoff=_ALIKE)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Finding(FindingKind.REFUSED, flag.name, f"no such option{hint}")
        elif flag.value is None:
            yield Finding(FindingKind.REFUSED, flag.name, "needs a value")


def _wrong_names(words: Words, commands: Iterable[str]) -> Iterator[Finding]:
    first = words.names[0].value if words.names else ""
    if first == _UPGRADE_COMMAND:
        text = "there is no such command here: the older notification options work as they are"
        yield Finding(FindingKind.REFUSED, first, text)
    elif first in commands:
        yield Finding(FindingKind.REFUSED, first, f"is a command here; for a container of this name write -- {first}")


def _names(words: Words) -> Iterator[Finding]:
    for name in words.names:
        if name.value in {"true", "false"}:
            text = "is taken for the name of a container, as in Watchtower; a switch takes its value with ="
            yield Finding(FindingKind.ADVICE, name.value, text)
        else:
            yield Finding(FindingKind.SAME, name.value, "name of a container to watch")


def _unusable(found: Unusable, program: Program) -> Finding:
    before = "; containrrr/watchtower took it for nothing" if program is not Program.FORK else ""
    return Finding(FindingKind.REFUSED, found.name, f"{found.reason.removeprefix(f'{found.name}: ')}{before}")


def _unknown_value(option: Option, words: Words, service: OldService) -> Iterator[_Read]:
    flag = next((item for item in reversed(words.flags) if item.option == option and _is_unknown(item)), None)
    if flag is not None and flag.value is not None:
        yield _Read(option, flag.name, None, "", flag.value.origin)
        return
    variable = service.environment.get(option.env)
    if option.env and variable is not None and not variable.is_known:
        yield _Read(option, option.env, None, "", variable.origin)


def _is_unknown(flag: Flag) -> bool:
    return flag.value is not None and not flag.value.is_known


def _with_placeholders(environ: Mapping[str, str], read: Iterable[_Read]) -> dict[str, str]:
    """Let a secret that only its variable knows count as given: all that matters is that there is one."""
    unknown = (item.option for item in read if item.given is None and item.option.is_secret)
    return {**environ, **{item.env: _HIDDEN_URL if item.key == _URLS else _HIDDEN for item in unknown}}


def _build(texts: Texts, environ: Mapping[str, str], words: Words) -> tuple[Settings | None, list[Finding]]:
    names = tuple(name.value for name in words.names)
    try:
        return build_settings(command_line=texts, environ=environ, names=names, secret_of=str), []
    except SettingsError as error:
        return None, [Finding(FindingKind.REFUSED, "", problem) for problem in error.problems]


def _unread_variables(service: OldService, options: Iterable[Option]) -> Iterator[Finding]:
    options = tuple(options)
    known = {option.env for option in options} | NOT_SETTINGS
    for name in sorted(service.environment):
        if name.startswith(ENV_PREFIX) and name not in known and service.environment[name].value:
            near = nearest_variable(name, options)
            hint = f"; did you mean {near}?" if near else ""
            yield Finding(FindingKind.UNKNOWN, name, f"is not known here nor in Watchtower, and does nothing{hint}")


def _become(item: _Read, program: Program, settings: Settings | None) -> Finding:
    option = item.option
    if option.no_effect:
        return Finding(FindingKind.NO_EFFECT, item.name, option.no_effect)
    if not option.is_carried_out:
        return Finding(FindingKind.NO_EFFECT, item.name, "no effect yet")
    if item.given is None:
        text = f"its value comes from {item.origin}, which is not known here"
        return Finding(FindingKind.SAME, item.name, text)
    found = Setting(program, item.given.value, item.text, item.given.on_command_line, settings or Settings())
    change = change_of(option.key, found)
    if change:
        return Finding(FindingKind.CHANGES, item.name, change)
    return Finding(FindingKind.SAME, item.name, f"deprecated, use {option.replaced_by}" if option.replaced_by else "")


def _remarks(settings: Settings | None) -> Iterator[Finding]:
    for notice in settings.notices if settings is not None else ():
        if notice.kind is NoticeKind.REMARK:
            yield Finding(FindingKind.ADVICE, notice.name, notice.text)


def _details(settings: Settings | None, names: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong inside of values that the settings take as they are."""
    if settings is None:
        return
    for key, problem in _problems_inside(settings):
        if key in names:
            yield Finding(FindingKind.REFUSED, names[key], problem)
    for text in settings.notification.urls if _URLS in names else ():
        if text == _HIDDEN_URL:
            continue
        try:
            target = read_service(text).target
        except ValueError as error:
            yield Finding(FindingKind.REFUSED, names[_URLS], str(error))
            continue
        for note in (*target.notes, *([target.problem] if target.problem else [])):
            yield Finding(FindingKind.CHANGES, names[_URLS], note)


def _problems_inside(settings: Settings) -> Iterator[tuple[str, str]]:
    try:
        zone = parse_zone(settings.schedule.time_zone) if not settings.schedule.time_zone.startswith("/") else UTC
    except ValueError as error:
        yield "schedule.time_zone", str(error)
        zone = UTC
    if settings.schedule.schedule:
        try:
            parse_schedule(settings.schedule.schedule, zone=zone)
        except ValueError as error:
            yield "schedule.schedule", str(error)
    template = settings.notification.template
    if template and template not in BUILT_IN and settings.notification.template_file is None:
        try:
            read_template(template, is_report=settings.notification.report)
        except ValueError as error:
            yield "notification.template", str(error)


def _anyway(program: Program, read: Iterable[_Read]) -> Iterator[Finding]:
    for text in different_anyway(program, frozenset(item.option.key for item in read)):
        yield Finding(FindingKind.ANYWAY, "", text)
