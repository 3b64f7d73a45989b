"""A Watchtower container, as the engine describes it, and the compose service that is like it. Pure.

The document is that of `GET /containers/{id}/json`, which `docker inspect` prints in a list. What it does not tell
apart from a default is left out of the service; what the service cannot hold is named. A secret is never written out:
a variable stands in its place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.migrate.finding import Finding, FindingKind
from watchtower_async.migrate.old_service import (
    CONFIG_DIRECTORY,
    IS_WATCHTOWER_LABEL,
    STATE_DIRECTORY,
    OldService,
    program_in,
)
from watchtower_async.migrate.text import Text, escaped
from watchtower_async.migrate.text_edit import written
from watchtower_async.migrate.words import read_words
from watchtower_async.settings import declared_options

_COMPOSE_LABELS = "com.docker.compose."
_IMAGE_LABELS = "org.opencontainers.image."
_CONFIG_FILES_LABEL = "com.docker.compose.project.config_files"
_SERVICE_LABEL = "com.docker.compose.service"
_OUR_PROGRAM = "/watchtower"
_NOT_OURS = frozenset({"PATH"})
_MODES = frozenset({"host", "none"})
_LISTS: Mapping[str, str] = {
    "CapAdd": "cap_add", "CapDrop": "cap_drop", "SecurityOpt": "security_opt", "Dns": "dns", "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts", "GroupAdd": "group_add",
}  # fmt: skip
_NOT_WRITTEN: Mapping[str, str] = {
    "Memory": "memory limit", "NanoCpus": "CPU limit", "CpuQuota": "CPU quota", "PidsLimit": "limit of processes",
    "Ulimits": "ulimits", "Tmpfs": "tmpfs mounts", "Devices": "devices", "Links": "links",
    "VolumesFrom": "volumes-from", "Sysctls": "sysctls", "Mounts": "mounts with options",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A Watchtower container."""

    service: OldService
    document: Mapping[str, Any] = field(repr=False)
    config_files: str = ""
    """The compose files that it was made from, if it was."""


def read_container(document: Mapping[str, Any]) -> FoundContainer | None:
    """Read a document; None for one that is no Watchtower."""
    config = _mapping(document.get("Config"))
    image = str(config.get("Image") or "")
    labels = {str(key): str(value) for key, value in _mapping(config.get("Labels")).items()}
    program = program_in(image, labels)
    if program is None:
        return None
    name = labels.get(_SERVICE_LABEL) or str(document.get("Name") or "watchtower").removeprefix("/")
    entrypoint, command = _texts(config.get("Entrypoint")), _texts(config.get("Cmd"))
    environment = dict(item.partition("=")[::2] for item in _texts(config.get("Env")))
    notes = _not_written(_mapping(document.get("HostConfig")))
    service = OldService(
        name=name,
        image=image,
        program=program,
        words=tuple(Text(word) for word in (*entrypoint[1:], *command)),
        environment={key: Text(value) for key, value in environment.items() if key not in _NOT_OURS},
        notes=tuple(f"the {what} of the container is not in the service below" for what in notes),
    )
    return FoundContainer(service, document, labels.get(_CONFIG_FILES_LABEL, ""))


def _not_written(host: Mapping[str, Any]) -> Iterator[str]:
    return (what for key, what in _NOT_WRITTEN.items() if host.get(key))


def write_service(found: FoundContainer, *, image: str) -> tuple[str, tuple[Finding, ...]]:
    """Return a compose file with the service on our image, and what is different in it."""
    service, document = found.service, found.document
    config, host = _mapping(document.get("Config")), _mapping(document.get("HostConfig"))
    findings = [Finding(FindingKind.EDITED, "image", f"{service.image} becomes {image}")]
    mounts, moved, notes = _mounts(service, document)
    findings += notes
    environment = {key: text.value for key, text in service.environment.items()}
    if moved:
        environment["DOCKER_CONFIG"] = moved
    has_state = any(target == STATE_DIRECTORY for target, _ in mounts)
    volume = f"{service.name}-state"
    binds = [text for _, text in mounts] + ([] if has_state else [f"{volume}:{STATE_DIRECTORY}"])
    name = str(document.get("Name") or "").removeprefix("/")
    lines = ["services:", f"  {written(service.name)}:", f"    image: {written(image)}"]
    lines += [f"    container_name: {written(name)}"] if name and not found.config_files else []
    lines += _policy(_mapping(host.get("RestartPolicy")))
    lines += [f"    user: {written(str(config['User']))}"] if config.get("User") else []
    lines += _network_mode(host)
    lines += _list("networks", _networks(document))
    lines += _list("command", _command(service))
    lines += _list("environment", [f"{key}={_value(key, value)}" for key, value in environment.items()])
    lines += _list("ports", _ports(host))
    lines += _list("volumes", binds)
    for key, word in _LISTS.items():
        lines += _list(word, [escaped(text) for text in _texts(host.get(key))])
    lines += ["    read_only: true"] if host.get("ReadonlyRootfs") else []
    lines += _list("labels", _labels(_mapping(config.get("Labels"))))
    declared = [*_named_volumes(document), *([] if has_state else [volume])]
    lines += [*_external("volumes", declared, volume), *_external("networks", _networks(document))]
    if not has_state:
        findings.append(Finding(FindingKind.EDITED, "volumes", f"{volume} keeps what was refused or rolled back"))
    return "\n".join(lines) + "\n", tuple(findings)


