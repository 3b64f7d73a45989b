"""A registry at HTTP level, for tests, benchmarks and fleets: the distribution API, logins, tokens and bad behaviour.

A world is set up with `publish…`, an `auth` and switches; every request is recorded, so that a test can prove where a
secret went. Nothing in here knows the client. `serve` opens a loopback port:

    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    digest = registry.publish_image("vendor/app", "1")
    async with registry.serve() as address:
        ...

One process serves thousands of requests per second: there is no router, and answers are made when something is
published.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import hashlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, unquote_plus

from aiohttp import web

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

DigestField = Literal["right", "missing", "missing on HEAD", "missing on GET", "wrong", "malformed"]
HeadMode = Literal["right", "empty"] | int
Kind = Literal["root", "manifest", "token", "other"]
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""What every simulated service believes the time to be."""


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of these bytes in text form."""
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def image_manifest(content: str = "", media_type: str = OCI_MANIFEST) -> bytes:
    """Return a manifest that depends on the content."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(content.encode()), "size": 2}
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": []}).encode()


@dataclass(slots=True)
class Recorded:
    """A request that came in, and what was answered (0: nothing)."""

    kind: Kind
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    status: int = 0

    @property
    def authorization(self) -> str:
        """Return what the client showed."""
        return self.headers.get("Authorization", "")

    @property
    def host(self) -> str:
        """Return under which name the server was asked."""
        return self.headers.get("Host", "")

    def holds(self, secret: str) -> bool:
        """Say whether the secret came with the request in any form."""
        texts = [self.path, unquote_plus(self.query), unquote_plus(self.body.decode("utf-8", "replace"))]
        for value in self.headers.values():
            texts += [value, _decoded(value.partition(" ")[2])]
        return any(secret in text for text in texts)


@dataclass(slots=True)
class Answer:
    """A scripted answer instead of the real one."""

    status: int = 200
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Misbehave:
    """What goes wrong with the requests that match; `times` None is for ever."""

    answer: Answer | None = None
    """Answer this."""
    stall: float = 0.0
    """Wait so many seconds before the answer."""
    stall_body: float = 0.0
    """Wait so many seconds in the middle of the body."""
    reset: bool = False
    """Close the connection without an answer."""
    truncate: bool = False
    """Close the connection in the middle of the body."""
    kind: Kind | None = None
    method: str = ""
    path: str = ""
    """Part of the path."""
    times: int | None = None

    def matches(self, seen: Recorded) -> bool:
        """Say whether this request is concerned, and count it."""
        if self.times == 0 or (self.kind or seen.kind) != seen.kind or (self.method or seen.method) != seen.method:
            return False
        if self.path not in seen.path:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(slots=True)
class _Issued:
    scopes: frozenset[str]
    expires_at: float


