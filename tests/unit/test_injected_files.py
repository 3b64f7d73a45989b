"""Points in time, and which files Compose may have copied into a container."""

from datetime import UTC, datetime

import pytest

from watchtower_async.engine.injected_files import was_injected
from watchtower_async.engine.times import parse_time

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
DIRECTORY, SYMLINK = 1 << 31, 1 << 27


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.678900123Z", CREATED),
        ("2026-01-02T03:04:05.6789Z", CREATED),
        ("2026-01-02T05:04:05.6789+02:00", CREATED),
        ("2026-01-02T03:04:05Z", CREATED.replace(microsecond=0)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_time_of_the_engine_is_read(text: str, expected: datetime | None) -> None:
    """Any number of digits, any zone; Go's zero time is none."""
    assert expected == parse_time(text)


@pytest.mark.parametrize(
    ("mtime", "mode", "expected"),
    [
        ("2026-01-02T03:04:06Z", 0o444, True),
        ("2026-01-02T03:04:10Z", 0o444, True),
        ("2026-01-02T03:04:11Z", 0o444, False),
        ("2026-01-02T03:03:06Z", 0o444, False),
        ("2026-01-02T03:04:06.000000001Z", 0o444, False),
        ("2026-01-02T03:04:06.5Z", 0o444, False),
        ("2026-01-02T03:04:06Z", DIRECTORY | 0o755, False),
        ("2026-01-02T03:04:06Z", SYMLINK | 0o777, False),
        ("", 0o444, False),
    ],
)
def test_file_with_whole_seconds_near_the_creation_is_taken_for_injected(mtime: str, mode: int, expected: bool) -> None:
    """An archive knows whole seconds; a process writes nanoseconds, and at another time."""
    assert expected is was_injected({"mtime": mtime, "mode": mode}, CREATED)
