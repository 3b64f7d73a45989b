"""A secret is a text, or what is in the file that the text names."""

import os
from pathlib import Path

import pytest

from watchtower_async.secret_file import read_secret


@pytest.mark.parametrize(
    "text",
    [
        "", "hunter2", "/run/secrets/no-such-file", "a" * 5000, "a/" * 3000, "ab:/etc/hostname", "https://h/x",
        "/dev/null/x", "a\0b", "\udcff", ":", "~",
    ],
)  # fmt: skip
def test_text_that_names_no_file_is_the_secret(text: str) -> None:
    """A colon, or nothing of that name."""
    assert text == read_secret(text)


def test_file_is_read_without_the_white_space_around(tmp_path: Path) -> None:
    """Editors end files with a line break, and some begin them with a mark."""
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbf \tp\xc3\xa4ss\n  w:rd \r\n")
    assert read_secret(str(path)) == "päss\n  w:rd"
    path.write_bytes(b"")
    assert read_secret(str(path)) == ""


def test_relative_name_is_a_file_too(tmp_path: Path) -> None:
    """As in Watchtower."""
    (tmp_path / "secret").write_text("pw")
    assert read_secret(os.path.relpath(tmp_path / "secret")) == "pw"


def test_colon_after_a_drive_letter_is_part_of_a_name(tmp_path: Path) -> None:
    """As in Watchtower; here it is only a strange name."""
    directory = tmp_path / "c:"
    directory.mkdir()
    (directory / "secret").write_text("pw")
    assert read_secret(f"{os.path.relpath(tmp_path)}/c:/secret").endswith("c:/secret")
    assert read_secret("c:/no-such-file") == "c:/no-such-file"


def test_word_that_is_a_directory_is_the_secret(tmp_path: Path) -> None:
    """Many a user is called like a directory of the root."""
    (tmp_path / "media").mkdir()
    text = os.path.relpath(tmp_path / "media")
    assert text == read_secret(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "Is a directory"), (b"\xff\xfe", "not UTF-8"), (b"x" * 65537, "more than 64 KiB")],
)
def test_file_that_is_no_secret_is_an_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """A mount whose source is missing makes a directory; its name is surely not the password."""
    path = tmp_path / "secret"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as info:
        read_secret(str(path))
    assert str(path) not in str(info.value)
    assert info.value.__cause__ is None


def test_file_that_may_not_be_read_is_an_error() -> None:
    """It is there, so the text is its name."""
    with pytest.raises(ValueError, match="cannot be read"):
        read_secret("/proc/self/mem")
