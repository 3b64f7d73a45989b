"""The HTTP API on real sockets of this machine."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.api_world import EVENTS_TOKEN, NOON, TOKEN, Caller, World, some_settings
from tests.support.builders import a_digest, an_id
from watchtower_async.events import (
    ContainerJudged,
    Event,
    ImageRemoved,
    ReplacementStarted,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.web.api import ApiLimits
from watchtower_async.web.control import serve_control_socket
from watchtower_async.web.live import Live
from watchtower_async.web.ports import SessionResult, Summary, Unavailable, Vitals
from watchtower_async.web.route import Endpoint
from watchtower_async.web.server import serve_api

NO_TOKEN: dict[str, str] = {}
ENVELOPE = {"timestamp": "2024-05-06T12:00:00Z", "api_version": "v1"}
COUNTS = {"scanned": 3, "updated": 1, "failed": 0, "restarted": 0, "skipped": 2}


def an_item(name: str = "web", action: Action = Action.UPDATE) -> PlanItem:
    """Return a judged container."""
    return PlanItem(
        container_id=an_id(name),
        name=name,
        image="redis:7",
        image_id=a_digest("config"),
        action=action,
        reason=Reason(ReasonCode.NEWER_IMAGE, "because"),
    )


def a_session(*, scanned: int = 3, updated: int = 1, failed: int = 1, unknown: int = 1) -> list[Event]:
    """Return the facts of a session."""
    judged = [ContainerJudged(an_item(f"c{at}", Action.UNKNOWN)) for at in range(unknown)]
    return [SessionStarted("s1", "engine"), *judged, SessionFinished("s1", scanned, updated, failed, 1.5)]


def announce(world: World, *events: Event) -> None:
    """Let facts happen."""
    for event in events:
        world.announcer.announce(event)


# ---- updates -----------------------------------------------------------------------------------------------------


async def test_get_update_answers_as_the_original_does() -> None:
    """200 with no body when the session has ended, whatever came of it."""
    world = World()
    world.sessions.may_end.set()
    world.sessions.result = SessionResult(summary=Summary(failed=3), duration_seconds=1, failure="the engine is gone")
    async with world.served() as ask:
        reply = await ask("GET", "/v1/update?image=redis,db:1&image=web")
    assert (reply.status, reply.text) == (200, "")
    assert world.sessions.asked == [(("redis", "db:1", "web"), ())]


async def test_get_update_while_a_session_runs_does_nothing() -> None:
    """200 at once; scripts for the original know no other answer."""
    world = World()
    async with world.served() as ask, anyio.create_task_group() as group:
        group.start_soon(ask, "POST", "/v1/update")
        await world.sessions.begun.wait()
        reply = await ask("GET", "/v1/update")
        world.sessions.may_end.set()
    assert (reply.status, reply.text) == (200, "")
    assert len(world.sessions.asked) == 1


async def test_post_update_answers_with_what_the_session_did() -> None:
    """The five numbers and the time it took, as Go writes it."""
    world = World()
    world.sessions.may_end.set()
    async with world.served() as ask:
        reply = await ask("POST", "/v1/update")
    assert reply.status == 200
    timing = {"duration_ms": 62500, "duration": "1m2.5s"}
    assert reply.document == {"summary": COUNTS, "timing": timing, **ENVELOPE}


async def test_post_update_while_a_session_runs_is_429() -> None:
    """With the time after which it is worth another try."""
    world = World()
    async with world.served() as ask, anyio.create_task_group() as group:
        group.start_soon(ask, "POST", "/v1/update")
        await world.sessions.begun.wait()
        reply = await ask("POST", "/v1/update")
        world.sessions.may_end.set()
    assert reply.status == 429
    assert reply.headers["Retry-After"] == "30"
    assert reply.document == {"error": "another update is already running", **ENVELOPE}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_update_of_some_containers_waits_for_its_turn(method: str) -> None:
    """Nobody who names something wants to be told to come back."""
    world = World()
    async with world.served() as ask, anyio.create_task_group() as group:
        group.start_soon(ask, "POST", "/v1/update")
        await world.sessions.begun.wait()

        async def targeted() -> None:
            assert (await ask(method, "/v1/update?container=web.*")).status == 200

        group.start_soon(targeted)
        await world.sessions.queued.wait()
        world.sessions.may_end.set()
    assert world.sessions.asked[1] == ((), ("web.*",))


async def test_update_in_the_background_is_accepted_at_once() -> None:
    """202, and the session runs without its asker."""
    world = World()
    async with world.served() as ask:
        reply = await ask("POST", "/v1/update?async=true")
    assert (reply.status, reply.text.strip()) == (202, "Accepted")
    assert world.sessions.asked == [((), ())]


@pytest.mark.parametrize("query", ["timeout=20ms", "timeout=1h"])
async def test_update_that_takes_too_long_is_408(query: str) -> None:
    """What the request allows, and never more than the setting does."""
    world = World(limits=ApiLimits(update_seconds=0.03))
    async with world.served() as ask:
        assert (await ask("POST", f"/v1/update?{query}")).status == 408


@pytest.mark.parametrize(
    "query", ["async=perhaps", "timeout=soon", "timeout=0", "timeout=-1s", "container=web(", "container=" + "a" * 501]
)
async def test_update_with_a_senseless_parameter_is_400(query: str) -> None:
    """And nothing is updated by mistake."""
    world = World()
    async with world.served() as ask:
        reply = await ask("POST", f"/v1/update?{query}")
    assert reply.status == 400
    assert reply.text.startswith(query.partition("=")[0])
    assert world.sessions.asked == []


async def test_update_that_could_not_be_carried_through_is_500() -> None:
    """With the reason."""
    world = World()
    world.sessions.may_end.set()
    world.sessions.result = SessionResult(summary=Summary(), duration_seconds=1, failure="the engine is gone")
    async with world.served() as ask:
        reply = await ask("POST", "/v1/update")
    assert (reply.status, reply.document) == (500, {"error": "the engine is gone", **ENVELOPE})


@pytest.mark.parametrize(("method", "query"), [("GET", ""), ("POST", ""), ("POST", "?async=1")])
async def test_update_of_an_updater_that_begins_is_503(method: str, query: str) -> None:
    """Somebody who asks again later is served."""
    world = World()
    world.sessions.unavailable = Unavailable("the updater has not begun yet")
    async with world.served() as ask:
        assert (await ask(method, f"/v1/update{query}")).status == 503


async def test_client_that_goes_away_does_not_end_the_session() -> None:
    """A script that is killed must not leave a container half replaced."""
    world = World()
    async with world.served() as ask:
        with anyio.move_on_after(0.05):
            await ask("POST", "/v1/update")
        assert world.sessions._turn.locked()
        world.sessions.may_end.set()


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_update_by_another_method_is_405(method: str) -> None:
    """Above all HEAD, which promises to change nothing."""
    world = World()
    async with world.served() as ask:
        assert (await ask(method, "/v1/update")).status == 405
    assert world.sessions.asked == []


# ---- views -------------------------------------------------------------------------------------------------------


async def test_check_tells_what_a_session_would_find() -> None:
    """Without an error where there is none."""
    world = World()
    async with world.served() as ask:
        reply = await ask("POST", "/v1/check?image=redis&container=w.*")
    assert world.views.asked == [(("redis",), ("w.*",))]
    common = {"latest_image_id": "", "timestamp": "2024-05-06T12:00:00Z"}
    web = {"name": "web", "image": "redis:7", "image_id": a_digest("i"), "digest": a_digest("v1"), **common}
    db = {"name": "db", "image": "db:1", "image_id": a_digest("j"), "digest": "", **common}
    assert reply.document == {
        "containers": [
            {**web, "update_available": True, "latest_digest": a_digest("v2")},
            {**db, "update_available": False, "latest_digest": "", "error": "no answer"},
        ],
        "count": 2,
        **ENVELOPE,
    }


async def test_check_that_takes_too_long_is_408() -> None:
    """The registry may be slow."""
    world = World()
    world.views.delay = 5
    async with world.served() as ask:
        assert (await ask("POST", "/v1/check?timeout=10ms")).status == 408


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["web", "db"]),
        ("?name=web", ["web"]),
        ("?name=we", []),
        ("?image=db:1", ["db"]),
        ("?name=web&image=db:1", []),
    ],
)
async def test_containers_are_chosen_by_exact_name_and_image(query: str, names: list[str]) -> None:
    """Both must fit where both are given."""
    async with World().served() as ask:
        reply = await ask("GET", f"/v1/containers{query}")
        details = await ask("GET", f"/v1/containers/details{query}")
    assert [item["name"] for item in reply.document["containers"]] == names
    assert [item["name"] for item in details.document["containers"]] == names
    assert reply.document["count"] == len(names)


async def test_details_say_how_a_container_is_treated() -> None:
    """All that the plain list says, and more."""
    async with World().served() as ask:
        plain = await ask("GET", "/v1/containers?name=db")
        details = await ask("GET", "/v1/containers/details?name=db")
    base = {"name": "db", "image": "db:1", "image_id": a_digest("j"), "digest": ""}
    flags = {
        "running": True,
        "watchtower": False,
        "monitor_only": True,
        "no_pull": False,
        "enabled": True,
        "stale": False,
    }
    assert plain.document["containers"] == [base]
    assert details.document["containers"] == [{**base, **flags, "scope": "prod"}]


async def test_images_name_their_containers() -> None:
    """Chosen by exact name and id."""
    async with World().served() as ask:
        reply = await ask("GET", "/v1/images", params={"name": "redis:7", "id": a_digest("i")})
        none = await ask("GET", "/v1/images", params={"name": "redis:7", "id": a_digest("j")})
    image = {"name": "redis:7", "image_id": a_digest("i"), "digest": a_digest("v1"), "containers": ["web"]}
    assert reply.document == {"images": [image], "count": 1, **ENVELOPE}
    assert none.document["images"] == []


async def test_config_shows_the_settings() -> None:
    """No secret is among them."""
    async with World().served() as ask:
        reply = await ask("GET", "/v1/config")
    assert reply.document["config"]["cleanup"] is True
    assert reply.document["config"]["scope"] == "prod"
    assert TOKEN not in reply.text


@pytest.mark.parametrize("path", ["/v1/containers", "/v1/containers/details", "/v1/images"])
async def test_engine_that_refuses_is_500_with_its_reason(path: str) -> None:
    """As text."""
    world = World()
    world.views.refusal = "the engine cannot be reached"
    async with world.served() as ask:
        reply = await ask("GET", path)
    assert (reply.status, reply.text) == (500, "the engine cannot be reached\n")


async def test_bug_costs_one_answer_and_stands_in_the_log() -> None:
    """The client learns nothing about the inside."""
    world = World()
    world.views.has_bug = True
    async with world.served() as ask:
        with capture_logs() as logs:
            reply = await ask("GET", "/v1/config")
        assert (await ask("GET", "/v1/containers")).status == 200
    assert reply.status == 500
    assert "the inside" not in reply.text
    assert [entry["event"] for entry in logs] == ["api.request_failed"]


# ---- sessions ----------------------------------------------------------------------------------------------------


async def test_status_is_204_until_a_session_has_ended() -> None:
    """Then it tells of the last one; what could not be checked is skipped and no failure."""
    world = World()
    async with world.served() as ask:
        before = await ask("GET", "/v1/status")
        announce(world, *a_session(scanned=4, updated=1, failed=3, unknown=2))
        after = await ask("GET", "/v1/status")
    assert (before.status, before.text) == (204, "")
    summary = {"scanned": 2, "updated": 1, "failed": 1, "restarted": 0, "skipped": 2}
    assert after.document == {"summary": summary, **ENVELOPE}


async def test_history_keeps_the_last_500_sessions_and_gives_the_newest() -> None:
    """The newest one is last."""
    world = World()
    for count in range(502):
        announce(world, *a_session(scanned=count, failed=0, unknown=0))
    async with world.served() as ask:
        everything = await ask("GET", "/v1/history")
        newest = await ask("GET", "/v1/history?limit=2")
    assert everything.document["count"] == 500
    assert everything.document["entries"][0]["scanned"] == 2
    assert [entry["scanned"] for entry in newest.document["entries"]] == [500, 501]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("since=2024-05-06T12:00:00Z", 1),
        ("since=2024-05-06T12:00:01Z", 0),
        ("until=2024-05-06T14:00:00%2B02:00", 1),
        ("until=2024-05-06t11:59:59.999z", 0),
        ("limit=0", 1),
    ],
)
async def test_history_is_limited_to_a_time(query: str, count: int) -> None:
    """Both ends belong to it."""
    world = World()
    announce(world, *a_session())
    async with world.served() as ask:
        assert (await ask("GET", f"/v1/history?{query}")).document["count"] == count


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=2024-05-06", "since=2024-13-06T00:00:00Z", "limit=-1", "limit=x"]
)
async def test_history_of_a_senseless_time_is_400(query: str) -> None:
    """With the name of the parameter."""
    async with World().served() as ask:
        reply = await ask("GET", f"/v1/history?{query}")
    assert reply.status == 400
    assert reply.text.startswith(query.partition("=")[0])


async def test_metrics_are_in_the_form_that_prometheus_reads() -> None:
    """What happened is in them at once."""
    world = World()
    announce(world, *a_session())
    async with world.served() as ask:
        reply = await ask("GET", "/v1/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "watchtower_scans_total 1.0" in reply.text.splitlines()


# ---- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN}", TOKEN])
async def test_token_is_taken_in_each_form(given: str) -> None:
    """The scheme in any case, or none."""
    async with World().served() as ask:
        assert (await ask("GET", "/v1/config", headers={"Authorization": given})).status == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {EVENTS_TOKEN}"]
)
async def test_wrong_token_is_401_and_reaches_nothing(given: str) -> None:
    """A short text, the field that RFC 9110 asks for, and no session."""
    world = World()
    async with world.served() as ask:
        reply = await ask("GET", "/v1/update", headers={"Authorization": given})
    assert (reply.status, reply.text) == (401, "unauthorized\n")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert world.sessions.asked == []


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "https://friend.example"}, 200),
    ],
)
async def test_cookie_counts_unless_a_foreign_page_caused_the_request(extra: dict[str, str], status: int) -> None:
    """Else any page could update the containers of whoever looks at it."""
    headers = {"Cookie": f"access_token={TOKEN}", **extra}
    async with World().served(cors_origins=("https://friend.example",)) as ask:
        assert (await ask("GET", "/v1/config", headers=headers)).status == status


async def test_open_cors_does_not_open_the_cookie() -> None:
    """`*` is without credentials."""
    headers = {"Cookie": f"access_token={TOKEN}", "Origin": "https://evil.example"}
    async with World().served(cors_origins=("*",)) as ask:
        assert (await ask("GET", "/v1/config", headers=headers)).status == 401


async def test_every_declared_route_but_the_open_ones_asks_for_a_token() -> None:
    """Whoever adds a route does not forget it."""
    world = World()
    open_paths = set()
    async with world.served() as ask:
        for route in [route for subject in world.subjects for route in subject.routes]:
            reply = await ask(route.method, route.path.replace("{name}", "web").replace("{id}", "r1"), headers=NO_TOKEN)
            if reply.status != 401:
                open_paths.add(route.path)
    assert open_paths == {"/livez", "/readyz", "/startupz"}


async def test_unknown_path_is_404_without_a_token() -> None:
    """As in both Watchtowers; paths are case-sensitive."""
    async with World().served() as ask:
        assert (await ask("GET", "/", headers=NO_TOKEN)).status == 404
        assert (await ask("GET", "/V1/update", headers=NO_TOKEN)).status == 404


async def test_what_is_not_switched_on_is_404() -> None:
    """Also with the token."""
    async with World().served(endpoints=frozenset({Endpoint.METRICS})) as ask:
        assert (await ask("GET", "/v1/metrics")).status == 200
        for path in ("/v1/update", "/v1/containers", "/livez", "/swagger/doc.json", "/quarantine"):
            assert (await ask("GET", path)).status == 404


async def test_rate_limit_counts_every_request_and_answers_429() -> None:
    """Also the wrong ones: a token cannot be guessed quickly."""
    async with World().served(rate_limit=3) as ask:
        statuses = [(await ask("GET", "/v1/config", headers=NO_TOKEN)).status for _ in range(3)]
        last = await ask("GET", "/v1/config")
    assert statuses == [401, 401, 401]
    assert (last.status, last.text) == (429, "")


async def test_clients_behind_a_trusted_proxy_are_counted_apart() -> None:
    """And nobody else is believed to be one."""
    names = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(4)]
    async with World().served(rate_limit=2, trusted_proxies=("127.0.0.0/8",)) as ask:
        assert [(await ask("GET", "/livez", headers=name)).status for name in names] == [200] * 4
    async with World().served(rate_limit=2) as ask:
        assert [(await ask("GET", "/livez", headers=name)).status for name in names] == [200, 200, 429, 429]


@pytest.mark.parametrize(
    ("origins", "allowed", "with_credentials"),
    [
        (("https://a.example",), "https://a.example", "true"),
        (("*",), "*", None),
        ((), None, None),
        (("https://b.example",), None, None),
    ],
)
async def test_cors_allows_the_origins_of_the_setting(
    origins: tuple[str, ...], allowed: str | None, with_credentials: str | None
) -> None:
    """The question before the request needs no token; `*` goes without credentials."""
    origin = {"Origin": "https://a.example"}
    before = {**origin, "Access-Control-Request-Method": "POST"}
    async with World().served(cors_origins=origins) as ask:
        preflight = await ask("OPTIONS", "/v1/update", headers=before)
        reply = await ask("GET", "/v1/config", headers={**origin, "Authorization": TOKEN})
    assert preflight.status == (204 if allowed else 405)
    assert reply.headers.get("Access-Control-Allow-Origin") == allowed
    assert reply.headers.get("Access-Control-Allow-Credentials") == with_credentials


async def test_answers_carry_security_headers_and_a_request_id() -> None:
    """Also those that say no; a senseless id is not repeated."""
    async with World().served() as ask:
        for path in ("/v1/config", "/nothing"):
            reply = await ask("GET", path, headers={"X-Request-ID": "abc-1"})
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["X-Request-ID"] == "abc-1"
            assert "aiohttp" not in reply.headers["Server"]
        assert (await ask("GET", "/livez", headers={"X-Request-ID": "a b"})).headers["X-Request-ID"] != "a b"


async def test_body_that_is_too_large_is_413() -> None:
    """Nothing here needs a body."""
    async with World().served() as ask:
        assert (await ask("POST", "/v1/check", data=io.BytesIO(b"x" * ((1 << 20) + 1)))).status == 413


async def test_request_that_is_no_http_is_400_and_leaves_nothing_in_any_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody may send it, and an address may hold a token."""
    async with World().served() as ask:
        port = int(ask.server.url.rpartition(":")[2])
        with capture_logs() as logs, anyio.fail_after(5):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET /v1/events?access_token=hunter2" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.0 400")
    assert (logs, caplog.text, capsys.readouterr().err) == ([], "", "")


