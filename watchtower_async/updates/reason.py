"""Why a container is or is not updated: one value, shown in the same words everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """For programs: stable, one per kind of reason."""

    NEWER_IMAGE = "newer_image"
    UP_TO_DATE = "up_to_date"
    SAME_FOR_PLATFORM = "same_for_platform"
    PINNED = "pinned"
    NO_REFERENCE = "no_reference"
    LOCAL_IMAGE = "local_image"
    IMAGE_UNKNOWN = "image_unknown"
    DISABLED = "disabled"
    NOT_ENABLED = "not_enabled"
    NOT_NAMED = "not_named"
    IMAGE_NOT_NAMED = "image_not_named"
    NOT_RUNNING = "not_running"
    MANAGED = "managed"
    OTHER_SCOPE = "other_scope"
    ITSELF = "itself"
    NOT_SUPPORTED = "not_supported"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    COOLING_DOWN = "cooling_down"
    OUTSIDE_WINDOW = "outside_window"
    IN_ROLLOUT = "in_rollout"
    UNFINISHED = "unfinished_replacement"
    CIRCULAR = "circular_dependency"
    NO_PLATFORM = "no_platform"
    VANISHED = "vanished"
    CREDENTIALS = "credentials"
    UNAUTHORIZED = "unauthorized"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    PROTOCOL = "protocol"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Reason:
    """A code for programs and a sentence for people. The sentence holds no secret."""

    code: ReasonCode
    text: str

    def __str__(self) -> str:
        return self.text
