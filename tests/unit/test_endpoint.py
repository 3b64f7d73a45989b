"""Where requests may go."""

from __future__ import annotations

import pytest
import yarl

from watchtower_async.errors import ProtocolViolationError
from watchtower_async.registry.endpoint import Endpoint, check_realm, check_redirect, may_be_insecure, same_origin

REGISTRY = Endpoint("https", "registry.example")


def test_url_is_below_the_endpoint_and_not_encoded() -> None:
    """Digests keep their colon."""
    url = Endpoint("https", "registry.example:5000").url("/v2/a/manifests/sha256:00?n=1")
    assert str(url) == "https://registry.example:5000/v2/a/manifests/sha256:00?n=1"


@pytest.mark.parametrize("host", ["registry.example:99999", "registry.example:0x"])
def test_port_out_of_range_is_an_error_about_the_image_name(host: str) -> None:
    """The grammar of names allows any digits."""
    with pytest.raises(ProtocolViolationError, match="check host and port"):
        Endpoint("https", host).url("/v2/")


@pytest.mark.parametrize(
    ("host", "listed", "expected"),
    [
        ("localhost", [], True),
        ("LOCALHOST:5000", [], True),
        ("a.localhost", [], True),
        ("127.0.0.1:5000", [], True),
        ("127.255.0.1", [], True),
        ("[::1]:5000", [], True),
        ("10.0.0.1:5000", [], False),
        ("192.168.1.1", [], False),
        ("localhost.example", [], False),
        ("notlocalhost", [], False),
        ("[::2]", [], False),
        ("registry.example", ["registry.example"], True),
        ("registry.example:5000", ["Registry.Example"], True),
        ("registry.example:5000", ["registry.example:5000"], True),
        ("registry.example:5001", ["registry.example:5000"], False),
        ("registry.example", ["registry.example:5000"], False),
        ("registry.example.evil.example", ["registry.example"], False),
        ("evil-registry.example", ["registry.example"], False),
    ],
)
def test_insecure_is_loopback_and_what_is_listed(host: str, listed: list[str], expected: bool) -> None:
    """Private networks are not insecure by themselves, and names are compared as a whole."""
    assert may_be_insecure(host, frozenset(listed)) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("https://a.example/x", "https://A.example:443/y", True),
        ("http://a.example", "http://a.example:80", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:444", False),
        ("https://a.example", "https://a.example.evil.example", False),
        ("https://a.example", "https://b.example", False),
    ],
)
def test_origin_is_scheme_host_and_port(a: str, b: str, expected: bool) -> None:
    """RFC 6454: the default port is the port."""
    assert same_origin(yarl.URL(a), yarl.URL(b)) is expected


@pytest.mark.parametrize(
    ("realm", "expected"),
    [
        ("https://auth.example/token", "https://auth.example/token"),
        ("https://auth.example/token/?x=%2F&y", "https://auth.example/token/?x=%2F&y"),
        ("/token", "https://registry.example/token"),
        ("token", "https://registry.example/token"),
        ("//auth.example/token", "https://auth.example/token"),
    ],
)
def test_realm_may_be_elsewhere_or_relative(realm: str, expected: str) -> None:
    """It is kept as it is, with its own query and its final slash."""
    assert str(check_realm(realm, endpoint=REGISTRY, insecure=False)) == expected


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "http://registry.example/token",
        "https://user@auth.example/token",
        "https://:pass@auth.example/token",
        "https://auth.example/token#x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https:///token",
        "https://auth.example:99999/",
        "https://auth.example /token",
        "https://auth.example/to\nken",
        "https://аuth.example/token",
        "https://[::1]/token",
        "https://[fe80::1%25eth0]/token",
        "https://localhost/token",
        "https://LOCALHOST./token",
        "https://127.1/token",
        "https://0x7f.1/token",
        "https://2130706433/token",
        "https://0/token",
        "https://10.1.2.3/token",
        "https://172.16.0.1/token",
        "https://192.168.0.1/token",
        "https://100.64.0.1/token",
        "https://169.254.169.254/token",
        "https://[fd00::1]/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://[64:ff9b::a00:1]/token",
        "https://[2002:a00:1::]/token",
        "https://[::]/token",
    ],
)
def test_unsafe_realm_is_refused_and_named_without_its_secrets(realm: str) -> None:
    """A registry out there cannot choose where a password goes in here, or without TLS."""
    with pytest.raises(ProtocolViolationError) as caught:
        check_realm(realm, endpoint=REGISTRY, insecure=False)
    assert "registry.example" in str(caught.value)
    assert "pass" not in str(caught.value).replace("/etc/passwd", "")


