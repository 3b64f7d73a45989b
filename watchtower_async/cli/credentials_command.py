"""`credentials`: shows which login answers for which registry, and with `--check` whether the registry accepts it now.

Exit code 0 every login can be used (and is accepted), 1 something is refused, broken, or could not be asked.

The form for programs has the keys that `LoginReport.as_json` and `LoginRow.as_json` name; they stay.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from watchtower_async.telemetry.redaction import redact, redact_text
from watchtower_async.updates.login_check import LoginReport, LoginRow, Verdict

if TYPE_CHECKING:
    from rich.table import Table

EXIT_GOOD = 0
EXIT_BAD = 1
WIDTH_WITHOUT_TERMINAL = 160

_WORDS = {
    Verdict.ACCEPTED: "[green]accepted[/]",
    Verdict.REFUSED: "[red]refused[/]",
    Verdict.UNKNOWN: "[red]unknown[/]",
    Verdict.UNTESTED: "[yellow]untested[/]",
}
_COUNTED = {
    Verdict.ACCEPTED: "accepted",
    Verdict.REFUSED: "refused",
    Verdict.UNKNOWN: "unknown",
    Verdict.UNTESTED: "not tested",
}


def show_credentials(report: LoginReport, *, as_json: bool) -> int:
    """Print the report and return the exit code."""
    if as_json:
        print(json.dumps(redact(report.as_json()), indent=2))  # noqa: T201 - this is the command's answer
    else:
        print_report(report)
    return EXIT_GOOD if report.is_good else EXIT_BAD


def print_report(report: LoginReport) -> None:
    """Print the report for people."""
    from rich.console import Console  # noqa: PLC0415 - only people need tables

    # Without emoji: `:key:` in a name or a path is not one.
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    console = Console(file=sys.stdout, highlight=False, emoji=False, width=width)
    if report.rows:
        console.print(_table(report))
    for line in _lines(report):
        console.print(_plain(line), markup=False, soft_wrap=True)


def _table(report: LoginReport) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("REGISTRY", "CONTAINERS", "LOGIN FROM", "USER", "KIND", "STATE"):
        table.add_column(title, overflow="fold")
    for item in report.rows:
        row = item.row
        containers = ", ".join(row.containers) or "–"
        details = "\n".join(_details(item))
        state = "\n".join(part for part in (_word(item), escape(details)) if part)
        cells = (row.registry, containers, row.source, row.username or "–", _kind(item))
        table.add_row(*(escape(_plain(cell)) for cell in cells), state)
    return table


def _kind(item: LoginRow) -> str:
    if not item.row.is_usable:
        return "–"
    words = str(item.row.kind).replace("_", " ")
    return f"{words} of a helper" if item.row.helper is not None else words


def _word(item: LoginRow) -> str:
    if not item.row.is_usable:
        return "[red]cannot be used[/]"
    if item.state is None:
        return "[yellow]usable[/]" if item.row.problem is not None else "[green]usable[/]"
    return _WORDS[item.state.verdict]


def _details(item: LoginRow) -> list[str]:
    """Return what is to be said about a login, line by line."""
    lines = [] if item.state is None else [item.state.text]
    if item.row.problem is not None:
        lines.append(item.row.problem)
    if item.token_until is not None:
        lines.append(f"token until {_clock(item.token_until)}")
    if item.helper_answer_until is not None:
        lines.append(f"helper's answer kept until {_clock(item.helper_answer_until)}")
    return [_plain(line) for line in lines]


def _lines(report: LoginReport) -> list[str]:
    """Return what is said below the table."""
    lines = [_summary(report)]
    if report.engine_problem is not None:
        lines.append(f"No engine, so it is not known which containers use what: {report.engine_problem}")
    lines.append(_running(report.running))
    if report.problem is not None:
        lines.append(f"Problem: {report.problem}")
    return lines + [f"Note: {warning}" for warning in report.warnings]


def _summary(report: LoginReport) -> str:
    where = f"Configuration in {report.directory}"
    if not report.rows and report.problem is not None:
        return f"{where}: it cannot be used."
    if not report.rows:
        return f"{where}: no registry is in use or configured."
    broken = sum(not item.row.is_usable for item in report.rows)
    states = [item.state.verdict for item in report.rows if item.state is not None]
    usable = len(report.rows) - broken - len(states)
    counts = {text: states.count(verdict) for verdict, text in _COUNTED.items()}
    counts |= {"usable": usable, "cannot be used": broken}
    return f"{where}: " + ", ".join(f"{count} {text}" for text, count in counts.items() if count) + "."


def _running(running: Mapping[str, Any] | None) -> str:
    """Say in which state the running updater has the configuration."""
    if running is None:
        return "No running updater answers; read now."
    reloaded = running.get("reloaded")
    if not reloaded:
        text = "The running updater has not read its configuration yet"
    else:
        at = _clock(datetime.fromisoformat(reloaded)) if isinstance(reloaded, str) else "an unknown time"
        text = f"The running updater goes by what it read at {at} (generation {running.get('generation')})"
    if running.get("problem"):
        return f"{text}. Its problem: {running['problem']}"
    if running.get("last_problem"):
        return f"{text}. Its last problem, which is over: {running['last_problem']}"
    return f"{text}."


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _plain(text: str) -> str:
    """Return a text on one line and without what may be a secret: registries and files have a say in it."""
    return redact_text("".join(letter if letter.isprintable() else "?" for letter in text))
