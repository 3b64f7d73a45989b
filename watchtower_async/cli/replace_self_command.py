"""`replace-self`: what a helper container runs. Nobody calls it by hand, so the help does not name it.

Exit code 0 when it is done, or was told to leave. Otherwise 1: the engine then starts the helper again, and it goes on
from what it finds.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import anyio
import structlog

from watchtower_async.cli.command_line import CommandLine
from watchtower_async.connection import Connection
from watchtower_async.errors import WatchtowerError
from watchtower_async.events import Announcer
from watchtower_async.rollout.helper_container import HelperOrder, read_order
from watchtower_async.rollout.replacement import ReplacementSettings
from watchtower_async.rollout.self_update import ResultFile, SelfReplacer, replace_self
from watchtower_async.settings import Settings

EXIT_DONE = 0
EXIT_FAILED = 1


def run_replace_self(line: CommandLine, settings: Settings, environ: Mapping[str, str], directory: Path) -> int:
    """Run the helper and return its exit code. `directory` is the state directory. Raises SettingsError."""
    return anyio.run(_Helper(read_order(line.options), settings, environ, directory).run)


class _Helper:
    """One run of the helper's process."""

    def __init__(self, order: HelperOrder, settings: Settings, environ: Mapping[str, str], directory: Path) -> None:
        self._order = order
        self._settings = settings
        self._environ = environ
        self._directory = directory
        self._haste = anyio.Event()
        self._log = structlog.get_logger()
        self._exit_code = EXIT_DONE

    async def run(self) -> int:
        """Work until it is done, or until a signal comes."""
        async with anyio.create_task_group() as root:

            async def work() -> None:
                try:
                    await self._work()
                except WatchtowerError as error:
                    self._tell(str(error))
                    self._exit_code = EXIT_FAILED
                root.cancel_scope.cancel()

            root.start_soon(work, name="self-update")
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for number in signals:
                    self._log.info("updater.stopped", signal=signal.Signals(number).name)
                    self._haste.set()
                    root.cancel_scope.cancel()
                    break
        return self._exit_code

    async def _work(self) -> None:
        connection = Connection(settings=self._settings, environ=self._environ)
        async with connection.open(Announcer()) as opened, connection.reach_engine(opened) as reached:
            helper = await reached.engine.inspect_container(self._order.helper)
            given = self._settings
            replacer = SelfReplacer(
                engine=reached.engine,
                owner=str(helper["Id"])[:12],
                facts=reached.facts,
                settings=ReplacementSettings(
                    monitor=given.rollout.monitor.total_seconds(),
                    stop_timeout=int(given.update.stop_timeout.total_seconds()),
                ),
                haste=self._haste,
            )
            await replace_self(replacer, self._order, results=ResultFile(self._directory), tell=self._tell)

    def _tell(self, text: str) -> None:
        self._log.info("self_update.progress", container=self._order.name, progress=text)
