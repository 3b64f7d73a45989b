"""What a graph of names tells: who stands in a circle, and in which order to go. Pure, and linear in its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Graph = Mapping[str, AbstractSet[str]]
"""Each name with the names that come before it. Others than the keys do not count."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What is found on one walk over a graph."""

    circles: tuple[frozenset[str], ...]
    """The sets of names that all come before each other. A name before itself is no circle."""
    position: Mapping[str, int]
    """A number for each name: greater than those of all that come before it, except in a circle."""


def walk(graph: Graph) -> Walk:
    """Find circles and order.

    This is Tarjan's algorithm for strongly connected components, without recursion. It leaves a component when it has
    left all that come before, which is an order to go in.
    """
    search = _Search(graph)
    for name in sorted(graph):
        if name not in search.index:
            search.visit(name)
    return Walk(tuple(search.circles), {name: number for number, name in enumerate(search.left)})


class _Search:
    """The walk."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.index: dict[str, int] = {}
        self.left: list[str] = []
        self.circles: list[frozenset[str]] = []
        self._lowest: dict[str, int] = {}
        self._path: list[str] = []
        self._on_path: set[str] = set()

    def visit(self, start: str) -> None:
        """Walk over everything that can be reached from here."""
        work = [(start, self._enter(start))]
        while work:
            name, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                self._leave(name)
                if work:
                    self._reach(work[-1][0], self._lowest[name])
            elif target not in self.index:
                work.append((target, self._enter(target)))
            elif target in self._on_path:
                self._reach(name, self.index[target])

    def _enter(self, name: str) -> Iterator[str]:
        self.index[name] = self._lowest[name] = len(self.index)
        self._path.append(name)
        self._on_path.add(name)
        targets = self._graph[name]
        return iter(sorted(targets & self._graph.keys()) if targets else ())

    def _reach(self, name: str, index: int) -> None:
        self._lowest[name] = min(self._lowest[name], index)

    def _leave(self, name: str) -> None:
        if self._lowest[name] != self.index[name]:
            return
        found: list[str] = []
        while not found or found[-1] != name:
            found.append(self._path.pop())
        self._on_path.difference_update(found)
        self.left += found
        if len(found) > 1:
            self.circles.append(frozenset(found))


def reverse(graph: Graph) -> dict[str, set[str]]:
    """Return those that a name comes before, for each name that comes before any."""
    after: dict[str, set[str]] = {}
    for name, targets in graph.items():
        for target in targets:
            after.setdefault(target, set()).add(name)
    return after


class Union:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._parent

    def add(self, name: str) -> None:
        """Put a name into a set of its own, if it is in none."""
        self._parent.setdefault(name, name)

    def join(self, one: str, other: str) -> None:
        """Make one set of two."""
        self.add(one)
        self.add(other)
        self._parent[self.root(other)] = self.root(one)

    def root(self, name: str) -> str:
        """Return the member of a name's set that stands for it."""
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def sets(self) -> list[list[str]]:
        """Return all sets."""
        found: dict[str, list[str]] = {}
        for name in self._parent:
            found.setdefault(self.root(name), []).append(name)
        return list(found.values())
