"""A service with its outlets over a simulated engine and registry, asked over HTTP as its users ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import anyio
import pytest
from anyio.abc import SocketAttribute

from tests.support.api_world import EVENTS_TOKEN, TOKEN, Reply
from tests.support.stored import a_store_in_memory
from tests.support.town import COMMON_POLICY, Town, a_town
from watchtower_async.credentials.store import StoreState
from watchtower_async.events import Announcer
from watchtower_async.outlets.api import api_outlet
from watchtower_async.outlets.desk import Work
from watchtower_async.outlets.outlets import Outlets
from watchtower_async.outlets.shown_settings import config_view
from watchtower_async.outlets.views import EngineViews
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.service import Service, Status, Timetable
from watchtower_async.settings import HttpApiSettings, Settings, build_settings
from watchtower_async.updates.plan import UpdatePlan

pytestmark = pytest.mark.looptime

SLOW = UpdatePolicy(delay=timedelta(minutes=10))
GIVEN = {
    "WATCHTOWER_HTTP_API_ENDPOINTS": "all",
    "WATCHTOWER_HTTP_API_TOKEN": TOKEN,
    "WATCHTOWER_HTTP_API_EVENTS_TOKEN": EVENTS_TOKEN,
    "WATCHTOWER_HTTP_API_HOST": "127.0.0.1",
    "WATCHTOWER_HTTP_API_RATE_LIMIT": "100000",
    "WATCHTOWER_CLEANUP": "true",
}


def some_settings(**given: str) -> Settings:
    """Return the settings of an environment."""
    return build_settings(command_line={}, environ=GIVEN | given, names=())


class Unchanging:
    """Credentials that stay as they are."""

    state = StoreState(None)

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait for ever."""
        await anyio.sleep_forever()
        raise AssertionError(known)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks over TCP, with the token unless told otherwise."""

    url: str
    session: aiohttp.ClientSession
    outlets: Outlets

    async def __call__(self, method: str, path: str, *, token: str = TOKEN) -> Reply:
        """Send a request and read the whole answer."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, self.url + path, headers=headers) as answer:
            text = await answer.text()
            document = await answer.json() if answer.content_type == "application/json" else None
            return Reply(answer.status, dict(answer.headers), text, document)

    async def rollouts(self) -> list[dict[str, Any]]:
        """Return the open rollouts."""
        found: list[dict[str, Any]] = (await self("GET", "/v1/rollouts")).document["rollouts"]
        return found

    async def rollout_in(self, state: str, **phases: str) -> dict[str, Any]:
        """Wait until the only rollout is in a state, and its groups in these phases."""
        with anyio.fail_after(3600):
            while True:
                found = await self.rollouts()
                shown = {group["name"]: group["phase"] for item in found for group in item["groups"]}
                if found and found[0]["state"] == state and phases.items() <= shown.items():
                    return found[0]
                await anyio.sleep(0.5)

    async def until_none_is_open(self) -> None:
        """Wait until all rollouts are over."""
        with anyio.fail_after(3600):
            while await self.rollouts():  # noqa: ASYNC110 - asked as a user asks
                await anyio.sleep(0.5)


@asynccontextmanager
async def served(town: Town, *, policy: UpdatePolicy = COMMON_POLICY, port: int = 0) -> AsyncIterator[Asker]:
    """Run a service that is asked only, with its API on a free port."""
    settings = some_settings()
    status = Status(started=datetime.now(UTC))
    outlets = Outlets(settings=settings, status=status, schedule=None)
    town.listeners = outlets.listeners
    announcer = Announcer((town.events.append, *outlets.listeners))
    subjects = outlets.connect(quarantine=town.state, announcer=announcer)

    def last_plan() -> UpdatePlan | None:
        return status.last.plan if status.last else None

    async with (
        api_outlet(on_port(settings.http_api, port), subjects) as outlet,
        town.connected(policy=policy, cleanup=True, listener=outlets.registry_listener) as found,
        aiohttp.ClientSession() as session,
        anyio.create_task_group() as group,
    ):
        assert outlet.url is not None
        assert outlet.problem is None
        service = Service(
            sessions=found.assembly.session,
            credentials=Unchanging(),
            forget=lambda host: None,
            announcer=announcer,
            timetable=Timetable(schedule=None),
            status=status,
        )
        views = EngineViews(
            engine=found.engine,
            planner=found.planner,
            selection=found.selection,
            credentials=town.store,
            config=config_view(settings, scope=""),
            last_plan=last_plan,
        )
        work = Work(updates=service, views=views, rollouts=found.assembly.rollouts, ping=found.engine.system_info)
        with outlets.opened_for(work):
            group.start_soon(found.assembly.rollouts.serve)
            group.start_soon(service.run)
            asker = Asker(outlet.url, session, outlets)
            while (await asker("GET", "/startupz")).status != 200:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            yield asker
            group.cancel_scope.cancel()


def on_port(given: HttpApiSettings, port: int) -> HttpApiSettings:
    """Return the settings with a port that no user could give: 0 is any free one."""
    return replace(given, port=port)


