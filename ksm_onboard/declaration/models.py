"""What people may write: the member's declaration, the platform's, and the catalogue.

Every model refuses unknown keys. Units stand in the names (``memory_gib``, ``size_gib``).
Nothing is decided here; planning does that.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
"""A short name for references: lower-case letters, digits and single hyphens."""

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=15)]
"""A host's name: lower case, at most 15 characters (the NetBIOS limit)."""

_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
DnsDomain = Annotated[str, StringConstraints(pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})+$")]
UnixName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$")]

MemberKind = Literal[
    "landkreis", "landeshauptstadt", "stadt", "amt", "stadtwerke", "wohnungsgesellschaft", "zoo", "schule"
]
ServerRole = Literal["dns", "file", "print", "database", "application"]
SectionKey = Literal["A", "B"]
ZoneKey = Literal[
    "clients",
    "laptops",
    "application",
    "database",
    "infrastructure",
    "printers",
    "voip",
    "building",
    "dmz",
    "guest",
    "management",
    "backup",
    "admin",
    "school-administration",
    "school-pedagogic",
    "school-tablets",
    "school-byod",
    "quarantine",
    "ot-handover",
]


class Declared(BaseModel):
    """Base of everything people write: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


# --- the member ---------------------------------------------------------------------------


class Member(Declared):
    """Who the member is."""

    key: Key = Field(description="short name; also the name of the stack and of the file")
    name: str = Field(min_length=2, description="official name, for example 'Stadt Grabow'")
    kind: MemberKind
    short: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}$")] = Field(
        description="prefix of host names, two to four letters"
    )
    dns_domain: DnsDomain
    responsible: str = Field(min_length=2, description="who signs the hand-over for the member")


class Site(Declared):
    """A building where people of the member work."""

    name: str = Field(min_length=2)
    address: str = Field(min_length=2)


class Zone(Declared):
    """One network zone of the member, with a VLAN of its own."""

    cidr: IPv4Network = Field(description="the zone's network; must lie in the member's block")


class Networks(Declared):
    """The member's address block and its zones."""

    block: IPv4Network
    vlan_base: StrictInt = Field(ge=100, le=3000, description="VLAN of a zone = this base + the zone's offset")
    zones: dict[ZoneKey, Zone] = Field(min_length=1)


class Compute(Declared):
    """Upper limits of the member's resource pool."""

    cpu_ghz: StrictInt = Field(ge=1, le=10_000)
    memory_gib: StrictInt = Field(ge=1, le=100_000)


class DataDisk(Declared):
    """A disk that outlives its VM."""

    name: Key
    size_gib: StrictInt = Field(ge=1, le=64_000)
    tier: Key = Field(description="storage tier of the platform, for example gold-mirrored")
    mount: AbsolutePath = Field(description="where the disk is mounted, for example /srv/data")


class Server(Declared):
    """One virtual machine of the member."""

    name: HostName
    role: ServerRole
    zone: ZoneKey
    address: IPv4Address
    pair: Key | None = Field(default=None, description="servers of one pair never share a fire section")
    section: SectionKey | None = Field(default=None, description="fire section; left out: decided by the plan")
    template: Key = "debian-12"
    cpus: StrictInt = Field(ge=1, le=64)
    memory_gib: StrictInt = Field(ge=1, le=1024)
    tier: Key = Field(description="storage tier of the system disk")
    disks: tuple[DataDisk, ...] = ()
    applications: tuple[Key, ...] = ()


class Share(Declared):
    """A network drive."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
    server: HostName
    path: AbsolutePath
    groups: tuple[UnixName, ...] = Field(min_length=1, description="groups that may read and write")
    comment: str = ""


class PrintQueue(Declared):
    """A printer and the queue that serves it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
    server: HostName
    site: Key
    address: IPv4Address
    model: str = Field(min_length=2)


class Database(Declared):
    """A PostgreSQL database on a pair of database servers."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    pair: Key
    owner: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Department(Declared):
    """A department that has workstations."""

    name: str = Field(min_length=2)


class Profile(Declared):
    """What a kind of workplace needs on top of the member's baseline."""

    applications: tuple[Key, ...] = ()


