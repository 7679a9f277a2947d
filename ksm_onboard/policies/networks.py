"""Rules about port groups and who is connected to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ksm_onboard.policies.catalogue import requirements
from ksm_onboard.policies.model import Rule, Violation
from ksm_onboard.policies.resources import Hidden, Resource, Stack

_SECURITY = {
    "allowPromiscuous": "VMs may listen to each other's traffic",
    "allowForgedTransmits": "VMs may send under foreign addresses",
    "allowMacChanges": "VMs may change their hardware address",
}

# Zones for running the data centre, and the roles of servers that belong into them: a jump host is an application.
_ADMIN_ZONES: Mapping[str, frozenset[str]] = {
    "management": frozenset(),
    "backup": frozenset({"backup"}),
    "admin": frozenset({"application"}),
}


def _port_groups(stack: Stack) -> Sequence[Resource]:
    return stack.kind("DistributedPortGroup")


def _vms(stack: Stack) -> Sequence[Resource]:
    return stack.vms


def _own_vlan(_stack: Stack, groups: Sequence[Resource]) -> Iterator[Violation]:
    users: dict[object, list[Resource]] = defaultdict(list)
    for group in groups:
        vlan = group.inputs.get("vlanId")
        if group.inputs.get("vlanRanges"):
            yield Violation(group, "carries several VLANs")
        elif not vlan:
            yield Violation(group, "has no VLAN")
        elif vlan is not Hidden.UNKNOWN:
            users[vlan].append(group)
    for vlan, sharing in users.items():
        for group in sharing[1:]:
            yield Violation(group, f"shares VLAN {vlan:g} with {sharing[0].name}")


def _closed(_stack: Stack, groups: Sequence[Resource]) -> Iterator[Violation]:
    for group in groups:
        for key, meaning in _SECURITY.items():
            if group.inputs.get(key) is not False:
                yield Violation(group, f"{meaning} ({key} is not false)")


def _own_networks(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    own_ids = {group.id for group in _port_groups(stack) if group.id}
    for vm in vms:
        if not stack.networks(vm):
            yield Violation(vm, "is connected to no network of the member")
        interfaces = vm.inputs.get("networkInterfaces")
        named = [nic.get("networkId") for nic in interfaces] if isinstance(interfaces, list) else []
        # In a preview, a port group that is about to be changed has no id; the VM's keeps the one that it has.
        hidden = sum(1 for group in stack.networks(vm) if not group.id)
        foreign = [network for network in named if isinstance(network, str) and network not in own_ids]
        for network in foreign[hidden:]:
            yield Violation(vm, f"is connected to the network {network}, which is not the member's own")


def _one_zone(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    for vm in vms:
        groups = stack.networks(vm)
        if len(groups) > 1:
            yield Violation(vm, f"stands in several zones at once: {', '.join(group.name for group in groups)}")
        for zone in stack.tags(vm, "ksm-zone"):
            for group in groups:
                if not group.name.endswith(f"-{zone}"):
                    yield Violation(vm, f"is tagged with zone '{zone}', but connected to {group.name}")


def _admin_zones(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    for vm in vms:
        role = stack.by_urn[vm.parent].inputs.get("role") if vm.parent in stack.by_urn else None
        for group in stack.networks(vm):
            for zone, roles in _ADMIN_ZONES.items():
                if group.name.endswith(f"-{zone}") and role not in roles:
                    yield Violation(vm, f"has the role '{role}' and an interface in the zone '{zone}'")


RULES = (
    Rule(
        id="network-own-vlan",
        title="Every port group has a VLAN of its own",
        requirements=requirements("NET.1.1.A4", "NET.1.1.A24", "SYS.1.5.A4"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_port_groups,
        judge=_own_vlan,
        absent="the stack has no port groups",
        todo="give each zone its own VLAN between 1 and 4094, and no trunk",
    ),
    Rule(
        id="network-closed",
        title="Port groups refuse promiscuous mode, forged transmits and changed addresses",
        requirements=requirements("SYS.1.5.A4"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_port_groups,
        judge=_closed,
        absent="the stack has no port groups",
        todo="set all three to false on the port group itself; left out, the switch decides",
    ),
    Rule(
        id="network-own",
        title="VMs are connected to networks of their member only",
        requirements=requirements("NET.1.1.A4", "OPS.3.2.A4"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_vms,
        judge=_own_networks,
        absent="the stack has no VMs",
        todo="connect the VM to one of the member's own port groups",
    ),
    Rule(
        id="network-one-zone",
        title="A VM stands in one zone, the one that it is tagged with",
        requirements=requirements("NET.1.1.A4", "NET.1.1.A5", "NET.1.1.A6"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_vms,
        judge=_one_zone,
        absent="the stack has no VMs",
        todo="give the VM one interface; what must pass between zones passes the firewall",
    ),
    Rule(
        id="network-admin-zones",
        title="Only what runs the data centre has interfaces in the zones management, backup and admin",
        requirements=requirements("SYS.1.5.A5", "SYS.1.5.A11", "NET.1.1.A21"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_vms,
        judge=_admin_zones,
        absent="the stack has no VMs",
        todo="move the server into the zone of its work (servers.<key>.zone in the declaration)",
    ),
)
