"""The helper: a short-lived container that replaces the updater's own one, since nobody can stop itself and go on.

It is made from the image that runs now, which is known to work; with the new one, a broken image would be the surgeon
of its own operation. It sees what the updater sees: the same mounts, networks and environment, so that secrets stand
nowhere but where they stood. It publishes no port and has none of the updater's addresses, aliases and labels, so that
nothing takes it for the updater. `always` brings it back when its process dies or the engine is started again; the
names on the engine tell it how far it was.

While there is a helper of this name, the name is its business. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate
from watchtower_async.engine.spec_parts import JsonObject, clean_path, labels_of, section
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import InvalidReferenceError, SettingsError
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.rollout import helper_words as words
from watchtower_async.rollout.transitions import UP
from watchtower_async.updates.selection import ENABLE, WATCHTOWER

HELPER_LABEL = "watchtower-async.helper-of"
SUFFIX = ".wta-helper"
ABANDONED_SECONDS = 60.0
"""So long after its end, a helper that was stopped by somebody is removed."""
MOST_VAIN_STARTS = 5
"""A helper that is started again so often and has not begun will not begin."""

_OWN = ("Hostname", "Domainname", "MacAddress", "ExposedPorts", "Volumes")
_TERMINAL = ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce")
_OWN_HOST = ("PortBindings", "PublishAllPorts", "AutoRemove")
_OWN_ENDPOINT = ("IPAMConfig", "Aliases", "MacAddress")
_NETWORK_ONLY = ("Links", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "Sysctls")


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperOrder:
    """What a helper is to do: bring the updater's container to an image that the engine has already."""

    name: str
    """The updater's container."""
    container_id: str
    reference: Reference
    """What the container's image is called."""
    image_id: str
    """The engine's id of the image to move to."""
    digest: Digest
    """The published digest, for the quarantine."""

    @property
    def helper(self) -> str:
        """Return the name of the helper."""
        return self.name + SUFFIX

    def arguments(self) -> tuple[str, ...]:
        """Return the words of the hidden command."""
        values = {
            words.NAME: self.name,
            words.CONTAINER: self.container_id,
            words.IMAGE: str(self.reference),
            words.IMAGE_ID: self.image_id,
            words.DIGEST: str(self.digest),
        }
        return (words.COMMAND, *(word for pair in values.items() for word in pair))


def read_order(given: Mapping[str, str]) -> HelperOrder:
    """Read the options of the hidden command. Raises SettingsError."""
    missing = [flag for flag in words.OPTIONS if not given.get(flag)]
    if missing:
        raise SettingsError(tuple(f"{words.COMMAND} needs {flag}" for flag in missing))
    try:
        reference, digest = parse_reference(given[words.IMAGE]), parse_digest(given[words.DIGEST])
    except (InvalidReferenceError, ValueError) as error:
        raise SettingsError((str(error),)) from None
    return HelperOrder(
        name=given[words.NAME],
        container_id=given[words.CONTAINER],
        reference=reference,
        image_id=given[words.IMAGE_ID],
        digest=digest,
    )


# ---- the create request ----------------------------------------------------------------------------------------------


def helper_request(
    own_document: JsonObject,
    own_image: JsonObject,
    facts: EngineFacts,
    command: Sequence[str],
    *,
    neighbourhood: Neighbourhood,
    socket: str | None,
    state_directory: str,
) -> Recreation | Refusal:
    """Return how to create the helper of the container with this document, which runs on this image.

    `command` is the program with its arguments. `socket` is where the engine's unix socket is mounted, None where the
    engine is reached over a network, which the helper then needs too. It and the state directory stay writable.
    """
    found = recreate(
        container=own_document,
        old_image=own_image,
        new_image=own_image,
        engine=facts,
        neighbourhood=neighbourhood,
    )
    if isinstance(found, Refusal):
        return found
    program, *arguments = command
    request = {key: value for key, value in found.request.items() if key not in (*_OWN, *_TERMINAL)}
    request |= {
        "Image": own_document["Image"],
        "Entrypoint": [program],
        "Cmd": arguments,
        # Compose and reverse proxies go by labels. The image's own say that it is a Watchtower, which others stop.
        "Labels": {HELPER_LABEL: own_document["Id"], ENABLE: "false", WATCHTOWER: "false"},
        "Healthcheck": {"Test": ["NONE"]},
    }
    writable = {clean_path(path) for path in (socket, state_directory) if path}
    request["HostConfig"] = _host_config(section(found.request, "HostConfig"), writable)
    made = _with_plain_endpoints(found, request) if socket is None else _without_network(found, request)
    return replace(made, needs_injected_file_check=found.needs_injected_file_check)


