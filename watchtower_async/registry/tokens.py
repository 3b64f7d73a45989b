"""Bearer tokens: asked for once, used only for the registry, repository and credential they were asked for.

The scope asked for is always our own, one repository and `pull`; the one in a challenge may be a placeholder. A token
with fewer rights than asked for is granted like any other; that shows when it is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import anyio

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import (
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.registry.answers import error_code, login_command
from watchtower_async.registry.exchange import Reply, Request
from watchtower_async.registry.memory import KeyedLocks, Memory
from watchtower_async.registry.token_request import (
    TokenService,
    basic_header,
    get_request,
    post_request,
    read_token_reply,
)

MAX_TOKENS = 1000
_FAILURE_SECONDS = 5.0
_REFUSALS = frozenset({400, 401, 403})
_NO_POST = frozenset({404, 405})


class Send(Protocol):
    """Sends a request with retries."""

    def __call__(self, request: Request, /) -> Awaitable[Reply]: ...


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What a token is good for, and who asked for it."""

    registry: str
    host: str
    realm: str
    service: str
    scopes: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token."""

    key: TokenKey
    header: str = field(repr=False)
    """The value of the `Authorization` field."""
    until: float = 0.0
    """When its life ends, by the loop's clock."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A token and how it came."""

    token: Token
    is_new: bool
    """False when it was remembered: then a refusal may only mean that it is no longer good."""
    rejected: Credential | None = None
    """The credential that was refused before the token was granted to nobody."""


class Tokens:
    """The tokens of one client."""

    def __init__(
        self,
        *,
        slots: Callable[[str], anyio.CapacityLimiter],
        now: Callable[[], datetime],
    ) -> None:
        """`slots` gives a limiter by name: how many requests for tokens one service gets at the same time."""
        self._slots = slots
        self._now = now
        self._tokens: Memory[TokenKey, Token] = Memory(limit=MAX_TOKENS, clock=anyio.current_time)
        self._failures: Memory[TokenKey, RegistryError] = Memory(limit=MAX_TOKENS, clock=anyio.current_time)
        self._locks: KeyedLocks[TokenKey] = KeyedLocks()

    async def token_for(
        self,
        service: TokenService,
        scopes: tuple[str, ...],
        credential: Credential | Anonymous,
        *,
        send: Send,
        refused: Token | None = None,
    ) -> Granted:
        """Return a token for these scopes, the most needed first; a remembered one unless it is `refused`.

        A credential that the service refuses is left out once, because public images need none. Raises
        UnauthorizedError when that does not help, and other RegistryErrors.
        """
        try:
            return await self._token_for(service, scopes, credential, send=send, refused=refused)
        except _RefusedError as error:
            if isinstance(credential, Anonymous):
                raise _no_login(service, credential, error) from None
            refusal = error
        try:
            granted = await self._token_for(service, scopes, Anonymous(), send=send, refused=refused)
        except _RefusedError:
            raise _rejected(service, credential, refusal) from None
        return Granted(granted.token, granted.is_new, rejected=credential)

    def forget(self, host: str) -> None:
        """Drop what was granted for a registry."""
        self._tokens.discard_where(lambda key: key.host == host)
        self._failures.discard_where(lambda key: key.host == host)

    def seconds_left(self, host: str, credential: Credential | Anonymous) -> float | None:
        """Return for how long the newest token that a registry's credential has bought is good; None without one."""
        mark = credential.fingerprint()
        ends = [token.until for token in self._tokens.find(lambda key: (key.host, key.fingerprint) == (host, mark))]
        return max(ends) - anyio.current_time() if ends else None

    def __len__(self) -> int:
        return len(self._tokens)

    async def _token_for(
        self,
        service: TokenService,
        scopes: tuple[str, ...],
        credential: Credential | Anonymous,
        *,
        send: Send,
        refused: Token | None,
    ) -> Granted:
        key = TokenKey(
            registry=service.registry,
            host=service.host,
            realm=str(service.realm),
            service=service.service,
            scopes=tuple(sorted(scopes)),
            fingerprint=credential.fingerprint(),
        )
        known = self._tokens.get(key)
        if known is not None and known is not refused:
            return Granted(known, is_new=False)
        async with self._locks.lock(key):
            known = self._tokens.get(key)
            if known is not None and known is not refused:
                return Granted(known, is_new=True)
            failure = self._failures.get(key)
            if failure is not None:
                raise failure.with_traceback(None)
            self._tokens.discard(key)
            try:
                async with self._slots(f"tokens of {service.realm.raw_authority}"):
                    value, life = await _request_token(service, scopes, credential, send=send, now=self._now)
            except RateLimitedError:
                raise
            except RegistryError as error:
                self._failures.put(key, error, _FAILURE_SECONDS)
                raise
            token = Token(key, f"Bearer {value}", until=anyio.current_time() + life)
            self._tokens.put(key, token, max(life - 10, life / 2))
            return Granted(token, is_new=True)


class _RefusedError(UnauthorizedError):
    """The service refused: with this credential, or without one."""


async def _request_token(
    service: TokenService,
    scopes: tuple[str, ...],
    credential: Credential | Anonymous,
    *,
    send: Send,
    now: Callable[[], datetime],
) -> tuple[str, float]:
    """Ask the service; return the token and its life in seconds."""
    if isinstance(credential, Anonymous):
        reply = await send(get_request(service, scopes, None))
    elif not credential.identity_token:
        reply = await send(get_request(service, scopes, basic_header(credential)))
    else:
        reply = await send(post_request(service, scopes, credential.identity_token))
        if reply.status in _NO_POST and not credential.password:
            message = f"{service.name} does not accept identity tokens: log in with user name and password"
            raise UnauthorizedError(message, host=service.host)
        if reply.status in _NO_POST:
            reply = await send(get_request(service, scopes, basic_header(credential)))
    if reply.status != 200:
        raise _failure(reply, service, is_anonymous=isinstance(credential, Anonymous))
    try:
        return read_token_reply(reply.body, now())
    except ValueError as error:
        raise ProtocolViolationError(f"{service.name} {error}: check its address", host=service.host) from None


def _failure(reply: Reply, service: TokenService, *, is_anonymous: bool) -> RegistryError:
    code = error_code(reply.body)
    answer = f"{reply.status} {code}".rstrip()
    if reply.status in _REFUSALS and not (is_anonymous and reply.status == 400):
        return _RefusedError(answer, host=service.host)
    if reply.status >= 500 or reply.status == 408:
        message = f"{service.name} has a problem ({answer}): try later"
        return RegistryUnavailableError(message, host=service.host, connected=True)
    message = f"{service.name} did not understand the question ({answer}): check the realm that the registry names"
    return ProtocolViolationError(message, host=service.host)


def _no_login(service: TokenService, credential: Anonymous, refusal: _RefusedError) -> UnauthorizedError:
    message = (
        f"registry {service.host} gives no token without a login ({refusal}), and no credential is configured for it "
        f"({credential.source}): run `{login_command(service.host)}` if the image is private"
    )
    return UnauthorizedError(message, host=service.host)


def _rejected(service: TokenService, credential: Credential, refusal: _RefusedError) -> UnauthorizedError:
    message = (
        f"the credential for registry {service.host} from {credential.source} was rejected ({refusal}): "
        f"log in again with `{login_command(service.host)}`"
    )
    return UnauthorizedError(message, host=service.host)
