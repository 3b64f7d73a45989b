"""Whatever the state file holds: nothing is raised, and what is learned next is kept."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stored import an_entry
from watchtower_async.state.database import FILE_NAME
from watchtower_async.state.store import StateStore


@functools.cache
def a_good_file() -> bytes:
    """Return a file with a few rows."""
    with tempfile.TemporaryDirectory() as name:

        async def make() -> None:
            async with StateStore(directory=Path(name), tell=print).opened(may_write=True) as store:
                for number in range(5):
                    await store.add_to_quarantine(an_entry(f"c{number}"))
                    await store.save_rollout(f"r{number}", "{}")

        anyio.run(make)
        return (Path(name) / FILE_NAME).read_bytes()


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """Return a good file with some bytes changed, and perhaps its end missing."""
    content = bytearray(a_good_file())
    for _ in range(draw(st.integers(1, 8))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


async def open_and_learn(directory: Path) -> list[str]:
    """Look, then write as the updater does, then look again; return who is in quarantine at the end."""
    told: list[str] = []
    async with StateStore(directory=directory, tell=told.append).opened(may_write=False):
        pass
    async with StateStore(directory=directory, tell=told.append).opened(may_write=True) as store:
        assert store.is_kept
        await store.add_to_quarantine(an_entry("learned"))
    assert all("\n" not in text for text in told)
    async with StateStore(directory=directory, tell=told.append).opened(may_write=False) as store:
        return [entry.container for entry in store.quarantined]


def check(content: bytes, log: bytes | None = None) -> None:
    """Start with these files."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / FILE_NAME).write_bytes(content)
        if log is not None:
            (Path(name) / f"{FILE_NAME}-wal").write_bytes(log)
        assert "learned" in anyio.run(open_and_learn, Path(name))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000))
def test_any_bytes_are_survived(content: bytes) -> None:
    """Also those that are no database at all."""
    check(content)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000))
def test_any_log_beside_a_good_file_is_survived(log: bytes) -> None:
    """What a power cut leaves of it."""
    check(a_good_file(), log)


@settings(max_examples=60, deadline=None)
@given(damaged_files())
def test_any_damage_to_a_good_file_is_survived(content: bytes) -> None:
    """Changed bytes and missing ends, wherever they are."""
    check(content)
