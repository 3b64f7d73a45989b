"""Whatever is in `config.json`: only our own errors, no lost snapshot, no secret where people look."""

import base64
import json
import random
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchtower_async.credentials.config_file import (
    BrokenEntry,
    ConfigFile,
    changes_between,
    parse_auth_variable,
    parse_config_file,
    parse_old_config_file,
)
from watchtower_async.credentials.credential import Credential, registry_auth_header
from watchtower_async.credentials.file_reader import FileContent, Reading
from watchtower_async.credentials.lookup import Lookup
from watchtower_async.credentials.store import CredentialStore
from watchtower_async.errors import CredentialError, CredentialFileInvalidError
from watchtower_async.images.reference import parse_reference

SECRET = "hunter2-marker"
GOOD = b'{"auths": {"ghcr.io": {"username": "good", "password": "pw"}}}'
IMAGE = parse_reference("ghcr.io/team/app")

KEYS = [
    "ghcr.io", "https://ghcr.io", "http://ghcr.io/v1/", "ghcr.io/v2/", "GHCR.io", "ghcr.io/team", "ghcr.io/team/app",
    "https://index.docker.io/v1/", "docker.io", "index.docker.io/library", "https://index.docker.io/v1/refresh-token",
    "https://user@ghcr.io", "", "://", "[::1]:5000", "*",
]  # fmt: skip
IMAGES = [parse_reference(text) for text in ("ghcr.io/team/app", "GHCR.io/other", "redis", "[::1]:5000/a", "x.io/a")]

keys = st.sampled_from(KEYS) | st.text(max_size=12)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
pairs = st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode()) | st.just("dTpw") | st.text(max_size=6)
names = ["auth", "AUTH", "username", "password", "identitytoken", "registrytoken", "email"]
entries = st.dictionaries(st.sampled_from(names), pairs | anything, max_size=4) | anything
documents = st.fixed_dictionaries(
    {},
    optional={
        "auths": st.dictionaries(keys, entries, max_size=6) | anything,
        "credHelpers": st.dictionaries(keys, st.sampled_from(["", "pass", "../x"]) | anything, max_size=3) | anything,
        "credsStore": st.sampled_from(["", "pass", "a/b"]) | anything,
        "Auths": anything,
    },
)
texts = documents.map(json.dumps)
damaged = st.builds(
    lambda text, cut, junk: text.encode()[:cut] + junk, texts, st.integers(0, 200), st.binary(max_size=4)
)
contents = st.binary(max_size=60) | damaged | texts.map(str.encode) | st.sampled_from([b"{" * 5000, b"[" * 5000])


def try_parse(data: bytes) -> ConfigFile | None:
    try:
        return parse_config_file(data)
    except CredentialFileInvalidError:
        return None


@given(contents)
def test_any_bytes_are_a_configuration_or_our_error(data: bytes) -> None:
    """Nothing else is raised, neither by reading nor by asking nor by sending what was found."""
    config = try_parse(data)
    if config is None:
        return
    lookup = Lookup(config)
    for image in IMAGES:
        found = lookup.sources_for(image).stored
        if isinstance(found, Credential):
            assert registry_auth_header(found, image.credential_key)
            assert found.basic_header()
            assert found.fingerprint()


@given(contents)
def test_old_file_and_variable_raise_our_error_only(data: bytes) -> None:
    """The two other forms."""
    for parse in (parse_old_config_file, lambda raw: parse_auth_variable(raw.decode("utf-8", "surrogateescape"))):
        try:
            parse(data)
        except CredentialFileInvalidError as error:
            assert error.__context__ is None  # noqa: PT017 - that it is raised is not demanded


