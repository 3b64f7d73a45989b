"""A service of a compose file as it may be shown: its lines, without the values of secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from watchtower_async.migrate.compose_reading import services_in
from watchtower_async.migrate.text import Text, interpolate
from watchtower_async.migrate.text_edit import Edit, after_line, apply, line_start
from watchtower_async.migrate.words import read_words
from watchtower_async.migrate.yaml_tree import Items, Node, Pairs, Scalar, meant, read_tree
from watchtower_async.settings import declared_options

HIDDEN = "(not shown)"
_ONLY_VARIABLES = re.compile(r"(?:\$\{[^}:?+-]*(?:[:?][^}]*)?\}|\$\w+)+", re.ASCII)
_HARMLESS = frozenset({"TZ", "PATH", "HOME", "NO_COLOR", "DOCKER_CONFIG"})


def show_service(text: str, name: str) -> str:
    """Return the lines of a service, and of the volumes that the file declares."""
    root = meant(read_tree(text))
    parts = [(services_in(root).key(name), services_in(root).own(name))]
    if isinstance(root, Pairs):
        parts.append((root.key("volumes"), root.own("volumes")))
    shown = [
        _lines(text, key, node, tuple(_hidden(node)) if isinstance(node, Pairs) else ())
        for key, node in parts
        if key is not None and node is not None
    ]
    return "\n".join(shown)


def _lines(text: str, key: Scalar, node: Node, edits: tuple[Edit, ...]) -> str:
    start, end = line_start(text, key.start), after_line(text, node.end)
    inside = (Edit(edit.start - start, edit.end - start, edit.text) for edit in edits if start <= edit.start < end)
    return apply(text[start:end], inside)


def _hidden(service: Pairs) -> Iterator[Edit]:
    """Yield what puts something else in place of secrets."""
    environment = service.own("environment")
    if isinstance(environment, Pairs):
        for key, value in environment.pairs:
            if isinstance(key, Scalar) and isinstance(value, Scalar) and _is_hidden(key.value, value.value):
                yield Edit(value.start, value.end, HIDDEN)
    elif isinstance(environment, Items):
        for item in environment.items:
            name, _, text = item.value.partition("=") if isinstance(item, Scalar) else ("", "", "")
            if _is_hidden(name, text):
                yield Edit(item.start, item.end, f"{name}={HIDDEN}")
    command = service.own("command")
    if isinstance(command, Items):
        yield from _hidden_words(command)
    elif isinstance(command, Scalar) and any(option in command.value for option in _secret_flags()):
        yield Edit(command.start, command.end, HIDDEN)


def _is_hidden(name: str, value: str) -> bool:
    """Say whether a value may be a secret: it is, unless its variable is known to hold none."""
    shown = {option.env for option in declared_options() if not option.is_secret} | _HARMLESS
    return bool(value) and name not in shown and not _ONLY_VARIABLES.fullmatch(value)


def _hidden_words(command: Items) -> Iterator[Edit]:
    scalars = [item for item in command.items if isinstance(item, Scalar)]
    if len(scalars) < len(command.items):
        return
    words = [Text(interpolate(item.value, {}).value) for item in scalars]
    for flag in read_words(words, declared_options()).flags:
        if flag.value is None or not (flag.option is None or flag.option.is_secret):
            continue
        item = scalars[flag.position]
        if not _ONLY_VARIABLES.fullmatch(flag.value.value):
            yield Edit(item.start, item.end, f"{flag.name}={HIDDEN}" if flag.is_attached else HIDDEN)


def _secret_flags() -> Iterator[str]:
    return (flag for option in declared_options() if option.is_secret for flag in option.flags)