@pytest.mark.parametrize("realm", ["https://172.32.0.1/t", "https://11.0.0.1/t", "https://[2001:db8::1]/t"])
def test_realm_at_a_public_address_is_allowed(realm: str) -> None:
    """Only addresses inside are refused."""
    check_realm(realm, endpoint=REGISTRY, insecure=False)


@pytest.mark.parametrize(
    ("registry", "realm", "is_allowed"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token", True),
        ("http://127.0.0.1:5000", "http://localhost:5001/token", True),
        ("http://127.0.0.1:5000", "http://auth.example/token", False),
        ("http://plain.example", "http://plain.example:5001/token", True),
        ("http://plain.example", "http://other.example/token", False),
        ("http://plain.example", "https://other.example/token", True),
        ("https://plain.example", "http://plain.example/token", False),
        ("http://10.0.0.1:5000", "https://10.0.0.2/token", True),
        ("https://10.0.0.1", "https://192.168.0.1/token", True),
    ],
)
def test_realm_of_an_insecure_registry(registry: str, realm: str, is_allowed: bool) -> None:
    """Http beside http on the same host or between loopbacks; a registry inside may name a service inside."""
    scheme, _, host = registry.partition("://")
    endpoint = Endpoint(scheme, host)
    if is_allowed:
        assert str(check_realm(realm, endpoint=endpoint, insecure=True)) == realm
    else:
        with pytest.raises(ProtocolViolationError):
            check_realm(realm, endpoint=endpoint, insecure=True)


def test_http_realm_needs_permission() -> None:
    """A registry that was reached over http without being marked insecure is a mistake of ours."""
    with pytest.raises(ProtocolViolationError):
        check_realm("http://plain.example/t", endpoint=Endpoint("http", "plain.example"), insecure=False)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("https://cdn.example/x?signature=a%2Bb", "https://cdn.example/x?signature=a%2Bb"),
        ("/v2/y", "https://registry.example/v2/y"),
        ("y?z", "https://registry.example/v2/y?z"),
        ("https://cdn.example/x#part", "https://cdn.example/x"),
    ],
)
def test_redirect_is_followed_as_it_is_written(target: str, expected: str) -> None:
    """Pre-signed URLs must not be encoded anew."""
    assert str(check_redirect(yarl.URL("https://registry.example/v2/x"), target)) == expected


@pytest.mark.parametrize(
    "target",
    [
        "http://registry.example/v2/x",
        "https://user:secret@cdn.example/x",
        "ftp://cdn.example/x?secret",
        "https://127.0.0.1/x?secret",
        "https://169.254.169.254/x?secret",
        "https://[::ffff:127.0.0.1]/x?secret",
        "https://3232235777/x?secret",
        "\x00secret",
        "",
        "https://",
    ],
)
def test_unsafe_redirect_is_refused_without_repeating_it(target: str) -> None:
    """Queries of redirects hold signatures."""
    source = yarl.URL("https://registry.example/v2/x")
    with pytest.raises(ProtocolViolationError) as caught:
        check_redirect(source, target)
    assert "secret" not in str(caught.value)
    assert caught.value.host == "registry.example"


def test_server_inside_may_redirect_inside() -> None:
    """A registry in a private network has its storage there."""
    assert str(check_redirect(yarl.URL("http://10.0.0.1:5000/v2/x"), "http://10.0.0.2/y")) == "http://10.0.0.2/y"
