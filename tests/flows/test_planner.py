"""From an inventory and the answers of registries to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.lowlevel
import pytest

from tests.support.builders import a_container, a_digest, an_image, an_inventory
from tests.support.merge_rules import an_image_document, created
from tests.support.small_engine import AMD64, SmallEngine
from tests.support.small_registries import (
    INDEX,
    MANIFEST,
    SmallCredentials,
    SmallRegistries,
    digest,
    published,
)
from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.inventory import ContainerSummary, ImageSummary
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.engine.temporary_name import RunState
from watchtower_async.errors import (
    EngineError,
    EngineUnavailableError,
    RateLimitedError,
    RegistryUnavailableError,
    WatchtowerError,
)
from watchtower_async.images.digest import Digest
from watchtower_async.images.manifest import Descriptor, Index
from watchtower_async.images.platform import Platform, parse_platform
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.registry.client import Published
from watchtower_async.state.contents import Sighting
from watchtower_async.updates.plan import Action, PlanItem, UpdatePlan
from watchtower_async.updates.planner import ENGINE_READS_AT_ONCE, Failure, Planner
from watchtower_async.updates.reason import Reason, ReasonCode
from watchtower_async.updates.scanner import Scanner
from watchtower_async.updates.selection import SelectionPolicy

IMAGE = "registry.example/app:1"
DEPENDS_ON = "com.centurylinklabs.watchtower.depends-on"
COOLDOWN = "com.centurylinklabs.watchtower.cooldown-delay"
ORIGINAL = "com.centurylinklabs.zodiac.original-image"
NO_PULL = "com.centurylinklabs.watchtower.no-pull"
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FACTS = EngineFacts(api_version=(1, 51), host_name="machine", platform="linux/amd64")


def document_of(container: ContainerSummary, image: str = IMAGE, **host: Any) -> JsonObject:
    """Return what inspect shows for a listed container; `host` replaces fields of its HostConfig."""
    document = created({"Image": image}, image_document(container.image_id), word=f"container {container.name}")
    document["HostConfig"] |= host
    return document


def image_document(image_id: str, **fields: Any) -> JsonObject:
    """Return what inspect shows for an image."""
    return an_image_document("any") | {"Id": image_id} | fields


@dataclass
class SmallDates:
    """Says when images were built, and remembers who was asked for."""

    answer: datetime | WatchtowerError | None = None
    asked: list[tuple[Reference, Digest, Platform]] = field(default_factory=list)

    async def fetch_created(self, reference: Reference, digest: Digest, platform: Platform) -> datetime | None:
        """Return the answer, or raise it."""
        self.asked.append((reference, digest, platform))
        if isinstance(self.answer, WatchtowerError):
            raise self.answer
        return self.answer


class Seen(dict[tuple[str, Digest], datetime]):
    """When images were first seen."""

    def first_seen(self, image: str, digest: Digest) -> datetime | None:
        """Look it up."""
        return self.get((image, digest))


@dataclass
class World:
    """Containers on an engine, and what registries say about their images."""

    containers: list[ContainerSummary]
    tags: Mapping[str, Published | WatchtowerError] = field(default_factory=lambda: {IMAGE: published(IMAGE, "v2")})
    indexes: Mapping[Digest, Index | WatchtowerError] = field(default_factory=dict)
    images: Iterable[ImageSummary] = ()
    engine: SmallEngine | None = None
    policy: SelectionPolicy = field(default_factory=SelectionPolicy)
    seen: Seen = field(default_factory=Seen)
    dates: SmallDates = field(default_factory=SmallDates)

    async def plan(
        self,
        *,
        quarantined: frozenset[Failure] = frozenset(),
        repairs: tuple[str, ...] = (),
        problems: tuple[str, ...] = (),
    ) -> UpdatePlan:
        """Make the plan."""
        self.registries = SmallRegistries(self.tags, self.indexes)
        self.engine = self.engine or an_engine(self.containers)
        scanner = Scanner(
            registries=self.registries,
            engine=self.engine,
            credentials=SmallCredentials(),
            shares_loopback=True,
            dates=self.dates,
        )
        planner = Planner(
            engine=self.engine,
            scanner=scanner,
            policy=self.policy,
            facts=FACTS,
            first_seen=self.seen,
            clock=lambda: NOON,
        )
        inventory = an_inventory(*self.containers, images=self.images or [an_image(IMAGE)])
        return await planner.make(inventory, quarantined=quarantined, repairs=repairs, problems=problems)

    async def item(self, **given: Any) -> PlanItem:
        """Return the only item of the plan."""
        (item,) = (await self.plan(**given)).items
        return item


def an_engine(known: Iterable[ContainerSummary], /, **more: Any) -> SmallEngine:
    """Return an engine that knows these containers and their images; `more` replaces what it answers."""
    listed = list(known)
    images = {item.image_id: image_document(item.image_id) for item in listed}
    given = {"containers": [document_of(item) for item in listed], "images": images, **more}
    return SmallEngine(**given)


def an_index(*entries: tuple[str, str]) -> Index:
    """Return an index of (platform, word) entries."""
    return Index(INDEX, tuple(Descriptor(MANIFEST, digest(word), 1, parse_platform(text)) for text, word in entries))


async def test_container_on_the_published_image_costs_no_call() -> None:
    """Fresh containers are not inspected, however many there are."""
    world = World([a_container(f"web{number}") for number in range(50)], {IMAGE: published(IMAGE, "v1")})
    plan = await world.plan()
    assert {item.action for item in plan.items} == {Action.NOTHING}
    assert world.registries.asked == {IMAGE: 1}
    assert world.engine is not None
    assert not world.engine.calls


async def test_stale_container_is_updated_and_the_plan_says_from_what_to_what() -> None:
    """Everything that carrying it out needs is in the item."""
    container = a_container("web")
    assert await World([container]).item() == PlanItem(
        container_id=container.id,
        name="web",
        image=IMAGE,
        image_id=container.image_id,
        action=Action.UPDATE,
        reason=Reason(ReasonCode.NEWER_IMAGE, "the tag points to a newer image"),
        running=digest("v1"),
        published=digest("v2"),
        reference=parse_reference(IMAGE),
    )


async def test_calls_grow_with_stale_containers_and_distinct_images_only() -> None:
    """One inspect per stale container, one per old image; the inventory is given."""
    other = "registry.example/other:1"
    containers = [a_container(f"web{number}") for number in range(6)]
    containers += [a_container(f"other{number}", image=other) for number in range(4)]
    containers += [a_container(f"fresh{number}", image="registry.example/fresh:1") for number in range(9)]
    fresh = "registry.example/fresh:1"
    world = World(
        containers,
        {IMAGE: published(IMAGE, "v2"), other: published(other, "v2"), fresh: published(fresh, "v1")},
        images=[an_image(IMAGE), an_image(other), an_image(fresh)],
    )

    plan = await world.plan()

    assert len(plan.updates) == 10
    assert world.engine is not None
    assert world.engine.calls == {"inspect_container": 10, "inspect_image": 2}
    assert world.registries.asked.total() == 3


async def test_few_reads_are_under_way_at_the_same_time() -> None:
    """A machine with hundreds of containers is not flooded."""

    class Counting(SmallEngine):
        now, most = 0, 0

        async def inspect_container(self, id_or_name: str) -> JsonObject:
            self.now += 1
            self.most = max(self.most, self.now)
            await anyio.lowlevel.checkpoint()
            self.now -= 1
            return await super().inspect_container(id_or_name)

    containers = [a_container(f"web{number}") for number in range(40)]
    images = {item.image_id: image_document(item.image_id) for item in containers}
    engine = Counting(containers=[document_of(item) for item in containers], images=images)
    plan = await World(containers, engine=engine).plan()
    assert len(plan.updates) == 40
    assert engine.most == ENGINE_READS_AT_ONCE


async def test_container_listed_by_image_id_is_judged_by_the_name_it_was_made_from() -> None:
    """As soon as a tag has moved on locally an engine lists the id; one inspect serves the name and the rest."""
    image_id = a_digest(f"config of {IMAGE}")
    container = a_container("web", image=image_id[7:19], image_id=image_id)
    world = World([container])
    item = await world.item()
    assert (item.action, item.image, item.published) == (Action.UPDATE, IMAGE, digest("v2"))
    assert world.engine is not None
    assert world.engine.calls == {"inspect_container": 1, "inspect_image": 1}


@pytest.mark.parametrize("config", [{"Image": a_digest(f"config of {IMAGE}")}, {"Image": ""}, {}, None])
async def test_container_made_from_an_image_id_is_left_alone(config: JsonObject | None) -> None:
    """There is no name that could point elsewhere."""
    image_id = a_digest(f"config of {IMAGE}")
    container = a_container("web", image=image_id, image_id=image_id)
    engine = an_engine([container], containers=[document_of(container) | {"Config": config}])
    item = await World([container], engine=engine).item()
    assert (item.action, item.reason.code) == (Action.LEAVE, ReasonCode.NO_REFERENCE)


@pytest.mark.parametrize("listed_by_id", [True, False])
@pytest.mark.parametrize(
    ("error", "action", "code"),
    [
        (None, Action.LEAVE, ReasonCode.VANISHED),
        (EngineError("the engine is ill", status=500), Action.UNKNOWN, ReasonCode.ENGINE),
    ],
)
async def test_container_that_cannot_be_read_costs_only_itself(
    listed_by_id: bool, error: EngineError | None, action: Action, code: ReasonCode
) -> None:
    """One that was removed meanwhile is no failure; everything else is, and the others go on."""
    image_id = a_digest(f"config of {IMAGE}")
    bad = a_container("bad", image=image_id if listed_by_id else IMAGE, image_id=image_id)
    good = a_container("good")
    engine = an_engine([good] if error is None else [bad, good], broken={bad.id: error} if error else {})
    first, second = (await World([bad, good], engine=engine).plan()).items
    assert (first.name, first.action) == ("good", Action.UPDATE)
    assert (second.name, second.action, second.reason.code) == ("bad", action, code)


@pytest.mark.parametrize("listed_by_id", [True, False])
async def test_engine_that_goes_away_ends_the_plan_with_one_error(listed_by_id: bool) -> None:
    """A hundred reads that fail for the same reason are one error, not a group of them."""
    image_id = a_digest(f"config of {IMAGE}")
    image = image_id if listed_by_id else IMAGE
    containers = [a_container(f"web{number}", image=image, image_id=image_id) for number in range(20)]
    broken = {item.id: EngineUnavailableError("gone") for item in containers}
    with pytest.raises(EngineUnavailableError, match="gone"):
        await World(containers, engine=an_engine(containers, broken=broken)).plan()


@pytest.mark.parametrize(
    ("answer", "action", "code"),
    [
        (None, Action.LEAVE, ReasonCode.VANISHED),
        (EngineError("ill", status=500), Action.UNKNOWN, ReasonCode.ENGINE),
    ],
)
async def test_old_image_that_cannot_be_read_stops_the_update(
    answer: EngineError | None, action: Action, code: ReasonCode
) -> None:
    """Without the old image's defaults a container cannot be re-created as it is."""
    container = a_container("web")
    images = {container.image_id: answer} if answer else {}
    item = await World([container], engine=an_engine([container], images=images)).item()
    assert (item.action, item.reason.code, item.published) == (action, code, digest("v2"))


