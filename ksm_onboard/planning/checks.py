"""What must hold before anything is touched. Each check is a small pure function that yields findings.

Rules are named after what is wrong; docs/reference/rules.md explains each. The checks
run on whatever part of the declarations is sound, so that one run names every error:
a reference to an entry that was itself set aside for an error is not reported again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.load import CatalogueEntry, Loaded
from ksm_onboard.declaration.models import MemberDeclaration, PlatformDeclaration, PrintQueue, ServerRole, Share
from ksm_onboard.planning.addressing import gateway_of, is_host_address, workstation_capacity
from ksm_onboard.planning.applications import requirement_cycles
from ksm_onboard.planning.member_plan import MAX_DATA_DISKS, workstation_name
from ksm_onboard.planning.placement import bound_sections
from ksm_onboard.planning.zones import ZONE_KINDS

# With fewer addresses a zone has no room for a host next to its gateway.
_SMALLEST_ZONE_PREFIX = 29
_NO_BLOCK = IPv4Network("255.255.255.255/32")
_PAIRED_ROLES: frozenset[ServerRole] = frozenset({"dns", "database"})


@dataclass(frozen=True)
class Scope:
    """One member's declaration, and what it is checked against."""

    file: Loaded[MemberDeclaration]
    declared: MemberDeclaration
    platform: PlatformDeclaration
    platform_file: Loaded[PlatformDeclaration]
    catalogue: Mapping[str, CatalogueEntry]

    def unknown(self, rule: str, what: str, value: str, known: Iterable[str], *loc: str | int) -> Finding:
        """A reference that leads nowhere."""
        options = sorted(known)
        close = get_close_matches(value, options, n=1)
        return Finding(
            rule=rule,
            place=self.file.place(*loc),
            message=f"{what} '{value}' is not known",
            value=value,
            allowed=", ".join(options[:20]) + (" …" if len(options) > 20 else "") or "none is declared",
            hint=f"did you mean '{close[0]}'?" if close else None,
        )


def check_member(scope: Scope) -> list[Finding]:
    """All findings for one member, looked at on its own."""
    return [finding for check in _MEMBER_CHECKS for finding in check(scope)]


def check_across(files: Mapping[str, Loaded[MemberDeclaration]]) -> list[Finding]:
    """Findings that only show when all members are looked at together."""
    findings: list[Finding] = []
    members = {key: (file, file.content) for key, file in sorted(files.items()) if file.content is not None}
    blocks: dict[str, tuple[IPv4Network, Place]] = {}
    vlans: dict[int, tuple[str, Place]] = {}
    shorts: dict[str, tuple[str, Place]] = {}
    for key, (file, declared) in members.items():
        block, place = declared.networks.block, file.place("networks", "block")
        if not file.is_sound("networks", "block"):
            block = _NO_BLOCK
        for other, (other_block, other_place) in blocks.items():
            if block.overlaps(other_block):
                findings.append(
                    Finding(
                        rule="block-overlap",
                        place=place,
                        message=f"the block {block} of {key} overlaps {other_block} of {other}",
                        value=str(block),
                        hint=f"the other block is declared at {other_place}; choose a free one",
                    )
                )
        blocks[key] = (block, place)
        for zone in declared.networks.zones if file.is_sound("networks", "vlan_base") else ():
            vlan = declared.networks.vlan_base + ZONE_KINDS[zone].vlan_offset
            at = file.place("networks", "vlan_base")
            if vlan in vlans and vlans[vlan][0] != key:
                findings.append(
                    Finding(
                        rule="vlan-twice",
                        place=at,
                        message=f"VLAN {vlan} (zone {zone}) of {key} is also a VLAN of {vlans[vlan][0]}",
                        value=str(vlan),
                        hint=f"the other one follows from {vlans[vlan][1]}; choose another vlan_base",
                    )
                )
            vlans.setdefault(vlan, (key, at))
        short, at = declared.member.short, file.place("member", "short")
        if not file.is_sound("member", "short"):
            continue
        if short in shorts:
            findings.append(
                Finding(
                    rule="short-twice",
                    place=at,
                    message=f"the host name prefix '{short}' of {key} is also that of {shorts[short][0]}",
                    value=short,
                    hint=f"the other one is declared at {shorts[short][1]}; choose another prefix",
                )
            )
        shorts.setdefault(short, (key, at))
    return findings


