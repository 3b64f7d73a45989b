"""Faults of the way between a client and the simulated engine, placed at a numbered request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["kill_before", "kill_during", "kill_after", "fail", "hang", "lost"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at the request with this number, counted from 1 since the fault was set.

    - `kill_before`: the client dies before it: neither it nor any later request has an effect or an answer.
    - `kill_during`: the client dies when it has been sent: what it asked for goes on by itself, such as a slow stop.
    - `kill_after`: the client dies right after it has taken effect: no answer, and nothing later has an effect.
    - `fail`: the engine answers with an error, without effect.
    - `hang`: the engine never answers, without effect; it ends when the client goes away.
    - `lost`: it takes effect, but the connection breaks before the answer; later requests work.

    After a kill, `engine.revive()` lets requests through again, those of the next process.
    """

    at: int
    kind: FaultKind
    changes_only: bool = True
    """Whether only requests that change something count."""
    text: str = "injected failure"
    status: int = 500


@dataclass(frozen=True, slots=True)
class Traced:
    """A request that has reached the engine."""

    number: int
    text: str
    """Such as `POST containers/web/rename?name=web.old`; containers have the name that they had at that time."""
    changes: bool
    """Whether it can change something."""


class FaultBox:
    """Counts requests and says what happens to each."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._count = 0
        self.client_is_dead = False
        self.fired = False

    @property
    def fault(self) -> Fault | None:
        """The fault that is set."""
        return self._fault

    def arm(self, fault: Fault | None) -> None:
        """Set a fault and count from now on."""
        self._fault, self._count, self.fired = fault, 0, False

    def next(self, *, changes: bool) -> FaultKind | None:
        """Count a request and say whether this is the one."""
        fault = self._fault
        if fault is None or self.fired or (fault.changes_only and not changes):
            return None
        self._count += 1
        if self._count != fault.at:
            return None
        self.fired = True
        return fault.kind
