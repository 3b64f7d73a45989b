"""Facts that happened. Flows announce them; log, report and later history, metrics and pages listen.

No flow knows who listens, and a listener's failure is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.updates.plan import PlanItem


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session began."""

    session: str
    engine: str


@dataclass(frozen=True, slots=True)
class ContainerJudged:
    """It is known what happens to a container, and why."""

    item: PlanItem


@dataclass(frozen=True, slots=True)
class ReplacementStarted:
    """A container is about to be replaced."""

    item: PlanItem


@dataclass(frozen=True, slots=True)
class ReplacementFinished:
    """A replacement ended, one way or the other."""

    item: PlanItem
    outcome: str
    reason: str
    detail: tuple[str, ...]
    duration: float


@dataclass(frozen=True, slots=True)
class DependentRestarted:
    """A container was restarted, or created anew on its image, because another one was replaced.

    `problem` says why that did not work, None where it did.
    """

    container: str
    because_of: str
    is_recreated: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class RolloutStateChanged:
    """A rollout is in another state, by Swarm's names. `name` is empty for the common one."""

    rollout: str
    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutLimitExceeded:
    """More of a rollout has failed than its policy allows, and the failure action is taken."""

    rollout: str
    failures: int
    groups: int
    action: str


@dataclass(frozen=True, slots=True)
class HookRan:
    """A lifecycle hook of a container has ended, or could not be run."""

    container: str
    kind: str
    end: str
    reason: str
    output: str


@dataclass(frozen=True, slots=True)
class ImageQuarantined:
    """An image failed by itself in a container, and is not tried in it again."""

    entry: QuarantineEntry


@dataclass(frozen=True, slots=True)
class QuarantineLifted:
    """An image may be tried again in a container."""

    entry: QuarantineEntry
    why: str


@dataclass(frozen=True, slots=True)
class ImageRemoved:
    """An image that an update had left unused is gone."""

    image_id: str
    image: str


@dataclass(frozen=True, slots=True)
class ReplacementRecovered:
    """Something left over from an interrupted replacement was found."""

    container: str
    action: str
    is_lost: bool = False
    """Whether a person must look at it now."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something does not work as it should, and the updater goes on."""

    problem: str


@dataclass(frozen=True, slots=True)
class CredentialsReloaded:
    """Another configuration is in use. Registry keys as they are written, without user info; never a value."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]
    default_helper_changed: bool
    generation: int


@dataclass(frozen=True, slots=True)
class CredentialsProblem:
    """The configuration cannot be used as it is now. Told once, until it can be used again."""

    problem: str


@dataclass(frozen=True, slots=True)
class CredentialsRecovered:
    """The configuration can be used again."""


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session could not be carried through."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """A session ended. `updated` counts replaced containers, `failed` failed, rolled back and unknown ones."""

    session: str
    scanned: int
    updated: int
    failed: int
    duration: float


Event = (
    SessionStarted
    | ContainerJudged
    | ReplacementStarted
    | ReplacementFinished
    | DependentRestarted
    | RolloutStateChanged
    | RolloutLimitExceeded
    | HookRan
    | ImageQuarantined
    | QuarantineLifted
    | ImageRemoved
    | ReplacementRecovered
    | Degraded
    | CredentialsReloaded
    | CredentialsProblem
    | CredentialsRecovered
    | SessionFailed
    | SessionFinished
)
Listener = Callable[[Event], None]


class Announcer:
    """Hands each fact to every listener, in order."""

    def __init__(self, listeners: tuple[Listener, ...] = ()) -> None:
        self._listeners = listeners

    def announce(self, event: Event) -> None:
        """Tell all listeners."""
        for listener in self._listeners:
            listener(event)
