"""Turns a Watchtower service of a compose file into one of ours by changing single places of the text. Pure.

Three things change and nothing else: the image; a volume for what the updater remembers; and, where the file with the
registry logins is mounted by itself, its directory in its place, because a login that `docker login` replaces is not
seen through the mount of a single file.

What the new text means is compared with the old one. A text that would change anything else is never returned.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.migrate.finding import Finding, FindingKind
from watchtower_async.migrate.old_service import CONFIG_DIRECTORY, STATE_DIRECTORY, OldService
from watchtower_async.migrate.text_edit import (
    Edit,
    after_line,
    append_item,
    append_pair,
    apply,
    column_of,
    insert_lines,
    line_end,
    written,
)
from watchtower_async.migrate.yaml_tree import ComposeFileError, Items, Node, Pairs, Scalar, meant, plain, read_tree

_CONFIG_FILE = "config.json"
_CONFIG_VARIABLE = "DOCKER_CONFIG"
_PARTS = re.compile(r"(?:\$\{[^}]*\}|[^:])+")
_HOMES = re.compile(r"[.~/]|\.\.|/root|/home/[^/]+|\$\{?(?:HOME|PWD)\}?", re.ASCII)
_IN_FILE, _IN_SERVICE, _IN_PART = range(3)
_SERVICES, _VOLUMES, _IMAGE, _ENVIRONMENT = "services", "volumes", "image", "environment"


@dataclass(frozen=True, slots=True)
class EditedFile:
    """The new text of a compose file and what was done to it."""

    text: str = field(repr=False)
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Mount:
    """One volume of a service, as it is written."""

    node: Node
    source: str
    target: str
    mode: str


@dataclass(slots=True)
class _Work:
    text: str
    service: OldService
    node: Pairs
    project_directory: str
    edits: list[tuple[int, Edit]] = field(default_factory=list)
    """With the depth at which each stands."""
    targets: set[str] = field(default_factory=lambda: {STATE_DIRECTORY})
    """Places in the container whose mounts may change."""
    findings: list[Finding] = field(default_factory=list)

    def edited(self, name: str, text: str) -> None:
        self.findings.append(Finding(FindingKind.EDITED, name, text))

    def advise(self, name: str, text: str) -> None:
        self.findings.append(Finding(FindingKind.ADVICE, name, text))


def edit_service(text: str, service: OldService, *, image: str, project_directory: str = "") -> EditedFile:
    """Return the text with the service on our image. Raises ComposeFileError where that cannot be done safely.

    `project_directory` is where the compose file is: that directory is never mounted as a whole.
    """
    text = text if text.endswith("\n") else text + line_end(text)
    tree = read_tree(text)
    node = _service_node(tree, service.name)
    work = _Work(text, service, node, project_directory)
    _change_image(work, image)
    _mount_directory_of_logins(work)
    _mount_state(work, tree)
    # Where several insertions meet, that into the inner part comes first, or it would be in the outer one.
    work.edits.sort(key=lambda item: -item[0])
    new = apply(text, (edit for _, edit in work.edits))
    _compare(text, new, work, image)
    return EditedFile(new, tuple(work.findings))


def _service_node(tree: Node, name: str) -> Pairs:
    root = meant(tree)
    services = root.own(_SERVICES) if isinstance(root, Pairs) else None
    node = services.own(name) if isinstance(services, Pairs) else None
    if not isinstance(node, Pairs):
        raise ComposeFileError(f"service {name!r} stands in an anchor that others may use: change it by hand")
    return node


def _change_image(work: _Work, image: str) -> None:
    old = work.node.own(_IMAGE)
    if old is None:
        added = append_pair(work.text, work.node, _IMAGE, written(image, in_flow=work.node.is_flow))
        if added is None:
            raise ComposeFileError(f"service {work.service.name!r} has a form that cannot be changed: do it by hand")
        work.edits.append((_IN_SERVICE, added))
    else:
        like = old if isinstance(old, Scalar) else None
        if like is not None and like.quote in {"|", ">"}:
            raise ComposeFileError(f"the image of service {work.service.name!r} is a block of text: change it by hand")
        new = Edit(old.start, old.end, written(image, in_flow=work.node.is_flow, like=like))
        work.edits.append((_IN_SERVICE, new))
    work.edited(_IMAGE, f"{work.service.image} becomes {image}")


def _mount_directory_of_logins(work: _Work) -> None:
    """Mount the directory in place of the file with the logins, where one is mounted and its directory is its own."""
    directory = work.service.config_directory
    path = posixpath.join(directory, _CONFIG_FILE)
    mount = next((item for item in _mounts(work.node) if posixpath.normpath(item.target) == path), None)
    if mount is None:
        return
    source, file_name = posixpath.split(mount.source)
    name = _VOLUMES
    reason = _why_not(work, source, file_name)
    if reason:
        work.advise(
            name,
            f"{path} is mounted as a single file, so that a new login is seen only by a new container; {reason}: "
            f"put it into a directory of its own, mount that at {CONFIG_DIRECTORY}, and set {_CONFIG_VARIABLE} to it",
        )
        return
    target = directory if directory != "/" else CONFIG_DIRECTORY
    if directory == "/":
        added = _add_variable(work, _CONFIG_VARIABLE, target)
        if added is None:
            work.advise(name, f"mount {source} at {target} in place of its file, and set {_CONFIG_VARIABLE} to it")
            return
        work.edits.append((_IN_SERVICE if work.node.own(_ENVIRONMENT) is None else _IN_PART, added))
        work.edited(_CONFIG_VARIABLE, f"is {target}, where the logins are now")
    work.edits += [(_IN_PART, edit) for edit in _moved(mount, source, target)]
    work.targets |= {path, target}
    work.edited(name, f"the directory {source} is mounted at {target}, in place of its file {_CONFIG_FILE}")


def _why_not(work: _Work, directory: str, file_name: str) -> str:
    """Say why the directory of a file is not mounted as a whole; empty where it may be."""
    if file_name != _CONFIG_FILE:
        return f"here its name is {file_name}"
    is_project = bool(work.project_directory) and posixpath.normpath(directory) == work.project_directory
    if not directory or _HOMES.fullmatch(posixpath.normpath(directory)) or is_project:
        return "there is more in its directory than logins"
    if _CONFIG_VARIABLE in work.service.environment and work.service.config_directory == "/":
        return f"{_CONFIG_VARIABLE} names the root directory"
    return ""


def _mounts(node: Pairs) -> Iterator[_Mount]:
    volumes = node.own(_VOLUMES)
    for item in volumes.items if isinstance(volumes, Items) else ():
        if isinstance(item, Scalar):
            parts = _PARTS.findall(item.value)
            if len(parts) > 1:
                yield _Mount(item, parts[0], parts[1], ":".join(parts[2:]))
        elif isinstance(item, Pairs):
            source, target = item.own("source"), item.own("target")
            if isinstance(source, Scalar) and isinstance(target, Scalar):
                yield _Mount(item, source.value, target.value, "")


def _moved(mount: _Mount, source: str, target: str) -> Iterator[Edit]:
    if isinstance(mount.node, Scalar):
        mode = mount.mode or "ro"
        text = written(f"{source}:{target}:{mode}", like=mount.node)
        yield Edit(mount.node.start, mount.node.end, text)
    elif isinstance(mount.node, Pairs):
        for key, value in (("source", source), ("target", target)):
            old = mount.node.own(key)
            if isinstance(old, Scalar):
                yield Edit(old.start, old.end, written(value, in_flow=mount.node.is_flow, like=old))


def _add_variable(work: _Work, name: str, value: str) -> Edit | None:
    node = work.node.own(_ENVIRONMENT)
    if isinstance(node, Pairs):
        return append_pair(work.text, node, name, written(value, in_flow=node.is_flow))
    if isinstance(node, Items):
        return append_item(work.text, node, f"{name}={value}")
    if node is None and work.node.get(_ENVIRONMENT) is None:
        return append_pair(work.text, work.node, _ENVIRONMENT, "", [f"{name}={value}"])
    return None


def _mount_state(work: _Work, tree: Node) -> None:
    """Add a volume for what the updater remembers, unless something is mounted there."""
    volumes = work.node.get(_VOLUMES)
    targets = {posixpath.normpath(item.target) for item in _mounts(work.node)}
    if STATE_DIRECTORY in targets:
        return
    root = meant(tree)
    volume = _free_name(root, f"{work.service.name}-state")
    mount = f"{volume}:{STATE_DIRECTORY}"
    own = work.node.own(_VOLUMES)
    added = None
    if isinstance(own, Items):
        added = append_item(work.text, own, mount)
    elif own is None and volumes is None:
        added = append_pair(work.text, work.node, _VOLUMES, "", [mount])
    declared = _declare_volume(work, root, volume) if added is not None else None
    if added is None or declared is None:
        work.advise(_VOLUMES, f"add a named volume at {STATE_DIRECTORY} by hand")
        return
    work.edits += [(_IN_SERVICE if own is None else _IN_PART, added), (_IN_FILE, declared)]
    work.edited(_VOLUMES, f"the volume {volume} keeps what was refused or rolled back")


def _free_name(root: Node, wanted: str) -> str:
    volumes = root.get(_VOLUMES) if isinstance(root, Pairs) else None
    taken = {name for name, _ in volumes.flat()} if isinstance(volumes, Pairs) else set()
    number = 1
    name = wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _declare_volume(work: _Work, root: Node, volume: str) -> Edit | None:
    if not isinstance(root, Pairs):
        return None
    volumes = root.own(_VOLUMES)
    key = root.key(_VOLUMES)
    if isinstance(volumes, Pairs):
        return append_pair(work.text, volumes, volume, "" if not volumes.is_flow else "null")
    if volumes is None:
        if root.is_flow:
            return append_pair(work.text, root, _VOLUMES, f"{{{volume}: null}}")
        indent = " " * column_of(work.text, root.pairs[0][0].start)
        # At the end of the text: in front of a closing comment it would look as if that belonged to it.
        return insert_lines(work.text, len(work.text), ["", f"{indent}{_VOLUMES}:", f"{indent}  {volume}:"])
    if isinstance(volumes, Scalar) and volumes.is_null and key is not None and not root.is_flow and not volumes.value:
        indent = " " * (column_of(work.text, key.start) + 2)
        return insert_lines(work.text, after_line(work.text, volumes.end), [f"{indent}{volume}:"])
    return None


def _compare(old_text: str, new_text: str, work: _Work, image: str) -> None:
    """Raise ComposeFileError unless the new text means what it should, and the same as before everywhere else."""
    old, new = plain(read_tree(old_text)), plain(read_tree(new_text))
    service = work.service
    was, now = old[_SERVICES][service.name], new[_SERVICES][service.name]
    is_right = (
        now[_IMAGE] == image
        and _rest(old, service.name) == _rest(new, service.name)
        and _rest_of_service(was) == _rest_of_service(now)
        and _variables(was) == {key: value for key, value in _variables(now).items() if _is_kept(key, was)}
        and _other_mounts(was, work.targets) == _other_mounts(now, work.targets)
        and _is_part(old.get(_VOLUMES), new.get(_VOLUMES))
    )
    if not is_right:
        raise ComposeFileError(
            f"service {service.name!r} cannot be changed without changing something else, which an anchor may share: "
            f"do it by hand"
        )


def _rest(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    others = {key: value for key, value in document.items() if key not in {_SERVICES, _VOLUMES}}
    return {**others, _SERVICES: {key: value for key, value in document[_SERVICES].items() if key != name}}


def _rest_of_service(service: Mapping[str, Any]) -> dict[str, Any]:
    changed = {_IMAGE, _VOLUMES, _ENVIRONMENT}
    return {key: value for key, value in service.items() if key not in changed}


def _variables(service: Mapping[str, Any]) -> dict[str, Any]:
    found = service.get(_ENVIRONMENT) or {}
    return dict(found) if isinstance(found, dict) else {str(item): None for item in found}


def _is_kept(key: str, was: Mapping[str, Any]) -> bool:
    return key in _variables(was) or key.partition("=")[0] != _CONFIG_VARIABLE


def _other_mounts(service: Mapping[str, Any], targets: Collection[str]) -> list[Any]:
    """Return the volumes of a service but those that may change."""
    return [item for item in service.get(_VOLUMES) or () if _target_of(item) not in targets]


def _target_of(item: Any) -> str:
    if isinstance(item, dict):
        return posixpath.normpath(str(item.get("target")))
    parts = _PARTS.findall(str(item))
    return posixpath.normpath(parts[1]) if len(parts) > 1 else ""


def _is_part(old: Any, new: Any) -> bool:
    return all(key in (new or {}) and new[key] == value for key, value in (old or {}).items())
