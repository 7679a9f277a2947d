"""The plan: everything that is decided, as plain frozen data.

Provisioning, configuring, verifying and reporting read it and decide nothing more.
The same declarations give the same plan, byte for byte. Units stand in the names.
"""

from __future__ import annotations

from datetime import date, time
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.declaration.models import (
    AnyRole,
    AnyZone,
    BackupMedium,
    CentralRole,
    DevicePlatform,
    Location,
    MemberKind,
    Need,
    SectionKey,
    ServiceLevel,
    SharedRole,
    SharedZoneKey,
    ZoneKey,
)


class Planned(BaseModel):
    """Base of everything in a plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- the platform -------------------------------------------------------------------------


class TagCategoryPlan(Planned):
    """A tag category, its object types (vSphere API names) and the tags that the platform owns."""

    name: str
    description: str
    cardinality: Literal["SINGLE", "MULTIPLE"]
    associable_types: tuple[str, ...]
    tags: tuple[str, ...]


class RolePlan(Planned):
    """A vCenter role with exactly these privileges."""

    name: str
    privileges: tuple[str, ...]


class SectionPlan(Planned):
    """A fire section: its hypervisor hosts and the name of their host group."""

    key: SectionKey
    name: str
    host_group: str
    hosts: tuple[str, ...]


class ArrayPlan(Planned):
    """A storage array: where hosts mount its exports from, and the sections that hold a copy of its data."""

    name: str
    address: IPv4Address
    sections: tuple[SectionKey, ...]
    capacity_gib: int
    tiers: tuple[str, ...]

    @property
    def mirrored(self) -> bool:
        return len(self.sections) > 1


class LibraryPlan(Planned):
    """The data centre's own datastore, for templates."""

    name: str
    capacity_gib: int


class StorageTierPlan(Planned):
    """A storage tier; ``policy`` is the storage policy that selects datastores tagged with ``tag``."""

    key: str
    description: str
    policy: str
    tag: str
    arrays: tuple[str, ...]
    mirrored: bool
    encrypted: bool


class TemplatePlan(Planned):
    """A VM template."""

    key: str
    name: str
    guest_id: str
    disk_gib: int


class BaselinePlan(Planned):
    """What every machine gets."""

    ntp_servers: tuple[str, ...]
    upstream_time: tuple[str, ...]
    """Whom those of them ask that are the platform's own."""
    log_servers: tuple[IPv4Address, ...]
    """Where every machine sends its log: to each of them, so that each has all of it."""
    log_retention_days: int
    metrics_retention_days: int
    timezone: str
    screen_lock_minutes: int
    local_admins: tuple[LocalAdminPlan, ...]
    login_banner: str
    dns_forwarders: tuple[IPv4Address, ...]
    """Whom members' own name servers ask for all other names."""
    upstream_dns: tuple[IPv4Address, ...]


class LocalAdminPlan(Planned):
    """A support account on every machine."""

    name: str
    ssh_keys: tuple[str, ...]


class HypervisorPlan(Planned):
    """Size of each hypervisor host; they are all alike."""

    cpu_cores: int
    cpu_mhz: int
    memory_gib: int


class SharedZonePlan(Planned):
    """A network of the data centre's own machines."""

    key: SharedZoneKey
    title: str
    vlan: int
    cidr: IPv4Network
    gateway: IPv4Address


class CentralServerPlan(Planned):
    """One of the platform's own VMs, as those who use its service know it."""

    name: str
    fqdn: str
    address: IPv4Address
    section: SectionKey


class CentralServicePlan(Planned):
    """What the platform's own VMs do for all members; any of ``servers`` answers. ``title`` is German, for reports."""

    role: CentralRole
    title: str
    servers: tuple[CentralServerPlan, ...]


class LocalDiskPlan(Planned):
    """A disk of a machine that is no VM; ``unit_number`` counts from 1 behind the system disk."""

    unit_number: int
    label: str
    mount: str


class SharedServerPlan(Planned):
    """One of the data centre's own machines: physical, created by no stack, configured like any other."""

    name: str
    fqdn: str
    role: SharedRole
    zone: SharedZoneKey
    location: Location
    address: IPv4Address
    prefix_length: int
    gateway: IPv4Address
    disks: tuple[LocalDiskPlan, ...]
    directory: str | None = None
    ssh_host_key: str | None = None


class BackupRepositoryPlan(Planned):
    """Where backups are kept; ``server`` is a shared machine's host name."""

    key: str
    server: str
    location: Location
    path: str
    medium: BackupMedium
    append_only: bool


