"""Points in time as the engine writes them: RFC 3339 with up to nine digits after the second."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FRACTION = re.compile(r"\.(\d{1,6})\d*")
_NEVER_YEAR = 1  # Go's zero time, which the engine shows for what has not happened


def parse_time(text: str) -> datetime | None:
    """Read a point in time, to the microsecond; None for one that is absent, malformed or has not come."""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(lambda match: f".{match[1]:0<6}", text))
    except ValueError:
        return None
    if moment.year <= _NEVER_YEAR:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
