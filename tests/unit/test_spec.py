"""From inspect to a create request: the rules one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import a_container, a_digest, an_id
from tests.support.merge_rules import MASKED_PATHS, READONLY_PATHS, an_image_document, created
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.spec import (
    EngineFacts,
    Neighbourhood,
    Recreation,
    Refusal,
    recreate,
    refuse_before_pull,
)
from watchtower_async.engine.spec_relations import NO_SUCCESSORS

JsonObject = dict[str, Any]

ENGINE_20 = EngineFacts(api_version=(1, 41), host_name="machine", platform="linux/amd64")
ENGINE_26 = EngineFacts(api_version=(1, 45), host_name="machine", platform="linux/amd64")
ENGINE_28 = EngineFacts(api_version=(1, 51), host_name="machine", platform="linux/amd64")
IMAGE = "registry.example/app:1"


def a_document(
    config: JsonObject | None = None, host: JsonObject | None = None, image: JsonObject | None = None, **rest: Any
) -> JsonObject:
    """Return a running container; `config` and `host` replace what inspect shows."""
    document = created({"Image": IMAGE}, an_image_document("old", image))
    document["Config"] |= config or {}
    document["HostConfig"] |= host or {}
    return document | rest


def recreated(
    container: JsonObject,
    *,
    old: JsonObject | None = None,
    new: JsonObject | None = None,
    engine: EngineFacts = ENGINE_20,
    neighbours: Iterable[ContainerSummary] = (),
    successors: Mapping[str, str] = NO_SUCCESSORS,
) -> Recreation:
    """Return the re-creation; fail when it is refused."""
    new_image = None if new is None else an_image_document("new", new)
    old_image = an_image_document("old", old)
    result = recreate(
        container=container,
        old_image=old_image,
        new_image=new_image,
        engine=engine,
        neighbourhood=Neighbourhood(neighbours),
        successors=successors,
    )
    assert isinstance(result, Recreation), result
    return result


def refused(container: JsonObject, engine: EngineFacts = ENGINE_20, neighbours: Iterable[ContainerSummary] = ()) -> str:
    """Return the reasons of the refusal as one text; fail when there is none."""
    result = recreate(
        container=container,
        old_image=an_image_document("old"),
        new_image=None,
        engine=engine,
        neighbourhood=Neighbourhood(neighbours),
    )
    assert isinstance(result, Refusal)
    return "; ".join(result.reasons)


def host_of(container: JsonObject, engine: EngineFacts = ENGINE_20) -> JsonObject:
    """Return the request's HostConfig."""
    host: JsonObject = recreated(container, engine=engine).request["HostConfig"]
    return host


# ---- config --------------------------------------------------------------------------------------------------------


def test_request_of_a_plain_container_is_nearly_empty() -> None:
    """What the image and the engine filled in is not sent back."""
    old = {"Env": ["A=1"], "Cmd": ["x"], "User": "7", "Labels": {"a": "1"}, "WorkingDir": "/w", "StopSignal": "QUIT"}
    request = recreated(a_document(image=old), old=old).request
    assert {"Image", "HostConfig"} == set(request)


def test_environment_keeps_own_entries_in_order() -> None:
    """Entries that are not literally the image's are the container's own, also without a value."""
    container = a_document({"Env": ["B=2", "A=mine", "HIDDEN", "C=3"]})
    request = recreated(container, old={"Env": ["A=1", "C=3", "HIDDEN=1"]}).request
    assert request["Env"] == ["B=2", "A=mine", "HIDDEN"]


def test_labels_equal_to_the_image_follow_the_image() -> None:
    """A label is the container's own when its value differs."""
    container = a_document({"Labels": {"same": "1", "other": "mine", "own": ""}})
    request = recreated(container, old={"Labels": {"same": "1", "other": "2"}}).request
    assert request["Labels"] == {"other": "mine", "own": ""}


@pytest.mark.parametrize(
    ("stored", "image", "expected"),
    [
        ((["e"], ["c"]), (["e"], ["c"]), {}),
        ((["e"], None), (["e"], ["c"]), {"Entrypoint": ["e"]}),
        ((["e"], []), (["e"], None), {}),
        ((["e"], ["d"]), (["e"], ["c"]), {"Cmd": ["d"]}),
        (([], ["c"]), (["e"], ["c"]), {"Entrypoint": []}),
        (([], ["d"]), (["e"], ["c"]), {"Entrypoint": [], "Cmd": ["d"]}),
        ((None, ["d"]), (["e"], ["c"]), {"Entrypoint": [""], "Cmd": ["d"]}),
        ((None, ["c"]), (["e"], ["c"]), {"Entrypoint": [""], "Cmd": ["c"]}),
        ((["x"], None), (["e"], ["c"]), {"Entrypoint": ["x"]}),
        ((["x"], ["c"]), (["e"], ["c"]), {"Entrypoint": ["x"], "Cmd": ["c"]}),
        ((None, ["c"]), (None, ["c"]), {}),
        (([], ["c"]), (None, ["c"]), {}),
        ((None, ["d"]), ([], ["c"]), {"Cmd": ["d"]}),
        ((["x"], ["c"]), (None, ["c"]), {"Entrypoint": ["x"], "Cmd": ["c"]}),
    ],
)
def test_entrypoint_and_command_are_what_was_asked(
    stored: tuple[Any, Any], image: tuple[Any, Any], expected: JsonObject
) -> None:
    """Null, `[]` and `[""]` mean different things, and the two fields depend on each other."""
    container = a_document({"Entrypoint": stored[0], "Cmd": stored[1]})
    request = recreated(container, old={"Entrypoint": image[0], "Cmd": image[1]}).request
    assert expected == {key: request[key] for key in ("Entrypoint", "Cmd") if key in request}


