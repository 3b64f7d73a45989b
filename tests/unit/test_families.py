"""Which unfinished replacements are brought in order together."""

from typing import Any

from tests.support.builders import a_container, an_id
from watchtower_async.engine.inventory import ContainerSummary
from watchtower_async.rollout.families import Family, families

OWNER = "1f3c9b2d77aa"


def old(name: str) -> str:
    """Return the name of a predecessor."""
    return f"{name}.wta-old-ra-{OWNER}"


def in_namespace_of(target: ContainerSummary, setting: str = "NetworkMode") -> dict[str, Any]:
    """Return the document of one who shares a namespace."""
    return {"HostConfig": {setting: f"container:{target.id}"}}


def test_those_who_have_nothing_to_do_with_each_other_are_alone() -> None:
    """Each name is its own; containers without leftovers are no family."""
    containers = [a_container(old("web")), a_container("web"), a_container(old("db")), a_container("other")]
    assert families(containers, {}) == (Family(("db",)), Family(("web",)))


def test_user_of_the_predecessor_belongs_to_it() -> None:
    """Both predecessors still have their temporary names; the target stands first, whatever the names are."""
    web, app = a_container(old("web")), a_container(old("app"))
    containers = [app, web, a_container("web"), a_container("app")]
    assert families(containers, {app.id: in_namespace_of(web)}) == (Family(("web", "app")),)


def test_user_of_the_successor_belongs_to_it() -> None:
    """The predecessors are gone or say nothing; the new ones tell."""
    web, app = a_container("web"), a_container("app.wta-new-ra")
    containers = [app, web, a_container(old("web")), a_container("app")]
    assert families(containers, {app.id: in_namespace_of(web, "IpcMode")}) == (Family(("web", "app")),)


def test_link_is_told_by_the_names_of_its_target() -> None:
    """The engine lists it there under the name that the user has now."""
    app = a_container(old("app"))
    web = a_container(old("web"), aliases=[f"/{old('app')}/db"])
    assert families([web, app], {}) == (Family(("web", "app")),)


def test_chain_is_one_family_in_its_order() -> None:
    """A container in the network of one that is in the network of a third."""
    web, app, tool = (a_container(old(name)) for name in ("web", "app", "tool"))
    documents = {app.id: in_namespace_of(web), tool.id: in_namespace_of(app, "PidMode")}
    assert families([tool, app, web], documents) == (Family(("web", "app", "tool")),)


def test_target_whose_user_is_settled_is_joined() -> None:
    """The user lives with the successor and has no leftovers any more, so the target cannot go back alone."""
    web, app = a_container("web"), a_container("app")
    containers = [web, a_container(old("web")), app]
    assert families(containers, {app.id: in_namespace_of(web)}) == (Family(("web",), frozenset({"web"})),)


def test_target_whose_user_was_never_touched_is_not_joined() -> None:
    """The user lives with the predecessor; there is nothing in the way back."""
    predecessor, app = a_container(old("web")), a_container("app")
    containers = [predecessor, a_container("web"), app]
    assert families(containers, {app.id: in_namespace_of(predecessor)}) == (Family(("web",)),)


def test_dead_id_joins_nobody() -> None:
    """Its container is gone, and its name with it."""
    app = a_container(old("app"))
    documents = {app.id: {"HostConfig": {"NetworkMode": f"container:{an_id('gone')}"}}}
    assert families([app, a_container(old("web"))], documents) == (Family(("app",)), Family(("web",)))
