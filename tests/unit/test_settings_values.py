"""What option texts mean: lists, ages, sizes, secrets in files, and Docker's own variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from watchtower_async.errors import SettingsError
from watchtower_async.settings import (
    Endpoint,
    LogLevel,
    NotificationType,
    Settings,
    build_settings,
    parse_cooldown,
    parse_log_level,
    parse_size,
)


def from_environment(**variables: str) -> Settings:
    """Build settings from Watchtower's variables, named without their prefix."""
    return build_settings(command_line={}, environ={f"WATCHTOWER_{key}": text for key, text in variables.items()})


def problems_of(**variables: str) -> tuple[str, ...]:
    """Return what is wrong with these texts."""
    environ = {f"WATCHTOWER_{key}": text for key, text in variables.items()}
    with pytest.raises(SettingsError) as caught:
        build_settings(command_line={}, environ=environ)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90", timedelta(seconds=90)), ("1w2d", timedelta(days=9)), ("1M", timedelta(days=30)),
        ("1m", timedelta(minutes=1)), ("1.5d", timedelta(hours=36)), ("0", timedelta(0)),
        ("1h30m10s", timedelta(seconds=5410)),
    ],
)  # fmt: skip
def test_cooldown_has_days_weeks_and_months(text: str, age: timedelta) -> None:
    """A month is 30 days and a minute is no month."""
    assert age == parse_cooldown(text)


@pytest.mark.parametrize("text", ["", "-1d", "1y", "1d 2h", "d", "1000M"])
def test_cooldown_that_is_none_is_refused(text: str) -> None:
    """Nothing is guessed: a cooldown that was misread would let an image through."""
    with pytest.raises(ValueError, match=r"duration|non-negative"):
        parse_cooldown(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 500_000_000), ("2G", 2_000_000_000), ("1.5 GiB", 1_610_612_736), ("10k", 10_000), ("7b", 7)],
)
def test_size_is_in_bytes(text: str, size: int) -> None:
    """With `i` by 1024, else by 1000."""
    assert size == parse_size(text)


