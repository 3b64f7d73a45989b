"""What the configuration says at one time, and what another such state changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from watchtower_async.credentials.config_file import EMPTY, HUB_KEY, BrokenEntry, ChangeSet, ConfigFile, changes_between
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import Lookup, Sources
from watchtower_async.images.reference import DOCKER_HUB, Reference


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the configuration says at one time."""

    generation: int
    """Counts from 1 and goes up with each new content."""
    config: ConfigFile
    lookup: Lookup = field(repr=False, compare=False)
    content: str = field(repr=False)
    """Tells contents apart; empty for no file."""


@dataclass(frozen=True, slots=True)
class SnapshotChange:
    """The step from one snapshot to a later one. True when it means anything for a registry."""

    before: Snapshot | None
    """None where nothing could be read before: then every question was an error, so everything changes."""
    after: Snapshot

    @property
    def keys(self) -> ChangeSet:
        """Return the registry keys that the step concerns."""
        return changes_between(EMPTY if self.before is None else self.before.config, self.after.config)

    def concerns(self, reference: Reference) -> bool:
        """Say whether the answer for an image may be another one now."""
        if self.before is None:
            return True
        return _may_differ(self.before.lookup.sources_for(reference), self.after.lookup.sources_for(reference))

    def concerns_server(self, server: str) -> bool:
        """Say whether what a helper says about a server may be another thing now."""
        domain = DOCKER_HUB if server == HUB_KEY else server
        return self.concerns(Reference(domain, "any", "latest", None))

    def __bool__(self) -> bool:
        return self.before is None or bool(self.keys)


def _may_differ(before: Sources, after: Sources) -> bool:
    if before.helper is not None and after.helper is not None:
        # A login leaves an empty entry when a helper keeps the secret: that is no answer, but the helper's is new.
        return before != after
    return before.helper != after.helper or _mark(before.stored) != _mark(after.stored)


def _mark(stored: Credential | Anonymous | BrokenEntry) -> object:
    """Return what tells answers apart: where a credential is written makes no difference."""
    return stored if isinstance(stored, BrokenEntry) else stored.fingerprint()
