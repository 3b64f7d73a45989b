"""Credential helpers, asked by many at once and run as rarely as the life of their answers allows.

* Whoever asks for the same server while a helper runs gets the answer of that run. One who leaves does not disturb the
  others; when the last one leaves, the helper is ended.
* Answers are kept for five minutes, "not found" for one, failures for ten seconds. Helpers keep caches of their own,
  and a longer one here would only serve dead tokens.
* What was forgotten stays forgotten: the answer of a run that had begun before is for those who wait, and is not kept.
* An answer that a registry refuses is asked for once more. When it comes again it is what there is, and is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.helper_process import run_helper
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
)

HELPER_SECONDS = 30.0
MOST_AT_ONCE = 4
_KEPT_SECONDS: Mapping[type[HelperReply], float] = {HelperFound: 300.0, HelperNotFound: 60.0, HelperFailed: 10.0}

_Key = tuple[str, str]
"""The suffix of a helper, and the server that it is asked for."""


@dataclass(slots=True, eq=False)
class _Call:
    """A helper that runs or waits for its turn, for everyone who asks the same."""

    question: HelperQuestion
    refused: str | None
    """The fingerprint of the answer that was refused and is asked for once more."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiting: int = 0
    reply: HelperReply | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A reply, and until when it counts."""

    reply: HelperReply
    until: float
    is_confirmed: bool
    """Whether it came again after it had been refused."""


class HelperRunner:
    """Asks credential helpers. Used as an async context manager, which owns the helpers that run."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        seconds: float = HELPER_SECONDS,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """`environ` has the search path, and is what helpers get, without our own secrets.

        A helper is ended after so many `seconds`. `clock` tells how old an answer is.
        """
        self._environ = environ
        self._seconds = seconds
        self._clock = clock
        self._group: TaskGroup | None = None
        self._slots = anyio.CapacityLimiter(MOST_AT_ONCE)
        self._calls: dict[_Key, _Call] = {}
        self._kept: dict[_Key, _Kept] = {}

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        # Not told about the error: it would come out wrapped into a group.
        await self._group.__aexit__(None, None, None)

    async def ask(self, question: HelperQuestion, *, refused: Credential | Anonymous | None = None) -> HelperReply:
        """Return a helper's reply, the one that is kept or that of a run. Every way to fail is a reply.

        `refused` is what a registry has just refused; where that is the reply that is kept, the helper is asked again.
        """
        if question.problem is not None:
            return HelperFailed(question.problem)
        key = question.suffix, question.server
        fingerprint = None if refused is None else refused.fingerprint()
        self._drop_useless(key, fingerprint)
        if key in self._kept:
            return self._kept[key].reply
        call = self._calls.get(key) or self._begin(key, question, fingerprint)
        return await self._wait(key, call)

    def forget(self, concerns: Callable[[str], bool]) -> None:
        """Drop the answers for the servers that a change concerns."""
        for keys in (self._kept, self._calls):
            for key in [key for key in keys if concerns(key[1])]:
                del keys[key]

    def kept_seconds(self, question: HelperQuestion) -> float | None:
        """Return for how long the reply to a question is kept from now on; None where it is not kept."""
        kept = self._kept.get((question.suffix, question.server))
        return None if kept is None else max(0.0, kept.until - self._clock())

    def __len__(self) -> int:
        """Count the replies that are kept."""
        return len(self._kept)

    def _drop_useless(self, key: _Key, refused: str | None) -> None:
        """Drop the answer that is kept when it is too old, or refused and not confirmed."""
        kept = self._kept.get(key)
        if kept is None:
            return
        if kept.until <= self._clock() or (_gives(kept.reply, refused) and not kept.is_confirmed):
            del self._kept[key]

    def _begin(self, key: _Key, question: HelperQuestion, refused: str | None) -> _Call:
        assert self._group is not None, "the runner is not entered"
        call = self._calls[key] = _Call(question, refused)
        self._group.start_soon(self._carry_out, key, call, name=f"{question.program} for {question.server}")
        return call

    async def _wait(self, key: _Key, call: _Call) -> HelperReply:
        call.waiting += 1
        try:
            await call.done.wait()
        finally:
            call.waiting -= 1
            if call.waiting == 0 and not call.done.is_set():
                call.scope.cancel()
                self._leave(key, call)
        return call.reply or HelperFailed(f"{call.question.program} was ended, as the updater stops")

    async def _carry_out(self, key: _Key, call: _Call) -> None:
        try:
            with call.scope:
                async with self._slots:
                    call.reply = await run_helper(call.question, environ=self._environ, seconds=self._seconds)
        finally:
            if self._leave(key, call) and call.reply is not None:
                self._keep(key, call.reply, call.refused)
            call.done.set()

    def _leave(self, key: _Key, call: _Call) -> bool:
        """Let nobody join this call any more; False where that was so already."""
        if self._calls.get(key) is not call:
            return False
        del self._calls[key]
        return True

    def _keep(self, key: _Key, reply: HelperReply, refused: str | None) -> None:
        now = self._clock()
        for old in [old for old, kept in self._kept.items() if kept.until <= now]:
            del self._kept[old]
        self._kept[key] = _Kept(reply, now + _KEPT_SECONDS[type(reply)], is_confirmed=_gives(reply, refused))


def _gives(reply: HelperReply, fingerprint: str | None) -> bool:
    """Say whether a reply gives this very credential."""
    return isinstance(reply, HelperFound) and reply.credential.fingerprint() == fingerprint