async def test_monitor_only_container_is_reported() -> None:
    """It is looked at in the same way, and the reason says why nothing is done."""
    item = await World([a_container("web")], policy=SelectionPolicy(monitor_only=True)).item()
    assert item.action is Action.REPORT
    assert item.reason.text == "the tag points to a newer image; monitor-only, nothing is touched"


@pytest.mark.parametrize("monitor_only", [True, False])
async def test_container_that_cannot_be_recreated_is_refused_in_the_plan(monitor_only: bool) -> None:
    """The refusal comes before anything is touched, with its reasons, also where only a report was asked for."""
    container = a_container("web")
    engine = an_engine([container], containers=[document_of(container, NewFangled=True)])
    item = await World([container], engine=engine, policy=SelectionPolicy(monitor_only=monitor_only)).item()
    assert (item.action, item.reason.code) == (Action.REFUSE, ReasonCode.REFUSED)
    assert item.reason.text.startswith("cannot be re-created as it is: ")
    assert "NewFangled" in item.reason.text
    assert item.published == digest("v2")


async def test_who_is_replaced_together_with_a_container_is_in_the_notes() -> None:
    """Nobody is surprised that a container whose image is the same is created anew."""
    web = a_container("web")
    guest = a_container("guest", image="registry.example/guest:1", network_mode=f"container:{web.id}")
    world = World([web, guest], engine=an_engine([web]), images=[an_image(IMAGE), an_image(guest.image_text)])
    world.tags = {IMAGE: published(IMAGE, "v2"), guest.image_text: published(guest.image_text, "v1")}
    items = {item.name: item for item in (await world.plan()).items}
    assert items["web"].action is Action.UPDATE
    assert "replaced together with it: guest" in items["web"].notes
    assert items["guest"].action is Action.NOTHING


