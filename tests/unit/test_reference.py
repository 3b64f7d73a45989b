"""Image names, read as the Docker CLI reads them."""

import pytest

from tests.support.builders import a_digest, an_id
from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import (
    Reference,
    host_without_port,
    is_image_id,
    is_loopback_host,
    parse_reference,
    repo_digest_matches,
)

DIGEST = a_digest("v1")
LONGEST = "/".join(["a" * 50] * 5)


@pytest.mark.parametrize(
    ("text", "domain", "path", "tag"),
    [
        ("redis", "docker.io", "library/redis", "latest"),
        ("redis:7-alpine", "docker.io", "library/redis", "7-alpine"),
        ("vendor/app:1", "docker.io", "vendor/app", "1"),
        ("docker.io/redis", "docker.io", "library/redis", "latest"),
        ("docker.io/library", "docker.io", "library/library", "latest"),
        ("index.docker.io/vendor/app", "docker.io", "vendor/app", "latest"),
        ("registry-1.docker.io/library/redis", "registry-1.docker.io", "library/redis", "latest"),
        ("localhost/app", "localhost", "app", "latest"),
        ("localhost:5000", "docker.io", "library/localhost", "5000"),
        ("ghcr.io", "docker.io", "library/ghcr.io", "latest"),
        ("myhost/app", "docker.io", "myhost/app", "latest"),
        ("MyHost/app", "MyHost", "app", "latest"),
        ("my-host:5000/app", "my-host:5000", "app", "latest"),
        ("host.example:99999/a/b/c:v1", "host.example:99999", "a/b/c", "v1"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000", "app", "latest"),
        ("[::1]/app:x", "[::1]", "app", "x"),
        ("a.b__c---d", "docker.io", "library/a.b__c---d", "latest"),
        ("app:_", "docker.io", "library/app", "_"),
        (f"app:{'t' * 128}", "docker.io", "library/app", "t" * 128),
        (f"h.example/{LONGEST}", "h.example", LONGEST, "latest"),
        ("sha256:abc", "docker.io", "library/sha256", "abc"),
    ],
)
def test_name_is_read_with_every_default_filled_in(text: str, domain: str, path: str, tag: str) -> None:
    """Domain, `library/` and `latest` are implied where the Docker CLI implies them."""
    assert Reference(domain, path, tag, None) == parse_reference(text)


@pytest.mark.parametrize(("text", "tag"), [(f"host.example/a@{DIGEST}", None), (f"host.example/a:v1@{DIGEST}", "v1")])
def test_digest_implies_no_tag_and_keeps_one(text: str, tag: str | None) -> None:
    """A digest pins; a tag beside it stays as a note."""
    reference = parse_reference(text)
    assert Reference("host.example", "a", tag, parse_digest(DIGEST)) == reference
    assert reference.is_pinned
    assert reference.tag_or_latest == (tag or "latest")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "redis ", " redis", "redis\n", "redis:7\n", "Redis", "vendor/App", "redis:", "redis@", ":7", "@", "/",
        "a//b", "a/", "/a", "a..b", "a___b", "a._b", "-a", "a-", "_a", "a/.b", "redis:-7", "redis:.7", "redis:7:8",
        f"redis:{'t' * 129}", "redis:ä", "\uff52edis", "redis:٧", "\u212a/app", "user@host.example/app",
        "https://host.example/app", "docker://redis", "host.example:/app", "host.example:x/app", "-host.example/app",
        "host-.example/app", "[fe80::1%eth0]/app", "[127.0.0.1]/app", "[::1/app", "host_name.example/app",
        f"h.example/{LONGEST}a/b", f"{'a' * 248}", "<none>", "<none>:<none>", an_id("x"), DIGEST, f"@{DIGEST}",
        f"redis@{DIGEST}@{DIGEST}", f"redis@{DIGEST.upper()}", "redis@sha256:abc", f"redis@md5:{'a' * 32}",
    ],
)  # fmt: skip
def test_text_that_is_no_name_is_refused(text: str) -> None:
    """Nothing is trimmed, lowered or repaired; image ids and placeholders are no names."""
    with pytest.raises(InvalidReferenceError):
        parse_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:s3cr3t@host.example/app",
        "https://user:s3cr3t@sha.example/app",
        "https://user:s3cr3t@sha256.example:5000/app",
        f"https://user:s3cr3t@host.example/app@{DIGEST}",
        "https://user:s3cr@s3cr3t@host.example/app",
        "user:s3cr3t@host.example/app",
    ],
)
def test_message_about_a_url_holds_no_password(text: str) -> None:
    """What may be the user info of a URL is not shown."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(text)
    assert "s3cr" not in str(caught.value)


def test_message_is_one_short_line() -> None:
    """A text that others wrote cannot break the log or fill it."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference("A\n\x1b[31m" * 1000)
    assert len(str(caught.value)) < 800
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("redis", "redis:latest"),
        ("docker.io/vendor/app:1", "vendor/app:1"),
        ("ghcr.io/vendor/app:1", "ghcr.io/vendor/app:1"),
        (f"redis:7@{DIGEST}", f"redis:7@{DIGEST}"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("docker.io/localhost/app", "docker.io/localhost/app:latest"),
        ("docker.io/host.example/app", "docker.io/host.example/app:latest"),
        (f"docker.io/library/sha256:{an_id('x')}", f"docker.io/library/sha256:{an_id('x')}"),
    ],
)
def test_familiar_form_is_what_docker_shows_and_reads_back(text: str, familiar: str) -> None:
    """The short form is for people, and it never means another image."""
    reference = parse_reference(text)
    assert familiar == reference.familiar
    assert reference == parse_reference(reference.familiar)


