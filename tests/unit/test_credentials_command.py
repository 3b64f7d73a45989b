"""`credentials`: what people and scripts see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from watchtower_async.cli.command_line import parse_command_line
from watchtower_async.cli.credentials_command import print_report, show_credentials
from watchtower_async.cli.main import run
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import HelperQuestion
from watchtower_async.credentials.overview import Row
from watchtower_async.images.reference import parse_reference
from watchtower_async.updates.login_check import LoginReport, LoginRow, LoginState, Verdict

SECRET = "hunter2-marker"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LOGIN = Credential("me", SECRET, source='config.json entry "ghcr.io"')
IN_USE = Row("ghcr.io", LOGIN, LOGIN.source, None, None, ("db", "web"), (parse_reference("ghcr.io/a/b:1"),))
NOBODY = Row("docker.io", Anonymous(), "no entry", None, None, ("cache",))
BROKEN = Row("quay.io", None, "docker-credential-box", "docker-credential-box fails: install it")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def checked(row: Row, verdict: Verdict, text: str = "because") -> LoginRow:
    """Return a row with what the registry said."""
    return LoginRow(row, LoginState(verdict, text, "ghcr.io/a/b:1"))


def a_report(*rows: LoginRow | Row, **more: object) -> LoginReport:
    """Return a report."""
    given = tuple(LoginRow(row) if isinstance(row, Row) else row for row in rows)
    is_checked = any(row.state is not None for row in given)
    return replace(LoginReport(directory="/config", rows=given, is_checked=is_checked), **more)  # type: ignore[arg-type]


def shown(capsys: pytest.CaptureFixture[str], report: LoginReport) -> list[str]:
    """Return the lines that people see, without their layout."""
    print_report(report)
    text = capsys.readouterr().out
    assert SECRET not in text
    assert "\x1b" not in text
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ((), 0),
        ((IN_USE, NOBODY), 0),
        ((replace(IN_USE, problem="the helper fails; meanwhile another credential is used"),), 0),
        ((IN_USE, BROKEN), 1),
        ((checked(IN_USE, Verdict.ACCEPTED),), 0),
        ((checked(IN_USE, Verdict.UNTESTED),), 0),
        ((checked(IN_USE, Verdict.ACCEPTED), checked(NOBODY, Verdict.REFUSED)), 1),
        ((checked(IN_USE, Verdict.UNKNOWN),), 1),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_exit_code_is_1_where_something_is_refused_or_broken(
    rows: tuple[LoginRow | Row, ...], code: int, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """In both forms; what could not be asked is not all right either."""
    assert code == show_credentials(a_report(*rows), as_json=as_json)
    assert SECRET not in capsys.readouterr().out


def test_configuration_that_cannot_be_used_is_exit_code_1() -> None:
    """Even where nothing is in use."""
    assert show_credentials(a_report(problem="config.json is not valid JSON"), as_json=False) == 1


def test_form_for_programs_has_its_keys_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts rely on them, also where there is nothing to say."""
    row = LoginRow(
        replace(IN_USE, helper=HelperQuestion("box", "ghcr.io")),
        LoginState(Verdict.ACCEPTED, "was found", "ghcr.io/a/b:1", through_engine=True),
        token_until=NOON,
        helper_answer_until=NOON,
    )
    running = {"generation": 3, "reloaded": "2026-03-01T12:00:00+00:00", "problem": None}
    show_credentials(a_report(row, BROKEN, engine="unix:///x.sock", running=running, warnings=("w",)), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "directory": "/config",
        "engine": "unix:///x.sock",
        "engine_problem": None,
        "problem": None,
        "warnings": ["w"],
        "running": running,
        "checked": True,
        "registries": [
            {
                "registry": "ghcr.io",
                "containers": ["db", "web"],
                "source": 'config.json entry "ghcr.io"',
                "username": "me",
                "kind": "password",
                "from_helper": True,
                "usable": True,
                "problem": None,
                "check": {
                    "verdict": "accepted", "text": "was found", "image": "ghcr.io/a/b:1", "asked_through_engine": True,
                },
                "token_until": "2026-03-01T12:00:00+00:00",
                "helper_answer_until": "2026-03-01T12:00:00+00:00",
            },
            {
                "registry": "quay.io",
                "containers": [],
                "source": "docker-credential-box",
                "username": None,
                "kind": "none",
                "from_helper": False,
                "usable": False,
                "problem": "docker-credential-box fails: install it",
                "check": None,
                "token_until": None,
                "helper_answer_until": None,
            },
        ],
    }  # fmt: skip


def test_table_shows_who_answers_for_whom(capsys: pytest.CaptureFixture[str]) -> None:
    """One row per login: registry, containers, source, user, kind, state."""
    lines = shown(capsys, a_report(NOBODY, IN_USE, BROKEN))
    assert lines[0] == "REGISTRY CONTAINERS LOGIN FROM USER KIND STATE"
    assert lines[2:6] == [
        "docker.io cache no entry – none usable",
        'ghcr.io db, web config.json entry "ghcr.io" me password usable',
        "quay.io – docker-credential-box – – cannot be used",
        "docker-credential-box fails: install it",
    ]
    assert lines[6:] == [
        "Configuration in /config: 2 usable, 1 cannot be used.",
        "No running updater answers; read now.",
    ]


