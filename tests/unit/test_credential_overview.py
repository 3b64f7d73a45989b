"""Which row says what about which registry."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from watchtower_async.credentials.config_file import ConfigFile, parse_auth_variable, parse_config_file
from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
    Lookup,
    place_of,
)
from watchtower_async.credentials.overview import (
    Kind,
    Row,
    Use,
    idle_keys,
    questions_of,
    rows_of,
    unreadable_rows,
)
from watchtower_async.credentials.repo_login import RepoLogin
from watchtower_async.images.reference import parse_reference

HUB = "https://index.docker.io/v1/"
SECRET = "hunter2-marker"
LOGIN = {"username": "me", "password": SECRET}


def a_config(auths: Mapping[str, object], **more: object) -> ConfigFile:
    """Return a configuration."""
    return parse_config_file(json.dumps({"auths": auths, **more}).encode())


def uses(**images: str) -> list[Use]:
    """Return containers with their images."""
    return [Use(name, parse_reference(image)) for name, image in images.items()]


def rows(
    config: ConfigFile, used: list[Use] | None = None, *, reply: HelperReply | None = None, **sources: object
) -> tuple[Row, ...]:
    """Return all rows; every helper gives the same reply."""
    lookup = Lookup(config, **sources)  # type: ignore[arg-type]
    asked = questions_of(lookup, [*(use.reference for use in used or []), *lookup.places])
    replies = {question: reply or HelperNotFound() for question in asked}
    return rows_of(lookup, used or [], replies, places=lookup.places)


def test_row_names_containers_source_and_user_and_nothing_of_the_secret() -> None:
    """That is what a person needs to see which login answers."""
    (row,) = rows(a_config({"ghcr.io": LOGIN}), uses(web="ghcr.io/a/b:1", db="ghcr.io/a/c:2", api="ghcr.io/a/b:1"))
    assert (row.registry, row.containers) == ("ghcr.io", ("api", "db", "web"))
    assert [reference.familiar for reference in row.references] == ["ghcr.io/a/b:1", "ghcr.io/a/c:2"]
    assert row.source == 'config.json entry "ghcr.io"'
    assert (row.username, row.kind, row.problem) == ("me", Kind.PASSWORD, None)
    assert SECRET not in repr(row)


def test_docker_hub_is_called_docker_io_whatever_its_key_is() -> None:
    """People know it by the name that images have."""
    for key in (HUB, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"):
        (row,) = rows(a_config({key: LOGIN}), uses(web="redis:7"))
        assert (row.registry, row.containers) == ("docker.io", ("web",))


def test_name_space_key_has_a_row_of_its_own() -> None:
    """Two logins of one registry may differ in what they are good for."""
    config = a_config({"quay.io": LOGIN, "quay.io/team": {"username": "robot", "password": SECRET}})
    used = uses(web="quay.io/team/app:1", db="quay.io/other/app:1")
    found = {row.source: row.containers for row in rows(config, used)}
    assert found == {'config.json entry "quay.io"': ("db",), 'config.json entry "quay.io/team"': ("web",)}


def test_helper_that_answers_for_the_registry_answers_for_its_name_spaces() -> None:
    """Then no key of the file is used, and there is one row."""
    config = a_config({"quay.io/team": LOGIN}, credHelpers={"quay.io": "box"})
    credential = Credential("robot", SECRET, source="docker-credential-box")
    (row,) = rows(config, uses(web="quay.io/team/app:1"), reply=HelperFound(credential))
    assert (row.source, row.username) == ("docker-credential-box", "robot")
    assert row.helper == HelperQuestion("box", "quay.io")


def test_what_is_configured_and_not_in_use_has_a_row_without_containers() -> None:
    """File, helpers, environment: each kind of source."""
    config = a_config({"ghcr.io": LOGIN, "https://quay.io/v2/": LOGIN}, credHelpers={"ecr.example": "ecr-login"})
    found = rows(
        config,
        uses(web="ghcr.io/a/b"),
        variable=parse_auth_variable('{"auths": {"gitlab.example": {"auth": "YTpi"}}}'),
        login=RepoLogin(Credential("hub", SECRET, source="REPO_USER and REPO_PASS"), ("nas.example:5000", "all")),
    )
    assert {row.registry: (row.source, row.containers) for row in found} == {
        "docker.io": ("REPO_USER and REPO_PASS", ()),
        "ecr.example": ("REPO_USER and REPO_PASS", ()),  # `all`, and its helper has none
        "ghcr.io": ('config.json entry "ghcr.io"', ("web",)),
        "gitlab.example": ('DOCKER_AUTH_CONFIG entry "gitlab.example"', ()),
        "nas.example:5000": ("REPO_USER and REPO_PASS", ()),
        "quay.io": ('config.json entry "https://quay.io/v2/"', ()),
    }


def test_registry_without_an_entry_says_so() -> None:
    """And names the line that would give it the login of the environment."""
    (row,) = rows(a_config({}), uses(web="ghcr.io/a/b"))
    assert (row.source, row.kind, row.username, row.is_usable) == ("no entry", Kind.NONE, "", True)
    login = RepoLogin(Credential("hub", SECRET, source="REPO_USER and REPO_PASS"))
    hinted = next(row for row in rows(a_config({}), uses(web="ghcr.io/a/b"), login=login) if row.containers)
    assert "WATCHTOWER_REPO_REGISTRIES=ghcr.io" in hinted.source


def test_helper_that_has_nothing_is_named() -> None:
    """Some helpers say so for every fault, so it must be seen that one was asked."""
    (row,) = rows(a_config({}, credHelpers={"ecr.example": "ecr-login"}))
    assert row.source == "no entry, and docker-credential-ecr-login has none"


def test_empty_entry_is_shown_and_an_entry_for_nothing_is_not() -> None:
    """A login that went into another machine's store leaves the first."""
    found = rows(a_config({"ghcr.io": {}}, credHelpers={"quay.io": ""}))
    assert [(row.registry, row.source) for row in found] == [("ghcr.io", 'empty config.json entry "ghcr.io"')]


