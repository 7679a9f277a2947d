"""The plan of one member: the declaration, with every open choice made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import DataDisk, MemberDeclaration, PlatformDeclaration, SectionKey, Server
from ksm_onboard.planning.addressing import gateway_of, workstation_addresses
from ksm_onboard.planning.applications import with_requirements
from ksm_onboard.planning.placement import datastore_for, first_host, place
from ksm_onboard.planning.plan import (
    ApplicationPlan,
    DatabasePlan,
    DataDiskPlan,
    MemberPlan,
    PairPlan,
    PermissionPlan,
    Plan,
    PrintQueuePlan,
    ResourcePoolPlan,
    SectionPlacementPlan,
    ServerPlan,
    SharePlan,
    SitePlan,
    WorkstationPlan,
    ZonePlan,
)
from ksm_onboard.planning.platform_plan import (
    AUDITOR_ROLE,
    MEMBER_CATEGORY,
    OPERATOR_ROLE,
    SECTION_CATEGORY,
    ZONE_CATEGORY,
    host_group_name,
    plan_platform,
)
from ksm_onboard.planning.zones import ZONE_KINDS

# SCSI unit 0 holds the system disk, unit 7 is the controller's own (SCSI standard).
_DATA_UNITS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15)
MAX_DATA_DISKS = len(_DATA_UNITS)

# ext4 labels have at most 16 characters (mke2fs(8)).
_LABEL_LENGTH = 16


def plan_member(
    declaration: MemberDeclaration, platform: PlatformDeclaration, catalogue: Mapping[str, CatalogueEntry]
) -> Plan:
    """Decide everything about a member. Pure; expects declarations that passed the checks."""
    member = declaration.member
    sections = place(declaration.servers, platform)
    servers = tuple(_servers(declaration, platform, sections, catalogue))
    workstations = tuple(_workstations(declaration, catalogue))
    used = {key for server in servers for key in server.applications}
    used |= {key for workstation in workstations for key in workstation.applications}
    return Plan(
        platform=plan_platform(platform),
        member=MemberPlan(
            key=member.key,
            name=member.name,
            kind=member.kind,
            short=member.short,
            dns_domain=member.dns_domain,
            responsible=member.responsible,
            folder=member.key,
            resource_pool=ResourcePoolPlan(
                name=member.key,
                cpu_limit_mhz=declaration.compute.cpu_ghz * 1000,
                memory_limit_mib=declaration.compute.memory_gib * 1024,
            ),
            tags={MEMBER_CATEGORY: member.key},
            block=declaration.networks.block,
            sites=tuple(SitePlan(key=k, name=s.name, address=s.address) for k, s in declaration.sites.items()),
            departments={key: department.name for key, department in declaration.departments.items()},
            zones=tuple(_zones(declaration)),
            servers=servers,
            placements=tuple(_placements(member.key, servers, platform)),
            pairs=tuple(_pairs(member.key, servers)),
            permissions=_permissions(member.key, platform.vcenter.principal_domain),
            shares=tuple(
                SharePlan(name=s.name, server=s.server, path=s.path, groups=s.groups, comment=s.comment)
                for s in declaration.shares
            ),
            print_queues=tuple(
                PrintQueuePlan(
                    name=p.name,
                    server=p.server,
                    site=p.site,
                    address=p.address,
                    model=p.model,
                    device_uri=f"socket://{p.address}:9100",
                )
                for p in declaration.printers
            ),
            databases=tuple(_databases(declaration)),
            workstations=workstations,
            applications=tuple(
                ApplicationPlan(
                    key=key,
                    product=catalogue[key].application.product,
                    vendor=catalogue[key].application.vendor,
                    domain=catalogue[key].domain,
                    packages=catalogue[key].application.debian,
                    uncertain=catalogue[key].application.uncertain,
                )
                for key in sorted(used)
            ),
        ),
    )


def workstation_name(short: str, number: int) -> str:
    """The host name of a member's ``number``-th workstation, counted from 1."""
    return f"{short}-ws{number:04d}"


def _zones(declaration: MemberDeclaration) -> Iterator[ZonePlan]:
    for key, zone in declaration.networks.zones.items():
        kind = ZONE_KINDS[key]
        yield ZonePlan(
            key=key,
            title=kind.title,
            port_group=f"{declaration.member.key}-{key}",
            vlan=declaration.networks.vlan_base + kind.vlan_offset,
            cidr=zone.cidr,
            gateway=gateway_of(zone.cidr),
        )


def _dns_servers(declaration: MemberDeclaration) -> tuple[IPv4Address, ...]:
    return tuple(server.address for server in declaration.servers if server.role == "dns")


