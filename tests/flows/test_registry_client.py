"""What a tag points to, asked from registries that behave well and from registries that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.support.loopback import LoopbackResolver, certificate_for
from tests.support.registry_world import Logins, a_client, a_login, published_at_once
from tests.support.simulated_registry import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Answer,
    BasicAuth,
    BearerAuth,
    Misbehave,
    SimulatedRegistry,
    SimulatedTokens,
    gzipped,
    image_manifest,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.errors import (
    CredentialError,
    DeniedError,
    ManifestNotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.manifest import Index
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import Published, RegistryClient
from watchtower_async.registry.limits import ClientLimits, RateLimit

HUB = "registry-1.docker.io"


def an_image(address: str, path: str = "vendor/app", tag: str = "1") -> Reference:
    """Return the reference of an image at a served registry."""
    return parse_reference(f"{address}/{path}:{tag}")


def a_private_registry() -> SimulatedRegistry:
    """Return a registry whose tokens are for the user `tester` only."""
    return SimulatedRegistry(auth=BearerAuth(SimulatedTokens(users={"tester": "right"}, anonymous=False)))


@asynccontextmanager
async def docker_hub(
    registry: SimulatedRegistry, logins: Mapping[str, Credential] | None = None
) -> AsyncIterator[RegistryClient]:
    """Serve a registry under the name of Docker Hub's API, and yield a client that believes it."""
    certificate = certificate_for(HUB)
    async with registry.serve(tls=certificate.server) as address:
        resolver = LoopbackResolver(ports={HUB: int(address.rpartition(":")[2])})
        async with a_client(logins, trusts=certificate, resolver=resolver) as client:
            yield client


async def test_head_answer_is_the_published_digest() -> None:
    """One HEAD tells digest and media type."""
    registry = SimulatedRegistry()
    digest, _ = registry.publish_index("vendor/app", "1", {"linux/amd64": "a", "linux/arm64": "b"})
    async with registry.serve() as address, a_client() as client:
        reference = an_image(address)
        expected = Published(reference, parse_digest(digest), OCI_INDEX)
        assert expected == await client.fetch_published(reference)
    assert registry.summary() == {("manifest", "HEAD", 200): 1}


async def test_request_names_us_accepts_all_types_and_no_compression() -> None:
    """With a shorter list a registry may convert, and a compressed body has another digest."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))
    headers = registry.requests[0].headers
    assert headers["User-Agent"] == "watchtower_async/test"
    assert headers["Accept-Encoding"] == "identity"
    assert {OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST} <= {part.strip() for part in headers["Accept"].split(",")}
    assert "*/*" not in headers["Accept"]
    assert "Cookie" not in headers


async def test_cookies_are_not_sent_back() -> None:
    """A load balancer's cookie is none of our business."""
    registry = SimulatedRegistry()
    registry.extra_headers["Set-Cookie"] = "server=7"
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))
        await client.fetch_published(an_image(address))
    assert all("Cookie" not in seen.headers for seen in registry.requests)


async def test_open_registry_gets_no_credential_though_one_is_configured() -> None:
    """What is not demanded is not volunteered."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))
    assert registry.requests[0].authorization == ""


async def test_basic_login_goes_with_every_request_after_one_challenge() -> None:
    """Basic is remembered per registry; only the first question finds out."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        for _ in range(3):
            await client.fetch_published(an_image(address))
    assert registry.summary() == {("manifest", "HEAD", 401): 1, ("manifest", "HEAD", 200): 3}


