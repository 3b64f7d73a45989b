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
    """Find circles and order. Names that do not depend on each other keep the order of the graph.

    This is Tarjan's algorithm for strongly connected components, without recursion. It leaves a component when it has
    left all that come before, which is an order to go in.
    """
    search = _Search(graph)
    for name in graph:
        search.visit(name)
    return Walk(tuple(search.circles), search.position)


class _Search:
    """The walk. What is known about a name beside its position is dropped when the name is left."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.position: dict[str, int] = {}
        self.circles: list[frozenset[str]] = []
        self._path: list[str] = []
        self._entered: dict[str, int] = {}
        self._lowest: dict[str, int] = {}

    def visit(self, start: str) -> None:
        """Walk over everything that can be reached from here and was not yet."""
        if start in self.position:
            return
        work = [(start, self._enter(start))]
        while work:
            name, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                lowest = self._lowest[name]
                self._leave(name)
                if work:
                    self._reach(work[-1][0], lowest)
            elif target in self._entered:
                self._reach(name, self._entered[target])
            elif target not in self.position:
                work.append((target, self._enter(target)))

    def _enter(self, name: str) -> Iterator[str]:
        self._entered[name] = self._lowest[name] = len(self._path)
        self._path.append(name)
        targets = self._graph[name]
        return iter(sorted(target for target in targets if target in self._graph) if targets else ())

    def _reach(self, name: str, place: int) -> None:
        self._lowest[name] = min(self._lowest[name], place)

    def _leave(self, name: str) -> None:
        place = self._entered[name]
        if self._lowest[name] != place:
            return
        found = self._path[place:]
        del self._path[place:]
        for member in reversed(found):
            self.position[member] = len(self.position)
            del self._entered[member], self._lowest[member]
        if len(found) > 1:
            self.circles.append(frozenset(found))


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