async def test_container_that_removes_itself_is_refused_with_others_only() -> None:
    """Alone it can be made anew from its old image; a group cannot be put back."""
    web = a_container("web")
    guest = a_container("guest", image="registry.example/guest:1", network_mode=f"container:{web.id}")
    vanishing = an_engine([web], containers=[document_of(web, AutoRemove=True)])
    alone = World([web], engine=vanishing)
    assert (await alone.item()).action is Action.UPDATE
    world = World([web, guest], engine=vanishing, images=[an_image(IMAGE), an_image(guest.image_text)])
    world.tags = {IMAGE: published(IMAGE, "v2"), guest.image_text: published(guest.image_text, "v1")}
    refused = {item.name: item for item in (await world.plan()).items}["web"]
    assert refused.action is Action.REFUSE
    assert "guest must be replaced together with it" in refused.reason.text


async def test_unanswered_question_is_unknown_in_the_registrys_words() -> None:
    """Never up to date, never outdated."""
    tags = {IMAGE: RateLimitedError("rate limited until 12:00", host="registry.example", retry_after=60.0)}
    item = await World([a_container("web")], tags).item()
    assert (item.action, item.published, item.running) == (Action.UNKNOWN, None, digest("v1"))
    assert item.reason == Reason(ReasonCode.RATE_LIMITED, "rate limited until 12:00")


