"""The plan of one member: the declaration, with every open choice made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, cast, get_args

from ksm_onboard.declaration.devices import DeviceRow
from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import (
    DataDisk,
    DevicePlatform,
    MemberDeclaration,
    PlatformDeclaration,
    SectionKey,
    Server,
    Share,
)
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.planning.addressing import gateway_of
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.applications import of_workstation, platform_of_server, with_requirements
from ksm_onboard.planning.backup import plan_backups
from ksm_onboard.planning.depot import DepotPlatform, depot_item, from_depot, media_of
from ksm_onboard.planning.directory import plan_directory_unit
from ksm_onboard.planning.flows import ForeignZones, plan_flows, resolvers
from ksm_onboard.planning.placement import first_host, place
from ksm_onboard.planning.plan import (
    AccessSwitchPlan,
    ApplicationPlan,
    DatabasePlan,
    DataDiskPlan,
    DatastoreClusterPlan,
    DatastorePlan,
    FreezePlan,
    LegacyNetworkPlan,
    MemberPlan,
    PairPlan,
    PermissionPlan,
    Plan,
    PrintQueuePlan,
    ProtectionPlan,
    PublishedPlan,
    ResourcePoolPlan,
    SectionPlacementPlan,
    ServerPlan,
    SharePlan,
    SitePlan,
    WaiverPlan,
    WavePlan,
    WorkstationPlan,
    ZonePlan,
)
from ksm_onboard.planning.platform_plan import (
    AUDITOR_ROLE,
    LEVEL_CATEGORY,
    MEMBER_CATEGORY,
    OPERATOR_ROLE,
    SECTION_CATEGORY,
    TIER_CATEGORY,
    ZONE_CATEGORY,
    host_group_name,
    plan_platform,
)
from ksm_onboard.planning.restart import restart_priority
from ksm_onboard.planning.storage import Disk, disks_of, needed
from ksm_onboard.planning.windows import windows_package
from ksm_onboard.planning.zones import ZONE_KINDS, routing_domain_of

# SCSI unit 0 holds the system disk, unit 7 is the controller's own (SCSI standard).
_DATA_UNITS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15)
MAX_DATA_DISKS = len(_DATA_UNITS)

# ext4 labels have at most 16 characters (mke2fs(8)).
_LABEL_LENGTH = 16


Given = TypeVar("Given")


def plan_member(
    declared: DeclaredMember,
    platform: PlatformDeclaration,
    catalogue: Mapping[str, CatalogueEntry],
    foreign: ForeignZones | None = None,
) -> Plan:
    """Decide everything about a member. Pure; expects declarations that passed the checks.

    ``foreign`` are the networks of other members' zones that its flows name.
    """
    declaration = declared.file.content
    assert declaration is not None  # noqa: S101 - it passed the checks
    member = declaration.member
    sections = placed(declared.allocated, declaration, platform)
    servers = tuple(_servers(declared, declaration, platform, sections, catalogue))
    own_datastores = datastores(
        member.key, member.short, platform, declared.allocated, disks_of(declaration, platform, sections)
    )
    workstations = tuple(_workstations(declared, declaration, platform, catalogue))
    shares, databases = tuple(_shares(declaration)), tuple(_databases(declaration))
    used = {key for server in servers for key in server.applications}
    used |= {key for workstation in workstations for key in workstation.applications}
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*servers, *workstations)
    used_on = {
        platform: {key for machine in machines if machine.platform == platform for key in machine.applications}
        for platform in get_args(DepotPlatform)
    }
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
            block=given(declaration.networks.block),
            sites=tuple(SitePlan(key=k, name=s.name, address=s.address) for k, s in declaration.sites.items()),
            departments={key: department.name for key, department in declaration.departments.items()},
            zones=tuple(_zones(declaration)),
            datastores=own_datastores,
            datastore_clusters=tuple(datastore_clusters(member.key, member.short, own_datastores, platform)),
            servers=servers,
            placements=tuple(placements(member.key, servers, platform)),
            pairs=tuple(pairs(member.key, servers)),
            permissions=permissions(member.key, platform.vcenter.principal_domain),
            shares=shares,
            print_queues=tuple(_print_queues(declaration)),
            databases=databases,
            workstations=workstations,
            applications=tuple(
                _application(catalogue[key], declaration, tuple(p for p, keys in used_on.items() if key in keys))
                for key in sorted(used)
            ),
            protection=ProtectionPlan(**declaration.protection.model_dump()),
            waves=tuple(WavePlan(key=key, **wave.model_dump()) for key, wave in declaration.waves.items()),
            freezes=tuple(FreezePlan(key=key, **freeze.model_dump()) for key, freeze in declaration.freezes.items()),
            waivers=tuple(WaiverPlan(key=key, **waiver.model_dump()) for key, waiver in declaration.waivers.items()),
            legacy_networks=tuple(
                LegacyNetworkPlan(key=key, **network.model_dump())
                for key, network in declaration.networks.legacy.items()
            ),
            backups=tuple(
                plan_backups(
                    tuple(zip(declaration.servers.values(), servers, strict=True)), shares, databases, platform
                )
            ),
            published=tuple(_published(declaration)),
            switches=tuple(
                AccessSwitchPlan(name=key, site=switch.site, address=switch.address)
                for key, switch in declaration.switches.items()
            ),
            flows=plan_flows(declaration, platform, declared.layers.counted if declared.layers else {}, foreign or {}),
            directory=plan_directory_unit(declaration, platform, (*servers, *workstations)),
        ),
    )


def _application(
    entry: CatalogueEntry, declaration: MemberDeclaration, platforms: tuple[DepotPlatform, ...]
) -> ApplicationPlan:
    """``platforms`` are those of the machines that get it."""
    application, key = entry.application, entry.key
    on_linux = "linux" in platforms and from_depot(application, "linux")
    media = media_of(application, "linux")
    return ApplicationPlan(
        key=key,
        product=application.product,
        vendor=application.vendor,
        domain=entry.domain,
        packages=(depot_item(key, entry, "linux").package,) if on_linux else application.debian,
        uncertain=application.uncertain,
        in_browser=application.in_browser,
        url=declaration.web_addresses.get(key) or application.url,
        requires=application.requires,
        windows_package=windows_package(key, entry),
        from_depot=on_linux,
        media=media.file if on_linux and media else None,
        stand_in_on=tuple(
            platform
            for platform in platforms
            if from_depot(application, platform) and media_of(application, platform) is None
        ),
    )


def placed(
    record: AllocationRecord, declaration: MemberDeclaration, platform: PlatformDeclaration
) -> dict[str, SectionKey]:
    """The fire section of every server, by its key."""
    recorded, short = record.sections, declaration.member.short
    before = {key: recorded[name] for key in declaration.servers if (name := server_name(short, key)) in recorded}
    return place(declaration.servers, platform, before)


def given(value: Given | None) -> Given:
    """``value``, which the checks found to be there."""
    assert value is not None  # noqa: S101 - a declaration that lacks it is refused as not-allocated
    return value


def share_path(key: str, share: Share, server: Server) -> str | None:
    """Where a share lies: as declared, else on the server's first data disk; None if it has none."""
    if share.path is not None:
        return share.path
    return next((f"{disk.mount.rstrip('/')}/{key}" for disk in server.disks.values()), None)


