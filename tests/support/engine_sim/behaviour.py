"""How containers of an image behave in the simulated engine, and the errors that it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]

DEFAULT_CHECK: JsonObject = {"Test": ["CMD", "/bin/check"]}


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
