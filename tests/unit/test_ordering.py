"""Order of updates."""

from tests.support.builders import a_container
from watchtower_async.updates.ordering import dependencies, find_cycles, in_order


def test_compose_dependencies_are_found_within_the_project() -> None:
    """A service name means the containers of the same project only."""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    db = a_container("shop-db-1", labels=labels)
    other = a_container("blog-db-1", labels={**labels, "com.docker.compose.project": "blog"})
    web = a_container(
        "shop-web-1",
        labels={
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "web",
            "com.docker.compose.depends_on": "db:service_healthy:true",
        },
    )
    assert dependencies([web, db, other])["shop-web-1"] == {"shop-db-1"}


def test_label_replaces_all_other_sources() -> None:
    """The explicit label wins over network and links."""
    label = {"com.centurylinklabs.watchtower.depends-on": " /db, cache"}
    web = a_container("web", labels=label, network_mode="container:" + a_container("vpn").id)
    graph = dependencies([web, a_container("db"), a_container("cache"), a_container("vpn")])
    assert graph["web"] == {"db", "cache"}


def test_legacy_link_is_read_from_the_names_of_its_target() -> None:
    """The engine lists `/web/db` among the names of the container that web links to."""
    graph = dependencies([a_container("web"), a_container("db", aliases={"/web/database"})])
    assert graph["web"] == {"db"}


def test_shared_network_namespace_is_a_dependency() -> None:
    """Who lives in another's network comes after it."""
    vpn = a_container("vpn")
    graph = dependencies([a_container("web", network_mode=f"container:{vpn.id}"), vpn])
    assert graph["web"] == {"vpn"}


def test_order_puts_dependencies_first() -> None:
    """Each name comes after what it depends on, also through names that are not sorted."""
    graph = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset[str](), "d": frozenset[str]()}
    assert in_order(["a", "d", "c"], graph).index("c") < in_order(["a", "d", "c"], graph).index("a")


def test_cycle_names_its_members_only() -> None:
    """A circle does not hold those outside it."""
    graph = {"a": frozenset({"b"}), "b": frozenset({"a"}), "c": frozenset({"a"}), "d": frozenset[str]()}
    (cycle,) = find_cycles(graph)
    assert cycle == {"a", "b"}
