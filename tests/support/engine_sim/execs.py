"""Commands that run inside containers of the simulated engine, by the scripts of `Behaviour.commands`.

A script is found by the shell text, the last word after `sh -c`, or by the words of a command without a shell. As
with other processes, time is the loop's, stands still while the container is paused, and does not depend on a client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from tests.support.builders import an_id
from tests.support.engine_sim.behaviour import Command, EngineRefusal, JsonObject
from tests.support.engine_sim.container import Container
from tests.support.engine_sim.world import World
from watchtower_async.engine.exec import END_SCRIPT

KILLED = 137
CANNOT_START, NOT_FOUND = 126, 127


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was started, for tests to look at."""

    container: str
    container_id: str
    text: str
    user: str
    env: dict[str, str]
    at: float
    """The loop's time of its start."""


@dataclass(slots=True, eq=False)
class _Exec:
    id: str
    container: Container
    request: JsonObject
    command: Command | None = None
    """What runs, None before the start."""
    run_of_container: object = None
    exit_code: int | None = None
    done: anyio.Event = field(default_factory=anyio.Event)

    @property
    def words(self) -> list[str]:
        return [str(word) for word in self.request.get("Cmd") or []]

    @property
    def env(self) -> dict[str, str]:
        pairs = (str(text).partition("=") for text in self.request.get("Env") or [])
        return {name: value for name, _, value in pairs}

    @property
    def is_running(self) -> bool:
        return self.command is not None and self.exit_code is None

    def end(self, code: int) -> None:
        if self.exit_code is None:
            self.exit_code = code
            self.done.set()


class Execs:
    """The execs of a world's containers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._execs: dict[str, _Exec] = {}
        self._made = 0
        self.ran: list[Ran] = []
        """What was started, in order, without the commands that end others."""

    def running(self) -> list[str]:
        """Return the texts of the commands that run now."""
        self._notice_ends()
        return [_text(item.words) for item in self._execs.values() if item.is_running]

    def clear(self) -> None:
        """The engine has been restarted and knows none of them any more."""
        self._execs.clear()

    def create(self, container: Container, request: JsonObject) -> JsonObject:
        """Make an exec. Raises EngineRefusal."""
        if not container.running:
            raise EngineRefusal(409, f"Container {container.id} is not running")
        if container.paused:
            raise EngineRefusal(409, f"Container {container.id} is paused, unpause the container before exec")
        if container.restarting:
            raise EngineRefusal(409, f"Container {container.id} is restarting, wait until the container is running")
        if not request.get("Cmd"):
            raise EngineRefusal(400, "No exec command specified")
        self._made += 1
        made = _Exec(an_id(f"exec {self._world.name} {self._made}"), container, request)
        self._execs[made.id] = made
        return {"Id": made.id}

    def start(self, text: str) -> AsyncIterator[bytes]:
        """Start an exec and return its output in frames, which goes on as long as it runs. Raises EngineRefusal."""
        started = self._find(text)
        container = started.container
        if started.command is not None:
            raise EngineRefusal(409, f"Error: Exec command {started.id} is already running")
        if not container.is_up:
            raise EngineRefusal(409, f"Container {container.id} is not running")
        started.run_of_container = container.started
        started.command = self._command(started)
        if started.words[:3] == ["sh", "-c", END_SCRIPT] and container.behaviour.has_shell:
            self._end_marked(container, started.words[-1])
        else:
            ran = Ran(
                container.name,
                container.id,
                _text(started.words),
                str(started.request.get("User") or ""),
                started.env,
                self._world.clock.seconds(),
            )
            self.ran.append(ran)
        command = started.command
        if command.seconds:
            container.timers.after(command.seconds, lambda: started.end(command.exit_code))
        else:
            started.end(command.exit_code)
        return self._frames(started, command)

    async def _frames(self, started: _Exec, command: Command) -> AsyncIterator[bytes]:
        for stream, text in command.output:
            data = text.encode()
            yield bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        if command.keeps_output_open:
            await started.container.down.wait()
            return
        async with anyio.create_task_group() as group:

            async def end_with_container() -> None:
                await started.container.down.wait()
                group.cancel_scope.cancel()

            group.start_soon(end_with_container)
            await started.done.wait()
            group.cancel_scope.cancel()

    def inspect(self, text: str) -> JsonObject:
        """Return an exec's document. Raises EngineRefusal."""
        self._notice_ends()
        found = self._find(text)
        first, *rest = found.words
        return {
            "ID": found.id,
            "Running": found.is_running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {"tty": False, "entrypoint": first, "arguments": rest, "privileged": False},
            "OpenStdin": False,
            "OpenStderr": True,
            "OpenStdout": True,
            "CanRemove": False,
            "ContainerID": found.container.id,
            "DetachKeys": "",
            "Pid": 4343 if found.is_running else 0,
        }

    def _find(self, text: str) -> _Exec:
        found = self._execs.get(text)
        if found is None or found.container.id not in self._world.containers:
            raise EngineRefusal(404, f"No such exec instance: {text}")
        return found

    def _command(self, started: _Exec) -> Command:
        words, behaviour = started.words, started.container.behaviour
        is_shell = words[0] == "sh"
        if words[:3] == ["sh", "-c", END_SCRIPT] and behaviour.has_shell:
            return Command()
        found = behaviour.commands.get(_text(words))
        if is_shell and behaviour.has_shell:
            first = words[-1].partition(" ")[0]
            return found or Command(exit_code=NOT_FOUND, output=((2, f"sh: {first}: not found\n"),))
        if is_shell or found is None:
            is_new = self._world.api >= (1, 48)
            text = f'exec: "{words[0]}": executable file not found in $PATH{"" if is_new else ": unknown"}\r\n'
            prefix = "OCI runtime exec failed: exec failed: unable to start container process: "
            return Command(exit_code=NOT_FOUND if is_new else CANNOT_START, output=((1, prefix + text),))
        return found

    def _end_marked(self, container: Container, mark: str) -> None:
        name, _, value = mark.partition("=")
        for item in self._execs.values():
            marked = item.container is container and item.env.get(name) == value
            if marked and item.command is not None and not item.command.cannot_be_ended:
                item.end(KILLED)

    def _notice_ends(self) -> None:
        """A command does not outlive the run of its container."""
        for item in self._execs.values():
            container = item.container
            if item.is_running and not (container.is_up and container.started == item.run_of_container):
                item.end(KILLED)


def _text(words: list[str]) -> str:
    return words[-1] if words[0] == "sh" else " ".join(words)
