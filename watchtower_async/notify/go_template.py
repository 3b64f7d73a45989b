"""Go templates (`text/template`), as Jinja2 templates with the same output.

Translated are the actions and functions that Watchtower's own templates and the examples of its documentation use:
`range`, `with`, `if` with their `else`, variables, comments, trimming, pipelines, comparisons, `len`, `index`, `print`,
`printf`, `println`, and Watchtower's own functions. Everything else is refused with its line and, where there is one,
the Jinja2 spelling of it: a template that is translated half would say something wrong for months.

Go's dot is what a block is about. It becomes an expression here: `.Name` inside `range .Report.Updated` is
`item1.name`. Variables live in one namespace `v`, because Go's blocks may set what is outside of them and those of
Jinja2 may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watchtower_async.notify.go_lexer import Reader, Token, read_pieces, read_text, unescape

_GO_ONLY = re.compile(
    r"\{\{-?[\s(]*(?:\.|\$|`|/\*|(?:range|with|if|else|end|define|template|block|break|continue)\b"
    r"|(?:len|index|slice|print|printf|println|eq|ne|and|or|not|js|call|To[A-Z]\w*|RFC1123|html|urlquery)\s+[.$\"`(\w]"
    r"|println?\s*-?\}\})|\{\{[^{}]*\|\s*(?:To[A-Z]\w*|RFC1123|print\w*)\b"
)
"""What can only be Go: in Jinja2 no expression begins with a dot or a dollar, and statements have other brackets."""
_JINJA_STATEMENT = re.compile(r"\{%|\{#")

_FIELDS: Mapping[str, str] = {
    "Title": "title", "Host": "host", "Entries": "entries", "Report": "report",
    "Message": "message", "Level": "level", "Time": "time", "Data": "data",
    "Scanned": "scanned", "Updated": "updated", "Restarted": "restarted", "Failed": "failed", "Skipped": "skipped",
    "Stale": "stale", "Fresh": "fresh", "All": "all",
    "ID": "id", "Name": "name", "ImageName": "image", "CurrentImageID": "old_image_id",
    "LatestImageID": "new_image_id", "Error": "error", "State": "state", "IsMonitorOnly": "is_monitor_only",
    "NewContainerID": "new_id", "CurrentImageVersion": "old_version", "LatestImageVersion": "new_version",
    "CurrentImageRevision": "old_revision", "LatestImageRevision": "new_revision", "OCISource": "source",
}  # fmt: skip
_FILTERS: Mapping[str, str] = {
    "len": "length", "html": "escape", "urlquery": "urlencode", "ToUpper": "upper", "ToLower": "lower",
    "Title": "title", "ToJSON": "to_json", "ToPorcelainJSON": "to_porcelain_json", "RFC1123": "rfc1123",
}  # fmt: skip
_PRINTERS: Mapping[str, str] = {"print": "go_print", "printf": "go_printf", "println": "go_println"}
_COMPARISONS: Mapping[str, str] = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_REFUSED: Mapping[str, str] = {
    "define": "{% macro name(item) %}…{% endmacro %}",
    "template": "{{ name(item) }} with a macro of that name",
    "block": "{% macro name(item) %}…{% endmacro %} and {{ name(item) }}",
    "js": "{{ value | tojson }}",
    "call": "{{ function(value) }}",
}


@dataclass(frozen=True, slots=True)
class _Expression:
    """A Jinja2 expression; `is_closed` when an operator beside it cannot take a part of it."""

    text: str
    is_closed: bool = True

    @property
    def inner(self) -> str:
        """Return it as part of another."""
        return self.text if self.is_closed else f"({self.text})"


@dataclass(slots=True)
class _Block:
    kind: str
    line: int
    dot: _Expression
    """The dot outside of the block."""
    names: dict[str, str]
    """The variables that are known outside of it."""
    has_else: bool = False


@dataclass(slots=True)
class _State:
    """Where the translation has got to."""

    is_report: bool
    dot: _Expression
    names: dict[str, str] = field(default_factory=dict)
    blocks: list[_Block] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    numbers: int = 0
    uses_variables: bool = False

    def number(self) -> int:
        """Return a number that no other name has."""
        self.numbers += 1
        return self.numbers


def is_go_template(text: str) -> bool:
    """Say whether a text is a Go template, and not Jinja2 or plain text."""
    found = _GO_ONLY.search(text)
    return found is not None and (not _JINJA_STATEMENT.search(text) or "{{end}}" in re.sub(r"[\s-]", "", text))


def translate_go_template(text: str, *, is_report: bool) -> str:
    """Return the Jinja2 template with the same output.

    `is_report` says what the dot is at the top: the object with the report, or the list of entries. Raises ValueError
    that names the line and the Jinja2 spelling.
    """
    state = _State(is_report=is_report, dot=_Expression("root" if is_report else "entries"))
    for piece in read_pieces(text):
        if isinstance(piece, str):
            state.out.append(_literal(piece))
        else:
            _write_action(state, Reader(piece))
    if state.blocks:
        block = state.blocks[-1]
        raise ValueError(f"line {block.line}: {{{{{block.kind}}}}} has no {{{{end}}}}")
    start = "{% set v = namespace() %}" if state.uses_variables else ""
    return start + "".join(state.out)


def _literal(text: str) -> str:
    """Return a text as Jinja2 would print it, also where it holds or makes up one of its brackets."""
    text = re.sub(r"\{[%#]", lambda match: f'{{{{ "{match[0]}" }}}}', text)
    return f'{text[:-1]}{{{{ "{{" }}}}' if text.endswith("{") else text


def _write_action(state: _State, reader: Reader) -> None:
    first = reader.peek
    if first is None:
        raise ValueError("an action is empty: write {{ value }}")
    writer = _STATEMENTS.get(first.text) if first.kind == "word" else None
    if writer is not None:
        reader.take()
        writer(state, reader)
    elif first.kind == "word" and first.text in _REFUSED:
        raise _refusal(first)
    elif name := _declared_name(reader):
        _write_assignment(state, reader, name)
    else:
        state.out.append(f"{{{{ {_pipeline(state, reader).text} }}}}")
    reader.end()


def _refusal(token: Token) -> ValueError:
    return ValueError(f"line {token.line}: {token.text} is not translated; in Jinja2 it is {_REFUSED[token.text]}")


def _declared_name(reader: Reader) -> str:
    """Take `$name :=` or `$name =`, and return it with its sign; empty where there is none."""
    if not reader.looks_like("variable", "declare"):
        return ""
    return reader.take().text + reader.take().text


def _write_assignment(state: _State, reader: Reader, declared: str) -> None:
    name, is_new = declared.removesuffix("=").removesuffix(":"), declared.endswith(":=")
    line = reader.line
    value = _pipeline(state, reader)
    if not is_new and name not in state.names:
        raise ValueError(f"line {line}: {name} is not declared; in Jinja2 it is {{% set {name[1:]} = … %}}")
    target = _new_variable(state, name) if is_new else state.names[name]
    state.out.append(f"{{% set {target} = {value.text} %}}")


def _new_variable(state: _State, name: str) -> str:
    state.uses_variables = True
    known = set(state.names.values())
    target = f"v.{name[1:]}"
    while target in known:
        target = f"v.{name[1:]}_{state.number()}"
    state.names[name] = target
    return target


def _open(state: _State, kind: str, reader: Reader) -> None:
    state.blocks.append(_Block(kind, reader.line, state.dot, dict(state.names)))


def _write_if(state: _State, reader: Reader) -> None:
    _open(state, "if", reader)
    state.out.append(f"{{% if {_condition(state, reader).text} %}}")


def _write_with(state: _State, reader: Reader) -> None:
    _open(state, "with", reader)
    value = _condition(state, reader)
    state.out.append(f"{{% if {value.text} %}}")
    state.dot = value


def _condition(state: _State, reader: Reader) -> _Expression:
    """Read what a block depends on, which may be kept in a variable."""
    declared = _declared_name(reader)
    if not declared:
        return _pipeline(state, reader)
    _write_assignment(state, reader, declared)
    return _Expression(state.names[declared.removesuffix("=").removesuffix(":")])


def _write_range(state: _State, reader: Reader) -> None:
    _open(state, "range", reader)
    names = _range_names(reader)
    value = _pipeline(state, reader)
    number = state.number()
    item = f"item{number}"
    if len(names) == 2 or value.text.endswith(".data"):
        state.out.append(f"{{% for key{number}, {item} in {value.inner} | go_pairs %}}")
    else:
        state.out.append(f"{{% for {item} in {value.text} %}}")
    # Loop variables are set anew each time round, so they need no place in the namespace.
    if names:
        state.names[names[-1]] = item
    if len(names) == 2:
        state.names[names[0]] = f"key{number}"
    state.dot = _Expression(item)


def _range_names(reader: Reader) -> tuple[str, ...]:
    if reader.looks_like("variable", "sign", "variable", "declare"):
        first = reader.take().text
        reader.take()
        second = reader.take().text
        reader.take()
        return first, second
    if reader.looks_like("variable", "declare"):
        name = reader.take().text
        reader.take()
        return (name,)
    return ()


def _write_else(state: _State, reader: Reader) -> None:
    if not state.blocks or state.blocks[-1].has_else:
        raise ValueError(f"line {reader.line}: {{{{else}}}} belongs to no block")
    block = state.blocks[-1]
    state.dot, state.names = block.dot, dict(block.names)
    following = reader.peek
    if block.kind != "range" and reader.take_if("if", "with"):
        # What it begins is closed by the same end, so it takes this block's place.
        assert following is not None
        if reader.looks_like("variable", "declare"):
            raise ValueError(f"line {reader.line}: a variable in {{{{else if}}}} is not translated: set it before")
        value = _pipeline(state, reader)
        state.out.append(f"{{% elif {value.text} %}}")
        state.dot = value if following.text == "with" else block.dot
        return
    block.has_else = True
    state.out.append("{% else %}")


def _write_end(state: _State, reader: Reader) -> None:
    if not state.blocks:
        raise ValueError(f"line {reader.line}: {{{{end}}}} closes nothing")
    block = state.blocks.pop()
    state.dot, state.names = block.dot, block.names
    state.out.append("{% endfor %}" if block.kind == "range" else "{% endif %}")


def _write_loop_word(word: str) -> Callable[[_State, Reader], None]:
    def write(state: _State, reader: Reader) -> None:
        if not any(block.kind == "range" for block in state.blocks):
            raise ValueError(f"line {reader.line}: {{{{{word}}}}} is outside of a range")
        state.out.append(f"{{% {word} %}}")

    return write


_STATEMENTS: Mapping[str, Callable[[_State, Reader], None]] = {
    "if": _write_if,
    "with": _write_with,
    "range": _write_range,
    "else": _write_else,
    "end": _write_end,
    "break": _write_loop_word("break"),
    "continue": _write_loop_word("continue"),
}


def _pipeline(state: _State, reader: Reader) -> _Expression:
    """Read commands with bars between them; each one's value is the last argument of the next."""
    value = _command(state, reader, None)
    while reader.take_if("|"):
        value = _command(state, reader, value)
    return value


