"""The plan of the platform's own VMs, which give central services to all members.

It has the form of a member's plan, since everything that is done with it is the same: the same components create it,
the same rules judge it, the same audit compares it with vCenter. The data centre is its own tenant.
"""

from __future__ import annotations

from collections.abc import Iterator

from ksm_onboard.declaration.models import PlatformDeclaration, SharedMachines
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.planning.addressing import gateway_of
from ksm_onboard.planning.backup import plan_backups
from ksm_onboard.planning.central import ZONE_TITLES
from ksm_onboard.planning.member_plan import (
    data_disks,
    datastore_clusters,
    datastores,
    pairs,
    permissions,
    placements,
)
from ksm_onboard.planning.placement import first_host
from ksm_onboard.planning.plan import (
    MemberPlan,
    Plan,
    ProtectionPlan,
    ResourcePoolPlan,
    ServerPlan,
    ZonePlan,
)
from ksm_onboard.planning.platform_plan import (
    LEVEL_CATEGORY,
    MEMBER_CATEGORY,
    SECTION_CATEGORY,
    ZONE_CATEGORY,
    plan_platform,
)
from ksm_onboard.planning.restart import restart_priority
from ksm_onboard.planning.storage import disks_of_vms

# They carry every member's data or traffic, so they need what the member with the highest need does.
_PROTECTION = ProtectionPlan(confidentiality="very-high", integrity="very-high", availability="very-high")


def plan_own(platform: PlatformDeclaration, record: AllocationRecord) -> Plan | None:
    """Decide everything about the platform's own VMs; None if it declares none.

    Pure; expects a declaration that passed the checks. ``record`` is what was given out to them.
    """
    shared = platform.shared
    if shared is None or not shared.vms:
        return None
    key = platform.platform.key
    servers = tuple(_servers(platform, shared, record))
    stores = datastores(key, shared.short, platform, record, disks_of_vms(shared, platform))
    return Plan(
        platform=plan_platform(platform),
        member=MemberPlan(
            key=key,
            name=platform.platform.name,
            kind="rechenzentrum",
            short=shared.short,
            dns_domain=shared.dns_domain,
            responsible=platform.platform.responsible,
            folder=key,
            resource_pool=ResourcePoolPlan(
                name=key,
                cpu_limit_mhz=shared.compute.cpu_ghz * 1000,
                memory_limit_mib=shared.compute.memory_gib * 1024,
            ),
            tags={MEMBER_CATEGORY: key},
            block=shared.block,
            sites=(),
            departments={},
            zones=tuple(_zones(platform, shared)),
            datastores=stores,
            datastore_clusters=tuple(datastore_clusters(key, shared.short, stores, platform)),
            servers=servers,
            placements=tuple(placements(key, servers, platform)),
            pairs=tuple(pairs(key, servers)),
            permissions=permissions(key, platform.vcenter.principal_domain),
            shares=(),
            print_queues=(),
            databases=(),
            workstations=(),
            applications=(),
            protection=_PROTECTION,
            backups=tuple(plan_backups(tuple(zip(shared.vms.values(), servers, strict=True)), (), (), platform)),
        ),
    )


def _zones(platform: PlatformDeclaration, shared: SharedMachines) -> Iterator[ZonePlan]:
    """The zones that a VM stands in: nothing else needs a port group."""
    used = {vm.zone for vm in shared.vms.values()}
    for key, zone in shared.zones.items():
        if key in used:
            yield ZonePlan(
                key=key,
                title=ZONE_TITLES[key],
                port_group=f"{platform.platform.key}-{key}",
                vlan=zone.vlan,
                cidr=zone.cidr,
                gateway=gateway_of(zone.cidr),
                routing_domain="data-centre",
            )


def _servers(platform: PlatformDeclaration, shared: SharedMachines, record: AllocationRecord) -> Iterator[ServerPlan]:
    key_of_platform = platform.platform.key
    resolvers = tuple(vm.address for vm in shared.vms.values() if "resolver" in vm.roles)
    for position, (key, vm) in enumerate(shared.vms.items()):
        name = f"{shared.short}-{key}"
        cidr = shared.zones[vm.zone].cidr
        yield ServerPlan(
            name=name,
            fqdn=f"{name}.{shared.dns_domain}",
            role=vm.roles[0],
            central_roles=vm.roles,
            zone=vm.zone,
            port_group=f"{key_of_platform}-{vm.zone}",
            address=vm.address,
            prefix_length=cidr.prefixlen,
            gateway=gateway_of(cidr),
            dns_servers=resolvers,
            section=vm.section,
            first_host=first_host(vm, position, platform),
            pair=vm.pair,
            template=vm.template,
            cpus=vm.cpus,
            memory_mib=vm.memory_gib * 1024,
            system_disk_gib=platform.templates[vm.template].disk_gib,
            tier=vm.tier,
            datastore=record.disks[name],
            disks=data_disks(key_of_platform, name, vm.disks, record.disks),
            tags={
                MEMBER_CATEGORY: key_of_platform,
                ZONE_CATEGORY: vm.zone,
                SECTION_CATEGORY: vm.section,
                LEVEL_CATEGORY: str(vm.service_level),
            },
            applications=(),
            service_level=vm.service_level,
            restart_priority=restart_priority(vm, platform.high_availability),
        )
