"""What options say about each other, and what is said about them at the start."""

from __future__ import annotations

from typing import Any

import pytest

from watchtower_async.errors import SettingsError
from watchtower_async.settings import (
    LogLevel,
    Notice,
    NoticeKind,
    Settings,
    build_settings,
    declared_options,
    unsupported_variables,
)

CLI = dict[str, str | tuple[str, ...]]
SCHEDULE_PROBLEM = "Cannot define both interval and schedule"
GOTIFY = (
    "WATCHTOWER_NOTIFICATIONS", "WATCHTOWER_NOTIFICATION_GOTIFY_URL", "WATCHTOWER_NOTIFICATION_GOTIFY_TOKEN",
)  # fmt: skip
ROLLING_PROBLEM = "rolling-restart and monitor-only cannot both be enabled"


def built(command_line: CLI | None = None, /, **variables: str) -> Settings:
    """Build settings; variables are named without Watchtower's prefix."""
    environ = {f"WATCHTOWER_{key}": text for key, text in variables.items()}
    return build_settings(command_line=command_line or {}, environ=environ)


def problems_of(command_line: CLI | None = None, /, **variables: str) -> tuple[str, ...]:
    """Return what is wrong; nothing may be."""
    try:
        built(command_line, **variables)
    except SettingsError as error:
        return error.problems
    return ()


def said(settings: Settings, kind: NoticeKind) -> list[str]:
    """Return what is said for this reason."""
    return [str(notice) for notice in settings.notices if notice.kind is kind]


@pytest.mark.parametrize(
    ("command_line", "variables", "expected"),
    [
        ({"schedule.schedule": "@daily", "schedule.interval": "60"}, {}, (SCHEDULE_PROBLEM,)),
        ({"schedule.interval": "86400"}, {"SCHEDULE": "@daily"}, (SCHEDULE_PROBLEM,)),
        ({}, {"SCHEDULE": "@daily", "POLL_INTERVAL": "60"}, (SCHEDULE_PROBLEM,)),
        ({}, {"SCHEDULE": "@daily", "POLL_INTERVAL": "86400"}, ()),
        ({"update.monitor_only": "true"}, {"ROLLING_RESTART": "true"}, (ROLLING_PROBLEM,)),
        ({}, {"ROLLING_RESTART": "true"}, ()),
    ],
)
def test_options_that_exclude_each_other_are_told_in_known_words(
    command_line: CLI, variables: dict[str, str], expected: tuple[str, ...]
) -> None:
    """An interval counts as given on the command line, or where it is not the default."""
    assert expected == problems_of(command_line, **variables)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("update.stop_timeout", "-1s", "stop-timeout must be non-negative"),
        ("schedule.porcelain", "v2", "Unknown porcelain version, supported: v1, json"),
    ],
)
def test_value_out_of_range_is_told_in_known_words(key: str, text: str, words: str) -> None:
    """People look for these sentences."""
    (problem,) = problems_of({key: text})
    assert problem.endswith(f"{text!r} is not usable: {words}")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HTTP_API_UPDATE": "1"}, "api token is empty or has not been set: set --http-api-token or "),
        ({"HTTP_API_ENDPOINTS": "metrics"}, "api token is empty or has not been set"),
        ({"HTTP_API_ENDPOINTS": "events"}, "set --http-api-events-token or WATCHTOWER_HTTP_API_EVENTS_TOKEN"),
        ({"HTTP_API_ENDPOINTS": "all,health", "HTTP_API_TOKEN": "t", "HTTP_API_EVENTS_TOKEN": "e"}, "all stands alone"),
        ({"HTTP_API_TLS_CERT": "/c.pem"}, "set --http-api-tls-key or WATCHTOWER_HTTP_API_TLS_KEY"),
        ({"HTTP_API_TLS_KEY": "/k.pem"}, "set --http-api-tls-cert or WATCHTOWER_HTTP_API_TLS_CERT"),
        ({"NOTIFICATIONS": "slack"}, "set --notification-slack-hook-url or WATCHTOWER_NOTIFICATION_SLACK_HOOK_URL"),
        ({"NOTIFICATIONS": "msteams"}, "set --notification-msteams-hook or WATCHTOWER_NOTIFICATION_MSTEAMS_HOOK_URL"),
        ({"NOTIFICATIONS": "gotify", "NOTIFICATION_GOTIFY_URL": "https://h"}, "set --notification-gotify-token or "),
        (
            {"NOTIFICATIONS": "gotify", "NOTIFICATION_GOTIFY_URL": "h", "NOTIFICATION_GOTIFY_TOKEN": "t"},
            "--notification-gotify-url: it must begin with http:// or https://",
        ),
        ({"NOTIFICATION_URL": "hunter2"}, "--notification-url: an item is neither a URL"),
    ],
)
def test_what_is_missing_is_named_with_its_flag_and_variable(variables: dict[str, str], words: str) -> None:
    """One problem, with the remedy and without a secret."""
    (problem,) = problems_of(**variables)
    assert words in problem
    assert "hunter2" not in problem