def _command(state: _State, reader: Reader, piped: _Expression | None) -> _Expression:
    token = reader.peek
    if token is not None and token.kind == "word" and token.text not in {"true", "false", "nil"}:
        reader.take()
        return _call(token, [*_arguments(state, reader), *([piped] if piped else [])])
    value = _operand(state, reader)
    if isinstance(value, _Method):
        return value.call([*_arguments(state, reader), *([piped] if piped else [])])
    if piped is not None:
        raise ValueError(f"line {reader.line}: only a function can stand behind a bar")
    return value


def _arguments(state: _State, reader: Reader) -> list[_Expression]:
    found: list[_Expression] = []
    while (token := reader.peek) is not None and token.text not in {"|", ")"}:
        if token.kind == "word" and token.text not in {"true", "false", "nil"}:
            reader.take()
            found.append(_call(token, []))
            continue
        value = _operand(state, reader)
        found.append(value.call([]) if isinstance(value, _Method) else value)
    return found


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of Go's time that takes an argument."""

    owner: _Expression
    name: str
    line: int

    def call(self, arguments: list[_Expression]) -> _Expression:
        """Return the call."""
        if self.name != "Format" or len(arguments) != 1:
            raise ValueError(f"line {self.line}: .{self.name} needs the form of the time; in Jinja2 see strftime")
        return _Expression(f"{self.owner.inner} | go_time({arguments[0].text})", is_closed=False)