# ---- listening ---------------------------------------------------------------------------------------------------


async def refusal(**settings: Any) -> str | None:
    """Return why nothing is served."""
    async with serve_api(some_settings(**settings), *World().subjects) as server:
        assert not server.is_serving or server.problem is None
        return server.problem


async def test_taken_port_is_a_reason() -> None:
    """Not an error that ends the updater."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        problem = await refusal(port=port)
    assert problem is not None
    assert problem.startswith(f"the API cannot listen on 127.0.0.1:{port}: ")


async def test_missing_token_is_a_reason_and_health_needs_none() -> None:
    """The message is that of Watchtower and names the flag."""
    problem = await refusal(token="")
    assert problem is not None
    assert "api token is empty or has not been set" in problem
    assert "--http-api-token" in problem
    assert "--http-api-events-token" in (await refusal(events_token="") or "")
    assert await refusal(token="", events_token="", endpoints=frozenset({Endpoint.HEALTH, Endpoint.SWAGGER})) is None


@pytest.mark.parametrize("settings", [{"host": "localhost"}, {"trusted_proxies": ("proxy",)}])
async def test_name_instead_of_an_address_is_a_reason(settings: dict[str, Any]) -> None:
    """It might mean another machine tomorrow."""
    assert "addresses, not names" in (await refusal(**settings) or "")


@pytest.fixture(scope="module")
def certificate() -> Iterator[tuple[Path, Path]]:
    """A certificate for this machine, and its key."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        pem, key = Path(name, "certificate.pem"), Path(name, "key.pem")
        command = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(pem),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        yield pem, key


