"""The watcher: on real files, with events and with polling alone, what people and programs do to the configuration.

Those tests run in real time, with short polls. When the watcher looks again is tested in virtual time, with a store
that finds what the test says.
"""

# ruff: noqa: ASYNC240 - a test may write its small files itself

import base64
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.store import CredentialStore, StoreState
from watchtower_async.credentials.survey import NOTHING_SEEN, DirectorySurvey, Survey
from watchtower_async.credentials.watcher import CredentialWatcher, Events, file_system_events
from watchtower_async.images.reference import parse_reference

SECRET = "hunter2-marker"
IMAGE = parse_reference("ghcr.io/team/app")
NEVER = 60.0
"""A poll that comes too late for any test: what is seen was seen by an event."""


def document(user: str) -> bytes:
    """A configuration with this user for one registry."""
    auth = base64.b64encode(f"{user}:{SECRET}".encode()).decode()
    return json.dumps({"auths": {"ghcr.io": {"auth": auth}}}).encode()


def replace(path: Path, data: bytes) -> None:
    """Replace a file as a login does."""
    new = path.with_name(f"{path.name}.tmp")
    new.write_bytes(data)
    new.replace(path)


@dataclass(slots=True)
class Watched:
    """A directory that is watched."""

    store: CredentialStore

    async def user(self) -> str | None:
        """Return who asks, None for nobody."""
        found = await self.store.credential_for(IMAGE)
        return found.username if isinstance(found, Credential) else None

    async def until(self, condition: Callable[[StoreState], object]) -> StoreState:
        """Wait until the state fulfils the condition."""
        with anyio.fail_after(5):
            while not condition(self.store.state):
                await self.store.state_after(self.store.state)
        return self.store.state

    async def until_user(self, user: str | None) -> None:
        """Wait until this user asks."""
        with anyio.fail_after(5):
            while await self.user() != user:
                await self.store.state_after(self.store.state)

    @property
    def generation(self) -> int:
        """Return the number of the snapshot, 0 where there is none."""
        return self.store.snapshot.generation if self.store.snapshot else 0


@asynccontextmanager
async def watching(directory: Path, events: Events | None, poll: float, grace: float = 0.1) -> AsyncIterator[Watched]:
    """Watch a directory while the context is open."""
    store = CredentialStore(directory=directory, grace=grace)
    watcher = CredentialWatcher(store=store, survey=DirectorySurvey(directory), events=events, poll_seconds=poll)
    async with anyio.create_task_group() as group:
        await group.start(watcher.run)
        yield Watched(store)
        group.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class How:
    """How changes are noticed."""

    events: Events | None
    poll: float

    def watch(self, directory: Path, grace: float = 0.1) -> AbstractAsyncContextManager[Watched]:
        """Watch a directory in this way."""
        return watching(directory, self.events, self.poll, grace)


