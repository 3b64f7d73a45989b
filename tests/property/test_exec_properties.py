"""What holds for the output of an exec, however it arrives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_exec_output import a_frame, fed


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.text(max_size=20))), st.integers(1, 50))
def test_pieces_do_not_matter(frames: list[tuple[int, str]], pieces: int) -> None:
    """However the connection cuts them, the frames of both streams make the same text."""
    data = b"".join(a_frame(stream, text.encode()) for stream, text in frames)
    assert "".join(text for _, text in frames) == fed(data, pieces=pieces)
