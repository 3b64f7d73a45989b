"""Engines on other machines: an aiohttp connector whose connections are channels of one SSH connection.

Rules:

- The host must be known. Its key is looked up where ssh looks (`~/.ssh/known_hosts`, `/etc/ssh/ssh_known_hosts`, or
  the files that the client configuration names). Nothing turns this off, that configuration neither.
- Keys only, from the agent and the files that ssh uses. No password is asked for, and none is sent.
- Nothing of our environment goes to the host, whatever `SendEnv` and `SetEnv` say; neither does the agent or a display.
- Two ways lead to an engine: its socket (`direct-streamlocal`), and where that cannot be opened the command
  `docker system dial-stdio`, as the Docker command line does. The first way that has worked stays, so that a session
  never finds itself on another engine.
- A connection that was lost is made anew by the next request. Nothing here runs by itself: no task, no thread.

asyncssh is an optional dependency, so only `client` imports this module, and only for an ssh:// address.
RFC 4251 to 4254; https://github.com/openssh/openssh-portable/blob/master/PROTOCOL (direct-streamlocal).
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import anyio
import anyio.lowlevel
import asyncssh
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from watchtower_async.engine.address import SshTarget, parse_ssh_target

USUAL_SOCKET = "/var/run/docker.sock"

LOGIN_SECONDS = 30.0
CHANNEL_SECONDS = 15.0
CLOSE_SECONDS = 5.0
CHANNELS = 8
"""Requests at the same time; more wait. An OpenSSH server allows ten commands per connection."""

_USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_PING = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"
_SHOWN = 200
_STRICT: Final[Mapping[str, Any]] = {
    "preferred_auth": "publickey",
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
    "gss_auth": False,
    "gss_kex": False,
    "gss_host": None,
    "x509_trusted_certs": None,
    "env": {},
    "send_env": [],
    "agent_forwarding": False,
    "x11_forwarding": False,
    "request_pty": False,
    # A host that is gone is noticed after a minute at the latest, also while nobody asks anything.
    "keepalive_interval": 15,
    "keepalive_count_max": 3,
}
"""Stands above the client configuration."""


class SshError(aiohttp.ClientConnectionError):
    """The host, or the engine on it, cannot be reached; for `client` a failed connection like any other."""


class Way(Enum):
    """How a channel reaches the engine."""

    SOCKET = auto()
    COMMAND = auto()


@asynccontextmanager
async def ssh_connector(target: SshTarget) -> AsyncIterator[aiohttp.BaseConnector]:
    """Provide a connector whose every connection ends at the engine of this host. The first request logs in."""
    link = SshLink(target)
    connector = _Connector(link)
    try:
        yield connector
    finally:
        # In this order: the end of the link ends every channel, so that closing the connector waits for nobody.
        await link.close()
        await connector.close()


class _Connector(aiohttp.BaseConnector):
    """Opens a channel where other connectors open a socket. The pool is aiohttp's."""

    def __init__(self, link: SshLink) -> None:
        super().__init__(limit=CHANNELS)
        self._link = link

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,  # noqa: ARG002
        traces: list[Trace],  # noqa: ARG002
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002
    ) -> ResponseHandler:
        protocol = self._factory()
        await self._link.open(protocol)
        return protocol


