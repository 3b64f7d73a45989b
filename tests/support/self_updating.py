"""An updater's own container on the simulated engine, a newer image of it, and the helper that moves it there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.support.engine_sim import Behaviour, Command, Fault, SimulatedEngine, connected
from tests.support.replacing import MONITOR, STOP
from watchtower_async.engine.client import Engine
from watchtower_async.engine.spec import EngineFacts
from watchtower_async.errors import EngineError
from watchtower_async.images.digest import parse_digest
from watchtower_async.images.reference import parse_reference
from watchtower_async.rollout.outcome import Outcome
from watchtower_async.rollout.replacement import ReplacementSettings
from watchtower_async.rollout.self_update import (
    HelperOrder,
    HelperPlace,
    ResultFile,
    SelfReplacer,
    replace_self,
    start_helper,
)

IMAGE = "registry.example/watchtower:1"
NAME = "tower"
HELPER = "tower.wta-helper"
STATE = "/var/lib/watchtower-async"
SOCKET = "/var/run/docker.sock"
ASK = "/watchtower --health-check"
MOST_RUNS = 8

READY = Behaviour(commands={ASK: Command()})
PLACE = HelperPlace(program=("/python", "-m", "watchtower_async"), socket=SOCKET, state_directory=STATE)


@dataclass(slots=True)
class Tower:
    """An engine with an updater, whose newer image is pulled."""

    engine: SimulatedEngine
    order: HelperOrder
    old_image: str
    policy: str
    results: ResultFile

    async def start_helper(self) -> Outcome | None:
        """Do what the updater does."""
        async with connected(self.engine) as client:
            return await start_helper(client, self.order, facts=facts_of(client), place=PLACE)

    async def run_helper(self, fault: Fault | None = None) -> Outcome | None:
        """Run the helper's process once, with a fault; None where it does not come to its end."""
        outcome: Outcome | None = None
        async with connected(self.engine) as client:
            replacer = SelfReplacer(
                engine=client,
                owner=self.engine.containers[HELPER].short_id,
                facts=facts_of(client),
                settings=ReplacementSettings(monitor=MONITOR, stop_timeout=STOP),
            )
            self.engine.fault = fault
            with suppress(EngineError):
                outcome = await replace_self(replacer, self.order, results=self.results)
        return outcome

    async def run_helper_until_gone(self) -> Outcome | None:
        """Start the helper's process again and again, as the engine does while its container is there."""
        outcome = None
        for _ in range(MOST_RUNS):
            helper = self.engine.containers.get(HELPER)
            if helper is None:
                break
            if helper.is_up:
                self.engine.crash(HELPER)
            await anyio.sleep(1.0)
            outcome = await self.run_helper()
        return outcome

    def assert_in_order(self, *, image: str | None = None) -> None:
        """Exactly one container is there, under the updater's name, as it was."""
        assert sorted(self.engine.containers) == [NAME]
        tower = self.engine.containers[NAME]
        assert tower.status == "running"
        assert tower.policy == self.policy
        assert tower.config["Image"] == IMAGE
        assert "MARK=kept" in tower.config["Env"]
        assert tower.image_id in (self.old_image, self.order.image_id)
        assert image is None or tower.image_id == image


async def a_tower(directory: Path, *, behaviour: Behaviour = READY, policy: str = "always") -> Tower:
    """Set it up. `behaviour` is that of the newer image."""
    engine = SimulatedEngine()
    config = {"Entrypoint": ["/watchtower"], "Volumes": {STATE: {}}}
    engine.offer(IMAGE, config={**config, "Env": ["VERSION=1"]}, behaviour=READY)
    own = await engine.run(
        NAME,
        IMAGE,
        Env=["MARK=kept"],
        HostConfig={
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": 3 if policy == "on-failure" else 0},
            "Binds": [f"{SOCKET}:{SOCKET}"],
            "PortBindings": {"8080/tcp": [{"HostPort": "18080"}]},
        },
    )
    digest = engine.offer(IMAGE, config={**config, "Env": ["VERSION=2"]}, behaviour=behaviour)
    pinned = f"registry.example/watchtower@{digest}"
    async with connected(engine) as client:
        await client.pull_image(pinned, registry_auth="e30=")
    image_id = engine.image_behind(pinned)
    assert image_id is not None
    order = HelperOrder(
        name=NAME,
        container_id=own.id,
        reference=parse_reference(IMAGE),
        image_id=image_id,
        digest=parse_digest(digest),
    )
    return Tower(engine, order, own.image_id, policy, ResultFile(directory))


def facts_of(client: Engine) -> EngineFacts:
    """Return what the application would know about this engine."""
    return EngineFacts(
        api_version=client.info.api_version,
        host_name="machine",
        platform=f"{client.info.os}/{client.info.architecture}",
    )
