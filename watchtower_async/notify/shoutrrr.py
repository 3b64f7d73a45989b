"""Shoutrrr's service URLs, in terms of Apprise: one rule for each service that Watchtower can name.

A rule returns where to deliver, or raises ValueError with what to write instead. Parameters that only change looks
(colours, icons) are dropped in silence where the other side has no such thing; others are named in the notes. The
title is not a parameter here: Watchtower sets it for each message, and so do we.

`generic` has no counterpart, because its body is the bare message or an object with free keys: it is a webhook of ours.
`logger` is the log. The connectors that the old form of `teams` needs were switched off by Microsoft, so that nothing
could be delivered; such a URL is accepted as Watchtower accepts it, and each delivery says so.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watchtower_async.notify.service_url import ServiceUrl, write_url

_SLACK_TOKEN = re.compile(r"([A-Za-z0-9]{9})[-/,]([A-Za-z0-9]{9,})[-/,]([A-Za-z0-9]{24})")
_SLACK_ID = re.compile(r"[CGD][A-Z0-9]{8,}")
_NTFY_PRIORITIES = {"1": "min", "2": "low", "3": "default", "4": "high", "5": "max"}
_GOTIFY_PRIORITIES = (0, 3, 5, 8, 10)
_HEADER_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LOOKS = frozenset(
    {
        "title", "color", "colorerror", "colorwarn", "colorinfo", "colordebug", "splitlines", "icon", "avatar", "image",
        "thumbnail", "subject", "botname", "json",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request to send. `message_key` is empty where the body is the bare message."""

    url: str = field(repr=False)
    method: str = "POST"
    content_type: str = "application/json"
    message_key: str = ""
    title_key: str = "title"
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to deliver: Apprise URLs of which the first that works is enough, a webhook, the log, or nowhere."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    webhook: Webhook | None = None
    is_log: bool = False
    problem: str = ""
    """Why nothing can be delivered there."""
    notes: tuple[str, ...] = ()
    """What is not carried over."""


Rule = Callable[[ServiceUrl], Target]


def translate(url: ServiceUrl) -> Target | None:
    """Return where a shoutrrr URL delivers to, None when it is not in shoutrrr's form.

    Raises ValueError, with a reason that can be shown, for one that cannot be carried over.
    """
    rule = _RULES.get(url.scheme.partition("+")[0])
    if rule is None or not _IS_SHOUTRRR.get(url.scheme, _always)(url):
        return None
    return rule(url)


def _always(_url: ServiceUrl) -> bool:
    return True


_IS_SHOUTRRR: Mapping[str, Callable[[ServiceUrl], bool]] = {
    "bark": lambda url: bool(url.password and not url.user),
    "discord": lambda url: bool(url.user and not url.segments),
    "ifttt": lambda url: bool(url.get("events")),
    "join": lambda url: bool(url.password),
    "lark": lambda url: bool(url.segments),
    "matrix": lambda url: bool((url.user or url.password) and not url.segments),
    "notifiarr": lambda url: not url.segments,
    "ntfy": lambda url: bool(url.segments),
    "opsgenie": lambda url: "." in url.host,
    "pagerduty": lambda url: not url.user,
    "slack": lambda url: bool(not url.segments and (url.password or _SLACK_TOKEN.fullmatch(url.user))),
    "zulip": lambda url: bool(url.password),
}
"""How shoutrrr's form is told apart where Apprise has a service of that name with another form."""


def _to(url: str, *others: str, given: ServiceUrl, used: tuple[str, ...] = ()) -> Target:
    """Deliver to Apprise URLs, and note which parameters they do not hold."""
    left = sorted(set(given.query) - _LOOKS - set(used))
    return Target(urls=(url, *others), notes=tuple(f"{key} is not carried over" for key in left))


def _need(text: str, what: str) -> str:
    if not text:
        raise ValueError(f"its {what} is missing")
    return text


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _secure(url: ServiceUrl, scheme: str) -> str:
    """Return Apprise's scheme, with its s for TLS."""
    is_plain = url.is_true("disabletls") or url.get("scheme").lower() == "http"
    return scheme if is_plain else f"{scheme}s"


def _bark(url: ServiceUrl) -> Target:
    if url.segments:
        raise ValueError("a Bark server below a path cannot be reached: give it a host of its own")
    names = {"sound": "sound", "badge": "badge", "icon": "icon", "group": "group", "url": "click", "copy": "copy"}
    query = {theirs: url.get(ours) for ours, theirs in names.items()} | {"category": url.get("category")}
    scheme = _secure(url, "bark")
    key = _need(url.password, "device key")
    return _to(
        write_url(scheme, _need(url.host, "host"), port=url.port, segments=(key,), query=query),
        given=url,
        used=(*names, "category", "scheme", "disabletls"),
    )


