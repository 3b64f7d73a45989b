"""A YAML text as a tree that knows where in the text each node stands, so that single places of it can be changed.

Anchors, aliases and merge keys stay what they are. Tags are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from watchtower_async.errors import WatchtowerError

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_MERGE = "<<"
_DEEPEST = 50


class ComposeFileError(WatchtowerError):
    """A compose file cannot be read, or not be changed safely. The message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; `start` and `end` are its place, without an anchor before it."""

    value: str
    start: int
    end: int
    quote: str = ""
    """The quotation mark around it, or the sign of a block."""

    @property
    def is_null(self) -> bool:
        """Say whether it is nothing."""
        return not self.quote and self.value in _NULLS


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: tuple[Node, ...]
    start: int
    end: int
    is_flow: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping, in the order of the text."""

    pairs: tuple[tuple[Node, Node], ...]
    start: int
    end: int
    is_flow: bool

    def own(self, key: str) -> Node | None:
        """Return what stands under a key here; of several the last."""
        found = [value for name, value in self.pairs if isinstance(name, Scalar) and name.value == key]
        return found[-1] if found else None

    def key(self, key: str) -> Scalar | None:
        """Return the key itself."""
        found = [name for name, _ in self.pairs if isinstance(name, Scalar) and name.value == key]
        return found[-1] if found else None

    def get(self, key: str) -> Node | None:
        """Return what a key means: through aliases, and from what is merged in."""
        own = self.own(key)
        if own is not None:
            return meant(own)
        for source in self._merged():
            found = source.get(key)
            if found is not None:
                return found
        return None

    def flat(self) -> Iterator[tuple[str, Node]]:
        """Yield keys and what they mean; what is merged in comes first, so that the own one wins."""
        for source in reversed(tuple(self._merged())):
            yield from source.flat()
        for name, value in self.pairs:
            if isinstance(name, Scalar) and name.value != _MERGE:
                yield name.value, meant(value)

    def _merged(self) -> Iterator[Pairs]:
        merged = self.own(_MERGE)
        target = meant(merged) if merged is not None else None
        for source in target.items if isinstance(target, Items) else (target,):
            found = meant(source) if source is not None else None
            if isinstance(found, Pairs):
                yield found


@dataclass(frozen=True, slots=True)
class Alias:
    """A reference to a node that stands elsewhere."""

    target: Node
    start: int
    end: int


Node = Scalar | Items | Pairs | Alias


def meant(node: Node) -> Node:
    """Follow an alias."""
    return meant(node.target) if isinstance(node, Alias) else node


def plain(node: Node) -> Any:
    """Return what a node holds as texts, lists and dictionaries, for comparing."""
    node = meant(node)
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    if isinstance(node, Pairs):
        return {name: plain(value) for name, value in node.flat()}
    return None if isinstance(node, Scalar) and node.is_null else node.value if isinstance(node, Scalar) else None


def read_tree(text: str) -> Node:
    """Read a text of one document. Raises ComposeFileError."""
    try:
        # Only this command needs it, and there is not a build of it for every machine.
        import yaml  # noqa: PLC0415
    except ImportError:
        raise ComposeFileError(
            "reading a compose file needs PyYAML: pip install pyyaml. Without it, give the output of docker inspect"
        ) from None
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise ComposeFileError(f"{place}{getattr(error, 'problem', None) or 'it is not YAML'}") from None
    return _TreeReader(text, events).read()


class _TreeReader:
    """Makes a tree of PyYAML's events."""

    def __init__(self, text: str, events: list[Any]) -> None:
        self._text = text
        self._events = iter(events)
        self._anchors: dict[str, Node] = {}

    def read(self) -> Node:
        """Return the one document."""
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                tree = self._node(next(self._events), 0)
                if any(type(later).__name__ == "DocumentStartEvent" for later in self._events):
                    raise ComposeFileError("it holds several documents; a compose file has one")
                return tree
        raise ComposeFileError("it is empty")

    def _node(self, event: Any, depth: int) -> Node:
        if depth > _DEEPEST:
            raise ComposeFileError("it is nested too deeply")
        start, end = event.start_mark.index, event.end_mark.index
        kind = type(event).__name__
        if kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise ComposeFileError(f"line {event.start_mark.line + 1}: the alias {event.anchor!r} is not known")
            return Alias(self._anchors[event.anchor], start, end)
        match = _PROPERTIES.match(self._text, start, end)
        start = match.end() if match is not None and (event.anchor or event.tag) else start
        node: Node
        if kind == "ScalarEvent":
            node = Scalar(event.value, start, end, event.style or "")
        elif kind == "SequenceStartEvent":
            node = self._items(start, end, bool(event.flow_style), depth)
        else:
            node = self._pairs(start, end, bool(event.flow_style), depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _items(self, start: int, end: int, is_flow: bool, depth: int) -> Items:
        items: list[Node] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(event, depth + 1))
        last = items[-1].end if items else end
        return Items(tuple(items), start, event.end_mark.index if is_flow else last, is_flow)

    def _pairs(self, start: int, end: int, is_flow: bool, depth: int) -> Pairs:
        pairs: list[tuple[Node, Node]] = []
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key = self._node(event, depth + 1)
            pairs.append((key, self._node(next(self._events), depth + 1)))
        last = pairs[-1][1].end if pairs else end
        return Pairs(tuple(pairs), start, event.end_mark.index if is_flow else last, is_flow)
