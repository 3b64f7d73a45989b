"""A session about some images only: what it asks, in which order, and what it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.builders import a_container, a_digest
from tests.support.merge_rules import an_image_document, created
from tests.support.small_engine import SmallEngine
from tests.support.small_registries import SmallCredentials, SmallRegistries, published
from tests.support.stored import a_store_in_memory
from watchtower_async.engine.client import JsonObject
from watchtower_async.engine.inventory import Inventory
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.engine.temporary_name import Part, RestartPolicy, RunState, TemporaryName
from watchtower_async.errors import CredentialError, DeniedError, UnauthorizedError, WatchtowerError
from watchtower_async.events import Announcer
from watchtower_async.images.reference import Reference
from watchtower_async.narration import Narrator
from watchtower_async.registry.client import Published
from watchtower_async.rollout.coordinator import Clock, Prepared, RolledBack, RunEnd, SlotReport
from watchtower_async.rollout.course import Course, PlannedGroup, Progress
from watchtower_async.rollout.course_events import GroupFound, GroupPrepared, GroupSettled
from watchtower_async.rollout.drawing import RolloutDrawing
from watchtower_async.rollout.hooks import HookRunner
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.policy import UpdatePolicy
from watchtower_async.rollout.recovery import RecoveryReport
from watchtower_async.rollout.rollouts import Rollouts
from watchtower_async.rollout.sharers import Sharers
from watchtower_async.session import Session, SessionPolicy, SessionReport
from watchtower_async.updates.planner import Planner
from watchtower_async.updates.scanner import Scanner
from watchtower_async.updates.selection import SelectionPolicy

FACTS = EngineFacts(api_version=(1, 51), host_name="machine", platform="linux/amd64")
A, B, C, D = (f"{name}.example/app:1" for name in "abcd")


class OneCredential(SmallCredentials):
    """Credentials that are always in order."""

    async def reload(self) -> str | None:
        return None


@dataclass
class World:
    """A container for each image, stale where the table says so, one that is left alone, and sessions that replace."""

    tags: Mapping[str, Published | WatchtowerError]
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of containers that are not called after their image."""
    replaced: list[str] = field(default_factory=list)
    recovered: int = 0

    def __post_init__(self) -> None:
        self.registries = SmallRegistries(self.tags)
        self.session = self._session()

    async def run(self, only: Callable[[Reference], bool] | None = None) -> SessionReport:
        """Run a session; `asked` is then what this one asked, in order."""
        self.registries.asked.clear()
        self.replaced.clear()
        return await self.session.run(only=only)

    @property
    def asked(self) -> list[str]:
        return list(self.registries.asked)

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        return GroupPrepared(planned.key)

    async def run_group(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        self.replaced += [member.aim.image for member in planned.group.updated if member.aim is not None]
        slot.down()
        slot.up()
        return GroupSettled(planned.key, Outcome(OutcomeKind.UPDATED, "updated"))

    async def recover(self, inventory: Inventory, only_report: bool) -> tuple[RecoveryReport, ...]:
        self.recovered += 1
        return ()

    def _session(self) -> Session:
        documents = [_document(image) for image in self.tags]
        listed = [_entry(image, self.names.get(image, image[0])) for image in self.tags]
        listed.append(_entry(next(iter(self.tags)), "stopped") | {"Id": a_container("stopped").id, "State": "exited"})
        images = {_image_id(image): _image_document(image) for image in self.tags}
        engine = SmallEngine(containers=documents, listed=listed, images=images)
        credentials = OneCredential()
        scanner = Scanner(registries=self.registries, engine=engine, credentials=credentials, shares_loopback=True)
        state = a_store_in_memory()
        narrator = Narrator(host=engine.name, announcer=Announcer(), quarantine=state)
        return Session(
            engine=engine,
            planner=Planner(engine=engine, scanner=scanner, policy=SelectionPolicy(), facts=FACTS),
            rollouts=Rollouts(
                runner=_Runner(self), store=state, narrate=narrator.tell, on_over=_ignore, tell=lambda _: None
            ),
            drawing=RolloutDrawing(engine=engine, sharers=Sharers(engine), policy=UpdatePolicy(), stop_timeout=10),
            recover=self.recover,
            credentials=credentials,
            memory=state,
            policy=SessionPolicy(monitor_only=False),
            narrator=narrator,
            announcer=Announcer(),
            hooks=HookRunner(engine=engine, enabled=False),
        )


async def _ignore(course: Course, progress: Progress) -> None:
    """Clean nothing up."""


@dataclass(slots=True)
class _Runner:
    """Updates every group at once."""

    world: World

    async def prepare(self, planned: PlannedGroup) -> Prepared:
        return await self.world.prepare(planned)

    async def run(self, planned: PlannedGroup, slot: SlotReport) -> RunEnd:
        return await self.world.run_group(planned, slot)

    async def roll_back(self, planned: PlannedGroup, failure: Outcome | None, now: Clock) -> RolledBack:
        raise AssertionError("nothing fails")

    async def look(self, planned: PlannedGroup, now: Clock) -> GroupFound:
        raise AssertionError("nothing was interrupted")


def _image_id(image: str) -> str:
    return a_digest(f"config of {image}")


def _image_document(image: str) -> JsonObject:
    digests = [f"{image.rpartition(':')[0]}@{a_digest('v1')}"]
    return an_image_document("any") | {"Id": _image_id(image), "RepoTags": [image], "RepoDigests": digests}


def _document(image: str) -> JsonObject:
    document = created({"Image": image}, _image_document(image), word=image)
    return document | {"Id": a_container(image[0], image=image).id}


def _entry(image: str, name: str) -> JsonObject:
    found = a_container(image[0], image=image)
    return {
        "Id": found.id,
        "Names": [f"/{name}"],
        "Image": image,
        "ImageID": found.image_id,
        "Labels": {},
        "State": "running",
        "Created": found.created,
    }


def all_stale(*images: str) -> dict[str, Published | WatchtowerError]:
    """A newer image for each of these."""
    return {image: published(image, "v2") for image in images}


def about(*images: str) -> Callable[[Reference], bool]:
    """Include these images."""
    return lambda reference: reference.familiar in images


def names(report: SessionReport) -> set[str]:
    assert report.plan is not None
    return {item.name for item in report.plan.items}


async def test_session_without_a_focus_is_about_everything() -> None:
    """The scheduled one."""
    world = World(all_stale(A, B, C))
    report = await world.run()
    assert world.asked == [A, B, C]
    assert world.replaced == [A, B, C]
    assert names(report) == {"a", "b", "c", "stopped"}


async def test_other_containers_are_neither_asked_for_nor_touched_nor_listed() -> None:
    """They are none of this session's business, whatever it would find."""
    world = World(all_stale(A, B, C))
    report = await world.run(about(B))
    assert world.asked == [B]
    assert world.replaced == [B]
    assert names(report) == {"b"}
    assert (report.scanned, report.updated) == (1, 1)


async def test_focus_on_nothing_does_nothing() -> None:
    """A login to a registry that nobody uses."""
    world = World(all_stale(A))
    report = await world.run(about())
    assert not world.asked
    assert not world.replaced
    assert report.is_good
    assert report.scanned == 0


async def test_images_that_were_refused_are_asked_for_first() -> None:
    """Whoever has put a login right is waiting for these."""
    refusals = {
        B: UnauthorizedError("no", host="b.example"),
        D: DeniedError("no", host="d.example"),
        C: CredentialError("its entry is broken"),
    }
    world = World({**all_stale(A), **refusals})
    await world.run()
    await world.run(about(A, B, C, D))
    assert world.asked[3:] == [A]
    assert set(world.asked[:3]) == {B, C, D}


async def test_refusal_outside_of_the_focus_is_remembered() -> None:
    """A session about others tells nothing about it; one that went well does."""
    answers: dict[str, Published | WatchtowerError] = {**all_stale(A), B: UnauthorizedError("no", host="b.example")}
    world = World(answers)
    await world.run()
    await world.run(about(A))
    await world.run(about(A, B))
    assert world.asked == [B, A]


async def test_recovery_is_part_of_every_session() -> None:
    """What was left over is none of an image's business."""
    left_over = str(TemporaryName("b", Part.OLD, RunState.RUNNING, RestartPolicy(), "x23456789012"))
    world = World(all_stale(A, B), names={B: left_over})
    await world.run(about(A))
    assert world.recovered == 2  # at the start, and in the session