def _zones(declaration: MemberDeclaration) -> Iterator[ZonePlan]:
    for key, zone in declaration.zones.items():
        kind = ZONE_KINDS[key]
        cidr = given(zone.cidr)
        yield ZonePlan(
            key=key,
            title=kind.title,
            port_group=f"{declaration.member.key}-{key}",
            vlan=given(zone.vlan),
            cidr=cidr,
            gateway=gateway_of(cidr),
            routing_domain=routing_domain_of(key, declaration),
        )


def datastores(
    member: str, short: str, platform: PlatformDeclaration, record: AllocationRecord, disks: Sequence[Disk]
) -> tuple[DatastorePlan, ...]:
    """Every datastore that was given out, whether any of ``disks`` is declared to lie on it or not."""
    need = needed(disks, record.disks)
    return tuple(
        DatastorePlan(
            name=name,
            tier=store.tier,
            section=store.section,
            cluster=_cluster_name(short, store.section) if len(platform.arrays[store.array].sections) > 1 else None,
            array=store.array,
            remote_host=platform.arrays[store.array].address,
            remote_path=f"{platform.arrays[store.array].root}/{short}/{name}",
            sections=platform.arrays[store.array].sections,
            size_gib=store.size_gib,
            need_gib=need[name],
            tags={MEMBER_CATEGORY: member, TIER_CATEGORY: store.tier},
        )
        for name, store in record.datastores.items()
    )


