"""Networks of the simulated engine: addresses and host ports, which one container at a time can have."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.builders import an_id
from tests.support.engine_sim.behaviour import EngineRefusal, JsonObject

WITHOUT_ALIASES = ("bridge", "host", "none")
FIRST_RANDOM_PORT = 32768


@dataclass(slots=True)
class Endpoint:
    """A container's place in a network: what was asked for, and while it runs what it got."""

    asked: JsonObject
    network_id: str = ""
    endpoint_id: str = ""
    address: str = ""
    gateway: str = ""
    prefix_length: int = 0
    mac: str = ""
    was_started: bool = False

    def leave(self) -> None:
        """Give back what was got."""
        self.endpoint_id, self.address, self.gateway, self.prefix_length, self.mac = "", "", "", 0, ""

    def document(self) -> JsonObject:
        """Return the endpoint as inspect shows it."""
        asked = {"IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, **self.asked}
        return {
            **asked,
            "MacAddress": self.mac if self.was_started else self.asked.get("MacAddress", ""),
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Gateway": self.gateway,
            "IPAddress": self.address,
            "IPPrefixLen": self.prefix_length,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
        }


@dataclass(slots=True)
class Network:
    """A network; `taken` says which container has an address."""

    id: str
    name: str
    driver: str
    subnet: ipaddress.IPv4Network | None
    taken: dict[str, str] = field(default_factory=dict)

    def allocate(self, container_id: str, asked: str | None) -> str:
        """Give a container the address it asks for, or the next free one. Raises EngineRefusal."""
        if self.subnet is None:
            return ""
        address = asked or next(self._free(), None)
        if address is None:
            raise EngineRefusal(403, f"no available IPv4 addresses on this network's address pools: {self.name}")
        if address in self.taken or address == self.gateway:
            raise EngineRefusal(403, "Address already in use")
        if ipaddress.ip_address(address) not in self.subnet:
            raise EngineRefusal(400, f"Invalid address {address}: It does not belong to any of this network's subnets")
        self.taken[address] = container_id
        return address

    @property
    def gateway(self) -> str:
        """The first address."""
        return "" if self.subnet is None else str(self.subnet.network_address + 1)

    def _free(self) -> Iterator[str]:
        assert self.subnet is not None
        return (str(host) for host in self.subnet.hosts() if str(host) not in self.taken and str(host) != self.gateway)

    def document(self) -> JsonObject:
        """Return the network as inspect shows it."""
        pools = [] if self.subnet is None else [{"Subnet": str(self.subnet), "Gateway": self.gateway}]
        return {
            "Name": self.name,
            "Id": self.id,
            "Driver": self.driver,
            "Scope": "local",
            "EnableIPv6": False,
            "IPAM": {"Driver": "default", "Options": {}, "Config": pools},
            "Internal": False,
            "Containers": {owner: {"IPv4Address": address} for address, owner in self.taken.items()},
            "Options": {},
            "Labels": {},
        }


class Networks:
    """All networks of an engine, and the host's ports."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._made = 0
        self._by_id: dict[str, Network] = {}
        self.ports: dict[tuple[str, str], str] = {}
        """Host port and protocol → the container that has it. Host addresses are not told apart."""
        self.add("bridge", "172.17.0.0/16")
        self.add("host", None, driver="host")
        self.add("none", None, driver="null")

    def add(self, name: str, subnet: str | None, *, driver: str = "bridge") -> Network:
        """Make a network. One with a name that was used before has another id."""
        self._made += 1
        network = Network(
            id=an_id(f"network {self._seed} {self._made} {name}"),
            name=name,
            driver=driver,
            subnet=None if subnet is None else ipaddress.IPv4Network(subnet),
        )
        self._by_id[network.id] = network
        return network

    def remove(self, name: str) -> None:
        """Remove a network."""
        del self._by_id[self.find(name).id]

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, text: str) -> Network:
        """Return a network by id, name or the beginning of its id. Raises EngineRefusal."""
        wanted = "bridge" if text == "default" else text
        for found in (
            [network for network in self._by_id.values() if wanted in (network.id, network.name)],
            [network for network in self._by_id.values() if network.id.startswith(wanted)],
        ):
            if found:
                return found[0]
        raise EngineRefusal(404, f"network {text} not found")

    def release(self, container_id: str) -> None:
        """Take all addresses and ports from a container."""
        for network in self._by_id.values():
            for address in [address for address, owner in network.taken.items() if owner == container_id]:
                del network.taken[address]
        for port in [port for port, owner in self.ports.items() if owner == container_id]:
            del self.ports[port]

    def publish(self, container_id: str, wanted: str, protocol: str) -> str | None:
        """Give a container a host port: a number, a range `from-to`, or a random one for ``""`` and `0`."""
        for port in _candidates(wanted):
            if (port, protocol) not in self.ports:
                self.ports[port, protocol] = container_id
                return port
        return None


def _candidates(wanted: str) -> Iterator[str]:
    if wanted in ("", "0"):
        return (str(port) for port in range(FIRST_RANDOM_PORT, 61000))
    first, _, last = wanted.partition("-")
    return (str(port) for port in range(int(first), int(last or first) + 1))
