"""What is remembered about registries: for how long, and how much."""

from __future__ import annotations

import gc

import anyio

from watchtower_async.registry.memory import KeyedLocks, Memory


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_value_ends_with_its_time() -> None:
    """At its end, not after it."""
    clock = Clock()
    memory: Memory[str, int] = Memory(limit=10, clock=clock)
    memory.put("a", 1, seconds=5)
    memory.put("b", 2)
    clock.now = 4.9
    assert memory.get("a") == 1
    clock.now = 5
    assert memory.get("a") is None
    assert memory.get("b") == 2


def test_least_recently_used_value_goes_first() -> None:
    """What is asked for stays."""
    memory: Memory[str, int] = Memory(limit=2, clock=Clock())
    memory.put("a", 1)
    memory.put("b", 2)
    memory.get("a")
    memory.put("c", 3)
    assert [memory.get(key) for key in "abc"] == [1, None, 3]
    assert len(memory) == 2


def test_values_are_discarded_by_key_or_condition() -> None:
    """Nothing else goes with them."""
    memory: Memory[str, int] = Memory(limit=10, clock=Clock())
    for key in ("a1", "a2", "b1"):
        memory.put(key, 0)
    memory.discard("a1")
    memory.discard("missing")
    memory.discard_where(lambda key: key.startswith("b"))
    assert [key for key in ("a1", "a2", "b1") if memory.get(key) is not None] == ["a2"]


async def test_only_one_at_a_time_holds_a_key() -> None:
    """Other keys are not held up, and the next one comes when the first is done."""
    locks: KeyedLocks[str] = KeyedLocks()
    order: list[str] = []

    async def work(key: str, name: str) -> None:
        async with locks.lock(key):
            order.append(f"{name} begins")
            await anyio.wait_all_tasks_blocked()
            order.append(f"{name} ends")

    async with anyio.create_task_group() as group:
        for key, name in (("a", "one"), ("a", "two"), ("b", "three")):
            group.start_soon(work, key, name)
    assert order.index("one ends") < order.index("two begins")
    assert order.index("three begins") < order.index("one ends")


async def test_lock_that_nobody_uses_is_gone() -> None:
    """A fleet with many images leaves nothing behind."""
    locks: KeyedLocks[str] = KeyedLocks()
    for number in range(100):
        async with locks.lock(str(number)):
            pass
    gc.collect()
    assert len(locks._locks) == 0