def an_index_answer(*entries: tuple[str, str], error: WatchtowerError | None = None) -> dict[str, Any]:
    """Return a world in which the tag points to an index."""
    return {
        "tags": {IMAGE: published(IMAGE, "idx", media_type=INDEX)},
        "indexes": {digest("idx"): error or an_index(*entries)},
    }


async def test_new_index_with_the_same_manifest_for_this_platform_is_no_update() -> None:
    """Another platform or an attestation changed, nothing that runs here."""
    world = World([a_container("web")], **an_index_answer(("linux/arm64", "new"), ("linux/amd64", "v1")))
    item = await world.item()
    assert (item.action, item.reason.code) == (Action.NOTHING, ReasonCode.SAME_FOR_PLATFORM)


async def test_new_manifest_for_this_platform_is_an_update_to_the_index() -> None:
    """What is pulled is what the tag points to."""
    item = await World([a_container("web")], **an_index_answer(("linux/arm64", "v1"), ("linux/amd64", "new"))).item()
    assert (item.action, item.published) == (Action.UPDATE, digest("idx"))


async def test_index_without_this_platform_is_unknown() -> None:
    """Pulling would fail; the reason names the platform."""
    item = await World([a_container("web")], **an_index_answer(("linux/arm64", "new"))).item()
    assert (item.action, item.reason.code) == (Action.UNKNOWN, ReasonCode.NO_PLATFORM)
    assert "linux/amd64" in item.reason.text


async def test_index_that_cannot_be_fetched_is_unknown() -> None:
    """Without it nobody knows whether this platform changed."""
    error = RateLimitedError("wait", host="registry.example", retry_after=None)
    item = await World([a_container("web")], **an_index_answer(error=error)).item()
    assert (item.action, item.reason, item.published) == (
        Action.UNKNOWN,
        Reason(ReasonCode.RATE_LIMITED, "wait"),
        digest("idx"),
    )


@pytest.mark.parametrize(
    ("image", "engine_architecture", "action"),
    [
        ({"Architecture": "arm64"}, "amd64", Action.NOTHING),
        ({"Architecture": "arm64", "Variant": "v8"}, "amd64", Action.NOTHING),
        ({"Architecture": "amd64"}, "amd64", Action.UPDATE),
        ({"Architecture": ""}, "arm64", Action.NOTHING),
        ({"Architecture": None, "Os": None}, "amd64", Action.UPDATE),
    ],
)
async def test_platform_is_that_of_the_image_that_runs(
    image: JsonObject, engine_architecture: str, action: Action
) -> None:
    """A container may run for another platform than the machine's; an image that tells none is for the machine."""
    container = a_container("web")
    images = {container.image_id: image_document(container.image_id, **image)}
    info = replace(AMD64, architecture=engine_architecture)
    engine = an_engine([container], images=images, info=info)
    entries = an_index_answer(("linux/arm64", "v1"), ("linux/amd64", "new"))
    assert (await World([container], **entries, engine=engine).item()).action is action


@pytest.mark.parametrize(("media_type", "questions"), [(MANIFEST, 0), (INDEX, 1), ("", 1)])
async def test_index_is_asked_for_only_where_there_may_be_one(media_type: str, questions: int) -> None:
    """A single manifest needs no second question; a registry that tells no type may have an index."""
    world = World([a_container("web")], {IMAGE: published(IMAGE, "v2", media_type=media_type)})
    assert (await world.item()).action is Action.UPDATE
    assert world.registries.indexes_asked.total() == questions


