"""What a credential helper's end means: by exit status and standard output, nothing else."""

import json

import pytest

from watchtower_async.credentials.credential import Credential
from watchtower_async.credentials.helper_protocol import (
    helper_environment,
    last_words,
    not_installed,
    read_reply,
)
from watchtower_async.credentials.lookup import (
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    HelperReply,
)

QUESTION = HelperQuestion("box", "ghcr.io")
NOT_FOUND = b"credentials not found in native keychain"
SECRET = "hunter2-marker"


def reply(output: bytes, status: int = 0) -> HelperReply:
    """Return what this end means."""
    return read_reply(QUESTION, status, output)


def answer(**fields: object) -> bytes:
    """The JSON of a helper."""
    return json.dumps(fields).encode()


def credential_in(output: bytes) -> Credential:
    """Return the credential that an answer gives."""
    found = reply(output)
    assert isinstance(found, HelperFound)
    return found.credential


def test_answer_gives_the_credential_and_its_source() -> None:
    """The normal case; the source names the program."""
    output = answer(ServerURL="https://ghcr.io", Username="me", Secret=SECRET)
    assert reply(output) == HelperFound(Credential("me", SECRET, source="docker-credential-box"))


def test_token_user_makes_an_identity_token() -> None:
    """There is no user name then."""
    expected = Credential(identity_token=SECRET, source="docker-credential-box")
    assert expected == credential_in(answer(Username="<token>", Secret=SECRET))


@pytest.mark.parametrize(
    "secret",
    [
        "a:b:c",
        " leading and trailing ",
        '{\n  "type": "service_account"\n}',
        "päßwörd-\u2603-\U0001f511",
        "tab\t",
        "\\",
    ],
)
def test_secret_is_kept_exactly(secret: str) -> None:
    """Nothing is trimmed or split."""
    assert secret == credential_in(answer(Username="me", Secret=secret)).password