def _cluster_name(short: str, section: SectionKey) -> str:
    return f"{short}-mirrored-{section.lower()}"


def datastore_clusters(
    member: str, short: str, stores: Sequence[DatastorePlan], platform: PlatformDeclaration
) -> Iterator[DatastoreClusterPlan]:
    """One cluster for each section whose mirrored datastores ``member`` has."""
    for section in platform.sections:
        name = _cluster_name(short, section)
        if own := tuple(store.name for store in stores if store.cluster == name):
            yield DatastoreClusterPlan(
                name=name, section=section, datastores=own, automation="manual", tags={MEMBER_CATEGORY: member}
            )


def _servers(
    declared: DeclaredMember,
    declaration: MemberDeclaration,
    platform: PlatformDeclaration,
    sections: Mapping[str, SectionKey],
    catalogue: Mapping[str, CatalogueEntry],
) -> Iterator[ServerPlan]:
    member = declaration.member
    lies_on = declared.allocated.disks
    for position, (key, server) in enumerate(declaration.servers.items()):
        name = server_name(member.short, key)
        cidr = given(declaration.zones[server.zone].cidr)
        template = platform.templates[server.template]
        runs_on = platform_of_server(server, platform.templates)
        section = sections[key]
        yield ServerPlan(
            name=name,
            fqdn=f"{name}.{member.dns_domain}",
            role=server.role,
            zone=server.zone,
            port_group=f"{member.key}-{server.zone}",
            address=given(server.address),
            prefix_length=cidr.prefixlen,
            gateway=gateway_of(cidr),
            dns_servers=resolvers(server.zone, declaration, platform),
            section=section,
            first_host=first_host(server, position, platform),
            pair=server.pair,
            template=server.template,
            cpus=server.cpus,
            memory_mib=server.memory_gib * 1024,
            system_disk_gib=template.disk_gib,
            tier=server.tier,
            datastore=lies_on[name],
            disks=data_disks(member.key, name, server.disks, lies_on),
            tags={
                MEMBER_CATEGORY: member.key,
                ZONE_CATEGORY: server.zone,
                SECTION_CATEGORY: section,
                LEVEL_CATEGORY: str(server.service_level),
            },
            applications=with_requirements(server.applications, catalogue, runs_on),
            service_level=server.service_level,
            restart_priority=restart_priority(server, platform.high_availability),
            platform=runs_on,
        )


def data_disks(
    member: str, server: str, disks: Mapping[str, DataDisk], lies_on: Mapping[str, str]
) -> tuple[DataDiskPlan, ...]:
    """The data disks of a server of ``member``; ``lies_on`` is the record: disk → datastore."""
    return tuple(
        _data_disk(f"ksm-data/{member}/{server}-{key}.vmdk", key, disk, unit, lies_on[f"{server}/{key}"])
        for (key, disk), unit in zip(disks.items(), _DATA_UNITS, strict=False)
    )


def _data_disk(vmdk: str, key: str, disk: DataDisk, unit: int, datastore: str) -> DataDiskPlan:
    return DataDiskPlan(
        name=key,
        size_gib=disk.size_gib,
        tier=disk.tier,
        datastore=datastore,
        vmdk=vmdk,
        unit_number=unit,
        mount=disk.mount,
        label=key[:_LABEL_LENGTH],
    )


def placements(
    member: str, servers: Sequence[ServerPlan], platform: PlatformDeclaration
) -> Iterator[SectionPlacementPlan]:
    """What ties the servers of each section to it."""
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


def pairs(member: str, servers: Sequence[ServerPlan]) -> Iterator[PairPlan]:
    """What keeps the servers of each pair on different hosts."""
    by_pair: dict[str, list[str]] = defaultdict(list)
    for server in servers:
        if server.pair:
            by_pair[server.pair].append(server.name)
    for key, names in by_pair.items():
        yield PairPlan(key=key, rule=f"{member}-apart-{key}", servers=tuple(names))


