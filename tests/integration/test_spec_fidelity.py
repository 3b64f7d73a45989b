"""A successor equals what the same create request gives with the new image, on the real engine."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
import socket
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from tests.support.docker_cli import TESTBED_LABEL, DockerCli, busybox_root
from tests.support.testbed import read_testbed
from watchtower_async.engine import spec_config, spec_host, spec_network
from watchtower_async.engine.inventory import read_container
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, recreate

pytestmark = pytest.mark.engine

JsonObject = dict[str, Any]
Case = tuple[str, JsonObject, tuple[str, ...]]
Extra = tuple[tuple[str, JsonObject], ...]

V1 = (
    "ENV A=old",
    "ENV KEPT=same",
    "ENV GONE=1",
    "LABEL moving=1 kept=1 gone=1",
    'ENTRYPOINT ["/bin/busybox"]',
    'CMD ["sleep","1000"]',
    "WORKDIR /tmp",
    "USER 1000",
    "EXPOSE 8080 9090",
    "VOLUME /data",
    "VOLUME /dropped",
    "STOPSIGNAL SIGINT",
    "HEALTHCHECK --interval=50s --timeout=7s --retries=4 CMD /bin/true",
)
V2 = (
    "ENV A=new",
    "ENV KEPT=same",
    "ENV ADDED=1",
    "LABEL moving=2 kept=1 added=1",
    'ENTRYPOINT ["/bin/busybox"]',
    'CMD ["sleep","2000"]',
    "WORKDIR /data",
    "USER 2000",
    "EXPOSE 8080 7070",
    "VOLUME /data",
    "VOLUME /added",
    "STOPSIGNAL SIGTERM",
    "HEALTHCHECK --interval=60s --timeout=8s --start-period=3s CMD /bin/false",
)
CLASSIC = {"DOCKER_BUILDKIT": "0"}
"""The builder that every engine brings."""

BARE_V1 = ("ENV A=old",)
BARE_V2 = ("ENV A=new", "USER 2000")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(slots=True)
class Bed:
    """The engine, two generations of an image and two networks, all with a prefix of this run."""

    docker: DockerCli
    prefix: str
    socket_path: str
    facts: EngineFacts = field(default_factory=lambda: EngineFacts(api_version=(1, 41)))

    def call(self, method: str, path: str, body: object = None, **parameters: str) -> Any:
        """Send one request in the newest API version that both know; fail the test on an error."""
        version = ".".join(str(part) for part in self.facts.api_version)
        connection = UnixConnection(self.socket_path)
        try:
            target = f"/v{version}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
            payload = None if body is None else json.dumps(body)
            connection.request(method, target, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status < 400, f"{method} {path}: {answer.status} {text}"
        return json.loads(text) if text.strip() else None

    def create(
        self,
        name: str,
        request: JsonObject,
        extra: Extra = (),
        platform: str | None = None,
    ) -> str:
        """Create a container and connect its further networks; return its id."""
        parameters = {"name": f"{self.prefix}-{name}"} | ({"platform": platform} if platform else {})
        container_id = str(self.call("POST", "/containers/create", request, **parameters)["Id"])
        for network, endpoint in extra:
            body = {"Container": container_id, "EndpointConfig": endpoint}
            self.call("POST", f"/networks/{network}/connect", body)
        return container_id

    def inspect(self, container_id: str) -> JsonObject:
        """Return the container's inspect document."""
        return cast("JsonObject", self.call("GET", f"/containers/{container_id}/json"))

    def image(self, name: str) -> JsonObject:
        """Return an image's inspect document."""
        return cast("JsonObject", self.call("GET", f"/images/{name}/json"))

    def neighbourhood(self) -> Neighbourhood:
        """Return what is on the engine now."""
        return Neighbourhood(read_container(item) for item in self.call("GET", "/containers/json", all="1"))

    def companion(self) -> JsonObject:
        """Return the container that others may share something with. It runs as long as the tests do."""
        return self.inspect(f"{self.prefix}-companion")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Make images and networks; remove everything of this run afterwards."""
    found = read_testbed()
    if found is None:
        pytest.skip("no test bed")
    if not found.engine.startswith("unix://"):
        pytest.skip("the engine has no unix socket")
    run = f"watchtower-async.run={uuid.uuid4().hex[:8]}"
    prefix = "wta-spec-" + run.rpartition("=")[2]
    docker = DockerCli(
        found.engine, tmp_path_factory.mktemp("docker"), labels=(TESTBED_LABEL, run), environment=CLASSIC
    )
    bed = Bed(docker, prefix, found.engine.removeprefix("unix://"))
    try:
        bed.facts = _facts(bed)
        for kind, old, new in (("full", V1, V2), ("bare", BARE_V1, BARE_V2)):
            _make_image(docker, f"{prefix}-{kind}:v1", old)
            _make_image(docker, f"{prefix}-{kind}:v2", new)
        labels = docker.label_options
        docker("network", "create", *labels, "--subnet", "10.213.41.0/24", f"{prefix}-one")
        docker("network", "create", *labels, f"{prefix}-two")
        docker("volume", "create", *labels, f"{prefix}-shared")
        companion = ("--ipc", "shareable", "--hostname", "companion", "--volume", f"{prefix}-shared:/shared:ro")
        docker("run", "--detach", "--name", f"{prefix}-companion", *labels, *companion, f"{prefix}-full:v1")
        yield bed
    finally:
        left = docker.remove_labelled(run)
        assert not left, left


def _make_image(docker: DockerCli, name: str, instructions: tuple[str, ...]) -> None:
    # `import` does not know STOPSIGNAL, a build does.
    base = docker.import_image(name)
    dockerfile = "\n".join((f"FROM {base}", *instructions))
    docker("build", "--quiet", "--tag", name, "-", stdin=dockerfile.encode())


def _facts(bed: Bed) -> EngineFacts:
    version = bed.call("GET", "/version")
    known = tuple(int(part) for part in version["ApiVersion"].split("."))
    info = bed.call("GET", "/info")
    architecture = version["Arch"]
    return EngineFacts(
        api_version=min((known[0], known[1]), (1, 51)), host_name=info["Name"], platform=f"linux/{architecture}"
    )


def _volume_names(document: JsonObject) -> list[str]:
    shown = [mount.get("Name") for mount in document["Mounts"] if mount["Type"] == "volume"]
    return [name for name in [*shown, *_anonymous(document).values()] if name]


# ---- requests ------------------------------------------------------------------------------------------------------


def _case(image: str = "full", *, extra: tuple[str, ...] = (), **request: Any) -> Case:
    return image, {"HostConfig": {}, **request}, extra


def _host(**settings: Any) -> Case:
    return _case(HostConfig=settings)


SECOND = 1_000_000_000

_CARD_SYSCTL = "net.ipv4.conf.eth0.forwarding"

CASES: dict[str, Case] = {
    "plain": _case(),
    "plain on a bare image": _case("bare", Cmd=["/bin/busybox", "sleep", "9"]),
    "environment": _case(Env=["A=mine", "OWN=1", "EMPTY=", "GONE"]),
    "labels": _case(Labels={"moving": "mine", "own": "1"}),
    "command": _case(Cmd=["sleep", "5"]),
    "entrypoint and command": _case(Entrypoint=["/bin/sleep"], Cmd=["5"]),
    "entrypoint only": _case(Entrypoint=["/bin/true"]),
    "entrypoint of the image, without its command": _case(Entrypoint=["/bin/busybox"]),
    "no entrypoint as empty list": _case(Entrypoint=[], Cmd=["/bin/sleep", "5"]),
    "no entrypoint as empty list, command of the image": _case(Entrypoint=[]),
    "no entrypoint as empty text": _case(Entrypoint=[""], Cmd=["/bin/sleep", "5"]),
    "user, directory, signal": _case(User="7:7", WorkingDir="/mine", StopSignal="SIGQUIT", StopTimeout=7),
    "stop at once": _case(StopTimeout=0),
    "host name": _case(Hostname="mine", Domainname="example.test"),
    "terminal": _case(Tty=True, OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True, AttachStderr=True),
    "no health check": _case(Healthcheck={"Test": ["NONE"]}),
    "own health check": _case(Healthcheck={"Test": ["CMD", "/bin/id"], "Interval": 9 * SECOND}),
    "part of a health check": _case(Healthcheck={"Retries": 9, "StartPeriod": SECOND}),
    "health check on a bare image": _case(
        "bare", Cmd=["/bin/sleep", "9"], Healthcheck={"Test": ["CMD-SHELL", "id"], "Timeout": SECOND}
    ),
    "ports": _case(
        ExposedPorts={"8080/tcp": {}, "9090/tcp": {}, "53/udp": {}, "81/tcp": {}},
        HostConfig={
            "PortBindings": {
                "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28471"}],
                "9090/tcp": [{"HostIp": "", "HostPort": ""}],
                "53/udp": [{"HostIp": "", "HostPort": "28472-28479"}],
            }
        },
    ),
    "all ports": _host(PublishAllPorts=True),
    "volumes": _case(
        Volumes={"/own": {}, "/data": {}},
        HostConfig={
            "Binds": ["{prefix}-named:/named", "/usr/share:/host:ro", "{prefix}-named:/data:rw,nocopy", "/alone"],
            "Mounts": [
                {"Type": "volume", "Source": "{prefix}-mount", "Target": "/mount", "ReadOnly": True},
                {"Type": "volume", "Target": "/nameless", "VolumeOptions": {"NoCopy": True}},
                {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 448}},
                {
                    "Type": "bind",
                    "Source": "/usr/share",
                    "Target": "/bound",
                    "BindOptions": {"Propagation": "rprivate"},
                },
            ],
            "Tmpfs": {"/run": "rw,size=65536k", "/plain": ""},
        },
    ),
    "limits": _host(
        Memory=64 << 20,
        MemoryReservation=32 << 20,
        CpuShares=512,
        NanoCpus=500_000_000,
        CpusetCpus="0",
        PidsLimit=50,
        BlkioWeight=0,
        OomScoreAdj=100,
        ShmSize=1 << 20,
        MemorySwappiness=0,
        OomKillDisable=True,
        Ulimits=[{"Name": "nofile", "Soft": 100, "Hard": 200}, {"Name": "core", "Soft": 0, "Hard": 0}],
    ),
    "swap limit": _host(Memory=64 << 20, MemorySwap=-1, CpuPeriod=50000, CpuQuota=25000),
    "other swap limit": _host(Memory=64 << 20, MemorySwap=96 << 20),
    "zero swappiness and process limit": _host(MemorySwappiness=-1, PidsLimit=-1),
    "kernel settings": _host(Sysctls={"net.ipv4.ip_forward": "1"}),
    "kernel settings of a network card": _host(Sysctls={_CARD_SYSCTL: "1"}),
    "capabilities": _host(CapAdd=["NET_ADMIN", "CAP_SYS_TIME"], CapDrop=["ALL"], GroupAdd=["7", "8"]),
    "names": _host(
        Dns=["10.1.1.1"],
        DnsOptions=["ndots:1"],
        DnsSearch=["example.test"],
        ExtraHosts=["one:10.0.0.1", "gateway:host-gateway"],
    ),
    "restart always": _host(RestartPolicy={"Name": "always"}),
    "restart unless stopped": _host(RestartPolicy={"Name": "unless-stopped", "MaximumRetryCount": 0}),
    "restart on failure": _host(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 5}),
    "restart no": _host(RestartPolicy={"Name": "no"}),
    "logs": _host(LogConfig={"Type": "json-file", "Config": {"max-size": "1m", "tag": "{{.Name}}"}}),
    "no logs": _host(LogConfig={"Type": "none", "Config": {}}),
    "init": _host(Init=True),
    "no init": _host(Init=False),
    "read only": _host(ReadonlyRootfs=True, SecurityOpt=["no-new-privileges"]),
    "privileged": _host(Privileged=True),
    "unmasked": _host(MaskedPaths=[], ReadonlyPaths=[]),
    "own masks": _host(MaskedPaths=["/proc/kcore"], ReadonlyPaths=["/proc/sys"]),
    "host namespaces": _host(PidMode="host", IpcMode="host", UTSMode="host", CgroupnsMode="host", UsernsMode="host"),
    "shareable ipc and private cgroups": _host(IpcMode="shareable", CgroupParent="/wta-spec"),
    "devices": _host(
        Devices=[{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}],
        DeviceCgroupRules=["c 1:3 rwm"],
    ),
    "host network": _host(NetworkMode="host"),
    "host network and a name": _case(Hostname="mine", HostConfig={"NetworkMode": "host"}),
    "no network": _host(NetworkMode="none"),
    "bridge by name": _host(NetworkMode="bridge"),
    "hardware address": _case(MacAddress="02:11:22:33:44:55"),
    "network": _case(
        HostConfig={"NetworkMode": "{prefix}-one"},
        NetworkingConfig={
            "EndpointsConfig": {
                "{prefix}-one": {"Aliases": ["svc", "other"], "IPAMConfig": {"IPv4Address": "10.213.41.77"}}
            }
        },
    ),
    "network and host name": _case(
        Hostname="mine",
        MacAddress="02:11:22:33:44:66",
        HostConfig={"NetworkMode": "{prefix}-one"},
        NetworkingConfig={"EndpointsConfig": {"{prefix}-one": {"Aliases": ["svc"], "DriverOpts": {"a": "b"}}}},
    ),
    "two networks": _case(
        HostConfig={"NetworkMode": "{prefix}-two"},
        NetworkingConfig={"EndpointsConfig": {"{prefix}-two": {"Aliases": ["svc"]}}},
        extra=("{prefix}-one", "bridge"),
    ),
    "bridge and a network": _case(extra=("{prefix}-one",)),
    "network of another": _host(NetworkMode="container:{prefix}-companion", DnsSearch=["example.test"]),
    "processes of another": _host(PidMode="container:{prefix}-companion"),
    "memory of another": _host(IpcMode="container:{prefix}-companion"),
    "all namespaces of another": _host(
        NetworkMode="container:{prefix}-companion",
        PidMode="container:{prefix}-companion",
        IpcMode="container:{prefix}-companion",
    ),
    "links": _host(Links=["{prefix}-companion:db", "{prefix}-companion:other", "{prefix}-companion"]),
    "network links": _case(
        HostConfig={"NetworkMode": "{prefix}-one"},
        NetworkingConfig={"EndpointsConfig": {"{prefix}-one": {"Links": ["{prefix}-companion:db"]}}},
    ),
    "volumes of another": _host(VolumesFrom=["{prefix}-companion:ro"]),
    "volumes of another and own ones": _case(
        Volumes={"/own": {}, "/shared": {}},
        HostConfig={"VolumesFrom": ["{prefix}-companion"], "Binds": ["{prefix}-named:/data", "/alone", "/dropped"]},
    ),
    "removes itself": _host(AutoRemove=True),
    "runtime and console": _host(Runtime="runc", ConsoleSize=[40, 80], Annotations={"a": "b"}),
    "security options": _host(SecurityOpt=["seccomp=unconfined", "no-new-privileges"], CapAdd=["ALL"]),
    "processor limits": _host(CpuPeriod=100_000, CpuQuota=50_000, CpusetMems="0"),
    "link-local and second static address": _case(
        HostConfig={"NetworkMode": "{prefix}-one"},
        NetworkingConfig={
            "EndpointsConfig": {
                "{prefix}-one": {
                    "IPAMConfig": {"IPv4Address": "10.213.41.80", "LinkLocalIPs": ["169.254.34.68"]},
                    "DriverOpts": {"com.example.option": "1"},
                }
            }
        },
        MacAddress="02:11:22:33:44:77",
        Domainname="example.test",
    ),
}

_EXTRA_ENDPOINTS: dict[str, JsonObject] = {
    "{prefix}-one": {"Aliases": ["second"], "IPAMConfig": {"IPv4Address": "10.213.41.78"}},
    "bridge": {},
}


def _filled(value: Any, prefix: str) -> Any:
    """Write this run's prefix into names."""
    return json.loads(json.dumps(value).replace("{prefix}", prefix))