class SimulatedTokens:
    """A token service; it answers at `/token` of the registry that it is given to, or is served alone."""

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        identity_tokens: Iterable[str] = (),
        anonymous: bool = True,
        public: Iterable[str] | None = None,
        posts: bool = True,
        service: str = "registry.test",
        expires_in: object = 300,
    ) -> None:
        """`public` are the repositories that need no login, None for all of them when `anonymous` is set."""
        self.users = dict(users or {})
        self.identity_tokens = set(identity_tokens)
        self.anonymous = anonymous
        self.public = None if public is None else set(public)
        self.posts = posts
        self.service = service
        self.expires_in = expires_in
        self.issued_at: timedelta | None = timedelta(0)
        """How much the clock of the service is ahead; None leaves the field out."""
        self.token_field = "token"
        self.token_text = "token-{number}"
        self.refusal = 401
        self.narrow: set[str] = set()
        """Scopes that are granted only together with another one, as services do whose scopes are not repositories."""
        self.issued: dict[str, _Issued] = {}

    async def reply(self, request: web.BaseRequest, seen: Recorded) -> web.Response:
        """Answer a request for a token."""
        if request.method == "POST":
            if not self.posts:
                return _error(405, "UNSUPPORTED")
            seen.body = await request.read()
            form = parse_qs(seen.body.decode(), keep_blank_values=True)
            scopes = form.get("scope", [""])[0].split()
            known = form.get("refresh_token", [""])[0] in self.identity_tokens
            complete = "client_id" in form and "service" in form and form.get("grant_type") == ["refresh_token"]
            if not known or not complete:
                return _error(self.refusal if complete else 400, "UNAUTHORIZED")
        else:
            scopes = parse_qs(seen.query).get("scope", [])
            authorization = request.headers.get("Authorization")
            if not (self._is_public(scopes) if authorization is None else knows(self.users, authorization)):
                return _error(self.refusal, "UNAUTHORIZED")
        return self._grant(scopes)

    def is_valid(self, token: str, scope: str) -> str:
        """Return the error of a token for a scope, empty for none."""
        issued = self.issued.get(token)
        if issued is None or issued.expires_at <= asyncio.get_running_loop().time():
            return "invalid_token"
        return (
            ""
            if scope in issued.scopes and not (scope in self.narrow and len(issued.scopes) == 1)
            else ("insufficient_scope")
        )

    def revoke_all(self) -> None:
        """Forget every token."""
        self.issued.clear()

    def _is_public(self, scopes: Iterable[str]) -> bool:
        public = self.public
        return self.anonymous and (public is None or all(scope.split(":")[1] in public for scope in scopes))

    def _grant(self, scopes: Iterable[str]) -> web.Response:
        token = self.token_text.format(number=len(self.issued) + 1)
        stated = self.expires_in
        life = stated if isinstance(stated, int | float) and not isinstance(stated, bool) and stated > 0 else 300
        self.issued[token] = _Issued(frozenset(scopes), asyncio.get_running_loop().time() + life)
        document: dict[str, object] = {self.token_field: token}
        if self.expires_in is not None:
            document["expires_in"] = self.expires_in
        if self.issued_at is not None:
            document["issued_at"] = (NOON + self.issued_at).isoformat().replace("+00:00", "Z")
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")


@dataclass(slots=True)
class BasicAuth:
    """User names and passwords on every request."""

    users: Mapping[str, str]
    challenges: tuple[str, ...] = ('Basic realm="simulated"',)
    public: frozenset[str] = frozenset()
    """Repositories that need no login."""


@dataclass(slots=True)
class BearerAuth:
    """Tokens; `realm` None is `/token` under the name that the registry was asked by."""

    tokens: SimulatedTokens
    realm: str | None = None
    scope: str | None = None
    """The scope in challenges, None for the right one."""
    extra_challenges: tuple[str, ...] = ()
    on_resources: bool = True
    """Whether resources name the challenge, or only the root does."""


@dataclass(slots=True)
class _Manifest:
    body: bytes
    media_type: str
    digest: str