async def test_cold_start_takes_one_challenge_per_registry_and_one_token_per_repository() -> None:
    """Many questions that start together share one challenge; once warm, each is a single HEAD."""
    registry = a_private_registry()
    registry.answer_delay = 0.005
    paths = [f"vendor/app{number}" for number in range(30)]
    for path in paths:
        registry.publish_image(path, "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        references = [an_image(address, path) for path in paths]
        cold = await published_at_once(client, references)
        assert (registry.summary()) == {
            ("manifest", "HEAD", 401): 1,
            ("token", "GET", 200): 30,
            ("manifest", "HEAD", 200): 30,
        }
        registry.requests.clear()
        warm = await published_at_once(client, references)
    assert registry.summary() == {("manifest", "HEAD", 200): 30}
    assert cold == warm
    assert all(isinstance(answer, Published) for answer in cold.values())


async def test_open_registry_is_found_out_by_one_question_and_costs_one_head_each() -> None:
    """A registry that needs no login is remembered like any other."""
    registry = SimulatedRegistry(answer_delay=0.005)
    paths = [f"vendor/app{number}" for number in range(20)]
    for path in paths:
        registry.publish_image(path, "1")
    async with registry.serve() as address, a_client() as client:
        await published_at_once(client, [an_image(address, path) for path in paths])
    assert registry.summary() == {("manifest", "HEAD", 200): 20}


async def test_name_spaces_of_one_host_are_found_out_separately() -> None:
    """One host may serve an open and a protected part; the open one gets no secret."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}, public=frozenset({"open/app"})))
    registry.publish_image("open/app", "1")
    registry.publish_image("closed/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address, "closed/app"))
        await client.fetch_published(an_image(address, "open/app"))
    assert all(seen.authorization == "" for seen in registry.requests if "/open/" in seen.path)


@pytest.mark.looptime
async def test_what_a_registry_demands_is_asked_anew_after_ten_minutes() -> None:
    """Memory ends, in case the registry is set up differently by then."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))
        await anyio.sleep(599)
        await client.fetch_published(an_image(address))
        assert registry.count("manifest", status=401) == 1
        await anyio.sleep(2)
        await client.fetch_published(an_image(address))
    assert registry.count("manifest", status=401) == 2


async def test_at_most_eight_questions_are_under_way_at_one_registry() -> None:
    """A fleet does not flood its registry."""
    most = under_way = 0

    class Counting(SimulatedRegistry):
        async def _handle(self, request):  # type: ignore[no-untyped-def]
            nonlocal most, under_way
            under_way += 1
            most = max(most, under_way)
            try:
                return await super()._handle(request)
            finally:
                under_way -= 1

    registry = Counting(answer_delay=0.01)
    paths = [f"vendor/app{number}" for number in range(40)]
    for path in paths:
        registry.publish_image(path, "1")
    async with registry.serve() as address, a_client() as client:
        await published_at_once(client, [an_image(address, path) for path in paths])
    assert most == 8


@pytest.mark.parametrize("status", [400, 403, 404, 405, 406, 415, 500, 501])
async def test_refused_head_is_followed_by_one_get(status: int) -> None:
    """Old servers do not know HEAD; the digest is then that of the body."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1")
    registry.head = status
    async with registry.serve() as address, a_client() as client:
        published = await client.fetch_published(an_image(address))
        assert digest == str(published.digest)
        assert published.media_type == OCI_MANIFEST
        await client.fetch_published(an_image(address))
    assert {("manifest", "HEAD", status): 1, ("manifest", "GET", 200): 2} == registry.summary()


@pytest.mark.parametrize("digest_field", ["missing", "malformed", "missing on HEAD"])
async def test_head_without_usable_digest_is_followed_by_get(digest_field: str) -> None:
    """A digest that is not there, or is none, is computed from the body."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1")
    registry.digest_field = digest_field  # type: ignore[assignment]
    async with registry.serve() as address, a_client() as client:
        assert digest == str((await client.fetch_published(an_image(address))).digest)


async def test_empty_head_answer_is_followed_by_get() -> None:
    """200 without any header says nothing."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1")
    registry.head = "empty"
    async with registry.serve() as address, a_client() as client:
        assert digest == str((await client.fetch_published(an_image(address))).digest)


async def test_digest_missing_on_get_only_needs_no_get() -> None:
    """ECR names it on HEAD only, and that is enough."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.digest_field = "missing on GET"
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))
    assert registry.count("manifest", method="GET") == 0


async def test_sha512_digest_is_replaced_by_the_one_that_engines_record() -> None:
    """Engines record SHA-256; another algorithm could never be compared."""
    registry = SimulatedRegistry()
    registry.digest_algorithm = "sha512"
    registry.publish("vendor/app", "1", image_manifest("x"))
    async with registry.serve() as address, a_client() as client:
        assert (await client.fetch_published(an_image(address))).digest.algorithm == "sha256"


async def test_wrong_digest_field_is_an_error_not_a_choice() -> None:
    """When body and field disagree nobody is believed."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.head = 405
    registry.digest_field = "wrong"
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ProtocolViolationError, match="digest"):
            await client.fetch_published(an_image(address))


@pytest.mark.looptime
async def test_broken_head_is_remembered_for_an_hour() -> None:
    """For an hour GET goes out at once, then HEAD gets another chance."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.head = 404
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))
        registry.head = "right"
        await anyio.sleep(3590)
        await client.fetch_published(an_image(address))
        assert registry.count("manifest", method="HEAD") == 1
        await anyio.sleep(20)
        await client.fetch_published(an_image(address))
    assert registry.count("manifest", method="HEAD") == 2


