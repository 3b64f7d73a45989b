"""Which container am I?"""

import pytest

from tests.support.builders import an_id
from tests.support.small_engine import SmallEngine
from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.identity import (
    SelfContainer,
    Traces,
    candidates,
    container_id_from_cgroup,
    container_id_from_mountinfo,
    find_self,
    looks_like_container,
    read_traces,
    root_layer,
)

OWN, OTHER, NOISE = an_id("own"), an_id("other"), an_id("noise")
UPPER = "/var/lib/docker/overlay2"


def mountinfo(container_id: str = OWN, *, layer: str = "own", file: str = "hostname") -> str:
    """Return what `/proc/self/mountinfo` shows in a container, with as much noise as engines make."""
    overlay = f"lowerdir={UPPER}/{NOISE}/diff:/l/B,upperdir={UPPER}/{layer}/diff,workdir={UPPER}/{layer}/work"
    own_file = f"/var/lib/docker/containers/{container_id}/{file}"
    return "\n".join(
        (
            f"594 500 0:50 / / rw,relatime master:1 - overlay overlay rw,{overlay}",
            "595 594 0:53 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw",
            f"610 594 254:1 /var/lib/docker/volumes/{NOISE}/_data /data rw,relatime - ext4 /dev/vda1 rw",
            f"611 594 254:1 {own_file} /etc/{file} rw,relatime - ext4 /dev/vda1 rw",
        )
    )


def a_document(
    container_id: str, *, mode: str = "bridge", layer: str | None = "own", name: str = "updater"
) -> JsonObject:
    """Return what the engine says about a container."""
    data = {"UpperDir": f"{UPPER}/{layer}/diff"} if layer else None
    return {"Id": container_id, "Name": f"/{name}", "HostConfig": {"NetworkMode": mode}, "GraphDriver": {"Data": data}}


@pytest.mark.parametrize("file", ["hostname", "hosts", "resolv.conf"])
def test_id_is_in_the_path_of_a_file_that_the_engine_mounts(file: str) -> None:
    """Any of the three files will do; overlay options and volume names are passed over."""
    assert container_id_from_mountinfo(mountinfo(file=file)) == OWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a b c", None),
        (f"1 2 0:1 /users/user/hosts /etc/hosts rw - ext4 /dev/{NOISE} rw", None),
        (f"1 2 0:1 /containers/{OWN}0/hosts /etc/hosts rw - ext4 /dev/vda1 rw", None),
        (f"1 2 0:1 /storage/overlay-containers/{OWN}/userdata/hosts /etc/hosts rw - ext4 /dev/vda1 rw", OWN),
        (f"1 2 0:1 /containers/{NOISE}/hosts /data/etc/hosts rw - ext4 /dev/vda1 rw", None),
    ],
)
def test_only_the_root_field_of_such_a_mount_counts(text: str, expected: str | None) -> None:
    """A user's own file says nothing; Podman keeps its files elsewhere."""
    assert expected == container_id_from_mountinfo(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/", None),
        ("", None),
        (f"0::/system.slice/docker-{OWN}.scope", OWN),
        (f"12:pids:/docker/{OWN}\n11:cpu:/docker/{OWN}", OWN),
        (f"12:pids:/\n11:cpu:/docker/{OWN}", OWN),
        (f"1:name=systemd:/docker/{OTHER}/docker/{OWN}", OWN),
        (f"0::/docker/{OWN[:40]}", None),
    ],
)
def test_innermost_control_group_is_the_own_one(text: str, expected: str | None) -> None:
    """With a control-group namespace of its own a container sees nothing."""
    assert expected == container_id_from_cgroup(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (mountinfo(layer="x"), f"{UPPER}/x/diff"),
        ("1 0 254:1 / / rw,relatime - ext4 /dev/vda1 rw", None),
        ("", None),
        (f"1 0 0:5 / /mnt rw - overlay overlay rw,upperdir={UPPER}/x/diff", None),
    ],
)
def test_layer_of_the_root_file_system_is_read(text: str, expected: str | None) -> None:
    """Only the root's own mount counts, and only an overlay tells."""
    assert expected == root_layer(text)


