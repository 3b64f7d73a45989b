"""The pure helpers of the engine client."""

from typing import Any

import pytest

from watchtower_async.engine.client import (
    NEWEST_KNOWN_API,
    OLDEST_KNOWN_API,
    EngineInfo,
    error_for,
    read_version,
    split_name,
)
from watchtower_async.errors import (
    EngineConflictError,
    EngineError,
    EngineUnavailableError,
    NoSuchObjectError,
)
from watchtower_async.settings import declared_options

ENGINE = {"Version": "28.5.1", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "arm64"}


def test_answer_of_an_engine_is_read() -> None:
    """Everything that later decisions need is in `GET /version`."""
    expected = EngineInfo(version="28.5.1", api_version=(1, 51), os="linux", architecture="arm64", is_podman=False)
    assert expected == read_version(ENGINE, "x")


@pytest.mark.parametrize(
    ("newest", "oldest", "chosen"),
    [
        ("1.41", "1.12", (1, 41)),
        ("1.51", "1.24", (1, 51)),
        ("1.60", "1.44", NEWEST_KNOWN_API),
        ("1.99", "1.98", (1, 98)),
        ("1.9", "1.5", (1, 9)),
        ("2.0", None, (2, 0)),
        ("1.41", "", (1, 41)),
        ("1.41", "1.44", (1, 41)),
    ],
)
def test_newest_version_that_both_know_is_chosen(newest: str, oldest: str | None, chosen: tuple[int, int]) -> None:
    """Versions are numbers, not texts; an engine that is too new is spoken to in its oldest."""
    info = read_version({**ENGINE, "ApiVersion": newest, "MinAPIVersion": oldest}, "x")
    assert chosen == info.api_version


@pytest.mark.parametrize(("asked", "expected"), [("1.44", (1, 44)), ("1.41", (1, 41)), ("1.51", (1, 51))])
def test_version_that_is_asked_for_is_spoken(asked: str, expected: tuple[int, int]) -> None:
    """Not the newest, when somebody names another one."""
    assert expected == read_version(ENGINE, "x", asked=asked).api_version


@pytest.mark.parametrize(
    ("asked", "newest", "oldest", "remedy"),
    [
        ("1.25", "1.51", "1.24", "name one from 1.41 to 1.51, or leave"),
        ("1.43", "1.55", "1.44", "name one from 1.44 to 1.51, or leave"),
        ("1.51", "1.45", "1.24", "name one from 1.41 to 1.45, or leave"),
        ("1.52", "1.55", "1.44", "name one from 1.44 to 1.51, or leave"),
        ("1.25", "1.41", "1.12", "x: name 1.41, or leave"),
        ("1.40", "1.40", "1.12", "unix:///x: leave --api-version (DOCKER_API_VERSION) out"),
    ],
)
def test_version_that_a_side_does_not_speak_is_refused(asked: str, newest: str, oldest: str, remedy: str) -> None:
    """In an older one containers would lose settings, in a newer one we would misread them; the remedy is named."""
    with pytest.raises(EngineUnavailableError, match=f"API version {asked} is asked for") as caught:
        read_version({**ENGINE, "ApiVersion": newest, "MinAPIVersion": oldest}, "unix:///x", asked=asked)
    assert remedy in str(caught.value)


def test_help_names_the_versions_that_may_be_asked_for() -> None:
    """Whoever moves the limits says so there."""
    (option,) = (option for option in declared_options() if option.key == "engine.api_version")
    low, high = ("{}.{}".format(*version) for version in (OLDEST_KNOWN_API, NEWEST_KNOWN_API))
    assert f"from {low} to {high}" in option.help


@pytest.mark.parametrize("version", [None, "", "1", "v1.41", "1.41.0", "١.٤", 1.41e9, [], "1.4\n"])
def test_answer_without_an_api_version_is_no_engine(version: Any) -> None:
    """Something else may listen there; the message names where."""
    with pytest.raises(EngineUnavailableError, match="at http://x does not tell a Docker API version"):
        read_version({"ApiVersion": version}, "http://x")


@pytest.mark.parametrize(
    ("components", "is_podman"),
    [
        ([{"Name": "Podman Engine"}, {"Name": "Conmon"}], True),
        ([{"Name": "Engine"}, {"Name": "containerd"}], False),
        ([None, "podman", {}], False),
        (None, False),
    ],
)
def test_podman_is_told_by_its_components(components: Any, is_podman: bool) -> None:
    """Podman speaks the same API with other manners."""
    assert read_version({**ENGINE, "Components": components}, "x").is_podman is is_podman


def test_missing_fields_are_empty_but_the_system() -> None:
    """An engine that tells no system is a Linux one."""
    info = read_version({"ApiVersion": "1.41"}, "x")
    assert (info.version, info.os, info.architecture) == ("", "linux", "")


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        (404, NoSuchObjectError, False),
        (409, EngineConflictError, False),
        (502, EngineUnavailableError, True),
        (504, EngineUnavailableError, True),
        (400, EngineError, False),
        (403, EngineError, False),
        (500, EngineError, False),
        (503, EngineError, False),
    ],
)
def test_status_chooses_the_error(status: int, kind: type[EngineError], transient: bool) -> None:
    """A class where somebody handles it differently; only a proxy's statuses mean that the engine is away."""
    error = error_for(status, "said")
    assert type(error) is kind
    assert (error.status, str(error), error.transient) == (status, "said", transient)


@pytest.mark.parametrize(
    ("name", "repository", "version"),
    [
        ("docker.io/library/redis:7", "docker.io/library/redis", "7"),
        ("docker.io/library/redis", "docker.io/library/redis", "latest"),
        ("localhost:5000/app", "localhost:5000/app", "latest"),
        ("localhost:5000/app:1", "localhost:5000/app", "1"),
        ("h.example/app@sha256:ab", "h.example/app", "sha256:ab"),
        ("localhost:5000/app:1@sha256:ab", "localhost:5000/app", "sha256:ab"),
        ("[::1]:5000/app", "[::1]:5000/app", "latest"),
    ],
)
def test_pull_always_names_one_version(name: str, repository: str, version: str) -> None:
    """Without a tag an engine would pull every tag; the digest wins over the tag; a port is no tag."""
    assert (repository, version) == split_name(name)