async def test_missing_tag_does_not_mean_that_head_is_broken() -> None:
    """A GET that finds nothing either proves HEAD right."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ManifestNotFoundError):
            await client.fetch_published(an_image(address, tag="gone"))
        await client.fetch_published(an_image(address))
    assert registry.count("manifest", method="HEAD") == 2


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", f"{OCI_MANIFEST}; charset=utf-8"])
async def test_vague_content_type_leaves_the_body_to_tell(content_type: str) -> None:
    """The type of an image is known after a GET whatever the header says."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.head = 405
    registry.content_type = content_type
    async with registry.serve() as address, a_client() as client:
        assert (await client.fetch_published(an_image(address))).media_type == OCI_MANIFEST


async def test_vague_content_type_of_head_is_no_media_type() -> None:
    """`application/json` would read as "not an index"; empty says that nobody knows."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.content_type = "application/json"
    async with registry.serve() as address, a_client() as client:
        assert (await client.fetch_published(an_image(address))).media_type == ""


async def test_body_is_not_decompressed_before_hashing() -> None:
    """A wrong label must not change the bytes."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1")
    registry.head = 405
    registry.gzip_label = True
    async with registry.serve() as address, a_client() as client:
        assert digest == str((await client.fetch_published(an_image(address))).digest)


@pytest.mark.parametrize(
    "body", [b"<html>Please log in to the network</html>", b"", b"[]", b"{}", gzipped(image_manifest("x"))]
)
async def test_answer_that_is_no_image_is_never_a_digest(body: bytes) -> None:
    """A captive portal must not look like a new image."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(answer=Answer(200, {"Content-Type": "text/html"}, body), kind="manifest"))
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ProtocolViolationError, match="vendor/app"):
            await client.fetch_published(an_image(address))


async def test_body_beyond_four_mebibytes_is_refused() -> None:
    """A hostile registry cannot fill the memory."""
    registry = SimulatedRegistry()
    registry.publish("vendor/app", "1", b" " * (4 << 20) + image_manifest("x"))
    registry.head = 405
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ProtocolViolationError, match="4096 KiB"):
            await client.fetch_published(an_image(address))


async def test_long_header_fields_are_read() -> None:
    """Challenges with many claims are longer than the HTTP library allows by default."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.extra_headers["Link"] = "x" * 20_000
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))


async def test_index_is_fetched_once_and_shared() -> None:
    """Content with a digest never changes: ten containers of an image cost one GET."""
    registry = SimulatedRegistry(answer_delay=0.005)
    digest, platforms = registry.publish_index("vendor/app", "1", {"linux/amd64": "a", "linux/arm64/v8": "b"})
    async with registry.serve() as address, a_client() as client:
        found: list[Index] = []

        async def fetch() -> None:
            index = await client.fetch_index(an_image(address), parse_digest(digest))
            assert index is not None
            found.append(index)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(fetch)
        assert len(found) == 10
        assert list(platforms.values()) == [str(entry.digest) for entry in found[0].descriptors]
    assert registry.summary() == {("manifest", "GET", 200): 1}


async def test_digest_of_a_single_manifest_has_no_index() -> None:
    """None says that there is nothing to choose from."""
    registry = SimulatedRegistry()
    digest = parse_digest(registry.publish_image("vendor/app", "1"))
    async with registry.serve() as address, a_client() as client:
        assert await client.fetch_index(an_image(address), digest) is None
        assert await client.fetch_index(an_image(address), digest) is None
    assert len(registry.requests) == 1


async def test_index_whose_bytes_have_another_digest_is_refused() -> None:
    """Whoever changes bytes on the way is noticed."""
    registry = SimulatedRegistry()
    digest, _ = registry.publish_index("vendor/app", "1", {"linux/amd64": "a"})
    registry.misbehave(Misbehave(answer=Answer(200, {"Content-Type": OCI_INDEX}, b'{"manifests": []}')))
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ProtocolViolationError, match="digest"):
            await client.fetch_index(an_image(address), parse_digest(digest))


async def test_index_that_came_with_the_tag_is_not_fetched_again() -> None:
    """Where HEAD does not work, the GET brought it already."""
    registry = SimulatedRegistry()
    registry.publish_index("vendor/app", "1", {"linux/amd64": "a"})
    registry.head = 405
    async with registry.serve() as address, a_client() as client:
        published = await client.fetch_published(an_image(address))
        assert await client.fetch_index(published.reference, published.digest) is not None
    assert registry.count("manifest", method="GET") == 1


