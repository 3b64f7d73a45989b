"""Containers that share namespaces or volumes, or are linked, behave in the simulated engine as in the real one.

Where the two differ, the simulated one is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from tests.support.docker_cli import DockerCli
from tests.support.engine_lab import Lab, SimulatedLab, eventually
from watchtower_async.engine.inventory import take_inventory
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate
from watchtower_async.errors import EngineConflictError, EngineError, NoSuchObjectError

ALWAYS = {"Name": "always", "MaximumRetryCount": 0}
NOBODY = "0" * 64
STOP_SECONDS = 5


class Eyes:
    """Sees from inside a container whether it is cut off: in the simulation by asking the engine."""

    def __init__(self, lab: Lab, docker: DockerCli | None) -> None:
        self._lab = lab
        self._docker = docker

    async def is_cut_off(self, container_id: str) -> bool:
        """Say whether it has no network but its own loopback."""
        if isinstance(self._lab, SimulatedLab):
            return self._lab.engine.is_cut_off(await self._name(container_id))
        return "eth0" not in self._exec(container_id, "cat", "/proc/net/dev")

    async def shares_memory(self, container_id: str, target: str) -> bool:
        """Say whether what the target puts into shared memory now is seen by the other."""
        if isinstance(self._lab, SimulatedLab):
            return "IpcMode" not in self._lab.engine.dead_namespaces(await self._name(container_id))
        mark = (await self._lab.state(target))["StartedAt"].replace(":", "")
        self._exec(target, "touch", f"/dev/shm/{mark}")
        return mark in self._exec(container_id, "ls", "/dev/shm").split()

    async def _name(self, container_id: str) -> str:
        return str((await self._lab.client.inspect_container(container_id))["Name"]).removeprefix("/")

    def _exec(self, *words: str) -> str:
        assert self._docker is not None
        return self._docker("exec", *words)


@pytest.fixture
def eyes(lab: Lab, request: pytest.FixtureRequest) -> Eyes:
    """Eyes in the containers of the lab."""
    return Eyes(lab, None if isinstance(lab, SimulatedLab) else request.getfixturevalue("session_docker"))


def host(**fields: Any) -> dict[str, Any]:
    """Return the part of a create request that is about the machine."""
    return {"HostConfig": fields}


def restart_error(lab: Lab) -> type[EngineError]:
    """Return how a restart fails whose start is a 404: older engines forget that."""
    return NoSuchObjectError if (1, 46) <= lab.api < (1, 48) else EngineError


# ---- the network of another ----------------------------------------------------------------------------------------


async def test_network_of_another_container_is_stored_by_id(lab: Lab) -> None:
    """With its host name; a rename of the target changes nothing."""
    target = await lab.run("target", Hostname="mine")
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{lab.name('target')}"))
    await lab.client.rename_container(target, lab.name("renamed"))
    document = await lab.client.inspect_container(dependent)
    assert [f"container:{target}", "mine"] == [document["HostConfig"]["NetworkMode"], document["Config"]["Hostname"]]
    assert not document["NetworkSettings"]["Networks"]
    assert f"container:{target}" == (await lab.listed(dependent))["HostConfig"]["NetworkMode"]


async def test_dependent_runs_on_when_its_network_target_stops(lab: Lab) -> None:
    """But it starts again only while the target runs."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{target}"))
    await lab.client.stop_container(target, timeout=5)
    assert (await lab.state(dependent))["Running"]
    await lab.client.stop_container(dependent, timeout=5)
    with pytest.raises(EngineConflictError, match="of a non running container"):
        await lab.client.start_container(dependent)
    await lab.client.remove_container(target)
    with pytest.raises(EngineError, match=f"No such container: {target}"):
        await lab.client.start_container(dependent)


async def test_missing_network_target_fails_at_start(lab: Lab) -> None:
    """Create takes an id that nobody has."""
    container_id = await lab.create("app", **host(NetworkMode="container:" + "0" * 64))
    with pytest.raises(EngineError, match="No such container: 0000"):
        await lab.client.start_container(container_id)


async def test_host_name_conflicts_with_network_of_another(lab: Lab) -> None:
    """The target's host name is the only one."""
    with pytest.raises(EngineError, match="conflicting options: hostname and the network mode"):
        await lab.create("app", Hostname="mine", **host(NetworkMode="container:" + "0" * 64))


