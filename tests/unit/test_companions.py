"""Who is replaced together with a container, as a list of containers tells."""

from tests.support.builders import a_container
from watchtower_async.updates.companions import companions

WEB = a_container("web", aliases={"/proxy/backend", "/web.wta-old-ra-1f3c9b2d77aa/x"})
PROXY = a_container("proxy")
GUEST = a_container("guest", network_mode=f"container:{WEB.id}")
OTHER = a_container("other", network_mode="container:x")


def test_who_lives_in_the_network_and_who_links_is_replaced_with_it() -> None:
    """Half of a replacement is nobody."""
    half = a_container("web.wta-old-ra-1f3c9b2d77aa", network_mode=f"container:{WEB.id}")
    assert companions(WEB, [WEB, PROXY, GUEST, OTHER, half]) == ("guest", "proxy")


def test_who_lives_with_those_is_replaced_as_well() -> None:
    """The guest is created anew, so its own guests lose their network, too."""
    inner = a_container("inner", network_mode=f"container:{GUEST.id}")
    assert companions(WEB, [inner, GUEST, WEB]) == ("guest", "inner")


def test_target_is_not_replaced_with_its_users() -> None:
    """A container in the network of another one can be created anew without it."""
    assert companions(GUEST, [WEB, GUEST]) == ()


def test_circle_has_an_end() -> None:
    """Links can go round."""
    first = a_container("first", aliases={"/second/x"})
    second = a_container("second", aliases={"/first/x"})
    assert companions(first, [first, second]) == ("second",)
