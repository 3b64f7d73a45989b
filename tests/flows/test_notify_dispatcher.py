"""Messages on their way: order, pauses, what is tried again, and what survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from watchtower_async.notify.courier import Answer
from watchtower_async.notify.dispatcher import Delivery, DeliveryPolicy, Dispatcher
from watchtower_async.notify.outbox import MemoryOutbox, Outbox, new_pending, read_pending, write_pending
from watchtower_async.notify.render import Message
from watchtower_async.notify.services import Service, read_services

pytestmark = pytest.mark.looptime

START = datetime(2024, 1, 2, tzinfo=UTC)
SLACK = "slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook"
SERVICES = read_services(["discord://token@1", SLACK])


@dataclass
class Town:
    """Services that answer as they are told, and a clock that is the loop's."""

    down: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    final: set[str] = field(default_factory=set)
    arrived: list[tuple[float, str, str]] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)

    async def deliver(self, service: Service, message: Message) -> Answer:
        """Answer for a service."""
        name = service.describe()
        if name in self.hanging:
            await anyio.sleep_forever()
        if name in self.down:
            return Answer(name, is_ok=False, text="down", is_final=name in self.final)
        self.arrived.append((round(asyncio.get_running_loop().time(), 3), service.scheme, message.body))
        return Answer(name, is_ok=True)

    def now(self) -> datetime:
        """Return the time by the loop's clock."""
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def bodies(self, scheme: str) -> list[str]:
        """Return what arrived at a service."""
        return [body for _, arrived, body in self.arrived if arrived == scheme]


def a_dispatcher(town: Town, outbox: Outbox | None = None, **policy: timedelta) -> Dispatcher:
    """Return a dispatcher to the town's services."""
    return Dispatcher(
        services=SERVICES,
        courier=town,
        outbox=outbox or MemoryOutbox(),
        policy=DeliveryPolicy(**policy),
        tell=town.told.append,
        now=town.now,
    )


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[Callable[[], None]]:
    """Run a dispatcher; the value kills it as a crash would. At the end it is stopped."""
    async with anyio.create_task_group() as group:
        await group.start(dispatcher.run)
        yield group.cancel_scope.cancel
        dispatcher.stop()


async def test_message_reaches_every_service_and_leaves_the_outbox() -> None:
    """In the order in which messages were made."""
    town, outbox = Town(), MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox)
    async with running(dispatcher):
        for number in range(3):
            dispatcher.submit(Message("T", str(number)))
        await anyio.sleep(1)
        assert ["0", "1", "2"] == town.bodies("discord") == town.bodies("slack")
        assert await outbox.load() == {}
    assert all(delivery.is_over and delivery.answer.is_ok for delivery in town.told)


async def test_failure_is_tried_again_with_growing_pauses() -> None:
    """10, 20 and 40 seconds, until the service is there."""
    town = Town(down={"slack://***"})
    dispatcher = a_dispatcher(town)
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        await anyio.sleep(65)
        town.down.clear()
        await anyio.sleep(10)
    assert (70.0, "slack", "a") in town.arrived
    attempts = [delivery.attempt for delivery in town.told if delivery.answer.service == "slack://***"]
    assert attempts == [1, 2, 3, 4]


async def test_pauses_do_not_grow_beyond_the_longest() -> None:
    """Even after a thousand failures."""
    policy = DeliveryPolicy(first_pause=timedelta(seconds=10), longest_pause=timedelta(minutes=5))
    assert [policy.pause_after(n).total_seconds() for n in (1, 2, 3, 10, 1000)] == [10, 20, 40, 300, 300]


async def test_service_that_is_down_or_hangs_holds_no_other_up() -> None:
    """Each has a lane of its own."""
    town = Town(hanging={"discord://***"})
    dispatcher = a_dispatcher(town)
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        dispatcher.submit(Message("T", "b"))
        await anyio.sleep(1)
        assert town.bodies("slack") == ["a", "b"]


async def test_order_is_kept_when_a_service_comes_back() -> None:
    """News of yesterday come before those of today."""
    town = Town(down={"slack://***"})
    dispatcher = a_dispatcher(town)
    async with running(dispatcher):
        for body in ("a", "b", "c"):
            dispatcher.submit(Message("T", body))
        await anyio.sleep(15)
        town.down.clear()
        await anyio.sleep(30)
    assert town.bodies("slack") == ["a", "b", "c"]