async def test_digest_is_sent_with_a_bare_colon() -> None:
    """`%3A` breaks some proxies."""
    registry = SimulatedRegistry()
    digest, _ = registry.publish_index("vendor/app", "1", {"linux/amd64": "a"})
    async with registry.serve() as address, a_client() as client:
        await client.fetch_index(an_image(address), parse_digest(digest))
    assert f"/v2/vendor/app/manifests/{digest}" == registry.requests[0].path


async def test_missing_tag_is_named() -> None:
    """A tag that was deleted is told apart from a repository that is not there."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ManifestNotFoundError, match="vendor/app:2 any more"):
            await client.fetch_published(an_image(address, tag="2"))
        with pytest.raises(ManifestNotFoundError, match="no repository vendor/other"):
            await client.fetch_published(an_image(address, "vendor/other"))


async def test_protected_registry_without_credential_says_so() -> None:
    """Nothing configured is another problem than something refused."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(UnauthorizedError, match=r"no credential is configured.*docker login") as caught:
            await client.fetch_published(an_image(address))
    assert address in str(caught.value)
    assert registry.summary() == {("manifest", "HEAD", 401): 1}


async def test_wrong_password_is_rejected_after_two_requests() -> None:
    """One challenge, one attempt, and no loop."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    async with registry.serve() as address, a_client({address: a_login(password="wrong")}) as client:
        with pytest.raises(UnauthorizedError, match=r"from config\.json was rejected"):
            await client.fetch_published(an_image(address))
    assert registry.summary() == {("manifest", "HEAD", 401): 2}


async def test_registry_that_refuses_every_token_is_asked_at_most_twice_with_one() -> None:
    """A registry that always says 401 ends in an error, not in a loop."""
    registry = a_private_registry()
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        challenge = f'Bearer realm="http://{address}/token",service="x",error="invalid_token"'
        registry.misbehave(Misbehave(answer=Answer(401, {"WWW-Authenticate": challenge}), kind="manifest"))
        with pytest.raises(UnauthorizedError):
            await client.fetch_published(an_image(address))
    assert sum(seen.kind == "manifest" and seen.authorization != "" for seen in registry.requests) <= 2


async def test_docker_hub_refusal_says_not_found_or_no_access() -> None:
    """Docker Hub hides private repositories and missing ones behind the same answer."""
    registry = SimulatedRegistry(auth=BearerAuth(SimulatedTokens()))
    registry.hides_unknown = True
    async with docker_hub(registry) as client:
        with pytest.raises(UnauthorizedError, match="not found or no access"):
            await client.fetch_published(parse_reference("vendor/missing"))


async def test_docker_hub_is_asked_at_its_api_host_and_never_by_get_after_404() -> None:
    """Its HEAD is reliable, and there a GET counts as a pull."""
    registry = SimulatedRegistry()
    registry.publish_image("library/redis", "8")
    async with docker_hub(registry) as client:
        await client.fetch_published(parse_reference("redis:8"))
        with pytest.raises(ManifestNotFoundError):
            await client.fetch_published(parse_reference("redis:9"))
    assert {HUB} == {seen.host for seen in registry.requests}
    assert registry.count("manifest", method="GET") == 0


async def test_denied_names_the_source_of_the_credential() -> None:
    """403 after authentication is a matter of rights."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        registry.misbehave(Misbehave(answer=Answer(403, body=b'{"errors": [{"code": "DENIED"}]}'), times=None))
        with pytest.raises(DeniedError, match="403 DENIED"):
            await client.fetch_published(an_image(address))


async def test_expired_ecr_credential_is_called_expired() -> None:
    """ECR says it with 403 and words."""
    registry = SimulatedRegistry(auth=BasicAuth({"AWS": "old"}))
    async with registry.serve() as address, a_client({address: a_login("AWS", "old")}) as client:
        await _ask_once(client, an_image(address))
        body = b"Your authorization token has expired. Reauthenticate and try again."
        registry.misbehave(Misbehave(answer=Answer(403, body=body)))
        with pytest.raises(DeniedError, match="has expired"):
            await client.fetch_published(an_image(address))


async def _ask_once(client: RegistryClient, reference: Reference) -> None:
    with pytest.raises(RegistryError):
        await client.fetch_published(reference)


