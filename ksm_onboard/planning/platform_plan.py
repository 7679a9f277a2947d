"""The plan of the shared data centre."""

from __future__ import annotations

from typing import Literal, get_args

from ksm_onboard.declaration.models import PlatformDeclaration, ServiceLevel, SharedZoneKey, ZoneKey
from ksm_onboard.planning.backup import plan_classes, plan_repositories, plan_shared_servers, plan_shared_zones
from ksm_onboard.planning.central import plan_central_services
from ksm_onboard.planning.directory import plan_directory
from ksm_onboard.planning.flows import shared_addresses
from ksm_onboard.planning.plan import (
    ArrayPlan,
    BaselinePlan,
    ClusterPlan,
    HighAvailabilityPlan,
    HypervisorPlan,
    LibraryPlan,
    LocalAdminPlan,
    PlatformPlan,
    RolePlan,
    SectionPlan,
    ServiceLevelPlan,
    ServicePlan,
    SharedNetworkPlan,
    StorageTierPlan,
    TagCategoryPlan,
    TemplatePlan,
)

MEMBER_CATEGORY = "ksm-member"
ZONE_CATEGORY = "ksm-zone"
SECTION_CATEGORY = "ksm-section"
TIER_CATEGORY = "ksm-storage-tier"
LEVEL_CATEGORY = "ksm-service-level"

# Keys of a YAML mapping are text.
_LEVELS: dict[str, ServiceLevel] = {str(level): level for level in get_args(ServiceLevel)}

OPERATOR_ROLE = "ksm-operator"
AUDITOR_ROLE = "ksm-auditor"

# Least privilege: an operator may run and look at the member's VMs but neither create,
# change nor delete them; an auditor only looks (the System.* privileges that every role
# has); backup reads disks through snapshots. Privilege ids: vSphere API, AuthorizationManager.
_ROLES: dict[str, tuple[str, ...]] = {
    "ksm-member-admin": (
        "VirtualMachine.Interact.ConsoleInteract",
        "VirtualMachine.Interact.PowerOff",
        "VirtualMachine.Interact.PowerOn",
        "VirtualMachine.Interact.Reset",
        "VirtualMachine.State.CreateSnapshot",
        "VirtualMachine.State.RemoveSnapshot",
    ),
    OPERATOR_ROLE: (
        "VirtualMachine.Interact.ConsoleInteract",
        "VirtualMachine.Interact.PowerOff",
        "VirtualMachine.Interact.PowerOn",
        "VirtualMachine.Interact.Reset",
    ),
    AUDITOR_ROLE: (),
    "ksm-backup": (
        "Datastore.Browse",
        "VirtualMachine.Provisioning.DiskRandomRead",
        "VirtualMachine.State.CreateSnapshot",
        "VirtualMachine.State.RemoveSnapshot",
    ),
}


# Where a path to storage may come back (all paths down), VMs are only restarted if that is sure to help.
_StorageLoss = Literal["ignore", "warn", "restart"]
_PDL_RESPONSES: dict[_StorageLoss, Literal["disabled", "warning", "restartAggressive"]] = {
    "ignore": "disabled",
    "warn": "warning",
    "restart": "restartAggressive",
}
_APD_RESPONSES: dict[_StorageLoss, Literal["disabled", "warning", "restartConservative"]] = {
    "ignore": "disabled",
    "warn": "warning",
    "restart": "restartConservative",
}


def host_group_name(section: str) -> str:
    """The host group that holds a fire section's hypervisor hosts."""
    return f"ksm-section-{section.lower()}"