class BackupRetentionPlan(Planned):
    """How long backups are kept: all of them for ``all_days``, then the last of each hour, day, week, month."""

    all_days: int
    hourly: int
    daily: int
    weekly: int
    monthly: int


class BackupClassPlan(Planned):
    """How data are backed up. ``interval_minutes`` between backups is half the RPO: one may fail."""

    key: str
    title: str
    rpo_hours: int
    interval_minutes: int
    keep: BackupRetentionPlan
    restore_test_days: int


RestartPriority = Literal["lowest", "low", "medium", "high", "highest"]


class HighAvailabilityPlan(Planned):
    """HA of the cluster, in the words of the vSphere API (ClusterDasConfigInfo and what it refers to)."""

    reserved_percent: int
    """Of CPU and of memory, for failovers; never computed by vCenter from the number of hosts."""
    isolation_response: Literal["none", "powerOff", "shutdown"]
    pdl_response: Literal["disabled", "warning", "restartAggressive"]
    apd_response: Literal["disabled", "warning", "restartConservative"]
    restart_priority: RestartPriority
    ready_condition: Literal["none", "guestHbStatusGreen"]
    restart_timeout_seconds: int
    vm_monitoring: Literal["vmMonitoringDisabled", "vmMonitoringOnly"]


class ClusterPlan(Planned):
    """Settings of the cluster, which was there before the toolkit."""

    inventory_path: str
    """By which vCenter finds it; its ids differ from one vCenter to the next."""
    drs_migration_threshold: int
    high_availability: HighAvailabilityPlan


class ServiceLevelPlan(Planned):
    """What a service level promises: data of at most ``rpo_hours`` are lost, it runs again within ``rto_hours``."""

    level: ServiceLevel
    title: str
    rpo_hours: int
    rto_hours: int


class DirectoryPlan(Planned):
    """The one directory of all administrations: a domain that the data centre runs.

    Members of ``support_group`` administer members' workstations and servers.
    """

    domain: str
    netbios_name: str
    support_group: str


class PlatformPlan(Planned):
    """The shared data centre: what the platform stack creates and what members refer to."""

    key: str
    name: str
    operator: str
    responsible: str
    datacenter: str
    cluster: str
    cluster_settings: ClusterPlan
    switch: str
    uplinks: tuple[str, ...]
    sections: tuple[SectionPlan, ...]
    hypervisor: HypervisorPlan
    library: LibraryPlan
    arrays: tuple[ArrayPlan, ...]
    tiers: tuple[StorageTierPlan, ...]
    templates: tuple[TemplatePlan, ...]
    tag_categories: tuple[TagCategoryPlan, ...]
    roles: tuple[RolePlan, ...]
    baseline: BaselinePlan
    client_networks: tuple[IPv4Network, ...] = ()
    """Where whoever uses the central services is: the members' pools, and the data centre's own block."""
    dns_domain: str = ""
    """Of the data centre's own machines; empty if it declares none."""
    shared_zones: tuple[SharedZonePlan, ...] = ()
    shared_servers: tuple[SharedServerPlan, ...] = ()
    central_services: tuple[CentralServicePlan, ...] = ()
    backup_repositories: tuple[BackupRepositoryPlan, ...] = ()
    backup_classes: tuple[BackupClassPlan, ...] = ()
    services: tuple[ServicePlan, ...] = ()
    shared_networks: tuple[SharedNetworkPlan, ...] = ()
    service_levels: tuple[ServiceLevelPlan, ...] = ()
    directory: DirectoryPlan | None = None
    """None: no VM of the platform is a domain controller."""

    @property
    def section_of_host(self) -> dict[str, str]:
        """Host name → key of the fire section that it stands in."""
        return {host: section.key for section in self.sections for host in section.hosts}

    def shared_server(self, name: str) -> SharedServerPlan:
        """The shared machine of that host name. Raises KeyError if there is none."""
        return {server.name: server for server in self.shared_servers}[name]

    @property
    def all_central_servers(self) -> tuple[CentralServerPlan, ...]:
        """Every VM that gives a central service, once, however many services it gives."""
        return tuple(dict.fromkeys(server for service in self.central_services for server in service.servers))

    def central_servers(self, role: CentralRole) -> tuple[CentralServerPlan, ...]:
        """The platform's VMs that give the central service ``role``; none if it is not declared."""
        return next((service.servers for service in self.central_services if service.role == role), ())

    @property
    def resolver_addresses(self) -> tuple[IPv4Address, ...]:
        """Where the central resolvers answer."""
        return tuple(server.address for server in self.central_servers("resolver"))

    @property
    def controllers(self) -> tuple[CentralServerPlan, ...]:
        """The directory's domain controllers; the first founds the domain."""
        return self.central_servers("directory")

    @property
    def needs_certificates(self) -> bool:
        """Whether machines prove to central services who they are."""
        return bool(self.central_servers("log-collector") or self.central_servers("monitoring"))

    def backup_repository(self, key: str) -> BackupRepositoryPlan:
        """The backup repository of that key. Raises KeyError if there is none."""
        return {repository.key: repository for repository in self.backup_repositories}[key]

    def backup_class(self, key: str) -> BackupClassPlan:
        """The backup class of that key. Raises KeyError if there is none."""
        return {backup_class.key: backup_class for backup_class in self.backup_classes}[key]

    def rto_hours(self, level: ServiceLevel) -> int | None:
        """Within how many hours something of ``level`` runs again; None where nothing is promised."""
        return next((promised.rto_hours for promised in self.service_levels if promised.level == level), None)


