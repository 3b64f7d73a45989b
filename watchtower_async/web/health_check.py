"""`--health-check`: asks the running updater over its control socket. Imports nothing heavy, so that it costs little.

Exit code 0 when the updater answers that it is well, 1 otherwise.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 5.0
SOCKET_NAME = "control.sock"
LONGEST_ANSWER = 65536


def state_directory(environ: Mapping[str, str], setting: str | None = None) -> Path:
    """Return where the updater keeps its control socket: the setting, else the user's state directory."""
    if setting or environ.get("WATCHTOWER_STATE_DIR"):
        return Path(setting or environ["WATCHTOWER_STATE_DIR"])
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/", ".local", "state")  # noqa: PTH118
    return Path(base) / "watchtower-async"


def ask_health(path: Path) -> tuple[bool, str]:
    """Return whether the updater behind this socket is well, and what it says."""
    request = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(request)
            answer = _read_all(connection)
    except OSError as error:
        return False, f"no running updater answers on {path}: {error.strerror or error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return status == [b"200"], body.decode("utf-8", "replace").strip()


def ask_credentials(path: Path) -> dict[str, Any] | None:
    """Return what the updater behind this socket says about its credentials; None where none answers."""
    import json  # noqa: PLC0415 - the health check does not need it

    _, said = ask_health(path)
    try:
        document = json.loads(said)
    except ValueError:
        return None
    found = document.get("credentials") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    while len(received) < LONGEST_ANSWER:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received


def check(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run the check and return the exit code."""
    setting = None
    for index, argument in enumerate(arguments):
        if argument == "--state-dir" and index + 1 < len(arguments):
            setting = arguments[index + 1]
        elif argument.startswith("--state-dir="):
            setting = argument.partition("=")[2]
    well, said = ask_health(state_directory(environ, setting) / SOCKET_NAME)
    print(said, file=sys.stdout if well else sys.stderr)
    return 0 if well else 1
