"""What a member's zone gateway must do, as plain data for any firewall. Pure.

There is one policy per routing domain, with rules of its own: a school's lessons and its
administration share none. Semantics that no rule spells out are in ``SEMANTICS``; a firewall that
loads the rules has to be set up to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ksm_onboard.declaration.models import ZoneKey
from ksm_onboard.planning.plan import FlowEndPlan, FlowPlan, FlowRulePlan, MemberPlan

OUTSIDE: Final = "outside"

SEMANTICS: Final = (
    "Whatever no rule accepts is dropped, without an answer. Drops are counted; at most five a second are logged.",
    "Rules accept the first packet of a connection, in the direction from source to target only. Further packets of "
    "an accepted connection pass in both directions (connection tracking, state established).",
    "A TCP connection begins with a packet that has SYN and neither ACK, FIN nor RST; any other packet without a "
    "known connection is dropped.",
    "Of packets that belong to a connection only indirectly (state related) the ICMP errors destination-unreachable, "
    "time-exceeded and parameter-problem pass. Redirects never pass; helpers that open further ports are off.",
    "Rules for icmp mean echo requests.",
    "A packet whose source address is not of the zone that it comes from is dropped before anything else; so is one "
    "from outside with a source address of a zone.",
    "IPv6 is dropped in both directions.",
    "Fragments are put together before they are judged; what stays incomplete is dropped.",
    "The gateway itself answers echo requests only; it is managed from elsewhere.",
    "Within one zone machines reach each other through the switch: no gateway filters there.",
)

GATEWAY_SETTINGS: Final = {
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.all.accept_source_route": 0,
    "net.ipv4.conf.all.secure_redirects": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.accept_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.icmp_echo_ignore_broadcasts": 1,
    "net.ipv4.tcp_syncookies": 1,
    "net.netfilter.nf_conntrack_tcp_loose": 0,
}
"""Kernel settings of a Linux gateway that no rule can express (Documentation/networking/ip-sysctl.rst)."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FirewallZone(_Part):
    """A zone: its VLAN, its network, and the gateway's address in it."""

    key: ZoneKey = Field(description="the zone's name")
    title: str = Field(description="what people call it")
    vlan: int = Field(description="VLAN id")
    interface: str = Field(description="the gateway's network card in the zone")
    network: IPv4Network = Field(description="all its addresses")
    gateway: IPv4Address = Field(description="the gateway's address in it")


class FirewallRule(_Part):
    """Connections that are accepted; everything else is not."""

    number: int = Field(description="position in the policy, from 1; the order has no meaning")
    flow: str = Field(description="the declared flow that it comes from")
    reason: str = Field(description="what it is for")
    source_zone: ZoneKey | Literal["outside"] = Field(description="where the connection begins")
    source: str = Field(description="who begins it, in words")
    source_networks: tuple[IPv4Network, ...] = Field(description="from these addresses")
    target_zone: ZoneKey | Literal["outside"] = Field(description="where it leads")
    target: str = Field(description="to whom, in words")
    target_networks: tuple[IPv4Network, ...] = Field(description="to these addresses")
    protocol: Literal["tcp", "udp", "icmp"] = Field(description="of icmp echo requests only")
    ports: tuple[str, ...] = Field(description="the target's ports or ranges of ports; none for icmp")
    action: Literal["accept"] = Field(default="accept", description="always accept: there are no other rules")


class RoutingDomainPolicy(_Part):
    """The rules of one routing domain."""

    name: str = Field(description="name of the rule set on the firewall")
    routing_domain: str = Field(description="the routing domain")
    zones: tuple[FirewallZone, ...] = Field(description="its zones")
    rules: tuple[FirewallRule, ...] = Field(description="what is accepted")
    default_action: Literal["drop"] = Field(default="drop", description="what happens to everything else")


class FirewallPolicy(_Part):
    """Everything that a member's zone gateway has to accept; what it does not name is dropped."""

    version: Literal[1] = Field(default=1, description="version of this format")
    member: str = Field(description="the member's key")
    member_name: str = Field(description="the member's official name")
    policies: tuple[RoutingDomainPolicy, ...] = Field(description="one rule set per routing domain; they share nothing")
    semantics: tuple[str, ...] = Field(default=SEMANTICS, description="what holds besides the rules")
    gateway_settings: dict[str, int] = Field(
        default_factory=lambda: dict(GATEWAY_SETTINGS), description="kernel settings of a Linux gateway"
    )


def firewall_policy(member: MemberPlan) -> FirewallPolicy:
    """The policy of a member: the same plan gives the same policy."""
    domains = sorted({zone.routing_domain for zone in member.zones})
    return FirewallPolicy(
        member=member.key,
        member_name=member.name,
        policies=tuple(_domain_policy(member, domain) for domain in domains),
    )


def interface_of(vlan: int) -> str:
    """The gateway's network card in a VLAN; Linux allows 15 characters."""
    return f"vlan{vlan}"


def _domain_policy(member: MemberPlan, domain: str) -> RoutingDomainPolicy:
    zones = [zone for zone in member.zones if zone.routing_domain == domain]
    own = {zone.key for zone in zones}
    return RoutingDomainPolicy(
        name=f"ksm-{member.key}-{domain}",
        routing_domain=domain,
        zones=tuple(
            FirewallZone(
                key=zone.key,
                title=zone.title,
                vlan=zone.vlan,
                interface=interface_of(zone.vlan),
                network=zone.cidr,
                gateway=zone.gateway,
            )
            for zone in sorted(zones, key=lambda zone: zone.vlan)
        ),
        rules=tuple(
            _rule(number, flow, rule)
            for number, (flow, rule) in enumerate(
                ((f, r) for f, r in _asked(member) if {r.source.zone, r.target.zone} & own), start=1
            )
        ),
    )


def _asked(member: MemberPlan) -> Iterator[tuple[FlowPlan, FlowRulePlan]]:
    """The rules that a gateway is asked about: not those within one zone."""
    for flow in member.flows:
        yield from ((flow, rule) for rule in flow.rules if not rule.switched)


def _rule(number: int, flow: FlowPlan, rule: FlowRulePlan) -> FirewallRule:
    return FirewallRule(
        number=number,
        flow=flow.key,
        reason=flow.reason,
        source_zone=_zone(rule.source),
        source=rule.source.name,
        source_networks=rule.source.networks,
        target_zone=_zone(rule.target),
        target=rule.target.name,
        target_networks=rule.target.networks,
        protocol=rule.protocol,
        ports=tuple(str(p.first) if p.first == p.last else f"{p.first}-{p.last}" for p in rule.ports),
    )


def _zone(end: FlowEndPlan) -> ZoneKey | Literal["outside"]:
    return end.zone or "outside"