def _request(bed: Bed, case: str, version: str) -> tuple[JsonObject, Extra]:
    image, request, extra = deepcopy(CASES[case])
    if bed.facts.api_version >= (1, 48) and _CARD_SYSCTL in request["HostConfig"].get("Sysctls", {}):
        request = _with_the_endpoint(request)
    request["Image"] = f"{bed.prefix}-{image}:{version}"
    endpoints = tuple((name, _EXTRA_ENDPOINTS[name]) for name in extra)
    filled, connected = _filled([request, endpoints], bed.prefix)
    return filled, tuple((name, endpoint) for name, endpoint in connected)


def _with_the_endpoint(request: JsonObject) -> JsonObject:
    """Ask for the setting of a network card as engines from API 1.48 on want it."""
    options = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"}
    return {**request, "HostConfig": {}, "NetworkingConfig": {"EndpointsConfig": {"bridge": {"DriverOpts": options}}}}


def _retagged(request: JsonObject) -> JsonObject:
    """Turn the request to the new image, as moving the tag would."""
    assert str(request["Image"]).endswith(":v1")
    return {**request, "Image": str(request["Image"]).removesuffix("v1") + "v2"}


# ---- comparison ----------------------------------------------------------------------------------------------------

VOLATILE = (
    "Id",
    "Created",
    "Name",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "GraphDriver",
    "State",
)
RESULTS = (
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "DNSNames",
)
# Everywhere else the engine treats null, absent and empty as one, and inspect shows whichever was sent.
EXACT = (
    "Config.Entrypoint",
    "Config.StopTimeout",
    "HostConfig.Init",
    "HostConfig.MaskedPaths",
    "HostConfig.MemorySwappiness",
    "HostConfig.ReadonlyPaths",
)
_VOLUME_NAME = re.compile(r"\b[0-9a-f]{64}\b")


