"""What the names on an engine say about a replacement, and what is to be done about it. Pure.

A replacement moves through these states; each arrow is one engine call, so any of them can be what a killed updater
leaves behind:

    web                        nothing going on
    web, new                   the successor is created
    old, new                   the predecessor has given its name away
    web (successor), old       the successor has the name; it may run or not, and so may the predecessor
    web, bad / old, bad        a successor is being taken back
    web                        done

A container that the engine removes at its stop (`--rm`) has another way: old, new · new · web.

`decide` is asked by recovery, and by a replacement whose own step failed. It never needs to know how far anybody got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.engine.temporary_name import Part, RunState, TemporaryName, parse_temporary_name

UP = frozenset({"running", "restarting", "paused"})
"""States of a container that runs, or comes back by itself."""


class Move(StrEnum):
    """What brings a container's name in order. Each is a sequence of idempotent steps."""

    NOTHING = "nothing"
    DISCARD_NEW = "discard the successor"
    """It was only created. Make sure that the predecessor is as it was."""
    UNDO = "put the predecessor back"
    FORWARD = "go on"
    """Stop the predecessor, start the successor, watch it, remove the predecessor."""
    REPLACE_FOR_GOOD = "go on, as there is no way back"
    """The engine removes the predecessor at its stop, which may have been asked for already."""
    PROMOTE_NEW = "give the successor the name"
    """The predecessor is gone: somebody removed it."""
    PROMOTE_BAD = "bring the failed successor up"
    """The predecessor was removed while it was being put back; the failed successor is all there is."""
    ASK_A_PERSON = "leave it to a person"
    """Somebody made a container under the name in the middle of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One container of a replacement, as the engine lists it. `name` is None for the one under the original name."""

    container: ContainerSummary
    name: TemporaryName | None = None

    @property
    def id(self) -> str:
        """Return the container's id."""
        return self.container.id

    @property
    def is_up(self) -> bool:
        """Say whether it runs, or comes back by itself."""
        return self.container.state in UP

    @property
    def was_started(self) -> bool:
        """Say whether it was ever started."""
        return self.container.state != "created"


@dataclass(frozen=True, slots=True)
class Situation:
    """All containers on an engine that belong to one original name."""

    base: str
    named: Found | None = None
    new: Found | None = None
    old: Found | None = None
    bad: Found | None = None
    has_doubles: bool = False
    """More than one container has the same part: two updaters worked here, or somebody renamed."""
    vanishes: bool = False
    """The engine removes the predecessor at its stop."""
    is_joined: bool = False
    """Others, whose own replacement is settled already, share the successor's namespaces or link to it."""

    @property
    def code(self) -> TemporaryName | None:
        """Return the temporary name that tells how the predecessor ran; None where nothing is going on."""
        found = self.old or self.bad or self.new
        return found.name if found is not None else None

    @property
    def owner(self) -> str:
        """Return who is at work, empty where no name tells."""
        names = [found.name for found in (self.old, self.bad) if found is not None and found.name is not None]
        return names[0].owner if names else ""

    @property
    def should_run(self) -> bool:
        """Say whether the container ran when the replacement began."""
        return self.code is not None and self.code.ran is not RunState.STOPPED

    @property
    def is_past_create(self) -> bool:
        """Say whether the names have begun to change."""
        return self.old is not None or self.bad is not None

    @property
    def may_still_be_stopped(self) -> bool:
        """Say whether a stop of the predecessor may have been asked for that has not come to its end."""
        predecessor = self.predecessor
        return predecessor is not None and predecessor.is_up and self.is_past_create and self.new is None

    @property
    def predecessor(self) -> Found | None:
        """Return the predecessor, under whichever name it is now."""
        if self.old is not None:
            return self.old
        return self.named if self.new is not None or self.bad is not None else None

    @property
    def successor(self) -> Found | None:
        """Return the successor, under whichever name it is now."""
        if self.old is not None and self.new is None and self.bad is None:
            return self.named
        return self.new or self.bad


def situations(containers: Iterable[ContainerSummary]) -> dict[str, Situation]:
    """Group the containers of an engine by original name, those only where a temporary name is found."""
    named: dict[str, ContainerSummary] = {}
    parts: dict[str, dict[Part, list[Found]]] = {}
    for container in containers:
        name = parse_temporary_name(container.name)
        if name is None:
            named[container.name] = container
        else:
            parts.setdefault(name.base, {}).setdefault(name.part, []).append(Found(container, name))
    return {base: _situation(base, named.get(base), found) for base, found in sorted(parts.items())}


