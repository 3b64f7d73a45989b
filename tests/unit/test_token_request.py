"""Requests to token services and their replies, as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yarl

from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import CredentialError
from watchtower_async.registry.token_request import (
    TokenService,
    basic_header,
    bearer_header,
    post_request,
    read_token_reply,
    token_url,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def a_service(realm: str = "https://auth.example/token", service: str = "registry.example") -> TokenService:
    """Return a token service."""
    return TokenService("https://registry.example", "registry.example", yarl.URL(realm, encoded=True), service)


@pytest.mark.parametrize(
    ("realm", "url"),
    [
        ("https://a.example/token", "https://a.example/token?service=registry.example&scope=repository:a/b:pull"),
        ("https://a.example/token/", "https://a.example/token/?service=registry.example&scope=repository:a/b:pull"),
        ("https://a.example/t?x=%2F", "https://a.example/t?x=%2F&service=registry.example&scope=repository:a/b:pull"),
        ("https://a.example/t?x=1&", "https://a.example/t?x=1&service=registry.example&scope=repository:a/b:pull"),
    ],
)
def test_realm_is_extended_and_never_changed(realm: str, url: str) -> None:
    """Its query is kept and its final slash, and as little as possible is encoded."""
    assert str(token_url(a_service(realm), ("repository:a/b:pull",))) == url


def test_each_scope_is_a_parameter_in_the_given_order() -> None:
    """A few services honour only the first."""
    query = token_url(a_service(service=""), ("aws", "repository:a/b:pull")).raw_query_string
    assert query == "scope=aws&scope=repository:a/b:pull"


def test_characters_with_a_meaning_are_encoded() -> None:
    """A service name with an ampersand is one value."""
    query = token_url(a_service(service="Token Service & Co"), ("x",)).raw_query_string
    assert query == "service=Token%20Service%20%26%20Co&scope=x"


def test_post_has_all_scopes_in_one_parameter_and_no_authorization() -> None:
    """RFC 6749 section 6; `service` is there even when it is empty."""
    request = post_request(a_service(service=""), ("aws", "repository:a/b:pull"), "se&cret")
    assert request.authorization is None
    expected = (
        b"grant_type=refresh_token&refresh_token=se%26cret&service=&client_id=watchtower_async"
        b"&scope=aws+repository%3Aa%2Fb%3Apull"
    )
    assert request.form == expected
    assert "cret" not in repr(request)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"token": "a"}, ("a", 60)),
        ({"access_token": "b", "token": "a", "expires_in": 300}, ("b", 300)),
        ({"access_token": "", "token": "a"}, ("a", 60)),
        ({"token": "a", "expires_in": "NaN"}, ("a", 60)),
        ({"token": "a", "expires_in": [300]}, ("a", 60)),
        ({"token": "a", "expires_in": 300, "issued_at": "2026-03-01T11:59:00Z"}, ("a", 240)),
        ({"token": "a", "expires_in": 300, "issued_at": "2026-03-01T11:59:00.123456789Z"}, ("a", 240.123456)),
        ({"token": "a", "expires_in": 300, "issued_at": "2026-03-01T11:57:00Z"}, ("a", 300)),
        ({"token": "a", "expires_in": 300, "issued_at": "2026-03-01T12:10:00Z"}, ("a", 300)),
        ({"token": "a", "expires_in": 300, "issued_at": "yesterday"}, ("a", 300)),
        ({"token": "a", "expires_in": 300, "issued_at": 7}, ("a", 300)),
    ],
)
def test_reply_is_read(document: dict[str, object], expected: tuple[str, float]) -> None:
    """Either name of the token, 60 s where nothing is said, and a date only where it is plausible."""
    token, life = read_token_reply(json.dumps(document).encode(), NOON)
    assert token == expected[0]
    assert life == pytest.approx(expected[1])


def test_date_without_zone_is_utc() -> None:
    """A date that cannot be compared would be an error of ours."""
    issued = (NOON - timedelta(seconds=10)).replace(tzinfo=None).isoformat()
    document = {"token": "a", "expires_in": 100, "issued_at": issued}
    assert read_token_reply(json.dumps(document).encode(), NOON) == ("a", 90)


def test_basic_header_refuses_a_user_name_with_a_colon() -> None:
    """RFC 7617 has no way to send one."""
    with pytest.raises(CredentialError, match=r"config\.json .* colon") as caught:
        basic_header(Credential("us:er", "secret", source="config.json"))
    assert "secret" not in str(caught.value)


def test_basic_header_takes_a_password_of_many_lines() -> None:
    """The key of a Google service account is a JSON document."""
    assert basic_header(Credential("_json_key", '{\n"a": 1}\n')).startswith("Basic ")


@pytest.mark.parametrize("token", ["a\nb", "a b", "a\x7f", "ä", "a\tb"])
def test_registry_token_with_other_characters_is_refused(token: str) -> None:
    """It is sent raw, so it must not end the field."""
    with pytest.raises(CredentialError, match="characters") as caught:
        bearer_header(Credential(registry_token=token, source="config.json"))
    assert token not in str(caught.value)