def _comparable(document: JsonObject, carried: frozenset[str]) -> JsonObject:
    """Return what must be equal: no ids, no times, no addresses that the engine chose; carried volumes as a list."""
    shown = {key: value for key, value in deepcopy(document).items() if key not in VOLATILE}
    short, config, host = document["Id"][:12], shown["Config"], shown["HostConfig"]
    config["Hostname"] = "short id" if config["Hostname"] == short else config["Hostname"]
    # What an image volume became is compared through `Mounts`; that it is a bind by name now is the known departure.
    host["Binds"] = [bind for bind in host["Binds"] or [] if not _is_carried(bind, carried)] or None
    for mount in host.get("Mounts") or []:
        mount["Source"] = _VOLUME_NAME.sub("", mount.get("Source") or "")
    config["Env"] = sorted(config["Env"] or [])
    shown["Mounts"] = sorted((_comparable_mount(mount) for mount in shown["Mounts"]), key=str)
    networks = {
        name: {key: value for key, value in endpoint.items() if key not in RESULTS}
        for name, endpoint in shown.pop("NetworkSettings")["Networks"].items()
    }
    # Shown in random order.
    own = f":{document['Name']}/"
    host["Links"] = sorted(link.replace(own, ":/me/") for link in host.get("Links") or [])
    for endpoint in networks.values():
        endpoint["Aliases"] = sorted(alias for alias in endpoint["Aliases"] or [] if alias != short)
    shown["Networks"] = networks
    # Flat, so that a failure names the field.
    parts = {f"{part}.{key}": value for part in ("Config", "HostConfig") for key, value in shown.pop(part).items()}
    return shown | {key: value for key, value in parts.items() if key in EXACT or value not in (None, "", [], {})}


