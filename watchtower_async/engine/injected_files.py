"""Files that Docker Compose copied into a container: `configs` and `secrets` with their content in the project.

They are no mounts, and nothing in inspect tells of them; a container that is created anew lacks them. Compose copies
them between create and start, as an archive, and an archive knows whole seconds only. A file written by a process has
nanoseconds. So a changed regular file whose time has no fraction and lies at the container's creation is taken for one.
In the successor such a file gets the time of the successor's creation, so that it is found again the next time.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.each import each
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError

SEARCH_SECONDS = 30.0
FILES_AT_ONCE = 8
NEAR_CREATION = timedelta(seconds=5)
MOST_BYTES = 16 << 20
"""The size of all files of a container together, in bytes. Swarm allows 1 MB for a config, Compose names no limit."""

# The type bits of Go's os.FileMode; a regular file has none of them.
_NOT_REGULAR = 0x8F280000


def was_injected(stat: Mapping[str, Any], created: datetime) -> bool:
    """Say whether a file's name, mode and time look as Compose leaves them."""
    modified = parse_time(str(stat.get("mtime", "")))
    mode = stat.get("mode")
    if modified is None or not isinstance(mode, int) or mode & _NOT_REGULAR:
        return False
    return modified.microsecond == 0 and "." not in str(stat["mtime"]) and abs(modified - created) <= NEAR_CREATION


async def find_injected_files(engine: Engine, container: JsonObject) -> tuple[str, ...] | str:
    """Return the injected files of an inspected container, or why that could not be found out.

    Raises EngineUnavailableError.
    """
    created = parse_time(str(container.get("Created", "")))
    if created is None:
        return "the engine does not tell when the container was created"
    identity = str(container.get("Id", ""))
    mounted = {str(mount.get("Destination", "")) for mount in container.get("Mounts") or ()}
    found: list[str] = []
    unreadable: list[str] = []
    limiter = anyio.CapacityLimiter(FILES_AT_ONCE)

    async def look(path: str) -> None:
        async with limiter:
            try:
                stat = await engine.stat_path(identity, path)
            except NoSuchObjectError:
                return  # removed since it was listed
            except EngineUnavailableError:
                raise
            except EngineError:
                unreadable.append(path)
                return
            if was_injected(stat, created):
                found.append(path)

    try:
        with anyio.move_on_after(SEARCH_SECONDS) as search:
            paths = [path for path in await engine.changed_paths(identity) if path and path not in mounted]
            await each(paths, look)
    except EngineUnavailableError:
        raise
    except EngineError as error:
        return f"the changed files of the container could not be listed: {error}"
    if search.cancelled_caught:
        return f"the container has too many changed files to look through in {SEARCH_SECONDS:g} s"
    if unreadable:
        return f"{min(unreadable)} in the container could not be looked at"
    return tuple(sorted(found))


async def carry_over(engine: Engine, predecessor_id: str, successor_id: str, paths: Iterable[str]) -> None:
    """Copy injected files into a successor that was never started, as Compose does it. May be repeated.

    Content, owner and mode stay. Raises EngineError, which names the file, where one cannot be copied; some may be
    there then.
    """
    wanted = tuple(paths)
    if not wanted:
        return
    # By the engine's clock: ours may go differently, and the next search compares with this time.
    created = parse_time(str((await engine.inspect_container(successor_id)).get("Created", "")))
    if created is None:
        raise EngineError("the engine does not tell when the new container was created")
    await engine.put_archive(successor_id, "/", await _collect(engine, predecessor_id, wanted, created))


async def _collect(engine: Engine, container_id: str, paths: Iterable[str], moment: datetime) -> bytes:
    """Return an archive of these files with full paths, so that missing directories are made."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            try:
                data = await engine.get_archive(container_id, path, limit=MOST_BYTES - archive.tell())
                member, content = read_file(data)
            except EngineUnavailableError:
                raise
            except (EngineError, ValueError) as error:
                raise EngineError(f"{path}, which Docker Compose copied in, cannot be carried over: {error}") from None
            tar.addfile(carried_member(member, path, moment), io.BytesIO(content))
    return archive.getvalue()


def read_file(archive: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """Return the only file of an archive. Raises ValueError where it holds something else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            members = tar.getmembers()
            content = tar.extractfile(members[0]) if len(members) == 1 and members[0].isreg() else None
            if content is None:
                raise ValueError("it is not a regular file any more")
            return members[0], content.read()
    except tarfile.TarError as error:
        raise ValueError(f"the engine sent no tar archive: {error}") from None


def carried_member(member: tarfile.TarInfo, path: str, moment: datetime) -> tarfile.TarInfo:
    """Return the header of the copy: another name and time, the same owner, mode and extended attributes."""
    copied = tarfile.TarInfo(path.lstrip("/"))
    copied.size, copied.mode, copied.uid, copied.gid = member.size, member.mode, member.uid, member.gid
    copied.mtime = int(moment.timestamp())
    copied.pax_headers = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
    return copied