def by_name(reply: Reply) -> dict[str, dict[str, Any]]:
    """Return the containers of an answer by name."""
    return {item["name"]: item for item in reply.document["containers"]}


# ---- updates -----------------------------------------------------------------------------------------------------


async def test_post_update_runs_a_session_and_tells_what_it_did() -> None:
    """One container is updated, and the answer comes when it runs."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        async with served(town) as ask:
            reply = await ask("POST", "/v1/update")
            assert reply.status == 200
            counts = {"scanned": 1, "updated": 1, "failed": 0, "restarted": 0, "skipped": 0}
            assert reply.document["summary"] == counts
            assert town.version("web") == "2"
            assert (await ask("GET", "/v1/status")).document["summary"] == counts
            (entry,) = (await ask("GET", "/v1/history")).document["entries"]
            assert counts.items() <= entry.items()


async def test_get_update_is_about_the_containers_that_are_named() -> None:
    """200 without a body when it is done; the other one is untouched."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        await town.outdated("db", "team/db")
        async with served(town) as ask:
            reply = await ask("GET", "/v1/update?container=we.")
            assert (reply.status, reply.text) == (200, "")
            assert (town.version("web"), town.version("db")) == ("2", "1")


async def test_check_finds_what_an_update_would_and_touches_nothing() -> None:
    """Nothing is pulled; the digests are those of tag and container."""
    async with a_town() as town:
        old = town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"))
        new = town.publish("team/web", 2)
        await town.outdated("db", "team/db")
        changes = len(town.engine.changes())
        async with served(town) as ask:
            everything = by_name(await ask("POST", "/v1/check"))
            chosen = by_name(await ask("POST", f"/v1/check?image={town.image('team/web')}"))
            assert set(everything) == {"web", "db"}
            assert set(chosen) == {"web"}
            assert set(by_name(await ask("POST", "/v1/check?container=d."))) == {"db"}
        web = chosen["web"]
        assert web["update_available"] is True
        assert (web["digest"], web["latest_digest"], web["latest_image_id"]) == (old, new, "")
        assert changes == len(town.engine.changes())
        assert not town.events


async def test_check_tells_what_could_not_be_asked() -> None:
    """For this container only."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        await town.outdated("db", "team/db")
        town.registry.remove_tag("team/db", "1")
        async with served(town) as ask:
            found = by_name(await ask("POST", "/v1/check"))
        assert "error" not in found["web"]
        assert found["db"]["update_available"] is False
        assert found["db"]["error"]


# ---- views -------------------------------------------------------------------------------------------------------


async def test_containers_are_shown_with_image_and_digest_and_what_is_known_of_them() -> None:
    """Also one that is not watched; `stale` is what the last session found and could not change."""
    async with a_town() as town:
        digest = town.publish("team/web", 1)
        await town.engine.run("web", town.image("team/web"))
        label = "com.centurylinklabs.watchtower"
        labels = {f"{label}.enable": "false", f"{label}.scope": "other", label: "true"}
        await town.engine.run("off", town.image("team/web"), Labels=labels)
        await town.engine.run("told", town.image("team/web"), Labels={f"{label}.monitor-only": "true"})
        async with served(town) as ask:
            before = by_name(await ask("GET", "/v1/containers/details"))
            town.publish("team/web", 2)
            await ask("GET", "/v1/update")
            after = by_name(await ask("GET", "/v1/containers/details"))
            assert set(by_name(await ask("GET", "/v1/containers?name=web"))) == {"web"}
        assert before["web"] == {
            "name": "web",
            "image": town.image("team/web"),
            "image_id": before["web"]["image_id"],
            "digest": digest,
            "running": True,
            "watchtower": False,
            "monitor_only": False,
            "no_pull": False,
            "enabled": True,
            "stale": False,
            "scope": "",
        }
        assert (before["off"]["enabled"], before["off"]["scope"], before["off"]["watchtower"]) == (False, "other", True)
        assert before["told"]["monitor_only"]
        # The engine lists it by image id now, as its tag means another image; its name is known all the same.
        assert (after["told"]["stale"], after["told"]["image"]) == (True, town.image("team/web"))
        assert (after["web"]["stale"], after["web"]["digest"] != digest) == (False, True)


async def test_images_are_shown_with_those_that_use_them() -> None:
    """Each image once."""
    async with a_town() as town:
        digest = town.publish("team/web", 1)
        for name in ("two", "one"):
            await town.engine.run(name, town.image("team/web"))
        async with served(town) as ask:
            (image,) = (await ask("GET", "/v1/images")).document["images"]
        assert (image["name"], image["digest"], image["containers"]) == (town.image("team/web"), digest, ["one", "two"])


async def test_settings_are_shown() -> None:
    """Without a secret."""
    async with a_town() as town, served(town) as ask:
        reply = await ask("GET", "/v1/config")
    assert reply.document["config"]["cleanup"] is True
    assert TOKEN not in reply.text


# ---- rollouts ----------------------------------------------------------------------------------------------------


async def test_rollout_is_paused_and_resumed_over_the_api() -> None:
    """What was not begun waits for as long as it takes; then it goes on."""
    async with a_town() as town:
        await town.outdated("one", "team/one")
        await town.outdated("two", "team/two")
        async with served(town, policy=SLOW) as ask:
            assert (await ask("POST", "/v1/update?async=true")).status == 202
            running = await ask.rollout_in("updating", one="updated")
            paused = await ask("POST", f"/v1/rollouts/{running['id']}/pause")
            assert paused.document["rollout"]["state"] == "paused"
            assert (await ask("POST", f"/v1/rollouts/{running['id']}/pause")).status == 409
            await anyio.sleep(7200)
            assert (town.version("one"), town.version("two")) == ("2", "1")
            assert (await ask("POST", f"/v1/rollouts/{running['id']}/resume")).status == 200
            await ask.until_none_is_open()
            assert town.version("two") == "2"
            assert (await ask("POST", f"/v1/rollouts/{running['id']}/resume")).status == 404


async def test_check_says_that_what_a_rollout_has_is_newer() -> None:
    """It is in its hands, and still outdated."""
    async with a_town() as town:
        await town.outdated("one", "team/one")
        await town.outdated("two", "team/two")
        async with served(town, policy=SLOW) as ask:
            await ask("POST", "/v1/update?async=true")
            await ask.rollout_in("updating", one="updated")
            found = by_name(await ask("POST", "/v1/check"))
        assert (found["one"]["update_available"], found["two"]["update_available"]) == (False, True)


# ---- metrics and health ------------------------------------------------------------------------------------------


async def test_metrics_tell_of_the_session_its_rollout_and_the_registry() -> None:
    """All of it was announced, or heard from the registry client."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        async with served(town) as ask:
            await ask("POST", "/v1/update")
            lines = (await ask("GET", "/v1/metrics")).text.splitlines()
        assert "watchtower_containers_updated 1.0" in lines
        assert 'watchtower_rollouts_total{result="completed"} 1.0' in lines
        requests = [line for line in lines if line.startswith("watchtower_registry_requests_total{")]
        assert requests
        assert all(f'registry="{town.registry.address}"' in line for line in requests)


