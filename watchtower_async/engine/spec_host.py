"""`HostConfig` of a create request, from inspect, and the volumes that would be left behind.

The engine fills in defaults here too (log driver, runtime, namespaces). They cannot be told from what was asked, so
they are kept: nothing changes. Left out is only what the engine computes again by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from watchtower_async.engine.spec_parts import (
    RANDOM_MAC,
    EngineFacts,
    JsonObject,
    clean_path,
    given,
    is_empty,
    section,
)
from watchtower_async.engine.spec_relations import (
    CONTAINER_MODE,
    NOT_IN_THE_NETWORK_OF_ANOTHER,
    Neighbourhood,
    borrowed_targets,
    relation_requests,
    shares_network,
)

COPIED = (
    "LogConfig",
    "NetworkMode",  # this and the other modes: the container that it may name is translated
    "AutoRemove",
    "PortBindings",  # as asked; an assigned random port stays the engine's choice
    "VolumeDriver",
    "Annotations",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "IpcMode",
    "Cgroup",
    "OomScoreAdj",
    "PidMode",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "StorageOpt",
    "Tmpfs",
    "UTSMode",
    "UsernsMode",
    "ShmSize",
    "Runtime",
    "Isolation",
    "CgroupParent",
    "CpuShares",
    "NanoCpus",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Memory",
    "MemoryReservation",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
)
"""Sent as inspect shows them, when not empty."""

TRANSLATED = (
    "Binds",
    "Mounts",
    "RestartPolicy",
    "ConsoleSize",
    "SecurityOpt",
    "Sysctls",
    "MaskedPaths",
    "ReadonlyPaths",
    "MemorySwap",
    "MemorySwappiness",
    "KernelMemory",
    "KernelMemoryTCP",
    "Init",
    "Links",
    "VolumesFrom",
)
"""Each has a rule of its own below."""

DROPPED = (
    "ContainerIDFile",  # a path on the machine of the client that wrote it once
    "CpuCount",  # Windows
    "CpuPercent",  # Windows
    "IOMaximumIOps",  # Windows
    "IOMaximumBandwidth",  # Windows
)

KNOWN = frozenset((*COPIED, *TRANSLATED, *DROPPED))

ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"

_KERNEL_MEMORY_UNTIL = (1, 42)
_KERNEL_MEMORY_TCP_UNTIL = (1, 52)

_MASKED_20 = frozenset(
    {
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
    }
)
_MASKED_26 = _MASKED_20 | {"/sys/devices/virtual/powercap"}
_MASKED_DEFAULTS = (_MASKED_20, _MASKED_26, _MASKED_26 | {"/proc/interrupts"})
_READONLY_DEFAULTS = (frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}),)
# Engine 28 adds one of these per processor that has it.
_THERMAL_PATH = re.compile(r"/sys/devices/system/cpu/cpu\d+/thermal_throttle")

_LABELS_OF_ANOTHER = (
    ["label=user", "label=role", "label=type"],
    ["label=user", "label=role", "label=type", "label=level"],
)

_INTERFACE_SYSCTL = re.compile(r"net\.[^.]+\.[^.]+\.eth0\..+")
# Where the driver `local` keeps a volume whose name the engine chose.
_LOCAL_VOLUME = re.compile(r".+/volumes/([0-9a-f]{64})/_data")


def host_request(container: JsonObject, engine: EngineFacts, neighbourhood: Neighbourhood) -> JsonObject:
    """Return `HostConfig` of the create request."""
    host = section(container, "HostConfig")
    left_out = NOT_IN_THE_NETWORK_OF_ANOTHER if shares_network(container) else ()
    request = given(host, (key for key in COPIED if key not in left_out))
    borrowed = borrowed_targets(container, neighbourhood)
    parts: JsonObject = {
        "Binds": [*_binds(container), *_carried_binds(container, borrowed)],
        "Mounts": _mounts(container),
        "RestartPolicy": _restart_policy(host),
        "ConsoleSize": [] if not any(host.get("ConsoleSize") or ()) else list(host["ConsoleSize"]),
        "SecurityOpt": _security_options(host),
        "Sysctls": {k: v for k, v in section(host, "Sysctls").items() if k not in interface_sysctls(container, engine)},
        "MemorySwap": _memory_swap(host),
        "KernelMemory": host.get("KernelMemory") if engine.api_version < _KERNEL_MEMORY_UNTIL else 0,
        "KernelMemoryTCP": host.get("KernelMemoryTCP") if engine.api_version < _KERNEL_MEMORY_TCP_UNTIL else 0,
    }
    if is_empty(section(host, "LogConfig").get("Type")):
        request.pop("LogConfig", None)
    request |= {key: value for key, value in parts.items() if not is_empty(value)}
    request |= relation_requests(container, neighbourhood)
    request |= _where_empty_is_a_value(host)
    return {key: value for key, value in request.items() if key not in engine.left_out}


def _where_empty_is_a_value(host: JsonObject) -> JsonObject:
    request: JsonObject = {}
    if host.get("Init") is not None:
        request["Init"] = host["Init"]  # false overrides a daemon that runs with --init
    if host.get("MemorySwappiness") not in (None, -1):
        request["MemorySwappiness"] = host["MemorySwappiness"]
    for key, defaults in (("MaskedPaths", _MASKED_DEFAULTS), ("ReadonlyPaths", _READONLY_DEFAULTS)):
        paths = host.get(key)
        # [] hides nothing, which is a permission. A list that some engine fills in by itself is left to the engine,
        # so that a container does not keep an older, shorter one.
        if paths is not None and not _is_default(paths, defaults):
            request[key] = list(paths)
    return request


def _is_default(paths: Iterable[str], defaults: Iterable[frozenset[str]]) -> bool:
    return frozenset(path for path in paths if not _THERMAL_PATH.fullmatch(path)) in defaults


def _restart_policy(host: JsonObject) -> JsonObject:
    policy = section(host, "RestartPolicy")
    return {} if is_empty(policy.get("Name")) else deepcopy(policy)


def _memory_swap(host: JsonObject) -> int:
    # The engine fills in twice the memory when nothing is asked.
    swap = int(host.get("MemorySwap") or 0)
    return 0 if swap == 2 * int(host.get("Memory") or 0) else swap


def _security_options(host: JsonObject) -> list[str]:
    options = list(host.get("SecurityOpt") or ())
    if bool(host.get("Privileged")) or host.get("PidMode") == "host" or host.get("IpcMode") == "host":
        # The engine adds this one in exactly these cases.
        return [option for option in options if option != "label=disable"]
    shared = any(str(host.get(key) or "").startswith(CONTAINER_MODE) for key in ("PidMode", "IpcMode"))
    labels = [option for option in options if option.startswith("label=")]
    if shared and [label.partition(":")[0] for label in labels] in _LABELS_OF_ANOTHER:
        # Those of the container whose namespace is shared, where SELinux is on. The next one has others.
        return [option for option in options if option not in labels]
    return options


def interface_sysctls(container: JsonObject, engine: EngineFacts) -> dict[str, str]:
    """Return the sysctls of `eth0` that this engine takes only with the endpoint of the main network."""
    if engine.api_version < RANDOM_MAC:
        return {}
    sysctls = section(section(container, "HostConfig"), "Sysctls")
    return {name: str(value) for name, value in sysctls.items() if _INTERFACE_SYSCTL.fullmatch(name)}


# ---- volumes -------------------------------------------------------------------------------------------------------


def anonymous_volumes(container: JsonObject, borrowed: frozenset[str] = frozenset()) -> dict[str, JsonObject]:
    """Return the mounted volumes that nobody named in the request, by destination.

    `borrowed` are the destinations of volumes that come from other containers; what was asked for comes before them.
    """
    named = {_bind_target(bind) for bind in _host_list(container, "Binds") if _has_source(bind)}
    named |= {_mount_target(mount) for mount in _host_list(container, "Mounts") if not _is_anonymous(mount)}
    named |= borrowed - _asked_without_name(container)
    mounted = (mount for mount in container.get("Mounts") or () if mount.get("Type") == "volume")
    volumes = {clean_path(mount.get("Destination", "")): _identified(mount) for mount in mounted}
    return {target: volumes[target] for target in sorted(volumes) if target not in named}


def _identified(mount: JsonObject) -> JsonObject:
    """Return the mount with its name, which newer engines leave out where a bind asked for a volume without one."""
    place = _LOCAL_VOLUME.fullmatch(str(mount.get("Source") or "")) if mount.get("Driver") == "local" else None
    return mount if mount.get("Name") or place is None else {**mount, "Name": place[1]}


def unidentified_volumes(container: JsonObject, borrowed: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the destinations of anonymous volumes whose name inspect does not show."""
    volumes = anonymous_volumes(container, borrowed)
    missing = _asked_without_name(container) - volumes.keys()
    return tuple(sorted(missing | {target for target, mount in volumes.items() if not mount.get("Name")}))


