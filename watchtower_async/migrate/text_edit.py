"""Changes of single places in a YAML text. Whatever is not changed keeps its form, comments and line ends. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from watchtower_async.migrate.yaml_tree import Items, Node, Pairs, Scalar

_PLAIN = re.compile(r"[A-Za-z0-9_./~$][^\s#:,\[\]{}\"']*(?::[^\s#:,\[\]{}\"']+)*")
_PLAIN_BLOCK = re.compile(r"[A-Za-z0-9_./~$][^\s#\"']*[^\s#:\"']")
_LOOKS_LIKE_MORE = re.compile(r"[-+]?[0-9.:_]+|~|true|false|null|yes|no|on|off", re.IGNORECASE)
_DASH = re.compile(r"( *)-")
_STEP = "  "


@dataclass(frozen=True, slots=True)
class Edit:
    """A text in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the changes, which must not overlap."""
    # What is inserted at one place stays in the order in which it was asked for.
    ordered = sorted(enumerate(edits), key=lambda item: (item[1].start, item[0]), reverse=True)
    for _, edit in ordered:
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def written(value: str, *, in_flow: bool = False, like: Scalar | None = None) -> str:
    """Write a text for YAML, in the quotation marks of the one whose place it takes."""
    if like is not None and like.quote == "'":
        return "'" + value.replace("'", "''") + "'"
    form = _PLAIN if in_flow else _PLAIN_BLOCK
    if (like is None or not like.quote) and form.fullmatch(value) and not _LOOKS_LIKE_MORE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def line_end(text: str) -> str:
    """Return how the lines of a text end."""
    return "\r\n" if "\r\n" in text else "\n"


def line_start(text: str, position: int) -> int:
    """Return where the line of a position begins."""
    return text.rfind("\n", 0, position) + 1


def after_line(text: str, position: int) -> int:
    """Return where the line after a position begins; the end of the text where there is none."""
    if position and text[position - 1] == "\n":
        return position
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def insert_lines(text: str, position: int, lines: Iterable[str]) -> Edit:
    """Return the insertion of whole lines where a line begins, or at the end."""
    end = line_end(text)
    missing = end if position and text[position - 1] != "\n" else ""
    return Edit(position, position, missing + "".join(f"{line}{end}" for line in lines))


def column_of(text: str, position: int) -> int:
    """Return how far a position is indented."""
    return position - line_start(text, position)


def append_item(text: str, node: Items, value: str) -> Edit | None:
    """Return the insertion of a text at the end of a sequence; None where its form does not allow one."""
    if node.is_flow:
        return _append_flow(node, node.items[-1] if node.items else None, written(value, in_flow=True))
    if not node.items:
        return None
    match = _DASH.match(text, line_start(text, node.items[0].start))
    return insert_lines(text, after_line(text, node.end), [f"{match[1]}- {written(value)}"]) if match else None


def append_pair(text: str, node: Pairs, key: str, value: str, below: Iterable[str] = ()) -> Edit | None:
    """Return the insertion of a key at the end of a mapping; `below` are items of a sequence in place of the value.

    None where the form of the mapping does not allow an insertion.
    """
    items = tuple(below)
    if node.is_flow:
        shown = f"[{', '.join(written(item, in_flow=True) for item in items)}]" if items else value
        return _append_flow(node, node.pairs[-1][1] if node.pairs else None, f"{key}: {shown}".rstrip())
    if not node.pairs:
        return None
    indent = " " * column_of(text, node.pairs[0][0].start)
    if text[line_start(text, node.pairs[0][0].start) : node.pairs[0][0].start].strip():
        return None
    lines = [f"{indent}{key}: {value}".rstrip(), *(f"{indent}{_STEP}- {written(item)}" for item in items)]
    return insert_lines(text, after_line(text, node.end), lines)


def _append_flow(node: Items | Pairs, last: Node | None, shown: str) -> Edit:
    if last is None:
        return Edit(node.end - 1, node.end - 1, shown)
    return Edit(last.end, last.end, f", {shown}")