# --- the member ---------------------------------------------------------------------------


ProbeKind = Literal["dns", "smb", "ipp", "postgresql", "http", "ssh"]
"""What is asked to see whether a service answers."""


class ItServicePlan(Planned):
    """Something that people rely on; it is there as long as one of ``servers`` answers."""

    key: str
    title: str
    probe: ProbeKind
    servers: tuple[str, ...]
    service_level: ServiceLevel
    rto_hours: int | None


class SitePlan(Planned):
    """A building of the member."""

    key: str
    name: str
    address: str


class ZonePlan(Planned):
    """A network zone and the port group that carries it."""

    key: AnyZone
    title: str
    port_group: str
    vlan: int
    cidr: IPv4Network
    gateway: IPv4Address
    routing_domain: str


class PortRangePlan(Planned):
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int


class FlowEndPlan(Planned):
    """One end of a rule: hosts or the whole of a zone, or networks outside the member (``zone`` is None)."""

    name: str
    zone: ZoneKey | None
    networks: tuple[IPv4Network, ...]


class FlowRulePlan(Planned):
    """Connections that may be opened from one end to the other; answers come with them.

    ``ports`` are the target's; none for icmp, of which only echo requests are meant. ``switched``: both
    ends lie in one zone, so no gateway is asked and no rule is needed.
    """

    source: FlowEndPlan
    target: FlowEndPlan
    protocol: Literal["tcp", "udp", "icmp"]
    ports: tuple[PortRangePlan, ...]
    switched: bool = False


def rule_ports(rule: FlowRulePlan) -> str:
    """Protocol and ports in words: ``tcp/80,443``, ``udp/1812-1813``, ``icmp/echo``."""
    if rule.protocol == "icmp":
        return "icmp/echo"
    ranges = (str(p.first) if p.first == p.last else f"{p.first}-{p.last}" for p in rule.ports)
    return f"{rule.protocol}/{','.join(ranges)}"


class FlowPlan(Planned):
    """Connections that were declared together, for one reason. What no flow opens is refused."""

    key: str
    reason: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    services: tuple[str, ...]
    rules: tuple[FlowRulePlan, ...]


class ServicePlan(Planned):
    """Ports under one name; ``title`` is German, for reports."""

    key: str
    title: str
    ports: tuple[str, ...]


class SharedNetworkPlan(Planned):
    """Something in the data centre that members reach; ``title`` is German, for reports."""

    key: str
    title: str
    networks: tuple[IPv4Network, ...]


class ResourcePoolPlan(Planned):
    """The member's resource pool and its upper limits."""

    name: str
    cpu_limit_mhz: int
    memory_limit_mib: int


class DatastorePlan(Planned):
    """One of the member's own datastores: an NFS export, mounted on every host of ``sections``.

    ``section`` is the fire section whose servers use it, ``need_gib`` what is declared to lie on it
    (with the VMs' swap files), ``size_gib`` the export's size, which is the member's quota.
    """

    name: str
    tier: str
    section: SectionKey
    cluster: str | None
    array: str
    remote_host: IPv4Address
    remote_path: str
    sections: tuple[SectionKey, ...]
    size_gib: int
    need_gib: int
    tags: dict[str, str]


class DatastoreClusterPlan(Planned):
    """The mirrored datastores of the member that one fire section prefers.

    Section-local datastores are in no cluster: storage DRS must never mix replicated and
    unreplicated ones. It only recommends (``automation``), since a disk's place is recorded.
    """

    name: str
    section: SectionKey
    datastores: tuple[str, ...]
    automation: Literal["manual"]
    tags: dict[str, str]


