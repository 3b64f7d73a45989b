"""Every option, declared once: name, environment variable, type, default, help and validation.

The dataclass fields are the declarations. The command line, the environment reader, `--help` and the documentation are
derived from them, so adding an option means adding a field to the group that uses it. A class gets its group, never
the whole.

Precedence: command line, then environment, then default. An empty environment variable counts as unset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from watchtower_async.errors import SettingsError
from watchtower_async.secret_file import read_secret

ENV_PREFIX = "WATCHTOWER_"

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_BARE_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_LONGEST_DURATION_SECONDS = 10 * 366 * 86400.0

T = TypeVar("T")


class LogLevel(StrEnum):
    """Levels by Watchtower's names; `panic` and `fatal` show what `error` shows, `trace` what `debug` shows."""

    PANIC = "panic"
    FATAL = "fatal"
    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


class LogFormat(StrEnum):
    """How a log line is written."""

    AUTO = "auto"
    PRETTY = "pretty"
    LOGFMT = "logfmt"
    JSON = "json"


class Order(StrEnum):
    """Which of the two containers of a replacement comes first."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"
    AUTO = "auto"
    """Start-first where nothing speaks against it."""


class FailureAction(StrEnum):
    """What a rollout does when more of it failed than its policy allows."""

    PAUSE = "pause"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


def parse_bool(text: str) -> bool:
    """Read a truth value as Go's `strconv.ParseBool` does."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


def parse_duration(text: str) -> timedelta:
    """Read a Go duration (`1m30s`); a bare number is seconds."""
    seconds = _duration_seconds(text.strip())
    if not abs(seconds) <= _LONGEST_DURATION_SECONDS:
        raise ValueError("the duration is longer than ten years")
    return timedelta(seconds=seconds)


def _duration_seconds(text: str) -> float:
    if _BARE_NUMBER.fullmatch(text):
        return float(text)
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if not rest or _DURATION_PART.sub("", rest):
        raise ValueError("expected a duration such as 10s, 1m30s or a number of seconds")
    return sign * sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(rest))


def parse_positive_duration(text: str) -> timedelta:
    """Read a duration that is not negative."""
    duration = parse_duration(text)
    if duration < timedelta(0):
        raise ValueError("must be non-negative")
    return duration


def parse_interval(text: str) -> timedelta:
    """Read the polling interval; below one second it is one second."""
    return max(parse_duration(text), timedelta(seconds=1))


def parse_deadline(text: str) -> timedelta:
    """Read a duration that is longer than nothing."""
    duration = parse_duration(text)
    if duration <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return duration


def parse_count(text: str) -> int:
    """Read a number of things, from 0."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text, re.ASCII):
        raise ValueError("expected a whole number, 0 or more")
    return int(text)


def parse_ratio(text: str) -> float:
    """Read a share of a whole, from 0 to 1."""
    if not _BARE_NUMBER.fullmatch(text.strip()) or not 0 <= float(text) <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(text)


def parse_directory(text: str) -> Path:
    """Read a directory name; `~` is not expanded, as no shell is involved."""
    if "\0" in text:
        raise ValueError("a path holds no NUL")
    return Path(text)


def parse_list(text: str) -> tuple[str, ...]:
    """Split at runs of commas and white space."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def parse_user_name(text: str) -> str:
    """Read a user name for Basic authorisation, where a colon ends it (RFC 7617 section 2)."""
    if ":" in text:
        raise ValueError("a user name with a colon cannot be sent")
    return text


def one_of(kind: type[T]) -> Callable[[str], T]:
    """Return a reader for a StrEnum, in any case."""

    def parse(text: str) -> T:
        try:
            return kind(text.lower())  # type: ignore[call-arg]  # a StrEnum is called with its value
        except ValueError:
            allowed = ", ".join(str(member) for member in cast("Any", kind))
            raise ValueError(f"expected one of {allowed}") from None

    return parse


@dataclass(frozen=True, slots=True)
class Option:
    """One declaration. `key` is filled in from the field's name."""

    flags: tuple[str, ...]
    env: str
    help: str
    parse: Callable[[str], Any]
    is_switch: bool
    metavar: str
    shown_default: str
    is_secret: bool = False
    """Whether the value is never shown, and may be the name of the file that holds it."""
    key: str = ""
    group: str = ""

    @property
    def name(self) -> str:
        """Return the long flag, by which people know the option."""
        return self.flags[0]