async def test_tls_serves_with_the_certificate_of_the_setting(certificate: tuple[Path, Path]) -> None:
    """A client that trusts it is served, plain HTTP is not."""
    pem, key = certificate
    trusting = ssl.create_default_context(cafile=str(pem))
    async with World().served(tls_certificate=pem, tls_key=key) as ask:
        assert ask.server.url.startswith("https://127.0.0.1:")
        assert (await ask("GET", "/livez", ssl=trusting)).status == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(ask.server.url.replace("https", "http") + "/livez")


async def test_unusable_certificate_is_a_reason(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """Missing, half given, or not fitting."""
    pem, key = certificate
    assert "give both or neither" in (await refusal(tls_certificate=pem) or "")
    assert "cannot be used" in (await refusal(tls_certificate=tmp_path / "none.pem", tls_key=key) or "")
    assert "cannot be used" in (await refusal(tls_certificate=pem, tls_key=pem) or "")


# ---- the control socket ------------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory with a name short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        yield Path(name) / "state"


async def test_control_socket_serves_the_same_api_without_a_token(directory: Path) -> None:
    """Who can reach it is the updater's own user."""
    world = World()
    async with (
        serve_control_socket(directory, world.health.health, *world.subjects) as control,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(control.path))) as session,
    ):
        for path in ("/v1/config", "/v1/containers", "/v1/metrics", "/livez", "/quarantine", "/swagger/doc.json"):
            async with session.get(f"http://localhost{path}") as reply:
                assert (path, reply.status) == (path, 200)
        async with session.get("http://localhost/health") as reply:
            assert reply.status == 200
            assert (await reply.json())["status"] == "ok"


