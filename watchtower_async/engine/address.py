"""Where the engine is, found in the order of the Docker command line.

`--host` → `DOCKER_HOST` → `DOCKER_CONTEXT` → `currentContext` of the command line's configuration → the usual sockets.

Inside a container the configuration there is for registries and says nothing about the engine: it is the host's file,
mounted, and its contexts lead nowhere. `decide` and `parse_host` are pure; the small functions at the end read files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from watchtower_async.errors import EngineUnavailableError

DEFAULT_CONTEXT = "default"
_TCP_SCHEMES = frozenset({"tcp", "http", "https"})
_NOT_SUPPORTED = frozenset({"npipe", "fd"})
_PLAIN_PORT, _TLS_PORT = 2375, 2376
_FALSE = frozenset({"", "0", "false", "no", "off"})
# What may stand in a host and a user name: an SSH client configuration can put both into a command (ProxyCommand).
_SSH_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_SSH_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+\\-]*")

NO_ENGINE = (
    "no Docker Engine was found: install one on this machine (on Debian: apt-get install docker.io) "
    "or name one with --host or DOCKER_HOST"
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for a TLS connection; None means the system's certificate authorities, or no client certificate."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class SshTarget:
    """A machine that is reached by SSH; None leaves the answer to the SSH client configuration."""

    host: str
    """A name, an alias of the configuration, or an IP address."""
    user: str | None = None
    port: int | None = None
    socket: str | None = None
    """The engine's socket there, None for the usual one."""
    config: Path | None = None
    """The client configuration, None for `~/.ssh/config`."""

    @property
    def name(self) -> str:
        """Return `[user@]host[:port]`, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where the engine is."""

    url: str
    """`unix:///path`, `http://host:port`, `https://host:port` or `ssh://[user@]host[:port][/path]`; no password."""
    source: str
    """Who said so, for people."""
    tls: TlsFiles | None = None
    is_local: bool = False
    """Whether the engine's loopback interface is this machine's. Only a socket file says so: a TCP address, also one
    on loopback, may be a tunnel."""
    notes: tuple[str, ...] = ()
    """What was ignored on the way here."""
    ssh: SshTarget | None = None

    @property
    def socket_path(self) -> str | None:
        """Return the path of a unix socket on this machine, None where there is none."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None

    @property
    def is_plain_tcp(self) -> bool:
        """Say whether everybody on the way can read along, registry credentials included."""
        return self.url.startswith("http://")


@dataclass(frozen=True, slots=True)
class HostChoice:
    """An address as somebody wrote it."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class ContextChoice:
    """A context of the Docker command line."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class ContextEndpoint:
    """What a context's files say."""

    host: str
    tls: TlsFiles | None


def resolve_address(
    *, host: str | None, environ: Mapping[str, str], inside_container: bool, config_dir: Path | None
) -> EngineAddress:
    """Find the engine. Raises EngineUnavailableError with the remedy; connecting is the caller's."""
    home = _home(environ)
    directory = config_dir or _cli_directory(environ, home)
    current, notes = (None, ()) if inside_container or directory is None else read_current_context(directory)
    choice = decide(host=host, environ=environ, current_context=current)
    if choice is None:
        path = first_socket(socket_paths(environ, home))
        if path is None:
            raise EngineUnavailableError("; ".join((NO_ENGINE, *notes)))
        return EngineAddress(url=f"unix://{path}", source="default socket", is_local=True, notes=notes)
    if isinstance(choice, HostChoice):
        return parse_host(choice.text, source=choice.source, tls=tls_from_environment(environ, directory))
    endpoint = read_context(directory, choice)
    return parse_host(endpoint.host, source=f"{choice.source} {choice.name!r}", tls=endpoint.tls)