def check_platform(file: Loaded[PlatformDeclaration]) -> list[Finding]:
    """Findings for the platform's declaration on its own."""
    if (platform := file.content) is None:
        return []
    findings: list[Finding] = []
    for key, tier in platform.storage_tiers.items():
        findings.extend(
            Finding(
                rule="datastore-unknown",
                place=file.place("storage_tiers", key, "datastores", index),
                message=f"the tier {key} names the datastore '{name}', which is not declared",
                value=name,
                allowed=", ".join(platform.datastores),
            )
            for index, name in enumerate(tier.datastores)
            if name not in platform.datastores and not file.mentions("datastores", name)
        )
    seen: dict[str, str] = {}
    for section_key, section in platform.sections.items():
        for index, host in enumerate(section.hosts):
            if host in seen:
                findings.append(
                    Finding(
                        rule="hypervisor-twice",
                        place=file.place("sections", section_key, "hosts", index),
                        message=f"the host '{host}' is declared twice, first in section {seen[host]}",
                        value=host,
                    )
                )
            seen.setdefault(host, section_key)
    sizes = {len(section.hosts) for section in platform.sections.values()}
    if len(sizes) > 1:
        findings.append(
            Finding(
                rule="sections-unequal",
                place=file.key_place("sections"),
                message="the fire sections have different numbers of hosts",
                value=", ".join(f"{key}: {len(section.hosts)}" for key, section in platform.sections.items()),
                allowed="the same number in each, so that either can carry the whole load",
            )
        )
    return findings


def check_catalogue(catalogue: Mapping[str, CatalogueEntry]) -> list[Finding]:
    """Cycles among the applications' requirements."""
    return [
        Finding(
            rule="application-cycle",
            place=catalogue[cycle[0]].place,
            message="these applications require each other in a circle: " + " → ".join((*cycle, cycle[0])),
        )
        for cycle in requirement_cycles(catalogue)
    ]


# --- one member ---------------------------------------------------------------------------


def _identity(scope: Scope) -> Iterator[Finding]:
    stem = scope.file.located.file.stem
    if scope.declared.member.key != stem:
        yield Finding(
            rule="key-differs-from-file",
            place=scope.file.place("member", "key"),
            message=f"the member's key '{scope.declared.member.key}' differs from the file's name '{stem}'",
            value=scope.declared.member.key,
            allowed=stem,
            hint="the stack has the name of the file; make both the same",
        )


def _networks(scope: Scope) -> Iterator[Finding]:
    networks = scope.declared.networks
    zones = list(networks.zones.items())
    for index, (key, zone) in enumerate(zones):
        loc = ("networks", "zones", key, "cidr")
        if not zone.cidr.subnet_of(networks.block):
            yield Finding(
                rule="zone-outside-block",
                place=scope.file.place(*loc),
                message=f"the zone {key} ({zone.cidr}) lies outside the member's block",
                value=str(zone.cidr),
                allowed=f"a network inside {networks.block}",
            )
        if zone.cidr.prefixlen > _SMALLEST_ZONE_PREFIX:
            yield Finding(
                rule="zone-too-small",
                place=scope.file.place(*loc),
                message=f"the zone {key} ({zone.cidr}) is too small",
                value=str(zone.cidr),
                allowed=f"/{_SMALLEST_ZONE_PREFIX} or larger",
            )
        for other_key, other in zones[:index]:
            if zone.cidr.overlaps(other.cidr):
                yield Finding(
                    rule="zone-overlap",
                    place=scope.file.place(*loc),
                    message=f"the zone {key} ({zone.cidr}) overlaps the zone {other_key} ({other.cidr})",
                    value=str(zone.cidr),
                    hint=f"the other zone is at {scope.file.place('networks', 'zones', other_key, 'cidr')}",
                )


