"""The word that a helper leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.builders import a_digest
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.helper_container import HelperOrder
from watchtower_async.rollout.helper_result import HelperResult, ResultFile
from watchtower_async.rollout.outcome import Outcome, OutcomeKind

ORDER = HelperOrder(
    name="tower",
    container_id="1",
    reference=parse_reference("registry.example/watchtower:1"),
    image_id=a_digest("image"),
    digest=parse_digest(a_digest("published")),
)
RESULT = HelperResult(ORDER, Outcome(OutcomeKind.ROLLED_BACK, "it exited", ("log: no",), Blame.IMAGE))


def test_word_is_taken_once(tmp_path: Path) -> None:
    """The whole of it; and afterwards it is gone."""
    file = ResultFile(tmp_path)
    assert file.leave(RESULT) is None
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.take() == RESULT
    assert file.take() is None
    assert not list(tmp_path.iterdir())


def test_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """It is no reason to fail: the replacement itself has ended."""
    problem = ResultFile(tmp_path / "missing").leave(RESULT)
    assert problem is not None
    assert "cannot be written" in problem


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "\xff"])
def test_file_that_is_none_of_ours_is_nothing(tmp_path: Path, text: str) -> None:
    """It does not keep an updater from starting."""
    file = ResultFile(tmp_path)
    file.path.write_text(text, encoding="latin-1")
    assert file.take() is None
