"""What is said about one thing in a Watchtower service."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What becomes of it."""

    REFUSED = "refused"
    """The updater would not start with it."""
    UNKNOWN = "unknown"
    """Nobody knows it, here or in Watchtower."""
    CHANGES = "changes"
    """It works, and means something else."""
    NO_EFFECT = "no_effect"
    """It is accepted and changes nothing."""
    SAME = "same"
    """It carries over."""
    EDITED = "edited"
    """The new service has it in another form."""
    ADVICE = "advice"
    """A person should look at it."""
    ANYWAY = "anyway"
    """Different from Watchtower without any setting."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence; `name` is as somebody wrote it, flag or variable. No value of a setting is shown."""

    kind: FindingKind
    name: str
    text: str

    def __str__(self) -> str:
        """Return the sentence."""
        return ": ".join(part for part in (self.name, self.text) if part)

    def as_json(self) -> dict[str, str]:
        """Return it for programs."""
        return {"kind": str(self.kind), "name": self.name, "text": self.text}
