"""What a session would do, as data."""

import json

import pytest

from tests.support.builders import a_digest, an_id
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan, action_for
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.staleness import Freshness, Verdict

REASON = Reason(ReasonCode.NEWER_IMAGE, "the tag points to a newer image")


def an_item(action: Action, name: str = "web") -> PlanItem:
    """Return an item with this action."""
    return PlanItem(
        container_id=an_id(name), name=name, image="redis:7", image_id=a_digest("config"), action=action, reason=REASON
    )


def a_plan(*actions: Action) -> UpdatePlan:
    """Return a plan with one container per action."""
    return UpdatePlan(engine="x", items=tuple(an_item(action, f"c{at}") for at, action in enumerate(actions)))


@pytest.mark.parametrize(
    ("freshness", "monitor_only", "refused", "action"),
    [
        (Freshness.FRESH, False, False, Action.NOTHING),
        (Freshness.FRESH, True, True, Action.NOTHING),
        (Freshness.UNKNOWN, False, False, Action.UNKNOWN),
        (Freshness.UNKNOWN, True, True, Action.UNKNOWN),
        (Freshness.NOT_CHECKED, False, False, Action.LEAVE),
        (Freshness.NOT_CHECKED, True, True, Action.LEAVE),
        (Freshness.STALE, False, False, Action.UPDATE),
        (Freshness.STALE, True, False, Action.REPORT),
        (Freshness.STALE, False, True, Action.REFUSE),
        (Freshness.STALE, True, True, Action.REFUSE),
    ],
)
def test_only_a_stale_container_that_may_be_touched_is_updated(
    freshness: Freshness, monitor_only: bool, refused: bool, action: Action
) -> None:
    """Everything else has an action of its own; a refusal is told even where nothing would be touched."""
    assert action is action_for(Verdict(freshness, REASON), monitor_only=monitor_only, refused=refused)


@pytest.mark.parametrize("action", Action)
def test_plan_tells_what_it_holds(action: Action) -> None:
    """A newer image counts whatever is done about it."""
    plan = a_plan(Action.NOTHING, action)
    assert plan.has_unknown is (action is Action.UNKNOWN)
    assert plan.has_newer is (action in {Action.UPDATE, Action.REPORT, Action.REFUSE})
    assert len(plan.updates) == (1 if action is Action.UPDATE else 0)


def test_updates_keep_the_order_of_the_plan() -> None:
    """The order is the one in which they are carried out."""
    plan = a_plan(Action.UPDATE, Action.LEAVE, Action.UPDATE, Action.REPORT)
    assert [item.name for item in plan.updates] == ["c0", "c2"]


def test_form_for_programs_is_complete() -> None:
    """Programs get full digests, the code and the words of the reason."""
    item = PlanItem(
        container_id=an_id("web"),
        name="web",
        image="redis:7",
        image_id=a_digest("config"),
        action=Action.UPDATE,
        reason=REASON,
        running=parse_digest(a_digest("v1")),
        published=parse_digest(a_digest("v2")),
        reference=parse_reference("redis:7"),
        notes=("a note",),
        asked_through_engine=True,
    )
    plan = UpdatePlan(engine="unix:///x", items=(item,), repairs=("r",), problems=("p",))
    assert json.loads(json.dumps(plan.as_json())) == {
        "engine": "unix:///x",
        "containers": [
            {
                "name": "web",
                "container_id": an_id("web"),
                "image": "redis:7",
                "running": a_digest("v1"),
                "published": a_digest("v2"),
                "action": "update",
                "reason": {"code": "newer_image", "text": "the tag points to a newer image"},
                "notes": ["a note"],
                "asked_through_engine": True,
            }
        ],
        "repairs": ["r"],
        "problems": ["p"],
    }


def test_digest_that_is_not_known_is_null() -> None:
    """Programs can tell "not known" from a digest."""
    form = an_item(Action.LEAVE).as_json()
    assert form["running"] is None
    assert form["published"] is None