def permissions(member: str, domain: str) -> tuple[PermissionPlan, ...]:
    """Who may do what with the folder of ``member``."""
    return tuple(
        PermissionPlan(principal=f"{domain}\\ksm-{member}-{group}", role=role, is_group=True, propagate=True)
        for group, role in (("operators", OPERATOR_ROLE), ("auditors", AUDITOR_ROLE))
    )


def _shares(declaration: MemberDeclaration) -> Iterator[SharePlan]:
    for key, share in declaration.shares.items():
        yield SharePlan(
            name=key,
            server=server_name(declaration.member.short, share.server),
            path=given(share_path(key, share, declaration.servers[share.server])),
            groups=share.groups or (key,),
            comment=share.comment,
        )


def _print_queues(declaration: MemberDeclaration) -> Iterator[PrintQueuePlan]:
    """Every queue, on its print server and on that one's partners, so that people print while one is away."""
    for key, printer in declaration.printers.items():
        for name in with_partners(printer.server, declaration):
            yield PrintQueuePlan(
                name=key,
                server=server_name(declaration.member.short, name),
                site=printer.site,
                address=given(printer.address),
                model=printer.model,
                device_uri=f"socket://{printer.address}:9100",
            )


def _published(declaration: MemberDeclaration) -> Iterator[PublishedPlan]:
    for name, published in declaration.published.items():
        servers = with_partners(published.server, declaration)
        yield PublishedPlan(
            name=name,
            servers=tuple(server_name(declaration.member.short, key) for key in servers),
            port=published.port,
            health=published.health,
        )


def with_partners(server: str, declaration: MemberDeclaration) -> tuple[str, ...]:
    """The keys of the servers that do what ``server`` does: itself and those of its pair."""
    pair = declaration.servers[server].pair
    return tuple(
        key for key, other in declaration.servers.items() if key == server or (pair is not None and other.pair == pair)
    )


def _databases(declaration: MemberDeclaration) -> Iterator[DatabasePlan]:
    short = declaration.member.short
    for key, database in declaration.databases.items():
        primary, *standbys = (
            server_name(short, name) for name, server in declaration.servers.items() if server.pair == database.pair
        )
        yield DatabasePlan(
            name=key,
            pair=database.pair,
            owner=database.owner or key,
            primary=primary,
            standbys=tuple(standbys),
        )


def _workstations(
    declared: DeclaredMember,
    declaration: MemberDeclaration,
    platform: PlatformDeclaration,
    catalogue: Mapping[str, CatalogueEntry],
) -> Iterator[WorkstationPlan]:
    """The listed devices in the order of the list, then those whose names were made."""
    domain, addresses = declaration.member.dns_domain, declared.allocated.hosts
    dns_servers = {zone: resolvers(zone, declaration, platform) for zone in declaration.zones}
    applications = {
        (key, platform): with_requirements(of_workstation(declaration, profile, platform), catalogue, platform)
        for key, profile in declaration.profiles.items()
        for platform in get_args(DevicePlatform)
    }
    for row in (*declared.devices.rows, *_made(declared, declaration)):
        device_platform = cast(DevicePlatform, row.platform)
        zone = declaration.profiles[row.profile].zone
        cidr = given(declaration.zones[zone].cidr)
        yield WorkstationPlan(
            name=row.hostname,
            fqdn=f"{row.hostname}.{domain}",
            address=addresses[row.hostname],
            prefix_length=cidr.prefixlen,
            gateway=gateway_of(cidr),
            dns_servers=dns_servers[zone],
            zone=zone,
            site=row.site,
            department=row.department,
            profile=row.profile,
            applications=applications[row.profile, device_platform],
            platform=device_platform,
            wave=row.wave,
            serial=row.serial or None,
            mac=row.mac or None,
            replaces=row.replaces or None,
        )


def _made(declared: DeclaredMember, declaration: MemberDeclaration) -> Iterator[DeviceRow]:
    """The workstations of groups, under the names that were made for them."""
    for name, key in declared.allocated.workstations.items():
        group = declaration.workstations[key]
        yield DeviceRow(name, "", "", group.site, group.department, group.profile, group.platform, group.wave, "")
