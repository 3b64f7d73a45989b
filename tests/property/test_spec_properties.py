"""Re-creation as a whole, on a model of the engine's merge rules."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import a_container
from tests.support.merge_rules import an_image_document, created
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate
from watchtower_async.engine.spec_config import KNOWN as KNOWN_CONFIG
from watchtower_async.engine.spec_host import KNOWN as KNOWN_HOST

JsonObject = dict[str, Any]

ENGINE = EngineFacts(api_version=(1, 41), host_name="machine", platform="linux/amd64")

DB_IMAGE = an_image_document("db")
DB = created(
    {
        "Hostname": "db-host",
        "Domainname": "db.test",
        "HostConfig": {"Binds": ["files:/data", "more:/db", "still:/alone"]},
    },
    DB_IMAGE,
    word="db",
)
"""Another container that runs: its namespaces and volumes may be used, also at places that the image asks for."""
NAMELESS = re.compile(r"[0-9a-f]{64}:|[^:]+$")
NEIGHBOURHOOD = Neighbourhood(
    [replace(a_container("db"), id=DB["Id"], mount_targets=frozenset({"/data", "/db", "/alone"}))],
)


def words(prefix: str) -> st.SearchStrategy[str]:
    """Words of a small world; different prefixes never meet, so that what is whose can be decided."""
    return st.sampled_from([f"{prefix}{number}" for number in range(3)])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def environments(prefix: str) -> st.SearchStrategy[list[str]]:
    """Entries with different names; some names are also those of the other side."""
    entry = st.builds("{}={}".format, st.sampled_from(["A", "B", "C", "D"]), words(prefix))
    bare = st.sampled_from(["A", "B", "E"]) if prefix == "own" else entry
    return st.lists(entry | bare, max_size=4, unique_by=lambda text: text.partition("=")[0])


def checks(prefix: str) -> st.SearchStrategy[JsonObject]:
    """Health checks, whole or in part."""
    offset = 1 if prefix == "own" else 100
    return some(
        Test=st.builds(lambda word: ["CMD", word], words(prefix)),
        Interval=st.integers(offset, offset + 3),
        Retries=st.integers(offset, offset + 3),
    )


def labels(prefix: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(["a", "b", "c"]), words(prefix), max_size=3)


def keys(pool: list[str]) -> st.SearchStrategy[JsonObject]:
    return st.sets(st.sampled_from(pool)).map(lambda names: {name: {} for name in sorted(names)})


commands = st.lists(words("own-arg"), min_size=1, max_size=2)

images = some(
    Env=environments("image"),
    Labels=labels("image"),
    User=words("image"),
    WorkingDir=words("/image"),
    StopSignal=words("IMAGE"),
    Entrypoint=st.just(["image-entry"]),
    Cmd=st.just(["image-command"]),
    Healthcheck=checks("image"),
    ExposedPorts=keys(["80/tcp", "81/tcp"]),
    Volumes=keys(["/data", "/more"]),
)


@st.composite
def requests(draw: st.DrawFn) -> JsonObject:
    """Create requests that the engine would accept."""
    config = draw(
        some(
            Env=environments("own"),
            Labels=labels("own"),
            User=words("own"),
            WorkingDir=words("/own"),
            StopSignal=words("OWN"),
            StopTimeout=st.sampled_from([0, 7]),
            Hostname=words("host"),
            Healthcheck=checks("own") | st.just({"Test": ["NONE"]}),
            ExposedPorts=keys(["90/tcp", "91/tcp"]),
            Volumes=keys(["/own", "/mine"]),
            Tty=st.booleans(),
        )
    )
    config |= draw(st.sampled_from([{}, {"Entrypoint": ["own-entry"]}, {"Entrypoint": []}, {"Entrypoint": [""]}]))
    if config.get("Entrypoint") in ([], [""]) or draw(st.booleans()):
        config["Cmd"] = draw(commands)
    request = {"Image": "registry.example/app:1", **config, "HostConfig": draw(hosts())}
    shared = draw(st.sampled_from([None, None, "container:db", f"container:{DB['Id']}"]))
    if shared is None:
        return request | draw(networking())
    request["HostConfig"]["NetworkMode"] = shared
    request["HostConfig"] = {k: v for k, v in request["HostConfig"].items() if k not in NOT_WITH_SHARED_NETWORK}
    return {key: value for key, value in request.items() if key not in ("Hostname", "ExposedPorts")}


NOT_WITH_SHARED_NETWORK = ("PortBindings", "Dns", "Links")
"""What the engine refuses to take together with the network of another container."""


def hosts() -> st.SearchStrategy[JsonObject]:
    """Host settings, those with rules of their own above all."""
    mounts = st.sampled_from(
        [
            {"Type": "volume", "Target": "/nameless", "ReadOnly": True},
            {"Type": "volume", "Source": "named", "Target": "/named"},
            {"Type": "tmpfs", "Target": "/scratch"},
        ]
    )
    return some(
        Binds=st.lists(st.sampled_from(["/host:/h:ro", "named:/data", "/alone", "named:/n"]), unique=True, max_size=3),
        Mounts=st.lists(mounts, max_size=2, unique_by=lambda mount: mount["Target"]),
        Memory=st.sampled_from([0, 64]),
        MemorySwap=st.sampled_from([0, -1, 96]),
        MemorySwappiness=st.sampled_from([None, -1, 0, 50]),
        PidsLimit=st.sampled_from([None, 0, -1, 9]),
        Init=st.sampled_from([None, True, False]),
        Privileged=st.booleans(),
        PidMode=st.sampled_from(["", "host", "container:db"]),
        IpcMode=st.sampled_from(["", "host", "shareable", f"container:{DB['Id']}"]),
        Links=st.sampled_from([None, ["db:two", "db:one"], ["db:one", "db:three", "db:two"]]),
        VolumesFrom=st.sampled_from([None, [], ["db"], ["db:ro"], [DB["Id"]]]),
        AutoRemove=st.booleans(),
        Annotations=st.sampled_from([None, {"a": "b"}]),
        SecurityOpt=st.sampled_from([None, [], ["no-new-privileges"], ["label=disable"]]),
        MaskedPaths=st.sampled_from([None, [], ["/proc/kcore"]]),
        ReadonlyPaths=st.sampled_from([None, [], ["/proc/sys"]]),
        RestartPolicy=st.sampled_from([{"Name": ""}, {"Name": "no"}, {"Name": "always"}]),
        PortBindings=st.sampled_from([{}, {"90/tcp": []}, {"91/tcp": [{"HostIp": "", "HostPort": "0"}]}]),
        OomKillDisable=st.sampled_from([None, False, True]),
        Dns=st.sampled_from([None, [], ["10.0.0.1"]]),
        ConsoleSize=st.sampled_from([[0, 0], [40, 80]]),
    )


def networking() -> st.SearchStrategy[JsonObject]:
    """One network of its own with what can be asked of an endpoint, or nothing."""
    endpoint = some(
        Aliases=st.lists(words("alias"), unique=True, max_size=2),
        IPAMConfig=st.sampled_from([None, {}, {"IPv4Address": "172.30.0.9"}]),
        DriverOpts=st.sampled_from([None, {"a": "b"}]),
    )
    return st.just({}) | endpoint.map(lambda end: {"NetworkingConfig": {"EndpointsConfig": {"net": end}}})


def in_network(request: JsonObject) -> JsonObject:
    """Make the network of the endpoint the container's own, where there are no links of the old kind."""
    if "NetworkingConfig" in request:
        request["HostConfig"] = {**request["HostConfig"], "NetworkMode": "net", "Links": None}
    return request