@pytest.mark.parametrize(
    ("stored", "image", "expected"),
    [
        ({"Test": ["NONE"], "Interval": 5}, {"Test": ["CMD", "x"], "Interval": 5}, {"Test": ["NONE"]}),
        ({"Test": ["NONE"]}, None, {"Test": ["NONE"]}),
        ({"Test": ["CMD", "x"], "Interval": 9, "Retries": 0}, {"Test": ["CMD", "x"], "Interval": 5}, {"Interval": 9}),
        ({"Test": ["CMD", "x"], "Retries": 3}, None, {"Test": ["CMD", "x"], "Retries": 3}),
        ({"Test": ["CMD", "x"]}, {"Test": ["CMD", "x"]}, None),
        (None, None, None),
    ],
)
def test_healthcheck_is_subtracted_by_field(stored: Any, image: Any, expected: Any) -> None:
    """Only fields that differ from the image's are sent; `NONE` is sent alone."""
    request = recreated(a_document({"Healthcheck": stored}), old={"Healthcheck": image}).request
    assert expected == request.get("Healthcheck")


def test_hostname_equal_to_short_id_is_automatic_again() -> None:
    """The default host name is not sent, another one is."""
    assert "Hostname" not in recreated(a_document()).request
    assert recreated(a_document({"Hostname": "mine"})).request["Hostname"] == "mine"


def test_hostname_of_host_namespaces_is_not_sent() -> None:
    """With the host's names the engine shows or refuses the host's own."""
    assert "Hostname" not in recreated(connected("host", {"Hostname": "machine"}, host={})).request
    assert "Hostname" in recreated(connected("host", {"Hostname": "other"}, host={})).request
    assert "Hostname" not in recreated(a_document({"Hostname": "any"}, {"UTSMode": "host"})).request


