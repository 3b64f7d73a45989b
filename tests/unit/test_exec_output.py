"""The output of an exec as it arrives, in frames and pieces of any size."""

from __future__ import annotations

import pytest

from watchtower_async.engine.exec import ExecOutput


def a_frame(stream: int, data: bytes) -> bytes:
    """Return a frame as the engine writes it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def fed(data: bytes, *, pieces: int, limit: int = 1 << 20) -> str:
    """Feed data in pieces of this size and return the text."""
    output = ExecOutput(limit=limit)
    for at in range(0, len(data), pieces):
        output.feed(data[at : at + pieces])
    return output.text


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_plain_text_is_kept_as_it_is(pieces: int) -> None:
    """Some engines tell without a frame that a command cannot start, also after frames."""
    assert fed(a_frame(1, b"a\n") + b"OCI runtime exec failed", pieces=pieces) == "a\nOCI runtime exec failed"
    assert fed(b"\x01!", pieces=pieces) == "\x01!"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"0123456789", "0123456789"),
        (b"0123456789A", "01234\n[… 1 bytes left out …]\n6789A"),
        (b"0123456789" * 10, "01234\n[… 90 bytes left out …]\n56789"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 7, 200])
def test_long_output_loses_its_middle(written: bytes, text: str, pieces: int) -> None:
    """The beginning tells what it was about, the end why it failed."""
    assert text == fed(a_frame(1, written), pieces=pieces, limit=10)


def test_other_encodings_are_readable() -> None:
    """Bytes that are no text do not break anything."""
    assert fed(a_frame(2, b"gar\xe9\n"), pieces=100) == "gar\ufffd\n"
