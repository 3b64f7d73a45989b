"""Options: parsing, precedence, problems."""

from datetime import timedelta
from pathlib import Path

import pytest

from watchtower_async.errors import SettingsError
from watchtower_async.settings import (
    LogLevel,
    build_settings,
    declared_options,
    parse_bool,
    parse_duration,
    unsupported_variables,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("30", 30), ("1.5h", 5400), ("250ms", 0.25), ("-5s", -5), ("+2", 2), (".5s", 0.5)],
)
def test_duration_in_every_form_is_read(text: str, seconds: float) -> None:
    """Go durations and bare seconds are understood."""
    assert timedelta(seconds=seconds) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "s", "10 s", "10x", "1m-3s", "nan", "1e9h", "99999999999999999h", "١s"])
def test_duration_that_is_none_is_refused(text: str) -> None:
    """Nonsense is an error, not zero."""
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["yes", "TrUe", "", "2", "on"])
def test_truth_value_outside_go_forms_is_refused(text: str) -> None:
    """Only the forms of Go's ParseBool are truth values."""
    with pytest.raises(ValueError, match="true or false"):
        parse_bool(text)


def test_command_line_beats_environment_beats_default() -> None:
    """Precedence is command line, environment, default."""
    environ = {"WATCHTOWER_LOG_LEVEL": "warn", "WATCHTOWER_TIMEOUT": "20"}
    settings = build_settings(command_line={"log.level": "debug"}, environ=environ)
    assert settings.log.level is LogLevel.DEBUG
    assert settings.update.stop_timeout == timedelta(seconds=20)
    assert settings.schedule.interval == timedelta(days=1)


def test_empty_environment_value_counts_as_unset() -> None:
    """An empty variable is as if it were not there."""
    assert build_settings(command_line={}, environ={"WATCHTOWER_RUN_ONCE": ""}).schedule.run_once is False


def test_all_problems_are_listed_at_once() -> None:
    """A user with three wrong values sees three problems."""
    environ = {"WATCHTOWER_CLEANUP": "maybe", "WATCHTOWER_TIMEOUT": "-1s"}
    with pytest.raises(SettingsError) as caught:
        build_settings(command_line={"log.format": "xml"}, environ=environ)
    assert len(caught.value.problems) == 3
    assert any("--log-format" in problem for problem in caught.value.problems)


def test_interval_below_a_second_is_a_second() -> None:
    """The shortest interval is one second, as in Watchtower."""
    environ = {"WATCHTOWER_POLL_INTERVAL": "0"}
    assert build_settings(command_line={}, environ=environ).schedule.interval == timedelta(seconds=1)


def test_variables_without_effect_are_named() -> None:
    """A Watchtower setting that does nothing here is not silent."""
    environ = {"WATCHTOWER_SCHEDULES": "@daily", "WATCHTOWER_CLEANUP": "true", "REPO_USER": "x", "HOME": "/"}
    assert unsupported_variables(environ) == ("WATCHTOWER_SCHEDULES",)


def test_declarations_are_complete_and_distinct() -> None:
    """Every option has a long flag first, a help text, and names nobody else has."""
    options = list(declared_options())
    flags = [flag for option in options for flag in option.flags]
    assert len(flags) == len(set(flags))
    variables = [option.env for option in options if option.env]
    assert len(variables) == len(set(variables))
    assert all(option.name.startswith("--") and option.help.endswith(".") and option.group for option in options)


def test_config_directory_is_taken_as_given() -> None:
    """The directory is not expanded or resolved: the container's paths are literal."""
    settings = build_settings(command_line={}, environ={"DOCKER_CONFIG": "/config"})
    assert settings.registry.config_directory == Path("/config")


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"WATCHTOWER_ZZ": "email", "WATCHTOWER_A": "1"}, ("WATCHTOWER_A", "WATCHTOWER_ZZ")),
        ({"WATCHTOWER_SCHEDULE": "", "REPO_PASS": ""}, ()),
        ({"REPO_PASS": "s3cr3t", "REPO_USER": "me"}, ()),
        ({"WATCHTOWER_ASYNC_IMAGE": "x", "DOCKER_HOST": "x", "TZ": "UTC", "watchtower_a": "1"}, ()),
        ({option.env: "x" for option in declared_options() if option.is_carried_out and not option.no_effect}, ()),
    ],
)
def test_only_what_is_set_and_has_no_effect_is_named(environ: dict[str, str], named: tuple[str, ...]) -> None:
    """Names only, never values, in a fixed order."""
    assert named == unsupported_variables(environ)


def test_login_may_be_in_files(tmp_path: Path) -> None:
    """As Docker and Kubernetes give secrets; the white space around them is not theirs."""
    (tmp_path / "user").write_text("me\n")
    (tmp_path / "pass").write_text(" p:w d\n\n")
    environ = {
        "REPO_USER": str(tmp_path / "user"), "REPO_PASS": str(tmp_path / "pass"),
        "WATCHTOWER_REPO_REGISTRIES": "ghcr.io, quay.io:8443",
    }  # fmt: skip
    registry = build_settings(command_line={}, environ=environ).registry
    assert (registry.repo_user, registry.repo_password) == ("me", "p:w d")
    assert registry.repo_registries == ("ghcr.io", "quay.io:8443")


def test_only_secrets_may_be_in_files(tmp_path: Path) -> None:
    """A directory option that names a file is not read."""
    settings = build_settings(command_line={}, environ={"DOCKER_CONFIG": "/etc/hostname"}, secret_of=lambda _: "read")
    assert settings.registry.config_directory == Path("/etc/hostname")


def test_secret_that_is_not_usable_is_not_shown(tmp_path: Path) -> None:
    """The problem names the variable and the reason."""
    environ = {"REPO_USER": "hunter2:marker", "REPO_PASS": str(tmp_path)}
    with pytest.raises(SettingsError) as caught:
        build_settings(command_line={}, environ=environ)
    assert caught.value.problems == (
        "REPO_USER: its value is not usable: a user name with a colon cannot be sent",
        "REPO_PASS: its value is not usable: it names a file that cannot be read: Is a directory",
    )


def test_settings_do_not_show_secrets() -> None:
    """They may end up in a traceback."""
    settings = build_settings(command_line={}, environ={"REPO_USER": "hunter", "REPO_PASS": "hunter2-marker"})
    assert settings.registry.repo_password == "hunter2-marker"
    assert "hunter" not in repr(settings)
