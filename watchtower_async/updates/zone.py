"""Which time zone a schedule is read in: one by name, or that of this machine.

The rules of the zones come with the operating system (`/usr/share/zoneinfo`) or with the Python package tzdata. UTC
needs neither.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from datetime import UTC, tzinfo
from difflib import get_close_matches
from pathlib import Path
from zoneinfo import ZoneInfo

LOCALTIME = Path("/etc/localtime")


def parse_zone(name: str) -> tzinfo:
    """Return the zone with this name of the IANA database; nothing at all is UTC. Raises ValueError."""
    bare = name.strip().removeprefix(":")
    if bare in {"", "UTC"}:
        return UTC
    try:
        return ZoneInfo(bare)
    # A name that is a directory of the database, or that cannot be a file name, has other errors than an unknown one.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(_unknown(bare)) from None


def local_zone(environment: Mapping[str, str], localtime: Path = LOCALTIME) -> tzinfo:
    """Return the zone that `TZ` names, else that of the machine, else UTC. Raises ValueError for a wrong `TZ`."""
    text = environment.get("TZ")
    if text is None:
        try:
            return _zone_in(localtime)
        except (OSError, ValueError):
            return UTC
    path = Path(text.strip().removeprefix(":"))
    if not path.is_absolute():
        return parse_zone(text)
    try:
        return _zone_in(path)
    except (OSError, ValueError):
        raise ValueError(f"{path} is not a time zone file; write a name such as Europe/Berlin") from None


def _zone_in(path: Path) -> tzinfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=str(path))


def _unknown(name: str) -> str:
    known = zoneinfo.available_timezones()
    if not known:
        return f"time zone {name!r} cannot be looked up: no zones are installed here; install the package tzdata"
    by_lower = {zone.lower(): zone for zone in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    example = by_lower[near[0]] if near else "Europe/Berlin"
    return f"time zone {name!r} is not known; {'did you mean' if near else 'write a name such as'} {example}"
