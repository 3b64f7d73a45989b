"""Which login answers for which registry, and whether the registry accepts it now.

A registry in use is asked as a scan asks it, for one image of each login; for another one only where the first is not
there. What no container uses is shown to the root of the registry's API. Nothing is pulled.

That an image can be had says nothing about the login: some registries look at it only when they must, and a token
service that refuses it may still let everybody read. So what became of the login itself decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import anyio

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import HelperQuestion, HelperReply
from watchtower_async.credentials.overview import Row, Use, idle_keys, questions_of, rows_of, unreadable_rows
from watchtower_async.credentials.store import StoreState
from watchtower_async.errors import CredentialError, DeniedError, UnauthorizedError, WatchtowerError
from watchtower_async.images.reference import DOCKER_HUB, Reference, is_loopback_host
from watchtower_async.registry.answers import login_command
from watchtower_async.registry.client import Published
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.scanner import Answer, Unanswered

_LOGIN_REFUSALS = frozenset({ReasonCode.UNAUTHORIZED, ReasonCode.DENIED})
_REFUSALS = _LOGIN_REFUSALS | {ReasonCode.CREDENTIALS}


class Verdict(StrEnum):
    """What a registry says about a login."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It could not be asked, or gave no clear answer."""
    UNTESTED = "untested"
    """It did not look at the login, or there was no way to show it."""


@dataclass(frozen=True, slots=True)
class LoginState:
    """What a registry says about a login, in words and for which image."""

    verdict: Verdict
    text: str
    image: str | None = None
    through_engine: bool = False


