"""Takes one message to one service: through Apprise, as a webhook, or into the log.

Apprise is blocking code, so it runs in a few threads of its own, and is imported there at the first message: most runs
send none. A service that hangs is given up at the deadline; its thread ends by Apprise's own time-outs.

What went wrong is known only from what Apprise logs. Its warnings of this thread are the answer, without the secrets of
the service. Nothing of them reaches our own log by itself, because its debug records hold whole URLs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import anyio
import anyio.to_thread

from watchtower_async.notify.render import Message
from watchtower_async.notify.services import Service
from watchtower_async.notify.shoutrrr import Webhook

_THREADS = 4
_LONGEST_ANSWER = 300
_TALKATIVE = ("apprise", "urllib3")
"""Loggers whose records hold URLs and bodies."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service made of a message. `text` says what went wrong, or how it was delivered; it holds no secret."""

    service: str
    is_ok: bool
    text: str = ""
    is_final: bool = False
    """Whether trying again cannot help."""


class Delivering(Protocol):
    """Delivers one message."""

    async def deliver(self, service: Service, message: Message) -> Answer:
        """Try once, within a deadline; every expected end is an answer."""


class Courier:
    """Delivers messages. Safe to use for several at a time."""

    def __init__(self, *, to_log: Callable[[Message], None], deadline: float = 30.0) -> None:
        """`to_log` takes what goes to `logger://`; `deadline` is in seconds, for each try."""
        self._to_log = to_log
        self._deadline = deadline
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def deliver(self, service: Service, message: Message) -> Answer:
        """Try once, within a deadline; every expected end is an answer. Cancelled, it may still be delivered."""
        name, target = service.describe(), service.target
        if target.problem:
            return Answer(name, is_ok=False, text=target.problem, is_final=True)
        if target.is_log:
            self._to_log(message)
            return Answer(name, is_ok=True, text="written to the log")
        try:
            with anyio.fail_after(self._deadline):
                if target.webhook is not None:
                    return await self._call(service, target.webhook, message)
                return await anyio.to_thread.run_sync(
                    _send, service, message, abandon_on_cancel=True, limiter=self._limiter
                )
        except TimeoutError:
            return Answer(name, is_ok=False, text=f"it did not answer within {self._deadline:g} seconds")
        except Exception as error:  # a service of Apprise can raise anything, and that costs this message only
            return Answer(name, is_ok=False, text=_cut(service.mask(f"{type(error).__name__}: {error}")))

    async def _call(self, service: Service, webhook: Webhook, message: Message) -> Answer:
        name = service.describe()
        headers = {"Content-Type": webhook.content_type, **webhook.headers}
        body: Any = {"data": message.body.encode()}
        if webhook.message_key:
            body = {"json": {webhook.message_key: message.body, webhook.title_key: message.title, **webhook.extra}}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._deadline)) as client,
                client.request(webhook.method, webhook.url, headers=headers, allow_redirects=False, **body) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, ValueError) as error:
            return Answer(name, is_ok=False, text=_cut(service.mask(str(error) or type(error).__name__)))
        if 200 <= status < 300:
            return Answer(name, is_ok=True, text=f"HTTP status {status}")
        return Answer(name, is_ok=False, text=f"HTTP status {status}")


class _Heard(logging.Handler):
    """Keeps the warnings that this thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of this thread."""
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


def _send(service: Service, message: Message) -> Answer:
    """Deliver through Apprise, in a thread. The first URL that works is enough."""
    for name in _TALKATIVE:
        logging.getLogger(name).propagate = False
    import apprise  # noqa: PLC0415 - heavy, and most runs send nothing

    log = logging.getLogger("apprise")
    heard = _Heard()
    log.addHandler(heard)
    try:
        asset = apprise.AppriseAsset(
            app_id="Watchtower", app_desc="Watchtower", app_url="", image_url_mask="", image_url_logo=""
        )
        is_usable = False
        for url in service.target.urls:
            instance = apprise.Apprise.instantiate(url, asset=asset)
            if instance is None:
                continue
            is_usable = True
            if _notify(instance, service, message):
                return Answer(service.describe(), is_ok=True, text="delivered")
    finally:
        log.removeHandler(heard)
    said = _cut(service.mask(" ".join(heard.texts)))
    if not is_usable:
        hint = "Apprise does not take this URL, or lacks a package for the service"
        return Answer(service.describe(), is_ok=False, text=f"{hint}: {said}" if said else hint, is_final=True)
    return Answer(service.describe(), is_ok=False, text=said or "it refused the message and did not say why")


def _notify(instance: Any, service: Service, message: Message) -> bool:
    import apprise  # noqa: PLC0415 - it is there already

    # A long message becomes several. Apprise would have the service refuse it.
    if instance.overflow_mode == apprise.OverflowMode.UPSTREAM:
        instance.overflow_mode = apprise.OverflowMode.SPLIT
    # Shoutrrr sends the text as it is, so a template may hold the mark-up that its service reads.
    form = apprise.NotifyFormat.TEXT if service.is_apprise else None
    return bool(
        instance.notify(
            body=message.body, title=message.title, notify_type=apprise.NotifyType(str(message.kind)), body_format=form
        )
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ANSWER else line[:_LONGEST_ANSWER] + "…"
