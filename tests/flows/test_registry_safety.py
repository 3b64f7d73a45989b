"""Where a secret goes, and that it shows nowhere.

A secret reaches only the registry it belongs to and that registry's own token service. The servers here record all
requests, and each test looks for a marker in what they got and in what people are told.
"""

from __future__ import annotations

import base64
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from structlog.testing import capture_logs

from tests.support.loopback import LoopbackResolver, certificate_for
from tests.support.registry_world import a_client, a_login
from tests.support.simulated_registry import (
    Answer,
    BasicAuth,
    BearerAuth,
    Misbehave,
    SimulatedRegistry,
    SimulatedTokens,
)
from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import (
    ProtocolViolationError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
    WatchtowerError,
)
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import RegistryClient

MARKER = "Sw0rdfish-marker"
NAMES = ("registry.example", "auth.example", "other.example", "registry.example.evil.example", "registry-1.docker.io")
LOGIN = a_login(password=MARKER)


@dataclass(frozen=True, slots=True)
class Site:
    """A served registry under a name of its own."""

    registry: SimulatedRegistry
    port: int

    def at(self, name: str) -> str:
        """Return host and port under this name; all names lead to every site."""
        return f"{name}:{self.port}"


@asynccontextmanager
async def a_site(registry: SimulatedRegistry, *, tls: bool = True) -> AsyncIterator[Site]:
    """Serve a registry with a certificate for all names of this module, or over http."""
    registry.publish_image("vendor/app", "1")
    async with registry.serve(tls=certificate_for(*NAMES).server if tls else None) as address:
        yield Site(registry, int(address.rpartition(":")[2]))


def client_of(logins: Mapping[str, Credential], **options: object) -> RegistryClient:
    """Return a client that trusts the certificate of this module."""
    return a_client(logins, trusts=certificate_for(*NAMES), **options)  # type: ignore[arg-type]


def image_at(host: str) -> Reference:
    """Return the image that every site has."""
    return parse_reference(f"{host}/vendor/app:1")


def marker_tokens() -> SimulatedTokens:
    """Return a token service whose tokens are secrets as well."""
    tokens = SimulatedTokens(users={"tester": MARKER}, anonymous=False)
    tokens.token_text = f"{MARKER}-token-{{number}}"
    return tokens


async def refused(client: RegistryClient, reference: Reference) -> WatchtowerError:
    """Ask, expect a failure, and make sure that nothing of the failure holds the marker."""
    with capture_logs() as logs, pytest.raises(WatchtowerError) as caught:
        await client.fetch_published(reference)
    encoded = base64.b64encode(f"tester:{MARKER}".encode()).decode()
    for text in (*traceback.format_exception(caught.value), repr(caught.value), str(logs)):
        assert MARKER not in text
        assert encoded not in text
    return caught.value


async def test_token_service_on_another_host_gets_the_password_and_the_registry_only_the_token() -> None:
    """The usual split: `auth.docker.io` knows passwords, the registry knows tokens."""
    tokens = marker_tokens()
    async with a_site(SimulatedRegistry(auth=BearerAuth(tokens))) as service:
        realm = f"https://{service.at('auth.example')}/token"
        async with a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm))) as site:
            host = site.at("registry.example")
            async with client_of({host: LOGIN}) as client:
                await client.fetch_published(image_at(host))
            assert [seen.kind for seen in service.registry.requests] == ["token"]
            assert {seen.authorization.partition(" ")[0] for seen in site.registry.requests} == {"", "Bearer"}


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://auth.example/token", "over http"),
        ("https://user:pass@auth.example/token", "user info"),
        ("https://registry.example@evil.example/token", "user info"),
        ("https://auth.example/token#part", "fragment"),
        ("ftp://auth.example/token", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("https://127.0.0.1/token", "internal"),
        ("https://[::1]/token", "internal"),
        ("https://169.254.169.254/token", "internal"),
        ("https://10.0.0.1/token", "internal"),
        ("https://2130706433/token", "internal"),
        ("https://[::ffff:127.0.0.1]/token", "internal"),
        ("https://localhost/token", "internal"),
        ("https://", "malformed"),
        ("https://auth.example:99999/token", "malformed"),
    ],
)
async def test_unsafe_token_service_is_refused_before_anything_is_sent(realm: str, words: str) -> None:
    """The registry is chosen by whoever can start a container, so its word about the token service is not trusted."""
    async with a_site(SimulatedRegistry(auth=BearerAuth(marker_tokens(), realm=realm))) as site:
        host = site.at("registry.example")
        resolver = LoopbackResolver()
        async with client_of({host: LOGIN}, resolver=resolver) as client:
            error = await refused(client, image_at(host))
    assert isinstance(error, ProtocolViolationError)
    assert words in str(error)
    assert "registry.example" in str(error)
    assert "user:pass" not in str(error)
    assert set(resolver.asked) == {"registry.example"}
    assert site.registry.that_hold(MARKER) == []


