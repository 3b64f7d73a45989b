"""Is there a newer image?"""

import pytest

from tests.support.builders import a_container, a_digest, an_image, an_inventory
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.manifest import Descriptor, Index
from watchtower_async.images.platform import Platform
from watchtower_async.updates.reason import ReasonCode
from watchtower_async.updates.staleness import Checkable, Freshness, Verdict, checkable, judge, judge_platform

IMAGE = "registry.example/app:1"


def digest(word: str) -> Digest:
    """Return a digest that depends on the word."""
    return parse_digest(a_digest(word))


def a_checkable(image: str = IMAGE, digests: tuple[str, ...] = ("v1",)) -> Checkable | Verdict:
    """Judge what can be asked for a container of this image."""
    container = a_container("web", image=image)
    return checkable(image, container.image_id, an_inventory(container, images=[an_image(image, digests=digests)]))


def checked(digests: tuple[str, ...] = ("v1",)) -> Checkable:
    """Return a container that can be checked."""
    result = a_checkable(digests=digests)
    assert isinstance(result, Checkable)
    return result


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (f"registry.example/app@{a_digest('v1')}", ReasonCode.PINNED),
        (f"registry.example/app:1@{a_digest('v1')}", ReasonCode.PINNED),
        (a_digest("x"), ReasonCode.NO_REFERENCE),
        ("Registry/UPPER", ReasonCode.NO_REFERENCE),
    ],
)
def test_image_that_cannot_be_asked_for_says_why(image: str, code: ReasonCode) -> None:
    """Pinned images and things that are no reference are never asked for."""
    verdict = a_checkable(image)
    assert isinstance(verdict, Verdict)
    assert verdict.reason.code is code


def test_short_image_id_is_not_taken_for_a_repository() -> None:
    """Twelve hex digits that begin the image's id are that id."""
    container = a_container("web", image="x")
    verdict = checkable(container.image_id[7:19], container.image_id, an_inventory(container))
    assert isinstance(verdict, Verdict)
    assert verdict.reason.code is ReasonCode.NO_REFERENCE


@pytest.mark.parametrize("word", ["v1", "v2", "v3", "v4"])
def test_digest_for_people_is_the_registrys_not_the_image_id(word: str) -> None:
    """Whatever sorts first: people compare it with what the registry tells."""
    assert digest(word) == checked(digests=(word,)).shown


def test_image_without_registry_record_is_local() -> None:
    """An image that was built here is not asked for."""
    verdict = a_checkable(digests=())
    assert isinstance(verdict, Verdict)
    assert verdict.reason.code is ReasonCode.LOCAL_IMAGE


def test_record_of_another_repository_does_not_count() -> None:
    """Only digests of the reference's own repository say what was pulled from it."""
    container = a_container("web", image=IMAGE)
    image = an_image("other.example/app:1", image_id=container.image_id)
    verdict = checkable(IMAGE, container.image_id, an_inventory(container, images=[image]))
    assert isinstance(verdict, Verdict)


def test_vanished_image_is_unknown_not_fresh() -> None:
    """Without a record of the running image nothing is claimed."""
    verdict = checkable(IMAGE, a_digest("gone"), an_inventory())
    assert isinstance(verdict, Verdict)
    assert verdict.freshness is Freshness.UNKNOWN


def test_any_of_several_digests_means_up_to_date() -> None:
    """Membership is the test, not equality with the first record."""
    assert judge(checked(("old", "v2")), published=digest("v2")).freshness is Freshness.FRESH


def test_other_digest_is_stale_and_names_both() -> None:
    """A stale verdict says from what to what."""
    verdict = judge(checked(), published=digest("v2"))
    assert verdict.is_stale
    assert verdict.published == digest("v2")
    assert verdict.running is not None


def an_index(*entries: tuple[str, Platform]) -> Index:
    """Return an index of manifests."""
    kind = "application/vnd.oci.image.manifest.v1+json"
    descriptors = tuple(Descriptor(kind, digest(word), 1, platform, {}) for word, platform in entries)
    return Index("application/vnd.oci.image.index.v1+json", descriptors)


def test_new_index_with_the_same_platform_manifest_is_up_to_date() -> None:
    """An index that changed for other platforms only is no update here."""
    index = an_index(("v1", Platform("linux", "amd64")), ("new", Platform("linux", "arm64")))
    verdict = judge_platform(checked(), published=digest("idx"), index=index, platform=Platform("linux", "amd64"))
    assert verdict.reason.code is ReasonCode.SAME_FOR_PLATFORM
    assert not verdict.is_stale


def test_index_without_our_platform_is_unknown() -> None:
    """No manifest for the container's platform: nothing is pulled, and the reason says so."""
    index = an_index(("v2", Platform("linux", "arm64")))
    verdict = judge_platform(checked(), published=digest("idx"), index=index, platform=Platform("linux", "amd64"))
    assert verdict.freshness is Freshness.UNKNOWN
    assert "linux/amd64" in verdict.reason.text


def test_containerd_store_counts_the_image_id_as_digest() -> None:
    """On the containerd store an image whose tag moved has only its id, which is a manifest digest."""
    image_id = a_digest("v1")
    container = a_container("web", image=IMAGE, image_id=image_id)
    moved = an_image(IMAGE, image_id=image_id, digests=())
    witness = an_image("other.example/x:1", image_id=a_digest("w"), digests=("w",))
    result = checkable(IMAGE, image_id, an_inventory(container, images=[moved, witness]))
    assert isinstance(result, Checkable)
    assert judge(result, published=digest("v1")).freshness is Freshness.FRESH