@pytest.mark.parametrize(
    "output",
    [
        b'{"username": "me", "SECRET": "pw"}',
        b'{"Username": "me", "Secret": "pw", "More": [1, {"x": null}], "ServerURL": 5}',
        b' \r\n\t{"Username": "me", "Secret": "pw"}\ntext after it {',
        b'{"Username": "other", "Username": "me", "Secret": "pw", "Secret": null}',
        b'{"Username": "me", "Secret": "pw", "N": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_is_read_as_docker_reads_it(output: bytes) -> None:
    """Names in any case, unknown fields and what follows mean nothing, and null means absent."""
    assert Credential("me", "pw", source="docker-credential-box") == credential_in(output)


def test_half_of_a_character_is_replaced() -> None:
    """It could not be sent; Docker replaces it, too."""
    assert credential_in(b'{"Username": "me", "Secret": "p\\ud800w"}').password == "p\ufffdw"


@pytest.mark.parametrize("username", ["me", ""])
def test_one_of_both_may_be_empty(username: str) -> None:
    """Only both together mean that there is nothing."""
    secret = "" if username else "pw"
    found = credential_in(answer(Username=username, Secret=secret))
    assert (username, secret) == (found.username, found.password)


@pytest.mark.parametrize("output", [b"{}", b'{"Username": "", "Secret": ""}', b'{"Secret": null}', b'{"Other": "x"}'])
def test_empty_answer_is_not_found(output: bytes) -> None:
    """Some helpers say it that way."""
    assert reply(output) == HelperNotFound()


@pytest.mark.parametrize("output", [NOT_FOUND, NOT_FOUND + b"\n", b" \r\n" + NOT_FOUND + b"\t"])
def test_not_found_is_the_fixed_text_with_a_failure(output: bytes) -> None:
    """White space around it means nothing."""
    assert reply(output, 1) == HelperNotFound()
    assert reply(output, 255) == HelperNotFound()


@pytest.mark.parametrize(
    "output",
    [
        b"", b"credentials not found in native keychain.", b"error: " + NOT_FOUND, b"no credentials server URL",
        b"no credentials username", b"Usage: ...", b"{}", answer(Username="me", Secret=SECRET), NOT_FOUND.upper(),
    ],
)  # fmt: skip
def test_any_other_failure_is_no_answer(output: bytes) -> None:
    """An expired cloud login must not look like no login, and JSON does not heal a failure."""
    found = reply(output, 3)
    assert isinstance(found, HelperFailed)
    assert "docker-credential-box, which keeps the credential for ghcr.io, failed with exit status 3" in found.reason


@pytest.mark.parametrize(
    "output",
    [
        b"", b"\n", NOT_FOUND, b"logged in as me", b"[]", b"null", b'"text"', b"5", b"{", b'{"Username": "me"',
        b'reading config\n{"Username": "me", "Secret": "pw"}', b'\xef\xbb\xbf{"Username": "me", "Secret": "pw"}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_success_without_a_json_object_is_a_failure(output: bytes) -> None:
    """Text before it is no protocol, either."""
    found = reply(output)
    assert isinstance(found, HelperFailed)
    assert "not with a JSON object" in found.reason


@pytest.mark.parametrize(
    "fields",
    [{"Username": 5, "Secret": "pw"}, {"Username": "me", "Secret": ["pw"]}, {"Username": {"a": "b"}}, {"Secret": True}],
)
def test_other_types_than_texts_are_a_failure(fields: dict[str, object]) -> None:
    """Nobody can say what was meant."""
    assert isinstance(reply(answer(**fields)), HelperFailed)


@pytest.mark.parametrize(("username", "secret"), [("a:b", "pw"), ("<token>", "")])
def test_what_cannot_be_sent_is_a_failure(username: str, secret: str) -> None:
    """A colon ends the user name on the wire, and an empty token is none."""
    assert isinstance(reply(answer(Username=username, Secret=secret)), HelperFailed)


def test_end_by_a_signal_names_it() -> None:
    """Whoever reads it may think of memory limits; what was written before means nothing."""
    found = reply(NOT_FOUND, -9)
    assert isinstance(found, HelperFailed)
    assert "was ended by SIGKILL" in found.reason
    assert isinstance(reply(b"", -64), HelperFailed)


@pytest.mark.parametrize("status", [0, 1, -11])
def test_reason_never_repeats_the_output(status: int) -> None:
    """Whatever a helper writes may be a secret."""
    for output in (SECRET.encode(), answer(Username=5, Secret=SECRET), f'{{"Secret": "{SECRET}'.encode()):
        assert SECRET not in repr(reply(output, status))


def test_credential_is_not_shown_by_its_reply() -> None:
    """A reply may end up in a traceback."""
    assert SECRET not in repr(reply(answer(Username="me", Secret=SECRET)))


@pytest.mark.parametrize("suffix", ["desktop", "osxkeychain", "wincred", "desktop.exe"])
def test_helper_of_a_desktop_is_told_from_a_missing_one(suffix: str) -> None:
    """The usual cause is a configuration that was copied, and no installation would help."""
    reason = not_installed(HelperQuestion(suffix, "ghcr.io")).reason
    assert f"docker-credential-{suffix} does not exist here" in reason
    assert "copied from a desktop machine" in reason
    assert "store it under auths" in reason


def test_missing_helper_names_the_remedies() -> None:
    """Either it gets installed, or the credential gets stored elsewhere."""
    reason = not_installed(QUESTION).reason
    assert "is not in any directory of PATH" in reason
    assert "store it under auths" in reason
    assert "install a helper" in reason


def test_environment_is_passed_on_without_our_own_variables() -> None:
    """One rule: what only this program reads stays here."""
    kept = {
        "PATH": "/bin", "HOME": "/root", "AWS_SECRET_ACCESS_KEY": "x", "GNUPGHOME": "/g", "HTTPS_PROXY": "p",
        "DOCKER_CONFIG": "/config", "DOCKER_HOST": "h", "MY_WATCHTOWER_TOKEN": "x", "REPOSITORY": "x", "EMPTY": "",
    }  # fmt: skip
    ours = {
        "REPO_USER", "REPO_PASS", "DOCKER_AUTH_CONFIG", "WATCHTOWER_NOTIFICATION_URL", "WATCHTOWER_HTTP_API_TOKEN",
        "WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PASSWORD", "WATCHTOWER_HTTP_API_EVENTS_TOKEN", "WATCHTOWER_CLEANUP",
    }  # fmt: skip
    assert kept == helper_environment(kept | dict.fromkeys(ours, SECRET))


def test_last_words_are_the_last_line() -> None:
    """Programs say what went wrong at the end."""
    errors = b"Traceback (most recent call last):\n  File x\nValueError: the keyring is locked\n\n"
    assert last_words(errors, b"") == "ValueError: the keyring is locked"
    assert last_words(b"", b"") == ""
    assert last_words(b" \n\t\n", b"") == ""


@pytest.mark.parametrize(
    "errors",
    [
        f'+ echo {{"Username":"me","Secret":"{SECRET}"}}',
        f"the password was {SECRET}!",
        f"login --password={SECRET} has failed",
        f"cannot log in to https://me:{SECRET}@ghcr.io/",
        "token ghp_16C7e42F292c6912E7710c838347Ae178B4a is expired",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl",
    ],
)
def test_last_words_hold_no_secret(errors: str) -> None:
    """Scripts trace what they do, and tools repeat what they were given."""
    shown = last_words(errors.encode(), answer(Username="me", Secret=SECRET))
    assert "***" in shown
    for secret in (SECRET, "16C7e42F292c6912E7710c838347Ae178B4a", "eyJzdWIiOiJtZSJ9"):
        assert secret not in shown


def test_last_words_keep_what_helps() -> None:
    """A path or an address of a document is no token."""
    text = "open /users/somebody/.config/gcloud/application_default.json: permission denied"
    assert last_words(text.encode(), b"") == text


def test_last_words_are_one_printable_short_line() -> None:
    """They must not break or colour a log."""
    shown = last_words(b"\x1b[31mred\x1b[0m \xff\x00 " + b"word " * 200, b"")
    assert shown.isprintable()
    assert len(shown) == 200
