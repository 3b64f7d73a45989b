"""Asks the running updater over its control socket, for commands of another process. Blocks; imports nothing heavy."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from watchtower_async.errors import WatchtowerError

ANSWER_SECONDS = 15.0
"""More than a slow disk may take behind the answer."""
LONGEST_ANSWER = 64 << 20


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """What the updater said."""

    status: int
    document: dict[str, Any]


class NoAnswerError(WatchtowerError):
    """Somebody has the control socket and does not answer as an updater does."""


def ask_control(path: Path, method: str, *segments: str) -> ControlAnswer | None:
    """Send a request for the path of these segments. None where no updater listens. Raises NoAnswerError."""
    with closing(_UnixConnection(path)) as connection:
        try:
            connection.connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except OSError as error:
            # Too long a name for a socket is an OSError without a number: then no updater can listen there.
            if error.errno is None:
                return None
            raise NoAnswerError(f"the control socket {path} cannot be used: {error.strerror or error}") from None
        try:
            connection.request(method, "/" + "/".join(quote(segment, safe="") for segment in segments))
            answer = connection.getresponse()
            document = json.loads(answer.read(LONGEST_ANSWER))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswerError(f"the updater that listens on {path} did not answer: {error}") from None
    if not isinstance(document, dict):
        raise NoAnswerError(f"what listens on {path} is no updater")
    return ControlAnswer(answer.status, document)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of the host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
