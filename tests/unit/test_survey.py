"""What a survey of the configuration directory sees, and what is to be watched."""

import os
from pathlib import Path

import pytest

from watchtower_async.credentials.survey import survey_directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a file."""
    path = tmp_path / "docker"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return path


def test_nothing_new_is_an_equal_survey(directory: Path) -> None:
    """Reading the file is nothing new."""
    before = survey_directory(directory)
    (directory / "config.json").read_text()
    (directory / "another").write_text("")
    assert before == survey_directory(directory)


@pytest.mark.parametrize("name", ["config.json", ".dockercfg"])
def test_every_change_of_a_file_shows(directory: Path, name: str) -> None:
    """Made, written, replaced by the same content, closed to readers, deleted."""
    path = directory / name
    path.unlink(missing_ok=True)
    seen = [survey_directory(directory)]
    path.write_text("{}")
    seen.append(survey_directory(directory))
    path.write_text("{ }")
    seen.append(survey_directory(directory))
    path.with_name("new").write_text("{ }")
    path.with_name("new").replace(path)
    seen.append(survey_directory(directory))
    path.unlink()
    path.mkdir()
    seen.append(survey_directory(directory))
    path.rmdir()
    path.symlink_to(path)
    seen.append(survey_directory(directory))
    assert len({survey.signatures for survey in seen}) == len(seen)


def test_change_of_rights_shows(directory: Path) -> None:
    """The file may be readable now."""
    before = survey_directory(directory)
    os.utime(directory / "config.json", ns=(0, 0))
    (directory / "config.json").chmod(0o400)
    assert before != survey_directory(directory)


def test_directory_and_the_one_above_are_watched(directory: Path) -> None:
    """The file alone is not: its inode goes with the first login."""
    assert set(survey_directory(directory).paths) == {str(directory), str(directory.parent)}


def test_missing_directory_is_waited_for_at_the_nearest_one_above(tmp_path: Path) -> None:
    """However much of the path is missing."""
    assert survey_directory(tmp_path / "not" / "yet" / "there").paths == (str(tmp_path),)


def test_target_of_a_link_is_watched_in_its_directory(directory: Path) -> None:
    """A login writes there; an event of either name is one of the file."""
    target = directory.parent / "elsewhere" / "docker.json"
    target.parent.mkdir()
    (directory / "config.json").replace(target)
    (directory / "config.json").symlink_to(target)
    survey = survey_directory(directory)
    assert str(target.parent) in survey.paths
    assert {str(directory / "config.json"), str(target)} <= survey.files


def test_replaced_directory_is_another_thing_to_watch(directory: Path) -> None:
    """Under the same path."""
    before = survey_directory(directory)
    directory.rename(directory.with_name("old"))
    directory.mkdir()
    after = survey_directory(directory)
    assert before.paths == after.paths
    assert before.watched != after.watched


def test_root_is_watched_once() -> None:
    """Above it there is nothing."""
    assert survey_directory(Path("/")).paths[:1] == ("/",)
    assert len(set(survey_directory(Path("/")).paths)) == len(survey_directory(Path("/")).paths)