async def test_stream_on_the_control_socket_ends_when_the_updater_stops(directory: Path) -> None:
    """At once; nobody waits for a deadline."""
    world = World()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(directory / "control.sock"))) as session:
        async with serve_control_socket(directory, world.health.health, *world.subjects):
            reply = await session.get("http://localhost/v1/events")
            assert await reply.content.readline() == b"retry: 5000\n"
            began = anyio.current_time()
        assert anyio.current_time() - began < 0.5
        assert await reply.content.read() == b"\n"


# ---- health ------------------------------------------------------------------------------------------------------

WELL = Vitals(is_started=True, next_session=NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("vitals", "engine", "statuses"),
    [
        (WELL, None, (200, 200, 200)),
        (replace(WELL, is_started=False), None, (200, 503, 503)),
        (WELL, "no answer", (200, 503, 200)),
        (replace(WELL, next_session=NOON - timedelta(minutes=1)), None, (200, 200, 200)),
        (replace(WELL, next_session=NOON - timedelta(hours=1)), None, (503, 503, 200)),
        (replace(WELL, next_session=NOON - timedelta(hours=1), running_since=NOON), None, (200, 200, 200)),
        (replace(WELL, last_failure="the engine was gone"), None, (200, 200, 200)),
    ],
)
async def test_probes_tell_alive_from_ready_from_started(
    vitals: Vitals, engine: str | None, statuses: tuple[int, int, int]
) -> None:
    """A long session is alive; one that is due and does not begin is not."""
    world = World()
    world.vital.now, world.vital.problem = vitals, engine
    async with world.served() as ask:
        replies = [await ask("GET", path, headers=NO_TOKEN) for path in ("/livez", "/readyz", "/startupz")]
    assert tuple(reply.status for reply in replies) == statuses
    assert [reply.document for reply in replies] == [
        {"status": "ok" if status == 200 else "failing"} for status in statuses
    ]


