"""What a rollout hears (events), and what it answers (commands and announcements). Pure values.

`at` is when something happened, by the clock of whoever carries the rollout out; it may have been heard of later.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchtower_async.rollout.course import Phase, Progress, RolloutState
from watchtower_async.rollout.outcome import Outcome
from watchtower_async.settings import FailureAction

# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupPrepared:
    """Its images are there; nothing was touched."""

    key: str


@dataclass(frozen=True, slots=True)
class GroupStalled:
    """Preparing it must wait for something outside. It is to be prepared further; that is when the wait is."""

    key: str


@dataclass(frozen=True, slots=True)
class GroupDown:
    """Its first container is about to stop."""

    key: str


@dataclass(frozen=True, slots=True)
class GroupUp:
    """All of it runs, and is healthy where it has a check. Its monitor window begins."""

    key: str
    at: float


@dataclass(frozen=True, slots=True)
class GroupSettled:
    """It was still good at the end of its monitor window, and its predecessors are gone."""

    key: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """It will not run as it should."""

    key: str
    at: float
    outcome: Outcome
    """Of kind failed: why, what it left to understand it, and who is to blame."""
    is_touched: bool = True
    """Whether there is anything to roll back."""


@dataclass(frozen=True, slots=True)
class GroupSkipped:
    """Nothing was to be done after all; nothing was touched."""

    key: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GroupUnfinished:
    """Nobody can say how it is, since the engine went away. Recovery goes on with it."""

    key: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GroupRolledBack:
    """Its predecessors run again."""

    key: str
    at: float
    detail: tuple[str, ...] = ()
    """What the failed containers left to understand it."""


@dataclass(frozen=True, slots=True)
class GroupNotRolledBack:
    """Its predecessors could not be brought back."""

    key: str
    outcome: Outcome


class Found(StrEnum):
    """What has become of a group while nobody watched."""

    UPDATED = "updated"
    """All of it is on the new images and good."""
    AS_BEFORE = "as_before"
    """All of it is as it was before the rollout."""
    ROLLED_BACK = "rolled_back"
    """Its new containers failed, and recovery brought the predecessors back."""
    UNCLEAR = "unclear"
    """Neither: somebody must look at it."""


@dataclass(frozen=True, slots=True)
class GroupFound:
    """After a restart of the updater: how the engine says that it is."""

    key: str
    at: float
    found: Found
    outcome: Outcome
    """What to tell about it where this is its end."""


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Somebody wants nothing new to begin."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """Somebody wants a paused rollout to go on."""


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Somebody gives the rollout up. What has begun is brought to its end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer image is there; another rollout begins as soon as this one has stopped."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is later than before."""


GroupEvent = (
    GroupPrepared
    | GroupStalled
    | GroupDown
    | GroupUp
    | GroupSettled
    | GroupFailed
    | GroupSkipped
    | GroupUnfinished
    | GroupRolledBack
    | GroupNotRolledBack
    | GroupFound
)
Request = PauseAsked | ResumeAsked | AbortAsked | Superseded
RolloutEvent = GroupEvent | Request | TimePassed

# ---- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrepareGroup:
    """Pull its images; touch nothing."""

    key: str


@dataclass(frozen=True, slots=True)
class StartGroup:
    """Take it down and bring it up on the new images."""

    key: str


@dataclass(frozen=True, slots=True)
class RollBackGroup:
    """Stop whatever is done about it, and bring it back to where it was before the rollout."""

    key: str
    failure: Outcome | None
    """Why; None where it is good and the rollout is rolled back."""


@dataclass(frozen=True, slots=True)
class LookAtGroup:
    """Ask the engine what has become of it."""

    key: str


@dataclass(frozen=True, slots=True)
class CancelGroup:
    """Stop whatever is done about it; what comes of it does not matter any more."""

    key: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """To be announced: the rollout is in another state."""

    state: RolloutState
    reason: str


@dataclass(frozen=True, slots=True)
class GroupMoved:
    """To be announced: a group is in another phase. `outcome` is its end, where it has one."""

    key: str
    phase: Phase
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """To be announced, at most once: more has failed than the policy allows."""

    failures: int
    groups: int
    action: FailureAction


Work = PrepareGroup | StartGroup | RollBackGroup | LookAtGroup | CancelGroup
Announcement = StateChanged | GroupMoved | LimitExceeded
Command = Work | Announcement


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to an event."""

    progress: Progress
    commands: tuple[Command, ...]
    """In the order in which they are to be carried out."""
    wake_at: float | None
    """When to say that time has passed, unless something happens before; None where nothing depends on time."""
