"""When the service runs which session, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tests.support.builders import a_digest, an_id
from watchtower_async.credentials.config_file import parse_config_file
from watchtower_async.credentials.lookup import Lookup
from watchtower_async.credentials.snapshot import Snapshot
from watchtower_async.credentials.store import StoreState
from watchtower_async.events import (
    Announcer,
    CredentialsProblem,
    CredentialsRecovered,
    CredentialsReloaded,
    Degraded,
    Event,
)
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.service import GATHER_SECONDS, Service, Status, Timetable
from watchtower_async.session import SessionReport
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.schedule import Interval
from watchtower_async.updates.window import parse_windows
from watchtower_async.web.ports import AlreadyRunning, SessionResult

pytestmark = pytest.mark.looptime

INTERVAL = 100.0
TIMETABLE = Timetable(schedule=Interval(timedelta(seconds=INTERVAL)))
IMAGES = ("ghcr.io/a/b:1", "quay.io/a/b:1", "redis:7")


def logins(generation: int, *registries: str) -> StoreState:
    """A state with a login of this generation for each of these registries."""
    auths = {name: {"username": "u", "password": f"pw{generation}"} for name in registries}
    config = parse_config_file(json.dumps({"auths": auths}).encode())
    return StoreState(Snapshot(generation, config, Lookup(config), content=str(generation)))


def virtual_now() -> datetime:
    """Return the time of day, which passes as the loop's does."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=anyio.current_time())


class Store:
    """A credential store whose state the test sets."""

    def __init__(self, state: StoreState) -> None:
        self.state = state
        self._news = anyio.Event()

    async def state_after(self, known: StoreState) -> StoreState:
        while self.state == known:
            await self._news.wait()
        return self.state

    def set(self, state: StoreState) -> None:
        """Let the state be another."""
        self.state = state
        self._news.set()
        self._news = anyio.Event()


