"""What our client relies on in an engine holds for the real one, and the simulated one does the same.

Where the two differ, the simulated one is wrong.
"""

from __future__ import annotations

import io
import tarfile
from copy import deepcopy
from typing import Any

import anyio
import pytest

from tests.support.engine_lab import Lab, eventually, free_port
from watchtower_async.engine.injected_files import carry_over, find_injected_files, read_file
from watchtower_async.engine.inventory import read_image, take_inventory
from watchtower_async.engine.spec import EngineFacts, Recreation, recreate
from watchtower_async.engine.times import parse_time
from watchtower_async.errors import (
    EngineConflictError,
    EngineError,
    NoSuchObjectError,
    PullFailedError,
)

NEVER = "0001-01-01T00:00:00Z"
ALWAYS = {"Name": "always", "MaximumRetryCount": 0}
UNLESS_STOPPED = {"Name": "unless-stopped", "MaximumRetryCount": 0}


def host(**fields: Any) -> dict[str, Any]:
    """Return the part of a create request that is about the machine."""
    return {"HostConfig": fields}


def publishing(port: str, host_port: str) -> dict[str, Any]:
    """Return the fields of a create request that publish a port, as the command line sends them."""
    return {"ExposedPorts": {port: {}}, **host(PortBindings={port: [{"HostIp": "", "HostPort": host_port}]})}


# ---- life cycle ----------------------------------------------------------------------------------------------------


async def test_created_container_has_never_run(lab: Lab) -> None:
    """Before the first start there are no times, and the exit code is 0."""
    state = await lab.state(await lab.create("app"))
    assert {key: state[key] for key in ("Status", "Running", "Paused", "Restarting", "ExitCode")} == {
        "Status": "created",
        "Running": False,
        "Paused": False,
        "Restarting": False,
        "ExitCode": 0,
    }
    assert [state["StartedAt"], state["FinishedAt"], state["Error"]] == [NEVER, NEVER, ""]


async def test_started_container_runs(lab: Lab) -> None:
    """After the start it runs, and has not ended yet."""
    container_id = await lab.run("app")
    state = await lab.state(container_id)
    assert [state["Status"], state["Running"], state["FinishedAt"]] == ["running", True, NEVER]
    assert state["StartedAt"] > NEVER
    assert (await lab.client.inspect_container(container_id))["RestartCount"] == 0


async def test_start_and_stop_succeed_twice(lab: Lab) -> None:
    """What is reached already is a success."""
    container_id = await lab.run("app")
    await lab.client.start_container(container_id)
    await lab.client.stop_container(container_id, timeout=5)
    await lab.client.stop_container(container_id, timeout=5)
    state = await lab.state(container_id)
    assert [state["Status"], state["Running"], state["ExitCode"]] == ["exited", False, 0]
    assert state["FinishedAt"] > state["StartedAt"]


async def test_created_container_can_be_stopped(lab: Lab) -> None:
    """Stopping what never ran changes nothing."""
    container_id = await lab.create("app")
    await lab.client.stop_container(container_id, timeout=1)
    assert (await lab.state(container_id))["Status"] == "created"


async def test_stopped_container_starts_again(lab: Lab) -> None:
    """The second start has a time of its own, and the end of the first run is kept."""
    container_id = await lab.run("app")
    first = (await lab.state(container_id))["StartedAt"]
    await lab.client.stop_container(container_id, timeout=5)
    await lab.client.start_container(container_id)
    state = await lab.state(container_id)
    assert state["Status"] == "running"
    assert first < state["FinishedAt"] < state["StartedAt"]


async def test_process_that_does_not_hear_is_killed(lab: Lab) -> None:
    """After the time-out the process is killed, which shows in the exit code."""
    container_id = await lab.run("app", "deaf")
    with anyio.fail_after(5):
        await lab.client.stop_container(container_id, timeout=1)
    state = await lab.state(container_id)
    assert [state["Status"], state["ExitCode"]] == ["exited", 137]


async def test_own_stop_timeout_holds_when_none_is_given(lab: Lab) -> None:
    """Without a time-out in the call the container's own is used; 0 is a value."""
    container_id = await lab.run("app", "deaf", StopTimeout=0)
    with anyio.fail_after(5):
        await lab.client.stop_container(container_id, timeout=None)
    assert (await lab.state(container_id))["ExitCode"] == 137


async def test_kill_ends_it_at_once(lab: Lab) -> None:
    """A kill needs no time-out; a second one succeeds."""
    container_id = await lab.run("app", "deaf")
    await lab.client.kill_container(container_id)
    document = await lab.until(container_id, lambda document: not document["State"]["Running"])
    assert document["State"]["ExitCode"] == 137
    await lab.client.kill_container(container_id)


async def test_container_that_was_killed_stays_down(lab: Lab) -> None:
    """A kill counts as a stop by hand, whatever the policy."""
    container_id = await lab.run("app", "deaf", **host(RestartPolicy=ALWAYS))
    await lab.client.kill_container(container_id)
    await lab.until(container_id, lambda document: not document["State"]["Running"])
    await anyio.sleep(0.4)
    assert (await lab.state(container_id))["Status"] == "exited"


@pytest.mark.parametrize(("kind", "code"), [("fails", 3), ("done", 0)])
async def test_exit_code_is_kept(lab: Lab, kind: str, code: int) -> None:
    """A process that ends by itself leaves its exit code."""
    container_id = await lab.run("app", kind)
    document = await lab.until(container_id, lambda document: document["State"]["Status"] == "exited")
    assert code == document["State"]["ExitCode"]
    assert document["RestartCount"] == 0


async def test_stop_goes_on_when_its_caller_goes_away(lab: Lab) -> None:
    """A stop that nobody waits for any more ends the container all the same."""
    container_id = await lab.run("app", "deaf")
    with anyio.move_on_after(0.3) as patience:
        await lab.client.stop_container(container_id, timeout=1)
    assert patience.cancelled_caught
    assert (await lab.state(container_id))["Running"]
    document = await lab.until(container_id, lambda document: not document["State"]["Running"])
    assert document["State"]["ExitCode"] == 137


async def test_other_calls_go_on_during_a_stop(lab: Lab) -> None:
    """While a container takes its time to stop, the engine answers."""
    slow, other = await lab.run("slow", "deaf"), await lab.run("other")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: lab.client.stop_container(slow, timeout=1))
        await anyio.sleep(0.1)
        with anyio.fail_after(0.9):
            assert (await lab.state(other))["Running"]
            await lab.client.rename_container(slow, lab.name("renamed"))
    assert not (await lab.state(slow))["Running"]


