"""One HTTP exchange with a registry or a token service: redirects, limits, TLS, proxies, and errors in our words.

* Redirects are followed here, at most five. `Authorization` is dropped for good at the first change of scheme, host or
  port, and a body with a secret is never sent on. `endpoint` says which targets are refused.
* Bodies are read as they are sent (digests are over the bytes) and never beyond a limit.
* No cookies, no `.netrc`, no retries: what is sent is what was asked for.

Messages name the server and the remedy. The library's errors are not chained: they hold the request with its headers.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import aiohttp
import anyio
import yarl
from aiohttp.abc import AbstractResolver

from watchtower_async.errors import ProtocolViolationError, RegistryError, RegistryUnavailableError
from watchtower_async.registry.endpoint import check_redirect, same_origin
from watchtower_async.registry.exchange import Reply, Request
from watchtower_async.registry.limits import ClientLimits
from watchtower_async.registry.memory import Memory
from watchtower_async.registry.proxies import Proxy, has_proxies, proxy_for

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD_AND_BODY = frozenset({307, 308})
_MAX_REDIRECTS = 5
_ERROR_BODY_BYTES = 16 << 10
_HEADER_BYTES = 64 << 10  # long `Link`, `Location` and `WWW-Authenticate` fields are real
_KNOWN_PROXIES = 1000
_PROXY_SECONDS = 600.0
_FORM = "application/x-www-form-urlencoded"


class FailureKind(StrEnum):
    """How far an exchange came."""

    NAME = "name"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    CERTIFICATE = "certificate"
    HANDSHAKE = "handshake"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    BROKEN_OFF = "broken_off"


_CONNECTED = frozenset({FailureKind.TIMEOUT, FailureKind.BROKEN_OFF})
_LASTING = frozenset({FailureKind.CERTIFICATE, FailureKind.HANDSHAKE, FailureKind.PROXY})


class ExchangeFailedError(RegistryUnavailableError):
    """There is no whole answer."""

    def __init__(self, message: str, *, host: str, kind: FailureKind) -> None:
        super().__init__(message, host=host, connected=kind in _CONNECTED)
        self.kind = kind

    @property
    def may_pass(self) -> bool:
        """Say whether a second attempt within seconds makes sense."""
        return self.kind not in _LASTING


class RegistryListener(Protocol):
    """Hears how registries answer. `host` is the registry on whose account something was sent."""

    def registry_answered(self, host: str, status: int | None, seconds: float) -> None:
        """Hear of one exchange; without a status there was no whole answer."""

    def rate_limit_told(self, host: str, limit: int, remaining: int) -> None:
        """Hear what a registry said about its pull limit."""


class Unheard:
    """Listens to nothing."""

    def registry_answered(self, host: str, status: int | None, seconds: float) -> None:
        """Do nothing."""

    def rate_limit_told(self, host: str, limit: int, remaining: int) -> None:
        """Do nothing."""


UNHEARD = Unheard()


class Transport:
    """A pool of connections, between `open` and `close`."""

    def __init__(
        self,
        *,
        user_agent: str,
        limits: ClientLimits,
        environ: Mapping[str, str],
        ssl_context: ssl.SSLContext | None = None,
        unverified_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        listener: RegistryListener = UNHEARD,
    ) -> None:
        """Without a context the system's certificates count, or those that `SSL_CERT_FILE` names.

        `unverified_context` is for hosts whose certificate is not checked.
        """
        self._unverified = unverified_context or False
        self._user_agent = user_agent
        self._limits = limits
        self._environ = environ
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._listener = listener
        self._has_proxies = has_proxies(environ)
        self._proxies: Memory[yarl.URL, Proxy | bool] = Memory(limit=_KNOWN_PROXIES, clock=anyio.current_time)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Get ready to send. Needs a running loop."""
        connector = aiohttp.TCPConnector(
            # Whoever sends takes a slot first; a second queue in here would count against the time limits.
            limit=0,
            resolver=self._resolver,
            # The library's own context is made from the same files, and another one takes 50 ms of processor time.
            ssl=self._ssl_context or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # it would read ~/.netrc; see `proxies`
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            middlewares=(_without_hidden_retry,),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def exchange(self, request: Request) -> Reply:
        """Send a request and read the answer, whatever its status.

        Raises ExchangeFailedError, and ProtocolViolationError for what is no HTTP, too long or leads astray.
        """
        begun = anyio.current_time()
        try:
            reply = await self._exchange(request)
        except RegistryError:
            self._listener.registry_answered(request.host, None, anyio.current_time() - begun)
            raise
        self._listener.registry_answered(request.host, reply.status, anyio.current_time() - begun)
        return reply

    async def _exchange(self, request: Request) -> Reply:
        try:
            with anyio.fail_after(self._limits.request_seconds):
                return await self._follow(request)
        except TimeoutError:
            message = f"{request.server} did not answer within {self._limits.request_seconds:g} s: try later"
            raise ExchangeFailedError(message, host=request.host, kind=FailureKind.TIMEOUT) from None

    async def _follow(self, request: Request) -> Reply:
        url, authorization = request.url, request.authorization
        for _ in range(_MAX_REDIRECTS + 1):
            reply = await self._send(request, url, authorization)
            location = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            target = check_redirect(url, location)
            if not same_origin(url, target):
                authorization = None
            if request.form is not None and not _may_send_form_on(reply.status, url, target):
                raise _violation(request, "redirects a request that holds a secret: correct its address in the realm")
            url = target
        raise _violation(request, f"redirects more than {_MAX_REDIRECTS} times: check its configuration")

    async def _send(self, request: Request, url: yarl.URL, authorization: str | None) -> Reply:
        headers = {"Accept": request.accept}
        if authorization is not None:
            headers["Authorization"] = authorization
        if request.form is not None:
            headers["Content-Type"] = _FORM
        proxy = self._proxy(request, url) if self._has_proxies else None
        if proxy is not None and url.scheme == "http" and (authorization is not None or request.form is not None):
            raise _violation(
                request, "is asked over http through a proxy, which would see the login: add its host to NO_PROXY"
            )
        proxy_headers = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None
        assert self._session is not None, "use the client as an async context manager"
        try:
            async with self._session.request(
                request.method,
                url,
                headers=headers,
                data=request.form,
                allow_redirects=False,
                ssl=self._unverified if _is_unverified(request, url) else True,
                proxy=None if proxy is None else proxy.url,
                proxy_headers=proxy_headers,
            ) as response:
                body = b"" if request.method == "HEAD" else await self._read(request, response)
                challenges = response.headers.getall("WWW-Authenticate", ()) if response.status == 401 else ()
                return Reply(response.status, response.url, response.headers, tuple(challenges), body)
        except (aiohttp.ClientError, OSError) as error:
            failure = _translate(error, request, url, self._limits, is_proxied=proxy is not None)
        raise failure

    async def _read(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        is_success = response.status < 300
        limit = request.body_limit if is_success else _ERROR_BODY_BYTES
        body = bytearray()
        while data := await response.content.readany():
            body += data
            if len(body) > limit:
                response.close()
                if is_success:
                    raise _violation(request, f"sends more than {limit >> 10} KiB: this is not what was asked for")
                break
        return bytes(body[:limit])

    def _proxy(self, request: Request, url: yarl.URL) -> Proxy | None:
        origin = url.origin()
        known = self._proxies.get(origin)
        if known is None:
            try:
                known = proxy_for(url, self._environ) or False
            except ValueError as error:
                message = f"{request.server} cannot be asked: {error}"
                raise ExchangeFailedError(message, host=request.host, kind=FailureKind.PROXY) from None
            self._proxies.put(origin, known, _PROXY_SECONDS)
        return known if isinstance(known, Proxy) else None


class _BrokenOffError(aiohttp.ClientError):
    """The connection broke after it stood."""


async def _without_hidden_retry(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: attempts are counted, and each may cost a pull."""
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise _BrokenOffError from None


def _is_unverified(request: Request, url: yarl.URL) -> bool:
    return bool(request.unverified_host) and (url.raw_host or "").lower() == request.unverified_host


def _may_send_form_on(status: int, source: yarl.URL, target: yarl.URL) -> bool:
    return status in _KEEPS_METHOD_AND_BODY and same_origin(source, target)


def _violation(request: Request, text: str) -> ProtocolViolationError:
    return ProtocolViolationError(f"{request.server} {text}", host=request.host)


def _translate(
    error: aiohttp.ClientError | OSError, request: Request, url: yarl.URL, limits: ClientLimits, *, is_proxied: bool
) -> ExchangeFailedError | ProtocolViolationError:
    """Say what went wrong in words that can be shown; the library's own may hold addresses with secrets."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        kind, text = FailureKind.PROXY, _proxy_refusal(error.status)
    elif isinstance(error, aiohttp.ClientProxyConnectionError) or (
        is_proxied and isinstance(error, aiohttp.ClientConnectorDNSError)  # the proxy resolves all other names
    ):
        kind, text = FailureKind.PROXY, "the proxy cannot be reached; check HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, aiohttp.ClientResponseError):
        return _violation(request, "does not speak HTTP: check host and port")
    elif isinstance(error, aiohttp.InvalidURL):
        return _violation(request, "has no valid address: check host and port in the image name")
    else:
        kind, text = _connection_failure(error, url, limits)
    return ExchangeFailedError(f"{request.server} cannot be reached: {text}", host=request.host, kind=kind)


def _connection_failure(
    error: aiohttp.ClientError | OSError, url: yarl.URL, limits: ClientLimits
) -> tuple[FailureKind, str]:
    host = (url.raw_host or "")[:255]
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return FailureKind.CONNECT_TIMEOUT, f"{host} did not accept a connection within {limits.connect_seconds:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return FailureKind.CERTIFICATE, _certificate_text(error, host)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FailureKind.NAME, f"the name {host} is not known here; check it and the DNS settings"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return FailureKind.HANDSHAKE, (
            f"{host} does not speak TLS as it should; a registry on plain http must be listed in --insecure-registries"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return FailureKind.CONNECT, f"{host} {_os_words(error)}"
    return FailureKind.BROKEN_OFF, "the connection broke before the answer was complete"


def _certificate_text(error: aiohttp.ClientConnectorCertificateError, host: str) -> str:
    cause = error.certificate_error
    why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "it is not trusted"
    return (
        f"the certificate of {host} is refused ({why[:200]}); let SSL_CERT_FILE name a file with its CA, "
        "or list the registry in --insecure-registries"
    )


def _proxy_refusal(status: int) -> str:
    if status == 407:
        return "the proxy wants a login; put user and password into HTTPS_PROXY"
    return f"the proxy refused with status {status}; check HTTPS_PROXY and NO_PROXY"


def _os_words(error: aiohttp.ClientConnectorError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "refuses the connection"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "is on a network that cannot be reached"
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "closes the connection at once"
    return "does not accept connections"
