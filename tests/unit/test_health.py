"""Whether a successor is good."""

from typing import Any

import pytest

from watchtower_async.rollout.health import Bad, Good, Wait, health_patience, judge_successor

JsonObject = dict[str, Any]
SECOND = 10**9


def a_document(
    status: str = "running",
    *,
    check: JsonObject | None = None,
    health: str | None = None,
    policy: str = "no",
    restarts: int = 0,
    **state: Any,
) -> JsonObject:
    """Return what inspect shows of a container."""
    shown: JsonObject = {"Status": status, **state}
    if health is not None:
        shown["Health"] = {"Status": health}
    return {
        "State": shown,
        "RestartCount": restarts,
        "Config": {"Healthcheck": check},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }


CHECK = {"Test": ["CMD", "true"]}


@pytest.mark.parametrize(
    ("document", "watched", "expected"),
    [
        (a_document(), 4.9, Wait),
        (a_document(), 5.0, Good),
        (a_document(check={"Test": ["NONE"]}), 5.0, Good),
        (a_document(restarts=1), 5.0, Bad),
        (a_document("restarting", Restarting=True, Running=True), 0.1, Bad),
        (a_document("exited", ExitCode=1), 0.1, Bad),
        (a_document("exited", ExitCode=0), 0.1, Good),
        (a_document("exited", ExitCode=0, policy="on-failure"), 0.1, Good),
        (a_document("exited", ExitCode=0, policy="always"), 0.1, Bad),
        (a_document("exited", ExitCode=0, policy="unless-stopped"), 0.1, Bad),
        (a_document("created", ExitCode=127, Error="no such file"), 0.1, Bad),
        (a_document("dead"), 0.1, Bad),
        (a_document(check=CHECK, health="healthy"), 0.1, Good),
        (a_document(check=CHECK, health="unhealthy"), 0.1, Bad),
        (a_document(check=CHECK, health="starting"), 60.0, Wait),
        (a_document(check=CHECK, health="starting"), 190.0, Bad),
        (a_document(check=CHECK), 5.0, Wait),
        (a_document(check=CHECK, health="healthy", restarts=1), 5.0, Bad),
    ],
)
def test_successor_is_judged(document: JsonObject, watched: float, expected: type) -> None:
    """The order of the rules is the policy: restarts first, then the state, then the check, then the window."""
    assert isinstance(judge_successor(document, watched=watched, monitor=5.0), expected)


def test_reason_names_exit_code_and_memory() -> None:
    """A person learns what happened."""
    judgement = judge_successor(a_document("exited", ExitCode=137, OOMKilled=True), watched=0, monitor=5)
    assert judgement == Bad("it exited with code 137, out of memory")


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({}, 30 * 3 + 30 * 3 + 10),
        ({"Interval": 2 * SECOND, "Timeout": SECOND, "Retries": 2, "StartPeriod": 5 * SECOND}, 5 + 6 + 10),
    ],
)
def test_health_check_gets_the_time_of_its_own_settings(check: JsonObject, expected: float) -> None:
    """The first probe comes one interval after the start, so the monitor window cannot bound it."""
    assert expected == health_patience({"Config": {"Healthcheck": CHECK | check}})
