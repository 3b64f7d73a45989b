"""Many reads of one engine at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from watchtower_async.errors import EngineUnavailableError

Given = TypeVar("Given")
Found = TypeVar("Found")


async def each(things: Iterable[Given], work: Callable[[Given], Awaitable[Found]]) -> list[Found]:
    """Run `work` on all things at once and return the results in their order. Raises EngineUnavailableError."""
    given = list(things)
    results: dict[int, Found] = {}

    async def run(index: int, thing: Given) -> None:
        results[index] = await work(thing)

    gone: EngineUnavailableError | None = None
    try:
        async with anyio.create_task_group() as group:
            for index, thing in enumerate(given):
                group.start_soon(run, index, thing)
    except* EngineUnavailableError as errors:
        # The engine went away; a hundred reads say the same about it.
        gone = _first(errors)
    if gone is not None:
        raise gone
    return [results[index] for index in range(len(given))]


def _first(errors: BaseExceptionGroup[EngineUnavailableError]) -> EngineUnavailableError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
