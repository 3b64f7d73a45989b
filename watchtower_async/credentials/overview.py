"""Which credential answers for which registry, and for whose sake: what people need to see when an image is refused.

One row is one answer of one registry. So a registry has two rows when a name space has a key of its own, and one row
when its helper answers for all of it. What is configured and serves no container has a row as well.

A row shows where the credential comes from and whose it is, and nothing of the secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from watchtower_async.credentials.config_file import ConfigFile, shown_key
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
    Lookup,
    Unusable,
    place_of,
    settle,
)
from watchtower_async.images.reference import Reference

_NO_ENTRY = Anonymous().source
_HIDDEN = "***"
# What a browser login keeps beside the credential of Docker Hub.
_BY_PRODUCTS = "https://index.docker.io/v1/"


class Kind(StrEnum):
    """What is sent."""

    PASSWORD = "password"  # noqa: S105 - the name of a kind
    IDENTITY_TOKEN = "identity_token"  # noqa: S105
    REGISTRY_TOKEN = "registry_token"  # noqa: S105
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Use:
    """A container, and the image that a registry is asked for on its behalf."""

    container: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of one registry."""

    registry: str
    """Host and port as image names have them; `docker.io` for Docker Hub."""
    credential: Credential | Anonymous | None
    """None where one is configured that cannot be used."""
    source: str
    problem: str | None = None
    helper: HelperQuestion | None = None
    """The helper that gave the credential."""
    containers: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    """The images of these containers, each once."""

    @property
    def is_usable(self) -> bool:
        """Say whether the registry can be asked, perhaps as nobody."""
        return self.credential is not None

    @property
    def kind(self) -> Kind:
        """Return what is sent of the credential."""
        if not isinstance(self.credential, Credential):
            return Kind.NONE
        if self.credential.registry_token:
            return Kind.REGISTRY_TOKEN
        return Kind.IDENTITY_TOKEN if self.credential.identity_token else Kind.PASSWORD

    @property
    def username(self) -> str:
        """Return the user name; masked where there is no password, as then the name may be the secret."""
        if not isinstance(self.credential, Credential):
            return ""
        known = self.credential
        has_secret = bool(known.password or known.identity_token or known.registry_token)
        return known.username if has_secret or not known.username else _HIDDEN


def questions_of(lookup: Lookup, references: Iterable[Reference]) -> tuple[HelperQuestion, ...]:
    """Return the helpers to ask before the rows for these references can be made, each once."""
    asked = (lookup.sources_for(reference).helper for reference in references)
    return tuple(dict.fromkeys(question for question in asked if question is not None))


def rows_of(
    lookup: Lookup,
    uses: Iterable[Use],
    replies: Mapping[HelperQuestion, HelperReply],
    *,
    places: Iterable[Reference] = (),
) -> tuple[Row, ...]:
    """Return the rows, by registry. `places` are parts of registries that get a row even if no container is there."""
    rows: dict[tuple[str, ...], Row] = {}
    for use in uses:
        row = _row_of(lookup, use.reference, replies)
        _add(rows, row, use)
    for place in places:
        row = _row_of(lookup, place, replies)
        if not _says_nothing(row, lookup.sources_for(place).helper):
            rows.setdefault(_identity(row), row)
    return _arranged(rows.values())


def unreadable_rows(uses: Iterable[Use], problem: str) -> tuple[Row, ...]:
    """Return the rows where the configuration as a whole cannot be read."""
    rows: dict[tuple[str, ...], Row] = {}
    for use in uses:
        _add(rows, Row(use.reference.domain, None, "the configuration cannot be read", problem), use)
    return _arranged(rows.values())


def idle_keys(config: ConfigFile) -> tuple[str, ...]:
    """Return, for people, the keys that serve no image at all: no image name leads to them."""
    keys = dict.fromkeys((*config.auths, *config.helpers))
    return tuple(shown_key(key) for key in keys if place_of(key) is None and not key.startswith(_BY_PRODUCTS))


def _row_of(lookup: Lookup, reference: Reference, replies: Mapping[HelperQuestion, HelperReply]) -> Row:
    sources = lookup.sources_for(reference)
    question = sources.helper
    reply = None if question is None else replies[question]
    result = settle(sources, reply)
    if isinstance(result, Unusable):
        is_helper = isinstance(reply, HelperFailed) and result.reason == reply.reason and question is not None
        source = _name_of(question) if is_helper and question is not None else "an entry that cannot be used"
        return Row(reference.domain, None, source, result.reason)
    problem = None if result.degraded is None else f"{result.degraded}; meanwhile another credential is used"
    source = result.credential.source
    if isinstance(result.credential, Anonymous) and isinstance(reply, HelperNotFound) and question is not None:
        source = f"{source}, and {question.program} has none"
    helper = question if isinstance(reply, HelperFound) else None
    return Row(reference.domain, result.credential, source, problem, helper)


def _name_of(question: HelperQuestion) -> str:
    # The name of one that must not be run is not to be trusted with a place in a table.
    return "a credential helper" if question.problem is not None else question.program


def _says_nothing(row: Row, helper: HelperQuestion | None) -> bool:
    return helper is None and isinstance(row.credential, Anonymous) and row.source.startswith(_NO_ENTRY)


def _add(rows: dict[tuple[str, ...], Row], row: Row, use: Use) -> None:
    known = rows.get(_identity(row), row)
    rows[_identity(row)] = replace(
        known,
        containers=tuple(sorted({*known.containers, use.container})),
        references=tuple(sorted({*known.references, use.reference}, key=str)),
    )


def _identity(row: Row) -> tuple[str, ...]:
    mark = row.problem or "" if row.credential is None else row.credential.fingerprint()
    return row.registry.lower(), row.source, mark


def _arranged(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row.registry.lower(), not row.containers, row.source, row.username)))
