"""Texts with `${VARIABLE}` in them, as compose files have them.

Syntax: https://docs.docker.com/reference/compose-file/interpolation/. A variable without a value and without a default
stays as it is written, and its name is kept: what a text depends on that nobody knows here must not be judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<other>[^}]*))?\})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and the variables in it whose values are not known."""

    value: str
    missing: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Say whether all of it is known."""
        return not self.missing

    @property
    def origin(self) -> str:
        """Name the variables that it depends on."""
        return ", ".join(f"${{{name}}}" for name in self.missing)


def interpolate(text: str, variables: Mapping[str, str]) -> Text:
    """Put the values of variables into a text."""
    missing: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, how, other = match["bare"] or match["name"], match["how"] or "", match["other"] or ""
        value = variables.get(name)
        # With the colon an empty value counts as none.
        is_set = bool(value) if how.startswith(":") else value is not None
        if how.endswith("+"):
            return other if is_set else ""
        if is_set and value is not None:
            return value
        if how.endswith("-"):
            return other
        missing.append(name)
        return match[0]

    return Text(_VARIABLE.sub(value_of, text), tuple(dict.fromkeys(missing)))


def without_variables(text: str) -> str:
    """Return a text without the places where variables stand."""
    return _VARIABLE.sub("", text)


def escaped(text: str) -> str:
    """Write a text so that a compose file means it as it is."""
    return text.replace("$", "$$")


def parse_env_file(content: str) -> dict[str, str]:
    """Read an env file: `KEY=value` in lines, with quotes around a value where it needs them, and comments."""
    found: dict[str, str] = {}
    for line in content.splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key and not key.startswith("#"):
            found[key.strip()] = _env_value(value.strip())
    return found


def _env_value(text: str) -> str:
    quote = text[:1]
    if quote in {'"', "'"} and (end := text.find(quote, 1)) > 0:
        return text[1:end]
    return re.split(r"\s#", text, maxsplit=1)[0].strip()
