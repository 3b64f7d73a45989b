"""Whose fault is it that a successor failed? Only an image that failed by itself is not tried again.

An engine tells in words why a container does not start. Those that speak of the machine (disk, networks, ports,
devices, volumes, drivers) are known here. Everything else is taken for the image's fault, as then at worst a person has
to clear it, while the opposite mistake takes the container down in each session.
"""

from __future__ import annotations

import re
from enum import StrEnum

from watchtower_async.errors import EngineError


class Blame(StrEnum):
    """Who made a replacement fail."""

    IMAGE = "image"
    """Its process exited, was unhealthy, or could not be run at all."""
    HOST = "host"
    """The engine, its machine, or somebody who interfered: the same image may be good the next time."""


# A file that is missing in the image can have any name, so this is looked for first.
_OF_THE_PROCESS = re.compile(
    r'\bexec: "|exec format error|\bexec /|unable to find user|no matching entries in', re.IGNORECASE
)
_OF_THE_HOST = re.compile(
    "|".join(
        (
            r"no space left on device",
            r"disk quota exceeded",
            r"too many open files",
            r"cannot allocate memory",
            r"\bnetwork \S+ (is )?not found",
            r"could not find (a|the) network",
            r"failed to set up container networking",
            r"driver failed programming external connectivity",
            r"port is already allocated",
            r"address already in use",
            r"cannot assign requested address",
            r"no available (IPv4 |IPv6 )?(addresses|address pool)",
            r"could not find an available",
            r"gathering device information",
            r"could not select device driver",
            r"bind source path does not exist",
            r"while mounting volume",
            r"failed to mount local volume",
            r"failed to initialize logging driver",
            r"cannot link to a non running container",
            r"cannot join network of a non running container",
            r"no such container",
            r"(unknown or invalid|unknown) runtime",
            r"cgroup",
            r"context (deadline exceeded|canceled)",
        )
    ),
    re.IGNORECASE,
)


def blame_for(error: EngineError) -> Blame:
    """Say whose fault it is that the engine did not start a container."""
    return Blame.HOST if error.transient else blame_of(str(error))


def blame_of(text: str) -> Blame:
    """Say the same by what the engine said."""
    if _OF_THE_PROCESS.search(text):
        return Blame.IMAGE
    return Blame.HOST if _OF_THE_HOST.search(text) else Blame.IMAGE
