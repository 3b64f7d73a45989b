"""How containers of the simulated engine start, run, end and come back.

Everything happens at once or by a timer, never in the task of a request: a client that goes away stops nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import anyio

from tests.support.builders import an_id
from tests.support.engine_sim.behaviour import EngineRefusal, JsonObject, NotModified
from tests.support.engine_sim.clock import text_of
from tests.support.engine_sim.container import Container, Health, Namespace, Pending
from tests.support.engine_sim.creation import known_aliases
from tests.support.engine_sim.networks import Endpoint
from tests.support.engine_sim.world import World

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.1, 60.0
STEADY_SECONDS = 10.0
"""After having run so long, a container begins again with the first back-off."""
DEFAULT_STOP_SECONDS = 10
AUTO_REMOVE_SECONDS = 0.005
KILLED = 137
NANOSECONDS = 1e9
NAMESPACES = ("NetworkMode", "PidMode", "IpcMode")
_E28 = (1, 48)


class Lifecycle:
    """The processes of a world's containers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._endpoints_made = 0

    # ---- start -----------------------------------------------------------------------------------------------------

    async def start(self, container: Container) -> None:
        """Start a container and wait until it runs. Raises EngineRefusal and NotModified."""
        pending = container.pending_start or self._begin_start(container)
        await pending.done.wait()
        if pending.error is not None:
            raise pending.error

    async def restart(self, container: Container, timeout: int | None, signal: str | None) -> None:
        """Stop a container if it runs, and start it. Raises EngineRefusal."""
        await self.settle(container)
        pending = container.pending_restart or self._begin_restart(container, timeout, signal)
        await pending.done.wait()
        if pending.error is not None:
            raise self._cannot_restart(container, pending.error)

    def _begin_restart(self, container: Container, timeout: int | None, signal: str | None) -> Pending:
        if not container.running:
            try:
                return self._begin_start(container)
            except EngineRefusal as refusal:
                raise self._cannot_restart(container, refusal) from None
        pending = container.pending_restart = Pending()
        self._begin_stop(container, timeout, is_kill(signal))
        return pending

    def _cannot_restart(self, container: Container, refusal: EngineRefusal) -> EngineRefusal:
        # Older engines forget the kind of the error.
        status = refusal.status if self._world.api >= (1, 46) else 500
        return EngineRefusal(status, f"Cannot restart container {container.id}: {refusal.message}")

    def _begin_start(self, container: Container, pending: Pending | None = None) -> Pending:
        if container.paused:
            raise EngineRefusal(409, "cannot start a paused container, try unpause instead")
        if container.running:
            raise NotModified
        if container.removing or container.dead:
            raise EngineRefusal(409, "container is marked for removal and cannot be started")
        pending = pending or Pending()
        if container.behaviour.start_seconds:
            container.pending_start = pending
            loop = asyncio.get_running_loop()
            loop.call_later(container.behaviour.start_seconds, self._finish_start, container, pending)
        else:
            self._finish_start(container, pending)
        return pending

    def _finish_start(self, container: Container, pending: Pending) -> None:
        container.pending_start = None
        container.restart_count, container.back_off = 0, 0.0
        container.was_stopped_by_hand = False
        try:
            self.come_up(container)
        except EngineRefusal as refusal:
            pending.error = refusal
            if container.host["AutoRemove"]:
                self._world.forget(container, with_volumes=True)
        pending.done.set()

    def come_up(self, container: Container) -> None:
        """Start the process. Raises EngineRefusal; the container then shows the error and is down."""
        container.gives_up = False
        try:
            self._connect_all(container)
            self._check_links(container)
            self._check_namespaces(container)
            self._execute(container)
        except EngineRefusal as refusal:
            self._disconnect_all(container)
            container.error = refusal.message
            container.exit_code = container.exit_code or 128
            raise
        self._enter_namespaces(container)
        container.running, container.paused, container.restarting = True, False, False
        container.error, container.exit_code = "", 0
        container.started = self._world.clock.stamp()
        container.down = anyio.Event()
        self._write_log(container)
        self._plan_end(container)
        self._plan_health(container)

    def _enter_namespaces(self, container: Container) -> None:
        """Join those of others as they are now, also where these have joined somebody's; the rest is new."""
        for key in NAMESPACES:
            target = self._joined(container, key)
            found = None if target is None else self._world.look_up(target)
            container.namespaces[key] = Namespace() if found is None else found.namespaces[key]

    def _joined(self, container: Container, key: str) -> str | None:
        kind, _, target = str(container.host.get(key) or "").partition(":")
        return target if kind == "container" else None

    def _execute(self, container: Container) -> None:
        if container.behaviour.start_error is not None:
            container.exit_code = 127
            prefix = "failed to create task for container: " if self._world.api >= (1, 43) else ""
            raise EngineRefusal(
                400,
                f"{prefix}failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
                f"container process: {container.behaviour.start_error}",
            )

    def _write_log(self, container: Container) -> None:
        for stream, text in ((1, container.behaviour.log), (2, container.behaviour.error_log)):
            container.output += [(stream, line) for line in text.splitlines(keepends=True)]

    def _plan_end(self, container: Container) -> None:
        behaviour = container.behaviour
        if behaviour.exits_after is not None:
            container.timers.after(behaviour.exits_after, partial(self.end, container, behaviour.exit_code))

    # ---- health ----------------------------------------------------------------------------------------------------

    def _plan_health(self, container: Container) -> None:
        check: JsonObject = container.config.get("Healthcheck") or {}
        if not check.get("Test") or check["Test"] == ["NONE"]:
            container.health = None
            return
        container.health = Health()
        behaviour = container.behaviour
        if not behaviour.speaks_of_health:
            interval = (check.get("Interval") or 0) / NANOSECONDS or 30.0
            container.timers.after(interval, partial(self._probed, container, healthy=True))
        if behaviour.healthy_after is not None:
            container.timers.after(behaviour.healthy_after, partial(self._probed, container, healthy=True))
        if behaviour.unhealthy_after is not None:
            container.timers.after(behaviour.unhealthy_after, partial(self._probed, container, healthy=False))

    def _probed(self, container: Container, *, healthy: bool) -> None:
        health = container.health
        assert health is not None
        health.status = "healthy" if healthy else "unhealthy"
        health.failing_streak = 0 if healthy else int((container.config["Healthcheck"].get("Retries")) or 3)
        now = text_of(self._world.clock.now())
        output = container.behaviour.health_output
        health.log = [*health.log, {"Start": now, "End": now, "ExitCode": int(not healthy), "Output": output}][-5:]

    # ---- end and restart -------------------------------------------------------------------------------------------

    def end(self, container: Container, code: int) -> None:
        """The process has ended by itself or by a signal."""
        container.exit_code = code
        self._take_down(container)
        if not self._comes_back(container):
            self._stay_down(container)
            return
        container.restart_count += 1
        container.restarting = True
        container.timers.after(container.back_off, partial(self._come_back, container))

    def _take_down(self, container: Container) -> None:
        container.timers.clear()
        container.paused = False
        container.finished = self._world.clock.stamp()
        if container.health is not None:
            container.health.status = "unhealthy"
        self._disconnect_all(container)
        for key in NAMESPACES:
            if self._joined(container, key) is None:
                container.namespaces[key].is_alive = False
        # The first process of a namespace takes the others with it.
        for other in self._world.sharing("PidMode", container):
            if other.is_up:
                self.end(other, KILLED)

    def _comes_back(self, container: Container) -> bool:
        if container.gives_up or container.policy == "no":
            return False
        assert container.started is not None
        ran = (self._world.clock.now() - container.started) / timedelta(seconds=1)
        before = 0.0 if ran >= STEADY_SECONDS else container.back_off
        container.back_off = min(before * 2, LONGEST_BACK_OFF) if before else FIRST_BACK_OFF
        return container.policy != "on-failure" or fails_once_more(container)

    def _come_back(self, container: Container) -> None:
        try:
            self.come_up(container)
        except EngineRefusal:
            self._stay_down(container)

    def _stay_down(self, container: Container) -> None:
        container.running, container.restarting = False, False
        container.down.set()
        if container.pending_restart is not None:
            pending, container.pending_restart = container.pending_restart, None
            self._begin_start(container, pending)
            return
        if container.host["AutoRemove"] and container.id in self._world.containers:
            container.removing = True
            loop = asyncio.get_running_loop()
            loop.call_later(AUTO_REMOVE_SECONDS, partial(self._world.forget, container, with_volumes=True))

    # ---- what people do --------------------------------------------------------------------------------------------

    async def stop(self, container: Container, timeout: int | None, signal: str | None) -> None:
        """Stop a container and wait until it is down. Raises NotModified."""
        await self.settle(container)
        if not container.running:
            raise NotModified
        down = container.down
        self._begin_stop(container, timeout, is_kill(signal))
        await down.wait()

    def _begin_stop(self, container: Container, timeout: int | None, kill: bool) -> None:
        container.was_stopped_by_hand = container.gives_up = True
        if container.restarting:
            container.timers.clear()
            self._stay_down(container)
            return
        self.thaw(container)
        if kill:
            self.end(container, KILLED)
            return
        if timeout is None:
            asked = container.config.get("StopTimeout")
            timeout = DEFAULT_STOP_SECONDS if asked is None else int(asked)
        run = container.started
        self._signal(container)
        if container.is_up and container.started == run and timeout >= 0:  # a restart has begun another run by now
            container.timers.after(timeout, partial(self.end, container, KILLED))

    def _signal(self, container: Container) -> None:
        behaviour = container.behaviour
        if behaviour.ignores_stop_signal:
            return
        if behaviour.stop_seconds:
            container.timers.after(behaviour.stop_seconds, partial(self.end, container, behaviour.stop_exit_code))
        else:
            self.end(container, behaviour.stop_exit_code)

    async def kill(self, container: Container, signal: str) -> None:
        """Send a signal. Others than the stop signal and KILL do nothing here."""
        if not container.running:
            text = f"Cannot kill container: {container.id}: Container {container.id} is not running"
            raise EngineRefusal(409, text)
        stop_signal = str(container.config.get("StopSignal") or "TERM").removeprefix("SIG")
        if is_kill(signal) or container.restarting:
            self._begin_stop(container, 0, kill=True)
        elif signal.upper().removeprefix("SIG") in (stop_signal, "15"):
            self._begin_stop(container, -1, kill=False)

    def pause(self, container: Container) -> None:
        """Let the process stand still."""
        if not container.running:
            raise EngineRefusal(409, f"Container {container.id} is not running")
        if container.paused:
            raise EngineRefusal(409, f"Container {container.id} is already paused")
        if container.restarting:
            raise EngineRefusal(409, f"Container {container.id} is restarting, wait until the container is running")
        container.paused = True
        container.timers.freeze()

    def unpause(self, container: Container) -> None:
        """Let the process go on."""
        if not container.paused:
            raise EngineRefusal(500, f"Container {container.id} is not paused")
        self.thaw(container)

    def thaw(self, container: Container) -> None:
        """Let the process go on if it stands still."""
        if container.paused:
            container.paused = False
            container.timers.thaw()

    async def settle(self, container: Container) -> None:
        """Wait for a start that is under way."""
        if container.pending_start is not None:
            await container.pending_start.done.wait()

    # ---- the engine itself -----------------------------------------------------------------------------------------

    def go_down(self, *, kill: bool) -> None:
        """The engine ends, and its containers with it."""
        for container in self._world.containers.values():
            container.forget_restart()
        for container in list(self._world.containers.values()):
            was_running = container.running
            if was_running:
                self._end_with_engine(container, kill=kill)
            if container.host["AutoRemove"] and (was_running or container.started is None):
                self._world.forget(container, with_volumes=True)

    def _end_with_engine(self, container: Container, *, kill: bool) -> None:
        if container.is_up:
            behaviour = container.behaviour
            code = KILLED if behaviour.ignores_stop_signal else behaviour.stop_exit_code
            container.exit_code = 0 if kill else code
            self._take_down(container)
        container.timers.clear()
        container.running, container.restarting = False, False
        # An engine that was killed takes these for stopped.
        container.was_stopped_by_hand = container.was_stopped_by_hand or kill
        container.down.set()

    def come_back_up(self) -> None:
        """The engine starts: it brings up what its policy says.

        In the order in which they were made, so that those whose namespaces are shared come first. A real engine starts
        all at once, and waits for linked ones only.
        """
        for container in list(self._world.containers.values()):
            if container.running or container.started is None or not self._comes_with_engine(container):
                continue
            container.restart_count, container.back_off, container.was_stopped_by_hand = 0, 0.0, False
            try:
                self.come_up(container)
            except EngineRefusal:
                continue

    def _comes_with_engine(self, container: Container) -> bool:
        if container.policy == "unless-stopped":
            return not container.was_stopped_by_hand
        return container.policy == "always" or (container.policy == "on-failure" and fails_once_more(container))

    # ---- networks --------------------------------------------------------------------------------------------------

    def connect(self, container: Container, key: str, endpoint: Endpoint) -> None:
        """Give a container its place in a network. Raises EngineRefusal."""
        network = self._world.networks.find(key)
        known_aliases(self._world, container, network.name, endpoint)
        asked = (endpoint.asked.get("IPAMConfig") or {}).get("IPv4Address")
        endpoint.address = network.allocate(container.id, asked)
        self._endpoints_made += 1
        endpoint.network_id = network.id
        endpoint.endpoint_id = an_id(f"endpoint {self._world.name} {self._endpoints_made}")
        endpoint.was_started = True
        if network.subnet is not None:
            endpoint.gateway, endpoint.prefix_length = network.gateway, network.subnet.prefixlen
            endpoint.mac = self._mac(container, key, endpoint)

    def _mac(self, container: Container, key: str, endpoint: Endpoint) -> str:
        asked = endpoint.asked.get("MacAddress") if self._world.api >= (1, 44) else None
        if self._world.api < (1, 44) and key in ("bridge", container.network_mode):
            asked = container.config.get("MacAddress")
        if asked:
            return str(asked)
        if self._world.api >= _E28:
            digits = an_id("mac " + endpoint.endpoint_id)
            return ":".join(["0a", *(digits[at : at + 2] for at in range(0, 10, 2))])
        return "02:42:" + ":".join(f"{int(part):02x}" for part in endpoint.address.split("."))

    def _connect_all(self, container: Container) -> None:
        target = self._joined(container, "NetworkMode")
        if target is not None:
            owner = self._network_target(target)
            container.config |= {key: owner.config.get(key, "") for key in ("Hostname", "Domainname")}
            return
        mode = container.network_mode
        prefix = "failed to set up container networking: " if self._world.api >= _E28 else ""
        try:
            for key, endpoint in container.endpoints.items():
                self.connect(container, key, endpoint)
        except EngineRefusal as refusal:
            raise EngineRefusal(refusal.status, prefix + refusal.message) from None
        if mode not in ("host", "none"):
            container.ports = dict(self._publish(container, prefix))

    def _publish(self, container: Container, prefix: str) -> Iterator[tuple[str, list[JsonObject]]]:
        bindings: JsonObject = dict(container.host.get("PortBindings") or {})
        if container.host.get("PublishAllPorts"):
            bindings = {port: [{}] for port in container.config.get("ExposedPorts") or {}} | bindings
        exposed = container.config.get("ExposedPorts") or {}
        for inner, wanted in bindings.items():
            if self._world.api < (1, 44) and inner not in exposed:
                continue  # Engine 20.10 goes through the exposed ports
            protocol = inner.partition("/")[2] or "tcp"
            published = []
            for binding in wanted or [{}]:
                asked, address = str(binding.get("HostPort") or ""), str(binding.get("HostIp") or "0.0.0.0")
                port = self._world.networks.publish(container.id, asked, protocol)
                if port is None:
                    raise EngineRefusal(
                        500,
                        f"{prefix}driver failed programming external connectivity on endpoint {container.name} "
                        f"({container.id}): Bind for {address}:{asked} failed: port is already allocated",
                    )
                published.append({"HostIp": address, "HostPort": port})
            yield inner, published

    def _disconnect_all(self, container: Container) -> None:
        self._world.networks.release(container.id)
        container.ports = {}
        for endpoint in container.endpoints.values():
            endpoint.leave()

    def _network_target(self, target: str) -> Container:
        found = self._world.look_up(target)
        new = self._world.api >= _E28
        if found is None:
            text = f"No such container: {target}"
            raise EngineRefusal(500 if new else 404, f"joining network namespace of container: {text}" if new else text)
        if not found.running:
            network = "network namespace" if new else "network"
            raise EngineRefusal(409, f"cannot join {network} of a non running container: {found.id}")
        if found.restarting:
            raise _is_restarting(found)
        return found

    def _check_namespaces(self, container: Container) -> None:
        for key, word in (("PidMode", "PID"), ("IpcMode", "IPC")):
            target = self._joined(container, key)
            if target is None:
                continue
            try:
                self._check_namespace_target(key, target)
            except EngineRefusal as refusal:
                raise EngineRefusal(refusal.status, self._cannot_join(word, target, refusal.message)) from None

    def _check_namespace_target(self, key: str, target: str) -> None:
        found = self._world.look_up(target)
        tells_kind = key == "IpcMode" and self._world.api >= (1, 44)
        if found is None:
            raise EngineRefusal(400 if tells_kind else 500, f"No such container: {target}")
        if not found.running:
            raise EngineRefusal(409 if tells_kind else 500, f"container {found.id} is not running")
        if found.restarting:
            raise _is_restarting(found)
        if key == "IpcMode" and found.host["IpcMode"] in ("private", "none"):
            text = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            raise EngineRefusal(400 if tells_kind else 500, text)

    def _cannot_join(self, word: str, target: str, reason: str) -> str:
        if self._world.api >= (1, 44):
            return f"failed to join {word} namespace: {reason}"
        if word == "IPC":
            return f"can't join IPC of container {target}: {reason}"
        if reason.startswith("No such"):
            return f"cannot join PID of a non running container: {target}: {reason}"
        return reason

    def _check_links(self, container: Container) -> None:
        for link in container.links:
            text = f"/{link.target.name} AS /{container.name}/{link.alias}"
            if not link.target.running:
                raise EngineRefusal(500, f"Cannot link to a non running container: {text}")
            if "bridge" not in link.target.endpoints:
                name = link.target.name
                raise EngineRefusal(500, f"Cannot link to /{name}, as it does not belong to the default network")


def _is_restarting(container: Container) -> EngineRefusal:
    return EngineRefusal(409, f"Container {container.id} is restarting, wait until the container is running")


def fails_once_more(container: Container) -> bool:
    """Say whether `on-failure` brings a container back."""
    most = int(container.host["RestartPolicy"].get("MaximumRetryCount") or 0)
    return container.exit_code != 0 and (most == 0 or container.restart_count < most)


def is_kill(signal: str | None) -> bool:
    """Say whether no process survives this signal."""
    return (signal or "").upper().removeprefix("SIG") in ("KILL", "9")
