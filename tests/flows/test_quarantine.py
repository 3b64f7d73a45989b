"""What failed is not tried again: over sessions and restarts, until the tag moves or a person clears it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
import structlog
from anyio import to_thread

from tests.support.engine_sim import Behaviour, connected
from tests.support.replacing import BROKEN
from tests.support.stored import a_store_in_memory, an_entry
from tests.support.town import Town, a_town
from watchtower_async.cli.main import run
from watchtower_async.events import Announcer, Event, ImageQuarantined, QuarantineLifted
from watchtower_async.rollout.outcome import OutcomeKind
from watchtower_async.session import SessionReport
from watchtower_async.state.store import StateStore
from watchtower_async.updates.plan import Action
from watchtower_async.updates.reason import ReasonCode
from watchtower_async.web.control import Health, hold_lock, serve_control_socket
from watchtower_async.web.health_check import SOCKET_NAME
from watchtower_async.web.quarantine import QuarantineRoutes


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def the_reason(report: SessionReport, name: str = "web") -> ReasonCode:
    """Return the reason that the plan gives for a container."""
    assert report.plan is not None
    return next(item.reason.code for item in report.plan.items if item.name == name)


def in_quarantine(town: Town) -> list[str]:
    """Return the containers that have an entry."""
    return [entry.container for entry in town.state.quarantined]


@asynccontextmanager
async def restarted(town: Town, directory: Path) -> AsyncIterator[Town]:
    """Let another process have the town's state: nothing is in memory any more."""
    # Without a deadline, because virtual time would let it pass while the disk works.
    state = StateStore(directory=directory, tell=lambda problem: None, deadline=math.inf)
    async with state.opened(may_write=True):
        town.state = state
        yield town
    town.state = a_store_in_memory()


# ---- sessions ----------------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_entry_says_what_failed_where_and_why() -> None:
    """Enough for a person to decide, without looking into old logs."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        before = datetime.now(UTC)
        report = await town.run()
        (entry,) = town.state.quarantined
        assert report.plan is not None
        assert (entry.container, entry.image) == ("web", report.plan.items[0].image)
        assert entry.host == report.plan.engine
        assert entry.digest == report.plan.items[0].published
        assert before <= entry.since <= datetime.now(UTC)
        assert "exited with code 3" in entry.reason
        assert "log: cannot start" in entry.detail
        assert [event.entry for event in town.events if isinstance(event, ImageQuarantined)] == [entry]


@pytest.mark.looptime
async def test_next_process_does_not_take_the_container_down_again(tmp_path: Path) -> None:
    """Not one changing request; and the plan of a third process says why."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        async with restarted(town, tmp_path):
            assert (await town.run()).outcomes[0][1].kind is OutcomeKind.ROLLED_BACK
        changes = len(town.engine.changes())
        async with restarted(town, tmp_path):
            report = await town.run()
            plan = await town.plan()
        assert the_reason(report) is ReasonCode.QUARANTINED
        assert plan.items[0].reason.code is ReasonCode.QUARANTINED
        assert "quarantine clear" in plan.items[0].reason.text
        assert changes == len(town.engine.changes())


@pytest.mark.looptime
async def test_entry_is_dropped_when_the_tag_moves(tmp_path: Path) -> None:
    """The newer image is tried in the same session, and the drop outlives the process."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        async with restarted(town, tmp_path):
            await town.run()
        town.publish("team/web", 3)
        async with restarted(town, tmp_path):
            report = await town.run()
            assert (report.updated, in_quarantine(town)) == (1, [])
        async with restarted(town, tmp_path):
            assert in_quarantine(town) == []
        lifted = [event for event in town.events if isinstance(event, QuarantineLifted)]
        assert [event.why for event in lifted] == ["the tag points to another image now"]
        assert town.version("web") == "3"


@pytest.mark.looptime
async def test_entry_is_dropped_when_the_tag_moves_back() -> None:
    """To the image that runs: who publishes the bad one again later has changed it, or wants it tried."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        town.publish("team/web", 1)
        report = await town.run()
        assert the_reason(report) is ReasonCode.UP_TO_DATE
        assert in_quarantine(town) == []


