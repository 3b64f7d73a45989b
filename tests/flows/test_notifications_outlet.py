"""Notifications from end to end: a session and its log arrive as text, survive a restart, and give no secret away."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
import structlog

from tests.support.engine_sim import Behaviour, connected
from tests.support.receiver import MARKER, Receiver, receiving
from tests.support.simulated_registry import Misbehave
from tests.support.stored import a_store_in_memory
from tests.support.town import Town, a_town
from watchtower_async.engine.client import JsonObject
from watchtower_async.errors import EngineUnavailableError
from watchtower_async.events import (
    ContainerJudged,
    DependentRestarted,
    ReplacementFinished,
    SessionFailed,
    SessionFinished,
    SessionStarted,
)
from watchtower_async.notify.outbox import Outbox
from watchtower_async.outlets.image_lookup import Engine
from watchtower_async.outlets.notification_plan import read_plan
from watchtower_async.outlets.notifications import Notifications
from watchtower_async.settings import LogFormat, LogSettings, build_settings
from watchtower_async.state.store import StateStore
from watchtower_async.telemetry.event_log import EventLog
from watchtower_async.telemetry.logging import configure_logging
from watchtower_async.updates.plan import Action, PlanItem
from watchtower_async.updates.reason import Reason, ReasonCode

SOURCE = "https://github.com/example/shop"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def labels(version: str, revision: str) -> dict[str, str]:
    """Return the labels of an image."""
    name = "org.opencontainers.image"
    return {f"{name}.version": version, f"{name}.revision": revision, f"{name}.source": SOURCE}


def notifications_to(url: str, stream: io.StringIO | None = None, **given: str) -> Notifications:
    """Return notifications that hear the log, and have told of the start."""
    texts = {f"notification.{key}": text for key, text in given.items()}
    urls = {"notification.urls": (url,)} if url else {}
    settings = build_settings(command_line={**urls, **texts}, environ={})
    told = Notifications(read_plan(settings, host_name=lambda: "machine"))
    configure_logging(LogSettings(format=LogFormat.LOGFMT), stream=stream or io.StringIO(), listener=told.hear)
    told.started()
    return told


def a_hook(receiver: Receiver) -> str:
    """Return the URL of a webhook that gets the bare text. A part of it is a secret."""
    return f"generic://127.0.0.1:{receiver.port}/{MARKER}?disabletls=yes"


@asynccontextmanager
async def telling(
    told: Notifications, *, outbox: Outbox | None = None, engine: Engine | None = None
) -> AsyncIterator[None]:
    """Run notifications; at the end they are stopped, and what there is goes out."""
    async with anyio.create_task_group() as group:
        await group.start(partial(told.run, outbox=outbox or a_store_in_memory().outbox, engine=engine))
        yield
        told.stop()


@asynccontextmanager
async def a_listened_town(told: Notifications) -> AsyncIterator[Town]:
    """Return a town whose facts are heard by notifications first and by the log then."""
    async with a_town() as town:
        town.listeners = (told, EventLog())
        yield town


async def outdated(town: Town, *, new: Mapping[str, str] | None = None) -> None:
    """Run a container whose image and whose newer image have labels."""
    town.publish("shop", 1, labels=labels("1.4.1", "8f1d0c2"))
    await town.engine.run("web", town.image("shop"))
    town.publish("shop", 2, labels=new or labels("1.5.0", "c92b7ee"))


# ---- messages of sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cleanup", [False, True])
@pytest.mark.looptime
async def test_report_of_a_session_arrives_with_the_versions_of_the_images(cleanup: bool) -> None:
    """Old, new and a link, also when the old image is removed before the session ends."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), report="true")
        async with a_listened_town(told) as town:
            await outdated(town)
            async with connected(town.engine) as engine, telling(told, engine=engine):
                await town.run(cleanup=cleanup)
            image = town.image("shop")
    expected = (
        f"1 Scanned, 1 Updated, 0 Failed\n- web ({image}): 1.4.1 updated to 1.5.0 ({SOURCE}/compare/8f1d0c2...c92b7ee)"
    )
    assert receiver.bodies == [expected]


@pytest.mark.looptime
async def test_log_of_a_session_arrives_as_one_message() -> None:
    """Without reports a session is told by its log, in Watchtower's sentences; the line of the session is not in it."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver))
        async with a_listened_town(told) as town:
            await town.outdated("web", "shop")
            async with telling(told):
                await town.run()
    (body,) = receiver.bodies
    lines = body.splitlines()
    assert lines[0].startswith(f"Found new {town.image('shop')} image (")
    assert lines[-1] == "Creating /web"
    assert "Session done" not in body


@pytest.mark.looptime
async def test_session_that_found_nothing_tells_nothing() -> None:
    """Once a day would be once too often."""
    async with receiving() as receiver:
        for report in ("false", "true"):
            told = notifications_to(a_hook(receiver), report=report)
            async with a_listened_town(told) as town:
                town.publish("shop", 1)
                await town.engine.run("web", town.image("shop"))
                async with telling(told):
                    await town.run()
    assert receiver.bodies == []


@pytest.mark.looptime
async def test_rolled_back_and_unchecked_containers_are_told_with_their_reasons() -> None:
    """The rest of the report is as usual."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), template="porcelain.v1.summary-no-log", report="true")
        async with a_listened_town(told) as town:
            await town.outdated("bad", "broken", Behaviour(exits_after=0.1, exit_code=3))
            await town.outdated("lost", "hidden")
            town.trouble("hidden", Misbehave(reset=True))
            async with telling(told):
                await town.run()
    (body,) = receiver.bodies
    states = {line.partition(" ")[0]: line.partition("): ")[2] for line in body.splitlines()}
    assert states["bad"].startswith("Failed Error: ")
    assert states["lost"].startswith("Skipped Error: ")


