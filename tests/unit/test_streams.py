"""What the engine says in its own framings."""

import json
from typing import Any

import pytest

from watchtower_async.engine.streams import (
    LINE_BYTES,
    MESSAGE_LENGTH,
    PULL_MESSAGE_LENGTH,
    PullStream,
    demultiplex,
    pull_failed,
    tidy,
)
from watchtower_async.errors import PullFailedError

SECRET = "s3cr3t-marker"


def lines(*items: Any) -> bytes:
    """Return an answer of a pull."""
    return b"".join(json.dumps(item).encode() + b"\r\n" for item in items)


@pytest.mark.parametrize(
    ("message", "tidied"),
    [
        ("  two\n lines\t", "two lines"),
        ("Get https://user:pw@host/v2/: EOF", "Get https://host/v2/: EOF"),
        ('Get "https://cdn.example/x?sig=abc&e=1": timeout', 'Get "https://cdn.example/x?…": timeout'),
        ("mail me@host.example", "mail me@host.example"),
        (
            "<html><body>502</body></html>",
            "answered with a web page, so a proxy stands in front of the engine and refused",
        ),
        ("", ""),
    ],
)
def test_message_is_made_fit_for_people(message: str, tidied: str) -> None:
    """One line, without user info and signed queries."""
    assert tidied == tidy(message)


def test_secret_that_was_sent_does_not_come_back() -> None:
    """An engine that repeats the header does not put it into our log, not even cut in half."""
    text = tidy("x" * (MESSAGE_LENGTH - 5) + f" {SECRET} tail", SECRET)
    assert SECRET[:4] not in text
    assert len(text) == MESSAGE_LENGTH
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("message", "out_of_space"),
    [("write /x: No space left on device", True), ("manifest unknown", False)],
)
def test_full_disk_is_told_from_other_failures(message: str, out_of_space: bool) -> None:
    """The same pull fails again until somebody makes room."""
    error = pull_failed(message, status=500)
    assert (error.status, error.out_of_space) == (500, out_of_space)


@pytest.mark.parametrize(
    ("message", "login_refused"),
    [
        ("unauthorized: authentication required", True),
        ('Head "https://r.example/v2/app/manifests/1": no basic auth credentials', True),
        ("denied: requested access to the resource is denied", True),
        ('failed to resolve reference "r.example/app:1": unexpected status from HEAD request: 401 Unauthorized', True),
        ('failed to resolve reference "r.example/app:1": unexpected status from HEAD request: 403 Forbidden', True),
        ('failed to resolve reference "r.example/app:1": r.example/app:1: not found', False),
        ("manifest for r.example/app:1 not found: manifest unknown", False),
    ],
)
def test_refused_login_is_told_from_other_failures(message: str, *, login_refused: bool) -> None:
    """By the words of either image store."""
    assert login_refused is pull_failed(message).login_refused


def read_all(data: bytes, *, size: int = 1000) -> None:
    """Read an answer that arrives in chunks of this size."""
    stream = PullStream()
    for at in range(0, len(data), size):
        stream.feed(data[at : at + size])
    stream.finish()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_progress_without_an_error_is_a_success(size: int) -> None:
    """Lines may be cut anywhere."""
    data = (
        lines({"status": "Pulling"}, {"status": "Down", "progressDetail": {}}, {"errorDetail": None, "error": ""})
        + b"\n"
    )
    read_all(data, size=size)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"}, "manifest unknown"),
        ({"errorDetail": {"code": 1, "message": "no"}}, "no"),
        ({"error": "old form"}, "old form"),
        ({"errorDetail": {}, "error": "x"}, "x"),
        ({"errorDetail": {"code": 5}}, "no reason given"),
        ({"errorDetail": "strange"}, "no reason given"),
    ],
)
def test_error_line_ends_the_pull(item: Any, said: str) -> None:
    """The status was sent long before: only the lines tell that a pull failed."""
    stream = PullStream()
    with pytest.raises(PullFailedError, match=said):
        stream.feed(lines({"status": "Pulling"}, item))


def test_error_in_a_last_line_without_end_is_seen() -> None:
    """An engine that dies may not finish its line."""
    stream = PullStream()
    stream.feed(b'{"error": "late"}')
    with pytest.raises(PullFailedError, match="late"):
        stream.finish()


def test_error_line_is_short_and_without_the_secret() -> None:
    """Messages of engines repeat what registries say."""
    stream = PullStream(secret=SECRET)
    with pytest.raises(PullFailedError) as caught:
        stream.feed(lines({"error": f"{SECRET} https://u:{SECRET}@h/?t={SECRET} " + "x" * 1000}))
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) == PULL_MESSAGE_LENGTH


@pytest.mark.parametrize("data", [b'{"status": "Pul', b"<html>\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_answer_that_breaks_off_is_no_success(data: bytes) -> None:
    """What cannot be read as a line of JSON is a failed pull."""
    with pytest.raises(PullFailedError, match="broke off") as caught:
        read_all(data)
    assert caught.value.__cause__ is None


def test_line_without_end_is_given_up() -> None:
    """Memory is bounded."""
    stream = PullStream()
    stream.feed(b"x" * LINE_BYTES)
    with pytest.raises(PullFailedError, match="cannot be read"):
        stream.feed(b"x")


def frame(kind: int, data: bytes) -> bytes:
    """Return a frame of a multiplexed stream."""
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", b""),
        (frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"") + frame(0, b"in"), b"out\nerr\nin"),
        (frame(1, b"out\n") + frame(2, b"cut off")[:-4], b"out\ncut"),
        (frame(1, b"out\n") + frame(2, b"x")[:5], b"out\n"),
        (frame(1, b""), b""),
        (b"ok\n", b"ok\n"),
        (b"output of a terminal\r\n", b"output of a terminal\r\n"),
        (b"\x1b[31mred\x1b[0m and more", b"\x1b[31mred\x1b[0m and more"),
        (b"\x01 not a frame at all", b"\x01 not a frame at all"),
    ],
)
def test_frames_are_joined_and_terminal_output_stays(data: bytes, expected: bytes) -> None:
    """A cut stream gives what came through; without frames it is a terminal's."""
    assert expected == demultiplex(data)
