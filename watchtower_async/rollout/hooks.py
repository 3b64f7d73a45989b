"""Runs the lifecycle hooks that containers ask for by label. See `hook_plan` for what the labels mean.

A hook runs by `sh -c` in its own container, without a terminal, and has its time-out: after that it is ended inside the
container as far as the engine allows (see `engine.exec`). Whatever goes wrong is a result with a reason, so a hook
costs only its container. Hooks of several containers may run at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import anyio

from watchtower_async.engine.client import Engine
from watchtower_async.errors import EngineError
from watchtower_async.rollout.hook_plan import (
    CONTAINER_VARIABLE,
    Clearance,
    Hook,
    HookEnd,
    HookKind,
    HookResult,
    clearance,
    container_variable,
    has_hook,
    labels_of,
    read_end,
    read_hook,
)


class Hooked(Protocol):
    """A container as an inventory lists it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name, without a slash."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, with those of its image."""


class HookRunner:
    """Runs the hooks of one engine's containers. Its methods raise nothing that is to be expected of an engine."""

    def __init__(self, *, engine: Engine, enabled: bool, uid: int = 0, gid: int = 0) -> None:
        """Without `enabled` (`--enable-lifecycle-hooks`) no hook runs. `uid` and `gid` are the flags'; 0 is none."""
        self._engine = engine
        self._enabled = enabled
        self._uid = uid
        self._gid = gid

    @property
    def is_enabled(self) -> bool:
        """Say whether hooks run at all."""
        return self._enabled

    async def before_check(self, container: Hooked) -> HookResult | None:
        """Run the pre-check hook; None where there is none. Its end changes nothing."""
        return await self._run_labelled(HookKind.PRE_CHECK, container, container.id)

    async def before_update(self, container: Hooked) -> Clearance:
        """Run the pre-update hook in the container as it is, and say whether it may be updated."""
        return clearance(await self._run_labelled(HookKind.PRE_UPDATE, container, container.id))

    async def before_stop(self, container: Hooked) -> HookResult | None:
        """Run the drain hook in a predecessor that is about to be stopped; None where there is none.

        The predecessor is stopped whatever the end is.
        """
        return await self._run_labelled(HookKind.DRAIN, container, container.id)

    async def after_update(self, container: Hooked) -> HookResult | None:
        """Run the post-update hook in what now runs under the container's name, by the labels that it has now."""
        return await self._run(HookKind.POST_UPDATE, container, container.name) if self._enabled else None

    async def after_check(self, container: Hooked) -> HookResult | None:
        """Run the post-check hook in what now runs under the container's name. `container` is to be listed freshly."""
        return await self._run_labelled(HookKind.POST_CHECK, container, container.name)

    async def _run_labelled(self, kind: HookKind, container: Hooked, where: str) -> HookResult | None:
        # Most containers have no hooks; those cost no call.
        if not self._enabled or not has_hook(kind, container.labels):
            return None
        return await self._run(kind, container, where)

    async def _run(self, kind: HookKind, container: Hooked, where: str) -> HookResult | None:
        began = anyio.current_time()
        hook = self._read(kind, container.labels)
        try:
            document = await self._engine.inspect_container(where)
            hook = self._read(kind, labels_of(document))
            return None if hook is None else await self._run_hook(hook, container.name, document, began)
        except EngineError as error:
            if hook is None:
                return None
            reason = f"its {kind} hook could not be run: {error}"
            return _result(hook, container.name, HookEnd.FAILED, reason, began)

    def _read(self, kind: HookKind, labels: Mapping[str, str]) -> Hook | None:
        return read_hook(kind, labels, uid=self._uid, gid=self._gid)

    async def _run_hook(self, hook: Hook, name: str, document: Mapping[str, Any], began: float) -> HookResult:
        state = document.get("State") or {}
        if not state.get("Running") or state.get("Restarting"):
            reason = f"its {hook.kind} hook was not run, as the container is {state.get('Status') or 'not running'}"
            return _result(hook, name, HookEnd.NOT_RUN, reason, began)
        done = await self._engine.run_in_container(
            str(document.get("Id") or ""),
            hook.words,
            user=hook.user,
            env={CONTAINER_VARIABLE: container_variable(name, document)},
            deadline=hook.seconds,
        )
        end, reason = read_end(hook, done)
        return _result(hook, name, end, reason, began, exit_code=done.exit_code, output=done.output)


def _result(
    hook: Hook, name: str, end: HookEnd, reason: str, began: float, *, exit_code: int | None = None, output: str = ""
) -> HookResult:
    return HookResult(
        kind=hook.kind,
        container=name,
        end=end,
        reason=reason,
        command=hook.command,
        exit_code=exit_code,
        output=output,
        problems=hook.problems,
        duration=anyio.current_time() - began,
    )