def _discord(url: ServiceUrl) -> Target:
    query = {"avatar_url": url.get("avatar"), "thread": url.get("thread_id")}
    return _to(
        write_url(
            "discord", _need(url.host, "webhook id"), user=url.get("username"), segments=(url.user,), query=query
        ),
        given=url,
        used=("username", "thread_id"),
    )


def _smtp(url: ServiceUrl) -> Target:
    auth = url.get("auth").lower()
    if auth == "oauth2":
        raise ValueError("OAuth2 is not supported: use a password for applications")
    user, password = ("", "") if auth == "none" else (url.user, url.password)
    receivers = _need(url.get("to", "toaddresses"), "receiver (to)")
    host = _need(url.host, "host")
    query = {
        "smtp": host.strip("[]"),
        "from": _need(url.get("from", "fromaddress"), "sender (from)"),
        "name": url.get("fromname"),
        "to": receivers,
        "format": "html" if url.is_true("usehtml") else "text",
    }
    urls = tuple(
        write_url(
            "mailto" if mode == "insecure" else "mailtos",
            host,
            user=user,
            password=password,
            port=url.port or 25,
            query=query | {"mode": mode},
        )
        for mode in _mail_modes(url, has_user=bool(user))
    )
    used = ("from", "fromaddress", "fromname", "to", "toaddresses", "auth", "encryption", "usestarttls", "usehtml")
    return _to(*urls, given=url, used=(*used, "clienthost"))


def _mail_modes(url: ServiceUrl, *, has_user: bool) -> tuple[str, ...]:
    """Say how to speak to a mail server, in the order to try.

    Shoutrrr uses STARTTLS where the server offers it and goes on without where it does not, but sends no password then
    unless the server is this machine. That is kept: a relay in the next room often has no certificate.
    """
    encryption = url.get("encryption").lower() or "auto"
    if encryption == "implicittls" or (encryption == "auto" and url.port == 465):
        return ("ssl",)
    if not url.is_true("usestarttls", default=True):
        return ("insecure",)
    if encryption == "explicittls" or (has_user and not _is_this_machine(url.host)):
        return ("starttls",)
    return ("starttls", "insecure")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _generic(url: ServiceUrl) -> Target:
    headers = {_header_name(key[1:]): value for key, value in url.pairs if key.startswith("@")}
    extra = {key[1:]: value for key, value in url.pairs if key.startswith("$")}
    template = url.get("template").lower()
    if template not in {"", "json"}:
        raise ValueError("its template is not known: only json is")
    inner = url.scheme.partition("+")[2]
    if inner not in {"", "http", "https"}:
        raise ValueError("only generic://, generic+http:// and generic+https:// are known")
    is_plain = inner == "http" or url.is_true("disabletls")
    address = write_url(
        "http" if is_plain else "https",
        _need(url.host, "host"),
        user=url.user,
        password=url.password,
        port=url.port,
        query=dict(_webhook_query(url)),
    )
    place, mark, query = address.partition("/?")
    return Target(
        webhook=Webhook(
            url=f"{place.removesuffix('/')}{url.path or '/'}{'?' + query if mark else ''}",
            method=url.get("method", "requestmethod").upper() or "POST",
            content_type=url.get("contenttype") or "application/json",
            message_key=(url.get("messagekey") or "message") if template else "",
            title_key=url.get("titlekey") or "title",
            headers=headers,
            extra=extra,
        )
    )


def _webhook_query(url: ServiceUrl) -> list[tuple[str, str]]:
    """Return the parameters that are the receiver's; one that is called like ours has an underscore before it."""
    ours = {
        "template", "contenttype", "method", "requestmethod", "disabletls", "messagekey", "titlekey", "title",
    }  # fmt: skip
    theirs = [(key, value) for key, value in url.pairs if key[:1] not in {"@", "$"} and key.lower() not in ours]
    return [(key[1:] if key[:1] == "_" and key[1:].lower() in ours else key, value) for key, value in theirs]


def _header_name(key: str) -> str:
    """Return a header's name in its usual case, with the dashes that its capitals stand for."""
    return "-".join(part[:1].upper() + part[1:] for part in _HEADER_WORD.sub("-", key).split("-"))


