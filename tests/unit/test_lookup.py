"""Which stored credential serves an image."""

import itertools
import json
import time

import pytest

from watchtower_async.credentials.config_file import (
    EMPTY,
    BrokenEntry,
    ConfigFile,
    parse_auth_variable,
    parse_config_file,
)
from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.lookup import (
    Answer,
    HelperFailed,
    HelperFound,
    HelperNotFound,
    HelperQuestion,
    Lookup,
    Sources,
    Unusable,
    settle,
)
from watchtower_async.images.reference import parse_reference

HUB = "https://index.docker.io/v1/"
FROM_HELPER = Credential("helper", "pw", source="helper")
FROM_FILE = Credential("file", "pw", source="file")
BROKEN = BrokenEntry("the entry is broken")


def a_config(
    *keys: str, helpers: dict[str, str] | None = None, default_helper: str = "", empty: tuple[str, ...] = ()
) -> ConfigFile:
    """A configuration whose entries have their own key as the user name, with `|` for a colon."""
    filled = {key: {"username": key.replace(":", "|"), "password": "pw"} for key in keys}
    document = {
        "auths": filled | {key: {} for key in empty},
        "credHelpers": helpers or {},
        "credsStore": default_helper,
    }
    return parse_config_file(json.dumps(document).encode())


def stored(image: str, config: ConfigFile) -> str | None:
    """Return the key of the entry that serves an image, None for nobody."""
    found = Lookup(config).sources_for(parse_reference(image)).stored
    assert not isinstance(found, BrokenEntry)
    return found.username.replace("|", ":") if isinstance(found, Credential) else None


def helper(image: str, config: ConfigFile) -> str | None:
    """Return the suffix of the helper to ask for an image."""
    question = Lookup(config).sources_for(parse_reference(image)).helper
    return question.suffix if question else None


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("ghcr.io", "ghcr.io/team/app"),
        ("localhost:5000", "localhost:5000/app"),
        ("[::1]:5000", "[::1]:5000/app"),
        ("https://example.com", "example.com/app"),
        ("http://example.com/", "example.com/app"),
        ("https://example.com/v1/", "example.com/app"),
        ("http://example.com:6555/v2/", "example.com:6555/app"),
        ("https://example.com/anything/else?x=y", "example.com/app"),
        ("https://[::1]:5000/v2/", "[::1]:5000/app"),
        ("HTTPS://example.com/", "example.com/app"),
        ("oci://example.com", "example.com/app"),
        ("example.com/", "example.com/app"),
        ("example.com/v1/", "example.com/app"),
        ("example.com/v2", "example.com/app"),
        ("Example.COM", "example.com/app"),
        ("https://Example.COM/v1/", "example.com/app"),
        ("example.com", "Example.com/app"),
        ("https://evil.example/example.com", "evil.example/app"),
    ],
)
def test_key_serves_its_host(key: str, image: str) -> None:
    """Each form in which programs and people write a registry."""
    assert stored(image, a_config(key)) == key


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("example.com", "example.com:443/app"),
        ("example.com:443", "example.com/app"),
        ("https://example.com:443/", "example.com/app"),
        ("example.com", "sub.example.com/app"),
        ("sub.example.com", "example.com/app"),
        ("*.example.com", "sub.example.com/app"),
        ("https://evil.example/example.com", "example.com/app"),
        ("https://example.com@evil.example", "example.com/app"),
        ("https://evil.example\\@example.com", "example.com/app"),
        ("https://evil.example#@example.com", "example.com/app"),
        ("example.com.evil.example", "example.com/app"),
        (" example.com", "example.com/app"),
        ("", "example.com/app"),
        ("https://", "example.com/app"),
        ("ghcr.io", "redis"),
        ("auth.docker.io", "redis"),
        ("hub.docker.com", "redis"),
    ],
)
def test_key_serves_no_other_host(key: str, image: str) -> None:
    """Hosts are compared as a whole, port included; nothing is found because it is contained in something."""
    assert stored(image, a_config(key)) is None


RANKED = [
    "example.com",
    "https://example.com",
    "https://example.com/v1/",
    "http://example.com",
    "ftp://example.com",
    "example.com/",
    "example.com/v2/",
    "EXAMPLE.com",
    "https://EXAMPLE.com",
    "EXAMPLE.com/v1",
]
HUB_RANKED = [
    HUB,
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "https://docker.io",
    "https://index.docker.io/v2/",
    "https://registry-1.docker.io",
    "http://docker.io/v1",
    "docker.io/v1/",
    "index.docker.io/v1/",
    "Docker.io",
    "https://Index.Docker.io/v1/",
]


