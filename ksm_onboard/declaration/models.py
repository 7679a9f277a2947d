"""What people may write: the member's declaration, the platform's, and the catalogue.

Every model refuses unknown keys. Units stand in the names (``memory_gib``, ``size_gib``).
Nothing is decided here; planning does that. What a model requires may come from any layer
(see docs/reference/merging.md): the models describe the declaration that is in force.
"""

from __future__ import annotations

import re
from datetime import date
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, LiteralString

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

KEY_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=40)]
"""A short name for references: lower-case letters, digits and single hyphens."""

HOST_NAME_LENGTH = 15
HOST_NAME_PATTERN = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
HostName = Annotated[str, StringConstraints(pattern=HOST_NAME_PATTERN, max_length=HOST_NAME_LENGTH)]
"""A host's name: lower case, at most 15 characters (the NetBIOS limit)."""

ServerKey = Annotated[str, StringConstraints(pattern=HOST_NAME_PATTERN, max_length=12)]
"""A server's name within the member; its host name is ``<short>-<key>``."""

_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
DNS_DOMAIN_PATTERN = rf"^{_DNS_LABEL}(\.{_DNS_LABEL})+$"
DnsDomain = Annotated[str, StringConstraints(pattern=DNS_DOMAIN_PATTERN)]
UNIX_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,30}$"
UnixName = Annotated[str, StringConstraints(pattern=UNIX_NAME_PATTERN)]
DATABASE_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,30}$"
DatabaseName = Annotated[str, StringConstraints(pattern=DATABASE_NAME_PATTERN)]
PATH_PATTERN = r"^(/\.{0,2}[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"
AbsolutePath = Annotated[str, StringConstraints(pattern=PATH_PATTERN)]
SshHostKey = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/]+=*$")]
SHORT_PATTERN = r"^[a-z]{2,4}$"
TEXT_PATTERN = r"^\S([\s\S]*\S)?$"
Text = Annotated[str, StringConstraints(min_length=2, pattern=TEXT_PATTERN)]
"""What people read. Blanks around it are a slip, which only quotation marks let in."""

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
ADDRESS_PATTERN = rf"^{_OCTET}(\.{_OCTET}){{3}}$"
NETWORK_PATTERN = rf"^{_OCTET}(\.{_OCTET}){{3}}/(3[0-2]|[12]?[0-9])$"
DAY_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"

WebAddress = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/?=&#%-]*)?$")]
"""Where an application is reached in a browser; nothing is offered unencrypted."""

WEB_PATH_PATTERN = r"^/[A-Za-z0-9._~/-]*$"
WebPath = Annotated[str, StringConstraints(pattern=WEB_PATH_PATTERN, max_length=100)]


def _written(pattern: str, error: LiteralString, message: LiteralString) -> BeforeValidator:
    """One way to write a value: libraries take more (5 for 0.0.0.5, 0 for a day of 1970), which nobody means."""
    form = re.compile(pattern)

    def checked(value: object) -> object:
        if isinstance(value, str) and not form.fullmatch(value):
            raise PydanticCustomError(error, message)
        if isinstance(value, bool | int | float):
            raise PydanticCustomError("wrong_type", message)
        return value

    return BeforeValidator(checked)


Address = Annotated[
    IPv4Address, _written(ADDRESS_PATTERN, "ip_v4_address", "an address is written out, for example 10.64.12.11")
]
Network = Annotated[
    IPv4Network,
    _written(NETWORK_PATTERN, "ip_v4_network", "a network is written as address/prefix, for example 10.64.12.0/24"),
]
Day = Annotated[date, _written(DAY_PATTERN, "not_a_day", "a day is written as year-month-day, for example 2027-03-01")]

DAY_TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
DayTime = Annotated[str, StringConstraints(pattern=DAY_TIME_PATTERN)]

FlowEnd = Annotated[
    str,
    StringConstraints(
        pattern=r"^(((role|server|pair|legacy|data-centre):)?[a-z0-9]+(-[a-z0-9]+)*"
        r"|member:[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*)$",
        max_length=60,
    ),
]
"""One end of a flow: a zone, ``servers``, ``role:``, ``server:``, ``pair:``, ``legacy:``, ``data-centre:``,
``member:<key>/<zone>``, ``internet`` or ``federal``."""

ServicePort = Annotated[
    str, StringConstraints(pattern=r"^((tcp|udp)/[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?|icmp/echo)$", max_length=15)
]
"""Protocol and port, for example tcp/443 or udp/1812-1813; icmp/echo is ping."""

Reason = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9ÄÖÜäöüß][^\"\\\u0000-\u001f]*$", min_length=5, max_length=90),
]
"""Begins with a letter or digit and has no quotes: it becomes a comment of firewall rules and a cell of tables."""

SERIAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9./_-]{1,39}$"
MAC_PATTERN = r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"
OLD_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SERVICE_LEVEL_PATTERN = "^[1-4]$"

PATTERNS_IN_WORDS = {
    KEY_PATTERN: "lower-case letters, digits and single hyphens",
    HOST_NAME_PATTERN: "lower-case letters, digits and hyphens, a letter first",
    DNS_DOMAIN_PATTERN: "a domain in lower case with at least two parts, for example grabow.internal",
    UNIX_NAME_PATTERN: "lower-case letters, digits, hyphens and underscores, a letter first, at most 31 characters",
    DATABASE_NAME_PATTERN: "lower-case letters, digits and underscores, a letter first, at most 31 characters",
    PATH_PATTERN: "a path from the root without .. and without a slash at its end, for example /srv/data",
    SHORT_PATTERN: "two to four lower-case letters",
    SERIAL_PATTERN: "letters, digits and . / _ -, 2 to 40 characters",
    DAY_TIME_PATTERN: 'hours and minutes between quotes, for example "18:00"',
    MAC_PATTERN: "six pairs of hexadecimal digits, for example 02:4b:53:00:00:01",
    OLD_NAME_PATTERN: "the old device's name: letters, digits and . _ -, at most 63 characters",
    SERVICE_LEVEL_PATTERN: "1, 2, 3 or 4",
    WEB_PATH_PATTERN: "a path that begins with a slash: letters, digits and . _ ~ / -",
    TEXT_PATTERN: "text that neither begins nor ends with a blank",
}
"""What each pattern means, for messages."""

MemberKind = Literal[
    "landkreis", "landeshauptstadt", "stadt", "amt", "stadtwerke", "wohnungsgesellschaft", "zoo", "schule"
]
ServerRole = Literal["dns", "file", "print", "database", "application"]
SectionKey = Literal["A", "B"]


def _not_a_truth_value(value: object) -> object:
    """``true`` would be taken for 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("wrong_type", "a level from 1 to 4 is expected here")
    return value


ServiceLevel = Literal[1, 2, 3, 4]
DeclaredLevel = Annotated[ServiceLevel, BeforeValidator(_not_a_truth_value)]
Need = Literal["normal", "high", "very-high"]
DevicePlatform = Literal["linux", "windows", "tablet"]
SharedRole = Literal["backup"]
CentralRole = Literal[
    "resolver", "time", "directory", "depot", "log-collector", "monitoring", "reverse-proxy", "radius"
]
"""What the platform's own VMs do for all members; each role is configured by an Ansible role of that kind."""
AnyRole = ServerRole | CentralRole
Location = Literal["A", "B", "outside"]
BackupPlace = Literal["own-section", "other-section", "outside"]
BackupMedium = Literal["array", "disk", "object", "tape"]
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
SharedZoneKey = Literal["core", "edge", "backup"]
"""Networks of the data centre's own: central services, what faces the internet, backups."""
AnyZone = ZoneKey | SharedZoneKey


class Declared(BaseModel):
    """Base of everything people write: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- the member ---------------------------------------------------------------------------


class Member(Declared):
    """Who the member is."""

    key: Key = Field(description="short name; also the name of the stack and of the file")
    name: Text = Field(description="official name, for example 'Stadt Grabow'")
    kind: MemberKind = Field(description="decides the archetype that the declaration starts from")
    short: Annotated[str, StringConstraints(pattern=SHORT_PATTERN)] = Field(
        description="prefix of host names, two to four letters"
    )
    dns_domain: DnsDomain = Field(description="domain of all the member's hosts, for example grabow.internal")
    responsible: Text = Field(description="who signs the hand-over for the member")


class Protection(Declared):
    """How much protection the member's data need (Schutzbedarf, BSI-Standard 200-2, 8.2)."""

    confidentiality: Need = Field(description="harm if others read the data")
    integrity: Need = Field(description="harm if the data are wrong")
    availability: Need = Field(description="harm if the data are not there")


class Site(Declared):
    """A building where people of the member work."""

    name: Text = Field(description="what people call it, for example Rathaus")
    address: Text = Field(description="street, postal code and town")


class Department(Declared):
    """A department that has workstations."""

    name: Text = Field(description="official name, for example Kämmerei")


class LegacyNetwork(Declared):
    """A network that the member brings along and that stays reachable during the take-over."""

    cidr: Network = Field(description="the network as it is today")
    nat: Network | None = Field(
        default=None, description="addresses under which the data centre sees it; as many as the network has"
    )
    quarantine: StrictBool = Field(
        default=False, description="true: reachable from the zone quarantine only, without a route to anywhere else"
    )


