"""From a plan to the rollouts that carry it out: who is updated together, in which order, by which policy.

What the list of containers does not tell is asked of the engine: shared namespaces, once per container, and how long
those that are taken down may take by their own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from watchtower_async.engine.client import CALL_SECONDS, Engine, JsonObject
from watchtower_async.engine.each import each
from watchtower_async.engine.inventory import Inventory
from watchtower_async.engine.spec_parts import labels_of, section
from watchtower_async.errors import NoSuchObjectError
from watchtower_async.rollout.course import Course
from watchtower_async.rollout.groups import Aim, Group, LeftOut, make_groups
from watchtower_async.rollout.health import watch_budget
from watchtower_async.rollout.hook_plan import HookKind, read_hook
from watchtower_async.rollout.planning import plan_rollouts
from watchtower_async.rollout.policy import UpdatePolicy, read_policies
from watchtower_async.rollout.sharers import Sharers
from watchtower_async.updates.plan import PlanItem, UpdatePlan
from watchtower_async.updates.reason import ReasonCode

_UNTOUCHABLE = frozenset({ReasonCode.MANAGED, ReasonCode.ITSELF, ReasonCode.IN_ROLLOUT, ReasonCode.UNFINISHED})
"""Why a container is not even created anew on its own image for another one."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rollouts of a session, in order, and what is in none of them."""

    courses: tuple[Course, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...] = ()
    """Labels that cannot be used."""


class RolloutDrawing:
    """Draws rollouts for one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        sharers: Sharers,
        policy: UpdatePolicy,
        stop_timeout: int,
        own_id: str | None = None,
        use_compose: bool = True,
    ) -> None:
        """`stop_timeout` (seconds) is for containers that name none; `own_id` is the updater's own container.

        `use_compose` says whether compose's `depends_on` counts.
        """
        self._use_compose = use_compose
        self._engine = engine
        self._sharers = sharers
        self._policy = policy
        self._stop_timeout = stop_timeout
        self._own_id = own_id

    async def draw(
        self, session: str, plan: UpdatePlan, inventory: Inventory, *, held: Mapping[str, str] | None = None
    ) -> Drawn:
        """Return the rollouts, and what is in none of them. Raises EngineUnavailableError.

        `held` are containers that are in the hands of another rollout, by name, each with the reason.
        """
        untouchable = {item.name: item.reason.text for item in plan.items if item.reason.code in _UNTOUCHABLE}
        grouping = make_groups(
            inventory.containers,
            updates={item.name for item in plan.updates},
            documents=await self._sharers.documents(inventory.containers),
            held={**untouchable, **(held or {})},
            aims={item.name: _aim_of(item) for item in plan.updates},
            use_compose=self._use_compose,
        )
        grouping = replace(grouping, groups=_own_last(grouping.groups, self._own_id))
        book = read_policies(inventory.containers, self._policy)
        documents = await self._inspect(grouping.groups)
        courses = plan_rollouts(
            grouping,
            book,
            rollout_id=session,
            needs=lambda group: self._needs(group, documents, book.policy_of(_names(group))),
        )
        return Drawn(courses, grouping.left_out, book.problems)

    async def _inspect(self, groups: tuple[Group, ...]) -> dict[str, JsonObject]:
        ids = [member.container_id for group in groups for member in group.members]

        async def inspect(identity: str) -> JsonObject:
            try:
                return await self._engine.inspect_container(identity)
            except NoSuchObjectError:
                return {}

        return dict(zip(ids, await each(ids, inspect), strict=True))

    def _needs(self, group: Group, documents: Mapping[str, JsonObject], policy: UpdatePolicy) -> float:
        """Return how many seconds it may take until a group runs, by its containers' own settings."""
        found = [documents[member.container_id] for member in group.members]
        stops = [section(document, "Config").get("StopTimeout") for document in found]
        stopping = sum(self._stop_timeout if stop is None or int(stop) < 0 else int(stop) for stop in stops)
        watching = max((watch_budget(document, policy.monitor.total_seconds()) for document in found), default=0.0)
        return stopping + watching + sum(map(_hook_seconds, found)) + 4 * CALL_SECONDS * len(found)


def _own_last(groups: tuple[Group, ...], own_id: str | None) -> tuple[Group, ...]:
    """Put the group with the updater's own container behind all others: its replacement ends this process."""
    own = [group for group in groups if any(member.container_id == own_id for member in group.members)]
    if not own:
        return groups
    others = [replace(group, after=group.after - {own[0].key}) for group in groups if group is not own[0]]
    return (*others, replace(own[0], after=frozenset(group.key for group in others)))


def _names(group: Group) -> list[str]:
    return [member.name for member in group.create_order]


def _hook_seconds(document: JsonObject) -> float:
    """Return how long what is to run before a container stops may take."""
    labels = labels_of(document)
    hooks = (read_hook(kind, labels) for kind in (HookKind.PRE_UPDATE, HookKind.DRAIN))
    return sum(hook.seconds for hook in hooks if hook is not None)


def _aim_of(item: PlanItem) -> Aim:
    assert item.reference is not None
    assert item.published is not None
    return Aim(str(item.reference), str(item.published), item.local_image or "", item.starts)
