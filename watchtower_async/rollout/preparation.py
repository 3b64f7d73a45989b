"""Everything that can fail before a container is touched: look at it again, pull, find out how to create it anew.

The plan is some time old when its turn comes. Whatever has changed since is found here, and costs nothing.

What is replaced together is prepared together: containers that share namespaces, or link to each other, are all created
anew when one of them is. Those whose image is not out of date stay on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from watchtower_async.credentials.credential import Anonymous, registry_auth_header
from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.disk import Disk, RoomForAll
from watchtower_async.engine.injected_files import find_injected_files
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate
from watchtower_async.engine.spec_network import DEFAULT_MODES, WITHOUT_ENDPOINTS, network_mode
from watchtower_async.engine.spec_parts import labels_of, section
from watchtower_async.engine.spec_relations import CONTAINER_MODE
from watchtower_async.engine.temporary_name import Part, RestartPolicy, RunState, TemporaryName, read_policy
from watchtower_async.errors import (
    EngineError,
    EngineUnavailableError,
    InvalidReferenceError,
    NoSuchObjectError,
    PullFailedError,
)
from watchtower_async.images.digest import Digest
from watchtower_async.images.reference import Reference, parse_reference
from watchtower_async.rollout.blame import Blame
from watchtower_async.rollout.order import OrderChoice, choose_order
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.sharers import Sharers
from watchtower_async.rollout.transitions import UP, situations
from watchtower_async.settings import Order
from watchtower_async.updates.selection import label_is_true, original_image

ROLL_BACK_LABEL = "watchtower-async.rollback-to-failing"
"""True: a container that was failing before its replacement is put back, too, when the new one fails."""
_NO_LOGIN = registry_auth_header(Anonymous(), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementTarget:
    """What the plan says about one container. Without reference and digest it stays on the image that it has."""

    container_id: str
    name: str
    reference: Reference | None = None
    digest: Digest | None = None
    registry_auth: str = field(default=_NO_LOGIN, repr=False)
    """The `X-Registry-Auth` header for the pull."""
    local_image: str = ""
    """The engine's id of the image to move to, where it is there already and nothing is to be pulled."""
    is_up: bool = True
    """Whether it ran when it was planned."""
    starts: bool | None = None
    """Whether the successor is started; None is as the container ran."""
    is_always_put_back: bool = False
    """Whether it comes back for a failed successor also where it was failing itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A container whose replacement can begin."""

    target: ReplacementTarget
    document: JsonObject = field(repr=False)
    """The predecessor, inspected."""
    old_image: JsonObject = field(repr=False)
    new_image: JsonObject = field(repr=False)
    """The image of the successor, inspected; the old one for a container that stays on it."""
    recreation: Recreation
    """How to create it anew, as far as that is known before the others are."""
    ran: RunState
    policy: RestartPolicy
    injected: tuple[str, ...] = ()
    """Files that Docker Compose copied into the predecessor, and that the successor gets before its start."""

    @property
    def starts(self) -> bool:
        """Say whether the successor is to run."""
        return self.target.is_up if self.target.starts is None else self.target.starts

    @property
    def is_restarting(self) -> bool:
        """Say whether it was in a restart loop when it was looked at."""
        return section(self.document, "State").get("Status") == "restarting"

    @property
    def is_worth_going_back_to(self) -> bool:
        """Say whether a failed successor gives way to it: not where it was failing itself, unless its label says so."""
        state = section(self.document, "State")
        if self.target.is_always_put_back:
            return True
        is_failing = self.is_restarting or section(state, "Health").get("Status") == "unhealthy"
        return not is_failing or label_is_true(labels_of(self.document), ROLL_BACK_LABEL)

    @property
    def old_image_id(self) -> str:
        """Return the id of the image that it runs on."""
        return str(self.document.get("Image") or "")

    @property
    def new_image_id(self) -> str:
        """Return the id of the image that it will run on."""
        return str(self.new_image.get("Id") or "")

    @property
    def vanishes(self) -> bool:
        """Say whether the engine removes it when it is stopped."""
        return self.recreation.vanishes_at_stop and self.ran is not RunState.STOPPED

    def temporary_name(self, part: Part, owner: str = "") -> str:
        """Return the name of one of the two containers during the replacement."""
        return str(TemporaryName(self.target.name, part, self.ran, self.policy, owner))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedGroup:
    """Containers that are replaced together, targets first, with everything that is needed to begin."""

    members: tuple[Prepared, ...]
    neighbourhood: Neighbourhood = field(repr=False)
    order: OrderChoice

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names, targets first."""
        return tuple(member.target.name for member in self.members)


class Preparation:
    """Prepares replacements on one engine. Pulls images, and touches no container."""

    def __init__(self, *, engine: Engine, facts: EngineFacts, sharers: Sharers, disk: Disk | None = None) -> None:
        """`disk` says whether there is room for a pull; without one there always is."""
        self._disk = disk or RoomForAll()
        self._engine = engine
        self._facts = facts
        self._sharers = sharers

    async def prepare(
        self, targets: Sequence[ReplacementTarget], *, order: Order = Order.STOP_FIRST
    ) -> PreparedGroup | Outcome:
        """Return what is needed to begin, or why it does not begin. Raises EngineUnavailableError.

        The targets are replaced together; those that others need stand first.
        """
        name = targets[0].name
        try:
            containers = [read_container(item) for item in await self._engine.list_containers()]
            outsiders = await self._sharers.of(containers, [target.container_id for target in targets])
            members: list[Prepared] = []
            for target in targets:
                name = target.name
                found = await self._prepare(target, containers, targets)
                if isinstance(found, Outcome):
                    return _named(found, name, targets)
                members.append(found)
            if outsiders:
                return _refused(
                    tuple(f"{item} shares its namespaces or links to it since the plan" for item in outsiders)
                )
            new_images = await self._pull_all(members)
        except NoSuchObjectError:
            return _named(_skipped("the container was removed while the session was running"), name, targets)
        except EngineUnavailableError:
            raise
        except EngineError as error:
            return _named(_failed(f"the engine refused: {error}"), name, targets)
        if isinstance(new_images, Outcome):
            return new_images
        return self._group(members, new_images, containers, order)

    def _group(
        self,
        members: list[Prepared],
        new_images: list[JsonObject],
        containers: list[ContainerSummary],
        order: Order,
    ) -> PreparedGroup | Outcome:
        neighbourhood = Neighbourhood(containers)
        prepared: list[Prepared] = []
        for member, new_image in zip(members, new_images, strict=True):
            recreation = self._recreation(
                member.document, member.old_image, new_image, _replacing(neighbourhood, members)
            )
            if isinstance(recreation, Refusal):
                return _named(_refused(recreation.reasons), member.target.name, members)
            prepared.append(replace(member, new_image=new_image, recreation=recreation))
        if all(member.new_image_id == member.old_image_id for member in prepared):
            return _skipped("the published image is the one that runs already")
        choice = self._choose_order(prepared, order)
        return PreparedGroup(members=tuple(prepared), neighbourhood=neighbourhood, order=choice)

    def _choose_order(self, members: list[Prepared], asked: Order) -> OrderChoice:
        head, *others = members
        choice = choose_order(
            head.document, asked=asked, engine=self._facts, dependents=tuple(member.target.name for member in others)
        )
        reasons = list(choice.reasons)
        if choice.order is Order.START_FIRST and head.ran is not RunState.RUNNING:
            reasons.append("it is paused" if head.ran is RunState.PAUSED else "it does not run")
        if choice.order is Order.START_FIRST and head.vanishes:
            reasons.append("the engine removes it at its stop (--rm)")
        return OrderChoice(Order.STOP_FIRST, tuple(reasons)) if reasons else choice

    async def _prepare(
        self, target: ReplacementTarget, containers: list[ContainerSummary], targets: Sequence[ReplacementTarget]
    ) -> Prepared | Outcome:
        """Look at one container again, as far as nothing is pulled for it."""
        document = await self._engine.inspect_container(target.container_id)
        changed = _changed_since_the_plan(document, target)
        if changed is not None:
            return changed
        if target.name in situations(containers):
            return _failed("there is an unfinished replacement of this container; another updater may be at work")
        old_image = await self._image(str(document.get("Image") or ""))
        if old_image is None:
            return _refused(("the container's image is gone, so nobody can say which settings came from it",))
        is_kept = target.reference is None
        recreation = self._recreation(
            document, old_image, old_image if is_kept else None, _replacing(Neighbourhood(containers), targets)
        )
        if isinstance(recreation, Refusal):
            return _refused(recreation.reasons)
        reasons = (*await self._further_reasons(document, recreation), *_policy_reasons(document))
        if is_kept:
            reasons = (*reasons, *await self._image_reasons(document))
        if len(targets) > 1 and recreation.vanishes_at_stop:
            reasons = (*reasons, "HostConfig.AutoRemove (--rm) is set, so the group could not be put back")
        if reasons:
            return _refused(reasons)
        injected = await find_injected_files(self._engine, document) if recreation.needs_injected_file_check else ()
        if isinstance(injected, str):
            return _refused((injected,))
        if injected and recreation.vanishes_at_stop:
            return _refused(("it has --rm and copied files, which would be gone with it if it had to be put back",))
        return Prepared(
            target=target,
            document=document,
            old_image=old_image,
            new_image=old_image,
            recreation=recreation,
            ran=_run_state(document),
            policy=read_policy(section(document, "HostConfig").get("RestartPolicy")),
            injected=injected,
        )

    async def _further_reasons(self, document: JsonObject, recreation: Recreation) -> tuple[str, ...]:
        """Return what else speaks against it, beside the container's own settings."""
        missing = await self._missing_networks(document, recreation)
        return tuple(f"network {name} does not exist any more" for name in missing)

    async def _image_reasons(self, document: JsonObject) -> tuple[str, ...]:
        """Say so where the name of a container's image means another one by now: it would come up on that."""
        name = str(section(document, "Config").get("Image") or "")
        try:
            parse_reference(name)
            meant = await self._image(name)
        except InvalidReferenceError:
            return ()  # made from an id, which means one image for ever
        if meant is not None and meant.get("Id") == document.get("Image"):
            return ()
        return (f"{name} means another image on this engine now, and it is not to be updated itself",)

    def _recreation(
        self,
        document: JsonObject,
        old_image: JsonObject,
        new_image: JsonObject | None,
        neighbourhood: Neighbourhood,
    ) -> Recreation | Refusal:
        return recreate(
            container=document,
            old_image=old_image,
            new_image=new_image,
            engine=self._facts,
            neighbourhood=neighbourhood,
        )

    async def _image(self, image_id: str) -> JsonObject | None:
        try:
            return await self._engine.inspect_image(image_id)
        except NoSuchObjectError:
            return None

    async def _missing_networks(self, document: JsonObject, recreation: Recreation) -> list[str]:
        # Create does not look networks up; a missing one would be noticed at the start, when the predecessor is down.
        asked = section(section(recreation.request, "NetworkingConfig"), "EndpointsConfig")
        names = {*asked, *(name for name, _ in recreation.extra_networks), network_mode(document)}
        missing: list[str] = []
        for name in sorted(names - {*DEFAULT_MODES, *WITHOUT_ENDPOINTS}):
            if name.startswith(CONTAINER_MODE):
                continue
            try:
                await self._engine.inspect_network(name)
            except NoSuchObjectError:
                missing.append(name)
        return missing

    def recreation_with(self, member: Prepared, neighbourhood: Neighbourhood) -> Recreation:
        """Return how to create a member whose targets are created. Raises EngineError where that is not possible."""
        found = self._recreation(member.document, member.old_image, member.new_image, neighbourhood)
        if isinstance(found, Refusal):
            raise EngineError("; ".join(found.reasons))
        reference = member.target.reference
        if reference is not None and original_image(labels_of(member.document)):
            # Its label names another image than its configuration, and that one is what it moves to.
            found = replace(found, request={**found.request, "Image": reference.familiar})
        return found

    async def _pull_all(self, members: Sequence[Prepared]) -> list[JsonObject] | Outcome:
        """Pull for all before the first is touched."""
        images: list[JsonObject] = []
        for member in members:
            if member.target.reference is None:
                images.append(member.old_image)
                continue
            if member.target.local_image:
                images.append(await self._engine.inspect_image(member.target.local_image))
                continue
            found = await self._pull(member.target, member.recreation.platform)
            if isinstance(found, Outcome):
                return _named(found, member.target.name, members)
            images.append(found)
        return images

    async def _pull(self, target: ReplacementTarget, platform: str | None) -> JsonObject | Outcome:
        assert target.reference is not None
        # By digest, so that a tag that moves in the meantime changes nothing.
        name = f"{target.reference.repository}@{target.digest}"
        no_room = await self._disk.reason_against_pull()
        if no_room is not None:
            return replace(_failed(f"the new image is not pulled: {no_room}"), blame=Blame.HOST)
        try:
            await self._pull_as_known(name, target.registry_auth, platform)
            return await self._engine.inspect_image(name)
        except PullFailedError as error:
            if error.out_of_space:
                return _failed(f"too little disk space on the engine to pull the new image: {error}")
            outcome = _failed(f"the new image could not be pulled: {error}")
            return replace(outcome, wants_login=error.login_refused)
        except NoSuchObjectError:
            return _failed("the new image was pulled and is not there; it may have been removed at once")

    async def _pull_as_known(self, name: str, registry_auth: str, platform: str | None) -> None:
        """Pull with the login, and once without where it is refused: some registries do so even for public images."""
        try:
            await self._engine.pull_image(name, registry_auth=registry_auth, platform=platform)
        except PullFailedError as error:
            if not error.login_refused or registry_auth == _NO_LOGIN:
                raise
            try:
                await self._engine.pull_image(name, registry_auth=_NO_LOGIN, platform=platform)
            except PullFailedError:
                raise error from None


