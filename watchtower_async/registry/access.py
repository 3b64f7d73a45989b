"""How each registry wants to be asked, and asking it that way.

The first question to a registry goes out without a secret, and its answer tells: open, Basic, or Bearer with a token
service. That is remembered for ten minutes per host and first path component (name spaces of one host differ in
practice), so later questions bring the right authorisation at once. While it is not known, one question finds it out
and the others wait for that.

A question is sent with authorisation at most twice. What a registry demands is answered, nothing is volunteered; and a
server that a redirect leads to gets only what is configured for itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio
import structlog

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import CredentialError, ProtocolViolationError, RegistryError
from watchtower_async.images.manifest import ACCEPT
from watchtower_async.images.reference import DOCKER_HUB, Reference
from watchtower_async.registry.answers import login_command
from watchtower_async.registry.challenge import Challenge, choose_challenge, parse_challenges
from watchtower_async.registry.endpoint import (
    Endpoint,
    check_realm,
    host_without_port,
    may_be_insecure,
    same_origin,
)
from watchtower_async.registry.exchange import Reply, Request
from watchtower_async.registry.limits import Account
from watchtower_async.registry.memory import KeyedLocks, Memory
from watchtower_async.registry.pacing import Pacing
from watchtower_async.registry.question import Access, Question, Scheme
from watchtower_async.registry.token_request import TokenService, basic_header, bearer_header
from watchtower_async.registry.tokens import Granted, Token, Tokens
from watchtower_async.registry.transport import ExchangeFailedError, FailureKind

_REMEMBERED_SECONDS = 600.0
_REMEMBERED = 1000
_SAID_ONCE_SECONDS = 86400.0
_MANIFEST_BYTES = 4 << 20
_MANIFEST_PATH = re.compile(r"/v2/(.+)/manifests/[^/]+")
# Then a registry that may be insecure is asked over http. Silence, an unknown name or any answer say nothing about TLS.
_TRY_HTTP = frozenset({FailureKind.CONNECT, FailureKind.HANDSHAKE, FailureKind.CERTIFICATE})
_HEAD_MAY_BE_BROKEN = frozenset({500})
_LETS_IN = frozenset({200, 404})


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def credential_for(
        self, reference: Reference, *, refused: Credential | Anonymous | None = None
    ) -> Credential | Anonymous:
        """Return the credential for an image, a newer one than `refused` if there is one. Raises CredentialError."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a request shows."""

    header: str = field(repr=False)
    token: Token | None = None
    is_remembered: bool = False
    uses_credential: bool = True


_Key = tuple[str, str]