def _addresses(scope: Scope) -> Iterator[Finding]:
    zones = scope.declared.networks.zones
    first_use: dict[IPv4Address, str] = {}
    hosts = [
        *(("servers", i, s.name, s.address, s.zone) for i, s in enumerate(scope.declared.servers)),
        *(("printers", i, p.name, p.address, "printers") for i, p in enumerate(scope.declared.printers)),
    ]
    for area, index, name, address, zone_key in hosts:
        place = scope.file.place(area, index, "address")
        zone = next((zone for key, zone in zones.items() if key == zone_key), None)
        if zone is None:
            if not scope.file.mentions("networks", "zones", zone_key):
                loc = (area, index, "zone") if area == "servers" else (area, index)
                yield scope.unknown("zone-unknown", "the zone", zone_key, zones, *loc)
        elif not is_host_address(address, zone.cidr):
            inside = address in zone.cidr
            yield Finding(
                rule="address-reserved" if inside else "address-outside-zone",
                place=place,
                message=(
                    f"{name}: {address} is the network, gateway or broadcast address of the zone {zone_key}"
                    if inside
                    else f"{name}: {address} lies outside its zone {zone_key}"
                ),
                value=str(address),
                allowed=f"an address of {zone.cidr} other than the first two and the last",
                hint=f"the gateway is {gateway_of(zone.cidr)}" if inside else None,
            )
        if address in first_use:
            yield Finding(
                rule="address-twice",
                place=place,
                message=f"{address} is given to {name} and to {first_use[address]}",
                value=str(address),
                hint="give each host an address of its own",
            )
        first_use.setdefault(address, name)


def _names(scope: Scope) -> Iterator[Finding]:
    first: dict[str, Place] = {}
    for index, server in enumerate(scope.declared.servers):
        place = scope.file.place("servers", index, "name")
        if server.name in first:
            yield Finding(
                rule="name-twice",
                place=place,
                message=f"two hosts have the name '{server.name}'",
                value=server.name,
                hint=f"the first one is at {first[server.name]}; rename one of them",
            )
        first.setdefault(server.name, place)
    total = sum(group.count for group in scope.declared.workstations)
    generated = {workstation_name(scope.declared.member.short, n) for n in range(1, total + 1)}
    for name in sorted(generated & first.keys()):
        yield Finding(
            rule="name-twice",
            place=first[name],
            message=f"the server name '{name}' is also the name of a workstation",
            value=name,
            hint="rename the server; names of workstations are made by the plan",
        )


def _servers(scope: Scope) -> Iterator[Finding]:
    platform, declared = scope.platform, scope.declared
    for index, server in enumerate(declared.servers):
        loc = ("servers", index)
        if server.template not in platform.templates and not scope.platform_file.mentions("templates", server.template):
            yield scope.unknown(
                "template-unknown", "the template", server.template, platform.templates, *loc, "template"
            )
        if len(server.disks) > MAX_DATA_DISKS:
            yield Finding(
                rule="disks-too-many",
                place=scope.file.key_place(*loc, "disks"),
                message=f"{server.name} has {len(server.disks)} data disks",
                allowed=f"at most {MAX_DATA_DISKS}",
            )
        tiers: list[tuple[str, tuple[str | int, ...]]] = [(server.tier, (*loc, "tier"))]
        tiers += [(disk.tier, (*loc, "disks", d, "tier")) for d, disk in enumerate(server.disks)]
        for tier, tier_loc in tiers:
            if tier not in platform.storage_tiers and not scope.platform_file.mentions("storage_tiers", tier):
                yield scope.unknown("tier-unknown", "the storage tier", tier, platform.storage_tiers, *tier_loc)
        bound = bound_sections(server, platform)
        if len(bound) > 1:
            yield Finding(
                rule="section-conflict",
                place=scope.file.place(*loc),
                message=f"{server.name} is bound to both fire sections",
                value=", ".join(sorted(bound)),
                hint="a section-local tier binds a server to its section; use one section, or a mirrored tier",
            )
        for what, attribute in (("mount point", "mount"), ("name", "name")):
            seen: set[str] = set()
            for d, disk in enumerate(server.disks):
                value = getattr(disk, attribute)
                if value in seen:
                    yield Finding(
                        rule="disk-twice",
                        place=scope.file.place(*loc, "disks", d, attribute),
                        message=f"two data disks of {server.name} have the {what} '{value}'",
                        value=value,
                    )
                seen.add(value)