def _is_carried(bind: str, carried: frozenset[str]) -> bool:
    name, _, target = bind.rpartition(":")
    return target in carried and (not name or _VOLUME_NAME.fullmatch(name) is not None)


def _comparable_mount(mount: JsonObject) -> JsonObject:
    fixed = {key: mount.get(key) for key in ("Type", "Destination", "RW", "Driver", "Propagation")}
    names = {key: _VOLUME_NAME.sub("volume", str(mount.get(key) or "")) for key in ("Name", "Source")}
    if "volume" in names["Source"].split("/"):
        names["Name"] = "volume"  # which newer engines do not show of one that a bind asked for without a name
    return fixed | names


def _anonymous(document: JsonObject) -> dict[str, str]:
    # Newer engines show the name of some only within the path on the host.
    found = {
        mount["Destination"]: _VOLUME_NAME.search(f"{mount.get('Name') or mount['Source']}")
        for mount in document["Mounts"]
    }
    return {target: match[0] for target, match in found.items() if match is not None}


def _recreated(bed: Bed, predecessor: JsonObject, image: str, successors: dict[str, str] | None = None) -> Recreation:
    old, new = bed.image(predecessor["Image"]), bed.image(f"{bed.prefix}-{image}:v2")
    result = recreate(
        container=predecessor,
        old_image=old,
        new_image=new,
        engine=bed.facts,
        neighbourhood=bed.neighbourhood(),
        successors=successors or {},
    )
    assert isinstance(result, Recreation), result
    return result