async def test_health_answer_gives_reasons() -> None:
    """When the last session was, whether it overran, what is wrong."""
    world = World()
    world.vital.now = replace(
        WELL, has_overrun=True, last_finished=NOON, last_failure="it broke", detail={"sessions": 3}
    )
    world.vital.problem = "the engine cannot be reached"
    health = await world.health.health()
    assert not health.is_well
    assert health.detail == {
        "session_running_since": None,
        "last_session": "2024-05-06T12:00:00+00:00",
        "next_session": "2024-05-06T13:00:00+00:00",
        "overran": True,
        "engine_problem": "the engine cannot be reached",
        "problem": "it broke",
        "sessions": 3,
    }


@pytest.mark.looptime
async def test_engine_that_hangs_is_not_ready_after_three_seconds() -> None:
    """Less than `--health-check` waits."""
    world = World()
    world.vital.engine_hangs = True
    began = anyio.current_time()
    health = await world.health.health()
    assert anyio.current_time() - began == pytest.approx(3)
    assert health.detail["engine_problem"] == "the engine does not answer within 3 s"


# ---- events ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(ask: Caller, *, last_seen: str | None = None) -> AsyncIterator[aiohttp.StreamReader]:
    """Listen to events, from behind the greeting on."""
    headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"} | ({"Last-Event-ID": last_seen} if last_seen else {})
    async with ask.session.get(ask.server.url + "/v1/events", headers=headers) as reply:
        assert reply.status == 200
        assert reply.content_type == "text/event-stream"
        assert await reply.content.readuntil(b"\n\n") == b"retry: 5000\n\n"
        yield reply.content