def _pairs(scope: Scope) -> Iterator[Finding]:
    by_pair: dict[str, list[int]] = defaultdict(list)
    for index, server in enumerate(scope.declared.servers):
        if server.pair:
            by_pair[server.pair].append(index)
        elif server.role in _PAIRED_ROLES:
            yield Finding(
                rule="pair-missing",
                severity="warning",
                place=scope.file.place("servers", index),
                message=f"{server.name} has no partner in the other fire section",
                hint=f"services of the role {server.role} are expected in pairs: give both servers the same pair",
            )
    some_set_aside = any(loc[:1] == ("servers",) for loc in scope.file.set_aside)
    for pair, indexes in by_pair.items():
        servers = [scope.declared.servers[i] for i in indexes]
        place = scope.file.place("servers", indexes[-1], "pair")
        if len(indexes) < 2 and not some_set_aside:
            yield Finding(
                rule="pair-of-one",
                place=place,
                message=f"the pair '{pair}' has only {servers[0].name}",
                value=pair,
                hint="give its partner the same pair, or remove the key",
            )
        if len({server.role for server in servers}) > 1:
            yield Finding(
                rule="pair-of-different-roles",
                place=place,
                message=f"the servers of the pair '{pair}' have different roles",
                value=", ".join(f"{s.name}: {s.role}" for s in servers),
            )
        bound = [bound_sections(server, scope.platform) for server in servers]
        if len(servers) > 1 and all(bound) and len(set().union(*bound)) == 1:
            yield Finding(
                rule="pair-in-one-section",
                place=place,
                message=f"the pair '{pair}' is forced into fire section {min(bound[0])}",
                value=", ".join(server.name for server in servers),
                allowed="at least one server in each section",
                hint="remove section from one of them, or use a mirrored tier instead of a section-local one",
            )


