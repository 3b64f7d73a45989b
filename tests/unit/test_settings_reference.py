"""Help and documentation say what is declared, all of it and nothing else."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from watchtower_async.cli.command_line import parse_command_line
from watchtower_async.cli.reference import settings_page
from watchtower_async.settings import declared_options

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
WRITE_ANEW = "python -m watchtower_async.cli.reference >docs/settings.md"


def test_page_of_settings_is_as_old_as_the_declarations() -> None:
    """Whoever changes an option writes the page anew."""
    assert PAGE.read_text("utf-8") == settings_page(), WRITE_ANEW


def test_page_has_a_row_for_every_option() -> None:
    """With four cells, also where a text holds a bar."""
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(list(declared_options()))
    assert {row.replace("\\|", "").count("|") for row in rows} == {5}


def test_help_names_every_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """Whole, not broken at a hyphen or at the edge, and in at most 80 columns."""
    with pytest.raises(click.exceptions.Exit):
        parse_command_line(["--help"], program="watchtower-async")
    text = capsys.readouterr().out
    words = set(text.replace("[", " ").replace("]", " ").replace(",", " ").replace(";", " ").split())
    shown = [option for option in declared_options() if not option.is_hidden]
    assert {name for option in shown for name in (*option.flags, option.env) if name} - words == set()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(f"\n{title}:\n" in text for title in {option.group for option in shown})
    assert "--self-update-orchestrator" not in text
