"""What is said at the start about settings that are accepted but not quite as somebody may think."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NoticeKind(StrEnum):
    """Why something is said."""

    UNKNOWN = "unknown"
    """A variable with Watchtower's prefix that nobody reads."""
    NO_EFFECT = "no_effect"
    """A known setting that changes nothing."""
    DEPRECATED = "deprecated"
    """It works; there is a newer form."""
    REMARK = "remark"
    """It works, with a consequence."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence about settings; `name` is as somebody wrote it, flag or variable, and no value is shown."""

    kind: NoticeKind
    name: str
    text: str

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.name} {self.text}"
