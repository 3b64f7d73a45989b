"""`Config` of a create request, from inspect: what the container asked for, without what its image brought.

The engine stores `Config` merged with the image's. Sent back as it is, the old image's defaults would hide those of
the new one for ever. So what equals the old image's value counts as not given. A user who typed the same value cannot
be told apart; it follows the image from then on, and the notes of the plan say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from watchtower_async.engine.spec_parts import (
    COMPOSE_IMAGE_LABEL,
    ENDPOINTS_AT_CREATE,
    EngineFacts,
    JsonObject,
    given,
    is_empty,
    section,
    short_id,
    without_defaults,
)
from watchtower_async.engine.spec_relations import shares_network

COPIED = (
    "Image",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "NetworkDisabled",
)
"""Sent as inspect shows them; no image sets them."""

SUBTRACTED = ("User", "WorkingDir", "StopSignal", "Shell")
"""Sent when they differ from the image's."""

TRANSLATED = (
    "Hostname",
    "Domainname",
    "Env",
    "Labels",
    "Entrypoint",
    "Cmd",
    "Healthcheck",
    "ExposedPorts",
    "Volumes",
    "StopTimeout",
    "MacAddress",
)
"""Each has a rule of its own below (the MAC address: in the network part)."""

DROPPED = (
    "OnBuild",  # triggers for a later build; a container does nothing with them
    "ArgsEscaped",  # how a Windows image stores its command line
)

KNOWN = frozenset((*COPIED, *SUBTRACTED, *TRANSLATED, *DROPPED))


def config_request(
    container: JsonObject, old_image: JsonObject, new_image: JsonObject | None, engine: EngineFacts
) -> JsonObject:
    """Return the top-level fields of the create request that belong to `Config`."""
    config, defaults = section(container, "Config"), section(old_image, "Config")
    request = given(config, COPIED)
    request |= {key: value for key, value in given(config, SUBTRACTED).items() if value != defaults.get(key)}
    request |= _command(config, defaults)
    parts: JsonObject = {
        "Hostname": _hostname(container, engine),
        "Domainname": "" if shares_network(container) else config.get("Domainname"),
        "Env": _environment(config, defaults),
        "Labels": _labels(container, old_image, new_image),
        "Healthcheck": _healthcheck(config, defaults),
        "ExposedPorts": _exposed_ports(container, defaults),
        "Volumes": without_defaults(config.get("Volumes"), defaults.get("Volumes")),
        "MacAddress": _mac_address(container, engine),
    }
    request |= {key: value for key, value in parts.items() if not is_empty(value)}
    if config.get("StopTimeout") is not None:
        request["StopTimeout"] = config["StopTimeout"]  # 0 is a value: kill at once
    return request


def _hostname(container: JsonObject, engine: EngineFacts) -> str:
    host = section(container, "HostConfig")
    name = str(section(container, "Config").get("Hostname") or "")
    # In the network of another container inspect shows that one's host and domain name.
    if name == short_id(container) or host.get("UTSMode") == "host" or shares_network(container):
        return ""
    if host.get("NetworkMode") == "host" and name == engine.host_name:
        return ""
    return name


def _mac_address(container: JsonObject, engine: EngineFacts) -> str:
    # Newer engines take it with the endpoint.
    if engine.api_version >= ENDPOINTS_AT_CREATE or shares_network(container):
        return ""
    return str(section(container, "Config").get("MacAddress") or "")


def _environment(config: JsonObject, defaults: JsonObject) -> list[str]:
    # The engine puts the user's entries first and adds those of the image whose name is not among them. An entry
    # without "=" is legal, is stored so, and hides the image's.
    from_image = frozenset(defaults.get("Env") or ())
    return [entry for entry in config.get("Env") or () if entry not in from_image]


def _labels(container: JsonObject, old_image: JsonObject, new_image: JsonObject | None) -> JsonObject:
    config, defaults = section(container, "Config"), section(old_image, "Config")
    labels = without_defaults(config.get("Labels"), defaults.get("Labels"))
    # With the old id, the next `docker compose up` would re-create the container once more.
    if new_image is not None and labels.get(COMPOSE_IMAGE_LABEL) in {container.get("Image"), old_image.get("Id")}:
        labels[COMPOSE_IMAGE_LABEL] = new_image.get("Id", labels.get(COMPOSE_IMAGE_LABEL))
    return {key: value for key, value in labels.items() if value is not None}


def _command(config: JsonObject, defaults: JsonObject) -> JsonObject:
    """Return `Entrypoint` and `Cmd` as they were asked for.

    The engine takes the image's `Cmd` only when no entrypoint was given, and the image's `Entrypoint` only when it is
    null. `[]` keeps the image's `Cmd`; `[""]` is stored as null and means "none".
    """
    entrypoint, command = config.get("Entrypoint"), config.get("Cmd") or []
    image_entrypoint, image_command = defaults.get("Entrypoint") or [], defaults.get("Cmd") or []
    own_command = {"Cmd": list(command)} if command and command != image_command else {}
    if (entrypoint or []) == image_entrypoint:
        if image_entrypoint and not command and image_command:
            # Only an entrypoint that was given keeps the image's command away; `Cmd: []` would bring it back.
            return {"Entrypoint": list(image_entrypoint)}
        return own_command
    if entrypoint == []:
        return {"Entrypoint": [], **own_command}
    asked = [""] if entrypoint is None else list(entrypoint)
    return {"Entrypoint": asked} | ({"Cmd": list(command)} if command else {})


def _healthcheck(config: JsonObject, defaults: JsonObject) -> JsonObject:
    # The engine merges per field, and 0 means "the image's".
    check, from_image = section(config, "Healthcheck"), section(defaults, "Healthcheck")
    if check.get("Test") == ["NONE"] and from_image.get("Test") != ["NONE"]:
        return {"Test": ["NONE"]}
    return {
        key: deepcopy(value) for key, value in check.items() if not is_empty(value) and value != from_image.get(key)
    }


def _exposed_ports(container: JsonObject, defaults: JsonObject) -> Mapping[str, Any]:
    if shares_network(container):
        return {}
    # The command line sends a published port here as well, so it is the container's own also when the image has it.
    ports = section(section(container, "Config"), "ExposedPorts")
    published = section(section(container, "HostConfig"), "PortBindings")
    from_image = section(defaults, "ExposedPorts")
    return {port: deepcopy(value) for port, value in ports.items() if port not in from_image or port in published}
