"""A registry client for tests, with logins of their own and nothing from the environment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime

import anyio

from tests.support.loopback import Certificate, LoopbackResolver
from tests.support.simulated_registry import NOON
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.images.reference import Reference
from watchtower_async.registry.client import Published, RegistryClient
from watchtower_async.registry.limits import ClientLimits
from watchtower_async.registry.transport import UNHEARD, RegistryListener


class Logins:
    """Credentials by registry, as a configuration file would have them; they can be changed."""

    def __init__(self, logins: Mapping[str, Credential] | None = None) -> None:
        self.logins = dict(logins or {})
        self.asked: list[str] = []

    async def credential_for(
        self, reference: Reference, *, refused: Credential | Anonymous | None = None
    ) -> Credential | Anonymous:
        """Return what is configured for exactly this registry."""
        self.asked.append(reference.domain)
        return self.logins.get(reference.domain, Anonymous())


def a_login(username: str = "tester", password: str = "right") -> Credential:
    """Return a user name and a password."""
    return Credential(username=username, password=password, source="config.json")


def a_client(
    logins: Mapping[str, Credential] | Logins | None = None,
    *,
    insecure_hosts: Iterable[str] = (),
    trusts: Certificate | None = None,
    resolver: LoopbackResolver | None = None,
    limits: ClientLimits | None = None,
    environ: Mapping[str, str] | None = None,
    draw: Callable[[], float] = lambda: 0.5,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    now: Callable[[], datetime] = lambda: NOON,
    listener: RegistryListener = UNHEARD,
) -> RegistryClient:
    """Return a client whose names all lead to this machine."""
    return RegistryClient(
        credentials=logins if isinstance(logins, Logins) else Logins(logins),
        user_agent="watchtower_async/test",
        insecure_hosts=frozenset(insecure_hosts),
        limits=limits or ClientLimits(),
        ssl_context=trusts.client if trusts else None,
        resolver=resolver or LoopbackResolver(),
        environ=environ or {},
        draw=draw,
        sleep=sleep,
        now=now,
        listener=listener,
    )


async def published_at_once(
    client: RegistryClient, references: Iterable[Reference]
) -> dict[Reference, Published | Exception]:
    """Ask for all references at the same time; a failure is the answer of its own reference only."""
    answers: dict[Reference, Published | Exception] = {}

    async def ask(reference: Reference) -> None:
        try:
            answers[reference] = await client.fetch_published(reference)
        except Exception as error:  # the test looks at it
            answers[reference] = error

    async with anyio.create_task_group() as group:
        for reference in references:
            group.start_soon(ask, reference)
    return answers
