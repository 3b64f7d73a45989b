"""The state on real files: what is kept, by whom, and what happens when the disk does not play along."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.support.builders import a_digest
from tests.support.stored import MORNING, a_rollout, an_entry
from watchtower_async.images.digest import parse_digest
from watchtower_async.state.contents import (
    DIGESTS_PER_IMAGE,
    DOCUMENT_CHARACTERS,
    MESSAGES_CHARACTERS,
    MOST_MESSAGES,
    MOST_SIGHTINGS,
    Contents,
    Sighting,
)
from watchtower_async.state.database import FILE_NAME, MOST_BROKEN, look, move_aside
from watchtower_async.state.schema import STEPS
from watchtower_async.state.store import StateStore

WRITER = """
import sys
import anyio
from pathlib import Path
from tests.support.stored import an_entry
from watchtower_async.state.store import StateStore

async def write():
    async with StateStore(directory=Path(sys.argv[1]), tell=print).opened(may_write=True) as store:
        number = 0
        while True:
            await store.add_to_quarantine(an_entry(f"{sys.argv[2]}{number:04}", minutes=number))
            print(number, flush=True)
            number += 1

anyio.run(write)
"""
VERSION_1 = """
CREATE TABLE quarantine (
    host TEXT NOT NULL, container TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, since TEXT NOT NULL,
    reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (host, container)
);
CREATE TABLE rollouts (id TEXT PRIMARY KEY NOT NULL, document TEXT NOT NULL, updated_at TEXT NOT NULL);
INSERT INTO quarantine VALUES (
    'unix:///x.sock', 'web', 'registry.example/app:1', 'sha256:{hex}', '2024-05-06T07:08:09+00:00',
    'the new container failed: it exited with code 3', '["log: cannot start"]'
);
INSERT INTO rollouts VALUES ('r1', '{{}}', '2024-05-06T07:08:09+00:00');
PRAGMA user_version = 1;
"""

VERSION_2 = f"""{VERSION_1}
CREATE TABLE sightings (
    image TEXT NOT NULL, digest TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (image, digest)
) WITHOUT ROWID;
INSERT INTO sightings VALUES ('registry.example/app:1', 'sha256:{{hex}}', '2024-05-06T07:08:09+00:00');
PRAGMA user_version = 2;
"""


def a_sighting(word: str = "v2", *, image: str = "registry.example/app:1", minutes: int = 0) -> Sighting:
    """Return that an image was seen so many minutes after seven in the morning."""
    return Sighting(image=image, digest=parse_digest(a_digest(word)), since=MORNING + timedelta(minutes=minutes))


@dataclass
class Place:
    """A state directory, and what was told about it."""

    directory: Path
    told: list[str] = field(default_factory=list)
    now: datetime = MORNING

    @property
    def path(self) -> Path:
        """Return the state file."""
        return self.directory / FILE_NAME

    def store(self) -> StateStore:
        """Return the state as a process of its own would have it."""
        return StateStore(directory=self.directory, tell=self.told.append, clock=lambda: self.now)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[StateStore]:
        """Open the state as the updater does."""
        async with self.store().opened(may_write=True) as store:
            yield store

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[StateStore]:
        """Open the state as any other process does."""
        async with self.store().opened(may_write=False) as store:
            yield store

    async def names(self) -> list[str]:
        """Return the containers that the next process finds in quarantine."""
        async with self.looking() as store:
            return [entry.container for entry in store.quarantined]

    @property
    def broken(self) -> list[str]:
        """Return the files that were moved aside."""
        return sorted(path.name for path in self.directory.glob(f"{FILE_NAME}.broken-*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A state directory that does not exist yet."""
    return Place(tmp_path / "state")


async def fill(place: Place) -> None:
    """Let a process put one container into quarantine, and end."""
    async with place.writing() as store:
        await store.add_to_quarantine(an_entry())


# ---- what is kept ------------------------------------------------------------------------------------------------


async def test_next_process_knows_what_the_last_one_learned(place: Place) -> None:
    """The same values, to the last field; and nothing was wrong."""
    async with place.writing() as store:
        assert store.is_kept
        await store.add_to_quarantine(an_entry())
        await store.save_rollout("r1", '{"step": 3}')
    async with place.writing() as store:
        assert store.quarantined == (an_entry(),)
        assert store.load_rollouts() == (a_rollout("r1", '{"step": 3}'),)
    assert place.told == []