def _services(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    servers = {server.name: server for server in declared.servers}
    aside = any(loc[:1] == ("servers",) for loc in scope.file.set_aside)
    users: list[tuple[str, ServerRole, Sequence[Share | PrintQueue]]] = [
        ("shares", "file", declared.shares),
        ("printers", "print", declared.printers),
    ]
    for area, wanted, entries in users:
        names: set[str] = set()
        for index, entry in enumerate(entries):
            fitting = [name for name, server in servers.items() if server.role == wanted]
            if entry.server not in fitting and not (aside and entry.server not in servers):
                yield scope.unknown(
                    "server-unknown", f"the {wanted} server", entry.server, fitting, area, index, "server"
                )
            if entry.name in names:
                yield Finding(
                    rule="name-twice",
                    place=scope.file.place(area, index, "name"),
                    message=f"two {area} have the name '{entry.name}'",
                    value=entry.name,
                )
            names.add(entry.name)
    for index, share in enumerate(declared.shares):
        server = servers.get(share.server)
        mounts = [disk.mount for disk in server.disks] if server else []
        if server and not any(share.path.startswith(mount.rstrip("/") + "/") for mount in mounts):
            yield Finding(
                rule="share-outside-data-disk",
                place=scope.file.place("shares", index, "path"),
                message=f"the share '{share.name}' does not lie on a data disk of {share.server}",
                value=share.path,
                allowed=", ".join(f"{mount}/…" for mount in mounts) or f"{share.server} has no data disk",
                hint="the system disk is lost when a VM is rebuilt; shares belong on a data disk",
            )
    for index, printer in enumerate(declared.printers):
        if printer.site not in declared.sites and not scope.file.mentions("sites", printer.site):
            yield scope.unknown("site-unknown", "the site", printer.site, declared.sites, "printers", index, "site")
    pairs = {server.pair for server in declared.servers if server.pair and server.role == "database"}
    names = set()
    for index, database in enumerate(declared.databases):
        if database.pair not in pairs and not aside:
            yield scope.unknown(
                "pair-unknown", "the pair of database servers", database.pair, pairs, "databases", index, "pair"
            )
        if database.name in names:
            yield Finding(
                rule="name-twice",
                place=scope.file.place("databases", index, "name"),
                message=f"two databases have the name '{database.name}'",
                value=database.name,
            )
        names.add(database.name)


def _workstations(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    wanted: dict[str, int] = defaultdict(int)
    for index, group in enumerate(declared.workstations):
        wanted[group.zone] += group.count
        for what, value, table in (
            ("department", group.department, declared.departments),
            ("site", group.site, declared.sites),
            ("profile", group.profile, declared.profiles),
        ):
            if value not in table and not scope.file.mentions(f"{what}s", value):
                yield scope.unknown(f"{what}-unknown", f"the {what}", value, table, "workstations", index, what)
        if group.zone not in declared.networks.zones and not scope.file.mentions("networks", "zones", group.zone):
            loc = ("workstations", index, "zone")
            yield scope.unknown("zone-unknown", "the zone", group.zone, declared.networks.zones, *loc)
    taken = {s.address for s in declared.servers} | {p.address for p in declared.printers}
    for key, zone in declared.networks.zones.items():
        room = workstation_capacity(zone.cidr, taken)
        if wanted[key] > room:
            yield Finding(
                rule="zone-full",
                place=scope.file.place("networks", "zones", key, "cidr"),
                message=f"the zone {key} ({zone.cidr}) has room for {room} workstations, {wanted[key]} are declared",
                value=str(zone.cidr),
                hint="widen the zone or move a department into another one",
            )


def _applications(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    lists = [
        (("applications",), declared.applications, "client"),
        *((("profiles", key, "applications"), p.applications, "client") for key, p in declared.profiles.items()),
        *((("servers", i, "applications"), s.applications, "server") for i, s in enumerate(declared.servers)),
    ]
    for loc, keys, component in lists:
        for index, key in enumerate(keys):
            entry = scope.catalogue.get(key)
            if entry is None:
                yield scope.unknown("application-unknown", "the application", key, scope.catalogue, *loc, index)
            elif entry.application.component != component:
                yield Finding(
                    rule="application-misplaced",
                    place=scope.file.place(*loc, index),
                    message=f"'{key}' is a {entry.application.component} application; this list is for {component}s",
                    value=key,
                )


def _compute(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    needed = sum(server.memory_gib for server in declared.servers)
    if needed > declared.compute.memory_gib:
        yield Finding(
            rule="pool-too-small",
            place=scope.file.place("compute", "memory_gib"),
            message=f"the servers need {needed} GiB of memory, the pool allows {declared.compute.memory_gib} GiB",
            value=str(declared.compute.memory_gib),
            allowed=f"at least {needed}",
            hint="raise memory_gib, or make servers smaller",
        )


_MEMBER_CHECKS: tuple[Callable[[Scope], Iterator[Finding]], ...] = (
    _identity,
    _networks,
    _addresses,
    _names,
    _servers,
    _pairs,
    _services,
    _workstations,
    _applications,
    _compute,
)