@pytest.mark.parametrize("text", ["", "much", "-1", "5%", "1E"])
def test_size_that_is_none_is_refused(text: str) -> None:
    """Nonsense is an error, not zero."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_level_may_be_written_as_in_logs() -> None:
    """Logs say `warning`, and in any case."""
    assert parse_log_level("WARNING") is LogLevel.WARN


def test_list_in_the_environment_has_commas_and_spaces() -> None:
    """In any mixture."""
    selection = from_environment(DISABLE_CONTAINERS="web, db  cache,").selection
    assert selection.disable_containers == ("web", "db", "cache")


def test_list_on_the_command_line_is_joined_from_all_that_is_given() -> None:
    """Commas separate, quotes keep a comma, and the environment counts for nothing then."""
    settings = build_settings(
        command_line={"selection.disable_containers": ("web, db", '"a{1,2}"')},
        environ={"WATCHTOWER_DISABLE_CONTAINERS": "cache"},
    )
    assert settings.selection.disable_containers == ("web", "db", "a{1,2}")


def test_types_of_notifications_may_have_commas() -> None:
    """As in compose files of either program."""
    given = from_environment(
        NOTIFICATIONS="shoutrrr,Slack", NOTIFICATION_SLACK_HOOK_URL="https://hooks.slack.com/services/A/B/C"
    )
    assert given.notification.types == (NotificationType.SHOUTRRR, NotificationType.SLACK)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("ntfy://a/b discord://t@1", ("ntfy://a/b", "discord://t@1")),
        ("ntfy://a/b,discord://t@1", ("ntfy://a/b", "discord://t@1")),
        ("smtp://h/?to=a@b,c@d ntfy://a/b", ("smtp://h/?to=a@b,c@d", "ntfy://a/b")),
        ("smtp://h/?to=a,b,ntfy://a/b", ("smtp://h/?to=a,b", "ntfy://a/b")),
        (" logger:// ", ("logger://",)),
        (",ntfy://a/b, ,, logger://,", ("ntfy://a/b", "logger://")),
    ],
)
def test_urls_in_the_environment_may_hold_commas(text: str, urls: tuple[str, ...]) -> None:
    """A piece after a comma that is no URL belongs to the one before it."""
    assert urls == from_environment(NOTIFICATION_URL=text).notification.urls


def test_url_on_the_command_line_is_never_split() -> None:
    """It is one URL, whatever stands in it."""
    given = ("ntfy://a/b,discord://x y", "logger://")
    assert given == build_settings(command_line={"notification.urls": given}, environ={}).notification.urls


def test_file_of_urls_has_one_in_each_line(tmp_path: Path) -> None:
    """In the place where the file is named; empty lines and comments are left out."""
    (tmp_path / "urls").write_text("# team\n\n  ntfy://a/b  \ndiscord://t@1\n")
    given = from_environment(NOTIFICATION_URL=f"logger:// {tmp_path / 'urls'} gotify://h/t")
    assert given.notification.urls == ("logger://", "ntfy://a/b", "discord://t@1", "gotify://h/t")


@pytest.mark.parametrize(
    "variable",
    [
        "HTTP_API_TOKEN", "HTTP_API_EVENTS_TOKEN", "NOTIFICATION_EMAIL_SERVER_PASSWORD", "NOTIFICATION_SLACK_HOOK_URL",
        "NOTIFICATION_MSTEAMS_HOOK_URL", "NOTIFICATION_GOTIFY_TOKEN", "HEARTBEAT_URL", "NOTIFICATION_URL",
    ],
)  # fmt: skip
def test_secret_is_read_from_its_file_and_never_shown(variable: str, tmp_path: Path) -> None:
    """Neither by the settings nor by what is said about them."""
    (tmp_path / "secret").write_text("x://marker\n")
    settings = from_environment(**{variable: str(tmp_path / "secret")})
    values = (
        settings.http_api.token, settings.http_api.events_token, settings.email.password, settings.slack.hook_url,
        settings.msteams.hook_url, settings.gotify.token, settings.notification.heartbeat_url,
        *settings.notification.urls,
    )  # fmt: skip
    assert values.count("x://marker") == 1
    assert "marker" not in repr(settings)


def test_labels_have_a_value_or_ask_for_any() -> None:
    """Commas separate pairs, so a value may hold spaces."""
    given = from_environment(ENABLE_CONTAINERS_BY_LABEL="tier=web one, team=")
    assert given.selection.enable_by_label == (("tier", "web one"), ("team", ""))


@pytest.mark.parametrize(
    "text", ["tier", "=x", "a=b,=", ",".join(f"k{number}=v" for number in range(101)), "k=" + "v" * 4096]
)
def test_labels_that_cannot_be_meant_are_refused(text: str) -> None:
    """No label, or far too many."""
    (problem,) = problems_of(DISABLE_CONTAINERS_BY_LABEL=text)
    assert problem.startswith("WATCHTOWER_DISABLE_CONTAINERS_BY_LABEL: ")


def test_endpoints_are_joined_from_list_and_older_switches() -> None:
    """Any case; `all` is every one of them."""
    api = from_environment(HTTP_API_ENDPOINTS="Health, check", HTTP_API_METRICS="true", HTTP_API_TOKEN="t").http_api
    assert api.enabled == {Endpoint.HEALTH, Endpoint.CHECK, Endpoint.METRICS}
    everything = from_environment(HTTP_API_ENDPOINTS="ALL", HTTP_API_TOKEN="t", HTTP_API_EVENTS_TOKEN="e").http_api
    assert everything.enabled == set(Endpoint) - {Endpoint.ALL}


def test_numbers_of_the_api_fall_back_as_in_watchtower() -> None:
    """0 is the usual deadline, and a rate of nothing the usual rate."""
    api = from_environment(
        HTTP_API_CHECK_TIMEOUT="0", HTTP_API_UPDATE_TIMEOUT="90", HTTP_API_RATE_LIMIT="-1", HTTP_API_PORT=":9000",
        HTTP_API_HOST="[::1]",
    ).http_api  # fmt: skip
    assert (api.check_timeout, api.update_timeout) == (timedelta(minutes=5), timedelta(seconds=90))
    assert (api.rate_limit, api.port, api.host) == (60, 9000, "::1")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("HTTP_API_HOST", "localhost"), ("HTTP_API_PORT", "70000"), ("HTTP_API_PORT", "http"),
        ("HTTP_API_TRUSTED_PROXIES", "10.0.0.0/8 proxy"), ("HTTP_API_ENDPOINTS", "update nothing"),
        ("HTTP_API_RATE_LIMIT", "many"), ("LIFECYCLE_UID", "-1"), ("LIFECYCLE_GID", "2147483648"),
        ("NOTIFICATIONS", "pigeon"), ("NOTIFICATIONS_LEVEL", "loud"), ("NOTIFICATIONS_DELAY", "soon"),
        ("NOTIFICATION_EMAIL_SERVER_PORT", "0"), ("COOLDOWN_DELAY", "-1d"), ("MIN_FREE", "much"), ("JITTER", "-1s"),
    ],
)  # fmt: skip
def test_text_that_cannot_be_read_is_a_problem_of_its_variable(variable: str, text: str) -> None:
    """Named, with the text: nothing is taken for a default silently."""
    (problem,) = problems_of(**{variable: text})
    assert problem.startswith(f"WATCHTOWER_{variable}: {text!r} is not usable: ")


def test_schedule_and_version_lose_the_quotes_of_a_compose_file() -> None:
    """A list entry `- WATCHTOWER_SCHEDULE="0 0 4 * * *"` hands the quotes over."""
    settings = build_settings(
        command_line={}, environ={"WATCHTOWER_SCHEDULE": '"0 0 4 * * *"', "DOCKER_API_VERSION": "'1.44'"}
    )
    assert (settings.schedule.schedule, settings.engine.api_version) == ("0 0 4 * * *", "1.44")


def test_windows_are_separated_by_semicolons() -> None:
    """Commas and spaces stand inside of one."""
    schedule = from_environment(UPDATE_WINDOW="Sat,Sun 02:00-05:00; Mon 03:00-04:00").schedule
    assert schedule.update_windows == ("Sat,Sun 02:00-05:00", "Mon 03:00-04:00")


@pytest.mark.parametrize("text", ["1", "0", "false", "anything"])
def test_no_color_counts_by_its_presence(text: str) -> None:
    """Whatever its value, as https://no-color.org says; on the command line it is a switch."""
    assert build_settings(command_line={}, environ={"NO_COLOR": text}).log.no_color is True
    assert build_settings(command_line={"log.no_color": "false"}, environ={"NO_COLOR": text}).log.no_color is False


@pytest.mark.parametrize(
    ("command_line", "environ", "expected"),
    [
        ({}, {"HOME": "/"}, {"HOME": "/"}),
        ({}, {"DOCKER_TLS_VERIFY": "yes"}, {"DOCKER_TLS_VERIFY": "1"}),
        ({}, {"DOCKER_TLS_VERIFY": "no", "DOCKER_CERT_PATH": "/c"}, {"DOCKER_CERT_PATH": "/c"}),
        ({"engine.tls_verify": "false"}, {"DOCKER_TLS_VERIFY": "1"}, {}),
        (
            {"engine.tls_verify": "true", "engine.cert_path": "/d"},
            {"DOCKER_CERT_PATH": "/c"},
            {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/d"},
        ),
    ],
)
def test_flags_of_the_engine_overrule_dockers_variables(
    command_line: dict[str, str], environ: dict[str, str], expected: dict[str, str]
) -> None:
    """Who reads the variables reads what the flags say."""
    settings = build_settings(command_line=command_line, environ=environ)
    assert expected == settings.engine.environment(environ)