async def test_answer_through_the_engine_is_marked() -> None:
    """People can see who was asked; there is no index to ask an engine for."""
    container = a_container("web")
    reply = {"Descriptor": {"digest": a_digest("v2"), "mediaType": INDEX}}
    engine = an_engine([container], distribution={IMAGE: reply})
    tags = {IMAGE: RegistryUnavailableError("refused", host="registry.example", connected=False)}
    item = await World([container], tags, engine=engine).item()
    assert (item.action, item.published, item.asked_through_engine) == (Action.UPDATE, digest("v2"), True)


async def test_updates_come_first_in_the_order_of_their_dependencies() -> None:
    """What others depend on is replaced first; the rest of the plan is sorted by name."""
    containers = [
        a_container("a", labels={DEPENDS_ON: "b"}),
        a_container("b", labels={DEPENDS_ON: "z"}),
        a_container("z"),
        a_container("stopped", state="exited"),
        a_container("fresh", image="registry.example/fresh:1"),
    ]
    fresh = "registry.example/fresh:1"
    tags = {IMAGE: published(IMAGE, "v2"), fresh: published(fresh, "v1")}
    plan = await World(containers, tags, images=[an_image(IMAGE), an_image(fresh)]).plan()
    assert [item.name for item in plan.items] == ["z", "b", "a", "fresh", "stopped"]
    assert [item.name for item in plan.updates] == ["z", "b", "a"]


async def test_circle_costs_only_its_members() -> None:
    """They are left alone with the circle in the reason; who depends on them is updated all the same."""
    containers = [
        a_container("a", labels={DEPENDS_ON: "b"}),
        a_container("b", labels={DEPENDS_ON: "a"}),
        a_container("c", labels={DEPENDS_ON: "a,d"}),
        a_container("d"),
    ]
    plan = await World(containers).plan()
    assert [(item.name, item.action) for item in plan.items] == [
        ("d", Action.UPDATE),
        ("c", Action.UPDATE),
        ("a", Action.LEAVE),
        ("b", Action.LEAVE),
    ]
    assert plan.items[2].reason == Reason(ReasonCode.CIRCULAR, "circular dependency between a, b")


async def test_image_that_failed_in_a_container_is_not_tried_in_it_again() -> None:
    """Only this digest in this container: another container tries it, and another digest is tried."""
    containers = [a_container("a"), a_container("b"), a_container("c")]
    failures = frozenset({("a", digest("v2")), ("b", digest("v3"))})
    plan = await World(containers).plan(quarantined=failures)
    assert [(item.name, item.action) for item in plan.items] == [
        ("b", Action.UPDATE),
        ("c", Action.UPDATE),
        ("a", Action.LEAVE),
    ]
    assert plan.items[2].reason.code is ReasonCode.QUARANTINED
    assert plan.items[2].published == digest("v2")


async def test_every_container_of_the_engine_is_in_the_plan() -> None:
    """Also those that are not watched, with the reason; they are never asked for."""
    containers = [
        a_container("off", image="registry.example/off:1", labels={"com.centurylinklabs.watchtower.enable": "false"}),
        a_container("pinned", image=f"{IMAGE}@{a_digest('v1')}"),
        a_container("gone", image_id=a_digest("unknown")),
    ]
    world = World(containers)
    plan = await world.plan()
    assert {item.name: (item.action, item.reason.code) for item in plan.items} == {
        "off": (Action.LEAVE, ReasonCode.DISABLED),
        "pinned": (Action.LEAVE, ReasonCode.PINNED),
        "gone": (Action.UNKNOWN, ReasonCode.IMAGE_UNKNOWN),
    }
    assert not world.registries.asked


async def test_engine_without_containers_has_an_empty_plan() -> None:
    """What was found beside the containers is passed on."""
    plan = await World([]).plan(repairs=("web: undone",), problems=("config.json is broken",))
    assert plan == UpdatePlan(
        engine="unix:///small.sock", items=(), repairs=("web: undone",), problems=("config.json is broken",)
    )


async def test_uses_are_what_a_session_asks_for_and_nobody_is_asked() -> None:
    """Not what is left alone, pinned, local, or in a circle."""
    local = a_container("local", image="built:1", image_id=a_digest("config of built"))
    circle = [a_container(name, labels={DEPENDS_ON: other}) for name, other in (("a", "b"), ("b", "a"))]
    others = [
        a_container("stopped", state="exited"),
        a_container("pinned", image=f"{IMAGE}@{a_digest('v1')}"),
        local,
        *circle,
    ]
    config = a_digest(f"config of {IMAGE}")
    world = World([a_container("web"), a_container("moved", image=config, image_id=config), *others])
    inspected = document_of(world.containers[1])
    engine = an_engine(world.containers, containers=[inspected])
    registries = SmallRegistries()
    scanner = Scanner(registries=registries, engine=engine, credentials=SmallCredentials(), shares_loopback=True)
    planner = Planner(engine=engine, scanner=scanner, policy=world.policy, facts=FACTS)
    inventory = an_inventory(*world.containers, images=[an_image(IMAGE), an_image("built:1", digests=())])
    found = await planner.uses(inventory)
    assert sorted((use.container, use.reference.familiar) for use in found) == [("moved", IMAGE), ("web", IMAGE)]
    assert not registries.asked