async def test_names_are_the_targets_from_the_start_on(lab: Lab) -> None:
    """Before, the host name is the container's own short id, as the target may have none yet."""
    target = await lab.create("target", Hostname="mine", Domainname="example.org")
    dependent = await lab.create("dependent", **host(NetworkMode=f"container:{target}"))
    before = (await lab.client.inspect_container(dependent))["Config"]
    await lab.client.start_container(target)
    await lab.client.start_container(dependent)
    after = (await lab.client.inspect_container(dependent))["Config"]
    assert [dependent[:12], ""] == [before["Hostname"], before["Domainname"]]
    assert [after["Hostname"], after["Domainname"]] == ["mine", "example.org"]


async def test_dependent_is_cut_off_until_it_is_started_after_its_target(lab: Lab, eyes: Eyes) -> None:
    """Whatever the target does, the dependent stays where it was; its own restart finds the target again."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{target}"))
    assert not await eyes.is_cut_off(dependent)
    await lab.client.stop_container(target, timeout=STOP_SECONDS)
    assert await eyes.is_cut_off(dependent)
    await lab.client.start_container(target)
    assert await eyes.is_cut_off(dependent)
    assert not await eyes.is_cut_off(target)
    await lab.client.restart_container(dependent, timeout=STOP_SECONDS)
    assert not await eyes.is_cut_off(dependent)
    await lab.client.restart_container(target, timeout=STOP_SECONDS)
    assert (await lab.state(dependent))["Running"]
    assert await eyes.is_cut_off(dependent)


async def test_chain_of_networks_hangs_on_its_first_container(lab: Lab, eyes: Eyes) -> None:
    """Who joins a container that has joined another one lives in the network of the first."""
    first = await lab.run("first")
    middle = await lab.run("middle", **host(NetworkMode=f"container:{first}"))
    last = await lab.run("last", **host(NetworkMode=f"container:{middle}"))
    await lab.client.restart_container(middle, timeout=STOP_SECONDS)
    assert [await eyes.is_cut_off(container_id) for container_id in (middle, last)] == [False, False]
    await lab.client.restart_container(first, timeout=STOP_SECONDS)
    await lab.client.restart_container(middle, timeout=STOP_SECONDS)
    assert [await eyes.is_cut_off(container_id) for container_id in (middle, last)] == [False, True]


async def test_dependent_cannot_be_started_again_once_its_target_is_gone(lab: Lab) -> None:
    """Nor restarted, which leaves it down: the id means nobody, also when the name is taken by another one."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{target}", RestartPolicy=ALWAYS))
    await lab.client.remove_container(target, force=True)
    await lab.run("target")
    with pytest.raises(
        restart_error(lab), match=f"Cannot restart container {dependent}: .*No such container: {target}"
    ):
        await lab.client.restart_container(dependent, timeout=STOP_SECONDS)
    state = await lab.state(dependent)
    assert [state["Status"], state["ExitCode"]] == ["exited", 128]
    assert f"No such container: {target}" in state["Error"]
    with pytest.raises(EngineError, match=f"No such container: {target}") as caught:
        await lab.client.start_container(dependent)
    assert caught.value.status == (404 if lab.api < (1, 48) else 500)


async def test_paused_target_can_be_joined(lab: Lab, eyes: Eyes) -> None:
    """Its namespaces are there."""
    target = await lab.run("target")
    await lab.client.pause_container(target)
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{target}"))
    assert not await eyes.is_cut_off(dependent)


# ---- processes and memory of another -------------------------------------------------------------------------------


async def test_first_process_of_a_namespace_takes_the_others_along(lab: Lab) -> None:
    """With `pid: container:` a stop of the target kills the dependent."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(PidMode=f"container:{target}"))
    await lab.client.stop_container(target, timeout=5)
    document = await lab.until(dependent, lambda document: not document["State"]["Running"])
    assert document["State"]["ExitCode"] == 137
    with pytest.raises(EngineError, match="is not running"):
        await lab.client.start_container(dependent)


@pytest.mark.parametrize("setting", ["PidMode", "IpcMode"])
async def test_namespace_of_another_is_stored_by_id(lab: Lab, setting: str) -> None:
    """It need not run for that."""
    target = await lab.create("target", **host(IpcMode="shareable"))
    dependent = await lab.create("dependent", **host(**{setting: f"container:{lab.name('target')}"}))
    await lab.client.rename_container(target, lab.name("renamed"))
    document = await lab.client.inspect_container(dependent)
    assert f"container:{target}" == document["HostConfig"][setting]


@pytest.mark.parametrize("setting", ["PidMode", "IpcMode"])
async def test_missing_namespace_target_is_refused_at_create(lab: Lab, setting: str) -> None:
    """Other than for a network: the engine wants to know the target's security label."""
    for text in (NOBODY, "nobody"):
        with pytest.raises(EngineError, match=f"No such container: {text}") as caught:
            await lab.create("app", **host(**{setting: f"container:{text}"}))
        assert caught.value.status == 400


