"""The engine as the rest of the program sees it: our verbs, our errors. The only module that knows aiodocker.

Every request goes through one private method, which counts it, bounds it in time and translates its errors. A verb
whose goal is already reached succeeds: stopping a stopped container, removing one that is gone, renaming one to the
name it has. Cancelling a call, or running out of time, does not cancel the engine's work: look before repeating.

Engine API: https://docs.docker.com/reference/api/engine/version/v1.51/
"""

from __future__ import annotations

import base64
import errno
import json
import re
import secrets
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
from aiodocker import Docker, DockerError

from watchtower_async.engine.address import EngineAddress, SshTarget, TlsFiles
from watchtower_async.engine.exec import MARK, ExecOutput, ExecResult, end_command, exec_request
from watchtower_async.engine.streams import PullStream, demultiplex, pull_failed, tidy
from watchtower_async.errors import (
    EngineConflictError,
    EngineError,
    EngineUnavailableError,
    NoSuchObjectError,
    PullFailedError,
)

JsonObject = dict[str, Any]

NEWEST_KNOWN_API = (1, 51)
"""With a newer version fields that we know may be gone; engines keep answering older versions for years."""
OLDEST_KNOWN_API = (1, 41)
"""What somebody may ask for at least: the rules for re-creating a container know no older documents."""

CALL_SECONDS = 60.0
STOP_EXTRA_SECONDS = 30.0
"""What a stop may take beyond the time that the process is given: the engine takes the endpoints down, too."""
PULL_IDLE_SECONDS = 300.0
LOG_BYTES = 1 << 20
EXEC_POLL_SECONDS = 1.0
EXEC_END_SECONDS = 5.0
"""How long ending a command that took too long may take."""