# ---- how stopped containers are treated --------------------------------------------------------------------------


async def test_stopped_container_is_updated_where_it_was_asked_for() -> None:
    """The item says how it ran and that its successor stays down."""
    container = a_container("web", state="exited")
    item = await World([container], policy=SelectionPolicy(include_stopped=True)).item()
    assert (item.action, item.ran, item.starts) == (Action.UPDATE, RunState.STOPPED, False)


async def test_successor_is_not_started_without_restarts() -> None:
    """It is re-created all the same."""
    item = await World([a_container("web")], policy=SelectionPolicy(no_restart=True)).item()
    assert (item.action, item.ran, item.starts) == (Action.UPDATE, RunState.RUNNING, False)


# ---- names of images ---------------------------------------------------------------------------------------------


async def test_image_name_is_chosen_by_also_where_the_engine_lists_an_id() -> None:
    """The name that the container was made from counts, and nobody is asked for the others."""
    image_id = a_digest(f"config of {IMAGE}")
    container = a_container("web", image=image_id, image_id=image_id)
    world = World([container], policy=SelectionPolicy(skip_image_names=("registry.example/app:.*",)))
    item = await world.item()
    assert (item.action, item.reason.code) == (Action.LEAVE, ReasonCode.DISABLED)
    assert not world.registries.asked
    wanted = World([container], policy=SelectionPolicy(monitor_image_names=("registry.example/app:1",)))
    assert (await wanted.item()).action is Action.UPDATE


async def test_original_image_label_names_what_is_asked_for() -> None:
    """The container's own image name is not used, and costs no call where the engine lists an id."""
    labels = {ORIGINAL: IMAGE}
    container = a_container("web", image="built-here:3", image_id=a_digest(f"config of {IMAGE}"), labels=labels)
    world = World([container])
    item = await world.item()
    assert (item.action, item.reference, item.image) == (Action.UPDATE, parse_reference(IMAGE), IMAGE)
    assert world.registries.asked == {IMAGE: 1}


async def test_label_that_cannot_be_read_is_in_the_notes() -> None:
    """Whoever wrote it learns that it does nothing."""
    item = await World([a_container("web", labels={NO_PULL: "maybe"})]).item()
    assert item.action is Action.UPDATE
    assert item.notes == (f"label {NO_PULL}='maybe' is ignored: expected true or false",)


async def test_compose_dependencies_can_be_switched_off() -> None:
    """Then the order is that of the names."""
    compose = {"com.docker.compose.project": "shop"}
    containers = [
        a_container("a", labels=compose | {"com.docker.compose.depends_on": "b:service_started:false"}),
        a_container("b", labels=compose | {"com.docker.compose.service": "b"}),
    ]
    plan = await World(containers).plan()
    assert [item.name for item in plan.updates] == ["b", "a"]
    plan = await World(containers, policy=SelectionPolicy(use_compose_depends_on=False)).plan()
    assert [item.name for item in plan.updates] == ["a", "b"]


# ---- no-pull -----------------------------------------------------------------------------------------------------


def a_local_world(tagged: str | None, *, image: str = IMAGE) -> World:
    """Return a world in which a container runs image `old`, and the tag names another image on the engine or none."""
    old = a_digest("old")
    container = a_container("web", image=image, image_id=old, labels={NO_PULL: "true"})
    images = [replace(an_image(IMAGE, image_id=old, digests=()), repo_tags=())]
    if tagged is not None:
        images = [item for item in images if item.id != a_digest(tagged)]
        images.append(an_image(IMAGE, image_id=a_digest(tagged), digests=()))
    engine = an_engine([container], containers=[document_of(container)])
    return World([container], images=images, engine=engine)


async def test_without_pulls_the_image_that_the_tag_names_here_counts() -> None:
    """A local build is an update; the digests are image ids, and no registry is asked."""
    world = a_local_world("new")
    item = await world.item()
    assert (item.action, item.local_image) == (Action.UPDATE, a_digest("new"))
    assert (item.running, item.published) == (digest("old"), digest("new"))
    assert item.reference == parse_reference(IMAGE)
    assert not world.registries.asked


