"""What the settings say about notifications, as values: services, template, title, and how patient delivery is.

URLs of services come first, then what the older settings stand for. Everything that cannot be used is found here, at
the start: a notification that cannot be sent when it is needed helps nobody. Apprise is a package that most
installations lack and few services do without; who needs it is told what to install.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from watchtower_async.errors import SettingsError
from watchtower_async.notify.dispatcher import DeliveryPolicy
from watchtower_async.notify.heartbeat import parse_heartbeat_url
from watchtower_async.notify.legacy import LegacySettings, LegacyUrls, delay_for, legacy_urls
from watchtower_async.notify.render import MessageSettings, title_for
from watchtower_async.notify.services import Service, read_services
from watchtower_async.notify.templates import Template, built_in, read_template
from watchtower_async.settings import Settings

_LONGEST_TEMPLATE = 256 * 1024
_APPRISE = "watchtower-async[notify], or requirements-notify.txt"
"""What to install where Apprise is missing."""

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPlan:
    """Where messages go, and what they look like."""

    services: tuple[Service, ...] = ()
    messages: MessageSettings
    policy: DeliveryPolicy = DeliveryPolicy()
    heartbeat_url: str = field(default="", repr=False)
    """Empty where no monitor is called."""
    logs_to_stdout: bool = False
    """Whether what goes to `logger://` is written to standard output, and not to the log."""
    warnings: tuple[str, ...] = ()
    """What works and may surprise."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """Return what the services are, for the start-up message."""
        return tuple(service.scheme for service in self.services)


def read_plan(
    settings: Settings,
    *,
    host_name: Callable[[], str] = socket.gethostname,
    has_apprise: Callable[[], bool] = lambda: importlib.util.find_spec("apprise") is not None,
) -> NotificationPlan:
    """Read the settings and the template's file. Raises SettingsError with all problems, and no secret."""
    given = settings.notification
    problems: list[str] = []
    legacy = _or_problem(partial(_legacy_urls, settings), LegacyUrls(), problems)
    none: tuple[Service, ...] = ()
    services = _or_problem(partial(read_services, (*given.urls, *legacy.urls)), none, problems, "--notification-url: ")
    template = _or_problem(partial(_read_template, settings), built_in("default"), problems)
    heartbeat_url = _or_problem(partial(_heartbeat_url, given.heartbeat_url), "", problems, "--heartbeat-url: ")
    if any(service.target.urls for service in services) and not has_apprise():
        names = ", ".join(dict.fromkeys(service.scheme for service in services if service.target.urls))
        problems.append(f"notifications by {names} need Apprise, which is not installed: install {_APPRISE}")
    if problems:
        raise SettingsError(tuple(problems))
    host = given.host_name or host_name()
    return NotificationPlan(
        services=services,
        messages=MessageSettings(
            template=template,
            is_report=given.report,
            title=title_for(host, tag=given.title_tag or settings.email.subject_tag, is_skipped=given.skip_title),
            host=host,
            level=given.level,
            split_by_container=given.split_by_container,
        ),
        policy=DeliveryPolicy(delay=delay_for(general=given.delay, email=settings.email.delay)),
        heartbeat_url=heartbeat_url,
        logs_to_stdout=given.log_stdout,
        warnings=(*legacy.warnings, *_warnings(services)),
    )


def _or_problem(read: Callable[[], Read], otherwise: Read, problems: list[str], before: str = "") -> Read:
    """Return what is read; where that cannot be, note the problems, one for each line."""
    try:
        return read()
    except ValueError as error:
        problems += [f"{before}{line}" for line in str(error).splitlines()]
        return otherwise


def _heartbeat_url(text: str) -> str:
    return parse_heartbeat_url(text) if text else ""


def all_urls(settings: Settings) -> tuple[str, ...]:
    """Return the URLs of all services, those of the older settings last. Raises SettingsError."""
    try:
        return (*settings.notification.urls, *_legacy_urls(settings).urls)
    except ValueError as error:
        raise SettingsError(tuple(str(error).splitlines())) from None


def _legacy_urls(settings: Settings) -> LegacyUrls:
    email, slack = settings.email, settings.slack
    older = LegacySettings(
        email_from=email.sender,
        email_to=email.recipients,
        email_server=email.server,
        email_port=email.port,
        email_user=email.user,
        email_password=email.password,
        email_tls_skip_verify=email.tls_skip_verify,
        slack_hook_url=slack.hook_url,
        slack_identifier=slack.identifier,
        slack_icon_emoji=slack.icon_emoji,
        slack_icon_url=slack.icon_url,
        msteams_hook_url=settings.msteams.hook_url,
        gotify_url=settings.gotify.url,
        gotify_token=settings.gotify.token,
    )
    return legacy_urls(map(str, settings.notification.types), older)


def _read_template(settings: Settings) -> Template:
    """Return the template. Raises ValueError that names the option, the file and the line."""
    given = settings.notification
    text, source = given.template, "--notification-template"
    if given.template_file is not None:
        source = f"--notification-template-file {given.template_file}"
        text = _text_of(given.template_file, source)
    try:
        return read_template(text, is_report=given.report)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _text_of(path: Path, source: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_TEMPLATE + 1)
    except OSError as error:
        raise ValueError(f"{source}: it cannot be read ({error.strerror or type(error).__name__})") from None
    if len(content) > _LONGEST_TEMPLATE:
        raise ValueError(f"{source}: it is longer than {_LONGEST_TEMPLATE // 1024} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{source}: it is no text in UTF-8") from None


def _warnings(services: tuple[Service, ...]) -> Iterator[str]:
    for service in services:
        for text in (service.target.problem, *service.target.notes):
            if text:
                yield f"{service.describe()}: {text}"
