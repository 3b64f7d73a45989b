"""Options about the process itself: which engine, when, what it says, where it keeps its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from watchtower_async.settings.option import declare
from watchtower_async.settings.parsing import (
    one_of,
    parse_api_version,
    parse_bool,
    parse_directory,
    parse_docker_bool,
    parse_interval,
    parse_log_level,
    parse_porcelain,
    parse_positive_duration,
    parse_presence,
    parse_schedule,
    parse_whole,
    parse_windows,
)
from watchtower_async.settings.values import LogFormat, LogLevel, Porcelain


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Docker connection"""

    host: str | None = declare(
        "--host", "-H", env="DOCKER_HOST", default=None, metavar="URL",
        help="Engine to connect to, such as unix:///var/run/docker.sock or tcp://host:2376.",
    )  # fmt: skip
    tls_verify: bool = declare(
        "--tlsverify", "-v", env="DOCKER_TLS_VERIFY", default=False, parse=parse_bool, parse_env=parse_docker_bool,
        help="Connect to the engine with TLS and verify its certificate.",
    )  # fmt: skip
    cert_path: Path | None = declare(
        "--cert-path", env="DOCKER_CERT_PATH", default=None, parse=parse_directory, metavar="DIRECTORY",
        help="Directory with ca.pem, cert.pem and key.pem for the engine.",
    )  # fmt: skip
    api_version: str = declare(
        "--api-version", "-a", env="DOCKER_API_VERSION", default="", parse=parse_api_version, metavar="VERSION",
        shown_default="the newest that both sides know",
        help="Version of the engine's API to speak, from 1.41 to 1.51; one that the engine does not know is refused.",
    )  # fmt: skip

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with Docker's own variables as these settings say, for who reads those."""
        given = {
            "DOCKER_TLS_VERIFY": "1" if self.tls_verify else "",
            "DOCKER_CERT_PATH": "" if self.cert_path is None else str(self.cert_path),
        }
        return {key: value for key, value in {**environ, **given}.items() if value or key not in given}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """Schedule and mode"""

    interval: timedelta = declare(
        "--interval", "-i", env="WATCHTOWER_POLL_INTERVAL", default=timedelta(days=1), parse=parse_interval,
        metavar="SECONDS", shown_default="86400", help="Time between two sessions.",
    )  # fmt: skip
    schedule: str = declare(
        "--schedule", "-s", env="WATCHTOWER_SCHEDULE", default="", parse=parse_schedule, metavar="CRON",
        help="When sessions begin: a cron expression of five fields, or six with seconds first, or @daily and the like,"
        " or @every 6h. Not together with --interval.",
    )  # fmt: skip
    time_zone: str = declare(
        "--time-zone", env="TZ", default="", metavar="NAME", shown_default="that of the container",
        help="Zone in which the schedule is meant, such as Europe/Berlin.",
    )  # fmt: skip
    update_on_start: bool = declare(
        "--update-on-start", env="WATCHTOWER_UPDATE_ON_START", default=False, parse=parse_bool,
        help="Run a session right after the start as well.",
    )  # fmt: skip
    jitter: timedelta = declare(
        "--jitter", env="WATCHTOWER_JITTER", default=timedelta(0), parse=parse_positive_duration, metavar="DURATION",
        shown_default="0s",
        help="Begin each session up to this much later, at random, so that a fleet does not ask at one moment.",
    )  # fmt: skip
    update_windows: tuple[str, ...] = declare(
        "--update-window", env="WATCHTOWER_UPDATE_WINDOW", default=(), parse=parse_whole, parse_env=parse_windows,
        metavar="WINDOW",
        help='Touch containers only then, such as "Sat,Sun 02:00-05:00"; in the variable, semicolons between windows.',
    )  # fmt: skip
    run_once: bool = declare(
        "--run-once", "-R", env="WATCHTOWER_RUN_ONCE", default=False, parse=parse_bool,
        help="Run one session at once, then exit with code 0 whatever happened.",
    )  # fmt: skip
    exit_code: bool = declare(
        "--exit-code", env="WATCHTOWER_EXIT_CODE", default=False, parse=parse_bool,
        help="With --run-once: exit with code 1 when something failed or could not be checked.",
    )  # fmt: skip
    porcelain: Porcelain | None = declare(
        "--porcelain", "-P", env="WATCHTOWER_PORCELAIN", default=None, parse=parse_porcelain, metavar="VERSION",
        help="v1 or json: write a report for programs to standard output after each session.",
    )  # fmt: skip
    self_update_orchestrator: bool = declare(
        "--self-update-orchestrator", default=False, parse=parse_bool, is_hidden=True,
        no_effect="it is for the helper of another program, which updates itself in another way",
        help="Internal to another program.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Logging"""

    level: LogLevel = declare(
        "--log-level", env="WATCHTOWER_LOG_LEVEL", default=LogLevel.INFO, parse=parse_log_level, metavar="LEVEL",
        shown_default="info", help="panic, fatal, error, warn, info, debug or trace.",
    )  # fmt: skip
    format: LogFormat = declare(
        "--log-format", "-l", env="WATCHTOWER_LOG_FORMAT", default=LogFormat.AUTO, parse=one_of(LogFormat),
        metavar="FORMAT", shown_default="auto", help="auto, pretty, logfmt or json.",
    )  # fmt: skip
    debug: bool = declare(
        "--debug", "-d", env="WATCHTOWER_DEBUG", default=False, parse=parse_bool,
        help="The same as --log-level debug, which it overrules.",
    )  # fmt: skip
    trace: bool = declare(
        "--trace", env="WATCHTOWER_TRACE", default=False, parse=parse_bool,
        help="The same as --log-level trace, which it overrules; no secret is logged at any level.",
    )  # fmt: skip
    no_color: bool = declare(
        "--no-color", env="NO_COLOR", default=False, parse=parse_bool, parse_env=parse_presence,
        help="Write the log without colours.",
    )  # fmt: skip
    no_startup_message: bool = declare(
        "--no-startup-message", env="WATCHTOWER_NO_STARTUP_MESSAGE", default=False, parse=parse_bool,
        help="Neither log nor notify that the updater has started.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The updater's own files"""

    directory: Path | None = declare(
        "--state-dir", env="WATCHTOWER_STATE_DIR", default=None, parse=parse_directory, metavar="DIRECTORY",
        shown_default="$XDG_STATE_HOME/watchtower-async", help="Directory for the control socket and state.",
    )  # fmt: skip