async def test_login_that_changed_meanwhile_is_used_at_once() -> None:
    """A password that was fixed while we asked counts in this session, not in the next."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    registry.publish_image("vendor/app", "1")

    class Fixed(Logins):
        async def credential_for(
            self, reference: Reference, *, refused: Credential | Anonymous | None = None
        ) -> Credential:
            self.asked.append(reference.domain)
            return a_login(password="wrong" if len(self.asked) == 1 else "right")

    async with registry.serve() as address, a_client(Fixed()) as client:
        await client.fetch_published(an_image(address))


async def test_hidden_repository_is_asked_for_with_the_login() -> None:
    """A registry that answers 404 to strangers may know the name for a user."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    stranger = Answer(404, body=b'{"errors": [{"code": "NAME_UNKNOWN"}]}')
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        registry.misbehave(Misbehave(answer=stranger, kind="manifest", times=2))
        registry.misbehave(Misbehave(answer=Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}), kind="root", times=1))
        await client.fetch_published(an_image(address))
    assert registry.requests[-1].authorization.partition(" ")[0] == "Basic"


async def test_challenge_that_only_the_root_names_is_used() -> None:
    """Some registries do not repeat it on resources."""
    tokens = SimulatedTokens(users={"tester": "right"}, anonymous=False)
    registry = SimulatedRegistry(auth=BearerAuth(tokens, on_resources=False))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))
    assert registry.count("root") == 1


async def test_silent_401_is_answered_with_basic() -> None:
    """Old registries demand a login without saying how."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}, challenges=()))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))


async def test_registry_that_demands_something_else_by_now_is_answered() -> None:
    """A new set-up counts at once, not after ten minutes."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))
        registry.auth = BearerAuth(SimulatedTokens(users={"tester": "right"}, anonymous=False))
        await client.fetch_published(an_image(address))
        registry.requests.clear()
        await client.fetch_published(an_image(address))
    assert registry.summary() == {("manifest", "HEAD", 200): 1}


async def test_registry_that_stays_open_is_not_shown_a_login_for_a_missing_name() -> None:
    """It does not want to know us, so a missing repository is missing."""
    registry = SimulatedRegistry()
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        with pytest.raises(ManifestNotFoundError):
            await client.fetch_published(an_image(address))
    assert all(seen.authorization == "" for seen in registry.requests)


async def test_unsupported_scheme_is_named() -> None:
    """Kerberos and the like are not spoken here, and the message says which it was."""
    registry = SimulatedRegistry(auth=BasicAuth({}, challenges=("Negotiate", "NTLM")))
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        with pytest.raises(ProtocolViolationError, match="negotiate, ntlm"):
            await client.fetch_published(an_image(address))


async def test_bearer_is_preferred_to_basic_in_any_order() -> None:
    """With both offered the password goes to the token service only."""
    tokens = SimulatedTokens(users={"tester": "right"}, anonymous=False)
    registry = SimulatedRegistry(auth=BearerAuth(tokens, extra_challenges=('Basic realm="x"',)))
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        await client.fetch_published(an_image(address))
    assert {"", "Bearer"} == {
        seen.authorization.partition(" ")[0] for seen in registry.requests if seen.kind != "token"
    }


async def test_registry_token_is_shown_without_asking_the_token_service() -> None:
    """It is the answer of a token service already."""
    tokens = SimulatedTokens(users={"tester": "right"}, anonymous=False)
    registry = SimulatedRegistry(auth=BearerAuth(tokens))
    credential = Credential(registry_token="given-token", source="config.json")
    async with registry.serve() as address, a_client({address: credential}) as client:
        with pytest.raises(UnauthorizedError, match=r"registry token .* expired"):
            await client.fetch_published(an_image(address))
    assert registry.requests[-1].authorization == "Bearer given-token"
    assert registry.count("token") == 0


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        (Credential(username="a:b", password="x", source="config.json"), "colon"),
        (Credential(identity_token="x", source="config.json"), "identity token"),
        (Credential(registry_token="x\r\ny", source="config.json"), "characters"),
    ],
)
async def test_credential_that_cannot_be_sent_is_an_error_of_the_configuration(
    credential: Credential, words: str
) -> None:
    """It is said where it comes from, and nothing is sent."""
    registry = SimulatedRegistry(auth=BasicAuth({}))
    async with registry.serve() as address, a_client({address: credential}) as client:
        with pytest.raises(CredentialError, match=words):
            await client.fetch_published(an_image(address))
    assert all(seen.authorization == "" for seen in registry.requests)


