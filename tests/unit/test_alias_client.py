"""The names that the start-first benchmark's client looks up, as they travel on the wire."""

from __future__ import annotations

import struct

import pytest

from bench.start_first import encode_question, read_addresses

QUESTION = b"\x03web\x05local\x00\x00\x01\x00\x01"
A_POINTER_TO_IT = b"\xc0\x0c"


def an_answer(*records: tuple[int, bytes], number: int = 7, code: int = 0) -> bytes:
    """Build the answer to a question for `web.local`, with records of a type and its data."""
    header = struct.pack(">HHHHHH", number, 0x8180 | code, 1, len(records), 0, 0)
    return header + QUESTION + b"".join(
        A_POINTER_TO_IT + struct.pack(">HHIH", kind, 1, 600, len(data)) + data for kind, data in records
    )  # fmt: skip


def test_question_asks_for_ipv4_addresses_of_the_name() -> None:
    """The labels stand behind a header that counts one question, then type A and class IN (RFC 1035, 4.1)."""
    assert encode_question(7, "web.local") == b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION


def test_every_address_is_read_and_in_order() -> None:
    """While two containers have the alias, a client must learn of both."""
    answer = an_answer((1, bytes([172, 18, 0, 3])), (1, bytes([172, 18, 0, 2])))

    assert read_addresses(7, answer) == ["172.18.0.3", "172.18.0.2"]


def test_records_of_other_types_are_passed_over() -> None:
    """A name that leads on to another one (CNAME, type 5) comes with a record that is no address."""
    assert read_addresses(7, an_answer((5, A_POINTER_TO_IT), (1, bytes([10, 0, 0, 1])))) == ["10.0.0.1"]


def test_name_without_addresses_gives_none() -> None:
    """No record is an answer, too: the alias leads nowhere now."""
    assert read_addresses(7, an_answer()) == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(an_answer(number=8), id="to another question"),
        pytest.param(an_answer(code=3), id="no such name"),
        pytest.param(an_answer((1, bytes([10, 0, 0, 1])))[:-3], id="cut off in an address"),
        pytest.param(an_answer((1, bytes([10, 0, 0, 1])))[:20], id="cut off in the question"),
        pytest.param(b"", id="empty"),
    ],
)
def test_answer_that_is_none_is_a_failed_look_up(answer: bytes) -> None:
    """The client counts what it cannot understand as failed, and does not crash."""
    with pytest.raises(ValueError, match="name server"):
        read_addresses(7, answer)
