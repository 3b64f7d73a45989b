"""What options say about each other: which stand for others, which exclude each other, and what is worth a word. Pure.

Problems that Watchtower has, too, are told in its words, since people look for those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from watchtower_async.settings.given import Given
from watchtower_async.settings.groups import Settings, declared_options
from watchtower_async.settings.http_api import ENDPOINTS_FLAG
from watchtower_async.settings.notice import Notice, NoticeKind
from watchtower_async.settings.values import Endpoint, LogLevel, NotificationType, Porcelain

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9.+-]*://", re.ASCII)
_LOGGER_URL = "logger://"
_PORCELAIN_TEMPLATES: Mapping[Porcelain, str] = {
    Porcelain.V1: "porcelain.v1.summary-no-log",
    Porcelain.JSON: "porcelain.json",
}
_NEEDS_NO_TOKEN = frozenset({Endpoint.HEALTH, Endpoint.SWAGGER, Endpoint.EVENTS})
_SWITCHES_ON = frozenset(
    {"http_api.endpoints", "http_api.update", "http_api.metrics", "http_api.containers", "http_api.periodic_polls"}
)
_NEEDED: Mapping[NotificationType, tuple[str, ...]] = {
    NotificationType.EMAIL: ("email.sender", "email.recipients", "email.server"),
    NotificationType.SLACK: ("slack.hook_url",),
    NotificationType.MSTEAMS: ("msteams.hook_url",),
    NotificationType.GOTIFY: ("gotify.url", "gotify.token"),
}


def resolve(settings: Settings, given: Mapping[str, Given]) -> Settings:
    """Return the settings with what some options imply for others."""
    log = settings.log
    if log.debug or log.trace:
        log = replace(log, level=LogLevel.TRACE if log.trace else LogLevel.DEBUG)
    notification = settings.notification
    if settings.schedule.porcelain is not None:
        implied = {
            "log_stdout": True,
            "report": True,
            "template": _PORCELAIN_TEMPLATES[settings.schedule.porcelain],
        }
        # As in Watchtower, what the environment says about these is overruled.
        kept = {name for name in implied if _is_on_command_line(given, f"notification.{name}")}
        changes: dict[str, Any] = {name: value for name, value in implied.items() if name not in kept}
        notification = replace(notification, urls=(*notification.urls, _LOGGER_URL), **changes)
    return replace(settings, log=log, notification=notification)


def contradictions(settings: Settings, given: Mapping[str, Given]) -> Iterator[str]:
    """Yield what cannot be meant."""
    schedule = settings.schedule
    has_interval = _is_on_command_line(given, "schedule.interval") or schedule.interval != timedelta(days=1)
    if schedule.schedule and has_interval:
        yield "Cannot define both interval and schedule"
    if settings.rollout.rolling_restart and settings.update.monitor_only:
        yield "rolling-restart and monitor-only cannot both be enabled"
    yield from _api_contradictions(settings)
    yield from _notification_contradictions(settings)


def _api_contradictions(settings: Settings) -> Iterator[str]:
    api = settings.http_api
    if Endpoint.ALL in api.endpoints and len(set(api.endpoints)) > 1:
        yield f"{ENDPOINTS_FLAG}: all stands alone, without the names of others"
    if api.enabled - _NEEDS_NO_TOKEN and not api.token:
        yield f"api token is empty or has not been set: {_how_to_set('http_api.token')}"
    if Endpoint.EVENTS in api.enabled and not api.events_token:
        yield f"the token for the stream of events is empty or has not been set: {_how_to_set('http_api.events_token')}"
    if (api.tls_cert is None) != (api.tls_key is None):
        missing = "http_api.tls_key" if api.tls_key is None else "http_api.tls_cert"
        yield f"a certificate and its key belong together: {_how_to_set(missing)}"


def _notification_contradictions(settings: Settings) -> Iterator[str]:
    if any(not _URL.match(url) for url in settings.notification.urls):
        # The text is not shown: it may be a secret that was put into the wrong variable.
        yield "--notification-url: an item is neither a URL such as ntfy://ntfy.sh/topic nor a file that is there"
    for kind in dict.fromkeys(settings.notification.types):
        for key in _NEEDED.get(kind, ()):
            if not _value(settings, key):
                yield f"notifications by {kind} need one more setting: {_how_to_set(key)}"
    url = settings.gotify.url.lower() if NotificationType.GOTIFY in settings.notification.types else ""
    if url and not url.startswith(("http://", "https://")):
        yield "--notification-gotify-url: it must begin with http:// or https://"


def remarks(settings: Settings, given: Mapping[str, Given]) -> Iterator[Notice]:
    """Yield what works and may surprise."""
    if settings.update.monitor_only and settings.update.no_pull:
        yield _remark(given, "update.no_pull", "and monitor-only together find only images that somebody else pulls")
    if timedelta(0) < settings.update.stop_timeout < timedelta(seconds=1):
        yield _remark(given, "update.stop_timeout", "is less than a second, which the engine takes as none at all")
    if settings.schedule.run_once and settings.schedule.update_on_start:
        yield _remark(given, "schedule.update_on_start", "adds nothing to --run-once")
    if settings.schedule.exit_code and not settings.schedule.run_once:
        yield _remark(given, "schedule.exit_code", "has no effect without --run-once")
    if settings.http_api.periodic_polls and Endpoint.UPDATE not in settings.http_api.enabled:
        yield _remark(given, "http_api.periodic_polls", "has no effect where updates by request are switched off")
    if not settings.http_api.enabled:
        lost = [item for key, item in given.items() if key.startswith("http_api.") and key not in _SWITCHES_ON]
        if any(item.changes_something for item in lost):
            names = ", ".join(item.name for item in lost)
            yield Notice(NoticeKind.REMARK, names, f"does nothing before {ENDPOINTS_FLAG} switches something on")


def _remark(given: Mapping[str, Given], key: str, text: str) -> Notice:
    return Notice(NoticeKind.REMARK, given[key].name, text)


def _is_on_command_line(given: Mapping[str, Given], key: str) -> bool:
    return key in given and given[key].on_command_line


def _value(settings: Settings, key: str) -> Any:
    group, _, name = key.partition(".")
    return getattr(getattr(settings, group), name)


def _how_to_set(key: str) -> str:
    option = next(option for option in declared_options() if option.key == key)
    return f"set {option.name} or {option.env}"
