"""What those who listen live hear of rollouts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import a_digest
from tests.unit.test_metrics import an_item
from watchtower_async.events import (
    DependentRestarted,
    Event,
    HookRan,
    ImageRemoved,
    ReplacementStarted,
    RolloutLimitExceeded,
    RolloutStateChanged,
    SessionStarted,
)
from watchtower_async.web.live import KEPT_REPLACEMENTS, Live


async def heard(*events: Event) -> dict[str, Any]:
    """Return the last of these events as it is sent."""
    live = Live()
    for event in events:
        live(event)
    _, messages = live.after(len(events) - 1)
    document: dict[str, Any] = json.loads(messages[-1].text)
    return document


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        (
            RolloutStateChanged("r1", "shop", "paused", "web failed"),
            "rollout_state_changed",
            {"rollout": "r1", "name": "shop", "state": "paused", "reason": "web failed"},
        ),
        (
            RolloutLimitExceeded("r1", 2, 5, "rollback"),
            "rollout_limit_exceeded",
            {"rollout": "r1", "failures": 2, "groups": 5, "action": "rollback"},
        ),
        (
            DependentRestarted("web", "db", is_recreated=True, problem=None),
            "dependent_restarted",
            {"container": "web", "because_of": "db", "is_recreated": True, "problem": None},
        ),
        (
            HookRan("web", "pre-update", "failed", "exit code 3", "the password is x"),
            "hook_ran",
            {"container": "web", "kind": "pre-update", "end": "failed", "reason": "exit code 3"},
        ),
    ],
)
async def test_rollouts_are_told_with_their_data_and_without_what_containers_write(
    event: Event, kind: str, data: dict[str, Any]
) -> None:
    """Output of a hook may hold anything."""
    document = await heard(event)
    assert (document["type"], document["data"]) == (kind, data)


async def test_removed_image_is_told_with_its_container_although_another_session_has_begun() -> None:
    """A rollout may last longer than the time between two sessions."""
    started = ReplacementStarted(an_item())
    document = await heard(started, SessionStarted("next", "e"), ImageRemoved(a_digest("config"), "redis:6"))
    (image,) = document["data"]["images"]
    assert (image["container_name"], image["image_name"]) == ("web", "redis:6")


async def test_what_is_remembered_about_replacements_is_bounded() -> None:
    """The oldest one is forgotten first."""
    live = Live()
    first, *others = (f"sha256:{number}" for number in range(KEPT_REPLACEMENTS + 1))
    for image_id in (first, *others):
        live(ReplacementStarted(replace(an_item(), image_id=image_id)))
    live(ImageRemoved(first, "x"))
    live(ImageRemoved(others[-1], "x"))
    _, messages = live.after(KEPT_REPLACEMENTS + 1)
    names = [json.loads(message.text)["data"]["images"][0]["container_name"] for message in messages]
    assert names == ["", "web"]
