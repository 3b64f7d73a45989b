"""What the engine says in its own framings: the JSON lines of a pull, multiplexed logs, and texts that need care.

Pure. The messages of an engine may hold URLs with user names or signed queries (where it downloads from); they are
taken out before anybody sees them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from watchtower_async.errors import PullFailedError

MESSAGE_LENGTH = 500
PULL_MESSAGE_LENGTH = 300
LINE_BYTES = 1 << 20
"""A progress line is a few hundred bytes; a longer one is not from an engine."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s\"']+@")
_QUERY = re.compile(r"(https?://[^\s\"'<>?]+\?)[^\s\"'<>]+")
# A JSON object in base64: a token, or the login that came with a pull.
_ENCODED_OBJECT = re.compile(r"\beyJ[A-Za-z0-9+/=_.-]{16,}")
_LOGIN_REFUSED = (
    *("unauthorized", "denied", "authentication required", "no basic auth credentials"),
    # With the containerd image store, all that is told of the registry's answer is its status.
    "403 forbidden",
)
_HEADER = 8


def tidy(message: str, secret: str | None = None, *, length: int = MESSAGE_LENGTH) -> str:
    """Return an engine's message fit for people: without secrets, in one line, not longer than `length`."""
    text = message.strip()
    if secret:
        text = text.replace(secret, "…")
    if text.startswith("<"):
        return "answered with a web page, so a proxy stands in front of the engine and refused"
    text = _ENCODED_OBJECT.sub("…", _QUERY.sub(r"\1…", _USER_INFO.sub("", text)))
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def pull_failed(message: str, *, status: int = 0, secret: str | None = None) -> PullFailedError:
    """Return the error for a pull that the engine gave up with this message."""
    said = message.lower()
    return PullFailedError(
        tidy(message, secret, length=PULL_MESSAGE_LENGTH),
        status=status,
        out_of_space="no space left on device" in said,
        # The engine has no status for it: it hands on the registry's words.
        login_refused=any(word in said for word in _LOGIN_REFUSED),
    )


class PullStream:
    """Reads the answer of a pull: one JSON object per line, in chunks as they arrive.

    A pull has succeeded only when the answer has ended without an error in it: the status was sent long before.
    """

    def __init__(self, *, secret: str | None = None) -> None:
        self._secret = secret
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises PullFailedError as soon as one of the lines says so."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(line)
        if len(self._rest) > LINE_BYTES:
            raise PullFailedError("the engine's answer to the pull cannot be read")

    def finish(self) -> None:
        """Say that the answer has ended. Raises PullFailedError when it ended in the middle."""
        self._read(self._rest)
        self._rest = b""

    def _read(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            raise PullFailedError("the engine's answer to the pull broke off") from None
        message = _error_in(item)
        if message is not None:
            raise pull_failed(message, secret=self._secret)


def _error_in(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    detail = item.get("errorDetail")
    if isinstance(detail, dict) and detail.get("message"):
        return str(detail["message"])
    # The old form; engines before API 1.48 send both, others only one of them.
    if detail or item.get("error"):
        return str(item.get("error") or "no reason given")
    return None


def demultiplex(data: bytes) -> bytes:
    """Join the frames of a container's output. Output of a terminal has none and is returned as it is.

    Format: https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerAttach
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        header = data[at : at + _HEADER]
        if len(header) < _HEADER:
            break
        if header[0] > 2 or header[1:4] != b"\0\0\0":
            return data
        length = int.from_bytes(header[4:], "big")
        pieces.append(data[at + _HEADER : at + _HEADER + length])
        at += _HEADER + length
    return b"".join(pieces) if pieces else data