def _google_chat(url: ServiceUrl) -> Target:
    if len(url.segments) != 4 or url.segments[:2] != ("v1", "spaces"):
        raise ValueError("its path is not /v1/spaces/…/messages")
    secrets = (_need(url.get("key"), "key"), _need(url.get("token"), "token"))
    return _to(write_url("gchat", url.segments[2], segments=secrets), given=url, used=("key", "token"))


def _gotify(url: ServiceUrl) -> Target:
    text = url.get("priority") or "0"
    if not re.fullmatch(r"-?[0-9]{1,4}", text):
        raise ValueError("its priority is not a number")
    nearest = min(_GOTIFY_PRIORITIES, key=lambda known: abs(known - int(text)))
    if not url.segments:
        raise ValueError("its token is missing")
    return _to(
        write_url(
            _secure(url, "gotify"),
            _need(url.host, "host"),
            port=url.port,
            segments=url.segments,
            query={"priority": str(nearest)},
        ),
        given=url,
        used=("priority", "disabletls"),
    )


def _ifttt(url: ServiceUrl) -> Target:
    place = url.get("messagevalue") or "2"
    if place != "2":
        raise ValueError("the message is always value 2: change messagevalue, or the applet")
    title = url.get("titlevalue") or "0"
    fixed = {f"+value{number}": url.get(f"value{number}") for number in "13"}
    # What Apprise would send there otherwise: the title as value 1, and the kind of message as value 3.
    kept = {"1"} if title == "1" else set()
    removed = {f"-value{number}": "yes" for number in "13" if number not in kept and not url.get(f"value{number}")}
    events = _list(url.get("events"))
    return _to(
        write_url("ifttt", events[0], user=_need(url.host, "key"), segments=events[1:], query=fixed | removed),
        given=url,
        used=("events", "value1", "value2", "value3", "messagevalue", "titlevalue"),
    )


def _join(url: ServiceUrl) -> Target:
    devices = _list(_need(url.get("devices"), "list of devices"))
    return _to(write_url("join", url.password, segments=devices), given=url, used=("devices",))


def _logger(_url: ServiceUrl) -> Target:
    return Target(is_log=True)


def _matrix(url: ServiceUrl) -> Target:
    rooms = tuple(room if room[0] in "!#" else f"#{room}" for room in _list(url.get("rooms", "room")))
    user, password = (url.user, url.password) if url.user else (_need(url.password, "access token"), "")
    return _to(
        write_url(
            _secure(url, "matrix"),
            _need(url.host, "host"),
            user=user,
            password=password,
            port=url.port,
            segments=rooms,
            query={"mode": "" if rooms else "off"},
        ),
        given=url,
        used=("rooms", "room", "disabletls"),
    )


def _mattermost(url: ServiceUrl) -> Target:
    if not url.segments:
        raise ValueError("its token is missing")
    icon = url.get("icon")
    query = {"channel": "/".join(url.segments[1:]), "icon_url": icon if icon.startswith("http") else ""}
    return _to(
        write_url(
            _secure(url, "mmost"),
            _need(url.host, "host"),
            user=url.user,
            port=url.port,
            segments=url.segments[:1],
            query=query,
        ),
        given=url,
        used=("disabletls",),
    )


def _ntfy(url: ServiceUrl) -> Target:
    has_token = bool(url.password and not url.user)
    priority = url.get("priority").lower()
    query = {
        "priority": _NTFY_PRIORITIES.get(priority, priority),
        "xtags": url.get("tags"),
        "delay": url.get("delay", "at", "in"),
        "avatar_url": url.get("icon"),
        "format": "markdown" if url.is_true("markdown") else "",
        "token": url.password if has_token else "",
    } | {key: url.get(key) for key in ("actions", "click", "attach", "email", "filename")}
    return _to(
        write_url(
            _secure(url, "ntfy"),
            url.host or "ntfy.sh",
            user=url.user,
            password="" if has_token else url.password,
            port=url.port,
            segments=url.segments,
            query=query,
        ),
        given=url,
        used=(*query, "tags", "at", "in", "scheme", "markdown", "disabletls"),
    )


def _opsgenie(url: ServiceUrl) -> Target:
    regions = {"api.opsgenie.com": "", "api.eu.opsgenie.com": "eu"}
    if url.host not in regions or len(url.segments) != 1:
        raise ValueError("it is not opsgenie://api.opsgenie.com/<key>, nor that with api.eu.opsgenie.com")
    known = {key: url.get(key) for key in ("alias", "entity", "tags")}
    query = {"region": regions[url.host], "priority": url.get("priority").upper().removeprefix("P")} | known
    return _to(
        write_url("opsgenie", url.segments[0], query=query | _details(url)),
        given=url,
        used=(*known, "priority", "details"),
    )