def decide(
    *, host: str | None, environ: Mapping[str, str], current_context: str | None
) -> HostChoice | ContextChoice | None:
    """Say who decides about the engine; None leaves it to the usual sockets."""
    # The settings read DOCKER_HOST as the value of --host; people are told where it really stands.
    if host and host != environ.get("DOCKER_HOST"):
        return HostChoice(host, "--host")
    if environ.get("DOCKER_HOST"):
        return HostChoice(environ["DOCKER_HOST"], "DOCKER_HOST")
    named = environ.get("DOCKER_CONTEXT")
    if named:
        return None if named == DEFAULT_CONTEXT else ContextChoice(named, "DOCKER_CONTEXT")
    if current_context and current_context != DEFAULT_CONTEXT:
        return ContextChoice(current_context, "current Docker context")
    return None


def parse_host(text: str, *, source: str, tls: TlsFiles | None = None) -> EngineAddress:
    """Read an address in Docker's notation; `tls` applies to TCP only. Raises EngineUnavailableError."""
    written = text.strip() if "://" in text else f"tcp://{text.strip()}"
    scheme, _, rest = written.partition("://")
    if scheme == "unix":
        return EngineAddress(url=f"unix://{rest or '/var/run/docker.sock'}", source=source, is_local=True)
    if scheme == "ssh":
        try:
            target = parse_ssh_target(rest)
        except ValueError as error:
            raise EngineUnavailableError(f"the address in {source} {error}") from None
        return EngineAddress(url=f"ssh://{target.name}{target.socket or ''}", source=source, ssh=target)
    if scheme in _NOT_SUPPORTED:
        raise EngineUnavailableError(
            f"{source} names an engine by {scheme}://, which is not supported; use unix://, ssh:// or tcp:// with TLS"
        )
    if scheme not in _TCP_SCHEMES:
        raise EngineUnavailableError(f"{source} names an engine by {scheme}://, which is not known")
    url = _tcp_url(written, source, encrypted=scheme == "https" or (tls is not None and scheme == "tcp"))
    uses_tls = url.startswith("https://")
    return EngineAddress(url=url, source=source, tls=(tls or TlsFiles()) if uses_tls else None)


def parse_ssh_target(text: str) -> SshTarget:
    """Read `[user@]host[:port][/path]`. Raises ValueError with what is wrong, never with what is written."""
    try:
        parts = urlsplit(f"ssh://{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("cannot be read; write ssh://user@host:port") from None
    if parts.password is not None:
        raise ValueError("holds a password; SSH logs in with keys only")
    if parts.query or parts.fragment:
        raise ValueError("holds more than host and socket; write ssh://user@host:port")
    if not name:
        raise ValueError("names no host; write ssh://user@host:port")
    written = parts.netloc.rpartition("@")[2]
    # The name as it is written: aliases in a client configuration may have capitals.
    host = name if written.startswith("[") else written.partition(":")[0]
    user = None if parts.username is None else unquote(parts.username)
    if not _SSH_HOST.fullmatch(host) or (user is not None and not _SSH_USER.fullmatch(user)):
        raise ValueError("holds a character that no host or user name has")
    socket = unquote(parts.path)
    if not socket.isprintable():
        raise ValueError("holds a path that cannot be a socket's")
    return SshTarget(host=host, user=user, port=port, socket=socket if socket.strip("/") else None)


def _tcp_url(written: str, source: str, *, encrypted: bool) -> str:
    try:
        parts: SplitResult = urlsplit(written)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise EngineUnavailableError(f"the address in {source} cannot be read; write tcp://host:port") from None
    if not name:
        raise EngineUnavailableError(f"the address in {source} names no host; write tcp://host:port")
    if parts.username or parts.password:
        raise EngineUnavailableError(f"the address in {source} holds a user name; that is not supported")
    shown = f"[{name}]" if ":" in name else name
    scheme, default = ("https", _TLS_PORT) if encrypted else ("http", _PLAIN_PORT)
    return f"{scheme}://{shown}:{port or default}{parts.path.rstrip('/')}"


def tls_from_environment(environ: Mapping[str, str], cli_directory: Path | None) -> TlsFiles | None:
    """Return the TLS files that the environment asks for, None for plain connections.

    As in Docker's client: a certificate directory without `DOCKER_TLS_VERIFY` encrypts without verifying the server;
    `DOCKER_TLS_VERIFY` alone takes the files beside the command line's configuration.
    """
    verify = environ.get("DOCKER_TLS_VERIFY", "").strip().lower() not in _FALSE
    named = environ.get("DOCKER_CERT_PATH")
    if not verify and not named:
        return None
    directory = Path(named) if named else cli_directory
    if directory is None:
        return TlsFiles()
    return _tls_in(directory, verify=verify, must_exist=bool(named)) or TlsFiles(verify=verify)


def socket_paths(environ: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    """Return where engines put their sockets."""
    paths = [Path("/var/run/docker.sock"), Path("/run/docker.sock")]
    if environ.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environ["XDG_RUNTIME_DIR"]) / "docker.sock")
    if home is not None:
        paths.append(home / ".docker/run/docker.sock")
    return tuple(paths)