async def test_http_registry_may_not_name_an_http_token_service_elsewhere() -> None:
    """Beside an insecure registry its own host is as insecure, another host is not its business."""
    auth = BearerAuth(marker_tokens(), realm="http://auth.example/token")
    async with a_site(SimulatedRegistry(auth=auth), tls=False) as site:
        host = site.at("registry.example")
        async with client_of({host: LOGIN}, insecure_hosts=["registry.example"]) as client:
            assert "over http" in str(await refused(client, image_at(host)))
    assert site.registry.that_hold(MARKER) == []


async def test_certificate_of_the_token_service_is_checked_for_an_insecure_registry() -> None:
    """The registry is marked insecure, the token service on another host is not."""
    tokens = marker_tokens()
    service = SimulatedRegistry(auth=BearerAuth(tokens))
    async with service.serve(tls=certificate_for("wrong.example").server) as address:
        realm = f"https://auth.example:{address.rpartition(':')[2]}/token"
        async with a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm)), tls=False) as site:
            host = site.at("registry.example")
            async with client_of({host: LOGIN}, insecure_hosts=["registry.example"]) as client:
                assert "certificate of auth.example" in str(await refused(client, image_at(host)))
    assert service.requests == []


async def test_redirect_of_the_token_request_to_another_host_drops_the_password() -> None:
    """A token service that moved is followed without the secret."""
    tokens = marker_tokens()
    async with a_site(SimulatedRegistry()) as other:
        registry = SimulatedRegistry(auth=BearerAuth(tokens))
        async with a_site(registry) as site:
            registry.redirects["/token"] = f"https://{other.at('other.example')}/token"
            host = site.at("registry.example")
            async with client_of({host: LOGIN}) as client:
                await refused(client, image_at(host))
    assert other.registry.requests
    assert other.registry.that_hold(MARKER) == []


async def test_redirect_of_the_token_request_on_the_same_host_keeps_the_password() -> None:
    """Otherwise a service that only moved its path would be of no use."""
    tokens = marker_tokens()
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    async with a_site(registry) as site:
        registry.redirects["/token"] = "/v2/token?{query}"
        host = site.at("registry.example")
        async with client_of({host: LOGIN}) as client:
            await client.fetch_published(image_at(host))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["other.example", "registry.example"])
