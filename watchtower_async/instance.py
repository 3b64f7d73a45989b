"""Who this updater is, in the names of unfinished replacements.

On the engine where the updater's own container lives, it is the first 12 digits of that container's id, so that
another updater can see whether the owner still runs. Everywhere else it is an id that begins with `x` and is kept in
the state directory. Only the process that holds the control socket may act under either; any other one takes a fresh
id.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

FILE_NAME = "instance-id"
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_INSTANCE = re.compile(r"x[0-9a-z]{11}", re.ASCII)


def new_instance_id() -> str:
    """Return an id that no other updater has."""
    return "x" + "".join(secrets.choice(_ALPHABET) for _ in range(11))


def kept_instance_id(directory: Path) -> str:
    """Return the id kept in this directory, made on first use. A directory that cannot be used gives a fresh id."""
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        text = ""
    if _INSTANCE.fullmatch(text):
        return text
    fresh = new_instance_id()
    try:
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(fresh + "\n", encoding="ascii")
        temporary.replace(path)
    except OSError:
        return fresh
    return fresh


def owner_id(*, own_container_id: str | None, directory: Path, holds_control_socket: bool) -> str:
    """Return the owner that this process writes into names."""
    if not holds_control_socket:
        return new_instance_id()
    if own_container_id is not None:
        return own_container_id[:12]
    return kept_instance_id(directory)