def _details(url: ServiceUrl) -> dict[str, str]:
    """Return free fields, which are written as a JSON object or as key:value pairs."""
    text = url.get("details")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = dict(part.partition(":")[::2] for part in _list(text))
    pairs = found.items() if isinstance(found, dict) else ()
    return {f"+{key}": str(value) for key, value in pairs}


def _pushbullet(url: ServiceUrl) -> Target:
    targets = (f"#{url.fragment}",) if url.fragment else url.segments
    return _to(write_url("pbul", _need(url.host, "token"), segments=targets), given=url)


def _pushover(url: ServiceUrl) -> Target:
    return _to(
        write_url(
            "pover",
            _need(url.password, "API token"),
            user=_need(url.host, "user key"),
            segments=_list(url.get("devices")),
            query={"priority": url.get("priority")},
        ),
        given=url,
        used=("devices", "priority"),
    )


def _rocket_chat(url: ServiceUrl) -> Target:
    if len(url.segments) < 2:
        raise ValueError("its token is missing: it has two parts")
    channel = url.fragment or (url.segments[2] if len(url.segments) > 2 else "")
    target = (channel if channel[0] in "@#" else f"#{channel}",) if channel else ()
    return _to(
        write_url(
            _secure(url, "rocket"),
            _need(url.host, "host"),
            user=url.user,
            port=url.port,
            segments=target,
            query={"webhook": "/".join(url.segments[:2]), "mode": "webhook"},
        ),
        given=url,
        used=("disabletls",),
    )


def _slack(url: ServiceUrl) -> Target:
    kind, token = (url.user, url.password) if url.password else ("hook", url.user)
    if kind == "hook":
        parts = _SLACK_TOKEN.fullmatch(token)
        if parts is None:
            raise ValueError("its token is not of the form hook:A-B-C")
        address = write_url("slack", parts[1], user=url.get("botname"), segments=(parts[2], parts[3]))
    elif kind in {"xoxb", "xoxp"}:
        channel = _need(url.host, "channel")
        target = f"{'+' if _SLACK_ID.fullmatch(channel) else '#'}{channel}"
        thread = url.get("thread_ts")
        target = f"{target}:{thread}" if thread else target
        address = write_url("slack", f"{kind}-{token}", user=url.get("botname"), segments=(target,))
        return _to(address, given=url, used=("thread_ts",))
    else:
        raise ValueError("its token begins neither with hook: nor with xoxb:")
    return _to(address, given=url)


_OFF = (
    "Microsoft has switched the connectors of Teams off: make a workflow for the channel that takes webhook requests,"
    " and give the URL of that"
)


def _teams(url: ServiceUrl) -> Target:
    if url.host:
        return Target(problem=_OFF)
    address = _need(url.get("host"), "host, which is the URL of a workflow,")
    if not address.startswith("https://"):
        raise ValueError("its host is not a complete https URL of a workflow")
    return _to(address, given=url, used=("host",))


def _telegram(url: ServiceUrl) -> Target:
    modes = {"none": "text", "": "text", "markdown": "markdown", "markdownv2": "markdown", "html": "html"}
    mode = url.get("parsemode").lower()
    if mode not in modes:
        raise ValueError("its parsemode is not one of None, Markdown, HTML and MarkdownV2")
    query = {
        "format": modes[mode],
        "mdv": "v2" if mode == "markdownv2" else "",
        "silent": "" if url.is_true("notification", default=True) else "yes",
        "preview": "yes" if url.is_true("preview", default=True) else "no",
    }
    if not (url.user and url.password):
        raise ValueError("its token is not of the form number:text")
    chats = _list(_need(url.get("chats", "channels"), "list of chats"))
    address = write_url("tgram", url.user, segments=(url.password, *chats), query=query)
    # Apprise looks for the token's own colon before it looks for a path.
    head, _, rest = address.removeprefix("tgram://").partition("/")
    return _to(
        f"tgram://{head}:{rest}",
        given=url,
        used=("chats", "channels", "parsemode", "notification", "preview"),
    )


def _zulip(url: ServiceUrl) -> Target:
    name, at, domain = url.user.partition("@")
    if not at or domain.lower() != url.host.lower() or not name.endswith("-bot") or url.port:
        raise ValueError("the bot's address is not of the form name-bot@host, with the host of the server")
    return _to(
        write_url(
            "zulip", url.host, user=name.removesuffix("-bot"), segments=(url.password, *_list(url.get("stream", "to")))
        ),
        given=url,
        used=("stream", "to", "type"),
    )


