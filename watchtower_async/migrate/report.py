"""What is told about one Watchtower: for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.migrate.finding import Finding, FindingKind

_TITLES: Mapping[FindingKind, str] = {
    FindingKind.REFUSED: "Must be changed first, the updater would not start with it",
    FindingKind.UNKNOWN: "Not known, does nothing",
    FindingKind.CHANGES: "Means something else here",
    FindingKind.NO_EFFECT: "Accepted, without effect here",
    FindingKind.SAME: "Carries over",
    FindingKind.EDITED: "Changed in the service",
    FindingKind.ADVICE: "Look at it",
    FindingKind.ANYWAY: "Different from Watchtower in any case",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One Watchtower, what becomes of it, and the new service."""

    name: str
    origin: str
    """Where it was read from."""
    program: str
    findings: tuple[Finding, ...]
    service: str = field(repr=False)
    """As it may be shown."""

    @property
    def can_be_carried_over(self) -> bool:
        """Say whether the updater would start with the new service."""
        return not any(finding.kind is FindingKind.REFUSED for finding in self.findings)

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        yield f"{self.name} ({self.origin}) runs {self.program}."
        for kind, title in _TITLES.items():
            found = [finding for finding in self.findings if finding.kind is kind]
            if found:
                yield ""
                yield f"{title}:"
                yield from (f"  - {finding}" for finding in found)
        if self.service:
            yield ""
            yield "The new service:"
            yield ""
            yield self.service.rstrip()

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "name": self.name,
            "origin": self.origin,
            "program": self.program,
            "carries_over": self.can_be_carried_over,
            "findings": [finding.as_json() for finding in self.findings],
            "service": self.service,
        }
