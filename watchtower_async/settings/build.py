"""Combines command line, environment and defaults into settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from watchtower_async.errors import SettingsError
from watchtower_async.secret_file import read_secret
from watchtower_async.settings.given import Given, Texts, Unusable, read_given
from watchtower_async.settings.groups import GROUPS, Settings, declared_options
from watchtower_async.settings.notice import Notice, NoticeKind
from watchtower_async.settings.notices import notices_about, unknown_variables
from watchtower_async.settings.rules import contradictions, remarks, resolve


def build_settings(
    *,
    command_line: Texts,
    environ: Mapping[str, str],
    names: tuple[str, ...] = (),
    secret_of: Callable[[str], str] = read_secret,
) -> Settings:
    """Combine what was given into settings.

    `command_line` maps option keys to their text. `secret_of` returns the secret that a text is or names. Raises
    SettingsError with all problems at once; what is worth a word and no problem is in `notices`.
    """
    found = [read_given(option, command_line, environ, secret_of) for option in declared_options()]
    given = {item.option.key: item for item in found if isinstance(item, Given)}
    unusable = [item for item in found if isinstance(item, Unusable)]
    settings = resolve(_combine(given, names), given)
    problems = [str(item) for item in unusable if not item.option.is_tolerant]
    if not problems:
        # Otherwise a default stands where somebody meant something else, and what follows from it may be wrong.
        problems += contradictions(settings, given)
    if problems:
        raise SettingsError(tuple(problems))
    notices = (
        *unknown_variables(environ),
        *(_replaced(item) for item in unusable),
        *notices_about(given.values()),
        *remarks(settings, given),
    )
    return replace(settings, notices=notices)


def _combine(given: Mapping[str, Given], names: tuple[str, ...]) -> Settings:
    values: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for key, item in given.items():
        group_name, _, field_name = key.partition(".")
        values[group_name][field_name] = item.value
    return Settings(names=names, **{name: group(**values[name]) for name, group in GROUPS.items()})


def _replaced(item: Unusable) -> Notice:
    taken = item.option.shown_default
    return Notice(NoticeKind.REMARK, item.name, f"counts as {taken}, since {item.reason}")
