"""What settings meant in Watchtower and mean otherwise here. The page `docs/migration.md` tells the same at length.

There are two Watchtowers, and they differ from each other, so that most rules hold for one of them. Of a build that is
not known everything is told that may be different.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchtower_async.migrate.old_service import Program
from watchtower_async.settings import Settings

_NUMBER = re.compile(r"[+-]?[0-9.]+", re.ASCII)
_PATTERN = re.compile(r"[.^$*+?()\[\]{}|\\]")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that somebody gave."""

    program: Program
    value: Any = field(repr=False)
    text: str = field(repr=False)
    """As it is written."""
    on_command_line: bool
    settings: Settings

    @property
    def is_original(self) -> bool:
        """Say whether it may be the original Watchtower."""
        return self.program is not Program.FORK

    @property
    def is_fork(self) -> bool:
        """Say whether it may be the fork."""
        return self.program is not Program.ORIGINAL


Rule = Callable[[Setting], str]
"""Returns what is different, empty for nothing."""


def change_of(key: str, setting: Setting) -> str:
    """Say what a setting means now that it did not mean before; empty where it means the same."""
    rule = _RULES.get(key)
    return rule(setting) if rule is not None else ""


def _schedule(given: Setting) -> str:
    fields = given.value.split()
    if not given.is_original or len(fields) != 5 or given.value.startswith("@"):
        return ""
    return (
        "five fields are minute, hour, day, month, weekday, as in cron; containrrr/watchtower read them as second, "
        f'minute, hour, day, month. For the old times write "{given.value} *"'
    )


def _stop_timeout(given: Setting) -> str:
    if given.is_original and not given.on_command_line and _NUMBER.fullmatch(given.text.strip()):
        return "a bare number is seconds; containrrr/watchtower took it for nanoseconds, which is no grace at all"
    return ""


def _no_restart(given: Setting) -> str:
    if given.is_original and given.value:
        return (
            "the new container is created and not started; containrrr/watchtower removed the old one, and that was it"
        )
    return ""


def _monitor_only(given: Setting) -> str:
    return "a newer image is reported and not pulled; Watchtower pulled it" if given.value else ""


def _rolling_restart(given: Setting) -> str:
    if not given.value:
        return ""
    return "works with linked containers, too, and stops at the first failure; each must run well before the next"


def _cooldown(given: Setting) -> str:
    if not given.value or not given.is_fork:
        return ""
    return "counts from when the updater first saw the image, or from the image's own date, whichever is later"


def _hooks(given: Setting) -> str:
    if not given.value:
        return ""
    return "time-outs are kept: a hook that hangs is ended, and costs only its container; 0 minutes is one day"


def _disable_containers(given: Setting) -> str:
    if given.is_original and any(_PATTERN.search(name) for name in given.value):
        return "names may be regular expressions for whole names; in containrrr/watchtower they were only names"
    return ""


def _repo_user(given: Setting) -> str:
    registries = given.settings.registry.repo_registries
    if any(host.lower() == "all" for host in registries):
        return ""
    first = " The Docker configuration is asked first." if given.is_original else ""
    return (
        "goes to Docker Hub and to the registries that WATCHTOWER_REPO_REGISTRIES lists (or all); Watchtower sent it "
        f"to every registry.{first}"
    )


def _flag_that_did_nothing(given: Setting) -> str:
    return "has an effect on the command line, too" if given.on_command_line and given.is_fork else ""


def _tls_skip(given: Setting) -> str:
    if not given.value:
        return ""
    return _flag_that_did_nothing(given) or "certificates are not verified; Watchtower went over to plain http"


def _tls_verify(given: Setting) -> str:
    if not given.value or given.settings.engine.cert_path is not None:
        return ""
    return "switches TLS on by itself; in Watchtower it did nothing without DOCKER_CERT_PATH"


def _http_api_update(given: Setting) -> str:
    if not given.value or not given.is_original:
        return ""
    return "POST answers with JSON, and with 429 while a session runs; GET answers as containrrr/watchtower did"


def _metrics(given: Setting) -> str:
    if not given.value or not given.is_original:
        return ""
    return "watchtower_containers_updated counts updated containers only; it counted those with an update pending, too"


def _report(given: Setting) -> str:
    if not given.value or not given.is_fork or given.settings.notification.template:
        return ""
    return "the usual template is silent when nothing happened; nickfedor/watchtower sent a message every session"


def _template(given: Setting) -> str:
    if not given.is_original or given.value == "default-legacy":
        return ""
    return "containers are named without the slash before their name"


def _mail_without_tls(given: Setting) -> str:
    return "mail is still sent without any encryption, as in Watchtower" if given.value else ""


def _log_format(given: Setting) -> str:
    if str(given.value) != "json" or not given.is_fork:
        return ""
    return "the text is in msg, as in containrrr/watchtower; nickfedor/watchtower had it in message"


def _no_startup_message(given: Setting) -> str:
    if given.value and given.is_original:
        return "the message at the start is not logged either; containrrr/watchtower only did not notify it"
    return ""


def _trace(given: Setting) -> str:
    return "shows no credentials at any level" if given.value else ""


_RULES: Mapping[str, Rule] = {
    "schedule.schedule": _schedule,
    "update.stop_timeout": _stop_timeout,
    "update.no_restart": _no_restart,
    "update.monitor_only": _monitor_only,
    "rollout.rolling_restart": _rolling_restart,
    "update.cooldown": _cooldown,
    "hooks.enabled": _hooks,
    "selection.disable_containers": _disable_containers,
    "registry.repo_user": _repo_user,
    "registry.tls_skip": _tls_skip,
    "registry.tls_min_version": _flag_that_did_nothing,
    "engine.tls_verify": _tls_verify,
    "http_api.update": _http_api_update,
    "http_api.metrics": _metrics,
    "notification.report": _report,
    "notification.template": _template,
    "notification.template_file": _template,
    "email.tls_skip_verify": _mail_without_tls,
    "log.format": _log_format,
    "log.no_startup_message": _no_startup_message,
    "log.trace": _trace,
}

_ALWAYS = (
    "a container that does not run well on a new image gets its old one back, and the new one is not tried again",
    "settings that cannot be read or contradict each other end the program with exit code 64 and all problems at once",
)
_UNLIKE_ORIGINAL = (
    "a container's own stop signal and time-out are used; containrrr/watchtower knew only its label and its option",
    "compose's depends_on is followed like links; --use-compose-depends-on=false switches that off",
    "images pinned by digest are never asked for, and images that no registry has are left alone without an error",
    "names of containers are written without the slash: web, not /web",
    "SIGTERM ends the program with exit code 0, not 1",
)
_UNLIKE_FORK = (
    "the line at the end of a session is 'Session done', with Scanned, Updated and Failed",
    "messages are about sessions in which something happened, unless a template says otherwise",
)
_NO_SCOPE = "without --scope, containers with a scope label are left alone; containrrr/watchtower took them all"
_STOP_GRACE = "the usual grace before a container is killed is 10s, not 30s: --stop-timeout 30s keeps it"


def different_anyway(program: Program, given: frozenset[str]) -> tuple[str, ...]:
    """Return what differs whatever is set; `given` are the keys of the options that are."""
    found = list(_ALWAYS)
    if program is not Program.FORK:
        found += [*([_NO_SCOPE] if "selection.scope" not in given else []), *_UNLIKE_ORIGINAL]
    if program is not Program.ORIGINAL:
        found += [*([_STOP_GRACE] if "update.stop_timeout" not in given else []), *_UNLIKE_FORK]
    return tuple(found)
