"""The helper's create request, its command, and whose business a name is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.builders import a_digest, an_id
from tests.support.merge_rules import created
from watchtower_async.cli.command_line import parse_command_line
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal
from watchtower_async.errors import SettingsError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.helper_container import (
    HELPER_LABEL,
    HelperOrder,
    helper_of,
    helper_request,
    is_abandoned,
    not_left_to_helpers,
    read_order,
)

IMAGE_ID = a_digest("image that runs")
STATE = "/var/lib/watchtower-async"
SOCKET = "/var/run/docker.sock"
IMAGE: dict[str, Any] = {
    "Id": IMAGE_ID,
    "Os": "linux",
    "Architecture": "amd64",
    "Config": {
        "Entrypoint": ["/watchtower"],
        "Env": ["PATH=/bin"],
        "Volumes": {STATE: {}},
        "Labels": {"com.centurylinklabs.watchtower": "true"},
        "Healthcheck": {"Test": ["CMD", "/watchtower", "--health-check"]},
        "ExposedPorts": {"8080/tcp": {}},
    },
}
COMMAND = ("/python", "-m", "watchtower_async", "replace-self")
ORDER = HelperOrder(
    name="tower",
    container_id=an_id("tower"),
    reference=parse_reference("registry.example:5000/team/watchtower:1"),
    image_id=a_digest("new image"),
    digest=parse_digest(a_digest("published")),
)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def an_updater(**fields: Any) -> dict[str, Any]:
    """Return an updater's container, inspected."""
    host = {
        "Binds": [f"{SOCKET}:{SOCKET}", "/srv/me/config.json:/config.json", "/etc/certs:/certs:rw,z"],
        "Mounts": [{"Type": "bind", "Source": "/run/secrets/token", "Target": "/run/secrets/token"}],
        "PortBindings": {"8080/tcp": [{"HostPort": "8080"}]},
        "RestartPolicy": {"Name": "unless-stopped"},
        "NetworkMode": "backend",
        "ExtraHosts": ["registry.example:10.0.0.9"],
        "SecurityOpt": ["no-new-privileges"],
        **fields.pop("HostConfig", {}),
    }
    request = {
        "Image": "registry.example:5000/team/watchtower:1",
        "Cmd": ["--interval", "300"],
        "Env": ["WATCHTOWER_HTTP_API_TOKEN=/run/secrets/token", "DOCKER_CONFIG=/"],
        "Labels": {"com.docker.compose.project": "shop", "traefik.enable": "true"},
        "Hostname": "tower",
        "Tty": True,
        "User": "1000:998",
        "HostConfig": host,
        **fields,
    }
    document = created(request, IMAGE, word="tower")
    endpoint = {"NetworkID": an_id("net"), "Aliases": ["tower"], "IPAMConfig": {"IPv4Address": "10.1.0.5"}}
    return {
        **document,
        "Name": "/tower",
        "Image": IMAGE_ID,
        "State": {"Status": "running"},
        "NetworkSettings": {"Networks": {"backend": endpoint}},
    }


def the_request(document: dict[str, Any] | None = None, *, socket: str | None = SOCKET) -> dict[str, Any]:
    """Return the create request of the helper."""
    found = helper_request(
        an_updater() if document is None else document,
        IMAGE,
        EngineFacts(api_version=(1, 51), platform="linux/amd64"),
        COMMAND,
        neighbourhood=Neighbourhood(),
        socket=socket,
        state_directory=STATE,
    )
    assert isinstance(found, Recreation), found
    return found.request


def test_helper_runs_the_image_that_runs_now_by_its_id() -> None:
    """A tag may mean the new image by now, and that may be broken."""
    request = the_request()
    assert request["Image"] == IMAGE_ID
    assert [*request["Entrypoint"], *request["Cmd"]] == list(COMMAND)


