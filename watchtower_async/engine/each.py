"""Many reads of one engine at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from watchtower_async.errors import EngineError, EngineUnavailableError

Given = TypeVar("Given")
Found = TypeVar("Found")


async def each(things: Iterable[Given], work: Callable[[Given], Awaitable[Found]]) -> list[Found]:
    """Run `work` on all things at once and return the results in their order. Raises one of the EngineErrors."""
    given = list(things)
    results: dict[int, Found] = {}

    async def run(index: int, thing: Given) -> None:
        results[index] = await work(thing)

    failure: EngineError | None = None
    try:
        async with anyio.create_task_group() as group:
            for index, thing in enumerate(given):
                group.start_soon(run, index, thing)
    except* EngineError as errors:
        failure = _worst(errors)
    if failure is not None:
        raise failure
    return [results[index] for index in range(len(given))]


def _worst(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    """Return that the engine went away, which a hundred reads say alike, before anything else."""
    gone = errors.subgroup(EngineUnavailableError)
    return _first(errors if gone is None else gone)


def _first(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