def _policy(policy: Mapping[str, Any]) -> list[str]:
    name = str(policy.get("Name") or "no")
    count = policy.get("MaximumRetryCount")
    if name == "no":
        return []
    return [f"    restart: {name}:{count}" if count else f"    restart: {name}"]


def _network_mode(host: Mapping[str, Any]) -> list[str]:
    mode = str(host.get("NetworkMode") or "")
    return [f"    network_mode: {written(mode)}"] if mode in _MODES or mode.startswith("container:") else []


def _networks(document: Mapping[str, Any]) -> list[str]:
    """Name the networks that somebody made."""
    names = _mapping(_mapping(document.get("NetworkSettings")).get("Networks"))
    return [str(name) for name in names if name not in {*_MODES, "bridge"}]


def _external(key: str, names: Iterable[str], ours: str = "") -> Iterator[str]:
    """Yield the declaration of things that are there already, and of the one that is ours to make."""
    for number, name in enumerate(names):
        yield from ([] if number else ["", f"{key}:"])
        yield f"  {written(name)}:"
        yield from ([] if name == ours else ["    external: true"])


def _command(service: OldService) -> list[str]:
    """Return the words, with variables in place of secrets."""
    words = [escaped(word.value) for word in service.words]
    for flag in read_words(service.words, declared_options()).flags:
        # An option that nobody knows is probably misspelled, and its value may be a secret.
        if flag.value is not None and (flag.option is None or flag.option.is_secret):
            variable = _variable(flag.option.env if flag.option else "SECRET")
            words[flag.position] = f"{flag.name}={variable}" if flag.is_attached else variable
    return words


def _value(name: str, value: str) -> str:
    secret = {option.env for option in declared_options() if option.is_secret}
    is_file = ":" not in value and value.startswith("/")
    return _variable(name) if name in secret and value and not is_file else escaped(value)


def _variable(name: str) -> str:
    return f"${{{name}:?}}"


def _mounts(service: OldService, document: Mapping[str, Any]) -> tuple[list[tuple[str, str]], str, tuple[Finding, ...]]:
    """Return targets and short forms of the mounts, where the logins are if that is new, and what is different."""
    file = posixpath.join(service.config_directory, "config.json")
    found: list[tuple[str, str]] = []
    moved = ""
    notes: list[Finding] = []
    for mount in _mappings(document.get("Mounts")):
        target = posixpath.normpath(str(mount.get("Destination") or ""))
        is_volume = mount.get("Type") == "volume"
        source = str(mount.get("Name" if is_volume else "Source") or "")
        mode = "" if mount.get("RW", True) else ":ro"
        directory, name = posixpath.split(source)
        if target == file and not is_volume and name == "config.json" and posixpath.basename(directory) == ".docker":
            moved = service.config_directory if service.config_directory != "/" else CONFIG_DIRECTORY
            text = f"the directory {directory} is mounted at {moved}, in place of its file {name}"
            notes.append(Finding(FindingKind.EDITED, "volumes", text))
            source, target = directory, moved
        elif target == file:
            text = (
                f"{target} is mounted as a single file, so that a new login is seen only by a new container: put it "
                f"into a directory of its own, mount that at {CONFIG_DIRECTORY}, and set DOCKER_CONFIG to it"
            )
            notes.append(Finding(FindingKind.ADVICE, "volumes", text))
        if source:
            found.append((target, f"{escaped(source)}:{escaped(target)}{mode}"))
    return found, moved, tuple(notes)


def _named_volumes(document: Mapping[str, Any]) -> list[str]:
    mounts = _mappings(document.get("Mounts"))
    return [str(mount["Name"]) for mount in mounts if mount.get("Type") == "volume" and mount.get("Name")]


def _ports(host: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for port, bindings in _mapping(host.get("PortBindings")).items():
        number, _, protocol = str(port).partition("/")
        for binding in _mappings(bindings):
            address = str(binding.get("HostIp") or "")
            host_text = f"[{address}]" if ":" in address else address
            before = f"{host_text}:" if host_text not in {"", "0.0.0.0"} else ""  # noqa: S104 - compose's default
            after = f"/{protocol}" if protocol and protocol != "tcp" else ""
            found.append(f"{before}{binding.get('HostPort') or ''}:{number}{after}".removeprefix(":"))
    return found


def _labels(labels: Mapping[str, Any]) -> list[str]:
    """Return the labels that are the container's own and not those of its image or of compose."""
    return [
        escaped(f"{key}={value}")
        for key, value in labels.items()
        if not str(key).startswith((_COMPOSE_LABELS, _IMAGE_LABELS)) and key != IS_WATCHTOWER_LABEL
    ]


def _list(key: str, items: Sequence[str]) -> Iterable[str]:
    return [f"    {key}:", *(f"      - {written(item)}" for item in items)] if items else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
