"""What a configuration holds for one registry, as a value that cannot leak by accident."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import NoReturn

# Per process, so that a fingerprint in a cache key tells nobody anything.
_FINGERPRINT_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential; `registry_token` is used before `identity_token`, that before user name and password.

    All fields may be empty strings but not all at once. No secret appears in `repr`, and pickling is refused.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = ""
    """Where it comes from, for people: `config.json entry "ghcr.io"`. Never holds a secret."""

    def fingerprint(self) -> str:
        """Return a keyed hash that differs between credentials, is stable within the process and reveals nothing."""
        parts = (self.username, self.password, self.identity_token, self.registry_token)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(_FINGERPRINT_KEY, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def basic_header(self) -> str:
        """Return the value of an `Authorization: Basic` header (RFC 7617, UTF-8)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not serialised")


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credential is configured: ask as nobody."""

    source: str = "no entry"

    def fingerprint(self) -> str:
        """Return the fingerprint that all anonymous questions share."""
        return "anonymous"


def registry_auth_header(credential: Credential | Anonymous, server_address: str) -> str:
    """Return `X-Registry-Auth` for the engine: URL-safe base64, padded, of a JSON object.

    `server_address` is the look-up key of the image's own registry; with the containerd store the engine sends the
    credential only to that host.
    """
    fields: dict[str, str] = {}
    if isinstance(credential, Credential):
        # The engine takes an identity token only when the password is empty.
        has_identity = bool(credential.identity_token)
        fields = {
            "username": credential.username,
            "password": "" if has_identity else credential.password,
            "identitytoken": credential.identity_token,
            "registrytoken": credential.registry_token,
            "serveraddress": server_address,
        }
    present = {key: value for key, value in fields.items() if value}
    return base64.urlsafe_b64encode(json.dumps(present).encode()).decode("ascii")
