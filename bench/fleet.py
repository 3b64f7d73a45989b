"""The fleet that is scanned: which images run where, what its engine holds and what its registries have published.

Every process of the benchmark works from the same description, so that none has to tell another what it made.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.simulated_registry import digest_of, image_manifest

USER = "bench"
PASSWORD = "throw-away"
PREFIX = "team"
"""The first part of every path: one name space per registry, so one challenge per registry."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the fleet."""

    host: str
    repository: str
    running: str
    """The digest of what runs."""
    published: str
    """The digest that the tag points to now."""

    @property
    def name(self) -> str:
        """Return the name under which containers were made from it."""
        return f"{self.host}/{self.repository}:latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How many of what."""

    registries: int = 4
    images: int = 200
    containers: int = 1000
    stale_images: int = 10
    """The tag of so many has moved on in the registry."""
    retagged_images: int = 4
    """The tag of so many means another image on the engine, which then lists their containers by image id."""

    @property
    def hosts(self) -> list[str]:
        """Return the registries."""
        return [f"registry{number}.test" for number in range(self.registries)]

    def image(self, number: int) -> Image:
        """Return an image; the stale ones come first, then the retagged ones."""
        repository = f"{PREFIX}/app{number}"
        return Image(
            host=self.hosts[number % self.registries],
            repository=repository,
            running=digest_of(image_manifest(content(repository, 1))),
            published=digest_of(image_manifest(content(repository, 2 if number < self.stale_images else 1))),
        )

    def all_images(self) -> list[Image]:
        """Return all images."""
        return [self.image(number) for number in range(self.images)]

    def container_names(self, numbers: range) -> list[str]:
        """Return the containers of these images."""
        return [
            container_name(index % self.images, index)
            for index in range(self.containers)
            if index % self.images in numbers
        ]

    @property
    def stale(self) -> range:
        """The numbers of the stale images."""
        return range(self.stale_images)

    @property
    def retagged(self) -> range:
        """The numbers of the retagged images."""
        return range(self.stale_images, self.stale_images + self.retagged_images)


def content(repository: str, version: int) -> str:
    """Return what makes one version of an image differ from all others."""
    return f"{repository} {version}"


def container_name(image: int, number: int) -> str:
    """Return the name of a container."""
    return f"app{image}-{number}"