async def test_identity_token_is_never_posted_to_another_host(status: int, target: str) -> None:
    """A body with a secret is not repeated elsewhere, nor where the redirect would turn it into a GET."""
    tokens = SimulatedTokens(identity_tokens=[MARKER], anonymous=False)
    async with a_site(SimulatedRegistry(auth=BearerAuth(tokens))) as other:
        registry = SimulatedRegistry(auth=BearerAuth(tokens))
        registry.redirect_status = status
        async with a_site(registry) as site:
            registry.redirects["/token"] = f"https://{other.at(target)}/token"
            host = site.at("registry.example")
            async with client_of({host: Credential(identity_token=MARKER, source="config.json")}) as client:
                error = await refused(client, image_at(host))
    assert "redirects a request that holds a secret" in str(error)
    assert other.registry.requests == []


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
@pytest.mark.parametrize("target", ["other.example", "registry.example", "registry.example.evil.example"])
async def test_redirect_to_another_origin_gets_no_authorization(scheme: str, target: str) -> None:
    """Another name, or another port of the same name, is another server."""
    tokens = marker_tokens()
    auth = BasicAuth({"tester": MARKER}) if scheme == "Basic" else BearerAuth(tokens)
    async with a_site(SimulatedRegistry()) as other, a_site(SimulatedRegistry(auth=auth)) as site:
        host = site.at("registry.example")
        async with client_of({host: LOGIN}) as client:
            await client.fetch_published(image_at(host))
            site.registry.redirects["/v2/"] = f"https://{other.at(target)}/v2/{{path}}"
            await client.fetch_published(image_at(host))
    assert other.registry.requests
    assert other.registry.that_hold(MARKER) == []
    assert all(seen.authorization == "" for seen in other.registry.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_within_the_registry_keeps_method_and_authorization(status: int) -> None:
    """Same scheme, host and port: nothing changes, HEAD stays HEAD."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))
    registry.redirect_status = status
    async with a_site(registry) as site:
        registry.redirects["/v2/vendor/"] = "/v2/moved/vendor/{path}"
        registry.publish_image("moved/vendor/app", "1")
        host = site.at("registry.example")
        async with client_of({host: LOGIN}) as client:
            await client.fetch_published(image_at(host))
    assert {seen.method for seen in registry.requests} == {"HEAD"}
    assert registry.requests[-1].path.startswith("/v2/moved/")
    assert registry.requests[-1].authorization.startswith("Basic ")


async def test_authorization_does_not_come_back_after_a_detour() -> None:
    """Once a chain has left the registry, who leads back is not the registry."""
    async with a_site(SimulatedRegistry()) as other:
        registry = SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))
        async with a_site(registry) as site:
            host = site.at("registry.example")
            registry.redirects["/v2/vendor/"] = f"https://{other.at('other.example')}/v2/vendor/{{path}}"
            registry.publish_image("back/app", "1")
            other.registry.redirects["/v2/vendor/"] = f"https://{host}/v2/back/{{path}}"
            async with client_of({host: LOGIN}) as client:
                await refused(client, image_at(host))
    assert all(seen.authorization == "" for seen in registry.requests if "/back/" in seen.path)


async def test_redirect_from_https_to_http_is_refused() -> None:
    """TLS is not left, with or without a secret."""
    async with a_site(SimulatedRegistry(), tls=False) as plain, a_site(SimulatedRegistry()) as site:
        site.registry.redirects["/v2/"] = f"http://{plain.at('other.example')}/v2/{{path}}?signature={MARKER}"
        async with client_of({}) as client:
            error = await refused(client, image_at(site.at("registry.example")))
    assert "must not leave https" in str(error)
    assert plain.registry.requests == []


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1/x", "https://169.254.169.254/latest/meta-data", "https://[::1]/"]
)
async def test_redirect_to_an_internal_address_is_refused(target: str) -> None:
    """A registry out there cannot make us ask a server in here."""
    async with a_site(SimulatedRegistry()) as site:
        site.registry.redirects["/v2/"] = target
        async with client_of({}) as client:
            assert "internal network" in str(await refused(client, image_at(site.at("registry.example"))))


async def test_redirect_loop_ends_after_five_hops() -> None:
    """Six requests, then an error."""
    async with a_site(SimulatedRegistry()) as site:
        site.registry.redirects["/v2/"] = "/v2/{path}"
        async with client_of({}) as client:
            assert "redirects more than 5 times" in str(await refused(client, image_at(site.at("registry.example"))))
    assert len(site.registry.requests) == 6


async def test_server_behind_a_redirect_gets_an_anonymous_token_from_its_own_service() -> None:
    """Some registries only point to another one that wants a token of its own."""
    async with a_site(SimulatedRegistry(auth=BearerAuth(SimulatedTokens()))) as other:
        assert isinstance(other.registry.auth, BearerAuth)
        other.registry.auth.realm = f"https://{other.at('other.example')}/token"
        async with a_site(SimulatedRegistry()) as site:
            site.registry.redirects["/v2/"] = f"https://{other.at('other.example')}/v2/{{path}}"
            host = site.at("registry.example")
            async with client_of({host: LOGIN}) as client:
                await client.fetch_published(image_at(host))
    assert other.registry.count("token") == 1
    assert other.registry.that_hold(MARKER) == []


async def test_server_behind_a_redirect_gets_what_is_configured_for_itself() -> None:
    """Its own credential, and never that of the registry that led there."""
    own = a_login("other", "own-secret")
    async with (
        a_site(SimulatedRegistry(auth=BasicAuth({"other": "own-secret"}))) as other,
        a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))) as site,
    ):
        host, elsewhere = site.at("registry.example"), other.at("other.example")
        site.registry.redirects["/v2/"] = f"https://{elsewhere}/v2/{{path}}"
        async with client_of({host: LOGIN, elsewhere: own}) as client:
            await client.fetch_published(image_at(host))
    assert other.registry.that_hold(MARKER) == []
    assert site.registry.that_hold("own-secret") == []


async def test_server_behind_a_redirect_that_names_the_original_token_service_stays_anonymous() -> None:
    """It must not get a token that somebody else's credential bought."""
    tokens = SimulatedTokens(users={"tester": MARKER, "other": MARKER})
    async with a_site(SimulatedRegistry(auth=BearerAuth(tokens))) as service:
        realm = f"https://{service.at('auth.example')}/token"
        async with (
            a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm))) as other,
            a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm))) as site,
        ):
            host, elsewhere = site.at("registry.example"), other.at("other.example")
            logins = {host: LOGIN, elsewhere: a_login("other", MARKER)}
            async with client_of(logins) as client:
                await client.fetch_published(image_at(host))
                service.registry.requests.clear()
                site.registry.redirects["/v2/"] = f"https://{elsewhere}/v2/{{path}}"
                await client.fetch_published(image_at(host))
    assert [seen.authorization for seen in service.registry.requests] == [""]