def _situation(base: str, named: ContainerSummary | None, found: Mapping[Part, list[Found]]) -> Situation:
    def one(part: Part) -> Found | None:
        return found[part][0] if part in found else None

    return Situation(
        base=base,
        named=Found(named) if named is not None else None,
        new=one(Part.NEW),
        old=one(Part.OLD),
        bad=one(Part.BAD),
        has_doubles=any(len(items) > 1 for items in found.values()),
    )


def decide(situation: Situation, *, give_up: bool = False) -> Move:
    """Say what brings this name in order. `give_up` takes the successor back also where it could go on."""
    named, new, old, bad = situation.named, situation.new, situation.old, situation.bad
    if new is None and old is None and bad is None:
        return Move.NOTHING
    if situation.has_doubles or (new is not None and bad is not None):
        return Move.ASK_A_PERSON
    if old is None and bad is None:
        return Move.DISCARD_NEW if named is not None else Move.PROMOTE_NEW
    if bad is not None:
        if named is not None and old is not None:
            return Move.ASK_A_PERSON
        return Move.UNDO if named is not None or old is not None else Move.PROMOTE_BAD
    if new is not None:
        back = Move.REPLACE_FOR_GOOD if situation.vanishes and not give_up else Move.UNDO
        return Move.ASK_A_PERSON if named is not None else back
    return _after_the_names_changed(situation, give_up=give_up)


def _after_the_names_changed(situation: Situation, *, give_up: bool) -> Move:
    """Decide for a predecessor under its temporary name, with or without a container under the original one."""
    named, old = situation.named, situation.old
    assert old is not None
    if named is None:
        return Move.UNDO  # the successor was removed by hand
    if situation.is_joined:
        return Move.FORWARD
    # A predecessor that runs while its successor is down was never stopped, or was brought up by an engine restart.
    lost_the_race = old.is_up and not named.is_up
    return Move.UNDO if give_up or (situation.should_run and lost_the_race) else Move.FORWARD


_ALONE = (Move.REPLACE_FOR_GOOD, Move.PROMOTE_NEW, Move.PROMOTE_BAD)
_BACK = frozenset({Move.UNDO, Move.DISCARD_NEW})


def decide_together(members: Sequence[Situation], *, give_up: bool = False) -> tuple[Move, tuple[Situation, ...]]:
    """Say what comes next for containers that are replaced together, and for which of them. Targets stand first.

    They go on only where all of them have their names; otherwise all go back. What has lost its predecessor is dealt
    with before the others, and what only a person can decide after them.
    """
    moves = {situation.base: decide(situation, give_up=give_up) for situation in members}
    for move in _ALONE:
        found = next((situation for situation in members if moves[situation.base] is move), None)
        if found is not None:
            return move, (found,)
    in_doubt = tuple(situation for situation in members if moves[situation.base] is Move.ASK_A_PERSON)
    concerned = tuple(item for item in members if moves[item.base] is Move.FORWARD or moves[item.base] in _BACK)
    if concerned:
        goes_on = not in_doubt and all(moves[situation.base] is Move.FORWARD for situation in concerned)
        if goes_on:
            return Move.FORWARD, concerned
        are_new = all(moves[situation.base] is Move.DISCARD_NEW for situation in concerned)
        return Move.DISCARD_NEW if are_new else Move.UNDO, concerned
    return (Move.ASK_A_PERSON, in_doubt[:1]) if in_doubt else (Move.NOTHING, ())


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a replacement that was found is ours to touch."""

    is_ours: bool
    reason: str = ""
    wait: float = 0.0
    """Seconds after which it will be, where that is soon; 0 where nobody knows."""


UNOWNED_SECONDS = 60.0
MARGIN_SECONDS = 60.0


def whose_turn(
    situation: Situation,
    *,
    us: str,
    running: frozenset[str],
    age: float,
    budget: float,
) -> Turn:
    """Say whether to touch what was found.

    `running` are the ids of the engine's running containers; `age` is how many seconds ago the youngest container of
    this name changed, `budget` what stopping and watching it may take.
    """
    owner = situation.owner
    if not owner:
        limit = UNOWNED_SECONDS
        if situation.new is not None and situation.new.is_up:
            limit += budget
        if situation.named is not None and age < limit:
            return Turn(False, "it was begun a moment ago, perhaps by another updater", limit - age)
        return Turn(True)
    if owner == us:
        return Turn(True)
    if owner.startswith("x"):
        limit = budget + MARGIN_SECONDS
        if age < limit:
            return Turn(False, "another updater may be at work on it")
        return Turn(True)
    if any(identity.startswith(owner) for identity in running):
        return Turn(False, f"the updater {owner} is at work on it")
    return Turn(True)
