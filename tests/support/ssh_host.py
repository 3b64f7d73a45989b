"""A machine with an SSH server and an engine, for tests: a real server in this process, on a port of loopback.

It counts what nobody may send it: environment requests, passwords, requests for an agent or a display. The engine's
socket is "there" under a path of its own; a channel to any other path is refused, as where no engine listens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import asyncssh
from asyncssh.stream import SSHUNIXStreamSession

from watchtower_async.engine.address import EngineAddress, SshTarget, parse_host
from watchtower_async.engine.ssh import USUAL_SOCKET

USER = "deploy"
LOOPBACK = "127.0.0.1"
NO_DOCKER = (127, b"sh: 1: docker: not found\n")


@dataclass(slots=True)
class SshHost:
    """What the machine is, and what was done to it."""

    engine: str | None
    """The path of the engine's real socket; None where the machine has no engine."""
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    user_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    socket: str = USUAL_SOCKET
    """The path under which the machine has the socket."""
    forwards_sockets: bool = True
    complaint: tuple[int, bytes] | None = None
    """Exit code and standard error of the docker command where it fails."""
    delay: float = 0.0
    """How long it takes to open the socket, in seconds."""
    port: int = 0
    lets_in: bool = True
    commands: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    """Names that a client asked to set."""
    passwords: int = 0
    """How often a password, or an answer to a question, was sent."""
    extras: list[str] = field(default_factory=list)
    """Requests for an agent, a display or a terminal."""
    channels: Counter[str] = field(default_factory=Counter)
    """Opened so far, by kind."""
    open_channels: int = 0
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    """Those that are up."""
    logins: int = 0
    _acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def address(self) -> EngineAddress:
        """The address as people write it."""
        return parse_host(f"ssh://{USER}@{LOOPBACK}:{self.port}", source="test")

    def known_as(self, name: str = LOOPBACK, *, key: asyncssh.SSHKey | None = None) -> str:
        """Return a line of known hosts."""
        public = (key or self.host_key).export_public_key().decode()
        return f"[{name}]:{self.port} {public}"

    async def start(self) -> None:
        """Begin to listen; after `stop` on the same port again."""
        self._acceptor = await asyncssh.listen(
            LOOPBACK,
            self.port,
            server_host_keys=[self.host_key],
            server_factory=lambda: _Server(self),
            process_factory=lambda process: _run(self, process),
            encoding=None,
            line_editor=False,
            agent_forwarding=True,
            x11_forwarding=True,
        )
        self.port = self._acceptor.get_port()

    async def stop(self) -> None:
        """Be gone, in the middle of whatever goes on."""
        if self._acceptor is not None:
            self._acceptor.close()
        await anyio.sleep(0.01)  # what was accepted just now becomes a connection
        for connection in list(self.connections):
            connection.abort()
            await connection.wait_closed()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()


@asynccontextmanager
async def ssh_host(engine: EngineAddress | None, **properties: Any) -> AsyncIterator[SshHost]:
    """Run a machine with this engine."""
    host = SshHost(engine=None if engine is None else engine.socket_path, **properties)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


@dataclass(frozen=True, slots=True)
class SshHome:
    """A user's SSH files."""

    directory: Path

    def write(self, host: SshHost, *, known_hosts: str | None = None, key: asyncssh.SSHKey | None = None) -> None:
        """Write known hosts, a key and a configuration that would send a lot if it had its way."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        (self.directory / "known_hosts").write_text(host.known_as() if known_hosts is None else known_hosts)
        private = self.directory / "id_ed25519"
        private.write_bytes((key or host.user_key).export_private_key())
        private.chmod(0o600)
        self.configure()

    def configure(self, *lines: str) -> None:
        """Write the client configuration; its first value for an option counts."""
        ours = (
            "SendEnv *",
            "SetEnv MARKER=set",
            f"ForwardAgent {self.directory / 'agent'}",
            "ForwardX11Trusted yes",
            "RequestTTY force",
            "RemoteCommand false",
            "StrictHostKeyChecking no",
            "IdentityAgent none",
            f"IdentityFile {self.directory / 'id_ed25519'}",
            f"UserKnownHostsFile {self.directory / 'known_hosts'}",
            "GlobalKnownHostsFile none",
        )
        (self.directory / "config").write_text("\n".join((*lines, *ours)) + "\n")

    def address(self, host: SshHost, **target: Any) -> EngineAddress:
        """Return the machine's address for a user with these files."""
        address = host.address
        assert address.ssh is not None
        return replace(address, ssh=self.target(address.ssh, **target))

    def target(self, target: SshTarget, **changes: Any) -> SshTarget:
        """Return a target that is reached with these files."""
        return replace(target, config=self.directory / "config", **changes)


class _Server(asyncssh.SSHServer):
    """One connection to the machine."""

    def __init__(self, host: SshHost) -> None:
        self._host = host

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections.append(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.remove(self._connection)

    def auth_completed(self) -> None:
        self._host.logins += 1

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = self._host.user_key.convert_to_public()
        return self._host.lets_in and username == USER and key == known

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._host.passwords += 1
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        self._host.passwords += 1
        return True

    def unix_connection_requested(self, dest_path: str) -> Any:
        host = self._host
        host.channels["socket"] += 1
        if not host.forwards_sockets or host.engine is None or dest_path != host.socket:
            return False
        return _later(host) if host.delay else _relay(host)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        self._host.channels["host"] += 1
        return True


async def _run(host: SshHost, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Be the docker command line of the machine."""
    host.channels["command"] += 1
    host.commands.append(process.command or "")
    host.environment += process.env
    channel = process.channel
    for name, asked in {
        "terminal": process.term_type,
        "display": channel.get_x11_display(),
        "agent": channel.get_agent_path(),
    }.items():
        if asked is not None:
            host.extras.append(name)
    complaint = host.complaint
    if complaint is None and host.engine is None:
        complaint = NO_DOCKER
    if complaint is not None:
        process.stderr.write(complaint[1])
        process.exit(complaint[0])
        return
    process.stderr.write(b"WARNING: Error loading config file\n")
    await _exchange(host, process.stdin, process.stdout)
    process.exit(0)


def _relay(host: SshHost) -> asyncssh.SSHUNIXSession[bytes]:
    return SSHUNIXStreamSession(lambda reader, writer: _exchange(host, reader, writer))


async def _later(host: SshHost) -> asyncssh.SSHUNIXSession[bytes]:
    await anyio.sleep(host.delay)
    return _relay(host)


async def _exchange(host: SshHost, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
    """Carry bytes between a channel and the engine until both have had enough, as OpenSSH does."""
    assert host.engine is not None
    broken = (anyio.BrokenResourceError, anyio.ClosedResourceError, asyncssh.Error, OSError)
    host.open_channels += 1
    try:
        async with await anyio.connect_unix(host.engine) as engine, anyio.create_task_group() as both:

            async def upwards() -> None:
                with suppress(*broken):
                    while data := await reader.read(1 << 16):
                        await engine.send(data)
                    await engine.send_eof()
                if reader.channel.is_closing():
                    both.cancel_scope.cancel()

            both.start_soon(upwards)
            with suppress(*broken):
                async for data in engine:
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()
    finally:
        host.open_channels -= 1
        writer.close()
