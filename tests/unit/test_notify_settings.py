"""What the settings say about notifications: services, template, title, patience, and what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from watchtower_async.errors import SettingsError
from watchtower_async.outlets.notification_plan import NotificationPlan, all_urls, read_plan
from watchtower_async.settings import LogLevel, Settings, build_settings

TOKEN = "Aaaaaaaaaaaaaaa"
GOTIFY: Mapping[str, str] = {
    "notification.types": "gotify",
    "gotify.url": "http://g.example.com",
    "gotify.token": TOKEN,
}


def some_settings(given: Mapping[str, str | tuple[str, ...]]) -> Settings:
    """Return settings with these options."""
    return build_settings(command_line=given, environ={})


def a_plan(has_apprise: bool = True, **given: str | tuple[str, ...]) -> NotificationPlan:
    """Return the plan of these options of the group."""
    return the_plan({f"notification.{key}": text for key, text in given.items()}, has_apprise=has_apprise)


def the_plan(given: Mapping[str, str | tuple[str, ...]], *, has_apprise: bool = True) -> NotificationPlan:
    """Return the plan of these options."""
    return read_plan(some_settings(given), host_name=lambda: "machine", has_apprise=lambda: has_apprise)


def problems_of(given: Mapping[str, str | tuple[str, ...]], *, has_apprise: bool = True) -> tuple[str, ...]:
    """Return why options cannot be used."""
    with pytest.raises(SettingsError) as caught:
        the_plan(given, has_apprise=has_apprise)
    return caught.value.problems


def test_nothing_is_set_by_default() -> None:
    """Nobody is told, and Apprise is not missed."""
    plan = a_plan(has_apprise=False)
    assert (plan.services, plan.heartbeat_url, plan.warnings, plan.logs_to_stdout) == ((), "", (), False)


def test_urls_come_before_what_the_older_options_stand_for() -> None:
    """As in Watchtower; each has a name without its secret."""
    plan = the_plan({**GOTIFY, "notification.urls": ("discord://t0ken-of-discord@123456",)})
    assert plan.schemes == ("discord", "gotify")
    assert TOKEN not in repr(plan)
    assert "t0ken-of-discord" not in repr(plan)


def test_what_works_and_may_surprise_is_a_warning() -> None:
    """A token in the clear, and a service that was switched off."""
    plan = the_plan(GOTIFY)
    assert len(plan.warnings) == 1
    assert "not encrypted" in plan.warnings[0]


def test_title_names_tag_and_host() -> None:
    """The host by its option, or by its own name; no title where none is wanted."""
    assert a_plan().messages.title == "Watchtower updates on machine"
    assert a_plan(title_tag="home", host_name="nas").messages.title == "[home] Watchtower updates on nas"
    assert the_plan({"email.subject_tag": "mail"}).messages.title == "[mail] Watchtower updates on machine"
    assert a_plan(title_tag="home", skip_title="true").messages.title == ""


def test_options_of_messages_are_taken_over() -> None:
    """Level, report and split."""
    messages = a_plan(level="error", report="true", split_by_container="true").messages
    assert (messages.level, messages.is_report, messages.split_by_container) == (LogLevel.ERROR, True, True)


def test_delay_of_mail_is_meant_for_all() -> None:
    """As in Watchtower, where it is the older option."""
    assert timedelta(seconds=3) == a_plan(delay="3").policy.delay
    assert timedelta(seconds=7) == the_plan({"notification.delay": "3", "email.delay": "7"}).policy.delay


def test_default_template_depends_on_the_mode() -> None:
    """Reports and log entries look different."""
    assert (
        a_plan(report="true").messages.template.name,
        a_plan().messages.template.name,
    ) == ("default", "default-legacy")


def test_template_of_a_file_wins(tmp_path: Path) -> None:
    """Over the one that is given as text."""
    path = tmp_path / "template"
    path.write_text("{{ title }} from the file")
    plan = a_plan(template="from the option", template_file=str(path))
    assert plan.messages.template.source == "{{ title }} from the file"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read"), (b"\xff\xfe", "no text in UTF-8"), (b"x" * 300_000, "longer than"), (b"{{ a", "line 1")],
)
def test_template_file_that_cannot_be_used_is_fatal_and_named(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    """At the start, not when the first message is due."""
    path = tmp_path / "template"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_of({"notification.template_file": str(path)})
    assert str(path) in problem
    assert expected in problem


def test_template_that_cannot_be_used_names_option_and_line() -> None:
    """A name that does not exist is found before it is needed."""
    (problem,) = problems_of({"notification.template": "a\n{{ nobody }}"})
    assert problem.startswith("--notification-template: ")
    assert "line 2" in problem


def test_all_problems_are_told_at_once_without_secrets() -> None:
    """Three round trips would be two too many."""
    secret = "s3cret-of-mine"
    found = problems_of(
        {
            "notification.urls": (f"slack://hook:{secret}@webhook", f"json://host:{secret}/"),
            "notification.template": "{{",
            "notification.heartbeat_url": f"ftp://{secret}",
        }
    )
    assert len(found) == 4
    assert secret not in "\n".join(found)


def test_missing_apprise_is_told_with_what_to_install() -> None:
    """Named are the services that need it, once each."""
    urls = ("discord://t0ken-of-discord@1", "discord://t0ken-of-discord@2", "logger://", "generic://h.example/x")
    (problem,) = problems_of({"notification.urls": urls}, has_apprise=False)
    assert "discord need Apprise" in problem
    assert "watchtower-async[notify]" in problem


def test_apprise_is_not_missed_where_nothing_needs_it() -> None:
    """The log and webhooks are our own."""
    plan = a_plan(has_apprise=False, urls=("logger://", "generic://h.example/x"))
    assert plan.schemes == ("logger", "generic")


def test_porcelain_writes_its_report_to_standard_output() -> None:
    """And nothing else."""
    plan = the_plan({"schedule.porcelain": "v1"}, has_apprise=False)
    assert (
        plan.schemes, plan.logs_to_stdout, plan.messages.is_report, plan.messages.template.name
    ) == (("logger",), True, True, "porcelain.v1.summary-no-log")  # fmt: skip


def test_all_urls_are_in_the_form_that_the_option_takes() -> None:
    """What `notify-upgrade` writes can be read back."""
    urls = all_urls(some_settings({**GOTIFY, "notification.urls": ("logger://",)}))
    assert ("logger://", f"gotify://g.example.com/{TOKEN}?disabletls=Yes&title=") == urls
    assert a_plan(urls=urls).schemes == ("logger", "gotify")
