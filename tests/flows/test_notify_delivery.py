"""Delivery to services: Apprise's own, webhooks, the log, and what they answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from tests.support.receiver import MARKER, receiving
from watchtower_async.notify.courier import Answer, Courier
from watchtower_async.notify.dispatcher import try_services
from watchtower_async.notify.render import Message, MessageKind
from watchtower_async.notify.services import read_service, read_services

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

MESSAGE = Message("T", "1 Updated\n- web <b>", MessageKind.SUCCESS)


def a_courier(logged: list[Message] | None = None, *, deadline: float = 10.0) -> Courier:
    """Return a courier with a log of its own."""
    return Courier(to_log=(logged if logged is not None else []).append, deadline=deadline)


async def test_message_reaches_a_service_of_apprise() -> None:
    """Title, text and kind arrive."""
    async with receiving() as receiver:
        answer = await a_courier().deliver(read_service(f"json://127.0.0.1:{receiver.port}/hook"), MESSAGE)
    assert Answer(f"json://127.0.0.1:{receiver.port}/***", is_ok=True, text="delivered") == answer
    (body,) = receiver.bodies
    assert all(part in body for part in ('"title": "T"', "1 Updated\\n- web <b>", '"type": "success"'))


async def test_refusal_says_what_the_service_answered_without_its_secrets() -> None:
    """The status is what a person needs; the token is not."""
    async with receiving(status=503) as receiver:
        service = read_service(f"json://user:{MARKER}@127.0.0.1:{receiver.port}/{MARKER}")
        answer = await a_courier().deliver(service, MESSAGE)
    assert (answer.is_ok, answer.is_final) == (False, False)
    assert "503" in answer.text
    assert MARKER not in repr(answer)


class Listening(logging.Handler):
    """Everything that reaches the root of all loggers."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)


async def test_nothing_of_apprise_reaches_the_log_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """Its debug records hold whole URLs."""
    caplog.set_level(logging.DEBUG)
    listening = Listening()
    logging.getLogger().addHandler(listening)
    try:
        async with receiving(status=500) as receiver:
            await a_courier().deliver(read_service(f"json://u:{MARKER}@127.0.0.1:{receiver.port}/{MARKER}"), MESSAGE)
    finally:
        logging.getLogger().removeHandler(listening)
    assert not [record for record in listening.records if record.name.split(".")[0] in {"apprise", "urllib3"}]


async def test_answers_of_two_services_are_not_mixed_up() -> None:
    """Both are under way at the same time."""
    found: dict[str, Answer] = {}
    both = anyio.Event()
    courier = a_courier()

    async def deliver(name: str, port: int) -> None:
        found[name] = await courier.deliver(read_service(f"json://127.0.0.1:{port}"), MESSAGE)
        if len(found) == 2:
            both.set()

    async with receiving(status=501) as first, receiving(status=502) as second, anyio.create_task_group() as group:
        group.start_soon(deliver, "first", first.port)
        await deliver("second", second.port)
        with anyio.fail_after(10):
            await both.wait()
    assert ("501" in found["first"].text, "502" in found["first"].text) == (True, False)
    assert ("502" in found["second"].text, "501" in found["second"].text) == (True, False)


async def test_service_that_hangs_is_given_up_at_the_deadline() -> None:
    """It costs this message only."""
    async with receiving(gate=anyio.Event()) as receiver:
        service = read_service(f"json://127.0.0.1:{receiver.port}")
        answer = await a_courier(deadline=0.3).deliver(service, MESSAGE)
        assert answer.text == "it did not answer within 0.3 seconds"


async def test_service_that_cannot_be_reached_says_so() -> None:
    """And is tried again."""
    async with receiving() as receiver:
        port = receiver.port
    answer = await a_courier().deliver(read_service(f"json://127.0.0.1:{port}/{MARKER}"), MESSAGE)
    assert (answer.is_ok, answer.is_final) == (False, False)
    assert MARKER not in answer.text


async def test_url_that_apprise_does_not_take_is_not_tried_again() -> None:
    """Only its owner can put it right."""
    answer = await a_courier().deliver(read_service("nosuchservice://x"), MESSAGE)
    assert (answer.is_ok, answer.is_final) == (False, True)


async def test_second_url_is_used_when_the_first_one_fails() -> None:
    """As for a mail relay without TLS."""
    async with receiving(status=500) as first, receiving() as second:
        service = read_service("smtp://relay/?from=a@x.org&to=b@x.org")
        target = type(service.target)(urls=(f"json://127.0.0.1:{first.port}", f"json://127.0.0.1:{second.port}"))
        service = type(service)("smtp", "smtp://relay", target)
        answer = await a_courier().deliver(service, MESSAGE)
    assert (answer.is_ok, len(first.bodies), len(second.bodies)) == (True, 1, 1)


