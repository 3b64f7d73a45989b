"""Engines on other machines: a real SSH server in front of the simulated engine."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import asyncssh
import pytest

from tests.support.engine_sim import Fault, SimulatedEngine, serving
from tests.support.ssh_host import LOOPBACK, USER, SshHome, SshHost, ssh_host
from watchtower_async.credentials.credential import Credential, registry_auth_header
from watchtower_async.engine.address import EngineAddress
from watchtower_async.engine.client import connect_engine
from watchtower_async.engine.ssh import USUAL_SOCKET, SshError, log_in
from watchtower_async.errors import EngineUnavailableError, NoSuchObjectError, PullFailedError

A = "registry.example/app:1"
PRIVATE = "registry.example/private:1"
LOGIN = ("puller", "hunter2-marker")
AUTH = registry_auth_header(Credential(*LOGIN), "registry.example")
ROOT = Path(__file__).parents[2]
WAYS = pytest.mark.parametrize("forwards_sockets", [True, False], ids=["socket", "command"])


@pytest.fixture
def home(tmp_path: Path) -> SshHome:
    """The SSH files of a user, still empty."""
    return SshHome(tmp_path / ".ssh")


@asynccontextmanager
async def a_machine(home: SshHome, **properties: object) -> AsyncIterator[tuple[SimulatedEngine, SshHost]]:
    """Run an engine with one container behind an SSH server that this user may use."""
    engine = SimulatedEngine()
    engine.offer(A)
    engine.offer(PRIVATE, login=LOGIN)
    await engine.run("web", A)
    async with serving(engine) as address, ssh_host(address, **properties) as host:
        home.write(host)
        yield engine, host


async def refusal(address: EngineAddress, *, call_timeout: float = 20.0) -> str:
    """Return why an engine cannot be reached; no key and no secret is in the reason."""
    with pytest.raises(EngineUnavailableError) as caught:
        async with connect_engine(address, call_timeout=call_timeout):
            pass
    assert "PRIVATE KEY" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the other side has got so far."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a server sets no event
            await anyio.sleep(0.005)


@WAYS
async def test_engine_on_another_machine_is_used_like_one_here(home: SshHome, forwards_sockets: bool) -> None:
    """Version, lists, documents, changes, errors, and a pull with the registry's login, over one SSH connection."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (engine, host):
        async with connect_engine(home.address(host)) as client:
            assert client.info.api_version == (1, 51)
            assert f"ssh://{USER}@{LOOPBACK}:{host.port}" == client.name
            assert [item["Names"] for item in await client.list_containers()] == [["/web"]]
            assert (await client.inspect_container("web"))["Name"] == "/web"
            await client.pull_image(PRIVATE, registry_auth=AUTH)
            await client.rename_container("web", "shop")
            with pytest.raises(NoSuchObjectError):
                await client.inspect_container("web")
        assert engine.image_behind(PRIVATE)
        assert engine.running_names() == ["shop"]
        assert host.logins == 1


@WAYS
async def test_large_answers_and_many_requests_at_once_arrive_whole(home: SshHome, forwards_sockets: bool) -> None:
    """More requests than channels wait for their turn; a body larger than a channel's window is not cut."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (engine, host):
        env = [f"FILLER={'x' * 2_500_000}"]
        engine.offer("registry.example/big:1", config={"Env": env})
        await engine.run("big", "registry.example/big:1")
        lengths: list[int] = []

        async def ask() -> None:
            lengths.append(len((await client.inspect_container("big"))["Config"]["Env"][0]))

        async with connect_engine(home.address(host)) as client, anyio.create_task_group() as requests:
            for _ in range(12):
                requests.start_soon(ask)
        assert [len(env[0])] * 12 == lengths
        first_tries = 0 if forwards_sockets else 2
        assert sum(host.channels.values()) - first_tries <= 8
        assert host.logins == 1


async def test_socket_is_asked_for_where_the_address_names_it(home: SshHome) -> None:
    """Without a path it is the one of Docker's packages; with one, the command is told the same path."""
    async with a_machine(home, socket="/run/user/1000/docker.sock") as (_, host):
        address = home.address(host, socket="/run/user/1000/docker.sock")
        async with connect_engine(address):
            assert host.channels == {"socket": 1}
        host.forwards_sockets = False
        async with connect_engine(address):
            assert set(host.commands) == {"docker --host unix:///run/user/1000/docker.sock system dial-stdio"}
        async with connect_engine(home.address(host)):
            assert host.commands[-1] == "docker system dial-stdio"


