"""The names that are the state of a replacement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchtower_async.engine.temporary_name import (
    Part,
    RestartPolicy,
    RunState,
    TemporaryName,
    parse_temporary_name,
    read_policy,
)

OWNER = "1f3c9b2d77aa"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web.wta-new-rn", TemporaryName("web", Part.NEW, RunState.RUNNING, RestartPolicy("no"))),
        (
            f"web.wta-old-ra-{OWNER}",
            TemporaryName("web", Part.OLD, RunState.RUNNING, RestartPolicy("always"), OWNER),
        ),
        (
            f"a.b_c-1.wta-bad-pf5-{OWNER}",
            TemporaryName("a.b_c-1", Part.BAD, RunState.PAUSED, RestartPolicy("on-failure", 5), OWNER),
        ),
        (
            "web.wta-old-su-x0123456",
            TemporaryName("web", Part.OLD, RunState.STOPPED, RestartPolicy("unless-stopped"), "x0123456"),
        ),
    ],
)
def test_name_is_read_and_written_alike(text: str, expected: TemporaryName) -> None:
    """Each part of a name has one meaning, and the same text comes back."""
    assert expected == parse_temporary_name(text)
    assert text == str(expected)


@pytest.mark.parametrize(
    "text",
    [
        "web",
        "web.wta-new",
        "web.wta-new-rx",
        "web.wta-new-rn-1f3c9b2d77aa",
        "web.wta-old-rn",
        "web.wta-old-rn-short",
        "web.wta-old-rn-UPPERCASE12",
        "web.wta-old-qn-1f3c9b2d77aa",
        "web.wta-old-rf-1f3c9b2d77aa",
        ".wta-new-rn",
        "web.wta-old-rn-1f3c9b2d77aa\n",
        "web.wta-older-rn-1f3c9b2d77aa",
    ],
)
def test_name_that_only_looks_alike_is_nobodys_business(text: str) -> None:
    """We take part only in names that are exactly of our form."""
    assert parse_temporary_name(text) is None


@given(
    base=st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,30}", fullmatch=True),
    part=st.sampled_from(Part),
    ran=st.sampled_from(RunState),
    policy=st.one_of(
        st.sampled_from([RestartPolicy("no"), RestartPolicy("always"), RestartPolicy("unless-stopped")]),
        st.builds(RestartPolicy, st.just("on-failure"), st.integers(0, 999)),
    ),
    owner=st.from_regex(r"[0-9a-z]{8,12}", fullmatch=True),
)
def test_every_name_comes_back(base: str, part: Part, ran: RunState, policy: RestartPolicy, owner: str) -> None:
    """What is written into a name is what is read from it."""
    name = TemporaryName(base, part, ran, policy, "" if part is Part.NEW else owner)
    assert name == parse_temporary_name(str(name))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, RestartPolicy("no")),
        ({"Name": ""}, RestartPolicy("no")),
        ({"Name": "always", "MaximumRetryCount": 7}, RestartPolicy("always")),
        ({"Name": "on-failure", "MaximumRetryCount": 3}, RestartPolicy("on-failure", 3)),
    ],
)
def test_restart_policy_is_read(document: dict[str, object] | None, expected: RestartPolicy) -> None:
    """No policy is `no`, and only `on-failure` counts."""
    assert expected == read_policy(document)


def test_unknown_restart_policy_is_refused() -> None:
    """A policy that cannot be put into a name is not guessed."""
    with pytest.raises(ValueError, match="sometimes"):
        read_policy({"Name": "sometimes"})