class Networks(Declared):
    """Where the member's address block comes from."""

    pool: Key = Field(description="the platform's pool that the block is allocated from")
    block: Network | None = Field(default=None, description="the member's block; left out: allocated")
    vlan_base: StrictInt | None = Field(
        default=None, ge=1, le=4000, description="VLAN of a zone = this base + the zone's offset; left out: allocated"
    )
    legacy: dict[Key, LegacyNetwork] = Field(default_factory=dict, description="networks that the member brings along")


class Zone(Declared):
    """One network zone of the member, with a VLAN of its own."""

    prefix: StrictInt | None = Field(
        default=None, ge=8, le=29, description="size as prefix length: 24 is 253 hosts, 23 is 509"
    )
    cidr: Network | None = Field(
        default=None, description="the zone's network, in the member's block; left out: allocated"
    )
    vlan: StrictInt | None = Field(default=None, ge=2, le=4094, description="left out: allocated")
    routing_domain: Key | None = Field(
        default=None,
        description="zones of one routing domain can reach each other through the member's firewall; "
        "left out: by the kind of zone",
    )


class Flow(Declared):
    """Connections that may be opened from some places to others. What no flow opens is refused."""

    sources: tuple[FlowEnd, ...] = Field(
        min_length=1,
        description="who opens connections: zones (clients), servers (all of them), role:file, server:app01, "
        "pair:database, legacy:altnetz, data-centre:admin, member:grabow/clients, internet",
    )
    targets: tuple[FlowEnd, ...] = Field(
        min_length=1, description="to whom: the same, and federal for registers of the federation (KBA, AZR, NWR)"
    )
    services: tuple[Key, ...] = Field(min_length=1, description="the platform's services, for example smb")
    reason: Reason = Field(description="what it is for; comment of the firewall's rules, shown in the hand-over")


class Compute(Declared):
    """Upper limits of the member's resource pool."""

    cpu_ghz: StrictInt = Field(
        ge=1, le=10_000, description="processor time of all the member's servers together, in GHz"
    )
    memory_gib: StrictInt = Field(ge=1, le=100_000, description="memory of all the member's servers together, in GiB")


class Storage(Declared):
    """The size of the member's datastores."""

    growth_percent: StrictInt = Field(
        default=25, ge=0, le=300, description="room beyond what is declared, when a datastore is sized or grows"
    )


class DataDisk(Declared):
    """A disk that outlives its VM."""

    size_gib: StrictInt = Field(ge=1, le=64_000, description="size in GiB; can grow later, never shrink")
    tier: Key = Field(description="storage tier of the platform, for example gold-mirrored")
    mount: AbsolutePath = Field(description="where the disk is mounted, for example /srv/data")
    backup: Key | None = Field(
        default=None, description="backup class of the platform; none: not backed up; left out: by the service level"
    )
    backup_reason: str = Field(default="", description="with backup none: why its data may be lost")


class Server(Declared):
    """One virtual machine of the member, or several alike."""

    role: ServerRole = Field(description="what it does; decides how it is configured")
    zone: ZoneKey = Field(description="the network zone that it stands in")
    count: StrictInt | None = Field(
        default=None, ge=1, le=99, description="so many alike, numbered: dns with count 2 is dns01 and dns02"
    )
    address: Address | None = Field(default=None, description="left out: allocated")
    pair: Key | None = Field(default=None, description="servers of one pair never share a fire section")
    section: SectionKey | None = Field(default=None, description="fire section; left out: decided by the plan")
    template: Key = Field(description="VM template of the platform")
    cpus: StrictInt = Field(ge=1, le=64, description="virtual processors")
    memory_gib: StrictInt = Field(ge=1, le=1024, description="memory in GiB")
    tier: Key = Field(description="storage tier of the system disk")
    service_level: DeclaredLevel = Field(
        description="how soon it must run again: 1 identity and network, 2 citizens and finance, 3 standard, 4 archive"
    )
    disks: dict[Key, DataDisk] = Field(default_factory=dict, description="data disks by name; they outlive the VM")
    applications: tuple[Key, ...] = Field(default=(), description="catalogue keys of what runs on it")


class Share(Declared):
    """A network drive."""

    server: ServerKey = Field(description="the file server, by its key")
    path: AbsolutePath | None = Field(
        default=None, description="left out: a folder named after the share on the server's first data disk"
    )
    groups: tuple[UnixName, ...] | None = Field(
        default=None, min_length=1, description="groups that may read and write; left out: one named after the share"
    )
    comment: str = Field(default="", description="what people see next to the drive's name")


