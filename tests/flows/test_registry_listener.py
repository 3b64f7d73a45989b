"""What is heard of each exchange with a registry, for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.support.registry_world import a_client
from tests.support.simulated_registry import Answer, Misbehave, SimulatedRegistry
from watchtower_async.errors import RegistryError
from watchtower_async.images.reference import parse_reference
from watchtower_async.registry.limits import ClientLimits

ONCE = ClientLimits(attempts=1)


@dataclass(slots=True)
class Hearing:
    """Writes down what it hears."""

    answers: list[tuple[str, int | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    limits: list[tuple[str, int, int]] = field(default_factory=list)

    def registry_answered(self, host: str, status: int | None, seconds: float) -> None:
        """Hear of one exchange."""
        self.answers.append((host, status))
        self.seconds.append(seconds)

    def rate_limit_told(self, host: str, limit: int, remaining: int) -> None:
        """Hear of a pull limit."""
        self.limits.append((host, limit, remaining))


async def test_answers_are_heard_with_their_status_and_the_pull_limit_they_tell() -> None:
    """One for each exchange, under the registry's host. That it speaks no TLS is heard once, without a status."""
    registry, hearing = SimulatedRegistry(), Hearing()
    registry.publish_image("vendor/app", "1")
    registry.extra_headers |= {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    async with registry.serve() as address, a_client(listener=hearing) as client:
        await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
        with pytest.raises(RegistryError):
            await client.fetch_published(parse_reference(f"{address}/vendor/app:2"))
    assert {(address, 200), (address, 404)} <= set(hearing.answers)
    assert [seen.status for seen in registry.requests] == [status for _, status in hearing.answers if status]
    assert [status for _, status in hearing.answers].count(None) == 1
    assert (address, 100, 76) in hearing.limits


@pytest.mark.looptime
async def test_exchange_without_an_answer_is_heard_as_one() -> None:
    """With the time that it took, and no status."""
    registry, hearing = SimulatedRegistry(), Hearing()
    registry.misbehave(Misbehave(stall=1e6))
    async with registry.serve() as address, a_client(listener=hearing, limits=ONCE) as client:
        with pytest.raises(RegistryError):
            await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
    assert hearing.answers
    assert set(hearing.answers) == {(address, None)}
    assert max(hearing.seconds) == pytest.approx(ONCE.request_seconds, abs=1)


@pytest.mark.looptime
async def test_each_attempt_is_heard() -> None:
    """A registry that limits its rate is asked again, and each refusal counts."""
    registry, hearing = SimulatedRegistry(), Hearing()
    registry.publish_image("vendor/app", "1")
    registry.misbehave(Misbehave(answer=Answer(429), times=2))
    async with registry.serve() as address, a_client(listener=hearing) as client:
        await client.fetch_published(parse_reference(f"{address}/vendor/app:1"))
    assert [status for _, status in hearing.answers].count(429) == 2
    assert hearing.answers[-1] == (address, 200)
