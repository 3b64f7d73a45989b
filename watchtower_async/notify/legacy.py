"""Watchtower's older notification settings, as the service URLs that they stand for.

The URLs are in shoutrrr's form, as Watchtower itself writes them: keys sorted, defaults left out. So `migrate` can show
them, and there is one way from a URL to a service.

Kept as they are: TLS "skip verify" for mail turns encryption off, a sub-path of Gotify must end in a slash to be one,
and Slack's channel changes nothing, as a webhook has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote, urlsplit

_COLOR = "#406170"
_COLOR_NUMBER = "0x406170"
_DISCORD_HOSTS = frozenset({"discord.com", "discordapp.com"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySettings:
    """The settings of the four older types, empty where they are not given."""

    email_from: str = ""
    email_to: str = ""
    email_server: str = ""
    email_port: int = 25
    email_user: str = ""
    email_password: str = field(default="", repr=False)
    email_tls_skip_verify: bool = False
    slack_hook_url: str = field(default="", repr=False)
    slack_identifier: str = "watchtower"
    slack_icon_emoji: str = ""
    slack_icon_url: str = ""
    msteams_hook_url: str = field(default="", repr=False)
    gotify_url: str = ""
    gotify_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LegacyUrls:
    """URLs in the order of the types, and what their owner must know."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


def legacy_urls(types: Iterable[str], settings: LegacySettings) -> LegacyUrls:
    """Return the URLs for these types, each once. Raises ValueError that holds every problem."""
    urls: list[str] = []
    warnings: list[str] = []
    problems: list[str] = []
    for kind in dict.fromkeys(types):
        if kind == "shoutrrr":
            continue
        write = _WRITERS.get(kind)
        if write is None:
            problems.append(f'Unknown notification type "{kind}": use {", ".join(_WRITERS)} or shoutrrr')
            continue
        try:
            found = write(settings)
        except ValueError as error:
            problems.append(str(error))
            continue
        urls += found.urls
        warnings += found.warnings
    if problems:
        raise ValueError("\n".join(problems))
    return LegacyUrls(tuple(urls), tuple(warnings))


def delay_for(*, general: timedelta, email: timedelta) -> timedelta:
    """Return how long to wait before each message: the delay for mail, where there is one, is meant for all."""
    return email if email > timedelta(0) else general


def _email(settings: LegacySettings) -> LegacyUrls:
    for value, name in ((settings.email_from, "from"), (settings.email_to, "to"), (settings.email_server, "server")):
        if not value:
            raise ValueError(_missing(f"email-{name}", f"EMAIL_{name.upper()}"))
    query = {
        "auth": "Plain" if settings.email_user else "None",
        "fromaddress": settings.email_from,
        "fromname": "Watchtower",
        "subject": "",
        "toaddresses": settings.email_to,
    }
    warnings: tuple[str, ...] = ()
    if settings.email_tls_skip_verify:
        query |= {"encryption": "None", "usestarttls": "No"}
        warnings = ("mail is sent without encryption, because its certificate is not to be verified",)
    user = f"{_quote(settings.email_user)}:{_quote(settings.email_password)}@" if settings.email_user else ""
    address = f"smtp://{user}{settings.email_server}:{settings.email_port}/?{_query(query)}"
    return LegacyUrls((address,), warnings)


def _slack(settings: LegacySettings) -> LegacyUrls:
    hook = settings.slack_hook_url
    if not hook:
        raise ValueError(_missing("slack-hook-url", "SLACK_HOOK_URL"))
    host, parts = _host_and_parts(hook)
    if host in _DISCORD_HOSTS:
        return _discord(settings, parts)
    if len(parts) != 4 or parts[0] != "services":
        raise ValueError(_wrong("slack-hook-url", "SLACK_HOOK_URL", "https://hooks.slack.com/services/A/B/C"))
    icon = settings.slack_icon_url or settings.slack_icon_emoji
    query = {"botname": settings.slack_identifier, "color": _COLOR, "icon": icon}
    return LegacyUrls((f"slack://hook:{'-'.join(parts[1:])}@webhook?{_query(_without_empty(query))}",))


def _discord(settings: LegacySettings, parts: tuple[str, ...]) -> LegacyUrls:
    if len(parts) < 4 or parts[:2] != ("api", "webhooks"):
        raise ValueError(
            _wrong("slack-hook-url", "SLACK_HOOK_URL", "https://discord.com/api/webhooks/<id>/<token>/slack")
        )
    query = {
        "avatar": settings.slack_icon_url,
        "color": _COLOR_NUMBER,
        "colordebug": "0x0",
        "colorerror": "0x0",
        "colorinfo": "0x0",
        "colorwarn": "0x0",
        "username": settings.slack_identifier,
    }
    return LegacyUrls((f"discord://{parts[3]}@{parts[2]}?{_query(_without_empty(query))}",))


def _msteams(settings: LegacySettings) -> LegacyUrls:
    hook = settings.msteams_hook_url
    if not hook:
        raise ValueError(_missing("msteams-hook", "MSTEAMS_HOOK_URL"))
    if not hook.startswith("https://"):
        raise ValueError(_wrong("msteams-hook", "MSTEAMS_HOOK_URL", "https://…"))
    host, parts = _host_and_parts(hook)
    # https://<host>/webhookb2/<group>@<tenant>/IncomingWebhook/<altId>/<owner>
    if len(parts) >= 5 and parts[2] == "IncomingWebhook" and "@" in parts[1]:
        query = _query({"color": _COLOR, "host": host})
        return LegacyUrls((f"teams://{parts[1]}/{parts[3]}/{parts[4]}?{query}",))
    return LegacyUrls((f"teams://?{_query({'color': _COLOR, 'host': hook})}",))


def _gotify(settings: LegacySettings) -> LegacyUrls:
    if not settings.gotify_url:
        raise ValueError(_missing("gotify-url", "GOTIFY_URL"))
    scheme, separator, place = settings.gotify_url.partition("://")
    if not separator or scheme not in {"http", "https"}:
        raise ValueError(_wrong("gotify-url", "GOTIFY_URL", "http://… or https://…"))
    if not settings.gotify_token:
        raise ValueError(_missing("gotify-token", "GOTIFY_TOKEN"))
    host, _, path = place.partition("/")
    query = {"title": ""} if scheme == "https" else {"disabletls": "Yes", "title": ""}
    warnings = () if scheme == "https" else ("messages to Gotify are not encrypted: use an https URL",)
    return LegacyUrls((f"gotify://{host}/{path}{_quote(settings.gotify_token)}?{_query(query)}",), warnings)


_WRITERS: Mapping[str, Callable[[LegacySettings], LegacyUrls]] = {
    "email": _email,
    "slack": _slack,
    "msteams": _msteams,
    "gotify": _gotify,
}


def _host_and_parts(url: str) -> tuple[str, tuple[str, ...]]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ()
    return parts.netloc.rpartition("@")[2].lower(), tuple(part for part in parts.path.split("/") if part)


def _query(values: Mapping[str, str]) -> str:
    return "&".join(f"{key}={_quote(value)}" for key, value in sorted(values.items()))


def _without_empty(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _quote(text: str) -> str:
    return quote(text, safe="")


def _missing(flag: str, variable: str) -> str:
    return f"--notification-{flag} (or WATCHTOWER_NOTIFICATION_{variable}) is needed for this type and is empty"


def _wrong(flag: str, variable: str, form: str) -> str:
    return f"--notification-{flag} (or WATCHTOWER_NOTIFICATION_{variable}) is not of the form {form}"
