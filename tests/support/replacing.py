"""A container on the simulated engine whose tag has moved on, and what replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from tests.support.engine_sim import Behaviour, SimulatedEngine
from watchtower_async.engine.client import Engine
from watchtower_async.engine.disk import Disk
from watchtower_async.engine.inventory import read_container
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.engine.temporary_name import parse_temporary_name
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.recovery import RecoveryReport, recover
from watchtower_async.rollout.replacement import ReplacementSettings, ReplacementTarget, Replacer

IMAGE = "registry.example/app:1"
OWNER = "x23456789012"
ANOTHER = "xanother1234"
MONITOR = 5.0
STOP = 10

GOOD = Behaviour()
BROKEN = Behaviour(exits_after=1.0, exit_code=3, log="cannot start\n")


@dataclass(slots=True)
class World:
    """An engine with the container `web` on an old image, and a newer image in the registry."""

    engine: SimulatedEngine
    digest: str
    """The published one."""
    old_id: str
    old_image: str
    policy: str

    def target(self) -> ReplacementTarget:
        """Return what a plan would say."""
        return ReplacementTarget(
            container_id=self.old_id,
            name="web",
            reference=parse_reference(IMAGE),
            digest=parse_digest(self.digest),
            registry_auth="e30=",
        )

    @property
    def new_image(self) -> str:
        """Return the id that the published image has on the engine, once it is pulled."""
        return self.engine.image_behind(f"registry.example/app@{self.digest}") or "not pulled"


async def a_world(
    *,
    policy: str = "always",
    behaviour: Behaviour = GOOD,
    old_behaviour: Behaviour = GOOD,
    engine: SimulatedEngine | None = None,
    **fields: Any,
) -> World:
    """Set the world up. `behaviour` is that of the published image; `fields` belong to the create request."""
    engine = engine or SimulatedEngine()
    host = {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 3 if policy == "on-failure" else 0}}
    host |= fields.pop("HostConfig", {})
    engine.offer(IMAGE, config={"Env": ["VERSION=1"]}, behaviour=old_behaviour)
    web = await engine.run("web", IMAGE, HostConfig=host, Env=["MARK=kept"], **fields)
    digest = engine.offer(IMAGE, config={"Env": ["VERSION=2"]}, behaviour=behaviour)
    return World(engine, digest, web.id, web.image_id, policy)


async def a_replacer(
    client: Engine, *, owner: str = OWNER, haste: anyio.Event | None = None, disk: Disk | None = None
) -> Replacer:
    """Return what the application would make for this engine."""
    info = await client.system_info()
    facts = EngineFacts(
        api_version=client.info.api_version,
        host_name=str(info["Name"]),
        platform=f"{client.info.os}/{client.info.architecture}",
    )
    settings = ReplacementSettings(monitor=MONITOR, stop_timeout=STOP)
    return Replacer(engine=client, owner=owner, facts=facts, settings=settings, haste=haste, disk=disk)


async def recover_all(client: Engine, *, owner: str = OWNER, dry_run: bool = False) -> tuple[RecoveryReport, ...]:
    """Recover as a session does."""
    containers = [read_container(document) for document in await client.list_containers()]
    return await recover(replacer=await a_replacer(client, owner=owner), containers=containers, dry_run=dry_run)


def leftovers(engine: SimulatedEngine) -> list[str]:
    """Return the temporary names on the engine."""
    return sorted(name for name in engine.containers if parse_temporary_name(name) is not None)


def assert_in_order(world: World, *, image: str | None = None) -> None:
    """Exactly one container has the name, runs as it ran, and is configured as it was."""
    engine = world.engine
    assert sorted(engine.containers) == ["web"]
    web = engine.containers["web"]
    assert web.status == "running"
    assert web.policy == world.policy
    assert "MARK=kept" in web.config["Env"]
    assert web.config["Image"] == IMAGE
    assert image is None or web.image_id == image
    assert web.image_id in (world.old_image, world.new_image)
    version = "VERSION=1" if web.image_id == world.old_image else "VERSION=2"
    assert version in web.config["Env"]
