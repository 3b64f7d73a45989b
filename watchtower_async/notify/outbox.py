"""Messages that are not delivered yet, kept so that they survive a restart.

Each is kept once for each service, with the service's name and not its URL: no secret is written down, and a message
for a service whose token was changed goes out with the new token. One for a service that is no longer configured is
dropped.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from watchtower_async.notify.render import Message, MessageKind


class Outbox(Protocol):
    """Keeps texts by key. Its calls raise nothing that a disk can cause."""

    async def save(self, key: str, text: str) -> None:
        """Keep a text, in place of an older one with this key."""

    async def load(self) -> dict[str, str]:
        """Return all that is kept."""

    async def forget(self, key: str) -> None:
        """Drop a text, if it is there."""


class MemoryOutbox:
    """Keeps what is pending as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    async def save(self, key: str, text: str) -> None:
        """Keep a text, in place of an older one with this key."""
        self._kept[key] = text

    async def load(self) -> dict[str, str]:
        """Return all that is kept."""
        return dict(self._kept)

    async def forget(self, key: str) -> None:
        """Drop a text, if it is there."""
        self._kept.pop(key, None)


@dataclass(frozen=True, slots=True)
class Pending:
    """A message on its way to one service. Keys sort in the order in which messages were made."""

    key: str
    service: str
    message: Message
    since: datetime


def new_pending(service: str, message: Message, *, now: datetime, number: int = 0) -> Pending:
    """Return a message with a key of its own; `number` tells those of one moment apart."""
    key = f"{int(now.timestamp() * 1000):015d}-{number:09d}-{secrets.token_hex(4)}"
    return Pending(key, service, message, now)


def write_pending(pending: Pending) -> str:
    """Return the text that an outbox keeps."""
    return json.dumps(
        {
            "service": pending.service,
            "title": pending.message.title,
            "body": pending.message.body,
            "kind": str(pending.message.kind),
            "since": pending.since.astimezone(UTC).isoformat(),
        }
    )


def read_pending(key: str, text: str) -> Pending | None:
    """Return what an outbox kept, None where that cannot be read."""
    try:
        kept = json.loads(text)
        message = Message(str(kept["title"]), str(kept["body"]), MessageKind(kept["kind"]))
        since = datetime.fromisoformat(kept["since"])
        return Pending(key, str(kept["service"]), message, since.astimezone(UTC))
    except (ValueError, TypeError, KeyError):
        return None
