"""`WWW-Authenticate`, as the RFC has it and as servers write it."""

from __future__ import annotations

from typing import Any

import pytest

from watchtower_async.registry.challenge import Challenge, choose_challenge, parse_challenges

DOCKER_HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/redis:pull,push"'
)


def read(*fields: str) -> list[tuple[Any, ...]]:
    """Return scheme, parameters and, where there is one, the token68 of each challenge."""
    found = parse_challenges(fields)
    return [(item.scheme, dict(item.parameters), *([] if item.token68 is None else [item.token68])) for item in found]


def test_docker_hub_challenge_is_read_with_the_comma_in_its_scope() -> None:
    """A comma in quotes separates nothing."""
    (challenge,) = parse_challenges([DOCKER_HUB])
    assert challenge.scheme == "bearer"
    assert challenge.realm == "https://auth.docker.io/token"
    assert challenge.service == "registry.docker.io"
    assert challenge.scope == "repository:library/redis:pull,push"
    assert challenge.error == ""


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        # names without case, values with it
        ('BEARER Realm="https://A"', [("bearer", {"realm": "https://A"})]),
        # white space around everything
        (' \t Bearer  realm = "a" ,\tservice\t=\t"b" ', [("bearer", {"realm": "a", "service": "b"})]),
        # empty list elements
        (',,Bearer realm="a",, ,service="b",', [("bearer", {"realm": "a", "service": "b"})]),
        # escapes, and what is not ASCII
        (r'Basic realm="say \"hi\" to C:\\x"', [("basic", {"realm": r'say "hi" to C:\x'})]),
        ('Basic realm="Büro"', [("basic", {"realm": "Büro"})]),
        # values that should have quotes
        ("Bearer realm=https://a/token?x=1,service=b", [("bearer", {"realm": "https://a/token?x=1", "service": "b"})]),
        ("Bearer realm=a,scope=repository:x:pull,push", [("bearer", {"realm": "a", "scope": "repository:x:pull"}),
                                                         ("push", {})]),
        # empty values
        ('Bearer realm="a",service=""', [("bearer", {"realm": "a", "service": ""})]),
        ('Bearer realm="a",service=,scope="b"', [("bearer", {"realm": "a", "scope": "b"})]),
        ("Bearer service=", [("bearer", {})]),
        # the last of two wins
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "b"})]),
        # several challenges in one field
        ('Basic realm="a", Bearer realm="b",service="c"', [("basic", {"realm": "a"}),
                                                           ("bearer", {"realm": "b", "service": "c"})]),
        ('Negotiate, Basic realm="r"', [("negotiate", {}), ("basic", {"realm": "r"})]),
        ("Basic", [("basic", {})]),
        # token68
        ("Negotiate YII=", [("negotiate", {}, "YII=")]),
        ('Negotiate YII==, Basic realm="r"', [("negotiate", {}, "YII=="), ("basic", {"realm": "r"})]),
        # broken ends: what came before counts
        ('Bearer realm="a",service="b', [("bearer", {"realm": "a"})]),
        ('Bearer realm="a"x,service="b"', [("bearer", {"realm": "a"})]),
        ('Bearer realm="a" service="b"', [("bearer", {"realm": "a"})]),
        # nothing usable
        ('realm="a"', []),
        ("", []),
        ("  , ", []),
        ('"Bearer" realm="a"', []),
        ("=", []),
        ("Bea(rer realm=1", []),
    ],
)  # fmt: skip
def test_field_is_read_as_far_as_it_can_be(field: str, expected: list[tuple[Any, ...]]) -> None:
    """Tolerant where real servers deviate, and the rest of a field ends where it cannot be read."""
    assert read(field) == expected


def test_broken_field_ends_only_itself() -> None:
    """The next field is read as if nothing had happened."""
    assert read('Bearer realm="a', "Basic") == [("bearer", {}), ("basic", {})]


def test_fields_are_read_in_order() -> None:
    """Some servers send one field per challenge."""
    assert [scheme for scheme, *_ in read("Negotiate", "Basic", 'Bearer realm="a"')] == ["negotiate", "basic", "bearer"]


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        (["Basic", 'Bearer realm="a"'], "bearer"),
        (['Bearer realm="a"', "Basic"], "bearer"),
        (["Basic", "Bearer"], "basic"),
        (['Bearer realm=""', 'Basic realm="b"'], "basic"),
        (["Bearer"], None),
        (["Negotiate", "Digest realm=x"], None),
        ([], None),
    ],
)
def test_bearer_with_a_realm_goes_before_basic(fields: list[str], chosen: str | None) -> None:
    """A bearer challenge without a realm leads nowhere."""
    challenge = choose_challenge(parse_challenges(fields))
    assert (challenge.scheme if challenge else None) == chosen


def test_first_of_two_bearer_challenges_is_answered() -> None:
    """The server's order is its preference."""
    assert choose_challenge(parse_challenges(['Bearer realm="a"', 'Bearer realm="b"'])) == Challenge(
        "bearer", {"realm": "a"}
    )


def test_long_field_is_read_in_linear_time() -> None:
    """A hostile server gets no quadratic answer for its header."""
    assert read('Bearer realm="' + "\\" * 200_001) == [("bearer", {})]
    assert read("," * 200_000) == []
    assert len(read("Bearer " + 'a="b",' * 30_000)) == 1
