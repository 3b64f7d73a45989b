"""The parts of a service URL, read without losing the case of what is in the host's place, where tokens often stand.

Nothing of it is in `repr` but the scheme, and no error quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user_info>[^/?#]*)@)?(?P<host>\[[^\]/?#]*\]|[^:/?#]*)"
    r"(?::(?P<port>[^/?#]*))?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_TRUE = frozenset({"yes", "true", "1", "y", "t"})
_FALSE = frozenset({"no", "false", "0", "n", "f", ""})


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """A URL in parts, decoded. Absent texts are empty; keys of the query are in lower case."""

    scheme: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    host: str = field(default="", repr=False)
    port: int | None = field(default=None, repr=False)
    segments: tuple[str, ...] = field(default=(), repr=False)
    query: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    fragment: str = field(default="", repr=False)
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The query as it is written, with the case of its keys."""
    path: str = field(default="", repr=False)
    """The path as it is written."""

    def get(self, *keys: str) -> str:
        """Return the first of these parameters that has a value; empty when none has."""
        return next((self.query[key] for key in keys if self.query.get(key)), "")

    def is_true(self, key: str, *, default: bool = False) -> bool:
        """Read a switch. Raises ValueError for what is neither yes nor no."""
        text = self.query.get(key)
        if text is None:
            return default
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError(f"its {key} is neither Yes nor No")
        return text.lower() in _TRUE


def parse_service_url(text: str) -> ServiceUrl:
    """Read a URL. Raises ValueError with a reason that can be shown."""
    match = _URL.fullmatch(text.strip())
    if match is None:
        raise ValueError("it is not a URL of the form service://…; what has a special character is written as %XX")
    user, _, password = (match["user_info"] or "").partition(":")
    pairs = tuple(parse_qsl(match["query"] or "", keep_blank_values=True))
    path = match["path"] or ""
    host, port = match["host"], match["port"] or ""
    if port and not _PORT.fullmatch(port):
        # Telegram's token, in Apprise's form, is a number, a colon and a text.
        host, port = f"{host}:{port}", ""
    return ServiceUrl(
        scheme=match["scheme"].lower(),
        user=unquote(user),
        password=unquote(password),
        host=unquote(host),
        port=int(port) if port else None,
        segments=tuple(unquote(part) for part in path.split("/") if part),
        query={key.lower(): value for key, value in pairs},
        fragment=unquote(match["fragment"] or ""),
        pairs=pairs,
        path=path,
    )


def write_url(
    scheme: str,
    host: str,
    *,
    user: str = "",
    password: str = "",
    port: int | None = None,
    segments: Iterable[str] = (),
    query: Mapping[str, str] | None = None,
) -> str:
    """Write a URL; parameters without a value are left out."""
    user_info = f"{_quote(user)}{':' + _quote(password) if password else ''}@" if user or password else ""
    place = (host if host.startswith("[") else _quote(host)) + (f":{port}" if port else "")
    path = "".join(f"/{_quote(segment)}" for segment in segments) or "/"
    wanted = "&".join(f"{_quote_key(key)}={_quote(value)}" for key, value in (query or {}).items() if value)
    return f"{scheme}://{user_info}{place}{path}{'?' + wanted if wanted else ''}"


def _quote(text: str) -> str:
    return quote(text, safe="")


def _quote_key(text: str) -> str:
    # Apprise tells what a parameter is for by these first characters, and reads them only as they are.
    return quote(text, safe="+-:")
