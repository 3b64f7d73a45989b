"""Is a successor good? Judged by what inspect shows, again and again until it is known.

With a health check the check decides, and it gets the time that it needs by its own settings: the first probe comes one
interval after the start. Without one, the container must still run, and never have restarted, when the monitor window
is over. `RestartCount` starts at 0 for a new container, so anything above it is a failure: a container in a restart
loop is seen running most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.streams import tidy
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.rollout.blame import Blame, blame_of

POLL_SECONDS = 0.5
LEAST_PAUSE_SECONDS = 0.01
HEALTH_MARGIN_SECONDS = 10.0
LOG_LINES = 20
LOG_CHARACTERS = 2000

_NANOSECONDS = 1e9
# Docker's defaults for what a check leaves out.
_INTERVAL, _TIMEOUT, _RETRIES = 30.0, 30.0, 3


@dataclass(frozen=True, slots=True)
class Good:
    """The successor is kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bad:
    """The successor is taken back."""

    reason: str
    blame: Blame = Blame.IMAGE


@dataclass(frozen=True, slots=True)
class Wait:
    """Not known yet."""

    reason: str
    is_starting: bool = False
    """Whether it cannot do its work yet, by its own health check."""


Judgement = Good | Bad | Wait


def judge_successor(document: JsonObject, *, watched: float, monitor: float) -> Judgement:
    """Judge an inspected container that has been watched for so many seconds since its start."""
    state = section(document, "State")
    status = str(state.get("Status") or "")
    if int(document.get("RestartCount") or 0) > 0 or state.get("Restarting"):
        return Bad(f"it restarted by itself (exit code {state.get('ExitCode')})")
    if status == "exited":
        return _judge_exit(document, state)
    if status not in ("running", "paused"):
        return Bad(f"it is in state {status or 'unknown'}{_error_in(state)}", _blame_in(state))
    if has_health_check(document):
        return _judge_health(document, state, watched)
    if watched >= monitor:
        return Good(f"still running after {monitor:g} s")
    return Wait(f"running for {watched:.1f} s of {monitor:g} s")


def _judge_exit(document: JsonObject, state: JsonObject) -> Judgement:
    code = int(state.get("ExitCode") or 0)
    policy = section(section(document, "HostConfig"), "RestartPolicy").get("Name") or "no"
    if code == 0 and policy in ("no", "on-failure"):
        return Good("it ended with exit code 0, as a job does")
    out_of_memory = ", out of memory" if state.get("OOMKilled") else ""
    return Bad(f"it exited with code {code}{out_of_memory}{_error_in(state)}", _blame_in(state))


def _judge_health(document: JsonObject, state: JsonObject, watched: float) -> Judgement:
    status = section(state, "Health").get("Status")
    if status == "healthy":
        return Good("its health check passes")
    if status == "unhealthy":
        return Bad("its health check fails")
    patience = health_patience(document)
    if watched >= patience:
        return Bad(f"its health check has not passed in {patience:g} s")
    return Wait("its health check has not passed yet", is_starting=True)


def has_health_check(document: JsonObject) -> bool:
    """Say whether the container has a health check that is on."""
    test = section(section(document, "Config"), "Healthcheck").get("Test") or []
    return bool(test) and test != ["NONE"]


def health_patience(document: JsonObject) -> float:
    """Return how many seconds the container's own check may take to say something."""
    check = section(section(document, "Config"), "Healthcheck")
    interval = _seconds(check.get("Interval")) or _INTERVAL
    timeout = _seconds(check.get("Timeout")) or _TIMEOUT
    retries = int(check.get("Retries") or 0) or _RETRIES
    return _seconds(check.get("StartPeriod")) + (interval + timeout) * retries + HEALTH_MARGIN_SECONDS


def watch_budget(document: JsonObject, monitor: float) -> float:
    """Return how many seconds watching this container may take."""
    return health_patience(document) if has_health_check(document) else monitor


def _seconds(value: Any) -> float:
    return value / _NANOSECONDS if isinstance(value, int | float) else 0.0


def _error_in(state: JsonObject) -> str:
    message = str(state.get("Error") or "")
    return f": {tidy(message)}" if message else ""


def _blame_in(state: JsonObject) -> Blame:
    # The engine leaves a text only where it could not start the process, which it does again after a restart.
    return blame_of(str(state.get("Error") or ""))


async def watch_successor(
    engine: Engine, container_id: str, *, monitor: float, on_up: Callable[[], None] = lambda: None
) -> Good | Bad:
    """Look until it is known. Cancellable; changes nothing. Raises EngineUnavailableError.

    `on_up` is told once: when it is healthy, or, where it has no check, when it was seen running.
    """
    started = anyio.current_time()
    is_up = False
    while True:
        try:
            document = await engine.inspect_container(container_id)
        except NoSuchObjectError:
            return Bad("it was removed while it was watched", Blame.HOST)
        judgement = judge_successor(document, watched=anyio.current_time() - started, monitor=monitor)
        if not is_up and (isinstance(judgement, Good) or (isinstance(judgement, Wait) and not judgement.is_starting)):
            is_up = True
            on_up()
        if not isinstance(judgement, Wait):
            return judgement
        left = monitor - (anyio.current_time() - started)
        # Never shorter than the least pause: what is left may be too little for a clock to notice.
        await anyio.sleep(max(LEAST_PAUSE_SECONDS, min(POLL_SECONDS, left)) if left > 0 else POLL_SECONDS)


async def collect_evidence(engine: Engine, container_id: str) -> tuple[str, ...]:
    """Return what a failed container leaves to understand it: health output and last log lines. Never raises."""
    try:
        document = await engine.inspect_container(container_id)
        evidence = [f"health check: {text}" for text in _health_outputs(document)]
        logs = await engine.container_logs(container_id, tail=LOG_LINES)
    except EngineUnavailableError:
        return ()
    except EngineError as error:
        return (f"its log cannot be read: {error}",)
    lines = [line for line in logs[-LOG_CHARACTERS:].splitlines() if line.strip()]
    return (*evidence, *(f"log: {line.strip()}" for line in lines))


def _health_outputs(document: JsonObject) -> list[str]:
    entries = section(section(document, "State"), "Health").get("Log") or []
    last = [entry for entry in entries if isinstance(entry, dict)][-1:]
    return [f"exit code {entry.get('ExitCode')}, {tidy(str(entry.get('Output') or 'no output'))}" for entry in last]
