"""Whatever a server sends as `WWW-Authenticate` is read without failing."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from watchtower_async.registry.challenge import Challenge, choose_challenge, parse_challenges

# Pieces that make trouble when they meet, and anything else.
PIECES = st.sampled_from(
    [
        "Bearer",
        "Basic",
        "Negotiate",
        "realm",
        "scope",
        "=",
        '"',
        "\\",
        ",",
        " ",
        "\t",
        "a/b:pull,push",
        "YII==",
        "é",
        "\0",
    ]
)
FIELDS = st.lists(st.text(max_size=40) | st.lists(PIECES, max_size=20).map("".join), max_size=4)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_-", min_size=1, max_size=12)
PARAMETERS = st.dictionaries(NAMES, st.text(max_size=30), min_size=1, max_size=5)


@given(FIELDS)
@example(['Bearer realm="'])
@example(["Bearer " + "\\" * 99])
def test_reading_never_raises(fields: list[str]) -> None:
    """The result is challenges, perhaps none, and a choice among them or None."""
    challenges = parse_challenges(fields)
    chosen = choose_challenge(challenges)
    assert chosen is None or chosen in challenges
    assert all(challenge.scheme == challenge.scheme.lower() and challenge.scheme for challenge in challenges)


@given(FIELDS, FIELDS)
def test_a_field_does_not_change_what_the_others_say(first: list[str], second: list[str]) -> None:
    """Each field is read by itself, in order."""
    assert parse_challenges([*first, *second]) == parse_challenges(first) + parse_challenges(second)


@given(NAMES, PARAMETERS)
def test_quoted_parameters_come_back_as_they_were(scheme: str, parameters: dict[str, str]) -> None:
    """Any value survives quoting, whatever it holds."""
    quoted = (f'{name}="{_escaped(value)}"' for name, value in parameters.items())
    assert parse_challenges([f"{scheme} {', '.join(quoted)}"]) == (Challenge(scheme, parameters),)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
