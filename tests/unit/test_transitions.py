"""What the names on an engine tell, and what is done about it."""

from dataclasses import replace

import pytest

from tests.support.builders import a_container
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.rollout.transitions import Found, Move, Situation, decide, decide_together, situations, whose_turn

OWNER = "1f3c9b2d77aa"
NEW = "web.wta-new-ra"
OLD = f"web.wta-old-ra-{OWNER}"
BAD = f"web.wta-bad-ra-{OWNER}"
NAMES = {"named": "web", "new": NEW, "old": OLD, "bad": BAD}


def the_situation(**states: str) -> Situation:
    """Return the situation of `web`; keywords say which of its containers exist and in which state."""
    return situations([a_container(NAMES[part], state=state) for part, state in states.items()])["web"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"named": "running", "new": "created"}, Move.DISCARD_NEW),
        ({"named": "exited", "new": "created"}, Move.DISCARD_NEW),
        ({"old": "running", "new": "created"}, Move.UNDO),
        ({"named": "created", "old": "running"}, Move.UNDO),
        ({"named": "exited", "old": "running"}, Move.UNDO),
        ({"named": "created", "old": "exited"}, Move.FORWARD),
        ({"named": "running", "old": "exited"}, Move.FORWARD),
        ({"named": "exited", "old": "exited"}, Move.FORWARD),
        ({"named": "running", "old": "running"}, Move.FORWARD),
        ({"named": "restarting", "old": "exited"}, Move.FORWARD),
        ({"old": "exited", "bad": "exited"}, Move.UNDO),
        ({"named": "exited", "bad": "exited"}, Move.UNDO),
        ({"named": "running", "bad": "exited"}, Move.UNDO),
        ({"old": "exited"}, Move.UNDO),
        ({"old": "running"}, Move.UNDO),
        ({"new": "created"}, Move.PROMOTE_NEW),
        ({"bad": "exited"}, Move.PROMOTE_BAD),
        ({"named": "running", "old": "exited", "new": "created"}, Move.ASK_A_PERSON),
        ({"named": "running", "old": "exited", "bad": "exited"}, Move.ASK_A_PERSON),
    ],
)
def test_names_decide(states: dict[str, str], expected: Move) -> None:
    """Every state that a killed updater can leave has one answer."""
    assert expected is decide(the_situation(**states))


@pytest.mark.parametrize("named", ["created", "running", "exited"])
def test_giving_up_puts_the_predecessor_back(named: str) -> None:
    """Where one could go on, giving up undoes."""
    assert decide(the_situation(named=named, old="exited"), give_up=True) is Move.UNDO


def test_names_of_others_are_no_leftovers() -> None:
    """Without a temporary name nothing is going on."""
    assert situations([a_container("web"), a_container("web.wta-new-x")]) == {}


def test_two_of_one_part_are_left_to_a_person() -> None:
    """Two predecessors of one name are nothing that a rule can put right."""
    other = "web.wta-old-rn-aaaaaaaaaaaa"
    found = situations([a_container(OLD), a_container(other), a_container("web")])["web"]
    assert decide(found) is Move.ASK_A_PERSON


def test_successor_and_predecessor_are_found_under_every_name() -> None:
    """The names tell which container is which."""
    assert (
        the_situation(named="running", new="created").predecessor == the_situation(named="running", new="created").named
    )
    forward = the_situation(named="running", old="exited")
    assert (forward.predecessor, forward.successor) == (forward.old, forward.named)
    back = the_situation(named="exited", bad="exited")
    assert (back.predecessor, back.successor) == (back.named, back.bad)


@pytest.mark.parametrize(
    ("old", "expected"),
    [("running", Move.REPLACE_FOR_GOOD), ("exited", Move.REPLACE_FOR_GOOD), (None, Move.PROMOTE_NEW)],
)
def test_what_removes_itself_goes_on(old: str | None, expected: Move) -> None:
    """Its stop may have been asked for already, and then nothing brings it back."""
    states = {"new": "created"} | ({} if old is None else {"old": old})
    assert decide(replace(the_situation(**states), vanishes=True)) is expected


def test_what_removes_itself_goes_back_where_the_engine_refused_its_stop() -> None:
    """Then it runs on, and gets its name back."""
    assert decide(replace(the_situation(old="running", new="created"), vanishes=True), give_up=True) is Move.UNDO


def test_predecessor_stays_away_where_others_live_with_the_successor() -> None:
    """They are settled, so only the way on is left, whatever runs."""
    joined = replace(the_situation(named="exited", old="running"), is_joined=True)
    assert decide(joined) is Move.FORWARD
    assert decide(joined, give_up=True) is Move.FORWARD


