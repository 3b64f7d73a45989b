"""The control socket: a unix socket of mode 0600 that only this user can reach, so it needs no token.

It answers health and all that the API offers. Who holds it is *the* updater of this state directory:
a second process with the same directory goes on without one and says so.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from watchtower_async.web.health_check import SOCKET_NAME
from watchtower_async.web.route import Routes

if TYPE_CHECKING:
    from aiohttp import web

LOCK_NAME = "control.lock"
LOCK_PATIENCE_SECONDS = 0.5
"""A command holds the lock for a moment where no updater runs. Whoever holds it for longer is an updater."""
_LOCK_PAUSE_SECONDS = 0.05
SHUTDOWN_SECONDS = 1.0
"""What a client that is being answered gets when the updater stops."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the updater is."""

    is_well: bool
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """The result of trying to open the socket."""

    path: Path
    problem: str | None

    @property
    def is_held(self) -> bool:
        """Say whether this process is the one that answers here."""
        return self.problem is None


HealthSource = Callable[[], Health | Awaitable[Health]]


@asynccontextmanager
async def serve_control_socket(directory: Path, health: HealthSource, *routes: Routes) -> AsyncIterator[ControlSocket]:
    """Answer on the control socket while the context is open. A socket that cannot be had is a value, not an error."""
    from aiohttp import web  # noqa: PLC0415 - a plan needs no server

    from watchtower_async.web.application import SERVER_LOGGER  # noqa: PLC0415

    path = directory / SOCKET_NAME
    try:
        lock = await _wait_for_lock(directory)
    except BlockingIOError:
        yield ControlSocket(path, f"another updater already answers on {path}")
        return
    except OSError as error:
        yield ControlSocket(path, f"the state directory {directory} cannot be used: {error.strerror or error}")
        return
    try:
        listening = _bind(path)
    except OSError as error:
        os.close(lock)
        yield ControlSocket(path, f"the control socket {path} cannot be opened: {error.strerror or error}")
        return
    runner = web.AppRunner(
        _application(health, routes),
        handle_signals=False,
        access_log=None,
        logger=SERVER_LOGGER,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        yield ControlSocket(path, None)
    finally:
        with anyio.move_on_after(2 * SHUTDOWN_SECONDS, shield=True):
            await runner.cleanup()
        path.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def hold_lock(directory: Path) -> Iterator[None]:
    """Keep updaters out while the context is open. Raises BlockingIOError where one is there, and OSError."""
    lock = _take_lock(directory)
    try:
        yield
    finally:
        os.close(lock)


async def _wait_for_lock(directory: Path) -> int:
    deadline = anyio.current_time() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return _take_lock(directory)
        except BlockingIOError:
            if anyio.current_time() >= deadline:
                raise
        await anyio.sleep(_LOCK_PAUSE_SECONDS)


def _take_lock(directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _bind(path: Path) -> socket.socket:
    # Whoever holds the lock is alone, so a socket file that is still there belongs to a process that died.
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _application(health: HealthSource, routes: Iterable[Routes]) -> web.Application:
    from aiohttp import web  # noqa: PLC0415

    from watchtower_async.web.application import make_application  # noqa: PLC0415 - it loads the server

    async def answer_health(_request: web.Request) -> web.Response:
        state = health()
        if not isinstance(state, Health):
            state = await state
        body = {"status": "ok" if state.is_well else "failing", **state.detail}
        return web.json_response(body, status=200 if state.is_well else 503)

    application = make_application([route for item in routes for route in item.routes])
    application.router.add_get("/health", answer_health)
    return application