def parse_current_context(data: bytes) -> str | None:
    """Return the current context of a configuration. Raises ValueError for a file that cannot be read."""
    document = _json(data)
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 - for the caller it is one more way to be broken
    current = document.get("currentContext")
    return current if isinstance(current, str) and current else None


def parse_context(data: bytes) -> tuple[str, bool]:
    """Return the host of a context and whether its server is verified. Raises ValueError."""
    document = _json(data)
    try:
        endpoint = document["Endpoints"]["docker"]
        host, skip = endpoint["Host"], endpoint.get("SkipTLSVerify", False)
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it names no Docker endpoint") from None
    if not isinstance(host, str) or not host:
        raise ValueError("it names no host")
    return host, not skip


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def read_current_context(directory: Path) -> tuple[str | None, tuple[str, ...]]:
    """Return the current context, and a note where the file cannot be used: it may be half written."""
    path = directory / "config.json"
    try:
        return parse_current_context(path.read_bytes()), ()
    except FileNotFoundError:
        return None, ()
    except (OSError, ValueError):
        return None, (f"{path} cannot be read, so its current context is not known",)


def read_context(directory: Path | None, choice: ContextChoice) -> ContextEndpoint:
    """Read a context's files. One that is named and not there is an error: no other engine is what was meant."""
    if directory is None:
        raise EngineUnavailableError(f"{choice.source} {choice.name!r}: there is no home directory to look it up in")
    identity = hashlib.sha256(choice.name.encode("utf-8", "surrogateescape")).hexdigest()
    path = directory / "contexts" / "meta" / identity / "meta.json"
    try:
        host, verify = parse_context(path.read_bytes())
    except OSError:
        raise EngineUnavailableError(
            f"{choice.source} {choice.name!r} is not there ({path}); name the engine with --host or DOCKER_HOST"
        ) from None
    except ValueError:
        raise EngineUnavailableError(f"{choice.source} {choice.name!r} cannot be read ({path})") from None
    tls = _tls_in(directory / "contexts" / "tls" / identity / "docker", verify=verify, must_exist=False)
    if tls is None and not verify:
        tls = TlsFiles(verify=False)
    return ContextEndpoint(host, tls)


def first_socket(paths: Sequence[Path]) -> Path | None:
    """Return the first path that is a socket."""
    return next((path for path in paths if _is_socket(path)), None)


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # a directory that we may not enter
        return False


def _tls_in(directory: Path, *, verify: bool, must_exist: bool) -> TlsFiles | None:
    """Return the TLS files of a directory. With `must_exist` a missing one is found out, and said, when connecting."""

    def there(name: str) -> Path | None:
        path = directory / name
        return path if must_exist or path.is_file() else None

    ca, certificate, key = there("ca.pem"), there("cert.pem"), there("key.pem")
    if ca is None and certificate is None:
        return None
    return TlsFiles(ca=ca, certificate=certificate, key=key, verify=verify)


def _home(environ: Mapping[str, str]) -> Path | None:
    return Path(environ["HOME"]) if environ.get("HOME") else None


def _cli_directory(environ: Mapping[str, str], home: Path | None) -> Path | None:
    if environ.get("DOCKER_CONFIG"):
        return Path(environ["DOCKER_CONFIG"])
    return home / ".docker" if home is not None else None