@dataclass(frozen=True, slots=True)
class LoginRow:
    """One login of one registry."""

    row: Row
    state: LoginState | None = None
    """None where nobody was asked."""
    token_until: datetime | None = None
    """When the token ends that the registry gave for the login."""
    helper_answer_until: datetime | None = None
    """Until when the helper's answer counts here; then it is asked again."""

    @property
    def is_good(self) -> bool:
        """Say whether the login can be used and nothing speaks against it."""
        if not self.row.is_usable:
            return False
        return self.state is None or self.state.verdict in (Verdict.ACCEPTED, Verdict.UNTESTED)

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        state = self.state
        return {
            "registry": self.row.registry,
            "containers": list(self.row.containers),
            "source": self.row.source,
            "username": self.row.username or None,
            "kind": str(self.row.kind),
            "from_helper": self.row.helper is not None,
            "usable": self.row.is_usable,
            "problem": self.row.problem,
            "check": None
            if state is None
            else {
                "verdict": str(state.verdict),
                "text": state.text,
                "image": state.image,
                "asked_through_engine": state.through_engine,
            },
            "token_until": _iso(self.token_until),
            "helper_answer_until": _iso(self.helper_answer_until),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginReport:
    """All logins, and what people should know beside them."""

    directory: str
    """Of the credential configuration."""
    rows: tuple[LoginRow, ...]
    is_checked: bool
    engine: str | None = None
    engine_problem: str | None = None
    """Why no container is known."""
    problem: str | None = None
    """Why the configuration cannot be used."""
    warnings: tuple[str, ...] = ()
    running: Mapping[str, Any] | None = None
    """What the running updater says about its credentials, None where none answers."""

    @property
    def is_good(self) -> bool:
        """Say whether every login can be used, and is accepted as far as that was asked."""
        return self.problem is None and all(row.is_good for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the form for programs."""
        return {
            "directory": self.directory,
            "engine": self.engine,
            "engine_problem": self.engine_problem,
            "problem": self.problem,
            "warnings": list(self.warnings),
            "running": None if self.running is None else dict(self.running),
            "checked": self.is_checked,
            "registries": [row.as_json() for row in self.rows],
        }


class Helpers(Protocol):
    """Asks credential helpers."""

    async def ask(self, question: HelperQuestion) -> HelperReply:
        """Return a helper's reply."""

    def kept_seconds(self, question: HelperQuestion) -> float | None:
        """Return for how long the reply is kept from now on."""


class Registries(Protocol):
    """Shows credentials to registries and remembers what became of them."""

    async def check_login(self, domain: str, credential: Credential | Anonymous) -> bool:
        """Show a credential; False where nobody looked at it. Raises RegistryError and CredentialError."""

    def is_accepted(self, host: str, credential: Credential | Anonymous) -> bool | None:
        """Say whether a credential was of use when it was shown last."""

    def token_seconds(self, host: str, credential: Credential | Anonymous) -> float | None:
        """Return for how long the token that a credential has bought is good."""


class Images(Protocol):
    """Asks for images as a scan does."""

    async def ask(self, reference: Reference) -> Answer:
        """Answer one reference."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LoginCheck:
    """Makes the rows of one configuration."""

    def __init__(
        self,
        *,
        helpers: Helpers,
        registries: Registries,
        images: Images | None,
        shares_loopback: bool,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`images` is None where there is no engine, and so no image in use.

        `shares_loopback` says whether our loopback is the engine's.
        """
        self._helpers = helpers
        self._registries = registries
        self._images = images
        self._shares_loopback = shares_loopback
        self._now = now

    async def rows(
        self, state: StoreState, uses: Iterable[Use], *, with_unused: bool, check: bool
    ) -> tuple[LoginRow, ...]:
        """Return a row for each login: of the images in use, and with `with_unused` of all that is configured."""
        uses = tuple(uses)
        if state.snapshot is None:
            return tuple(LoginRow(row) for row in unreadable_rows(uses, state.problem or "nothing was read"))
        lookup = state.snapshot.lookup
        places = lookup.places if with_unused else ()
        replies = await self._ask_helpers(questions_of(lookup, (*(use.reference for use in uses), *places)))
        rows = rows_of(lookup, uses, replies, places=places)
        states = await self._check(rows) if check else {}
        return tuple(self._finished(row, states.get(index)) for index, row in enumerate(rows))

    async def _ask_helpers(self, questions: Iterable[HelperQuestion]) -> dict[HelperQuestion, HelperReply]:
        replies: dict[HelperQuestion, HelperReply] = {}

        async def ask(question: HelperQuestion) -> None:
            replies[question] = await self._helpers.ask(question)

        async with anyio.create_task_group() as group:
            for question in questions:
                group.start_soon(ask, question, name=f"helper for {question.server}")
        return replies

    async def _check(self, rows: Iterable[Row]) -> dict[int, LoginState]:
        states: dict[int, LoginState] = {}

        async def check(index: int, row: Row, credential: Credential | Anonymous) -> None:
            states[index] = await self._state_of(row, credential)

        async with anyio.create_task_group() as group:
            for index, row in enumerate(rows):
                if row.credential is not None:
                    group.start_soon(check, index, row, row.credential, name=f"login at {row.registry}")
        return states

    def _finished(self, row: Row, state: LoginState | None) -> LoginRow:
        token = helper = None
        if isinstance(row.credential, Credential):
            host = Reference(row.registry, "", "latest", None).host
            token = self._registries.token_seconds(host, row.credential)
        if row.helper is not None:
            helper = self._helpers.kept_seconds(row.helper)
        return LoginRow(row, state, self._in(token), self._in(helper))

    def _in(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self._now() + timedelta(seconds=seconds)

    async def _state_of(self, row: Row, credential: Credential | Anonymous) -> LoginState:
        missing: list[tuple[Reference, Unanswered]] = []
        for reference in row.references if self._images is not None else ():
            assert self._images is not None
            answer = await self._images.ask(reference)
            if not isinstance(answer, Unanswered):
                return await self._state_with(answer, credential)
            if not _may_be_missing(answer.reason, reference):
                return _state_of_failure(reference, answer)
            missing.append((reference, answer))
        shown = await self._show(row.registry, credential)
        return _state_without(missing[0], shown) if missing else shown

    async def _state_with(self, published: Published, credential: Credential | Anonymous) -> LoginState:
        """Say what an image that was found tells about the login."""
        reference = published.reference
        image = reference.familiar
        if published.through_engine and not published.login_refused:
            text = f"{image} was found, asked through the engine"
            return LoginState(Verdict.ACCEPTED, text, image, through_engine=True)
        if isinstance(credential, Anonymous):
            return LoginState(Verdict.ACCEPTED, f"{image} can be had without a login", image)
        is_accepted = not published.login_refused and self._registries.is_accepted(reference.host, credential)
        if is_accepted:
            return LoginState(Verdict.ACCEPTED, f"{image} was found", image)
        if is_accepted is None:
            shown = await self._show(reference.domain, credential)
            if shown.verdict in (Verdict.ACCEPTED, Verdict.REFUSED):
                return shown
            return LoginState(Verdict.UNTESTED, f"{image} can be had without a login, so nobody looked at it", image)
        text = f"{image} can be had without a login only: log in again with `{login_command(reference.host)}`"
        return LoginState(Verdict.REFUSED, text, image, published.through_engine)

    async def _show(self, domain: str, credential: Credential | Anonymous) -> LoginState:
        """Show a login to its registry, without an image."""
        if isinstance(credential, Anonymous):
            return LoginState(Verdict.UNTESTED, "there is no login to show")
        if is_loopback_host(domain) and not self._shares_loopback:
            text = f"{domain} is on the loopback of the engine, which asks for images in use only"
            return LoginState(Verdict.UNTESTED, text)
        try:
            was_looked_at = await self._registries.check_login(domain, credential)
        except (UnauthorizedError, DeniedError, CredentialError) as error:
            return LoginState(Verdict.REFUSED, str(error))
        except WatchtowerError as error:
            return LoginState(Verdict.UNKNOWN, str(error))
        if was_looked_at:
            return LoginState(Verdict.ACCEPTED, f"registry {domain} lets this login in")
        return LoginState(Verdict.UNTESTED, f"registry {domain} asks for no login, so nobody looked at it")


def _may_be_missing(reason: Reason, reference: Reference) -> bool:
    """Say whether an image may not exist; Docker Hub says so in the words of a refusal."""
    is_hidden = reason.code is ReasonCode.UNAUTHORIZED and reference.domain == DOCKER_HUB
    return reason.code is ReasonCode.NOT_FOUND or is_hidden


def _state_without(missing: tuple[Reference, Unanswered], shown: LoginState) -> LoginState:
    """Say what is known about the login when no image of it was found, and what came of showing it."""
    reference, answer = missing
    if shown.verdict is Verdict.REFUSED:
        return shown
    if shown.verdict is not Verdict.ACCEPTED:
        return _state_of_failure(reference, answer)
    verdict = Verdict.ACCEPTED if answer.reason.code is ReasonCode.NOT_FOUND else Verdict.REFUSED
    return LoginState(verdict, f"{shown.text}; {answer.reason.text}", reference.familiar)


def _state_of_failure(reference: Reference, answer: Unanswered) -> LoginState:
    reason = answer.reason
    verdict = Verdict.REFUSED if reason.code in _REFUSALS else Verdict.UNKNOWN
    login = login_command(reference.host)
    # What comes through the engine are the registry's own words, without a remedy.
    lacks_remedy = answer.through_engine and reason.code in _LOGIN_REFUSALS
    text = f"{reason.text}: log in with `{login}`" if lacks_remedy else reason.text
    return LoginState(verdict, text, reference.familiar, answer.through_engine)


def warnings_beside(state: StoreState, rows: Iterable[LoginRow]) -> tuple[str, ...]:
    """Return what people should know about the configuration and no row tells."""
    told = {row.row.problem for row in rows}
    keys = idle_keys(state.snapshot.config) if state.snapshot else ()
    idle = (f"{key} in the configuration is no registry that an image name can have: it serves nothing" for key in keys)
    return (*(text for text in state.warnings if text not in told), *idle)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