class Asker:
    """Asks registries on behalf of one client."""

    def __init__(
        self, *, pacing: Pacing, tokens: Tokens, credentials: CredentialSource, insecure_hosts: frozenset[str]
    ) -> None:
        self._pacing = pacing
        self._tokens = tokens
        self._credentials = credentials
        self._insecure_hosts = insecure_hosts
        self._ways: Memory[_Key, Access] = Memory(limit=_REMEMBERED, clock=anyio.current_time)
        self._schemes: Memory[str, str] = Memory(limit=_REMEMBERED, clock=anyio.current_time)
        self._rejections_said: Memory[Account, bool] = Memory(limit=_REMEMBERED, clock=anyio.current_time)
        self._standings: Memory[Account, bool] = Memory(limit=_REMEMBERED, clock=anyio.current_time)
        self._locks: KeyedLocks[_Key] = KeyedLocks()
        self._log = structlog.get_logger()

    async def ask(self, method: str, question: Question) -> Reply:
        """Return the answer to a question, authorised as the registry demands; it may still be a refusal.

        Raises RegistryError, and CredentialError where the credential cannot be used as demanded.
        """
        access, reply = self._known(question), None
        if access is None:
            access, reply = await self._discover(method, question)
            if reply is not None and access.scheme is Scheme.OPEN:
                return await self._settled(method, question, access, reply)
        grant = await self._grant(access, question)
        if reply is not None and grant is None:
            return reply
        return await self._ask(method, question, access, grant)

    async def ask_as_user(self, method: str, question: Question) -> Reply | None:
        """Ask an open registry once more with the credential, in case it hides things from strangers.

        None where that is no use: it does not want to know us, or knows us already. The way is not remembered.
        """
        known = self._known(question)
        if isinstance(question.credential, Anonymous) or known is None or known.scheme is not Scheme.OPEN:
            return None
        access = await self._probe(question, known.endpoint, ())
        grant = await self._grant(access, question) if access is not None else None
        if access is None or grant is None:
            return None
        return await self._send(method, question, access.endpoint, grant)

    def forget(self, host: str) -> None:
        """Find out anew how a registry wants to be asked."""
        self._ways.discard_where(lambda key: key[0] == host)
        self._schemes.discard(host)
        self._standings.discard_where(lambda account: account.host == host)

    def is_accepted(self, account: Account) -> bool | None:
        """Say whether the credential was of use when it was shown last; None where nobody has demanded it."""
        return self._standings.get(account)

    def _known(self, question: Question) -> Access | None:
        return self._ways.get(_key(question))

    async def _discover(self, method: str, question: Question) -> tuple[Access, Reply | None]:
        """Find out how to ask; the reply is the answer to the question, None where another question found out."""
        key = _key(question)
        async with self._locks.lock(key):
            known = self._ways.get(key)
            if known is not None:
                return known, None
            endpoint, reply = await self._send_first(method, question)
            if reply.status != 401 or _came_from_elsewhere(reply, endpoint):
                access = Access(endpoint, Scheme.OPEN)
                if reply.status < 500 and reply.status != 408:
                    self._ways.put(key, access, _REMEMBERED_SECONDS)
                return access, reply
            access = await self._demanded(question, endpoint, reply)
            self._ways.put(key, access, _REMEMBERED_SECONDS)
            return access, reply

    async def _send_first(self, method: str, question: Question) -> tuple[Endpoint, Reply]:
        """Send the first question: over https, and over http where the registry may be insecure and has no TLS."""
        host = question.host
        remembered = self._schemes.get(host)
        if remembered is None and may_be_insecure(host, self._insecure_hosts):
            try:
                endpoint = Endpoint("https", host)
                reply = await self._send(method, question, endpoint, None, is_trial=True)
            except ExchangeFailedError as error:
                if error.kind not in _TRY_HTTP:
                    raise
                endpoint = Endpoint("http", host)
                reply = await self._send(method, question, endpoint, None)
        else:
            endpoint = Endpoint(remembered or "https", host)
            reply = await self._send(method, question, endpoint, None)
        self._schemes.put(host, endpoint.scheme, _REMEMBERED_SECONDS)
        return endpoint, reply

    async def _demanded(self, question: Question, endpoint: Endpoint, reply: Reply) -> Access:
        """Read what a 401 demands; where it does not say, the root of the API may."""
        challenges = parse_challenges(reply.challenges)
        chosen = choose_challenge(challenges)
        if chosen is not None:
            return self._access(endpoint, chosen)
        access = await self._probe(question, endpoint, challenges)
        # Old registries demand a login without saying how.
        return access or Access(endpoint, Scheme.BASIC)

    async def _probe(self, question: Question, endpoint: Endpoint, seen: tuple[Challenge, ...]) -> Access | None:
        """Ask the root of the API what it demands; None where it says nothing. `seen` has nothing usable."""
        reply = await self._send("GET", replace(question, path="/v2/"), endpoint, None)
        found = () if _came_from_elsewhere(reply, endpoint) else parse_challenges(reply.challenges)
        chosen = choose_challenge(found)
        if chosen is not None:
            return self._access(endpoint, chosen)
        schemes = sorted({challenge.scheme[:20] for challenge in (*seen, *found)})[:5]
        if schemes:
            message = (
                f"registry {question.host} demands {', '.join(schemes)}, which is not supported: "
                "let it offer Basic, or Bearer with a realm"
            )
            raise ProtocolViolationError(message, host=question.host)
        return None

    def _access(self, endpoint: Endpoint, challenge: Challenge) -> Access:
        if challenge.scheme == "basic":
            return Access(endpoint, Scheme.BASIC)
        insecure = may_be_insecure(endpoint.host, self._insecure_hosts)
        service = TokenService(
            registry=endpoint.base_url,
            host=endpoint.host,
            realm=check_realm(challenge.realm, endpoint=endpoint, insecure=insecure),
            service=challenge.service,
            unverified_host=self._unverified_host(endpoint.host),
        )
        return Access(endpoint, Scheme.BEARER, service)

    async def _ask(self, method: str, question: Question, access: Access, grant: _Grant | None) -> Reply:
        authorised = 0
        while True:
            reply = await self._send(method, question, access.endpoint, grant)
            authorised += grant is not None
            if grant is not None and grant.uses_credential and reply.status in _LETS_IN:
                self._note_standing(question, access, reply)
            if reply.status not in (400, 401, 403) or authorised == 2 or _came_from_elsewhere(reply, access.endpoint):
                return await self._settled(method, question, access, reply)
            better = await self._better(question, access, grant, reply)
            if better is None:
                return reply
            access, grant = better

    async def _better(
        self, question: Question, access: Access, grant: _Grant | None, reply: Reply
    ) -> tuple[Access, _Grant] | None:
        """Return what to show instead of what was refused; None where there is nothing better."""
        service, token = access.service, grant.token if grant else None
        if service is not None and token is not None:
            assert grant is not None
            if reply.status == 403:
                return await self._as_nobody(question, access, grant)
            wider = self._wider_scopes(question, reply)
            if wider:
                return access, await self._token_grant(service, question, wider)
            if grant.is_remembered:
                return access, await self._token_grant(service, question, refused=token)
        if reply.status != 401:
            return None
        demanded = await self._demanded(question, access.endpoint, reply)
        if demanded == access:
            return None
        self._ways.put(_key(question), demanded, _REMEMBERED_SECONDS)
        other = await self._grant(demanded, question)
        return None if other is None else (demanded, other)

    def _wider_scopes(self, question: Question, reply: Reply) -> tuple[str, ...]:
        """Return the scopes to ask for when the registry says that ours was not enough, its own first."""
        challenge = choose_challenge(parse_challenges(reply.challenges))
        if challenge is None or challenge.error != "insufficient_scope":
            return ()
        return () if challenge.scope in ("", *question.scopes) else (challenge.scope, *question.scopes)

    async def _as_nobody(self, question: Question, access: Access, grant: _Grant) -> tuple[Access, _Grant] | None:
        """Leave the credential out: some registries refuse an expired one even for public images."""
        if not grant.uses_credential or access.service is None:
            return None
        try:
            other = await self._token_grant(access.service, replace(question, credential=Anonymous()))
        except RegistryError:
            return None
        self._note_rejection(question)
        return access, other

    async def _grant(self, access: Access, question: Question) -> _Grant | None:
        """Return what the registry demands, None where it demands nothing or we have nothing."""
        credential = question.credential
        if access.scheme is Scheme.OPEN:
            return None
        if isinstance(credential, Credential) and credential.registry_token:
            return _Grant(bearer_header(credential))
        if access.service is not None:
            return await self._token_grant(access.service, question)
        if isinstance(credential, Anonymous):
            return None
        if credential.identity_token and not credential.password:
            message = (
                f"registry {question.host} demands a user name and a password, and {credential.source} holds an "
                f"identity token: log in again with `{login_command(question.host)}`"
            )
            raise CredentialError(message)
        return _Grant(basic_header(credential))

    async def _token_grant(
        self,
        service: TokenService,
        question: Question,
        scopes: tuple[str, ...] = (),
        *,
        refused: Token | None = None,
    ) -> _Grant:
        credential = question.credential
        origin = question.redirected_from
        if origin is not None and origin.service is not None and same_origin(origin.service.realm, service.realm):
            credential = Anonymous()

        async def send(request: Request) -> Reply:
            return await self._pacing.send(request, question.account)

        granted = await self._tokens.token_for(
            service, scopes or question.scopes, credential, send=send, refused=refused
        )
        self._say_rejected(question, granted)
        return _Grant(
            granted.token.header,
            token=granted.token,
            is_remembered=not granted.is_new,
            uses_credential=isinstance(credential, Credential) and granted.rejected is None,
        )

    def _say_rejected(self, question: Question, granted: Granted) -> None:
        """Say once that a credential is of no use, though the image can be had without."""
        if granted.rejected is None:
            return
        self._note_rejection(question)
        if self._rejections_said.get(question.account):
            return
        self._rejections_said.put(question.account, True, _SAID_ONCE_SECONDS)
        self._log.warning("registry.credential_rejected", host=question.host, source=granted.rejected.source)

    def _note_standing(self, question: Question, access: Access, reply: Reply) -> None:
        if question.redirected_from is None and not _came_from_elsewhere(reply, access.endpoint):
            self._standings.put(question.account, True, _REMEMBERED_SECONDS)

    def _note_rejection(self, question: Question) -> None:
        if question.redirected_from is None:  # else the account is that of another registry
            self._standings.put(question.account, False, _REMEMBERED_SECONDS)

    async def _send(
        self, method: str, question: Question, endpoint: Endpoint, grant: _Grant | None, *, is_trial: bool = False
    ) -> Reply:
        request = Request(
            method=method,
            url=endpoint.url(question.path),
            host=question.host,
            server=f"registry {question.host}",
            body_limit=_MANIFEST_BYTES,
            accept=ACCEPT,
            authorization=None if grant is None else grant.header,
            unverified_host=self._unverified_host(question.host),
        )
        final = _HEAD_MAY_BE_BROKEN if method == "HEAD" and question.reference.domain != DOCKER_HUB else frozenset()
        try:
            reply = await self._pacing.send(request, question.account, final=final, is_trial=is_trial)
        except ExchangeFailedError as error:
            if error.kind in _TRY_HTTP:
                self.forget(question.host)
            raise
        self._pacing.note_rate_limit(question.host, reply)
        return reply

    def _unverified_host(self, host: str) -> str:
        if not may_be_insecure(host, self._insecure_hosts):
            return ""
        return host_without_port(host).lower().removeprefix("[").removesuffix("]")

    async def _settled(self, method: str, question: Question, access: Access, reply: Reply) -> Reply:
        """Return the answer, or where a redirect led to a server that has demands of its own, ask that one."""
        if (
            reply.status != 401
            or not _came_from_elsewhere(reply, access.endpoint)
            or question.redirected_from is not None
        ):
            return reply
        path = _MANIFEST_PATH.fullmatch(reply.url.raw_path)
        reference = replace(
            question.reference, domain=reply.url.raw_authority, path=path[1] if path else question.reference.path
        )
        elsewhere = replace(
            question,
            reference=reference,
            credential=await self._credentials.credential_for(reference),
            path=reply.url.raw_path_qs,
            redirected_from=access,
        )
        return await self.ask(method, elsewhere)


def _key(question: Question) -> _Key:
    return question.host, question.reference.path.partition("/")[0]


def _came_from_elsewhere(reply: Reply, endpoint: Endpoint) -> bool:
    """Say whether a redirect led away from the registry."""
    return not same_origin(reply.url, endpoint.url("/"))
