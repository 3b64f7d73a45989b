"""Why a container cannot be re-created as it is, known before anything is touched.

Everything the rules do not know is refused by its name: a setting that is lost silently is worse than an old image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from watchtower_async.engine import spec_config, spec_host, spec_network
from watchtower_async.engine.spec_parts import (
    NEWEST_WITH_ASKED_MAC,
    SWARM_TASK_LABEL,
    EngineFacts,
    JsonObject,
    is_empty,
    labels_of,
    section,
)
from watchtower_async.engine.spec_relations import (
    NO_NEIGHBOURS,
    Neighbourhood,
    borrowed_targets,
    relation_reasons,
    shares_network,
)
from watchtower_async.images.reference import is_image_id


@dataclass(frozen=True, slots=True)
class Refusal:
    """The container is left alone. Each reason names the setting, in words for people."""

    reasons: tuple[str, ...]


def refuse_before_pull(
    *,
    container: JsonObject,
    old_image: JsonObject | None,
    engine: EngineFacts,
    neighbourhood: Neighbourhood = NO_NEIGHBOURS,
    stays_on_its_image: bool = False,
) -> Refusal | None:
    """Say why the container cannot be re-created, None when it can. Needs nothing that a pull would bring.

    One that is re-created only because it belongs to another needs no name under which there could be a newer image.
    """
    reasons = (
        *_engine_reasons(engine),
        *_state_reasons(container),
        *(() if stays_on_its_image else _reference_reasons(container)),
        *_image_reasons(old_image),
        *relation_reasons(container, neighbourhood),
        *_platform_reasons(container),
        *_unknown_settings(container),
        *_volume_reasons(container, neighbourhood),
        *_network_reasons(container, engine),
    )
    return Refusal(reasons) if reasons else None


def _engine_reasons(engine: EngineFacts) -> Iterable[str]:
    if engine.is_podman:
        # Its inspect mixes asked and assigned values: addresses, ports, limits, volumes, environment.
        yield "Podman is not supported yet for this container"
    if engine.api_version > NEWEST_WITH_ASKED_MAC:
        yield "the container was read with an API version after 1.51, which hides a MAC address that was asked for"


def _state_reasons(container: JsonObject) -> Iterable[str]:
    status = section(container, "State").get("Status")
    if status in ("dead", "removing"):
        yield f"the container is in state {status}"
    if SWARM_TASK_LABEL in labels_of(container):
        yield f"label {SWARM_TASK_LABEL}: the container belongs to a swarm service"


def _reference_reasons(container: JsonObject) -> Iterable[str]:
    text = str(section(container, "Config").get("Image") or "")
    if not text or is_image_id(text, str(container.get("Image") or "") or None):
        yield "Config.Image is an image id: no name to look for"
    elif "@" in text:
        yield "Config.Image is pinned to a digest"


def _image_reasons(old_image: JsonObject | None) -> Iterable[str]:
    if old_image is None:
        yield "the container's image is gone, so nobody can say which settings came from it"


def _platform_reasons(container: JsonObject) -> Iterable[str]:
    isolation = section(container, "HostConfig").get("Isolation")
    if not is_empty(isolation) and isolation != "default":
        yield "HostConfig.Isolation is set: Windows containers are not supported"
    elif str(container.get("Platform") or "").lower() == "windows":
        yield "Platform is windows: Windows containers are not supported"


def _unknown_settings(container: JsonObject) -> Iterable[str]:
    yield from _unknown("Config", section(container, "Config"), spec_config.KNOWN)
    yield from _unknown("HostConfig", section(container, "HostConfig"), spec_host.KNOWN)
    for name, endpoint in sorted(spec_network.networks_of(container).items()):
        yield from _unknown(f"NetworkSettings.Networks.{name}", endpoint or {}, spec_network.KNOWN)


def _unknown(where: str, settings: Mapping[str, Any], known: frozenset[str]) -> Iterable[str]:
    for key in sorted(settings):
        if key not in known and not is_empty(settings[key]):
            yield f"{where}.{key} is set and is not carried over yet"


def _volume_reasons(container: JsonObject, neighbourhood: Neighbourhood) -> Iterable[str]:
    for target in spec_host.unidentified_volumes(container, borrowed_targets(container, neighbourhood)):
        yield f"Mounts: the name of the anonymous volume at {target} is not shown"


def _network_reasons(container: JsonObject, engine: EngineFacts) -> Iterable[str]:
    config, mode = section(container, "Config"), spec_network.network_mode(container)
    networks = spec_network.networks_of(container)
    if shares_network(container) and spec_host.interface_sysctls(container, engine):
        yield "HostConfig.Sysctls of eth0 belong to the container whose network is shared"
    if config.get("NetworkDisabled") or shares_network(container):
        return
    if mode in spec_network.WITHOUT_ENDPOINTS:
        for name in sorted(set(networks) - {mode}):
            yield f"HostConfig.NetworkMode is {mode} but the container was connected to {name} later"
        return
    for name in sorted(set(networks) & set(spec_network.WITHOUT_ENDPOINTS)):
        yield f"HostConfig.NetworkMode is {mode} but the container was connected to {name} later"
    if not networks:
        yield f"HostConfig.NetworkMode is {mode} but the container is connected to no network"
    if spec_network.main_network(container) is None:
        yield from _left_main_network_reasons(container, engine)


def _left_main_network_reasons(container: JsonObject, engine: EngineFacts) -> Iterable[str]:
    if not is_empty(section(container, "Config").get("MacAddress")):
        yield "Config.MacAddress belongs to a network that the container has left"
    if spec_host.interface_sysctls(container, engine):
        yield "HostConfig.Sysctls of eth0 belong to a network that the container has left"