class WorkstationGroup(Declared):
    """Workstations of one department at one site with one profile."""

    department: Key
    site: Key
    profile: Key
    count: StrictInt = Field(ge=1, le=2000)
    zone: ZoneKey = "clients"


class MemberDeclaration(Declared):
    """Everything the toolkit needs to know about one member."""

    member: Member
    sites: dict[Key, Site] = Field(min_length=1)
    networks: Networks
    compute: Compute
    servers: tuple[Server, ...] = Field(min_length=1)
    shares: tuple[Share, ...] = ()
    printers: tuple[PrintQueue, ...] = ()
    databases: tuple[Database, ...] = ()
    applications: tuple[Key, ...] = Field(default=(), description="applications of every workstation of the member")
    profiles: dict[Key, Profile] = Field(default_factory=dict)
    departments: dict[Key, Department] = Field(default_factory=dict)
    workstations: tuple[WorkstationGroup, ...] = ()


# --- the platform -------------------------------------------------------------------------


class PlatformIdentity(Declared):
    """Who runs the data centre."""

    key: Key
    name: str = Field(min_length=2)
    operator: str = Field(min_length=2)
    responsible: str = Field(min_length=2, description="who signs the hand-over for the data centre")


class Switch(Declared):
    """The distributed switch that all members' port groups hang on."""

    name: str
    uplinks: tuple[str, ...] = Field(min_length=1)


class VCenterLayout(Declared):
    """Names of what stands in the vCenter before the first member comes."""

    datacenter: str
    cluster: str
    switch: Switch
    principal_domain: str = Field(description="domain of the vCenter groups that members' permissions name")


class FireSection(Declared):
    """A fire section (Brandabschnitt) and its hypervisor hosts."""

    name: str
    hosts: tuple[str, ...] = Field(min_length=1)


class HypervisorSize(Declared):
    """Size of every hypervisor host (they are all alike)."""

    cpu_cores: StrictInt = Field(ge=1)
    cpu_mhz: StrictInt = Field(ge=100)
    memory_gib: StrictInt = Field(ge=1)


class Datastore(Declared):
    """A datastore; mirrored if it is in more than one section."""

    sections: tuple[SectionKey, ...] = Field(min_length=1)
    capacity_gib: StrictInt = Field(ge=1)


class StorageTier(Declared):
    """A class of storage that declarations refer to; becomes a storage policy."""

    description: str
    datastores: tuple[str, ...] = Field(min_length=1)


class Template(Declared):
    """A VM template in the vCenter's content."""

    name: str
    guest_id: str = Field(description="vSphere guest id; must equal that of the template")
    disk_gib: StrictInt = Field(ge=1)


class SupportAccount(Declared):
    """A local administrator that every machine has, next to the toolkit's own account."""

    name: UnixName
    ssh_keys: tuple[str, ...] = ()


class Baseline(Declared):
    """What every machine gets, whoever the member is."""

    ntp_servers: tuple[str, ...] = Field(min_length=1)
    log_servers: tuple[str, ...] = ()
    timezone: str = "Europe/Berlin"
    screen_lock_minutes: StrictInt = Field(
        ge=1, le=60, description="BSI SYS.2.1.A1 wants a lock; minutes are KSM's choice"
    )
    local_admins: tuple[SupportAccount, ...] = ()
    login_banner: str
    dns_forwarders: tuple[IPv4Address, ...] = ()


class PlatformDeclaration(Declared):
    """The shared data centre."""

    platform: PlatformIdentity
    vcenter: VCenterLayout
    sections: dict[SectionKey, FireSection] = Field(min_length=2)
    hypervisor: HypervisorSize
    datastores: dict[str, Datastore] = Field(min_length=1)
    storage_tiers: dict[Key, StorageTier] = Field(min_length=1)
    templates: dict[Key, Template] = Field(min_length=1)
    baseline: Baseline
