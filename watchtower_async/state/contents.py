"""What is kept from one run to the next, as values, and how much of it at most.

A container has one entry in the quarantine of its host: the published digest that failed in it last. The entry ends
when the tag points elsewhere or a person clears it; which of the two is for others to notice.

When a tag was first seen to point to a digest is kept by image, not by host: a registry tells all of them the same.

Everything is bounded, since nobody looks at it for years: when there are too many of a kind, the oldest go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, parse_digest

MOST_ENTRIES = 1000
MOST_ROLLOUTS = 200
MOST_SIGHTINGS = 2000
DIGESTS_PER_IMAGE = 4
MOST_MESSAGES = 2000
MESSAGES_CHARACTERS = 16 << 20
DETAIL_LINES = 40
TEXT_CHARACTERS = 1000
DOCUMENT_CHARACTERS = 4 << 20

Key = TypeVar("Key")
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineEntry:
    """An image that failed in a container, and is not tried in it again."""

    host: str
    """The engine's name."""
    container: str
    image: str
    """The reference whose tag pointed to the digest."""
    digest: Digest
    since: datetime
    reason: str
    detail: tuple[str, ...] = ()
    """What the failed container left to understand it, line by line."""

    @property
    def key(self) -> tuple[str, str]:
        """Return what there is one entry for."""
        return self.host, self.container

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "host": self.host,
            "container": self.container,
            "image": self.image,
            "digest": str(self.digest),
            "since": self.since.isoformat(),
            "reason": self.reason,
            "detail": list(self.detail),
        }


def read_entry(document: Mapping[str, Any]) -> QuarantineEntry | None:
    """Read the form for programs; None where it is not one."""
    try:
        since = datetime.fromisoformat(document["since"])
        detail = document["detail"]
        if since.tzinfo is None or not isinstance(detail, list):
            return None
        return QuarantineEntry(
            host=str(document["host"]),
            container=str(document["container"]),
            image=str(document["image"]),
            digest=parse_digest(document["digest"]),
            since=since,
            reason=str(document["reason"]),
            detail=tuple(str(line) for line in detail),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidReferenceError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRollout:
    """A rollout that is not finished."""

    id: str
    document: str = field(repr=False)
    """Its state, as JSON text that only the coordinator reads."""
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """When we first saw a tag point to a digest."""

    image: str
    """The reference in full, with its tag."""
    digest: Digest
    since: datetime

    @property
    def key(self) -> tuple[str, Digest]:
        """Return what there is one sighting of."""
        return self.image, self.digest


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that is kept. Each change returns another value."""

    quarantine: Mapping[tuple[str, str], QuarantineEntry] = field(default_factory=dict)
    rollouts: Mapping[str, StoredRollout] = field(default_factory=dict)
    sightings: Mapping[tuple[str, Digest], Sighting] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Notifications that are not delivered yet: texts by keys that sort by age."""

    def with_entry(self, entry: QuarantineEntry) -> Contents:
        """Return the contents with this entry, in place of an older one for the same container."""
        entries = {**self.quarantine, entry.key: _trimmed(entry)}
        return replace(self, quarantine=_newest(entries, MOST_ENTRIES, lambda item: item.since))

    def without_entries(self, lifted: tuple[QuarantineEntry, ...]) -> Contents:
        """Return the contents without these entries."""
        gone = {entry.key for entry in lifted}
        return replace(self, quarantine={key: entry for key, entry in self.quarantine.items() if key not in gone})

    def entries_of(self, container: str | None, host: str | None) -> tuple[QuarantineEntry, ...]:
        """Return the entries of a container and a host, where None stands for all of them."""
        return tuple(
            entry
            for entry in sorted(self.quarantine.values(), key=lambda item: item.key)
            if container in (None, entry.container) and host in (None, entry.host)
        )

    def with_rollout(self, rollout: StoredRollout) -> Contents:
        """Return the contents with this rollout, in place of an older state of it."""
        rollouts = {**self.rollouts, rollout.id: rollout}
        return replace(self, rollouts=_newest(rollouts, MOST_ROLLOUTS, lambda item: item.updated_at))

    def without_rollout(self, rollout_id: str) -> Contents:
        """Return the contents without this rollout."""
        return replace(self, rollouts={key: item for key, item in self.rollouts.items() if key != rollout_id})

    def with_sightings(self, sightings: Iterable[Sighting]) -> Contents:
        """Return the contents with these sightings; of two of the same the earlier counts."""
        merged = dict(self.sightings)
        for sighting in sightings:
            known = merged.get(sighting.key)
            if known is None or sighting.since < known.since:
                merged[sighting.key] = sighting
        return self if merged == self.sightings else replace(self, sightings=_bounded(merged))

    def with_message(self, key: str, text: str) -> Contents:
        """Return the contents with this message, in place of one with the same key."""
        return replace(self, messages=_fitting({**self.messages, key: text}))

    def without_message(self, key: str) -> Contents:
        """Return the contents without this message."""
        return replace(self, messages={other: text for other, text in self.messages.items() if other != key})


def _bounded(sightings: dict[tuple[str, Digest], Sighting]) -> dict[tuple[str, Digest], Sighting]:
    # Several digests of one image, as mirrors that lag behind let a tag jump back and forth. Few of them, so that one
    # that moves all the time does not drive out those that wait for their day.
    by_image: dict[str, list[Sighting]] = {}
    for sighting in sorted(sightings.values(), key=lambda item: item.since):
        by_image.setdefault(sighting.image, []).append(sighting)
    kept = {item.key: item for found in by_image.values() for item in found[-DIGESTS_PER_IMAGE:]}
    return _newest(kept, MOST_SIGHTINGS, lambda item: item.since)


def _fitting(messages: dict[str, str]) -> dict[str, str]:
    """Return the latest messages, as many as there is room for."""
    room = MESSAGES_CHARACTERS
    kept: list[str] = []
    for key in sorted(messages, reverse=True)[:MOST_MESSAGES]:
        room -= len(messages[key])
        if room < 0:
            break
        kept.append(key)
    return {key: messages[key] for key in reversed(kept)}


def _newest(kept: dict[Key, Kept], most: int, age: Callable[[Kept], datetime]) -> dict[Key, Kept]:
    if len(kept) <= most:
        return kept
    ordered = sorted(kept.items(), key=lambda pair: age(pair[1]))
    return dict(ordered[len(ordered) - most :])


def _trimmed(entry: QuarantineEntry) -> QuarantineEntry:
    # The last lines are the ones that tell why a program ended.
    detail = tuple(_storable(line) for line in entry.detail[-DETAIL_LINES:])
    return replace(entry, image=_storable(entry.image), reason=_storable(entry.reason), detail=detail)


def _storable(text: str) -> str:
    short = text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"
    return short.encode("utf-8", "replace").decode("utf-8")
