"""Every event that the package logs has a sentence for people."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import watchtower_async
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.telemetry.logging import configure_logging

PACKAGE = Path(watchtower_async.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
IDENTIFIER = re.compile(r"[a-z_]+\.[a-z_]+")
# Names its events by table and by outcome, so every identifier that is written down there counts.
BY_TABLE = PACKAGE / "telemetry" / "event_log.py"


@pytest.fixture(autouse=True)
def _defaults_afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logging_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a logger: `log.info(…)`, and `getattr(log, level)(…)`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        by_name = isinstance(function, ast.Attribute) and function.attr in LEVELS
        by_level = isinstance(function, ast.Call) and getattr(function.func, "id", "") == "getattr"
        if (by_name or by_level) and node.args:
            yield node


def logged_identifiers() -> set[str]:
    """Return the identifiers of all events that the package can log."""
    found = {f"replacement.{kind}" for kind in OutcomeKind}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for call in logging_calls(tree):
            first = call.args[0]
            if isinstance(first, ast.Constant) and IDENTIFIER.fullmatch(str(first.value)):
                found.add(str(first.value))
            else:
                assert path == BY_TABLE, (
                    f"{path.name}:{call.lineno} logs an event whose identifier is not written there"
                )
        if path == BY_TABLE:
            texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            found |= {text for text in texts if isinstance(text, str) and IDENTIFIER.fullmatch(text)}
    return found


def test_some_events_are_found() -> None:
    """The search sees plain calls, tables and outcomes."""
    expected = {"updater.started", "credentials.helper_asked", "container.refused", "replacement.rolled_back"}
    assert expected <= logged_identifiers()


@pytest.mark.parametrize("identifier", sorted(logged_identifiers()))
def test_event_has_a_sentence(identifier: str) -> None:
    """Without one, people would read the identifier."""
    stream = io.StringIO()
    configure_logging(LogSettings(level=LogLevel.DEBUG, format=LogFormat.JSON), stream=stream)
    structlog.get_logger().info(identifier)
    assert json.loads(stream.getvalue())["msg"] != identifier