def _declare(
    *flags: str,
    env: str = "",
    default: Any,
    help: str,  # noqa: A002 - the word that every command-line library uses
    parse: Callable[[str], Any] = str,
    metavar: str = "TEXT",
    shown_default: str = "",
    is_secret: bool = False,
) -> Any:
    option = Option(
        flags=flags,
        env=env,
        help=help,
        parse=parse,
        is_switch=parse is parse_bool,
        metavar="" if parse is parse_bool else metavar,
        shown_default=shown_default,
        is_secret=is_secret,
    )
    return field(default=default, repr=not is_secret, metadata={"option": option})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Docker connection"""

    host: str | None = _declare(
        "--host", "-H", env="DOCKER_HOST", default=None, metavar="URL",
        help="Engine to connect to, such as unix:///var/run/docker.sock or tcp://host:2376.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """Schedule and mode"""

    interval: timedelta = _declare(
        "--interval", "-i", env="WATCHTOWER_POLL_INTERVAL", default=timedelta(days=1), parse=parse_interval,
        metavar="SECONDS", shown_default="86400", help="Time between two sessions.",
    )  # fmt: skip
    run_once: bool = _declare(
        "--run-once", "-R", env="WATCHTOWER_RUN_ONCE", default=False, parse=parse_bool,
        help="Run one session at once, then exit with code 0 whatever happened.",
    )  # fmt: skip
    exit_code: bool = _declare(
        "--exit-code", env="WATCHTOWER_EXIT_CODE", default=False, parse=parse_bool,
        help="With --run-once: exit with code 1 when something failed or could not be checked.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSettings:
    """Which containers"""

    label_enable: bool = _declare(
        "--label-enable", "-e", env="WATCHTOWER_LABEL_ENABLE", default=False, parse=parse_bool,
        help="Watch only containers whose label com.centurylinklabs.watchtower.enable is true.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """How containers are updated"""

    monitor_only: bool = _declare(
        "--monitor-only", "-m", env="WATCHTOWER_MONITOR_ONLY", default=False, parse=parse_bool,
        help="Look for updates and report them, but touch nothing.",
    )  # fmt: skip
    cleanup: bool = _declare(
        "--cleanup", "-c", env="WATCHTOWER_CLEANUP", default=False, parse=parse_bool,
        help="Remove an image that an update of ours has left unused.",
    )  # fmt: skip
    stop_timeout: timedelta = _declare(
        "--stop-timeout", "-t", env="WATCHTOWER_TIMEOUT", default=timedelta(seconds=10),
        parse=parse_positive_duration, metavar="DURATION", shown_default="10s",
        help="Grace before a stopping container is killed, where the container itself names none.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Rolling updates"""

    parallelism: int = _declare(
        "--rollout-parallelism", env="WATCHTOWER_ROLLOUT_PARALLELISM", default=1, parse=parse_count,
        metavar="NUMBER", shown_default="1", help="How many groups of containers may be down at once; 0 is all.",
    )  # fmt: skip
    delay: timedelta = _declare(
        "--rollout-delay", env="WATCHTOWER_ROLLOUT_DELAY", default=timedelta(0), parse=parse_positive_duration,
        metavar="DURATION", shown_default="0s", help="Pause after a group runs, before the next one takes its place.",
    )  # fmt: skip
    order: Order = _declare(
        "--rollout-order", env="WATCHTOWER_ROLLOUT_ORDER", default=Order.STOP_FIRST, parse=one_of(Order),
        metavar="ORDER", shown_default="stop-first",
        help="stop-first, start-first, or auto: start-first for the containers where it is safe.",
    )  # fmt: skip
    monitor: timedelta = _declare(
        "--rollout-monitor", env="WATCHTOWER_ROLLOUT_MONITOR", default=timedelta(seconds=5),
        parse=parse_positive_duration, metavar="DURATION", shown_default="5s",
        help="How long a new container without health check must keep running to count as good.",
    )  # fmt: skip
    max_failure_ratio: float = _declare(
        "--rollout-max-failure-ratio", env="WATCHTOWER_ROLLOUT_MAX_FAILURE_RATIO", default=0.0, parse=parse_ratio,
        metavar="RATIO", shown_default="0", help="Share of groups that may fail before the failure action is taken.",
    )  # fmt: skip
    failure_action: FailureAction | None = _declare(
        "--rollout-failure-action", env="WATCHTOWER_ROLLOUT_FAILURE_ACTION", default=None,
        parse=one_of(FailureAction), metavar="ACTION", shown_default="continue; with --rolling-restart pause",
        help="pause, continue, or rollback: what to do when more than that share failed.",
    )  # fmt: skip
    start_deadline: timedelta | None = _declare(
        "--rollout-start-deadline", env="WATCHTOWER_ROLLOUT_START_DEADLINE", default=None, parse=parse_deadline,
        metavar="DURATION", shown_default="what its stop and its health check may take",
        help="How long a group may take until it runs; one that takes longer has failed.",
    )  # fmt: skip
    rolling_restart: bool = _declare(
        "--rolling-restart", env="WATCHTOWER_ROLLING_RESTART", default=False, parse=parse_bool,
        help="Stop at the first failure: the same as --rollout-failure-action pause.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Registries and credentials"""

    config_directory: Path | None = _declare(
        "--docker-config", env="DOCKER_CONFIG", default=None, parse=parse_directory, metavar="DIRECTORY",
        shown_default="/ if it has a config.json, else ~/.docker",
        help="Directory that holds the config.json with registry credentials.",
    )  # fmt: skip
    insecure_registries: tuple[str, ...] = _declare(
        "--insecure-registries", env="WATCHTOWER_INSECURE_REGISTRIES", default=(), parse=parse_list, metavar="HOSTS",
        help="Registries (host or host:port) that may be asked without a trusted certificate or over http.",
    )  # fmt: skip
    repo_user: str = _declare(
        "--repo-user", env="REPO_USER", default="", parse=parse_user_name, is_secret=True,
        help="User name for Docker Hub where the Docker configuration has none, or the file that holds it.",
    )  # fmt: skip
    repo_password: str = _declare(
        "--repo-pass", env="REPO_PASS", default="", is_secret=True,
        help="Password of that user, or the file that holds it.",
    )  # fmt: skip
    repo_registries: tuple[str, ...] = _declare(
        "--repo-registries", env="WATCHTOWER_REPO_REGISTRIES", default=(), parse=parse_list, metavar="HOSTS",
        help="Registries (host or host:port) besides Docker Hub that receive this user name and password, or all.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Logging"""

    level: LogLevel = _declare(
        "--log-level", env="WATCHTOWER_LOG_LEVEL", default=LogLevel.INFO, parse=one_of(LogLevel), metavar="LEVEL",
        shown_default="info", help="panic, fatal, error, warn, info, debug or trace.",
    )  # fmt: skip
    format: LogFormat = _declare(
        "--log-format", "-l", env="WATCHTOWER_LOG_FORMAT", default=LogFormat.AUTO, parse=one_of(LogFormat),
        metavar="FORMAT", shown_default="auto", help="auto, pretty, logfmt or json.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The updater's own files"""

    directory: Path | None = _declare(
        "--state-dir", env="WATCHTOWER_STATE_DIR", default=None, parse=parse_directory, metavar="DIRECTORY",
        shown_default="$XDG_STATE_HOME/watchtower-async", help="Directory for the control socket and state.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All groups, and the positional names."""

    names: tuple[str, ...] = ()
    engine: EngineSettings = EngineSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    selection: SelectionSettings = SelectionSettings()
    update: UpdateSettings = UpdateSettings()
    rollout: RolloutSettings = RolloutSettings()
    registry: RegistrySettings = RegistrySettings()
    log: LogSettings = LogSettings()
    state: StateSettings = StateSettings()


_GROUPS: Mapping[str, type[Any]] = {
    "engine": EngineSettings,
    "schedule": ScheduleSettings,
    "selection": SelectionSettings,
    "update": UpdateSettings,
    "rollout": RolloutSettings,
    "registry": RegistrySettings,
    "log": LogSettings,
    "state": StateSettings,
}

NOT_SETTINGS = frozenset({"WATCHTOWER_ASYNC_IMAGE"})
"""Variables with the prefix that are not for this program: the compose examples use them."""


def declared_options() -> Iterator[Option]:
    """Yield every option in the order of declaration, with `key` (`group.field`) and group title filled in."""
    for group_name, group in _GROUPS.items():
        for item in fields(group):
            option: Option = item.metadata["option"]
            yield Option(
                flags=option.flags,
                env=option.env,
                help=option.help,
                parse=option.parse,
                is_switch=option.is_switch,
                metavar=option.metavar,
                shown_default=option.shown_default,
                is_secret=option.is_secret,
                key=f"{group_name}.{item.name}",
                group=str(group.__doc__),
            )


def build_settings(
    *,
    command_line: Mapping[str, str],
    environ: Mapping[str, str],
    names: tuple[str, ...] = (),
    secret_of: Callable[[str], str] = read_secret,
) -> Settings:
    """Combine what was given into settings.

    `command_line` maps option keys to their text. `secret_of` returns the secret that a text is or names. Raises
    SettingsError with all problems at once.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in _GROUPS}
    problems: list[str] = []
    for option in declared_options():
        text, origin = _text_of(option, command_line, environ)
        if text is None:
            continue
        group_name, _, field_name = option.key.partition(".")
        try:
            values[group_name][field_name] = option.parse(secret_of(text) if option.is_secret else text)
        except (ValueError, OverflowError) as error:
            shown = "its value" if option.is_secret else repr(text[:60])
            problems.append(f"{origin}: {shown} is not usable: {error}")
    if problems:
        raise SettingsError(tuple(problems))
    groups = {name: group(**values[name]) for name, group in _GROUPS.items()}
    return Settings(names=names, **groups)


def _text_of(option: Option, command_line: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str | None, str]:
    if option.key in command_line:
        return command_line[option.key], option.name
    return (environ.get(option.env) or None if option.env else None), option.env


def unsupported_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Name the non-empty `WATCHTOWER_*` variables that have no effect here, so that none is silent."""
    known = {option.env for option in declared_options()} | NOT_SETTINGS
    candidates = (key for key, value in environ.items() if value and key not in known)
    return tuple(sorted(key for key in candidates if key.startswith(ENV_PREFIX)))
