"""The pure parts of what the program shows: vitals, settings, which endpoints are served."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from watchtower_async import __version__
from watchtower_async.errors import EngineError
from watchtower_async.events import SessionFinished
from watchtower_async.outlets.api import server_settings, switched_on
from watchtower_async.outlets.shown_settings import config_view, session_settings
from watchtower_async.outlets.vitals import PING_SECONDS, ServiceVitals
from watchtower_async.service import Status
from watchtower_async.session import SessionReport
from watchtower_async.settings import Endpoint as Switch
from watchtower_async.settings import HttpApiSettings, Settings, build_settings
from watchtower_async.updates.schedule import Interval
from watchtower_async.web.health import ENGINE_SECONDS
from watchtower_async.web.ports import ConfigView
from watchtower_async.web.route import Endpoint
from watchtower_async.web.server import ServerSettings

NOON = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)
EVERY_HOUR = Interval(timedelta(hours=1))


def settings_of(**environ: str) -> Settings:
    """Return the settings of an environment, whose names have no prefix here."""
    given = {f"WATCHTOWER_{name}": text for name, text in environ.items()}
    return build_settings(command_line={}, environ=given, names=())


async def alive() -> None:
    """Give a sign of life."""


def some_vitals(status: Status, *, schedule: Interval | None = EVERY_HOUR) -> ServiceVitals:
    """Return the vitals of a service at noon."""
    return ServiceVitals(status=status, schedule=schedule, ping=alive, now=lambda: NOON)


# ---- vitals ------------------------------------------------------------------------------------------------------


def test_vitals_are_what_the_service_notes_about_itself() -> None:
    """And the detail has what people and commands look for in the health answer."""
    status = Status(started=NOON, is_ready=True, sessions=3, last_finished=NOON, next_session=NOON + timedelta(hours=1))
    status.last = SessionReport(session="s", plan=None, failure="the engine is gone")
    status.begin(NOON)
    found = some_vitals(status).vitals()
    assert found.is_started
    assert (found.running_since, found.last_finished) == (NOON, NOON)
    assert found.next_session == NOON + timedelta(hours=1)
    assert found.last_failure == "the engine is gone"
    assert (found.detail["version"], found.detail["sessions"]) == (__version__, 3)
    assert found.detail["credentials"] == status.credentials.as_json()


def test_service_that_has_not_begun_is_not_started() -> None:
    """Nothing is known yet, and nothing is wrong."""
    found = some_vitals(Status(started=NOON)).vitals()
    assert (found.is_started, found.last_finished, found.last_failure) == (False, None, None)


@pytest.mark.parametrize(("minutes", "overran"), [(59, False), (61, True)])
def test_session_that_lasts_until_another_one_is_due_has_overrun(minutes: int, overran: bool) -> None:
    """Counted from its begin; the next one that is in time clears it."""
    vitals = some_vitals(Status(started=NOON))
    vitals(SessionFinished("s", 1, 0, 0, minutes * 60.0))
    assert vitals.vitals().has_overrun is overran
    vitals(SessionFinished("s", 1, 0, 0, 1.0))
    assert not vitals.vitals().has_overrun


def test_without_a_schedule_nothing_overruns() -> None:
    """No other session is due."""
    vitals = some_vitals(Status(started=NOON), schedule=None)
    vitals(SessionFinished("s", 1, 0, 0, 1e6))
    assert not vitals.vitals().has_overrun


async def test_engine_that_answers_is_no_problem_and_one_that_refuses_is_its_reason() -> None:
    """In the words of the error."""

    async def refuse() -> None:
        raise EngineError("the disk is full")

    assert await some_vitals(Status(started=NOON)).engine_problem() is None
    vitals = ServiceVitals(status=Status(started=NOON), schedule=None, ping=refuse)
    assert await vitals.engine_problem() == "the disk is full"


@pytest.mark.looptime
async def test_engine_that_hangs_is_a_problem_before_the_health_answer_gives_up() -> None:
    """Nobody waits for it longer than the deadline."""
    vitals = ServiceVitals(status=Status(started=NOON), schedule=None, ping=anyio.sleep_forever)
    begun = anyio.current_time()
    assert await vitals.engine_problem() == f"the engine does not answer within {PING_SECONDS:g} s"
    assert anyio.current_time() - begun == PING_SECONDS < ENGINE_SECONDS


# ---- settings ----------------------------------------------------------------------------------------------------


def test_switches_that_are_on_are_shown_under_watchtowers_names() -> None:
    """Each by itself, so none stands for another."""
    for variable, name in (
        ("MONITOR_ONLY", "monitor_only"),
        ("CLEANUP", "cleanup"),
        ("NO_PULL", "no_pull"),
        ("NO_RESTART", "no_restart"),
        ("ROLLING_RESTART", "rolling_restart"),
        ("INCLUDE_STOPPED", "include_stopped"),
        ("INCLUDE_RESTARTING", "include_restarting"),
        ("LIFECYCLE_HOOKS", "lifecycle_hooks"),
        ("LABEL_ENABLE", "label_enable"),
    ):
        shown = config_view(settings_of(**{variable: "true"}), scope="")
        assert {name} == {field.name for field in fields(ConfigView) if getattr(shown, field.name) is True}


def test_choice_of_containers_is_shown_in_words() -> None:
    """As the start-up message says it; and the scope that counts."""
    assert config_view(settings_of(), scope="none") == ConfigView(filter_desc="every container")
    shown = config_view(settings_of(LABEL_ENABLE="true"), scope="prod")
    assert (shown.filter_desc, shown.scope) == ("using enable label", "prod")


def test_event_about_a_session_tells_the_settings_that_count_for_it() -> None:
    """By Watchtower's names."""
    told = session_settings(settings_of(CLEANUP="true", LABEL_TAKE_PRECEDENCE="true", USE_COMPOSE_DEPENDS_ON="false"))
    assert {name for name, is_on in told.items() if is_on} == {"cleanup", "label_precedence"}


