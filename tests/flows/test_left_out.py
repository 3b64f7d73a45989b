"""What is in no rollout of its session, and what compose's order has to do with rollouts."""

from __future__ import annotations

import pytest

from tests.support.town import Town, a_town
from watchtower_async.engine.inventory import take_inventory
from watchtower_async.events import ReplacementFinished, SessionFinished
from watchtower_async.rollout.drawing import RolloutDrawing
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.rollout.sharers import Sharers

pytestmark = pytest.mark.looptime

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"


async def test_container_that_is_in_no_rollout_is_told_as_failed() -> None:
    """Its update ends before it begins, and reports hear of it as of every other one."""
    async with a_town() as town:
        await town.outdated("vpn", "team/vpn")
        town.publish("team/task", 1)
        swarm = {"com.docker.swarm.task.id": "x"}
        host = {"NetworkMode": f"container:{town.engine.containers['vpn'].id}"}
        await town.engine.run("task", town.image("team/task"), Labels=swarm, HostConfig=host)
        await town.outdated("web", "team/web")
        report = await town.run()
        assert town.version("vpn") == "1"
        assert town.version("web") == "2"
    (end,) = (event for event in town.events if isinstance(event, ReplacementFinished) and event.item.name == "vpn")
    assert end.outcome == OutcomeKind.FAILED
    assert end.reason.startswith("task would have to be re-created with it, and must not be")
    assert [outcome.kind for item, outcome in report.outcomes if item.name == "vpn"] == [OutcomeKind.FAILED]
    (finished,) = (event for event in town.events if isinstance(event, SessionFinished))
    assert (finished.updated, finished.failed) == (1, 1)


@pytest.mark.parametrize(
    ("use_compose", "expected"), [(True, {"db": set(), "web": {"db"}}), (False, {"db": set(), "web": set()})]
)
async def test_rollouts_follow_the_order_of_compose_unless_it_is_not_wanted(
    use_compose: bool, expected: dict[str, set[str]]
) -> None:
    """The plan and the rollouts have the same order."""
    async with a_town() as town:
        await a_shop(town)
        async with town.connected() as found:
            drawing = RolloutDrawing(
                engine=found.engine,
                sharers=Sharers(found.engine),
                policy=UpdatePolicy(),
                stop_timeout=10,
                use_compose=use_compose,
            )
            inventory = await take_inventory(found.engine)
            drawn = await drawing.draw("s", await found.planner.make(inventory), inventory)
    groups = [planned.group for course in drawn.courses for planned in course.groups]
    assert expected == {group.key: set(group.after) for group in groups}


async def a_shop(town: Town) -> None:
    """Run a service and one that depends on it, both out of date."""
    await town.outdated("db", "shop/db", labels={PROJECT: "shop", SERVICE: "db"})
    await town.outdated("web", "shop/web", labels={PROJECT: "shop", SERVICE: "web", DEPENDS_ON: "db"})
