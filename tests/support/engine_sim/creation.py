"""What the simulated engine makes of a create request: its checks, and the merge with the image's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy

from tests.support.engine_sim.behaviour import EngineRefusal, JsonObject
from tests.support.engine_sim.container import Container, Link
from tests.support.engine_sim.images import Image, familiar
from tests.support.engine_sim.networks import WITHOUT_ALIASES, Endpoint
from tests.support.engine_sim.world import World
from tests.support.merge_rules import created

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
POLICIES = ("", "no", "always", "unless-stopped", "on-failure")
SEVERAL_ENDPOINTS = (1, 44)
NO_SHORT_ID = (1, 45)
_ASKED = ("IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority", "MacAddress")


def create(world: World, name: str, request: JsonObject, platform: str | None = None) -> Container:
    """Make a container. Raises EngineRefusal."""
    host: JsonObject = request.get("HostConfig") or {}
    _check_request(world, request, host)
    image = _image(world, str(request.get("Image", "")), platform)
    world.made += 1
    word = f"{world.name} container {world.made}"
    document = created(request, {"Id": image.id, "Config": image.config}, word=word)
    identity = str(document["Id"])
    name = (name or f"nameless_{world.made}").removeprefix("/")
    check_name(world, name)
    config, host = document["Config"], document["HostConfig"]
    if not config.get("Entrypoint") and not config.get("Cmd"):
        raise EngineRefusal(400, "No command specified")
    _resolve_namespaces(world, host)
    _fill_host(world, host)
    mode = str(host["NetworkMode"])
    # With the network of another container, the names are set at the start.
    config["Hostname"] = str(request.get("Hostname") or "") or (world.host_name if mode == "host" else identity[:12])
    config.setdefault("Domainname", "")
    endpoints = {} if mode.startswith("container:") else _endpoints(world, request, mode)
    _place_mac(world, config, endpoints, mode)
    mounts = [
        *document["Mounts"],
        *_mounts_of_others(world, host, {item["Destination"] for item in document["Mounts"]}),
    ]
    container = Container(
        id=identity,
        name=name,
        image=image,
        behaviour=image.behaviour,
        created=world.clock.stamp(),
        config=config,
        host=host,
        mounts=mounts,
        own_volumes={str(mount["Name"]) for mount in document["Mounts"] if mount["Name"] not in _named(request)},
        endpoints=endpoints,
        links=_links(world, host.pop("Links", None) or [], mode),
    )
    container.down.set()
    world.containers[identity] = container
    world.volumes |= {str(mount["Name"]) for mount in mounts if mount["Type"] == "volume"}
    return container


def check_name(world: World, name: str) -> None:
    """Refuse a name that is malformed or taken."""
    if _NAME.fullmatch(name) is None:
        raise EngineRefusal(400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    owner = next((container for container in world.containers.values() if container.name == name), None)
    if owner is not None:
        raise EngineRefusal(
            409,
            f'Conflict. The container name "/{name}" is already in use by container "{owner.id}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        )


def check_policy(policy: Mapping[str, object]) -> None:
    """Refuse a restart policy that there is not."""
    name = str(policy.get("Name") or "")
    if name not in POLICIES:
        raise EngineRefusal(400, f"invalid restart policy '{name}'")
    if policy.get("MaximumRetryCount") and name != "on-failure":
        raise EngineRefusal(400, f"maximum retry count cannot be used with restart policy '{name}'")


def known_aliases(world: World, container: Container, key: str, endpoint: Endpoint) -> None:
    """Add the aliases that the engine gives by itself."""
    if key in WITHOUT_ALIASES or world.api >= NO_SHORT_ID:
        return
    names = [container.short_id]
    if world.api < SEVERAL_ENDPOINTS:
        names.append(str(container.config["Hostname"]))
    endpoint.asked["Aliases"] = list(dict.fromkeys([*(endpoint.asked.get("Aliases") or []), *names]))


def endpoint_of(asked: Mapping[str, object] | None) -> Endpoint:
    """Take from an endpoint of a request what it asks for."""
    return Endpoint(asked={key: deepcopy(value) for key, value in (asked or {}).items() if key in _ASKED})


def _check_request(world: World, request: JsonObject, host: JsonObject) -> None:
    policy = host.get("RestartPolicy") or {}
    check_policy(policy)
    if host.get("AutoRemove") and policy.get("Name") not in (None, "", "no"):
        raise EngineRefusal(400, "can't create 'AutoRemove' container with restart policy")
    mode = str(host.get("NetworkMode") or "")
    if mode.startswith("container:") and request.get("Hostname"):
        raise EngineRefusal(400, "conflicting options: hostname and the network mode")
    if host.get("UTSMode") == "host" and request.get("Hostname"):
        raise EngineRefusal(400, "conflicting options: hostname and the UTS mode")
    keys = sorted((request.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    if len(keys) > 1 and world.api < SEVERAL_ENDPOINTS:
        raise EngineRefusal(400, f"Container cannot be connected to network endpoints: {', '.join(keys)}")


def _image(world: World, text: str, platform: str | None) -> Image:
    image = world.images.find(text)
    if image is None:
        raise EngineRefusal(404, f"No such image: {familiar(text)}")
    actual = f"linux/{image.architecture}"
    if platform is not None and platform.split("/")[:2] != actual.split("/"):
        text = (
            f"image with reference {text} was found but does not match the specified platform: "
            f"wanted {platform}, actual: {actual}"
        )
        raise EngineRefusal(404, text)
    return image


def _resolve_namespaces(world: World, host: JsonObject) -> None:
    """Name the owners of namespaces by id. One that is not there is taken for a network only."""
    is_checked = not host.get("Privileged") and not any("label" in str(text) for text in host.get("SecurityOpt") or ())
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        kind, colon, target = str(host.get(key) or "").partition(":")
        if kind != "container" or not colon:
            continue
        found = world.look_up(target)
        if found is not None:
            host[key] = f"container:{found.id}"
        elif key != "NetworkMode" and is_checked:
            # The security label of the other one would be used.
            raise EngineRefusal(400, f"No such container: {target}")


def _fill_host(world: World, host: JsonObject) -> None:
    policy = dict(host.get("RestartPolicy") or {})
    if world.api >= SEVERAL_ENDPOINTS:
        policy["Name"] = policy.get("Name") or "no"
    host["RestartPolicy"] = {"Name": "", "MaximumRetryCount": 0, **policy}
    if world.api >= NO_SHORT_ID and host["NetworkMode"] == "default":
        host["NetworkMode"] = "bridge"
    for key, value in (("AutoRemove", False), ("Binds", None), ("PortBindings", {}), ("VolumesFrom", None)):
        host.setdefault(key, value)


def _endpoints(world: World, request: JsonObject, mode: str) -> dict[str, Endpoint]:
    asked = (request.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    main = "bridge" if mode == "default" else mode
    endpoints = {key: endpoint_of(value) for key, value in asked.items()}
    if not endpoints:
        endpoints[main] = Endpoint(asked={})
    return endpoints


def _place_mac(world: World, config: JsonObject, endpoints: dict[str, Endpoint], mode: str) -> None:
    """A container-wide MAC address is that of the main network; newer engines show either in both places."""
    main = endpoints.get("bridge" if mode == "default" else mode)
    if world.api < SEVERAL_ENDPOINTS or main is None:
        return
    asked = main.asked.get("MacAddress") or config.get("MacAddress")
    if asked:
        config["MacAddress"] = main.asked["MacAddress"] = asked


def _mounts_of_others(world: World, host: JsonObject, present: set[str]) -> Iterable[JsonObject]:
    for text in host.get("VolumesFrom") or []:
        source = world.look_up(str(text).partition(":")[0])
        if source is None:
            raise EngineRefusal(400, f"No such container: {str(text).partition(':')[0]}")
        for mount in source.mounts:
            if mount["Destination"] not in present:
                present.add(mount["Destination"])
                yield deepcopy(mount)


def _named(request: JsonObject) -> set[str]:
    """Return the sources of volumes and binds that the request names."""
    host: JsonObject = request.get("HostConfig") or {}
    binds = [str(bind).partition(":") for bind in host.get("Binds") or []]
    sources = {source for source, colon, _ in binds if colon}
    return sources | {str(mount["Source"]) for mount in host.get("Mounts") or [] if mount.get("Source")}


def _links(world: World, texts: list[str], mode: str) -> list[Link]:
    if mode not in ("default", "bridge"):
        return []
    links = []
    for text in texts:
        target, _, alias = text.partition(":")
        found = world.look_up(target.removeprefix("/"))
        if found is None:
            raise EngineRefusal(400, f"could not get container for {target}: No such container: {target}")
        links.append(Link(found, (alias or target).rpartition("/")[2]))
    return links
