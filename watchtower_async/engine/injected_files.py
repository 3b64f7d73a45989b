"""Files that Docker Compose copied into a container: `configs` and `secrets` with their content in the project.

They are no mounts, and nothing in inspect tells of them; a container that is created anew lacks them. Compose copies
them between create and start, as an archive, and an archive knows whole seconds only. A file written by a process has
nanoseconds. So a changed regular file whose time has no fraction and lies at the container's creation is taken for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError

SEARCH_SECONDS = 30.0
FILES_AT_ONCE = 8
NEAR_CREATION = timedelta(seconds=5)

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
            async with anyio.create_task_group() as group:
                for path in paths:
                    group.start_soon(look, path)
    except EngineUnavailableError:
        raise
    except EngineError as error:
        return f"the changed files of the container could not be listed: {error}"
    if search.cancelled_caught:
        return f"the container has too many changed files to look through in {SEARCH_SECONDS:g} s"
    if unreadable:
        return f"{min(unreadable)} in the container could not be looked at"
    return tuple(sorted(found))
