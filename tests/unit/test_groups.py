"""What is updated together, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import a_container, an_id
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.rollout.graph import walk
from watchtower_async.rollout.groups import (
    Group,
    Grouping,
    LeftOut,
    Role,
    make_groups,
    read_group,
    restarting_services,
)

DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"


def id_of(name: str) -> str:
    return an_id(f"container {name}")


def sharing(name: str, target: str, **more: Any) -> ContainerSummary:
    """A container in the network namespace of another."""
    return a_container(name, network_mode=f"container:{id_of(target)}", **more)


def after(name: str, *targets: str, **more: Any) -> ContainerSummary:
    """A container whose label says that it depends on others."""
    return a_container(name, labels={DEPENDS_ON: ",".join(targets)}, **more)


def of_compose(service: str, depends_on: str = "", project: str = "shop") -> ContainerSummary:
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.depends_on": depends_on,
    }
    return a_container(service, labels=labels)


def grouped(containers: Iterable[ContainerSummary], updates: str, **more: Any) -> Grouping:
    return make_groups(list(containers), updates=updates.split(), **more)


def shape(grouping: Grouping) -> list[str]:
    """Return the groups as text: `vpn web(recreate)`."""

    def text(group: Group) -> str:
        return " ".join(
            member.name if member.role is Role.UPDATE else f"{member.name}({member.role})" for member in group.members
        )

    return [text(group) for group in grouping.groups]


def test_containers_that_share_nothing_are_groups_of_their_own() -> None:
    """And what is not updated is in none."""
    grouping = grouped([a_container("a"), a_container("b"), a_container("c")], "c a")
    assert shape(grouping) == ["a", "c"]
    assert all(not group.after for group in grouping.groups)


def test_those_in_a_network_namespace_are_re_created_with_its_owner() -> None:
    """Also those that share with them, and stopped ones, which are not started."""
    containers = [
        sharing("b", "a"), a_container("a"), sharing("d", "b", state="exited"), a_container("other"),
    ]  # fmt: skip
    (group,) = grouped(containers, "a").groups
    assert shape(Grouping((group,))) == ["a b(recreate) d(recreate)"]
    assert [member.name for member in group.create_order] == ["a", "b", "d"]
    assert [member.name for member in group.stop_order] == ["b", "a"]
    assert [member.name for member in group.start_order] == ["a", "b"]
    assert [member.name for member in group.remove_order] == ["d", "b", "a"]


@pytest.mark.parametrize("mode", ["PidMode", "IpcMode", "NetworkMode"])
def test_shared_namespaces_are_read_from_inspect(mode: str) -> None:
    """The list of containers tells about networks only."""
    documents = {id_of("b"): {"HostConfig": {mode: f"container:{id_of('a')}"}}}
    assert shape(grouped([a_container("a"), a_container("b")], "a", documents=documents)) == ["a b(recreate)"]


def test_link_users_are_re_created_with_their_target() -> None:
    """The engine lists `/web/db` among the target's names; inspect has it at the user."""
    listed = [a_container("db", aliases={"/web/db"}), a_container("web")]
    assert shape(grouped(listed, "db")) == ["db web(recreate)"]
    documents = {id_of("web"): {"HostConfig": {"Links": ["/db:/web/db"]}}}
    assert shape(grouped([a_container("db"), a_container("web")], "db", documents=documents)) == ["db web(recreate)"]


def test_target_of_an_updated_container_is_not_touched() -> None:
    """It is joined again as it is."""
    assert shape(grouped([a_container("vpn"), sharing("web", "vpn")], "web")) == ["web"]


def test_two_updates_bound_to_each_other_are_one_group() -> None:
    """Known by the first one's name, targets first."""
    (group,) = grouped([sharing("a", "z"), a_container("z")], "a z").groups
    assert (group.key, group.names) == ("z", ("z", "a"))


def test_updates_with_a_common_dependent_are_one_group() -> None:
    """It cannot be re-created twice."""
    containers = [a_container("a", aliases={"/c/a"}), a_container("b", aliases={"/c/b"}), a_container("c")]
    assert shape(grouped(containers, "a b")) == ["a b c(recreate)"]


def test_groups_follow_what_they_depend_on() -> None:
    """Also through a container that is not updated."""
    containers = [after("web", "api"), after("api", "db"), a_container("db"), a_container("other")]
    grouping = grouped(containers, "web db other")
    following = {group.key: group.after for group in grouping.groups}
    # `api` is restarted for `db`, and `web` after both.
    assert following == {"db": frozenset(), "web": frozenset({"db"}), "other": frozenset()}
    assert [group.key for group in grouping.groups].index("db") < [group.key for group in grouping.groups].index("web")