# ---- pause ---------------------------------------------------------------------------------------------------------


async def test_paused_container_is_running_too(lab: Lab) -> None:
    """Pausing twice and going on twice succeed."""
    container_id = await lab.run("app")
    await lab.client.pause_container(container_id)
    await lab.client.pause_container(container_id)
    state = await lab.state(container_id)
    assert [state["Status"], state["Running"], state["Paused"]] == ["paused", True, True]
    await lab.client.unpause_container(container_id)
    await lab.client.unpause_container(container_id)
    assert (await lab.state(container_id))["Status"] == "running"


async def test_paused_container_refuses_start_and_removal(lab: Lab) -> None:
    """It must be unpaused or stopped first."""
    container_id = await lab.run("app")
    await lab.client.pause_container(container_id)
    with pytest.raises(EngineConflictError, match="cannot start a paused container"):
        await lab.client.start_container(container_id)
    with pytest.raises(EngineConflictError, match="paused"):
        await lab.client.remove_container(container_id)


async def test_paused_container_can_be_stopped(lab: Lab) -> None:
    """The engine resumes it for that."""
    container_id = await lab.run("app")
    await lab.client.pause_container(container_id)
    await lab.client.stop_container(container_id, timeout=5)
    state = await lab.state(container_id)
    assert [state["Status"], state["Paused"]] == ["exited", False]


async def test_created_container_cannot_be_paused(lab: Lab) -> None:
    """There is nothing to pause."""
    container_id = await lab.create("app")
    with pytest.raises(EngineConflictError, match="is not running"):
        await lab.client.pause_container(container_id)


# ---- names ---------------------------------------------------------------------------------------------------------


async def test_taken_name_is_refused_at_create(lab: Lab) -> None:
    """The message names the name and its owner; nothing is made."""
    owner = await lab.create("app")
    with pytest.raises(EngineConflictError, match="is already in use by container") as caught:
        await lab.create("app")
    assert f'The container name "/{lab.name("app")}"' in str(caught.value)
    assert owner in str(caught.value)
    assert [owner] == await ids_named(lab, lab.name("app"))


async def test_taken_name_is_refused_at_rename(lab: Lab) -> None:
    """Both containers keep their names."""
    first, second = await lab.create("first"), await lab.create("second")
    with pytest.raises(EngineConflictError, match="is already in use by container"):
        await lab.client.rename_container(second, lab.name("first"))
    assert [[first], [second]] == [await ids_named(lab, lab.name("first")), await ids_named(lab, lab.name("second"))]


async def test_rename_to_own_name_succeeds(lab: Lab) -> None:
    """It has the name already."""
    container_id = await lab.create("app")
    await lab.client.rename_container(container_id, lab.name("app"))
    assert [container_id] == await ids_named(lab, lab.name("app"))


async def test_rename_while_running_frees_the_name_at_once(lab: Lab) -> None:
    """Two containers can swap a name without being stopped."""
    old = await lab.run("app")
    new = await lab.create("app.new")
    await lab.client.rename_container(old, lab.name("app.old"))
    await lab.client.rename_container(new, lab.name("app"))
    assert f"/{lab.name('app.old')}" == (await lab.client.inspect_container(old))["Name"]
    assert new == (await lab.client.inspect_container(lab.name("app")))["Id"]
    assert (await lab.state(old))["Running"]


@pytest.mark.parametrize("name", ["-begins-with-dash", "has space", "x"])
async def test_malformed_name_is_refused(lab: Lab, name: str) -> None:
    """Names have at least two characters and begin with a letter or digit."""
    with pytest.raises(EngineError, match="Invalid container name") as caught:
        await lab.client.create_container(name, lab.request())
    assert caught.value.status == 400


async def test_long_name_with_dots_and_dashes_is_taken(lab: Lab) -> None:
    """The names that an updater makes are legal."""
    name = lab.name("web." + "a" * 200 + ".wta-old-rf5-1f3c9b2d77aa")
    container_id = await lab.client.create_container(name, lab.request())
    assert [container_id] == await ids_named(lab, name)


async def test_container_is_found_by_name_id_and_short_id(lab: Lab) -> None:
    """All three mean the same container."""
    container_id = await lab.create("app")
    for text in (container_id, container_id[:12], lab.name("app")):
        assert container_id == (await lab.client.inspect_container(text))["Id"]


async def test_missing_container_is_told_by_every_verb(lab: Lab) -> None:
    """404 comes through as what it is."""
    name, client = lab.name("nobody"), lab.client
    for call in (
        lambda: client.inspect_container(name),
        lambda: client.start_container(name),
        lambda: client.stop_container(name, timeout=1),
        lambda: client.rename_container(name, lab.name("other")),
        lambda: client.kill_container(name),
        lambda: client.set_restart_policy(name, ALWAYS),
        lambda: client.container_logs(name, tail=1),
        lambda: client.changed_paths(name),
    ):
        with pytest.raises(NoSuchObjectError, match="No such container"):
            await call()


async def ids_named(lab: Lab, name: str) -> list[str]:
    """Return the ids of the containers that the inventory shows under a name."""
    inventory = await take_inventory(lab.client)
    return [container.id for container in inventory.containers if container.name == name]


# ---- create --------------------------------------------------------------------------------------------------------


async def test_missing_image_is_refused_at_create(lab: Lab) -> None:
    """Create pulls nothing."""
    for image in (f"{lab.prefix}-nothing:1", "sha256:" + "0" * 64):
        with pytest.raises(NoSuchObjectError, match=f"No such image: {image}"):
            await lab.client.create_container(lab.name("app"), {**lab.request(), "Image": image})


async def test_other_platform_is_refused_at_create(lab: Lab) -> None:
    """An image that is here for another platform does not count."""
    with pytest.raises(NoSuchObjectError, match=r"does not (match|provide) the specified platform"):
        await lab.client.create_container(lab.name("app"), lab.request(), platform="linux/s390x")


async def test_container_can_be_made_from_an_image_id(lab: Lab) -> None:
    """The text of the reference is kept as it was given."""
    image_id = (await lab.client.inspect_image(lab.image("serves")))["Id"]
    container_id = await lab.client.create_container(lab.name("app"), {**lab.request(), "Image": image_id})
    document = await lab.client.inspect_container(container_id)
    assert [image_id, image_id] == [document["Config"]["Image"], document["Image"]]


