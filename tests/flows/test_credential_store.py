"""The credential store on real files: what a reader finds when people and programs change them."""

# ruff: noqa: ASYNC240 - a test may write its small files itself

import base64
import json
import os
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest

from watchtower_async.credentials.config_file import ChangeSet, changes_between
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.file_reader import FileAbsent, FileContent, Reading, read_directory
from watchtower_async.credentials.snapshot import Snapshot
from watchtower_async.credentials.store import ConfigDirectory, CredentialStore, find_config_directory
from watchtower_async.errors import CredentialError
from watchtower_async.images.reference import parse_reference

SECRET = "hunter2-marker"
IMAGE = parse_reference("ghcr.io/team/app")
PUBLIC = parse_reference("redis")


def document(user: str, **more: object) -> bytes:
    """A configuration with this user for one registry."""
    auth = base64.b64encode(f"{user}:{SECRET}".encode()).decode()
    return json.dumps({"auths": {"ghcr.io": {"auth": auth}}, **more}, indent=2).encode()


def a_store(directory: Path, **arguments: object) -> CredentialStore:
    """A store that does not wait long for content to come back."""
    return CredentialStore(directory=directory, **{"grace": 0.0, **arguments})  # type: ignore[arg-type]


async def user(store: CredentialStore) -> str | None:
    """Return who asks, None for nobody."""
    found = await store.credential_for(IMAGE)
    return found.username if isinstance(found, Credential) else None


def snapshot_of(store: CredentialStore) -> Snapshot:
    assert store.snapshot is not None
    return store.snapshot


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The path of the file, which is not there yet."""
    return tmp_path / "config.json"


async def test_file_is_read_and_its_entry_is_named(config: Path) -> None:
    """The normal case."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    assert await store.reload() is None
    found = await store.credential_for(IMAGE)
    assert found == Credential("one", SECRET, source='config.json entry "ghcr.io"')
    assert await store.credential_for(PUBLIC) == Anonymous()


async def test_first_question_reads_the_file(config: Path) -> None:
    """Nobody has to reload first."""
    config.write_bytes(document("one"))
    assert await user(a_store(config.parent)) == "one"


async def test_missing_file_is_empty_until_it_appears(config: Path) -> None:
    """Neither the file nor its directory must be there."""
    store = a_store(config.parent / "later")
    assert await store.reload() is None
    assert await user(store) is None
    (config.parent / "later").mkdir()
    (config.parent / "later" / "config.json").write_bytes(document("one"))
    assert await user(store) is None
    assert await store.reload() is None
    assert await user(store) == "one"


@pytest.mark.parametrize("content", [b"", b" \n"])
async def test_empty_file_is_an_empty_configuration(config: Path, content: bytes) -> None:
    """As for the command line."""
    config.write_bytes(content)
    store = a_store(config.parent)
    assert await store.reload() is None
    assert await user(store) is None


async def test_link_to_nowhere_is_an_empty_configuration(config: Path) -> None:
    """As for the command line; the older file does not stand in for it."""
    config.symlink_to(config.parent / "nowhere")
    (config.parent / ".dockercfg").write_text('{"ghcr.io": {"username": "old", "password": "p"}}')
    store = a_store(config.parent)
    assert await store.reload() is None
    assert await user(store) is None


async def test_replaced_file_is_taken_with_the_next_reload(config: Path) -> None:
    """A login writes a new file and renames it; the old snapshot stays as it was."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    before = snapshot_of(store)
    new = config.with_name("config.json.tmp")
    new.write_bytes(document("two"))
    new.replace(config)
    assert await store.reload() is None
    assert await user(store) == "two"
    after = snapshot_of(store)
    assert (before.generation, after.generation) == (1, 2)
    assert changes_between(before.config, after.config) == ChangeSet(changed=frozenset({"ghcr.io"}))


async def test_same_content_is_no_new_snapshot(config: Path) -> None:
    """A login that changes nothing makes a new file all the same."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    before = store.snapshot
    config.unlink()
    config.write_bytes(document("one"))
    await store.reload()
    assert store.snapshot is before


