"""The image store of the simulated engine, and the registry behind it.

In the classic store an image's id is the digest of its configuration, in the containerd store the digest of its
manifest. Names are kept in the familiar form: `nginx:1`, not `docker.io/library/nginx:1`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

from tests.support.builders import a_digest
from tests.support.engine_sim.behaviour import DEFAULT_CHECK, Behaviour, EngineRefusal, JsonObject
from tests.support.engine_sim.clock import text_of

_HUB = ("docker.io/library/", "docker.io/")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{4,64}")
SHORT = 12


@dataclass(frozen=True, slots=True)
class Image:
    """An image. Two with the same id are the same image."""

    id: str
    config: JsonObject = field(repr=False)
    behaviour: Behaviour
    created: datetime
    architecture: str = "amd64"

    @property
    def short_id(self) -> str:
        """The first digits of the id, as messages show it."""
        return self.id.removeprefix("sha256:")[:SHORT]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a registry has under a name."""

    name: str
    digest: str
    config_digest: str
    config: JsonObject = field(repr=False)
    behaviour: Behaviour
    architecture: str = "amd64"
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password that it wants; None means that everybody may pull."""
    error: str | None = None
    """How a pull ends after it has begun, such as `no space left on device`."""
    seconds: float = 0.0
    """How long a pull takes."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A container that uses an image."""

    container_id: str
    running: bool


