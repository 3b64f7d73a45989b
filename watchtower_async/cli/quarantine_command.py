"""`quarantine list` and `quarantine clear`: what failed and is not tried again, and how to have it tried again.

The running updater is asked over its control socket. Where none listens, the state file is read, and written while this
process holds the lock of the control socket.

Exit code 0 done, 1 a named container has no entry, or the state cannot be used.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchtower_async.cli.command_line import CLEAR, CommandLine
from watchtower_async.errors import WatchtowerError
from watchtower_async.state.contents import QuarantineEntry, read_entry
from watchtower_async.state.database import FILE_NAME, Database, UnreadableStateError, look
from watchtower_async.telemetry.redaction import redact, redact_text
from watchtower_async.web.control import hold_lock
from watchtower_async.web.control_client import ControlAnswer, NoAnswerError, ask_control
from watchtower_async.web.health_check import SOCKET_NAME

if TYPE_CHECKING:
    from rich.table import Table

EXIT_DONE = 0
EXIT_FAILED = 1
WIDTH_WITHOUT_TERMINAL = 160
SHOWN_LINES = 5

ROUTE = "quarantine"


def run_quarantine(line: CommandLine, directory: Path) -> int:
    """Run the command on the state in this directory, print the answer and return the exit code."""
    as_json = "--json" in line.switches
    if line.verb == CLEAR:
        return _clear(directory, line.names, as_json=as_json)
    entries = _entries(directory)
    if as_json:
        _print_json(entries)
    else:
        print_entries(entries)
    return EXIT_DONE


def print_entries(entries: Sequence[QuarantineEntry]) -> None:
    """Print the entries for people."""
    from rich.console import Console  # noqa: PLC0415 - only people need tables

    # Without emoji: `:key:` in an image name is not one.
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    console = Console(file=sys.stdout, highlight=False, emoji=False, width=width)
    if not entries:
        console.print("Nothing is in quarantine.")
        return
    console.print(_table(entries))
    console.print("Each is tried again when its tag points to another image, or after: quarantine clear CONTAINER")


def _table(entries: Sequence[QuarantineEntry]) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    with_host = len({entry.host for entry in entries}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (*(("HOST",) if with_host else ()), "CONTAINER", "IMAGE", "DIGEST", "SINCE", "WHY"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        why = "\n".join([entry.reason, *entry.detail[-SHOWN_LINES:]])
        since = f"{entry.since:%Y-%m-%d %H:%M} UTC"
        cells = (entry.container, entry.image, entry.digest.short, since, why)
        table.add_row(*(escape(_plain(cell)) for cell in ((entry.host, *cells) if with_host else cells)))
    return table


def _clear(directory: Path, names: Sequence[str], *, as_json: bool) -> int:
    lifted = [entry for name in names or (None,) for entry in _lift(directory, name)]
    if as_json:
        _print_json(lifted)
    else:
        for entry in lifted:
            print(f"{entry.container}: {_plain(entry.image)} is tried again in the next session")  # noqa: T201
        if not lifted and not names:
            print("Nothing is in quarantine.")  # noqa: T201
    missing = [name for name in names if name not in {entry.container for entry in lifted}]
    for name in missing:
        print(f"{name} is not in quarantine", file=sys.stderr)  # noqa: T201
    return EXIT_FAILED if missing else EXIT_DONE


def _entries(directory: Path) -> tuple[QuarantineEntry, ...]:
    answer = ask_control(directory / SOCKET_NAME, "GET", ROUTE)
    if answer is not None:
        return _entries_in(answer)
    with _usable(directory):
        return look(directory / FILE_NAME).entries_of(None, None)


def _lift(directory: Path, container: str | None) -> tuple[QuarantineEntry, ...]:
    """Drop the entries of a container, or all with None, and return them."""
    segments = (ROUTE,) if container is None else (ROUTE, container)
    answer = ask_control(directory / SOCKET_NAME, "DELETE", *segments)
    if answer is not None:
        return _entries_in(answer)
    path = directory / FILE_NAME
    if not path.exists():
        return ()
    with _usable(directory), hold_lock(directory), closing(Database(path)) as database:
        before = database.contents
        lifted = before.entries_of(container, None)
        database.save(before, before.without_entries(lifted))
    return lifted


def _entries_in(answer: ControlAnswer) -> tuple[QuarantineEntry, ...]:
    found = answer.document.get("quarantine")
    if answer.status not in (200, 404) or not isinstance(found, list):
        raise NoAnswerError(f"the running updater does not know the quarantine (status {answer.status})")
    read = (read_entry(item) for item in found if isinstance(item, dict))
    return tuple(entry for entry in read if entry is not None)


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    """Turn what is wrong with the state into one sentence."""
    path = directory / FILE_NAME
    try:
        yield
    except BlockingIOError:
        raise WatchtowerError(f"an updater uses {directory} and does not answer; try again in a moment") from None
    except UnreadableStateError as error:
        raise WatchtowerError(f"the state file {path} {error}; the updater moves it aside at its next start") from None
    except (sqlite3.Error, OSError) as error:
        raise WatchtowerError(f"the state file {path} cannot be used: {error}") from None


def _print_json(entries: Sequence[QuarantineEntry]) -> None:
    document: dict[str, Any] = {"quarantine": [entry.as_json() for entry in entries]}
    print(json.dumps(redact(document), indent=2))  # noqa: T201 - this is the command's answer


def _plain(text: str) -> str:
    """Return a text without what may be a secret or move the cursor: containers have a say in it."""
    return redact_text("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text))