@pytest.mark.looptime
async def test_porcelain_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """The text alone, for programs."""
    settings = build_settings(command_line={"schedule.porcelain": "v1"}, environ={})
    told = Notifications(read_plan(settings))
    configure_logging(LogSettings(), listener=told.hear)
    told.started()
    async with a_listened_town(told) as town:
        await town.outdated("web", "shop")
        async with telling(told):
            await town.run()
    assert capsys.readouterr().out == f"web ({town.image('shop')}): Updated\n"


# ---- entries outside of sessions ---------------------------------------------------------------------------------


async def test_start_is_one_message_and_later_entries_are_one_each() -> None:
    """What is said in the normal course of things is none."""
    async with receiving() as receiver:
        settings = build_settings(command_line={"notification.urls": (a_hook(receiver),)}, environ={})
        told = Notifications(read_plan(settings))
        configure_logging(LogSettings(), stream=io.StringIO(), listener=told.hear)
        log = structlog.get_logger()
        log.info("schedule.once")
        log.warning("updater.degraded", problem="first")
        told.started()
        async with telling(told):
            log.warning("updater.degraded", problem="second")
            log.info("schedule.next_session", at="noon")
            log.warning("updater.degraded", problem="third")
    assert receiver.bodies == ["Running a one time update.\nfirst\n", "second\n", "third\n"]


async def test_session_that_came_to_nothing_is_told_by_its_log() -> None:
    """A report that says nothing would hide it."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), report="true")
        log = EventLog()
        async with telling(told):
            for event in (
                SessionStarted("s", "engine"),
                SessionFailed("s", "the engine is gone"),
                SessionFinished("s", scanned=0, updated=0, failed=0, duration=1.0),
            ):
                told(event)
                log(event)
    assert receiver.bodies == ["Session could not be finished: the engine is gone"]


# ---- sessions beside each other ----------------------------------------------------------------------------------


def an_item(name: str, action: Action = Action.UPDATE) -> PlanItem:
    """Return a judged container."""
    code = ReasonCode.NEWER_IMAGE if action is Action.UPDATE else ReasonCode.IN_ROLLOUT
    return PlanItem(
        container_id=name, name=name, image=f"{name}:1", image_id=name, action=action, reason=Reason(code, "because")
    )


def finished(item: PlanItem, outcome: str) -> ReplacementFinished:
    """Return how a replacement ended."""
    return ReplacementFinished(item=item, outcome=outcome, reason="why", detail=(), duration=1.0)


async def test_end_of_a_replacement_belongs_to_the_session_that_began_it() -> None:
    """Another session, which left the container to it, has begun and ended meanwhile."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), report="true", template="porcelain.v1.summary-no-log")
        async with telling(told):
            for event in (
                SessionStarted("a", "engine"),
                ContainerJudged(an_item("web")),
                SessionStarted("b", "engine"),
                ContainerJudged(an_item("web", Action.LEAVE)),
                ContainerJudged(an_item("db")),
                finished(an_item("web"), "updated"),
                DependentRestarted("app", "web", is_recreated=False, problem=None),
                finished(an_item("db"), "failed"),
                SessionFinished("b", scanned=1, updated=0, failed=1, duration=1.0),
                SessionFinished("a", scanned=1, updated=1, failed=0, duration=1.0),
            ):
                told(event)
    assert receiver.bodies == [
        "db (db:1): Failed Error: why\nweb (web:1): Stale\n",
        "app (): Restarted\nweb (web:1): Updated\n",
    ]


async def test_end_of_an_unknown_session_is_nothing() -> None:
    """Facts of a rollout that was taken up belong to no session."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), report="true")
        async with telling(told):
            told(finished(an_item("web"), "updated"))
            told(ContainerJudged(an_item("web")))
            told(DependentRestarted("app", "web", is_recreated=False, problem=None))
            told(SessionFinished("x", scanned=1, updated=1, failed=0, duration=1.0))
    assert receiver.bodies == []


class StubbornEngine:
    """Does not answer, or not in time."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self._answer = answer

    async def inspect_container(self, id_or_name: str) -> JsonObject:
        """Do not return."""
        return await self.inspect_image(id_or_name)

    async def inspect_image(self, id_or_ref: str) -> JsonObject:
        """Do not return."""
        self._answer()
        await anyio.sleep_forever()
        return {}


