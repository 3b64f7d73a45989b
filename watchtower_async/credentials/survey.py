"""The status of everything that the configuration depends on: cheap to take, and enough to see that something changed.

To be watched are the directory, so that a file in it may be replaced by renaming; the directory that a file is really
in when it is a link; and the nearest directory above, so that the directory itself may come, go and be replaced. A file
that is mounted by itself is watched as well, because what happens to its source shows nowhere else.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from watchtower_async.credentials.config_file import CONFIG_FILE, OLD_CONFIG_FILE
from watchtower_async.credentials.worker import Worker

SURVEY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What the status of the files is, and what is to be watched. Equal as long as nothing has changed."""

    signatures: tuple[object, ...]
    files: frozenset[str]
    """The files, by every name that they have."""
    watched: tuple[tuple[str, int, int], ...]
    """Paths to watch, each with what is behind it: device and inode."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the paths to watch."""
        return tuple(path for path, _, _ in self.watched)

    @property
    def directories(self) -> frozenset[str]:
        """Return the paths to watch that are not files of the configuration."""
        return frozenset(self.paths) - self.files


NOTHING_SEEN = Survey((), frozenset(), ())
"""The survey of a directory that does not answer."""


class DirectorySurvey:
    """Surveys one directory, in a thread and with a deadline."""

    def __init__(self, directory: Path, *, deadline: float = SURVEY_SECONDS) -> None:
        """`deadline` is in seconds."""
        # Events name paths as they were given, and without `..` and the like they can be compared.
        self._directory = Path(os.path.abspath(directory))  # noqa: PTH100
        self._worker = Worker(deadline=deadline)

    async def __call__(self) -> Survey:
        """Take a survey; one that takes too long shows nothing."""
        try:
            return await self._worker.run(lambda: survey_directory(self._directory))
        except TimeoutError:
            return NOTHING_SEEN


def survey_directory(directory: Path) -> Survey:
    """Look at the status of everything that the configuration in a directory depends on. Blocks."""
    names = [directory / CONFIG_FILE, directory / OLD_CONFIG_FILE]
    real = [Path(os.path.realpath(name)) for name in names]
    places = [_nearest(directory.parent), directory, *(path.parent for path in real)]
    places += [path for path in real if _is_mounted_by_itself(path)]
    found = {str(place): _identity(place) for place in places}
    return Survey(
        signatures=tuple(_signature(name) for name in names),
        files=frozenset(map(str, (*names, *real))),
        watched=tuple((path, *identity) for path, identity in found.items() if identity is not None),
    )


def _nearest(path: Path) -> Path:
    return next((place for place in (path, *path.parents) if _identity(place) is not None), path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _signature(path: Path) -> object:
    try:
        status = path.stat()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_mounted_by_itself(path: Path) -> bool:
    # Two mounts of one file system have the same device, so the numbers of the mounts are compared.
    try:
        return _mount_number(path) != _mount_number(path.parent)
    except OSError:
        return False


def _mount_number(path: Path) -> str:
    """Return the line of /proc that tells which mount a path is in. Raises OSError."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    finally:
        os.close(descriptor)
    return next((line for line in lines if line.startswith("mnt_id:")), "")
