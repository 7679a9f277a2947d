"""A member's zones as network namespaces: bridges for port groups, a gateway that loads the rendered rules.

::

    host ── bridge of the zone ── vlan<id> ┐
    host ── bridge of the zone ── vlan<id> ┴ gateway ── outside ── core ── one host per place outside

The gateway is as inviting as a careless one could be: it forwards IPv6, too, and has a route to
everybody; over IPv6 it and the hosts know each other's cards from the start. Whatever is refused is
refused by the rules alone. No address of it exists outside the
namespaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ksm_onboard.firewall.expectations import TestHost
from ksm_onboard.firewall.namespaces import Namespace
from ksm_onboard.firewall.policy import GATEWAY_SETTINGS, interface_of
from ksm_onboard.planning.plan import MemberPlan, ZonePlan

GATEWAY_OUTSIDE = IPv4Address("198.18.0.1")
_CORE = IPv4Address("198.18.0.2")
_CORE_AT_HOSTS = IPv4Address("198.18.0.5")
# A prefix for documentation (RFC 3849): IPv6 is only there to be refused.
_SIX = "2001:db8"
_OUTSIDE_SIX = 0xFFFF


@dataclass(frozen=True)
class Testbed:
    """The namespaces of a proof.

    ``hosts``, the nearest address of the gateway (``way_out``) and their IPv6 addresses (``six``) are in the
    order of the expectations.
    """

    __test__ = False  # pytest takes every class of this name for tests

    gateway: Namespace
    hosts: tuple[Namespace, ...]
    gateways: tuple[IPv4Address, ...]
    way_out: tuple[IPv4Address, ...]
    six: tuple[IPv6Address, ...]

    def load(self, rules: str) -> None:
        """Load a rule set on the gateway. Raises OnboardError with what nft said."""
        self.gateway.run(["nft", "-f", "-"], rules)

    def flush(self) -> None:
        """Take every rule away."""
        self.gateway.run(["nft", "flush", "ruleset"])

    def loaded(self) -> str:
        """The rules as loaded, without what they counted."""
        return self.gateway.run(["nft", "--stateless", "list", "ruleset"])

    def counters(self) -> str:
        """The rules as loaded, with what they counted."""
        return self.gateway.run(["nft", "list", "ruleset"])


@contextmanager
def lay_out(member: MemberPlan, hosts: tuple[TestHost, ...]) -> Iterator[Testbed]:
    """Build it, and take it down at the end. Raises NotReadyError where this machine cannot have namespaces."""
    made: list[Namespace] = []

    def new(name: str) -> Namespace:
        made.append(Namespace(name))
        return made[-1]

    try:
        yield _built(member, hosts, new("gateway"), new("switch"), new("core"), [new(host.name) for host in hosts])
    finally:
        for namespace in made:
            with suppress(OSError):
                namespace.close()


def _built(  # noqa: PLR0917
    member: MemberPlan,
    hosts: tuple[TestHost, ...],
    gateway: Namespace,
    switch: Namespace,
    core: Namespace,
    namespaces: list[Namespace],
) -> Testbed:
    zones = {zone.key: zone for zone in member.zones}
    for namespace in (gateway, core):
        namespace.set("net.ipv4.ip_forward", 1)
        namespace.set("net.ipv6.conf.all.forwarding", 1)
        namespace.set("net.ipv4.conf.all.rp_filter", 0)
        namespace.set("net.ipv4.conf.default.rp_filter", 0)
    for name, value in GATEWAY_SETTINGS.items():
        gateway.set(name, value)
    _join_zones(member, gateway, switch)
    core_lines = [
        f"link add to-gateway type veth peer name outside netns {gateway.path}",
        f"address add {_CORE}/30 dev to-gateway",
        f"address add {_SIX}:{_OUTSIDE_SIX:x}::2/64 dev to-gateway nodad",
        "link set to-gateway up",
        f"route add default via {GATEWAY_OUTSIDE}",
        f"route add default via {_SIX}:{_OUTSIDE_SIX:x}::1",
    ]
    port_lines = []
    six: list[IPv6Address] = []
    neighbours: list[str] = []
    for index, (host, namespace) in enumerate(zip(hosts, namespaces, strict=True)):
        if host.zone is not None:
            zone = zones[host.zone]
            port_lines += [
                f"link add p{index} type veth peer name eth0 address {_card(index)} netns {namespace.path}",
                f"link set p{index} master {_bridge(zone)} up",
            ]
            six.append(IPv6Address(f"{_SIX}:{zone.vlan:x}::{index + 16:x}"))
            neighbours.append(f"neigh add {six[-1]} lladdr {_card(index)} dev {interface_of(zone.vlan)} nud permanent")
        else:
            six.append(IPv6Address(f"{_SIX}:{_OUTSIDE_SIX:x}:{index + 16:x}::2"))
            core_lines += [
                f"link add h{index} type veth peer name eth0 netns {namespace.path}",
                f"address add {_CORE_AT_HOSTS}/32 dev h{index}",
                f"address add {_SIX}:{_OUTSIDE_SIX:x}:{index + 16:x}::1/64 dev h{index} nodad",
                f"link set h{index} up",
                f"route add {host.address}/32 dev h{index}",
            ]
    switch.configure(port_lines)
    core.configure(core_lines)
    gateway.configure(
        [
            f"address add {GATEWAY_OUTSIDE}/30 dev outside",
            f"address add {_SIX}:{_OUTSIDE_SIX:x}::1/64 dev outside nodad",
            "link set outside up",
            f"route add default via {_CORE}",
            *neighbours,
            f"route add {_SIX}:{_OUTSIDE_SIX:x}::/48 via {_SIX}:{_OUTSIDE_SIX:x}::2",
        ]
    )
    for host, namespace, address in zip(hosts, namespaces, six, strict=True):
        namespace.configure(_host_lines(host, zones[host.zone] if host.zone else None, address))
    way_out = tuple(zones[host.zone].gateway if host.zone else GATEWAY_OUTSIDE for host in hosts)
    return Testbed(gateway, tuple(namespaces), tuple(zone.gateway for zone in member.zones), way_out, tuple(six))


def _bridge(zone: ZonePlan) -> str:
    return f"br{zone.vlan}"


def _join_zones(member: MemberPlan, gateway: Namespace, switch: Namespace) -> None:
    """A bridge for each port group, and the gateway's card in it."""
    switch_lines, gateway_lines = [], []
    for zone in member.zones:
        card = interface_of(zone.vlan)
        switch_lines += [
            f"link add {_bridge(zone)} type bridge mcast_snooping 0",
            f"link set {_bridge(zone)} up",
            f"link add g{zone.vlan} type veth peer name {card} address {_gateway_card(zone)} netns {gateway.path}",
            f"link set g{zone.vlan} master {_bridge(zone)} up",
        ]
        gateway_lines += [
            f"address add {zone.gateway}/{zone.cidr.prefixlen} dev {card}",
            f"address add {_SIX}:{zone.vlan:x}::1/64 dev {card} nodad",
            f"link set {card} up",
        ]
    switch.configure(switch_lines)
    gateway.configure(gateway_lines)


def _host_lines(host: TestHost, zone: ZonePlan | None, six: IPv6Address) -> list[str]:
    if zone is None:
        return [
            f"address add {host.address}/32 dev eth0",
            f"address add {six}/64 dev eth0 nodad",
            "link set eth0 up",
            f"route add {_CORE_AT_HOSTS} dev eth0",
            f"route add default via {_CORE_AT_HOSTS}",
            f"route add default via {six - 1}",
        ]
    return [
        f"address add {host.address}/{zone.cidr.prefixlen} dev eth0",
        f"address add {six}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {zone.gateway}",
        f"neigh add {_SIX}:{zone.vlan:x}::1 lladdr {_gateway_card(zone)} dev eth0 nud permanent",
        f"route add default via {_SIX}:{zone.vlan:x}::1",
    ]


def _card(index: int) -> str:
    """The hardware address of a host, a locally administered one."""
    return f"02:00:00:00:{index >> 8:02x}:{index & 255:02x}"


def _gateway_card(zone: ZonePlan) -> str:
    return f"02:01:00:00:{zone.vlan >> 8:02x}:{zone.vlan & 255:02x}"