@given(st.lists(contents, max_size=5))
@settings(max_examples=40, deadline=None)
async def test_no_content_loses_the_last_good_snapshot(versions: list[bytes]) -> None:
    """After any history the snapshot is what the last good version says."""
    history = [GOOD, *versions]
    path = Path("/config/config.json")
    current: list[bytes] = []

    def read(_directory: Path) -> Reading:
        return FileContent(path, current[0])

    store = CredentialStore(directory=path.parent, read=read, grace=0.0)
    good: ConfigFile | None = None
    for version in history:
        current[:] = [version]
        problem = await store.reload()
        parsed = try_parse(version)
        good = parsed if parsed is not None else good
        assert (problem is None) is (parsed is not None)
        assert store.snapshot is not None
        assert store.snapshot.config == good
        try:
            await store.credential_for(IMAGE)
        except CredentialError as error:
            assert str(error)  # noqa: PT017 - that it is raised is not demanded


@given(documents, st.randoms(use_true_random=False))
def test_look_up_does_not_depend_on_the_order_of_the_file(document: dict[str, Any], order: random.Random) -> None:
    """The same configuration gives the same answers, in whatever order it is written."""

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        items = list(value.items())
        order.shuffle(items)
        return dict(items)

    document.pop("Auths", None)
    other = {name: shuffled(value) for name, value in shuffled(document).items()}
    first, second = try_parse(json.dumps(document).encode()), try_parse(json.dumps(other).encode())
    assert (first is None) is (second is None)
    if first is None or second is None:
        return
    assert not changes_between(first, second)
    one, two = Lookup(first), Lookup(second)
    for image in IMAGES:
        assert one.sources_for(image) == two.sources_for(image)
        assert one.sources_for(image) == one.sources_for(image)


secrets_in = st.sampled_from(["auth", "password", "identitytoken", "registrytoken", "raw auth", "list", "object"])


def entry_with_secret(where: str) -> Any:
    """An entry, good or broken, with the secret somewhere in it."""
    if where == "auth":
        return {"auth": base64.b64encode(f"u:{SECRET}".encode()).decode()}
    if where == "raw auth":
        return {"auth": SECRET}
    if where == "list":
        return [SECRET]
    if where == "object":
        return {"auth": {SECRET: SECRET}}
    return {"username": "u", where: SECRET}


@given(st.dictionaries(st.sampled_from(KEYS), secrets_in, min_size=1, max_size=6), st.integers(0, 400), st.booleans())
def test_no_repr_and_no_error_holds_a_secret(places: dict[str, str], cut: int, is_cut: bool) -> None:
    """Whole or cut anywhere, in the file or in the variable."""
    whole = json.dumps({"auths": {key: entry_with_secret(where) for key, where in places.items()}}).encode()
    marks = (SECRET, base64.b64encode(f"u:{SECRET}".encode()).decode())
    shown: list[str] = []
    for parse in (parse_config_file, lambda raw: parse_auth_variable(raw.decode())):
        try:
            parsed = parse(whole[:cut] if is_cut else whole)
        except CredentialFileInvalidError as error:
            shown.append("".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__))
            continue
        shown.append(repr(parsed))
        if isinstance(parsed, ConfigFile):
            shown += [repr(dict(parsed.auths)), repr(parsed.problems), repr(changes_between(ConfigFile(), parsed))]
            lookup = Lookup(parsed)
            shown += [repr(lookup), *(repr(lookup.sources_for(image)) for image in IMAGES)]
    for mark in marks:
        assert not any(mark in text for text in shown)


@given(st.text(max_size=20).filter(lambda text: ":" not in text and text), st.text(max_size=20))
def test_auth_round_trips(username: str, password: str) -> None:
    """What a login writes comes back, but for NULs around the password."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    entry = parse_config_file(json.dumps({"auths": {"r.example": {"auth": auth}}}).encode()).auths["r.example"]
    assert isinstance(entry, Credential)
    assert (entry.username, entry.password) == (username, password.strip("\0"))


@pytest.mark.parametrize("padding", ["", "=", "==", "==="])
def test_broken_entries_are_never_credentials(padding: str) -> None:
    """Too much padding is an error, less is tolerated."""
    entry = parse_config_file(b'{"auths": {"r.example": {"auth": "dTpwdw%s"}}}' % padding.encode()).auths["r.example"]
    assert isinstance(entry, BrokenEntry) is (padding == "===")