@pytest.fixture
def make(bed: Bed) -> Iterator[Callable[..., JsonObject]]:
    """Create containers, from a request or from a command line; they are removed after the test with their volumes."""
    made: list[str] = []

    def create(request: JsonObject | list[str], extra: Extra = ()) -> JsonObject:
        name = f"{bed.prefix}-{uuid.uuid4().hex[:8]}"
        if isinstance(request, list):
            made.append(bed.docker("create", "--name", name, *bed.docker.label_options, *request))
        else:
            made.append(bed.create(name, request, extra))
        return bed.inspect(made[-1])

    yield create
    # A volume that was carried over has a name in the successor, and `v` spares named ones.
    listed = {item["Id"] for item in bed.call("GET", "/containers/json", all="1")}
    left = [one for one in made if one in listed]
    volumes = {name for one in left for name in _volume_names(bed.inspect(one))}
    for container_id in left:
        bed.call("DELETE", f"/containers/{container_id}", force="1")
    for name in sorted(volumes - set(_volume_names(bed.companion()))):
        bed.call("DELETE", f"/volumes/{name}")


@pytest.mark.parametrize("state", ["created", "started"])
@pytest.mark.parametrize("case", CASES)
def test_successor_equals_same_request_on_new_image(
    bed: Bed, make: Callable[..., JsonObject], case: str, state: str
) -> None:
    """Field by field, the successor is what the original request makes of the new image."""
    predecessor = make(*_request(bed, case, "v1"))
    if state == "started":
        predecessor = _started(bed, predecessor)
    before = deepcopy(predecessor)
    recreation = _recreated(bed, predecessor, CASES[case][0])
    successor = make(_retagged(recreation.request), recreation.extra_networks)
    oracle = make(*_request(bed, case, "v2"))
    _assert_equal(predecessor, successor, oracle)
    assert before == predecessor