async def next_event(stream: aiohttp.StreamReader) -> tuple[str | None, str, Any]:
    """Return identifier, name and data of the next event."""
    with anyio.fail_after(5):
        lines = (await stream.readuntil(b"\n\n")).decode().strip().splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    return fields.get("id"), fields["event"], json.loads(fields["data"])


async def test_events_arrive_as_they_happen() -> None:
    """By Watchtower's names, with its data."""
    world = World()
    item = an_item()
    async with world.served() as ask, listening(ask) as stream:
        announce(
            world,
            SessionStarted("s1", "engine"),
            ReplacementStarted(item),
            ImageRemoved(item.image_id, "redis:7"),
            SessionFailed("s1", "the engine is gone"),
            SessionFinished("s1", 3, 1, 0, 1.5),
        )
        events = [await next_event(stream) for _ in range(5)]
    assert [identity for identity, _, _ in events] == [f"run-{number}" for number in range(1, 6)]
    names = ["scan_started", "replacement_started", "image_cleanup", "scan_failed", "scan_completed"]
    assert [name for _, name, _ in events] == names
    assert [data["type"] for _, _, data in events] == names
    assert {data["timestamp"] for _, _, data in events} == {"2024-05-06T12:00:00Z"}
    content = [data["data"] for _, _, data in events]
    assert content[0]["cleanup"] is True
    assert content[2]["images"] == [
        {"image_id": item.image_id, "image_name": "redis:7", "container_id": item.container_id, "container_name": "web"}
    ]
    assert content[3]["error"] == "the engine is gone"
    assert {"scanned": 3, "updated": 1, "failed": 0}.items() <= content[4].items()


