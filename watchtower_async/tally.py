"""Counts what belongs to a session, for those who tell about sessions in numbers. Pure.

Only one session plans at a time, so what is judged belongs to the one that began last. Its rollouts may go on beside
the next session; they are carried out in turn, so what is restarted belongs to the open session that began first.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchtower_async.events import ContainerJudged, DependentRestarted, Event, SessionFailed, SessionStarted
from watchtower_async.updates.plan import Action


@dataclass(slots=True)
class Tally:
    """What the end of a session does not tell itself."""

    unknown: int = 0
    """Containers whose check had no result."""
    restarted: int = 0
    """Containers that were restarted, or created anew on their image, because another one was replaced."""
    has_failed: bool = False
    """Whether it could not be carried through."""


class Tallies:
    """One for each session that has not ended."""

    def __init__(self) -> None:
        self._open: dict[str, Tally] = {}
        """By session, in the order in which they began."""

    def take_in(self, event: Event) -> None:
        """Count a fact."""
        match event:
            case SessionStarted(session):
                self._open[session] = Tally()
            case ContainerJudged(item) if item.action is Action.UNKNOWN and self._open:
                next(reversed(self._open.values())).unknown += 1
            case DependentRestarted(problem=None) if self._open:
                next(iter(self._open.values())).restarted += 1
            case SessionFailed(session) if session in self._open:
                self._open[session].has_failed = True
            case _:
                pass

    def close(self, session: str) -> Tally:
        """Return what was counted for a session that has ended."""
        return self._open.pop(session, Tally())
