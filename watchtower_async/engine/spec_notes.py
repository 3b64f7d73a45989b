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
from watchtower_async.engine.spec_parts import JsonObject, section

_LONGEST_VALUE = 60
_SECRET_NAME = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)


def notes_on(container: JsonObject, old_image: JsonObject, new_image: JsonObject | None, ends: Endpoints) -> list[str]:
    """Return the notes in a fixed order. Without the new image only those that do not need it."""
    notes = [f"anonymous volume {target} is carried over by name" for target in anonymous_volumes(container)]
    notes += [
        f"the MAC address on network {name} is kept: the engine does not tell whether it was asked for"
        for name in ends.kept_mac
    ]
    mode = network_mode(container)
    if mode not in WITHOUT_ENDPOINTS and networks_of(container) and main_network(container) is None:
        notes.append(f"the container has left its network {mode} and is not connected to it again")
    if new_image is not None:
        notes += _image_notes(container, old_image, new_image)
    return notes


def _image_notes(container: JsonObject, old_image: JsonObject, new_image: JsonObject) -> Iterable[str]:
    config = section(container, "Config")
    old, new = section(old_image, "Config"), section(new_image, "Config")
    for target in anonymous_volumes(container):
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