def familiar(name: str) -> str:
    """Return a name in the form in which the engine shows it, with the tag `latest` where it has neither."""
    for prefix in _HUB:
        name = name.removeprefix(prefix)
    if "@" in name or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def repository_of(name: str) -> str:
    """Return a familiar name without tag and digest."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def image_config(config: Mapping[str, object] | None, behaviour: Behaviour) -> JsonObject:
    """Complete what a test says about an image: it has a command, and a health check if it is to have a health."""
    complete: JsonObject = {"Env": ["PATH=/bin"], "Cmd": ["/bin/serve"], **deepcopy(dict(config or {}))}
    if behaviour.speaks_of_health and not complete.get("Healthcheck"):
        complete["Healthcheck"] = deepcopy(DEFAULT_CHECK)
    return complete


class ImageStore:
    """Images by id, and the tags and digests that lead to them."""

    def __init__(self, *, containerd: bool) -> None:
        self.containerd = containerd
        self.images: dict[str, Image] = {}
        self.tags: dict[str, str] = {}
        self.digests: dict[str, str] = {}

    def add(self, image: Image, *, tags: Iterable[str] = (), digests: Iterable[str] = ()) -> None:
        """Take an image with these familiar names; the names move to it."""
        self.images.setdefault(image.id, image)
        self.tags |= dict.fromkeys(tags, image.id)
        self.digests |= dict.fromkeys(digests, image.id)

    def take(self, offer: Offer, name: str, created: datetime) -> Image:
        """Store what a pull of this name brought."""
        identity = offer.digest if self.containerd else offer.config_digest
        image = Image(identity, offer.config, offer.behaviour, created, offer.architecture)
        repository = repository_of(name)
        self.add(image, tags=[] if "@" in name else [name], digests=[f"{repository}@{offer.digest}"])
        return self.images[image.id]

    def find(self, reference: str) -> Image | None:
        """Return the image that a reference means: an id, a name, or the beginning of an id."""
        if reference in self.images:
            return self.images[reference]
        name = familiar(reference)
        if "@" in name:
            name = f"{repository_of(name)}@{name.partition('@')[2]}"
        identity = self.tags.get(name) or self.digests.get(name)
        if identity is not None:
            return self.images[identity]
        if _ID.fullmatch(reference) is None:
            return None
        start = "sha256:" + reference.removeprefix("sha256:")
        found = [image for identity, image in self.images.items() if identity.startswith(start)]
        return found[0] if len(found) == 1 else None

    def tags_of(self, identity: str) -> list[str]:
        """Return the tags that lead to an image."""
        return sorted(name for name, found in self.tags.items() if found == identity)

    def digests_of(self, identity: str) -> list[str]:
        """Return the digests, with repository, that lead to an image."""
        return sorted(name for name, found in self.digests.items() if found == identity)

    def tag(self, reference: str, name: str) -> None:
        """Let a name mean this image."""
        image = self.find(reference)
        if image is None:
            raise EngineRefusal(404, f"No such image: {familiar(reference)}")
        self.tags[familiar(name)] = image.id

    # ---- removal ---------------------------------------------------------------------------------------------------

    def remove(self, reference: str, *, force: bool, usages: Mapping[str, Iterable[Usage]]) -> list[JsonObject]:
        """Remove a name or an image, as the engine does; return its records. `usages` is by image id."""
        image = self.find(reference)
        if image is None:
            raise EngineRefusal(404, f"No such image: {familiar(reference)}")
        records: list[JsonObject] = []
        used = list(usages.get(image.id, ()))
        by_name = not image.id.removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))
        if by_name:
            if self._has_one_name(image) and used and not force:
                raise EngineRefusal(
                    409,
                    f'conflict: unable to remove repository reference "{reference}" (must force) - container '
                    f"{used[0].container_id[:SHORT]} is using its referenced image {image.short_id}",
                )
            self._untag(familiar(reference), records)
            if self.tags_of(image.id) or self.digests_of(image.id):
                return records
        elif self._has_one_name(image):
            self._refuse_if_used(image, used, force=force)
            for name in [*self.tags_of(image.id), *self.digests_of(image.id)]:
                self._untag(name, records, alone=True)
        if by_name and self._conflict(image, used, force=force) is not None:
            return records
        self._refuse_if_used(image, used, force=force)
        if len(self.tags_of(image.id)) > 1 and not force:
            raise EngineRefusal(
                409,
                f"conflict: unable to delete {image.short_id} (must be forced) - image is referenced in multiple "
                "repositories",
            )
        for name in [*self.tags_of(image.id), *self.digests_of(image.id)]:
            self._untag(name, records, alone=True)
        del self.images[image.id]
        return [*records, {"Deleted": image.id}]

    def _has_one_name(self, image: Image) -> bool:
        tags, digests = self.tags_of(image.id), self.digests_of(image.id)
        if len(tags) + len(digests) <= 1:
            return True
        repositories = {repository_of(name) for name in digests}
        return len(tags) <= 1 and len(repositories) == 1 and {repository_of(name) for name in tags} <= repositories

    def _untag(self, name: str, records: list[JsonObject], *, alone: bool = False) -> None:
        repository, identity = repository_of(name), self.tags.get(name) or self.digests[name]
        (self.digests if "@" in name else self.tags).pop(name)
        records.append({"Untagged": name})
        if alone or "@" in name or any(repository_of(tag) == repository for tag in self.tags_of(identity)):
            return
        # With the last tag of a repository its digests go, too.
        for digest in self.digests_of(identity):
            if repository_of(digest) == repository:
                del self.digests[digest]
                records.append({"Untagged": digest})

    def _conflict(self, image: Image, used: list[Usage], *, force: bool) -> str | None:
        for usage in used:
            if usage.running:
                user = usage.container_id[:SHORT]
                return f"(cannot be forced) - image is being used by running container {user}"
        if used and not force:
            return f"(must be forced) - image is being used by stopped container {used[0].container_id[:SHORT]}"
        return None

    def _refuse_if_used(self, image: Image, used: list[Usage], *, force: bool) -> None:
        conflict = self._conflict(image, used, force=force)
        if conflict is not None:
            raise EngineRefusal(409, f"conflict: unable to delete {image.short_id} {conflict}")

    # ---- documents -------------------------------------------------------------------------------------------------

    def document(self, image: Image, api: tuple[int, int]) -> JsonObject:
        """Return an image as inspect shows it."""
        described: JsonObject = {}
        if self.containerd and api >= (1, 48):
            described["Descriptor"] = {"mediaType": MANIFEST_TYPE, "digest": image.id, "size": 1000}
        return {
            "Id": image.id,
            "RepoTags": self.tags_of(image.id),
            "RepoDigests": self.digests_of(image.id),
            "Created": text_of(image.created),
            "Os": "linux",
            "Architecture": image.architecture,
            "Size": 1_000_000,
            "Config": deepcopy(image.config),
            **described,
        }

    def listing(self, api: tuple[int, int]) -> list[JsonObject]:
        """Return all images as the engine lists them, the newest first."""
        newest_first = sorted(self.images.values(), key=lambda image: image.created, reverse=True)
        return [self._listed(image, api) for image in newest_first]

    def _listed(self, image: Image, api: tuple[int, int]) -> JsonObject:
        tags, digests = self.tags_of(image.id), self.digests_of(image.id)
        nameless = not tags and not digests and api < (1, 43)
        return {
            "Id": image.id,
            "RepoTags": ["<none>:<none>"] if nameless else tags,
            "RepoDigests": ["<none>@<none>"] if nameless else digests,
            "Created": int(image.created.timestamp()),
            "Labels": image.config.get("Labels"),
            "Size": 1_000_000,
            "Containers": -1,
        }


MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Every registry of the simulated world: what a pull brings, by familiar name or by digest."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._unreachable: set[str] = set()

    def offer(self, offer: Offer) -> None:
        """Let a name mean this; its digest stays, also after the name has moved on."""
        self._offers[offer.name] = offer
        self._offers[f"{repository_of(offer.name)}@{offer.digest}"] = offer

    def withdraw(self, name: str) -> None:
        """Take a name away; its digest stays."""
        del self._offers[familiar(name)]

    def break_down(self, host: str) -> None:
        """Nobody reaches this registry any more."""
        self._unreachable.add(host)

    def find(self, name: str) -> Offer | None:
        """Return what a registry has under a name, whoever asks."""
        return self._offers.get(familiar(name))

    def ask(self, name: str, auth: str | None, *, for_pull: bool) -> Offer:
        """Return what a registry has under a familiar name for whoever sends this header."""
        repository = repository_of(name)
        host, _, path = repository.partition("/")
        if host in self._unreachable:
            raise EngineRefusal(500, f'Get "https://{host}/v2/": dial tcp: connect: connection refused')
        offer = self._offers.get(name)
        if offer is None:
            known = f"manifest for {name} not found: " if for_pull else ""
            raise EngineRefusal(404, f"{known}manifest unknown: manifest unknown")
        if offer.login is None or offer.login == login_in(auth):
            return offer
        if login_in(auth) is not None:
            raise EngineRefusal(500 if for_pull else 401, "unauthorized: authentication required")
        version = (name.removeprefix(repository)).lstrip(":@")
        raise EngineRefusal(500, f'Head "https://{host}/v2/{path}/manifests/{version}": no basic auth credentials')


def login_in(auth: str | None) -> tuple[str, str] | None:
    """Return user and password of an `X-Registry-Auth` header."""
    if not auth:
        return None
    data = json.loads(base64.urlsafe_b64decode(auth + "=" * (-len(auth) % 4)) or b"{}")
    return (data["username"], data.get("password", "")) if data.get("username") else None


def digests_of_words(name: str, words: Iterable[str]) -> list[str]:
    """Return digests under the name's repository; a word that is none is made to one."""
    repository = repository_of(name)
    return [f"{repository}@{word if word.startswith('sha256:') else a_digest(word)}" for word in words]
