"""Requests to token services and their replies, as text.

The protocol is that of https://distribution.github.io/distribution/spec/auth/token/ (GET) and
https://distribution.github.io/distribution/spec/auth/oauth/ (POST, for identity tokens only). A token is never parsed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import yarl

from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import CredentialError
from watchtower_async.registry.exchange import Request

_CLIENT_ID = "watchtower_async"
_BODY_BYTES = 64 << 10
_SHORTEST_LIFE = 60.0  # what the specification lets a client assume where a service says nothing
_LONGEST_LIFE = 86400.0
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class TokenService:
    """Where the tokens of a registry come from."""

    registry: str
    """Scheme, host and port of the registry: a token is good for this origin only."""
    host: str
    realm: yarl.URL
    service: str
    unverified_host: str = ""

    @property
    def name(self) -> str:
        """Return who is asked, for messages."""
        return f"token service {self.realm.raw_authority[:255]} of registry {self.host}"


def basic_header(credential: Credential) -> str:
    """Return the `Authorization` value for user name and password. Raises CredentialError where they cannot be sent."""
    if ":" in credential.username:
        message = f"the user name in {credential.source} holds a colon and cannot be sent: correct it there"
        raise CredentialError(message)
    return credential.basic_header()


def bearer_header(credential: Credential) -> str:
    """Return the `Authorization` value for a registry token. Raises CredentialError where it cannot be sent."""
    if not _VISIBLE.fullmatch(credential.registry_token):
        message = f"the registry token in {credential.source} holds characters that no token has: log in again"
        raise CredentialError(message)
    return f"Bearer {credential.registry_token}"


def token_url(service: TokenService, scopes: tuple[str, ...]) -> yarl.URL:
    """Return the realm with our questions added to its own; as little as possible is encoded."""
    named = [("service", service.service)] if service.service else []
    parts = [*named, *(("scope", scope) for scope in scopes)]
    query = "&".join(f"{name}={quote(value, safe=':/,')}" for name, value in parts)
    text = str(service.realm)
    if not query:
        return service.realm
    joint = "?" if "?" not in text else "" if text.endswith(("?", "&")) else "&"
    return yarl.URL(f"{text}{joint}{query}", encoded=True)


def read_token_reply(body: bytes, now: datetime) -> tuple[str, float]:
    """Read a token and its life in seconds from now. Raises ValueError with a text that can be shown."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # The decoder's error holds the document.
        raise ValueError("did not return JSON") from None
    if not isinstance(document, dict):
        raise ValueError("did not return a JSON object")  # noqa: TRY004 - one error class for the caller
    value = document.get("access_token") or document.get("token")
    if not value:
        raise ValueError("returned no token")
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise ValueError("returned a token with characters that no token has")
    return value, _life(document, now)


def _life(document: dict[str, Any], now: datetime) -> float:
    given = _number(document.get("expires_in"))
    life = min(given, _LONGEST_LIFE) if given > 0 else _SHORTEST_LIFE
    issued = _date(document.get("issued_at"))
    age = (now - issued).total_seconds() if issued else 0.0
    # Clocks differ, so the life counts from the reply; an age is believed while it takes less than half of it.
    return life - age if 0 < age < life / 2 else life


def _number(value: object) -> float:
    """Return a number, also one in a string; 0 where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _date(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def get_request(service: TokenService, scopes: tuple[str, ...], authorization: str | None) -> Request:
    return Request(
        method="GET",
        url=token_url(service, scopes),
        host=service.host,
        server=service.name,
        body_limit=_BODY_BYTES,
        authorization=authorization,
        unverified_host=service.unverified_host,
    )


def post_request(service: TokenService, scopes: tuple[str, ...], identity_token: str) -> Request:
    form = {
        "grant_type": "refresh_token",
        "refresh_token": identity_token,
        "service": service.service,
        "client_id": _CLIENT_ID,
    }
    if scopes:
        form["scope"] = " ".join(scopes)
    return Request(
        method="POST",
        url=service.realm,
        host=service.host,
        server=service.name,
        body_limit=_BODY_BYTES,
        form=urlencode(form).encode("ascii"),
        unverified_host=service.unverified_host,
    )