def decidable(request: JsonObject, image: JsonObject) -> JsonObject:
    """Leave out "no entrypoint" on an image that has none: nobody can see it there."""
    is_hidden = request.get("Entrypoint") in ([], [""]) and not image.get("Entrypoint")
    return {key: value for key, value in request.items() if not (is_hidden and key == "Entrypoint")}


def recreated(container: JsonObject, old: JsonObject, new: JsonObject) -> Recreation:
    """Return the re-creation; none of these requests may be refused."""
    result = recreate(container=container, old_image=old, new_image=new, engine=ENGINE, neighbourhood=NEIGHBOURHOOD)
    assert isinstance(result, Recreation), result
    return result


def made(request: JsonObject, image: JsonObject, word: str, recreation: Recreation | None = None) -> JsonObject:
    """Return what inspect shows for a container made by a request; with a re-creation also its further networks."""
    extra = () if recreation is None else recreation.extra_networks
    if str(request["HostConfig"].get("NetworkMode") or "").startswith("container:"):
        refused = [key for key in ("Hostname", "ExposedPorts", "MacAddress", "NetworkingConfig") if request.get(key)]
        refused += [key for key in NOT_WITH_SHARED_NETWORK if request["HostConfig"].get(key)]
        assert not refused, "the engine refuses these together with the network of another container"
    return created(request, image, word=word, extra_networks=extra, others=(DB,))


def volumes_of(document: JsonObject) -> dict[str, str]:
    """Return the names of the mounted volumes by place."""
    return {mount["Destination"]: mount["Name"] for mount in document["Mounts"] if mount["Type"] == "volume"}