@pytest.mark.parametrize("setting", ["PidMode", "IpcMode"])
async def test_namespace_needs_its_target_running_at_start(lab: Lab, setting: str) -> None:
    """One that is down is told as that, one that is gone as that; either shows in the container's state."""
    target = await lab.create("target", **host(IpcMode="shareable"))
    dependent = await lab.create("dependent", **host(**{setting: f"container:{target}"}))
    with pytest.raises(EngineError, match=f"container {target} is not running") as caught:
        await lab.client.start_container(dependent)
    tells_kind = setting == "IpcMode" and lab.api >= (1, 44)
    assert caught.value.status == (409 if tells_kind else 500)
    await lab.client.remove_container(target)
    with pytest.raises(EngineError, match=f"No such container: {target}") as caught:
        await lab.client.start_container(dependent)
    assert caught.value.status == (400 if tells_kind else 500)
    state = await lab.state(dependent)
    assert [state["Status"], state["ExitCode"]] == ["created", 128]
    assert f"No such container: {target}" in state["Error"]


async def test_killed_dependent_does_not_come_back_before_its_target(lab: Lab) -> None:
    """The engine tries once, and gives up while the target is down; somebody has to start it."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(PidMode=f"container:{target}", RestartPolicy=ALWAYS))
    await lab.client.stop_container(target, timeout=STOP_SECONDS)
    document = await lab.until(dependent, lambda document: document["State"]["Error"])
    assert [document["State"]["Status"], document["State"]["ExitCode"]] == ["exited", 137]
    await lab.client.start_container(target)
    await anyio.sleep(0.4)
    assert not (await lab.state(dependent))["Running"]
    await lab.client.start_container(dependent)
    assert (await lab.state(dependent))["Running"]


async def test_killed_dependent_comes_back_after_a_restart_of_its_target(lab: Lab) -> None:
    """Where its policy says so, and the target is back before the engine tries its once."""
    target = await lab.run("target")
    dependents = [
        await lab.run(word, **host(PidMode=f"container:{target}", RestartPolicy=policy))
        for word, policy in (("comes-back", ALWAYS), ("stays-down", {"Name": "no"}))
    ]
    await lab.client.restart_container(target, timeout=STOP_SECONDS)
    document = await lab.until(dependents[0], lambda document: has_decided(document["State"]))
    if isinstance(lab, SimulatedLab) or document["State"]["Running"]:
        assert [document["State"]["Running"], document["RestartCount"]] == [True, 1]
    else:  # a real engine may take longer for the target
        assert f"container {target} is not running" in document["State"]["Error"]
    assert [(await lab.state(dependents[1]))[key] for key in ("Status", "ExitCode")] == ["exited", 137]


def has_decided(state: Mapping[str, Any]) -> bool:
    """Say whether the engine has brought a container back, or has given up."""
    return state["Status"] == "running" or bool(state["Error"])


async def test_memory_of_a_stopped_target_is_kept_by_its_dependent(lab: Lab, eyes: Eyes) -> None:
    """It runs on with the old one, and shares the target's again after a start of its own."""
    target = await lab.run("target", **host(IpcMode="shareable"))
    dependent = await lab.run("dependent", **host(IpcMode=f"container:{target}"))
    assert await eyes.shares_memory(dependent, target)
    await lab.client.restart_container(target, timeout=STOP_SECONDS)
    assert (await lab.state(dependent))["Running"]
    assert not await eyes.shares_memory(dependent, target)
    await lab.client.restart_container(dependent, timeout=STOP_SECONDS)
    assert await eyes.shares_memory(dependent, target)


