"""A Docker Engine for tests that speaks the engine's HTTP API. See `engine` for how to use it."""

from tests.support.engine_sim.behaviour import Behaviour, Command
from tests.support.engine_sim.container import Container
from tests.support.engine_sim.engine import SimulatedEngine
from tests.support.engine_sim.faults import Fault, Traced
from tests.support.engine_sim.server import connected, serving

__all__ = ["Behaviour", "Command", "Container", "Fault", "SimulatedEngine", "Traced", "connected", "serving"]