def test_entry_that_cannot_be_used_is_a_problem_of_its_row_only() -> None:
    """With the reason and what to do."""
    broken, good = rows(a_config({"ghcr.io": {"auth": "!"}, "quay.io": LOGIN}), uses(web="ghcr.io/a/b"))
    assert (broken.is_usable, broken.kind, broken.containers) == (False, Kind.NONE, ("web",))
    assert "is not base64; log in to this registry again" in str(broken.problem)
    assert good.is_usable


def test_helper_that_fails_is_a_problem_where_only_it_could_answer() -> None:
    """Nobody is asked without the login instead."""
    config = a_config({"ghcr.io": {}}, credsStore="desktop")
    (row,) = rows(config, reply=HelperFailed("docker-credential-desktop does not exist here"))
    assert (row.is_usable, row.source) == (False, "docker-credential-desktop")
    assert row.problem == "docker-credential-desktop does not exist here"


def test_helper_that_fails_beside_an_entry_is_told_and_the_entry_is_used() -> None:
    """As the scan does it."""
    (row,) = rows(a_config({"ghcr.io": LOGIN}, credsStore="box"), reply=HelperFailed("box fails"))
    assert (row.is_usable, row.source, row.helper) == (True, 'config.json entry "ghcr.io"', None)
    assert row.problem == "box fails; meanwhile another credential is used"


def test_helper_that_must_not_be_run_does_not_put_its_name_into_the_table() -> None:
    """It may be anything."""
    (row,) = rows(a_config({}, credHelpers={"ghcr.io": "../../x"}), reply=HelperFailed("may hold letters only"))
    assert (row.is_usable, row.source) == (False, "a credential helper")


