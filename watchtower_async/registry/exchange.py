"""One HTTP exchange as values: what is sent, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yarl


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and to whom as people know it."""

    method: str
    url: yarl.URL
    host: str
    """The registry on whose account this is sent."""
    server: str
    """Who is asked, for messages: `registry ghcr.io`."""
    body_limit: int
    accept: str = "application/json"
    authorization: str | None = field(default=None, repr=False)
    form: bytes | None = field(default=None, repr=False)
    unverified_host: str = ""
    """The host, without port, whose certificate is not checked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. The body of an error is cut after 16 KiB."""

    status: int
    url: yarl.URL
    """Where it came from, after redirects."""
    headers: Mapping[str, str]
    challenges: tuple[str, ...] = ()
    """All `WWW-Authenticate` fields, in order."""
    body: bytes = field(default=b"", repr=False)