async def test_events_begin_with_the_session_and_its_settings() -> None:
    """A client with the token for events hears them as they happen."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        async with served(town) as ask:
            headers = {"Authorization": EVENTS_TOKEN}
            async with ask.session.get(ask.url + "/v1/events", headers=headers) as stream:
                await stream.content.readuntil(b"\n\n")
                await ask("GET", "/v1/update")
                first = await stream.content.readuntil(b"\n\n")
        document = json.loads(first.decode().partition("data: ")[2])
        assert (document["type"], document["data"]["cleanup"]) == ("scan_started", True)


async def test_engine_that_is_gone_is_not_ready_and_still_alive() -> None:
    """A restart of the updater would not help; the reason stands in the health answer."""
    async with a_town() as town, served(town) as ask:
        for path in ("/livez", "/readyz", "/startupz"):
            assert (await ask("GET", path, token="")).status == 200
        health = await ask.outlets.health()
        assert (health.is_well, health.detail["engine_problem"]) == (True, None)
        assert {"version", "sessions", "credentials", "credentials_problem"} <= set(health.detail)
        town.engine.is_down = True
        assert (await ask("GET", "/livez", token="")).status == 200
        assert (await ask("GET", "/readyz", token="")).status == 503
        health = await ask.outlets.health()
        assert not health.is_well
        assert health.detail["engine_problem"]


# ---- serving -----------------------------------------------------------------------------------------------------


async def test_nothing_is_served_where_nobody_asks_for_it() -> None:
    """And that is no problem."""
    settings = some_settings(WATCHTOWER_HTTP_API_ENDPOINTS="")
    async with api_outlet(settings.http_api, ()) as outlet:
        assert (outlet.url, outlet.problem) == (None, None)


async def test_port_that_is_taken_is_a_value_with_a_reason() -> None:
    """The updater goes on without the API, and says so."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with api_outlet(on_port(some_settings().http_api, port), ()) as outlet:
            assert outlet.url is None
            assert outlet.problem is not None
            assert f"127.0.0.1:{port}" in outlet.problem


async def test_a_single_session_has_no_api() -> None:
    """It would be over before anybody could ask."""
    settings = some_settings(WATCHTOWER_RUN_ONCE="true")
    outlets = Outlets(settings=settings, status=Status(started=datetime.now(UTC)), schedule=None)
    outlets.connect(quarantine=a_store_in_memory(), announcer=Announcer())
    async with outlets.served() as outlet:
        assert (outlet.url, outlet.problem) == (None, None)


async def test_before_there_is_an_engine_and_after_it_a_request_gets_a_reason() -> None:
    """The sockets are open for longer than there is somebody to carry requests out."""
    async with a_town() as town:
        async with served(town) as ask:
            outlets = ask.outlets
        health = await outlets.health()
        assert not health.is_well
        assert "the updater is stopping" in health.detail["engine_problem"]
