"""Does a directory outlive the container that we run in? Told from `/proc/self/mountinfo`, see proc(5).

The engine mounts a volume's directory under the store of its volumes, `…/volumes/<name>/_data`, so the name can be read
from where the mount comes from. A volume without a name of its own has 64 hexadecimal digits for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

_VOLUME = re.compile(r"/volumes/([^/]+)/_data(?:/|$)")
_ANONYMOUS = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ESCAPED = re.compile(r"\\([0-7]{3})")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Keeping:
    """Whether the directory is still there for the next container of the same service, and why."""

    lasts: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    """The directory of the file system that is mounted."""
    point: str
    kind: str


def keeping_of(directory: str, *, mountinfo: str, inside_container: bool) -> Keeping:
    """Judge an absolute directory without symbolic links."""
    if not inside_container:
        return Keeping(True, "yes")
    mount = _mount_of(directory, mountinfo)
    if mount is None:
        return Keeping(False, "nobody knows: the mounts of this container cannot be read")
    if mount.point == "/":
        return Keeping(False, "no: it is in the container itself and goes with it; mount a named volume there")
    if mount.kind in _IN_MEMORY:
        return Keeping(False, f"no: it is in memory ({mount.kind}); mount a named volume there")
    volume = _VOLUME.search(mount.root)
    if volume is None:
        return Keeping(True, "yes, in a mounted directory")
    if _ANONYMOUS.fullmatch(volume[1]):
        text = (
            "not when the container is removed and made anew: it is in an anonymous volume, which the next container "
            "does not get; mount a named volume there"
        )
        return Keeping(False, text)
    return Keeping(True, f"yes, in the volume {volume[1]}")


def _mount_of(directory: str, mountinfo: str) -> _Mount | None:
    """Return the mount that a directory lies in: the deepest one, and of several at one place the last."""
    path = PurePosixPath(directory)
    found: _Mount | None = None
    for mount in _mounts(mountinfo):
        if path.is_relative_to(mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 6 and fields[4].startswith("/"):
            yield _Mount(_unescaped(fields[3]), _unescaped(fields[4]), after.partition(" ")[0])


def _unescaped(text: str) -> str:
    """Read `\\040` and its like as the kernel means them."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