def _asked_without_name(container: JsonObject) -> set[str]:
    asked = {_mount_target(mount) for mount in _host_list(container, "Mounts") if _is_anonymous(mount)}
    return asked | {_bind_target(bind) for bind in _host_list(container, "Binds") if not _has_source(bind)}


def _binds(container: JsonObject) -> list[str]:
    volumes = anonymous_volumes(container)
    return [
        bind if _has_source(bind) else _named_bind(_bind_target(bind), volumes[_bind_target(bind)])
        for bind in _host_list(container, "Binds")
    ]


def _carried_binds(container: JsonObject, borrowed: frozenset[str]) -> list[str]:
    """Return a bind, by name, for each volume that the image or `Config.Volumes` asked for."""
    asked = {_bind_target(bind) for bind in _host_list(container, "Binds")}
    asked |= {_mount_target(mount) for mount in _host_list(container, "Mounts")}
    volumes = anonymous_volumes(container, borrowed)
    return [_named_bind(target, mount) for target, mount in volumes.items() if target not in asked]


def _mounts(container: JsonObject) -> list[JsonObject]:
    volumes = anonymous_volumes(container)
    mounts: list[JsonObject] = deepcopy(_host_list(container, "Mounts"))
    for mount in mounts:
        if _is_anonymous(mount):
            mount["Source"] = volumes[_mount_target(mount)]["Name"]
    return mounts


def _named_bind(target: str, mount: Mapping[str, Any]) -> str:
    # The name, not the path on the host; and not `Mode`, which the engine sets for its own volumes.
    return f"{mount.get('Name', '')}:{target}" + ("" if mount.get("RW", True) else ":ro")


def _host_list(container: JsonObject, key: str) -> list[Any]:
    return section(container, "HostConfig").get(key) or []


def _has_source(bind: str) -> bool:
    return ":" in bind  # a bind of one part is the destination of an anonymous volume


def _bind_target(bind: str) -> str:
    parts = bind.split(":")
    return clean_path(parts[1] if len(parts) > 1 else parts[0])


def _mount_target(mount: Mapping[str, Any]) -> str:
    return clean_path(mount.get("Target", ""))


def _is_anonymous(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume" and is_empty(mount.get("Source"))