@pytest.mark.parametrize(
    ("text", "host", "key"),
    [
        ("redis", "registry-1.docker.io", "https://index.docker.io/v1/"),
        ("index.docker.io/redis", "registry-1.docker.io", "https://index.docker.io/v1/"),
        ("my-host:5000/app", "my-host:5000", "my-host:5000"),
        ("registry-1.docker.io/library/redis", "registry-1.docker.io", "registry-1.docker.io"),
    ],
)
def test_docker_hub_is_asked_and_looked_up_under_its_own_names(text: str, host: str, key: str) -> None:
    """Only the domain docker.io has an API host and a credential key of its own."""
    reference = parse_reference(text)
    assert (host, key) == (reference.host, reference.credential_key)


def test_pinning_keeps_the_tag_as_a_note() -> None:
    """A pull by digest still says which tag it stands for."""
    pinned = parse_reference("vendor/app:1").with_digest(parse_digest(DIGEST))
    assert f"docker.io/vendor/app:1@{DIGEST}" == str(pinned)


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        (an_id("x"), True),
        (a_digest("x"), True),
        (an_id("x")[:12], True),
        (a_digest("x")[:19], True),
        (an_id("x")[:4], True),
        (an_id("x")[:3], False),
        (an_id("other")[:12], False),
        (an_id("x")[:12].upper(), False),
        ("redis", False),
        ("", False),
    ],
)
def test_prefix_of_the_id_is_an_id(text: str, is_id: bool) -> None:
    """Long prefixes of the given id mean that id; short ones may be names such as `db`."""
    assert is_image_id(text, a_digest("x")) is is_id


def test_prefix_without_an_id_to_compare_is_a_name() -> None:
    """Twelve hex digits alone prove nothing."""
    assert not is_image_id(an_id("x")[:12])


@pytest.mark.parametrize(
    ("host", "without"),
    [
        ("host.example:5000", "host.example"),
        ("host.example", "host.example"),
        ("[::1]:5000", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("host:", "host"),
    ],
)
def test_port_is_taken_off_a_host(host: str, without: str) -> None:
    """An IPv6 address is not cut at its own colons."""
    assert without == host_without_port(host)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("LocalHost:5000", True),
        ("registry.localhost", True),
        ("127.0.0.1:5000", True),
        ("127.255.3.4", True),
        ("[::1]:5000", True),
        ("[0:0:0:0:0:0:0:1]", True),
        ("mylocalhost", False),
        ("localhost.example", False),
        ("128.0.0.1", False),
        ("10.0.0.1:5000", False),
        ("[::2]", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_the_text_alone(host: str, is_loopback: bool) -> None:
    """Names and literals of the own machine only; private networks are others."""
    assert is_loopback_host(host) is is_loopback


@pytest.mark.parametrize(
    ("entry", "name", "belongs"),
    [
        (f"redis@{DIGEST}", "docker.io/library/redis:7", True),
        (f"index.docker.io/library/redis@{DIGEST}", "redis", True),
        (f"Host.Example/app@{DIGEST}", "host.example/app", True),
        (f"vendor/redis@{DIGEST}", "redis", False),
        (f"host.example:5000/app@{DIGEST}", "host.example/app", False),
        ("redis:7", "redis", False),
        ("<none>@<none>", "redis", False),
        (f"<none>@{DIGEST}", "redis", False),
    ],
)
def test_recorded_digest_belongs_to_its_repository_only(entry: str, name: str, belongs: bool) -> None:
    """Entries of other repositories, and placeholders, prove nothing about this one."""
    expected = parse_digest(DIGEST) if belongs else None
    assert expected == repo_digest_matches(entry, parse_reference(name))