def _changed_since_the_plan(document: JsonObject, target: ReplacementTarget) -> Outcome | None:
    name = str(document.get("Name") or "").removeprefix("/")
    status = str(section(document, "State").get("Status") or "")
    if name != target.name:
        return _skipped(f"the container is called {name} now")
    if target.is_up and status not in UP:
        return _skipped(f"the container is not running any more ({status})")
    if not target.is_up and status in UP:
        return _skipped(f"the container was started since the plan ({status})")
    return None


def _run_state(document: JsonObject) -> RunState:
    status = section(document, "State").get("Status")
    if status == "paused":
        return RunState.PAUSED
    return RunState.RUNNING if status in UP else RunState.STOPPED


def _replacing(neighbourhood: Neighbourhood, members: Sequence[Prepared | ReplacementTarget]) -> Neighbourhood:
    """Return the neighbourhood in which all of these are replaced, though nobody knows yet by which."""
    targets = [member.target if isinstance(member, Prepared) else member for member in members]
    return neighbourhood.replacing({target.container_id: target.container_id for target in targets})


def _named(outcome: Outcome, name: str, members: Sequence[object]) -> Outcome:
    """Say which of several it is about."""
    return outcome if len(members) == 1 else replace(outcome, reason=f"{name}: {outcome.reason}")


def _policy_reasons(document: JsonObject) -> tuple[str, ...]:
    try:
        read_policy(section(document, "HostConfig").get("RestartPolicy"))
    except ValueError as error:
        return (str(error),)
    return ()


def _refused(reasons: tuple[str, ...]) -> Outcome:
    return _failed("cannot be re-created as it is: " + "; ".join(reasons))


def _failed(reason: str) -> Outcome:
    return Outcome(OutcomeKind.FAILED, reason)


def _skipped(reason: str) -> Outcome:
    return Outcome(OutcomeKind.SKIPPED, reason)
