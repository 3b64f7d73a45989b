"""The configuration directory, read into snapshots that checks and pulls take their credentials from.

* A snapshot never changes. Reading again makes a new one and puts it in place with one assignment, so a question keeps
  the snapshot that it began with.
* A file that is broken or cannot be read changes nothing: the last good snapshot stays. Before the first good one every
  question is an error, because asking as nobody would hide the fault.
* No file, or an empty one, is an empty configuration. Where there was content it must stay away for a moment, as a
  writer may just have cut the file.

The directory may be on a network mount that no longer answers: it is read in a worker thread, with a deadline.

A credential helper that fails is not hidden either: what only it could answer is an error, and where something else
answers in its place, people are told once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from watchtower_async.credentials.config_file import (
    AUTH_VARIABLE,
    CONFIG_FILE,
    EMPTY,
    ConfigFile,
    EmptyEntry,
    parse_auth_variable,
    parse_config_file,
    parse_old_config_file,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.file_reader import FileAbsent, FileContent, FileUnreadable, Reading, read_directory
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperQuestion,
    HelperReply,
    Lookup,
    Unusable,
    settle,
)
from watchtower_async.credentials.repo_login import RepoLogin
from watchtower_async.credentials.snapshot import Snapshot, SnapshotChange
from watchtower_async.credentials.worker import Worker
from watchtower_async.errors import CredentialError, CredentialFileInvalidError
from watchtower_async.images.reference import Reference

READ_SECONDS = 10.0
GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ConfigDirectory:
    """Where the configuration is."""

    directory: Path
    problem: str | None = None
    """What is wrong with the choice, for people."""


def find_config_directory(
    *, setting: Path | None, environ: Mapping[str, str], root: Path = Path("/")
) -> ConfigDirectory:
    """Choose the directory: the setting, `DOCKER_CONFIG`, `/` if it has a `config.json`, `$HOME/.docker`."""
    variable = environ.get("DOCKER_CONFIG")
    named = Path(variable) if setting is None and variable else setting
    if named is not None:
        return _check_named(named)
    home = environ.get("HOME")
    if not home or (root / CONFIG_FILE).exists():
        return ConfigDirectory(root)
    return ConfigDirectory(Path(home) / ".docker")


def _check_named(named: Path) -> ConfigDirectory:
    """Say so where a file is named instead of its directory. For `config.json` it is clear what is meant."""
    if not named.is_file():
        return ConfigDirectory(named)
    text = f"{named} is a file: mount and name its directory instead (--docker-config or DOCKER_CONFIG)"
    if named.name != CONFIG_FILE:
        return ConfigDirectory(named, text)
    return ConfigDirectory(named.parent, f"{text}; {named.parent} is used")


@dataclass(frozen=True, slots=True)
class StoreState:
    """What is in use, and what is wrong."""

    snapshot: Snapshot | None = None
    problem: str | None = None
    """Why what is there now cannot be used; None when it is in use."""
    warnings: tuple[str, ...] = ()

    @property
    def complaint(self) -> str | None:
        """Return the problem and what follows from it."""
        if self.problem is None:
            return None
        use = "what was read before stays in use" if self.snapshot else "until then images cannot be checked"
        return f"{self.problem}; {use}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one look at the directory gave."""

    config: ConfigFile
    lookup: Lookup
    content: str = ""
    blank: str | None = None
    """How there is no content, for people; None where there is some."""
    warnings: tuple[str, ...] = ()
    misplaced: str | None = None


class HelperAsker(Protocol):
    """Asks credential helpers."""

    async def ask(self, question: HelperQuestion, *, refused: Credential | Anonymous | None = None) -> HelperReply:
        """Return the helper's reply; a kept one that gives what was `refused` is asked for again."""

    def forget(self, concerns: Callable[[str], bool]) -> None:
        """Drop the replies for the servers that a change concerns."""