# ---- what is served ----------------------------------------------------------------------------------------------


def test_every_switch_has_an_endpoint_of_its_name() -> None:
    """Otherwise somebody would switch on what is not there."""
    assert {str(switch) for switch in Switch} - {"all"} <= {str(endpoint) for endpoint in Endpoint}


def test_all_is_everything_there_is() -> None:
    """The rollouts, too."""
    given = settings_of(HTTP_API_ENDPOINTS="all", HTTP_API_TOKEN="t", HTTP_API_EVENTS_TOKEN="e").http_api
    assert switched_on(given) == frozenset(Endpoint)


def test_named_and_older_switches_are_what_is_served() -> None:
    """And nothing else."""
    given = settings_of(HTTP_API_ENDPOINTS="health", HTTP_API_UPDATE="true", HTTP_API_TOKEN="t").http_api
    assert switched_on(given) == {Endpoint.HEALTH, Endpoint.UPDATE}


def test_server_has_every_setting_of_the_user() -> None:
    """Each under its own name."""
    given = HttpApiSettings(
        endpoints=(Switch.HEALTH,),
        token="the-token",
        events_token="the-events-token",
        host="192.0.2.1",
        port=1234,
        rate_limit=7,
        tls_cert=Path("/cert"),
        tls_key=Path("/key"),
        trusted_proxies=("10.0.0.0/8",),
        proxy_header="X-Real-IP",
        cors_origins=("https://a.example",),
    )
    assert server_settings(given) == ServerSettings(
        endpoints=frozenset({Endpoint.HEALTH}),
        token="the-token",
        events_token="the-events-token",
        host="192.0.2.1",
        port=1234,
        rate_limit=7,
        tls_certificate=Path("/cert"),
        tls_key=Path("/key"),
        trusted_proxies=("10.0.0.0/8",),
        proxy_header="X-Real-IP",
        cors_origins=("https://a.example",),
    )
