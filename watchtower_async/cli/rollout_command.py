"""`rollout status`, `pause`, `resume` and `abandon`: where the rollouts stand that are not over, and what is to happen.

Only the running updater is asked, over its control socket: what stands in the state file is what it was up to when it
wrote last. Without an ID the only rollout there is is meant.

Exit code 0 done, 1 no updater runs, there is no such rollout, or its state does not allow it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchtower_async.cli.command_line import STATUS, CommandLine
from watchtower_async.errors import WatchtowerError
from watchtower_async.telemetry.redaction import redact, redact_text
from watchtower_async.web.control_client import ControlAnswer, NoAnswerError, ask_control
from watchtower_async.web.health_check import SOCKET_NAME

if TYPE_CHECKING:
    from rich.table import Table

EXIT_DONE = 0
WIDTH_WITHOUT_TERMINAL = 160
NOTHING = "There is no open rollout."

_PATH = ("v1", "rollouts")
_REFUSED = frozenset({404, 409, 503})

Rollout = Mapping[str, Any]
"""A rollout as the updater describes it."""


def run_rollout(line: CommandLine, directory: Path) -> int:
    """Run the command on the updater of this directory, print the answer and return the exit code."""
    path = directory / SOCKET_NAME
    named = line.names[0] if line.names else None
    rollouts = _rollouts(path)
    if line.verb == STATUS:
        shown = rollouts if named is None else [_named(rollouts, named)]
    else:
        identity = named if named is not None else _only(rollouts)
        shown = [_ask(path, identity, line.verb)]
    if "--json" in line.switches:
        print(json.dumps(redact({"rollouts": list(shown)}), indent=2))  # noqa: T201 - this is the command's answer
    else:
        print_rollouts(shown)
    return EXIT_DONE


def print_rollouts(rollouts: Sequence[Rollout]) -> None:
    """Print the rollouts for people."""
    from rich.console import Console  # noqa: PLC0415 - only people need tables

    # Without emoji: `:key:` in a name is not one.
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    console = Console(file=sys.stdout, highlight=False, emoji=False, width=width)
    if not rollouts:
        console.print(NOTHING)
        return
    console.print(_table(rollouts))


def _table(rollouts: Sequence[Rollout]) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("ROLLOUT", "OF", "STATE", "WHY", "GROUPS"):
        table.add_column(title, overflow="fold")
    for rollout in rollouts:
        groups = "\n".join(f"{group['name']}: {_words(group['phase'])}" for group in rollout["groups"])
        cells = (rollout["id"], rollout["name"] or "all others", _words(rollout["state"]), rollout["reason"], groups)
        table.add_row(*(escape(_plain(cell)) for cell in cells))
    return table


def _rollouts(path: Path) -> list[Rollout]:
    document = _answered(path, ask_control(path, "GET", *_PATH)).document
    found = document.get("rollouts")
    if not isinstance(found, list) or not all(map(_is_rollout, found)):
        raise NoAnswerError(f"what listens on {path} does not know rollouts")
    return found


def _ask(path: Path, identity: str, verb: str) -> Rollout:
    found = _answered(path, ask_control(path, "POST", *_PATH, identity, verb)).document.get("rollout")
    if not isinstance(found, dict) or not _is_rollout(found):
        raise NoAnswerError(f"what listens on {path} does not know rollouts")
    return found


def _answered(path: Path, answer: ControlAnswer | None) -> ControlAnswer:
    """Return an answer that is one. Raises WatchtowerError with the reason where it is none."""
    if answer is None:
        raise WatchtowerError(f"no running updater answers on {path}: rollouts are carried out by one only")
    if answer.status in _REFUSED:
        raise WatchtowerError(_plain(str(answer.document.get("error", "the updater refused"))))
    if answer.status != 200:
        raise NoAnswerError(f"the running updater does not know rollouts (status {answer.status})")
    return answer


def _named(rollouts: Sequence[Rollout], identity: str) -> Rollout:
    found = next((rollout for rollout in rollouts if rollout["id"] == identity), None)
    if found is None:
        raise WatchtowerError(f"there is no open rollout {identity}; open: {_listed(rollouts) or 'there is none'}")
    return found


def _only(rollouts: Sequence[Rollout]) -> str:
    if not rollouts:
        raise WatchtowerError("there is no open rollout")
    if len(rollouts) > 1:
        raise WatchtowerError(f"there is more than one open rollout, so give an ID: {_listed(rollouts)}")
    return str(rollouts[0]["id"])


def _listed(rollouts: Sequence[Rollout]) -> str:
    return ", ".join(_plain(rollout["id"]) for rollout in rollouts)


def _is_rollout(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("groups"), list):
        return False
    groups = all(isinstance(group, dict) and _has_texts(group, "name", "phase") for group in item["groups"])
    return groups and _has_texts(item, "id", "name", "state", "reason")


def _has_texts(item: Mapping[str, object], *keys: str) -> bool:
    return all(isinstance(item.get(key), str) for key in keys)


def _words(term: str) -> str:
    return term.replace("_", " ")


def _plain(text: str) -> str:
    """Return a text without what may be a secret or move the cursor: containers have a say in it."""
    return redact_text("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text))