def test_mail_needs_three_things() -> None:
    """All of them are told at once."""
    assert len(problems_of(NOTIFICATIONS="email")) == 3


@pytest.mark.parametrize("endpoints", ["health", "swagger", "health swagger"])
def test_endpoints_that_are_open_need_no_token(endpoints: str) -> None:
    """Probes carry none."""
    assert problems_of(HTTP_API_ENDPOINTS=endpoints) == ()


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ({"log.debug": "true"}, LogLevel.DEBUG),
        ({"log.trace": "true", "log.debug": "true"}, LogLevel.TRACE),
        ({"log.level": "error", "log.debug": "true"}, LogLevel.DEBUG),
        ({"log.level": "error", "log.debug": "false"}, LogLevel.ERROR),
    ],
)
def test_debug_and_trace_are_levels(given: CLI, level: LogLevel) -> None:
    """They overrule the level, and trace overrules debug."""
    assert level is built(given).log.level


def test_porcelain_stands_for_four_options() -> None:
    """A report on standard output by the template of that version."""
    given = built(PORCELAIN="v1", NOTIFICATION_URL="ntfy://a/b", NOTIFICATION_TEMPLATE="mine").notification
    assert given.urls == ("ntfy://a/b", "logger://")
    assert (given.log_stdout, given.report, given.template) == (True, True, "porcelain.v1.summary-no-log")
    assert built(PORCELAIN="json").notification.template == "porcelain.json"


def test_porcelain_leaves_what_the_command_line_says() -> None:
    """Only there; the environment is overruled, as in Watchtower."""
    given: CLI = {"notification.template": "mine", "notification.report": "false", "schedule.porcelain": "v1"}
    notification = built(given).notification
    assert (notification.template, notification.report, notification.log_stdout) == ("mine", False, True)


def test_old_options_work_and_are_told_in_one_sentence() -> None:
    """Somebody with six of them reads one line, which names what replaces them."""
    settings = built(
        NOTIFICATIONS="gotify", NOTIFICATION_GOTIFY_URL="https://h", NOTIFICATION_GOTIFY_TOKEN="t",
        HTTP_API_METRICS="true", HTTP_API_TOKEN="t", HTTP_API_CONTAINERS="false",
    )  # fmt: skip
    assert settings.gotify.url == "https://h"
    assert said(settings, NoticeKind.DEPRECATED) == [
        "WATCHTOWER_HTTP_API_METRICS is deprecated: use --http-api-endpoints metrics",
        f"{', '.join(GOTIFY)} are deprecated: use --notification-url",
    ]


@pytest.mark.parametrize(
    "key",
    [
        "schedule.self_update_orchestrator", "update.ephemeral_self_update", "registry.warn_on_head_failure",
        "slack.channel", "msteams.use_log_data", "gotify.tls_skip_verify",
    ],
)  # fmt: skip
def test_option_that_makes_no_sense_is_accepted_and_says_so(key: str) -> None:
    """By the name it was given with, and why."""
    option = next(option for option in declared_options() if option.key == key)
    settings = built({key: "true" if option.is_switch else "never"})
    assert said(settings, NoticeKind.NO_EFFECT) == [f"{option.name} has no effect here: {option.no_effect}"]


def test_option_that_is_not_carried_out_is_never_silent() -> None:
    """Every one of them, as variable and as flag, where it is more than the default."""
    for option in declared_options():
        if option.is_carried_out:
            continue
        notices = built({option.key: _some_text(option.key, option.is_switch, option.default)}, **_partners(option.key))
        assert Notice(NoticeKind.NO_EFFECT, option.name, "has no effect yet") in notices.notices, option.name


