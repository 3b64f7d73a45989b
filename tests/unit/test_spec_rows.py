"""Every setting that the specification knows, each with what becomes of it: a list that no setting can be missing from.

A row is what inspect shows and what is sent for it; the rules behind the rows are tested one by one in `test_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.builders import a_container, a_digest, an_id
from tests.support.merge_rules import MASKED_PATHS, READONLY_PATHS, an_image_document, created
from watchtower_async.engine import spec_config, spec_host, spec_network
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate

JsonObject = dict[str, Any]

ENGINE_20 = EngineFacts(api_version=(1, 41), host_name="machine", platform="linux/amd64")
ENGINE_28 = EngineFacts(api_version=(1, 51), host_name="machine", platform="linux/amd64")
DB = a_container("db")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """A value that inspect shows on an engine, and what is sent for it: None where the setting is left out."""

    shown: Any
    sent: Any
    engine: EngineFacts = ENGINE_20
    refused: str = ""
    """The reason, where the container is refused instead."""


def carried(shown: Any, engine: EngineFacts = ENGINE_20) -> Row:
    """A value that is sent as it is shown."""
    return Row(shown, shown, engine)


def dropped(shown: Any, engine: EngineFacts = ENGINE_20) -> Row:
    """A value that is not sent."""
    return Row(shown, None, engine)


def refused(shown: Any, reason: str, engine: EngineFacts = ENGINE_20) -> Row:
    """A value whose container is left alone."""
    return Row(shown, None, engine, reason)


CONFIG: Mapping[str, tuple[Row, ...]] = {
    "Image": (
        carried("registry.example/app:1"),
        refused(a_digest("old"), "Config.Image is an image id"),
        refused("app@" + a_digest("x"), "Config.Image is pinned"),
    ),
    "Hostname": (carried("mine"), dropped(an_id("container")[:12])),
    "Domainname": (carried("example.test"),),
    "User": (carried("7:7"), dropped("image")),
    "WorkingDir": (carried("/mine"), dropped("/image")),
    "StopSignal": (carried("SIGQUIT"), dropped("IMAGE")),
    "Shell": (carried(["/bin/sh"]), dropped(["image"])),
    "AttachStdin": (carried(True),),
    "AttachStdout": (carried(True),),
    "AttachStderr": (carried(True),),
    "Tty": (carried(True),),
    "OpenStdin": (carried(True),),
    "StdinOnce": (carried(True),),
    "NetworkDisabled": (carried(True),),
    "Env": (Row(["A=mine", "FROM=image", "BARE"], ["A=mine", "BARE"]),),
    "Labels": (
        Row({"own": "1", "from": "image"}, {"own": "1"}),
        Row({"com.docker.compose.image": a_digest("old")}, {"com.docker.compose.image": a_digest("new")}),
        refused({"com.docker.swarm.task.id": "x"}, "label com.docker.swarm.task.id"),
    ),
    "Entrypoint": (carried(["mine"]), dropped(["image-entry"])),
    "Cmd": (carried(["mine"]), dropped(["image-command"])),
    "Healthcheck": (
        Row({"Test": ["image"], "Interval": 7}, {"Interval": 7}),
        carried({"Test": ["NONE"]}),
        carried({"Test": ["mine"], "StartInterval": 3}, ENGINE_28),
    ),
    "ExposedPorts": (Row({"80/tcp": {}, "99/udp": {}}, {"99/udp": {}}),),
    "Volumes": (Row({"/image": {}, "/own": {}}, {"/own": {}}),),
    "StopTimeout": (carried(0), carried(9), dropped(None)),
    "MacAddress": (carried("02:11:22:33:44:55"), dropped("02:11:22:33:44:55", ENGINE_28)),
    "OnBuild": (dropped(["RUN x"]),),
    "ArgsEscaped": (dropped(True),),
}

IMAGE: JsonObject = {
    "User": "image",
    "WorkingDir": "/image",
    "StopSignal": "IMAGE",
    "Shell": ["image"],
    "Env": ["FROM=image"],
    "Labels": {"from": "image"},
    "Entrypoint": ["image-entry"],
    "Cmd": ["image-command"],
    "Healthcheck": {"Test": ["image"], "Interval": 5},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/image": {}},
}

HOST: Mapping[str, tuple[Row, ...]] = {
    "LogConfig": (carried({"Type": "json-file", "Config": {"max-size": "1m"}}), dropped({"Type": "", "Config": None})),
    "NetworkMode": (
        carried("host"),
        carried("net"),
        Row("container:db", f"container:{DB.id}"),
        refused("container:gone", "HostConfig.NetworkMode names container gone"),
    ),
    "PidMode": (
        carried("host"),
        Row("container:db", f"container:{DB.id}"),
        refused("container:gone", "HostConfig.PidMode names container gone"),
    ),
    "IpcMode": (
        carried("shareable"),
        Row("container:db", f"container:{DB.id}"),
        refused("container:gone", "HostConfig.IpcMode names container gone"),
    ),
    "Cgroup": (
        Row("container:db", f"container:{DB.id}"),
        refused("container:gone", "HostConfig.Cgroup names container gone"),
    ),
    "UTSMode": (carried("host"),),
    "UsernsMode": (carried("host"),),
    "CgroupnsMode": (carried("private"),),
    "AutoRemove": (carried(True),),
    "Links": (
        Row(["/db:/me/alias"], [f"{DB.id}:alias"]),
        refused(["/gone:/me/alias"], "HostConfig.Links names container gone"),
    ),
    "VolumesFrom": (
        carried(["db:ro"]),
        Row([DB.id], ["db"]),
        refused([an_id("gone")], f"HostConfig.VolumesFrom names container {an_id('gone')[:12]}"),
    ),
    "PortBindings": (
        carried({"80/tcp": [{"HostIp": "::1", "HostPort": "8000-8009"}], "81/tcp": [], "82/udp": [{"HostPort": ""}]}),
    ),
    "PublishAllPorts": (carried(True),),
    "Binds": (
        carried(["/host:/h:ro,z", "named:/data:nocopy", "/share:/s:rshared"]),
        refused(["/nameless"], "Mounts: the name of the anonymous volume at /nameless"),
    ),
    "Mounts": (
        carried([{"Type": "bind", "Source": "/h", "Target": "/b", "BindOptions": {"ReadOnlyNonRecursive": True}}]),
        carried([{"Type": "volume", "Source": "n", "Target": "/v", "VolumeOptions": {"Subpath": "a/b"}}], ENGINE_28),
        carried([{"Type": "image", "Source": "app:2", "Target": "/i", "ImageOptions": {"Subpath": "a"}}], ENGINE_28),
        carried([{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 9, "Options": [["exec"]]}}]),
        refused([{"Type": "volume", "Target": "/v"}], "Mounts: the name of the anonymous volume at /v"),
    ),
    "Tmpfs": (carried({"/run": "rw,size=64k"}),),
    "VolumeDriver": (carried("local"),),
    "RestartPolicy": (
        carried({"Name": "on-failure", "MaximumRetryCount": 5}),
        dropped({"Name": "", "MaximumRetryCount": 0}),
    ),
    "ConsoleSize": (carried([40, 80]), dropped([0, 0])),
    "Annotations": (carried({"a": "b"}, ENGINE_28),),
    "CapAdd": (carried(["NET_ADMIN"]),),
    "CapDrop": (carried(["ALL"]),),
    "Dns": (carried(["10.0.0.1"]),),
    "DnsOptions": (carried(["ndots:1"]),),
    "DnsSearch": (carried(["example.test"]),),
    "ExtraHosts": (carried(["a:10.0.0.1", "b:host-gateway"]),),
    "GroupAdd": (carried(["7"]),),
    "OomScoreAdj": (carried(-5),),
    "Privileged": (carried(True),),
    "ReadonlyRootfs": (carried(True),),
    "SecurityOpt": (carried(["no-new-privileges", "seccomp=unconfined", "label=disable"]),),
    "StorageOpt": (carried({"size": "1G"}),),
    "ShmSize": (carried(MIB),),
    "Runtime": (carried("runc"),),
    "Isolation": (carried("default"), refused("hyperv", "HostConfig.Isolation is set")),
    "CgroupParent": (carried("/parent"),),
    "CpuShares": (carried(512),),
    "NanoCpus": (carried(5),),
    "CpuPeriod": (carried(1000),),
    "CpuQuota": (carried(500),),
    "CpuRealtimePeriod": (carried(9),),
    "CpuRealtimeRuntime": (carried(9),),
    "CpusetCpus": (carried("0"),),
    "CpusetMems": (carried("0"),),
    "BlkioWeight": (carried(300),),
    "BlkioWeightDevice": (carried([{"Path": "/dev/null", "Weight": 9}]),),
    "BlkioDeviceReadBps": (carried([{"Path": "/dev/null", "Rate": 9}]),),
    "BlkioDeviceWriteBps": (carried([{"Path": "/dev/null", "Rate": 9}]),),
    "BlkioDeviceReadIOps": (carried([{"Path": "/dev/null", "Rate": 9}]),),
    "BlkioDeviceWriteIOps": (carried([{"Path": "/dev/null", "Rate": 9}]),),
    "Memory": (carried(MIB),),
    "MemoryReservation": (carried(MIB),),
    "MemorySwap": (carried(-1), dropped(0)),
    "MemorySwappiness": (carried(0), dropped(-1), dropped(None)),
    "OomKillDisable": (carried(True), dropped(False)),
    "PidsLimit": (carried(9), dropped(None)),
    "Ulimits": (carried([{"Name": "nofile", "Soft": 1, "Hard": 2}]),),
    "Devices": (carried([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]),),
    "DeviceCgroupRules": (carried(["c 1:3 rwm"]),),
    "DeviceRequests": (carried([{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]),),
    "Sysctls": (
        carried({"net.ipv4.conf.eth0.forwarding": "1"}),
        Row({"net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "9"}, {"net.core.somaxconn": "9"}, ENGINE_28),
    ),
    "MaskedPaths": (carried([]), carried(["/proc/kcore"]), dropped(MASKED_PATHS), dropped(None)),
    "ReadonlyPaths": (carried([]), carried(["/proc/sys"]), dropped(READONLY_PATHS), dropped(None)),
    "Init": (carried(True), carried(False), dropped(None)),
    "KernelMemory": (carried(MIB), dropped(MIB, ENGINE_28)),
    "KernelMemoryTCP": (carried(MIB), carried(MIB, ENGINE_28)),
    "ContainerIDFile": (dropped("/tmp/id"),),
    "CpuCount": (dropped(3),),
    "CpuPercent": (dropped(3),),
    "IOMaximumIOps": (dropped(3),),
    "IOMaximumBandwidth": (dropped(3),),
}

ENDPOINT: Mapping[str, tuple[Row, ...]] = {
    "IPAMConfig": (carried({"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.1.1"]}),),
    "Links": (carried(["db:alias"]),),
    "DriverOpts": (carried({"a": "b"}),),
    "GwPriority": (carried(-3, ENGINE_28),),
    "Aliases": (Row(["svc", an_id("container")[:12]], ["svc"]),),
    "MacAddress": (dropped("02:11:22:33:44:55"), dropped("02:11:22:33:44:55", ENGINE_28)),
    "NetworkID": (dropped("n"),),
    "EndpointID": (dropped("e"),),
    "Gateway": (dropped("10.0.0.1"),),
    "IPAddress": (dropped("10.0.0.9"),),
    "IPPrefixLen": (dropped(24),),
    "IPv6Gateway": (dropped("fd00::1"),),
    "GlobalIPv6Address": (dropped("fd00::9"),),
    "GlobalIPv6PrefixLen": (dropped(64),),
    "DNSNames": (dropped(["x"], ENGINE_28),),
}

TABLES = {
    "Config": (CONFIG, spec_config.KNOWN),
    "HostConfig": (HOST, spec_host.KNOWN),
    "NetworkSettings.Networks": (ENDPOINT, spec_network.KNOWN),
}
CASES = [
    pytest.param(where, key, row, id=f"{where}.{key}-{number}")
    for where, (rows, _) in TABLES.items()
    for key, cases in rows.items()
    for number, row in enumerate(cases)
]


@pytest.mark.parametrize("where", TABLES)
def test_every_known_setting_has_a_row(where: str) -> None:
    """A setting that becomes known says here what becomes of it, and no row is left of one that is not known."""
    rows, known = TABLES[where]
    assert known == set(rows)


@pytest.mark.parametrize(("where", "key", "row"), CASES)
def test_setting_is_carried_dropped_or_refused(where: str, key: str, row: Row) -> None:
    """What the row says."""
    container = created({"Image": "registry.example/app:1"}, an_image_document("old", IMAGE))
    if where == "NetworkSettings.Networks":
        container["HostConfig"]["NetworkMode"] = "net"
        container["NetworkSettings"]["Networks"] = {"net": {key: row.shown}}
    else:
        container[where][key] = row.shown
    if key == "NetworkMode" and row.shown == "net":
        container["NetworkSettings"]["Networks"] = {"net": {}}
    if key == "NetworkMode" and row.shown == "host":
        container["NetworkSettings"]["Networks"] = {"host": {}}
    container["Mounts"] = []
    result = recreate(
        container=container,
        old_image=an_image_document("old", IMAGE),
        new_image=an_image_document("new", IMAGE),
        engine=row.engine,
        neighbourhood=Neighbourhood([DB]),
    )
    if row.refused:
        assert isinstance(result, Refusal), result
        assert row.refused in "; ".join(result.reasons)
        return
    assert isinstance(result, Recreation), result
    assert row.sent == _sent(result.request, where).get(key)


def _sent(request: JsonObject, where: str) -> JsonObject:
    if where == "NetworkSettings.Networks":
        endpoints: JsonObject = request.get("NetworkingConfig", {}).get("EndpointsConfig", {}).get("net", {})
        return endpoints
    return request if where == "Config" else dict(request["HostConfig"])
