"""What an engine makes of a create request: a small pure model of its merge rules (API 1.41), for property tests.

It knows what the specification has to take back: the image's defaults, values that the daemon fills in, anonymous
volumes, the short id and host name among the aliases, and what comes from other containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tests.support.builders import a_digest, an_id

JsonObject = dict[str, Any]

MASKED_PATHS = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def an_image_document(name: str, config: Mapping[str, Any] | None = None) -> JsonObject:
    """Return an image as inspect shows it."""
    return {"Id": a_digest(name), "Os": "linux", "Architecture": "amd64", "Config": dict(config or {})}


def created(
    request: Mapping[str, Any],
    image: Mapping[str, Any],
    *,
    word: str = "container",
    extra_networks: tuple[tuple[str, JsonObject], ...] = (),
    others: tuple[JsonObject, ...] = (),
) -> JsonObject:
    """Return what inspect shows for a container made by this request on this image.

    `word` decides its id and is its name; `others` are the documents of those that the request may name.
    """
    container_id = an_id(word)
    config = deepcopy({key: value for key, value in request.items() if key not in ("HostConfig", "NetworkingConfig")})
    merged = _merged_config(config, image["Config"])
    merged["Hostname"] = config.get("Hostname") or container_id[:12]
    host = _filled_host(deepcopy(request.get("HostConfig") or {}))
    _resolve_others(merged, host, others, word)
    endpoints = deepcopy((request.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    mode = host["NetworkMode"]
    if not endpoints and not mode.startswith("container:"):
        endpoints = {"bridge" if mode == "default" else mode: {}}
    endpoints |= deepcopy(dict(extra_networks))
    return {
        "Id": container_id,
        "Name": f"/{word}",
        "Image": image["Id"],
        "Platform": "linux",
        "State": {"Status": "running"},
        "Config": merged,
        "HostConfig": host,
        "Mounts": _mounts(merged, host, word, others),
        "NetworkSettings": {"Networks": {name: _connected(end, name, merged) for name, end in endpoints.items()}},
    }


def _merged_config(config: JsonObject, image: Mapping[str, Any]) -> JsonObject:
    for key in ("User", "WorkingDir", "StopSignal"):
        config[key] = config.get(key) or image.get(key) or ""
    own = list(config.get("Env") or [])
    names = {entry.partition("=")[0] for entry in own}
    config["Env"] = own + [entry for entry in image.get("Env") or [] if entry.partition("=")[0] not in names]
    for key in ("Labels", "ExposedPorts", "Volumes"):
        config[key] = deepcopy({**(image.get(key) or {}), **(config.get(key) or {})})
    if not config.get("Entrypoint"):
        config["Cmd"] = config.get("Cmd") or image.get("Cmd")
        if config.get("Entrypoint") is None:
            config["Entrypoint"] = image.get("Entrypoint")
    if config.get("Entrypoint") == [""]:
        config["Entrypoint"] = None
    config["Healthcheck"] = _merged_check(config.get("Healthcheck"), image.get("Healthcheck"))
    return config


def _merged_check(asked: JsonObject | None, image: JsonObject | None) -> JsonObject | None:
    if asked is None or image is None:
        return deepcopy(asked if asked is not None else image)
    return deepcopy({key: asked.get(key) or image.get(key) for key in (*asked, *image)})


def _filled_host(host: JsonObject) -> JsonObject:
    defaults: JsonObject = {
        "NetworkMode": "default",
        "IpcMode": "private",
        "CgroupnsMode": "host",
        "ShmSize": 67108864,
        "Runtime": "runc",
        "LogConfig": {"Type": "json-file", "Config": {}},
    }
    for key, value in defaults.items():
        host[key] = host.get(key) or value
    if host.get("Memory") and not host.get("MemorySwap"):
        host["MemorySwap"] = 2 * host["Memory"]
    if host.get("MemorySwappiness") == -1:
        host["MemorySwappiness"] = None
    host["PidsLimit"] = host.get("PidsLimit") if (host.get("PidsLimit") or 0) > 0 else None
    host["OomKillDisable"] = bool(host.get("OomKillDisable"))
    if host.get("Privileged") or host.get("PidMode") == "host" or host["IpcMode"] == "host":
        options = host.get("SecurityOpt") or []
        host["SecurityOpt"] = options if "label=disable" in options else [*options, "label=disable"]
    if not host.get("Privileged"):
        host["MaskedPaths"] = MASKED_PATHS if host.get("MaskedPaths") is None else host["MaskedPaths"]
        host["ReadonlyPaths"] = READONLY_PATHS if host.get("ReadonlyPaths") is None else host["ReadonlyPaths"]
    return host


def _resolve_others(config: JsonObject, host: JsonObject, others: tuple[JsonObject, ...], word: str) -> None:
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        kind, colon, text = str(host.get(key) or "").partition(":")
        target = _find(text, others) if kind == "container" and colon else None
        if target is None:
            continue
        host[key] = f"container:{target['Id']}"
        if key == "NetworkMode":
            config |= {name: target["Config"].get(name, "") for name in ("Hostname", "Domainname")}
    if others:
        links = (str(link).partition(":") for link in host.get("Links") or [])
        shown = ((_find(text, others), alias.rpartition("/")[2]) for text, _, alias in links)
        # In another order than they were asked for.
        host["Links"] = [f"{target['Name']}:/{word}/{alias}" for target, alias in shown if target][::-1] or None


def _find(text: str, others: tuple[JsonObject, ...]) -> JsonObject | None:
    return next((other for other in others if text.removeprefix("/") in (other["Id"], other["Name"][1:])), None)


def _mounts(config: JsonObject, host: JsonObject, word: str, others: tuple[JsonObject, ...]) -> list[JsonObject]:
    mounts: dict[str, JsonObject] = {}
    sources = (_find(str(text).partition(":")[0], others) for text in host.get("VolumesFrom") or [])
    for mount in (mount for source in sources if source for mount in source["Mounts"]):
        mounts.setdefault(mount["Destination"], deepcopy(mount))
    for bind in host.get("Binds") or []:
        # One part is the destination of an anonymous volume.
        source, target, mode = (*bind.split(":"), "")[:3] if ":" in bind else ("", bind, "")
        kind = "bind" if source.startswith("/") else "volume"
        name = source or an_id(f"volume {word} {target}")
        mounts[target] = {"Type": kind, "Name": name, "Destination": target, "RW": mode != "ro", "Mode": "z"}
    for mount in host.get("Mounts") or []:
        target = mount["Target"]
        name = mount.get("Source") or an_id(f"volume {word} {target}")
        mounts[target] = {"Type": mount["Type"], "Name": name, "Destination": target, "RW": not mount.get("ReadOnly")}
    for target in config["Volumes"]:
        if target not in mounts:
            name = an_id(f"volume {word} {target}")
            mounts[target] = {"Type": "volume", "Name": name, "Destination": target, "RW": True, "Mode": ""}
    return list(mounts.values())


def _connected(endpoint: JsonObject, name: str, config: JsonObject) -> JsonObject:
    shown = {"IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, **endpoint}
    if name not in ("bridge", "host", "none"):
        aliases = list(shown["Aliases"] or [])
        # The host name is the short id unless one was asked for; the engine adds each once.
        shown["Aliases"] = list(dict.fromkeys([*aliases, config["Hostname"]]))
    return {**shown, "NetworkID": an_id(name), "EndpointID": an_id("endpoint " + name), "IPAddress": "172.30.0.2"}
