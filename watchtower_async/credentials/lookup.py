"""Which stored credential serves an image.

Sources answer in this order: the variable `DOCKER_AUTH_CONFIG`, the helper of the registry (its own, else the default
one), the entries of the file, `REPO_USER` and `REPO_PASS`. The order among entries:

* a name space (`quay.io/team`) before the whole registry, the longest first; it never serves anything outside of it;
* the very key that Docker uses; then URLs of the same host and port, `https` before `http`; then `host/v1/` and its
  like; then the same with the host in any case. Within one step the order is that of the names.

Hosts are compared as a whole, port included. Docker Hub has several names, and its URLs only the paths of a registry:
what a browser login keeps at `https://index.docker.io/v1/refresh-token` is no registry credential.

A `Lookup` is the index of one configuration and never answers differently. Running a helper is not its business:
`sources_for` says which one to ask, and `settle` what follows from its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from watchtower_async.credentials.config_file import HUB_KEY, BrokenEntry, ConfigFile, EmptyEntry, Entry
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.repo_login import RepoLogin
from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.reference import DOCKER_HUB, Reference, parse_reference

_HUB_ALIAS = "index.docker.io"
_HUB_HOSTS = frozenset({DOCKER_HUB, _HUB_ALIAS, "registry-1.docker.io"})
_HUB_ORDER = {HUB_KEY: 0, DOCKER_HUB: 1, _HUB_ALIAS: 2, "registry-1.docker.io": 3}
_REGISTRY_PATHS = frozenset({"", "/", "/v1", "/v1/", "/v2", "/v2/"})

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_NEVER_IN_A_KEY = re.compile(r"[\s\\@\x00-\x1f]")
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)

_NO_ENTRY = Anonymous()
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class HelperQuestion:
    """A helper to ask: `docker-credential-<suffix> get`, with `server` on its standard input."""

    suffix: str
    server: str
    problem: str | None = None
    """Why this helper must not be run, None when it may be."""

    @property
    def program(self) -> str:
        """Return the name of the program."""
        return f"docker-credential-{self.suffix}"


@dataclass(frozen=True, slots=True)
class HelperFound:
    """The helper has a credential."""

    credential: Credential


@dataclass(frozen=True, slots=True)
class HelperNotFound:
    """The helper works and has no credential."""


@dataclass(frozen=True, slots=True)
class HelperFailed:
    """The helper did not say whether it has a credential. `reason` is for people."""

    reason: str


HelperReply: TypeAlias = HelperFound | HelperNotFound | HelperFailed


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the credential of an image comes from: from the helper, if there is one, else from what is stored."""

    helper: HelperQuestion | None
    stored: Credential | Anonymous | BrokenEntry
    fallback: Credential | None = None
    """What serves where neither of them has anything."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send."""

    credential: Credential | Anonymous
    degraded: str | None = None
    """Why a helper that should have answered did not."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A credential is configured and cannot be used; to ask as nobody instead would hide that."""

    reason: str


def settle(sources: Sources, reply: HelperReply | None = None) -> Answer | Unusable:
    """Combine the helper's reply with what is stored; there is a reply exactly when there is a helper."""
    assert (reply is None) == (sources.helper is None)
    if isinstance(reply, HelperFound):
        return Answer(reply.credential)
    failure = reply.reason if isinstance(reply, HelperFailed) else None
    match sources.stored:
        case BrokenEntry(text):
            return Unusable(text)
        case Anonymous() if sources.fallback is not None:
            return Answer(sources.fallback, failure)
        case Anonymous() if failure is not None:
            return Unusable(failure)
        case stored:
            return Answer(stored, failure)