class PrintQueue(Declared):
    """A printer and the queue that serves it."""

    server: ServerKey = Field(description="the print server, by its key; its partners serve the queue, too")
    site: Key = Field(description="where the printer stands, by the site's key")
    address: Address | None = Field(default=None, description="left out: allocated")
    model: Text = Field(description="maker and model, for example Kyocera ECOSYS P3260dn")


class Database(Declared):
    """A PostgreSQL database on a pair of database servers."""

    pair: Key = Field(description="the pair of database servers that it runs on")
    owner: DatabaseName | None = Field(default=None, description="left out: a role named after the database")


class AccessSwitch(Declared):
    """A switch at a site that asks the data centre's RADIUS servers which device belongs into which network."""

    site: Key = Field(description="where it stands, by the site's key")
    address: Address = Field(description="its address in the zone management, as it is set on the switch")


class Published(Declared):
    """A web application that the data centre's reverse proxies publish, under the name that is its key."""

    server: ServerKey = Field(description="the application server, by its key; its partners serve it, too")
    port: StrictInt = Field(default=80, ge=1, le=65535, description="where it listens on the server, for HTTP")
    health: WebPath = Field(default="/", description="path that a healthy server answers with a status from 200 to 399")


class Profile(Declared):
    """What a kind of workplace needs on top of the member's baseline."""

    zone: ZoneKey = Field(description="the network zone that its workstations belong into")
    applications: tuple[Key, ...] = Field(
        default=(), description="catalogue keys of what such a workplace needs on top of the member's applications"
    )
    applications_on: dict[DevicePlatform, tuple[Key, ...]] = Field(
        default_factory=dict, description="the same, on devices of one platform only: windows: [archikart]"
    )
    extra_applications: tuple[Key, ...] = Field(default=(), description="on top of the profile's applications")
    without_applications: tuple[Key, ...] = Field(default=(), description="never on workstations of this profile")


class Window(Declared):
    """Hours of the day in which workplaces may be switched over, in local time."""

    begins: DayTime = Field(description='for example "18:00"')
    ends: DayTime = Field(description='for example "06:00": before it begins means the next morning')


class Wave(Declared):
    """A group of devices that are switched over together."""

    title: str = Field(default="", description="what people call it, for example Kämmerei und Kasse")
    first_day: Day | None = Field(default=None, description="for example 2027-03-01; left out: not fixed yet")
    last_day: Day | None = Field(default=None, description="last day of the switch-over, included")
    after: tuple[Key, ...] = Field(default=(), description="waves that must be finished before this one begins")
    max_failed_percent: StrictInt = Field(
        default=10, ge=0, le=100, description="more failed workplaces than that keep the next wave from beginning"
    )
    blocking_applications: tuple[Key, ...] = Field(
        default=(), description="applications that no workplace may lack before the next wave begins"
    )
    window: Window | None = Field(default=None, description="hours in which it may run; left out: at any time")


class Freeze(Declared):
    """Days on which nothing is switched over: elections, year-end closing."""

    first_day: Day = Field(description="first day without switch-overs, for example 2026-12-14")
    last_day: Day = Field(description="last day without switch-overs, included")
    reason: Text = Field(description="for example Jahresabschluss")
    departments: tuple[Key, ...] | None = Field(
        default=None, description="only these departments keep still, for example kaemmerei; left out: all of them"
    )


class Waiver(Declared):
    """An exception from one policy rule, for a while."""

    rule: Key = Field(description="the policy rule's id, for example alike-apart (docs/reference/policies.md)")
    resource: str = Field(
        min_length=1, max_length=80, description="name of the resource, or a pattern: gra-print01, gra-print*"
    )
    reason: str = Field(min_length=10, description="why it has to be so, and what is done instead")
    owner: str = Field(min_length=2, description="who answers for it, by office")
    granted: Day = Field(description="the day on which it was granted, for example 2026-11-23")
    expires: Day = Field(description="the last day on which it holds, at most one year after it was granted")


class WorkstationGroup(Declared):
    """Workstations that are not known one by one yet: their names are made and kept by the allocation."""

    department: Key = Field(description="the department's key")
    site: Key = Field(description="the site's key")
    profile: Key = Field(description="the workstation profile's key")
    count: StrictInt = Field(ge=1, le=2000, description="how many")
    platform: DevicePlatform = Field(description="linux, windows or tablet")
    wave: Key = Field(description="the wave in which they are switched over")


