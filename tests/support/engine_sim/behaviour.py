"""How containers of an image behave in the simulated engine, and the errors that it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

DEFAULT_CHECK: JsonObject = {"Test": ["CMD", "/bin/check"]}


@dataclass(frozen=True, slots=True)
class Command:
    """What a command does that is run inside a container."""

    exit_code: int = 0
    output: tuple[tuple[int, str], ...] = ()
    """What it writes at once, by stream: 1 is the standard output, 2 is for errors."""
    seconds: float = 0.0
    """How long it takes; `math.inf` hangs."""
    cannot_be_ended: bool = False
    """It hides from whoever looks for it inside the container."""
    keeps_output_open: bool = False
    """A child of it lives on and does not close the output."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the process of a container does. All times are in seconds after the start; by default it runs for ever."""

    exits_after: float | None = None
    exit_code: int = 0
    start_error: str | None = None
    """The engine cannot start the process, such as `exec: "serve": executable file not found in $PATH: unknown`."""
    start_seconds: float = 0.0
    """How long the engine needs for a start."""
    healthy_after: float | None = None
    """When the health check passes; without this and `unhealthy_after`, at the first probe. `math.inf` is never."""
    unhealthy_after: float | None = None
    health_output: str = ""
    """What the health check writes."""
    ignores_stop_signal: bool = False
    """Only a kill ends it."""
    stop_seconds: float = 0.0
    """How long it needs to end after the stop signal."""
    stop_exit_code: int = 0
    commands: Mapping[str, Command] = field(default_factory=dict)
    """What can be run inside, by the text for the shell or by the words of a command."""
    has_shell: bool = True
    log: str = ""
    error_log: str = ""

    @property
    def speaks_of_health(self) -> bool:
        """Say whether an image with this behaviour needs a health check."""
        return self.healthy_after is not None or self.unhealthy_after is not None


RUNS = Behaviour()


class EngineRefusal(Exception):
    """The engine answers a request with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class NotModified(Exception):
    """304: the container is in this state already."""