async def test_credential_of_one_registry_is_not_sent_to_a_look_alike() -> None:
    """Names are compared as a whole, with their port."""
    async with a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))) as site:
        host = site.at("registry.example")
        async with client_of({host: LOGIN, "registry.example": LOGIN}) as client:
            for name in ("registry.example.evil.example", "other.example"):
                assert isinstance(await refused(client, image_at(site.at(name))), UnauthorizedError)
    assert site.registry.that_hold(MARKER) == []


async def test_token_of_one_registry_is_not_sent_to_another_with_the_same_service() -> None:
    """Two registries may share a token service; a token is good for one of them."""
    tokens = SimulatedTokens(users={"tester": MARKER})
    async with a_site(SimulatedRegistry(auth=BearerAuth(tokens))) as service:
        realm = f"https://{service.at('auth.example')}/token"
        async with (
            a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm))) as one,
            a_site(SimulatedRegistry(auth=BearerAuth(tokens, realm=realm))) as two,
        ):
            hosts = [one.at("registry.example"), two.at("other.example")]
            async with client_of(dict.fromkeys(hosts, LOGIN)) as client:
                for host in hosts:
                    await client.fetch_published(image_at(host))
            shown = [
                {seen.authorization for seen in site.registry.requests if seen.authorization} for site in (one, two)
            ]
    assert len(service.registry.requests) == 2
    assert shown[0].isdisjoint(shown[1])


async def test_netrc_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file for other programs does not log us in anywhere, not even where it names the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"default login tester password {MARKER}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))) as site:
        async with client_of({}) as client:
            await refused(client, image_at(site.at("registry.example")))
        async with client_of({site.at("registry.example"): a_login(password="another")}) as client:
            await refused(client, image_at(site.at("registry.example")))
    assert site.registry.that_hold(MARKER) == []


@asynccontextmanager
async def a_proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve a proxy that connects everything to this machine; yield its address and what it was told."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    told: list[bytes] = []

    async def pass_on(source: SocketStream, target: SocketStream) -> None:
        try:
            while True:
                await target.send(await source.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            with anyio.CancelScope(shield=True):
                await target.aclose()

    async def serve(stream: SocketStream) -> None:
        head = await stream.receive()
        told.append(head)
        port = int(head.split()[1].rpartition(b":")[2].split(b"/")[0])
        async with await anyio.connect_tcp("127.0.0.1", port) as target, stream:
            await stream.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            async with anyio.create_task_group() as group:
                group.start_soon(pass_on, stream, target)
                group.start_soon(pass_on, target, stream)

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}", told
        group.cancel_scope.cancel()


async def test_proxy_of_the_environment_sees_host_names_and_its_own_password_only() -> None:
    """Everything else is inside TLS, from here to the registry."""
    async with a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER}))) as site, a_proxy() as (proxy, told):
        host = site.at("registry.example")
        environ = {"HTTPS_PROXY": f"http://proxy-user:proxy-password@{proxy}"}
        async with client_of({host: LOGIN}, environ=environ) as client:
            await client.fetch_published(image_at(host))
    pair = base64.b64encode(b"proxy-user:proxy-password")
    assert told
    assert all(head.startswith(b"CONNECT registry.example:") and pair in head for head in told)
    assert all(b"\r\nAuthorization:" not in head for head in told)
    assert site.registry.that_hold("proxy-password") == []