async def test_without_pulls_a_container_listed_by_id_is_judged_by_its_name() -> None:
    """That is how the engine lists it as soon as its tag names another image."""
    item = await a_local_world("new", image=a_digest("old")).item()
    assert (item.action, item.local_image) == (Action.UPDATE, a_digest("new"))


async def test_without_pulls_a_container_on_the_tagged_image_is_fresh() -> None:
    """Whatever its registry has."""
    world = a_local_world("old")
    item = await world.item()
    assert (item.action, item.reason.code, item.local_image) == (Action.NOTHING, ReasonCode.UP_TO_DATE, None)
    assert not world.registries.asked


async def test_without_pulls_and_without_the_tag_nothing_is_known() -> None:
    """The tag was removed here, and nobody may be asked."""
    item = await a_local_world(None).item()
    assert (item.action, item.reason.code) == (Action.UNKNOWN, ReasonCode.IMAGE_UNKNOWN)
    assert f"no image on the engine is tagged {IMAGE}" in item.reason.text


async def test_without_pulls_a_forgotten_image_is_unknown() -> None:
    """Its defaults are needed to create the container again."""
    container = a_container("web", image_id=a_digest("gone"), labels={NO_PULL: "true"})
    item = await World([container], engine=an_engine([container])).item()
    assert (item.action, item.reason.code) == (Action.UNKNOWN, ReasonCode.IMAGE_UNKNOWN)


@pytest.mark.parametrize(
    ("image", "code"),
    [(f"{IMAGE}@{a_digest('v1')}", ReasonCode.PINNED), ("registry.example/UPPER:1", ReasonCode.NO_REFERENCE)],
)
async def test_without_pulls_what_follows_no_tag_is_left_alone(image: str, code: ReasonCode) -> None:
    """As with them."""
    item = await World([a_container("web", image=image, labels={NO_PULL: "true"})]).item()
    assert (item.action, item.reason.code) == (Action.LEAVE, code)


async def test_without_pulls_monitor_only_reports() -> None:
    """There is nothing to move to then."""
    world = a_local_world("new")
    world.policy = SelectionPolicy(monitor_only=True)
    item = await world.item()
    assert (item.action, item.local_image) == (Action.REPORT, None)


async def test_without_pulls_a_failed_image_is_not_tried_again() -> None:
    """Its id stands in the quarantine."""
    item = await a_local_world("new").item(quarantined=frozenset({("web", digest("new"))}))
    assert (item.action, item.reason.code) == (Action.LEAVE, ReasonCode.QUARANTINED)


async def test_without_pulls_there_is_no_cooldown() -> None:
    """Somebody put the image there."""
    world = a_local_world("new")
    world.policy = SelectionPolicy(cooldown=DAY)
    plan = await world.plan()
    assert [item.action for item in plan.items] == [Action.UPDATE]
    assert plan.sightings == ()


# ---- cooldown ----------------------------------------------------------------------------------------------------


def a_young_world(seen: datetime | None, created: datetime | WatchtowerError | None = None, **more: Any) -> World:
    """Return a world with a newer image that was first seen and built at these times, and a cooldown of a day."""
    known = Seen() if seen is None else Seen({(IMAGE, digest("v2")): seen})
    policy = more.pop("policy", SelectionPolicy(cooldown=DAY))
    return World([a_container("web")], seen=known, dates=SmallDates(created), policy=policy, **more)


async def test_image_that_is_seen_for_the_first_time_waits() -> None:
    """However old it says it is; the plan hands back what is to be noted, and nobody is asked for its date."""
    world = a_young_world(None, NOON - 900 * DAY)
    plan = await world.plan()
    (item,) = plan.items
    assert (item.action, item.reason.code, item.held_until) == (Action.LEAVE, ReasonCode.COOLING_DOWN, NOON + DAY)
    assert (item.running, item.published) == (digest("v1"), digest("v2"))
    assert plan.sightings == (Sighting(image=IMAGE, digest=digest("v2"), since=NOON),)
    assert world.dates.asked == []


