"""When the successor may start first."""

from __future__ import annotations

from typing import Any

import pytest

from watchtower_async.engine.spec_parts import EngineFacts
from watchtower_async.rollout.order import OrderChoice, choose_order
from watchtower_async.settings import Order

ENGINE = EngineFacts(api_version=(1, 47))


def a_document(
    *, mounts: tuple[dict[str, Any], ...] = (), networks: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None, config: dict[str, Any] | None = None, **host: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return an inspected container that nothing speaks against."""
    return {
        "Id": "a" * 64,
        "Config": {"Labels": labels or {}, **(config or {})},
        "HostConfig": {"NetworkMode": "shop", "LogConfig": {"Type": "json-file", "Config": {}}, **host},
        "NetworkSettings": {"Networks": networks or {"shop": {"IPAMConfig": None, "Aliases": ["web"]}}},
        "Mounts": list(mounts),
    }


def a_mount(kind: str = "volume", place: str = "/data", *, writable: bool = True, **more: str) -> dict[str, Any]:
    return {"Type": kind, "Destination": place, "RW": writable, **more}


def choose(document: dict[str, Any], asked: Order = Order.AUTO, dependents: tuple[str, ...] = ()) -> OrderChoice:
    return choose_order(document, asked=asked, engine=ENGINE, dependents=dependents)


IMPOSSIBLE = {
    "host port 8080": a_document(PortBindings={"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
    "random host port": a_document(PortBindings={"80/tcp": [{"HostPort": ""}]}),
    "random host ports": a_document(PublishAllPorts=True),
    "static address in network shop": a_document(networks={"shop": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}),
    "MAC address": a_document(config={"MacAddress": "02:00:00:00:00:01"}),
    "shares the network namespace": a_document(NetworkMode="container:" + "b" * 64, networks={}),
    "shares the pid namespace": a_document(PidMode="container:" + "b" * 64),
    "shares the ipc namespace": a_document(IpcMode="container:" + "b" * 64),
    "legacy links": a_document(Links=["/db:/web/db"]),
}
UNSAFE = {
    "volume at /data": a_document(mounts=(a_mount(),)),
    "bind mount at /srv": a_document(mounts=(a_mount("bind", "/srv", Source="/srv"),)),
    "host's network": a_document(NetworkMode="host", networks={"host": {}}),
    "devices": a_document(Devices=[{"PathOnHost": "/dev/ttyUSB0"}]),
    "uses devices": a_document(DeviceRequests=[{"Driver": "nvidia", "Count": -1}]),
    "log driver journald": a_document(LogConfig={"Type": "journald", "Config": {}}),
    "log driver gelf": a_document(LogConfig={"Type": "gelf", "Config": {}}),
    "log driver grafana/loki-docker-driver:latest": a_document(
        LogConfig={"Type": "grafana/loki-docker-driver:latest", "Config": {}}
    ),
    "log tag": a_document(LogConfig={"Type": "syslog", "Config": {"tag": "{{.ImageName}}/{{ .Name }}"}}),
}
FINE = {
    "nothing": a_document(),
    "read-only": a_document(mounts=(a_mount(writable=False), a_mount("bind", "/etc/x", writable=False, Source="/x"))),
    "tmpfs": a_document(mounts=(a_mount("tmpfs", "/run"),), Tmpfs={"/tmp": ""}),
    "socket of the engine": a_document(
        mounts=(a_mount("bind", "/var/run/docker.sock", Source="/var/run/docker.sock"),)
    ),
    "exposed, not published": a_document(config={"ExposedPorts": {"80/tcp": {}}}, PortBindings={}),
    "bindings without a port": a_document(PortBindings={"80/tcp": []}),
    "private namespaces": a_document(IpcMode="private", PidMode="", CgroupnsMode="private"),
    "tag with other names": a_document(LogConfig={"Type": "syslog", "Config": {"tag": "{{.ImageName}}/{{.ID}}"}}),
    "own driver options": a_document(LogConfig={"Type": "local", "Config": {"max-size": "1m"}}),
}


@pytest.mark.parametrize("name", FINE)
def test_nothing_speaks_against_start_first(name: str) -> None:
    """Then `auto` takes it, and there is nothing to explain."""
    assert OrderChoice(Order.START_FIRST) == choose(FINE[name])


@pytest.mark.parametrize("reason", [*IMPOSSIBLE, *UNSAFE])
def test_each_reason_is_enough_and_is_told(reason: str) -> None:
    """One of them, and `auto` stops first and says why."""
    choice = choose({**IMPOSSIBLE, **UNSAFE}[reason])
    assert choice.order is Order.STOP_FIRST
    (told,) = choice.reasons
    assert reason in told


@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_the_engine_would_refuse_counts_also_when_asked(reason: str) -> None:
    """Asking for start-first does not make two containers share a port."""
    choice = choose(IMPOSSIBLE[reason], Order.START_FIRST)
    assert choice.order is Order.STOP_FIRST
    assert reason in choice.reasons[0]


@pytest.mark.parametrize("reason", UNSAFE)
def test_what_only_the_owner_can_judge_is_believed(reason: str) -> None:
    """Who asks for start-first has thought of it."""
    assert OrderChoice(Order.START_FIRST) == choose(UNSAFE[reason], Order.START_FIRST)


def test_dependents_are_named() -> None:
    """They can be with one of the two containers only."""
    choice = choose(FINE["nothing"], Order.START_FIRST, ("a", "b", "c"))
    assert choice == OrderChoice(Order.STOP_FIRST, ("a, b and c must be re-created with it",))


def test_all_reasons_are_told_at_once() -> None:
    """Nobody likes to find them one by one."""
    document = a_document(mounts=(a_mount(), a_mount(place="/b")), PortBindings={"80/tcp": [{"HostPort": "80"}]})
    assert len(choose(document).reasons) == 3


@pytest.mark.parametrize(
    ("release", "left"),
    [
        ("/data", ["/cache"]), ("/data/,/cache", []), ("/data /cache", []), ("named", ["/data"]),
        ("", ["/data", "/cache"]), ("/dat,/data/sub", ["/data", "/cache"]),
    ],
)  # fmt: skip
def test_label_releases_mounts_by_place_or_volume(release: str, left: list[str]) -> None:
    """Exactly those that it names."""
    mounts = (a_mount(place="/data", Name="anonymous"), a_mount(place="/cache", Name="named"))
    choice = choose(a_document(mounts=mounts, labels={"watchtower-async.order.release": release}))
    assert len(left) == len(choice.reasons)
    assert all(place in reason for place, reason in zip(left, choice.reasons, strict=True))
    assert choice.order is (Order.STOP_FIRST if left else Order.START_FIRST)


def test_stop_first_that_is_asked_for_is_taken() -> None:
    """By the label or by the flag."""
    assert OrderChoice(Order.STOP_FIRST, ("stop-first is asked for",)) == choose(a_document(), Order.STOP_FIRST)
