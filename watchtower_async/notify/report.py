"""What a session did, as values for templates, programs and people.

A container is named after its image's own version where both images carry the OCI label for it and the two differ, else
after the digests of the registry, else after the engine's image ids. The labels are written by whoever made the image,
so they are cut and kept to one line, and a source is only shown as a link when it is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

_VERSION_LABEL = "org.opencontainers.image.version"
_REVISION_LABEL = "org.opencontainers.image.revision"
_SOURCE_LABEL = "org.opencontainers.image.source"
_LONGEST_LABEL = 200
_LINK = re.compile(r"https?://[^\s<>\"'@]+", re.ASCII)
_REVISION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]*", re.ASCII)
_COMPARE = {"github.com": "/compare/", "gitlab.com": "/-/compare/"}
"""Where two revisions can be looked at side by side: host, and what comes between the source and `old...new`."""


class State(StrEnum):
    """How a container came out of a session, in Watchtower's words."""

    UPDATED = "Updated"
    RESTARTED = "Restarted"
    """Its image is the same, and it was started again because of another container."""
    FAILED = "Failed"
    SKIPPED = "Skipped"
    """It could not be checked, or is not checked now."""
    STALE = "Stale"
    """There is a newer image, and it was left as it is."""
    FRESH = "Fresh"


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """What an image says about itself; empty where it says nothing."""

    version: str = ""
    revision: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReport:
    """One container. Texts are empty where nothing is known; ids and digests are complete."""

    id: str
    """The container's id before the session."""
    name: str
    image: str
    state: State
    old_digest: str = ""
    new_digest: str = ""
    old_image_id: str = ""
    new_image_id: str = ""
    old_version: str = ""
    new_version: str = ""
    old_revision: str = ""
    new_revision: str = ""
    source: str = ""
    error: str = ""
    """What went wrong; empty where nothing did."""
    reason: str = ""
    """Why it came out like this, also where nothing went wrong."""
    is_monitor_only: bool = False
    is_cooling_down: bool = False
    """Whether the newer image is too young to be used."""
    new_id: str = ""

    @property
    def old(self) -> str:
        """Return what the image before the session is called."""
        return self._names[0]

    @property
    def new(self) -> str:
        """Return what the image that was found is called."""
        return self._names[1]

    @property
    def link(self) -> str:
        """Return where the change can be looked at; empty where the image does not say."""
        if not _LINK.fullmatch(self.source):
            return ""
        source = self.source.rstrip("/").removesuffix(".git")
        between = _COMPARE.get(source.partition("://")[2].partition("/")[0].lower())
        revisions = (self.old_revision, self.new_revision)
        if between is None or revisions[0] == revisions[1] or not all(map(_REVISION.fullmatch, revisions)):
            return source
        return f"{source}{between}{revisions[0]}...{revisions[1]}"

    @property
    def _names(self) -> tuple[str, str]:
        if self.old_version and self.new_version and self.old_version != self.new_version:
            return self.old_version, self.new_version
        if self.old_digest and self.new_digest:
            return short(self.old_digest), short(self.new_digest)
        return short(self.old_image_id or self.old_digest), short(self.new_image_id or self.new_digest)


@dataclass(frozen=True, slots=True)
class Report:
    """All containers of one session, sorted by id."""

    session: str
    host: str
    all: tuple[ContainerReport, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "all", tuple(sorted(self.all, key=lambda container: container.id)))

    @property
    def scanned(self) -> tuple[ContainerReport, ...]:
        """Return what could be checked."""
        return tuple(container for container in self.all if container.state is not State.SKIPPED)

    @property
    def updated(self) -> tuple[ContainerReport, ...]:
        """Return what runs on another image now."""
        return self._in(State.UPDATED)

    @property
    def restarted(self) -> tuple[ContainerReport, ...]:
        """Return what was started again for another container's sake."""
        return self._in(State.RESTARTED)

    @property
    def failed(self) -> tuple[ContainerReport, ...]:
        """Return what could not be updated, or was put back."""
        return self._in(State.FAILED)

    @property
    def skipped(self) -> tuple[ContainerReport, ...]:
        """Return what was not checked."""
        return self._in(State.SKIPPED)

    @property
    def stale(self) -> tuple[ContainerReport, ...]:
        """Return what has a newer image and was left."""
        return self._in(State.STALE)

    @property
    def fresh(self) -> tuple[ContainerReport, ...]:
        """Return what has no newer image."""
        return self._in(State.FRESH)

    def _in(self, state: State) -> tuple[ContainerReport, ...]:
        return tuple(container for container in self.all if container.state is state)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log, as templates see it. `level` is in the words of the log: info, warning, error."""

    message: str
    level: str
    time: datetime
    data: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class TemplateData:
    """All that a template can say."""

    title: str
    host: str
    entries: tuple[LogEntry, ...]
    report: Report | None


def read_labels(labels: Mapping[str, str]) -> ImageLabels:
    """Return what the labels of an image say about it."""
    version, revision, source = (
        _one_line(labels.get(key, "")) for key in (_VERSION_LABEL, _REVISION_LABEL, _SOURCE_LABEL)
    )
    return ImageLabels(version, revision, source)


def short(identifier: str) -> str:
    """Return the first twelve digits of an id or a digest."""
    return identifier.rpartition(":")[2][:12]


def _one_line(text: str) -> str:
    return "".join(character for character in text if character.isprintable()).strip()[:_LONGEST_LABEL]