async def test_path_in_an_address_is_never_shell_code(home: SshHome) -> None:
    """What the remote shell gets is one word."""
    async with ssh_host(None) as host:
        home.write(host)
        await refusal(home.address(host, socket="/x y;$(id)"))
        assert host.commands == ["docker --host 'unix:///x y;$(id)' system dial-stdio"]


CHILD = """
import os, sys, anyio
from watchtower_async.engine.address import resolve_address
from watchtower_async.engine.client import connect_engine

async def main():
    address = resolve_address(host=None, environ=os.environ, inside_container=False, config_dir=None)
    async with connect_engine(address) as engine:
        print(address.is_local, len(await engine.list_containers()))

anyio.run(main)
"""


@WAYS
@pytest.mark.parametrize("configured", [True, False])
async def test_nothing_of_our_environment_reaches_the_host(
    home: SshHome, forwards_sockets: bool, configured: bool
) -> None:
    """Also where the client configuration wants to send it; nor a password, an agent, a display or a terminal."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (_, host):
        if not configured:
            (home.directory / "config").unlink()
        environ = {
            "HOME": str(home.directory.parent),
            "DOCKER_HOST": host.address.url,
            "REPO_PASS": "hunter2-marker",
            "LC_MARKER": "hunter2-marker",
            "DISPLAY": ":0",
            "LOGNAME": "somebody",
            "PATH": os.environ["PATH"],
        }
        with anyio.fail_after(60):
            done = await anyio.run_process([sys.executable, "-c", CHILD], env=environ, cwd=ROOT)
        assert done.stdout.strip() == b"False 1"
        assert done.stderr == b""
        assert host.environment == []
        assert host.extras == []
        assert host.passwords == 0
        assert forwards_sockets is (host.commands == [])


async def test_unknown_host_is_refused_with_its_fingerprint(home: SshHome) -> None:
    """Nobody logs in there; the remedy is named. `StrictHostKeyChecking no` changes nothing."""
    async with a_machine(home) as (_, host):
        home.write(host, known_hosts=host.known_as("elsewhere.example"))
        said = await refusal(home.address(host))
        assert f"({host.host_key.get_fingerprint()}) is not in {home.directory / 'known_hosts'}; compare it" in said
        home.write(host, known_hosts="")
        assert "compare it" in await refusal(home.address(host))
        (home.directory / "known_hosts").unlink()
        assert "compare it" in await refusal(home.address(host))
        assert host.logins == 0


async def test_other_host_key_is_refused(home: SshHome) -> None:
    """The name is known with another key: perhaps somebody is in between."""
    async with a_machine(home) as (_, host):
        home.write(host, known_hosts=host.known_as(key=asyncssh.generate_private_key("ssh-ed25519")))
        assert "another machine answers" in await refusal(home.address(host))
        home.write(host, known_hosts=f"{host.known_as()}@revoked {host.known_as()}")
        assert "revoked" in await refusal(home.address(host))
        assert host.logins == 0


async def test_client_configuration_cannot_turn_the_check_off(home: SshHome) -> None:
    """`UserKnownHostsFile none` means no file, not no check."""
    async with a_machine(home) as (_, host):
        home.configure("UserKnownHostsFile none")
        assert "is not in any file" in await refusal(home.address(host))


async def test_key_noted_for_an_address_is_not_the_key_of_a_name(home: SshHome) -> None:
    """The address may be another machine's by now."""
    async with a_machine(home) as (_, host):
        home.configure("HostKeyAlias box.example")
        assert "is not in" in await refusal(home.address(host))
        home.write(host, known_hosts=host.known_as("box.example"))
        home.configure("HostKeyAlias Box.Example")
        async with connect_engine(home.address(host)):
            assert host.logins == 1