def comparable(document: JsonObject) -> JsonObject:
    """Return a document without what differs between two containers of one request."""
    shown = deepcopy(document)
    short, name = shown.pop("Id")[:12], shown.pop("Name")
    config, host = shown["Config"], shown["HostConfig"]
    config["Hostname"] = "" if config["Hostname"] == short else config["Hostname"]
    # Volumes without a name are carried over by the one that the engine gave them; `volumes_of` compares those.
    host["Binds"] = sorted(bind for bind in host.get("Binds") or [] if NAMELESS.match(bind) is None)
    for mount in host.get("Mounts") or []:
        mount.pop("Source", None)
    host["Links"] = sorted(link.replace(f":{name}/", ":/me/") for link in host.get("Links") or [])
    host["VolumesFrom"] = [text.replace(DB["Id"], "db") for text in host.get("VolumesFrom") or []]
    shown["Mounts"] = sorted(mount["Destination"] for mount in shown["Mounts"])
    for endpoint in shown["NetworkSettings"]["Networks"].values():
        endpoint["Aliases"] = [alias for alias in endpoint["Aliases"] or [] if alias != short]
    return without_nothing(shown)


def without_nothing(document: JsonObject) -> JsonObject:
    """Leave out what the engine treats as not given."""
    for part in (document["Config"], document["HostConfig"], *document["NetworkSettings"]["Networks"].values()):
        for key in [key for key, value in part.items() if value in (None, "", 0) or value in ([], {}, [0, 0])]:
            if not (key in ("MaskedPaths", "ReadonlyPaths", "Entrypoint") and part[key] == []) and key not in (
                "Init",
                "MemorySwappiness",
                "StopTimeout",
            ):
                del part[key]
        for key in ("Init", "MemorySwappiness", "StopTimeout", "RestartPolicy"):
            if part.get(key) is None or part.get(key) == {"Name": ""}:
                part.pop(key, None)
    if not document["Config"].get("Healthcheck"):
        document["Config"].pop("Healthcheck", None)
    return document


@given(requests().map(in_network), images)
def test_recreation_on_the_same_image_is_a_fixed_point(request: JsonObject, config: JsonObject) -> None:
    """A successor on the same image asks for exactly what its predecessor asked for, and shows the same."""
    image = an_image_document("image", config)
    request = decidable(request, config)
    predecessor = made(request, image, "one")
    first = recreated(predecessor, image, image)
    successor = made(first.request, image, "two", first)
    second = recreated(successor, image, image)
    assert first.request == second.request
    assert comparable(predecessor) == comparable(successor)
    assert volumes_of(predecessor) == volumes_of(successor)


@given(requests().map(in_network), images, images)
def test_successor_is_what_the_request_makes_of_the_new_image(
    request: JsonObject, old_config: JsonObject, new_config: JsonObject
) -> None:
    """Nothing of the old image stays, but volumes with data and entrypoints that were kept away from a command."""
    old, new = an_image_document("old", old_config), an_image_document("new", new_config)
    request = decidable(request, old_config)
    recreation = recreated(made(request, old, "one"), old, new)
    successor = comparable(made(recreation.request, new, "two", recreation))
    oracle = comparable(made(request, new, "three"))
    successor["Mounts"] = [t for t in successor["Mounts"] if t in oracle["Mounts"] or t not in old_config["Volumes"]]
    assert oracle == successor


@given(requests().map(in_network), images)
def test_recreation_is_json_and_leaves_its_inputs_alone(request: JsonObject, config: JsonObject) -> None:
    """The same documents give the same bytes, and are not changed."""
    image = an_image_document("image", config)
    container = made(request, image, "one")
    before = deepcopy((container, image))
    bodies = [json.dumps(recreated(container, image, image).request) for _ in range(2)]
    assert bodies[0] == bodies[1]
    assert before == (container, image)


@given(
    st.sampled_from(["Config", "HostConfig"]),
    st.text(min_size=1).filter(lambda key: key not in KNOWN_CONFIG | KNOWN_HOST),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
)
def test_unknown_setting_is_refused_exactly_when_set(where: str, key: str, value: Any) -> None:
    """A setting nobody here knows is never lost silently."""
    image = an_image_document("image")
    container = created({"Image": "registry.example/app:1"}, image)
    container[where][key] = value
    result = recreate(container=container, old_image=image, new_image=None, engine=ENGINE)
    assert bool(value) == isinstance(result, Refusal)
    assert not isinstance(result, Refusal) or (f"{where}.{key} is set and is not carried over yet",) == result.reasons
