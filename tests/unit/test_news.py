"""What is worth telling about the credential configuration."""

import json

import pytest

from watchtower_async.credentials.config_file import parse_config_file
from watchtower_async.credentials.lookup import Lookup
from watchtower_async.credentials.snapshot import Snapshot
from watchtower_async.credentials.store import StoreState
from watchtower_async.events import CredentialsProblem, CredentialsRecovered, CredentialsReloaded, Degraded
from watchtower_async.service import news

NOTHING = StoreState()
SECRET = "hunter2-marker"


def good(generation: int, *users: str, store: str = "") -> StoreState:
    """A state in which these users are logged in, each at a registry of this name."""
    auths = {f"{user}.example": {"username": user, "password": f"{SECRET}{generation}"} for user in users}
    config = parse_config_file(json.dumps({"auths": auths, "credsStore": store}).encode())
    return StoreState(Snapshot(generation, config, Lookup(config), content=str(generation)))


def broken(state: StoreState, problem: str = "line 1") -> StoreState:
    """The same state with a file that cannot be used."""
    return StoreState(state.snapshot, problem, state.warnings)


def test_first_good_state_is_nothing_new() -> None:
    """The start is no reload."""
    assert news(NOTHING, good(1, "one")) == ()


def test_reload_tells_the_names_of_registries_only() -> None:
    """What came, what went, what is another; never a value."""
    (event,) = news(good(1, "kept", "gone"), good(2, "kept", "new", store="pass"))
    expected = CredentialsReloaded(
        added=frozenset({"new.example"}),
        removed=frozenset({"gone.example"}),
        changed=frozenset({"kept.example"}),
        default_helper_changed=True,
        generation=2,
    )
    assert event == expected
    assert SECRET not in repr(event)


def test_new_content_that_means_the_same_is_not_told() -> None:
    """A file that is only written in another order."""
    assert news(good(1), good(2)) == ()


def test_first_problem_and_recovery_are_told_and_nothing_between() -> None:
    """A file that stays broken in ever new ways is one problem."""
    state = good(1, "one")
    first = news(state, broken(state, "line 1"))
    assert first == (CredentialsProblem("line 1; what was read before stays in use"),)
    assert news(broken(state, "line 1"), broken(state, "line 2")) == ()
    assert news(broken(state, "line 2"), state) == (CredentialsRecovered(),)


def test_problem_at_the_start_says_that_nothing_can_be_checked() -> None:
    """And the first good state after it is both a recovery and a reload."""
    at_start = broken(NOTHING)
    assert news(NOTHING, at_start) == (CredentialsProblem("line 1; until then images cannot be checked"),)
    recovered, reloaded = news(at_start, good(1, "one"))
    assert recovered == CredentialsRecovered()
    assert isinstance(reloaded, CredentialsReloaded)
    assert reloaded.added == frozenset({"one.example"})


@pytest.mark.parametrize("before", [NOTHING, StoreState(warnings=("old",))])
def test_each_warning_is_told_when_it_comes_up(before: StoreState) -> None:
    """A mounted file that was replaced on the host is told once."""
    after = StoreState(warnings=("old", "new"))
    assert Degraded("new") in news(before, after)
    assert news(after, after) == ()
    assert news(after, before) == ()