class DataDiskPlan(Planned):
    """A disk that outlives its VM: a VMDK of its own, attached to the VM.

    ``unit_number`` is the position on the VM's first SCSI controller; the system disk has 0.
    """

    name: str
    size_gib: int
    tier: str
    datastore: str
    vmdk: str
    unit_number: int
    mount: str
    label: str


class ServerPlan(Planned):
    """One VM.

    ``first_host`` is the hypervisor host that the VM is created on. Only a VM with storage
    in one section has one: rules can name a VM only once it exists, and until then DRS might
    choose a host that does not see its storage. Afterwards DRS may move it.
    """

    name: str
    fqdn: str
    role: AnyRole
    zone: AnyZone
    port_group: str
    address: IPv4Address
    prefix_length: int
    gateway: IPv4Address
    dns_servers: tuple[IPv4Address, ...]
    section: SectionKey
    first_host: str | None
    pair: str | None
    template: str
    cpus: int
    memory_mib: int
    system_disk_gib: int
    tier: str
    datastore: str
    disks: tuple[DataDiskPlan, ...]
    tags: dict[str, str]
    applications: tuple[str, ...]
    service_level: ServiceLevel = 3
    restart_priority: RestartPriority | None = None
    """Whose turn it is after a failure; None: as the cluster says."""
    platform: DevicePlatform = "linux"
    central_roles: tuple[CentralRole, ...] = ()
    """What one of the platform's own VMs does for all members; a member's server does nothing of that kind."""


class SectionPlacementPlan(Planned):
    """All VMs of the member that belong into one fire section: VM group plus VM-host rule."""

    section: SectionKey
    host_group: str
    vm_group: str
    rule: str
    servers: tuple[str, ...]


class PairPlan(Planned):
    """Servers that must not run on one host; their sections differ too."""

    key: str
    rule: str
    servers: tuple[str, ...]


class PermissionPlan(Planned):
    """A principal with a role on the member's folder or pool."""

    principal: str
    role: str
    is_group: bool
    propagate: bool


class SharePlan(Planned):
    """A network drive on a file server."""

    name: str
    server: str
    path: str
    groups: tuple[str, ...]
    comment: str


class PrintQueuePlan(Planned):
    """A print queue; ``device_uri`` is where the printer listens."""

    name: str
    server: str
    site: str
    address: IPv4Address
    model: str
    device_uri: str


class DatabasePlan(Planned):
    """A PostgreSQL database; ``primary`` accepts writes, ``standbys`` follow."""

    name: str
    pair: str
    owner: str
    primary: str
    standbys: tuple[str, ...]


class AccessSwitchPlan(Planned):
    """A switch that asks the RADIUS servers."""

    name: str
    site: str
    address: IPv4Address


class PublishedPlan(Planned):
    """A web application that the reverse proxies publish as ``https://<name>/`` from any of ``servers``.

    ``health``: the path that tells which of them is well.
    """

    name: str
    servers: tuple[str, ...]
    port: int
    health: str


class WorkstationPlan(Planned):
    """One workplace."""

    name: str
    fqdn: str
    address: IPv4Address
    prefix_length: int
    gateway: IPv4Address
    dns_servers: tuple[IPv4Address, ...]
    zone: ZoneKey
    site: str
    department: str
    profile: str
    applications: tuple[str, ...]
    platform: DevicePlatform = "linux"
    wave: str = ""
    serial: str | None = None
    mac: str | None = None
    replaces: str | None = None


class WindowPlan(Planned):
    """Hours of the day in which devices are switched over, in local time; over midnight if it ends before it begins."""

    begins: time
    ends: time


class WavePlan(Planned):
    """Devices that are switched over together; ``after`` names the waves that come first. Days may be open.

    The next wave begins only if at most ``max_failed_percent`` of those that were reached failed, and none of them
    lacks one of the ``blocking_applications``.
    """

    key: str
    title: str
    first_day: date | None
    last_day: date | None
    after: tuple[str, ...]
    max_failed_percent: int = 10
    blocking_applications: tuple[str, ...] = ()
    window: WindowPlan | None = None


class FreezePlan(Planned):
    """Days on which nothing is switched over; ``departments``: only in these, None: in all."""

    key: str
    first_day: date
    last_day: date
    reason: str
    departments: tuple[str, ...] | None = None


class ProtectionPlan(Planned):
    """How much protection the member's data need (Schutzbedarf)."""

    confidentiality: Need
    integrity: Need
    availability: Need


class WaiverPlan(Planned):
    """A declared exception from one policy rule, to the end of the day ``expires``; ``resource`` may be a pattern."""

    key: str
    rule: str
    resource: str
    reason: str
    owner: str
    granted: date
    expires: date


