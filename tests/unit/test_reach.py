"""What a replacement cannot do yet."""

from typing import Any

import pytest

from tests.support.builders import a_container, an_id
from watchtower_async.engine.spec import Recreation
from watchtower_async.updates.reach import out_of_reach, sharers_inspected, sharers_listed

WEB = a_container("web", aliases={"/proxy/backend", "/web.wta-old-ra-1f3c9b2d77aa/x"})


def test_sharers_are_seen_in_the_list() -> None:
    """Who lives in the network, and who links to it; half of a replacement is nobody."""
    guest = a_container("guest", network_mode=f"container:{WEB.id}")
    assert sharers_listed(WEB, [WEB, guest, a_container("other", network_mode="container:x")]) == ("guest", "proxy")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"PidMode": f"container:{WEB.id}"}, ("guest",)),
        ({"IpcMode": f"container:{WEB.id}"}, ("guest",)),
        ({"NetworkMode": f"container:{an_id('other')}"}, ()),
        ({"VolumesFrom": [WEB.id]}, ()),
        ({}, ()),
    ],
)
def test_sharers_are_seen_in_their_documents(host: dict[str, Any], expected: tuple[str, ...]) -> None:
    """The list does not tell of process and IPC namespaces; volumes survive without their source."""
    assert expected == sharers_inspected(WEB.id, [{"Name": "/guest", "HostConfig": host}, {}])


def test_reasons_name_the_others_and_the_setting() -> None:
    """A person learns what has to be done together."""
    assert out_of_reach(Recreation({}), ()) == ()
    (reason,) = out_of_reach(Recreation({}), ("guest",))
    assert reason.startswith("guest shares its namespaces")
    (reason,) = out_of_reach(Recreation({}, vanishes_at_stop=True), ())
    assert "AutoRemove" in reason