@pytest.mark.looptime
async def test_cleared_image_is_tried_again() -> None:
    """A person knows that it is good now: the database is up, say."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        assert len(await town.state.lift_quarantine("web")) == 1
        town.publish("team/web", 2)  # the same digest, and it behaves now
        report = await town.run()
        assert (report.updated, town.version("web"), in_quarantine(town)) == (1, "2", [])


@pytest.mark.looptime
async def test_entry_is_dropped_when_the_container_runs_the_image_after_all() -> None:
    """Somebody has updated it by hand."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        async with town.session() as session:
            await session._engine.remove_container("web", force=True)
            await session._engine.pull_image(town.image("team/web"), registry_auth="e30=")
        await town.engine.run("web", town.image("team/web"), behaviour=Behaviour())
        report = await town.run()
        assert the_reason(report) is ReasonCode.UP_TO_DATE
        assert in_quarantine(town) == []


@pytest.mark.looptime
async def test_plan_and_an_unanswered_question_drop_nothing() -> None:
    """A plan touches nothing, and a registry that is down has not moved its tag."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        town.publish("team/web", 3)
        await town.plan()
        assert in_quarantine(town) == ["web"]
        town.registry.remove_tag("team/web", "1")
        assert the_reason(await town.run()) is ReasonCode.NOT_FOUND
        assert in_quarantine(town) == ["web"]


@pytest.mark.looptime
async def test_container_that_is_gone_keeps_its_entry_and_others_are_not_concerned() -> None:
    """It may come back; another container with the same image tries it by itself."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        async with town.session() as session:
            await session._engine.remove_container("web", force=True)
        await town.engine.run("other", town.image("team/web"))
        await town.run()
        assert in_quarantine(town) == ["other", "web"]


@pytest.mark.looptime
async def test_entry_of_another_host_says_nothing_here() -> None:
    """A container of the same name, and even the same digest."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        plan = await town.plan()
        published = plan.items[0].published
        assert published is not None
        entry = an_entry("web", host="tcp://other:2376")
        await town.state.add_to_quarantine(entry)
        report = await town.run()
        assert report.updated == 1
        assert town.state.quarantined == (entry,)


HOST_TROUBLE = [
    "network shop not found",
    "driver failed programming external connectivity on endpoint web: port is already allocated",
    'error gathering device information while adding custom device "/dev/x": no such file or directory',
    "write /var/lib/docker/x: no space left on device",
]


@pytest.mark.looptime
@pytest.mark.parametrize("text", HOST_TROUBLE)
async def test_failure_that_the_machine_caused_quarantines_nothing(text: str) -> None:
    """It is rolled back, and tried again as soon as the machine is in order."""
    async with a_town() as town:
        await town.outdated("web", "team/web", Behaviour(start_error=text))
        report = await town.run()
        assert report.outcomes[0][1].kind is OutcomeKind.ROLLED_BACK
        assert in_quarantine(town) == []
        town.publish("team/web", 2)
        assert (await town.run()).updated == 1


@pytest.mark.looptime
@pytest.mark.parametrize(
    "behaviour",
    [
        BROKEN,
        Behaviour(healthy_after=math.inf),
        Behaviour(start_error='exec: "serve": executable file not found in $PATH: unknown'),
    ],
)
async def test_image_that_failed_by_itself_is_quarantined(behaviour: Behaviour) -> None:
    """It exits, never gets healthy, or cannot be run at all."""
    async with a_town() as town:
        await town.outdated("web", "team/web", behaviour)
        await town.run()
        assert in_quarantine(town) == ["web"]


@pytest.mark.looptime
async def test_container_that_somebody_removed_in_its_watch_is_not_the_images_fault() -> None:
    """The old one runs again, and the image was never seen to fail."""
    async with a_town() as town:
        await town.outdated("web", "team/web")

        async def remove() -> None:
            await anyio.sleep(2.5)
            async with connected(town.engine) as client:
                assert town.version("web") == "2"
                await client.remove_container("web", force=True)

        async with anyio.create_task_group() as group:
            group.start_soon(remove)
            report = await town.run()
        assert report.outcomes[0][1].kind is OutcomeKind.ROLLED_BACK
        assert town.version("web") == "1"
        assert in_quarantine(town) == []


@pytest.mark.looptime
async def test_failed_pull_quarantines_nothing() -> None:
    """The container was not touched, so another try costs it nothing."""
    async with a_town() as town:
        await town.outdated("web", "team/web")
        town.publish("team/web", 2, error="write /layer: no space left on device")
        assert (await town.run()).outcomes[0][1].kind is OutcomeKind.FAILED
        assert in_quarantine(town) == []


@pytest.mark.looptime
async def test_monitor_only_leaves_what_is_in_quarantine() -> None:
    """There is nothing to report that was not reported."""
    async with a_town() as town:
        await town.outdated("web", "team/web", BROKEN)
        await town.run()
        report = await town.run(monitor_only=True)
        assert report.plan is not None
        assert [item.action for item in report.plan.items] == [Action.LEAVE]
        assert in_quarantine(town) == ["web"]


# ---- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory with a name short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        yield Path(name) / "state"


@asynccontextmanager
async def an_updater(directory: Path, events: list[Event]) -> AsyncIterator[StateStore]:
    """Hold the control socket and the state, as the running service does."""
    state = StateStore(directory=directory, tell=lambda problem: None)
    routes = QuarantineRoutes(quarantine=state, announcer=Announcer((events.append,)))
    async with (
        serve_control_socket(directory, lambda: Health(True, {}), routes) as control,
        state.opened(may_write=control.is_held),
    ):
        assert state.is_kept
        yield state


async def called(directory: Path, *words: str) -> int:
    """Run the command as another process would, and return its exit code."""
    arguments = ["watchtower-async", "--state-dir", str(directory), "quarantine", *words]
    return await to_thread.run_sync(run, arguments, {"HOME": "/nonexistent"})


async def fill(directory: Path, *names: str) -> None:
    """Let an updater that has ended leave entries behind."""
    async with StateStore(directory=directory, tell=lambda problem: None).opened(may_write=True) as state:
        for name in names:
            await state.add_to_quarantine(an_entry(name))


async def left(directory: Path) -> list[str]:
    """Return the containers that the file has entries for."""
    async with StateStore(directory=directory, tell=lambda problem: None).opened(may_write=False) as state:
        return [entry.container for entry in state.quarantined]


async def test_list_asks_the_running_updater(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: container, image, digest, since when and why; the log of the failed container below it."""
    async with an_updater(directory, []) as state:
        await state.add_to_quarantine(an_entry("web"))
        assert await called(directory, "list") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "CONTAINER IMAGE DIGEST SINCE WHY"
    short = an_entry().digest.short
    assert lines[2] == (
        f"web registry.example/app:1 {short} 2024-05-06 07:08 UTC the new container failed: it exited with code 3"
    )
    assert lines[3] == "log: cannot start"