def test_helper_is_brought_back_by_the_engine() -> None:
    """Whatever the updater's own policy is, and never removed by itself."""
    host = the_request(an_updater(HostConfig={"AutoRemove": True, "RestartPolicy": {"Name": "no"}}))["HostConfig"]
    assert host["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    assert "AutoRemove" not in host


def test_helper_cannot_be_taken_for_the_updater() -> None:
    """No port, host name, label or health check of it; and it is not updated itself."""
    request = the_request()
    assert not {"Hostname", "ExposedPorts", "Volumes", "Tty"} & request.keys()
    assert "PortBindings" not in request["HostConfig"]
    assert request["Healthcheck"] == {"Test": ["NONE"]}
    assert request["Labels"] == {
        HELPER_LABEL: an_updater()["Id"],
        "com.centurylinklabs.watchtower": "false",
        "com.centurylinklabs.watchtower.enable": "false",
    }


def test_helper_sees_what_the_updater_sees() -> None:
    """The environment and the user are the same, so that the same settings apply; nothing is added."""
    request = the_request()
    assert request["Env"] == ["WATCHTOWER_HTTP_API_TOKEN=/run/secrets/token", "DOCKER_CONFIG=/"]
    assert request["User"] == "1000:998"
    assert request["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]


def test_helper_may_write_to_its_state_only() -> None:
    """And to the socket; the anonymous volume of the state comes by its name."""
    host = the_request()["HostConfig"]
    volume = next(mount["Name"] for mount in an_updater()["Mounts"] if mount["Destination"] == STATE)
    assert host["Binds"] == [
        f"{SOCKET}:{SOCKET}",
        "/srv/me/config.json:/config.json:ro",
        "/etc/certs:/certs:z,ro",
        f"{volume}:{STATE}",
    ]
    assert [mount["ReadOnly"] for mount in host["Mounts"]] == [True]


def test_directory_that_holds_the_socket_stays_as_it_is() -> None:
    """Some people mount the whole directory."""
    document = an_updater(HostConfig={"Binds": ["/run:/var/run", "/srv:/var"]})
    assert the_request(document)["HostConfig"]["Binds"][:2] == ["/run:/var/run", "/srv:/var"]


def test_helper_with_a_socket_needs_no_network() -> None:
    """Then nothing of a network's settings may be sent either."""
    request = the_request()
    assert request["HostConfig"]["NetworkMode"] == "none"
    assert "NetworkingConfig" not in request
    assert "ExtraHosts" not in request["HostConfig"]


def test_helper_without_a_socket_has_the_updaters_network_and_not_its_addresses() -> None:
    """The engine is behind that network, and the updater still has the address and the alias."""
    request = the_request(socket=None)
    assert request["HostConfig"]["NetworkMode"] == "backend"
    assert request["HostConfig"]["ExtraHosts"] == ["registry.example:10.0.0.9"]
    assert request["NetworkingConfig"] == {"EndpointsConfig": {"backend": {}}}


def test_container_that_cannot_be_created_anew_has_no_helper() -> None:
    """The reasons are those of any container."""
    document = an_updater()
    document["HostConfig"]["SomethingNew"] = {"a": 1}
    found = helper_request(
        document,
        IMAGE,
        EngineFacts(api_version=(1, 51)),
        COMMAND,
        neighbourhood=Neighbourhood(),
        socket=SOCKET,
        state_directory=STATE,
    )
    assert isinstance(found, Refusal)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_command_is_read_as_it_was_written() -> None:
    """Also with options of the program before it."""
    line = parse_command_line(["--host", "tcp://engine:2375", *ORDER.arguments()], program="p")
    assert line.command == "replace-self"
    assert line.values["engine.host"] == "tcp://engine:2375"
    assert read_order(line.options) == ORDER


def test_command_is_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody calls it by hand."""
    with pytest.raises(BaseException, match="0"):
        parse_command_line(["--help"], program="p")
    assert "replace-self" not in capsys.readouterr().out


def test_command_names_everything_that_is_missing_or_wrong() -> None:
    """Someone may call it by hand all the same."""
    with pytest.raises(SettingsError) as caught:
        read_order({"--name": "tower", "--container": "1"})
    assert caught.value.problems == tuple(
        f"replace-self needs {flag}" for flag in ("--image", "--image-id", "--digest")
    )
    given = parse_command_line(ORDER.arguments(), program="p").options
    with pytest.raises(SettingsError):
        read_order({**given, "--digest": "sha256:short"})


# ---- whose business --------------------------------------------------------------------------------------------------


def listed(name: str, *, state: str = "running", is_helper: bool = False) -> ContainerSummary:
    """Return a container as it is listed."""
    labels = {HELPER_LABEL: "1"} if is_helper else {}
    return read_container({"Id": an_id(name), "Names": [f"/{name}"], "State": state, "Labels": labels})


OWNER = "0123456789ab"
HALF_WAY = (listed("tower"), listed(f"tower.wta-old-ra-{OWNER}", state="exited"), listed("web.wta-new-ra"))


def names(containers: tuple[ContainerSummary, ...]) -> set[str]:
    """Return their names."""
    return {item.name for item in containers}


@pytest.mark.parametrize("state", ["running", "restarting"])
def test_name_with_a_helper_is_left_to_it_by_everybody(state: str) -> None:
    """Also between two attempts of the engine to start it."""
    helper = listed("tower.wta-helper", state=state, is_helper=True)
    assert names(not_left_to_helpers((*HALF_WAY, helper))) == {"web.wta-new-ra", "tower.wta-helper"}


def test_name_whose_helper_was_stopped_is_left_to_it_by_its_own_updater_only() -> None:
    """That one removes the helper after a minute; another updater need not wait for one that may be down itself."""
    containers = (*HALF_WAY, listed("tower.wta-helper", state="exited", is_helper=True))
    assert "tower" in names(not_left_to_helpers(containers))
    assert "tower" not in names(not_left_to_helpers(containers, an_id("tower")))


def test_container_that_is_only_called_like_a_helper_is_none() -> None:
    """Somebody may call a container so."""
    containers = (*HALF_WAY, listed("tower.wta-helper"))
    assert helper_of(containers, an_id("tower")) is None
    assert not_left_to_helpers(containers) == containers


@pytest.mark.parametrize("name", ["tower", f"tower.wta-old-ra-{OWNER}"])
def test_helper_is_found_under_whichever_name_we_have(name: str) -> None:
    """Old or new, it is the same original name."""
    helper = listed("tower.wta-helper", is_helper=True)
    assert helper_of((*HALF_WAY, helper), an_id(name)) == helper


def a_helper(status: str, *, seconds: float = 0.0, restarts: int = 0) -> dict[str, Any]:
    """Return a helper, inspected, that ended so long ago."""
    return {
        "Id": an_id("helper"),
        "Created": (NOW - timedelta(seconds=seconds)).isoformat(),
        "RestartCount": restarts,
        "State": {"Status": status, "FinishedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Labels": {HELPER_LABEL: "1"}},
    }


@pytest.mark.parametrize(
    ("helper", "has_begun", "expected"),
    [
        (a_helper("running", seconds=900), True, False),
        (a_helper("exited", seconds=59), True, False),
        (a_helper("exited", seconds=61), True, True),
        (a_helper("created", seconds=61), False, True),
        (a_helper("restarting", restarts=5), True, False),
        (a_helper("restarting", restarts=4), False, False),
        (a_helper("restarting", restarts=5), False, True),
    ],
)
def test_helper_is_abandoned_when_it_will_do_nothing_any_more(
    helper: dict[str, Any], has_begun: bool, expected: bool
) -> None:
    """Stopped for a minute, or started in vain again and again with nothing begun."""
    assert is_abandoned(helper, now=NOW, has_begun=has_begun) is expected
