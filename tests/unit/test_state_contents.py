"""What is kept, and how much of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.stored import HOST, a_rollout, an_entry
from watchtower_async.state.contents import (
    DETAIL_LINES,
    MOST_ENTRIES,
    MOST_ROLLOUTS,
    TEXT_CHARACTERS,
    Contents,
    read_entry,
)


def names(contents: Contents) -> list[str]:
    """Return the containers in quarantine."""
    return sorted(container for _, container in contents.quarantine)


def test_newer_failure_of_a_container_takes_the_place_of_the_older_one() -> None:
    """The tag has moved in between, so the older digest is not published any more."""
    contents = Contents().with_entry(an_entry(digest="v2")).with_entry(an_entry(digest="v3"))
    assert (an_entry(digest="v3"),) == contents.entries_of("web", HOST)


def test_containers_of_the_same_name_on_two_hosts_are_two() -> None:
    """A host's engine says what its containers are called."""
    contents = Contents().with_entry(an_entry(host="a")).with_entry(an_entry(host="b"))
    assert (an_entry(host="a"), an_entry(host="b")) == contents.entries_of("web", None)
    assert (an_entry(host="b"),) == contents.entries_of("web", "b")
    assert (an_entry(host="b"),) == contents.without_entries((an_entry(host="a"),)).entries_of(None, None)


def test_value_is_not_changed_by_its_successors() -> None:
    """Whoever holds it still sees what there was."""
    before = Contents().with_entry(an_entry()).with_rollout(a_rollout())
    before.without_entries((an_entry(),))
    before.without_rollout("r1")
    assert names(before) == ["web"]
    assert list(before.rollouts) == ["r1"]


def test_oldest_entries_go_when_there_are_too_many() -> None:
    """By their age, not by the order in which they came."""
    contents = Contents().with_entry(an_entry("oldest", minutes=-1))
    for number in range(MOST_ENTRIES):
        contents = contents.with_entry(an_entry(f"c{number:04}", minutes=number))
    assert len(contents.quarantine) == MOST_ENTRIES
    assert "oldest" not in names(contents)


def test_oldest_rollouts_go_when_there_are_too_many() -> None:
    """One that is saved again counts as young."""
    contents = Contents().with_rollout(a_rollout("old")).with_rollout(a_rollout("busy"))
    for number in range(MOST_ROLLOUTS - 2):
        contents = contents.with_rollout(a_rollout(f"r{number}", minutes=1))
    contents = contents.with_rollout(a_rollout("busy", minutes=2)).with_rollout(a_rollout("last", minutes=3))
    assert len(contents.rollouts) == MOST_ROLLOUTS
    assert "old" not in contents.rollouts
    assert "busy" in contents.rollouts


def test_long_texts_are_cut_and_the_last_lines_are_kept() -> None:
    """The end of a log tells why a program ended."""
    lines = tuple(f"line {number} " + "x" * 2 * TEXT_CHARACTERS for number in range(2 * DETAIL_LINES))
    contents = Contents().with_entry(an_entry(reason="y" * 2 * TEXT_CHARACTERS, detail=lines))
    (entry,) = contents.entries_of(None, None)
    assert len(entry.reason) == TEXT_CHARACTERS
    assert len(entry.detail) == DETAIL_LINES
    assert entry.detail[-1].startswith(f"line {2 * DETAIL_LINES - 1} ")
    assert {len(line) for line in entry.detail} == {TEXT_CHARACTERS}


def test_text_that_no_file_can_hold_is_made_storable() -> None:
    """Half of a surrogate pair is no UTF-8."""
    (entry,) = Contents().with_entry(an_entry(reason="a\ud800b")).entries_of(None, None)
    assert entry.reason == "a?b"


def test_form_for_programs_is_read_back() -> None:
    """The control socket speaks it."""
    assert read_entry(an_entry().as_json()) == an_entry()


@pytest.mark.parametrize(
    "damage",
    [
        {"digest": "sha256:short"},
        {"digest": 3},
        {"since": "yesterday"},
        {"since": "2024-05-06T07:08:09"},
        {"since": None},
        {"detail": "one line"},
        {"detail": None},
    ],
)
def test_form_for_programs_that_is_none_is_nothing(damage: dict[str, Any]) -> None:
    """Also a moment without a time zone, which would not compare with the others."""
    assert read_entry(an_entry().as_json() | damage) is None
    assert read_entry({}) is None


def test_entry_knows_its_age() -> None:
    """The builder's promise, on which the tests above rest."""
    assert an_entry(minutes=5).since - an_entry().since == timedelta(minutes=5)