async def test_request_comes_back_merged_with_image(lab: Lab) -> None:
    """Inspect shows the image's values beside those that were asked for, and what the engine fills in."""
    container_id = await lab.create(
        "app",
        "rich",
        Env=["B=own", "A=mine"],
        Labels={"own": "1"},
        ExposedPorts={"9090/tcp": {}},
        StopTimeout=7,
        HostConfig={"Memory": 64 << 20, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}},
    )
    document = await lab.client.inspect_container(container_id)
    config, machine = document["Config"], document["HostConfig"]
    assert sorted(config["Env"]) == ["A=mine", "B=own", "PATH=/bin"]
    assert {key: value for key, value in config["Labels"].items() if key == "own"} == {"own": "1"}
    assert config["ExposedPorts"] == {"8080/tcp": {}, "9090/tcp": {}}
    assert [config["Cmd"], config["WorkingDir"], config["User"]] == [["sleep", "1000"], "/tmp", "1000"]
    assert [container_id[:12], 7, {"/data": {}}] == [config["Hostname"], config["StopTimeout"], config["Volumes"]]
    assert machine["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert [
        machine["MemorySwap"],
        machine["AutoRemove"],
        machine["LogConfig"]["Type"],
    ] == [128 << 20, False, "json-file"]
    assert [document["Path"], document["Args"], document["Platform"]] == ["sleep", ["1000"], "linux"]


async def test_anonymous_volume_has_a_name_of_its_own(lab: Lab) -> None:
    """A second container of the image gets another one; one that is given by name is shared."""
    documents = [await lab.client.inspect_container(await lab.create(word, "rich")) for word in ("one", "two")]
    names = [document["Mounts"][0]["Name"] for document in documents]
    assert [documents[0]["Mounts"][0][key] for key in ("Destination", "Type", "RW")] == ["/data", "volume", True]
    assert [len(name) for name in names] == [64, 64]
    assert names[0] != names[1]
    third = await lab.create("three", "rich", **host(Binds=[f"{names[0]}:/data"]))
    assert [names[0]] == [mount["Name"] for mount in (await lab.client.inspect_container(third))["Mounts"]]


async def test_recreation_asks_for_what_was_asked(lab: Lab) -> None:
    """From inspect back to the request: the fields that the image or the engine brought are left out."""
    asked: dict[str, Any] = {
        "Env": ["B=own"],
        "StopTimeout": 3,
        "HostConfig": {
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": free_port()}]},
            "RestartPolicy": UNLESS_STOPPED,
        },
    }
    container_id = await lab.run("app", "rich", **deepcopy(asked))
    document = await lab.client.inspect_container(container_id)
    image = await lab.client.inspect_image(document["Image"])
    result = recreate(
        container=document,
        old_image=image,
        new_image=image,
        engine=EngineFacts(api_version=lab.api, platform=f"linux/{lab.client.info.architecture}"),
    )
    assert isinstance(result, Recreation), result
    request, volume = result.request, document["Mounts"][0]["Name"]
    assert [["B=own"], 3, lab.image("rich")] == [request["Env"], request["StopTimeout"], request["Image"]]
    assert not {"Cmd", "User", "WorkingDir", "Volumes", "Hostname", "MacAddress"} & set(request)
    assert asked["HostConfig"]["PortBindings"] == request["HostConfig"]["PortBindings"]
    assert request["HostConfig"]["RestartPolicy"] == UNLESS_STOPPED
    assert [f"{volume}:/data"] == request["HostConfig"]["Binds"]
    assert not request.get("NetworkingConfig")


async def test_auto_remove_excludes_restart_policy(lab: Lab) -> None:
    """Neither at create nor by an update."""
    with pytest.raises(EngineError, match="can't create 'AutoRemove' container with restart policy") as caught:
        await lab.create("app", **host(AutoRemove=True, RestartPolicy=ALWAYS))
    assert caught.value.status == 400
    container_id = await lab.create("app", **host(AutoRemove=True))
    with pytest.raises(EngineConflictError, match="AutoRemove is enabled"):
        await lab.client.set_restart_policy(container_id, ALWAYS)


async def test_container_without_command_is_refused(lab: Lab) -> None:
    """An empty entrypoint takes the image's command away, too."""
    with pytest.raises(EngineError, match=r"(?i)no command specified"):
        await lab.create("app", Entrypoint=[""])


# ---- restart policies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [False, True])
async def test_policy_changes_on_container_that_is_down(lab: Lab, start: bool) -> None:
    """Created or exited, the new policy is stored, and the container stays down."""
    container_id = await lab.create("app", **host(RestartPolicy=UNLESS_STOPPED))
    if start:
        await lab.client.start_container(container_id)
        await lab.client.stop_container(container_id, timeout=5)
    await lab.client.set_restart_policy(container_id, ALWAYS)
    document = await lab.client.inspect_container(container_id)
    assert document["HostConfig"]["RestartPolicy"] == ALWAYS
    assert ("exited" if start else "created") == document["State"]["Status"]
    await lab.client.set_restart_policy(container_id, {"Name": "on-failure", "MaximumRetryCount": 2})
    document = await lab.client.inspect_container(container_id)
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


@pytest.mark.parametrize("policy", [{"Name": "sometimes"}, {"Name": "always", "MaximumRetryCount": 3}])
async def test_impossible_policy_is_refused(lab: Lab, policy: dict[str, Any]) -> None:
    """The old one stays."""
    container_id = await lab.create("app", **host(RestartPolicy=ALWAYS))
    with pytest.raises(EngineError) as caught:
        await lab.client.set_restart_policy(container_id, policy)
    assert caught.value.status == 400
    document = await lab.client.inspect_container(container_id)
    assert document["HostConfig"]["RestartPolicy"] == ALWAYS