def _some_text(key: str, is_switch: bool, default: Any) -> str:
    """Return a usable text that is not the default."""
    if is_switch:
        return "false" if default is True else "true"
    special = {
        "engine.api_version": "1.44", "schedule.porcelain": "v1", "http_api.endpoints": "health",
        "http_api.host": "::1", "http_api.trusted_proxies": "::1", "notification.urls": "logger://",
        "notification.types": "shoutrrr", "notification.level": "error", "gotify.url": "https://h",
        "selection.enable_by_label": "a=b", "selection.disable_by_label": "a=b", "update.cpu_copy_mode": "none",
        "registry.tls_min_version": "TLS1.3",
    }  # fmt: skip
    return special.get(key, "7")


def _partners(key: str) -> dict[str, str]:
    """Return what an option cannot be given without."""
    pair = {"http_api.tls_cert": "HTTP_API_TLS_KEY", "http_api.tls_key": "HTTP_API_TLS_CERT"}
    return {"HTTP_API_TOKEN": "t", **({pair[key]: "/x"} if key in pair else {})}


def test_default_that_somebody_writes_is_worth_no_word() -> None:
    """Nothing is lost by it."""
    assert built(NO_PULL="false", HTTP_API_METRICS="false", CLEANUP="false").notices == ()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SCHEDULES", "WATCHTOWER_SCHEDULE"), ("MONITORONLY", "WATCHTOWER_MONITOR_ONLY"),
        ("INTERVAL", "WATCHTOWER_POLL_INTERVAL"), ("STOP_TIMEOUT", "WATCHTOWER_TIMEOUT"), ("REPO_PASS", "REPO_PASS"),
        ("ENABLE_LIFECYCLE_HOOKS", "WATCHTOWER_LIFECYCLE_HOOKS"), ("TLSVERIFY", "DOCKER_TLS_VERIFY"),
        ("NOTIFICATIONS_URL", "WATCHTOWER_NOTIFICATION_URL"),
    ],
)  # fmt: skip
def test_unknown_variable_is_told_with_the_nearest_known_one(variable: str, meant: str) -> None:
    """A slip of the pen, or the flag's name."""
    expected = [f"WATCHTOWER_{variable} is not known; did you mean {meant}?"]
    assert expected == said(built(**{variable: "s3cr3t"}), NoticeKind.UNKNOWN)


def test_unknown_variable_without_a_neighbour_is_only_named() -> None:
    """No guess is better than a wild one; those without the prefix, or empty, are nobody's business."""
    environ = {"WATCHTOWER_QQ": "1", "WATCHTOWER_XX": "", "QQ": "1", "WATCHTOWER_ASYNC_IMAGE": "x"}
    settings = build_settings(command_line={}, environ=environ)
    assert settings.notices == (Notice(NoticeKind.UNKNOWN, "WATCHTOWER_QQ", "is not known"),)
    assert unsupported_variables(environ) == ("WATCHTOWER_QQ",)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CPU_COPY_MODE": "most"}, "WATCHTOWER_CPU_COPY_MODE counts as auto, since 'most' is not usable: "),
        ({"REGISTRY_TLS_MIN_VERSION": "TLS1.0"}, "WATCHTOWER_REGISTRY_TLS_MIN_VERSION counts as TLS1.2, since "),
        ({"MONITOR_ONLY": "1", "NO_PULL": "1"}, "WATCHTOWER_NO_PULL and monitor-only together"),
        ({"TIMEOUT": "500ms"}, "WATCHTOWER_TIMEOUT is less than a second"),
        ({"RUN_ONCE": "1", "UPDATE_ON_START": "1"}, "WATCHTOWER_UPDATE_ON_START adds nothing to --run-once"),
        ({"EXIT_CODE": "1"}, "WATCHTOWER_EXIT_CODE has no effect without --run-once"),
        ({"HTTP_API_PORT": "9000"}, "WATCHTOWER_HTTP_API_PORT does nothing before --http-api-endpoints"),
        ({"HTTP_API_PERIODIC_POLLS": "1"}, "WATCHTOWER_HTTP_API_PERIODIC_POLLS has no effect where updates by request"),
    ],
)
def test_what_works_and_may_surprise_is_worth_a_word(variables: dict[str, str], expected: str) -> None:
    """One remark, with the name of what was given."""
    (remark,) = said(built(**variables), NoticeKind.REMARK)
    assert remark.startswith(expected)
