"""Which fact is logged how."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.builders import a_digest, an_id
from tests.support.stored import an_entry
from watchtower_async.events import (
    ContainerJudged,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
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
    SessionStarted,
)
from watchtower_async.images.digest import parse_digest
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode

OLD, NEW = parse_digest(a_digest("v1")), parse_digest(a_digest("v2"))


def an_item(
    action: Action = Action.UPDATE,
    code: ReasonCode = ReasonCode.NEWER_IMAGE,
    *,
    name: str = "web",
    is_known: bool = True,
) -> PlanItem:
    """Return a judged container."""
    return PlanItem(
        container_id=an_id(name),
        name=name,
        image="redis:7",
        image_id=a_digest("config"),
        action=action,
        reason=Reason(code, "because"),
        running=OLD if is_known else None,
        published=NEW if is_known else None,
    )


def logged(*events: Event) -> list[dict[str, Any]]:
    """Return what is logged about these facts."""
    with capture_logs() as entries:
        log = EventLog()
        for event in events:
            log(event)
    return [dict(entry) for entry in entries]


ABOUT = {"container": "web", "image": "redis:7", "digest_from": OLD.short, "digest_to": NEW.short}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            SessionStarted("s1", "unix:///x"),
            {"event": "session.started", "log_level": "debug", "session": "s1", "host": "unix:///x"},
        ),
        (
            ReplacementStarted(an_item()),
            {"event": "replacement.started", "log_level": "info", "container_id": an_id("web")[:12], **ABOUT},
        ),
        (
            ImageRemoved(a_digest("old"), "redis:7"),
            {"event": "image.removed", "log_level": "info", "image_id": an_id("old")[:12], "image": "redis:7"},
        ),
        (
            ReplacementRecovered("web", "undone"),
            {"event": "replacement.recovered", "log_level": "warning", "container": "web", "action": "undone"},
        ),
        (
            ReplacementRecovered("web", "look", is_lost=True),
            {"event": "replacement.recovered", "log_level": "critical", "container": "web", "action": "look"},
        ),
        (Degraded("p"), {"event": "updater.degraded", "log_level": "warning", "problem": "p"}),
        (
            SessionFailed("s1", "gone"),
            {"event": "session.failed", "log_level": "error", "session": "s1", "reason": "gone"},
        ),
        (
            SessionFinished("s1", scanned=3, updated=2, failed=1, duration=1.23456),
            {
                "event": "session.finished", "log_level": "info", "session": "s1", "duration": 1.235,
                "Scanned": 3, "Updated": 2, "Failed": 1, "notify": "no",
                "Fresh": 0, "Skipped": 0, "Stale": 0,
            },
        ),
    ],
)  # fmt: skip
def test_fact_has_an_identifier_a_level_and_values(event: Event, expected: dict[str, Any]) -> None:
    """One entry each, with values as keys; the summary has Watchtower's names."""
    assert logged(event) == [expected]


@pytest.mark.parametrize(
    ("action", "code", "identifier", "level"),
    [
        (Action.UPDATE, ReasonCode.NEWER_IMAGE, "container.newer_image_found", "info"),
        (Action.REPORT, ReasonCode.NEWER_IMAGE, "container.newer_image_found", "info"),
        (Action.REFUSE, ReasonCode.REFUSED, "container.refused", "warning"),
        (Action.UNKNOWN, ReasonCode.UNREACHABLE, "container.unknown", "warning"),
        (Action.LEAVE, ReasonCode.DISABLED, "container.left_alone", "debug"),
        (Action.NOTHING, ReasonCode.UP_TO_DATE, "container.up_to_date", "debug"),
    ],
)
def test_level_says_whether_somebody_should_look(action: Action, code: ReasonCode, identifier: str, level: str) -> None:
    """News is information, what could not be done is a warning, the rest is for the curious."""
    (entry,) = logged(ContainerJudged(an_item(action, code)))
    assert entry == {"event": identifier, "log_level": level, "reason": "because", **ABOUT}


@pytest.mark.parametrize("action", Action)
def test_every_action_can_be_logged(action: Action) -> None:
    """A new action cannot be forgotten here."""
    assert len(logged(ContainerJudged(an_item(action)))) == 1


@pytest.mark.parametrize("code", [ReasonCode.NOT_RUNNING, ReasonCode.NOT_NAMED])
def test_container_that_nobody_asked_for_is_not_logged(code: ReasonCode) -> None:
    """Stopped containers would fill the log."""
    assert logged(ContainerJudged(an_item(Action.LEAVE, code))) == []


