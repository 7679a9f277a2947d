"""Which connections may be opened: declared flows, taken apart and given their addresses. Pure.

A flow names ends: zones, servers, places outside. ``openings`` takes a member's flows apart into
pairs of ends, without any address, so that declarations can be judged before anything was given
out. ``plan_flows`` gives them their addresses. Both tell three cases apart:

- from one zone into another, or between a zone and a place outside: the zone gateway opens it;
- within one zone: machines reach each other through the switch, no gateway is asked (``switched``);
- between two routing domains of the member, or from outside to outside: nothing is opened.

Ends that stand for several servers (``servers``, ``role:``) mean those that the other end can
reach at all: across routing domains they say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Final, get_args

from ksm_onboard.declaration.models import MemberDeclaration, PlatformDeclaration, ServerRole, ZoneKey
from ksm_onboard.planning.plan import FlowEndPlan, FlowPlan, FlowRulePlan, PortRangePlan
from ksm_onboard.planning.zones import routing_domain_of

ZONES: Final = frozenset(get_args(ZoneKey))
ROLES: Final = frozenset(get_args(ServerRole))
INTERNET: Final = "internet"
FEDERAL: Final = "federal"
MEMBER: Final = "member:"
EVERY_SERVER: Final = "servers"
PROXIES: Final = "data-centre:reverse-proxy"
"""Where connections come from that the reverse proxies open, and where those go that they take."""
RADIUS: Final = "data-centre:radius"
"""Whom switches ask."""

# What is no place in the internet (IANA IPv4 Special-Purpose Address Registry, and multicast).
_NOT_INTERNET = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)

Counted = Mapping[tuple[str, str], str]
"""Numbered entries and the entry that they were counted from (see declaration.merging)."""

ForeignZones = Mapping[str, Mapping[str, IPv4Network]]
"""The networks of other members' zones, by member and zone."""


@dataclass(frozen=True)
class End:
    """One end of a flow: ``servers`` in a zone (None: the whole zone), or a place ``outside``.

    ``several``: named by what it is (``servers``, ``role:``), not by itself.
    """

    written: str
    zone: ZoneKey | None
    outside: str = ""
    servers: frozenset[str] | None = None
    several: bool = False

    def covers(self, other: End) -> bool:
        """Whether everything of ``other`` belongs to this end."""
        if (self.zone, self.outside) != (other.zone, other.outside):
            return False
        return self.servers is None or (other.servers is not None and other.servers <= self.servers)


@dataclass(frozen=True)
class Opening:
    """A flow from one end to one other; ``switched``: both lie in one zone."""

    flow: str
    source: End
    target: End
    services: tuple[str, ...]

    @property
    def switched(self) -> bool:
        return self.source.zone is not None and self.source.zone == self.target.zone


def ends_of(written: str, declared: MemberDeclaration, counted: Counted) -> list[End]:
    """What an end stands for, zone by zone; nothing where the member has no such thing."""
    kind, _, name = written.rpartition(":")
    if kind in ("legacy", "data-centre", "member") or written in (INTERNET, FEDERAL):
        known = kind != "legacy" or name in declared.networks.legacy
        return [End(written, None, outside=written)] if known else []
    if kind == "" and written != EVERY_SERVER:
        return [End(written, zone) for zone in declared.zones if zone == written]
    named: dict[ZoneKey, set[str]] = defaultdict(set)
    for key, server in declared.servers.items():
        wanted = {
            "": True,
            "role": server.role == name,
            "pair": server.pair == name,
            "server": name in (key, counted.get(("servers", key))),
        }
        if wanted.get(kind, False) and server.zone in declared.zones:
            named[server.zone].add(key)
    several = kind in ("", "role")
    return [End(written, zone, servers=frozenset(keys), several=several) for zone, keys in named.items()]


def openings(declared: MemberDeclaration, counted: Counted) -> Iterator[Opening]:
    """All flows of a member, taken apart; also those that the checks refuse."""
    known: dict[str, list[End]] = {}
    domains = {zone: routing_domain_of(zone, declared) for zone in declared.zones}

    def ends(written: Iterable[str]) -> list[End]:
        for one in written:
            if one not in known:
                known[one] = ends_of(one, declared, counted)
        return [end for one in dict.fromkeys(written) for end in known[one]]

    for key, flow in declared.flows.items():
        targets = ends(flow.targets)
        for source in ends(flow.sources):
            for target in targets:
                if source.zone is None and target.zone is None:
                    continue
                apart = source.zone and target.zone and domains[source.zone] != domains[target.zone]
                if not (apart and (source.several or target.several)):
                    yield Opening(key, source, target, tuple(dict.fromkeys(flow.services)))


def foreign_zones(declared: MemberDeclaration) -> set[tuple[str, str]]:
    """The zones of other members that the flows name, as member and zone."""
    ends = {end for flow in declared.flows.values() for end in (*flow.sources, *flow.targets)}
    named = (end.removeprefix(MEMBER).partition("/") for end in ends if end.startswith(MEMBER))
    return {(member, zone) for member, _, zone in named}


