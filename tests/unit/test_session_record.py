"""From facts about containers to the report of a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.builders import a_digest, an_id
from watchtower_async.events import DependentRestarted, ReplacementFinished
from watchtower_async.images.digest import parse_digest
from watchtower_async.notify.report import ContainerReport, ImageLabels, Report, State
from watchtower_async.outlets.session_record import Found, SessionRecord
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode


def an_item(
    action: Action = Action.UPDATE,
    code: ReasonCode = ReasonCode.NEWER_IMAGE,
    *,
    name: str = "web",
    why: str = "because",
) -> PlanItem:
    """Return a judged container."""
    return PlanItem(
        container_id=an_id(name),
        name=name,
        image="nginx:latest",
        image_id=a_digest("old config"),
        action=action,
        reason=Reason(code, why),
        running=parse_digest(a_digest("v1")),
        published=parse_digest(a_digest("v2")),
    )


def an_end(item: PlanItem, outcome: str, reason: str = "why") -> ReplacementFinished:
    """Return how a replacement ended."""
    return ReplacementFinished(item=item, outcome=outcome, reason=reason, detail=(), duration=1.0)


def a_report(*items: PlanItem, ends: tuple[ReplacementFinished, ...] = (), found: Found | None = None) -> Report:
    """Return the report of a session."""
    record = SessionRecord("s", items={item.container_id: item for item in items})
    for end in ends:
        record.ends[end.item.container_id] = end
    known = {} if found is None else {items[0].container_id: found}
    report = record.report("host", known, mask=lambda text: text.replace("secret", "***"))
    assert report is not None
    return report


def the_container(*items: PlanItem, ends: tuple[ReplacementFinished, ...] = ()) -> ContainerReport:
    """Return the only container of a report."""
    (container,) = a_report(*items, ends=ends).all
    return container


@pytest.mark.parametrize(
    ("action", "code", "state"),
    [
        (Action.NOTHING, ReasonCode.UP_TO_DATE, State.FRESH),
        (Action.UNKNOWN, ReasonCode.UNREACHABLE, State.SKIPPED),
        (Action.REPORT, ReasonCode.NEWER_IMAGE, State.STALE),
        (Action.REPORT, ReasonCode.OUTSIDE_WINDOW, State.STALE),
        (Action.REFUSE, ReasonCode.REFUSED, State.STALE),
        (Action.LEAVE, ReasonCode.COOLING_DOWN, State.STALE),
        (Action.LEAVE, ReasonCode.QUARANTINED, State.STALE),
        (Action.LEAVE, ReasonCode.IN_ROLLOUT, State.STALE),
        (Action.UPDATE, ReasonCode.NEWER_IMAGE, State.STALE),
    ],
)
def test_container_that_is_not_touched_has_the_state_of_its_verdict(
    action: Action, code: ReasonCode, state: State
) -> None:
    """One that is to be updated and whose turn has not come is not updated."""
    assert state is the_container(an_item(action, code)).state


@pytest.mark.parametrize(
    "code",
    [ReasonCode.DISABLED, ReasonCode.NOT_NAMED, ReasonCode.OTHER_SCOPE, ReasonCode.PINNED, ReasonCode.LOCAL_IMAGE],
)
def test_container_that_was_not_checked_is_not_in_the_report(code: ReasonCode) -> None:
    """Nobody asked for it, as in the line of the session."""
    assert a_report(an_item(Action.LEAVE, code)).all == ()


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (OutcomeKind.UPDATED, State.UPDATED),
        (OutcomeKind.SKIPPED, State.STALE),
        (OutcomeKind.FAILED, State.FAILED),
        (OutcomeKind.ROLLED_BACK, State.FAILED),
        (OutcomeKind.UNFINISHED, State.FAILED),
        (OutcomeKind.LOST, State.FAILED),
    ],
)
def test_end_of_a_replacement_decides(outcome: OutcomeKind, state: State) -> None:
    """Anything that is neither good nor harmless has failed."""
    item = an_item()
    container = the_container(item, ends=(an_end(item, str(outcome)),))
    assert (state, "why" if state is State.FAILED else "") == (container.state, container.error)


def test_last_end_counts() -> None:
    """An update that a rollout takes back later has failed."""
    item = an_item()
    ends = (an_end(item, "updated"), an_end(item, "rolled_back", "too many others failed"))
    assert (
        the_container(item, ends=ends).state,
        the_container(item, ends=ends).error,
    ) == (State.FAILED, "too many others failed")


def test_reason_is_told_without_secrets() -> None:
    """Engines and registries have a say in it."""
    container = the_container(an_item(Action.UNKNOWN, ReasonCode.PROTOCOL, why="it said secret"))
    assert (container.error, container.reason) == ("it said ***", "it said ***")


def test_monitor_only_and_cooldown_are_told_apart() -> None:
    """Messages that are split by container need to know; a window is neither."""
    found = [
        the_container(an_item(action, code))
        for action, code in (
            (Action.REPORT, ReasonCode.NEWER_IMAGE),
            (Action.LEAVE, ReasonCode.COOLING_DOWN),
            (Action.REPORT, ReasonCode.OUTSIDE_WINDOW),
        )
    ]
    assert [(one.is_monitor_only, one.is_cooling_down) for one in found] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_versions_come_from_the_images() -> None:
    """Old and new, with the link of the new one."""
    found = Found(
        new_id="d" * 64,
        new_image_id=a_digest("new config"),
        old_labels=ImageLabels("1.4.1", "abc", "https://old.example"),
        new_labels=ImageLabels("1.5.0", "def", "https://example.com/shop"),
    )
    item = an_item()
    (container,) = a_report(item, ends=(an_end(item, "updated"),), found=found).all
    assert (container.old, container.new, container.link) == ("1.4.1", "1.5.0", "https://example.com/shop")
    assert (a_digest("old config"), a_digest("new config")) == (container.old_image_id, container.new_image_id)


def test_fresh_container_has_one_image() -> None:
    """Before and after."""
    container = the_container(an_item(Action.NOTHING, ReasonCode.UP_TO_DATE))
    assert container.old_image_id == container.new_image_id == a_digest("old config")


def test_dependent_is_restarted_or_has_failed() -> None:
    """Also one that was never checked, and one that was left alone."""
    left = an_item(Action.LEAVE, ReasonCode.DISABLED, name="left")
    fresh = an_item(Action.NOTHING, ReasonCode.UP_TO_DATE, name="fresh")
    record = SessionRecord("s", items={item.container_id: item for item in (left, fresh)})
    record.dependents = {
        "left": DependentRestarted("left", "web", is_recreated=False, problem=None),
        "fresh": DependentRestarted("fresh", "web", is_recreated=True, problem="its port is in use"),
        "other": DependentRestarted("other", "web", is_recreated=False, problem=None),
    }
    report = record.report("host", {}, mask=str)
    assert report is not None
    assert {container.name: container.error for container in report.restarted} == {"left": "", "other": ""}
    assert {container.name: container.error for container in report.failed} == {"fresh": "its port is in use"}


def test_session_that_came_to_nothing_has_no_report() -> None:
    """What is known of it stands in its log; a report would say that there are no containers."""
    assert SessionRecord("s", failure="the engine is gone").report("host", {}, mask=str) is None
    assert Report("s", "host") == SessionRecord("s").report("host", {}, mask=str)


def test_item_without_digests_is_reported_without_them() -> None:
    """A local image has none."""
    container = the_container(replace(an_item(Action.UNKNOWN, ReasonCode.ENGINE), running=None, published=None))
    assert (container.old_digest, container.new_digest) == ("", "")