async def test_private_memory_cannot_be_shared(lab: Lab) -> None:
    """The target must have been made shareable."""
    target = await lab.run("target", **host(IpcMode="private"))
    dependent = await lab.create("dependent", **host(IpcMode=f"container:{target}"))
    with pytest.raises(EngineError, match="non-shareable IPC") as caught:
        await lab.client.start_container(dependent)
    assert caught.value.status == (400 if lab.api >= (1, 44) else 500)


# ---- links ---------------------------------------------------------------------------------------------------------


async def test_link_follows_its_container_and_needs_it_running(lab: Lab) -> None:
    """A link shows the name of now, the list shows it among the target's names, and the target must run."""
    target = await lab.run("target")
    user = await lab.create("user", **host(Links=[f"{lab.name('target')}:db"]))
    await lab.client.rename_container(target, lab.name("renamed"))
    document = await lab.client.inspect_container(user)
    assert [f"/{lab.name('renamed')}:/{lab.name('user')}/db"] == document["HostConfig"]["Links"]
    assert {f"/{lab.name('renamed')}", f"/{lab.name('user')}/db"} == set((await lab.listed(target))["Names"])
    await lab.client.start_container(user)
    await lab.client.stop_container(user, timeout=5)
    await lab.client.stop_container(target, timeout=5)
    with pytest.raises(EngineError, match="Cannot link to a non running container"):
        await lab.client.start_container(user)


async def test_link_by_id_shows_names(lab: Lab) -> None:
    """Names of both, as they are now; without an alias, the text that was given is the alias."""
    target = await lab.create("target")
    user = await lab.create("user", **host(Links=[f"{target}:db", lab.name("target")]))
    await lab.client.rename_container(user, lab.name("renamed"))
    links = (await lab.client.inspect_container(user))["HostConfig"]["Links"]
    prefix = f"/{lab.name('target')}:/{lab.name('renamed')}"
    assert {f"{prefix}/db", f"{prefix}/{lab.name('target')}"} == set(links)
    shown = {f"/{lab.name('target')}", f"/{lab.name('renamed')}/db", f"/{lab.name('renamed')}/{lab.name('target')}"}
    assert shown == set((await lab.listed(target))["Names"])


async def test_link_to_nobody_is_refused_at_create(lab: Lab) -> None:
    """Nothing is made."""
    with pytest.raises(EngineError, match="could not get container for nobody: No such container: nobody") as caught:
        await lab.create("user", **host(Links=["nobody:db"]))
    assert caught.value.status == 400
    assert lab.name("user") not in {item.name for item in (await take_inventory(lab.client)).containers}


async def test_link_user_runs_on_and_goes_with_the_old_target(lab: Lab) -> None:
    """A link means one container for ever: not who takes its name, also once it is gone."""
    target = await lab.run("target")
    user = await lab.run("user", **host(Links=[f"{lab.name('target')}:db"]))
    await lab.client.rename_container(target, lab.name("target.old"))
    await lab.run("target")
    await lab.client.restart_container(user, timeout=STOP_SECONDS)
    await lab.client.remove_container(target, force=True)
    document = await lab.client.inspect_container(user)
    shown = f"/{lab.name('target.old')}:/{lab.name('user')}/db"
    assert [True, [shown]] == [document["State"]["Running"], document["HostConfig"]["Links"]]
    text = f"Cannot link to a non running container: /{lab.name('target.old')} AS /{lab.name('user')}/db"
    with pytest.raises(EngineError, match=f"Cannot restart container {user}: .*{text}") as caught:
        await lab.client.restart_container(user, timeout=STOP_SECONDS)
    assert caught.value.status == 500
    state = await lab.state(user)
    assert [state["Status"], state["ExitCode"]] == ["exited", 128]
    assert text in state["Error"]


async def test_link_is_gone_from_the_target_with_its_user(lab: Lab) -> None:
    """The list shows the target's own name only."""
    target = await lab.create("target")
    user = await lab.create("user", **host(Links=[f"{target}:db"]))
    await lab.client.remove_container(user)
    assert [f"/{lab.name('target')}"] == (await lab.listed(target))["Names"]


# ---- volumes -------------------------------------------------------------------------------------------------------


async def test_volumes_of_a_missing_container_are_refused_at_create(lab: Lab) -> None:
    """Volumes of one that is there are mounted."""
    with pytest.raises(EngineError, match="No such container: nobody"):
        await lab.create("app", **host(VolumesFrom=["nobody"]))
    source = await lab.create("source", "rich")
    user = await lab.create("user", **host(VolumesFrom=[lab.name("source")]))
    documents = [await lab.client.inspect_container(container_id) for container_id in (source, user)]
    assert documents[0]["Mounts"][0]["Name"] == documents[1]["Mounts"][0]["Name"]


