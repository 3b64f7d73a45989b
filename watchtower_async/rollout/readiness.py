"""Is a new updater good? Not when it runs, only when it says itself that it is ready.

It is asked as its health check does, by a command inside its container, but at once and each second: the first probe of
a health check comes half a minute after the start. Where nobody can ask, because the container's command hides the
program and there is no health check, it must run for the monitor window, as other containers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import anyio

from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.spec_parts import section
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.health import (
    Bad,
    Good,
    Judgement,
    Wait,
    has_health_check,
    judge_successor,
)

READY_SECONDS = 90.0
"""How long a new updater without a health check of its own may take until it is ready."""
POLL_SECONDS = 1.0
PROBE_SECONDS = 15.0

_FLAG = "--health-check"
_STATE = "--state-dir"
_PROGRAMS = frozenset({"watchtower", "watchtower-async", "watchtower_async"})


def probe_command(document: JsonObject) -> tuple[str, ...]:
    """Return the command that asks the updater in this container how it is; empty where none is known.

    Its own health check says how; else the program is looked for in the command that it was started with. A shell is
    never run: with another word after it, it would start a second updater.
    """
    config = section(document, "Config")
    words = [str(word) for word in (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))]
    test = [str(word) for word in section(config, "Healthcheck").get("Test") or ()]
    if test[:1] == ["CMD"] and _FLAG in test:
        return (*test[1:], *_state_words(words))
    if test[:1] == ["CMD-SHELL"] and _FLAG in " ".join(test):
        return ("/bin/sh", "-c", *test[1:])
    place = next((index for index, word in enumerate(words) if PurePosixPath(word).name in _PROGRAMS), None)
    if place is None or "-c" in words[:place]:
        return ()
    return (*words[: place + 1], _FLAG, *_state_words(words))


def _state_words(words: list[str]) -> tuple[str, ...]:
    """Return the option that says where the updater's socket is, if it has one."""
    for index, word in enumerate(words):
        if word.startswith(_STATE + "="):
            return (word,)
        if word == _STATE:
            return tuple(words[index : index + 2])
    return ()


def judge_updater(
    document: JsonObject, *, watched: float, monitor: float, is_ready: bool, can_be_asked: bool
) -> Judgement:
    """Judge a new updater that has been watched for so many seconds, and has or has not said that it is ready."""
    found = judge_successor(document, watched=watched, monitor=monitor)
    if isinstance(found, Bad):
        return found
    state = section(document, "State")
    if state.get("Status") == "exited":
        return Bad(f"it exited with code {state.get('ExitCode')}, and an updater runs on")
    has_check = has_health_check(document)
    if not has_check and not can_be_asked:
        return found
    if is_ready or (has_check and isinstance(found, Good)):
        return Good("it reports that it is ready") if watched >= monitor else Wait("it is ready")
    if not has_check and watched >= max(READY_SECONDS, monitor):
        return Bad(f"it has not reported in {watched:.0f} s that it is ready")
    return Wait("it has not reported yet that it is ready", is_starting=True)


async def watch_updater(
    engine: Engine, container_id: str, *, monitor: float, on_up: Callable[[], None] = lambda: None
) -> Good | Bad:
    """Look and ask until it is known, as `watch_successor` does for other containers. Raises EngineUnavailableError."""
    started = anyio.current_time()
    is_ready = False
    while True:
        try:
            document = await engine.inspect_container(container_id)
        except NoSuchObjectError:
            return Bad("it was removed while it was watched", Blame.HOST)
        command = probe_command(document)
        judgement = judge_updater(
            document,
            watched=anyio.current_time() - started,
            monitor=monitor,
            is_ready=is_ready,
            can_be_asked=bool(command),
        )
        if not isinstance(judgement, Wait):
            return judgement
        if command and not is_ready:
            is_ready = await _says_ready(engine, container_id, command)
            if is_ready:
                on_up()
        await anyio.sleep(POLL_SECONDS)


async def _says_ready(engine: Engine, container_id: str, command: tuple[str, ...]) -> bool:
    try:
        asked = await engine.run_in_container(container_id, command, user=None, env={}, deadline=PROBE_SECONDS)
    except EngineUnavailableError:
        raise
    except EngineError:
        return False  # it is down at this moment, or has no such program: the next look says what that means
    return asked.exit_code == 0