def _assert_equal(predecessor: JsonObject, successor: JsonObject, oracle: JsonObject) -> None:
    """The successor is the oracle, but for the volumes with data that it took over."""
    volumes = _anonymous(predecessor)
    carried, dropped = frozenset(volumes), frozenset(volumes) - frozenset(_anonymous(oracle))
    expected, found = _comparable(oracle, carried), _comparable(successor, carried)
    found["Mounts"] = [mount for mount in found["Mounts"] if mount["Destination"] not in dropped]
    assert expected == found
    assert volumes == {target: name for target, name in _anonymous(successor).items() if target in volumes}


def _started(bed: Bed, container: JsonObject) -> JsonObject:
    """Start the container and return what inspect shows then, with addresses and all."""
    bed.call("POST", f"/containers/{container['Id']}/start")
    return bed.inspect(container["Id"])


def test_engine_shows_no_setting_that_is_unknown(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """Every key of this engine's inspect has a rule, set or not."""
    document = _started(bed, make(*_request(bed, "two networks", "v1")))
    assert set(document["Config"]) <= spec_config.KNOWN
    assert set(document["HostConfig"]) <= spec_host.KNOWN
    for endpoint in document["NetworkSettings"]["Networks"].values():
        assert set(endpoint) <= spec_network.KNOWN


@pytest.mark.parametrize("case", CASES)
def test_second_recreation_asks_for_the_same(bed: Bed, make: Callable[..., JsonObject], case: str) -> None:
    """Re-creating the successor once more, on the same image, sends the same request."""
    predecessor = make(*_request(bed, case, "v1"))
    first = _recreated(bed, predecessor, CASES[case][0])
    second = _recreated(bed, make(first.request, first.extra_networks), CASES[case][0])
    assert first.request == second.request
    assert first.extra_networks == second.extra_networks


COMMAND_LINES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "foreground": ("--interactive", "--tty", "--publish", "127.0.0.1::8080", "--publish-all", "--env", "A=mine"),
    "volumes": ("--volume", "/data", "--volume", "{prefix}-cli:/named:ro", "--mount", "type=volume,dst=/nameless"),
    "entrypoint": ("--entrypoint", "/bin/true", "--no-healthcheck", "--stop-timeout", "3", "--stop-signal", "QUIT"),
    "network": ("--network", "{prefix}-one", "--ip", "10.213.41.90", "--network-alias", "svc", "--hostname", "mine"),
    "limits": ("--memory", "64m", "--ulimit", "nofile=10:20", "--restart", "on-failure:3", "--log-opt", "max-size=1m"),
    "security": (
        "--privileged",
        "--init",
        "--read-only",
        "--tmpfs",
        "/run",
        "--security-opt",
        "systempaths=unconfined",
    ),
    "health": ("--health-cmd", "id", "--health-interval", "3s", "--health-retries", "2"),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_successor_equals_same_command_line_on_new_image(bed: Bed, make: Callable[..., JsonObject], case: str) -> None:
    """The same holds for what the command line sends, which fills in more than a bare request."""

    def command_line(version: str) -> list[str]:
        return [*_filled(COMMAND_LINES[case], bed.prefix), f"{bed.prefix}-full:{version}"]

    predecessor = make(command_line("v1"))
    recreation = _recreated(bed, predecessor, "full")
    successor = make(_retagged(recreation.request), recreation.extra_networks)
    _assert_equal(predecessor, successor, make(command_line("v2")))


def test_started_successor_has_the_static_addresses_again(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """On every network, the address that was asked for and the aliases are those of the predecessor."""
    predecessor = _started(bed, make(*_request(bed, "two networks", "v1")))
    recreation = _recreated(bed, predecessor, "full")
    successor = make(_retagged(recreation.request), recreation.extra_networks)
    bed.call("POST", f"/containers/{predecessor['Id']}/kill")
    networks = _started(bed, successor)["NetworkSettings"]["Networks"]
    assert {f"{bed.prefix}-one", f"{bed.prefix}-two", "bridge"} == set(networks)
    assert networks[f"{bed.prefix}-one"]["IPAddress"] == "10.213.41.78"
    assert "svc" in networks[f"{bed.prefix}-two"]["Aliases"]


def test_successor_stays_out_of_a_network_that_was_left(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """A container that left the network of its mode is connected where it is now, and only there."""
    predecessor = _started(bed, make(*_request(bed, "two networks", "v1")))
    bed.call("POST", f"/networks/{bed.prefix}-two/disconnect", {"Container": predecessor["Id"]})
    recreation = _recreated(bed, bed.inspect(predecessor["Id"]), "full")
    successor = make(_retagged(recreation.request), recreation.extra_networks)
    bed.call("POST", f"/containers/{predecessor['Id']}/kill")
    networks = _started(bed, successor)["NetworkSettings"]["Networks"]
    assert {f"{bed.prefix}-one", "bridge"} == set(networks)


def test_network_given_by_id_is_found_again(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """A network mode that is an id keeps its text, and the endpoint keeps what was asked for."""
    network = bed.docker("network", "inspect", "--format", "{{.Id}}", f"{bed.prefix}-one")
    endpoint = {"IPAMConfig": {"IPv4Address": "10.213.41.79"}}
    request = {
        "Image": f"{bed.prefix}-full:v1",
        "HostConfig": {"NetworkMode": network},
        "NetworkingConfig": {"EndpointsConfig": {f"{bed.prefix}-one": endpoint}},
    }
    predecessor = _started(bed, make(request))
    recreation = _recreated(bed, predecessor, "full")
    successor = make(_retagged(recreation.request), recreation.extra_networks)
    bed.call("POST", f"/containers/{predecessor['Id']}/kill")
    started = _started(bed, successor)
    assert started["HostConfig"]["NetworkMode"] == network
    assert {f"{bed.prefix}-one": "10.213.41.79"} == {
        name: end["IPAddress"] for name, end in started["NetworkSettings"]["Networks"].items()
    }


# ---- data and other containers -------------------------------------------------------------------------------------


def _write(bed: Bed, container_id: str, path: str, text: str) -> None:
    """Put a file into a container."""
    bed.docker("cp", "-", f"{container_id}:/", stdin=_archive({path.lstrip("/"): text.encode()}))


def _archive(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _read(bed: Bed, container_id: str, path: str) -> str:
    """Return a file of a container that runs."""
    return bed.docker("exec", container_id, "/bin/cat", path)


def test_volumes_of_another_hold_the_data_after_both_moved(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """First the source is replaced, then its user: the data is there, and still comes from the source."""
    image = f"{bed.prefix}-full:v1"
    source = make({"Image": image, "HostConfig": {}})
    name = source["Name"].removeprefix("/")
    user = make({"Image": image, "HostConfig": {"VolumesFrom": [f"{source['Id']}:ro"]}})
    _write(bed, source["Id"], "/data/kept", "data")
    successors: dict[str, str] = {}
    moved = make(_retagged(_recreated(bed, source, "full", successors).request))
    successors[source["Id"]] = moved["Id"]
    request = _retagged(_recreated(bed, user, "full", successors).request)
    assert request["HostConfig"]["VolumesFrom"] == [f"{name}:ro"]
    assert "Binds" not in request["HostConfig"]
    successor = _started(bed, make(request))
    assert _read(bed, successor["Id"], "/data/kept") == "data"
    assert {mount["Destination"]: mount["RW"] for mount in successor["Mounts"]}["/data"] is False


def test_container_that_removes_itself_leaves_its_data(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """The successor is created before the predecessor and its volumes vanish, and so the data stays."""
    request = {"Image": f"{bed.prefix}-full:v1", "HostConfig": {"AutoRemove": True}}
    predecessor = make(request)
    _write(bed, predecessor["Id"], "/data/kept", "data")
    predecessor = _started(bed, predecessor)
    recreation = _recreated(bed, predecessor, "full")
    successor = make(_retagged(recreation.request))
    assert recreation.vanishes_at_stop
    bed.call("POST", f"/containers/{predecessor['Id']}/kill")
    deadline = time.monotonic() + 10
    while predecessor["Id"] in [item["Id"] for item in bed.call("GET", "/containers/json", all="1")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert _read(bed, _started(bed, successor)["Id"], "/data/kept") == "data"


def test_paused_container_is_recreated_like_a_running_one(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """Only the flag differs."""
    predecessor = _started(bed, make(*_request(bed, "network", "v1")))
    running = _recreated(bed, predecessor, "full")
    bed.call("POST", f"/containers/{predecessor['Id']}/pause")
    paused = _recreated(bed, bed.inspect(predecessor["Id"]), "full")
    bed.call("POST", f"/containers/{predecessor['Id']}/unpause")
    assert [running.is_paused, paused.is_paused] == [False, True]
    assert running.request == paused.request


def test_group_shares_namespaces_again(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """The new dependent lives in the new target: it sees its host name, its processes and its address."""
    target = _started(bed, make({"Image": f"{bed.prefix}-full:v1", "Hostname": "shared", "HostConfig": {}}))
    modes = dict.fromkeys(("NetworkMode", "PidMode"), f"container:{target['Id']}")
    dependent = _started(bed, make({"Image": f"{bed.prefix}-full:v1", "HostConfig": modes}))
    successors: dict[str, str] = {}
    moved = [make(_retagged(_recreated(bed, target, "full").request))]
    successors[target["Id"]] = moved[0]["Id"]
    moved.append(make(_retagged(_recreated(bed, dependent, "full", successors).request)))
    for container in (dependent, target):
        bed.call("POST", f"/containers/{container['Id']}/kill")
    new_target, new_dependent = [_started(bed, container) for container in moved]
    address = new_target["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert address in _read(bed, new_dependent["Id"], "/etc/hosts")
    assert _read(bed, new_dependent["Id"], "/proc/1/cgroup") == _read(bed, new_target["Id"], "/proc/1/cgroup")
    assert new_dependent["Config"]["Hostname"] == "shared"


def test_link_leads_to_the_successor(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """The alias means the new address."""
    target = _started(bed, make({"Image": f"{bed.prefix}-full:v1", "HostConfig": {}}))
    links = {"Links": [f"{target['Name'].removeprefix('/')}:db"]}
    user = _started(bed, make({"Image": f"{bed.prefix}-full:v1", "HostConfig": links}))
    moved = _started(bed, make(_retagged(_recreated(bed, target, "full").request)))
    request = _retagged(_recreated(bed, user, "full", {target["Id"]: moved["Id"]}).request)
    new_user = _started(bed, make(request))
    lines = [line for line in _read(bed, new_user["Id"], "/etc/hosts").splitlines() if "db" in line.split()]
    assert [moved["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]] == [line.split()[0] for line in lines]


def _image_archive(name: str, architecture: str, labels: dict[str, str]) -> bytes:
    """Return an image of this architecture in the form that the engine loads."""
    layer = busybox_root({})
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = {"Cmd": ["/bin/sleep"], "Labels": labels}
    document = {"architecture": architecture, "os": "linux", "config": config, "rootfs": rootfs}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    documents = {"config.json": document, "manifest.json": manifest}
    return _archive({"layer.tar": layer, **{name: json.dumps(item).encode() for name, item in documents.items()}})


def test_container_for_another_platform_stays_on_it(bed: Bed, make: Callable[..., JsonObject]) -> None:
    """The image's platform is asked for again, and the engine takes it for the right one."""
    foreign = "linux/arm64" if bed.facts.platform != "linux/arm64" else "linux/amd64"
    name = f"{bed.prefix}-foreign:v1"
    labels = dict(label.split("=", 1) for label in bed.docker.labels)
    bed.docker("load", stdin=_image_archive(name, foreign.partition("/")[2], labels))
    predecessor = make({"Image": name, "HostConfig": {}})
    image = bed.image(predecessor["Image"])
    recreation = recreate(container=predecessor, old_image=image, new_image=image, engine=bed.facts)
    assert isinstance(recreation, Recreation), recreation
    assert foreign == recreation.platform
    created = bed.create("foreign", recreation.request, platform=recreation.platform)
    bed.call("DELETE", f"/containers/{created}")