@dataclass
class SlowSessions:
    """Sessions that take their time and remember when they began and what they were about."""

    seconds: float = 0.0
    images: tuple[str, ...] = IMAGES
    ran: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    at_once: int = 0
    holds: list[str | None] = field(default_factory=list)

    schedules: Mapping[str, str | None] = field(default_factory=dict)

    async def open(self) -> None:
        """Nothing was left over."""

    async def run(
        self,
        *,
        only: Callable[[Reference], bool] | None = None,
        names: Callable[[str], bool] | None = None,
        hold: str | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> SessionReport:
        references = [parse_reference(image) for image in self.images]
        asked = [reference for reference in references if only is None or only(reference)]
        asked = [reference for reference in asked if names is None or names(reference.path)]
        self.holds.append(hold)
        self.ran.append((round(anyio.current_time(), 3), tuple(reference.familiar for reference in asked)))
        self.at_once += 1
        assert self.at_once == 1
        await anyio.sleep(self.seconds)
        self.at_once -= 1
        return SessionReport(session="s", plan=UpdatePlan(engine="e", items=tuple(map(an_item, asked))))


def an_item(reference: Reference) -> PlanItem:
    return PlanItem(
        container_id=an_id(reference.familiar),
        name=reference.path,
        image=reference.familiar,
        image_id=a_digest("config"),
        action=Action.NOTHING,
        reason=Reason(ReasonCode.UP_TO_DATE, "runs the published image"),
        reference=reference,
    )


@dataclass
class World:
    """A service that runs, and what it does."""

    store: Store
    sessions: SlowSessions
    status: Status
    forgotten: list[str]
    events: list[Event]
    service: Service = field(init=False)


@asynccontextmanager
async def running(
    state: StoreState,
    *,
    seconds: float = 0.0,
    images: tuple[str, ...] = IMAGES,
    schedules: Mapping[str, str | None] | None = None,
    timetable: Timetable = TIMETABLE,
) -> AsyncIterator[World]:
    """Run a service while the context is open."""
    sessions = SlowSessions(seconds, images, schedules=schedules or {})
    world = World(Store(state), sessions, Status(datetime.now(UTC)), [], [])
    service = Service(
        sessions=world.sessions,
        credentials=world.store,
        forget=world.forgotten.append,
        announcer=Announcer((world.events.append,)),
        timetable=timetable,
        status=world.status,
        clock=virtual_now,
    )
    world.service = service
    async with anyio.create_task_group() as group:
        group.start_soon(service.tell_news)
        group.start_soon(service.run)
        yield world
        group.cancel_scope.cancel()


async def test_sessions_begin_at_the_interval_from_start_to_start() -> None:
    """What a session takes does not move the next one."""
    async with running(logins(1), seconds=30) as world:
        await anyio.sleep(350)
    assert world.sessions.ran == [(100, IMAGES), (200, IMAGES), (300, IMAGES)]
    assert world.status.sessions == 3
    assert not world.forgotten


async def test_session_that_overran_is_not_made_up_for() -> None:
    """After a session of two and a half intervals the next one comes at its time."""
    async with running(logins(1), seconds=250) as world:
        await anyio.sleep(200)
        world.sessions.seconds = 0
        await anyio.sleep(310)
    assert [at for at, _ in world.sessions.ran] == [100, 400, 500]


async def test_change_is_followed_at_once_by_a_session_about_its_images_only() -> None:
    """The schedule stays as it was."""
    async with running(logins(1, "ghcr.io")) as world:
        await anyio.sleep(150)
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(60)
    assert world.sessions.ran == [(100, IMAGES), (150 + GATHER_SECONDS, IMAGES[:1]), (200, IMAGES)]


async def test_change_before_the_first_session_needs_no_session_to_know_the_images() -> None:
    """The first one may be a day away."""
    async with running(logins(1, "ghcr.io")) as world:
        await anyio.sleep(10)
        world.store.set(logins(2, "ghcr.io", "quay.io"))
        await anyio.sleep(10)
    assert world.sessions.ran == [(10 + GATHER_SECONDS, IMAGES[:2])]


async def test_only_the_changed_registries_are_forgotten() -> None:
    """Each once, by the host that is asked; before the session that asks again."""
    images = (*IMAGES, "ghcr.io/c/d:1")
    async with running(logins(1), images=images) as world:
        await anyio.sleep(120)
        world.store.set(logins(2, "ghcr.io", "example.com"))
        await anyio.sleep(10)
        assert world.forgotten == ["ghcr.io"]
        world.store.set(logins(3, "ghcr.io", "https://index.docker.io/v1/"))
        await anyio.sleep(10)
    assert sorted(world.forgotten) == ["ghcr.io", "ghcr.io", "registry-1.docker.io"]


async def test_session_about_some_images_does_not_forget_which_others_there_are() -> None:
    """A second change may concern those that the first did not."""
    async with running(logins(1)) as world:
        await anyio.sleep(120)
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(10)
        world.store.set(StoreState(logins(3, "ghcr.io", "quay.io").snapshot))
        await anyio.sleep(10)
    assert "quay.io" in world.forgotten


async def test_changes_in_quick_succession_are_one_session() -> None:
    """A script logs in to one registry after another."""
    async with running(logins(1)) as world:
        await anyio.sleep(10)
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(0.1)
        world.store.set(logins(2, "ghcr.io", "quay.io"))
        await anyio.sleep(0.1)
        world.store.set(logins(2, "ghcr.io", "quay.io", "example.com"))
        await anyio.sleep(10)
    assert world.sessions.ran == [(10 + GATHER_SECONDS, IMAGES[:2])]


@pytest.mark.parametrize("pauses", [(1,), (1, 1, 1)])
async def test_changes_during_a_session_are_one_session_more(pauses: tuple[float, ...]) -> None:
    """However many there are, and never beside the one that runs."""
    async with running(logins(1), seconds=20) as world:
        await anyio.sleep(105)
        for number, pause in enumerate(pauses):
            world.store.set(logins(2 + number, "ghcr.io"))
            await anyio.sleep(pause)
        await anyio.sleep(60)
    assert world.sessions.ran == [(100, IMAGES), (120 + GATHER_SECONDS, IMAGES[:1])]


async def test_change_at_the_scheduled_time_is_part_of_the_scheduled_session() -> None:
    """One session about everything, which asks the changed registry anew."""
    async with running(logins(1)) as world:
        await anyio.sleep(200 - GATHER_SECONDS / 2)
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(50)
    assert world.sessions.ran == [(100, IMAGES), (200, IMAGES)]
    assert world.forgotten == ["ghcr.io"]


async def test_other_content_with_the_same_meaning_starts_nothing() -> None:
    """So does a change that is taken back within a moment."""
    async with running(logins(1, "ghcr.io")) as world:
        same = logins(1, "ghcr.io").snapshot
        assert same is not None
        await anyio.sleep(10)
        world.store.set(StoreState(Snapshot(2, same.config, same.lookup, content="other")))
        await anyio.sleep(10)
        world.store.set(logins(3))
        await anyio.sleep(GATHER_SECONDS / 2)
        world.store.set(StoreState(Snapshot(4, same.config, same.lookup, content="again")))
        await anyio.sleep(10)
    assert world.sessions.ran == []


async def test_problems_and_warnings_start_no_session() -> None:
    """What was read before stays in use, so nothing is to be asked again."""
    async with running(logins(1)) as world:
        good = world.store.state
        await anyio.sleep(10)
        world.store.set(StoreState(good.snapshot, "line 1", ("loose permissions",)))
        await anyio.sleep(10)
        assert world.status.credentials_problem == "line 1"
        world.store.set(good)
        await anyio.sleep(10)
    assert world.sessions.ran == []
    assert world.status.credentials_problem is None


async def test_first_good_file_after_a_broken_start_is_followed_by_a_session_about_everything() -> None:
    """Nothing could be asked before, not even for public images."""
    async with running(StoreState(problem="line 1")) as world:
        await anyio.sleep(10)
        world.store.set(logins(1, "ghcr.io"))
        await anyio.sleep(10)
    assert world.sessions.ran == [(10 + GATHER_SECONDS, IMAGES)]


async def test_news_are_told_while_a_session_runs() -> None:
    """They do not wait for its end."""
    async with running(logins(1), seconds=90) as world:
        good = world.store.state
        await anyio.sleep(105)
        world.store.set(StoreState(good.snapshot, "line 1"))
        await anyio.sleep(1)
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(1)
        kinds: list[type[Event]] = [type(event) for event in world.events]
        assert kinds == [CredentialsProblem, CredentialsRecovered, CredentialsReloaded]
        assert len(world.sessions.ran) == 1


async def test_health_tells_a_problem_of_the_credentials_and_stays_well() -> None:
    """The updater does what it can with what was read before."""
    status = Status(datetime.now(UTC), is_ready=True, credentials_problem="line 1")
    detail: Mapping[str, object] = status.health().detail
    assert detail["credentials_problem"] == "line 1"
    assert status.health().is_well


async def test_health_tells_when_the_credentials_were_read_and_what_was_wrong_last() -> None:
    """A problem that is over stays known; another content is another reload, a problem is none."""
    async with running(logins(1)) as world:
        await anyio.sleep(10)
        good, first = world.store.state, world.status.credentials.reloaded
        assert world.status.credentials.generation == 1
        assert first is not None
        world.store.set(StoreState(good.snapshot, "line 1"))
        await anyio.sleep(10)
        broken = world.status.health().detail["credentials"]
        world.store.set(good)
        await anyio.sleep(10)
        over = world.status.health().detail["credentials"]
        world.store.set(logins(2, "ghcr.io"))
        await anyio.sleep(10)
    assert broken["last_problem_at"] is not None
    assert broken | {"last_problem_at": ""} == {
        "generation": 1, "reloaded": first.isoformat(timespec="seconds"), "problem": "line 1",
        "last_problem": "line 1", "last_problem_at": "",
    }  # fmt: skip
    assert over == broken | {"problem": None}
    assert world.status.credentials.generation == 2
    assert world.status.credentials.last_problem == "line 1"


def test_health_says_nothing_about_credentials_that_were_not_read_yet() -> None:
    """All keys are there from the beginning."""
    assert Status(datetime.now(UTC)).health().detail["credentials"] == {
        "generation": None, "reloaded": None, "problem": None, "last_problem": None, "last_problem_at": None,
    }  # fmt: skip


async def test_health_is_starting_until_a_change_of_the_credentials_would_be_noticed() -> None:
    """Whoever waits for health before changing a login may rely on the change being seen."""
    before = Status(datetime.now(UTC)).health()
    assert not before.is_well
    assert before.detail["status"] == "starting"
    async with running(logins(1)) as world:
        await anyio.sleep(1)
        assert world.status.health().is_well
        assert "status" not in world.status.health().detail


async def test_container_with_a_schedule_of_its_own_has_its_turn_then_and_only_then() -> None:
    """The others, those included that nobody has seen before, go by the common schedule."""
    async with running(logins(1), schedules={"redis": None, "library/redis": "@every 40s"}) as world:
        await anyio.sleep(130)
    assert world.sessions.ran == [(40, ("redis:7",)), (80, ("redis:7",)), (100, IMAGES[:2]), (120, ("redis:7",))]


async def test_label_that_is_no_schedule_is_told_once_and_the_common_one_counts() -> None:
    """The problem names the container."""
    async with running(logins(1), schedules={"library/redis": "whenever"}) as world:
        await anyio.sleep(250)
    assert world.sessions.ran == [(100, IMAGES), (200, IMAGES)]
    (told,) = [event for event in world.events if isinstance(event, Degraded)]
    assert "library/redis" in told.problem


async def test_nothing_is_updated_outside_the_window_and_a_session_follows_when_it_opens() -> None:
    """The clock of the test starts at midnight."""
    windows = parse_windows("00:02-00:03", zone=UTC)
    timetable = Timetable(schedule=Interval(timedelta(seconds=INTERVAL)), windows=windows)
    async with running(logins(1), timetable=timetable) as world:
        await anyio.sleep(250)
    assert [at for at, _ in world.sessions.ran] == [100, 120, 200]
    assert [hold is None for hold in world.sessions.holds] == [False, True, False]


async def test_session_at_the_start_is_there_where_it_is_asked_for() -> None:
    """It comes beside those of the schedule."""
    timetable = Timetable(schedule=Interval(timedelta(seconds=INTERVAL)), on_start=True)
    async with running(logins(1), timetable=timetable) as world:
        await anyio.sleep(150)
    assert [at for at, _ in world.sessions.ran] == [0, 100]


async def test_sessions_are_put_off_by_the_jitter_that_was_drawn_and_do_not_drift() -> None:
    """A fleet does not ask at one moment."""
    timetable = Timetable(
        schedule=Interval(timedelta(seconds=INTERVAL)), jitter=timedelta(seconds=20), draw=lambda: 0.5
    )
    async with running(logins(1), timetable=timetable) as world:
        await anyio.sleep(320)
    assert [at for at, _ in world.sessions.ran] == [110, 210, 310]


async def test_requested_session_is_refused_while_one_runs_unless_it_may_wait() -> None:
    """Who waits gets the result of a session of its own."""
    async with running(logins(1), seconds=30) as world:
        await anyio.sleep(110)
        assert isinstance(await world.service.request_session((), (), False), AlreadyRunning)
        result = await world.service.request_session(("redis",), (), True)
        assert isinstance(result, SessionResult)
        assert result.failure is None
    assert [(at, asked) for at, asked in world.sessions.ran] == [(100, IMAGES), (130, ("redis:7",))]


async def test_without_a_schedule_sessions_run_on_request_only() -> None:
    """As with Watchtower, where updates by request are switched on."""
    async with running(logins(1), timetable=Timetable(schedule=None)) as world:
        await anyio.sleep(80_000)
        assert world.sessions.ran == []
        assert world.service.begin_session((), ("library/redis",), False) is None
        await anyio.sleep(1)
    assert [asked for _, asked in world.sessions.ran] == [("redis:7",)]
