"""From inspect back to a create request: the same container, with a new image.

The engine does not keep the request that made a container. It keeps `Config` merged with the image's defaults and
`HostConfig` filled with the daemon's. So: request = inspect − defaults of the old image − what the daemon filled in.
The measure is not the predecessor but the *same request with the new image*.

Documents are raw answers of inspect, read with the API version in `EngineFacts`; the old image is the one with the
container's image id, not the one its tag means now. Nothing is changed in them. What the rules do not know is refused
(`spec_refusal`). Not here: whether networks, bind sources, devices and runtimes still exist; the engine says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchtower_async.engine.spec_config import config_request
from watchtower_async.engine.spec_host import host_request
from watchtower_async.engine.spec_network import endpoints
from watchtower_async.engine.spec_notes import notes_on
from watchtower_async.engine.spec_parts import (
    COMPOSE_PROJECT_LABEL,
    EngineFacts,
    JsonObject,
    labels_of,
    section,
)
from watchtower_async.engine.spec_refusal import Refusal, refuse_before_pull
from watchtower_async.engine.spec_relations import NO_NEIGHBOURS, NO_SUCCESSORS, Neighbourhood, borrowed_targets

__all__ = ["EngineFacts", "Neighbourhood", "Recreation", "Refusal", "recreate", "refuse_before_pull"]


@dataclass(frozen=True, slots=True)
class Recreation:
    """Everything needed to create the successor."""

    request: JsonObject = field(repr=False)
    """Body for `POST /containers/create`. Its environment may hold secrets."""
    extra_networks: tuple[tuple[str, JsonObject], ...] = field(default=(), repr=False)
    """Networks to connect before the start, for engines that take one endpoint at create (API before 1.44)."""
    platform: str | None = None
    """Parameter of create when the container runs an image for another platform than the machine's."""
    notes: tuple[str, ...] = ()
    """What the plan should say."""
    needs_injected_file_check: bool = False
    """Compose may have copied configs or secrets into the container; inspect does not show them."""
    vanishes_at_stop: bool = False
    """The engine removes the predecessor as soon as it has stopped (`--rm`): it cannot be put back."""
    is_paused: bool = False
    """The predecessor's processes are frozen, and the successor's should be."""


def recreate(
    *,
    container: JsonObject,
    old_image: JsonObject,
    new_image: JsonObject | None,
    engine: EngineFacts,
    neighbourhood: Neighbourhood = NO_NEIGHBOURS,
    successors: Mapping[str, str] = NO_SUCCESSORS,
) -> Recreation | Refusal:
    """Return how to create the container again with the new image, or why that is refused.

    Without the new image (at plan time) the answer is the same but for compose's image label and some notes.
    With the image that it runs on already, as a member of a group may have it, it needs no name to look for.
    A container that shares something with one that is not in the neighbourhood is refused. `successors` maps ids of
    containers that are replaced in the same transaction to the ids of their successors.
    """
    neighbourhood = neighbourhood.replacing(successors)
    refusal = refuse_before_pull(
        container=container,
        old_image=old_image,
        engine=engine,
        neighbourhood=neighbourhood,
        stays_on_its_image=new_image is not None and new_image.get("Id") == container.get("Image"),
    )
    if refusal is not None:
        return refusal
    ends = endpoints(container, engine)
    request = config_request(container, old_image, new_image, engine)
    request["HostConfig"] = host_request(container, engine, neighbourhood)
    if ends.at_create:
        request["NetworkingConfig"] = {"EndpointsConfig": ends.at_create}
    return Recreation(
        request=request,
        extra_networks=ends.extra,
        platform=_platform(container, old_image, engine),
        notes=tuple(notes_on(container, old_image, new_image, ends, borrowed_targets(container, neighbourhood))),
        needs_injected_file_check=_may_have_injected_files(container),
        vanishes_at_stop=bool(section(container, "HostConfig").get("AutoRemove")),
        is_paused=section(container, "State").get("Status") == "paused",
    )


def _platform(container: JsonObject, old_image: JsonObject, engine: EngineFacts) -> str | None:
    """Return the image's platform if somebody must have asked for it.

    A variant alone says nothing: an engine takes the best one it finds for its processor.
    """
    described = section(section(container, "ImageManifestDescriptor"), "platform")
    fields = (
        described.get("os") or old_image.get("Os"),
        described.get("architecture") or old_image.get("Architecture"),
        described.get("variant") if described else old_image.get("Variant"),
    )
    parts = [str(field).lower() for field in fields if field]
    host = engine.platform.lower().split("/")
    if len(parts) < 2 or len(host) < 2 or parts[:2] == host[:2]:
        return None
    return "/".join(parts)


def _may_have_injected_files(container: JsonObject) -> bool:
    # Compose itself refuses to copy into a read-only root file system.
    is_readonly = bool(section(container, "HostConfig").get("ReadonlyRootfs"))
    return COMPOSE_PROJECT_LABEL in labels_of(container) and not is_readonly
