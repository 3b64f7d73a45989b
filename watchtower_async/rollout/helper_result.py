"""What a helper leaves behind for the updater: how the replacement of its container ended.

It is a file in the state directory, which both have. An image that failed must be known to the updater that comes back,
or it would take itself down for it in each session.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.helper_container import HelperOrder
from watchtower_async.rollout.outcome import Outcome, OutcomeKind

FILE_NAME = "self-update.json"
_LARGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class HelperResult:
    """How it ended."""

    order: HelperOrder
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:
        """Return the form for the file."""
        return {
            "name": self.order.name,
            "container": self.order.container_id,
            "image": str(self.order.reference),
            "image_id": self.order.image_id,
            "digest": str(self.order.digest),
            "outcome": str(self.outcome.kind),
            "reason": self.outcome.reason,
            "detail": list(self.outcome.detail),
            "blame": None if self.outcome.blame is None else str(self.outcome.blame),
        }


def read_result(document: Mapping[str, Any]) -> HelperResult | None:
    """Read the form for the file; None where it is not one."""
    try:
        order = HelperOrder(
            name=str(document["name"]),
            container_id=str(document["container"]),
            reference=parse_reference(str(document["image"])),
            image_id=str(document["image_id"]),
            digest=parse_digest(str(document["digest"])),
        )
        blame = document["blame"]
        outcome = Outcome(
            OutcomeKind(document["outcome"]),
            str(document["reason"]),
            tuple(str(line) for line in document["detail"]),
            None if blame is None else Blame(blame),
        )
    except (KeyError, TypeError, ValueError, InvalidReferenceError):
        return None
    return HelperResult(order, outcome)


class ResultFile:
    """The file in a state directory. Small, and read once at a start: it may block for a moment."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def leave(self, result: HelperResult) -> str | None:
        """Write it, in one step for whoever looks; return what is wrong where that is not possible."""
        beside = self.path.with_suffix(f".{os.getpid()}")
        try:
            beside.write_text(json.dumps(result.as_json()), encoding="utf-8")
            beside.chmod(0o600)
            beside.replace(self.path)
        except OSError as error:
            return f"{self.path} cannot be written: {error.strerror or error}"
        return None

    def take(self) -> HelperResult | None:
        """Read and remove it; None where there is none."""
        try:
            with self.path.open("rb") as file:
                document = json.loads(file.read(_LARGEST))
            self.path.unlink()
        except (OSError, ValueError):
            return None
        return read_result(document) if isinstance(document, dict) else None
