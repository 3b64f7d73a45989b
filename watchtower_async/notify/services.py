"""Where messages go: a URL, in Apprise's form or in shoutrrr's, as what it takes to deliver to it.

A scheme that only one of the two knows is read as theirs. Where both know it and the two forms can be told apart, each
is read as what it is. Where they cannot (`gotify`, `ntfy`, `signal`, and `matrix` without a room), it is shoutrrr's
meaning, which is TLS unless the URL says otherwise; `apprise+gotify://…` always means Apprise's.

Almost every part of such a URL is a secret. What may be shown is the scheme, and the host where it is a machine's name.
Nothing else is in `repr`, in `describe()` or in an error, and `mask()` takes it out of texts that others wrote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from watchtower_async.notify.service_url import ServiceUrl, parse_service_url
from watchtower_async.notify.shoutrrr import Target, translate

_APPRISE_ONLY = "apprise+"
_MASK = "***"
_SHORTEST_SECRET = 4
_WITH_HOST = re.compile(
    r"(?:(?:json|xml|form|gotify|ntfy|matrix|mmost|rocket|mqtt|signal|bark|apprise|mailto|http)s?"
    r"|smtp|generic(?:\+https?)?|mattermost|rocketchat)"
)
"""Schemes that are followed by the name of a machine, and not by a token."""
_NEEDS_PATH = frozenset({"ntfy", "ntfys", "matrix", "matrixs"})
"""Schemes that may be followed by a token or a topic, when nothing follows that."""
_SHOWN_PARAMETERS = frozenset(
    {
        "action", "auth", "botname", "category", "color", "contenttype", "encryption", "format", "fromname", "group",
        "icon", "method", "mode", "name", "overflow", "parsemode", "priority", "severity", "sound", "source", "tags",
        "template", "title", "username", "xtags",
    }
)  # fmt: skip
"""Parameters that are words and no secrets: without them texts would be masked that hold the same word."""


@dataclass(frozen=True, slots=True)
class Service:
    """One place that messages go to."""

    scheme: str
    """What it is, in the word that the URL begins with: `slack`, `smtp`."""
    name: str
    """What it is called, stable over restarts and different from every other one's. It holds no secret."""
    target: Target
    is_apprise: bool = False
    """Whether the URL is Apprise's own, so that a text is fitted to the format that the service wants."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def describe(self) -> str:
        """Return what may be shown of it."""
        return self.name

    def mask(self, text: str) -> str:
        """Return a text without the secrets of this service."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        return text


def read_service(text: str) -> Service:
    """Read the URL of a service. Raises ValueError with a reason that can be shown."""
    url = parse_service_url(text)
    if _is_place(url) and ":" in url.host and not url.host.startswith("["):
        raise ValueError(f"{url.scheme}://{_MASK}: its port is not a number")
    shown = _shown(url)
    is_explicit = url.scheme.startswith(_APPRISE_ONLY)
    try:
        target = None if is_explicit else translate(url)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    is_apprise = target is None
    if target is None:
        target = Target(urls=(text.strip()[len(_APPRISE_ONLY) :] if is_explicit else text.strip(),))
    return Service(
        scheme=url.scheme.removeprefix(_APPRISE_ONLY),
        name=shown,
        target=target,
        is_apprise=is_apprise,
        secrets=_secrets_of(url),
    )


def read_services(texts: Iterable[str]) -> tuple[Service, ...]:
    """Read all URLs, in order; those that look the same are numbered. Raises ValueError that holds every problem."""
    services: list[Service] = []
    problems: list[str] = []
    seen: Counter[str] = Counter()
    for text in texts:
        try:
            service = read_service(text)
        except ValueError as error:
            problems.append(str(error))
            continue
        seen[service.name] += 1
        number = seen[service.name]
        services.append(service if number == 1 else replace(service, name=f"{service.name} #{number}"))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(services)


def _shown(url: ServiceUrl) -> str:
    scheme = url.scheme.removeprefix(_APPRISE_ONLY)
    if not (url.host and _is_place(url)):
        return f"{scheme}://{'' if _is_empty(url) else _MASK}"
    before = f"{_MASK}@" if url.user or url.password else ""
    port = f":{url.port}" if url.port else ""
    after = f"/{_MASK}" if url.segments or (url.query and scheme != "smtp") else ""
    return f"{scheme}://{before}{url.host}{port}{after}"


def _is_place(url: ServiceUrl) -> bool:
    """Say whether the host's place holds the name of a machine."""
    scheme = url.scheme.removeprefix(_APPRISE_ONLY)
    return _WITH_HOST.fullmatch(scheme) is not None and not (scheme in _NEEDS_PATH and _is_bare(url))


def _is_bare(url: ServiceUrl) -> bool:
    return not (url.segments or url.user or url.password)


def _is_empty(url: ServiceUrl) -> bool:
    return not (url.host or url.query or url.segments or url.user or url.password)


def _secrets_of(url: ServiceUrl) -> frozenset[str]:
    """Return what must not be shown, as it is and as it is written in a URL."""
    values = (value for key, value in url.query.items() if key not in _SHOWN_PARAMETERS)
    parts = {url.user, url.password, url.fragment, *url.segments, *values}
    if not _is_place(url):
        parts.add(url.host)
    parts |= {piece for part in tuple(parts) for piece in re.split(r"[-/,:]", part)}
    secrets = {part for part in parts if len(part) >= _SHORTEST_SECRET}
    return frozenset(secrets | {quote(secret, safe="") for secret in secrets})