async def test_restart_loop_shows_in_count_and_state(lab: Lab) -> None:
    """The count rises, and between two attempts it is running and restarting, with the last exit code."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=ALWAYS))
    document = await lab.until(
        container_id, lambda document: document["RestartCount"] > 2 and document["State"]["Restarting"]
    )
    state = document["State"]
    assert [state["Status"], state["Running"], state["ExitCode"]] == ["restarting", True, 3]
    assert (await lab.listed(container_id))["State"] in ("restarting", "running")


async def test_stop_ends_restart_loop(lab: Lab) -> None:
    """At once, and for good; the next start by hand counts from 0."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=UNLESS_STOPPED))
    await lab.until(container_id, lambda document: document["RestartCount"] > 2 and document["State"]["Restarting"])
    await lab.client.stop_container(container_id, timeout=5)
    stopped = await lab.client.inspect_container(container_id)
    assert [stopped["State"]["Status"], stopped["State"]["ExitCode"]] == ["exited", 3]
    await anyio.sleep(0.4)
    assert stopped["RestartCount"] == (await lab.client.inspect_container(container_id))["RestartCount"]
    await lab.client.start_container(container_id)
    assert (await lab.client.inspect_container(container_id))["RestartCount"] < 2


async def test_start_in_restart_loop_changes_nothing(lab: Lab) -> None:
    """It counts as running."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=ALWAYS))
    await lab.until(container_id, lambda document: document["RestartCount"] > 2 and document["State"]["Restarting"])
    await lab.client.start_container(container_id)
    assert (await lab.client.inspect_container(container_id))["RestartCount"] > 2


async def test_restarting_container_cannot_be_removed(lab: Lab) -> None:
    """It counts as running, unless force is used."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=ALWAYS))
    await lab.until(container_id, lambda document: document["RestartCount"] > 2 and document["State"]["Restarting"])
    with pytest.raises(EngineConflictError, match="restarting"):
        await lab.client.remove_container(container_id)
    await lab.client.remove_container(container_id, force=True)
    with pytest.raises(NoSuchObjectError):
        await lab.client.inspect_container(container_id)


async def test_rename_in_restart_loop_needs_engine_28(lab: Lab) -> None:
    """Older engines refuse it between two attempts; so a container is stopped first."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=ALWAYS))
    await lab.until(container_id, lambda document: document["RestartCount"] > 2 and document["State"]["Restarting"])
    if lab.api >= (1, 48):
        await lab.client.rename_container(container_id, lab.name("renamed"))
    else:
        with pytest.raises(NoSuchObjectError, match=r"sandbox .* not found"):
            await lab.client.rename_container(container_id, lab.name("renamed"))


async def test_policy_no_ends_restart_loop(lab: Lab) -> None:
    """After the attempt that is on its way it stays down."""
    container_id = await lab.run("app", "fails", **host(RestartPolicy=ALWAYS))
    await lab.until(container_id, lambda document: document["RestartCount"] > 1 and document["State"]["Restarting"])
    await lab.client.set_restart_policy(container_id, {"Name": "no"})
    document = await lab.until(container_id, lambda document: document["State"]["Status"] == "exited")
    assert document["State"]["ExitCode"] == 3


@pytest.mark.parametrize(("kind", "count"), [("fails", 2), ("done", 0)])
async def test_on_failure_gives_up_after_its_limit(lab: Lab, kind: str, count: int) -> None:
    """A failing process comes back as often as it may; one that ended well does not."""
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    container_id = await lab.run("app", kind, **host(RestartPolicy=policy))
    document = await lab.until(container_id, lambda document: document["State"]["Status"] == "exited")
    assert count == document["RestartCount"]


# ---- health --------------------------------------------------------------------------------------------------------


async def test_health_begins_with_starting_and_becomes_healthy(lab: Lab) -> None:
    """Before the first probe nothing is known; then its result and output are there."""
    container_id = await lab.create("app", "healthy")
    await lab.client.start_container(container_id)
    health = (await lab.state(container_id))["Health"]
    assert health == {"Status": "starting", "FailingStreak": 0, "Log": []}
    document = await lab.until(container_id, lambda document: document["State"]["Health"]["Status"] == "healthy")
    last = document["State"]["Health"]["Log"][-1]
    assert [last["ExitCode"], last["Output"]] == [0, "fine\n"]


async def test_failing_check_makes_unhealthy(lab: Lab) -> None:
    """The container runs on; the last output tells why."""
    container_id = await lab.run("app", "unhealthy")
    document = await lab.until(container_id, lambda document: document["State"]["Health"]["Status"] == "unhealthy")
    last = document["State"]["Health"]["Log"][-1]
    assert [last["ExitCode"], last["Output"], document["State"]["Running"]] == [1, "broken\n", True]
    assert document["State"]["Health"]["FailingStreak"] > 0


async def test_stopped_container_is_unhealthy(lab: Lab) -> None:
    """What the last run said about its health does not stand, and the next start begins anew."""
    container_id = await lab.run("app", "healthy")
    await lab.until(container_id, lambda document: document["State"]["Health"]["Status"] == "healthy")
    await lab.client.stop_container(container_id, timeout=0)
    assert (await lab.state(container_id))["Health"]["Status"] == "unhealthy"
    await lab.client.start_container(container_id)
    assert (await lab.state(container_id))["Health"]["Status"] == "starting"


@pytest.mark.parametrize(("kind", "fields"), [("serves", {}), ("healthy", {"Healthcheck": {"Test": ["NONE"]}})])
async def test_no_check_means_no_health(lab: Lab, kind: str, fields: dict[str, Any]) -> None:
    """Without a check, or with it switched off, there is nothing to wait for."""
    container_id = await lab.run("app", kind, **fields)
    assert not (await lab.state(container_id)).get("Health")


# ---- starts that fail ----------------------------------------------------------------------------------------------


async def test_missing_command_fails_at_start(lab: Lab) -> None:
    """The container stays created, with the error and 127; a policy does not bring it back."""
    container_id = await lab.create("app", "broken", **host(RestartPolicy=ALWAYS))
    with pytest.raises(EngineError, match="no such file or directory") as caught:
        await lab.client.start_container(container_id)
    document = await lab.client.inspect_container(container_id)
    state = document["State"]
    assert [
        caught.value.status,
        state["Status"],
        state["ExitCode"],
        document["RestartCount"],
    ] == [400, "created", 127, 0]
    assert "no such file or directory" in state["Error"]


async def test_taken_port_fails_at_start(lab: Lab) -> None:
    """While somebody has the port the second cannot start; it can as soon as the port is free."""
    fields = publishing("80/tcp", free_port())
    first = await lab.run("first", **fields)
    second = await lab.create("second", **fields)
    with pytest.raises(EngineError, match="port is already allocated") as caught:
        await lab.client.start_container(second)
    state = await lab.state(second)
    assert [caught.value.status, state["Status"], state["ExitCode"]] == [500, "created", 128]
    assert "port is already allocated" in state["Error"]
    await lab.client.stop_container(first, timeout=5)
    await lab.client.start_container(second)
    state = await lab.state(second)
    assert [state["Status"], state["ExitCode"], state["Error"]] == ["running", 0, ""]


async def test_taken_port_leaves_stopped_container_exited(lab: Lab) -> None:
    """One that has run before is exited after a start that failed."""
    fields = publishing("80/tcp", free_port())
    first = await lab.run("first", **fields)
    await lab.client.stop_container(first, timeout=5)
    await lab.run("second", **fields)
    with pytest.raises(EngineError, match="port is already allocated"):
        await lab.client.start_container(first)
    state = await lab.state(first)
    assert [state["Status"], state["ExitCode"]] == ["exited", 128]


async def test_engine_20_publishes_exposed_ports_only(lab: Lab) -> None:
    """A binding alone does nothing there, so the exposed port must be in the request, too."""
    if lab.api > (1, 41):
        return
    container_id = await lab.run("app", **host(**publishing("80/tcp", free_port())["HostConfig"]))
    assert not (await lab.client.inspect_container(container_id))["NetworkSettings"]["Ports"]


async def test_random_port_is_assigned_and_request_kept(lab: Lab) -> None:
    """The number is in the results only, where the process runs."""
    fields = publishing("80/tcp", "0")
    container_id = await lab.run("app", **fields)
    document = await lab.client.inspect_container(container_id)
    assert fields["HostConfig"]["PortBindings"] == document["HostConfig"]["PortBindings"]
    assert int(document["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]) > 1023
    await lab.client.stop_container(container_id, timeout=5)
    assert not (await lab.client.inspect_container(container_id))["NetworkSettings"]["Ports"]


async def test_missing_network_fails_at_start(lab: Lab) -> None:
    """Create does not look it up."""
    container_id = await lab.create("app", **host(NetworkMode=lab.name("nowhere")))
    with pytest.raises(NoSuchObjectError, match=f"network {lab.name('nowhere')} not found"):
        await lab.client.start_container(container_id)
    state = await lab.state(container_id)
    assert [state["Status"], state["ExitCode"]] == ["created", 128]


async def test_static_address_belongs_to_one_at_a_time(lab: Lab) -> None:
    """The second starts when the first has stopped, and then has the address."""
    network = lab.network("net", "10.213.51.0/24")
    fields = {
        **host(NetworkMode=network),
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": "10.213.51.9"}}}},
    }
    first = await lab.run("first", **fields)
    second = await lab.create("second", **fields)
    with pytest.raises(EngineError, match="Address already in use") as caught:
        await lab.client.start_container(second)
    assert caught.value.status == 403
    await lab.client.stop_container(first, timeout=5)
    await lab.client.start_container(second)
    assert await endpoint(lab, second, network) | {"IPAddress": "10.213.51.9"} == await endpoint(lab, second, network)


# ---- networks and other containers ---------------------------------------------------------------------------------


async def endpoint(lab: Lab, container_id: str, network: str) -> dict[str, Any]:
    """Return a container's endpoint in a network."""
    document = await lab.client.inspect_container(container_id)
    return dict(document["NetworkSettings"]["Networks"][network])