class SshLink:
    """The SSH connection to a host, with the hosts on the way to it (`ProxyJump`)."""

    def __init__(self, target: SshTarget) -> None:
        self._target = target
        self._socket = target.socket or USUAL_SOCKET
        self._command = _dial_command(target.socket)
        self._hops: list[asyncssh.SSHClientConnection] = []
        self._way: Way | None = None
        self._login = anyio.Lock()

    async def open(self, protocol: ResponseHandler) -> None:
        """Connect a protocol to the engine. Raises SshError."""
        connection = await self._connected()
        # Shielded, because a channel whose opening is cancelled would stay open on the host.
        with anyio.move_on_after(CHANNEL_SECONDS, shield=True) as opening:
            await self._open_channel(connection, protocol)
        if opening.cancelled_caught:
            connection.abort()
            raise SshError(f"{self._target.name} did not open a channel in time")

    async def close(self) -> None:
        """Close the connection and whatever goes through it. Idempotent; waits a few seconds at most."""
        hops, self._hops = self._hops, []
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            for hop in reversed(hops):
                hop.close()
                await hop.wait_closed()
        for hop in hops:
            hop.abort()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._login:
            if not self._hops or self._hops[-1].is_closed():
                await self.close()
                self._hops = await log_in(self._target)
            return self._hops[-1]

    async def _open_channel(self, connection: asyncssh.SSHClientConnection, protocol: ResponseHandler) -> None:
        end = _End(protocol)
        try:
            if self._way is not Way.COMMAND and await self._open_socket(connection, end):
                self._way = Way.SOCKET
                return
            if self._way is None:
                await self._try_command(connection)
                self._way = Way.COMMAND
            await connection.create_session(lambda: end, self._command, encoding=None)
        except asyncssh.ChannelOpenError as error:
            await anyio.lowlevel.checkpoint()  # the library notes the end of a connection one step later
            if connection.is_closed():
                raise SshError(f"the SSH connection to {self._target.name} was lost") from None
            what = self._socket if self._way is Way.SOCKET else f"{self._command!r}"
            raise SshError(f"{what} on {self._target.name} cannot be opened: {_shown(error.reason)}") from None

    async def _open_socket(self, connection: asyncssh.SSHClientConnection, end: _End) -> bool:
        """Open a channel to the engine's socket; False where it is still open which way to take, and this is none."""
        try:
            await connection.create_unix_connection(lambda: end, self._socket)
        except asyncssh.ChannelOpenError:
            # A host that forbids this and one where nobody listens say the same.
            if self._way is Way.SOCKET:
                raise
            return False
        return True

    async def _try_command(self, connection: asyncssh.SSHClientConnection) -> None:
        """Find out whether an engine answers behind the command, because it says why not only when it ends."""
        async with connection.create_process(self._command, encoding=None) as process:
            with suppress(OSError):  # it may have ended already
                process.stdin.write(_PING)
            if await process.stdout.read(1):
                return
            complaint = _shown((await process.stderr.read(_SHOWN)).decode("utf-8", "replace"))
            await process.wait_closed()
            raise SshError(
                f"no engine was found on {self._target.name}: {self._socket} cannot be opened there, "
                f"and {self._command!r} says: {complaint or f'exit code {process.exit_status}'}"
            )


class _End(asyncssh.SSHUNIXSession[bytes], asyncssh.SSHClientSession[bytes]):
    """Our end of a channel: what arrives goes to aiohttp's protocol, to which the channel is a transport like any."""

    def __init__(self, protocol: ResponseHandler) -> None:
        self._protocol = protocol

    def connection_made(self, chan: Any) -> None:
        self._protocol.connection_made(chan)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:  # not the standard error of the command
            self._protocol.data_received(data)

    def eof_received(self) -> bool:
        self._protocol.eof_received()
        return False  # the channel ends in both directions

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        # An OSError, because that is what aiohttp knows as the end of a connection.
        lost = None if exc is None else OSError(f"the SSH connection was lost: {_shown(str(exc))}")
        self._protocol.connection_lost(lost)


async def log_in(target: SshTarget, *, seconds: float = LOGIN_SECONDS) -> list[asyncssh.SSHClientConnection]:
    """Connect to a host, through those that the client configuration puts before it; it is the last one returned.

    `seconds` bounds each login. Raises SshError.
    """
    hops: list[asyncssh.SSHClientConnection] = []
    try:
        options = await _read_configuration(target)
        for hop in (*_jumps(options, target), target):
            hops.append(await _dial(hop, via=hops[-1] if hops else None, seconds=seconds))
    except BaseException:
        for connection in reversed(hops):
            connection.abort()
        raise
    return hops


async def _dial(
    target: SshTarget, *, via: asyncssh.SSHClientConnection | None, seconds: float
) -> asyncssh.SSHClientConnection:
    options = await _read_configuration(target)
    known = await anyio.to_thread.run_sync(KnownHosts.read, _known_hosts_files(options))
    with _translated(target, known, options):
        with anyio.fail_after(seconds):
            connection: asyncssh.SSHClientConnection = await asyncssh.connect(
                target.host,
                port=target.port or (),
                tunnel=via,
                config=None,
                options=options,
                known_hosts=known.trusted,
                client_factory=known.client,
            )
    return connection


async def _read_configuration(target: SshTarget) -> asyncssh.SSHClientConnectionOptions:
    """Read the client configuration and the keys it names; both may have changed since the last time."""
    user: Mapping[str, Any] = {"username": target.user} if target.user else {}
    try:
        with anyio.fail_after(LOGIN_SECONDS):
            options: asyncssh.SSHClientConnectionOptions = await asyncssh.SSHClientConnectionOptions.construct(
                host=target.host,
                port=target.port or (),
                config=() if target.config is None else [str(target.config)],
                **_STRICT,
                **user,
            )
    except TimeoutError:
        raise SshError(f"reading the SSH client configuration for {target.name} took too long") from None
    except (OSError, ValueError, RuntimeError, KeyError, asyncssh.Error) as error:
        raise SshError(f"the SSH client configuration cannot be used for {target.name}: {_shown(str(error))}") from None
    return options


