"""Watchtower services in a compose file. Pure: the files that it names are handed in.

The form is https://docs.docker.com/reference/compose-file/. What is merged from an anchor is read as compose does.
What `extends` and `include` name is not followed, and that is said.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from watchtower_async.migrate.old_service import OldService, program_of
from watchtower_async.migrate.text import Text, interpolate, parse_env_file
from watchtower_async.migrate.yaml_tree import ComposeFileError, Items, Node, Pairs, Scalar, meant

_OUR_PROGRAM = "/watchtower"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a compose file refers to."""

    variables: Mapping[str, str]
    """Of the shell and of the file `.env`."""
    files: Mapping[str, str]
    """Contents of env files by the names that stand in the compose file, as far as they can be read."""


def services_in(tree: Node) -> Pairs:
    """Return the services of a compose file. Raises ComposeFileError."""
    root = meant(tree)
    services = root.get("services") if isinstance(root, Pairs) else None
    if not isinstance(services, Pairs):
        raise ComposeFileError("it has no services; a compose file begins with 'services:'")
    return services


def watchtowers_in(tree: Node, surroundings: Surroundings) -> Iterator[tuple[str, Pairs, OldService]]:
    """Yield the services that run a Watchtower: name, node, and what was read of it."""
    for name, node in services_in(tree).flat():
        image = node.get("image") if isinstance(node, Pairs) else None
        if isinstance(node, Pairs) and isinstance(image, Scalar):
            text = interpolate(image.value, surroundings.variables)
            program = program_of(text.value)
            if program is not None:
                yield name, node, _read(name, text.value, node, surroundings)


def env_files_of(tree: Node) -> tuple[str, ...]:
    """Name the env files of all services."""
    found: list[str] = []
    for _, node in services_in(tree).flat():
        if isinstance(node, Pairs):
            found += [path for path, _ in _env_files(node)]
    return tuple(dict.fromkeys(found))


def _read(name: str, image: str, node: Pairs, surroundings: Surroundings) -> OldService:
    program = program_of(image)
    if program is None:
        raise ComposeFileError(f"{image} is no Watchtower")
    notes: list[str] = []
    if node.get("extends") is not None:
        notes.append("what 'extends' adds to the service was not looked at")
    environment: dict[str, Text] = {}
    for path, is_required in _env_files(node):
        content = surroundings.files.get(path)
        if content is not None:
            environment |= {key: Text(value) for key, value in parse_env_file(content).items()}
        elif is_required:
            notes.append(f"what stands in {path} was not looked at, because it cannot be read here")
    environment |= dict(_environment(node.get("environment"), surroundings.variables))
    words = _words(node.get("command"), surroundings.variables, "command")
    entrypoint = _words(node.get("entrypoint"), surroundings.variables, "entrypoint")
    if entrypoint and entrypoint[0].value != _OUR_PROGRAM:
        notes.append(f"the service has an entrypoint of its own; the program is {_OUR_PROGRAM} here as well")
    return OldService(name, image, program, (*entrypoint[1:], *words), environment, tuple(notes))


def _env_files(node: Pairs) -> Iterator[tuple[str, bool]]:
    found = node.get("env_file")
    for item in found.items if isinstance(found, Items) else (found,):
        entry = meant(item) if item is not None else None
        if isinstance(entry, Scalar) and entry.value:
            yield entry.value, True
        elif isinstance(entry, Pairs) and isinstance(path := entry.get("path"), Scalar):
            required = entry.get("required")
            yield path.value, not (isinstance(required, Scalar) and required.value == "false")


def _environment(node: Node | None, variables: Mapping[str, str]) -> Iterator[tuple[str, Text]]:
    if isinstance(node, Pairs):
        for name, value in node.flat():
            if isinstance(value, Scalar):
                yield name, _from_shell(name, variables) if value.is_null else interpolate(value.value, variables)
    elif isinstance(node, Items):
        for item in map(meant, node.items):
            if isinstance(item, Scalar):
                key, equals, text = item.value.partition("=")
                yield key, interpolate(text, variables) if equals else _from_shell(key, variables)


def _from_shell(name: str, variables: Mapping[str, str]) -> Text:
    """Return a variable that is named without a value: compose passes on that of the shell."""
    return Text(variables[name]) if name in variables else Text(f"${{{name}}}", (name,))


def _words(node: Node | None, variables: Mapping[str, str], what: str) -> tuple[Text, ...]:
    if isinstance(node, Items):
        return tuple(interpolate(item.value, variables) for item in map(meant, node.items) if isinstance(item, Scalar))
    if not isinstance(node, Scalar) or node.is_null:
        return ()
    whole = interpolate(node.value, variables)
    try:
        words = shlex.split(whole.value)
    except ValueError as error:
        raise ComposeFileError(f"the {what} of a Watchtower service cannot be split into words: {error}") from None
    return tuple(Text(word, tuple(name for name in whole.missing if _mentions(word, name))) for word in words)


def _mentions(word: str, name: str) -> bool:
    return f"${name}" in word or f"${{{name}" in word
