"""Reloading: who shares a look at the directory, and who learns what of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.file_reader import FileAbsent, FileContent, FileUnreadable, Reading
from watchtower_async.credentials.lookup import HelperNotFound, HelperQuestion, HelperReply
from watchtower_async.credentials.store import CredentialStore, StoreState

CONFIG = Path("/config")


def content(*users: str, store: str = "") -> FileContent:
    """A file with a login for each of these, at a registry of their name."""
    auths = {f"{user}.example": {"username": user, "password": "pw"} for user in users}
    return FileContent(CONFIG / "config.json", json.dumps({"auths": auths, "credsStore": store}).encode())


class Directory:
    """A directory that shows what the test says, and can be made to keep readers waiting."""

    def __init__(self, shown: Reading) -> None:
        self.shown = shown
        self.reads = 0
        self._open = threading.Event()
        self._open.set()

    def read(self, _: Path) -> Reading:
        self.reads += 1
        shown = self.shown
        assert self._open.wait(timeout=10)
        return shown

    def close(self) -> None:
        """Keep readers waiting; they get what was shown when they came."""
        self._open.clear()

    def open(self) -> None:
        """Let them go on."""
        self._open.set()

    async def until_read(self, count: int) -> None:
        """Wait until so many readers came."""
        with anyio.fail_after(5):
            while self.reads < count:  # noqa: ASYNC110 - a thread sets no event of the loop
                await anyio.sleep(0.001)

    def store(self, *, grace: float = 0.0, helpers: KeptAnswers | None = None) -> CredentialStore:
        """Return a store of this directory."""
        return CredentialStore(directory=CONFIG, read=self.read, grace=grace, helpers=helpers)


class KeptAnswers:
    """A runner of helpers that keeps answers for some servers."""

    def __init__(self, *servers: str) -> None:
        self.servers = set(servers)

    async def ask(self, question: HelperQuestion, *, refused: Credential | Anonymous | None = None) -> HelperReply:
        return HelperNotFound()

    def forget(self, concerns: Callable[[str], bool]) -> None:
        self.servers = {server for server in self.servers if not concerns(server)}


async def test_requests_while_a_look_runs_share_one_more() -> None:
    """What they want to know may have changed after that look began, and one look is enough for all of them."""
    directory = Directory(content("one"))
    store = directory.store()
    directory.close()
    async with anyio.create_task_group() as group:
        group.start_soon(store.reload)
        await directory.until_read(1)
        directory.shown = content("two")
        for _ in range(5):
            group.start_soon(store.reload)
        await anyio.sleep(0.05)
        directory.open()
    assert directory.reads == 2
    assert store.snapshot is not None
    assert list(store.snapshot.config.auths) == ["two.example"]


async def test_cancelled_look_is_done_for_those_who_wait() -> None:
    """The one who leaves takes nothing from the others."""
    directory = Directory(content("one"))
    store = directory.store()
    directory.close()
    leaving = anyio.CancelScope()

    async def leave() -> None:
        with leaving:
            await store.reload()

    async with anyio.create_task_group() as group:
        group.start_soon(leave)
        await directory.until_read(1)
        group.start_soon(store.reload)
        await anyio.sleep(0.05)
        leaving.cancel()
        await anyio.sleep(0.05)
        assert store.snapshot is None
        directory.open()
    assert store.snapshot is not None


async def test_waiting_for_news_ends_when_there_are_some() -> None:
    """Whoever comes late has them at once, and several changes are one for those who were busy."""
    directory = Directory(content("one"))
    store = directory.store()
    await store.reload()
    known = store.state
    for reading in (content("two"), content("three")):
        directory.shown = reading
        await store.reload()
    with anyio.fail_after(5):
        state = await store.state_after(known)
    assert state.snapshot is store.snapshot
    assert store.snapshot is not None
    assert store.snapshot.generation == 3


@pytest.mark.parametrize(
    "shown",
    [content("two"), FileUnreadable("no"), FileContent(CONFIG / "config.json", content("one").data, ("a warning",))],
    ids=["content", "problem", "warning"],
)
async def test_everybody_who_waits_is_told(shown: Reading) -> None:
    """Content, problems and warnings are news."""
    directory = Directory(content("one"))
    store = directory.store()
    await store.reload()
    known, told = store.state, list[StoreState]()

    async def listen() -> None:
        told.append(await store.state_after(known))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(listen)
        await store.reload()
        assert not told
        directory.shown = shown
        await store.reload()
    assert told == [store.state, store.state]


async def test_listener_that_fails_costs_itself_only() -> None:
    """The store does not know who listens."""
    directory = Directory(content("one"))
    store = directory.store()
    await store.reload()

    async def listen() -> None:
        await store.state_after(store.state)
        raise ValueError("a bug")

    with pytest.RaisesGroup(ValueError):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.lowlevel.checkpoint()
            directory.shown = content("two")
            await store.reload()
    assert store.snapshot is not None
    assert store.snapshot.generation == 2


async def test_content_that_is_away_is_gone_after_a_second_look_that_is_late_enough() -> None:
    """A check tells when that is; until then the last good state stays."""
    directory = Directory(content("one"))
    store = directory.store(grace=0.1)
    assert await store.check() is None
    directory.shown = FileAbsent()
    gone_at = await store.check()
    assert gone_at is not None
    assert await store.check() == gone_at
    assert store.snapshot is not None
    assert store.snapshot.generation == 1
    await anyio.sleep_until(gone_at)
    assert await store.check() is None
    assert store.snapshot.generation == 2
    assert "/config does not exist" in "".join(store.warnings)


@pytest.mark.parametrize("between_them", [content("one"), FileUnreadable("half written")], ids=["good", "broken"])
async def test_grace_begins_anew_when_content_was_there_in_between(between_them: Reading) -> None:
    """Each writer has the whole time."""
    directory = Directory(content("one"))
    store = directory.store(grace=60.0)
    await store.check()
    times = []
    for reading in (FileAbsent(), between_them, FileAbsent()):
        directory.shown = reading
        times.append(await store.check())
    first, between, second = times
    assert between is None
    assert first is not None
    assert second is not None
    assert second > first


async def test_reload_waits_for_no_grace_while_somebody_watches() -> None:
    """The watcher looks again, and tells the warnings."""
    directory = Directory(content("one"))
    store = directory.store(grace=60.0)
    await store.reload()
    directory.shown = FileAbsent("a directory is in its place")
    with store.watched(), anyio.fail_after(5):
        assert await store.reload() is None
    with anyio.move_on_after(0.1) as scope:
        await store.reload()
    assert scope.cancelled_caught


async def test_answers_of_helpers_are_dropped_for_the_changed_registries_only() -> None:
    """A login that a helper keeps is told by a mark in the file; the other answers are as good as before."""
    helpers = KeptAnswers("one.example", "two.example", "three.example")
    directory = Directory(content("one", store="pass"))
    store = directory.store(helpers=helpers)
    await store.reload()
    helpers.servers = {"one.example", "two.example", "three.example"}
    directory.shown = content("one", "two", store="pass")
    await store.reload()
    assert helpers.servers == {"one.example", "three.example"}


async def test_answers_of_helpers_stay_when_nothing_has_changed() -> None:
    """Not every look costs a run of each helper."""
    helpers = KeptAnswers()
    directory = Directory(content("one", store="pass"))
    store = directory.store(helpers=helpers)
    await store.reload()
    helpers.servers = {"one.example"}
    await store.reload()
    directory.shown = FileUnreadable("no")
    await store.reload()
    assert helpers.servers == {"one.example"}
