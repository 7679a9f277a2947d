"""The platform's central services: which of its VMs give them, and under which names and addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import get_args

from ksm_onboard.declaration.models import CentralRole, PlatformDeclaration, SharedZoneKey
from ksm_onboard.planning.plan import CentralServerPlan, CentralServicePlan, Plan

ZONE_TITLES: Mapping[SharedZoneKey, str] = {
    "core": "Zentrale Dienste",
    "edge": "Übergang zum Internet",
    "backup": "Datensicherung",
}
"""German: they appear in reports."""

TITLES: Mapping[CentralRole, str] = {
    "resolver": "Namensdienst",
    "time": "Zeitdienst",
    "directory": "Verzeichnisdienst",
    "depot": "Softwareverteilung",
    "log-collector": "Protokollsammlung",
    "monitoring": "Überwachung",
    "reverse-proxy": "Veröffentlichung von Webanwendungen",
    "radius": "Netzzugang (802.1X)",
}


def plan_central_services(platform: PlatformDeclaration) -> Iterator[CentralServicePlan]:
    """Every role that a VM of the platform has, with the VMs that have it, in the order of the declaration."""
    if (shared := platform.shared) is None:
        return
    for role in get_args(CentralRole):
        servers = tuple(
            CentralServerPlan(
                name=f"{shared.short}-{key}",
                fqdn=f"{shared.short}-{key}.{shared.dns_domain}",
                address=vm.address,
                section=vm.section,
            )
            for key, vm in shared.vms.items()
            if role in vm.roles
        )
        if servers:
            yield CentralServicePlan(role=role, title=TITLES[role], servers=servers)


def networks_of_devices(plan: Plan) -> dict[int, tuple[str, ...]]:
    """VLAN → full names of the workplaces that belong into it: what a switch is told once it asked for one of them."""
    vlans = {zone.key: zone.vlan for zone in plan.member.zones}
    found: dict[int, list[str]] = {}
    for workstation in plan.member.workstations:
        found.setdefault(vlans[workstation.zone], []).append(workstation.fqdn)
    return {vlan: tuple(sorted(found[vlan])) for vlan in sorted(found)}


def published_addresses(plan: Plan) -> dict[str, tuple[IPv4Address, ...]]:
    """What the names resolve to that the member publishes: every reverse proxy, so that clients try the other one."""
    proxies = tuple(sorted(proxy.address for proxy in plan.platform.central_servers("reverse-proxy")))
    return {published.name: proxies for published in plan.member.published}