class Lookup:
    """Finds the sources of one configuration. Made once, then asked without a search; it remembers its answers."""

    def __init__(
        self,
        config: ConfigFile,
        *,
        variable: Mapping[str, Credential | EmptyEntry] | None = None,
        login: RepoLogin | None = None,
    ) -> None:
        """`variable` is the content of `DOCKER_AUTH_CONFIG`, whose keys must be the very ones that Docker uses.

        `login` is that of `REPO_USER` and `REPO_PASS`.
        """
        self._default_helper = config.default_helper
        self._helpers = config.helpers
        self._helper_keys = _HostIndex(config.helpers)
        self._stored = {key: _outcome(entry) for key, entry in config.auths.items()}
        self._host_keys = _HostIndex(config.auths)
        self._space_keys = _SpaceIndex(key for key, entry in config.auths.items() if not isinstance(entry, EmptyEntry))
        self._found: dict[tuple[str, str], Sources] = {}
        self._variable = {key: _outcome(entry) for key, entry in (variable or {}).items()}
        self._login = login

    def sources_for(self, reference: Reference) -> Sources:
        """Say where the credential of an image comes from."""
        repository = reference.domain, reference.path
        found = self._found.get(repository)
        if found is None:
            found = self._find(reference)
            if len(self._found) < _MOST_REMEMBERED:
                self._found[repository] = found
        return found

    @property
    def places(self) -> tuple[Reference, ...]:
        """Return every registry and name space that something is configured for, as `place_of` does."""
        written = [*self._stored, *self._helpers]
        if self._login is not None:
            written += [DOCKER_HUB, *self._login.registries]
        places = [place for place in map(place_of, written) if place is not None]
        fixed = {key: place_of(key) for key in self._variable}
        places += [place for key, place in fixed.items() if place is not None and place.credential_key == key]
        return tuple(dict.fromkeys(places))

    def _find(self, reference: Reference) -> Sources:
        server = reference.credential_key
        if self._variable and (fixed := self._variable.get(server)) is not None:
            return Sources(None, fixed)
        helper, stored = self._helper_for(reference.domain, server), self._stored_for(reference)
        if self._login is None:
            return Sources(helper, stored)
        if self._login.serves(reference.domain):
            return Sources(helper, stored, self._login.credential)
        if isinstance(stored, Anonymous):
            stored = self._login.with_hint(stored, reference.domain)
        return Sources(helper, stored)

    def _helper_for(self, domain: str, server: str) -> HelperQuestion | None:
        key = self._helper_keys.key_for(domain)
        name = self._default_helper if key is None else self._helpers[key]
        if isinstance(name, BrokenEntry):
            return HelperQuestion("", server, name.text)
        return HelperQuestion(name, server, _suffix_problem(name, server)) if name else None

    def _stored_for(self, reference: Reference) -> Credential | Anonymous | BrokenEntry:
        key = self._space_keys.key_for(reference) or self._host_keys.key_for(reference.domain)
        return _NO_ENTRY if key is None else self._stored[key]


def _outcome(entry: Entry) -> Credential | Anonymous | BrokenEntry:
    return Anonymous(f"empty {entry.source}") if isinstance(entry, EmptyEntry) else entry


def _suffix_problem(suffix: str, server: str) -> str | None:
    """Say why a suffix is none: it becomes part of a program's name, and a slash in it would run any file."""
    if _SUFFIX.fullmatch(suffix):
        return None
    return f"{server}: the name of its credential helper may hold letters, digits, dots, dashes and underscores only"


class _Form(IntEnum):
    """How a key is written, in the order in which keys count."""

    HOST = 0
    HTTPS_URL = 1
    HTTP_URL = 2
    OTHER_URL = 3
    HOST_AND_PATH = 4
    NAME_SPACE = 5


@dataclass(frozen=True, slots=True)
class _Key:
    """A stored key, read."""

    written: str
    host: str
    form: _Form
    path: str = ""

    @property
    def is_hub(self) -> bool:
        return self.host.lower() in _HUB_HOSTS


def _read_key(written: str) -> _Key | None:
    """Read a key; None for one that serves nobody."""
    if _NEVER_IN_A_KEY.search(written):
        return None
    url = _URL.fullmatch(written)
    key = _read_bare_key(written) if url is None else _read_url(written, url[1], url[2], url[3])
    return key if key.host else None


