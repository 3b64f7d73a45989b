"""Which policy counts: defaults, flags, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta

import pytest

from tests.support.builders import a_container
from watchtower_async.rollout.policy import (
    COMMON,
    FailureAction,
    Order,
    UpdatePolicy,
    policy_from,
    read_policies,
    read_policy,
)
from watchtower_async.settings import Option, RolloutSettings

DEFAULT = UpdatePolicy()
PREFIX = "watchtower-async.rollout."


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def given_by(environ: Mapping[str, str]) -> RolloutSettings:
    """Read the group alone: it is not offered before sessions are carried out by the coordinator."""
    options: dict[str, Option] = {item.name: item.metadata["option"] for item in fields(RolloutSettings)}
    texts = {name: environ[option.env] for name, option in options.items() if option.env in environ}
    return RolloutSettings(**{name: options[name].parse(text) for name, text in texts.items()})


def of_project(name: str, project: str = "shop", **terms: str) -> dict[str, str]:
    """Return the labels of a compose container; underscores stand for the hyphens of a term."""
    labels = {f"{PREFIX}{term.replace('_', '-')}": text for term, text in terms.items()}
    return {"com.docker.compose.project": project, "com.docker.compose.service": name, **labels}


def test_defaults_suit_somebody_from_watchtower() -> None:
    """One at a time, stop first, and a failure costs its own container only."""
    expected = UpdatePolicy(
        parallelism=1,
        delay=seconds(0),
        order=Order.STOP_FIRST,
        monitor=seconds(5),
        max_failure_ratio=0.0,
        failure_action=FailureAction.CONTINUE,
        start_deadline=None,
    )
    assert expected == policy_from(given_by({}))
    assert expected == DEFAULT


def test_every_term_has_a_variable() -> None:
    """As flags, by the names of the terms."""
    environ = {
        "WATCHTOWER_ROLLOUT_PARALLELISM": "3",
        "WATCHTOWER_ROLLOUT_DELAY": "10s",
        "WATCHTOWER_ROLLOUT_ORDER": "auto",
        "WATCHTOWER_ROLLOUT_MONITOR": "1m",
        "WATCHTOWER_ROLLOUT_MAX_FAILURE_RATIO": "0.25",
        "WATCHTOWER_ROLLOUT_FAILURE_ACTION": "Rollback",
        "WATCHTOWER_ROLLOUT_START_DEADLINE": "5m",
    }
    expected = UpdatePolicy(
        parallelism=3,
        delay=seconds(10),
        order=Order.AUTO,
        monitor=seconds(60),
        max_failure_ratio=0.25,
        failure_action=FailureAction.ROLLBACK,
        start_deadline=seconds(300),
    )
    assert expected == policy_from(given_by(environ))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, FailureAction.CONTINUE),
        ({"rolling_restart": True}, FailureAction.PAUSE),
        ({"rolling_restart": True, "failure_action": FailureAction.ROLLBACK}, FailureAction.ROLLBACK),
    ],
)
def test_rolling_restart_pauses_unless_an_action_is_named(given: dict[str, object], expected: FailureAction) -> None:
    """It is the same with another failure action; what is said in so many words counts more."""
    assert expected is policy_from(RolloutSettings(**given)).failure_action  # type: ignore[arg-type]  # one at a time


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PARALLELISM", "-1"), ("PARALLELISM", "1.5"), ("PARALLELISM", "all"), ("PARALLELISM", "٣"),
        ("MAX_FAILURE_RATIO", "1.1"), ("MAX_FAILURE_RATIO", "-0.1"), ("MAX_FAILURE_RATIO", "nan"),
        ("MAX_FAILURE_RATIO", "50%"), ("DELAY", "-1s"), ("ORDER", "start"), ("FAILURE_ACTION", "stop"),
        ("START_DEADLINE", "0"), ("MONITOR", "soon"),
    ],
)  # fmt: skip
def test_value_that_is_none_is_refused(variable: str, text: str) -> None:
    """A mistake is not taken for the default."""
    with pytest.raises(ValueError, match=r"."):
        given_by({f"WATCHTOWER_ROLLOUT_{variable}": text})


def test_stored_policy_is_read_back() -> None:
    """Whatever it says."""
    for policy in (DEFAULT, UpdatePolicy(order=Order.AUTO, max_failure_ratio=0.1, start_deadline=seconds(0.25))):
        assert policy == read_policy(policy.as_json())


def test_labels_about_one_container_concern_only_that() -> None:
    """Order, monitor window and start deadline; the container stays in the common rollout."""
    labels = {f"{PREFIX}monitor": "30s", f"{PREFIX}start-deadline": " 2m ", f"{PREFIX}order": "start-first"}
    book = read_policies([a_container("web", labels=labels), a_container("db")], DEFAULT)
    assert book.policy_of(["web"]) == UpdatePolicy(
        monitor=seconds(30), start_deadline=seconds(120), order=Order.START_FIRST
    )
    assert book.policy_of(["db"]) == DEFAULT
    assert (book.rollout_of("web"), book.rollouts, book.problems) == (COMMON, {}, ())


def test_short_order_label_counts_more() -> None:
    """It is the one that people find first."""
    labels = {"watchtower-async.order": "stop-first", f"{PREFIX}order": "start-first"}
    book = read_policies([a_container("web", labels=labels)], UpdatePolicy(order=Order.AUTO))
    assert book.policy_of(["web"]).order is Order.STOP_FIRST


def test_labels_about_several_make_the_project_a_rollout_of_its_own() -> None:
    """One of its containers says it for all; terms that nobody names are those of the flags."""
    web = a_container("shop-web-1", labels=of_project("web", parallelism="2"))
    db = a_container("shop-db-1", labels=of_project("db", failure_action="pause"))
    book = read_policies([web, db, a_container("other")], UpdatePolicy(delay=seconds(7)))
    assert book.rollout_of("shop-db-1") == book.rollout_of("shop-web-1") == "project shop"
    assert book.rollout_of("other") == COMMON
    assert book.policy_of_rollout("project shop") == UpdatePolicy(
        parallelism=2, delay=seconds(7), failure_action=FailureAction.PAUSE
    )


def test_container_without_a_project_may_be_a_rollout_of_its_own() -> None:
    """The same labels, without compose."""
    book = read_policies([a_container("web", labels={f"{PREFIX}failure-action": "rollback"})], DEFAULT)
    assert book.policy_of_rollout(book.rollout_of("web")).failure_action is FailureAction.ROLLBACK


@pytest.mark.parametrize(
    ("term", "one", "other", "field", "expected"),
    [
        ("parallelism", "0", "4", "parallelism", 4),
        ("delay", "5s", "1m", "delay", seconds(60)),
        ("max-failure-ratio", "0.5", "0.1", "max_failure_ratio", 0.1),
        ("failure-action", "continue", "rollback", "failure_action", FailureAction.ROLLBACK),
        ("failure-action", "pause", "rollback", "failure_action", FailureAction.PAUSE),
    ],
)
def test_where_a_project_does_not_agree_the_careful_value_counts(
    term: str, one: str, other: str, field: str, expected: object
) -> None:
    """In whatever order they are read, and it is told."""
    pair = [a_container(f"shop-{text}", labels=of_project("x", **{term: text})) for text in (one, other)]
    for containers in (pair, pair[::-1]):
        book = read_policies(containers, DEFAULT)
        assert expected == getattr(book.policy_of_rollout("project shop"), field)
        assert len(book.problems) == 1
        assert "project shop" in book.problems[0]


def test_label_that_is_not_usable_is_told_and_changes_nothing() -> None:
    """With the container's name, the label and the reason."""
    labels = {f"{PREFIX}monitor": "soon", f"{PREFIX}parallels": "2"}
    book = read_policies([a_container("web", labels=labels)], DEFAULT)
    assert book.policy_of(["web"]) == DEFAULT
    assert len(book.problems) == 2
    assert "web: label watchtower-async.rollout.monitor='soon' is not usable: expected a duration" in book.problems[0]
    assert "parallels is not known" in book.problems[1]


def test_containers_updated_together_go_by_the_careful_policy() -> None:
    """Neither is judged too soon, and one stop-first is enough."""
    web = a_container("web", labels={f"{PREFIX}monitor": "1s", "watchtower-async.order": "stop-first"})
    db = a_container("db", labels={f"{PREFIX}monitor": "9s"})
    policy = read_policies([web, db], UpdatePolicy(order=Order.START_FIRST)).policy_of(["web", "db"])
    assert (policy.monitor, policy.order) == (seconds(9), Order.STOP_FIRST)