class CredentialStore:
    """Holds the credentials of one configuration directory."""

    def __init__(
        self,
        *,
        directory: Path,
        auth_variable: str = "",
        login: RepoLogin | None = None,
        helpers: HelperAsker | None = None,
        on_degraded: Callable[[str], None] = lambda _: None,
        read: Callable[[Path], Reading] = read_directory,
        deadline: float = READ_SECONDS,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`auth_variable` is the value of `DOCKER_AUTH_CONFIG`, `login` that of `REPO_USER` and `REPO_PASS`.

        Without `helpers` every question to one fails. `on_degraded` is told when something else answers for a helper
        that fails: once for each registry until its helper works again.


        `deadline` is for one look at the directory, and content must be away for `grace` to be gone; both in seconds.
        """
        self._directory = directory
        self._read = read
        self._deadline = deadline
        self._grace = grace
        self._variable, self._variable_problem = _read_variable(auth_variable)
        self._login = login
        self._helpers = helpers
        self._on_degraded = on_degraded
        self._degraded: set[str] = set()
        self._snapshot: Snapshot | None = None
        self._problem: str | None = None
        self._misplaced: str | None = None
        self._misplaced_told: str | None = None
        self._lost: str | None = None
        self._gone_at: float | None = None
        self._file_warnings: tuple[str, ...] = ()
        self._worker = Worker(deadline=deadline)
        self._turn = anyio.Lock()
        self._begun = self._finished = 0
        self._news = anyio.Event()
        self._watchers = 0

    @property
    def snapshot(self) -> Snapshot | None:
        """Return the snapshot in use, None before the first good one."""
        return self._snapshot

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what people should know and what stops nothing: loose permissions, single entries that are broken."""
        entries = self._snapshot.config.problems if self._snapshot else ()
        places = (text for text in (self._misplaced, self._lost) if text is not None)
        return (*self._variable_problem, *self._file_warnings, *places, *entries)

    @property
    def state(self) -> StoreState:
        """Return what is in use, and what is wrong."""
        return StoreState(self._snapshot, self._problem, self.warnings)

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait until the state is another than this one, and return it. What changed meanwhile counts as one change."""
        while self.state == known:
            await self._news.wait()
        return self.state

    @property
    def is_watched(self) -> bool:
        """Say whether somebody looks at the directory by himself, so that `state_after` comes back."""
        return self._watchers > 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Declare that somebody calls `check` and reads the warnings while the context is open."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def reload(self) -> str | None:
        """Read the configuration afresh; return what is wrong with it, None when all is well.

        A directory in the file's place is told once, what keeps a file from being used each time. A cancelled call
        changes nothing. While somebody watches, it does not wait for content that is away: that is looked for anyway.
        """
        gone_at = await self.check()
        while gone_at is not None and not self._watchers:
            await anyio.sleep_until(gone_at)
            gone_at = await self.check()
        if self._problem is not None or self._watchers:
            return self.state.complaint
        is_new, self._misplaced_told = self._misplaced != self._misplaced_told, self._misplaced
        return self._misplaced if is_new else None

    async def check(self) -> float | None:
        """Look at the directory once. Those who come while a look has begun share the next one.

        Returns from when on content that is away now counts as gone, None when nothing is away.
        """
        mine = self._begun + 1
        async with self._turn:
            if self._finished < mine:
                self._begun += 1
                before = self.state
                self._take(await self._load_in_time())
                self._finished = self._begun
                if self.state != before:
                    self._news.set()
                    self._news = anyio.Event()
        return self._gone_at

    async def credential_for(
        self, reference: Reference, *, refused: Credential | Anonymous | None = None
    ) -> Credential | Anonymous:
        """Return the credential for an image. Raises CredentialError.

        `refused` is what the registry has just refused; a helper that gave it is asked again.
        """
        if self._snapshot is None and self._problem is None:
            await self.reload()
        snapshot = self._snapshot
        if snapshot is None:
            raise CredentialError(self._problem or f"{self._directory} could not be read")
        sources = snapshot.lookup.sources_for(reference)
        reply = None if sources.helper is None else await self._ask(sources.helper, refused)
        result = settle(sources, reply)
        if isinstance(result, Unusable):
            raise CredentialError(result.reason)
        self._tell(reference.credential_key, result.degraded)
        return result.credential

    async def _ask(self, question: HelperQuestion, refused: Credential | Anonymous | None) -> HelperReply:
        if self._helpers is None:
            return HelperFailed(question.problem or f"{question.program} is not asked here")
        return await self._helpers.ask(question, refused=refused)

    def _tell(self, server: str, degraded: str | None) -> None:
        if degraded is None:
            self._degraded.discard(server)
        elif server not in self._degraded:
            self._degraded.add(server)
            self._on_degraded(f"{degraded}; meanwhile another credential is used")

    def _take(self, loaded: _Loaded | FileUnreadable) -> None:
        if isinstance(loaded, FileUnreadable):
            self._problem, self._gone_at = loaded.reason, None
            return
        is_lost = loaded.blank is not None and self._snapshot is not None and self._snapshot.config != EMPTY
        if is_lost and not self._is_grace_over():
            return
        if loaded.blank is None or loaded.misplaced is not None:
            self._lost = None
        elif is_lost:
            self._lost = f"{loaded.blank}, so the credentials that were there are no longer used"
        self._problem, self._gone_at = None, None
        self._misplaced, self._file_warnings = loaded.misplaced, loaded.warnings
        self._put_in_place(loaded)

    def _is_grace_over(self) -> bool:
        """Say whether content is away for long enough; one look never is."""
        now = anyio.current_time()
        if self._gone_at is None:
            self._gone_at = now + self._grace
            return False
        return now >= self._gone_at

    def _put_in_place(self, loaded: _Loaded) -> None:
        known = self._snapshot
        if known is None or known.content != loaded.content:
            generation = known.generation + 1 if known else 1
            self._snapshot = Snapshot(generation, loaded.config, loaded.lookup, loaded.content)
            if self._helpers is not None:
                self._helpers.forget(SnapshotChange(known, self._snapshot).concerns_server)

    async def _load_in_time(self) -> _Loaded | FileUnreadable:
        known = self._snapshot
        try:
            return await self._worker.run(lambda: self._load(known))
        except TimeoutError:
            return FileUnreadable(f"{self._directory} did not answer within {self._deadline:g} seconds")

    def _load(self, known: Snapshot | None) -> _Loaded | FileUnreadable:
        reading = self._read(self._directory)
        if isinstance(reading, FileUnreadable):
            return reading
        if isinstance(reading, FileAbsent):
            missing = self._directory / CONFIG_FILE if os.path.lexists(self._directory) else self._directory
            lookup = Lookup(EMPTY, variable=self._variable, login=self._login)
            return _Loaded(EMPTY, lookup, blank=f"{missing} does not exist", misplaced=reading.warning)
        return self._load_content(reading, known)

    def _load_content(self, file: FileContent, known: Snapshot | None) -> _Loaded | FileUnreadable:
        content = f"{file.path.name} {hashlib.sha256(file.data).hexdigest()}"
        if known is not None and known.content == content:
            config, lookup = known.config, known.lookup
        else:
            parse = parse_config_file if file.path.name == CONFIG_FILE else parse_old_config_file
            try:
                config = parse(file.data, path=str(file.path))
            except CredentialFileInvalidError as error:
                return FileUnreadable(str(error))
            lookup = Lookup(config, variable=self._variable, login=self._login)
        blank = None if file.data.strip() else f"{file.path} is empty"
        return _Loaded(config, lookup, content, blank=blank, warnings=file.warnings)


def _read_variable(text: str) -> tuple[Mapping[str, Credential | EmptyEntry], tuple[str, ...]]:
    try:
        return parse_auth_variable(text), ()
    except CredentialFileInvalidError as error:
        return {}, (f"{error}; {AUTH_VARIABLE} is ignored",)