def refuse() -> None:
    """Fail as an engine does that is gone."""
    raise EngineUnavailableError("gone")


@pytest.mark.parametrize("answer", [refuse, lambda: None])
async def test_engine_that_does_not_answer_costs_only_the_versions(answer: Callable[[], object]) -> None:
    """And no more than a second when the program stops."""
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), report="true", template="porcelain.v1.summary-no-log")
        told(SessionStarted("a", "engine"))
        told(ContainerJudged(an_item("web")))
        told(finished(an_item("web"), "updated"))
        told(SessionFinished("a", scanned=1, updated=1, failed=0, duration=1.0))
        told.stop()
        with anyio.fail_after(5):
            await told.run(outbox=a_store_in_memory().outbox, engine=StubbornEngine(answer))
    assert receiver.bodies == ["web (web:1): Updated\n"]


# ---- services that fail ------------------------------------------------------------------------------------------


async def written(stream: io.StringIO, text: str) -> None:
    """Wait until a text is in the log."""
    for _ in range(1000):
        if text in stream.getvalue():
            return
        await anyio.sleep(0.01)


async def test_message_that_was_not_delivered_is_delivered_after_a_restart(tmp_path: Path) -> None:
    """By another process, from the state; and only once."""
    async with receiving(status=503) as receiver:
        store = partial(StateStore, directory=tmp_path / "state", tell=print)
        async with (
            store().opened(may_write=True) as state,
            telling(notifications_to(a_hook(receiver)), outbox=state.outbox),
        ):
            structlog.get_logger().warning("updater.degraded", problem="something")
        receiver.status = 200
        receiver.bodies.clear()
        for _ in range(2):
            async with (
                store().opened(may_write=True) as state,
                telling(notifications_to(a_hook(receiver)), outbox=state.outbox),
            ):
                pass
    assert receiver.bodies == ["something\n"]


async def test_failure_is_in_the_log_without_secrets_and_is_no_message_itself() -> None:
    """Otherwise a service that is down would be told about for ever."""
    stream = io.StringIO()
    store = a_store_in_memory()
    async with receiving(status=503) as receiver:
        told = notifications_to(a_hook(receiver), stream)
        async with telling(told, outbox=store.outbox):
            structlog.get_logger().warning("updater.degraded", problem="something")
            await written(stream, "Failed to send notification")
            await anyio.wait_all_tasks_blocked()
    assert len(store.messages) == 1
    assert "Failed to send notification" in stream.getvalue()
    assert "HTTP status 503" in stream.getvalue()
    assert MARKER not in stream.getvalue() + "".join(store.messages.values()) + repr(told)


async def test_template_that_fails_later_is_told_once_and_the_news_arrive() -> None:
    """The news matter more than their looks."""
    stream = io.StringIO()
    template = "{{ 1 // (entries | selectattr('message', 'ne', 'zero') | list | length) }}"
    async with receiving() as receiver:
        told = notifications_to(a_hook(receiver), stream, template=template)
        async with telling(told):
            for _ in range(2):
                structlog.get_logger().warning("updater.degraded", problem="zero")
            await receiver.has(2)
    assert receiver.bodies == ["zero\n", "zero\n"]
    assert stream.getvalue().count("Notification template failed") == 1


# ---- the monitor -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "failure", "path", "body"),
    [
        (0, "", "/ping", "3 Scanned, 1 Updated, 0 Failed"),
        (1, "", "/ping/fail", "3 Scanned, 1 Updated, 1 Failed"),
        (0, "the engine is gone", "/ping/fail", "3 Scanned, 1 Updated, 0 Failed: the engine is gone"),
    ],
)
async def test_monitor_hears_how_each_session_ended(failed: int, failure: str, path: str, body: str) -> None:
    """Also where nobody else is told anything."""
    async with receiving() as receiver:
        told = notifications_to("", heartbeat_url=f"http://127.0.0.1:{receiver.port}/ping")
        async with telling(told):
            told(SessionStarted("s", "engine"))
            if failure:
                told(SessionFailed("s", failure))
            told(SessionFinished("s", scanned=3, updated=1, failed=failed, duration=1.0))
    assert [request[:2] for request in receiver.requests] == [("POST", path)]
    assert receiver.bodies == [body]


async def test_monitor_that_fails_is_in_the_log_without_its_url() -> None:
    """Who has the URL can pretend that all is well."""
    stream = io.StringIO()
    async with receiving(status=404) as receiver:
        told = notifications_to("", stream, heartbeat_url=f"http://127.0.0.1:{receiver.port}/{MARKER}")
        async with telling(told):
            told(SessionStarted("s", "engine"))
            told(SessionFinished("s", scanned=0, updated=0, failed=0, duration=1.0))
    assert "Failed to call the monitor" in stream.getvalue()
    assert MARKER not in stream.getvalue()