def test_compose_dependents_are_restarted_where_they_say_so() -> None:
    """`restart: true` of `depends_on`; the others keep running."""
    containers = [
        of_compose("db"),
        of_compose("web", "db:service_healthy:true"),
        of_compose("job", "db:service_started:false"),
        of_compose("proxy", "web:service_started:true"),
        a_container("foreign", labels={"com.docker.compose.depends_on": "db:service_started:true"}),
    ]
    assert shape(grouped(containers, "db")) == ["db web(restart) proxy(restart)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("db", ()),
        ("db:service_started", ()),
        ("db:service_started:false, cache:service_healthy:True", ("cache",)),
        ('{"db": {"condition": "service_healthy", "restart": true}, "x": {"restart": false}, "y": 1}', ("db",)),
        ('{"db"', ()),
        ('{"a":' * 5000, ()),
    ],
)
def test_every_form_of_the_compose_label_is_read(text: str, expected: tuple[str, ...]) -> None:
    """Two versions of compose and podman-compose write it differently."""
    assert expected == restarting_services(text)


def test_label_restarts_dependents_as_watchtower_does() -> None:
    """Running ones only; what is updated or re-created itself is not restarted as well."""
    containers = [
        a_container("db"),
        after("web", "db"),
        after("stopped", "db", state="exited"),
        after("paused", "db", state="paused"),
        after("stale", "db"),
    ]
    assert shape(grouped(containers, "db stale")) == ["db web(restart)", "stale"]


def test_namespace_sharers_of_a_restarted_container_are_restarted() -> None:
    """They would stay in the dead namespace; a re-creation is not needed, as the target stays the same."""
    containers = [a_container("db"), after("web", "db"), sharing("helper", "web")]
    assert shape(grouped(containers, "db")) == ["db web(restart) helper(restart)"]


def test_what_several_groups_restart_is_restarted_by_the_last() -> None:
    """Once, when all of them run."""
    containers = [a_container("a"), after("b", "a"), a_container("c"), after("web", "a", "b", "c")]
    grouping = grouped(containers, "a b c")
    with_web = [group for group in grouping.groups if "web" in group.names]
    assert len(with_web) == 1
    assert with_web[0] is grouping.groups[-1]
    assert with_web[0].after == {"a", "b", "c"} - {with_web[0].key}


def test_compose_order_counts_only_where_it_is_wanted() -> None:
    """Without it compose's label neither orders nor restarts; Watchtower's own label does."""
    containers = [
        of_compose("db"), of_compose("web", "db:service_started:true"), of_compose("job", "db:service_started:true"),
        after("own", "db"),
    ]  # fmt: skip
    wanted = grouped(containers, "db web")
    assert shape(wanted) == ["db job(restart) own(restart)", "web"]
    assert wanted.groups[1].after == {"db"}
    unwanted = grouped(containers, "db web", use_compose=False)
    assert shape(unwanted) == ["db own(restart)", "web"]
    assert unwanted.groups[1].after == frozenset()


def test_circle_costs_its_members_only() -> None:
    """They have no order; those outside go on."""
    containers = [after("a", "b"), after("b", "a"), a_container("c"), after("d", "c")]
    grouping = grouped(containers, "a b c d")
    assert shape(grouping) == ["c", "d"]
    reason = "these depend on each other in a circle: a, b"
    assert grouping.left_out == (LeftOut("a", reason, True), LeftOut("b", reason, True))


def test_circle_between_transactions_is_found() -> None:
    """No container depends on itself, and yet neither group can be first."""
    containers = [
        a_container("a", aliases={"/c/a"}), after("b", "d", aliases={"/c/b"}), a_container("c"), after("d", "a"),
    ]  # fmt: skip
    grouping = grouped(containers, "a b d")
    assert shape(grouping) == []
    assert sorted(item.name for item in grouping.left_out) == ["a", "b", "d"]
    assert all(item.is_circular for item in grouping.left_out)


def test_container_that_must_not_be_touched_holds_its_group() -> None:
    """A re-creation would touch it; a restart is left out instead."""
    containers = [a_container("vpn"), sharing("web", "vpn"), after("proxy", "vpn"), a_container("other")]
    grouping = grouped(containers, "vpn other", held={"web": "managed by Nomad", "proxy": "managed by Nomad"})
    assert shape(grouping) == ["other"]
    (left,) = grouping.left_out
    assert (left.name, left.is_circular) == ("vpn", False)
    assert "web would have to be re-created with it" in left.reason
    assert "Nomad" in left.reason
    assert shape(grouped(containers, "vpn other", held={"proxy": "x"})) == ["other", "vpn web(recreate)"]


