"""Readers of option texts. Each returns the value or raises ValueError with a reason that can be shown. Pure.

The forms are Go's, because the texts were written for a Go program; a bare number for a duration is seconds.
"""

from __future__ import annotations

import csv
import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from watchtower_async.settings.values import LogLevel, Porcelain

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DOCKER_FALSE = frozenset({"", "0", "false", "no", "off"})
_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_COOLDOWN_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0, "M": 30 * 86400.0}
_COOLDOWN_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([smhdwM])", re.ASCII)
_BARE_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_LONGEST_DURATION_SECONDS = 10 * 366 * 86400.0
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(i?b?)", re.ASCII | re.IGNORECASE)
_SIZE_STEPS = " kmgt"
_LARGEST_ID = 2**31 - 1
_MOST_LABEL_PAIRS = 100
_LONGEST_LABEL_LIST = 4096
_USUAL_RATE_LIMIT = 60

T = TypeVar("T")


def parse_bool(text: str) -> bool:
    """Read a truth value as Go's `strconv.ParseBool` does."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


def parse_docker_bool(text: str) -> bool:
    """Read a truth value as Docker's own variables have it: everything but a word for no is yes."""
    return text.strip().lower() not in _DOCKER_FALSE


def parse_presence(text: str) -> bool:
    """Read a variable whose presence counts and not its value, as `NO_COLOR` (https://no-color.org)."""
    return bool(text)


def parse_duration(text: str) -> timedelta:
    """Read a Go duration (`1m30s`); a bare number is seconds."""
    return _as_duration(_seconds(text.strip(), _DURATION_PART, _DURATION_UNITS, "10s, 1m30s"))


def parse_cooldown(text: str) -> timedelta:
    """Read an age in s, m, h, d, w and M (30 days), which may be combined (`1w2d`); a bare number is seconds."""
    age = _as_duration(_seconds(text.strip(), _COOLDOWN_PART, _COOLDOWN_UNITS, "36h, 3d, 1w2d"))
    if age < timedelta(0):
        raise ValueError("must be non-negative")
    return age


def _as_duration(seconds: float) -> timedelta:
    if not abs(seconds) <= _LONGEST_DURATION_SECONDS:
        raise ValueError("the duration is longer than ten years")
    return timedelta(seconds=seconds)


def _seconds(text: str, part: re.Pattern[str], units: dict[str, float], examples: str) -> float:
    if _BARE_NUMBER.fullmatch(text):
        return float(text)
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if not rest or part.sub("", rest):
        raise ValueError(f"expected a duration such as {examples} or a number of seconds")
    return sign * sum(float(number) * units[unit] for number, unit in part.findall(rest))


def parse_positive_duration(text: str) -> timedelta:
    """Read a duration that is not negative."""
    duration = parse_duration(text)
    if duration < timedelta(0):
        raise ValueError("must be non-negative")
    return duration


def parse_stop_timeout(text: str) -> timedelta:
    """Read the grace of a stopping container."""
    duration = parse_duration(text)
    if duration < timedelta(0):
        raise ValueError("stop-timeout must be non-negative")
    return duration


def parse_interval(text: str) -> timedelta:
    """Read the polling interval; below one second it is one second."""
    return max(parse_duration(text), timedelta(seconds=1))


def parse_deadline(text: str) -> timedelta:
    """Read a duration that is longer than nothing."""
    duration = parse_duration(text)
    if duration <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return duration


def deadline_or(usual: timedelta) -> Callable[[str], timedelta]:
    """Return a reader for a deadline, where nothing means the usual one."""

    def parse(text: str) -> timedelta:
        return parse_positive_duration(text) or usual

    return parse


def parse_count(text: str) -> int:
    """Read a number of things, from 0."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text, re.ASCII):
        raise ValueError("expected a whole number, 0 or more")
    return int(text)


def parse_port(text: str) -> int:
    """Read a TCP port; a colon before it, as in Go's listen addresses, is taken off."""
    number = parse_count(text.strip().removeprefix(":"))
    if not 1 <= number <= 65535:
        raise ValueError("expected a port from 1 to 65535")
    return number


def parse_id(text: str) -> int:
    """Read a user or group number."""
    if not re.fullmatch(r"\s*[0-9]{1,10}\s*", text, re.ASCII) or int(text) > _LARGEST_ID:
        raise ValueError(f"expected a number from 0 to {_LARGEST_ID}")
    return int(text)


def parse_rate_limit(text: str) -> int:
    """Read how many requests a minute are answered; 0 or less is the usual number."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text, re.ASCII):
        raise ValueError("expected a whole number")
    number = int(text)
    return number if number > 0 else _USUAL_RATE_LIMIT


def parse_ratio(text: str) -> float:
    """Read a share of a whole, from 0 to 1."""
    if not _BARE_NUMBER.fullmatch(text.strip()) or not 0 <= float(text) <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(text)


def parse_size(text: str) -> int:
    """Read a number of bytes: `500MB`, `2G`, `1.5GiB`. Without `i` a step is 1000, as disks are sold."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a size such as 500MB or 2GiB")
    number, step, ending = match.groups()
    base = 1024 if ending.lower().startswith("i") else 1000
    return int(float(number) * base ** (_SIZE_STEPS.index(step.lower()) if step else 0))


