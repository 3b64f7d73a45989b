"""What people write to choose containers."""

import pytest

from watchtower_async.updates.patterns import Patterns, show_pair


@pytest.mark.parametrize("text", ["[", "(", "a{99999999999999999999}", "*"])
def test_pattern_that_does_not_compile_is_taken_literally(text: str) -> None:
    """Somebody meant a name."""
    assert Patterns([text]).match(text)
    assert not Patterns([text]).match("web")


def test_no_pattern_matches_nothing() -> None:
    """And counts as not given."""
    assert not Patterns(())
    assert not Patterns(()).match("")
    assert Patterns(["web"])


def test_label_pair_is_shown_as_it_is_written() -> None:
    """Without a value the label alone is meant."""
    assert show_pair(("tier", "front")) == "tier=front"
    assert show_pair(("tier", "")) == "tier"
