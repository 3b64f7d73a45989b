"""Turns a command line into settings and runs the command.

Exit codes: 0 done, 1 something failed or is refused, 2 updates available (`plan`), 3 no engine, 64 usage error
(sysexits.h).
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import click

from watchtower_async.cli.command_line import (
    COMMANDS,
    CREDENTIALS,
    MIGRATE,
    NOTIFY,
    NOTIFY_UPGRADE,
    PLAN,
    QUARANTINE,
    REPLACE_SELF,
    ROLLOUT,
    CommandLine,
    parse_command_line,
)
from watchtower_async.errors import EngineUnavailableError, SettingsError, WatchtowerError
from watchtower_async.settings import Settings, build_settings
from watchtower_async.telemetry.logging import configure_logging
from watchtower_async.telemetry.redaction import secret_values
from watchtower_async.web.health_check import state_directory

EXIT_FAILED = 1
EXIT_NO_ENGINE = 3
EXIT_USAGE = 64


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the program and return its exit code."""
    program = PurePath(arguments[0]).name if arguments else "watchtower-async"
    if program == "__main__.py":
        program = "watchtower-async"
    try:
        line = parse_command_line(arguments[1:], program=program)
        settings = build_settings(command_line=line.values, environ=environ, names=line.names)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _usage(program, (error.format_message(),))
    except SettingsError as error:
        return _usage(program, error.problems)
    configure_logging(settings.log, secrets=secret_values(settings))
    _forbid_core_dumps()
    word = line.command if program == "watchtower" and line.command in COMMANDS else None
    try:
        return _run_command(line, settings, environ, word)
    except BrokenPipeError:
        # Whoever read has seen enough: `plan | head`. What is still to be flushed must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except SettingsError as error:
        return _usage(program, error.problems)
    except WatchtowerError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - for the person who called, log or no log
        return EXIT_NO_ENGINE if isinstance(error, EngineUnavailableError) else EXIT_FAILED


def _run_command(line: CommandLine, settings: Settings, environ: Mapping[str, str], word: str | None) -> int:
    # The rest of the program is imported only now, and only what is needed: `--help` and a usage error need none of it.
    if line.command == QUARANTINE.name:
        from watchtower_async.cli.quarantine_command import run_quarantine  # noqa: PLC0415

        configured = settings.state.directory
        return run_quarantine(line, state_directory(environ, str(configured) if configured else None))
    if line.command == ROLLOUT.name:
        from watchtower_async.cli.rollout_command import run_rollout  # noqa: PLC0415

        configured = settings.state.directory
        return run_rollout(line, state_directory(environ, str(configured) if configured else None))
    if line.command == MIGRATE.name:
        from watchtower_async.cli.migrate_command import run_migrate  # noqa: PLC0415

        return run_migrate(line, settings, environ)
    if line.command in (NOTIFY.name, NOTIFY_UPGRADE.name):
        from watchtower_async.cli.notify_command import run_notify  # noqa: PLC0415

        return run_notify(line, settings)
    if line.command == REPLACE_SELF.name:
        from watchtower_async.cli.replace_self_command import run_replace_self  # noqa: PLC0415

        configured = settings.state.directory
        directory = state_directory(environ, str(configured) if configured else None)
        return run_replace_self(line, settings, settings.engine.environment(environ), directory)
    from watchtower_async.app import App  # noqa: PLC0415

    app = App(settings=settings, environ=settings.engine.environment(environ), command_as_name=word)
    if line.command == PLAN.name:
        from watchtower_async.cli.plan_command import show_plan  # noqa: PLC0415

        return show_plan(app.make_plan(), as_json="--json" in line.switches)
    if line.command == CREDENTIALS.name:
        from watchtower_async.cli.credentials_command import show_credentials  # noqa: PLC0415

        report = app.describe_credentials("--check" in line.switches)
        return show_credentials(report, as_json="--json" in line.switches)
    return app.run_service()


def _forbid_core_dumps() -> None:
    """Let no crash, ours or that of a credential helper, leave secrets on a disk."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _usage(program: str, problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"{program}: {problem}", file=sys.stderr)  # noqa: T201
    print(f"Try '{program} --help'.", file=sys.stderr)  # noqa: T201
    return EXIT_USAGE
