"""How much room there is where the engine keeps its images, as far as that can be known, and whether to pull.

No engine tells how full its disk is. It can be known in three cases:

- This process runs in one of the engine's containers. Its root file system is a layer in the engine's storage, and an
  overlay tells the numbers of the file system below it.
- It does, and the engine's data directory is mounted into it, at its own path.
- The engine is reached by a socket file, has the host name and the kernel of this machine, and its data directory is
  there. One in a virtual machine, as Docker Desktop's, or behind a forwarded socket has another name or kernel.

What is not known holds nothing back: the engine says itself when a pull does not fit.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import anyio

from watchtower_async.engine.client import Engine, JsonObject

LOOK_SECONDS = 5.0
"""How long a file system may take to answer: one in the network may not answer at all."""

_OVERLAY = "overlay"
_CONTAINERD = "/var/lib/containerd"
"""Where images lie that containerd keeps for the engine, unless it was told otherwise."""
_CONTAINERD_DRIVER = "io.containerd.snapshotter"
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """From where this process sees the engine."""

    has_socket_here: bool
    """Whether the engine is reached by a socket file of this machine."""
    is_own_engine: bool
    """Whether this process runs in one of the engine's own containers."""
    mountinfo: str = ""
    """`/proc/self/mountinfo`, see proc(5)."""
    host_name: str = ""
    kernel: str = ""
    """Its release."""


@dataclass(frozen=True, slots=True)
class Places:
    """Directories on the file systems that hold images; where there are none, why not."""

    paths: tuple[str, ...]
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Bytes that are free for images; None where nobody knows, and why."""

    free: int | None
    why_not: str = ""


class Disk(Protocol):
    """Where an engine keeps its images."""

    async def reason_against_pull(self) -> str | None:
        """Say why nothing is pulled now, None where nothing speaks against it. Raises EngineError."""


class RoomForAll:
    """A disk that nobody looks at."""

    async def reason_against_pull(self) -> str | None:
        """Let everything be pulled."""
        return None


class EngineDisk:
    """The disk of one engine, as far as this process sees it.

    How large an image is, is not known before its pull, so `min_free` has to leave room for one. Pulls that begin at
    the same moment find the same space.
    """

    def __init__(self, *, engine: Engine, viewpoint: Viewpoint, min_free: int, tell: Callable[[str], None]) -> None:
        """`min_free` is in bytes; with none the disk is not looked at. `tell` is told once where nobody can look."""
        self._engine = engine
        self._viewpoint = viewpoint
        self._min_free = min_free
        self._tell = tell
        self._is_told = False

    async def reason_against_pull(self) -> str | None:
        """Say why nothing is pulled now. Raises EngineError."""
        if self._min_free <= 0:
            return None
        found = await look_for_free_space(await self._engine.system_info(), self._viewpoint)
        if found.free is None and not self._is_told:
            self._is_told = True
            self._tell(f"--min-free holds no pull back, as nobody knows how full the engine's disk is: {found.why_not}")
        return may_pull(needed=None, free=found.free, min_free=self._min_free)


def places_to_look(info: JsonObject, viewpoint: Viewpoint) -> Places:
    """Say where to measure. `info` is the engine's answer to `GET /info`."""
    root = str(info.get("DockerRootDir") or "")
    if not root.startswith("/"):
        return Places((), "the engine does not say where its data directory is")
    if viewpoint.is_own_engine:
        return _places_in_container(root, dict(_mounts(viewpoint.mountinfo)))
    if not viewpoint.has_socket_here:
        return Places((), "the engine is not reached by a socket of this machine")
    if info.get("Name") != viewpoint.host_name or info.get("KernelVersion") != viewpoint.kernel:
        return Places((), "the engine runs on another machine, or in a virtual one")
    return Places((root, _CONTAINERD) if _keeps_in_containerd(info) else (root,))


def _places_in_container(root: str, mounts: Mapping[str, str]) -> Places:
    if mounts.get("/") == _OVERLAY:
        return Places(("/",))
    if _is_mounted(root, mounts):
        return Places((root,))
    return Places((), f"the engine's data directory {root} is not visible in this container")


def measure(places: Places) -> FreeSpace:
    """Return the least of what is free in these places; the file systems are asked, and this may block."""
    found = [free for path in places.paths if (free := _free_at(path)) is not None]
    if found:
        return FreeSpace(min(found))
    return FreeSpace(None, places.why_not or f"{places.paths[0]} cannot be seen from here")


async def look_for_free_space(info: JsonObject, viewpoint: Viewpoint) -> FreeSpace:
    """Return how much is free, within five seconds. A look that is cancelled leaves a thread behind until it ends."""
    places = places_to_look(info, viewpoint)
    if not places.paths:
        return measure(places)
    with anyio.move_on_after(LOOK_SECONDS):
        return await anyio.to_thread.run_sync(measure, places, abandon_on_cancel=True)
    return FreeSpace(None, f"{places.paths[0]} does not answer")


def this_machine() -> tuple[str, str]:
    """Return host name and kernel release, for a viewpoint."""
    return socket.gethostname(), platform.release()


def may_pull(*, needed: int | None, free: int | None, min_free: int) -> str | None:
    """Say why an image is not pulled, None where nothing speaks against it.

    `needed` is what the image takes at most, None where that is not known. Without `min_free` nothing is held back, as
    layers that are there already are counted in `needed`.
    """
    if free is None or min_free <= 0 or free - (needed or 0) >= min_free:
        return None
    about = f", and this image takes up to {in_units(needed)}" if needed else ""
    return (
        f"the engine's disk has {in_units(free)} free{about}; --min-free asks for {in_units(min_free)}: "
        "remove what is not needed (docker system df shows what there is), or lower --min-free"
    )


def in_units(number: int) -> str:
    """Return a number of bytes for people, in steps of 1000."""
    amount, step = float(number), 0
    while amount >= 999.5 and step + 1 < len(_UNITS):
        amount, step = amount / 1000, step + 1
    return f"{amount:.3g} {_UNITS[step]}"


def _free_at(path: str) -> int | None:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _keeps_in_containerd(info: JsonObject) -> bool:
    status = info.get("DriverStatus") or ()
    return any(_CONTAINERD_DRIVER in str(value) for pair in status for value in pair)


def _is_mounted(directory: str, mounts: Mapping[str, str]) -> bool:
    """Say whether a directory lies in a mount of its own, and not in the root file system of the container."""
    path = PurePosixPath(directory)
    return any(path.is_relative_to(point) for point in mounts if point != "/")


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Yield where each mount is, and of what kind. Names with spaces are not unescaped: ours have none."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4:
            yield fields[4], after.partition(" ")[0]