@dataclass
class Relay:
    """A mail server on loopback without TLS, as old relays are."""

    port: int = 0
    lines: list[str] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take mail in, and offer nothing."""
        writer.write(b"220 relay\r\n")
        is_text = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.lines.append(line)
            if is_text and line != ".":
                # The line that is empty ends the headers, and must not end this.
                self.lines += [more.decode().rstrip() for more in (await reader.readuntil(b"\r\n.\r\n")).splitlines()]
            answer = {"DATA": "354 go on", "STARTTLS": "502 no"}.get(line.upper(), "250 relay")
            is_text = line.upper() == "DATA"
            writer.write(f"{answer}\r\n".encode())
            if line.upper() == "QUIT":
                break
        writer.close()


@asynccontextmanager
async def relaying() -> AsyncIterator[Relay]:
    """Serve a relay."""
    relay = Relay()
    async with await asyncio.start_server(relay.talk, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay


async def test_mail_reaches_a_relay_that_offers_no_tls() -> None:
    """Most relays in the next room are like that; nobody logs in there."""
    async with relaying() as relay:
        url = f"smtp://127.0.0.1:{relay.port}/?auth=None&fromaddress=a@x.org&fromname=WT&toaddresses=b@x.org,c@x.org"
        answer = await a_courier().deliver(read_service(url), Message("Title", "one\ntwo"))
    assert answer.is_ok, answer
    assert {"RCPT TO:<b@x.org>", "RCPT TO:<c@x.org>"} <= {line.replace("rcpt", "RCPT") for line in relay.lines}
    assert "Subject: Title" in relay.lines
    assert "one" in relay.lines


async def test_mail_password_stays_here_when_the_server_offers_no_tls() -> None:
    """Anybody on the way could read it."""
    async with relaying() as relay:
        url = f"smtp://user:{MARKER}@127.0.0.1:{relay.port}/?from=a@x.org&to=b@x.org&encryption=ExplicitTLS"
        answer = await a_courier().deliver(read_service(url), MESSAGE)
    assert not answer.is_ok
    assert not [line for line in relay.lines if line.upper().startswith("AUTH")]
    assert MARKER not in repr(answer)


async def test_generic_webhook_gets_the_bare_message() -> None:
    """Method, headers and parameters are as the URL says."""
    async with receiving() as receiver:
        url = f"generic+http://127.0.0.1:{receiver.port}/a%20b?contenttype=text/plain&x=1&method=PUT&@xToken={MARKER}"
        answer = await a_courier().deliver(read_service(url), MESSAGE)
    assert (answer.is_ok, answer.text) == (True, "HTTP status 200")
    assert [MESSAGE.body] == receiver.bodies
    method, path, headers = receiver.requests[0]
    assert (method, path, headers["Content-Type"], headers["X-Token"]) == ("PUT", "/a%20b?x=1", "text/plain", MARKER)


async def test_generic_webhook_gets_an_object() -> None:
    """With a template its keys are those of the URL."""
    async with receiving() as receiver:
        url = f"generic://127.0.0.1:{receiver.port}/?disabletls=yes&template=json&messagekey=text&$who=me"
        await a_courier().deliver(read_service(url), Message("T", "hello"))
    assert receiver.bodies == ['{"text": "hello", "title": "T", "who": "me"}']


async def test_webhook_that_fails_says_why_without_its_secrets() -> None:
    """Neither the status nor a broken connection holds any of them."""
    async with receiving(status=404) as receiver:
        service = read_service(f"generic+http://127.0.0.1:{receiver.port}/{MARKER}?key={MARKER}")
        refused = await a_courier().deliver(service, MESSAGE)
    unreachable = await a_courier().deliver(service, MESSAGE)
    assert (refused.text, refused.is_ok) == ("HTTP status 404", False)
    assert not unreachable.is_ok
    assert MARKER not in f"{refused} {unreachable}"


async def test_logger_writes_to_the_log() -> None:
    """That is what porcelain output uses."""
    logged: list[Message] = []
    answer = await a_courier(logged).deliver(read_service("logger://"), MESSAGE)
    assert (logged, answer.is_ok) == ([MESSAGE], True)


async def test_retired_service_answers_what_to_do() -> None:
    """Each delivery says so, and it is not tried again."""
    service = read_service("teams://group@tenant/alt/owner?host=org.webhook.office.com")
    answer = await a_courier().deliver(service, MESSAGE)
    assert (answer.is_ok, answer.is_final) == (False, True)
    assert "workflow" in answer.text


async def test_long_message_becomes_several() -> None:
    """A service with a limit must not refuse it."""
    async with receiving() as receiver:
        service = read_service(f"json://127.0.0.1:{receiver.port}")
        await a_courier().deliver(service, Message("T", "line\n" * 10_000))
    assert len(receiver.bodies) > 1


async def test_trying_all_services_returns_each_answer() -> None:
    """One that fails does not keep the others from being tried."""
    async with receiving(status=500) as broken, receiving() as good:
        services = read_services([f"json://127.0.0.1:{broken.port}", f"json://127.0.0.1:{good.port}", "logger://"])
        answers = await try_services(services, courier=a_courier(), message=MESSAGE)
    assert [answer.is_ok for answer in answers] == [False, True, True]
    assert [service.describe() for service in services] == [answer.service for answer in answers]
