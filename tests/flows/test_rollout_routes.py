"""Rollouts over HTTP: what is told of them, and what may be asked of them when."""

from __future__ import annotations

import pytest

from tests.support.api_world import World
from watchtower_async.outlets.desk import Desk
from watchtower_async.rollout.course import RolloutState
from watchtower_async.web.rollouts import RolloutRoutes
from watchtower_async.web.route import Endpoint

ENVELOPE = {"timestamp": "2024-05-06T12:00:00Z", "api_version": "v1"}
GROUPS = [{"name": "db", "phase": "waiting"}, {"name": "web", "phase": "waiting"}]


def a_document(identity: str, state: str = "updating", reason: str = "") -> dict[str, object]:
    """Return a rollout as programs see it."""
    return {"id": identity, "name": "", "state": state, "reason": reason, "groups": GROUPS}


async def test_list_tells_where_each_rollout_stands() -> None:
    """With the phase of each of its groups."""
    async with World().served() as ask:
        reply = await ask("GET", "/v1/rollouts")
    assert reply.status == 200
    assert reply.document == {"rollouts": [a_document("r1"), a_document("r2")], "count": 2, **ENVELOPE}


async def test_pause_and_resume_answer_with_the_new_state_and_leave_the_other_alone() -> None:
    """Who paused it is the reason that is shown from then on."""
    world = World()
    async with world.served() as ask:
        paused = await ask("POST", "/v1/rollouts/r2/pause")
        found = paused.document["rollout"]
        assert (found["id"], found["state"], found["reason"]) == ("r2", "paused", "somebody paused it")
        assert world.rollouts.views[0].state is RolloutState.UPDATING
        resumed = await ask("POST", "/v1/rollouts/r2/resume")
    assert (resumed.status, resumed.document["rollout"]["state"]) == (200, "updating")


async def test_abandoned_rollout_is_not_resumed() -> None:
    """409 with the reason, and nothing has changed."""
    world = World()
    async with world.served() as ask:
        assert (await ask("POST", "/v1/rollouts/r1/abandon")).status == 200
        state = world.rollouts.views[0].state
        assert state in {RolloutState.ABANDONING, RolloutState.ABANDONED}
        reply = await ask("POST", "/v1/rollouts/r1/resume")
    assert reply.status == 409
    assert reply.document["error"]
    assert world.rollouts.views[0].state is state


@pytest.mark.parametrize("verb", ["pause", "resume", "abandon"])
async def test_unknown_id_is_404_and_names_those_there_are(verb: str) -> None:
    """A typing mistake shows at once."""
    world = World()
    async with world.served() as ask:
        reply = await ask("POST", f"/v1/rollouts/r9/{verb}")
    assert reply.status == 404
    assert reply.document == {"error": "there is no open rollout r9; open: r1, r2", **ENVELOPE}
    assert {view.state for view in world.rollouts.views} == {RolloutState.UPDATING}


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/rollouts"), ("POST", "/v1/rollouts/r1/abandon")])
async def test_nobody_without_the_token_sees_or_changes_a_rollout(method: str, path: str) -> None:
    """401, whatever is asked for."""
    world = World()
    async with world.served() as ask:
        assert (await ask(method, path, headers={})).status == 401
    assert world.rollouts.views[0].state is RolloutState.UPDATING


async def test_rollouts_are_not_served_where_they_are_not_switched_on() -> None:
    """As with every other part."""
    async with World().served(endpoints=frozenset(Endpoint) - {Endpoint.ROLLOUTS}) as ask:
        assert (await ask("GET", "/v1/rollouts")).status == 404


async def test_rollouts_that_nobody_has_yet_are_503_and_not_an_empty_list() -> None:
    """An empty list would say that all is done."""
    world = World()
    world.subjects = (RolloutRoutes(rollouts=Desk()),)
    async with world.served(endpoints=frozenset({Endpoint.ROLLOUTS})) as ask:
        reply = await ask("GET", "/v1/rollouts")
        assert (await ask("POST", "/v1/rollouts/r1/pause")).status == 503
    assert (reply.status, reply.document["error"]) == (503, "the updater is starting: try again in a moment")