def _servers(
    declaration: MemberDeclaration,
    platform: PlatformDeclaration,
    sections: Mapping[str, SectionKey],
    catalogue: Mapping[str, CatalogueEntry],
) -> Iterator[ServerPlan]:
    member = declaration.member
    used_gib: dict[str, int] = defaultdict(int)

    def allocate(tier: str, size_gib: int) -> str:
        datastore = datastore_for(tier, size_gib, platform, used_gib)
        used_gib[datastore] += size_gib
        return datastore

    for position, server in enumerate(declaration.servers):
        zone = declaration.networks.zones[server.zone]
        template = platform.templates[server.template]
        section = sections[server.name]
        yield ServerPlan(
            name=server.name,
            fqdn=f"{server.name}.{member.dns_domain}",
            role=server.role,
            zone=server.zone,
            port_group=f"{member.key}-{server.zone}",
            address=server.address,
            prefix_length=zone.cidr.prefixlen,
            gateway=gateway_of(zone.cidr),
            dns_servers=_dns_servers(declaration),
            section=section,
            first_host=first_host(server, position, platform),
            pair=server.pair,
            template=server.template,
            cpus=server.cpus,
            memory_mib=server.memory_gib * 1024,
            system_disk_gib=template.disk_gib,
            tier=server.tier,
            datastore=allocate(server.tier, template.disk_gib),
            disks=tuple(
                _data_disk(member.key, server, disk, unit, allocate(disk.tier, disk.size_gib))
                for disk, unit in zip(server.disks, _DATA_UNITS, strict=False)
            ),
            tags={MEMBER_CATEGORY: member.key, ZONE_CATEGORY: server.zone, SECTION_CATEGORY: section},
            applications=with_requirements(server.applications, catalogue),
        )


def _data_disk(member: str, server: Server, disk: DataDisk, unit: int, datastore: str) -> DataDiskPlan:
    return DataDiskPlan(
        name=disk.name,
        size_gib=disk.size_gib,
        tier=disk.tier,
        datastore=datastore,
        vmdk=f"ksm-data/{member}/{server.name}-{disk.name}.vmdk",
        unit_number=unit,
        mount=disk.mount,
        label=disk.name[:_LABEL_LENGTH],
    )


def _placements(
    member: str, servers: Sequence[ServerPlan], platform: PlatformDeclaration
) -> Iterator[SectionPlacementPlan]:
    for section in platform.sections:
        names = tuple(server.name for server in servers if server.section == section)
        if names:
            yield SectionPlacementPlan(
                section=section,
                host_group=host_group_name(section),
                vm_group=f"{member}-section-{section.lower()}",
                rule=f"{member}-in-section-{section.lower()}",
                servers=names,
            )


def _pairs(member: str, servers: Sequence[ServerPlan]) -> Iterator[PairPlan]:
    by_pair: dict[str, list[str]] = defaultdict(list)
    for server in servers:
        if server.pair:
            by_pair[server.pair].append(server.name)
    for key, names in by_pair.items():
        yield PairPlan(key=key, rule=f"{member}-apart-{key}", servers=tuple(names))


def _permissions(member: str, domain: str) -> tuple[PermissionPlan, ...]:
    return tuple(
        PermissionPlan(principal=f"{domain}\\ksm-{member}-{group}", role=role, is_group=True, propagate=True)
        for group, role in (("operators", OPERATOR_ROLE), ("auditors", AUDITOR_ROLE))
    )


def _databases(declaration: MemberDeclaration) -> Iterator[DatabasePlan]:
    for database in declaration.databases:
        primary, *standbys = (server.name for server in declaration.servers if server.pair == database.pair)
        yield DatabasePlan(
            name=database.name,
            pair=database.pair,
            owner=database.owner,
            primary=primary,
            standbys=tuple(standbys),
        )


def _workstations(declaration: MemberDeclaration, catalogue: Mapping[str, CatalogueEntry]) -> Iterator[WorkstationPlan]:
    member, zones = declaration.member, declaration.networks.zones
    taken = {server.address for server in declaration.servers} | {printer.address for printer in declaration.printers}
    free = {key: workstation_addresses(zone.cidr, taken) for key, zone in zones.items()}
    number = 0
    for group in declaration.workstations:
        zone = zones[group.zone]
        profile = declaration.profiles[group.profile]
        applications = with_requirements((*declaration.applications, *profile.applications), catalogue)
        for _ in range(group.count):
            number += 1
            name = workstation_name(member.short, number)
            yield WorkstationPlan(
                name=name,
                fqdn=f"{name}.{member.dns_domain}",
                address=next(free[group.zone]),
                prefix_length=zone.cidr.prefixlen,
                gateway=gateway_of(zone.cidr),
                dns_servers=_dns_servers(declaration),
                zone=group.zone,
                site=group.site,
                department=group.department,
                profile=group.profile,
                applications=applications,
            )
