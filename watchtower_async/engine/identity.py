"""Which container am I? Needed to leave oneself alone, and to know whose loopback interface ours is.

A process finds traces of its container's id in `/proc`. None of them can be believed alone: they may speak of another
engine, or of the container whose network this one has joined. So the engine is asked, and where both sides tell which
layer the root file system is, these must agree.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.errors import NoSuchObjectError

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_ENGINE_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


@dataclass(frozen=True, slots=True)
class SelfContainer:
    """The container that this process runs in, on the engine that was asked."""

    id: str
    name: str
    host_network: bool
    """Whether it shares the network of the engine's machine, directly or through another container."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What a process can see of the container it runs in; empty where it can see nothing."""

    mountinfo: str = ""
    cgroup: str = ""
    host_name: str = ""


def looks_like_container(exists: Callable[[str], bool]) -> bool:
    """Say whether a container runtime left its mark in the root file system."""
    return any(exists(path) for path in _CONTAINER_MARKS)


def runs_in_container() -> bool:
    """Say whether this process runs in a container."""
    return looks_like_container(lambda path: Path(path).exists())


def container_id_from_mountinfo(text: str) -> str | None:
    """Return the id in the path of a file that the engine mounts into each container.

    The fourth field (root) only, see proc(5): overlay options and volume names are 64 hexadecimal digits, too.
    """
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] in _ENGINE_FILES:
            match = _ID.search(fields[3])
            if match:
                return match[0]
    return None


def container_id_from_cgroup(text: str) -> str | None:
    """Return the innermost id in `/proc/self/cgroup`; there is none in a cgroup namespace of its own."""
    for line in text.splitlines():
        found = _ID.findall(line.rpartition(":")[2])
        if found:
            return str(found[-1])
    return None


def root_layer(mountinfo: str) -> str | None:
    """Return the writable directory of the root file system, None where it is not an overlay."""
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] == "/":
            match = re.search(r"(?:^|[ ,])upperdir=([^, ]+)", line)
            return match[1] if match else None
    return None


def candidates(traces: Traces) -> tuple[str, ...]:
    """Return the ids that the traces speak of, the most reliable first.

    The control group is always our own. With `container:` networking the mounted files and the host name are those of
    the container whose network we share.
    """
    found = [container_id_from_cgroup(traces.cgroup), container_id_from_mountinfo(traces.mountinfo)]
    if _SHORT_ID.fullmatch(traces.host_name):
        found.append(traces.host_name)
    return tuple(dict.fromkeys(item for item in found if item))


def is_contradicted(document: JsonObject, traces: Traces) -> bool:
    """Say whether a container's document shows another root file system than ours."""
    ours = root_layer(traces.mountinfo)
    data = (document.get("GraphDriver") or {}).get("Data") or {}
    theirs = data.get("UpperDir")
    return bool(ours and theirs) and ours != theirs


async def find_self(engine: Engine, *, traces: Traces | None = None) -> SelfContainer | None:
    """Return our own container on this engine, None where we run in none of its containers.

    Raises EngineUnavailableError.
    """
    seen = traces if traces is not None else read_traces()
    for candidate in candidates(seen):
        document = await _inspect(engine, candidate)
        # A short id may be somebody's name; the engine finds that, too.
        if document is None or not str(document.get("Id", "")).startswith(candidate):
            continue
        if is_contradicted(document, seen):
            document = await _find_sharer(engine, str(document["Id"]), seen)
        if document is not None:
            return await _self_from(engine, document)
    return None


async def _find_sharer(engine: Engine, target: str, seen: Traces) -> JsonObject | None:
    """Find us among those that share the network of the container whose files we see."""
    for item in await engine.list_containers():
        if (item.get("HostConfig") or {}).get("NetworkMode") != f"container:{target}":
            continue
        document = await _inspect(engine, str(item.get("Id", "")))
        if document is not None and not is_contradicted(document, seen):
            return document
    return None


async def _self_from(engine: Engine, document: JsonObject) -> SelfContainer:
    mode = _network_mode(document)
    if mode.startswith("container:"):
        target = await _inspect(engine, mode.removeprefix("container:"))
        mode = _network_mode(target or {})
    name = str(document.get("Name", "")).removeprefix("/")
    return SelfContainer(id=str(document["Id"]), name=name, host_network=mode == "host")


def _network_mode(document: JsonObject) -> str:
    return str((document.get("HostConfig") or {}).get("NetworkMode") or "")


async def _inspect(engine: Engine, container_id: str) -> JsonObject | None:
    try:
        return await engine.inspect_container(container_id)
    except NoSuchObjectError:
        return None


def read_traces() -> Traces:
    """Read what this process can see. Files of `/proc` do not block."""
    return Traces(
        mountinfo=_read("/proc/self/mountinfo"), cgroup=_read("/proc/self/cgroup"), host_name=socket.gethostname()
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
