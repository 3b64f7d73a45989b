"""How a replacement ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchtower_async.rollout.blame import Blame


class OutcomeKind(StrEnum):
    """The ends that a replacement can have."""

    UPDATED = "updated"
    SKIPPED = "skipped"
    """Nothing was to be done after all."""
    FAILED = "failed"
    """It could not be begun; the predecessor was not touched, or runs on as before."""
    ROLLED_BACK = "rolled_back"
    """The successor failed and the predecessor runs again."""
    UNFINISHED = "unfinished"
    """The engine went away in the middle; recovery goes on with it."""
    LOST = "lost"
    """Neither could be made to run under the container's name: a person must look at it now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end, why, and what helps to understand it (exit code, health output, last log lines)."""

    kind: OutcomeKind
    reason: str
    detail: tuple[str, ...] = ()
    blame: Blame | None = None
    """Who made it fail, where a successor was created and taken back."""
    culprit: str = ""
    """Of several containers, the one that made it fail, where that is known."""
    wants_login: bool = False
    """Whether a registry refused the login, so that another one may put it right."""

    @property
    def condemns_image(self) -> bool:
        """Say whether the image failed by itself, so that trying it again would only take the container down again."""
        return self.kind is OutcomeKind.ROLLED_BACK and self.blame is Blame.IMAGE