@pytest.fixture(params=[How(file_system_events, NEVER), How(None, 0.02)], ids=["events", "polling"])
def how(request: pytest.FixtureRequest) -> How:
    """Each way alone must be enough."""
    found: How = request.param
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The path of the file in a directory of its own, with a login."""
    path = tmp_path / "docker" / "config.json"
    path.parent.mkdir()
    path.write_bytes(document("one"))
    return path


async def test_started_means_that_the_first_look_is_done(config: Path, how: How) -> None:
    """Whoever starts the watcher has the credentials."""
    async with how.watch(config.parent) as watched:
        assert watched.store.snapshot is not None
        assert await watched.user() == "one"


async def test_login_by_renaming_is_seen_each_time(config: Path, how: How) -> None:
    """Every login makes a new inode; the second is seen as well as the first."""
    async with how.watch(config.parent) as watched:
        for user in ("two", "three", "four"):
            replace(config, document(user))
            await watched.until_user(user)
        assert watched.generation == 4


async def test_write_in_place_is_seen(config: Path, how: How) -> None:
    """Also of the same length."""
    async with how.watch(config.parent) as watched:
        for user in ("two", "six"):
            config.write_bytes(document(user))
            await watched.until_user(user)


async def test_truncated_and_refilled_file_never_loses_the_login(config: Path, how: How) -> None:
    """The moment in between is within the grace, so nobody asks as nobody."""
    async with how.watch(config.parent, grace=30.0) as watched:
        config.write_bytes(b"")
        await anyio.sleep(0.15)
        assert await watched.user() == "one"
        config.write_bytes(document("two"))
        await watched.until_user("two")
        assert watched.generation == 2


async def test_half_written_file_is_a_problem_until_it_is_complete(config: Path, how: How) -> None:
    """The last good state stays, and the problem goes by itself."""
    whole = document("two")
    async with how.watch(config.parent) as watched:
        with config.open("wb", buffering=0) as file:
            file.write(whole[:20])
            state = await watched.until(lambda state: state.problem)
            assert "not valid JSON" in str(state.problem)
            assert await watched.user() == "one"
            file.write(whole[20:])
            await watched.until_user("two")
        assert watched.store.state.problem is None


async def test_deleted_file_is_empty_after_the_grace_and_back_with_the_next_login(config: Path, how: How) -> None:
    """A logout must take effect, and people are told why images are asked for as nobody."""
    async with how.watch(config.parent) as watched:
        config.unlink()
        await watched.until_user(None)
        assert f"{config} does not exist" in "".join(watched.store.warnings)
        config.write_bytes(document("two"))
        await watched.until_user("two")
        assert not [text for text in watched.store.warnings if "does not exist" in text]


async def test_file_that_is_deleted_and_made_again_within_the_grace_is_not_lost(config: Path, how: How) -> None:
    """One new state, not two."""
    async with how.watch(config.parent, grace=30.0) as watched:
        config.unlink()
        await anyio.sleep(0.1)
        config.write_bytes(document("two"))
        await watched.until_user("two")
        assert watched.generation == 2


async def test_kubernetes_swap_is_seen_each_time(config: Path, how: How) -> None:
    """The file is a link into a link that is renamed, and the directory of before is deleted."""
    config.unlink()
    data = config.parent / "..data"
    _new_version(data, "one")
    config.symlink_to("..data/config.json")
    async with how.watch(config.parent) as watched:
        for user in ("two", "three"):
            _new_version(data, user)
            await watched.until_user(user)
        assert watched.generation == 3


def _new_version(data: Path, user: str) -> None:
    before = data.resolve() if data.is_symlink() else None
    version = data.with_name(f"..{user}")
    version.mkdir()
    (version / "config.json").write_bytes(document(user))
    link = data.with_name("..data_tmp")
    link.symlink_to(version.name)
    link.replace(data)
    if before is not None:
        shutil.rmtree(before)


async def test_target_of_a_link_is_watched_where_it_is(config: Path, how: How) -> None:
    """A login replaces the target and leaves the link."""
    target = config.parent.parent / "elsewhere" / "docker.json"
    target.parent.mkdir()
    config.replace(target)
    config.symlink_to(target)
    async with how.watch(config.parent) as watched:
        replace(target, document("two"))
        await watched.until_user("two")
        target.write_bytes(document("three"))
        await watched.until_user("three")


async def test_directory_may_come_later(tmp_path: Path, how: How) -> None:
    """Not even its parents need be there."""
    config = tmp_path / "far" / "away" / "config.json"
    async with how.watch(config.parent) as watched:
        assert await watched.user() is None
        config.parent.parent.mkdir()
        await anyio.sleep(0.1)
        config.parent.mkdir()
        config.write_bytes(document("one"))
        await watched.until_user("one")
        replace(config, document("two"))
        await watched.until_user("two")


async def test_replaced_directory_is_watched_instead_of_the_old_one(config: Path, how: How) -> None:
    """The name counts, not the directory that once had it."""
    new = config.parent.with_name("new")
    new.mkdir()
    (new / "config.json").write_bytes(document("two"))
    async with how.watch(config.parent, grace=30.0) as watched:
        config.parent.rename(config.parent.with_name("old"))
        new.rename(config.parent)
        await watched.until_user("two")
        replace(config, document("three"))
        await watched.until_user("three")


async def test_directory_that_is_deleted_and_made_again_is_watched(config: Path, how: How) -> None:
    """The new one may get the same inode number."""
    async with how.watch(config.parent, grace=30.0) as watched:
        shutil.rmtree(config.parent)
        config.parent.mkdir()
        await anyio.sleep(0.2)
        replace(config, document("two"))
        await watched.until_user("two")
        replace(config, document("three"))
        await watched.until_user("three")


async def test_dockercfg_gives_way_to_config_json(config: Path, how: How) -> None:
    """Both names are watched."""
    config.unlink()
    old = config.with_name(".dockercfg")
    old.write_text('{"ghcr.io": {"username": "old", "password": "p"}}')
    async with how.watch(config.parent) as watched:
        assert await watched.user() == "old"
        old.write_text('{"ghcr.io": {"username": "older", "password": "p"}}')
        await watched.until_user("older")
        config.write_bytes(document("new"))
        await watched.until_user("new")


async def test_broken_file_at_the_start_is_a_state_that_ends(config: Path, how: How) -> None:
    """The watcher starts all the same, and the file may be put right in place."""
    config.write_text("{")
    async with how.watch(config.parent) as watched:
        assert watched.store.state.problem is not None
        config.write_bytes(document("one"))
        await watched.until(lambda state: state.snapshot)
        assert await watched.user() == "one"
        assert watched.store.state.problem is None


async def test_file_in_the_place_of_the_directory_is_a_problem_until_it_is_a_directory(
    tmp_path: Path, how: How
) -> None:
    """The variable that names the directory often names the file."""
    place = tmp_path / "docker"
    place.write_bytes(document("one"))
    async with how.watch(place) as watched:
        assert "is not a directory" in str(watched.store.state.problem)
        place.unlink()
        place.mkdir()
        replace(place / "config.json", document("one"))
        await watched.until(lambda state: state.snapshot)
        assert await watched.user() == "one"


async def test_same_content_and_other_files_are_no_change(config: Path, how: How) -> None:
    """A login that changes nothing, and what the command line keeps beside it."""
    async with how.watch(config.parent) as watched:
        before = watched.store.state
        replace(config, document("one"))
        (config.parent / "contexts").mkdir()
        (config.parent / "daemon.json").write_text("{}")
        await anyio.sleep(0.3)
        assert watched.store.state == before


async def test_burst_of_logins_is_one_reload(config: Path) -> None:
    """Only its end counts."""
    async with watching(config.parent, file_system_events, NEVER) as watched:
        for user in ("two", "three", "four"):
            replace(config, document(user))
        await watched.until_user("four")
        assert watched.generation == 2


async def test_reload_does_not_wait_for_the_grace_while_somebody_watches(config: Path, how: How) -> None:
    """A session must not stand still for content that is away: the watcher looks for it."""
    async with how.watch(config.parent, grace=30.0) as watched:
        config.unlink()
        with anyio.fail_after(5):
            assert await watched.store.reload() is None
        assert await watched.user() == "one"


def test_end_of_the_watcher_leaves_no_thread(config: Path) -> None:
    """Neither one of ours nor one of the watching library, and it does not take long."""
    ended: list[float] = []

    async def live() -> None:
        async with watching(config.parent, file_system_events, NEVER) as watched:
            replace(config, document("two"))
            await watched.until_user("two")
            assert watching_threads()
            ended.append(time.monotonic())

    before = set(threading.enumerate())
    anyio.run(live)
    deadline = ended[0] + 3
    while time.monotonic() < deadline and (set(threading.enumerate()) - before or watching_threads()):
        time.sleep(0.01)
    assert time.monotonic() < deadline


def watching_threads() -> list[str]:
    """Return the names of the watching library's threads, which are not Python's."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has ended meanwhile
            names.append(path.read_text().strip())
    return [name for name in names if name.startswith("notify")]


