"""What the plan should say about a re-creation: where the result differs from what a reader may expect."""

from __future__ import annotations

import re
from collections.abc import Iterable

from watchtower_async.engine.spec_host import anonymous_volumes
from watchtower_async.engine.spec_network import (
    WITHOUT_ENDPOINTS,
    Endpoints,
    main_network,
    network_mode,
    networks_of,
)
from watchtower_async.engine.spec_parts import COMPOSE_PROJECT_LABEL, JsonObject, labels_of, section
from watchtower_async.engine.spec_relations import relations, shares_network

COMPOSE_VERSION_LABEL = "com.docker.compose.version"
COMPOSE_REMEMBERS_IDS_IN = ("NetworkMode", "PidMode", "IpcMode", "VolumesFrom")
"""Compose turns the services of these settings into ids, and those are part of what it compares at the next `up`."""

_LONGEST_VALUE = 60
_SECRET_NAME = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)


def notes_on(
    container: JsonObject,
    old_image: JsonObject,
    new_image: JsonObject | None,
    ends: Endpoints,
    borrowed: frozenset[str] = frozenset(),
) -> list[str]:
    """Return the notes in a fixed order. Without the new image only those that do not need it.

    `borrowed` are the destinations of volumes that come from other containers.
    """
    carried = tuple(anonymous_volumes(container, borrowed))
    notes = [f"anonymous volume {target} is carried over by name" for target in carried]
    notes += [
        f"the MAC address on network {name} is kept: the engine does not tell whether it was asked for"
        for name in ends.kept_mac
    ]
    mode = network_mode(container)
    if (
        mode not in WITHOUT_ENDPOINTS
        and not shares_network(container)
        and networks_of(container)
        and main_network(container) is None
    ):
        notes.append(f"the container has left its network {mode} and is not connected to it again")
    if section(container, "HostConfig").get("AutoRemove"):
        notes.append("it was started with --rm: should the new one fail, it can only be made anew from its old image")
    notes += _compose_notes(container)
    if new_image is not None:
        notes += _image_notes(container, old_image, new_image, carried)
    return notes


def _compose_notes(container: JsonObject) -> Iterable[str]:
    labels = labels_of(container)
    if COMPOSE_PROJECT_LABEL not in labels:
        return
    if str(labels.get(COMPOSE_VERSION_LABEL, "")).startswith("1."):
        yield "docker-compose 1.x creates it anew at the next up: it remembers the image's id"
    others = [relation for relation in relations(container) if relation.setting in COMPOSE_REMEMBERS_IDS_IN]
    if others:
        names = ", ".join(dict.fromkeys(relation.setting for relation in others))
        yield f"Compose creates it anew at the next up once the container of its {names} has been replaced"


def _image_notes(
    container: JsonObject, old_image: JsonObject, new_image: JsonObject, carried: Iterable[str]
) -> Iterable[str]:
    config = section(container, "Config")
    old, new = section(old_image, "Config"), section(new_image, "Config")
    for target in carried:
        if target in section(old, "Volumes") and target not in section(new, "Volumes"):
            yield f"the new image has no volume {target} any more; it stays mounted"
    if new.get("Entrypoint") and not old.get("Entrypoint") and (config.get("Cmd") or []) != (old.get("Cmd") or []):
        yield "the new image has an entrypoint; it is put before this container's command"
    for key in ("User", "WorkingDir", "StopSignal", "Entrypoint", "Cmd"):
        before, after = old.get(key) or None, new.get(key) or None
        if before is not None and before != after and config.get(key) == before:
            yield f"{key} follows the image: {_shown(before)} → {_shown(after)}"
    yield from _environment_notes(config, old, new)


def _environment_notes(config: JsonObject, old: JsonObject, new: JsonObject) -> Iterable[str]:
    stored = frozenset(config.get("Env") or ())
    coming = dict(_pair(entry) for entry in new.get("Env") or ())
    for entry in old.get("Env") or ():
        name, value = _pair(entry)
        if entry not in stored or name not in coming or coming[name] == value:
            continue
        # What an image holds is no secret to whoever can pull it, but a log is read by others.
        change = "" if _SECRET_NAME.search(name) else f": {_shown(value)} → {_shown(coming[name])}"
        yield f"{name} follows the image{change}"


def _pair(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition("=")
    return name, value


def _shown(value: object) -> str:
    text = " ".join(str(part) for part in value) if isinstance(value, list) else str(value if value is not None else "")
    text = text or "nothing"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
