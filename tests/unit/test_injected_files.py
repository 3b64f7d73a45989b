"""Points in time, and which files Compose may have copied into a container."""

import io
import tarfile
from datetime import UTC, datetime

import pytest

from watchtower_async.engine.injected_files import carried_member, read_file, was_injected
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


def an_archive(*members: tarfile.TarInfo) -> bytes:
    """Return an archive of these members; a file holds zeros."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return archive.getvalue()


def a_member(kind: bytes = tarfile.REGTYPE, pax_headers: dict[str, str] | None = None) -> tarfile.TarInfo:
    """Return a member as the engine sends it."""
    member = tarfile.TarInfo("key")
    member.type, member.mode, member.uid, member.gid = kind, 0o440, 7, 8
    member.size, member.mtime = (3 if kind == tarfile.REGTYPE else 0), 1_700_000_000
    member.pax_headers = pax_headers or {}
    return member


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"", "no tar archive"),
        (b"{}" * 1000, "no tar archive"),
        (an_archive(), "not a regular file"),
        (an_archive(a_member(tarfile.DIRTYPE)), "not a regular file"),
        (an_archive(a_member(tarfile.SYMTYPE)), "not a regular file"),
        (an_archive(a_member(), a_member()), "not a regular file"),
        (an_archive(a_member())[:513], "no tar archive"),
    ],
)
def test_archive_that_is_not_one_file_is_refused(archive: bytes, reason: str) -> None:
    """What was a file when it was found may be something else by now."""
    with pytest.raises(ValueError, match=reason):
        read_file(archive)


def test_copy_keeps_all_but_name_and_time() -> None:
    """Compose's archive had the full path and whole seconds, and so does ours; extended attributes go along."""
    sent = an_archive(a_member(pax_headers={"mtime": "1700000000.25", "SCHILY.xattr.user.a": "b"}))
    copied = carried_member(read_file(sent)[0], "/run/secrets/key", CREATED)
    member, content = read_file(an_archive(copied))
    assert [member.name, member.mode, member.uid, member.gid] == ["run/secrets/key", 0o440, 7, 8]
    assert [member.mtime, content] == [int(CREATED.timestamp()), bytes(3)]
    assert member.pax_headers == {"SCHILY.xattr.user.a": "b"}