async def test_login_does_not_go_over_http_through_a_proxy() -> None:
    """The proxy would read it."""
    async with a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER})), tls=False) as site:
        host = site.at("registry.example")
        async with a_site(SimulatedRegistry(auth=BasicAuth({"tester": MARKER})), tls=False) as proxy:
            environ = {"HTTP_PROXY": f"http://{proxy.at('proxy.example')}"}
            async with client_of({host: LOGIN}, environ=environ, insecure_hosts=[host]) as client:
                assert "NO_PROXY" in str(await refused(client, image_at(host)))
    assert proxy.registry.requests
    assert proxy.registry.that_hold(MARKER) == []


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks5://proxy.example:1080", "HTTPS_PROXY is not usable"),
        (f"http://user:{MARKER}@proxy.example:1", "the proxy cannot be reached"),
        (f"http://user:{MARKER}@gone.example:1", "the proxy cannot be reached"),
    ],
)
async def test_broken_proxy_is_not_gone_around(proxy: str, words: str) -> None:
    """A network that demands a proxy demands it; the message says which setting is wrong."""
    async with a_site(SimulatedRegistry()) as site:
        resolver = LoopbackResolver(unknown=["gone.example"])

        async def no_sleep(_seconds: float) -> None:
            """Back-offs are not the subject."""

        async with client_of({}, environ={"HTTPS_PROXY": proxy}, resolver=resolver, sleep=no_sleep) as client:
            error = await refused(client, image_at(site.at("registry.example")))
    assert words in str(error)
    assert isinstance(error, RegistryUnavailableError)
    assert not error.connected
    assert site.registry.requests == []


@pytest.mark.parametrize(("status", "words"), [(407, "user and password into HTTPS_PROXY"), (403, "status 403")])
async def test_refusal_of_the_proxy_is_told_apart_from_one_of_the_registry(status: int, words: str) -> None:
    """The registry has not been asked."""
    proxy = SimulatedRegistry()
    proxy.misbehave(Misbehave(answer=Answer(status)))
    async with a_site(proxy, tls=False) as site:
        environ = {"HTTPS_PROXY": f"http://user:{MARKER}@{site.at('proxy.example')}"}
        async with client_of({}, environ=environ) as client:
            error = await refused(client, image_at("registry.example"))
    assert words in str(error)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Misbehave(answer=Answer(status), kind=kind)
        for status in (400, 401, 402, 403, 404, 405, 406, 418, 500)
        for kind in ("manifest", "token")
    ],
)
async def test_no_error_repeats_what_a_server_echoes(wrong: Misbehave) -> None:
    """A server that sends our secret back in every place does not get it into a message."""
    assert wrong.answer is not None
    echo = (
        f'{{"errors": [{{"code": "{MARKER}", "message": "{MARKER}", "detail": "{MARKER}"}}], "token": "\\n{MARKER}"}}'
    )
    wrong.answer.body = echo.encode()
    wrong.answer.headers = {"X-Echo": MARKER, "Content-Type": f"text/{MARKER}", "Location": f"https://{MARKER}@x/"}
    registry = SimulatedRegistry(auth=BearerAuth(marker_tokens()))

    async def no_sleep(_seconds: float) -> None:
        """Back-offs are not the subject."""

    async with a_site(registry) as site:
        host = site.at("registry.example")
        async with client_of({host: LOGIN}, sleep=no_sleep) as client:
            if wrong.kind == "manifest":
                await client.fetch_published(image_at(host))
            registry.misbehave(wrong)
            error = await refused(client, image_at(host))
    assert isinstance(error, RegistryError)
    assert "registry.example" in str(error)


async def test_rejected_credential_of_a_public_image_is_logged_once_without_the_secret() -> None:
    """The image can be had, and the user learns that the login is of no use."""
    tokens = SimulatedTokens(users={"tester": "right"}, public=["vendor/app", "vendor/more"])
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    registry.publish_image("vendor/more", "1")
    async with a_site(registry, tls=False) as site:
        host = f"127.0.0.1:{site.port}"
        async with a_client({host: LOGIN}) as client:
            with capture_logs() as logs:
                await client.fetch_published(image_at(host))
                await client.fetch_published(parse_reference(f"{host}/vendor/more:1"))
    assert [entry["event"] for entry in logs] == ["registry.credential_rejected"]
    assert logs[0]["source"] == "config.json"
    assert MARKER not in str(logs)