async def test_delay_comes_before_each_message() -> None:
    """As Watchtower's delay does."""
    town = Town()
    dispatcher = a_dispatcher(town, delay=timedelta(seconds=7))
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        dispatcher.submit(Message("T", "b"))
        await anyio.sleep(20)
    assert [when for when, scheme, _ in town.arrived if scheme == "slack"] == [7.0, 14.0]


async def test_old_news_are_given_up() -> None:
    """After a day nobody needs them, and it is told that they are lost."""
    town = Town(down={"slack://***"})
    outbox = MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox, give_up_after=timedelta(hours=1))
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        await anyio.sleep(2 * 3600)
        assert await outbox.load() == {}
    assert [delivery.is_over for delivery in town.told if not delivery.answer.is_ok][-1:] == [True]


async def test_final_answer_is_not_tried_again() -> None:
    """A wrong URL stays wrong; the next message is tried all the same."""
    town = Town(down={"slack://***"}, final={"slack://***"})
    dispatcher = a_dispatcher(town)
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        dispatcher.submit(Message("T", "b"))
        await anyio.sleep(1)
    refused = [delivery for delivery in town.told if not delivery.answer.is_ok]
    assert [(delivery.attempt, delivery.is_over) for delivery in refused] == [(1, True), (1, True)]


async def test_message_survives_a_crash() -> None:
    """It is in the outbox before it is tried, and the next run delivers it first."""
    town, outbox = Town(down={"slack://***"}), MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox)
    async with running(dispatcher) as kill:
        dispatcher.submit(Message("T", "a"))
        await anyio.sleep(1)
        dispatcher.submit(Message("T", "b"))
        kill()
    kept = [read_pending(key, text) for key, text in sorted((await outbox.load()).items())]
    assert [one.message.body for one in kept if one is not None and one.service == "slack://***"] == ["a", "b"]
    town.down.clear()
    town.arrived.clear()
    after = a_dispatcher(town, outbox)
    after.submit(Message("T", "c"))
    async with running(after):
        await anyio.sleep(1)
        assert town.bodies("slack") == ["a", "b", "c"]
        assert await outbox.load() == {}


async def test_stopping_delivers_without_delay_what_is_left() -> None:
    """A last message must not wait for a delay of minutes."""
    town, outbox = Town(), MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox, delay=timedelta(minutes=10))
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        dispatcher.submit(Message("T", "b"))
    assert town.bodies("slack") == ["a", "b"]
    assert asyncio.get_running_loop().time() < 1
    assert await outbox.load() == {}


async def test_stopping_takes_no_longer_than_it_may() -> None:
    """A service that hangs or is down keeps its messages for the next start."""
    town, outbox = Town(hanging={"slack://***"}, down={"discord://***"}), MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox, drain=timedelta(seconds=5))
    async with running(dispatcher):
        dispatcher.submit(Message("T", "a"))
        dispatcher.submit(Message("T", "b"))
        await anyio.sleep(1)
    assert pytest.approx(asyncio.get_running_loop().time(), abs=0.01) == 6.0
    assert len(await outbox.load()) == 4


async def test_kept_message_of_a_service_that_is_gone_is_dropped() -> None:
    """And so is what cannot be read."""
    town, outbox = Town(), MemoryOutbox()
    gone = new_pending("gotify://old/***", Message("T", "a"), now=START)
    await outbox.save(gone.key, write_pending(gone))
    await outbox.save("broken", "{")
    async with running(a_dispatcher(town, outbox)):
        pass
    assert (await outbox.load(), town.arrived) == ({}, [])


async def test_too_many_messages_lose_the_oldest_and_say_so() -> None:
    """A service that is away for a month must not fill the memory."""
    town, outbox = Town(down={"slack://***", "discord://***"}), MemoryOutbox()
    dispatcher = a_dispatcher(town, outbox)
    async with running(dispatcher):
        for number in range(1005):
            dispatcher.submit(Message("T", f"m{number}"))
        await anyio.sleep(1)
        assert len(await outbox.load()) == 2000
    assert sum("more than 1000" in delivery.answer.text for delivery in town.told) == 10