class Device(Declared):
    """One workstation; the same columns as in the device list beside the declaration."""

    hostname: HostName = Field(description="the new host name, at most 15 characters")
    serial: Annotated[str, StringConstraints(pattern=SERIAL_PATTERN)] | None = Field(
        default=None, description="the maker's serial number"
    )
    mac: Annotated[str, StringConstraints(pattern=MAC_PATTERN)] | None = Field(
        default=None, description="network address, for example 02:4b:53:00:00:01"
    )
    site: Key = Field(description="the site's key")
    department: Key = Field(description="the department's key")
    profile: Key = Field(description="the workstation profile's key")
    platform: DevicePlatform = Field(description="linux, windows or tablet")
    wave: Key = Field(description="the wave in which it is switched over")
    replaces: Annotated[str, StringConstraints(pattern=OLD_NAME_PATTERN)] | None = Field(
        default=None, description="name of the device that it takes the place of"
    )


class MemberDeclaration(Declared):
    """Everything the toolkit needs to know about one member."""

    member: Member = Field(description="who the member is")
    protection: Protection = Field(description="how much protection its data need")
    sites: dict[Key, Site] = Field(min_length=1, description="buildings where people work, by key")
    departments: dict[Key, Department] = Field(
        default_factory=dict, description="departments that have workstations, by key"
    )
    networks: Networks = Field(description="where its address block comes from, and what it brings along")
    zones: dict[ZoneKey, Zone] = Field(min_length=1, description="network zones, by name")
    flows: dict[Key, Flow] = Field(
        default_factory=dict, description="connections between zones and to places outside; all others are refused"
    )
    compute: Compute = Field(description="upper limits for all its servers together")
    storage: Storage = Field(default=Storage(), description="the size of its datastores")
    servers: dict[ServerKey, Server] = Field(
        min_length=1, description="virtual machines, by key; the host name is <short>-<key>"
    )
    shares: dict[UnixName, Share] = Field(default_factory=dict, description="network drives, by name")
    printers: dict[UnixName, PrintQueue] = Field(default_factory=dict, description="print queues, by name")
    databases: dict[DatabaseName, Database] = Field(default_factory=dict, description="PostgreSQL databases, by name")
    switches: dict[Key, AccessSwitch] = Field(
        default_factory=dict, description="switches that ask who may be connected (802.1X), by key"
    )
    published: dict[DnsDomain, Published] = Field(
        default_factory=dict, description="web applications that the reverse proxies publish, by full name"
    )
    applications: tuple[Key, ...] = Field(default=(), description="applications of every workstation of the member")
    applications_on: dict[DevicePlatform, tuple[Key, ...]] = Field(
        default_factory=dict, description="the same, on devices of one platform only: linux: [sssd]"
    )
    extra_applications: tuple[Key, ...] = Field(default=(), description="on top of those that come from the archetype")
    without_applications: tuple[Key, ...] = Field(default=(), description="on no workstation of the member")
    web_addresses: dict[Key, WebAddress] = Field(
        default_factory=dict, description="where the member reaches an application in the browser, by catalogue key"
    )
    profiles: dict[Key, Profile] = Field(default_factory=dict, description="kinds of workplaces, by key")
    waves: dict[Key, Wave] = Field(
        default_factory=dict, description="groups of devices that are switched over together, by key"
    )
    freezes: dict[Key, Freeze] = Field(
        default_factory=dict, description="days on which nothing is switched over, by key"
    )
    waivers: dict[Key, Waiver] = Field(
        default_factory=dict, description="exceptions from policy rules, by a key of their own"
    )
    devices: tuple[Device, ...] = Field(default=(), description="only where no list <member>.devices.csv lies beside")
    workstations: dict[Key, WorkstationGroup] = Field(
        default_factory=dict, description="groups of workstations that are not known one by one yet"
    )


# --- the platform -------------------------------------------------------------------------


class PlatformIdentity(Declared):
    """Who runs the data centre."""

    key: Key = Field(description="short name; also the name of the stack and of the file")
    name: Text = Field(description="official name of the data centre")
    operator: Text = Field(description="who runs it")
    responsible: Text = Field(description="who signs the hand-over for the data centre")


class Switch(Declared):
    """The distributed switch that all members' port groups hang on."""

    name: str = Field(description="name in the vCenter")
    uplinks: tuple[str, ...] = Field(min_length=1, description="names of its uplinks")


class Library(Declared):
    """The data centre's own datastore. No member's disk ever lies there."""

    name: str = Field(description="name in the vCenter")
    capacity_gib: StrictInt = Field(ge=1, description="usable size in GiB")


class VCenterLayout(Declared):
    """Names of what stands in the vCenter before the first member comes."""

    datacenter: str = Field(description="name of the datacenter")
    cluster: str = Field(description="name of the cluster that all members share")
    switch: Switch = Field(description="the distributed switch")
    library: Library = Field(description="the datastore that the templates lie on")
    principal_domain: str = Field(description="domain of the vCenter groups that members' permissions name")