async def test_unknown_name_and_refused_connection_are_not_connected() -> None:
    """Then the engine may still reach the registry."""
    async with a_client(resolver=LoopbackResolver(unknown=["gone.example"]), sleep=_no_sleep) as client:
        with pytest.raises(RegistryUnavailableError, match=r"gone\.example is not known") as unknown:
            await client.fetch_published(parse_reference("gone.example/app:1"))
        with pytest.raises(RegistryUnavailableError, match="refuses the connection") as refused:
            await client.fetch_published(parse_reference("closed.example:1/app:1"))
    assert not unknown.value.connected
    assert not refused.value.connected


async def _no_sleep(_seconds: float) -> None:
    """Let back-offs pass in no time where time is not the subject."""


async def test_untrusted_certificate_is_not_connected_and_not_tried_again() -> None:
    """The remedy is to trust the CA; a second attempt would not help."""
    registry = SimulatedRegistry()
    async with registry.serve(tls=certificate_for("registry.example").server) as address, a_client() as client:
        port = address.rpartition(":")[2]
        with pytest.raises(RegistryUnavailableError, match="SSL_CERT_FILE") as caught:
            await client.fetch_published(parse_reference(f"registry.example:{port}/app:1"))
    assert not caught.value.connected
    assert registry.requests == []


async def test_plain_http_registry_without_permission_names_the_option() -> None:
    """The remedy is an option, not a look at TLS."""
    registry = SimulatedRegistry()
    async with registry.serve() as address, a_client() as client:
        port = address.rpartition(":")[2]
        with pytest.raises(RegistryUnavailableError, match="--insecure-registries"):
            await client.fetch_published(parse_reference(f"registry.example:{port}/app:1"))


async def test_server_that_does_not_speak_http_is_named() -> None:
    """A port of something else is a wrong address."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"220 mail.example ready\r\n")
            with anyio.move_on_after(1):
                await stream.receive()

    async with listener, a_client() as client, anyio.create_task_group() as group:
        group.start_soon(listener.serve, greet)
        with pytest.raises(ProtocolViolationError, match="does not speak HTTP"):
            await client.fetch_published(parse_reference(f"127.0.0.1:{port}/app:1"))
        group.cancel_scope.cancel()


@pytest.mark.parametrize("wrong", [Misbehave(reset=True), Misbehave(answer=Answer(503))])
@pytest.mark.looptime
async def test_failing_request_is_sent_three_times(wrong: Misbehave) -> None:
    """Two pauses with jitter (here half of 1 and 2 s), then it is unavailable though we had a connection."""
    registry = SimulatedRegistry()
    registry.misbehave(wrong)
    async with registry.serve() as address, a_client() as client:
        begin = anyio.current_time()
        with pytest.raises(RegistryUnavailableError) as caught:
            await client.fetch_published(an_image(address))
        assert pytest.approx(anyio.current_time() - begin, abs=0.01) == 1.5
    assert caught.value.connected
    assert len(registry.requests) == 3


@pytest.mark.looptime
async def test_failure_that_passes_is_not_noticed() -> None:
    """One bad gateway on the way is no reason to report anything."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(answer=Answer(502), times=2))
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))


@pytest.mark.looptime
async def test_truncated_body_is_asked_for_again() -> None:
    """Half a manifest is no manifest."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1")
    registry.head = 405
    registry.misbehave(Misbehave(truncate=True, method="GET", times=1))
    async with registry.serve() as address, a_client() as client:
        assert digest == str((await client.fetch_published(an_image(address))).digest)
    assert registry.count("manifest", method="GET") == 2


@pytest.mark.looptime
@pytest.mark.parametrize("wrong", [Misbehave(stall=1000.0), Misbehave(stall_body=1000.0, method="GET")])
async def test_silent_registry_costs_one_minute(wrong: Misbehave) -> None:
    """An image check ends after 60 s, in the middle of its second attempt."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.head = 405
    registry.misbehave(wrong)
    async with registry.serve() as address, a_client() as client:
        begin = anyio.current_time()
        with pytest.raises(RegistryUnavailableError, match="within 60 s") as caught:
            await client.fetch_published(an_image(address))
        assert pytest.approx(anyio.current_time() - begin, abs=0.1) == 60
    assert caught.value.connected