@pytest.mark.parametrize(("image", "ranked"), [("example.com/app", RANKED), ("redis", HUB_RANKED)], ids=["host", "hub"])
def test_best_key_answers_whatever_the_order_of_the_file(image: str, ranked: list[str]) -> None:
    """The better of any two keys wins, whichever is written first."""
    for better, worse in itertools.combinations(ranked, 2):
        assert stored(image, a_config(better, worse)) == better
        assert stored(image, a_config(worse, better)) == better


@pytest.mark.parametrize("image", ["redis", "docker.io/library/redis", "index.docker.io/vendor/app"])
def test_docker_hub_has_one_key(image: str) -> None:
    """However the image names Docker Hub, Docker's own key serves it, and a helper is asked for that."""
    config = a_config(HUB, default_helper="pass")
    expected = HelperQuestion("pass", HUB)
    assert Lookup(config).sources_for(parse_reference(image)).helper == expected
    assert stored(image, config) == HUB


@pytest.mark.parametrize("name", ["access-token", "refresh-token"])
@pytest.mark.parametrize("start", ["https://index.docker.io/v1/", "https://Index.Docker.io/v1/", "index.docker.io/v1/"])
def test_by_products_of_a_browser_login_serve_nobody(name: str, start: str) -> None:
    """They lie beside the key of Docker Hub and are no registry credentials."""
    key = start + name
    for image in ("redis", "vendor/app", "Index.Docker.io/app", "Docker.io/app"):
        assert stored(image, a_config(key)) is None
    assert stored("redis", a_config(key, HUB)) == HUB
    assert helper("redis", a_config(helpers={key: "pass"})) is None


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("quay.io/team/app", "quay.io/team"),
        ("quay.io/team/app/web", "quay.io/team/app/web"),
        ("quay.io/team/app/web/x", "quay.io/team/app/web"),
        ("quay.io/teams/app", "quay.io"),
        ("quay.io/other/app", "quay.io"),
        ("Quay.io/team/app", "quay.io/team"),
        ("redis", "docker.io/library"),
        ("vendor/product", "index.docker.io/vendor"),
        ("vendor2/product", HUB),
    ],
)
def test_longest_name_space_wins(image: str, expected: str) -> None:
    """Whole components are compared, and any name space comes before the registry."""
    config = a_config(
        "quay.io", "quay.io/team", "quay.io/team/app/web", HUB, "docker.io/library", "index.docker.io/vendor"
    )
    assert stored(image, config) == expected


@pytest.mark.parametrize("image", ["quay.io/other/app", "quay.io/teams", "quay.io/tea/m", "quay.io:443/team/app"])
def test_name_space_never_serves_outside_of_it(image: str) -> None:
    """The password of one team is not sent for another."""
    assert stored(image, a_config("quay.io/team")) is None


def test_name_space_is_for_entries_only() -> None:
    """Helpers are chosen for a registry as a whole."""
    assert helper("quay.io/team/app", a_config(helpers={"quay.io/team": "pass"})) is None


def test_empty_entry_ends_the_search_for_the_host() -> None:
    """The mark of a login hides worse keys, and the source tells why nobody is asked as."""
    config = a_config("docker.io", empty=(HUB,))
    expected = Anonymous(f'empty config.json entry "{HUB}"')
    assert Lookup(config).sources_for(parse_reference("redis")).stored == expected


def test_empty_name_space_is_skipped() -> None:
    """It marks nothing."""
    assert stored("quay.io/team/app", a_config("quay.io", empty=("quay.io/team",))) == "quay.io"


def test_broken_entry_is_chosen_like_any_other() -> None:
    """A worse key does not stand in for one that cannot be read."""
    config = parse_config_file(b'{"auths": {"ghcr.io": {"auth": "?"}, "https://ghcr.io": {"username": "u"}}}')
    sources = Lookup(config).sources_for(parse_reference("ghcr.io/app"))
    assert isinstance(sources.stored, BrokenEntry)
    assert isinstance(settle(sources), Unusable)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/app", "own"),
        ("plain.example/app", None),
        ("url.example/app", "by-url"),
        ("other.example/app", "default"),
        ("redis", "hub"),
    ],
)
def test_own_helper_comes_before_the_default_one(image: str, expected: str | None) -> None:
    """An empty name switches the helper off; keys match as those of the entries do."""
    helpers = {"ghcr.io": "own", "plain.example": "", "https://url.example/v1/": "by-url", "docker.io": "hub"}
    assert helper(image, a_config(helpers=helpers, default_helper="default")) == expected


