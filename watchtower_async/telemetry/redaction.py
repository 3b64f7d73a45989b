"""The second layer against secrets in logs: whatever put them there, they are masked before a line is written.

Masked is what stands under a key that names a secret, the secret parts of URLs, what reads like a login, and, wherever
they stand, the secrets of this program's own settings. What is no text, number or map is turned into text first, so
that no renderer later shows more of it than was looked at.

The first layer is types whose secrets have no `repr`, the third is tracebacks without local variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import quote, unquote

from watchtower_async.settings import Settings, declared_options, parse_user_name

MASK = "***"

_SHORTEST_SECRET = 4
"""A shorter one would take words out of every line."""
_LONG_PIECE = 16
_MIXED_PIECE = 8
"""Pieces of a secret URL are secrets from this length on when they hold a digit, and from the other one on anyway."""

_SECRET_KEYS = frozenset(
    {
        "authorization", "x_registry_auth", "proxy_authorization", "cookie", "set_cookie", "password", "passwd",
        "refresh_token", "access_token", "token", "code", "client_secret", "account", "identitytoken", "registrytoken",
        "auth", "secret", "repo_pass", "registry_auth", "hook_url", "heartbeat_url", "notification_url", "api_key",
        "docker_auth_config",
    }
)  # fmt: skip
_SECRET_ENDINGS = ("_token", "_password", "_passwd", "_pass", "_secret", "_hook", "_hook_url", "_api_key")
_WORDS_TOO = frozenset({"code", "account", "auth"})
"""Keys of token requests that are followed by something harmless in a sentence."""
_SHOWN_PARAMETERS = frozenset({"scope", "service", "n", "last"})
_OWN_SCHEMES = frozenset(
    {"http", "https", "unix", "tcp", "npipe", "ssh", "file", "fd", "oci", "docker", "docker-image"}
)
"""Schemes of what this program talks to. Any other one is that of a notification service."""

_URL = re.compile(r"\b(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s\"'<>]+)", re.IGNORECASE)
_PUBLIC_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?::[0-9]+)?(?=[/?#]|\Z)", re.IGNORECASE)
_USER_INFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s?#\"']+)\?(?P<query>[^\s#\"']*)", re.IGNORECASE)
# Addresses whose path is the secret. https://api.slack.com/messaging/webhooks and the like.
_HOOK = re.compile(
    r"(?P<place>https?://(?:hooks\.slack\.com|hc-ping\.com|api\.telegram\.org|[a-z0-9.-]+\.webhook\.office\.com"
    r"|[a-z0-9.-]+\.logic\.azure\.com(?::[0-9]+)?|(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks)/)[^\s\"'<>]+",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?P<key>\b[A-Za-z][\w-]*)(?P<sign>\s?=\s?|[\"']\s*:\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
)
_HEADER = re.compile(r"\b(?P<scheme>Basic|Bearer)\s+[A-Za-z0-9+/=._~-]{8,}")
# A JSON object in base64: a token, or a login as an engine gets it.
_ENCODED_OBJECT = re.compile(r"\beyJ[A-Za-z0-9+/=_.-]{16,}")


class Redactor:
    """Redacts log events, as structlog's processor. Its `repr` shows nothing of the secrets that it knows."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may be a part of another.
        self._secrets = tuple(
            sorted({text for text in secrets if len(text) >= _SHORTEST_SECRET}, key=len, reverse=True)
        )

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Redact an event in place."""
        for key, value in event.items():
            event[key] = self._under(key, value)
        return event

    def text(self, text: str) -> str:
        """Mask the secrets of the settings, user info and query values of URLs, and authorisation values."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return redact_text(text)

    def value(self, value: object) -> object:
        """Redact a value of any shape."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._under(str(key), inner) for key, inner in value.items()}
        if isinstance(value, AbstractSet):
            return sorted(str(self.value(inner)) for inner in value)
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        return self.text(str(value))

    def _under(self, key: str, value: object) -> object:
        return MASK if is_secret_key(key) else self.value(value)


def is_secret_key(key: str) -> bool:
    """Say whether what stands under a key is a secret, however the key is written."""
    plain = key.lower().replace("-", "_")
    return plain in _SECRET_KEYS or plain.endswith(_SECRET_ENDINGS)


def redact(value: object) -> object:
    """Redact a value of any shape, without knowing any secret."""
    return Redactor().value(value)


def redact_text(text: str) -> str:
    """Mask what can be told to be a secret without knowing it."""
    text = _URL.sub(_redact_service, text)
    text = _HOOK.sub(lambda match: f"{match['place']}{MASK}", text)
    text = _USER_INFO.sub(lambda match: f"{match['scheme']}{MASK}@", text)
    text = _QUERY.sub(lambda match: f"{match['url']}?{_redact_query(match['query'])}", text)
    text = _HEADER.sub(lambda match: f"{match['scheme']} {MASK}", text)
    text = _ASSIGNED.sub(_redact_assigned, text)
    return _ENCODED_OBJECT.sub(MASK, text)


def secret_values(settings: Settings) -> frozenset[str]:
    """Return every secret in the settings, and the pieces of those that are URLs."""
    found: set[str] = set()
    for option in declared_options():
        # A user name is an everyday word; the option counts as secret so that it may be the name of a file.
        if option.is_secret and option.parse is not parse_user_name:
            group, _, name = option.key.partition(".")
            given = getattr(getattr(settings, group), name)
            for text in (given,) if isinstance(given, str) else given or ():
                found |= {text, quote(text, safe=""), *_pieces(text)}
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET)


def _pieces(text: str) -> Iterator[str]:
    """Yield what may be quoted alone: the password, and parts that are too long or too odd to be words or hosts."""
    _, is_url, rest = text.partition("://")
    if not is_url:
        return
    info, has_info, place = rest.rpartition("@")
    if has_info:
        yield from {info, info.rpartition(":")[2]}
    for piece in re.split(r"[/?&=#:]", place):
        is_mixed = len(piece) >= _MIXED_PIECE and any(character.isdigit() for character in piece)
        if (is_mixed or len(piece) >= _LONG_PIECE) and not _PUBLIC_HOST.fullmatch(piece):
            yield from {piece, unquote(piece)}


def _redact_service(match: re.Match[str]) -> str:
    """Show only the host of a notification service's URL: tokens stand everywhere else, and often in its place."""
    scheme, rest = match["scheme"], match["rest"]
    if scheme.lower() in _OWN_SCHEMES:
        return match[0]
    host = _PUBLIC_HOST.match(rest.rpartition("@")[2])
    if host is None:
        return f"{scheme}://{MASK}"
    shown = f"{scheme}://{host[0]}"
    return shown if rest == host[0] else f"{shown}/{MASK}"


def _redact_query(query: str) -> str:
    parts = (part.partition("=") for part in query.split("&"))
    return "&".join(f"{key}={value if key.lower() in _SHOWN_PARAMETERS else MASK}" for key, _, value in parts)


def _redact_assigned(match: re.Match[str]) -> str:
    key = match["key"]
    return f"{key}{match['sign']}{MASK}" if is_secret_key(key) and key.lower() not in _WORDS_TOO else match[0]