async def test_client_that_comes_back_misses_nothing() -> None:
    """It gets what followed the last event that it saw."""
    world = World()
    for number in range(3):
        announce(world, SessionFailed(f"s{number}", "x"))
    async with world.served() as ask, listening(ask, last_seen="run-1") as stream:
        events = [await next_event(stream) for _ in range(2)]
    assert [identity for identity, _, _ in events] == ["run-2", "run-3"]


async def test_client_that_was_away_for_too_long_is_told_what_it_missed() -> None:
    """And goes on with the oldest event that is left."""
    world = World(live=Live(run="run", kept=2))
    for number in range(5):
        announce(world, SessionFailed(f"s{number}", "x"))
    async with world.served() as ask, listening(ask, last_seen="run-1") as stream:
        events = [await next_event(stream) for _ in range(3)]
    assert events[0] == (None, "gap", {"type": "gap", "data": {"missed": 2}})
    assert [identity for identity, _, _ in events[1:]] == ["run-4", "run-5"]


@pytest.mark.parametrize("last_seen", ["other-7", "run-", "x", "run-99999999999999999999"])
async def test_client_of_an_earlier_process_gets_what_there_is(last_seen: str) -> None:
    """And is told that nobody knows what it missed."""
    world = World()
    announce(world, SessionFailed("s", "x"))
    async with world.served() as ask, listening(ask, last_seen=last_seen) as stream:
        gap, event = await next_event(stream), await next_event(stream)
    assert gap == (None, "gap", {"type": "gap", "data": {"missed": None}})
    assert event[0] == "run-1"


