"""Credentials as values."""

import base64
import copy
import json
import pickle
import traceback

import pytest

from watchtower_async.credentials.credential import Anonymous, Credential, registry_auth_header

SECRET = "hunter2-marker"
GHCR = 'config.json entry "ghcr.io"'


def decoded(header: str) -> object:
    """Read the header as the engine does."""
    assert len(header) % 4 == 0
    return json.loads(base64.b64decode(header, altchars=b"-_", validate=True))


def a_full_credential() -> Credential:
    return Credential("user-" + SECRET, SECRET, f"id-{SECRET}", f"reg-{SECRET}", source=GHCR)


def test_repr_shows_the_source_and_no_secret() -> None:
    """A log line may hold a credential."""
    shown = repr(a_full_credential())
    assert SECRET not in shown
    assert "ghcr.io" in shown


def test_error_about_a_credential_shows_no_secret() -> None:
    """The text that Python makes of an error with a credential in it is clean, too."""
    error = ValueError(a_full_credential())
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    """A credential reaches no cache file and no other process by accident."""
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(a_full_credential(), protocol)
    with pytest.raises(TypeError, match="not serialised"):
        copy.copy(a_full_credential())


def test_fingerprint_is_stable_and_hides_the_secret() -> None:
    """The same credential has the same fingerprint wherever it was found."""
    credential = Credential("user", SECRET, source="one")
    assert credential.fingerprint() == Credential("user", SECRET, source="another").fingerprint()
    assert SECRET not in credential.fingerprint()


def test_fingerprints_of_different_credentials_differ() -> None:
    """No two ways to divide the same letters meet."""
    credentials = [
        Credential("ab", "c"),
        Credential("a", "bc"),
        Credential("", "abc"),
        Credential("", "", "abc"),
        Credential("", "", "", "abc"),
    ]
    prints = {credential.fingerprint() for credential in credentials}
    assert len(credentials) == len(prints)
    assert Anonymous().fingerprint() not in prints


def test_basic_header_is_utf8() -> None:
    """RFC 7617 section 2.1 with UTF-8, colons of the password included."""
    assert Credential("test", "123£").basic_header() == "Basic dGVzdDoxMjPCow=="
    assert "Basic " + base64.b64encode(b"u:a:b").decode() == Credential("u", "a:b").basic_header()


def test_registry_auth_is_url_safe_padded_and_names_the_server() -> None:
    """The engine ignores what it cannot decode, so the form matters."""
    header = registry_auth_header(Credential("user", "þþ>>??~~~"), "ghcr.io")
    assert not set(header) & set("+/")
    assert decoded(header) == {"username": "user", "password": "þþ>>??~~~", "serveraddress": "ghcr.io"}


def test_registry_auth_with_an_identity_token_has_no_password() -> None:
    """The engine takes an identity token only without a password."""
    header = registry_auth_header(Credential("user", "pw", "refresh"), "acr.example")
    assert decoded(header) == {"username": "user", "identitytoken": "refresh", "serveraddress": "acr.example"}


def test_registry_auth_of_nobody_is_an_empty_object() -> None:
    """Without a credential nothing is sent, not even the server."""
    assert decoded(registry_auth_header(Anonymous(), "ghcr.io")) == {}
