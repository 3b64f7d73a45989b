"""Reads the file of a configuration directory so that nothing half written, endless or blocking comes in.

Only regular files are read, at most 4 MiB of them, and what was read counts when two looks at the file a moment apart
agree. Everything here blocks: it belongs in a worker thread.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from watchtower_async.credentials.config_file import CONFIG_FILE, OLD_CONFIG_FILE

LARGEST_FILE = 4 * 1024 * 1024
_SETTLE_SECONDS = 0.02
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file was read and did not change meanwhile."""

    path: Path
    data: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    """What people should know about the file; nothing that keeps it from being used."""


@dataclass(frozen=True, slots=True)
class FileAbsent:
    """There is no file. `warning` says what is in its place, if anything is."""

    warning: str | None = None


@dataclass(frozen=True, slots=True)
class FileUnreadable:
    """There is something that cannot be read. `reason` is for people."""

    reason: str


Reading: TypeAlias = FileContent | FileAbsent | FileUnreadable


def read_directory(directory: Path) -> Reading:
    """Read `config.json`, or `.dockercfg` where nothing at all has the name `config.json`."""
    path = directory / CONFIG_FILE
    try:
        if not os.path.lexists(path) and os.path.lexists(directory / OLD_CONFIG_FILE):
            path = directory / OLD_CONFIG_FILE
        return _read_file(path)
    except FileNotFoundError:
        return FileAbsent()
    except NotADirectoryError:
        return FileUnreadable(f"{directory} is not a directory: name the directory that holds {CONFIG_FILE}")
    except OSError as error:
        return FileUnreadable(f"{path} cannot be read by user id {os.geteuid()}: {error.strerror}")


def _read_file(path: Path) -> Reading:
    """Read a file until it holds still. Raises OSError."""
    for _ in range(_ATTEMPTS):
        # Non-blocking: opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return _misplaced(path, before)
            data = _read_all(descriptor)
            time.sleep(_SETTLE_SECONDS)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if len(data) > LARGEST_FILE:
            return FileUnreadable(f"{path} is larger than {LARGEST_FILE // 1024 // 1024} MiB")
        if _signature(before) == _signature(after):
            return FileContent(path, data, _warnings(path, after))
    return FileUnreadable(f"{path} is written all the time")


def _misplaced(path: Path, status: os.stat_result) -> Reading:
    """Judge what stands in the file's place. A mount whose source is missing makes a directory."""
    if stat.S_ISDIR(status.st_mode):
        return FileAbsent(f"{path} is a directory and holds no credentials; if it is mounted, its source is missing")
    return FileUnreadable(f"{path} is not a regular file")


def _read_all(descriptor: int) -> bytes:
    """Read to the end, or a little past the limit."""
    data = bytearray()
    while len(data) <= LARGEST_FILE and (part := os.read(descriptor, LARGEST_FILE + 1)):
        data += part
    return bytes(data)


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    # A file that is replaced changes its ctime, too, as it loses a link.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _warnings(path: Path, status: os.stat_result) -> tuple[str, ...]:
    found = []
    if status.st_mode & stat.S_IROTH:
        found.append(f"{path} can be read by every user of this machine; chmod 600 keeps its passwords private")
    # Without a link and still under its name: it is mounted by itself, and its name on the host leads elsewhere now.
    if status.st_nlink == 0 and path.stat().st_ino == status.st_ino:
        found.append(f"{path} was replaced on the host and this mount still shows the old one: mount its directory")
    return tuple(found)