def test_helper_is_told_the_registry_as_the_image_names_it() -> None:
    """Helpers look up the very text, so neither the key's form nor another case is passed on."""
    config = a_config(helpers={"https://ghcr.io/v2/": "own"})
    question = Lookup(config).sources_for(parse_reference("GHCR.io/app")).helper
    assert question == HelperQuestion("own", "GHCR.io")
    assert question.program == "docker-credential-own"


@pytest.mark.parametrize("suffix", ["../x", "a/b", "a b", "-x", "a\n", "é", "x" * 129, "\\x", ".."])
def test_helper_that_is_no_plain_name_is_not_run(suffix: str) -> None:
    """The name becomes part of a program's name; one that could be a path is a problem, and is not repeated."""
    for config in (a_config(default_helper=suffix), a_config(helpers={"ghcr.io": suffix})):
        question = Lookup(config).sources_for(parse_reference("ghcr.io/app")).helper
        assert question is not None
        assert question.problem is not None
        assert "ghcr.io" in question.problem
        assert suffix not in question.problem


def test_helper_of_a_wrong_type_is_not_run() -> None:
    """It costs its own registry, not the file."""
    config = parse_config_file(b'{"credHelpers": {"ghcr.io": 5}, "credsStore": "pass"}')
    question = Lookup(config).sources_for(parse_reference("ghcr.io/app")).helper
    assert question is not None
    assert question.problem is not None
    assert helper("redis", config) == "pass"


def test_auth_variable_comes_first() -> None:
    """It hides helper and file for the very keys that Docker uses, and for no others."""
    variable = parse_auth_variable(
        '{"auths": {"ghcr.io": {"auth": "djpwdw=="}, "https://quay.io": {"auth": "djpwdw=="}}}'
    )
    lookup = Lookup(a_config("ghcr.io", "quay.io", default_helper="pass"), variable=variable)
    expected = Credential("v", "pw", source='DOCKER_AUTH_CONFIG entry "ghcr.io"')
    assert lookup.sources_for(parse_reference("ghcr.io/app")) == Sources(None, expected)
    assert lookup.sources_for(parse_reference("quay.io/app")).helper == HelperQuestion("pass", "quay.io")


ASKED = HelperQuestion("pass", "ghcr.io")


@pytest.mark.parametrize(
    ("entry", "reply", "expected"),
    [
        (FROM_FILE, HelperFound(FROM_HELPER), Answer(FROM_HELPER)),
        (BROKEN, HelperFound(FROM_HELPER), Answer(FROM_HELPER)),
        (FROM_FILE, HelperNotFound(), Answer(FROM_FILE)),
        (Anonymous(), HelperNotFound(), Answer(Anonymous())),
        (BROKEN, HelperNotFound(), Unusable("the entry is broken")),
        (FROM_FILE, HelperFailed("locked"), Answer(FROM_FILE, degraded="locked")),
        (Anonymous(), HelperFailed("locked"), Unusable("locked")),
        (BROKEN, HelperFailed("locked"), Unusable("the entry is broken")),
    ],
)
def test_helper_reply_and_entry_combine(
    entry: Credential | Anonymous | BrokenEntry,
    reply: HelperFound | HelperNotFound | HelperFailed,
    expected: Answer | Unusable,
) -> None:
    """Not found falls back silently, a failure falls back to a filled entry only and never to nobody."""
    assert settle(Sources(ASKED, entry), reply) == expected


def test_without_helper_the_entry_answers() -> None:
    """Nothing to combine."""
    assert settle(Sources(None, FROM_FILE)) == Answer(FROM_FILE)
    assert settle(Lookup(EMPTY).sources_for(parse_reference("redis"))) == Answer(Anonymous("no entry"))


def test_looking_up_is_quick() -> None:
    """10 000 look-ups in a file of 500 entries take at most 50 ms of processor time."""
    keys = [f"registry-{number}.example/team" if number % 2 else f"https://r{number}.example/" for number in range(500)]
    lookup = Lookup(a_config(*keys, helpers={"r0.example": "pass"}, default_helper="secretservice"))
    images = [f"registry-{number}.example/team/deep/er/app" for number in range(25)]
    images += [f"r{number}.example/vendor/app" for number in range(25)] + ["redis"] * 50
    references = [parse_reference(image) for image in images] * 100

    def spent() -> float:
        start = time.process_time()
        for reference in references:
            lookup.sources_for(reference)
        return time.process_time() - start

    assert len(references) == 10_000
    assert min(spent() for _ in range(3)) <= 0.05
