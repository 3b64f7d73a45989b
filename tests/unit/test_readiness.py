"""When a new updater counts as good, and how it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from watchtower_async.rollout.health import Bad, Good, Wait
from watchtower_async.rollout.readiness import READY_SECONDS, judge_updater, probe_command

OWN_CHECK = {"Test": ["CMD", "/watchtower", "--health-check"]}


def an_updater(*, status: str = "running", health: str = "", **config: Any) -> dict[str, Any]:
    """Return a new updater, inspected."""
    state: dict[str, Any] = {"Status": status, "ExitCode": 0} | ({"Health": {"Status": health}} if health else {})
    return {"State": state, "Config": config, "HostConfig": {"RestartPolicy": {"Name": "no"}}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Entrypoint": ["/watchtower"], "Healthcheck": OWN_CHECK}, "/watchtower --health-check"),
        ({"Entrypoint": ["/watchtower"], "Cmd": ["--debug"]}, "/watchtower --health-check"),
        ({"Entrypoint": ["/watchtower"], "Cmd": ["--state-dir", "/s"]}, "/watchtower --health-check --state-dir /s"),
        (
            {"Entrypoint": ["/watchtower"], "Cmd": ["--state-dir=/s"], "Healthcheck": OWN_CHECK},
            "/watchtower --health-check --state-dir=/s",
        ),
        (
            {"Entrypoint": ["/usr/bin/python3"], "Cmd": ["-m", "watchtower_async", "-R"]},
            "/usr/bin/python3 -m watchtower_async --health-check",
        ),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "x --health-check || exit 1"]}},
            "/bin/sh -c x --health-check || exit 1",
        ),
    ],
)
def test_updater_is_asked_as_its_health_check_asks(config: dict[str, Any], expected: str) -> None:
    """Where its socket is somewhere else, that is said, too."""
    assert expected == " ".join(probe_command(an_updater(**config)))


@pytest.mark.parametrize(
    "config",
    [
        {"Entrypoint": ["sh", "-c", "sleep 1; exec /watchtower"]},
        {"Entrypoint": ["sh", "-c"], "Cmd": ["/opt/watchtower"]},
        {"Entrypoint": ["/init"], "Healthcheck": {"Test": ["NONE"]}},
    ],
)
def test_nothing_is_run_that_might_start_a_second_updater(config: dict[str, Any]) -> None:
    """A shell takes no word after its script; then nobody can be asked."""
    assert probe_command(an_updater(**config)) == ()


def judged(document: dict[str, Any], *, watched: float, is_ready: bool = False, can_be_asked: bool = True) -> type:
    """Return the kind of the judgement, with a monitor window of 5 seconds."""
    found = judge_updater(document, watched=watched, monitor=5.0, is_ready=is_ready, can_be_asked=can_be_asked)
    return type(found)


def test_updater_that_runs_is_not_good_before_it_says_so() -> None:
    """However long the monitor window is over; and not for ever."""
    assert judged(an_updater(), watched=60) is Wait
    assert judged(an_updater(), watched=READY_SECONDS) is Bad


def test_updater_that_is_ready_must_stay_so_for_the_monitor_window() -> None:
    """It may be ready at once and exit a moment later."""
    assert judged(an_updater(), watched=1, is_ready=True) is Wait
    assert judged(an_updater(), watched=5, is_ready=True) is Good
    assert judged(an_updater(status="exited"), watched=5, is_ready=True) is Bad


def test_updater_is_no_job() -> None:
    """Exit code 0 is success for others."""
    assert judged(an_updater(status="exited"), watched=1) is Bad


def test_health_check_that_passes_is_as_good_as_an_answer() -> None:
    """And one that fails is not waited for."""
    assert judged(an_updater(health="healthy", Healthcheck=OWN_CHECK), watched=6) is Good
    assert judged(an_updater(health="unhealthy", Healthcheck=OWN_CHECK), watched=6) is Bad
    assert judged(an_updater(health="starting", Healthcheck=OWN_CHECK), watched=100) is Wait


def test_updater_that_nobody_can_ask_must_run_for_the_monitor_window() -> None:
    """As other containers without a health check."""
    assert judged(an_updater(), watched=4, can_be_asked=False) is Wait
    assert judged(an_updater(), watched=5, can_be_asked=False) is Good