async def test_host_that_accepts_no_key_is_a_clear_error(home: SshHome) -> None:
    """No password is tried, though the server would take any."""
    async with a_machine(home) as (_, host):
        home.write(host, key=asyncssh.generate_private_key("ssh-ed25519"))
        assert f"does not let {USER!r} in: it accepts no key" in await refusal(home.address(host))
        (home.directory / "id_ed25519").write_bytes(host.user_key.export_private_key("pkcs8-pem", "hunter2-marker"))
        said = await refusal(home.address(host))
        assert "passphrase" in said.lower()
        assert host.passwords == 0


async def test_broken_files_are_named(home: SshHome) -> None:
    """A configuration or known hosts that cannot be read is not passed over."""
    async with a_machine(home) as (_, host):
        home.write(host, known_hosts="nonsense")
        assert f"known hosts in {home.directory / 'known_hosts'} cannot be read" in await refusal(home.address(host))
        home.write(host)
        home.configure("Port many")
        assert "the SSH client configuration cannot be used" in await refusal(home.address(host))
        home.configure("ProxyJump a:b:c")
        assert "the ProxyJump for" in await refusal(home.address(host))


async def test_server_that_cannot_be_reached_is_a_clear_error(home: SshHome) -> None:
    """Nobody listens, no such name, not an SSH server."""
    async with a_machine(home) as (_, host):
        await host.stop()
        assert "cannot be reached: Connection refused" in await refusal(home.address(host))
        home.configure("AddressFamily inet6")  # an IPv4 address has no IPv6 address; asks no name server
        assert f"the name of the SSH server {LOOPBACK} is not known" in await refusal(home.address(host))
    home.configure()
    async with await anyio.create_tcp_listener(local_host=LOOPBACK) as listener, anyio.create_task_group() as server:
        host.port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def greet(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.send(b"220 mail.example ESMTP\r\n")
                await anyio.sleep_forever()

        server.start_soon(listener.serve, greet)
        target = home.address(host).ssh
        assert target is not None
        with pytest.raises(SshError, match="did not answer in time"):
            await log_in(target, seconds=0.3)
        assert "did not answer version in time" in await refusal(home.address(host), call_timeout=0.3)
        server.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        (None, "sh: 1: docker: not found"),
        ((1, b"permission denied while trying to connect to\nthe socket"), "permission denied while trying to connect"),
        ((3, b""), "exit code 3"),
        ((0, b""), "exit code 0"),
    ],
)
async def test_machine_without_an_engine_is_a_clear_error(
    home: SshHome, complaint: tuple[int, bytes] | None, said: str
) -> None:
    """Both ways are named, and what the machine says."""
    async with ssh_host(None, complaint=complaint) as host:
        home.write(host)
        text = await refusal(home.address(host))
        assert f"no engine was found on {USER}@{LOOPBACK}:{host.port}: {USUAL_SOCKET} cannot be opened there" in text
        assert said in text


@WAYS
async def test_way_that_has_worked_is_kept(home: SshHome, forwards_sockets: bool) -> None:
    """The other way may lead to another engine, so that containers would seem to be gone."""
    machine = a_machine(home, forwards_sockets=forwards_sockets)
    async with machine as (_, host), connect_engine(home.address(host)) as client:
        await host.stop()
        await host.start()
        host.forwards_sockets = not forwards_sockets
        tried = host.channels["socket"]
        if forwards_sockets:
            with pytest.raises(EngineUnavailableError, match=f"{USUAL_SOCKET} on .* cannot be opened"):
                await client.list_containers()
            assert host.commands == []
        else:
            assert len(await client.list_containers()) == 1
            assert tried == host.channels["socket"]


