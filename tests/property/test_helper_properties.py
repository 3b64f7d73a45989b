"""Whatever a credential helper writes, it is read without an exception and shown to nobody."""

import json
import string

from hypothesis import example, given
from hypothesis import strategies as st

from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.helper_protocol import helper_environment, last_words, read_reply
from watchtower_async.credentials.lookup import HelperFailed, HelperFound, HelperNotFound, HelperQuestion

QUESTION = HelperQuestion("box", "ghcr.io")
MARKER = "hunter2marker"

statuses = st.integers(min_value=-70, max_value=255)
noise = st.binary(max_size=60)
names = st.sampled_from(["Username", "Secret", "username", "SECRET", "ServerURL", "UserName"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(MARKER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | names, inner, max_size=4),
    max_leaves=8,
)
words = st.text(string.ascii_letters + string.digits, min_size=8, max_size=18)


@st.composite
def outputs(draw: st.DrawFn) -> bytes:
    """Noise, JSON, or JSON in noise, with the marker in it."""
    return draw(
        st.one_of(
            st.binary(max_size=200),
            st.tuples(noise, noise).map(MARKER.encode().join),
            st.dictionaries(names, json_values, max_size=4).map(lambda value: json.dumps(value).encode()),
            st.tuples(noise, json_values, noise).map(lambda parts: parts[0] + json.dumps(parts[1]).encode() + parts[2]),
        )
    )


@given(status=statuses, output=outputs())
@example(status=0, output=b"[" * 50_000)
@example(status=0, output=b'{"Secret": ' + b"9" * 10_000 + b"}")
@example(status=0, output=b'{"Username": "a", "Secret": "\\ud800"}')
@example(status=-1, output=b"\xff\xfe")
def test_any_output_is_read_and_none_is_shown(status: int, output: bytes) -> None:
    """A reply, always; what is not a credential is in no text, and a credential is in no `repr`."""
    reply = read_reply(QUESTION, status, output)
    assert isinstance(reply, HelperFound | HelperNotFound | HelperFailed)
    assert MARKER not in repr(reply)
    if isinstance(reply, HelperFound):
        assert status == 0
        credential = reply.credential
        assert len(credential.fingerprint()) == 64
        assert credential.source == "docker-credential-box"
        credential.basic_header()


@given(username=st.text(max_size=20), secret=st.text(min_size=1, max_size=200), rest=st.binary(max_size=20))
def test_answer_comes_out_as_it_went_in(username: str, secret: str, rest: bytes) -> None:
    """In whatever way its characters are written, and whatever follows."""
    for ascii_only in (True, False):
        text = json.dumps({"Username": username, "Secret": secret}, ensure_ascii=ascii_only)
        reply = read_reply(QUESTION, 0, text.encode() + rest)
        if ":" in username:
            assert isinstance(reply, HelperFailed)
        else:
            assert reply == HelperFound(Credential(username, secret, source="docker-credential-box"))


@given(secret=words, before=st.text(max_size=60), after=st.text(max_size=60), joint=st.sampled_from(" '\"=:/,@-!"))
def test_answered_secret_is_never_among_the_last_words(secret: str, before: str, after: str, joint: str) -> None:
    """However the line around it looks."""
    output = json.dumps({"Username": "me", "Secret": secret}).encode()
    shown = last_words(f"{before}{joint}{secret}{joint}{after}".encode("utf-8", "replace"), output)
    assert secret not in shown
    assert shown.isprintable()
    assert len(shown) <= 200


@given(errors=st.binary(max_size=400), output=st.binary(max_size=100))
def test_any_noise_has_last_words(errors: bytes, output: bytes) -> None:
    """One printable line, whatever the bytes."""
    shown = last_words(errors, output)
    assert shown.isprintable()
    assert len(shown) <= 200


@given(
    environ=st.dictionaries(st.text(max_size=12) | st.text(max_size=8).map("WATCHTOWER_".__add__), st.text(max_size=5))
)
def test_environment_differs_only_in_our_variables(environ: dict[str, str]) -> None:
    """Everything else is passed on unchanged."""
    passed = helper_environment({**environ, "REPO_PASS": MARKER})
    assert MARKER not in passed.values()
    assert passed.items() <= environ.items()
    assert all(name.startswith("WATCHTOWER_") for name in environ.keys() - passed.keys() - {"REPO_PASS", "REPO_USER"})