def test_table_shows_what_the_registry_says_and_until_when(capsys: pytest.CaptureFixture[str]) -> None:
    """The word first, the reason and the ends below it."""
    row = LoginRow(
        replace(IN_USE, helper=HelperQuestion("box", "ghcr.io"), problem="careful"),
        LoginState(Verdict.ACCEPTED, "ghcr.io/a/b:1 was found"),
        token_until=NOON,
        helper_answer_until=NOON,
    )
    lines = shown(capsys, a_report(row, checked(NOBODY, Verdict.REFUSED, "log in with `docker login`")))
    assert lines[2:] == [
        'ghcr.io db, web config.json entry "ghcr.io" me password of a helper accepted',
        "ghcr.io/a/b:1 was found",
        "careful",
        "token until 2026-03-01 12:00:00 UTC",
        "helper's answer kept until 2026-03-01 12:00:00 UTC",
        "docker.io cache no entry – none refused",
        "log in with `docker login`",
        "Configuration in /config: 1 accepted, 1 refused.",
        "No running updater answers; read now.",
    ]


@pytest.mark.parametrize(
    ("running", "line"),
    [
        (None, "No running updater answers; read now."),
        ({}, "The running updater has not read its configuration yet."),
        (
            {"generation": 3, "reloaded": "2026-03-01T12:00:00+00:00", "problem": None, "last_problem": None},
            "The running updater goes by what it read at 2026-03-01 12:00:00 UTC (generation 3).",
        ),
        (
            {"generation": 3, "reloaded": "2026-03-01T12:00:00+00:00", "problem": "line 1", "last_problem": "line 1"},
            "The running updater goes by what it read at 2026-03-01 12:00:00 UTC (generation 3). Its problem: line 1",
        ),
        (
            {"generation": 4, "reloaded": "2026-03-01T12:00:00+00:00", "problem": None, "last_problem": "line 1"},
            (
                "The running updater goes by what it read at 2026-03-01 12:00:00 UTC (generation 4)."
                " Its last problem, which is over: line 1"
            ),
        ),
    ],
)
def test_state_of_the_running_updater_is_one_line(
    running: dict[str, object] | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it uses may be older than the file, if the file is broken now."""
    assert shown(capsys, a_report(IN_USE, running=running))[-1] == line


def test_missing_engine_problems_and_notes_are_told_below(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    report = a_report(engine_problem="cannot be reached", problem="config.json is broken", warnings=("chmod 600",))
    assert shown(capsys, report) == [
        "Configuration in /config: it cannot be used.",
        "No engine, so it is not known which containers use what: cannot be reached",
        "No running updater answers; read now.",
        "Problem: config.json is broken",
        "Note: chmod 600",
    ]
    assert shown(capsys, a_report())[0] == "Configuration in /config: no registry is in use or configured."


@pytest.mark.parametrize("text", ["[red]x[/]", "a[/b]", "x:key:1", "[::1]:5000", "\\[x]"])
def test_text_of_others_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither markup nor emoji are found in names and reasons."""
    row = Row(text, Credential(text, SECRET, source=text), text, text, None, (text,))
    assert " ".join(shown(capsys, a_report(checked(row, Verdict.REFUSED, text)))).count(text) == 6


def test_what_others_say_makes_no_line_of_its_own_and_shows_no_authorisation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A registry's words may hold anything, and a user name may hold line breaks."""
    said = f"no\n\x1b[2Jquay.io accepted; you sent Basic {SECRET}== to https://me:{SECRET}@host/?code={SECRET}"
    row = Row("ghcr.io", Credential("a\nb", SECRET, source="s"), "s")
    report = a_report(checked(row, Verdict.UNKNOWN, said))
    lines = shown(capsys, report)
    assert len([line for line in lines if line.startswith("quay.io")]) == 0
    assert any(line.startswith("ghcr.io – s a?b password unknown") for line in lines)
    show_credentials(report, as_json=True)
    assert SECRET not in capsys.readouterr().out


def test_command_line_knows_its_switches_and_names() -> None:
    """`--` makes a name of the word."""
    line = parse_command_line(["credentials", "--check", "--json", "web"], program="p")
    assert (line.command, line.names, line.switches) == (
        "credentials", ("web",), frozenset({"--check", "--json"}),
    )  # fmt: skip
    assert parse_command_line(["--", "credentials"], program="p").names == ("credentials",)


def test_program_without_an_engine_shows_what_is_configured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole program; nothing is made on the way, and the log is silent."""
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"ghcr.io": {"username": "me", "password": SECRET}}}))
    (tmp_path / "config.json").chmod(0o600)
    environ = {"HOME": "/nonexistent", "DOCKER_CONFIG": str(tmp_path), "REPO_USER": "hub", "REPO_PASS": SECRET}
    environ |= {"WATCHTOWER_STATE_DIR": str(tmp_path / "state"), "DOCKER_HOST": "unix:///nonexistent/engine.sock"}
    assert run(["watchtower-async", "credentials", "--json", "web"], environ) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [(row["registry"], row["source"]) for row in document["registries"]] == [
        ("docker.io", "REPO_USER and REPO_PASS"),
        ("ghcr.io", 'config.json entry "ghcr.io"'),
    ]
    assert "/nonexistent/engine.sock cannot be reached" in document["engine_problem"]
    assert SECRET not in captured.out + captured.err
    assert captured.err == ""
    assert not (tmp_path / "state").exists()