@WAYS
async def test_server_that_dies_in_the_middle_and_comes_back_is_used_again(
    home: SshHome, forwards_sockets: bool
) -> None:
    """The pull fails, requests say that the engine is gone, and afterwards a new login works."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (engine, host):
        engine.offer("registry.example/slow:1", seconds=3600)
        async with connect_engine(home.address(host)) as client:
            async with anyio.create_task_group() as pulling:

                async def pull() -> None:
                    with pytest.raises(PullFailedError, match="SSH connection was lost"):
                        await client.pull_image("registry.example/slow:1", registry_auth="")

                pulling.start_soon(pull)
                await until(lambda: client.calls["pull_image"] and host.open_channels == 1)
                await anyio.sleep(0.05)
                await host.stop()
            with pytest.raises(EngineUnavailableError, match="cannot be reached"):
                await client.list_containers()
            await host.start()
            assert len(await client.list_containers()) == 1
            assert host.logins == 2


@WAYS
async def test_request_under_way_when_the_server_dies_says_so(home: SshHome, forwards_sockets: bool) -> None:
    """Whether the engine has done it is not known: nothing is sent a second time."""
    machine = a_machine(home, forwards_sockets=forwards_sockets)
    async with machine as (engine, host), connect_engine(home.address(host)) as client:
        engine.fault = Fault(at=1, kind="hang")
        async with anyio.create_task_group() as asking:

            async def stop() -> None:
                with pytest.raises(EngineUnavailableError, match=r"\(stop container\): the SSH connection was lost"):
                    await client.stop_container("web", timeout=1)

            asking.start_soon(stop)
            await until(lambda: engine.fault_fired)
            await host.stop()
        assert len(engine.changes()) == 1


@WAYS
async def test_cancelled_pull_ends_its_channel(home: SshHome, forwards_sockets: bool) -> None:
    """So the engine stops the pull, and the connection goes on."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (engine, host):
        engine.offer("registry.example/slow:1", seconds=3600)
        async with connect_engine(home.address(host)) as client:
            with anyio.move_on_after(0.2):
                await client.pull_image("registry.example/slow:1", registry_auth="")
            await until(lambda: host.open_channels == 0)
            assert len(await client.list_containers()) == 1
            assert host.logins == 1


async def test_channel_whose_opening_is_cancelled_does_not_stay_open(home: SshHome) -> None:
    """The host would keep it as long as the connection lives."""
    async with a_machine(home) as (engine, host), connect_engine(home.address(host)) as client:
        engine.offer("registry.example/slow:1", seconds=3600)
        async with anyio.create_task_group() as pulling:
            pulling.start_soon(partial(client.pull_image, "registry.example/slow:1", registry_auth=""))
            await until(lambda: client.calls["pull_image"])
            host.delay = 0.1
            with anyio.move_on_after(0.05) as asking:
                await client.list_containers()
            assert asking.cancelled_caught
            assert host.channels["socket"] == 2
            await anyio.sleep(0.1)
            await until(lambda: host.open_channels == 1)
            pulling.cancel_scope.cancel()


@WAYS
async def test_channel_ends_when_the_engine_ends_it(home: SshHome, forwards_sockets: bool) -> None:
    """An engine that restarts closes its connections; the next request opens a channel on the same login."""
    machine = a_machine(home, forwards_sockets=forwards_sockets)
    async with machine as (engine, host), connect_engine(home.address(host)) as client:
        assert len(await client.list_containers()) == 1
        assert host.open_channels == 1
        for cut in engine.cut_connections:
            cut()
        await until(lambda: host.open_channels == 0)
        assert len(await client.list_containers()) == 1
        assert host.logins == 1


