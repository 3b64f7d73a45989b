"""The second layer against secrets in logs: known keys are masked and URLs are cleaned, whatever put them there.

The first layer is types whose secrets have no `repr`, the third is tracebacks without local variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "***"

_SECRET_KEYS = frozenset(
    {
        "authorization", "x-registry-auth", "proxy-authorization", "cookie", "set-cookie", "password", "passwd",
        "refresh_token", "access_token", "token", "code", "client_secret", "account", "identitytoken", "registrytoken",
        "auth", "secret", "repo_pass", "registry_auth",
    }
)  # fmt: skip
_SHOWN_PARAMETERS = frozenset({"scope", "service", "n", "last"})
_USER_INFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s?#\"']+)\?(?P<query>[^\s#\"']*)", re.IGNORECASE)
_HEADER = re.compile(r"\b(?P<scheme>Basic|Bearer)\s+[A-Za-z0-9+/=._~-]{8,}")
# A JSON object in base64: a token, or a login as an engine gets it.
_ENCODED_OBJECT = re.compile(r"\beyJ[A-Za-z0-9+/=_.-]{16,}")


def redact_text(text: str) -> str:
    """Mask user info and query values of URLs, and authorisation values."""
    text = _USER_INFO.sub(lambda match: f"{match['scheme']}{MASK}@", text)
    text = _QUERY.sub(lambda match: f"{match['url']}?{_redact_query(match['query'])}", text)
    text = _HEADER.sub(lambda match: f"{match['scheme']} {MASK}", text)
    return _ENCODED_OBJECT.sub(MASK, text)


def _redact_query(query: str) -> str:
    parts = (part.partition("=") for part in query.split("&"))
    return "&".join(f"{key}={value if key.lower() in _SHOWN_PARAMETERS else MASK}" for key, _, value in parts)


def redact(value: object) -> object:
    """Redact a value of any shape."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: MASK if str(key).lower() in _SECRET_KEYS else redact(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(inner) for inner in value]
    return value


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact a log event (structlog processor)."""
    for key, value in event.items():
        event[key] = MASK if key.lower() in _SECRET_KEYS else redact(value)
    return event