def plan_flows(
    declared: MemberDeclaration, platform: PlatformDeclaration, counted: Counted, foreign: ForeignZones
) -> tuple[FlowPlan, ...]:
    """The flows that open something, each with its rules. Expects declarations that passed the checks."""
    by_flow: dict[str, list[Opening]] = defaultdict(list)
    for opening in openings(declared, counted):
        by_flow[opening.flow].append(opening)
    planned = []
    for key in sorted(by_flow):
        flow = declared.flows[key]
        rules = tuple(_rules(by_flow[key], declared, platform, foreign))
        if rules:
            planned.append(
                FlowPlan(
                    key=key,
                    reason=flow.reason,
                    sources=tuple(dict.fromkeys(rule.source.name for rule in rules)),
                    targets=tuple(dict.fromkeys(rule.target.name for rule in rules)),
                    services=tuple(dict.fromkeys(flow.services)),
                    rules=rules,
                )
            )
    return tuple(planned)


def _rules(
    found: Sequence[Opening], declared: MemberDeclaration, platform: PlatformDeclaration, foreign: ForeignZones
) -> Iterator[FlowRulePlan]:
    made = set()
    for opening in found:
        source = _planned_end(opening.source, declared, platform, foreign)
        target = _planned_end(opening.target, declared, platform, foreign)
        for protocol, ports in _ports(opening.services, platform):
            rule = FlowRulePlan(source=source, target=target, protocol=protocol, ports=ports, switched=opening.switched)
            made.add(rule)
    yield from sorted(made, key=_order)


def _order(rule: FlowRulePlan) -> tuple[object, ...]:
    return rule.source.name, rule.target.name, rule.protocol, [port.first for port in rule.ports]


def _planned_end(
    end: End, declared: MemberDeclaration, platform: PlatformDeclaration, foreign: ForeignZones
) -> FlowEndPlan:
    if end.zone is None:
        return FlowEndPlan(
            name=end.outside, zone=None, networks=_outside_networks(end.outside, declared, platform, foreign)
        )
    if end.servers is None:
        cidr = declared.zones[end.zone].cidr
        return FlowEndPlan(name=end.zone, zone=end.zone, networks=(cidr,) if cidr else ())
    addresses = {address for key in end.servers if (address := declared.servers[key].address) is not None}
    name = f"{end.zone}, {end.written}"
    return FlowEndPlan(name=name, zone=end.zone, networks=tuple(IPv4Network(a) for a in sorted(addresses)))


def _outside_networks(
    outside: str, declared: MemberDeclaration, platform: PlatformDeclaration, foreign: ForeignZones
) -> tuple[IPv4Network, ...]:
    kind, _, name = outside.rpartition(":")
    if outside == INTERNET:
        return internet()
    if outside == FEDERAL:
        return _sorted(platform.federal_networks)
    if kind == "data-centre":
        return shared_addresses(name, platform)
    if kind == "legacy":
        legacy = declared.networks.legacy[name]
        return (legacy.nat or legacy.cidr,)
    member, _, zone = name.partition("/")
    cidr = foreign.get(member, {}).get(zone)
    return (cidr,) if cidr is not None else ()


def shared_addresses(key: str, platform: PlatformDeclaration) -> tuple[IPv4Network, ...]:
    """The addresses of one of the data centre's shared networks; none if it is not declared."""
    if (network := platform.shared_networks.get(key)) is None:
        return ()
    machines: list[IPv4Address] = []
    if (shared := platform.shared) is not None:
        machines += [server.address for server in shared.servers.values() if server.role == network.role]
        machines += [vm.address for vm in shared.vms.values() if network.role in vm.roles]
    return _sorted((*network.networks, *map(IPv4Network, machines)))


def _sorted(networks: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    return tuple(collapse_addresses(networks))


@lru_cache
def internet() -> tuple[IPv4Network, ...]:
    """Every address that is no special-purpose one, as networks."""
    left = [IPv4Network("0.0.0.0/0")]
    for text in _NOT_INTERNET:
        special = IPv4Network(text)
        left = [
            part
            for network in left
            for part in (network.address_exclude(special) if special.subnet_of(network) else (network,))
        ]
    return _sorted(left)


def _ports(services: Iterable[str], platform: PlatformDeclaration) -> Iterator[tuple[str, tuple[PortRangePlan, ...]]]:
    """What ``services`` need, protocol by protocol."""
    found: dict[str, set[PortRangePlan]] = defaultdict(set)
    for service in services:
        for written in platform.services[service].ports if service in platform.services else ():
            protocol, first, last = ports_of(written)
            found[protocol].update({PortRangePlan(first=first, last=last)} if protocol != "icmp" else set())
    for protocol in sorted(found):
        yield protocol, tuple(sorted(found[protocol], key=lambda ports: (ports.first, ports.last)))


def ports_of(written: str) -> tuple[str, int, int]:
    """Protocol, first and last port of ``tcp/443`` or ``udp/1812-1813``; 0 and 0 for ``icmp/echo``."""
    protocol, _, numbers = written.partition("/")
    if protocol == "icmp":
        return protocol, 0, 0
    first, _, last = numbers.partition("-")
    return protocol, int(first), int(last or first)


def resolvers(zone: ZoneKey, declared: MemberDeclaration, platform: PlatformDeclaration) -> tuple[IPv4Address, ...]:
    """The name servers of hosts in ``zone``: the member's own in the same routing domain, else the data centre's."""
    domain = routing_domain_of(zone, declared)
    own = tuple(
        server.address
        for server in declared.servers.values()
        if server.role == "dns" and server.address is not None and routing_domain_of(server.zone, declared) == domain
    )
    return own or tuple(address for network in shared_addresses("dns", platform) for address in network)