def _operand(state: _State, reader: Reader) -> _Expression | _Method:
    """Read a value and the fields behind it."""
    token = reader.take()
    value = _primary(state, reader, token)
    if token.kind == "field":
        value = _field(state.dot, token)
    while (following := reader.peek) is not None and following.kind == "field" and not following.is_spaced:
        if isinstance(value, _Method):
            value = value.call([])
        value = _field(value, reader.take())
    return value


def _primary(state: _State, reader: Reader, token: Token) -> _Expression | _Method:
    match token.kind:
        case "dot" | "field":
            return state.dot
        case "variable":
            return _variable(state, token)
        case "text":
            return _Expression(json.dumps(read_text(token), ensure_ascii=False))
        case "char":
            return _Expression(str(ord(unescape(token.text[1:-1]))))
        case "number":
            return _Expression(str(int(token.text, 16)) if "x" in token.text.lower() else token.text.lstrip("+"))
        case "word":
            return _Expression({"true": "true", "false": "false", "nil": "none"}[token.text])
    if token.text != "(":
        raise ValueError(f"line {token.line}: {token.text!r} is not understood here")
    inner = _pipeline(state, reader)
    if not reader.take_if(")"):
        raise ValueError(f"line {reader.line}: a parenthesis is not closed")
    return _Expression(inner.inner)


