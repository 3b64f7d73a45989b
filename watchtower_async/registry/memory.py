"""What is remembered about registries for a while: bounded in number and in time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Values that expire; when there are too many, the least recently used goes first."""

    def __init__(self, *, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value, None when there is none any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, seconds: float = math.inf) -> None:
        """Remember a value for so many seconds from now."""
        self._entries[key] = (value, self._clock() + seconds)
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def find(self, condition: Callable[[K], bool]) -> list[V]:
        """Return the values whose key fulfils the condition."""
        now = self._clock()
        return [value for key, (value, until) in self._entries.items() if until > now and condition(key)]

    def discard(self, key: K) -> None:
        """Forget a value, if it is there."""
        self._entries.pop(key, None)

    def discard_where(self, condition: Callable[[K], bool]) -> None:
        """Forget all values whose key fulfils the condition."""
        for key in [key for key in self._entries if condition(key)]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


class KeyedLocks(Generic[K]):
    """One lock per key while somebody uses it, for "one at a time, the others look again".

    When the holder is cancelled the next waiter does the work: nobody's cancellation is anybody else's failure.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[K, anyio.Lock] = WeakValueDictionary()

    def lock(self, key: K) -> anyio.Lock:
        """Return the lock of a key; it lives as long as somebody holds or awaits it."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = anyio.Lock()
        return lock
