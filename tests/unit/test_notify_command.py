"""`notify test`, `notify preview` and `notify-upgrade`: what they print, and what they do not."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from watchtower_async.cli.main import EXIT_FAILED, EXIT_USAGE, run
from watchtower_async.cli.notify_command import upgrade
from watchtower_async.errors import WatchtowerError
from watchtower_async.settings import build_settings

SECRET = "s3cretTokenOfMine"
NOWHERE = "generic://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def called(*arguments: str) -> int:
    """Return the exit code of the program."""
    return run(["watchtower-async", *arguments], {"HOME": "/nonexistent"})


def test_each_service_answers_and_one_failure_decides(capsys: pytest.CaptureFixture[str]) -> None:
    """By their names, without secrets."""
    urls = ("logger://", f"{NOWHERE}{SECRET}?disabletls=yes")
    assert called("notify", "test", *(f"--notification-url={url}" for url in urls)) == EXIT_FAILED
    out, log = capsys.readouterr()
    first, second = out.splitlines()
    assert first == "logger://: ok, written to the log"
    assert second.startswith("generic://127.0.0.1:9/***: FAILED, ")
    assert "This is a test notification" in log
    assert SECRET not in out + log


def test_good_answers_are_a_good_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The message goes to standard output where that is asked for."""
    assert called("notify", "test", "--notification-url=logger://", "--notification-log-stdout") == 0
    assert "This is a test notification" in capsys.readouterr().out


def test_nobody_to_notify_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """With the option that is missing."""
    assert called("notify", "test") == EXIT_FAILED
    assert "--notification-url" in capsys.readouterr().err


def test_preview_shows_the_message_of_a_made_up_session(capsys: pytest.CaptureFixture[str]) -> None:
    """In the template that is set, with its title."""
    given = ("--notification-report", "--notification-title-tag=home", "--notifications-hostname=nas")
    assert called("notify", "preview", *given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[home] Watchtower updates on nas"
    assert "6 Scanned, 2 Updated, 1 Failed" in lines


def test_preview_says_when_nothing_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """After a session that found nothing."""
    assert called("notify", "preview", "--quiet", "--notification-report") == 0
    assert capsys.readouterr().out == "(no message is sent)\n"


@pytest.mark.parametrize(
    "words", [("notify",), ("notify", "shout"), ("notify", "test", "web"), ("notify-upgrade", "web")]
)
def test_other_words_are_refused(words: tuple[str, ...]) -> None:
    """A name here would be a slip."""
    assert called(*words) == EXIT_USAGE


def test_template_that_cannot_be_used_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With the option and the line."""
    assert called("notify", "preview", "--notification-template={{ nobody }}") == EXIT_USAGE
    assert "--notification-template: template, line 1" in capsys.readouterr().err


def test_older_options_stand_as_urls_in_a_file_until_it_was_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For its owner only; what is printed holds no secret, and nothing is left."""
    given = {"notification.types": "gotify", "gotify.url": "https://g.example.com", "gotify.token": SECRET}
    settings = build_settings(command_line={**given, "notification.urls": ("logger://",)}, environ={})
    found: list[tuple[str, str, int]] = []

    def fetch() -> None:
        (path,) = tmp_path.iterdir()
        found.append((path.name, path.read_text(), stat.S_IMODE(path.stat().st_mode)))

    assert upgrade(settings, directory=tmp_path, wait=fetch) == 0
    ((name, content, mode),) = found
    assert content == f"WATCHTOWER_NOTIFICATION_URL=logger:// gotify://g.example.com/{SECRET}?title=\n"
    assert (mode, list(tmp_path.iterdir())) == (0o600, [])
    printed = capsys.readouterr().out
    assert f":{tmp_path}/{name} ./" in printed
    assert SECRET not in printed


def test_nothing_to_upgrade_is_a_failure(tmp_path: Path) -> None:
    """An empty file would be taken for an answer."""
    with pytest.raises(WatchtowerError, match="nothing to be written"):
        upgrade(build_settings(command_line={}, environ={}), directory=tmp_path)
