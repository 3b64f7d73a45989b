"""The words of a Go template: texts, actions, and the tokens of an action.

The grammar is that of Go's `text/template`. A `{{- ` or ` -}}` takes the white space beside it away. It is done here,
so that nothing of it is left to translate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ACTION = re.compile(r"\{\{(?P<trim>-(?=\s))?")
_COMMENT = re.compile(r"\s*/\*.*?\*/\s*?(?P<trim>(?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<end>\}\})
    | (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.)+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)(?![\w.]))
    | (?P<field>\.[A-Za-z_]\w*)
    | (?P<dot>\.)
    | (?P<variable>\$\w*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<declare>:=|=)
    | (?P<sign>[|(),])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an action."""

    kind: str
    text: str
    line: int
    is_spaced: bool
    """Whether white space comes before it, which is what separates arguments from a chain of fields."""


def read_pieces(text: str) -> Iterator[str | list[Token]]:
    """Yield texts and actions in turn, trimmed as the actions ask; comments are left out."""
    position, trims_next = 0, False
    while (start := _ACTION.search(text, position)) is not None:
        before = text[position : start.start()]
        before = before.lstrip() if trims_next else before
        yield before.rstrip() if start["trim"] else before
        line = text.count("\n", 0, start.start()) + 1
        if comment := _COMMENT.match(text, start.end()):
            position, trims_next = comment.end(), comment["trim"] is not None
            continue
        tokens, position, trims_next = _read_tokens(text, start.end(), line)
        yield tokens
    rest = text[position:]
    yield rest.lstrip() if trims_next else rest


def _read_tokens(text: str, position: int, line: int) -> tuple[list[Token], int, bool]:
    """Read up to the closing braces; say where they end and whether they trim what follows."""
    tokens: list[Token] = []
    is_spaced = False
    while True:
        if is_spaced and text.startswith("-}}", position):
            return tokens, position + 3, True
        match = _TOKEN.match(text, position)
        if match is None:
            shown = text[position : position + 12].partition("\n")[0]
            what = f"{shown!r} cannot be read" if shown else "an action is not closed by }}"
            raise ValueError(f"line {line}: {what}")
        kind = match.lastgroup or ""
        if kind == "end":
            return tokens, match.end(), False
        if kind == "space":
            line += match[0].count("\n")
        else:
            tokens.append(Token(kind, match[0], line, is_spaced))
        is_spaced = kind == "space"
        position = match.end()


class Reader:
    """Hands out the tokens of one action."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self.line = tokens[0].line if tokens else 0

    @property
    def peek(self) -> Token | None:
        """Return the next token and leave it there."""
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def take(self) -> Token:
        """Return the next token. Raises ValueError at the end."""
        token = self.peek
        if token is None:
            raise ValueError(f"line {self.line}: something is missing at the end of this action")
        self._next += 1
        self.line = token.line
        return token

    def take_if(self, *texts: str) -> bool:
        """Take the next token if it is one of these."""
        token = self.peek
        if token is None or token.text not in texts or token.kind in {"text", "char"}:
            return False
        self.take()
        return True

    def looks_like(self, *kinds: str) -> bool:
        """Say whether tokens of these kinds come next."""
        found = [token.kind for token in self._tokens[self._next : self._next + len(kinds)]]
        return found == list(kinds)

    def end(self) -> None:
        """Raise ValueError unless all is read."""
        token = self.peek
        if token is not None:
            raise ValueError(f"line {token.line}: {token.text!r} is not understood here")


def read_text(token: Token) -> str:
    """Return what a text in quotes or backquotes holds."""
    return token.text[1:-1] if token.text[0] == "`" else unescape(token.text[1:-1])


def unescape(text: str) -> str:
    """Return a text with its backslashes carried out."""

    def put(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            return chr(int(code, 16))
        return _ESCAPES.get(match[4], match[4])

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", put, text)
