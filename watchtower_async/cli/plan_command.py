"""`plan`: shows what a session would do.

Exit code 0 nothing to do, 2 newer images exist, 1 something could not be checked (wins over 2).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from watchtower_async.updates.plan import HIDDEN_FROM_PEOPLE, Action, PlanItem, UpdatePlan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

EXIT_NOTHING = 0
EXIT_UNKNOWN = 1
EXIT_UPDATES = 2
WIDTH_WITHOUT_TERMINAL = 160

_WORDS = {
    Action.UPDATE: "[green]update[/]",
    Action.NOTHING: "[dim]nothing[/]",
    Action.REPORT: "[cyan]report[/]",
    Action.REFUSE: "[yellow]refuse[/]",
    Action.LEAVE: "[dim]leave[/]",
    Action.UNKNOWN: "[red]unknown[/]",
}


def show_plan(plan: UpdatePlan, *, as_json: bool) -> int:
    """Print the plan and return the exit code."""
    if as_json:
        print(json.dumps(plan.as_json(), indent=2))  # noqa: T201 - this is the command's answer
    else:
        print_plan(plan)
    return exit_code_for(plan)


def exit_code_for(plan: UpdatePlan) -> int:
    """Return the exit code that tells a script what the plan holds; "could not be checked" wins."""
    if plan.has_unknown:
        return EXIT_UNKNOWN
    return EXIT_UPDATES if plan.has_newer else EXIT_NOTHING


def print_plan(plan: UpdatePlan) -> None:
    """Print the plan for people."""
    from rich.console import Console  # noqa: PLC0415 - only people need tables

    # Without emoji: `:key:` in an image name or a path is not one.
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    write_plan(plan, Console(file=sys.stdout, highlight=False, emoji=False, width=width))


def write_plan(plan: UpdatePlan, console: Console) -> None:
    """Write the table and what is to be said beside it."""
    shown = [item for item in plan.items if item.reason.code not in HIDDEN_FROM_PEOPLE]
    if shown:
        console.print(_table(shown))
    console.print(_summary(plan, shown), markup=False)
    for repair in plan.repairs:
        console.print(f"Recovery: {repair}", markup=False)
    for problem in plan.problems:
        console.print(f"Problem: {problem}", markup=False)


def _table(items: list[PlanItem]) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("CONTAINER", "IMAGE", "RUNNING → PUBLISHED", "ACTION", "WHY"):
        table.add_column(title, overflow="fold")
    for item in items:
        asked = " (asked through the engine)" if item.asked_through_engine else ""
        why = "\n".join([item.reason.text + asked, *(f"note: {note}" for note in item.notes)])
        table.add_row(escape(item.name), escape(item.image), _digests(item), _WORDS[item.action], escape(why))
    return table


def _digests(item: PlanItem) -> str:
    running = item.running.short if item.running else "–"
    if item.published is None or item.published == item.running:
        return running
    return f"{running} → {item.published.short}"


def _summary(plan: UpdatePlan, shown: list[PlanItem]) -> str:
    if not plan.items:
        return f"No containers on {plan.engine}."
    counts = {action: sum(item.action is action for item in shown) for action in Action}
    words = {
        Action.UPDATE: "to update",
        Action.REPORT: "to report only",
        Action.REFUSE: "refused",
        Action.NOTHING: "up to date",
        Action.UNKNOWN: "could not be checked",
        Action.LEAVE: "left alone",
    }
    parts = [f"{counts[action]} {text}" for action, text in words.items() if counts[action]]
    return f"{plan.engine}: " + (", ".join(parts) or "nothing to show") + "."
