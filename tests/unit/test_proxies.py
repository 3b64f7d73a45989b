"""Which requests go through a proxy."""

from __future__ import annotations

import pytest
import yarl

from watchtower_async.registry.proxies import Proxy, has_proxies, proxy_for

PROXY = {"HTTPS_PROXY": "http://proxy.example:3128", "HTTP_PROXY": "proxy.example:3129"}


def through(url: str, environ: dict[str, str]) -> Proxy | None:
    """Return the proxy for a URL in text form."""
    return proxy_for(yarl.URL(url), environ)


def test_scheme_of_the_request_chooses_the_proxy() -> None:
    """A proxy without a scheme is an http proxy."""
    assert through("https://registry.example/", PROXY) == Proxy(yarl.URL("http://proxy.example:3128"))
    assert through("http://registry.example/", PROXY) == Proxy(yarl.URL("http://proxy.example:3129"))
    assert through("https://registry.example/", {}) is None


def test_lower_case_variable_goes_first() -> None:
    """As with curl."""
    found = through("https://registry.example/", PROXY | {"https_proxy": "http://other.example:1"})
    assert found is not None
    assert found.url.host == "other.example"


@pytest.mark.parametrize("host", ["localhost:5000", "a.localhost", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_loopback_is_never_asked_through_a_proxy(host: str) -> None:
    """It would be the loopback of the proxy."""
    assert through(f"https://{host}/", PROXY) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("registry.example", "registry.example", True),
        ("REGISTRY.example", "registry.EXAMPLE", True),
        ("example", "registry.example", True),
        (".example", "registry.example", True),
        (".registry.example", "registry.example", False),
        ("*.example", "registry.example", True),
        ("try.example", "registry.example", False),
        ("a.example, registry.example", "registry.example", True),
        ("registry.example:5000", "registry.example:5000", True),
        ("registry.example:5000", "registry.example", False),
        ("*", "registry.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3:5000", True),
        ("fd00::/8", "[fd00::1]", True),
        ("", "registry.example", False),
        (",", "registry.example", False),
    ],
)
def test_no_proxy_lists_names_addresses_and_networks(no_proxy: str, host: str, is_direct: bool) -> None:
    """A domain stands for all names below it, at a dot."""
    assert (through(f"https://{host}/", PROXY | {"NO_PROXY": no_proxy}) is None) is is_direct


def test_password_of_the_proxy_is_in_neither_url_nor_repr() -> None:
    """It goes into a header field of its own."""
    found = through("https://registry.example/", {"HTTPS_PROXY": "http://user:p%40ss@proxy.example:3128"})
    assert found is not None
    assert found.authorization == "Basic dXNlcjpwQHNz"
    assert found.url == yarl.URL("http://proxy.example:3128")
    assert "dXNlcjpwQHNz" not in repr(found)


@pytest.mark.parametrize("text", ["socks5://user:secret@proxy.example:1080", "http://", "http://proxy.example:99999"])
def test_unusable_proxy_is_named_by_its_variable_only(text: str) -> None:
    """The value may hold a password."""
    with pytest.raises(ValueError, match="HTTPS_PROXY is not usable") as caught:
        through("https://registry.example/", {"HTTPS_PROXY": text})
    assert "secret" not in str(caught.value)


def test_empty_variable_is_no_proxy() -> None:
    """An empty value is how a proxy is turned off."""
    assert not has_proxies({"HTTPS_PROXY": "", "NO_PROXY": "x"})
    assert has_proxies({"http_proxy": "x"})
