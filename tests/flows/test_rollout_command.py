"""`rollout`: the running updater is asked over its control socket, as another process does it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from anyio import to_thread

from tests.support.open_rollouts import open_rollouts
from watchtower_async.cli.main import run
from watchtower_async.outlets.desk import Desk
from watchtower_async.rollout.course import RolloutState
from watchtower_async.rollout.rollouts import Rollouts
from watchtower_async.web.control import Health, serve_control_socket
from watchtower_async.web.rollouts import RolloutRoutes

WAITS = {"name": "db", "phase": "waiting"}, {"name": "web", "phase": "waiting"}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory with a name short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="wta-") as name:
        yield Path(name) / "state"


@asynccontextmanager
async def an_updater(directory: Path, *ids: str) -> AsyncIterator[Rollouts]:
    """Hold the control socket of an updater that has these rollouts open."""
    rollouts = open_rollouts(*ids)
    async with serve_control_socket(directory, lambda: Health(True, {}), RolloutRoutes(rollouts=rollouts)):
        yield rollouts


async def called(directory: Path, *words: str) -> int:
    """Run the command as another process would, and return its exit code."""
    arguments = ["watchtower-async", "--state-dir", str(directory), "rollout", *words]
    return await to_thread.run_sync(run, arguments, {"HOME": "/nonexistent"})


def states(rollouts: Rollouts) -> dict[str, RolloutState]:
    """Return the state of each rollout."""
    return {view.id: view.state for view in rollouts.views}


@pytest.mark.parametrize("words", [(), ("status",)])
async def test_status_shows_all_rollouts_and_their_groups(
    words: tuple[str, ...], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word as well."""
    async with an_updater(directory, "r1", "r2"):
        assert await called(directory, *words) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "ROLLOUT OF STATE WHY GROUPS"
    assert lines[2:4] == ["r1 all others updating db: waiting", "web: waiting"]
    assert lines[4].startswith("r2 ")


async def test_status_of_one_for_programs_is_that_one(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the form of the API."""
    async with an_updater(directory, "r1", "r2"):
        assert await called(directory, "status", "r2", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    rollout = {"id": "r2", "name": "", "state": "updating", "reason": "", "groups": list(WAITS)}
    assert document == {"rollouts": [rollout]}


async def test_no_rollout_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is how it is most of the time, so it is no failure."""
    async with an_updater(directory):
        assert await called(directory) == 0
    assert capsys.readouterr().out == "There is no open rollout.\n"


async def test_only_rollout_needs_no_id(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Paused and resumed, and each time its new state is shown."""
    async with an_updater(directory, "r1") as rollouts:
        assert await called(directory, "pause") == 0
        assert states(rollouts) == {"r1": RolloutState.PAUSED}
        assert "somebody paused it" in capsys.readouterr().out
        assert await called(directory, "resume", "--json") == 0
        assert states(rollouts) == {"r1": RolloutState.UPDATING}
    assert json.loads(capsys.readouterr().out)["rollouts"][0]["state"] == "updating"


async def test_one_of_several_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed: without an ID nothing is done, and the message lists them."""
    async with an_updater(directory, "r1", "r2") as rollouts:
        assert await called(directory, "abandon") == 1
        assert set(states(rollouts).values()) == {RolloutState.UPDATING}
        assert "give an ID: r1, r2" in capsys.readouterr().err
        assert await called(directory, "abandon", "r2") == 0
        assert states(rollouts)["r1"] is RolloutState.UPDATING
        assert states(rollouts)["r2"] is not RolloutState.UPDATING


@pytest.mark.parametrize("verb", ["status", "pause", "resume", "abandon"])
async def test_unknown_id_is_exit_code_1_and_names_those_there_are(
    verb: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever was asked of it."""
    async with an_updater(directory, "r1") as rollouts:
        assert await called(directory, verb, "../r1") == 1
        assert states(rollouts) == {"r1": RolloutState.UPDATING}
    assert "there is no open rollout ../r1; open: r1" in capsys.readouterr().err


async def test_what_its_state_does_not_allow_is_exit_code_1(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the updater's own reason."""
    async with an_updater(directory, "r1"):
        assert await called(directory, "resume") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("watchtower-async: ")
    assert "updating" in err


@pytest.mark.parametrize("words", [(), ("status", "--json"), ("pause",), ("resume", "r1")])
async def test_without_an_updater_nothing_is_read_and_that_is_said(
    words: tuple[str, ...], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state file would tell what was true when somebody stopped."""
    directory.mkdir()  # noqa: ASYNC240
    (directory / "state.sqlite3").write_bytes(b"nonsense")
    assert await called(directory, *words) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "no running updater answers on" in err


async def test_updater_that_starts_is_waited_for_by_the_person(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no rollouts to show yet, which is not the same as having none."""
    async with serve_control_socket(directory, lambda: Health(True, {}), RolloutRoutes(rollouts=Desk())):
        assert await called(directory) == 1
    assert "the updater is starting: try again in a moment" in capsys.readouterr().err


async def test_older_updater_is_told_from_one_without_rollouts(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not know the question."""
    async with serve_control_socket(directory, lambda: Health(True, {})):
        assert await called(directory) == 1
    assert "did not answer" in capsys.readouterr().err


async def test_more_than_one_id_is_a_usage_error(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 64, and nothing is asked."""
    async with an_updater(directory, "r1", "r2") as rollouts:
        assert await called(directory, "pause", "r1", "r2") == 64
        assert await called(directory, "r1") == 64
        assert set(states(rollouts).values()) == {RolloutState.UPDATING}
    assert "takes one ID at most" in capsys.readouterr().err
