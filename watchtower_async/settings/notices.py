"""Which settings that were given do nothing, are old, or are known to nobody. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from watchtower_async.settings.given import Given
from watchtower_async.settings.groups import declared_options
from watchtower_async.settings.notice import Notice, NoticeKind
from watchtower_async.settings.option import Option

ENV_PREFIX = "WATCHTOWER_"

NOT_SETTINGS = frozenset({"WATCHTOWER_ASYNC_IMAGE"})
"""Variables with the prefix that are not for this program: the compose examples use them."""

_ALIKE = 0.7
"""How alike two names must be, as difflib measures it, for one to be a slip of the other."""


def notices_about(given: Iterable[Given]) -> Iterator[Notice]:
    """Yield what is to be said about options that change nothing, or are old; what has one remedy is said once."""
    changed = [item for item in given if item.changes_something]
    for item in changed:
        if item.option.no_effect:
            yield Notice(NoticeKind.NO_EFFECT, item.name, f"has no effect here: {item.option.no_effect}")
        elif not item.option.is_carried_out:
            yield Notice(NoticeKind.NO_EFFECT, item.name, "has no effect yet")
    old: dict[str, list[str]] = {}
    for item in changed:
        if item.option.replaced_by:
            old.setdefault(item.option.replaced_by, []).append(item.name)
    for newer, names in old.items():
        verb = "is" if len(names) == 1 else "are"
        yield Notice(NoticeKind.DEPRECATED, ", ".join(names), f"{verb} deprecated: use {newer}")


def unknown_variables(environ: Mapping[str, str]) -> Iterator[Notice]:
    """Yield the non-empty variables with Watchtower's prefix that no option has, with the nearest name that one has."""
    options = tuple(declared_options())
    known = {option.env for option in options} | NOT_SETTINGS
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and environ[name] and name not in known:
            nearest = nearest_variable(name, options)
            hint = f"; did you mean {nearest}?" if nearest else ""
            yield Notice(NoticeKind.UNKNOWN, name, f"is not known{hint}")


def nearest_variable(name: str, options: Iterable[Option]) -> str | None:
    """Return the variable that was probably meant: one that is written alike, or whose flag is."""
    meant = {_words(option.env): option.env for option in options if option.env}
    for option in options:
        if option.env:
            meant.setdefault(option.name.removeprefix("--").replace("-", "_").upper(), option.env)
    found = difflib.get_close_matches(_words(name), meant, n=1, cutoff=_ALIKE)
    return meant[found[0]] if found else None


def _words(name: str) -> str:
    return name.removeprefix(ENV_PREFIX)


def unsupported_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Name the non-empty `WATCHTOWER_*` variables that have no effect here, so that none is silent."""
    idle = {option.env for option in declared_options() if option.no_effect or not option.is_carried_out}
    found = {name for name in idle if name.startswith(ENV_PREFIX) and environ.get(name)}
    return tuple(sorted(found | {notice.name for notice in unknown_variables(environ)}))