@pytest.mark.parametrize("code", [ReasonCode.LOCAL_IMAGE, ReasonCode.NOT_SUPPORTED, ReasonCode.ITSELF])
def test_lasting_reason_is_visible_once_per_container(code: ReasonCode) -> None:
    """The owner must know, but not every five minutes."""
    web, db = (ContainerJudged(an_item(Action.LEAVE, code, name=name)) for name in ("web", "db"))
    assert [entry["log_level"] for entry in logged(web, web, db, web)] == ["info", "debug", "info", "debug"]


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        ("updated", "info"),
        ("skipped", "info"),
        ("rolled_back", "error"),
        ("failed", "error"),
        ("unfinished", "error"),
        ("lost", "critical"),
    ],
)
def test_outcome_is_in_the_identifier(outcome: str, level: str) -> None:
    """A broken promise is an error, a container that is down is more."""
    event = ReplacementFinished(an_item(), outcome, "why", detail=("exit code 1", "log line"), duration=2.0)
    assert logged(event) == [
        {
            "event": f"replacement.{outcome}", "log_level": level, "reason": "why", "duration": 2.0,
            "detail": "exit code 1 | log line", **ABOUT,
        }
    ]  # fmt: skip


def test_what_is_not_known_is_not_logged() -> None:
    """No empty keys."""
    (entry,) = logged(ReplacementFinished(an_item(is_known=False), "failed", "why", detail=(), duration=0.0))
    assert entry.keys() == {"event", "log_level", "container", "image", "reason", "duration"}


def test_reload_of_credentials_tells_which_registries_it_concerns() -> None:
    """In a fixed order, and without what does not apply."""
    some, none = frozenset({"quay.io", "ghcr.io"}), frozenset[str]()
    reloaded = {"event": "credentials.reloaded", "log_level": "info", "generation": 2}
    assert logged(
        CredentialsReloaded(added=some, removed=none, changed=none, default_helper_changed=False, generation=2),
        CredentialsReloaded(added=none, removed=some, changed=some, default_helper_changed=True, generation=2),
    ) == [
        {**reloaded, "added": "ghcr.io, quay.io"},
        {**reloaded, "removed": "ghcr.io, quay.io", "changed": "ghcr.io, quay.io", "default_helper": "changed"},
    ]


def test_problem_of_the_credentials_is_a_warning_and_its_end_is_news() -> None:
    """The updater goes on with what it has."""
    assert logged(CredentialsProblem("line 1"), CredentialsRecovered()) == [
        {"event": "credentials.reload_rejected", "log_level": "warning", "problem": "line 1"},
        {"event": "credentials.recovered", "log_level": "info"},
    ]


def test_quarantine_is_a_warning_and_its_end_is_news() -> None:
    """What failed, where; and why it may be tried again."""
    entry = an_entry()
    about = {"container": "web", "image": "registry.example/app:1", "digest": entry.digest.short}
    assert logged(ImageQuarantined(entry), QuarantineLifted(entry, "the tag moved")) == [
        {"event": "quarantine.added", "log_level": "warning", **about},
        {"event": "quarantine.lifted", "log_level": "info", "reason": "the tag moved", **about},
    ]


def test_line_of_a_session_counts_as_watchtower_does() -> None:
    """What could not be checked is skipped, neither scanned nor failed; the session before does not count."""
    actions = [
        Action.UPDATE,
        Action.REPORT,
        Action.REFUSE,
        Action.UNKNOWN,
        Action.NOTHING,
        Action.NOTHING,
        Action.LEAVE,
    ]
    session: list[Event] = [
        SessionStarted("s1", "unix:///x"),
        *(ContainerJudged(an_item(action)) for action in actions),
        SessionFinished("s1", scanned=6, updated=0, failed=2, duration=1.0),
    ]
    lines = [entry for entry in logged(*session, *session) if entry["event"] == "session.finished"]
    expected = {"Scanned": 5, "Updated": 0, "Failed": 1, "Fresh": 2, "Skipped": 1, "Stale": 2}
    assert [expected, expected] == [{key: line[key] for key in expected} for line in lines]


def test_line_of_a_session_begins_with_watchtowers_counts() -> None:
    """In the order in which it writes them, so that a script finds one after the other."""
    (line,) = logged(SessionFinished("s1", scanned=3, updated=2, failed=1, duration=1.0))
    assert list(line)[:4] == ["Failed", "Scanned", "Updated", "notify"]