@WAYS
async def test_request_that_is_cancelled_anywhere_leaves_nothing_open(home: SshHome, forwards_sockets: bool) -> None:
    """During the login, while the channel opens, while the answer comes: the next request works."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (_, host):
        async with connect_engine(home.address(host)) as client:
            for steps in range(0, 60, 3):
                await host.stop()
                await host.start()
                async with anyio.create_task_group() as asking:
                    asking.start_soon(client.list_containers)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    asking.cancel_scope.cancel()
                assert len(await client.list_containers()) == 1
                assert host.open_channels <= 2
        await until(lambda: not host.open_channels and not host.connections)


@WAYS
async def test_closing_leaves_no_task_process_or_connection(home: SshHome, forwards_sockets: bool) -> None:
    """Also with a request in the middle, and after a failure."""
    async with a_machine(home, forwards_sockets=forwards_sockets) as (engine, host):
        engine.offer("registry.example/slow:1", seconds=3600)
        async with connect_engine(home.address(host)):
            pass
        await until(lambda: not host.connections)
        tasks = asyncio.all_tasks()
        async with connect_engine(home.address(host)) as client:
            with anyio.move_on_after(0.1):
                await client.pull_image("registry.example/slow:1", registry_auth="")
        await until(lambda: not host.connections and not host.open_channels)
        await until(lambda: asyncio.all_tasks() <= tasks)
        pools = "MainThread", "asyncio_", "AnyIO worker thread"  # the loop's; they end with it
        assert [thread.name for thread in threading.enumerate() if not thread.name.startswith(pools)] == []
        host.lets_in = False
        await refusal(home.address(host))
        await until(lambda: asyncio.all_tasks() <= tasks)


async def test_hosts_on_the_way_are_checked_like_the_last_one(home: SshHome) -> None:
    """`ProxyJump` is followed, with the same rules for each host."""
    async with a_machine(home) as (_, host), ssh_host(None, user_key=host.user_key) as gate:
        home.write(host, known_hosts=host.known_as() + gate.known_as())
        jump = f"ProxyJump {USER}@{LOOPBACK}:{gate.port}"
        home.configure(jump)
        async with connect_engine(home.address(host)) as client:
            assert len(await client.list_containers()) == 1
            assert gate.channels == {"host": 1}
            for machine in gate, host:
                await machine.stop()
                await machine.start()
                assert len(await client.list_containers()) == 1
                await until(lambda: len(gate.connections) == len(host.connections) == 1)
        await until(lambda: not host.connections and not gate.connections)
        home.write(host, known_hosts=host.known_as())
        home.configure(jump)
        logins = gate.logins, host.logins
        assert f"the host key of {USER}@{LOOPBACK}:{gate.port}" in await refusal(home.address(host))
        assert logins == (gate.logins, host.logins)
        home.write(host, known_hosts=gate.known_as())
        home.configure(jump)
        assert f"the host key of {USER}@{LOOPBACK}:{host.port}" in await refusal(home.address(host))
        assert logins == (gate.logins - 1, host.logins)
        await until(lambda: not gate.connections)


async def test_missing_library_is_named_with_its_extra() -> None:
    """It is not there for every machine, and only an ssh:// address needs it."""
    code = f"import sys; sys.modules['asyncssh'] = None\n{CHILD}"
    environ = {"DOCKER_HOST": "ssh://h", "PATH": os.environ["PATH"]}
    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-c", code], env=environ, cwd=ROOT, check=False)
    assert b"DOCKER_HOST names an engine by ssh://, which needs the extra 'ssh': pip install" in done.stderr


async def test_library_is_not_imported_for_other_addresses(home: SshHome) -> None:
    """It would cost half a second at every start."""
    code = "import sys, watchtower_async.engine.client; print('asyncssh' in sys.modules)"
    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-c", code], cwd=ROOT)
    assert done.stdout.strip() == b"False"