async def test_endpoint_shows_request_before_and_results_while_running(lab: Lab) -> None:
    """Aliases are there from the start on, with what the engine adds; addresses only while it runs."""
    network = lab.network("net", "10.213.52.0/24")
    asked = {"Aliases": ["svc"]}
    container_id = await lab.create(
        "app", Hostname="mine", **host(NetworkMode=network), NetworkingConfig={"EndpointsConfig": {network: asked}}
    )
    created = await endpoint(lab, container_id, network)
    assert [created[key] for key in ("Aliases", "NetworkID", "EndpointID", "IPAddress", "IPAMConfig")] == [
        ["svc"],
        "",
        "",
        "",
        None,
    ]
    await lab.client.start_container(container_id)
    added = [] if lab.api >= (1, 45) else [container_id[:12]] if lab.api >= (1, 44) else [container_id[:12], "mine"]
    running = await endpoint(lab, container_id, network)
    assert ["svc", *added] == running["Aliases"]
    assert running["IPAddress"].startswith("10.213.52.")
    assert [running["IPPrefixLen"], bool(running["EndpointID"]), bool(running["MacAddress"])] == [24, True, True]
    await lab.client.stop_container(container_id, timeout=5)
    stopped = await endpoint(lab, container_id, network)
    assert [stopped[key] for key in ("EndpointID", "IPAddress", "MacAddress")] == ["", "", ""]
    assert [running["NetworkID"], running["Aliases"]] == [stopped["NetworkID"], stopped["Aliases"]]
    assert running["NetworkID"] == (await lab.client.inspect_network(network))["Id"]


async def test_generated_mac_address_comes_from_address_before_engine_28(lab: Lab) -> None:
    """So it must not be taken for one that was asked for."""
    container_id = await lab.run("app")
    shown = await endpoint(lab, container_id, "bridge")
    from_address = "02:42:" + ":".join(f"{int(part):02x}" for part in shown["IPAddress"].split("."))
    assert (lab.api < (1, 48)) == (from_address == shown["MacAddress"])


async def test_several_endpoints_at_create_need_engine_25(lab: Lab) -> None:
    """Older engines take one."""
    networks = [lab.network("one", "10.213.53.0/24"), lab.network("two", "10.213.54.0/24")]
    fields = {
        **host(NetworkMode=networks[0]),
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": ["svc"]} for network in networks}},
    }
    if lab.api < (1, 44):
        with pytest.raises(EngineError, match="Container cannot be connected to network endpoints") as caught:
            await lab.create("app", **fields)
        assert caught.value.status == 400
        return
    container_id = await lab.run("app", **fields)
    document = await lab.client.inspect_container(container_id)
    assert set(networks) == set(document["NetworkSettings"]["Networks"])


