"""What became of the containers of a session, gathered from facts, as a report. Pure.

A fact about a container belongs to the session that decided to replace it: another session may have begun since then.
Of several facts about one container the last one counts, so an update that was rolled back later has failed.

In the report is every container that was checked, and each one that has a newer image and was left. A container for
which nobody asked is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from watchtower_async.events import DependentRestarted, ReplacementFinished
from watchtower_async.notify.report import ContainerReport, ImageLabels, Report, State
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import ReasonCode

_LEFT_WITH_NEWER = frozenset(
    {ReasonCode.COOLING_DOWN, ReasonCode.QUARANTINED, ReasonCode.IN_ROLLOUT, ReasonCode.OUTSIDE_WINDOW}
)
"""Why a container is left although there is a newer image for it."""
_JUDGED: Mapping[Action, State] = {
    Action.UPDATE: State.STALE,
    Action.NOTHING: State.FRESH,
    Action.REPORT: State.STALE,
    Action.REFUSE: State.STALE,
    Action.UNKNOWN: State.SKIPPED,
}
_ENDED: Mapping[str, State] = {OutcomeKind.UPDATED: State.UPDATED, OutcomeKind.SKIPPED: State.STALE}
"""What any other end is, is a failure."""
_NOT_YET = "its turn has not come"


@dataclass(frozen=True, slots=True)
class Found:
    """What the engine knew about a container and its images after the session; empty where it did not say."""

    new_id: str = ""
    new_image_id: str = ""
    old_labels: ImageLabels = ImageLabels()
    new_labels: ImageLabels = ImageLabels()


NOTHING_FOUND = Found()


@dataclass(slots=True)
class SessionRecord:
    """What is known of one session."""

    session: str
    failure: str = ""
    items: dict[str, PlanItem] = field(default_factory=dict)
    """By the container's id."""
    ends: dict[str, ReplacementFinished] = field(default_factory=dict)
    """By the container's id."""
    dependents: dict[str, DependentRestarted] = field(default_factory=dict)
    """By name."""

    def wants(self, container_id: str) -> bool:
        """Say whether this session decided to replace a container."""
        item = self.items.get(container_id)
        return item is not None and item.action is Action.UPDATE

    def wants_named(self, name: str) -> bool:
        """Say whether this session decided to replace a container of this name."""
        return any(item.name == name and item.action is Action.UPDATE for item in self.items.values())

    @property
    def with_newer(self) -> tuple[PlanItem, ...]:
        """Return the containers for which there is a newer image."""
        return tuple(item for item in self._shown() if has_newer(item))

    def was_updated(self, item: PlanItem) -> bool:
        """Say whether a container runs on another image now."""
        end = self.ends.get(item.container_id)
        return end is not None and end.outcome == OutcomeKind.UPDATED

    def report(self, host: str, found: Mapping[str, Found], *, mask: Callable[[str], str]) -> Report | None:
        """Return the report, with what the engine knew by container id; None where the session came to nothing.

        `mask` takes secrets out of what others wrote.
        """
        if self.failure and not self.items:
            return None
        containers = [
            self._container(item, found.get(item.container_id, NOTHING_FOUND), mask) for item in self._shown()
        ]
        shown = {item.name for item in self._shown()}
        return Report(self.session, host, (*containers, *self._others(shown, mask)))

    def _shown(self) -> Iterator[PlanItem]:
        for item in self.items.values():
            is_left = item.action is Action.LEAVE and item.reason.code not in _LEFT_WITH_NEWER
            if not is_left or item.name in self.dependents or item.container_id in self.ends:
                yield item

    def _container(self, item: PlanItem, found: Found, mask: Callable[[str], str]) -> ContainerReport:
        state, reason = self._state_of(item)
        is_newer = has_newer(item)
        is_wrong = state in (State.FAILED, State.SKIPPED) or item.action is Action.REFUSE
        new_image_id = found.new_image_id if is_newer else item.image_id
        old, new = found.old_labels, found.new_labels if is_newer else found.old_labels
        return ContainerReport(
            id=item.container_id,
            name=item.name,
            image=item.image,
            state=state,
            old_digest=str(item.running or ""),
            new_digest=str(item.published or ""),
            old_image_id=item.image_id,
            new_image_id=new_image_id,
            old_version=old.version,
            new_version=new.version,
            old_revision=old.revision,
            new_revision=new.revision,
            source=new.source or old.source,
            error=mask(reason) if is_wrong else "",
            reason=mask(reason),
            is_monitor_only=item.action is Action.REPORT and item.reason.code is not ReasonCode.OUTSIDE_WINDOW,
            is_cooling_down=item.reason.code is ReasonCode.COOLING_DOWN,
            new_id=found.new_id,
        )

    def _state_of(self, item: PlanItem) -> tuple[State, str]:
        """Return how a container came out, and why."""
        end = self.ends.get(item.container_id)
        if end is not None:
            return _ENDED.get(end.outcome, State.FAILED), end.reason
        dependent = self.dependents.get(item.name)
        if dependent is not None:
            return _state_of_dependent(dependent)
        # What is left for one of the other reasons is here for its end, or as a dependent.
        return _JUDGED.get(item.action, State.STALE), _NOT_YET if item.action is Action.UPDATE else item.reason.text

    def _others(self, shown: set[str], mask: Callable[[str], str]) -> Iterator[ContainerReport]:
        """Yield what was restarted and never judged."""
        for name, dependent in self.dependents.items():
            if name not in shown:
                state, reason = _state_of_dependent(dependent)
                error = mask(reason) if state is State.FAILED else ""
                yield ContainerReport(id="", name=name, image="", state=state, error=error, reason=mask(reason))


def has_newer(item: PlanItem) -> bool:
    """Say whether there is a newer image for a container."""
    if item.action in (Action.UPDATE, Action.REPORT, Action.REFUSE):
        return True
    return item.action is Action.LEAVE and item.reason.code in _LEFT_WITH_NEWER


def _state_of_dependent(dependent: DependentRestarted) -> tuple[State, str]:
    if dependent.problem is not None:
        return State.FAILED, dependent.problem
    return State.RESTARTED, f"{dependent.because_of} was replaced"
