"""`notify test`, `notify preview` and `notify-upgrade`: notifications, tried before they are needed.

`notify test` sends one message to each service and says what it answered; exit code 1 when one of them failed, or there
is none. `notify preview` shows the message of a made-up session. `notify-upgrade` writes the older options as URLs into
a file, as Watchtower does, waits until somebody has fetched it from the container, and removes it.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio

from watchtower_async.cli.command_line import NOTIFY_UPGRADE, TEST, CommandLine
from watchtower_async.engine.identity import candidates, read_traces
from watchtower_async.errors import SettingsError, WatchtowerError
from watchtower_async.notify.courier import Answer
from watchtower_async.notify.dispatcher import try_services
from watchtower_async.notify.render import Message, preview
from watchtower_async.notify.sample import quiet_report, sample_entries, sample_report
from watchtower_async.outlets.notification_plan import NotificationPlan, all_urls, read_plan
from watchtower_async.outlets.notifications import courier_of
from watchtower_async.settings import Settings

EXIT_DONE = 0
EXIT_FAILED = 1
FETCH_SECONDS = 300.0
"""How long the file of `notify-upgrade` is there."""
_ENDING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})


def run_notify(line: CommandLine, settings: Settings) -> int:
    """Run one of the commands, print the answer and return the exit code. Raises SettingsError."""
    if line.command == NOTIFY_UPGRADE.name:
        return upgrade(settings)
    plan = read_plan(settings)
    for warning in plan.warnings:
        print(f"note: {warning}", file=sys.stderr)  # noqa: T201 - for the person who called
    if line.verb == TEST:
        return _test(plan)
    return _preview(plan, is_quiet="--quiet" in line.switches)


def _test(plan: NotificationPlan) -> int:
    if not plan.services:
        raise WatchtowerError("there is nobody to notify: set --notification-url")
    host = plan.messages.host
    message = Message(plan.messages.title, f"This is a test notification from watchtower-async on {host}.")
    answers = anyio.run(_send, plan, message)
    for answer in answers:
        print(f"{answer.service}: {'ok' if answer.is_ok else 'FAILED'}, {answer.text}")  # noqa: T201
    return EXIT_DONE if all(answer.is_ok for answer in answers) else EXIT_FAILED


async def _send(plan: NotificationPlan, message: Message) -> tuple[Answer, ...]:
    return await try_services(plan.services, courier=courier_of(plan), message=message)


def _preview(plan: NotificationPlan, *, is_quiet: bool) -> int:
    host = plan.messages.host
    entries, report = ((), quiet_report(host)) if is_quiet else (sample_entries(), sample_report(host))
    try:
        print(preview(plan.messages, entries, report))  # noqa: T201
    except ValueError as error:
        raise SettingsError((f"the notification template fails: {error}",)) from None
    return EXIT_DONE


def upgrade(settings: Settings, *, directory: Path | None = None, wait: Callable[[], None] | None = None) -> int:
    """Write the URLs into a file, wait until `wait` returns, and remove it. Raises SettingsError and WatchtowerError.

    Only the file holds the URLs: they are secrets, and what is printed stands in the container's log.
    """
    urls = all_urls(settings)
    if not urls:
        raise WatchtowerError("there is nothing to be written: no notification options are set")
    with _signals_held(), _file_of(urls, directory or _place()) as path:
        container = next(iter(candidates(read_traces())), "<container>")
        print("The notification options stand as URLs in a file now. Fetch it from another terminal with")  # noqa: T201
        print(f"\n    docker cp {container}:{path} ./watchtower-notifications.env\n")  # noqa: T201
        print("It is removed in 5 minutes, or when this command is stopped.", flush=True)  # noqa: T201
        (wait or _wait_for_signal)()
    return EXIT_DONE


def _place() -> Path:
    """Return where the file goes: where Watchtower writes it, if that can be."""
    here = Path.cwd()
    return here if os.access(here, os.W_OK) else Path(tempfile.gettempdir())


@contextmanager
def _file_of(urls: tuple[str, ...], directory: Path) -> Iterator[Path]:
    """Have a file that only its owner can read, as long as the context is open."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="watchtower-notif-urls-", dir=directory)
    except OSError as error:
        raise WatchtowerError(f"no file can be made in {directory}: {error.strerror}") from None
    path = Path(name)
    try:
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"WATCHTOWER_NOTIFICATION_URL={' '.join(urls)}\n")
        except OSError as error:
            raise WatchtowerError(f"{path} cannot be written: {error.strerror}") from None
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let no signal end the program before the file is gone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for_signal() -> None:
    signal.sigtimedwait(_ENDING_SIGNALS, FETCH_SECONDS)
