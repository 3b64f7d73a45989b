"""Which images the step from one configuration to another concerns."""

import json
from typing import Any

import pytest

from watchtower_async.credentials.config_file import HUB_KEY, ChangeSet, parse_config_file
from watchtower_async.credentials.lookup import Lookup
from watchtower_async.credentials.snapshot import Snapshot, SnapshotChange
from watchtower_async.images.reference import parse_reference


def entry(user: str) -> dict[str, str]:
    """An entry with a credential of its own."""
    return {"username": user, "password": "pw"}


def snapshot(auths: dict[str, Any] | None = None, **fields: Any) -> Snapshot:
    """A snapshot of a configuration."""
    config = parse_config_file(json.dumps({"auths": auths or {}, **fields}).encode())
    return Snapshot(1, config, Lookup(config), content="")


def concerned(before: Snapshot | None, after: Snapshot, *images: str) -> list[str]:
    """Return the images that the step concerns."""
    change = SnapshotChange(before, after)
    return [image for image in images if change.concerns(parse_reference(image))]


IMAGES = ("redis", "ghcr.io/a/b", "quay.io/team/app", "quay.io/other/app", "localhost:5000/app")


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("ghcr.io", ["ghcr.io/a/b"]),
        (HUB_KEY, ["redis"]),
        ("https://localhost:5000/v2/", ["localhost:5000/app"]),
        ("quay.io/team", ["quay.io/team/app"]),
        ("quay.io", ["quay.io/team/app", "quay.io/other/app"]),
        ("example.com", []),
        ("https://index.docker.io/v1/refresh-token", []),
    ],
)
def test_key_concerns_the_images_that_it_serves_and_no_others(key: str, image: list[str]) -> None:
    """A login, another password and a logout concern the same images."""
    nothing, one, two = snapshot(), snapshot({key: entry("one")}), snapshot({key: entry("two")})
    for before, after in ((nothing, one), (one, two), (two, nothing)):
        assert concerned(before, after, *IMAGES) == image


def test_key_behind_a_better_one_concerns_nobody() -> None:
    """The answer for the image is the same as before."""
    better = {"quay.io/team": entry("team"), "ghcr.io": entry("host")}
    before = snapshot(better)
    after = snapshot({**better, "quay.io": entry("all"), "http://ghcr.io": entry("url")})
    assert concerned(before, after, *IMAGES) == ["quay.io/other/app"]
    assert SnapshotChange(before, after).keys == ChangeSet(added=frozenset({"quay.io", "http://ghcr.io"}))


def test_other_form_of_the_same_is_no_change() -> None:
    """Order, encoding and the place of a credential make no difference."""
    before = snapshot({"ghcr.io": {"auth": "b25lOnB3"}, "quay.io": entry("q")})
    after = snapshot({"quay.io": entry("q"), "ghcr.io": entry("one")})
    assert not SnapshotChange(before, after)
    assert not concerned(before, after, *IMAGES)


def test_default_helper_concerns_all_without_a_helper_of_their_own() -> None:
    """The registry with its own helper is asked as before."""
    before, after = (snapshot(credHelpers={"ghcr.io": "own"}, credsStore=name) for name in ("", "pass"))
    assert concerned(before, after, *IMAGES) == [image for image in IMAGES if image != "ghcr.io/a/b"]
    assert SnapshotChange(before, after)


def test_other_helper_of_a_registry_concerns_its_images() -> None:
    """The empty name, too, which means no helper."""
    one, two, none = (snapshot(credHelpers={"ghcr.io": name}, credsStore="pass") for name in ("one", "two", ""))
    for before, after in ((one, two), (two, none), (none, one)):
        assert concerned(before, after, *IMAGES) == ["ghcr.io/a/b"]


def test_mark_of_a_login_counts_where_a_helper_keeps_the_secret() -> None:
    """The file says no more than that there is a login now; without a helper it says nothing."""
    for store, images in (("pass", ["ghcr.io/a/b"]), ("", [])):
        before, after = snapshot(credsStore=store), snapshot({"ghcr.io": {}}, credsStore=store)
        assert concerned(before, after, *IMAGES) == images
        assert concerned(after, before, *IMAGES) == images


def test_entry_that_breaks_or_is_repaired_concerns_its_images() -> None:
    """From an error to an answer, and back."""
    good, broken = snapshot({"ghcr.io": entry("one")}), snapshot({"ghcr.io": {"auth": "?"}})
    for before, after in ((good, broken), (broken, good)):
        assert concerned(before, after, *IMAGES) == ["ghcr.io/a/b"]


def test_first_good_configuration_concerns_everything() -> None:
    """Before it every question was an error, even that of a public image."""
    change = SnapshotChange(None, snapshot())
    assert change
    assert concerned(None, snapshot(), *IMAGES) == list(IMAGES)
    assert not change.keys


@pytest.mark.parametrize(("key", "server"), [("ghcr.io", "ghcr.io"), (HUB_KEY, HUB_KEY), ("docker.io", HUB_KEY)])
def test_answers_of_helpers_are_told_apart_by_server(key: str, server: str) -> None:
    """What a helper said about another server is as good as before."""
    change = SnapshotChange(snapshot(credsStore="pass"), snapshot({key: {}}, credsStore="pass"))
    assert change.concerns_server(server)
    assert not change.concerns_server("quay.io")
