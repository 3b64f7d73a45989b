"""Reads what a request asks for. Pure; the text of an error says what is wrong with which parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from watchtower_async.settings import parse_bool, parse_deadline

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
LONGEST_PATTERN = 500


class BadQueryError(ValueError):
    """A parameter cannot be understood."""


def parse_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Read a parameter that may be repeated and may hold a list with commas; each word once."""
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def parse_patterns(texts: Sequence[str]) -> tuple[str, ...]:
    """Read regular expressions for container names."""
    if any(len(text) > LONGEST_PATTERN for text in texts):
        raise BadQueryError(f"container: expected at most {LONGEST_PATTERN} characters")
    patterns = parse_words(texts)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            raise BadQueryError(f"container: {pattern[:60]!r} is not a regular expression") from None
    return patterns


def parse_flag(name: str, text: str | None) -> bool:
    """Read a truth value; nothing is false."""
    if text is None:
        return False
    try:
        return parse_bool(text)
    except ValueError as error:
        raise BadQueryError(f"{name}: {error}") from None


def parse_timeout(text: str | None, longest: float) -> float:
    """Read a duration as seconds, at most the longest one, which nothing stands for."""
    if text is None:
        return longest
    try:
        return min(parse_deadline(text).total_seconds(), longest)
    except (ValueError, OverflowError) as error:
        raise BadQueryError(f"timeout: {error}") from None


def parse_time(name: str, text: str | None) -> datetime | None:
    """Read a time of RFC 3339."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper() if _TIME.fullmatch(text) else "")
    except ValueError:
        raise BadQueryError(f"{name}: expected a time such as 2024-05-06T07:08:09Z") from None


def parse_limit(text: str | None) -> int:
    """Read how many entries are wanted; 0, which nothing stands for, is all of them."""
    if text is None:
        return 0
    if not _NUMBER.fullmatch(text):
        raise BadQueryError("limit: expected a whole number, 0 or more")
    return int(text)


def go_duration(seconds: float) -> str:
    """Write a duration as Go does: `1m2.5s`, `350ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