async def test_what_was_dropped_stays_dropped(place: Place) -> None:
    """And the rest stays."""
    async with place.writing() as store:
        for name in ("a", "b", "c"):
            await store.add_to_quarantine(an_entry(name))
            await store.save_rollout(name, "{}")
        assert await store.lift_quarantine("b") == (an_entry("b"),)
        assert await store.lift_quarantine("nobody") == ()
        await store.forget_rollout("a")
        await store.forget_rollout("nobody")
    async with place.writing() as store:
        assert [entry.container for entry in store.quarantined] == ["a", "c"]
        assert [rollout.id for rollout in store.load_rollouts()] == ["b", "c"]
        await store.lift_quarantine()
    assert await place.names() == []


async def test_lifting_on_one_host_spares_the_others(place: Place) -> None:
    """A session speaks for its own engine, a person for all."""
    async with place.writing() as store:
        await store.add_to_quarantine(an_entry(host="a"))
        await store.add_to_quarantine(an_entry(host="b"))
        assert await store.lift_quarantine("web", host="a") == (an_entry(host="a"),)
        assert store.quarantined == (an_entry(host="b"),)


async def test_file_is_for_its_owner_only(place: Place) -> None:
    """Logs of containers are in it, whatever the umask is."""
    before = os.umask(0)
    try:
        async with place.writing() as store:
            await store.add_to_quarantine(an_entry())
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.directory.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700


async def test_rollout_that_is_too_long_is_told_and_the_state_before_it_stays(place: Place) -> None:
    """A file does not grow without end."""
    async with place.writing() as store:
        await store.save_rollout("r1", "{}")
        await store.save_rollout("r1", "x" * (DOCUMENT_CHARACTERS + 1))
        assert store.load_rollouts() == (a_rollout(),)
    assert len(place.told) == 1
    assert "rollout r1 is too long" in place.told[0]


async def test_changes_at_the_same_time_are_all_kept(place: Place) -> None:
    """Tasks do not overwrite what the others have learned."""
    async with place.writing() as store, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(store.add_to_quarantine, an_entry(f"c{number:02}"))
            group.start_soon(store.save_rollout, f"r{number:02}", "{}")
    async with place.looking() as store:
        assert len(store.quarantined) == len(store.load_rollouts()) == 20


async def test_cancelled_change_is_written_at_the_end(place: Place) -> None:
    """In memory it counts already, so the file gets it when the updater stops."""
    async with place.writing() as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.add_to_quarantine(an_entry())
        assert store.quarantined == (an_entry(),)
    assert await place.names() == ["web"]


