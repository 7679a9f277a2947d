"""Which hosts stand for a member's zones in a proof, and what may pass between them. Pure.

The expectations come from the planned flows, not from the rules that are rendered from them: the
proof compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final, Literal, cast

from ksm_onboard.declaration.models import AnyZone
from ksm_onboard.planning.flows import internet, ports_of
from ksm_onboard.planning.plan import FlowEndPlan, FlowRulePlan, Plan

Protocol = Literal["tcp", "udp", "icmp"]

# So many of those that the flows treat alike stand for all of them: one could be missing in a rule.
_OF_A_KIND: Final = 2
# Ports that no service has: old, well-known, and at both ends.
_OTHER_PORTS: Final[dict[Protocol, tuple[int, ...]]] = {"tcp": (1, 23, 135, 8080, 65535), "udp": (1, 161, 65535)}
_NOBODY: Final = IPv4Address("10.127.255.10")
"""A private address that belongs to no pool of the platform as committed."""


@dataclass(frozen=True)
class TestHost:
    """A host of the proof: an address in a zone, or outside (``zone`` is None)."""

    __test__ = False  # pytest takes every class of this name for tests

    name: str
    address: IPv4Address
    zone: AnyZone | None

    @property
    def place(self) -> str:
        """Where it stands, in one word."""
        return self.zone or self.name


@dataclass(frozen=True, order=True)
class Probe:
    """A connection that is tried: positions of hosts, and the target's port (0 for icmp)."""

    source: int
    target: int
    protocol: Protocol
    port: int


@dataclass(frozen=True)
class Expectations:
    """The hosts, every probe worth trying between different zones, and those that must pass."""

    hosts: tuple[TestHost, ...]
    ports: dict[Protocol, tuple[int, ...]]
    allowed: frozenset[Probe]

    def probes(self) -> Iterator[Probe]:
        """Every host to every other one in another zone; not from outside to outside."""
        for source, host in enumerate(self.hosts):
            for target, other in enumerate(self.hosts):
                if source != target and host.zone != other.zone:
                    for protocol, ports in self.ports.items():
                        yield from (Probe(source, target, protocol, port) for port in ports)


def expectations(plan: Plan) -> Expectations:
    """What a proof of the member's flows tries and expects: the same for the same plan."""
    hosts = (*_in_zones(plan), *_outside(plan))
    return Expectations(hosts, _ports(plan), frozenset(_allowed(plan, hosts)))


def _rules(plan: Plan) -> Iterator[FlowRulePlan]:
    for flow in plan.member.flows:
        yield from (rule for rule in flow.rules if not rule.switched)


def _ports(plan: Plan) -> dict[Protocol, tuple[int, ...]]:
    found: dict[Protocol, set[int]] = {"tcp": set(_OTHER_PORTS["tcp"]), "udp": set(_OTHER_PORTS["udp"]), "icmp": {0}}
    for service in plan.platform.services:
        for written in service.ports:
            protocol, first, last = ports_of(written)
            beside = {number for number in (first - 1, last + 1) if first != last and 0 < number < 65536}
            if protocol != "icmp":
                found[cast(Protocol, protocol)] |= {first, last, *beside}
    return {protocol: tuple(sorted(ports)) for protocol, ports in found.items()}


def _allowed(plan: Plan, hosts: tuple[TestHost, ...]) -> Iterator[Probe]:
    ports = _ports(plan)
    for rule in _rules(plan):
        sources = [index for index, host in enumerate(hosts) if _is_at(host, rule.source)]
        targets = [index for index, host in enumerate(hosts) if _is_at(host, rule.target)]
        open_ports = [
            port
            for port in ports[rule.protocol]
            if rule.protocol == "icmp" or any(within.first <= port <= within.last for within in rule.ports)
        ]
        for source in sources:
            for target in targets:
                yield from (Probe(source, target, rule.protocol, port) for port in open_ports)


def _is_at(host: TestHost, end: FlowEndPlan) -> bool:
    return host.zone == end.zone and any(host.address in network for network in end.networks)


def _in_zones(plan: Plan) -> Iterator[TestHost]:
    """In each zone some of every kind of host, and an address that no flow names."""
    member = plan.member
    named: dict[AnyZone, dict[IPv4Address, str]] = defaultdict(dict)
    for server in member.servers:
        named[server.zone][server.address] = server.name
    for workstation in member.workstations:
        named[workstation.zone][workstation.address] = workstation.name
    for zone in member.zones:
        for queue in member.print_queues:
            if queue.address in zone.cidr:
                named[zone.key][queue.address] = f"printer {queue.name}"
    for zone in member.zones:
        kinds: dict[tuple[object, ...], list[TestHost]] = defaultdict(list)
        free = next(a for a in reversed(list(zone.cidr.hosts())) if a not in named[zone.key] and a != zone.gateway)
        for address, name in (*sorted(named[zone.key].items()), (free, f"{zone.key} .{int(free) & 255}")):
            host = TestHost(name, address, zone.key)
            kind = tuple((_is_at(host, rule.source), _is_at(host, rule.target)) for rule in _rules(plan))
            kinds[kind].append(host)
        for alike in kinds.values():
            yield from alike[:_OF_A_KIND]


def _outside(plan: Plan) -> Iterator[TestHost]:
    """Every place outside that the platform or a flow names, the internet, and somebody whom nobody knows."""
    places: dict[str, tuple[IPv4Network, ...]] = {
        f"data-centre:{shared.key}": shared.networks for shared in plan.platform.shared_networks
    }
    for rule in _rules(plan):
        for end in (rule.source, rule.target):
            if end.zone is None:
                places[end.name] = end.networks
    places["internet"] = internet()
    taken: set[IPv4Address] = set()
    for name, networks in sorted(places.items()):
        for number, network in enumerate(networks[:_OF_A_KIND] if name != "internet" else networks[:1], start=1):
            address = next((a for a in network.hosts() if a not in taken), None)
            if address is None:
                continue  # One machine gives several services: it stands there already, under the first one's name.
            taken.add(address)
            yield TestHost(f"{name} {number}" if len(networks) > 1 and name != "internet" else name, address, None)
    yield TestHost("stranger", _NOBODY, None)
