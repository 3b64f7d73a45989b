"""What a graph of names tells: who stands in a circle, and in which order to go. Pure, and linear in its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from graphlib import TopologicalSorter

Graph = Mapping[str, AbstractSet[str]]
"""Each name with the names that come before it."""


def find_circles(graph: Graph) -> tuple[frozenset[str], ...]:
    """Return the sets of names that all come before each other. A name before itself is no circle.

    Tarjan's algorithm for strongly connected components, without recursion.
    """
    search = _Search(graph)
    for name in sorted(graph):
        if name not in search.index:
            search.visit(name)
    return tuple(search.circles)


class _Search:
    """One walk over a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.index: dict[str, int] = {}
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
        return iter(sorted(target for target in self._graph[name] if target in self._graph))

    def _reach(self, name: str, index: int) -> None:
        self._lowest[name] = min(self._lowest[name], index)

    def _leave(self, name: str) -> None:
        if self._lowest[name] != self.index[name]:
            return
        found: list[str] = []
        while not found or found[-1] != name:
            found.append(self._path.pop())
        self._on_path.difference_update(found)
        if len(found) > 1:
            self.circles.append(frozenset(found))


def positions(graph: Graph) -> dict[str, int]:
    """Number the names so that each has a greater number than what comes before it. The graph has no circles."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(graph):
        sorter.add(name, *sorted(target for target in graph[name] if target in graph and target != name))
    return {name: number for number, name in enumerate(sorter.static_order())}


def reverse(graph: Graph) -> dict[str, set[str]]:
    """Return for each name those that it comes before."""
    after: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            if target in after:
                after[target].add(name)
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
