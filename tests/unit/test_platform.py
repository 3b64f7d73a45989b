"""Platforms, and which manifest an engine would choose."""

import pytest

from tests.support.builders import a_digest
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.manifest import Descriptor
from watchtower_async.images.platform import Platform, choose_manifest, engine_platform, normalise, parse_platform

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


def an_entry(
    platform: Platform | str | None,
    word: str = "",
    *,
    media_type: str = MANIFEST,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    """Return an entry of an index; a platform in text form is taken literally."""
    if isinstance(platform, str):
        parts = [*platform.split("/"), ""]
        platform = Platform(parts[0], parts[1], parts[2])
    return Descriptor(media_type, parse_digest(a_digest(f"{word}{platform}")), 1, platform, annotations or {})


def chosen(host: str, *platforms: str | None) -> str | None:
    """Return the platform that is chosen for a host, as the index writes it; `any` for an entry without one."""
    entry = choose_manifest([an_entry(platform) for platform in platforms], parse_platform(host))
    if entry is None:
        return None
    return str(entry.platform) if entry.platform else "any"


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/V3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/8", "linux/arm/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/armv7l", "linux/armv7l"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_aliases_are_those_of_the_engine(given: str, normal: str) -> None:
    """Names are compared in one form; names of `uname` are no aliases."""
    assert normal == str(parse_platform(given))


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/amd64/", "linux/arm/v7/x"])
def test_text_that_is_no_platform_is_refused(text: str) -> None:
    """Two or three parts, none of them empty."""
    with pytest.raises(ValueError, match="is not a platform"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("armv5l", "linux/arm/v5"),
        ("i686", "linux/386"),
    ],
)
def test_machine_of_an_engine_is_understood_in_both_notations(machine: str, expected: str) -> None:
    """`GET /version` writes as Go, `GET /info` as `uname -m`."""
    assert expected == str(engine_platform("linux", machine))


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("linux/amd64", ["amd64", "386"]),
        ("linux/amd64/v3", ["amd64/v3", "amd64/v2", "amd64", "386"]),
        ("linux/arm/v7", ["arm/v7", "arm/v6", "arm/v5"]),
        ("linux/arm/v6", ["arm/v6", "arm/v5"]),
        ("linux/arm/v8", ["arm/v8", "arm/v7", "arm/v6", "arm/v5"]),
        ("linux/arm64", ["arm64", "arm/v8", "arm/v7", "arm/v6", "arm/v5"]),
        ("linux/arm64/v8.2", ["arm64/v8.2", "arm64/v8.1", "arm64", "arm/v8", "arm/v7", "arm/v6", "arm/v5"]),
        (
            "linux/arm64/v9.1",
            ["arm64/v9.1", "arm64/v9", "arm64/v8.6", "arm64/v8.5", "arm64/v8.1", "arm64", "arm/v8", "arm/v5"],
        ),
        ("linux/386", ["386"]),
        ("linux/riscv64", ["riscv64"]),
        ("linux/ppc64le", ["ppc64le"]),
    ],
)
def test_better_platform_wins_wherever_it_stands(host: str, accepted: list[str]) -> None:
    """Of what a host runs the best is chosen; taken away, the next; at the end nothing."""
    others = ["windows/amd64", "darwin/arm64", "linux/s390x", "linux/mips64le"]
    left = [f"linux/{name}" for name in accepted]
    while left:
        assert left[0] == chosen(host, *others, *reversed(left))
        left.pop(0)
    assert chosen(host, *others) is None


@pytest.mark.parametrize(
    ("host", "platform"),
    [
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/amd64", "linux/arm64"),
        ("linux/386", "linux/amd64"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/arm64", "linux/arm64/v9"),
        ("linux/arm64/v8.2", "linux/arm64/v8.3"),
        ("linux/arm64/v9", "linux/arm64/v8.6"),
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64", "unknown/unknown"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_platform_that_a_host_cannot_run_is_not_chosen(host: str, platform: str) -> None:
    """Newer processors, other systems and attestations are nobody's image."""
    assert chosen(host, platform) is None


def test_entry_under_another_name_of_the_platform_is_found() -> None:
    """Entries are compared in normal form, too."""
    assert chosen("linux/arm64/v8", "linux/amd64", "Linux/aarch64/v8") == "Linux/aarch64/v8"


def test_entry_without_a_platform_is_the_last_resort() -> None:
    """An entry that says nothing is taken only when nothing better is there."""
    assert chosen("linux/amd64", None, "linux/386") == "linux/386"
    assert chosen("linux/amd64", "linux/s390x", None) == "any"


def test_entry_without_a_system_is_for_the_host() -> None:
    """An empty operating system means that of the host."""
    assert chosen("linux/amd64", "/amd64") == "amd64"


def test_first_of_equals_wins() -> None:
    """Ties are decided by the order of the index."""
    first, second = an_entry("linux/amd64", "a"), an_entry("linux/amd64", "b")
    assert first is choose_manifest([first, second], parse_platform("linux/amd64"))
    assert second is choose_manifest([second, first], parse_platform("linux/amd64"))


@pytest.mark.parametrize(
    "entry",
    [
        an_entry("linux/amd64", annotations=ATTESTATION),
        an_entry(None, annotations=ATTESTATION),
        an_entry("linux/amd64", media_type="application/vnd.example.artifact+json"),
        an_entry(None, media_type=""),
    ],
)
def test_entry_that_is_no_image_is_not_chosen(entry: Descriptor) -> None:
    """Attestations and unknown kinds are skipped whatever platform they claim."""
    assert choose_manifest([entry], parse_platform("linux/amd64")) is None


def test_nested_index_can_be_chosen() -> None:
    """An entry may be an index for its platform."""
    nested = an_entry("linux/amd64", media_type=INDEX)
    assert nested is choose_manifest([nested], parse_platform("linux/amd64"))


def test_features_that_the_host_lacks_exclude_and_more_matching_ones_win() -> None:
    """Features of an entry must be a subset of the host's."""
    plain, one, two = (
        an_entry(Platform("linux", "amd64", os_features=frozenset(features))) for features in ("", "a", "ab")
    )
    host = Platform("linux", "amd64", os_features=frozenset("a"))
    assert one is choose_manifest([plain, two, one], host)
    assert choose_manifest([two], host) is None
    assert plain is choose_manifest([one, plain], parse_platform("linux/amd64"))


@pytest.mark.parametrize("variant", ["", "v1", "v2", "v7", "v8", "v8.0", "v9.3", "8", "x"])
@pytest.mark.parametrize("architecture", ["amd64", "x86_64", "arm", "armhf", "arm64", "aarch64", "i386", "mips"])
def test_normalising_twice_changes_nothing(architecture: str, variant: str) -> None:
    """The normal form is its own, and every host runs itself."""
    once = normalise(Platform("Linux", architecture, variant))
    assert once == normalise(once)
    assert choose_manifest([an_entry(once)], once) is not None