async def test_volumes_stay_when_their_source_is_gone(lab: Lab) -> None:
    """They are mounted: the user stops and starts, while another one cannot be made from the same text."""
    source = await lab.create("source", "rich")
    user = await lab.run("user", "deaf", **host(VolumesFrom=[source]))
    await lab.client.remove_container(source)
    await lab.client.restart_container(user, timeout=0)
    document = await lab.client.inspect_container(user)
    assert [True, [source]] == [document["State"]["Running"], document["HostConfig"]["VolumesFrom"]]
    assert [mount["Destination"] for mount in document["Mounts"]] == ["/data"]
    with pytest.raises(EngineError, match=f"No such container: {source}") as caught:
        await lab.create("another", **host(VolumesFrom=[source]))
    assert caught.value.status == 400


# ---- restart -------------------------------------------------------------------------------------------------------


async def test_restart_ends_a_run_and_begins_another(lab: Lab) -> None:
    """It is the same container, started later, and no attempt of a restart loop."""
    container_id = await lab.run("app", **host(RestartPolicy=ALWAYS))
    first = (await lab.state(container_id))["StartedAt"]
    await lab.client.restart_container(container_id, timeout=STOP_SECONDS)
    document = await lab.client.inspect_container(container_id)
    state = document["State"]
    assert [state["Status"], state["ExitCode"], document["RestartCount"]] == ["running", 0, 0]
    assert first < state["FinishedAt"] < state["StartedAt"]


async def test_restart_starts_what_does_not_run(lab: Lab) -> None:
    """One that never ran, and one that was stopped."""
    container_id = await lab.create("app")
    await lab.client.restart_container(container_id, timeout=STOP_SECONDS)
    assert (await lab.state(container_id))["Status"] == "running"
    await lab.client.stop_container(container_id, timeout=STOP_SECONDS)
    await lab.client.restart_container(container_id, timeout=STOP_SECONDS)
    assert (await lab.state(container_id))["Status"] == "running"


async def test_restart_lets_a_paused_container_run(lab: Lab) -> None:
    """It is not paused afterwards."""
    container_id = await lab.run("app")
    await lab.client.pause_container(container_id)
    await lab.client.restart_container(container_id, timeout=STOP_SECONDS)
    assert (await lab.state(container_id))["Status"] == "running"


async def test_restart_kills_who_does_not_hear(lab: Lab) -> None:
    """After the time-out, as a stop does; None is the container's own setting."""
    container_id = await lab.run("app", "deaf", StopTimeout=0)
    first = (await lab.state(container_id))["StartedAt"]
    with anyio.fail_after(STOP_SECONDS):
        await lab.client.restart_container(container_id, timeout=0)
        second = (await lab.state(container_id))["StartedAt"]
        await lab.client.restart_container(container_id, timeout=None)
    assert first < second < (await lab.state(container_id))["StartedAt"]


async def test_restart_goes_on_when_its_caller_goes_away(lab: Lab) -> None:
    """The engine stops and starts it all the same."""
    container_id = await lab.run("app", "deaf")
    first = (await lab.state(container_id))["StartedAt"]
    with anyio.move_on_after(0.3) as patience:
        await lab.client.restart_container(container_id, timeout=1)
    assert patience.cancelled_caught
    document = await lab.until(container_id, lambda document: document["State"]["StartedAt"] > first)
    assert document["State"]["Running"]


async def test_restart_keeps_a_container_that_goes_when_it_ends(lab: Lab) -> None:
    """`--rm` means the end of its last run."""
    container_id = await lab.run("app", **host(AutoRemove=True))
    await lab.client.restart_container(container_id, timeout=STOP_SECONDS)
    assert (await lab.state(container_id))["Status"] == "running"
    await lab.client.stop_container(container_id, timeout=STOP_SECONDS)
    assert await eventually(lambda: is_there(lab, container_id), False) is False


async def test_restart_of_nobody_is_told(lab: Lab) -> None:
    """By the class of the error, as with every verb."""
    with pytest.raises(NoSuchObjectError, match="No such container: nobody"):
        await lab.client.restart_container("nobody", timeout=STOP_SECONDS)