_CANNOT_CONNECT = 900  # aiodocker's own status
_SIGNAL_AT_STOP = (1, 42)
_PATH_STAT = "X-Docker-Container-Path-Stat"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine is."""

    version: str
    api_version: tuple[int, int]
    """The version in which we speak with it, not the newest it knows."""
    os: str
    architecture: str
    is_podman: bool


@asynccontextmanager
async def connect_engine(
    address: EngineAddress, *, call_timeout: float = CALL_SECONDS, api_version: str = ""
) -> AsyncIterator[Engine]:
    """Connect and agree on an API version, or speak `api_version` where one is asked for, such as 1.44.

    `call_timeout` is in seconds. Raises EngineUnavailableError, also where that version cannot be spoken.
    """
    base = "http://engine" if address.url.startswith(("unix://", "ssh://")) else address.url
    async with _connector(address) as connector, Docker(url=base, connector=connector, api_version="v1.41") as docker:
        engine = Engine(docker=docker, name=address.url, info=_UNKNOWN, call_timeout=call_timeout)
        await engine.negotiate(asked=api_version)
        yield engine


def _connector(address: EngineAddress) -> AbstractAsyncContextManager[aiohttp.BaseConnector]:
    """Return a connector of our own: so nothing is taken from the environment or from a Docker configuration file."""
    if address.ssh is not None:
        return _ssh_connector(address.ssh, address.source)
    path = address.socket_path
    return aiohttp.TCPConnector(ssl=_ssl_context(address.tls)) if path is None else aiohttp.UnixConnector(path)


def _ssh_connector(target: SshTarget, source: str) -> AbstractAsyncContextManager[aiohttp.BaseConnector]:
    try:
        # asyncssh takes half a second to import, and is not there for every machine.
        from watchtower_async.engine.ssh import ssh_connector  # noqa: PLC0415
    except ImportError:
        raise EngineUnavailableError(
            f"{source} names an engine by ssh://, which needs the extra 'ssh': pip install 'watchtower-async[ssh]'"
        ) from None
    return ssh_connector(target)


_UNKNOWN = EngineInfo(version="", api_version=(0, 0), os="", architecture="", is_podman=False)


class Engine:
    """A Docker Engine, or Podman through its Docker-compatible API. Made by `connect_engine`."""

    def __init__(self, *, docker: Docker, name: str, info: EngineInfo, call_timeout: float) -> None:
        self.name = name
        """The address, for people."""
        self.info = info
        self.calls: Counter[str] = Counter()
        """Requests sent so far, by verb."""
        self._docker = docker
        self._call_timeout = call_timeout

    async def negotiate(self, *, asked: str = "") -> None:
        """Learn what the engine is, and use the newest API version that both know, or the one that is asked for."""
        answer = await self._object("version", "GET", "version", versioned=False)
        self.info = read_version(answer, self.name, asked=asked)
        self._docker.api_version = f"v{_dotted(self.info.api_version)}"

    async def list_containers(self) -> list[JsonObject]:
        """Return all containers, also those that do not run."""
        return await self._list("list_containers", "containers/json", {"all": "1"})

    async def list_images(self) -> list[JsonObject]:
        """Return all images, without intermediate ones."""
        return await self._list("list_images", "images/json", {})

    async def inspect_container(self, id_or_name: str) -> JsonObject:
        """Return a container's document. Raises NoSuchObjectError."""
        return await self._object("inspect_container", "GET", f"containers/{_quoted(id_or_name)}/json")

    async def inspect_image(self, id_or_ref: str) -> JsonObject:
        """Return an image's document. Raises NoSuchObjectError."""
        return await self._object("inspect_image", "GET", f"images/{_quoted(id_or_ref)}/json")

    async def inspect_network(self, name: str) -> JsonObject:
        """Return a network's document. Raises NoSuchObjectError."""
        return await self._object("inspect_network", "GET", f"networks/{_quoted(name)}")

    async def inspect_distribution(self, name: str, *, registry_auth: str) -> JsonObject:
        """Let the engine ask the registry what a name points to."""
        path = f"distribution/{_quoted(name)}/json"
        return await self._object("inspect_distribution", "GET", path, registry_auth=registry_auth)

    async def system_info(self) -> JsonObject:
        """Return `GET /info`."""
        return await self._object("system_info", "GET", "info")

    async def create_container(self, name: str, request: JsonObject, *, platform: str | None = None) -> str:
        """Create a container and return its id. Raises EngineConflictError where the name is taken.

        A call that is cancelled or loses its answer may have created it: look for the name.
        """
        params = {"name": name} | ({"platform": platform} if platform else {})
        with self._name_conflicts():
            answer = await self._object("create_container", "POST", "containers/create", params=params, body=request)
        return str(answer.get("Id", ""))

    async def rename_container(self, container_id: str, new_name: str) -> None:
        """Give a container another name. Raises EngineConflictError where it is taken."""
        with self._name_conflicts():
            try:
                await self._container("rename_container", container_id, "rename", {"name": new_name})
            except EngineError as error:
                if error.status != 400 or "same name as its current name" not in str(error):
                    raise

    async def start_container(self, container_id: str) -> None:
        """Start a container unless it runs."""
        await self._container("start_container", container_id, "start", {})

    async def stop_container(self, container_id: str, *, timeout: int | None, signal: str | None = None) -> None:
        """Stop a container unless it is down. `timeout`, in seconds, is what the process gets before it is killed.

        None leaves it to the container's own setting; then the call is given up after the call time-out and a half
        minute. `signal` needs API 1.42 and is left to the container on older engines.
        """
        params, patience = self._how_to_stop(timeout, signal)
        await self._container("stop_container", container_id, "stop", params, patience)

    async def restart_container(self, container_id: str, *, timeout: int | None, signal: str | None = None) -> None:
        """Stop a container if it runs, and start it: afterwards it runs. `timeout` and `signal` are those of a stop.

        A failed start leaves it down. The call is given up after the time of a stop and that of a start.
        """
        params, patience = self._how_to_stop(timeout, signal)
        patience += self._call_timeout
        await self._container("restart_container", container_id, "restart", params, patience)

    def _how_to_stop(self, timeout: int | None, signal: str | None) -> tuple[dict[str, str], float]:
        """Return the parameters of a call that stops a container, and how long that may take."""
        params = {} if timeout is None else {"t": str(timeout)}
        if signal is not None and self.info.api_version >= _SIGNAL_AT_STOP:
            params["signal"] = signal
        patience = self._call_timeout if timeout is None or timeout < 0 else float(timeout)
        return params, patience + STOP_EXTRA_SECONDS

    async def kill_container(self, container_id: str, *, signal: str = "KILL") -> None:
        """Send a signal. Killing a container that does not run succeeds."""
        try:
            await self._container("kill_container", container_id, "kill", {"signal": signal})
        except EngineConflictError as error:
            if not any(text in str(error) for text in ("is not running", "can only kill running containers")):
                raise

    async def pause_container(self, container_id: str) -> None:
        """Freeze a running container unless it is frozen."""
        try:
            await self._container("pause_container", container_id, "pause", {})
        except EngineError as error:
            if error.status not in (409, 500) or "already paused" not in str(error):
                raise

    async def unpause_container(self, container_id: str) -> None:
        """Let a frozen container go on; one that is not frozen is left alone."""
        try:
            await self._container("unpause_container", container_id, "unpause", {})
        except EngineError as error:
            if error.status not in (409, 500) or "is not paused" not in str(error):
                raise

    async def set_restart_policy(self, container_id: str, policy: JsonObject) -> None:
        """Change the restart policy. Everything else stays as it is."""
        path = f"containers/{_quoted(container_id)}/update"
        await self._request("set_restart_policy", "POST", path, body={"RestartPolicy": policy})

    async def remove_container(self, container_id: str, *, force: bool = False) -> None:
        """Remove a container, never its volumes. One that is gone, or is being removed, counts as removed."""
        params = {"force": "1"} if force else {}
        try:
            await self._request("remove_container", "DELETE", f"containers/{_quoted(container_id)}", params=params)
        except NoSuchObjectError:
            return
        except EngineConflictError as error:
            if "already in progress" not in str(error):
                raise

    async def connect_network(self, network: str, container_id: str, endpoint: JsonObject) -> None:
        """Connect a container to a network."""
        body = {"Container": container_id, "EndpointConfig": endpoint}
        await self._request("connect_network", "POST", f"networks/{_quoted(network)}/connect", body=body)

    async def disconnect_network(self, network: str, container_id: str) -> None:
        """Disconnect a container from a network."""
        body = {"Container": container_id}
        await self._request("disconnect_network", "POST", f"networks/{_quoted(network)}/disconnect", body=body)

    async def tag_image(self, image_id: str, *, repository: str, tag: str) -> None:
        """Let a local tag point to an image."""
        params = {"repo": repository, "tag": tag}
        await self._request("tag_image", "POST", f"images/{_quoted(image_id)}/tag", params=params)

    async def remove_image(self, reference: str) -> None:
        """Remove an image or one of its names. Raises EngineConflictError while it is used."""
        await self._request("remove_image", "DELETE", f"images/{_quoted(reference)}")

    async def untag_image(self, name: str) -> None:
        """Take one name from an image. The engine deletes an image with its last name unless a container uses it."""
        await self._request("untag_image", "DELETE", f"images/{_quoted(name)}", params={"noprune": "1"})

    async def pull_image(
        self,
        name: str,
        *,
        registry_auth: str,
        platform: str | None = None,
        idle_timeout: float = PULL_IDLE_SECONDS,
    ) -> None:
        """Pull `repository:tag` or `repository@digest`; the repository begins with its registry's domain.

        `idle_timeout` bounds, in seconds, how long the engine may say nothing. Raises PullFailedError, and
        EngineUnavailableError where the engine cannot be reached at all. When the call is cancelled the engine stops
        the pull; layers that it has are kept for the next one.
        """
        repository, version = split_name(name)
        params = {"fromImage": repository, "tag": version} | ({"platform": platform} if platform else {})
        response = await self._start_pull(params, registry_auth, idle_timeout)
        stream = PullStream(secret=registry_auth)
        try:
            while True:
                with anyio.fail_after(idle_timeout):
                    data = await response.content.readany()
                if not data:
                    break
                stream.feed(data)
        except TimeoutError:
            raise PullFailedError(f"the engine made no progress for {idle_timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise PullFailedError(f"the engine broke off the pull: {_cause(error)}") from error
        finally:
            response.release()
        stream.finish()

    async def _start_pull(
        self, params: Mapping[str, str], registry_auth: str, idle_timeout: float
    ) -> aiohttp.ClientResponse:
        try:
            with self._translated("pull_image", registry_auth), anyio.move_on_after(idle_timeout):
                return await self._send(
                    "pull_image", "POST", "images/create", params=params, registry_auth=registry_auth
                )
        except EngineUnavailableError:
            raise
        except EngineError as error:
            raise pull_failed(str(error), status=error.status) from None
        # A registry that hangs keeps the engine silent; that says nothing about the engine.
        raise PullFailedError(f"the engine said nothing for {idle_timeout:g} s")

    async def container_logs(self, container_id: str, *, tail: int) -> str:
        """Return the last lines of both output streams, at most the first megabyte of them."""
        params = {"stdout": "1", "stderr": "1", "tail": str(tail)}
        data = await self._read_up_to(LOG_BYTES, "container_logs", f"containers/{_quoted(container_id)}/logs", params)
        return demultiplex(data).decode("utf-8", "replace")

    async def run_in_container(
        self, container_id: str, command: Sequence[str], *, user: str | None, env: Mapping[str, str], deadline: float
    ) -> ExecResult:
        """Run a command in a running container and wait for its end, at most `deadline` seconds.

        A command that takes longer, or that nobody waits for any more, is ended inside the container as far as that
        can be done (see `engine.exec`), which takes at most `EXEC_END_SECONDS` more. Raises NoSuchObjectError, and
        EngineConflictError where the container does not run.
        """
        mark = secrets.token_hex(16)
        exec_id = await self._create_exec(container_id, exec_request(command, user=user, env={**env, MARK: mark}))
        output = ExecOutput()
        ending = exec_request(end_command(mark), user=user, env={})
        try:
            with anyio.move_on_after(deadline):
                return ExecResult(await self._follow_exec(exec_id, output), output.text)
        except anyio.get_cancelled_exc_class():
            await self._end_exec(container_id, exec_id, ending)
            raise
        is_gone = await self._end_exec(container_id, exec_id, ending)
        return ExecResult(None, output.text, timed_out=True, left_running=not is_gone)

    async def _create_exec(self, container_id: str, request: JsonObject) -> str:
        path = f"containers/{_quoted(container_id)}/exec"
        return str((await self._object("create_exec", "POST", path, body=request)).get("Id", ""))

    async def _follow_exec(self, exec_id: str, output: ExecOutput) -> int:
        """Start an exec and return its exit code. The caller sets the deadline."""
        with self._translated("start_exec"):
            body = {"Detach": False, "Tty": False}
            response = await self._send("start_exec", "POST", f"exec/{_quoted(exec_id)}/start", body=body)
        try:
            # A child that lives on may keep the output open; so the end of the output is not waited for.
            while await self._read_exec(response, output):
                exit_code = await self._exit_code(exec_id)
                if exit_code is not None:
                    return exit_code
        finally:
            response.close()
        # The output may end before the command does, or be cut on its way.
        return await self._end_of_exec(exec_id)

    async def _end_of_exec(self, exec_id: str) -> int:
        """Wait until an exec is over and return its exit code. The caller sets the deadline."""
        pause = EXEC_POLL_SECONDS / 32
        while True:
            exit_code = await self._exit_code(exec_id)
            if exit_code is not None:
                return exit_code
            await anyio.sleep(pause)
            pause = min(pause * 2, EXEC_POLL_SECONDS)

    async def _read_exec(self, response: aiohttp.ClientResponse, output: ExecOutput) -> bool:
        """Take what an exec writes until it pauses; say whether more may come."""
        with anyio.move_on_after(EXEC_POLL_SECONDS) as patience:
            try:
                while data := await response.content.readany():
                    output.feed(data)
                    patience.deadline = anyio.current_time() + EXEC_POLL_SECONDS
            except (aiohttp.ClientError, OSError):
                return False
        return patience.cancelled_caught

    async def _exit_code(self, exec_id: str) -> int | None:
        """Return an exec's exit code, None while it runs."""
        document = await self._object("inspect_exec", "GET", f"exec/{_quoted(exec_id)}/json")
        code = document.get("ExitCode")
        return code if isinstance(code, int) and not document.get("Running") else None

    async def _end_exec(self, container_id: str, exec_id: str, request: JsonObject) -> bool:
        """Kill what an exec has started, also while we are cancelled; say whether it is gone."""
        with anyio.move_on_after(EXEC_END_SECONDS, shield=True), suppress(EngineError):
            await self._follow_exec(await self._create_exec(container_id, request), ExecOutput())
            await self._end_of_exec(exec_id)
            return True
        return False

    async def changed_paths(self, container_id: str) -> list[str]:
        """Return what differs between a container's file system and its image, without what was deleted."""
        path = f"containers/{_quoted(container_id)}/changes"
        answer = await self._list("changed_paths", path, {})
        return [str(item.get("Path", "")) for item in answer if item.get("Kind") in (0, 1)]

    async def stat_path(self, container_id: str, path: str) -> JsonObject:
        """Return name, size, mode and mtime of a path in a container. Raises NoSuchObjectError."""
        self.calls["stat_path"] += 1
        url = self._docker._canonicalize_url(f"containers/{_quoted(container_id)}/archive", versioned_api=True)
        with self._translated("stat_path"), anyio.fail_after(self._call_timeout):
            # Not through the library: it reads the body of an error, which an answer to HEAD does not have.
            async with self._docker.session.head(url, params={"path": path}) as response:
                if response.status >= 400:
                    raise error_for(response.status, f"{path} cannot be looked at")
        try:
            document = json.loads(base64.b64decode(response.headers[_PATH_STAT]))
        except (KeyError, ValueError):
            raise self._strange("stat_path") from None
        return document if isinstance(document, dict) else {}

    async def get_archive(self, container_id: str, path: str, *, limit: int) -> bytes:
        """Return a file or directory of a container as a tar archive, with owners, modes and times.

        Raises NoSuchObjectError, and EngineError for an archive of more than `limit` bytes.
        """
        url = f"containers/{_quoted(container_id)}/archive"
        data = await self._read_up_to(limit, "get_archive", url, {"path": path})
        if len(data) > limit:
            raise EngineError(f"{path} is larger than {limit} bytes")
        return data

    async def put_archive(self, container_id: str, directory: str, archive: bytes) -> None:
        """Unpack a tar archive into a directory of a container, running or not; owners, modes and times are kept.

        Raises NoSuchObjectError where the directory is missing. A call that is cancelled may leave some of the files.
        """
        path = f"containers/{_quoted(container_id)}/archive"
        await self._request("put_archive", "PUT", path, params={"path": directory}, body=archive)

    async def _read_up_to(self, limit: int, verb: str, path: str, params: Mapping[str, str]) -> bytes:
        """Return the body of an answer; one that is longer than `limit` is given up a little after that."""
        data = bytearray()
        with self._translated(verb), anyio.fail_after(self._call_timeout):
            response = await self._send(verb, "GET", path, params=params)
            try:
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > limit:
                        break
            finally:
                response.release()
        return bytes(data)

    async def _container(
        self, verb: str, container_id: str, action: str, params: Mapping[str, str], seconds: float | None = None
    ) -> None:
        path = f"containers/{_quoted(container_id)}/{action}"
        await self._request(verb, "POST", path, params=params, seconds=seconds)

    async def _list(self, verb: str, path: str, params: Mapping[str, str]) -> list[JsonObject]:
        answer = await self._request(verb, "GET", path, params=params)
        if answer is None:
            return []
        if not isinstance(answer, list):
            raise self._strange(verb)
        return [item for item in answer if isinstance(item, dict)]

    async def _object(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        registry_auth: str | None = None,
        versioned: bool = True,
    ) -> JsonObject:
        answer = await self._request(
            verb, method, path, params=params, body=body, registry_auth=registry_auth, versioned=versioned
        )
        if not isinstance(answer, dict):
            raise self._strange(verb)
        return answer

    async def _request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | bytes | None = None,
        registry_auth: str | None = None,
        seconds: float | None = None,
        versioned: bool = True,
    ) -> Any:
        """Send a request, JSON or a tar archive, and return its decoded answer, None where it has none."""
        limit = self._call_timeout if seconds is None else seconds
        with self._translated(verb, registry_auth), anyio.fail_after(limit):
            response = await self._send(
                verb, method, path, params=params, body=body, registry_auth=registry_auth, versioned=versioned
            )
            try:
                data = await response.read()
            finally:
                response.release()
        try:
            return json.loads(data) if data.strip() else None
        except ValueError:
            raise self._strange(verb) from None  # the cause holds the whole document

    async def _send(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | bytes | None = None,
        registry_auth: str | None = None,
        versioned: bool = True,
    ) -> aiohttp.ClientResponse:
        """Send and count a request; the caller sets its deadline, translates its errors and releases the response."""
        self.calls[verb] += 1
        headers = {} if registry_auth is None else {"X-Registry-Auth": registry_auth}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/x-tar"
        async with self._docker._query(
            path,
            method,
            params=dict(params or {}),
            data=json.dumps(body) if isinstance(body, dict) else body,
            headers=headers,
            versioned_api=versioned,
        ) as response:
            # Leaving this context does not close the response.
            return response

    @contextmanager
    def _translated(self, verb: str, secret: str | None = None) -> Iterator[None]:
        """Turn the errors of one request into ours. Causes that may hold a document or a secret are dropped."""
        try:
            yield
        except DockerError as error:
            if error.status == _CANNOT_CONNECT:
                raise self._unreachable(verb, error.__context__ or error) from error
            raise error_for(error.status, tidy(error.message, secret)) from None
        except TimeoutError:
            raise EngineUnavailableError(f"the engine at {self.name} did not answer {_words(verb)} in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(verb, error) from error
        except (ValueError, KeyError):
            # The library could not read the body of an error answer.
            raise self._strange(verb) from None

    @contextmanager
    def _name_conflicts(self) -> Iterator[None]:
        """Podman reports a name that is taken as an internal error."""
        try:
            yield
        except EngineConflictError:
            raise
        except EngineError as error:
            if self.info.is_podman and any(text in str(error) for text in ("already in use", "UNIQUE constraint")):
                raise EngineConflictError(str(error), status=error.status) from None
            raise

    def _unreachable(self, verb: str, cause: BaseException) -> EngineUnavailableError:
        text = f"the engine at {self.name} cannot be reached ({_words(verb)}): {_cause(cause)}"
        if isinstance(cause, aiohttp.ClientOSError | OSError) and cause.errno == errno.EACCES:
            text += "; the updater must run as a user who may use this socket"
        return EngineUnavailableError(text)

    def _strange(self, verb: str) -> EngineUnavailableError:
        return EngineUnavailableError(f"what answers at {self.name} does not speak the Docker API ({_words(verb)})")


def read_version(answer: Mapping[str, Any], name: str, *, asked: str = "") -> EngineInfo:
    """Read `GET /version` and choose the API version: what is asked for, else the newest that both sides know.

    Raises EngineUnavailableError.
    """
    newest = _parse_api_version(answer.get("ApiVersion"))
    if newest is None:
        raise EngineUnavailableError(f"what answers at {name} does not tell a Docker API version")
    oldest = min(_parse_api_version(answer.get("MinAPIVersion")) or newest, newest)
    components = answer.get("Components") or []
    return EngineInfo(
        version=str(answer.get("Version") or ""),
        api_version=_asked_api(asked, name, oldest, newest) if asked else max(min(NEWEST_KNOWN_API, newest), oldest),
        os=str(answer.get("Os") or "linux"),
        architecture=str(answer.get("Arch") or ""),
        is_podman=any("podman" in str(part.get("Name", "")).lower() for part in components if isinstance(part, dict)),
    )


def _asked_api(asked: str, name: str, oldest: tuple[int, int], newest: tuple[int, int]) -> tuple[int, int]:
    """Return the version that somebody asks for. Raises EngineUnavailableError where a side does not speak it."""
    version = _parse_api_version(asked)
    low, high = max(oldest, OLDEST_KNOWN_API), min(newest, NEWEST_KNOWN_API)
    if version is not None and low <= version <= high:
        return version
    spoken = ""
    if low <= high:
        spoken = f"name {_dotted(low)}, or " if low == high else f"name one from {_dotted(low)} to {_dotted(high)}, or "
    raise EngineUnavailableError(
        f"API version {asked} is asked for, which cannot be spoken with the engine at {name}: "
        f"{spoken}leave --api-version (DOCKER_API_VERSION) out"
    )


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)


def _parse_api_version(text: object) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", str(text), re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def error_for(status: int, message: str) -> EngineError:
    """Choose the class for an error answer of the engine."""
    if status == 404:
        return NoSuchObjectError(message, status=status)
    if status == 409:
        return EngineConflictError(message, status=status)
    if status in (502, 504):  # an engine has none of its own: a proxy in front of it cannot reach it
        return EngineUnavailableError(message, status=status)
    return EngineError(message, status=status)


def split_name(name: str) -> tuple[str, str]:
    """Split an image name into repository and tag or digest: without either, an engine would pull every tag."""
    rest, _, digest = name.partition("@")
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, "latest"
    return path, digest or tag


def _ssl_context(tls: TlsFiles | None) -> ssl.SSLContext | bool:
    if tls is None:
        return True
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None and tls.key is not None:
            context.load_cert_chain(certfile=str(tls.certificate), keyfile=str(tls.key))
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        raise EngineUnavailableError(f"the TLS files for the engine cannot be used ({files}): {error}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _quoted(text: str) -> str:
    return quote(text, safe="/:@")


def _words(verb: str) -> str:
    return verb.replace("_", " ")


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