class LegacyNetworkPlan(Planned):
    """A network that the member brings along: ``nat`` is how the data centre sees it."""

    key: str
    cidr: IPv4Network
    nat: IPv4Network | None
    quarantine: bool


class ApplicationPlan(Planned):
    """An application that some machine of the member gets, with its Debian packages.

    ``in_browser``: people use it in a browser, at ``url`` where that is known. ``from_depot``: its Debian packages lie
    in the software depot; ``media``: the vendor's file there, where the catalogue names one. ``stand_in_on``: the
    platforms for which the depot has an empty stand-in only, since nobody has checked the media.
    """

    key: str
    product: str
    vendor: str
    domain: str
    packages: tuple[str, ...]
    uncertain: tuple[str, ...]
    in_browser: bool = False
    url: str | None = None
    requires: tuple[str, ...] = ()
    windows_package: str | None = None
    """Its package in the internal Chocolatey feed; None: nothing is installed for it on Windows."""
    from_depot: bool = False
    media: str | None = None
    stand_in_on: tuple[Literal["linux", "windows"], ...] = ()

    @property
    def shown(self) -> str:
        """What people read: the product's name, and where it is not the product (German: it appears in reports)."""
        if not self.stand_in_on:
            return self.product
        names = {"linux": "Linux", "windows": "Windows"}
        where = " und ".join(names[platform] for platform in self.stand_in_on)
        return f"{self.product} (unter {where} nur ein Platzhalter)"


class BackupPlan(Planned):
    """What of one server is backed up together: a data disk's files, or the databases that lie on it.

    ``copies`` are the keys of the repositories; none where the declaration says that nothing is backed up, for
    ``reason``. ``schedule`` is a systemd calendar expression in the data centre's time zone; ``quota_gib`` the
    server's room in each repository, all its disks together. ``covers`` names the shares or databases in it.
    """

    server: str
    name: str
    kind: Literal["files", "databases", "directory"]
    path: str
    size_gib: int
    backup_class: str | None
    reason: str
    copies: tuple[str, ...]
    schedule: str
    quota_gib: int
    covers: tuple[str, ...]


class DirectoryGroupPlan(Planned):
    """A group of a member's people; its members belong to ``member_of`` as well."""

    name: str
    description: str
    member_of: str | None = None


class DirectoryUnitPlan(Planned):
    """A member's part of the directory: its unit, its groups, and which of its machines log in there.

    ``people`` is the group of all who may log in at its machines, ``admins`` that of those who administer the accounts
    of its unit and nothing else. ``join_account`` joins its machines.
    """

    name: str
    people: str
    groups: tuple[DirectoryGroupPlan, ...]
    admins: str
    join_account: str
    machines: tuple[str, ...]


class MemberPlan(Planned):
    """Everything that is decided for one member, or for the data centre's own VMs (kind ``rechenzentrum``)."""

    key: str
    name: str
    kind: MemberKind | Literal["rechenzentrum"]
    short: str
    dns_domain: str
    responsible: str
    folder: str
    resource_pool: ResourcePoolPlan
    tags: dict[str, str]
    block: IPv4Network
    sites: tuple[SitePlan, ...]
    departments: dict[str, str]
    zones: tuple[ZonePlan, ...]
    datastores: tuple[DatastorePlan, ...]
    datastore_clusters: tuple[DatastoreClusterPlan, ...]
    servers: tuple[ServerPlan, ...]
    placements: tuple[SectionPlacementPlan, ...]
    pairs: tuple[PairPlan, ...]
    permissions: tuple[PermissionPlan, ...]
    shares: tuple[SharePlan, ...]
    print_queues: tuple[PrintQueuePlan, ...]
    databases: tuple[DatabasePlan, ...]
    workstations: tuple[WorkstationPlan, ...]
    applications: tuple[ApplicationPlan, ...]
    protection: ProtectionPlan | None = None
    waves: tuple[WavePlan, ...] = ()
    freezes: tuple[FreezePlan, ...] = ()
    waivers: tuple[WaiverPlan, ...] = ()
    legacy_networks: tuple[LegacyNetworkPlan, ...] = ()
    backups: tuple[BackupPlan, ...] = ()
    flows: tuple[FlowPlan, ...] = ()
    directory: DirectoryUnitPlan | None = None
    """None: the platform has no directory, or these are its own VMs."""
    published: tuple[PublishedPlan, ...] = ()
    switches: tuple[AccessSwitchPlan, ...] = ()

    def server(self, name: str) -> ServerPlan:
        """The server of that name. Raises KeyError if there is none."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)


class Plan(Planned):
    """A member on the platform: the one thing that all later stages read."""

    platform: PlatformPlan
    member: MemberPlan
