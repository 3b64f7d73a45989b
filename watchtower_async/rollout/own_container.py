"""The updater's own container in a rollout: a helper replaces it, and whoever is up afterwards takes its word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watchtower_async.engine.client import Engine
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.images.digest import parse_digest
from watchtower_async.rollout.course import PlannedGroup
from watchtower_async.rollout.groups import Aim, Group, Member, Role
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.replacement import PreparedGroup
from watchtower_async.rollout.self_update import (
    HelperOrder,
    HelperPlace,
    HelperResult,
    ResultFile,
    start_helper,
    wait_for_helper,
)

_NO_WORD = Outcome(OutcomeKind.UNFINISHED, "the helper that replaces the updater left no word how it ended")

Condemn = Callable[[Member, Outcome], Awaitable[None]]
"""Keeps an image from being tried again in a container."""


class OwnContainer:
    """Has the updater's own container replaced."""

    def __init__(
        self, *, engine: Engine, container_id: str, facts: EngineFacts, place: HelperPlace, results: ResultFile
    ) -> None:
        self.container_id = container_id
        self._engine = engine
        self._facts = facts
        self._place = place
        self._results = results

    def is_in(self, group: Group) -> bool:
        """Say whether the group is about this container."""
        return any(member.container_id == self.container_id for member in group.create_order)

    async def take_word(self, condemn: Condemn) -> None:
        """At a start: wait until no helper works on this container, and learn how it ended. Raises EngineError."""
        await wait_for_helper(self._engine, self.container_id)
        result = self._results.take()
        if result is not None and result.outcome.condemns_image:
            await condemn(_member_of(result), result.outcome)

    async def replace(self, planned: PlannedGroup, prepared: PreparedGroup) -> Outcome:
        """Let a helper replace it. Mostly that ends this process; else return how it ended."""
        if len(prepared.members) > 1:
            others = ", ".join(name for name in prepared.names if name != planned.key)
            return Outcome(OutcomeKind.FAILED, f"the updater cannot be replaced together with {others}")
        (member,) = prepared.members
        aim = planned.group.updated[0].aim
        assert aim is not None
        assert member.target.reference is not None
        order = HelperOrder(
            name=member.target.name,
            container_id=self.container_id,
            reference=member.target.reference,
            image_id=member.new_image_id,
            digest=parse_digest(aim.digest),
        )
        refused = await start_helper(self._engine, order, facts=self._facts, place=self._place)
        if refused is not None:
            return refused
        await wait_for_helper(self._engine, self.container_id)
        result = self._results.take()
        return _NO_WORD if result is None else result.outcome


def _member_of(result: HelperResult) -> Member:
    order = result.order
    aim = Aim(str(order.reference), str(order.digest))
    return Member(order.container_id, order.name, Role.UPDATE, aim=aim)