async def test_client_without_history_begins_now() -> None:
    """It did not ask for the past."""
    world = World()
    announce(world, SessionFailed("old", "x"))
    async with world.served() as ask, listening(ask) as stream:
        announce(world, SessionFailed("new", "x"))
        assert (await next_event(stream))[2]["data"]["session"] == "new"


async def test_too_many_clients_are_503_until_one_goes() -> None:
    """Each costs a connection."""
    world = World(live=Live(run="run", most_clients=1))
    headers = {"Authorization": EVENTS_TOKEN}
    async with world.served() as ask:
        async with listening(ask) as stream:
            assert (await ask("GET", "/v1/events", headers=headers)).status == 503
            announce(world, SessionFailed("s", "x"))
            await next_event(stream)
        # The server learns that it is gone when it writes.
        with anyio.fail_after(5):
            while world.live._clients:
                announce(world, SessionFailed("s", "x"))
                await anyio.sleep(0.01)
        async with listening(ask):
            pass


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/events", {"Authorization": f"Bearer {TOKEN}"}, 401),
        ("/v1/events?access_token=wrong", {}, 401),
        (f"/v1/events?access_token={EVENTS_TOKEN}", {"Origin": "https://evil.example"}, 403),
        (f"/v1/config?access_token={TOKEN}", {}, 401),
    ],
)
async def test_events_have_their_own_token(path: str, headers: dict[str, str], status: int) -> None:
    """It stands in the address only there, since addresses end up in logs."""
    async with World().served() as ask:
        assert (await ask("GET", path, headers=headers)).status == status


async def test_events_token_may_stand_in_the_address() -> None:
    """A browser's EventSource sends no header field."""
    async with World().served() as ask:
        address = f"{ask.server.url}/v1/events?access_token={EVENTS_TOKEN}"
        async with ask.session.get(address) as reply:
            assert reply.status == 200