def _lark(url: ServiceUrl) -> Target:
    schemes = {"open.larksuite.com": "lark", "open.feishu.cn": "feishu"}
    if url.host not in schemes:
        raise ValueError("its host is neither open.larksuite.com nor open.feishu.cn")
    if url.get("secret"):
        raise ValueError("signed messages are not supported: use a key word or an address list for the bot instead")
    return _to(write_url(schemes[url.host], url.segments[-1]), given=url)


def _signal(url: ServiceUrl) -> Target:
    if url.get("token"):
        raise ValueError("an API token is not supported: use a user name and a password")
    if len(url.segments) < 2:
        raise ValueError("it names no sender and no receiver")
    return _to(
        write_url(
            _secure(url, "signal"),
            _need(url.host, "host"),
            user=url.user,
            password=url.password,
            port=url.port,
            segments=url.segments,
        ),
        given=url,
        used=("disabletls",),
    )


def _wecom(url: ServiceUrl) -> Target:
    return _to(write_url("wecombot", _need(url.host, "key")), given=url)


def _pager_duty(url: ServiceUrl) -> Target:
    regions = {"": "", "events.pagerduty.com": "", "events.eu.pagerduty.com": "eu"}
    key, host = (url.segments[-1], url.host) if url.segments else (url.host, "")
    if host not in regions:
        raise ValueError("its host is neither events.pagerduty.com nor events.eu.pagerduty.com")
    query = {
        "region": regions[host],
        "severity": url.get("severity"),
        "source": url.get("source"),
        "action": url.get("action"),
        "dedup": url.get("dedup_key"),
        "click": url.get("client_url"),
    }
    # The service takes the integration key alone. Apprise wants a second one and sends it along, so it is no secret.
    address = write_url("pagerduty", "none", user=_need(key, "integration key"), query=query | _details(url))
    return _to(address, given=url, used=("severity", "source", "action", "dedup_key", "client_url", "details"))


def _mqtt(url: ServiceUrl) -> Target:
    is_plain = url.scheme == "mqtt"
    query = {
        "qos": url.get("qos"),
        "retain": "yes" if url.is_true("retained") else "",
        "client_id": url.get("clientid"),
        "session": "" if url.is_true("cleansession", default=True) else "yes",
        "verify": "no" if url.is_true("disabletlsverification") else "",
    }
    if not url.segments:
        raise ValueError("its topic is missing")
    return _to(
        write_url(
            "mqtt" if is_plain or url.is_true("disabletls") else "mqtts",
            _need(url.host, "host"),
            user=url.user,
            password=url.password,
            port=url.port,
            segments=url.segments,
            query=query,
        ),
        given=url,
        used=("qos", "retained", "clientid", "cleansession", "disabletls", "disabletlsverification"),
    )


def _twilio(url: ServiceUrl) -> Target:
    if not (url.user and url.password and url.host and url.segments):
        raise ValueError("it is not twilio://sid:token@from/to")
    return _to(write_url("twilio", url.host, user=url.user, password=url.password, segments=url.segments), given=url)


def _notifiarr(url: ServiceUrl) -> Target:
    channel = _need(url.get("channel"), "channel (an id of Discord)")
    address = write_url(
        "notifiarr", _need(url.host, "API key"), segments=(f"#{channel}",), query={"source": url.get("name")}
    )
    return _to(address, given=url, used=("channel", "name"))


_RULES: Mapping[str, Rule] = {
    "bark": _bark,
    "discord": _discord,
    "smtp": _smtp,
    "generic": _generic,
    "googlechat": _google_chat,
    "hangouts": _google_chat,
    "gotify": _gotify,
    "ifttt": _ifttt,
    "join": _join,
    "logger": _logger,
    "matrix": _matrix,
    "mattermost": _mattermost,
    "ntfy": _ntfy,
    "opsgenie": _opsgenie,
    "pushbullet": _pushbullet,
    "pushover": _pushover,
    "rocketchat": _rocket_chat,
    "slack": _slack,
    "teams": _teams,
    "telegram": _telegram,
    "zulip": _zulip,
    "lark": _lark,
    "signal": _signal,
    "wecom": _wecom,
    "pagerduty": _pager_duty,
    "mqtt": _mqtt,
    "mqtts": _mqtt,
    "twilio": _twilio,
    "notifiarr": _notifiarr,
}
