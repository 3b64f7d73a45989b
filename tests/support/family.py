"""A container on the simulated engine whose image is out of date, with others that share its namespaces or link to it.

family = await a_family(engine)
… replace it …
assert_family_in_order(engine, family, updated=["web"])
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.engine_sim import Behaviour, Container, SimulatedEngine
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.replacement import ReplacementTarget

Kind = Literal["network", "pid", "ipc", "link"]

KINDS: tuple[Kind, ...] = ("network", "pid", "ipc", "link")
SETTINGS: Mapping[Kind, str] = {"network": "NetworkMode", "pid": "PidMode", "ipc": "IpcMode"}
ALIAS = "db"
"""Under which a link user knows its target."""
GOOD = Behaviour()

_LABEL = "family"
_MARK = "MARK=kept"
_STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Relative:
    """A container of a family as it was at first."""

    name: str
    kind: Kind | None
    """How it depends on another one; the head of the family depends on nobody."""
    target: str
    """The name of the one that it depends on."""
    ran: bool
    policy: str
    old_id: str
    old_image: str
    """The id of its image."""

    @property
    def reference(self) -> str:
        """Its image; each has its own."""
        return f"registry.example/{self.name}:1"


@dataclass(slots=True)
class Family:
    """The head of a family and its dependents, by name; the head is the first, and targets come before dependents."""

    engine: SimulatedEngine
    head: str
    members: dict[str, Relative] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """What the registry offers, for each whose image is out of date."""

    @property
    def dependents(self) -> list[Relative]:
        """All but the head."""
        return [member for member in self.members.values() if member.kind is not None]

    def ids(self) -> dict[str, str]:
        """Return who has the names now. Equal to `old_ids` where nobody was replaced."""
        found = self.engine.containers
        return {name: found[name].id for name in self.members if name in found}

    def old_ids(self) -> dict[str, str]:
        """Return who had the names at first."""
        return {name: member.old_id for name, member in self.members.items()}

    def new_image(self, name: str) -> str:
        """Return the id that a published image has on the engine, once it is pulled."""
        return self.engine.image_behind(f"registry.example/{name}@{self.digests[name]}") or "not pulled"

    def target_of(self, name: str) -> ReplacementTarget:
        """Return what a plan would say of one whose image is out of date."""
        return ReplacementTarget(
            container_id=self.members[name].old_id,
            name=name,
            reference=parse_reference(self.members[name].reference),
            digest=parse_digest(self.digests[name]),
            registry_auth="e30=",
        )


async def a_family(
    engine: SimulatedEngine,
    *,
    head: str = "web",
    running: Collection[Kind] = KINDS,
    stopped: Collection[Kind] = KINDS,
    chained: bool = False,
    head_runs: bool = True,
    policy: str = "always",
    stale: Collection[str] = (),
    behaviours: Mapping[str, Behaviour] | None = None,
) -> Family:
    """Make `web`, its running dependents `web-network`, `web-pid`, `web-ipc`, `web-link`, and stopped `web-…-down`.

    With `chained`, `web-chained` uses the network of `web-network`. The head's image is out of date, and those of
    `stale`. `behaviours` are of the containers that are made anew, by name; those of now run for ever. After a restart
    of the engine, those that are down stay so with any policy but `always`.
    """
    assert head_runs or not (running or chained), "nobody can be started with a target that does not run"
    family = Family(engine, head)
    behaviours = behaviours or {}
    wanted: list[tuple[str, Kind | None, str, bool]] = [(head, None, "", head_runs)]
    wanted += [(f"{head}-{kind}", kind, head, True) for kind in KINDS if kind in running]
    if chained:
        wanted.append((f"{head}-chained", "network", f"{head}-network", True))
    wanted += [(f"{head}-{kind}-down", kind, head, False) for kind in KINDS if kind in stopped]
    for name, kind, target, ran in wanted:
        image = f"registry.example/{name}:1"
        is_stale = name in (head, *stale)
        engine.offer(image, config=_config(name, 1), behaviour=GOOD if is_stale else behaviours.get(name, GOOD))
        container = await engine.run(
            name,
            image,
            behaviour=GOOD,
            Env=[_MARK],
            Labels={_LABEL: head},
            HostConfig={"RestartPolicy": {"Name": policy}, **_relation(kind, target)},
        )
        family.members[name] = Relative(name, kind, target, ran, policy, container.id, container.image_id)
        if is_stale:
            behaviour = behaviours.get(name, GOOD)
            family.digests[name] = engine.offer(image, config=_config(name, 2), behaviour=behaviour)
    for member in reversed(family.members.values()):
        if not member.ran:
            await engine.lifecycle.stop(engine.containers[member.name], _STOP_SECONDS, None)
    return family


def _config(name: str, version: int) -> dict[str, Any]:
    return {"Env": [f"VERSION={version}", f"OF={name}"]}  # the same content would be the same image


def _relation(kind: Kind | None, target: str) -> dict[str, Any]:
    if kind is None:
        return {"IpcMode": "shareable"}
    if kind == "link":
        return {"Links": [f"{target}:{ALIAS}"]}
    return {SETTINGS[kind]: f"container:{target}"}


def assert_family_in_order(
    engine: SimulatedEngine, family: Family, *, updated: Collection[str] | None = None, replaced: bool | None = None
) -> None:
    """Each name is there exactly once, as it was: it runs if it ran, and belongs to whoever has its target's name now.

    `updated` are the names that run on the published image, while all others run on the old one; None where it does
    not matter. `replaced` says whether all are new containers, or all are the old ones.
    """
    assert sorted(family.members) == sorted(
        container.name
        for container in engine.containers.values()
        if container.config["Labels"].get(_LABEL) == family.head
    )
    assert [name for name in engine.containers if parse_temporary_name(name) is not None] == []
    for member in family.members.values():
        _assert_as_it_was(engine, member)
        _assert_belongs(engine, member)
        _assert_image(family, member, updated)
    if replaced is not None:
        old, now = family.old_ids(), family.ids()
        assert [name for name in old if (old[name] != now[name]) is not replaced] == []


def _assert_as_it_was(engine: SimulatedEngine, member: Relative) -> None:
    container = engine.containers[member.name]
    said = f"{member.name}: {container.status}, exit code {container.exit_code}, {container.error}"
    if member.ran:
        assert container.status == "running", said
    else:
        assert container.status in ("created", "exited"), said
    assert member.policy == container.policy, said
    assert _MARK in container.config["Env"], said
    assert member.reference == container.config["Image"], said


def _assert_belongs(engine: SimulatedEngine, member: Relative) -> None:
    container = engine.containers[member.name]
    assert engine.dead_namespaces(member.name) == [], f"{member.name} is cut off"
    assert not engine.is_cut_off(member.name), f"{member.name} is cut off"
    if member.kind is None:
        return
    target = engine.containers[member.target]
    if member.kind == "link":
        assert [(target.id, ALIAS)] == _linked(container), f"the link of {member.name}"
    else:
        assert f"container:{target.id}" == container.host[SETTINGS[member.kind]], f"the namespace of {member.name}"


def _linked(container: Container) -> list[tuple[str, str]]:
    return [(link.target.id, link.alias) for link in container.links]


def _assert_image(family: Family, member: Relative, updated: Collection[str] | None) -> None:
    image = family.engine.containers[member.name].image_id
    new = [family.new_image(member.name)] if member.name in family.digests else []
    if updated is None:
        assert image in (member.old_image, *new), f"the image of {member.name}"
    else:
        expected = new[0] if member.name in updated else member.old_image
        assert expected == image, f"the image of {member.name}"