@pytest.mark.parametrize(
    ("entry", "kind", "username"),
    [
        ({"username": "me", "password": SECRET}, Kind.PASSWORD, "me"),
        ({"auth": "bWU6"}, Kind.PASSWORD, "***"),
        ({"username": SECRET, "password": ""}, Kind.PASSWORD, "***"),
        ({"identitytoken": SECRET}, Kind.IDENTITY_TOKEN, ""),
        ({"username": "me", "identitytoken": SECRET}, Kind.IDENTITY_TOKEN, "me"),
        ({"username": "me", "password": "x", "registrytoken": SECRET}, Kind.REGISTRY_TOKEN, "me"),
    ],
)
def test_kind_is_what_is_sent_and_a_name_that_may_be_the_secret_is_masked(
    entry: dict[str, str], kind: Kind, username: str
) -> None:
    """Some services take a token as the user name, with no password."""
    (row,) = rows(a_config({"ghcr.io": entry}))
    assert (row.kind, row.username) == (kind, username)


def test_each_helper_question_is_asked_once() -> None:
    """However many images a registry has."""
    lookup = Lookup(a_config({}, credsStore="box"))
    asked = questions_of(lookup, [use.reference for use in uses(a="ghcr.io/a/b", b="ghcr.io/c/d", c="redis")])
    assert asked == (HelperQuestion("box", "ghcr.io"), HelperQuestion("box", HUB))


def test_broken_file_is_told_for_each_registry_in_use() -> None:
    """Nothing else is known then."""
    found = unreadable_rows(uses(web="ghcr.io/a/b", db="ghcr.io/c/d", cache="redis"), "line 1")
    assert [(row.registry, row.containers, row.problem, row.is_usable) for row in found] == [
        ("docker.io", ("cache",), "line 1", False),
        ("ghcr.io", ("db", "web"), "line 1", False),
    ]


def test_rows_are_in_the_order_of_the_registries_whatever_the_order_of_the_file() -> None:
    """Two runs can be compared."""
    config = a_config({"quay.io": LOGIN, "ghcr.io": LOGIN, "docker.io": LOGIN})
    assert [row.registry for row in rows(config)] == ["docker.io", "ghcr.io", "quay.io"]


@pytest.mark.parametrize(
    ("key", "domain", "path"),
    [
        ("ghcr.io", "ghcr.io", ""),
        ("GHCR.IO", "GHCR.IO", ""),
        ("localhost:5000", "localhost:5000", ""),
        ("[::1]:5000", "[::1]:5000", ""),
        ("https://ghcr.io/anything", "ghcr.io", ""),
        ("ghcr.io/v2/", "ghcr.io", ""),
        ("ghcr.io/team/app", "ghcr.io", "team/app"),
        (HUB, "docker.io", ""),
        ("Docker.IO", "docker.io", ""),
        ("docker.io/library", "docker.io", "library"),
        ("index.docker.io/team", "docker.io", "team"),
    ],
)
def test_stored_key_is_for_a_registry_or_a_part_of_it(key: str, domain: str, path: str) -> None:
    """By the same rules as the look-up."""
    place = place_of(key)
    assert place is not None
    assert (domain, path) == (place.domain, place.path)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "*.example.com",
        "registry",
        "ghcr.io/Team",
        "ghcr.io ",
        "a b",
        "ghcr.io:port",
        "https://",
        f"{HUB}access-token",
    ],
)
def test_key_that_no_image_name_leads_to_is_for_nothing(key: str) -> None:
    """Nobody is asked on its behalf."""
    assert place_of(key) is None


def test_keys_that_serve_nothing_are_named_without_what_a_browser_login_keeps() -> None:
    """A pattern, a name without a dot: such keys look right and never answer."""
    config = a_config({"*.example.com": LOGIN, "nas": LOGIN, f"{HUB}refresh-token": LOGIN, "ghcr.io": LOGIN})
    assert idle_keys(config) == ('"*.example.com"', '"nas"')