class FireSection(Declared):
    """A fire section (Brandabschnitt) and its hypervisor hosts."""

    name: str = Field(description="what people call it")
    hosts: tuple[str, ...] = Field(min_length=1, description="names of its hypervisor hosts in the vCenter")


class HypervisorSize(Declared):
    """Size of every hypervisor host (they are all alike)."""

    cpu_cores: StrictInt = Field(ge=1, description="physical cores of one host")
    cpu_mhz: StrictInt = Field(ge=100, description="clock of one core in MHz")
    memory_gib: StrictInt = Field(ge=1, description="memory of one host in GiB")


class StorageArray(Declared):
    """A storage array that exports NFS to the hosts; mirrored if it stands in more than one section."""

    address: Address = Field(description="where the hypervisor hosts mount its exports from")
    root: AbsolutePath = Field(default="/ksm", description="path below which it exports, one folder per member")
    sections: tuple[SectionKey, ...] = Field(
        min_length=1, description="fire sections that hold a copy of its data; two: mirrored"
    )
    capacity_gib: StrictInt = Field(ge=1, description="usable size in GiB; a mirrored array has it in each section")
    tiers: tuple[Key, ...] = Field(min_length=1, description="storage tiers that it serves")


class HighAvailability(Declared):
    """What vSphere HA does when hosts, storage or guests fail. It is always on, and monitors hosts."""

    reserved_percent: StrictInt = Field(
        default=50,
        ge=1,
        le=90,
        description="share of the cluster's CPU and memory that is kept free for restarts, in percent;"
        " at least that of the largest fire section",
    )
    isolation_response: Literal["none", "power-off", "shutdown"] = Field(
        default="power-off", description="what a host does with its VMs once it has lost its network"
    )
    storage_loss: Literal["ignore", "warn", "restart"] = Field(
        default="restart", description="what happens to VMs whose storage is gone on their host"
    )
    restart_priority: Literal["lowest", "low", "medium", "high", "highest"] = Field(
        default="medium", description="whose turn it is after a failure, for VMs that have no priority of their own"
    )
    next_priority_when: Literal["at-once", "guests-run"] = Field(
        default="guests-run", description="when it is the next priority's turn"
    )
    restart_timeout_seconds: StrictInt = Field(
        default=600, ge=60, le=3600, description="how long the next priority waits at most, in seconds"
    )
    guest_monitoring: StrictBool = Field(
        default=True, description="whether a VM is restarted when its guest gives no sign of life any more"
    )


class LoadBalancing(Declared):
    """How DRS spreads VMs. It is always fully automated: otherwise nothing brings VMs back to their fire section."""

    migration_threshold: StrictInt = Field(
        default=3, ge=1, le=5, description="from which benefit on VMs are moved: 1 only for rules, 5 for any"
    )


class Reserves(Declared):
    """How full the cluster may be planned while one fire section is lost."""

    vcpus_per_core: StrictInt = Field(
        default=6, ge=1, le=20, description="virtual processors per core of the hosts that are left"
    )
    memory_percent: StrictInt = Field(
        default=5, ge=0, le=90, description="memory of the hosts that are left that stays free, for the hypervisor"
    )
    array_percent: StrictInt = Field(
        default=20, ge=0, le=90, description="room of each array that stays free, for the growth of members' exports"
    )


class LicencePool(Declared):
    """Licences of one application that all members draw on."""

    seats: StrictInt = Field(ge=0, description="how many were bought")


class StorageTier(Declared):
    """A class of storage that declarations refer to; becomes a storage policy."""

    description: str = Field(description="what it is for, as people read it in the vCenter")
    encrypted: StrictBool = Field(
        default=False, description="true: the storage system encrypts what lies on it (vCenter cannot tell)"
    )


class Template(Declared):
    """A VM template in the vCenter's content."""

    name: str = Field(description="name in the vCenter")
    guest_id: str = Field(description="vSphere guest id; must equal that of the template")
    disk_gib: StrictInt = Field(ge=1, description="size of its system disk in GiB")


class SupportAccount(Declared):
    """A local administrator that every machine has, next to the toolkit's own account."""

    name: UnixName = Field(description="name of the account")
    ssh_keys: tuple[str, ...] = Field(default=(), description="public keys that may log in")


class Baseline(Declared):
    """What every machine gets, whoever the member is."""

    upstream_time: tuple[str, ...] = Field(
        min_length=1, description="whom the central time servers ask; every machine, if there are none"
    )
    upstream_dns: tuple[Address, ...] = Field(
        default=(), description="whom the central resolvers ask for names of the internet; empty: nobody"
    )
    log_retention_days: StrictInt = Field(
        ge=7, le=3650, description="how long the log collectors keep what machines log; then it is deleted"
    )
    metrics_retention_days: StrictInt = Field(
        ge=1, le=730, description="how long the monitoring keeps what it measured; then it is deleted"
    )
    timezone: str = Field(default="Europe/Berlin", description="for example Europe/Berlin")
    screen_lock_minutes: StrictInt = Field(
        ge=1, le=60, description="BSI SYS.2.1.A1 wants a lock; minutes are KSM's choice"
    )
    local_admins: tuple[SupportAccount, ...] = Field(
        default=(), description="local administrators that every machine has"
    )
    login_banner: str = Field(description="what everybody reads before logging in")


