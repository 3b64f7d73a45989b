"""The files of a simulated container that differ from its image, and the archives in which they come and go."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from posixpath import basename, dirname, join

from tests.support.engine_sim.behaviour import EngineRefusal, JsonObject
from tests.support.engine_sim.container import Container

_SHOWN = ("name", "size", "mode", "mtime", "linkTarget")


def stat_of(container: Container, path: str) -> JsonObject:
    """Return what the archive's HEAD tells. Raises EngineRefusal."""
    return {key: value for key, value in _file(container, path).items() if key in _SHOWN}


def archive_of(container: Container, path: str) -> bytes:
    """Return a file as an archive; as in an engine's, times have whole seconds. Raises EngineRefusal."""
    found = _file(container, path)
    content = bytes(found.get("content") or bytes(found["size"]))
    member = tarfile.TarInfo(basename(path))
    member.size, member.mode = len(content), found["mode"]
    member.uid, member.gid = found.get("uid", 0), found.get("gid", 0)
    member.mtime = int(datetime.fromisoformat(str(found["mtime"])).timestamp())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def unpack(container: Container, directory: str, archive: bytes) -> None:
    """Put an archive's files into a directory that is there. Raises EngineRefusal."""
    if container.host.get("ReadonlyRootfs"):
        raise EngineRefusal(403, "container rootfs is marked read-only")
    known = {dirname(path) for path in container.changed_files} | {"/"}
    if directory not in known:
        raise _missing(container, directory)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member)
            if content is None:
                continue
            moment = datetime.fromtimestamp(int(member.mtime), UTC)
            container.changed_files[join(directory, member.name)] = {
                "name": basename(member.name),
                "size": member.size,
                "mode": member.mode,
                "mtime": moment.isoformat().replace("+00:00", "Z"),
                "content": content.read(),
                "uid": member.uid,
                "gid": member.gid,
            }


def _file(container: Container, path: str) -> JsonObject:
    if path not in container.changed_files:
        raise _missing(container, path)
    return container.changed_files[path]


def _missing(container: Container, path: str) -> EngineRefusal:
    return EngineRefusal(404, f"Could not find the file {path} in container {container.id}")
