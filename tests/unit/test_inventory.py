"""What an engine lists."""

from typing import Any

import pytest

from tests.support.builders import a_digest, an_id
from tests.support.small_engine import SmallEngine
from watchtower_async.engine.inventory import ContainerSummary, ImageSummary, read_container, read_image, take_inventory

CONTAINER: dict[str, Any] = {
    "Id": an_id("web"),
    "Names": ["/proxy/backend", "/web"],
    "Image": "redis:7",
    "ImageID": a_digest("config"),
    "Labels": {"a": "b"},
    "State": "running",
    "HostConfig": {"NetworkMode": "bridge"},
    "Created": 1_700_000_000,
    "Ports": [],
    "Mounts": [{"Type": "volume", "Name": "v", "Destination": "/data/"}, {"Type": "bind", "Destination": "/etc/app"}],
}


def test_container_is_read_with_its_links() -> None:
    """The own name has one slash; the others are names that links of others give it."""
    assert read_container(CONTAINER) == ContainerSummary(
        id=an_id("web"),
        name="web",
        aliases=frozenset({"/proxy/backend"}),
        image_text="redis:7",
        image_id=a_digest("config"),
        labels={"a": "b"},
        state="running",
        network_mode="bridge",
        created=1_700_000_000,
        mount_targets=frozenset({"/data", "/etc/app"}),
    )


@pytest.mark.parametrize("key", [key for key in CONTAINER if key not in {"Id", "Ports"}])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_field_that_is_not_there_is_read_as_empty(key: str, how: str) -> None:
    """A container that is being removed, or Podman, may leave any field out."""
    document = {**CONTAINER, key: None}
    if how == "missing":
        del document[key]
    summary = read_container(document)
    assert summary.id == an_id("web")
    assert summary.name == (an_id("web")[:12] if key == "Names" else "web")


def test_labels_do_not_show_in_a_repr() -> None:
    """A label may hold a secret of its owner."""
    assert "s3cr3t" not in repr(read_container({**CONTAINER, "Labels": {"a": "s3cr3t"}}))
    assert "s3cr3t" not in repr(read_image({"Id": "x", "Labels": {"a": "s3cr3t"}}))


@pytest.mark.parametrize(
    ("document", "tags", "digests"),
    [
        ({"RepoTags": ["a:1", "b:2"], "RepoDigests": ["a@sha256:x"]}, ("a:1", "b:2"), ("a@sha256:x",)),
        ({"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}, (), ()),
        ({"RepoTags": ["<none>:<none>"], "RepoDigests": ["a@sha256:x"]}, (), ("a@sha256:x",)),
        ({"RepoTags": ["a@sha256:x", "a:1"], "RepoDigests": ["a@sha256:x"]}, ("a:1",), ("a@sha256:x",)),
        ({"RepoTags": None, "RepoDigests": None}, (), ()),
        ({}, (), ()),
    ],
)
def test_tags_and_digests_of_an_image_are_names_that_are_such(
    document: dict[str, Any], tags: tuple[str, ...], digests: tuple[str, ...]
) -> None:
    """`<none>` says that there is no name, and the containerd image store has digests among the tags."""
    assert read_image({"Id": "sha256:i", **document}) == ImageSummary("sha256:i", tags, digests, {})


async def test_inventory_costs_two_calls() -> None:
    """Two calls however many containers there are; entries without an id are left out."""
    containers = [{**CONTAINER, "Id": an_id(str(number))} for number in range(50)]
    engine = SmallEngine(
        listed=[*containers, {"Names": ["/ghost"]}],
        images={"a": {"Id": a_digest("a"), "RepoTags": ["a:1"]}, "b": {"RepoTags": ["b:1"]}},
    )
    inventory = await take_inventory(engine)
    assert len(inventory.containers) == 50
    assert list(inventory.images) == [a_digest("a")]
    assert engine.calls == {"list_containers": 1, "list_images": 1}