async def test_created_container_can_be_connected(lab: Lab) -> None:
    """It is written down, and done at the start."""
    first, second = lab.network("one", "10.213.55.0/24"), lab.network("two", "10.213.56.0/24")
    container_id = await lab.create("app", **host(NetworkMode=first))
    asked = {"Aliases": ["second"], "IPAMConfig": {"IPv4Address": "10.213.56.20"}}
    await lab.client.connect_network(second, container_id, asked)
    created = await endpoint(lab, container_id, second)
    assert ["", asked["IPAMConfig"]] == [created["IPAddress"], created["IPAMConfig"]]
    assert "second" in created["Aliases"]
    await lab.client.start_container(container_id)
    assert (await endpoint(lab, container_id, second))["IPAddress"] == "10.213.56.20"
    await lab.client.disconnect_network(second, container_id)
    document = await lab.client.inspect_container(container_id)
    assert {first} == set(document["NetworkSettings"]["Networks"])


async def test_missing_network_is_told(lab: Lab) -> None:
    """By inspect, and where a container is to be connected to it."""
    container_id = await lab.run("app")
    for call in (
        lambda: lab.client.inspect_network(lab.name("nowhere")),
        lambda: lab.client.connect_network(lab.name("nowhere"), container_id, {}),
    ):
        with pytest.raises(NoSuchObjectError, match=f"network {lab.name('nowhere')} not found"):
            await call()


async def test_network_document_tells_its_subnet(lab: Lab) -> None:
    """The pools are there for a check of static addresses."""
    network = lab.network("net", "10.213.57.0/24")
    document = await lab.client.inspect_network(network)
    assert [pool["Subnet"] for pool in document["IPAM"]["Config"]] == ["10.213.57.0/24"]
    assert [network, "bridge"] == [document["Name"], document["Driver"]]


# ---- removal -------------------------------------------------------------------------------------------------------


async def test_running_container_cannot_be_removed(lab: Lab) -> None:
    """Only with force."""
    container_id = await lab.run("app")
    with pytest.raises(EngineConflictError, match="running"):
        await lab.client.remove_container(container_id)
    await lab.client.remove_container(container_id, force=True)
    await lab.client.remove_container(container_id)
    assert await ids_named(lab, lab.name("app")) == []


async def test_removal_frees_the_name(lab: Lab) -> None:
    """The next container of that name is another one."""
    first = await lab.create("app")
    await lab.client.remove_container(first)
    assert first != await lab.create("app")


async def test_auto_remove_goes_after_stop(lab: Lab) -> None:
    """A moment after the stop it is gone; removing it meanwhile succeeds."""
    container_id = await lab.run("app", **host(AutoRemove=True))
    await lab.client.stop_container(container_id, timeout=5)
    await lab.client.remove_container(container_id)
    nobody: list[str] = []
    assert nobody == await eventually(lambda: ids_named(lab, lab.name("app")), nobody)


# ---- logs and files ------------------------------------------------------------------------------------------------


async def test_logs_of_both_streams_without_frames(lab: Lab) -> None:
    """The last lines, as the process wrote them."""
    container_id = await lab.run("app")
    said = await eventually(lambda: lab.client.container_logs(container_id, tail=10), "out\nerr\n")
    assert said == "out\nerr\n"
    assert await lab.client.container_logs(container_id, tail=1) == "err\n"


async def test_logs_of_container_that_never_ran_are_empty(lab: Lab) -> None:
    """There is nothing to read, and that is no error."""
    assert await lab.client.container_logs(await lab.create("app"), tail=10) == ""


async def test_unchanged_container_has_no_changed_paths(lab: Lab) -> None:
    """The engine says null, and the client reads it as nothing."""
    assert await lab.client.changed_paths(await lab.create("app")) == []


async def test_missing_path_is_told(lab: Lab) -> None:
    """A path that is not there has no properties."""
    container_id = await lab.create("app")
    with pytest.raises(NoSuchObjectError):
        await lab.client.stat_path(container_id, "/no/such/file")
    with pytest.raises(NoSuchObjectError):
        await lab.client.get_archive(container_id, "/no/such/file", limit=1000)
    with pytest.raises(NoSuchObjectError):
        await lab.client.put_archive(container_id, "/no/such/directory", an_archive("file", b"x"))


def an_archive(name: str, content: bytes, *, mtime: int = 1_700_000_000) -> bytes:
    """Return a tar archive of one file that belongs to 7:8."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uid, member.gid, member.mtime = len(content), 0o440, 7, 8, mtime
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


async def test_file_that_was_put_in_comes_out_again(lab: Lab) -> None:
    """Content, owner, mode and time are kept, missing directories are made, and it shows as a change."""
    container_id = await lab.create("app")
    await lab.client.put_archive(container_id, "/", an_archive("run/secrets/key", b"secret\n"))
    member, content = read_file(await lab.client.get_archive(container_id, "/run/secrets/key", limit=20_000))
    assert [content, member.name, member.uid, member.gid] == [b"secret\n", "key", 7, 8]
    # Engines put the type of the file into the mode, too.
    assert [member.mode & 0o7777, member.mtime] == [0o440, 1_700_000_000]
    stat = await lab.client.stat_path(container_id, "/run/secrets/key")
    assert [stat["name"], stat["size"], stat["mode"], stat["mtime"]] == ["key", 7, 0o440, "2023-11-14T22:13:20Z"]
    assert "/run/secrets/key" in await lab.client.changed_paths(container_id)


async def test_file_of_running_and_frozen_container_can_be_read(lab: Lab) -> None:
    """What the container does makes no difference."""
    container_id = await lab.create("app")
    await lab.client.put_archive(container_id, "/", an_archive("key", b"x"))
    await lab.client.start_container(container_id)
    running = await lab.client.get_archive(container_id, "/key", limit=20_000)
    await lab.client.pause_container(container_id)
    assert read_file(running)[1] == read_file(await lab.client.get_archive(container_id, "/key", limit=20_000))[1]
    assert "/key" in await lab.client.changed_paths(container_id)


async def test_archive_beyond_the_limit_is_refused(lab: Lab) -> None:
    """Nobody's memory is filled by what lies in a container."""
    container_id = await lab.create("app")
    await lab.client.put_archive(container_id, "/", an_archive("big", bytes(200_000)))
    with pytest.raises(EngineError, match="/big is larger than 100000 bytes"):
        await lab.client.get_archive(container_id, "/big", limit=100_000)


async def test_nothing_is_put_into_a_read_only_container(lab: Lab) -> None:
    """So Compose has put nothing into it, either."""
    container_id = await lab.create("app", **host(ReadonlyRootfs=True))
    with pytest.raises(EngineError, match="read-only"):
        await lab.client.put_archive(container_id, "/", an_archive("key", b"x"))