class Pool(Declared):
    """A range that members' address blocks are taken from."""

    range: Network = Field(description="for example 10.64.0.0/12")
    prefix: StrictInt = Field(ge=8, le=28, description="size of one member's block as prefix length")


class VlanPool(Declared):
    """The VLANs that members' zones may have."""

    first: StrictInt = Field(ge=2, le=4094, description="lowest VLAN")
    last: StrictInt = Field(ge=2, le=4094, description="highest VLAN")


class Service(Declared):
    """Ports under one name, for flows to refer to."""

    title: str = Field(min_length=2, description="what people call it, for example Dateifreigaben (SMB)")
    ports: tuple[ServicePort, ...] = Field(
        min_length=1, description="for example tcp/443, udp/1812-1813 or icmp/echo (ping)"
    )


class SharedNetwork(Declared):
    """Something in the data centre that members reach, or that reaches them."""

    title: str = Field(min_length=2, description="what people call it, for example Zeitdienst")
    networks: tuple[Network, ...] = Field(default=(), description="its addresses, for example 10.96.0.11/32")
    role: SharedRole | CentralRole | None = Field(
        default=None, description="instead of networks: the data centre's own machines of this role"
    )


class ServiceLevelTarget(Declared):
    """How much may be lost and how long something may be away."""

    title: Text = Field(description="what belongs to it")
    rpo_hours: StrictInt = Field(ge=0, description="recovery point: data of at most so many hours are lost")
    rto_hours: StrictInt = Field(ge=0, description="recovery time: it runs again within so many hours")


class SharedZone(Declared):
    """A network of the data centre's own, outside all members' blocks and VLANs."""

    cidr: Network = Field(description="for example 10.96.81.0/24")
    vlan: StrictInt = Field(ge=2, le=4094, description="outside the range that members' zones come from")


class SharedServer(Declared):
    """A machine of the data centre's own: a physical one outside the cluster, which no stack creates."""

    role: SharedRole = Field(description="what it does; decides how it is configured")
    zone: SharedZoneKey = Field(description="the shared zone that it stands in")
    address: Address = Field(description="its address in that zone")
    location: Location = Field(description="fire section, or outside both")
    ssh_host_key: SshHostKey | None = Field(
        default=None, description="its ssh host key, for example ssh-ed25519 AAAA…; the lab's machines make their own"
    )
    directory: DnsDomain | None = Field(
        default=None, description="identity domain that it is joined to; left out: none"
    )


class CentralVm(Declared):
    """A VM of the platform's stack: one of several that give central services together, in different fire sections."""

    roles: tuple[CentralRole, ...] = Field(
        min_length=1,
        description="what it does for all members, for example [resolver, time]; decides its configuration",
    )
    pair: Key = Field(description="those that stand in for each other: the same roles, different fire sections")
    section: SectionKey = Field(description="its fire section")
    zone: SharedZoneKey = Field(description="the shared zone that it stands in")
    address: Address = Field(description="its address in that zone; members' machines and firewalls know it")
    template: Key = Field(default="debian-12", description="VM template of the platform")
    cpus: StrictInt = Field(ge=1, le=64, description="virtual processors")
    memory_gib: StrictInt = Field(ge=1, le=1024, description="memory in GiB")
    tier: Key = Field(description="storage tier of the system disk")
    service_level: DeclaredLevel = Field(
        default=1, description="how soon it must run again: 1 identity and network to 4 archive"
    )
    disks: dict[Key, DataDisk] = Field(default_factory=dict, description="data disks by name; they outlive the VM")


class SharedMachines(Declared):
    """The data centre's own machines and their networks."""

    short: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}$")] = Field(
        description="prefix of their host names, two to four letters"
    )
    dns_domain: DnsDomain = Field(description="domain of their names, for example ksm.internal")
    block: Network = Field(description="the data centre's own addresses, which all its zones lie in")
    compute: Compute = Field(description="upper limits for all its VMs together")
    storage: Storage = Field(default=Storage(), description="the size of its VMs' datastores")
    zones: dict[SharedZoneKey, SharedZone] = Field(min_length=1, description="their networks, by kind of zone")
    servers: dict[ServerKey, SharedServer] = Field(
        min_length=1, description="physical machines, by key; the host name is <short>-<key>"
    )
    vms: dict[ServerKey, CentralVm] = Field(
        default_factory=dict, description="central services' VMs, by key; the host name is <short>-<key>"
    )