async def is_there(lab: Lab, container_id: str) -> bool:
    """Say whether the engine lists a container."""
    return container_id in {item.id for item in (await take_inventory(lab.client)).containers}


# ---- re-creation ---------------------------------------------------------------------------------------------------


async def recreation(lab: Lab, container_id: str, successors: Mapping[str, str]) -> Recreation | Refusal:
    """Return how to create a container again on its own image, with some of the others replaced."""
    document = await lab.client.inspect_container(container_id)
    image = await lab.client.inspect_image(document["Image"])
    containers = (await take_inventory(lab.client)).containers
    return recreate(
        container=document,
        old_image=image,
        new_image=image,
        engine=EngineFacts(api_version=lab.api, platform=f"linux/{lab.client.info.architecture}"),
        neighbourhood=Neighbourhood(containers),
        successors=successors,
    )


async def moved(lab: Lab, word: str, container_id: str, successors: dict[str, str]) -> str:
    """Create the successor of a container, note it, and return its id."""
    result = await recreation(lab, container_id, successors)
    assert isinstance(result, Recreation), result
    successors[container_id] = await lab.client.create_container(lab.name(f"{word}.new"), result.request)
    return successors[container_id]


async def test_dependents_move_to_the_successor(lab: Lab) -> None:
    """Namespaces by the successor's id, before it runs; what was joined runs after it was started."""
    target = await lab.run("target", Hostname="mine", **host(IpcMode="shareable"))
    modes = dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), f"container:{target}")
    dependent = await lab.run("dependent", **host(**modes))
    successors: dict[str, str] = {}
    new_target = await moved(lab, "target", target, successors)
    new_dependent = await moved(lab, "dependent", dependent, successors)
    for container_id in (new_target, new_dependent):
        await lab.client.start_container(container_id)
    document = await lab.client.inspect_container(new_dependent)
    assert dict.fromkeys(modes, f"container:{new_target}") == {key: document["HostConfig"][key] for key in modes}
    assert [document["State"]["Running"], document["Config"]["Hostname"]] == [True, "mine"]


async def test_link_moves_to_the_successor(lab: Lab) -> None:
    """The new link leads to the successor under the same alias, and shows its name."""
    target = await lab.run("target")
    user = await lab.run("user", **host(Links=[f"{lab.name('target')}:db", f"{lab.name('target')}:other"]))
    successors: dict[str, str] = {}
    new_target = await moved(lab, "target", target, successors)
    new_user = await moved(lab, "user", user, successors)
    for container_id in (new_target, new_user):
        await lab.client.start_container(container_id)
    links = (await lab.client.inspect_container(new_user))["HostConfig"]["Links"]
    prefix = f"/{lab.name('target.new')}:/{lab.name('user.new')}"
    assert {f"{prefix}/db", f"{prefix}/other"} == set(links)


async def test_volumes_of_another_come_from_it_again(lab: Lab) -> None:
    """They are asked for by the name of their source, and are not the successor's own."""
    source = await lab.create("source", "rich")
    user = await lab.create("user", **host(VolumesFrom=[f"{source}:ro"]))
    result = await recreation(lab, user, {})
    assert isinstance(result, Recreation), result
    assert result.request["HostConfig"]["VolumesFrom"] == [f"{lab.name('source')}:ro"]
    assert "Binds" not in result.request["HostConfig"]
    new_user = await moved(lab, "user", user, {})
    before, after = [await lab.client.inspect_container(container_id) for container_id in (source, new_user)]
    assert [mount["Name"] for mount in before["Mounts"]] == [mount["Name"] for mount in after["Mounts"]]


async def test_target_that_is_gone_refuses_the_dependent(lab: Lab) -> None:
    """By the name of the setting, and with what to do about it."""
    target = await lab.run("target")
    dependent = await lab.run("dependent", **host(NetworkMode=f"container:{target}"))
    assert isinstance(await recreation(lab, dependent, {}), Recreation)
    await lab.client.stop_container(target, timeout=5)
    stopped = await recreation(lab, dependent, {})
    await lab.client.remove_container(target)
    gone = await recreation(lab, dependent, {})
    assert isinstance(stopped, Refusal)
    assert isinstance(gone, Refusal)
    assert stopped.reasons == (f"HostConfig.NetworkMode names container {lab.name('target')}, which is not running",)
    assert f"HostConfig.NetworkMode names container {target[:12]}, which is gone" in gone.reasons[0]