@pytest.mark.parametrize(
    ("seen", "created", "action"),
    [
        (NOON - 2 * DAY, None, Action.UPDATE),
        (NOON - 2 * DAY, NOON - 3 * DAY, Action.UPDATE),
        (NOON - 2 * DAY, NOON - HOUR, Action.LEAVE),
        (NOON - HOUR, NOON - 3 * DAY, Action.LEAVE),
        (NOON - DAY, NOON - 3 * DAY, Action.LEAVE),
        (NOON - 2 * DAY, RateLimitedError("wait", host="registry.example", retry_after=None), Action.UPDATE),
    ],
)
async def test_later_of_both_dates_decides(
    seen: datetime, created: datetime | WatchtowerError | None, action: Action
) -> None:
    """An image whose date nobody tells is judged by when it was seen."""
    assert (await a_young_world(seen, created).item()).action is action


async def test_date_is_asked_for_the_platform_that_runs() -> None:
    """By the digest of the tag, once."""
    world = a_young_world(NOON - 2 * DAY)
    await world.plan()
    assert world.dates.asked == [(parse_reference(IMAGE), digest("v2"), parse_platform("linux/amd64"))]


@pytest.mark.parametrize(
    ("given", "platform"),
    [
        ({"cooldown_architecture": "arm", "cooldown_variant": "v7"}, "linux/arm/v7"),
        ({"cooldown_architecture": "aarch64"}, "linux/arm64"),
        ({"cooldown_os": "windows"}, "windows/amd64"),
    ],
)
async def test_date_is_asked_for_the_platform_that_was_given(given: dict[str, str], platform: str) -> None:
    """Where one part is given, the others are those of what runs."""
    world = a_young_world(NOON - 2 * DAY, policy=SelectionPolicy(cooldown=DAY, **given))  # type: ignore[arg-type]
    await world.plan()
    assert [asked[2] for asked in world.dates.asked] == [parse_platform(platform)]


async def test_first_sight_is_kept_from_one_plan_to_the_next() -> None:
    """What is handed back for an image that is known is what was known."""
    plan = await a_young_world(NOON - HOUR).plan()
    assert plan.sightings == (Sighting(image=IMAGE, digest=digest("v2"), since=NOON - HOUR),)
    assert plan.items[0].held_until == NOON + 23 * HOUR


async def test_image_from_the_future_is_updated_with_a_note() -> None:
    """Its builder's clock is wrong, and it has waited as long as anybody can tell."""
    item = await a_young_world(NOON - 2 * DAY, NOON + 900 * DAY).item()
    assert item.action is Action.UPDATE
    assert "in the future" in item.notes[0]


async def test_cooldown_label_holds_one_container_only() -> None:
    """Two containers of one image may differ, and share what was seen."""
    containers = [a_container("a", labels={COOLDOWN: "3d"}), a_container("b"), a_container("c", labels={COOLDOWN: "0"})]
    world = World(containers, seen=Seen({(IMAGE, digest("v2")): NOON - 2 * DAY}), policy=SelectionPolicy(cooldown=DAY))
    plan = await world.plan()
    assert {item.name: item.action for item in plan.items} == {
        "a": Action.LEAVE,
        "b": Action.UPDATE,
        "c": Action.UPDATE,
    }
    assert len(plan.sightings) == 1


async def test_without_cooldown_nothing_is_noted_or_asked() -> None:
    """It costs nobody else anything."""
    world = a_young_world(None, policy=SelectionPolicy())
    plan = await world.plan()
    assert (plan.items[0].action, plan.sightings, world.dates.asked) == (Action.UPDATE, (), [])


async def test_monitor_only_container_does_not_wait() -> None:
    """A report does no harm."""
    world = a_young_world(None, policy=SelectionPolicy(cooldown=DAY, monitor_only=True))
    plan = await world.plan()
    assert (plan.items[0].action, plan.sightings) == (Action.REPORT, ())


async def test_new_index_with_the_same_manifest_does_not_wait() -> None:
    """There is nothing new for this platform."""
    world = World(
        [a_container("web")],
        **an_index_answer(("linux/arm64", "new"), ("linux/amd64", "v1")),
        policy=SelectionPolicy(cooldown=DAY),
    )
    plan = await world.plan()
    assert (plan.items[0].action, plan.sightings) == (Action.NOTHING, ())


async def test_age_of_an_image_that_only_the_engine_reaches_is_that_of_its_sight() -> None:
    """An engine tells no dates of what it has not pulled."""
    container = a_container("web")
    reply = {"Descriptor": {"digest": a_digest("v2"), "mediaType": MANIFEST}}
    engine = an_engine([container], distribution={IMAGE: reply})
    tags = {IMAGE: RegistryUnavailableError("refused", host="registry.example", connected=False)}
    world = a_young_world(NOON - 2 * DAY, NOON - HOUR, tags=tags, engine=engine)
    assert (await world.item()).action is Action.UPDATE
    assert world.dates.asked == []