async def test_injected_file_is_found_carried_over_and_found_again(lab: Lab) -> None:
    """As Compose copies it: after the create, with whole seconds. In the successor it is known for the same again."""
    predecessor, successor = await lab.create("old"), await lab.create("new")
    document = await lab.client.inspect_container(predecessor)
    created = parse_time(document["Created"])
    assert created is not None
    archive = an_archive("run/secrets/key", b"secret", mtime=int(created.timestamp()) + 1)
    await lab.client.put_archive(predecessor, "/", archive)
    await lab.client.put_archive(predecessor, "/", an_archive("old", b"x"))
    found = await find_injected_files(lab.client, document)
    assert found == ("/run/secrets/key",)
    with pytest.raises(EngineError, match="/nope, which Docker Compose copied in, cannot be carried over"):
        await carry_over(lab.client, predecessor, successor, ("/run/secrets/key", "/nope"))
    assert await lab.client.changed_paths(successor) == []
    await anyio.sleep(1.1)
    for _ in range(2):
        await carry_over(lab.client, predecessor, successor, found)
    assert found == await find_injected_files(lab.client, await lab.client.inspect_container(successor))
    member, content = read_file(await lab.client.get_archive(successor, "/run/secrets/key", limit=20_000))
    # Engines put the type of the file into the mode, too.
    assert (content, member.mode & 0o7777, member.uid, member.gid) == (b"secret", 0o440, 7, 8)


# ---- images --------------------------------------------------------------------------------------------------------


async def test_tag_moves_and_list_shows_image_id(lab: Lab) -> None:
    """A container whose tag means another image now is listed with the id of its own; inspect keeps the text."""
    tag = f"{lab.prefix}-own:1"
    old = lab.own_image(tag, "1")
    container_id = await lab.client.create_container(lab.name("app"), {**lab.request(), "Image": tag})
    assert [tag, old] == [(await lab.listed(container_id))[key] for key in ("Image", "ImageID")]
    new = lab.own_image(tag, "2")
    assert [old, old] == [(await lab.listed(container_id))[key] for key in ("Image", "ImageID")]
    document = await lab.client.inspect_container(container_id)
    assert [tag, old] == [document["Config"]["Image"], document["Image"]]
    assert new == (await lab.client.inspect_image(tag))["Id"]
    await lab.client.tag_image(old, repository=f"{lab.prefix}-own", tag="1")
    assert tag == (await lab.listed(container_id))["Image"]


async def test_image_that_lost_its_tag_is_nameless(lab: Lab) -> None:
    """It is still there, by its id; the inventory shows no names."""
    tag = f"{lab.prefix}-own:1"
    old = lab.own_image(tag, "1")
    lab.own_image(tag, "2")
    document = await lab.client.inspect_image(old)
    assert [old, []] == [document["Id"], document["RepoTags"]]
    image = (await take_inventory(lab.client)).images[old]
    assert [image.repo_tags, image.repo_digests] == [(), ()]


async def test_untag_takes_one_name(lab: Lab) -> None:
    """With its last name the image goes, unless a container uses it."""
    tag = f"{lab.prefix}-own:1"
    image_id = lab.own_image(tag, "1")
    await lab.client.tag_image(image_id, repository=f"{lab.prefix}-own", tag="2")
    assert {tag, f"{lab.prefix}-own:2"} == set((await lab.client.inspect_image(image_id))["RepoTags"])
    await lab.client.untag_image(tag)
    assert [f"{lab.prefix}-own:2"] == (await lab.client.inspect_image(image_id))["RepoTags"]
    await lab.client.untag_image(f"{lab.prefix}-own:2")
    with pytest.raises(NoSuchObjectError):
        await lab.client.inspect_image(image_id)


async def test_image_of_a_container_keeps_its_last_name(lab: Lab) -> None:
    """Neither name nor image can be removed; with a second name, the first one can."""
    tag = f"{lab.prefix}-own:1"
    image_id = lab.own_image(tag, "1")
    await lab.client.create_container(lab.name("app"), {**lab.request(), "Image": tag})
    with pytest.raises(EngineConflictError, match="is using its referenced image"):
        await lab.client.untag_image(tag)
    with pytest.raises(EngineConflictError, match="image is being used by stopped container"):
        await lab.client.remove_image(image_id)
    await lab.client.tag_image(image_id, repository=f"{lab.prefix}-own", tag="2")
    await lab.client.untag_image(tag)
    assert [f"{lab.prefix}-own:2"] == (await lab.client.inspect_image(image_id))["RepoTags"]


async def test_image_of_a_running_container_cannot_be_removed(lab: Lab) -> None:
    """The message says that force would not help."""
    container_id = await lab.run("app")
    image_id = (await lab.client.inspect_container(container_id))["Image"]
    with pytest.raises(EngineConflictError, match="cannot be forced"):
        await lab.client.remove_image(image_id)


async def test_nameless_image_can_be_removed_when_unused(lab: Lab) -> None:
    """By its id."""
    tag = f"{lab.prefix}-own:1"
    old = lab.own_image(tag, "1")
    lab.own_image(tag, "2")
    await lab.client.remove_image(old)
    assert await lab.listed_image(old) is None


async def test_image_with_names_in_two_repositories_is_not_removed_by_id(lab: Lab) -> None:
    """One of the names has to go first."""
    image_id = lab.own_image(f"{lab.prefix}-own:1", "1")
    await lab.client.tag_image(image_id, repository=f"{lab.prefix}-other", tag="1")
    with pytest.raises(EngineConflictError, match="image is referenced in multiple repositories"):
        await lab.client.remove_image(image_id)


async def test_missing_image_is_told(lab: Lab) -> None:
    """By inspect, removal and tag."""
    name = f"{lab.prefix}-nothing:1"
    for call in (
        lambda: lab.client.inspect_image(name),
        lambda: lab.client.remove_image(name),
        lambda: lab.client.untag_image(name),
        lambda: lab.client.tag_image(name, repository=f"{lab.prefix}-own", tag="1"),
    ):
        with pytest.raises(NoSuchObjectError, match=f"No such image: {name}"):
            await call()


# ---- registry ------------------------------------------------------------------------------------------------------