def test_more_reliable_traces_come_first_and_each_once() -> None:
    """Control group, mounted files, host name; a host name that is no short id is none."""
    traces = Traces(mountinfo=mountinfo(OTHER), cgroup=f"0::/docker/{OWN}", host_name=OWN[:12])
    assert candidates(traces) == (OWN, OTHER, OWN[:12])
    assert candidates(Traces(mountinfo(), f"0::/docker/{OWN}", "my-host")) == (OWN,)
    assert candidates(Traces(host_name="deadbeefdeadbeef")) == ()


@pytest.mark.parametrize(
    ("marks", "is_container"),
    [({"/.dockerenv"}, True), ({"/run/.containerenv"}, True), ({"/etc"}, False), (set[str](), False)],
)
def test_mark_of_a_runtime_tells_a_container(marks: set[str], is_container: bool) -> None:
    """Docker and Podman each leave a file."""
    assert looks_like_container(lambda path: path in marks) is is_container


def test_own_traces_can_be_read() -> None:
    """Every Linux process has a root mount and a host name."""
    traces = read_traces()
    assert " / / " in traces.mountinfo
    assert traces.host_name


@pytest.mark.parametrize(
    "traces",
    [
        Traces(mountinfo=mountinfo()),
        Traces(cgroup=f"0::/docker/{OWN}"),
        Traces(host_name=OWN[:12]),
        Traces(mountinfo(OTHER), f"0::/docker/{OWN}"),
        Traces(mountinfo(NOISE), host_name=OWN[:12]),
    ],
)
async def test_container_that_a_trace_names_and_the_engine_knows_is_me(traces: Traces) -> None:
    """One trace that the engine confirms is enough; what it does not know is passed over."""
    engine = SmallEngine(containers=[a_document(OWN), a_document(OTHER, layer="other")])
    assert await find_self(engine, traces=traces) == SelfContainer(OWN, "updater", host_network=False)


@pytest.mark.parametrize(
    "traces",
    [Traces(), Traces(mountinfo=mountinfo(NOISE)), Traces(host_name="deadbeefcafe")],
    ids=["no trace", "another engine", "name"],
)
async def test_container_of_another_engine_is_not_me(traces: Traces) -> None:
    """An id that this engine does not know, or knows as somebody's name, is nobody here."""
    engine = SmallEngine(containers=[a_document(OTHER, name="deadbeefcafe")])
    assert await find_self(engine, traces=traces) is None


async def test_files_of_the_container_whose_network_is_shared_do_not_mislead() -> None:
    """With `container:` networking the mounted files name the other one; the root file system tells us apart."""
    engine = SmallEngine(
        containers=[
            a_document(OTHER, layer="vpn", name="vpn"),
            a_document(NOISE, layer="third", mode=f"container:{OTHER}", name="third"),
            a_document(OWN, mode=f"container:{OTHER}"),
        ]
    )
    found = await find_self(engine, traces=Traces(mountinfo=mountinfo(OTHER), host_name=OTHER[:12]))
    assert found == SelfContainer(OWN, "updater", host_network=False)


async def test_nobody_is_me_where_every_root_file_system_differs() -> None:
    """Leaving the wrong container alone, and updating oneself, would be worse than knowing nothing."""
    engine = SmallEngine(
        containers=[a_document(OTHER, layer="vpn"), a_document(NOISE, layer="x", mode=f"container:{OTHER}")]
    )
    assert await find_self(engine, traces=Traces(mountinfo=mountinfo(OTHER))) is None


async def test_engine_that_tells_no_layer_is_believed() -> None:
    """The containerd image store shows no directory; then the id alone must do."""
    engine = SmallEngine(containers=[a_document(OWN, layer=None)])
    found = await find_self(engine, traces=Traces(mountinfo=mountinfo()))
    assert found is not None
    assert found.id == OWN


@pytest.mark.parametrize(
    ("mode", "target_mode", "is_host"),
    [
        ("host", "", True),
        ("bridge", "", False),
        ("my-net", "", False),
        (f"container:{OTHER}", "host", True),
        (f"container:{OTHER}", "bridge", False),
        (f"container:{NOISE}", "host", False),
    ],
)
async def test_host_network_is_told_also_through_another_container(mode: str, target_mode: str, is_host: bool) -> None:
    """Whoever shares the network of one that shares the host's has the host's; a target that is gone has none."""
    engine = SmallEngine(containers=[a_document(OWN, mode=mode), a_document(OTHER, mode=target_mode, layer="o")])
    found = await find_self(engine, traces=Traces(cgroup=f"0::/docker/{OWN}"))
    assert found is not None
    assert found.host_network is is_host
