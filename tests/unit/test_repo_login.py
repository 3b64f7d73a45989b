"""Which registries receive `REPO_USER` and `REPO_PASS`, and what people are told about the others."""

import pytest

from watchtower_async.credentials.config_file import parse_auth_variable, parse_config_file
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import (
    Answer,
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperReply,
    Lookup,
    Unusable,
    settle,
)
from watchtower_async.credentials.repo_login import RepoLogin, read_repo_login
from watchtower_async.images.reference import parse_reference

LOGIN = Credential("me", "hunter2-marker", source="REPO_USER and REPO_PASS")
EMPTY = b"{}"


def answer(
    image: str, *registries: str, config: bytes = EMPTY, reply: HelperReply | None = None, variable: str = ""
) -> Answer | Unusable:
    """Return what is sent for an image when the login is set."""
    login = RepoLogin(LOGIN, registries)
    lookup = Lookup(parse_config_file(config), variable=parse_auth_variable(variable), login=login)
    return settle(lookup.sources_for(parse_reference(image)), reply)


@pytest.mark.parametrize("image", ["redis", "docker.io/vendor/app", "index.docker.io/library/redis"])
def test_docker_hub_receives_it_by_default(image: str) -> None:
    """That is what most people set it for."""
    assert Answer(LOGIN) == answer(image)


@pytest.mark.parametrize(
    "image", ["ghcr.io/a/b", "evil.example/docker.io/b", "registry.docker.io/a", "localhost:5000/a", "hub.docker.com/a"]
)
def test_no_other_registry_receives_it_by_default(image: str) -> None:
    """Whoever may start a container here chooses the registry."""
    found = answer(image)
    assert isinstance(found, Answer)
    assert isinstance(found.credential, Anonymous)


@pytest.mark.parametrize(
    ("image", "receives"),
    [
        ("ghcr.io/a/b", True), ("GHCR.IO/a/b", True), ("quay.io:8443/a", True), ("redis", True),
        ("quay.io/a", False), ("ghcr.io:443/a", False), ("x.ghcr.io/a", False), ("ghcr.io.evil.example/a", False),
    ],
)  # fmt: skip
def test_listed_registries_receive_it_too(image: str, receives: bool) -> None:
    """Hosts are compared as a whole, port included, in any case."""
    found = answer(image, "ghcr.io", "quay.io:8443")
    assert receives == (found == Answer(LOGIN))


@pytest.mark.parametrize("everything", ["all", "ALL"])
def test_all_restores_the_reach_of_watchtower(everything: str) -> None:
    """For those who trust whoever starts containers."""
    assert Answer(LOGIN) == answer("anything.example/a", everything)


def test_reason_names_the_line_to_add() -> None:
    """The whole line, with what is listed already."""
    found = answer("quay.io/a/b", "ghcr.io")
    assert isinstance(found, Answer)
    assert found.credential == Anonymous(
        "no entry; REPO_USER and REPO_PASS go to Docker Hub, ghcr.io only: "
        "WATCHTOWER_REPO_REGISTRIES=ghcr.io,quay.io adds quay.io"
    )


def test_reason_says_where_it_went_at_docker_hub() -> None:
    """A rejected login must be found."""
    found = answer("redis")
    assert isinstance(found, Answer)
    assert isinstance(found.credential, Credential)
    assert found.credential.source == "REPO_USER and REPO_PASS"


def test_configuration_wins() -> None:
    """Entries and helpers are more exact than one login for everything."""
    filled = b'{"auths": {"docker.io": {"username": "file", "password": "pw"}}, "credHelpers": {"ghcr.io": "box"}}'
    found = answer("redis", config=filled)
    assert isinstance(found, Answer)
    assert isinstance(found.credential, Credential)
    assert found.credential.username == "file"
    helper = Credential("helper", "pw")
    assert Answer(helper) == answer("ghcr.io/a", "all", config=filled, reply=HelperFound(helper))


def test_login_serves_where_the_configuration_has_nothing() -> None:
    """An empty entry and a helper without the credential are nothing; a helper that failed is told."""
    marked = b'{"auths": {"docker.io": {}}, "credsStore": "box"}'
    assert Answer(LOGIN) == answer("redis", config=marked, reply=HelperNotFound())
    assert Answer(LOGIN, "locked") == answer("redis", config=marked, reply=HelperFailed("locked"))
    assert Unusable("locked") == answer("ghcr.io/a", config=marked, reply=HelperFailed("locked"))


def test_broken_entry_is_an_error_all_the_same() -> None:
    """Something is configured, and to send another login would hide that it is broken."""
    assert isinstance(answer("redis", config=b'{"auths": {"docker.io": {"auth": "%"}}}'), Unusable)


def test_empty_entry_of_the_variable_ends_the_search() -> None:
    """What DOCKER_AUTH_CONFIG says is final."""
    found = answer("redis", variable='{"auths": {"https://index.docker.io/v1/": {}}}')
    assert isinstance(found, Answer)
    assert isinstance(found.credential, Anonymous)


def test_both_halves_make_a_login() -> None:
    """One alone has no effect, and that is told."""
    assert read_repo_login("me", "hunter2-marker", ("ghcr.io",)) == (RepoLogin(LOGIN, ("ghcr.io",)), None)
    assert read_repo_login("", "", ()) == (None, None)
    assert read_repo_login("me", "", ()) == (None, "REPO_USER has no effect without REPO_PASS")
    assert read_repo_login("", "hunter2-marker", ()) == (None, "REPO_PASS has no effect without REPO_USER")
    _, problem = read_repo_login("", "", ("ghcr.io",))
    assert problem == "WATCHTOWER_REPO_REGISTRIES has no effect without REPO_USER and REPO_PASS"


def test_reach_is_told_without_the_login() -> None:
    """It is logged at the start."""
    assert RepoLogin(LOGIN).reach == "Docker Hub"
    assert RepoLogin(LOGIN, ("ghcr.io", "quay.io")).reach == "Docker Hub, ghcr.io, quay.io"
    assert RepoLogin(LOGIN, ("ghcr.io", "all")).reach == "all registries"
    assert "hunter2" not in repr(RepoLogin(LOGIN))
