"""Every event that the package logs has a sentence for people."""

from __future__ import annotations

import ast
import io
import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

import watchtower_async
from tests.support.builders import a_digest, an_id
from tests.support.stored import MORNING, an_entry
from watchtower_async.events import (
    ContainerJudged,
    CredentialsProblem,
    Degraded,
    Event,
    ImageQuarantined,
    ImageRemoved,
    QuarantineLifted,
    ReplacementFinished,
    ReplacementRecovered,
    ReplacementStarted,
    SessionFailed,
    SessionFinished,
)
from watchtower_async.images.digest import parse_digest
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.state.contents import QuarantineEntry
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.telemetry.logging import configure_logging
from watchtower_async.telemetry.sentences import SENTENCES, legacy_sentence, log_sentence
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode

PACKAGE = Path(watchtower_async.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
IDENTIFIER = re.compile(r"[a-z_]+\.[a-z_]+")
# Name their events by table and by outcome, so every identifier that is written down there counts.
BY_TABLE = {PACKAGE / "telemetry" / name for name in ("event_log.py", "start_up.py")}
DIGEST = parse_digest(a_digest("v2"))
SHORT_DIGEST = DIGEST.short


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
                assert path in BY_TABLE, (
                    f"{path.name}:{call.lineno} logs an event whose identifier is not written there"
                )
        if path in BY_TABLE:
            texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            found |= {text for text in texts if isinstance(text, str) and IDENTIFIER.fullmatch(text)}
    return found


def an_item(action: Action = Action.UPDATE) -> PlanItem:
    """Return a judged container."""
    return PlanItem(
        container_id=an_id("web"),
        name="web",
        image="nginx:latest",
        image_id=a_digest("config"),
        action=action,
        reason=Reason(ReasonCode.NEWER_IMAGE, "because"),
        running=parse_digest(a_digest("v1")),
        published=DIGEST,
    )


def an_example(kind: Any) -> Any:
    """Return some value of a type, so that an event of every class can be made."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    known: dict[Any, Any] = {str: "updated", int: 1, float: 1.0, bool: True, datetime: MORNING}
    known |= {PlanItem: an_item(), QuarantineEntry: an_entry()}
    if kind in known:
        return known[kind]
    if origin in {typing.Union, types.UnionType}:
        return an_example(next(argument for argument in arguments if argument is not types.NoneType))
    if origin is not None:
        return origin()
    if issubclass(kind, Enum):
        return next(iter(kind))
    assert is_dataclass(kind), f"make an example of {kind}"
    hints = typing.get_type_hints(kind)
    make: Any = kind
    return make(**{field.name: an_example(hints[field.name]) for field in fields(kind)})


def logged(event: Event) -> list[dict[str, Any]]:
    """Return what is logged about a fact."""
    with capture_logs() as entries:
        EventLog()(event)
    return [dict(entry) for entry in entries]


def test_some_events_are_found() -> None:
    """The search sees plain calls, tables, outcomes and the start."""
    expected = {
        "updater.started", "credentials.helper_asked", "container.refused", "replacement.rolled_back", "schedule.once",
    }  # fmt: skip
    assert expected <= logged_identifiers()


@pytest.mark.parametrize("identifier", sorted(logged_identifiers()))
def test_event_has_a_sentence(identifier: str) -> None:
    """Without one, people would read the identifier."""
    stream = io.StringIO()
    configure_logging(LogSettings(level=LogLevel.DEBUG, format=LogFormat.JSON), stream=stream)
    structlog.get_logger().info(identifier)
    assert json.loads(stream.getvalue())["msg"] != identifier


def test_no_sentence_is_left_over() -> None:
    """What nobody logs would be taken for something that happens."""
    assert set() == set(SENTENCES) - logged_identifiers()


@pytest.mark.parametrize("kind", typing.get_args(Event))
def test_event_of_every_class_is_logged_with_a_sentence(kind: type[Any]) -> None:
    """A new class cannot be forgotten here."""
    entries = logged(an_example(kind))
    assert entries
    assert {entry["event"] for entry in entries} <= SENTENCES.keys()


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (ContainerJudged(an_item()), f"Found new nginx:latest image ({SHORT_DIGEST})"),
        (
            ContainerJudged(an_item(Action.UNKNOWN)),
            'Unable to update container "/web": because. Proceeding to next.',
        ),
        (ReplacementFinished(an_item(), "updated", "", detail=(), duration=1.0), "Creating /web"),
        (ImageRemoved(a_digest("old"), "nginx:latest"), f"Removing image {an_id('old')[:12]}"),
        (SessionFinished("s1", scanned=2, updated=1, failed=0, duration=1.0), "Session done"),
    ],
)
def test_legacy_sentence_is_that_of_the_original_watchtower(event: Event, sentence: str) -> None:
    """Word by word, with a slash before the name: that is what stands in the messages that people know."""
    (entry,) = logged(event)
    assert sentence == legacy_sentence(entry["event"], entry)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (ReplacementStarted(an_item()), ("/web", an_id("web")[:12])),
        *(
            (ReplacementFinished(an_item(), str(kind), "its port is in use", detail=(), duration=1.0), ("/web",))
            for kind in OutcomeKind
        ),
        (
            ReplacementFinished(an_item(), "lost", "its port is in use", detail=(), duration=1.0),
            ("its port is in use",),
        ),
        (ReplacementRecovered("web", "the old one runs again"), ("/web", "the old one runs again")),
        (ImageQuarantined(an_entry()), ("/web", "registry.example/app:1")),
        (QuarantineLifted(an_entry(), "its tag moved"), ("/web", "its tag moved")),
        (Degraded("the disk is full"), ("the disk is full",)),
        (CredentialsProblem("line 1"), ("line 1",)),
        (SessionFailed("s1", "the engine went away"), ("the engine went away",)),
    ],
)
def test_legacy_sentence_says_what_and_why(event: Event, told: tuple[str, ...]) -> None:
    """It is all that such a message holds."""
    (entry,) = logged(event)
    sentence = legacy_sentence(entry["event"], entry)
    assert [text for text in told if text not in sentence] == []


def test_sentence_of_the_log_has_the_name_without_a_slash_and_is_the_same_each_time() -> None:
    """The values stand beside it, as in the newer Watchtower."""
    (entry,) = logged(ContainerJudged(an_item()))
    assert log_sentence(entry["event"], entry) == "Found new image"
    assert entry["container"] == "web"


def test_legacy_sentence_gives_way_where_a_value_is_missing() -> None:
    """Half a sentence would be worse."""
    assert legacy_sentence("container.newer_image_found", {"image": "redis:7"}) == "Found new image"
    assert legacy_sentence("container.newer_image_found", {"image": "x", "digest_to": None}) == "Found new image"


def test_value_that_is_missing_from_the_only_sentence_is_a_question_mark() -> None:
    """The rest is still true."""
    assert log_sentence("schedule.first_session", {}) == "Scheduling first run: ?"


def test_braces_in_a_value_mean_nothing() -> None:
    """Values are of others, and nothing is looked up for them."""
    assert legacy_sentence("updater.degraded", {"problem": "{container.__class__} {0}"}) == "{container.__class__} {0}"