MOUNTED_FILE = """
import subprocess, sys
from pathlib import Path
import anyio
from tests.flows.test_credential_watcher import NEVER, document, replace, watching
from watchtower_async.credentials.watcher import file_system_events

async def main(source: Path, config: Path) -> None:
    async with watching(config.parent, file_system_events, NEVER) as watched:
        source.write_bytes(document("two"))
        await watched.until_user("two")
        replace(source, document("three"))
        await watched.until(lambda state: state.warnings)
        assert await watched.user() == "two"
        print(*watched.store.warnings, sep="\\n")

source, config = map(Path, sys.argv[1:])
subprocess.run(["mount", "--bind", source, config], check=True)
anyio.run(main, source, config)
"""


def test_mounted_file_is_watched_and_its_replacement_is_told(config: Path) -> None:
    """A mount of the file alone shows writes in place, nothing else; people learn what to mount instead."""
    source = config.parent.parent / "host" / "config.json"
    source.parent.mkdir()
    source.write_bytes(document("one"))
    source.chmod(0o600)
    in_namespace = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*in_namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount name spaces")
    done = subprocess.run(
        [*in_namespace, sys.executable, "-c", MOUNTED_FILE, source, config],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "was replaced on the host" in done.stdout
    assert "mount its directory" in done.stdout


# ---- when the watcher looks, in virtual time ----


@dataclass
class ScriptedStore:
    """A store that finds one thing after the other, the last one for ever, and knows when it was asked."""

    findings: list[StoreState | float]
    """A number is for how long content that is away must stay away."""
    looks: list[float] = field(default_factory=list)
    state: StoreState = StoreState()

    @contextmanager
    def watched(self) -> Iterator[None]:
        yield

    async def check(self) -> float | None:
        self.looks.append(round(anyio.current_time(), 3))
        found = self.findings[0] if len(self.findings) == 1 else self.findings.pop(0)
        if isinstance(found, StoreState):
            self.state = found
            return None
        return anyio.current_time() + found


GOOD, BROKEN = StoreState(), StoreState(problem="config.json is not valid JSON")


@dataclass
class ScriptedSurvey:
    """A survey that shows the same until it is told otherwise."""

    seen: Survey
    count: int = 0

    async def __call__(self) -> Survey:
        self.count += 1
        return self.seen


def a_survey(mark: int = 0, *, inode: int = 1) -> Survey:
    """A directory whose file has this mark."""
    return Survey((mark,), frozenset({"/config/config.json"}), (("/config", 1, inode),))


async def run_for(seconds: float, watcher: CredentialWatcher) -> None:
    """Let a watcher run for so long."""
    with anyio.move_on_after(seconds):
        await watcher.run()


@pytest.mark.looptime
async def test_status_that_is_the_same_is_not_read() -> None:
    """Every 30 seconds a survey, and a look only when it shows a difference."""
    store, survey = ScriptedStore([GOOD]), ScriptedSurvey(a_survey())
    watcher = CredentialWatcher(store=store, survey=survey, events=None)
    async with anyio.create_task_group() as group:
        group.start_soon(run_for, 125, watcher)
        await anyio.sleep(70)
        survey.seen = a_survey(1)
    assert store.looks == [0, 90]
    assert survey.count == 5


@pytest.mark.looptime
async def test_broken_content_is_looked_at_again_ever_more_rarely() -> None:
    """After 0.25, 0.5, 1 and 2 seconds, then with each poll."""
    store = ScriptedStore([BROKEN])
    await run_for(70, CredentialWatcher(store=store, survey=ScriptedSurvey(a_survey()), events=None))
    assert store.looks == [0, 0.25, 0.75, 1.75, 3.75, 33.75, 63.75]


@pytest.mark.looptime
async def test_pauses_begin_anew_after_a_recovery() -> None:
    """A second mistake is retried as quickly as the first."""
    store, survey = ScriptedStore([BROKEN, BROKEN, GOOD, BROKEN, GOOD]), ScriptedSurvey(a_survey())
    async with anyio.create_task_group() as group:
        group.start_soon(run_for, 45, CredentialWatcher(store=store, survey=survey, events=None))
        await anyio.sleep(10)
        survey.seen = a_survey(1)
    assert store.looks == [0, 0.25, 0.75, 30.75, 31.0]


@pytest.mark.looptime
async def test_content_that_is_away_is_looked_for_when_the_grace_is_over() -> None:
    """Not with the next poll only."""
    store = ScriptedStore([2.0, GOOD])
    await run_for(10, CredentialWatcher(store=store, survey=ScriptedSurvey(a_survey()), events=None))
    assert store.looks == [0, 2]


@pytest.mark.looptime
async def test_directory_that_does_not_answer_is_a_difference() -> None:
    """The store finds out what is wrong, and again when the directory is back."""
    store, survey = ScriptedStore([GOOD]), ScriptedSurvey(a_survey())
    async with anyio.create_task_group() as group:
        group.start_soon(run_for, 100, CredentialWatcher(store=store, survey=survey, events=None))
        await anyio.sleep(20)
        survey.seen = NOTHING_SEEN
        await anyio.sleep(20)
        survey.seen = a_survey()
    assert store.looks == [0, 30, 60]


@dataclass
class ScriptedEvents:
    """Watches that yield what the test says: at a time from their start, these paths."""

    batches: list[tuple[float, set[str]]]
    error: Exception | None = None
    opened: list[float] = field(default_factory=list)
    open: int = 0

    async def __call__(self, paths: tuple[str, ...], stop: anyio.Event) -> AsyncGenerator[frozenset[str], None]:
        assert paths == ("/config",)
        self.opened.append(round(anyio.current_time(), 3))
        self.open += 1
        try:
            if self.error is not None:
                raise self.error
            while self.batches:
                pause, paths_changed = self.batches.pop(0)
                await anyio.sleep(pause)
                yield frozenset(paths_changed)
            await stop.wait()
        finally:
            self.open -= 1


FILE = "/config/config.json"


@pytest.mark.looptime
async def test_event_of_the_file_is_a_look_whatever_its_status_says() -> None:
    """Two writes within a tick of the clock look alike; an event of another file means nothing by itself."""
    store, events = ScriptedStore([GOOD]), ScriptedEvents([(2, {"/config/other"}), (1, {FILE})])
    survey = ScriptedSurvey(a_survey())
    await run_for(20, CredentialWatcher(store=store, survey=survey, events=events))
    assert store.looks == [0, 3.015]
    assert survey.count == 4
    assert events.opened == [0]
    assert events.open == 0


@pytest.mark.looptime
async def test_events_that_follow_one_another_are_one_look() -> None:
    """15 ms, after those that the watching library waits and before those that the reader does: 50 in all."""
    store, events = ScriptedStore([GOOD]), ScriptedEvents([(5, {FILE}), (0.014, {FILE}), (1, {FILE})])
    await run_for(20, CredentialWatcher(store=store, survey=ScriptedSurvey(a_survey()), events=events))
    assert store.looks == [0, 5.015, 6.029]


@pytest.mark.looptime
async def test_change_before_the_watch_was_in_place_is_seen_at_once() -> None:
    """Between the first survey and the watch nobody listens, so there is another survey after it."""
    surveys = [a_survey(), a_survey(1)]

    async def survey() -> Survey:
        return surveys.pop(0)

    store = ScriptedStore([GOOD])
    await run_for(20, CredentialWatcher(store=store, survey=survey, events=ScriptedEvents([])))
    assert store.looks == [0, 0.015]


@pytest.mark.looptime
@pytest.mark.parametrize("inode", [1, 2])
async def test_watch_is_renewed_when_the_directory_is_another_one(inode: int) -> None:
    """Told by its inode, or by an event alone, as numbers are given away again."""
    store, events = ScriptedStore([GOOD]), ScriptedEvents([(5, {"/config"})])
    survey = ScriptedSurvey(a_survey())
    async with anyio.create_task_group() as group:
        group.start_soon(run_for, 20, CredentialWatcher(store=store, survey=survey, events=events))
        await anyio.sleep(3)
        survey.seen = a_survey(inode=inode)
        await anyio.sleep(10)
        assert events.open == 1
    assert events.opened == [0, 5.015]
    assert events.open == 0


@pytest.mark.looptime
@pytest.mark.parametrize("error", [OSError("OS file watch limit reached."), RuntimeError("no watcher")])
async def test_without_events_polling_goes_on_and_one_warning_says_so(error: Exception) -> None:
    """A machine without free watches costs the speed only."""
    told: list[str] = []
    store, events, survey = ScriptedStore([GOOD]), ScriptedEvents([], error), ScriptedSurvey(a_survey())
    watcher = CredentialWatcher(store=store, survey=survey, events=events, tell=told.append)
    async with anyio.create_task_group() as group:
        group.start_soon(run_for, 100, watcher)
        await anyio.sleep(45)
        survey.seen = a_survey(1, inode=2)
    assert store.looks == [0, 60.015]
    assert len(told) == 1
    assert f"every 30 seconds only, as they cannot be watched: {error}" in told[0]


@pytest.mark.looptime
async def test_directory_that_goes_away_before_it_can_be_watched_is_surveyed_again() -> None:
    """That is no fault that anybody needs to know of."""
    told: list[str] = []
    events, survey = ScriptedEvents([], FileNotFoundError("No path was found.")), ScriptedSurvey(a_survey())
    await run_for(1, CredentialWatcher(store=ScriptedStore([GOOD]), survey=survey, events=events, tell=told.append))
    assert survey.count > 1
    assert not told