def _host_config(host: JsonObject, writable: Collection[str]) -> JsonObject:
    changed: JsonObject = {key: value for key, value in host.items() if key not in _OWN_HOST}
    changed["RestartPolicy"] = {"Name": "always", "MaximumRetryCount": 0}
    if "Binds" in host:
        changed["Binds"] = [_protected_bind(bind, writable) for bind in host["Binds"]]
    if "Mounts" in host:
        changed["Mounts"] = [_protected_mount(mount, writable) for mount in host["Mounts"]]
    return changed


def _holds(target: str, writable: Collection[str]) -> bool:
    return any(path == target or path.startswith(target.rstrip("/") + "/") for path in writable)


def _protected_bind(bind: str, writable: Collection[str]) -> str:
    source, target, *modes = bind.split(":")
    if _holds(clean_path(target), writable):
        return bind
    kept = [mode for mode in (modes[0].split(",") if modes else ()) if mode not in ("rw", "ro")]
    return ":".join((source, target, ",".join((*kept, "ro"))))


def _protected_mount(mount: JsonObject, writable: Collection[str]) -> JsonObject:
    if mount.get("Type") == "tmpfs" or _holds(clean_path(str(mount.get("Target") or "")), writable):
        return dict(mount)
    return {**mount, "ReadOnly": True}


def _with_plain_endpoints(found: Recreation, request: JsonObject) -> Recreation:
    ends = section(section(request, "NetworkingConfig"), "EndpointsConfig")
    if ends:
        request["NetworkingConfig"] = {"EndpointsConfig": {name: _plain(end) for name, end in ends.items()}}
    extra = tuple((name, _plain(end)) for name, end in found.extra_networks)
    return Recreation(request=request, extra_networks=extra, platform=found.platform)


def _plain(endpoint: JsonObject) -> JsonObject:
    return {key: value for key, value in endpoint.items() if key not in _OWN_ENDPOINT}


def _without_network(found: Recreation, request: JsonObject) -> Recreation:
    host = {key: value for key, value in request["HostConfig"].items() if key not in _NETWORK_ONLY}
    rest = {key: value for key, value in request.items() if key != "NetworkingConfig"}
    return Recreation(request={**rest, "HostConfig": {**host, "NetworkMode": "none"}}, platform=found.platform)


# ---- whose business a name is ----------------------------------------------------------------------------------------


def base_of(name: str) -> str:
    """Return the name that a container has when no replacement of it is going on."""
    temporary = parse_temporary_name(name)
    return name if temporary is None else temporary.base


def helpers(containers: Iterable[ContainerSummary]) -> dict[str, ContainerSummary]:
    """Return the helpers on an engine, by the name that they work on."""
    return {
        item.name.removesuffix(SUFFIX): item
        for item in containers
        if item.name.endswith(SUFFIX) and HELPER_LABEL in item.labels
    }


def helper_of(containers: Iterable[ContainerSummary], own_id: str) -> ContainerSummary | None:
    """Return the helper that works on our own container, whatever that is called at the moment."""
    found = tuple(containers)
    own = next((item for item in found if item.id == own_id), None)
    return None if own is None else helpers(found).get(base_of(own.name))


def not_left_to_helpers(
    containers: Iterable[ContainerSummary], own_id: str | None = None
) -> tuple[ContainerSummary, ...]:
    """Return the containers that recovery may look at: none with a name that a helper works on.

    Our own name is left to its helper also where that is down; ours is who removes it.
    """
    found = tuple(containers)
    own = next((base_of(item.name) for item in found if item.id == own_id), None)
    held = {base for base, helper in helpers(found).items() if helper.state in UP or base == own}
    return tuple(item for item in found if base_of(item.name) not in held)


def is_abandoned(helper: JsonObject, *, now: datetime, has_begun: bool) -> bool:
    """Say whether an inspected helper will do nothing any more. `now` is the engine's time.

    `has_begun` says whether there is an unfinished replacement under the name that it works on.
    """
    state = section(helper, "State")
    if HELPER_LABEL not in labels_of(helper):
        return False
    if state.get("Status") in ("exited", "created", "dead"):
        last = parse_time(str(state.get("FinishedAt") or "")) or parse_time(str(helper.get("Created") or ""))
        return last is None or (now - last).total_seconds() > ABANDONED_SECONDS
    return not has_begun and int(helper.get("RestartCount") or 0) >= MOST_VAIN_STARTS