async def test_private_image_is_pulled_with_its_login_only(lab: Lab) -> None:
    """Without a login, or with a wrong one, the pull fails with the registry's words; nothing is stored."""
    name = f"{lab.registry}/{lab.prefix}/app:latest"
    digest = lab.publish(name, "1")
    with pytest.raises(PullFailedError, match="no basic auth credentials"):
        await lab.client.pull_image(name, registry_auth=lab.no_auth)
    refusal = "401 Unauthorized" if lab.has_containerd_store else "unauthorized: authentication required"
    with pytest.raises(PullFailedError, match=refusal) as caught:
        await lab.client.pull_image(name, registry_auth=lab.bad_auth)
    assert caught.value.login_refused
    with pytest.raises(NoSuchObjectError):
        await lab.client.inspect_image(name)
    await lab.client.pull_image(name, registry_auth=lab.auth)
    document = await lab.client.inspect_image(name)
    assert [[name], [f"{lab.registry}/{lab.prefix}/app@{digest}"]] == [document["RepoTags"], document["RepoDigests"]]


async def test_pull_of_unknown_tag_fails(lab: Lab) -> None:
    """The message names what was asked for."""
    name = f"{lab.registry}/{lab.prefix}/app:nothing"
    said = f"{name}: not found" if lab.has_containerd_store else f"manifest for {name} not found: manifest unknown"
    with pytest.raises(PullFailedError, match=said) as caught:
        await lab.client.pull_image(name, registry_auth=lab.auth)
    assert not caught.value.login_refused


async def test_pull_moves_tag_and_keeps_old_image_by_digest(lab: Lab) -> None:
    """The old image loses the tag and keeps the digest under which it was pulled, in its id where containerd has it."""
    name, repository = f"{lab.registry}/{lab.prefix}/app:latest", f"{lab.registry}/{lab.prefix}/app"
    first = lab.publish(name, "1")
    await lab.client.pull_image(name, registry_auth=lab.auth)
    old = str((await lab.client.inspect_image(name))["Id"])
    container_id = await lab.client.create_container(lab.name("app"), {**lab.request(), "Image": name})
    second = lab.publish(name, "2")
    await lab.client.pull_image(name, registry_auth=lab.auth)
    await lab.client.pull_image(name, registry_auth=lab.auth)
    new = str((await lab.client.inspect_image(name))["Id"])
    images = (await take_inventory(lab.client)).images
    kept = () if lab.has_containerd_store else (f"{repository}@{first}",)
    assert [(), kept] == [images[old].repo_tags, images[old].repo_digests]
    assert lab.has_containerd_store is (old == first)
    assert [(name,), (f"{repository}@{second}",)] == [images[new].repo_tags, images[new].repo_digests]
    assert old == (await lab.listed(container_id))["Image"]


async def test_pull_by_digest_leaves_tag_alone(lab: Lab) -> None:
    """Then the new image has a digest and no tag, until it is tagged."""
    name, repository = f"{lab.registry}/{lab.prefix}/app:latest", f"{lab.registry}/{lab.prefix}/app"
    lab.publish(name, "1")
    await lab.client.pull_image(name, registry_auth=lab.auth)
    old = (await lab.client.inspect_image(name))["Id"]
    digest = lab.publish(name, "2")
    await lab.client.pull_image(f"{repository}@{digest}", registry_auth=lab.auth)
    assert old == (await lab.client.inspect_image(name))["Id"]
    document = await lab.client.inspect_image(f"{repository}@{digest}")
    image = read_image(document)
    assert [(), (f"{repository}@{digest}",)] == [image.repo_tags, image.repo_digests]
    await lab.client.tag_image(document["Id"], repository=repository, tag="latest")
    assert document["Id"] == (await lab.client.inspect_image(name))["Id"]


async def test_untag_takes_the_digest_with_the_last_tag(lab: Lab) -> None:
    """With the last tag of its repository the image goes as a whole."""
    name = f"{lab.registry}/{lab.prefix}/app:latest"
    lab.publish(name, "1")
    await lab.client.pull_image(name, registry_auth=lab.auth)
    image_id = str((await lab.client.inspect_image(name))["Id"])
    await lab.client.untag_image(name)
    assert await lab.listed_image(image_id) is None


async def test_pull_that_breaks_off_tells_so_in_its_stream(lab: Lab) -> None:
    """The status was sent before; the error comes in the stream, and the tag stays where it was."""
    name = f"{lab.registry}/{lab.prefix}/app:latest"
    lab.publish(name, "1")
    await lab.client.pull_image(name, registry_auth=lab.auth)
    before = (await lab.client.inspect_image(name))["Id"]
    lab.publish(name, "2", broken=True)
    missing = "could not fetch content descriptor" if lab.has_containerd_store else "unknown blob"
    with pytest.raises(PullFailedError, match=missing) as caught:
        await lab.client.pull_image(name, registry_auth=lab.auth)
    assert caught.value.status == 0
    assert before == (await lab.client.inspect_image(name))["Id"]


async def test_engine_asks_registry_for_us(lab: Lab) -> None:
    """With a login it tells the digest, and the platform if it knows; without, it tells what is wrong."""
    name = f"{lab.registry}/{lab.prefix}/app:latest"
    digest = lab.publish(name, "1")
    document = await lab.client.inspect_distribution(name, registry_auth=lab.auth)
    assert digest == document["Descriptor"]["digest"]
    platform = {"architecture": lab.client.info.architecture, "os": "linux"}
    assert document["Platforms"] in ([platform], None if lab.has_containerd_store else [platform])
    with pytest.raises(EngineError, match="no basic auth credentials"):
        await lab.client.inspect_distribution(name, registry_auth=lab.no_auth)
    with pytest.raises(EngineError, match="unauthorized") as caught:
        await lab.client.inspect_distribution(name, registry_auth=lab.bad_auth)
    assert caught.value.status == 401
    with pytest.raises(NoSuchObjectError, match="manifest unknown"):
        await lab.client.inspect_distribution(f"{lab.registry}/{lab.prefix}/app:nothing", registry_auth=lab.auth)


# ---- the engine itself ---------------------------------------------------------------------------------------------


async def test_engine_tells_what_it_is(lab: Lab) -> None:
    """Version, platform, and a clock that the containers' times are read with."""
    assert [lab.client.info.os, lab.client.info.is_podman] == ["linux", False]
    info = await lab.client.system_info()
    assert info["Name"]
    container_id = await lab.create("app")
    assert (await lab.client.inspect_container(container_id))["Created"] <= (await lab.client.system_info())[
        "SystemTime"
    ]