@pytest.mark.looptime
async def test_silent_registry_does_not_cost_a_minute_per_image() -> None:
    """The first eight images wait for it; the others share what these learned."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(stall=10_000.0))
    async with registry.serve() as address, a_client() as client:
        begin = anyio.current_time()
        answers = await published_at_once(client, [an_image(address, f"vendor/app{i}") for i in range(50)])
        assert pytest.approx(anyio.current_time() - begin, abs=0.1) == 60
    assert all(isinstance(answer, RegistryUnavailableError) for answer in answers.values())


@pytest.mark.looptime
async def test_dead_registry_does_not_hold_up_a_good_one() -> None:
    """Each registry has its own turns."""
    dead, good = SimulatedRegistry(), SimulatedRegistry()
    dead.misbehave(Misbehave(stall=10_000.0))
    good.publish_image("vendor/app", "1")
    async with dead.serve() as bad, good.serve() as address, a_client() as client, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(_ask_once, client, an_image(bad, f"vendor/app{number}"))
        await anyio.sleep(0.1)
        begin = anyio.current_time()
        await client.fetch_published(an_image(address))
        assert anyio.current_time() - begin < 1
        group.cancel_scope.cancel()


@pytest.mark.looptime
async def test_one_slow_image_says_nothing_about_the_others() -> None:
    """A time-out of one image is its own."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(stall=1000.0, path="slow"))
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address))
        await _ask_once(client, an_image(address, "vendor/slow"))
        await client.fetch_published(an_image(address))


@pytest.mark.looptime
async def test_retry_after_is_waited_for() -> None:
    """The registry names the pause; ours (half a second here) comes on top."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "20"}), times=1))
    async with registry.serve() as address, a_client() as client:
        begin = anyio.current_time()
        await client.fetch_published(an_image(address))
        assert pytest.approx(anyio.current_time() - begin, abs=0.01) == 20.5


@pytest.mark.looptime
async def test_rate_limit_stops_all_checks_of_the_account_together() -> None:
    """One 429 is enough for everybody who waits; nobody else gets one."""
    registry = SimulatedRegistry()
    paths = [f"vendor/app{number}" for number in range(20)]
    for path in paths:
        registry.publish_image(path, "1")
    async with registry.serve() as address, a_client() as client:
        await client.fetch_published(an_image(address, paths[0]))
        registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "30"}), times=8))
        answers = await published_at_once(client, [an_image(address, path) for path in paths])
    assert all(isinstance(answer, Published) for answer in answers.values())
    assert registry.count("manifest", status=429) <= 8


@pytest.mark.looptime
async def test_rate_limit_beyond_five_minutes_is_reported_with_its_end() -> None:
    """Nobody waits for six hours; the end is named, and nobody asks before."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "21600"})))
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(RateLimitedError, match="rate limited until 2026-03-01 18:00:00 UTC") as caught:
            await client.fetch_published(an_image(address))
        await _ask_once(client, an_image(address, "vendor/other"))
    assert pytest.approx(caught.value.retry_after, abs=1) == 21600
    assert len(registry.requests) == 1


@pytest.mark.looptime
async def test_rate_limit_without_end_is_given_up_after_three_rounds() -> None:
    """Fifty images do not ask three times each."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(answer=Answer(429, body=b"slow down")))
    async with registry.serve() as address, a_client() as client:
        answers = await published_at_once(client, [an_image(address, f"vendor/app{i}") for i in range(50)])
    assert all(isinstance(answer, RateLimitedError) for answer in answers.values())
    assert len(registry.requests) <= 24


@pytest.mark.looptime
async def test_rate_limit_of_one_account_leaves_another_alone() -> None:
    """The limit is counted per credential."""
    registry = SimulatedRegistry(auth=BasicAuth({"one": "right", "two": "right"}))
    registry.publish_image("vendor/app", "1")
    logins = Logins()
    async with registry.serve() as address, a_client(logins) as client:
        logins.logins[address] = a_login("one")
        await client.fetch_published(an_image(address))
        registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "3600"}), times=1))
        await _ask_once(client, an_image(address))
        logins.logins[address] = a_login("two")
        await client.fetch_published(an_image(address))


@pytest.mark.looptime
async def test_rate_limit_of_one_registry_leaves_others_alone() -> None:
    """Other registries go on."""
    limited, other = SimulatedRegistry(), SimulatedRegistry()
    limited.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "100"})))
    other.publish_image("vendor/app", "1")
    async with limited.serve() as bad, other.serve() as good, a_client() as client, anyio.create_task_group() as group:
        group.start_soon(_ask_once, client, an_image(bad))
        await anyio.sleep(1)
        begin = anyio.current_time()
        await client.fetch_published(an_image(good))
        assert anyio.current_time() - begin < 1
        group.cancel_scope.cancel()


async def test_pull_limit_of_the_registry_is_kept_for_display() -> None:
    """Docker Hub tells it with every manifest."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.extra_headers |= {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    async with registry.serve() as address, a_client() as client:
        assert client.rate_limit(address) is None
        await client.fetch_published(an_image(address))
        assert RateLimit(100, 76, 21600) == client.rate_limit(address)