def plan_platform(declaration: PlatformDeclaration) -> PlatformPlan:
    """Decide everything about the platform. Pure."""
    vcenter = declaration.vcenter
    arrays = tuple(
        ArrayPlan(
            name=name,
            address=array.address,
            sections=array.sections,
            capacity_gib=array.capacity_gib,
            tiers=array.tiers,
        )
        for name, array in declaration.arrays.items()
    )
    baseline, central = declaration.baseline, tuple(plan_central_services(declaration))
    servers = {service.role: service.servers for service in central}
    return PlatformPlan(
        key=declaration.platform.key,
        name=declaration.platform.name,
        operator=declaration.platform.operator,
        responsible=declaration.platform.responsible,
        datacenter=vcenter.datacenter,
        cluster=vcenter.cluster,
        cluster_settings=_cluster(declaration),
        switch=vcenter.switch.name,
        uplinks=vcenter.switch.uplinks,
        sections=tuple(
            SectionPlan(key=key, name=section.name, host_group=host_group_name(key), hosts=section.hosts)
            for key, section in declaration.sections.items()
        ),
        hypervisor=HypervisorPlan(
            cpu_cores=declaration.hypervisor.cpu_cores,
            cpu_mhz=declaration.hypervisor.cpu_mhz,
            memory_gib=declaration.hypervisor.memory_gib,
        ),
        library=LibraryPlan(name=vcenter.library.name, capacity_gib=vcenter.library.capacity_gib),
        arrays=arrays,
        tiers=tuple(
            StorageTierPlan(
                key=key,
                description=tier.description,
                policy=f"ksm-{key}",
                tag=key,
                arrays=tuple(array.name for array in arrays if key in array.tiers),
                mirrored=all(array.mirrored for array in arrays if key in array.tiers),
                encrypted=tier.encrypted,
            )
            for key, tier in declaration.storage_tiers.items()
        ),
        templates=tuple(
            TemplatePlan(key=key, name=template.name, guest_id=template.guest_id, disk_gib=template.disk_gib)
            for key, template in declaration.templates.items()
        ),
        tag_categories=_tag_categories(declaration),
        roles=tuple(RolePlan(name=name, privileges=privileges) for name, privileges in _ROLES.items()),
        baseline=BaselinePlan(
            ntp_servers=tuple(server.fqdn for server in servers.get("time", ())) or baseline.upstream_time,
            upstream_time=baseline.upstream_time,
            log_servers=tuple(server.address for server in servers.get("log-collector", ())),
            log_retention_days=baseline.log_retention_days,
            metrics_retention_days=baseline.metrics_retention_days,
            timezone=baseline.timezone,
            screen_lock_minutes=baseline.screen_lock_minutes,
            local_admins=tuple(LocalAdminPlan(name=a.name, ssh_keys=a.ssh_keys) for a in baseline.local_admins),
            login_banner=baseline.login_banner,
            dns_forwarders=tuple(server.address for server in servers.get("resolver", ())) or baseline.upstream_dns,
            upstream_dns=baseline.upstream_dns,
        ),
        client_networks=(
            *(pool.range for pool in declaration.pools.values()),
            *((declaration.shared.block,) if declaration.shared else ()),
        ),
        dns_domain=declaration.shared.dns_domain if declaration.shared else "",
        shared_zones=tuple(plan_shared_zones(declaration.shared)),
        shared_servers=tuple(plan_shared_servers(declaration)),
        central_services=central,
        backup_repositories=tuple(plan_repositories(declaration)),
        backup_classes=tuple(plan_classes(declaration.backup)),
        services=tuple(
            ServicePlan(key=key, title=service.title, ports=service.ports)
            for key, service in declaration.services.items()
        ),
        shared_networks=tuple(
            SharedNetworkPlan(key=key, title=shared.title, networks=shared_addresses(key, declaration))
            for key, shared in declaration.shared_networks.items()
        ),
        service_levels=tuple(
            ServiceLevelPlan(
                level=_LEVELS[level], title=target.title, rpo_hours=target.rpo_hours, rto_hours=target.rto_hours
            )
            for level, target in sorted(declaration.service_levels.items())
        ),
        directory=plan_directory(declaration, central),
    )


def _cluster(declaration: PlatformDeclaration) -> ClusterPlan:
    wanted = declaration.high_availability
    return ClusterPlan(
        inventory_path=f"/{declaration.vcenter.datacenter}/host/{declaration.vcenter.cluster}",
        drs_migration_threshold=declaration.drs.migration_threshold,
        high_availability=HighAvailabilityPlan(
            reserved_percent=wanted.reserved_percent,
            isolation_response="powerOff" if wanted.isolation_response == "power-off" else wanted.isolation_response,
            pdl_response=_PDL_RESPONSES[wanted.storage_loss],
            apd_response=_APD_RESPONSES[wanted.storage_loss],
            restart_priority=wanted.restart_priority,
            ready_condition="guestHbStatusGreen" if wanted.next_priority_when == "guests-run" else "none",
            restart_timeout_seconds=wanted.restart_timeout_seconds,
            vm_monitoring="vmMonitoringOnly" if wanted.guest_monitoring else "vmMonitoringDisabled",
        ),
    )


def _tag_categories(declaration: PlatformDeclaration) -> tuple[TagCategoryPlan, ...]:
    return (
        TagCategoryPlan(
            name=MEMBER_CATEGORY,
            description="the member that an object belongs to; its tags are created by the members' stacks",
            cardinality="SINGLE",
            associable_types=("Datastore", "Folder", "ResourcePool", "StoragePod", "VirtualMachine"),
            tags=(),
        ),
        TagCategoryPlan(
            name=ZONE_CATEGORY,
            description="the network zone of a VM",
            cardinality="SINGLE",
            associable_types=("VirtualMachine",),
            tags=tuple(dict.fromkeys((*get_args(ZoneKey), *get_args(SharedZoneKey)))),
        ),
        TagCategoryPlan(
            name=SECTION_CATEGORY,
            description="the fire section that a VM is planned for",
            cardinality="SINGLE",
            associable_types=("VirtualMachine",),
            tags=tuple(declaration.sections),
        ),
        TagCategoryPlan(
            name=LEVEL_CATEGORY,
            description="how soon a VM must run again: 1 identity and network to 4 archive",
            cardinality="SINGLE",
            associable_types=("VirtualMachine",),
            tags=tuple(str(level) for level in get_args(ServiceLevel)),
        ),
        TagCategoryPlan(
            name=TIER_CATEGORY,
            description="the storage tier that a datastore serves",
            cardinality="MULTIPLE",
            associable_types=("Datastore",),
            tags=tuple(declaration.storage_tiers),
        ),
    )