AHEAD = {"named": "running", "old": "exited"}
JUST_CREATED = {"named": "running", "new": "created"}
BETWEEN = {"old": "running", "new": "created"}
BACK = {"named": "running", "bad": "exited"}
IN_DOUBT = {"named": "running", "old": "exited", "new": "created"}
SETTLED = {"named": "running"}


def a_member(base: str, states: dict[str, str]) -> Situation:
    """Return the situation of one of several."""
    names = {part: name.replace("web", base) for part, name in NAMES.items()}
    containers = [a_container(names[part], state=state) for part, state in states.items()]
    named = next((Found(item) for item in containers if item.name == base), None)
    return situations(containers).get(base, Situation(base, named))


@pytest.mark.parametrize(
    ("members", "move", "concerned"),
    [
        ([AHEAD, AHEAD], Move.FORWARD, ["a", "b"]),
        ([AHEAD, BETWEEN], Move.UNDO, ["a", "b"]),
        ([AHEAD, JUST_CREATED], Move.UNDO, ["a", "b"]),
        ([BETWEEN, JUST_CREATED], Move.UNDO, ["a", "b"]),
        ([AHEAD, BACK], Move.UNDO, ["a", "b"]),
        ([JUST_CREATED, JUST_CREATED], Move.DISCARD_NEW, ["a", "b"]),
        ([JUST_CREATED, SETTLED], Move.DISCARD_NEW, ["a"]),
        ([AHEAD, SETTLED], Move.FORWARD, ["a"]),
        ([SETTLED, BACK], Move.UNDO, ["b"]),
        ([SETTLED, SETTLED], Move.NOTHING, []),
        ([AHEAD, {"new": "created"}], Move.PROMOTE_NEW, ["b"]),
        ([{"bad": "exited"}, AHEAD], Move.PROMOTE_BAD, ["a"]),
        ([AHEAD, IN_DOUBT], Move.UNDO, ["a"]),
        ([IN_DOUBT, SETTLED], Move.ASK_A_PERSON, ["a"]),
    ],
)
def test_all_go_on_or_all_go_back(members: list[dict[str, str]], move: Move, concerned: list[str]) -> None:
    """One that has not got its name yet takes all others back; one that a person must decide comes last."""
    found = [a_member(base, states) for base, states in zip("ab", members, strict=True)]
    decided, whose = decide_together(found)
    assert (decided, [situation.base for situation in whose]) == (move, concerned)


def test_giving_up_takes_all_back() -> None:
    """One failed successor is enough."""
    members = [a_member(base, AHEAD) for base in "ab"]
    assert decide_together(members, give_up=True)[0] is Move.UNDO


def turn(situation: Situation, *, us: str = OWNER, running: tuple[ContainerSummary, ...] = (), age: float = 0) -> bool:
    """Return whether it is our turn."""
    ids = frozenset(item.id for item in running)
    return whose_turn(situation, us=us, running=ids, age=age, budget=15.0).is_ours


def test_our_own_work_is_ours_at_once() -> None:
    """The owner in the name is us."""
    assert turn(the_situation(named="running", old="exited"))


def test_work_of_a_running_updater_is_left_alone() -> None:
    """The owner is the beginning of a running container's id."""
    updater = a_container("updater")
    situation = situations([a_container("web"), a_container(f"web.wta-old-ra-{updater.id[:12]}")])["web"]
    assert not turn(situation, running=(updater,), age=10_000)
    assert turn(situation, age=0)


@pytest.mark.parametrize(("age", "expected"), [(74.0, False), (75.0, True)])
def test_work_of_an_unknown_instance_is_taken_when_it_is_old(age: float, expected: bool) -> None:
    """Longer than a replacement can take, nobody is at work."""
    situation = situations([a_container("web"), a_container("web.wta-old-ra-x23456789012")])["web"]
    assert expected is turn(situation, age=age)


@pytest.mark.parametrize(
    ("state", "age", "expected"), [("created", 59, False), ("created", 60, True), ("running", 74, False)]
)
def test_work_without_an_owner_is_waited_for(state: str, age: float, expected: bool) -> None:
    """A successor that was made a moment ago may be another updater's; the wait is known."""
    situation = the_situation(named="running", new=state)
    answer = whose_turn(situation, us=OWNER, running=frozenset(), age=age, budget=15.0)
    assert expected is answer.is_ours
    assert expected or 0 < answer.wait <= 75


def test_successor_without_predecessor_is_taken_at_once() -> None:
    """The predecessor is gone and nothing runs, so nobody waits."""
    assert turn(the_situation(new="created"))
