"""Is there a newer image? Compares what a container runs with what its tag points to now.

Only registry digests are compared with registry digests. The engine's image id is one of those on the containerd image
store (there it is the digest of the index or manifest) and never equals one on the classic store (there it is the
digest of the image's configuration), so it may always stand in the set of running digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchtower_async.engine.inventory import ImageSummary, Inventory
from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, parse_digest
from watchtower_async.images.manifest import Index
from watchtower_async.images.platform import Platform, choose_manifest
from watchtower_async.images.reference import Reference, is_image_id, parse_reference, repo_digest_matches
from watchtower_async.updates.reason import Reason, ReasonCode

_FORGOTTEN = Reason(ReasonCode.IMAGE_UNKNOWN, "the engine no longer knows the image it runs")


class Freshness(StrEnum):
    """What a check found."""

    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of judging one container."""

    freshness: Freshness
    reason: Reason
    running: Digest | None = None
    published: Digest | None = None

    @property
    def is_stale(self) -> bool:
        """Say whether a newer image is published."""
        return self.freshness is Freshness.STALE


@dataclass(frozen=True, slots=True)
class Checkable:
    """A container whose tag a registry can be asked for, and the digests it runs under."""

    reference: Reference
    running: frozenset[Digest]
    shown: Digest | None
    """One of them for people: under which it was pulled, if it was, and the same one each time."""


def checkable(image_text: str, image_id: str, inventory: Inventory) -> Checkable | Verdict:
    """Say what to ask a registry for a container, or why nothing is asked."""
    reference = _followed(image_text, image_id)
    if isinstance(reference, Verdict):
        return reference
    image = inventory.images.get(image_id)
    if image is None:
        return Verdict(Freshness.UNKNOWN, _FORGOTTEN)
    running = running_digests(image, reference)
    if not running and not uses_containerd_store(inventory):
        return _not_checked(ReasonCode.LOCAL_IMAGE, "local image: it was not pulled from this name")
    digest = _as_digest(image.id)
    own = frozenset({digest} if digest is not None else ())
    return Checkable(reference, running | own, shown=min(running or own, key=str, default=None))


def judge_local(image_text: str, image_id: str, inventory: Inventory) -> tuple[Reference | None, Verdict]:
    """Judge a container by the image that its tag names on the engine now; the reference is that tag's.

    Image ids are compared with image ids, and stand in the verdict for the digests. A local build has no others.
    """
    reference = _followed(image_text, image_id)
    if isinstance(reference, Verdict):
        return None, reference
    named = _named_here(reference, inventory)
    running = _as_digest(image_id)
    if named is None:
        text = f"no image on the engine is tagged {reference.familiar}, and no-pull forbids to ask its registry"
        return reference, Verdict(Freshness.UNKNOWN, Reason(ReasonCode.IMAGE_UNKNOWN, text), running)
    if named.id == image_id:
        reason = Reason(ReasonCode.UP_TO_DATE, "runs the image that its tag names on the engine; no-pull")
        return reference, Verdict(Freshness.FRESH, reason, running, running)
    if image_id not in inventory.images:
        return reference, Verdict(Freshness.UNKNOWN, _FORGOTTEN, running)
    reason = Reason(ReasonCode.NEWER_IMAGE, "its tag names another image on the engine; no-pull")
    return reference, Verdict(Freshness.STALE, reason, running, _as_digest(named.id))


def _followed(image_text: str, image_id: str) -> Reference | Verdict:
    """Return the reference whose tag a container follows, or why it follows none."""
    if is_image_id(image_text, image_id):
        return _not_checked(ReasonCode.NO_REFERENCE, "was started from an image id, not from a name with a tag")
    try:
        reference = parse_reference(image_text)
    except InvalidReferenceError as error:
        return _not_checked(ReasonCode.NO_REFERENCE, f"its image name is not a valid reference: {error}")
    if reference.is_pinned:
        return _not_checked(ReasonCode.PINNED, "pinned by digest", running=reference.digest)
    return reference


def _named_here(reference: Reference, inventory: Inventory) -> ImageSummary | None:
    # Docker lists a tag in its familiar form, Podman in full.
    forms = {reference.familiar, str(reference)}
    return next((image for image in inventory.images.values() if not forms.isdisjoint(image.repo_tags)), None)


def _not_checked(code: ReasonCode, text: str, running: Digest | None = None) -> Verdict:
    return Verdict(Freshness.NOT_CHECKED, Reason(code, text), running=running)


def running_digests(image: ImageSummary, reference: Reference) -> frozenset[Digest]:
    """Return the digests under which this image was pulled from the reference's repository."""
    found = (repo_digest_matches(text, reference) for text in image.repo_digests)
    return frozenset(digest for digest in found if digest is not None)


def uses_containerd_store(inventory: Inventory) -> bool:
    """Say whether image ids are manifest digests on this engine, told by an image that is known under its own id."""
    return any(
        text.rpartition("@")[2] == image.id for image in inventory.images.values() for text in image.repo_digests
    )


def _as_digest(image_id: str) -> Digest | None:
    try:
        return parse_digest(image_id)
    except InvalidReferenceError:
        return None


def judge(checked: Checkable, *, published: Digest) -> Verdict:
    """Compare the published digest of the tag with the digests that the container runs under."""
    if published in checked.running:
        reason = Reason(ReasonCode.UP_TO_DATE, "runs the published image")
        return Verdict(Freshness.FRESH, reason, running=published, published=published)
    reason = Reason(ReasonCode.NEWER_IMAGE, "the tag points to a newer image")
    return Verdict(Freshness.STALE, reason, running=checked.shown, published=published)


def judge_platform(checked: Checkable, *, published: Digest, index: Index, platform: Platform) -> Verdict:
    """Judge a tag that points to an index: only the manifest for the container's own platform counts.

    An index digest changes with any platform or attestation, so a new index need not be a new image here.
    """
    chosen = choose_manifest(index.descriptors, platform)
    if chosen is None:
        text = f"the published image has no manifest for {platform}"
        return Verdict(Freshness.UNKNOWN, Reason(ReasonCode.NO_PLATFORM, text), checked.shown, published)
    if chosen.digest in checked.running:
        reason = Reason(ReasonCode.SAME_FOR_PLATFORM, f"the tag changed, but not its image for {platform}")
        return Verdict(Freshness.FRESH, reason, running=chosen.digest, published=published)
    return judge(checked, published=published)
