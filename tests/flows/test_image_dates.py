"""When an image was built, asked from its registry."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.registry_world import a_client, a_login
from tests.support.simulated_registry import Answer, BasicAuth, Misbehave, SimulatedRegistry, digest_of
from watchtower_async.errors import ManifestNotFoundError, ProtocolViolationError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.platform import parse_platform
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.answers import read_created

AMD64 = parse_platform("linux/amd64")
BUILT = datetime(2026, 2, 3, 4, 5, 6, 123456, tzinfo=UTC)


def a_config(created: str = "2026-02-03T04:05:06.123456789Z", platform: str = "amd64") -> str:
    """Return the configuration of an image."""
    return json.dumps({"architecture": platform, "os": "linux", "created": created})


def serve_blob(registry: SimulatedRegistry, content: str, *, instead: str | None = None) -> None:
    """Let the registry have a configuration; `instead` is what it sends."""
    digest = digest_of(content.encode())
    body = (content if instead is None else instead).encode()
    registry.misbehave(Misbehave(answer=Answer(body=body), path=f"/blobs/{digest}"))


def an_image(address: str) -> Reference:
    """Return the reference of an image at a served registry."""
    return parse_reference(f"{address}/vendor/app:1")


async def test_date_of_a_single_image_is_in_its_configuration() -> None:
    """One manifest and one configuration are fetched."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1", a_config())
    serve_blob(registry, a_config())
    async with registry.serve() as address, a_client() as client:
        assert await client.fetch_created(an_image(address), parse_digest(digest), AMD64) == BUILT
    assert [seen.method for seen in registry.requests] == ["GET", "GET"]


async def test_date_is_that_of_the_image_for_the_platform() -> None:
    """Each platform is built at its own time."""
    ours, other = a_config(), a_config("2020-01-01T00:00:00Z", "arm64")
    registry = SimulatedRegistry()
    digest, _ = registry.publish_index("vendor/app", "1", {"linux/arm64": other, "linux/amd64": ours})
    serve_blob(registry, ours)
    async with registry.serve() as address, a_client() as client:
        image = an_image(address)
        assert await client.fetch_created(image, parse_digest(digest), AMD64) == BUILT
        assert await client.fetch_created(image, parse_digest(digest), parse_platform("linux/s390x")) is None


async def test_login_is_shown_for_the_configuration_too() -> None:
    """It is in the same repository."""
    registry = SimulatedRegistry(auth=BasicAuth({"tester": "right"}))
    digest = registry.publish_image("vendor/app", "1", a_config())
    serve_blob(registry, a_config())
    async with registry.serve() as address, a_client({address: a_login()}) as client:
        assert await client.fetch_created(an_image(address), parse_digest(digest), AMD64) == BUILT
    assert registry.requests[-1].authorization.startswith("Basic ")


async def test_configuration_with_another_digest_is_refused() -> None:
    """Its date could be anybody's."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1", a_config())
    serve_blob(registry, a_config(), instead=a_config("2020-01-01T00:00:00Z"))
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ProtocolViolationError, match="another configuration"):
            await client.fetch_created(an_image(address), parse_digest(digest), AMD64)


async def test_configuration_that_is_gone_is_an_error() -> None:
    """The caller decides what that means."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("vendor/app", "1", a_config())
    async with registry.serve() as address, a_client() as client:
        with pytest.raises(ManifestNotFoundError):
            await client.fetch_created(an_image(address), parse_digest(digest), AMD64)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (a_config().encode(), BUILT),
        (b'{"created": "2026-02-03T05:05:06.123456+01:00"}', BUILT.astimezone(timezone(timedelta(hours=1)))),
        (b'{"created": "1970-01-01T00:00:00Z"}', datetime(1970, 1, 1, tzinfo=UTC)),
        (b'{"created": "0001-01-01T00:00:00Z"}', None),
        (b'{"created": "2026-02-03T05:05:06"}', None),
        (b'{"created": "yesterday"}', None),
        (b'{"created": 3}', None),
        (b'{"created": null}', None),
        (b"{}", None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_date_is_read_where_there_is_one(body: bytes, expected: datetime | None) -> None:
    """Reproducible builds leave it out or write a fixed one."""
    assert expected == read_created(body)