@pytest.mark.parametrize("is_running", [True, False])
async def test_list_for_programs_is_the_same_with_and_without_an_updater(
    is_running: bool, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One form, wherever it comes from."""
    await fill(directory, "a", "b")
    if is_running:
        async with an_updater(directory, []):
            assert await called(directory, "list", "--json") == 0
    else:
        assert await called(directory, "list", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"quarantine": [an_entry("a").as_json(), an_entry("b").as_json()]}


async def test_list_names_hosts_only_where_there_are_several(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one machine it would be noise."""
    async with an_updater(directory, []) as state:
        await state.add_to_quarantine(an_entry("web", host="tcp://one:2376"))
        await state.add_to_quarantine(an_entry("web", host="tcp://two:2376"))
        assert await called(directory, "list") == 0
    text = capsys.readouterr().out
    assert text.split()[0] == "HOST"
    assert "tcp://one:2376" in text


async def test_list_hides_secrets_and_moves_no_cursor(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Containers write into their logs what they like."""
    detail = ("log: https://user:hunter2@host/", "log: \x1b[2J[bold]x")
    async with an_updater(directory, []) as state:
        await state.add_to_quarantine(an_entry(detail=detail))
        await called(directory, "list")
        await called(directory, "list", "--json")
    text = capsys.readouterr().out
    assert "hunter2" not in text
    assert "\x1b" not in text
    assert "[bold]x" in text


@pytest.mark.parametrize("words", [("list",), ("clear", "--all")])
async def test_nothing_in_quarantine_is_said(
    words: tuple[str, ...], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, and no directory is made for it."""
    assert await called(directory, *words) == 0
    assert capsys.readouterr().out == "Nothing is in quarantine.\n"
    assert not directory.exists()  # noqa: ASYNC240


async def test_clear_reaches_the_running_updater_and_its_file(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next session tries the image, and so does the next process; what was not named stays."""
    await fill(directory, "a", "b", "c")
    events: list[Event] = []
    async with an_updater(directory, events) as state:
        assert await called(directory, "clear", "a", "c") == 0
        assert [entry.container for entry in state.quarantined] == ["b"]
    assert await left(directory) == ["b"]
    assert capsys.readouterr().out.splitlines() == [
        "a: registry.example/app:1 is tried again in the next session",
        "c: registry.example/app:1 is tried again in the next session",
    ]
    assert [(event.entry.container, event.why) for event in events if isinstance(event, QuarantineLifted)] == [
        ("a", "somebody cleared it"),
        ("c", "somebody cleared it"),
    ]


async def test_clear_without_an_updater_changes_the_file(directory: Path) -> None:
    """The next updater starts with what is left, and finds the directory free."""
    await fill(directory, "a", "b")
    assert await called(directory, "clear", "a") == 0
    assert await left(directory) == ["b"]
    async with an_updater(directory, []) as state:
        assert [entry.container for entry in state.quarantined] == ["b"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_clear_all_clears_all(is_running: bool, directory: Path) -> None:
    """On every host."""
    await fill(directory, "a", "b")
    if is_running:
        async with an_updater(directory, []):
            assert await called(directory, "clear", "--all") == 0
    else:
        assert await called(directory, "clear", "--all") == 0
    assert await left(directory) == []


@pytest.mark.parametrize("is_running", [True, False])
async def test_clear_of_an_unknown_name_is_exit_code_1_and_the_others_are_cleared(
    is_running: bool, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script notices the typing mistake."""
    await fill(directory, "a", "b")
    if is_running:
        async with an_updater(directory, []):
            code = await called(directory, "clear", "a", "wbe")
    else:
        code = await called(directory, "clear", "a", "wbe")
    assert code == 1
    assert capsys.readouterr().err == "wbe is not in quarantine\n"
    assert await left(directory) == ["b"]


@pytest.mark.parametrize("name", ["a b", "ä/ö", "../health", "100%", "a?b=c#d"])
async def test_any_name_reaches_the_updater_as_it_is(name: str, directory: Path) -> None:
    """Nothing in it is taken for a part of an address."""
    async with an_updater(directory, []) as state:
        await state.add_to_quarantine(an_entry(name))
        assert await called(directory, "clear", "--", name) == 0
        assert state.quarantined == ()


async def test_updater_that_holds_the_directory_without_answering_is_not_bypassed(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the old entries in memory; who wrote the file behind its back would have changed nothing."""
    await fill(directory, "a")
    with hold_lock(directory):
        assert await called(directory, "clear", "a") == 1
    assert "does not answer; try again" in capsys.readouterr().err
    assert await left(directory) == ["a"]


async def test_damaged_file_is_one_sentence_and_left_for_the_updater(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that only wants to know moves nothing."""
    await fill(directory, "a")
    (directory / "state.sqlite3").write_bytes(b"nonsense " * 100)
    assert await called(directory, "list") == 1
    assert await called(directory, "clear", "a") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("moves it aside at its next start" in line for line in lines)


async def test_stranger_on_the_socket_is_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An updater of an earlier version, for example, which does not know the quarantine."""
    async with serve_control_socket(directory, lambda: Health(True, {})):
        assert await called(directory, "list") == 1
    assert "did not answer" in capsys.readouterr().err
    (directory / SOCKET_NAME).touch()
    assert await called(directory, "list") == 0


async def test_command_that_holds_the_lock_for_a_moment_does_not_cost_the_socket(directory: Path) -> None:
    """An updater that starts meanwhile waits for it."""
    lock = hold_lock(directory)
    lock.__enter__()

    async def release_soon() -> None:
        await anyio.sleep(0.1)
        lock.__exit__(None, None, None)

    async with anyio.create_task_group() as group:
        group.start_soon(release_soon)
        async with an_updater(directory, []) as state:
            assert state.is_kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "after 'quarantine' comes one of: list, clear"),
        (("web",), "after 'quarantine' comes one of: list, clear"),
        (("clear",), "takes names of containers, or --all"),
        (("clear", "web", "--all"), "takes names of containers, or --all"),
        (("list", "web"), "takes neither names nor --all"),
        (("list", "--all"), "takes neither names nor --all"),
    ],
)
async def test_wrong_use_is_a_usage_error(
    words: tuple[str, ...], said: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 64 and the right use; clearing everything is never the result of leaving something out."""
    assert await called(directory, *words) == 64
    assert said in capsys.readouterr().err
