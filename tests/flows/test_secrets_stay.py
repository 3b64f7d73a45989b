"""A secret reaches the registry it belongs to and the engine that pulls, and is seen nowhere else.

A marker takes the place of every secret. Sessions run into every trouble that a registry, an engine or a configuration
file can make, at the most talkative log level; afterwards the marker, as it is and as it travels, is looked for in
everything that people or programs get to see.
"""

from __future__ import annotations

import base64
import io
import json
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog

from tests.support.engine_sim import Behaviour, Fault
from tests.support.replacing import BROKEN
from tests.support.simulated_registry import Answer, BasicAuth, BearerAuth, Misbehave, SimulatedTokens
from tests.support.town import Town, a_town
from watchtower_async.credentials.config_file import parse_config_file
from watchtower_async.credentials.credential import Credential, registry_auth_header
from watchtower_async.errors import CredentialFileInvalidError
from watchtower_async.session import SessionReport
from watchtower_async.settings import LogFormat, LogLevel, LogSettings
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.telemetry.logging import configure_logging

pytestmark = pytest.mark.looptime

MARKER = "Sw0rdfish-marker/+~"
USER = "tester"
LOGINS = {
    "password": Credential(username=USER, password=MARKER, source="config.json entry"),
    "identity token": Credential(username=USER, identity_token=MARKER, source="config.json entry"),
    "registry token": Credential(registry_token=MARKER, source="config.json entry"),
}


def as_it_travels(text: str) -> tuple[str, ...]:
    """Return the forms in which a secret could show."""
    pair = f"{USER}:{text}".encode()
    return (
        text,
        text.replace("/", "%2F"),
        json.dumps(text)[1:-1],
        base64.b64encode(pair).decode().rstrip("="),
        base64.b64encode(text.encode()).decode().rstrip("="),
    )


def assert_unseen(*texts: str, login: Credential, address: str) -> None:
    """None of the texts holds the secret in any form."""
    forms = (*as_it_travels(MARKER), registry_auth_header(login, address).rstrip("="))
    for text in texts:
        for form in forms:
            assert form not in text, f"the secret is seen in: {text[:500]}"


TROUBLES: dict[str, Misbehave] = {
    "accepted": Misbehave(path="/nothing-at-all/"),
    "refuses": Misbehave(answer=Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}), kind="manifest"),
    "forbids": Misbehave(answer=Answer(403), kind="manifest"),
    "echoes": Misbehave(
        answer=Answer(
            401,
            {"WWW-Authenticate": f'Basic realm="{MARKER}"'},
            json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": MARKER, "detail": MARKER}]}).encode(),
        ),
        kind="manifest",
    ),
    "unknown": Misbehave(answer=Answer(404, {}, MARKER.encode()), kind="manifest"),
    "html": Misbehave(answer=Answer(200, {"Content-Type": "text/html"}, MARKER.encode()), kind="manifest"),
    "token html": Misbehave(answer=Answer(200, {}, f"<html>{MARKER}".encode()), kind="token"),
    "token refused": Misbehave(answer=Answer(401, {}, MARKER.encode()), kind="token"),
    "token broken": Misbehave(answer=Answer(500, {}, MARKER.encode()), kind="token"),
    "redirects": Misbehave(
        answer=Answer(307, {"Location": f"http://user:{MARKER}@127.0.0.2:1/?token={MARKER}"}), kind="manifest"
    ),
    "resets": Misbehave(reset=True),
    "hangs": Misbehave(stall=3600.0),
    "limits": Misbehave(answer=Answer(429, {"Retry-After": "3000"}, MARKER.encode()), kind="manifest"),
}


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    """Other tests see structlog as it was."""
    yield
    structlog.reset_defaults()


@asynccontextmanager
async def a_private_town(kind: str, login: Credential) -> AsyncIterator[Town]:
    """A town whose registry asks for the login."""
    async with a_town() as town:
        tokens = SimulatedTokens(users={USER: MARKER}, identity_tokens=[MARKER], anonymous=False, posts=True)
        town.registry.auth = BearerAuth(tokens) if kind != "basic" else BasicAuth(users={USER: MARKER})
        town.store.logins[town.registry.address] = replace(login, source=f"entry {town.registry.address}")
        yield town


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.LOGFMT, LogFormat.PRETTY])
@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_secret_is_seen_nowhere_whatever_a_registry_does(kind: str, login: str, log_format: LogFormat) -> None:
    """Log, events, report and `repr` hold nothing of it."""
    log = io.StringIO()
    configure_logging(LogSettings(level=LogLevel.TRACE, format=log_format), stream=log)
    for trouble, misbehave in TROUBLES.items():
        async with a_private_town(kind, LOGINS[login]) as town:
            town.listeners = (EventLog(),)
            await town.outdated("web", "team/web")
            town.registry.misbehave(replace(misbehave))
            report = await town.run()
            assert_unseen(log.getvalue(), *_seen(town, report), login=LOGINS[login], address=town.registry.address)
            assert log.getvalue(), trouble


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["fail", "lost", "hang", "kill_before"])
async def test_secret_is_seen_nowhere_whatever_an_engine_does(kind: str, number: int) -> None:
    """The engine gets the login for the pull; what goes wrong with the engine does not show it."""
    log = io.StringIO()
    configure_logging(LogSettings(level=LogLevel.TRACE, format=LogFormat.JSON), stream=log)
    login = LOGINS["password"]
    async with a_private_town("basic", login) as town:
        town.listeners = (EventLog(),)
        await town.outdated("web", "team/web", BROKEN if number % 2 else Behaviour())
        header = registry_auth_header(login, town.registry.address)
        async with town.session() as session:
            town.engine.fault = Fault(at=number, kind=kind, text=f"failed with {header}")  # type: ignore[arg-type]
            report = await session.run()
        assert_unseen(log.getvalue(), *_seen(town, report), login=login, address=town.registry.address)


def _seen(town: Town, report: SessionReport) -> list[str]:
    """Return everything that a person or a program gets to see of a session."""
    texts = [repr(event) for event in town.events]
    texts += [repr(report), str(report), repr(town.store.logins)]
    if report.plan is not None:
        texts.append(json.dumps(report.plan.as_json()))
    return texts


ENTRY = base64.b64encode(f"{USER}:{MARKER}".encode()).decode()


@pytest.mark.parametrize(
    "content",
    [
        f'{{"auths": {{"r.example": {{"auth": "{ENTRY}"}}',
        f'{{"auths": {{"r.example": {{"auth": "{ENTRY}"}}}}, "credsStore": 5}}',
        f'{{"auths": ["{MARKER}"]}}',
        f'{{"auths": {{"r.example": {{"auth": "{MARKER}!!"}}}}}}',
        f'{{"auths": {{"https://{USER}:{MARKER}@r.example": {{"auth": 1}}}}}}',
        f'{{"auths": {{"r.example": "{MARKER}"}}}}',
        f'\xff{{"auths": {{"r.example": {{"password": "{MARKER}"}}}}}}',
    ],
)
def test_secret_of_a_broken_file_is_not_in_its_error(content: str) -> None:
    """Neither in the text nor in the traceback, with causes and contexts."""
    text = ""
    try:
        config = parse_config_file(content.encode("latin-1"), path="config.json")
        text = repr(config) + repr(config.problems)
    except CredentialFileInvalidError:
        text = traceback.format_exc()
    assert_unseen(text, login=LOGINS["password"], address="r.example")
