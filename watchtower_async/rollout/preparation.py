"""Everything that can fail before a container is touched: look at it again, pull, find out how to create it anew.

The plan is some time old when its turn comes. Whatever has changed since is found here, and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from watchtower_async.credentials.credential import Anonymous, registry_auth_header
from watchtower_async.engine.client import Engine, JsonObject
from watchtower_async.engine.each import each
from watchtower_async.engine.injected_files import find_injected_files
from watchtower_async.engine.inventory import ContainerSummary, read_container
from watchtower_async.engine.spec import EngineFacts, Neighbourhood, Recreation, Refusal, recreate
from watchtower_async.engine.spec_network import DEFAULT_MODES, WITHOUT_ENDPOINTS, network_mode
from watchtower_async.engine.spec_parts import section
from watchtower_async.engine.spec_relations import CONTAINER_MODE
from watchtower_async.engine.temporary_name import Part, RestartPolicy, RunState, TemporaryName, read_policy
from watchtower_async.errors import EngineError, EngineUnavailableError, NoSuchObjectError, PullFailedError
from watchtower_async.images.digest import Digest
from watchtower_async.images.reference import Reference
from watchtower_async.rollout.outcome import Outcome, OutcomeKind
from watchtower_async.rollout.transitions import situations
from watchtower_async.updates.reach import out_of_reach, sharers_inspected

INSPECTED_AT_ONCE = 8
_NO_LOGIN = registry_auth_header(Anonymous(), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementTarget:
    """What the plan says about one container."""

    container_id: str
    name: str
    reference: Reference
    digest: Digest
    registry_auth: str = field(repr=False)
    """The `X-Registry-Auth` header for the pull."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A replacement that can begin."""

    target: ReplacementTarget
    document: JsonObject = field(repr=False)
    """The predecessor, inspected."""
    old_image: str
    new_image: str
    recreation: Recreation
    ran: RunState
    policy: RestartPolicy
    injected: tuple[str, ...] = ()
    """Files that Docker Compose copied into the predecessor, and that the successor gets before its start."""

    def temporary_name(self, part: Part, owner: str = "") -> str:
        """Return the name of one of the two containers during the replacement."""
        return str(TemporaryName(self.target.name, part, self.ran, self.policy, owner))


class Preparation:
    """Prepares replacements on one engine. Pulls images, and touches no container."""

    def __init__(self, *, engine: Engine, facts: EngineFacts) -> None:
        self._engine = engine
        self._facts = facts

    async def prepare(self, target: ReplacementTarget) -> Prepared | Outcome:
        """Return what is needed to begin, or why the replacement does not begin. Raises EngineUnavailableError."""
        try:
            return await self._prepare(target)
        except NoSuchObjectError:
            return _skipped("the container was removed while the session was running")
        except EngineUnavailableError:
            raise
        except EngineError as error:
            return _failed(f"the engine refused: {error}")

    async def _prepare(self, target: ReplacementTarget) -> Prepared | Outcome:
        document = await self._engine.inspect_container(target.container_id)
        changed = _changed_since_the_plan(document, target)
        if changed is not None:
            return changed
        containers = [read_container(item) for item in await self._engine.list_containers()]
        if target.name in situations(containers):
            return _failed("there is an unfinished replacement of this container; another updater may be at work")
        neighbourhood = Neighbourhood(containers)
        old_image = await self._image(str(document.get("Image") or ""))
        before = self._recreation(document, old_image, None, neighbourhood)
        if isinstance(before, Refusal):
            return _refused(before.reasons)
        reasons = await self._further_reasons(target, document, before, containers)
        if reasons:
            return _refused(reasons)
        injected = await find_injected_files(self._engine, document) if before.needs_injected_file_check else ()
        if isinstance(injected, str):
            return _refused((injected,))
        new_image = await self._pull(target, before.platform)
        if isinstance(new_image, Outcome):
            return new_image
        if new_image.get("Id") == document.get("Image"):
            return _skipped("the published image is the one that runs already")
        recreation = self._recreation(document, old_image, new_image, neighbourhood)
        if isinstance(recreation, Refusal):
            return _refused(recreation.reasons)
        return Prepared(
            target=target,
            document=document,
            old_image=str(document.get("Image") or ""),
            new_image=str(new_image.get("Id") or ""),
            recreation=recreation,
            ran=RunState.RUNNING,
            policy=read_policy(section(document, "HostConfig").get("RestartPolicy")),
            injected=injected,
        )

    async def _further_reasons(
        self,
        target: ReplacementTarget,
        document: JsonObject,
        recreation: Recreation,
        containers: list[ContainerSummary],
    ) -> tuple[str, ...]:
        """Return what else speaks against it, beside the container's own settings."""
        others = [item.id for item in containers if item.id != target.container_id]
        reasons = out_of_reach(recreation, sharers_inspected(target.container_id, await self._inspect_all(others)))
        missing = await self._missing_networks(document, recreation)
        return (*reasons, *(f"network {name} does not exist any more" for name in missing), *_policy_reasons(document))

    async def _inspect_all(self, ids: list[str]) -> list[JsonObject]:
        # The list of containers tells who shares a network, but not who shares a process or IPC namespace.
        limiter = anyio.CapacityLimiter(INSPECTED_AT_ONCE)

        async def inspect(identity: str) -> JsonObject:
            async with limiter:
                try:
                    return await self._engine.inspect_container(identity)
                except NoSuchObjectError:
                    return {}

        return await each(ids, inspect)

    def _recreation(
        self,
        document: JsonObject,
        old_image: JsonObject | None,
        new_image: JsonObject | None,
        neighbourhood: Neighbourhood,
    ) -> Recreation | Refusal:
        if old_image is None:
            return Refusal(("the container's image is gone, so nobody can say which settings came from it",))
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

    async def _pull(self, target: ReplacementTarget, platform: str | None) -> JsonObject | Outcome:
        # By digest, so that a tag that moves in the meantime changes nothing.
        name = f"{target.reference.repository}@{target.digest}"
        try:
            await self._pull_as_known(name, target.registry_auth, platform)
            return await self._engine.inspect_image(name)
        except PullFailedError as error:
            if error.out_of_space:
                return _failed(f"too little disk space on the engine to pull the new image: {error}")
            return _failed(f"the new image could not be pulled: {error}")
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
    status = section(document, "State").get("Status")
    if name != target.name:
        return _skipped(f"the container is called {name} now")
    if status != "running":
        return _skipped(f"the container is not running any more ({status})")
    return None


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