def _jumps(options: asyncssh.SSHClientConnectionOptions, target: SshTarget) -> Iterator[SshTarget]:
    """Return the hosts of `ProxyJump`, nearest first."""
    written = options.tunnel
    for text in written.split(",") if isinstance(written, str) else ():
        try:
            jump = parse_ssh_target(text.strip().removeprefix("ssh://"))
        except ValueError as error:
            raise SshError(f"the ProxyJump for {target.name} {error}") from None
        yield SshTarget(host=jump.host, user=jump.user, port=jump.port, config=target.config)


def _known_hosts_files(options: asyncssh.SSHClientConnectionOptions) -> tuple[str, ...]:
    read = options.config.get
    user = cast("Sequence[str]", read("UserKnownHostsFile", _USER_FILES))
    system = cast("Sequence[str]", read("GlobalKnownHostsFile", _SYSTEM_FILES))
    return (*user, *system)


class KnownHosts:
    """Which keys hosts are known by; remembers why one was not trusted."""

    def __init__(self, files: Sequence[str], content: str) -> None:
        self.files = ", ".join(files) or "any file"
        """What people are told."""
        self.has_key = False
        """Whether the host that was looked up has any key here."""
        self.offered: str | None = None
        """Fingerprint of the key that was refused."""
        self._known = asyncssh.import_known_hosts(content)

    @classmethod
    def read(cls, files: Sequence[str]) -> KnownHosts:
        """Read the files that are there. Raises SshError for one that cannot be read."""
        found: dict[str, str] = {}
        for file in files:
            try:
                found[file] = Path(file).expanduser().read_text("utf-8", "replace")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, RuntimeError) as error:
                raise SshError(f"the known hosts in {file} cannot be read: {error}") from None
        try:
            return cls(tuple(found) or files[:1], "\n".join(found.values()))
        except ValueError as error:
            raise SshError(f"the known hosts in {', '.join(found)} cannot be read: {_shown(str(error))}") from None

    def trusted(self, host: str, _addr: str, port: int | None) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Return the keys, authorities and revoked keys of a host.

        By its name only, as in ssh: a key that was noted for the address may be another machine's.
        """
        keys, authorities, revoked, *_ = self._known.match(host.lower(), "", port)
        self.has_key = bool(keys or authorities)
        return keys, authorities, revoked

    def client(self) -> asyncssh.SSHClient:
        """Return what is asked about a key that is not trusted."""
        return _Refusing(self)

    def why(self, target: SshTarget) -> str:
        """Say what is wrong with the host's key, and what to do about it."""
        key = f"the host key of {target.name}" + (f" ({self.offered})" if self.offered else "")
        if self.has_key:
            return (
                f"{key} is not the one in {self.files}: another machine answers, or it got a new key; "
                "only if that is certain, remove the old line (ssh-keygen -R)"
            )
        return f"{key} is not in {self.files}; compare it with the host's and add it, for example with ssh"


class _Refusing(asyncssh.SSHClient):
    """Trusts no key by itself, and notes which one was offered."""

    def __init__(self, known: KnownHosts) -> None:
        self._known = known

    def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey) -> bool:
        self._known.offered = key.get_fingerprint()
        return False


@contextmanager
def _translated(target: SshTarget, known: KnownHosts, options: asyncssh.SSHClientConnectionOptions) -> Iterator[None]:
    """Turn the errors of a login into one sentence each."""
    name = target.name
    try:
        yield
    except TimeoutError:
        raise SshError(f"the SSH server of {name} did not answer in time") from None
    except asyncssh.HostKeyNotVerifiable as error:
        text = known.why(target) if known.offered else f"the host key of {name} is not trusted: {_shown(error.reason)}"
        raise SshError(text) from None
    except asyncssh.PermissionDenied:
        raise SshError(
            f"{name} does not let {options.username!r} in: it accepts no key of the SSH agent or of ~/.ssh "
            "(keys with a passphrase work through an agent only)"
        ) from None
    except asyncssh.DisconnectError as error:
        raise SshError(f"the SSH login on {name} failed: {_shown(error.reason)}") from None
    except (asyncssh.Error, ValueError) as error:
        raise SshError(f"the SSH login on {name} failed: {_shown(str(error))}") from None
    except socket.gaierror:
        raise SshError(f"the name of the SSH server {options.host} is not known") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else _shown(str(error))
        raise SshError(f"the SSH server of {name} cannot be reached: {reason}") from None


def _dial_command(path: str | None) -> str:
    """Return the command that connects its standard streams with the engine's socket."""
    host = "" if path is None else f" --host {shlex.quote(f'unix://{path}')}"
    return f"docker{host} system dial-stdio"


def _shown(text: str) -> str:
    """Return what the other side said as one short line."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
