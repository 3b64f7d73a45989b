"""From groups and policies to rollouts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.builders import a_container
from tests.support.rollouts import a_course, a_group
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.rollout.course import (
    Course,
    GroupProgress,
    Phase,
    PlannedGroup,
    begin,
    read_course,
    read_document,
    write_document,
)
from watchtower_async.rollout.groups import make_groups
from watchtower_async.rollout.planning import plan_rollouts
from watchtower_async.rollout.policy import FailureAction, UpdatePolicy, read_policies

DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"
DEFAULT = UpdatePolicy()


def of_project(name: str, project: str, *, after: str = "", **terms: str) -> ContainerSummary:
    labels = {f"watchtower-async.rollout.{term.replace('_', '-')}": text for term, text in terms.items()}
    return a_container(name, labels={"com.docker.compose.project": project, DEPENDS_ON: after, **labels})


def planned(*containers: ContainerSummary, needs: float = 40.0) -> tuple[Course, ...]:
    grouping = make_groups(containers, updates=[item.name for item in containers])
    book = read_policies(containers, DEFAULT)
    return plan_rollouts(grouping, book, rollout_id="s1", needs=lambda _: needs)


def keys(course: Course) -> list[str]:
    return [group.key for group in course.groups]


def test_without_labels_there_is_one_rollout() -> None:
    """By the flags, and with the deadlines that its containers need."""
    (course,) = planned(a_container("a"), of_project("b", "shop"), needs=17.0)
    assert (course.id, course.name, course.policy, keys(course)) == ("s1", "", DEFAULT, ["a", "b"])
    assert [(group.monitor, group.start_deadline) for group in course.groups] == [(5.0, 17.0)] * 2


def test_project_with_labels_is_a_rollout_of_its_own() -> None:
    """By its own policy; everything else is another one."""
    rest, shop = planned(
        a_container("a"), of_project("b", "shop", failure_action="pause"), of_project("c", "shop", start_deadline="3s")
    )
    assert (rest.id, rest.name, keys(rest)) == ("s1-1", "", ["a"])
    assert (shop.id, shop.name, keys(shop)) == ("s1-2", "project shop", ["b", "c"])
    assert shop.policy.failure_action is FailureAction.PAUSE
    assert [group.start_deadline for group in shop.groups] == [40.0, 3.0]


def test_rollouts_stand_in_the_order_of_their_dependencies() -> None:
    """And inside one nothing refers to a group of another."""
    first, second = planned(of_project("z", "base", delay="1s"), a_container("a", labels={DEPENDS_ON: "z"}))
    assert (keys(first), keys(second)) == (["z"], ["a"])
    assert second.groups[0].group.after == frozenset()


def test_rollouts_that_need_each_other_are_one() -> None:
    """By the more careful policy."""
    (course,) = planned(
        of_project("a", "one", after="b", parallelism="3", failure_action="rollback"),
        of_project("b", "two", after="c", parallelism="2"),
        of_project("c", "one"),
    )
    assert (course.name, keys(course)) == ("project one, project two", ["c", "b", "a"])
    assert (course.policy.parallelism, course.policy.failure_action) == (2, FailureAction.ROLLBACK)


def test_group_over_two_projects_joins_their_rollouts() -> None:
    """It cannot be in both."""
    vpn = of_project("vpn", "net", parallelism="2")
    web = a_container("web", network_mode=f"container:{vpn.id}", labels={"com.docker.compose.project": "shop"})
    (course,) = planned(vpn, web, a_container("other"))
    assert course.name == "everything else, project net"
    assert keys(course) == ["other", "vpn"]


def test_nothing_to_update_is_no_rollout() -> None:
    """Not an empty one."""
    assert planned() == ()


def test_groups_of_a_rollout_must_be_in_order() -> None:
    """One that does not is a mistake of ours."""
    groups = tuple(PlannedGroup(group, 5.0, 60.0) for group in (a_group("b", "a"), a_group("a")))
    with pytest.raises(ValueError, match="group b"):
        Course(id="r", policy=DEFAULT, groups=groups)


def test_stored_rollout_is_read_back() -> None:
    """With everything that is needed to go on."""
    course = a_course({"a": (), "b": "a"}, delay=3, parallelism=2, max_failure_ratio=0.5)
    assert course == read_course(json.loads(json.dumps(course.as_json())))
    assert (course, begin(course)) == read_document(write_document(course, begin(course)))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"course": 1}', "[" * 10_000, write_document(a_course("a"), begin(a_course("a")))[:-30]],
    ids=range(7),
)
def test_stored_text_that_is_none_is_a_value_error(text: str) -> None:
    """Whatever is in the file, the updater starts."""
    with pytest.raises(ValueError, match=r"Expecting|cannot be read"):
        read_document(text)


def test_progress_of_another_rollout_is_not_taken() -> None:
    """Its groups are not ours."""
    text = write_document(
        a_course("ab"), replace(begin(a_course("ab")), done={"x": GroupProgress(phase=Phase.ENDED, since=0)})
    )
    with pytest.raises(ValueError, match="another rollout"):
        read_document(text)