@pytest.mark.looptime
async def test_forgetting_a_registry_ends_its_waits() -> None:
    """After a new login nobody waits for what the old one did."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(answer=Answer(429, {"Retry-After": "3600"}), times=1))
    async with registry.serve() as address, a_client() as client:
        await _ask_once(client, an_image(address))
        client.forget(address)
        await client.fetch_published(an_image(address))


async def test_loopback_registry_is_asked_over_https_first() -> None:
    """TLS is used where there is any, and the certificate of a loopback registry is not checked."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve(tls=certificate_for("other.example").server) as address, a_client() as client:
        await client.fetch_published(an_image(address))
    assert len(registry.requests) == 1


async def test_listed_registry_may_speak_plain_http() -> None:
    """What the user lists counts, for all ports of a host or for one."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with registry.serve() as address:
        port = address.rpartition(":")[2]
        for listed in ("plain.example", f"PLAIN.example:{port}"):
            async with a_client(insecure_hosts=[listed]) as client:
                await client.fetch_published(parse_reference(f"plain.example:{port}/vendor/app:1"))


async def test_insecure_registry_is_not_asked_over_http_after_an_http_status() -> None:
    """An answer is an answer, whatever its status."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(answer=Answer(404)))
    async with registry.serve(tls=certificate_for("127.0.0.1").server) as address, a_client() as client:
        await _ask_once(client, an_image(address))
    assert {"HEAD", "GET"} == {seen.method for seen in registry.requests}
    assert len(registry.requests) == 2


@pytest.mark.looptime
async def test_insecure_registry_is_not_asked_over_http_after_a_time_out() -> None:
    """A firewall that drops packets must not turn TLS off."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    received: list[bytes] = []

    async def keep_silent(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            received.append(await stream.receive())
            await anyio.sleep_forever()

    async with listener, a_client() as client, anyio.create_task_group() as group:
        group.start_soon(listener.serve, keep_silent)
        with pytest.raises(RegistryUnavailableError, match="did not accept a connection") as caught:
            await client.fetch_published(parse_reference(f"127.0.0.1:{port}/app:1"))
        group.cancel_scope.cancel()
    assert not caught.value.connected
    assert received
    assert all(data[:1] == b"\x16" for data in received)  # the first byte of a TLS handshake


@pytest.mark.looptime
async def test_registry_that_moves_from_http_to_https_is_found_again() -> None:
    """A scheme that does not work any more is forgotten."""
    registry = SimulatedRegistry()
    registry.publish_image("vendor/app", "1")
    async with a_client() as client:
        async with registry.serve() as address:
            await client.fetch_published(an_image(address))
        port = int(address.rpartition(":")[2])
        await _ask_once(client, an_image(address))
        await anyio.sleep(11)
        async with registry.serve(port=port, tls=certificate_for("127.0.0.1").server):
            await client.fetch_published(an_image(address))


@pytest.mark.looptime
async def test_cancelled_question_does_not_fail_those_that_wait_for_it() -> None:
    """Whoever asks first may go away; the next one finds out what the registry demands."""
    registry = a_private_registry()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(stall=20.0, times=1))
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        found: list[Published] = []

        async def wait() -> None:
            found.append(await client.fetch_published(an_image(address)))

        async with anyio.create_task_group() as group:
            with anyio.move_on_after(5) as first:
                group.start_soon(_after_a_second, wait)
                await client.fetch_published(an_image(address))
            assert first.cancelled_caught
        assert len(found) == 1


async def _after_a_second(work: Callable[[], Awaitable[None]]) -> None:
    await anyio.sleep(1)
    await work()


async def test_limits_can_be_set() -> None:
    """A caller may be less patient."""
    registry = SimulatedRegistry()
    registry.misbehave(Misbehave(stall=5.0))
    limits = ClientLimits(request_seconds=0.05, attempts=1)
    async with registry.serve() as address, a_client(limits=limits) as client:
        with pytest.raises(RegistryUnavailableError, match=r"within 0\.05 s"):
            await client.fetch_published(an_image(address))