def test_part_of_an_unfinished_replacement_is_not_touched() -> None:
    """Its name says so."""
    grouping = grouped([a_container("vpn"), sharing("web.wta-old-ra-1f3c9b2d77aa", "vpn")], "vpn")
    assert shape(grouping) == []
    assert "unfinished replacement" in grouping.left_out[0].reason


def test_containers_that_are_leaving_are_not_there() -> None:
    """They are no members and hold nobody."""
    assert shape(grouped([a_container("vpn"), sharing("web", "vpn", state="removing")], "vpn")) == ["vpn"]


def test_stored_group_is_read_back() -> None:
    """With roles and order."""
    containers = [a_container("db"), after("web", "db"), sharing("helper", "db", state="exited")]
    (group,) = grouped(containers, "db").groups
    assert group == read_group(json.loads(json.dumps(group.as_json())))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": "b", "b": "a", "c": "a"}, [{"a", "b"}]),
        ({"a": "a"}, []),
        ({"a": "b", "b": "c", "c": "b", "d": "c e", "e": "d"}, [{"b", "c"}, {"d", "e"}]),
        ({"a": "b", "b": "x", "x": "c", "c": "a"}, [{"a", "b", "c", "x"}]),
        ({"a": "b", "b": "a c", "c": "d", "d": "c"}, [{"a", "b"}, {"c", "d"}]),
        ({"a": "nobody"}, []),
    ],
)
def test_circles_are_exactly_those(graph: Mapping[str, str], expected: list[set[str]]) -> None:
    """What lies on a way between two circles is in neither."""
    found = walk({name: frozenset(targets.split()) for name, targets in graph.items()}).circles
    assert sorted(map(sorted, expected)) == sorted(map(sorted, found))


def test_long_chain_is_no_problem() -> None:
    """Nothing here recurses."""
    graph = {f"n{number}": frozenset({f"n{number + 1}"}) for number in range(20_000)}
    assert walk({**graph, "n20000": frozenset({"n0"})}).circles == (frozenset({*graph, "n20000"}),)
    assert walk(graph).circles == ()
    assert walk(graph).position["n0"] == 19_999


NAMES = "abcdefghij"


@st.composite
def towns(draw: st.DrawFn) -> tuple[list[ContainerSummary], list[str]]:
    """Draw containers that depend on each other in any way, and which of them are updated."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    some = st.lists(st.sampled_from(names), max_size=2)
    links: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for target in draw(some) if draw(st.integers(0, 3)) == 0 else ():
            links[target].add(f"/{name}/x")
    containers = []
    for name in names:
        owner = draw(st.sampled_from([name, name, *names]))
        labels = {DEPENDS_ON: ",".join(draw(some))}
        mode = "bridge" if owner == name else f"container:{id_of(owner)}"
        state = draw(st.sampled_from(["running", "running", "exited"]))
        containers.append(a_container(name, labels=labels, network_mode=mode, aliases=links[name], state=state))
    return containers, draw(st.lists(st.sampled_from(names), unique=True))


@given(towns())
@settings(max_examples=150, deadline=None)
def test_groups_keep_their_promises(town: tuple[list[ContainerSummary], list[str]]) -> None:
    """Every update is in one group or left out; nobody is in two; what is bound together stays together, in order."""
    containers, updates = town
    grouping = make_groups(containers, updates=updates)
    members = [name for group in grouping.groups for name in group.names]
    assert len(members) == len(set(members))
    in_groups = {member.name for group in grouping.groups for member in group.updated}
    assert sorted([*in_groups, *(item.name for item in grouping.left_out)]) == sorted(updates)
    seen: set[str] = set()
    home = {member.name: group.key for group in grouping.groups for member in group.create_order}
    by_name = {item.name: item for item in containers}
    for group in grouping.groups:
        assert group.after <= seen
        seen.add(group.key)
        order = [member.name for member in group.create_order]
        for name, other in ((name, other) for name in order for other in containers if other.name != name):
            is_linked = f"/{other.name}/x" in by_name[name].aliases
            if is_linked or other.network_mode == f"container:{id_of(name)}":
                assert home[other.name] == group.key
                assert order.index(name) < order.index(other.name)
