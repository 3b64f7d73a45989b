"""What people write to choose containers: names, image names and labels. Pure.

A name is a regular expression that must match as a whole; one that is none is taken literally. `web.1` is such an
expression too, and matches itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

LabelPair = tuple[str, str]
"""A label that is asked for, and its value; with an empty one it only has to be there."""


def is_on(pair: LabelPair, labels: Mapping[str, str]) -> bool:
    """Say whether a container with these labels has it."""
    name, value = pair
    return name in labels and value in ("", labels[name])


def show_pair(pair: LabelPair) -> str:
    """Write a pair as people do."""
    name, value = pair
    return f"{name}={value}" if value else name


class Patterns:
    """Expressions of which any may match."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._compiled = tuple(_compiled(text.removeprefix("/")) for text in texts)

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def match(self, text: str) -> bool:
        """Say whether one of them matches the whole text."""
        return any(pattern.fullmatch(text) for pattern in self._compiled)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return re.compile(re.escape(text))


def full_image_name(text: str) -> str:
    """Return an image name as it was written, with `:latest` where it has neither tag nor digest."""
    name = text.rpartition("/")[2]
    return text if ":" in name or "@" in name else f"{text}:latest"
