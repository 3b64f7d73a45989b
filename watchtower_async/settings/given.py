"""What somebody gave for the options, before it is combined into settings. Pure but for the reader of secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchtower_async.settings.option import Option

Texts = Mapping[str, str | tuple[str, ...]]
"""Option keys and what stands on the command line; a tuple for an option that was given several times."""


@dataclass(frozen=True, slots=True)
class Given:
    """One option that was given."""

    option: Option
    value: Any
    name: str
    """Flag or variable, as somebody wrote it."""
    on_command_line: bool

    @property
    def changes_something(self) -> bool:
        """Say whether the value is another than the default."""
        return bool(self.value != self.option.default)


@dataclass(frozen=True, slots=True)
class Unusable:
    """One option whose text cannot be read."""

    option: Option
    name: str
    reason: str
    """With the text, except for secrets."""

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.name}: {self.reason}"


def read_given(
    option: Option, command_line: Texts, environ: Mapping[str, str], secret_of: Callable[[str], str]
) -> Given | Unusable | None:
    """Read what was given for an option; None where nothing was."""
    written = command_line.get(option.key)
    on_command_line = written is not None
    name = option.name if on_command_line else option.env
    texts = _texts(written if written is not None else environ.get(option.env) or ())
    if not texts:
        return None
    try:
        values = [_read(option, text, on_command_line, secret_of) for text in texts]
    except (ValueError, OverflowError) as error:
        shown = "its value" if option.is_secret else repr(texts[-1][:60])
        return Unusable(option, name, f"{shown} is not usable: {error}")
    value = tuple(item for part in values for item in part) if option.is_list else values[-1]
    return Given(option, value, name, on_command_line)


def _texts(written: str | tuple[str, ...]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else written


def _read(option: Option, text: str, on_command_line: bool, secret_of: Callable[[str], str]) -> Any:
    parse = option.parse if on_command_line else option.parse_env
    if option.is_secret and option.is_list:
        return tuple(line for item in parse(text) for line in _lines(secret_of(item)))
    return parse(secret_of(text) if option.is_secret else text)


def _lines(content: str) -> tuple[str, ...]:
    """Return what stands in a file of several secrets: one in each line, and comments."""
    lines = (line.strip() for line in content.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