def _read_bare_key(written: str) -> _Key:
    host, slash, rest = written.partition("/")
    if not slash:
        return _Key(written, host, _Form.HOST)
    if f"/{rest}" in _REGISTRY_PATHS:
        return _Key(written, host, _Form.HOST_AND_PATH)
    return _Key(written, host, _Form.NAME_SPACE, rest.removesuffix("/"))


def _read_url(written: str, scheme: str, authority: str, path: str) -> _Key:
    form = {"https": _Form.HTTPS_URL, "http": _Form.HTTP_URL}.get(scheme.lower(), _Form.OTHER_URL)
    key = _Key(written, authority.removesuffix(":"), form)
    if key.is_hub and path not in _REGISTRY_PATHS:
        return _Key(written, "", form)
    return key


def place_of(key: str) -> Reference | None:
    """Return what a stored key is for, as a reference whose path is that of the name space, empty for the registry.

    None for a key that serves no image: it is malformed, or an image cannot be named like that.
    """
    read = _read_key(key)
    if read is None:
        return None
    if read.form is _Form.NAME_SPACE:
        host = _space_host(read.host.lower() if read.is_hub else read.host)
    else:
        host = DOCKER_HUB if read.is_hub else read.host
    try:
        named = parse_reference(f"{host}/{read.path or 'any'}")
    except InvalidReferenceError:
        return None
    return Reference(host, read.path, named.tag, None) if named.domain == host and named.digest is None else None


class _HostIndex:
    """The best key for each host."""

    def __init__(self, keys: Iterable[str]) -> None:
        read = (key for key in map(_read_key, keys) if key is not None and key.form is not _Form.NAME_SPACE)
        ranked = sorted(read, key=lambda key: (key.form, key.written))
        self._exact: dict[str, str] = {}
        self._any_case: dict[str, str] = {}
        for key in ranked:
            self._exact.setdefault(key.host, key.written)
            self._any_case.setdefault(key.host.lower(), key.written)
        hub = min((key for key in ranked if key.is_hub), key=_hub_rank, default=None)
        self._hub = None if hub is None else hub.written

    def key_for(self, domain: str) -> str | None:
        """Return the key that serves a registry as a whole, None where there is none."""
        if domain == DOCKER_HUB:
            return self._hub
        return self._exact.get(domain) or self._any_case.get(domain.lower())


def _hub_rank(key: _Key) -> tuple[bool, int, _Form, str]:
    is_other_case = key.host not in _HUB_HOSTS
    return is_other_case, _HUB_ORDER.get(key.written, len(_HUB_ORDER)), key.form, key.written


class _SpaceIndex:
    """The keys that serve a part of a registry, under their repository."""

    def __init__(self, keys: Iterable[str]) -> None:
        read = (key for key in map(_read_key, keys) if key is not None and key.form is _Form.NAME_SPACE)
        self._exact: dict[str, str] = {}
        self._any_case: dict[str, str] = {}
        # Sorted, so that `docker.io/team` counts before `index.docker.io/team`, and no order of the file counts.
        for key in sorted(read, key=lambda key: key.written):
            self._exact.setdefault(f"{_space_host(key.host)}/{key.path}", key.written)
            self._any_case.setdefault(f"{_space_host(key.host.lower())}/{key.path}", key.written)
        self._domains = frozenset(name.partition("/")[0] for name in self._any_case)

    def key_for(self, reference: Reference) -> str | None:
        """Return the key of the longest name space that a repository is in, None where there is none."""
        folded = reference.domain.lower()
        if folded not in self._domains:
            return None
        path = reference.path
        while path:
            key = self._exact.get(f"{reference.domain}/{path}") or self._any_case.get(f"{folded}/{path}")
            if key is not None:
                return key
            path = path.rpartition("/")[0]
        return None


def _space_host(host: str) -> str:
    return DOCKER_HUB if host == _HUB_ALIAS else host
