"""What the settings say about the engine and the registries reaches those who speak with them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.engine_sim import SimulatedEngine, serving
from tests.support.loopback import Certificate, LoopbackResolver, certificate_for
from tests.support.registry_world import Logins
from tests.support.simulated_registry import SimulatedRegistry
from watchtower_async.connection import Connection, Reached
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import connect_engine
from watchtower_async.errors import EngineUnavailableError, RegistryUnavailableError
from watchtower_async.events import Announcer
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.client import RegistryClient
from watchtower_async.registry.encryption import encryption
from watchtower_async.settings import CpuCopyMode, EngineSettings, Settings, TlsVersion, UpdateSettings


@asynccontextmanager
async def reached(settings: Settings, *, environ: dict[str, str] | None = None) -> AsyncIterator[Reached]:
    """Reach the engine that the settings name."""
    connection = Connection(settings=settings, environ=environ or {})
    async with connection.open(Announcer()) as opened, connection.reach_engine(opened) as found:
        yield found


# ---- the engine ----------------------------------------------------------------------------------------------------


async def test_engine_is_spoken_to_in_the_version_that_is_asked_for() -> None:
    """Whoever has to pin it, for a proxy in front of the engine, gets it."""
    async with serving(SimulatedEngine()) as address:
        settings = Settings(engine=EngineSettings(host=address.url, api_version="1.44"))
        async with reached(settings) as found:
            assert found.engine.info.api_version == (1, 44)
            assert found.facts.api_version == (1, 44)


async def test_requests_name_the_version_that_is_asked_for() -> None:
    """In their path, all but the question which versions there are."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        if request.path == "/version":
            return web.json_response({"ApiVersion": "1.51", "MinAPIVersion": "1.24"})
        return web.json_response([])

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with connect_engine(EngineAddress(f"http://127.0.0.1:{port}", "test"), api_version="1.43") as engine:
            await engine.list_containers()
    finally:
        await runner.cleanup()
    assert paths == ["/version", "/v1.43/containers/json"]


async def test_version_that_the_engine_does_not_know_is_refused() -> None:
    """At the start, and not as a strange answer later."""
    async with serving(SimulatedEngine(api_version="1.45")) as address:
        settings = Settings(engine=EngineSettings(host=address.url, api_version="1.50"))
        with pytest.raises(EngineUnavailableError, match=r"API version 1\.50 .* from 1\.41 to 1\.45"):
            async with reached(settings):
                pass


async def test_limits_that_are_not_copied_reach_the_rules() -> None:
    """By the options for Podman's quirks."""
    update = UpdateSettings(disable_memory_swappiness=True, cpu_copy_mode=CpuCopyMode.NONE)
    async with serving(SimulatedEngine()) as address:
        settings = Settings(engine=EngineSettings(host=address.url), update=update)
        async with reached(settings) as found:
            assert {"MemorySwappiness", "NanoCpus", "CpuShares"} <= found.facts.left_out
        async with reached(replace(settings, update=UpdateSettings())) as found:
            assert found.facts.left_out == frozenset()


async def test_tls_of_the_command_line_counts_as_that_of_the_environment(tmp_path: Path) -> None:
    """The flags are no lesser than Docker's own variables: the named files are looked for."""
    engine = EngineSettings(host="tcp://127.0.0.1:1", tls_verify=True, cert_path=tmp_path)
    with pytest.raises(EngineUnavailableError, match="TLS files") as caught:
        async with reached(Settings(engine=engine)):
            pass
    assert str(tmp_path / "ca.pem") in str(caught.value)


# ---- registries ----------------------------------------------------------------------------------------------------


def a_client(
    *, skip: bool = False, minimum: TlsVersion = TlsVersion.TLS1_2, trusts: Certificate | None = None
) -> RegistryClient:
    """Return a client as the connection makes it, with names that lead to this machine."""
    found = encryption(tls_skip=skip, tls_min_version=minimum)
    if trusts is not None and found.usual is not None:
        found.usual.load_verify_locations(cadata=trusts.pem)
    return RegistryClient(
        credentials=Logins(),
        user_agent="watchtower_async/test",
        insecure_hosts=frozenset(),
        ssl_context=found.usual,
        unverified_context=found.unverified,
        resolver=LoopbackResolver(),
        environ={},
    )


def until_1_2(certificate: Certificate) -> ssl.SSLContext:
    """Return what serves with TLS 1.2 only. The certificate must be the test's own, as it is changed."""
    certificate.server.maximum_version = ssl.TLSVersion.TLSv1_2
    return certificate.server


@pytest.mark.parametrize("name", ["registry.example", "127.0.0.1"])
async def test_older_tls_than_asked_for_is_not_spoken(name: str) -> None:
    """Also not with registries whose certificate is not checked, such as those on loopback."""
    certificate = certificate_for(name, "older.example")
    registry = SimulatedRegistry()
    registry.publish_image("app", "1", "x")
    async with registry.serve(tls=until_1_2(certificate)) as address:
        reference = parse_reference(f"{name}:{address.rpartition(':')[2]}/app:1")
        async with a_client(minimum=TlsVersion.TLS1_3, trusts=certificate) as client:
            with pytest.raises(RegistryUnavailableError):
                await client.fetch_published(reference)
        assert registry.requests == []


async def test_newest_tls_is_spoken_where_it_is_asked_for() -> None:
    """With a certificate that is checked."""
    certificate = certificate_for("registry.example", "newer.example")
    registry = SimulatedRegistry()
    digest = registry.publish_image("app", "1", "x")
    async with registry.serve(tls=certificate.server) as address:
        port = address.rpartition(":")[2]
        async with a_client(minimum=TlsVersion.TLS1_3, trusts=certificate) as client:
            assert digest == str(
                (await client.fetch_published(parse_reference(f"registry.example:{port}/app:1"))).digest
            )
        async with a_client(minimum=TlsVersion.TLS1_3) as client:
            with pytest.raises(RegistryUnavailableError, match=r"certificate of registry\.example is refused"):
                await client.fetch_published(parse_reference(f"registry.example:{port}/app:1"))


async def test_no_certificate_is_checked_where_that_is_asked_for() -> None:
    """A wrong name and an unknown issuer do not matter any more."""
    registry = SimulatedRegistry()
    digest = registry.publish_image("app", "1", "x")
    async with registry.serve(tls=certificate_for("other.example").server) as address, a_client(skip=True) as client:
        reference = parse_reference(f"registry.example:{address.rpartition(':')[2]}/app:1")
        assert digest == str((await client.fetch_published(reference)).digest)


async def test_certificates_that_are_not_checked_permit_no_http() -> None:
    """Passwords still travel encrypted; http is a permission for named hosts."""
    registry = SimulatedRegistry()
    async with registry.serve() as address, a_client(skip=True) as client:
        reference = parse_reference(f"registry.example:{address.rpartition(':')[2]}/app:1")
        with pytest.raises(RegistryUnavailableError, match="--insecure-registries"):
            await client.fetch_published(reference)
    assert registry.requests == []


def test_usual_encryption_is_the_library_s_own() -> None:
    """Making a context costs 50 ms, which nobody pays for nothing."""
    found = encryption(tls_skip=False, tls_min_version=TlsVersion.TLS1_2)
    assert (found.usual, found.unverified) == (None, None)