def test_exposed_ports_of_the_image_stay_when_published() -> None:
    """The command line asks for a port that it publishes, whatever the image exposes."""
    ports: JsonObject = {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}}
    container = a_document({"ExposedPorts": ports}, {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    request = recreated(container, old={"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}).request
    assert request["ExposedPorts"] == {"80/tcp": {}, "82/tcp": {}}


@pytest.mark.parametrize(("stored", "is_sent"), [(0, True), (7, True), (None, False)])
def test_stop_timeout_zero_is_a_value(stored: int | None, is_sent: bool) -> None:
    """0 kills at once; only null is unset."""
    request = recreated(a_document({"StopTimeout": stored})).request
    assert is_sent == ("StopTimeout" in request)


def test_build_time_fields_are_dropped() -> None:
    """Triggers and Windows' command line form mean nothing to a container."""
    request = recreated(a_document({"OnBuild": ["RUN x"], "ArgsEscaped": True})).request
    assert {"Image", "HostConfig"} == set(request)


@pytest.mark.parametrize(("label", "expected"), [(a_digest("old"), a_digest("new")), ("sha256:x", "sha256:x")])
def test_compose_image_label_follows_the_image(label: str, expected: str) -> None:
    """The id of the old image becomes that of the new one; another value stays."""
    container = a_document({"Labels": {"com.docker.compose.image": label}})
    assert {"com.docker.compose.image": expected} == recreated(container, new={}).request["Labels"]
    assert {"com.docker.compose.image": label} == recreated(container).request["Labels"]


# ---- host config ---------------------------------------------------------------------------------------------------


def test_empty_settings_are_not_sent() -> None:
    """Null, empty, zero and false are one; a console of 0 by 0 and a nameless policy are none."""
    base = host_of(a_document())
    empty = {
        "Dns": [],
        "Tmpfs": {},
        "CgroupParent": "",
        "CpuShares": 0,
        "Privileged": False,
        "ConsoleSize": [0, 0],
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "UnknownSetting": None,
        "MemorySwap": 0,
    }
    assert base == host_of(a_document(host=empty))


def test_limit_that_is_left_out_is_not_sent() -> None:
    """Everything else is sent as before."""
    limits = {"NanoCpus": 500_000_000, "CpuShares": 512, "MemorySwappiness": 0, "Memory": 1 << 30}
    container = a_document(host=limits)
    facts = replace(ENGINE_28, left_out=frozenset({"NanoCpus", "MemorySwappiness"}))
    sent = host_of(container, engine=facts)
    usual = host_of(container, engine=ENGINE_28)
    assert sent == {key: value for key, value in usual.items() if key not in ("NanoCpus", "MemorySwappiness")}
    assert limits.keys() <= usual.keys()


@pytest.mark.parametrize(
    ("setting", "value", "is_sent"),
    [
        ("Init", False, True),
        ("Init", True, True),
        ("Init", None, False),
        ("MemorySwappiness", 0, True),
        ("MemorySwappiness", -1, False),
        ("MemorySwappiness", None, False),
        ("MaskedPaths", [], True),
        ("MaskedPaths", None, False),
        ("MaskedPaths", MASKED_PATHS, False),
        ("MaskedPaths", [*MASKED_PATHS, "/sys/devices/virtual/powercap"], False),
        ("MaskedPaths", [*MASKED_PATHS, "/sys/devices/virtual/powercap", "/proc/interrupts"], False),
        ("MaskedPaths", ["/proc/kcore"], True),
        ("ReadonlyPaths", [], True),
        ("ReadonlyPaths", READONLY_PATHS, False),
        ("ReadonlyPaths", ["/proc/sys"], True),
        ("OomKillDisable", False, False),
        ("ContainerIDFile", "/tmp/id", False),
        ("CpuCount", 3, False),
    ],
)
def test_setting_where_empty_is_a_value(setting: str, value: Any, is_sent: bool) -> None:
    """Six fields tell absent from empty; an engine's default list is left to the engine."""
    host = host_of(a_document(host={setting: value}))
    assert is_sent == (setting in host)
    assert not is_sent or host[setting] == value


def test_memory_swap_filled_in_by_the_engine_is_not_sent() -> None:
    """Twice the memory is the engine's default."""
    assert "MemorySwap" not in host_of(a_document(host={"Memory": 100, "MemorySwap": 200}))
    assert host_of(a_document(host={"Memory": 100, "MemorySwap": -1}))["MemorySwap"] == -1


@pytest.mark.parametrize("why", [{"Privileged": True}, {"PidMode": "host"}, {"IpcMode": "host"}])
def test_security_label_added_by_the_engine_is_not_sent(why: JsonObject) -> None:
    """`label=disable` comes by itself in three cases, otherwise it was asked for."""
    options = {"SecurityOpt": ["label=disable", "no-new-privileges"]}
    assert host_of(a_document(host=options | why))["SecurityOpt"] == ["no-new-privileges"]
    assert options["SecurityOpt"] == host_of(a_document(host=options))["SecurityOpt"]


def test_ports_are_sent_as_asked() -> None:
    """Random ports and ranges stay what they were, and an empty list is a random port."""
    asked = {"80/tcp": [{"HostIp": "", "HostPort": ""}], "81/tcp": [{"HostPort": "100-105"}], "82/tcp": []}
    assert asked == host_of(a_document(host={"PortBindings": asked}))["PortBindings"]


def test_kernel_memory_is_sent_only_where_it_exists() -> None:
    """API 1.42 removed it."""
    container = a_document(host={"KernelMemory": 7})
    assert host_of(container)["KernelMemory"] == 7
    assert "KernelMemory" not in host_of(container, ENGINE_28)


# ---- volumes -------------------------------------------------------------------------------------------------------


def a_volume(target: str, **rest: Any) -> JsonObject:
    """Return a mounted volume as inspect shows it."""
    name = an_id(target)
    return {
        "Type": "volume",
        "Name": name,
        "Source": "/v/" + name,
        "Driver": "local",
        "Destination": target,
        "RW": True,
        "Mode": "z",
    } | rest


def test_anonymous_volume_is_carried_by_name() -> None:
    """The data stays mounted; the engine's own mode and path are not used."""
    mounts = [a_volume("/data"), a_volume("/ro", RW=False)]
    recreation = recreated(a_document(host={"Binds": ["/host:/h:ro"]}, Mounts=mounts))
    expected = ["/host:/h:ro", f"{an_id('/data')}:/data", f"{an_id('/ro')}:/ro:ro"]
    assert expected == recreation.request["HostConfig"]["Binds"]
    assert "anonymous volume /data is carried over by name" in recreation.notes


def test_named_mounts_are_not_carried_twice() -> None:
    """What `Binds` or `Mounts` name is there already, however its path is written."""
    host = {"Binds": ["named:/data/"], "Mounts": [{"Type": "volume", "Source": "n", "Target": "/other"}]}
    recreation = recreated(a_document(host=host, Mounts=[a_volume("/data"), a_volume("/other")]))
    assert recreation.request["HostConfig"]["Binds"] == ["named:/data/"]
    assert recreation.notes == ()


def test_anonymous_mount_and_bind_get_their_names() -> None:
    """An anonymous volume that was asked for keeps its entry and gets the name of its data."""
    host = {"Binds": ["/alone"], "Mounts": [{"Type": "volume", "Target": "/m", "ReadOnly": True}]}
    request = host_of(a_document(host=host, Mounts=[a_volume("/alone"), a_volume("/m")]))
    assert [f"{an_id('/alone')}:/alone"] == request["Binds"]
    assert [{"Type": "volume", "Target": "/m", "ReadOnly": True, "Source": an_id("/m")}] == request["Mounts"]


def test_volume_whose_name_is_not_shown_is_known_by_its_place() -> None:
    """An engine from 23 on leaves out the name of a volume that a bind asked for without one."""
    nameless = a_volume("/alone", Name="", Source=f"/somewhere/volumes/{an_id('/alone')}/_data")
    request = host_of(a_document(host={"Binds": ["/alone"]}, Mounts=[nameless]))
    assert [f"{an_id('/alone')}:/alone"] == request["Binds"]


@pytest.mark.parametrize(
    "change",
    [
        {"Driver": "nfs"},
        {"Source": "/srv/data"},
        {"Source": "/srv/volumes/data/_data"},
        {"Source": f"/srv/volumes/{an_id('x')}/_data/below"},
    ],
)
def test_place_that_is_not_the_engines_own_names_no_volume(change: JsonObject) -> None:
    """A wrong name would be an empty volume, so the container is refused."""
    nameless = {**a_volume("/d", Name="", Source=f"/srv/volumes/{an_id('x')}/_data"), **change}
    container = a_document(host={"Binds": ["/d"]}, Mounts=[nameless])
    assert "the name of the anonymous volume at /d is not shown" in refused(container)


def test_volume_dropped_by_the_new_image_is_noted() -> None:
    """It stays mounted, which a reader of the new image would not expect."""
    container = a_document(Mounts=[a_volume("/data")])
    recreation = recreated(container, old={"Volumes": {"/data": {}}}, new={})
    assert "the new image has no volume /data any more; it stays mounted" in recreation.notes


# ---- networks ------------------------------------------------------------------------------------------------------


def connected(mode: str, config: JsonObject | None = None, **networks: JsonObject) -> JsonObject:
    """Return a container with these endpoints."""
    return a_document(config, {"NetworkMode": mode}, NetworkSettings={"Networks": networks})


def test_endpoint_keeps_what_was_asked_and_drops_results() -> None:
    """Assigned addresses, ids and names of the engine's own making are not asked for."""
    short = an_id("container")[:12]
    endpoint = {
        "IPAMConfig": {"IPv4Address": "10.0.0.9"},
        "Aliases": ["svc", short],
        "DriverOpts": {"a": "b"},
        "GwPriority": 3,
        "IPAddress": "10.0.0.9",
        "MacAddress": "02:42:0a:00:00:09",
        "NetworkID": "n",
        "EndpointID": "e",
        "DNSNames": ["x"],
    }
    request = recreated(connected("net", net=endpoint), engine=ENGINE_26).request
    expected = {
        "IPAMConfig": {"IPv4Address": "10.0.0.9"},
        "Aliases": ["svc"],
        "DriverOpts": {"a": "b"},
        "GwPriority": 3,
    }
    assert {"net": expected} == request["NetworkingConfig"]["EndpointsConfig"]


def test_aliases_of_engine_20_lose_the_host_name() -> None:
    """That engine adds the host name by itself; newer ones show exactly what was sent."""
    container = connected("net", {"Hostname": "mine"}, net={"Aliases": ["svc", "mine"]})
    for engine, expected in ((ENGINE_20, ["svc"]), (ENGINE_28, ["svc", "mine"])):
        request = recreated(container, engine=engine).request
        assert expected == request["NetworkingConfig"]["EndpointsConfig"]["net"]["Aliases"]


def test_second_network_is_connected_afterwards_on_old_engines() -> None:
    """Before API 1.44 create takes one endpoint, then all."""
    networks: dict[str, JsonObject] = {"b": {"Aliases": ["main"]}, "c": {}, "a": {"Aliases": ["second"]}}
    old, new = recreated(connected("b", **networks)), recreated(connected("b", **networks), engine=ENGINE_28)
    assert old.request["NetworkingConfig"]["EndpointsConfig"] == {"b": {"Aliases": ["main"]}}
    assert old.extra_networks == (("a", {"Aliases": ["second"]}), ("c", {}))
    assert networks == new.request["NetworkingConfig"]["EndpointsConfig"]
    assert new.extra_networks == ()


def test_network_given_by_id_is_the_main_one() -> None:
    """The endpoint is found by its network id."""
    network_id = an_id("net")
    container = connected(network_id, {"MacAddress": "02:11:22:33:44:55"}, net={"NetworkID": network_id}, other={})
    request = recreated(container, engine=ENGINE_28).request
    assert request["NetworkingConfig"]["EndpointsConfig"]["net"]["MacAddress"] == "02:11:22:33:44:55"


@pytest.mark.parametrize("mode", ["host", "none"])
def test_no_endpoints_are_sent_without_network(mode: str) -> None:
    """The engines refuse or misread them."""
    assert "NetworkingConfig" not in recreated(connected(mode, **{mode: {"DriverOpts": {"a": "b"}}})).request


def test_network_that_was_left_stays_left() -> None:
    """All other endpoints are sent, and the plan says so."""
    recreation = recreated(connected("gone", net={}), engine=ENGINE_28)
    assert recreation.request["NetworkingConfig"]["EndpointsConfig"] == {"net": {}}
    assert recreation.notes == ("the container has left its network gone and is not connected to it again",)


def test_asked_mac_address_goes_where_the_engine_reads_it() -> None:
    """Container-wide before API 1.44, with the main endpoint since."""
    container = connected("net", {"MacAddress": "02:11:22:33:44:55"}, net={"MacAddress": "02:11:22:33:44:55"})
    old, new = recreated(container).request, recreated(container, engine=ENGINE_26).request
    assert old["MacAddress"] == "02:11:22:33:44:55"
    assert "NetworkingConfig" not in old
    assert "MacAddress" not in new
    assert new["NetworkingConfig"]["EndpointsConfig"] == {"net": {"MacAddress": "02:11:22:33:44:55"}}


@pytest.mark.parametrize(
    ("engine", "endpoint", "is_kept"),
    [
        (ENGINE_20, {"MacAddress": "02:11:22:33:44:55", "IPAddress": "10.0.0.9"}, False),
        (ENGINE_26, {"MacAddress": "02:42:0a:00:00:09", "IPAddress": "10.0.0.9"}, False),
        (ENGINE_26, {"MacAddress": "02:11:22:33:44:55", "IPAddress": "10.0.0.9"}, True),
        (ENGINE_26, {"MacAddress": "02:11:22:33:44:55", "EndpointID": "e"}, False),
        (ENGINE_26, {"MacAddress": "02:11:22:33:44:55"}, True),
        (ENGINE_28, {"MacAddress": "02:42:0a:00:00:09", "IPAddress": "10.0.0.9"}, False),
        (ENGINE_28, {"MacAddress": "de:ad:22:33:44:55", "IPAddress": "10.0.0.9"}, True),
        (ENGINE_28, {"MacAddress": "", "IPAddress": "10.0.0.9"}, False),
    ],
)
def test_mac_address_of_a_second_network(engine: EngineFacts, endpoint: JsonObject, is_kept: bool) -> None:
    """An automatic address is never pinned where the engine lets us tell it from one that was asked for."""
    recreation = recreated(connected("net", net={}, second=endpoint), engine=engine)
    sent = dict(recreation.extra_networks) or recreation.request["NetworkingConfig"]["EndpointsConfig"]
    assert is_kept == ("MacAddress" in sent["second"])


def test_automatic_mac_address_of_the_main_network_is_not_sent() -> None:
    """What `Config` does not ask for stays the engine's choice on every version."""
    for engine in (ENGINE_20, ENGINE_26, ENGINE_28):
        container = connected("net", net={"MacAddress": "de:ad:00:00:00:01", "IPAddress": "10.0.0.1"})
        assert "NetworkingConfig" not in recreated(container, engine=engine).request


def test_interface_sysctls_move_to_the_endpoint() -> None:
    """Engine 28 takes them there only; older engines keep them."""
    sysctls = {"net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "9"}
    container = connected("net", net={"DriverOpts": {"a": "b"}})
    container["HostConfig"]["Sysctls"] = sysctls
    request = recreated(container, engine=ENGINE_28).request
    options = {"a": "b", "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"}
    assert request["HostConfig"]["Sysctls"] == {"net.core.somaxconn": "9"}
    assert {"net": {"DriverOpts": options}} == request["NetworkingConfig"]["EndpointsConfig"]
    assert sysctls == host_of(container, ENGINE_26)["Sysctls"]


# ---- other containers ----------------------------------------------------------------------------------------------

DB = replace(a_container("db"), mount_targets=frozenset({"/data", "/bound"}))
NAMESPACES = ("NetworkMode", "PidMode", "IpcMode", "Cgroup")


@pytest.mark.parametrize("key", NAMESPACES)
@pytest.mark.parametrize("text", [DB.id, DB.id[:12], "db"])
def test_shared_namespace_is_named_by_the_id_of_its_owner(key: str, text: str) -> None:
    """However it was written: an id means one container for ever."""
    request = recreated(a_document(host={key: f"container:{text}"}), neighbours=[DB]).request
    assert request["HostConfig"][key] == f"container:{DB.id}"


@pytest.mark.parametrize("key", NAMESPACES)
def test_shared_namespace_moves_to_the_successor(key: str) -> None:
    """A successor of the same transaction is named before it runs, whatever its predecessor does."""
    old = replace(a_container("db.wta-old-ra-0123456789ab", state="exited"), id=DB.id)
    for neighbours in ([DB], [old], []):
        container = a_document(host={key: f"container:{DB.id}"})
        host = recreated(container, neighbours=neighbours, successors={DB.id: an_id("new")}).request["HostConfig"]
        assert host[key] == f"container:{an_id('new')}"


def test_id_of_a_replaced_container_means_the_one_with_its_name() -> None:
    """The predecessor's temporary name tells what the dead id stood for."""
    old = a_container("db.wta-old-ra-0123456789ab", state="exited")
    host = recreated(a_document(host={"PidMode": f"container:{old.id}"}), neighbours=[old, DB]).request["HostConfig"]
    assert host["PidMode"] == f"container:{DB.id}"
    assert "is gone" in refused(a_document(host={"PidMode": f"container:{old.id}"}), neighbours=[old])


@pytest.mark.parametrize(
    ("own", "target", "is_refused"),
    [
        ("running", "running", False),
        ("running", "paused", False),
        ("running", "exited", True),
        ("running", "restarting", True),
        ("paused", "created", True),
        ("exited", "exited", False),
        ("created", "exited", False),
    ],
)
@pytest.mark.parametrize("host", [{"NetworkMode": f"container:{DB.id}"}, {"Links": ["/db:/me/db"]}])
def test_namespace_or_link_needs_a_target_that_runs(host: JsonObject, own: str, target: str, is_refused: bool) -> None:
    """Otherwise the start would fail, when the predecessor is down. What does not run is not started."""
    container, neighbours = a_document(host=host, State={"Status": own}), [replace(DB, state=target)]
    if is_refused:
        assert "names container db, which is not running" in refused(container, neighbours=neighbours)
    else:
        recreated(container, neighbours=neighbours)


def test_dead_target_is_told_with_what_to_do() -> None:
    """Somebody has created it anew, and only those who know the project can say what was meant."""
    dead = an_id("dead")
    assert refused(a_document(host={"NetworkMode": f"container:{dead}"}), neighbours=[DB]) == (
        f"HostConfig.NetworkMode names container {dead[:12]}, which is gone; "
        "create this one anew together with it, as docker compose up --force-recreate does"
    )


@pytest.mark.parametrize("engine", [ENGINE_20, ENGINE_28])
def test_settings_of_the_network_stay_with_its_owner(engine: EngineFacts) -> None:
    """The engine shows the owner's names, and refuses what is the owner's to ask for."""
    config = {"Hostname": "theirs", "Domainname": "theirs.test", "ExposedPorts": {"80/tcp": {}}, "MacAddress": "02::1"}
    host = {
        "NetworkMode": f"container:{DB.id}",
        "PortBindings": {"80/tcp": []},
        "PublishAllPorts": True,
        "Dns": ["10.0.0.1"],
        "ExtraHosts": ["a:10.0.0.1"],
        "DnsSearch": ["kept.test"],
    }
    container = a_document(config, host, NetworkSettings={"Networks": {"theirs": {"Aliases": ["x"]}}})
    request = recreated(container, engine=engine, neighbours=[DB]).request
    assert {"Image", "HostConfig"} == set(request)
    left_out = ("PortBindings", "PublishAllPorts", "Dns", "ExtraHosts")
    assert not set(left_out) & set(request["HostConfig"])
    assert request["HostConfig"]["DnsSearch"] == ["kept.test"]


def test_sysctl_of_an_interface_of_another_is_refused() -> None:
    """Newer engines take it with an endpoint only, and there is none."""
    host = {"NetworkMode": f"container:{DB.id}", "Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}
    assert "HostConfig.Sysctls of eth0" in refused(a_document(host=host), ENGINE_28, [DB])
    recreated(a_document(host=host), neighbours=[DB])


LABELS = ["label=user:u", "label=role:r", "label=type:t", "label=level:s0:c1,c2"]


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ({"PidMode": f"container:{DB.id}"}, ["no-new-privileges", *LABELS], ["no-new-privileges"]),
        ({"IpcMode": f"container:{DB.id}"}, LABELS[:3], None),
        ({"IpcMode": f"container:{DB.id}"}, LABELS[2:], LABELS[2:]),
        ({"NetworkMode": f"container:{DB.id}"}, LABELS, LABELS),
        ({}, LABELS, LABELS),
    ],
)
def test_security_labels_of_another_are_not_sent(host: JsonObject, options: list[str], expected: Any) -> None:
    """With SELinux the engine adds the labels of whose processes or memory are shared; the successor's are others."""
    request = recreated(a_document(host=host | {"SecurityOpt": options}), neighbours=[DB]).request
    assert expected == request["HostConfig"].get("SecurityOpt")


def test_links_are_sent_in_order_by_id() -> None:
    """The engine shows them in random order, and by the name of now, which is the predecessor's."""
    web = a_container("web")
    links = ["/web:/me/two", "/db:/me/three", "/web:/me/one"]
    expected = [f"{DB.id}:three", f"{web.id}:one", f"{web.id}:two"]
    for shown in (links, links[::-1]):
        assert (
            expected
            == recreated(a_document(host={"Links": shown}), neighbours=[web, DB]).request["HostConfig"]["Links"]
        )


def test_link_moves_to_the_successor() -> None:
    """Also once the predecessor has given its name away; and without the mapping it finds who has the name."""
    old = a_container("db.wta-old-ra-0123456789ab", state="exited")
    container = a_document(host={"Links": [f"/{old.name}:/me/db"]})
    moved = recreated(container, neighbours=[old, DB], successors={old.id: an_id("new")}).request["HostConfig"]
    found = recreated(container, neighbours=[old, DB]).request["HostConfig"]
    assert [[f"{an_id('new')}:db"], [f"{DB.id}:db"]] == [moved["Links"], found["Links"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("db", "db"), ("/db", "db"), (DB.id, "db"), (f"{DB.id[:12]}:ro", "db:ro"), ("db:rw,z", "db:rw,z")],
)
def test_source_of_volumes_is_named_by_its_name(text: str, expected: str) -> None:
    """A name survives the next replacement of the source, also in the transaction that replaces it."""
    container = a_document(host={"VolumesFrom": [text]})
    for successors in ({}, {DB.id: an_id("new")}):
        host = recreated(container, neighbours=[DB], successors=successors).request["HostConfig"]
        assert [expected] == host["VolumesFrom"]


def test_borrowed_volumes_are_not_made_own_ones() -> None:
    """`VolumesFrom` brings them; what the container asked for itself comes before them and is kept."""
    host = {"VolumesFrom": ["db"], "Binds": ["/bound", "named:/named"]}
    mounts = [a_volume("/data"), a_volume("/bound"), a_volume("/own")]
    recreation = recreated(a_document(host=host, Mounts=mounts), neighbours=[DB])
    binds = [f"{an_id('/bound')}:/bound", "named:/named", f"{an_id('/own')}:/own"]
    assert binds == recreation.request["HostConfig"]["Binds"]
    assert not [note for note in recreation.notes if "/data" in note]


def test_source_of_volumes_need_not_run() -> None:
    """Its volumes are there all the same."""
    recreated(a_document(host={"VolumesFrom": ["db"]}), neighbours=[replace(DB, state="exited")])


def test_container_that_removes_itself_is_flagged_and_noted() -> None:
    """The flow must know that there is no way back, and so must a reader of the plan."""
    recreation = recreated(a_document(host={"AutoRemove": True}))
    assert [recreation.vanishes_at_stop, recreation.request["HostConfig"]["AutoRemove"]] == [True, True]
    assert "started with --rm" in recreation.notes[0]
    assert not recreated(a_document()).vanishes_at_stop


def test_paused_container_is_flagged() -> None:
    """Whether it is touched is not decided here."""
    assert recreated(a_document(State={"Status": "paused"})).is_paused
    assert not recreated(a_document()).is_paused


@pytest.mark.parametrize(
    ("labels", "host", "expected"),
    [
        ({}, {"NetworkMode": "container:db"}, None),
        ({"com.docker.compose.project": "p"}, {}, None),
        ({"com.docker.compose.project": "p", "com.docker.compose.version": "2.26.1"}, {}, None),
        ({"com.docker.compose.project": "p", "com.docker.compose.version": "1.29.2"}, {}, "docker-compose 1.x"),
        ({"com.docker.compose.project": "p"}, {"NetworkMode": "container:db"}, "of its NetworkMode"),
        (
            {"com.docker.compose.project": "p"},
            {"IpcMode": "container:db", "VolumesFrom": ["db", "db:ro"]},
            "of its IpcMode, VolumesFrom",
        ),
    ],
)
def test_notes_tell_what_compose_creates_anew(labels: JsonObject, host: JsonObject, expected: str | None) -> None:
    """What it remembers of a service holds ids, which the update changes."""
    notes = recreated(a_document({"Labels": labels}, host), neighbours=[DB]).notes
    assert ([] if expected is None else [True]) == [expected in note for note in notes if expected]
    assert bool(expected) == bool(notes)


# ---- platform, notes, files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "host", "expected"),
    [
        ({"Os": "linux", "Architecture": "amd64"}, "linux/amd64", None),
        ({"Os": "linux", "Architecture": "arm64", "Variant": "v8"}, "linux/amd64", "linux/arm64/v8"),
        ({"Os": "linux", "Architecture": "arm64", "Variant": "v8"}, "linux/arm64", None),
        ({"Os": "linux", "Architecture": "386"}, "linux/amd64", "linux/386"),
        ({"Os": "linux", "Architecture": "386"}, "", None),
        ({}, "linux/amd64", None),
    ],
)
def test_platform_is_sent_when_it_is_not_the_machines(image: JsonObject, host: str, expected: str | None) -> None:
    """Somebody asked for a foreign platform; a variant alone is the engine's choice."""
    facts = EngineFacts(api_version=(1, 41), platform=host)
    result = recreate(container=a_document(), old_image={"Config": {}, **image}, new_image=None, engine=facts)
    assert isinstance(result, Recreation)
    assert expected == result.platform


def test_platform_of_the_containerd_store_comes_from_the_container() -> None:
    """There the image is an index, and the container tells which manifest it took."""
    descriptor = {"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}
    assert recreated(a_document(ImageManifestDescriptor=descriptor)).platform == "linux/arm/v7"


def test_notes_tell_what_follows_the_image() -> None:
    """Values equal to the old image's move with it; secrets-by-name are not shown."""
    old = {"Env": ["V=1", "MY_TOKEN=a", "OWN=1"], "User": "7", "WorkingDir": "/w"}
    new = {"Env": ["V=2", "MY_TOKEN=b", "OWN=2"], "User": "8", "WorkingDir": "/w"}
    config = {"Env": ["OWN=mine", "V=1", "MY_TOKEN=a"], "User": "7", "WorkingDir": "/w"}
    notes = recreated(a_document(config), old=old, new=new).notes
    assert notes == ("User follows the image: 7 → 8", "V follows the image: 1 → 2", "MY_TOKEN follows the image")


def test_notes_tell_of_a_new_entrypoint() -> None:
    """It is put before the command, exactly as a new container would have it."""
    container = a_document({"Cmd": ["mine"]})
    notes = recreated(container, old={"Cmd": ["x"]}, new={"Entrypoint": ["e"]}).notes
    assert notes == ("the new image has an entrypoint; it is put before this container's command",)


@pytest.mark.parametrize(
    ("labels", "is_readonly", "expected"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_injected_files_are_looked_for_in_compose_containers(labels: bool, is_readonly: bool, expected: bool) -> None:
    """Compose may have copied files in, except into a read-only root."""
    names = {"com.docker.compose.project": "p"} if labels else {}
    container = a_document({"Labels": names}, {"ReadonlyRootfs": is_readonly})
    assert expected == recreated(container).needs_injected_file_check


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config": {"Fresh": "x"}}, "Config.Fresh is set and is not carried over yet"),
        ({"host": {"Fresh": {"a": 1}}}, "HostConfig.Fresh is set and is not carried over yet"),
        ({"host": {"Links": ["/a:/b/c"]}}, "HostConfig.Links names container a, which is gone"),
        ({"host": {"VolumesFrom": ["x:ro"]}}, "HostConfig.VolumesFrom names container x, which is gone"),
        ({"host": {"NetworkMode": "container:x"}}, "HostConfig.NetworkMode names container x, which is gone"),
        ({"host": {"PidMode": "container:x"}}, "HostConfig.PidMode names container x, which is gone"),
        ({"host": {"IpcMode": "container:x"}}, "HostConfig.IpcMode names container x, which is gone"),
        ({"host": {"Cgroup": "container:x"}}, "HostConfig.Cgroup names container x, which is gone"),
        ({"host": {"Isolation": "hyperv"}}, "HostConfig.Isolation is set"),
        ({"Platform": "windows"}, "Platform is windows"),
        ({"State": {"Status": "dead"}}, "state dead"),
        ({"State": {"Status": "removing"}}, "state removing"),
        ({"config": {"Labels": {"com.docker.swarm.task.id": "x"}}}, "label com.docker.swarm.task.id"),
        ({"config": {"Image": a_digest("old")}}, "Config.Image is an image id"),
        ({"config": {"Image": a_digest("old")[7:19]}}, "Config.Image is an image id"),
        ({"config": {"Image": ""}}, "Config.Image is an image id"),
        ({"config": {"Image": "app@" + a_digest("x")}}, "Config.Image is pinned to a digest"),
        ({"Mounts": [{"Type": "volume", "Destination": "/d"}]}, "the name of the anonymous volume at /d"),
        ({"host": {"Mounts": [{"Type": "volume", "Target": "/d"}]}}, "the name of the anonymous volume at /d"),
        ({"host": {"Binds": ["/d"]}}, "the name of the anonymous volume at /d"),
        ({"NetworkSettings": {"Networks": {}}}, "is connected to no network"),
        ({"NetworkSettings": {"Networks": {"none": {}}}}, "was connected to none later"),
        ({"NetworkSettings": {"Networks": {"bridge": {"Fresh": 1}}}}, "NetworkSettings.Networks.bridge.Fresh is set"),
    ],
)
def test_container_that_cannot_be_carried_is_refused(change: JsonObject, reason: str) -> None:
    """The reason names the setting."""
    assert reason in refused(a_document(**deepcopy(change)))


@pytest.mark.parametrize("text", [a_digest("old"), "app@" + a_digest("x")])
def test_member_of_a_group_needs_no_name_to_look_for(text: str) -> None:
    """It is created anew on its own image, because what it shares something with has moved."""
    own = an_image_document("old")
    result = recreate(container=a_document({"Image": text}), old_image=own, new_image=own, engine=ENGINE_20)
    assert isinstance(result, Recreation)
    assert text == result.request["Image"]


def test_network_connected_to_none_container_is_refused() -> None:
    """Create cannot ask for it."""
    assert "was connected to net later" in refused(connected("none", net={}))


def test_mac_address_without_its_network_is_refused() -> None:
    """It would go to a network that nobody asked it for."""
    assert "Config.MacAddress" in refused(connected("gone", {"MacAddress": "02:11:22:33:44:55"}, net={}))


def test_podman_is_refused() -> None:
    """Its inspect mixes asked and assigned values."""
    assert "Podman is not supported yet" in refused(a_document(), EngineFacts(api_version=(1, 44), is_podman=True))


def test_all_reasons_are_told_at_once() -> None:
    """Nobody should have to repair one setting to learn of the next."""
    reasons = refused(a_document({"Fresh": 1}, {"Novel": True, "Links": ["/x:/me/x"]}))
    assert [reasons.count("is set"), reasons.count("is gone")] == [2, 1]


def test_container_without_its_image_is_refused() -> None:
    """Its defaults are unknown."""
    refusal = refuse_before_pull(container=a_document(), old_image=None, engine=ENGINE_20)
    assert refusal is not None
    assert "image is gone" in refusal.reasons[0]


def test_restarting_container_is_not_refused() -> None:
    """It counts as running."""
    container = a_document(State={"Status": "restarting"})
    assert refuse_before_pull(container=container, old_image=an_image_document("old"), engine=ENGINE_20) is None


def test_recreation_does_not_print_the_environment() -> None:
    """A container's settings may hold secrets; only notes are made for people."""
    assert "marker" not in repr(recreated(a_document({"Env": ["PASSWORD=marker"]})))


def test_inputs_are_not_changed() -> None:
    """Documents may be used again, and the request shares nothing with them."""
    container = connected("net", {"Env": ["A=1"], "Labels": {"a": "b"}}, net={"DriverOpts": {"a": "b"}})
    container["HostConfig"]["Mounts"] = [{"Type": "volume", "Target": "/m", "VolumeOptions": {"Labels": {"x": "y"}}}]
    container["Mounts"] = [a_volume("/m")]
    before = deepcopy(container)
    request = recreated(container).request
    request["HostConfig"]["Mounts"][0]["VolumeOptions"]["Labels"]["x"] = "changed"
    request["NetworkingConfig"]["EndpointsConfig"]["net"]["DriverOpts"]["a"] = "changed"
    request["Labels"]["a"] = "changed"
    request["Env"].append("changed")
    assert before == container
