"""Who this updater is."""

import re
from pathlib import Path

import pytest

from tests.support.builders import an_id
from watchtower_async.instance import FILE_NAME, kept_instance_id, new_instance_id, owner_id

FRESH = re.compile(r"x[0-9a-z]{11}")


def test_fresh_ids_differ_and_cannot_be_a_container_id() -> None:
    """Twelve characters as in a container's short id, but the first is no hexadecimal digit."""
    ids = {new_instance_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(FRESH.fullmatch(text) for text in ids)


def test_id_is_kept_in_the_directory(tmp_path: Path) -> None:
    """The next start has the same id, and nothing else is left in the directory."""
    first = kept_instance_id(tmp_path)
    assert FRESH.fullmatch(first)
    assert kept_instance_id(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x123", b"X0123456789A", b"a" * 12, b"x0123456789a x"])
def test_file_that_is_no_id_is_replaced(content: bytes, tmp_path: Path) -> None:
    """A broken file does not become part of names."""
    (tmp_path / FILE_NAME).write_bytes(content)
    fresh = kept_instance_id(tmp_path)
    assert FRESH.fullmatch(fresh)
    assert kept_instance_id(tmp_path) == fresh


def test_directory_that_cannot_be_used_gives_a_fresh_id(tmp_path: Path) -> None:
    """Without a place to keep it the id lasts as long as the process."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "missing", tmp_path / "file"):
        assert FRESH.fullmatch(kept_instance_id(directory))
    (tmp_path / "full" / FILE_NAME).mkdir(parents=True)
    assert FRESH.fullmatch(kept_instance_id(tmp_path / "full"))


def test_owner_is_the_own_container_where_there_is_one(tmp_path: Path) -> None:
    """Another updater can then see on the engine whether the owner still runs."""
    own = an_id("updater")
    assert owner_id(own_container_id=own, directory=tmp_path, holds_control_socket=True) == own[:12]
    kept = owner_id(own_container_id=None, directory=tmp_path, holds_control_socket=True)
    assert kept == kept_instance_id(tmp_path)


@pytest.mark.parametrize("own", [None, an_id("updater")])
def test_process_without_the_control_socket_owns_nothing_of_the_other(own: str | None, tmp_path: Path) -> None:
    """It must not take the running updater's unfinished work for its own."""
    kept = kept_instance_id(tmp_path)
    owner = owner_id(own_container_id=own, directory=tmp_path, holds_control_socket=False)
    assert FRESH.fullmatch(owner)
    assert owner != kept