async def test_half_written_and_broken_files_keep_the_last_good_snapshot(config: Path) -> None:
    """What is wrong is told with line and column, each time, until the file is whole again."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    whole = document("two")
    for broken in (whole[: len(whole) // 2], b"{", b"[]", b'{"auths": 5}', b"\0" * len(whole)):
        config.write_bytes(broken)
        for _ in range(2):
            problem = await store.reload()
            assert problem is not None
            assert str(config) in problem
            assert "what was read before stays in use" in problem
            assert SECRET not in problem
        assert await user(store) == "one"
    config.write_bytes(whole)
    assert await store.reload() is None
    assert await user(store) == "two"


async def test_broken_first_file_makes_every_question_an_error(config: Path) -> None:
    """To ask as nobody would hide the fault; it ends when the file is put right in place."""
    config.write_bytes(document("one")[:-1])
    store = a_store(config.parent)
    problem = await store.reload()
    assert problem is not None
    assert "line 7, column 1" in problem
    for image in (IMAGE, PUBLIC):
        with pytest.raises(CredentialError, match="not valid JSON") as info:
            await store.credential_for(image)
        assert SECRET not in "".join(traceback.format_exception(info.value))
    config.write_bytes(document("one"))
    assert await store.reload() is None
    assert await user(store) == "one"


async def test_directory_instead_of_the_file_is_empty_with_one_warning(config: Path) -> None:
    """A mount whose source is missing makes it."""
    config.mkdir()
    store = a_store(config.parent)
    problem = await store.reload()
    assert problem is not None
    assert f"{config} is a directory" in problem
    assert await store.reload() is None
    assert await user(store) is None
    config.rmdir()
    config.write_bytes(document("one"))
    assert await store.reload() is None
    assert await user(store) == "one"


async def test_pipe_is_refused_without_waiting_for_a_writer(config: Path) -> None:
    """Only regular files are read, and the last good snapshot stays."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    config.unlink()
    os.mkfifo(config)
    problem = await store.reload()
    assert problem is not None
    assert "not a regular file" in problem
    assert await user(store) == "one"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_file_without_permission_keeps_the_last_good_snapshot(config: Path) -> None:
    """The problem names the user who may not read it."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    config.chmod(0)
    problem = await store.reload()
    assert problem is not None
    assert f"user id {os.geteuid()}" in problem
    assert await user(store) == "one"


async def test_link_to_itself_keeps_the_last_good_snapshot(config: Path) -> None:
    """Whatever the system says against reading is told, with the path and the user."""
    config.write_bytes(document("one"))
    store = a_store(config.parent)
    await store.reload()
    config.unlink()
    config.symlink_to(config)
    problem = await store.reload()
    assert problem is not None
    assert f"{config} cannot be read by user id {os.geteuid()}" in problem
    assert await user(store) == "one"


async def test_file_in_the_place_of_the_directory_is_a_problem(config: Path) -> None:
    """Whoever names the file has an answer that names the remedy."""
    config.write_bytes(document("one"))
    problem = await a_store(config).reload()
    assert problem is not None
    assert "name the directory that holds config.json" in problem


async def test_endless_file_is_refused(config: Path) -> None:
    """4 MiB are enough for everybody."""
    with config.open("wb") as file:
        file.truncate(4 * 1024 * 1024 + 1)
    problem = await a_store(config.parent).reload()
    assert problem is not None
    assert "larger than 4 MiB" in problem


async def test_file_that_is_being_written_is_not_taken(config: Path) -> None:
    """Two looks at it must agree."""
    config.write_bytes(b"")
    done = threading.Event()

    def write() -> None:
        with config.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b" ")
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        problem = await a_store(config.parent).reload()
    finally:
        done.set()
        writer.join()
    assert problem is not None
    assert "written all the time" in problem


def replaying(readings: Iterable[Reading]) -> CredentialStore:
    """A store for which the directory shows one thing after the other."""
    remaining = iter(readings)
    return a_store(Path("/config"), read=lambda _: next(remaining))


def a_content(data: bytes) -> FileContent:
    return FileContent(Path("/config/config.json"), data)


@pytest.mark.parametrize("lost", [FileAbsent(), FileAbsent("a directory"), a_content(b""), a_content(b"\n")])
async def test_content_that_is_away_for_a_moment_is_not_lost(lost: Reading) -> None:
    """A writer cuts the file and fills it again; a check in between must not ask as nobody."""
    store = replaying([a_content(document("one")), lost, a_content(document("two"))])
    await store.reload()
    assert await store.reload() is None
    assert await user(store) == "two"
    assert snapshot_of(store).generation == 2


async def test_content_that_stays_away_is_gone() -> None:
    """A logout must take effect, and only the change costs the waiting time."""
    store = replaying([a_content(document("one")), FileAbsent(), FileAbsent(), a_content(b"")])
    await store.reload()
    assert await store.reload() is None
    assert await user(store) is None
    assert await store.reload() is None


async def test_question_keeps_its_snapshot_while_content_is_away(config: Path) -> None:
    """Until the waiting time is over, the last good snapshot answers."""
    config.write_bytes(document("one"))
    store = CredentialStore(directory=config.parent, grace=60.0)
    await store.reload()
    config.unlink()
    with anyio.move_on_after(0.2) as scope:
        await store.reload()
    assert scope.cancelled_caught
    assert await user(store) == "one"


async def test_directory_that_does_not_answer_costs_the_deadline_only() -> None:
    """One thread is lost to it, never a second; when it answers again, all is well again."""
    release, begun = threading.Event(), []

    def read(directory: Path) -> Reading:
        begun.append(directory)
        release.wait(timeout=30)
        return a_content(document("one"))

    store = a_store(Path("/config"), read=read, deadline=0.05)
    try:
        for _ in range(3):
            problem = await store.reload()
            assert problem is not None
            assert "/config did not answer within 0.05 seconds" in problem
        assert len(begun) == 1
        with pytest.raises(CredentialError, match="did not answer"):
            await store.credential_for(IMAGE)
    finally:
        release.set()
    patient = a_store(Path("/config"), read=read)
    assert await patient.reload() is None


async def test_concurrent_reloads_read_one_after_the_other(config: Path) -> None:
    """No two threads read at once, and all of them end well."""
    config.write_bytes(document("one"))
    busy, most = [0], [0]

    def read(directory: Path) -> Reading:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        reading = read_directory(directory)
        busy[0] -= 1
        return reading

    store = a_store(config.parent, read=read)
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(store.reload)
    assert most == [1]
    assert snapshot_of(store).generation == 1


async def test_broken_entry_fails_its_own_registry_only(config: Path) -> None:
    """The error names the entry, and the warnings list it."""
    config.write_text(json.dumps({"auths": {"ghcr.io": {"auth": SECRET}, "quay.io": {"username": "q"}}}))
    store = a_store(config.parent)
    assert await store.reload() is None
    with pytest.raises(CredentialError, match=r'config\.json entry "ghcr\.io"') as info:
        await store.credential_for(IMAGE)
    assert SECRET not in "".join(traceback.format_exception(info.value))
    assert isinstance(await store.credential_for(parse_reference("quay.io/a/b")), Credential)
    assert any("ghcr.io" in warning for warning in store.warnings)
    assert SECRET not in repr(store.warnings) + repr(store.snapshot)


async def test_helper_that_nobody_asks_is_an_error(config: Path) -> None:
    """To ask as nobody instead would hide that a credential is configured."""
    config.write_text(json.dumps({"auths": {"ghcr.io": {}}, "credsStore": "desktop"}))
    store = a_store(config.parent)
    assert await store.reload() is None
    for image in (IMAGE, PUBLIC):
        with pytest.raises(CredentialError, match="docker-credential-desktop is not asked here"):
            await store.credential_for(image)


async def test_filled_entry_beside_a_helper_is_used(config: Path) -> None:
    """It was written by hand, and is meant to be used."""
    config.write_bytes(document("one", credsStore="desktop"))
    assert await user(a_store(config.parent)) == "one"


async def test_dockercfg_is_read_only_without_config_json(config: Path) -> None:
    """The older file serves until there is a newer one."""
    (config.parent / ".dockercfg").write_text('{"ghcr.io": {"username": "old", "password": "p"}}')
    store = a_store(config.parent)
    assert await store.reload() is None
    assert await user(store) == "old"
    config.write_bytes(document("new"))
    assert await store.reload() is None
    assert await user(store) == "new"


async def test_auth_variable_wins_over_the_file(config: Path) -> None:
    """As for the command line."""
    config.write_bytes(document("file"))
    value = json.dumps({"auths": {"ghcr.io": {"auth": base64.b64encode(b"variable:p").decode()}}})
    assert await user(a_store(config.parent, auth_variable=value)) == "variable"


async def test_unusable_auth_variable_is_ignored_with_a_warning(config: Path) -> None:
    """The warning holds nothing of it."""
    config.write_bytes(document("file"))
    store = a_store(config.parent, auth_variable='{"auths": {"ghcr.io": {"password": "' + SECRET + '"}}}')
    assert await user(store) == "file"
    assert "DOCKER_AUTH_CONFIG is ignored" in store.warnings[0]
    assert SECRET not in store.warnings[0]


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o640, 0), (0o644, 1)])
async def test_file_that_everybody_may_read_is_a_warning(config: Path, mode: int, count: int) -> None:
    """It is read all the same: mounted files often are so."""
    config.write_bytes(document("one"))
    config.chmod(mode)
    store = a_store(config.parent)
    assert await store.reload() is None
    assert len(store.warnings) == count
    assert await user(store) == "one"


async def test_mount_of_a_file_that_was_replaced_is_a_warning(config: Path) -> None:
    """The content is still there under its name, but without a link: nothing new will ever come in."""
    original = config.with_name("original")
    original.write_bytes(document("one"))
    original.chmod(0o600)
    with original.open("rb") as file:
        original.unlink()
        config.symlink_to(f"/proc/self/fd/{file.fileno()}")
        store = a_store(config.parent)
        assert await store.reload() is None
        assert await user(store) == "one"
    assert len(store.warnings) == 1
    assert "mount its directory" in store.warnings[0]


async def test_kubernetes_swap_of_directories_is_seen(config: Path) -> None:
    """The file is a link into a link that is renamed."""
    for name in ("one", "two"):
        (config.parent / name).mkdir()
        (config.parent / name / "config.json").write_bytes(document(name))
    data = config.parent / "..data"
    data.symlink_to("one")
    config.symlink_to("..data/config.json")
    store = a_store(config.parent)
    await store.reload()
    new = config.parent / "..data_tmp"
    new.symlink_to("two")
    new.replace(data)
    await store.reload()
    assert await user(store) == "two"


def test_directory_is_chosen_in_order(tmp_path: Path) -> None:
    """The setting, the variable, the root if it has the file, the home directory."""
    both = {"DOCKER_CONFIG": "/variable", "HOME": "/users/me"}
    home = {"DOCKER_CONFIG": "", "HOME": "/users/me"}
    setting = Path("/setting")
    assert find_config_directory(setting=setting, environ=both, root=tmp_path) == ConfigDirectory(setting)
    assert find_config_directory(setting=None, environ=both, root=tmp_path) == ConfigDirectory(Path("/variable"))
    expected = ConfigDirectory(Path("/users/me/.docker"))
    assert find_config_directory(setting=None, environ=home, root=tmp_path) == expected
    assert find_config_directory(setting=None, environ={}, root=tmp_path) == ConfigDirectory(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert find_config_directory(setting=None, environ=home, root=tmp_path) == ConfigDirectory(tmp_path)


def test_setting_that_names_the_file_is_a_problem_with_the_remedy(config: Path) -> None:
    """What is meant is clear for `config.json`, so its directory is used."""
    config.write_text("{}")
    for location in (
        find_config_directory(setting=config, environ={}),
        find_config_directory(setting=None, environ={"DOCKER_CONFIG": str(config)}),
    ):
        assert location.directory == config.parent
        assert location.problem is not None
        assert "mount and name its directory instead" in location.problem


def test_setting_that_names_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing says what was meant."""
    other = tmp_path / "docker.json"
    other.write_text("{}")
    location = find_config_directory(setting=other, environ={})
    assert location.directory == other
    assert location.problem is not None