class BackupRepository(Declared):
    """Where backups are kept: a folder on one of the shared machines."""

    server: ServerKey = Field(description="the shared machine, by its key")
    path: AbsolutePath = Field(description="mount point of the disk that holds it, for example /srv/backup")
    medium: BackupMedium = Field(description="what the data lie on; members' own data lie on an array")
    append_only: StrictBool = Field(
        default=True, description="whoever backs up can add, but neither change nor delete; false: can delete"
    )


class BackupRetention(Declared):
    """How long backups are kept."""

    all_days: StrictInt = Field(ge=1, le=90, description="every single one is kept for so many days")
    hourly: StrictInt = Field(default=0, ge=0, le=1000, description="after that, the last one of so many hours")
    daily: StrictInt = Field(ge=1, le=1000, description="the last one of so many days")
    weekly: StrictInt = Field(default=0, ge=0, le=1000, description="the last one of so many weeks")
    monthly: StrictInt = Field(default=0, ge=0, le=1000, description="the last one of so many months")


class BackupClass(Declared):
    """How data are backed up (BSI CON.3.A1: loss that is bearable, copies, keeping)."""

    title: Text = Field(description="what people call it, for example stündlich")
    rpo_hours: StrictInt = Field(ge=1, le=168, description="data of at most so many hours are lost")
    keep: BackupRetention = Field(description="how long backups are kept")
    copies: tuple[BackupPlace, ...] = Field(
        min_length=1, description="where copies go, beside the original: own-section, other-section, outside"
    )
    restore_test_days: StrictInt = Field(
        ge=1, le=366, description="each copy is restored as a test at least once in so many days (BSI CON.3.A15)"
    )


class BackupConcept(Declared):
    """The data centre's backup concept (BSI CON.3.A4)."""

    repositories: dict[Key, BackupRepository] = Field(min_length=1, description="where backups are kept, by key")
    classes: dict[Key, BackupClass] = Field(min_length=1, description="how data are backed up, by key")
    by_service_level: dict[Annotated[str, StringConstraints(pattern="^[1-4]$")], Key] = Field(
        description="the class of every data disk that states none, by its server's service level"
    )
    quota_percent: StrictInt = Field(
        default=300, ge=100, le=2000, description="room of a server in each repository, in percent of its disks' size"
    )


class PlatformDeclaration(Declared):
    """The shared data centre."""

    platform: PlatformIdentity = Field(description="who runs the data centre")
    vcenter: VCenterLayout = Field(description="what stands in the vCenter before the first member comes")
    sections: dict[SectionKey, FireSection] = Field(min_length=2, description="the fire sections")
    hypervisor: HypervisorSize = Field(description="size of every hypervisor host")
    arrays: dict[Key, StorageArray] = Field(
        min_length=1, description="storage arrays that members' datastores are exported from, by name"
    )
    storage_tiers: dict[Key, StorageTier] = Field(
        min_length=1, description="classes of storage that declarations refer to, by key"
    )
    templates: dict[Key, Template] = Field(min_length=1, description="VM templates that declarations refer to, by key")
    baseline: Baseline = Field(description="what every machine gets")
    pools: dict[Key, Pool] = Field(
        min_length=1, description="ranges that members' address blocks are taken from, by key"
    )
    vlans: VlanPool = Field(description="the VLANs that members' zones may have")
    services: dict[Key, Service] = Field(default_factory=dict, description="what flows refer to, by key")
    shared_networks: dict[Key, SharedNetwork] = Field(
        default_factory=dict,
        description="what flows call data-centre:<key>; the key admin is the operator's administration",
    )
    federal_networks: tuple[Network, ...] = Field(
        default=(), description="where registers of the federation (KBA, AZR, NWR) are reached: the flows' end federal"
    )
    service_levels: dict[Annotated[str, StringConstraints(pattern=SERVICE_LEVEL_PATTERN)], ServiceLevelTarget] = Field(
        description="what the levels 1 to 4 promise", default_factory=dict
    )
    reserves: Reserves = Reserves()
    high_availability: HighAvailability = HighAvailability()
    drs: LoadBalancing = LoadBalancing()
    shared: SharedMachines | None = Field(default=None, description="the data centre's own machines")
    backup: BackupConcept | None = Field(default=None, description="how members' data are backed up")
    licences: dict[Key, LicencePool] = Field(
        default_factory=dict, description="licences that were bought, by the catalogue's key of the application"
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="farthest layer of every member's declaration (docs/reference/merging.md)"
    )