def parse_directory(text: str) -> Path:
    """Read a directory name; `~` is not expanded, as no shell is involved."""
    return parse_path(text)


def parse_path(text: str) -> Path:
    """Read the name of a file or directory, as it is."""
    if "\0" in text:
        raise ValueError("a path holds no NUL")
    return Path(text)


def parse_list(text: str) -> tuple[str, ...]:
    """Split at runs of commas and white space."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def parse_comma_list(text: str) -> tuple[str, ...]:
    """Split at commas; the white space around an item is not its own."""
    return tuple(part for item in text.split(",") if (part := item.strip()))


def parse_csv(text: str) -> tuple[str, ...]:
    """Split at commas outside of double quotes, as a list on Go's command lines is read."""
    try:
        items = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"expected a list with commas: {error}") from None
    return tuple(part for item in items if (part := item.strip()))


def parse_whole(text: str) -> tuple[str, ...]:
    """Take the text as one item, whatever is in it."""
    return (text,) if text else ()


def parse_windows(text: str) -> tuple[str, ...]:
    """Split maintenance windows at semicolons, since commas and spaces stand inside of one."""
    return tuple(part for item in text.split(";") if (part := item.strip()))


def parse_urls(text: str) -> tuple[str, ...]:
    """Split at white space and commas; a piece after a comma that is no URL belongs to the one before it."""
    pieces: list[str] = []
    for word in (item for item in text.split() if item.strip(",")):
        first, *others = (piece for piece in word.split(",") if piece)
        pieces.append(first)
        for other in others:
            if "://" in other:
                pieces.append(other)
            else:
                pieces[-1] += f",{other}"
    return tuple(pieces)


def parse_label_pairs(items: Callable[[str], tuple[str, ...]]) -> Callable[[str], tuple[tuple[str, str], ...]]:
    """Return a reader for `label=value` items; an empty value asks for the label only."""

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        if len(text.encode("utf-8", "replace")) > _LONGEST_LABEL_LIST:
            raise ValueError(f"the list is longer than {_LONGEST_LABEL_LIST} bytes")
        pairs = tuple(_label_pair(item) for item in items(text))
        if len(pairs) > _MOST_LABEL_PAIRS:
            raise ValueError(f"the list has more than {_MOST_LABEL_PAIRS} labels")
        return pairs

    return parse


def _label_pair(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or not key.strip():
        raise ValueError("expected label=value, or label= for any value")
    return key.strip(), value.strip()


def parse_ip(text: str) -> str:
    """Read an IP address."""
    try:
        return str(ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError("expected an IP address") from None


def networks(items: Callable[[str], tuple[str, ...]]) -> Callable[[str], tuple[str, ...]]:
    """Return a reader for a list of IP addresses and networks in CIDR notation."""

    def parse(text: str) -> tuple[str, ...]:
        found = items(text)
        for item in found:
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                raise ValueError(f"{item[:60]!r} is neither an IP address nor a network such as 10.0.0.0/8") from None
        return found

    return parse


def parse_api_version(text: str) -> str:
    """Read a version of the engine's API; quotes around it, left by a compose file, are taken off."""
    version = text.strip().strip("\"'").strip()
    if version and not re.fullmatch(r"\d{1,3}\.\d{1,3}", version, re.ASCII):
        raise ValueError("expected a version such as 1.44")
    return version


def parse_schedule(text: str) -> str:
    """Read a cron expression without the quotes around it, left by a compose file; its grammar is not looked at."""
    expression = text.strip()
    while len(expression) > 1 and expression[0] == expression[-1] and expression[0] in "\"'":
        expression = expression[1:-1].strip()
    return expression


def parse_user_name(text: str) -> str:
    """Read a user name for Basic authorisation, where a colon ends it (RFC 7617 section 2)."""
    if ":" in text:
        raise ValueError("a user name with a colon cannot be sent")
    return text


def parse_log_level(text: str) -> LogLevel:
    """Read a level, in any case; `warning` is `warn`."""
    word = text.strip().lower()
    return one_of(LogLevel)("warn" if word == "warning" else word)


def parse_porcelain(text: str) -> Porcelain:
    """Read the version of the report for programs."""
    try:
        return Porcelain(text)
    except ValueError:
        raise ValueError("Unknown porcelain version, supported: v1, json") from None


def one_of(kind: type[T]) -> Callable[[str], T]:
    """Return a reader for a StrEnum, in any case."""

    def parse(text: str) -> T:
        try:
            return kind(text.lower())  # type: ignore[call-arg]  # a StrEnum is called with its value
        except ValueError:
            allowed = ", ".join(str(member) for member in cast("Any", kind))
            raise ValueError(f"expected one of {allowed}") from None

    return parse


def many_of(kind: type[T], items: Callable[[str], tuple[str, ...]]) -> Callable[[str], tuple[T, ...]]:
    """Return a reader for a list of words of a StrEnum, in any case."""
    read = one_of(kind)

    def parse(text: str) -> tuple[T, ...]:
        return tuple(read(item) for item in items(text))

    return parse