async def test_state_of_version_1_is_read_by_every_later_one(place: Place) -> None:
    """The file was made by the statements of that version, not by today's code."""
    place.directory.mkdir()
    with closing(sqlite3.connect(place.path)) as connection:
        connection.executescript(VERSION_1.format(hex=an_entry().digest.hex))
    async with place.looking() as store:
        assert store.quarantined == (an_entry(),)
    async with place.writing() as store:
        assert store.quarantined == (an_entry(),)
        assert store.load_rollouts() == (a_rollout(),)
        await store.add_to_quarantine(an_entry("db"))
    assert await place.names() == ["db", "web"]
    with closing(sqlite3.connect(place.path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert place.told == []


# ---- first seen --------------------------------------------------------------------------------------------------


async def test_next_process_knows_since_when_an_image_is_known(place: Place) -> None:
    """To the second, by image and digest."""
    async with place.writing() as store:
        await store.note_sightings([a_sighting(), a_sighting("v3", minutes=5)])
    async with place.writing() as store:
        assert store.first_seen("registry.example/app:1", a_sighting("v2").digest) == MORNING
        assert store.first_seen("registry.example/app:1", a_sighting("v3").digest) == MORNING + timedelta(minutes=5)
        assert store.first_seen("registry.example/other:1", a_sighting("v2").digest) is None
        assert store.first_seen("registry.example/app:1", a_sighting("v4").digest) is None
    assert place.told == []


async def test_first_sight_stays_when_an_image_is_seen_again(place: Place) -> None:
    """An earlier one takes its place: the later was noted by a clock that was ahead."""
    async with place.writing() as store:
        await store.note_sightings([a_sighting(minutes=5)])
        await store.note_sightings([a_sighting(minutes=9)])
        assert store.first_seen(a_sighting().image, a_sighting().digest) == MORNING + timedelta(minutes=5)
        await store.note_sightings([a_sighting()])
    async with place.looking() as store:
        assert store.first_seen(a_sighting().image, a_sighting().digest) == MORNING


async def test_state_of_version_1_gets_room_for_sightings(place: Place) -> None:
    """Who looks finds none in it, and who writes keeps what was there."""
    place.directory.mkdir()
    with closing(sqlite3.connect(place.path)) as connection:
        connection.executescript(VERSION_1.format(hex=an_entry().digest.hex))
    async with place.looking() as store:
        assert store.first_seen(a_sighting().image, a_sighting().digest) is None
    async with place.writing() as store:
        await store.note_sightings([a_sighting()])
    async with place.looking() as store:
        assert store.first_seen(a_sighting().image, a_sighting().digest) == MORNING
        assert store.quarantined == (an_entry(),)
        assert store.load_rollouts() == (a_rollout(),)
    assert place.told == []


async def test_sighting_that_is_none_costs_itself_only(place: Place) -> None:
    """Somebody edited the file."""
    async with place.writing() as store:
        await store.note_sightings([a_sighting()])
    rows = [("a", "short", "2024-05-06T07:08:09+00:00"), ("b", a_digest("b"), "noon"), ("c", a_digest("c"), b"\xff")]
    rows.append(("d", a_digest("d"), "2024-05-06T07:08:09"))
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.executemany("INSERT INTO sightings VALUES (?, ?, ?)", rows)
    assert list(look(place.path).sightings) == [a_sighting().key]


def test_image_that_moves_all_the_time_drives_out_only_itself() -> None:
    """Another one waits for its day, however long ago it was seen."""
    contents = Contents().with_sightings([a_sighting("old", image="slow", minutes=-9)])
    for number in range(MOST_SIGHTINGS + 1):
        contents = contents.with_sightings([a_sighting(f"v{number}", minutes=number)])
    moving = [seen.since for seen in contents.sightings.values() if seen.image != "slow"]
    assert moving == [MORNING + timedelta(minutes=MOST_SIGHTINGS - back) for back in range(DIGESTS_PER_IMAGE)][::-1]
    assert a_sighting("old", image="slow").key in contents.sightings


def test_oldest_sightings_go_when_there_are_too_many() -> None:
    """A file does not grow without end."""
    many = [a_sighting(image=f"image{number}", minutes=number) for number in range(MOST_SIGHTINGS + 1)]
    contents = Contents().with_sightings(many)
    assert len(contents.sightings) == MOST_SIGHTINGS
    assert many[0].key not in contents.sightings


def test_sightings_that_are_known_change_nothing() -> None:
    """So nothing is written."""
    contents = Contents().with_sightings([a_sighting()])
    assert contents.with_sightings([a_sighting(minutes=3)]) is contents


# ---- notifications -----------------------------------------------------------------------------------------------


async def test_next_process_finds_the_notifications_that_were_not_delivered(place: Place) -> None:
    """By key, in the order of the keys; what was delivered is gone."""
    async with place.writing() as store:
        for key in ("2", "1", "3"):
            await store.outbox.save(key, f"text {key}")
        await store.outbox.save("1", "another text")
        await store.outbox.forget("3")
        await store.outbox.forget("nobody")
    async with place.writing() as store:
        assert list((await store.outbox.load()).items()) == [("1", "another text"), ("2", "text 2")]
    assert place.told == []


async def test_state_of_version_2_gets_room_for_notifications(place: Place) -> None:
    """The file was made by the statements of that version; who looks finds none in it, and who writes loses nothing."""
    place.directory.mkdir()
    with closing(sqlite3.connect(place.path)) as connection:
        connection.executescript(VERSION_2.format(hex=an_entry().digest.hex))
    async with place.looking() as store:
        assert await store.outbox.load() == {}
    async with place.writing() as store:
        await store.outbox.save("1", "text")
    async with place.looking() as store:
        assert await store.outbox.load() == {"1": "text"}
        assert store.quarantined == (an_entry(),)
        assert store.load_rollouts() == (a_rollout(),)
        assert store.first_seen("registry.example/app:1", an_entry().digest) == MORNING
    with closing(sqlite3.connect(place.path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert place.told == []


async def test_notification_that_is_no_text_costs_itself_only(place: Place) -> None:
    """Somebody edited the file."""
    async with place.writing() as store:
        await store.outbox.save("1", "text")
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.execute("INSERT INTO outbox VALUES ('2', X'FF')")
    assert look(place.path).messages == {"1": "text"}


def test_oldest_notifications_go_when_there_are_too_many() -> None:
    """A service that is away for a month must not fill the disk."""
    contents = Contents(messages={f"{number:05}": "x" for number in range(MOST_MESSAGES)})
    kept = list(contents.with_message("99999", "x").messages)
    assert (len(kept), kept[0], kept[-1]) == (MOST_MESSAGES, "00001", "99999")


def test_oldest_notifications_go_when_they_are_too_long() -> None:
    """Few and large ones fill a disk as well."""
    third = "x" * (MESSAGES_CHARACTERS // 3)
    contents = Contents()
    for key in ("1", "2", "3", "4"):
        contents = contents.with_message(key, third)
    assert list(contents.messages) == ["2", "3", "4"]


# ---- who writes --------------------------------------------------------------------------------------------------


async def test_other_process_sees_what_was_written_and_writes_nothing(place: Place) -> None:
    """`plan` beside the running updater: it knows the quarantine, and what it learns is its own."""
    async with place.writing() as updater:
        await updater.add_to_quarantine(an_entry("web"))
        async with place.looking() as other:
            assert other.quarantined == (an_entry("web"),)
            assert not other.is_kept
            await other.add_to_quarantine(an_entry("db"))
            assert len(other.quarantined) == 2
    assert await place.names() == ["web"]
    assert place.told == []


async def test_other_process_makes_no_directory(place: Place) -> None:
    """It touches nothing, and nothing is wrong."""
    assert await place.names() == []
    assert not place.directory.exists()
    assert place.told == []


async def test_state_that_is_not_opened_is_in_memory(place: Place) -> None:
    """So nobody needs another class where there is no disk."""
    store = place.store()
    await store.add_to_quarantine(an_entry())
    assert store.quarantined == (an_entry(),)
    assert not place.directory.exists()


async def test_reader_waits_until_the_state_was_read(place: Place) -> None:
    """The control socket answers a little earlier, and must not say that there is nothing."""
    await fill(place)
    store = place.store()
    seen: list[str] = []

    async def ask() -> None:
        await store.ready()
        seen.extend(entry.container for entry in store.quarantined)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        async with store.opened(may_write=True):
            await anyio.wait_all_tasks_blocked()
    assert seen == ["web"]


async def written_by(process: subprocess.Popen[str], count: int) -> int:
    """Wait until a writer has said so often that it has written, and return the last number."""
    assert process.stdout is not None
    last = -1
    for _ in range(count):
        last = int(await to_thread.run_sync(process.stdout.readline))
    return last


@contextmanager
def a_writer(place: Place, prefix: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes as fast as it can. It is killed, never asked to stop."""
    arguments = [sys.executable, "-c", WRITER, str(place.directory), prefix]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


async def test_killed_in_the_middle_of_a_write_loses_nothing_that_was_told(place: Place) -> None:
    """Every write that had returned is there, three times in a row, and no file is moved aside."""
    for turn in ("a", "b", "c"):
        with a_writer(place, turn) as process, anyio.fail_after(60):
            last = await written_by(process, 20)
        async with place.writing() as store:
            found = {entry.container for entry in store.quarantined}
        assert {f"{turn}{number:04}" for number in range(last + 1)} <= found
    assert place.told == []
    assert place.broken == []


async def test_two_processes_that_write_damage_nothing(place: Place) -> None:
    """The control socket's lock should prevent it; the file does not depend on that."""
    with a_writer(place, "a") as one, a_writer(place, "b") as two, anyio.fail_after(60):
        last = {"a": await written_by(one, 20), "b": await written_by(two, 20)}
    found = set(await place.names())
    assert {f"{turn}{number:04}" for turn, most in last.items() for number in range(most + 1)} <= found
    assert place.told == []


# ---- files that cannot be used -----------------------------------------------------------------------------------


def not_a_database(good: bytes) -> bytes:
    """Return what was never such a file."""
    return b"#!/bin/sh\nexit 1\n" * 100


def half(good: bytes) -> bytes:
    """Return the first half."""
    return good[: len(good) // 2]


def only_the_header(good: bytes) -> bytes:
    """Return the first hundred bytes, from which the version can still be read."""
    return good[:100]


def page_of_zeros(good: bytes) -> bytes:
    """Return the file with its second page gone."""
    return good[:4096] + bytes(4096) + good[8192:]


@pytest.mark.parametrize("damage", [not_a_database, half, only_the_header, page_of_zeros])
async def test_damaged_file_is_moved_aside_and_the_updater_goes_on(damage: object, place: Place) -> None:
    """It is told once, nothing is thrown away, and what is learned from then on is kept."""
    assert callable(damage)
    await fill(place)
    content = damage(place.path.read_bytes())
    place.path.write_bytes(content)
    async with place.writing() as store:
        assert store.is_kept
        assert store.quarantined == ()
        await store.add_to_quarantine(an_entry("db"))
    assert place.broken == [f"{FILE_NAME}.broken-20240506T070809Z"]
    assert (place.directory / place.broken[0]).read_bytes() == content
    assert len(place.told) == 1
    assert place.broken[0] in place.told[0]
    assert "\n" not in place.told[0]
    assert await place.names() == ["db"]


async def test_damaged_file_is_no_trouble_for_other_processes(place: Place) -> None:
    """They go on without it, and leave it where it is."""
    place.directory.mkdir()
    place.path.write_bytes(not_a_database(b""))
    assert await place.names() == []
    assert place.broken == []
    assert len(place.told) == 1
    assert "goes on without it" in place.told[0]


async def test_empty_file_is_a_new_one(place: Place) -> None:
    """A full disk leaves such files; there is nothing in them to be moved aside."""
    place.directory.mkdir()
    place.path.touch()
    await fill(place)
    assert await place.names() == ["web"]
    assert place.told == []


async def test_newer_file_is_moved_aside_with_its_version_told(place: Place) -> None:
    """After a downgrade nobody knows what the rows mean; the newer program's file is still there."""
    await fill(place)
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    async with place.writing() as store:
        assert store.quarantined == ()
    assert len(place.told) == 1
    assert f"newer version (schema {len(STEPS) + 1}, this one knows {len(STEPS)})" in place.told[0]
    with closing(sqlite3.connect(place.directory / place.broken[0])) as connection:
        assert connection.execute("SELECT container FROM quarantine").fetchall() == [("web",)]


async def test_foreign_database_is_moved_aside(place: Place) -> None:
    """Tables of the same name with other columns are not ours."""
    place.directory.mkdir()
    with closing(sqlite3.connect(place.path)) as connection:
        connection.executescript("CREATE TABLE quarantine (x); PRAGMA user_version = 1")
    await fill(place)
    assert len(place.broken) == 1
    assert await place.names() == ["web"]


async def test_row_that_is_none_of_ours_costs_itself_only(place: Place) -> None:
    """Somebody may have edited the file by hand."""
    await fill(place)
    bad = [
        ("h", "a", "i", "sha256:short", MORNING.isoformat(), "r", "[]"),
        ("h", "b", "i", f"sha256:{'ab' * 32}", "yesterday", "r", "[]"),
        ("h", "c", "i", f"sha256:{'ab' * 32}", MORNING.isoformat(), "r", "{"),
        ("h", "d", "i", b"\xff", MORNING.isoformat(), "r", "[]"),
    ]
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.executemany("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)", bad)
        connection.execute("INSERT INTO rollouts VALUES ('r', X'FF', 'now')")
    async with place.writing() as store:
        assert store.quarantined == (an_entry(),)
        assert store.load_rollouts() == ()
    assert place.broken == []


def break_it(place: Place, content: bytes) -> None:
    """Leave an unusable file behind, with a log and an index of it."""
    place.directory.mkdir(exist_ok=True)
    for end in ("", "-wal", "-shm"):
        place.path.with_name(f"{FILE_NAME}{end}").write_bytes(content + end.encode())


def test_log_of_a_broken_file_goes_with_it(place: Place) -> None:
    """A new file that finds it would be broken at once, and the old one would lack its last changes."""
    break_it(place, b"x")
    assert move_aside(place.path, MORNING) == f"{FILE_NAME}.broken-20240506T070809Z"
    found = {path.name: path.read_bytes() for path in place.directory.iterdir()}
    assert found == {
        f"{FILE_NAME}.broken-20240506T070809Z": b"x",
        f"{FILE_NAME}.broken-20240506T070809Z-wal": b"x-wal",
    }


def test_only_a_few_broken_files_are_kept(place: Place) -> None:
    """The newest ones, each with its log."""
    for hour in range(MOST_BROKEN + 2):
        break_it(place, b"x")
        move_aside(place.path, datetime(2024, 5, 6, hour, tzinfo=UTC))
    hours = [name.removeprefix(f"{FILE_NAME}.broken-20240506T") for name in place.broken]
    assert hours == [f"{hour:02}0000Z{end}" for hour in range(2, MOST_BROKEN + 2) for end in ("", "-wal")]


# ---- directories and disks that cannot be used -------------------------------------------------------------------


def below_a_file(directory: Path) -> Path:
    """Return a directory that cannot be made, not even by root."""
    directory.touch()
    return directory / "below"


def where_the_file_is_a_directory(directory: Path) -> Path:
    """Return a directory in which something else has the file's name."""
    (directory / FILE_NAME / "x").mkdir(parents=True)
    return directory


@pytest.mark.parametrize("block", [below_a_file, where_the_file_is_a_directory])
async def test_unusable_directory_is_told_once_and_memory_goes_on(block: object, place: Place) -> None:
    """The updater works as before, except that its successor will not know."""
    assert callable(block)
    place.directory = block(place.directory)
    async with place.writing() as store:
        assert not store.is_kept
        await store.add_to_quarantine(an_entry("a"))
        await store.add_to_quarantine(an_entry("b"))
        await store.save_rollout("r1", "{}")
        assert len(store.quarantined) == 2
        assert store.load_rollouts() == (a_rollout(),)
    assert len(place.told) == 1
    assert str(place.directory) in place.told[0]
    assert "forgotten when the updater stops" in place.told[0]


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[None]:
    """Mount something while the context is open."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *options, str(point)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


def fill_up(path: Path) -> None:
    """Write until nothing more fits on the disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_full_disk_is_told_once_and_what_was_missed_is_written_when_there_is_room(place: Place) -> None:
    """In memory nothing is missing at any moment."""
    place.directory.mkdir()
    with mounted(place.directory, "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs"):
        ballast = place.directory / "ballast"
        async with place.writing() as store:
            await store.add_to_quarantine(an_entry("before"))
            fill_up(ballast)
            for number in range(40):
                await store.add_to_quarantine(an_entry(f"c{number:02}", detail=("x" * 900,) * 3))
            await store.lift_quarantine("before")
            assert len(place.told) == 1
            assert "cannot be written" in place.told[0]
            assert len(store.quarantined) == 40
            ballast.unlink()
            await store.lift_quarantine("c00")
        assert await place.names() == [f"c{number:02}" for number in range(1, 40)]
    assert len(place.told) == 1


async def test_full_disk_at_the_start_costs_the_state_only(place: Place) -> None:
    """Not even the tables can be made."""
    place.directory.mkdir()
    with mounted(place.directory, "-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs"):
        async with place.writing() as store:
            await store.add_to_quarantine(an_entry())
            assert store.quarantined == (an_entry(),)
        assert place.broken == []
    assert len(place.told) == 1


async def test_state_on_a_read_only_disk_is_still_known(place: Place) -> None:
    """What failed before is not tried again, and nothing is moved aside."""
    await fill(place)
    with mounted(place.directory, "-o", "bind,ro", str(place.directory)):
        async with place.writing() as store:
            assert not store.is_kept
            assert store.quarantined == (an_entry(),)
        assert await place.names() == ["web"]
        assert place.broken == []
    assert len(place.told) == 1


async def test_file_that_another_process_keeps_locked_costs_one_warning(place: Place) -> None:
    """A backup tool, say. What was missed is written at the end."""
    async with place.writing() as store:
        with closing(sqlite3.connect(place.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await store.add_to_quarantine(an_entry("a"))
            assert len(place.told) == 1
            assert "locked" in place.told[0]
            other.execute("ROLLBACK")
        await store.add_to_quarantine(an_entry("b"))
    assert await place.names() == ["a", "b"]


def test_look_finds_nothing_where_there_is_no_file(tmp_path: Path) -> None:
    """That is no error."""
    assert look(tmp_path / "none").quarantine == {}