def _variable(state: _State, token: Token) -> _Expression:
    if token.text == "$":
        return _Expression("root" if state.is_report else "entries")
    name = state.names.get(token.text)
    if name is None:
        raise ValueError(f"line {token.line}: {token.text} is not declared")
    return _Expression(name)


def _field(owner: _Expression, token: Token) -> _Expression | _Method:
    """Return a field of a value; what is in lower case can only be a key of an entry's data."""
    name = token.text[1:]
    if owner.text.endswith(".data") or not name[0].isupper():
        return _Expression(f'{owner.inner}["{name}"]')
    if name == "ShortID":
        return _Expression(f"{owner.inner} | short", is_closed=False)
    if name == "String":
        return owner
    if name == "Format":
        return _Method(owner, name, token.line)
    known = _FIELDS.get(name)
    if known is None:
        raise ValueError(f"line {token.line}: .{name} is not known; the fields are {', '.join(sorted(_FIELDS))}")
    if owner.text == "root":
        return _Expression(known)
    if owner.text == "entries":
        raise ValueError(
            f"line {token.line}: .{name} is not there: without --notification-report a template gets the list of "
            f"entries; in Jinja2 it is {{{{ {known} }}}}"
        )
    return _Expression(f"{owner.inner}.{known}")


def _call(token: Token, arguments: list[_Expression]) -> _Expression:
    """Return a call of a function with its arguments."""
    name, inner = token.text, [argument.inner for argument in arguments]
    if name in _FILTERS and len(inner) == 1:
        return _Expression(f"{inner[0]} | {_FILTERS[name]}", is_closed=False)
    if name in _PRINTERS:
        return _Expression(f"{_PRINTERS[name]}({', '.join(argument.text for argument in arguments)})")
    if name == "eq" and len(inner) > 2:
        return _Expression(" or ".join(f"{inner[0]} == {other}" for other in inner[1:]), is_closed=False)
    if name in _COMPARISONS and len(inner) == 2:
        return _Expression(f"{inner[0]} {_COMPARISONS[name]} {inner[1]}", is_closed=False)
    if name in {"and", "or"} and inner:
        return _Expression(f" {name} ".join(inner), is_closed=len(inner) == 1)
    if name == "not" and len(inner) == 1:
        return _Expression(f"not {inner[0]}", is_closed=False)
    if name == "index" and len(inner) > 1:
        return _Expression(inner[0] + "".join(f"[{argument.text}]" for argument in arguments[1:]))
    if name == "slice" and 1 <= len(inner) <= 3:
        return _Expression(f"{inner[0]}[{':'.join([*inner[1:], '', ''][:2])}]")
    if name in _REFUSED:
        raise _refusal(token)
    known = {*_FILTERS, *_PRINTERS, *_COMPARISONS, "and", "or", "not", "index", "slice"}
    if name in known:
        raise ValueError(f"line {token.line}: {name} has {len(inner)} arguments, which is not what it takes")
    raise ValueError(f"line {token.line}: {name} is not known; the functions are {', '.join(sorted(known))}")