class SimulatedRegistry:
    """A registry, and a token service at `/token` when its auth has one."""

    def __init__(
        self,
        *,
        auth: BasicAuth | BearerAuth | None = None,
        answer_delay: float = 0.0,
        records: bool = True,
    ) -> None:
        """`answer_delay` is in seconds. A fleet that asks for hours should not keep records."""
        self.auth = auth
        self.answer_delay = answer_delay
        self.records = records
        self.requests: list[Recorded] = []
        self.misbehaviour: list[Misbehave] = []
        self.head: HeadMode = "right"
        self.digest_field: DigestField = "right"
        self.digest_algorithm = "sha256"
        self.content_type: str | None = None
        """Sent instead of the right one; empty for none."""
        self.gzip_label = False
        """Label bodies as compressed, which they are not."""
        self.hides_unknown = False
        """Answer 401 for what does not exist, as Docker Hub does."""
        self.extra_headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        """Where requests whose path begins with the key are sent; `{path}` is the rest of it, `{query}` the query."""
        self.redirect_status = 307
        self.longest_header = 16_000
        self.address = ""
        """Host and port while it is served."""
        self.scheme = "http"
        self._manifests: dict[tuple[str, str], _Manifest] = {}
        self._repositories: set[str] = set()

    def publish(self, repository: str, tag: str, body: bytes, media_type: str = OCI_MANIFEST) -> str:
        """Let a tag point to a document; return its digest."""
        manifest = _Manifest(body, media_type, digest_of(body, self.digest_algorithm))
        self._repositories.add(repository)
        self._manifests[repository, tag] = manifest
        self._manifests[repository, manifest.digest] = manifest
        return manifest.digest

    def publish_image(self, repository: str, tag: str, content: str = "", media_type: str = OCI_MANIFEST) -> str:
        """Let a tag point to an image for one platform; return the digest."""
        return self.publish(repository, tag, image_manifest(content or f"{repository}:{tag}", media_type), media_type)

    def publish_index(
        self, repository: str, tag: str, platforms: Mapping[str, str], media_type: str = OCI_INDEX
    ) -> tuple[str, dict[str, str]]:
        """Let a tag point to an index; `platforms` maps `os/architecture[/variant]` to content.

        Returns the digest of the index, and those of the manifests by platform.
        """
        entries: list[dict[str, Any]] = []
        digests: dict[str, str] = {}
        for platform, content in platforms.items():
            body = image_manifest(content)
            digests[platform] = digest_of(body)
            self._manifests[repository, digests[platform]] = _Manifest(body, OCI_MANIFEST, digests[platform])
            os, architecture, *variant = platform.split("/")
            described = {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
            entries.append(
                {"mediaType": OCI_MANIFEST, "digest": digests[platform], "size": len(body), "platform": described}
            )
        document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
        return self.publish(repository, tag, json.dumps(document).encode(), media_type), digests

    def remove_tag(self, repository: str, tag: str) -> None:
        """Take a tag away; the content stays."""
        del self._manifests[repository, tag]

    def misbehave(self, misbehave: Misbehave) -> None:
        """Let something go wrong from now on."""
        self.misbehaviour.append(misbehave)

    def count(self, kind: Kind, *, status: int | None = None, method: str = "") -> int:
        """Return how many requests of a kind came."""
        return sum(
            seen.kind == kind and status in (None, seen.status) and method in ("", seen.method)
            for seen in self.requests
        )

    def summary(self) -> Counter[tuple[str, str, int]]:
        """Return how many requests came, by kind, method and status of the answer."""
        return Counter((seen.kind, seen.method, seen.status) for seen in self.requests)

    def that_hold(self, secret: str) -> list[Recorded]:
        """Return the requests that brought this secret in any form."""
        return [seen for seen in self.requests if seen.holds(secret)]

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Serve on a loopback port and yield `host:port`."""
        server = web.Server(self._handle, access_log=None, max_field_size=self.longest_header)
        runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=tls)
            await site.start()
            bound = runner.addresses[0][1]
            self.address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
            self.scheme = "http" if tls is None else "https"
            yield self.address
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        seen = Recorded(_kind_of(path), request.method, path, query, request.headers)
        if self.records:
            self.requests.append(seen)
        if self.answer_delay:
            await asyncio.sleep(self.answer_delay)
        wrong = next((entry for entry in self.misbehaviour if entry.matches(seen)), None)
        if wrong is None:
            response = await self._answer(request, seen)
            seen.status = response.status
            return response
        if wrong.stall:
            await asyncio.sleep(wrong.stall)
        if wrong.reset:
            return await _cut_off(request, None)
        response = _scripted(wrong.answer) if wrong.answer is not None else await self._answer(request, seen)
        seen.status = response.status
        if wrong.truncate or wrong.stall_body:
            return await _cut_off(request, response, wrong.stall_body)
        return response

    async def _answer(self, request: web.BaseRequest, seen: Recorded) -> web.Response:
        for prefix, target in self.redirects.items():
            if seen.path.startswith(prefix):
                location = target.format(path=seen.path.removeprefix(prefix), query=seen.query)
                return web.Response(status=self.redirect_status, headers={"Location": location})
        if seen.kind == "token" and isinstance(self.auth, BearerAuth):
            return await self.auth.tokens.reply(request, seen)
        if seen.kind == "manifest":
            return self._manifest(seen)
        if seen.kind == "root":
            return self._refusal(seen, "", is_root=True) or web.Response(body=b"{}", content_type="application/json")
        return _error(404, "NAME_UNKNOWN")

    def _manifest(self, seen: Recorded) -> web.Response:
        repository, _, name = seen.path.removeprefix("/v2/").rpartition("/manifests/")
        refusal = self._refusal(seen, repository)
        if refusal is not None:
            return refusal
        manifest = self._manifests.get((repository, name))
        if manifest is None:
            if self.hides_unknown:
                return self._challenge(seen, repository, "", is_root=False)
            return _error(404, "MANIFEST_UNKNOWN" if repository in self._repositories else "NAME_UNKNOWN")
        is_head = seen.method == "HEAD"
        if is_head and self.head != "right":
            return web.Response(status=self.head if isinstance(self.head, int) else 200)
        headers = dict(self.extra_headers)
        content_type = manifest.media_type if self.content_type is None else self.content_type
        headers["Content-Type"] = content_type
        digest = self._stated_digest(manifest, is_head=is_head)
        if digest:
            headers["Docker-Content-Digest"] = digest
        body = manifest.body
        if self.gzip_label:
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=body, headers=headers)
        if not content_type:
            del response.headers["Content-Type"]
        return response

    def _stated_digest(self, manifest: _Manifest, *, is_head: bool) -> str:
        if self.digest_field in ("missing", "missing on HEAD" if is_head else "missing on GET"):
            return ""
        wrong = {"wrong": digest_of(b"something else"), "malformed": "sha256:abc"}
        return wrong.get(self.digest_field, manifest.digest)

    def _refusal(self, seen: Recorded, repository: str, *, is_root: bool = False) -> web.Response | None:
        """Return the answer to somebody who may not ask this; None for who may."""
        if isinstance(self.auth, BasicAuth):
            may = repository in self.auth.public or knows(self.auth.users, seen.authorization)
            return None if may else self._challenge(seen, repository, "", is_root=is_root)
        if isinstance(self.auth, BearerAuth):
            scheme, _, token = seen.authorization.partition(" ")
            if scheme != "Bearer":
                return self._challenge(seen, repository, "", is_root=is_root)
            error = "" if is_root else self.auth.tokens.is_valid(token, f"repository:{repository}:pull")
            return self._challenge(seen, repository, error, is_root=is_root) if error else None
        return None

    def _challenge(self, seen: Recorded, repository: str, error: str, *, is_root: bool) -> web.Response:
        response = _error(401, "UNAUTHORIZED")
        if isinstance(self.auth, BasicAuth):
            for challenge in self.auth.challenges:
                response.headers.add("WWW-Authenticate", challenge)
        elif isinstance(self.auth, BearerAuth) and (self.auth.on_resources or is_root):
            realm = self.auth.realm or f"{self.scheme}://{seen.host}/token"
            scope = f"repository:{repository or 'user/image'}:pull" if self.auth.scope is None else self.auth.scope
            text = f'Bearer realm="{realm}",service="{self.auth.tokens.service}",scope="{scope}"'
            for challenge in (*self.auth.extra_challenges, text + (f',error="{error}"' if error else "")):
                response.headers.add("WWW-Authenticate", challenge)
        return response


def knows(users: Mapping[str, str], authorization: str) -> bool:
    """Say whether this is the Basic authorisation of a user."""
    scheme, _, encoded = authorization.partition(" ")
    user, _, password = _decoded(encoded).partition(":")
    return scheme == "Basic" and users.get(user) == password


def gzipped(body: bytes) -> bytes:
    """Return a body as a server sends it that compresses without being asked."""
    return gzip.compress(body)


def _kind_of(path: str) -> Kind:
    if "/manifests/" in path:
        return "manifest"
    if path == "/v2/":
        return "root"
    return "token" if path.endswith("/token") else "other"


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _error(status: int, code: str) -> web.Response:
    body = json.dumps({"errors": [{"code": code, "message": "simulated", "detail": None}]}).encode()
    return web.Response(status=status, body=body, content_type="application/json")


def _scripted(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    for name, given in answer.headers.items():
        response.headers.popall(name, None)
        for value in (given,) if isinstance(given, str) else given:
            response.headers.add(name, value)
    return response


async def _cut_off(request: web.BaseRequest, response: web.Response | None, stall: float = 0.0) -> web.StreamResponse:
    """Send half of the body, then wait or break off."""
    partial = web.StreamResponse(status=response.status if response else 200)
    if response is not None:
        body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
        partial.headers.update(response.headers)
        partial.content_length = len(body)
        await partial.prepare(request)
        await partial.write(body[: len(body) // 2])
        await asyncio.sleep(stall)
        if stall:
            await partial.write(body[len(body) // 2 :])
            return partial
    if request.transport is not None:
        request.transport.abort() if response is None else request.transport.close()
    return partial
