"""What must hold before anything is touched. Each check is a small pure function that yields findings.

Rules are named after what is wrong; docs/reference/rules.md explains each. The checks
run on whatever part of the declarations is sound, so that one run names every error:
a reference to an entry that was itself set aside for an error is not reported again.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import NamedTuple

from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Finding, Place, bounded, some
from ksm_onboard.declaration.load import CatalogueEntry, Loaded
from ksm_onboard.declaration.merging import Merged, look
from ksm_onboard.declaration.models import (
    HOST_NAME_LENGTH,
    AccessSwitch,
    MemberDeclaration,
    PlatformDeclaration,
    PrintQueue,
    Profile,
    Published,
    ServerRole,
    Share,
    ZoneKey,
)
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.addressing import FIRST_WORKSTATION, capacity, gateway_of
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.applications import given_by, requirement_cycles
from ksm_onboard.planning.member_plan import MAX_DATA_DISKS, share_path
from ksm_onboard.planning.placement import bound_sections

# With fewer addresses a zone has no room for a host next to its gateway.
_SMALLEST_ZONE_PREFIX = 29
_PAIRED_ROLES: frozenset[ServerRole] = frozenset({"dns", "database"})
_ON_WORKSTATIONS = frozenset(("client", "web", "extension"))
_ON_SERVERS = frozenset(("server",))


@dataclass(frozen=True)
class Scope:
    """One member's declaration, and what it is checked against."""

    member: DeclaredMember
    declared: MemberDeclaration
    platform: PlatformDeclaration
    platform_file: Loaded[PlatformDeclaration]
    catalogue: Mapping[str, CatalogueEntry]

    @property
    def file(self) -> Loaded[MemberDeclaration]:
        return self.member.file

    @property
    def record(self) -> AllocationRecord:
        return self.member.allocated

    def server_name(self, key: str) -> str:
        """The host name of the server ``key``."""
        return server_name(self.declared.member.short, key)

    def unknown(self, rule: Rule, what: str, value: str, known: Iterable[str], *loc: str | int) -> Finding:
        """A reference that leads nowhere."""
        return unknown(rule, what, value, known, self.file.place(*loc))

    def removed_at(self, *loc: str | int) -> Place | None:
        """Where the declaration removes what a farther layer states; None if it does not."""
        return self.member.layers.removed_at(loc) if self.member.layers is not None else None


def unknown(rule: Rule, what: str, value: str, known: Iterable[str], place: Place) -> Finding:
    """A reference at ``place`` that leads nowhere."""
    options = sorted(known)
    close = get_close_matches(value, options, n=1)
    return Finding(
        rule=rule,
        place=place,
        message=f"{what} '{value}' is not known",
        value=value,
        allowed=", ".join(options[:20]) + (" …" if len(options) > 20 else "") or "none is declared",
        hint=f"did you mean '{close[0]}'?" if close else None,
    )


def check_member(scope: Scope) -> list[Finding]:
    """All findings for one member, looked at on its own."""
    return [finding for check in _MEMBER_CHECKS for finding in bounded(check(scope))]


def check_platform(file: Loaded[PlatformDeclaration]) -> list[Finding]:
    """Findings for the platform's declaration on its own."""
    if (platform := file.content) is None:
        return []
    findings: list[Finding] = []
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
    ranges = sorted(platform.pools.items(), key=lambda pool: int(pool[1].range.network_address))
    for (key, pool), (other_key, other) in pairwise(ranges):
        if pool.range.overlaps(other.range):
            findings.append(
                Finding(
                    rule="pools-overlap",
                    place=file.place("pools", other_key, "range"),
                    message=f"the pools {key} ({pool.range}) and {other_key} ({other.range}) overlap",
                    value=str(other.range),
                )
            )
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
    total, largest = sum(len(s.hosts) for s in platform.sections.values()), max(sizes)
    needed = math.ceil(100 * largest / total)
    reserved = platform.high_availability.reserved_percent
    if reserved < needed:
        findings.append(
            Finding(
                rule="ha-reserve",
                place=file.place("high_availability", "reserved_percent"),
                message=f"HA keeps {reserved} % of the cluster free, but the largest fire section is {needed} % of it:"
                " once that is lost, not everything can be restarted",
                value=str(reserved),
                allowed=f"at least {needed}",
            )
        )
    findings += _responses(platform, file)
    if len(set(platform.vcenter.switch.uplinks)) < 2:
        findings.append(
            Finding(
                rule="uplink-single",
                place=file.place("vcenter", "switch", "uplinks"),
                message="every host has one link to the network: with that, it is lost",
                value=", ".join(platform.vcenter.switch.uplinks),
                allowed="at least two different uplinks",
            )
        )
    return findings


def _responses(platform: PlatformDeclaration, file: Loaded[PlatformDeclaration]) -> Iterator[Finding]:
    """HA brings nothing back that it leaves where it is."""
    ha = platform.high_availability
    for field, value, allowed, what in (
        ("isolation_response", ha.isolation_response, ("power-off", "shutdown"), "a host without network"),
        ("storage_loss", ha.storage_loss, ("restart",), "a host without its storage"),
    ):
        if value not in allowed:
            yield Finding(
                rule="ha-response",
                place=file.place("high_availability", field),
                message=f"HA leaves VMs on {what}, where nobody can use them, instead of starting them elsewhere",
                value=value,
                allowed=", ".join(allowed),
            )


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
    stem = scope.file.file.stem
    if scope.declared.member.key != stem:
        yield Finding(
            rule="key-differs-from-file",
            place=scope.file.place("member", "key"),
            message=f"the member's key '{scope.declared.member.key}' differs from the file's name '{stem}'",
            value=scope.declared.member.key,
            allowed=stem,
            hint="the stack has the name of the file; make both the same",
        )


def _allocation(scope: Scope) -> Iterator[Finding]:
    """Everything declared has been given out, and what was given out is what is declared."""
    declared, record, key = scope.declared, scope.record, scope.member.key
    if not scope.file.is_sound("member", "short") or scope.member.record.findings:
        return
    if record.short not in (None, declared.member.short):
        return  # Nothing is given out under the other prefix; that it changed is told as such.
    hint = f"run: ksm-onboard allocate {key}"
    if scope.member.record.content is None:
        yield Finding(
            rule="not-allocated",
            place=scope.file.place("member", "key"),
            message=f"no addresses have been given out to {key} yet",
            hint=hint,
        )
        return
    if declared.networks.pool not in scope.platform.pools and not scope.platform_file.mentions("pools"):
        yield scope.unknown(
            "pool-unknown", "the pool", declared.networks.pool, scope.platform.pools, "networks", "pool"
        )
    entries: list[tuple[str, object, tuple[str | int, ...]]] = [
        ("the block", declared.networks.block, ("networks", "block")),
        *((f"the zone {k}", z.cidr and z.vlan, ("zones", k)) for k, z in declared.zones.items() if z.cidr or z.prefix),
        *((scope.server_name(k), s.address, ("servers", k)) for k, s in declared.servers.items()),
        *((f"the printer {k}", p.address, ("printers", k)) for k, p in declared.printers.items()),
    ]
    for what, given, loc in entries:
        if given is None and scope.file.is_whole(*loc):
            yield Finding(
                rule="not-allocated",
                place=scope.file.key_place(*loc),
                message=f"nothing has been given out for {what} yet",
                hint=hint,
            )
    rows = scope.member.devices.rows
    lacking = [i for i, row in enumerate(rows) if row.hostname not in record.hosts]
    if lacking:
        names = [rows[i].hostname for i in lacking]
        yield Finding(
            rule="not-allocated",
            place=scope.member.devices.place(lacking[0]),
            message=f"no address has been given out yet for {some(names)}",
            hint=hint,
        )
    made = Counter(record.workstations.values())
    for group, wanted in declared.workstations.items():
        sound = all(getattr(wanted, column) in getattr(declared, table) for column, _, table in _REFERENCES)
        if made[group] != wanted.count and sound and scope.file.is_whole("workstations", group):
            yield Finding(
                rule="not-allocated",
                place=scope.file.place("workstations", group, "count"),
                message=f"the group {group} has {wanted.count} workstations, {made[group]} have names and addresses",
                hint=hint,
            )
    yield from _contradictions(scope)


def _contradictions(scope: Scope) -> Iterator[Finding]:
    """What was given out differs from what the declaration states: a decision that people take."""
    declared, record, key = scope.declared, scope.record, scope.member.key
    stated: list[tuple[str, str, object, object, tuple[str | int, ...]]] = []
    stated.append(("the block", "block", declared.networks.block, record.block, ("networks", "block")))
    for zone_key, zone in declared.zones.items():
        given = record.zones.get(zone_key)
        if given is None:
            continue
        name = f"zones.{zone_key}"
        stated.append((f"the zone {zone_key}", name, zone.cidr, given.cidr, ("zones", zone_key, "cidr")))
        stated.append((f"VLAN of the zone {zone_key}", name, zone.vlan, given.vlan, ("zones", zone_key, "vlan")))
        if zone.prefix is not None and zone.cidr == given.cidr and zone.prefix != given.cidr.prefixlen:
            wanted_size, size = f"/{zone.prefix}", f"/{given.cidr.prefixlen}"
            what = f"the size of the zone {zone_key}"
            stated.append((what, name, wanted_size, size, ("zones", zone_key, "prefix")))
    for server_key, server in declared.servers.items():
        name = scope.server_name(server_key)
        stated.append((name, name, server.address, record.hosts.get(name), ("servers", server_key, "address")))
    for queue, printer in declared.printers.items():
        given_address = record.printers.get(queue)
        what, at = f"the printer {queue}", ("printers", queue, "address")
        stated.append((what, f"printers.{queue}", printer.address, given_address, at))
    for what, name, wanted, was, loc in stated:
        if was is not None and wanted is not None and wanted != was:
            yield Finding(
                rule="allocation-contradicts",
                place=scope.file.place(*loc),
                message=f"{what} is declared as {wanted}, {was} was given out",
                value=str(wanted),
                allowed=str(was),
                hint=f"keep what was given out, or release it: ksm-onboard allocate {key} --release {name}",
            )


def _networks(scope: Scope) -> Iterator[Finding]:
    block = scope.declared.networks.block
    networks = [(key, zone.cidr) for key, zone in scope.declared.zones.items() if zone.cidr is not None]
    for key, zone in scope.declared.zones.items():
        if zone.prefix is None and zone.cidr is None and not scope.file.mentions("zones", key, "prefix"):
            yield Finding(
                rule="zone-size-missing",
                place=scope.file.key_place("zones", key),
                message=f"the zone {key} has no size",
                allowed="prefix, for example 24; or cidr where the network is fixed",
            )
    if block is not None:
        yield from _outside_block(scope, block, networks)
    for key, cidr in networks:
        place = scope.file.place("zones", key, "cidr")
        if cidr.prefixlen > _SMALLEST_ZONE_PREFIX:
            yield Finding(
                rule="zone-too-small",
                place=place,
                message=f"the zone {key} ({cidr}) is too small",
                value=str(cidr),
                allowed=f"/{_SMALLEST_ZONE_PREFIX} or larger",
            )
    yield from _overlaps(scope, networks)


def _outside_block(
    scope: Scope, block: IPv4Network, networks: Sequence[tuple[ZoneKey, IPv4Network]]
) -> Iterator[Finding]:
    """Zones that do not lie in the block; where the block is not the one that was given out, only that is told."""
    given_out = scope.record.block
    outside = [(key, cidr) for key, cidr in networks if not cidr.subnet_of(block)]
    if given_out is not None and given_out != block:
        outside = [(key, cidr) for key, cidr in outside if not cidr.subnet_of(given_out)]
    if len(outside) > 1 and len(outside) == len(networks):
        yield Finding(
            rule="zone-outside-block",
            place=scope.file.place("networks", "block"),
            message=f"none of the zones lies in the block {block}: "
            + some([f"{key} ({cidr})" for key, cidr in outside]),
            value=str(block),
            allowed="a block that holds the zones",
        )
        return
    for key, cidr in outside:
        yield Finding(
            rule="zone-outside-block",
            place=scope.file.place("zones", key, "cidr"),
            message=f"the zone {key} ({cidr}) lies outside the member's block",
            value=str(cidr),
            allowed=f"a network inside {block}",
        )


def _overlaps(scope: Scope, networks: Sequence[tuple[ZoneKey, IPv4Network]]) -> Iterator[Finding]:
    """Zones that overlap: of two, the one is accused whose network is stated nearer to the member."""
    accused: dict[ZoneKey, list[ZoneKey]] = defaultdict(list)
    cidrs = dict(networks)
    for index, (key, cidr) in enumerate(networks):
        for other, other_cidr in networks[:index]:
            if cidr.overlaps(other_cidr):
                mine = scope.file.place("zones", key, "cidr")
                nearest = scope.member.nearest(("zones", key, "cidr"), ("zones", other, "cidr"))
                first, second = (key, other) if nearest == mine else (other, key)
                accused[first].append(second)
    for key, others in accused.items():
        yield Finding(
            rule="zone-overlap",
            place=scope.file.place("zones", key, "cidr"),
            message=f"the zone {key} ({cidrs[key]}) overlaps "
            + some([f"the zone {other} ({cidrs[other]})" for other in others]),
            value=str(cidrs[key]),
            hint=f"the other zone is at {scope.file.place('zones', others[0], 'cidr')}",
        )


def _legacy_networks(scope: Scope) -> Iterator[Finding]:
    for name, legacy in scope.declared.networks.legacy.items():
        if legacy.nat is not None and legacy.nat.prefixlen != legacy.cidr.prefixlen:
            yield Finding(
                rule="nat-size",
                place=scope.file.place("networks", "legacy", name, "nat"),
                message=f"{legacy.cidr} cannot be translated to {legacy.nat} one to one",
                value=str(legacy.nat),
                allowed=f"a /{legacy.cidr.prefixlen}",
            )
        if legacy.quarantine and "quarantine" not in scope.declared.zones:
            place = scope.file.place("networks", "legacy", name, "quarantine")
            yield unknown("zone-unknown", "the zone", "quarantine", scope.declared.zones, place)


def _addresses(scope: Scope) -> Iterator[Finding]:
    zones = scope.declared.zones
    ranges = {
        key: (int(zone.cidr.network_address) + 2, int(zone.cidr.broadcast_address) - 1)
        for key, zone in zones.items()
        if zone.cidr is not None
    }
    # Where a zone is not the one that was given out, that is told, and not of each of its hosts once more.
    recorded = {key: zone.cidr for key, zone in scope.record.zones.items()}
    moved = {key for key, zone in zones.items() if zone.cidr is not None and recorded.get(key, zone.cidr) != zone.cidr}
    nowhere = (0, -1)
    first_use: dict[int, _Host] = {}
    seen: set[str] = set()
    outside: dict[str, list[_Host]] = defaultdict(list)
    of_profile: Counter[str] = Counter()
    for host in _hosts(scope):
        # A name that is there twice is told as such.
        if host.address is None or host.name in seen:
            continue
        seen.add(host.name)
        of_profile[host.profile] += 1
        number = int(host.address)
        low, high = ranges.get(host.zone, nowhere)
        explained = not host.zone_is_sound(scope) or (host.zone in moved and host.address in recorded[host.zone])
        if not low <= number <= high and host.zone in ranges and not explained:
            outside[host.profile].append(host)
        if number in first_use:
            yield _twice(scope, host, first_use[number])
        first_use.setdefault(number, host)
    for profile, hosts in outside.items():
        if profile and len(hosts) > 1 and len(hosts) == of_profile[profile]:
            yield _all_outside(scope, profile, hosts)
        else:
            yield from (_outside(scope, host, host.address) for host in hosts if host.address is not None)


class _Host(NamedTuple):
    """Something with an address: ``table`` and ``key`` say where it is declared, or recorded (``hosts``).

    ``profile`` is that of a workstation, from which it has its zone; empty for others.
    """

    name: str
    address: IPv4Address | None
    zone: ZoneKey
    table: str
    key: str
    profile: str = ""

    def place(self, scope: Scope, field: str) -> Place:
        if self.table == "hosts":
            return scope.member.record.place("hosts", self.key)
        return scope.file.place(self.table, self.key, field)

    def zone_is_sound(self, scope: Scope) -> bool:
        """Whether the zone is its author's, not a stand-in."""
        if self.profile:
            return scope.file.is_sound("profiles", self.profile, "zone")
        return scope.file.is_sound(self.table, self.key, "zone")


def _hosts(scope: Scope) -> Iterator[_Host]:
    declared, given = scope.declared, scope.record.hosts
    for key, server in declared.servers.items():
        yield _Host(scope.server_name(key), server.address, server.zone, "servers", key)
    for key, printer in declared.printers.items():
        yield _Host(f"the printer {key}", printer.address, "printers", "printers", key)
    for key, switch in declared.switches.items():
        yield _Host(f"the switch {key}", switch.address, "management", "switches", key)
    zone_of = {key: profile.zone for key, profile in declared.profiles.items()}
    for row in scope.member.devices.rows:
        if row.profile in zone_of:
            zone = zone_of[row.profile]
            yield _Host(row.hostname, given.get(row.hostname), zone, "hosts", row.hostname, row.profile)
    for name, group in scope.record.workstations.items():
        if group in declared.workstations and (profile := declared.workstations[group].profile) in zone_of:
            yield _Host(name, given.get(name), zone_of[profile], "hosts", name, profile)


def _twice(scope: Scope, host: _Host, first: _Host) -> Finding:
    """An address of two hosts: of two that are declared, the one stated nearer to the member is accused."""
    place, other = host.place(scope, "address"), first
    if "hosts" not in (host.table, first.table):
        place = scope.member.nearest(*((h.table, h.key, "address") for h in (host, first)))
        host, other = (host, first) if place == host.place(scope, "address") else (first, host)
    return Finding(
        rule="address-twice",
        place=place,
        message=f"{host.address} is given to {host.name} and to {other.name}",
        value=str(host.address),
        hint="give each host an address of its own",
    )


def _all_outside(scope: Scope, profile: str, hosts: Sequence[_Host]) -> Finding:
    """Every workstation of a profile stands elsewhere: it is the profile's zone that was changed."""
    zone = hosts[0].zone
    return Finding(
        rule="address-outside-zone",
        place=scope.file.place("profiles", profile, "zone"),
        message=f"the {len(hosts)} workstations of the profile {profile} have addresses outside its zone {zone}: "
        + some([host.name for host in hosts]),
        value=zone,
        hint=f"keep the zone, or release their addresses: ksm-onboard allocate {scope.member.key} --release NAME",
    )


def zone_references(scope: Scope) -> Iterator[Finding]:
    """Zones that somebody stands in and that are not declared; told where the zone is removed, if it is."""
    declared = scope.declared
    used = {row.profile for row in scope.member.devices.rows}
    used |= {group.profile for group in declared.workstations.values()}
    users: list[tuple[str, ZoneKey, Loc]] = [
        *((scope.server_name(key), server.zone, ("servers", key, "zone")) for key, server in declared.servers.items()),
        *((f"the profile {k}", p.zone, ("profiles", k, "zone")) for k, p in declared.profiles.items() if k in used),
    ]
    if printers := list(declared.printers):
        users.append((f"the printers {some(printers)}", "printers", ("printers", printers[0], "zone")))
    if switches := list(declared.switches):
        users.append((f"the switches {some(switches)}", "management", ("switches", switches[0], "zone")))
    lacking: dict[tuple[ZoneKey, Place], list[str]] = defaultdict(list)
    for who, zone, loc in users:
        if zone not in declared.zones and not scope.file.mentions("zones", zone) and scope.file.is_sound(*loc):
            lacking[zone, scope.removed_at("zones", zone) or scope.file.place(*loc)].append(who)
    for (zone, place), names in lacking.items():
        yield unknown("zone-unknown", f"{some(names)}: the zone", zone, declared.zones, place)


def _outside(scope: Scope, host: _Host, address: IPv4Address) -> Finding:
    cidr = scope.declared.zones[host.zone].cidr
    assert cidr is not None  # noqa: S101 - the caller compared with it
    reserved = address in cidr
    return Finding(
        rule="address-reserved" if reserved else "address-outside-zone",
        place=host.place(scope, "address"),
        message=(
            f"{host.name}: {address} is the network, gateway or broadcast address of the zone {host.zone}"
            if reserved
            else f"{host.name}: {address} lies outside its zone {host.zone}"
        ),
        value=str(address),
        allowed=f"an address of {cidr} other than the first two and the last",
        hint=f"the gateway is {gateway_of(cidr)}" if reserved else None,
    )


def _names(scope: Scope) -> Iterator[Finding]:
    for key in scope.declared.servers:
        name = scope.server_name(key)
        if len(name) > HOST_NAME_LENGTH and scope.file.is_sound("member", "short"):
            yield Finding(
                rule="name-too-long",
                place=scope.file.key_place("servers", key),
                message=f"the host name '{name}' has {len(name)} characters",
                value=name,
                allowed=f"at most {HOST_NAME_LENGTH} (the NetBIOS limit)",
                hint="choose a shorter key",
            )


def _servers(scope: Scope) -> Iterator[Finding]:
    platform, declared = scope.platform, scope.declared
    for key, server in declared.servers.items():
        loc = ("servers", key)
        name = scope.server_name(key)
        if server.template not in platform.templates and not scope.platform_file.mentions("templates", server.template):
            yield scope.unknown(
                "template-unknown", "the template", server.template, platform.templates, *loc, "template"
            )
        if len(server.disks) > MAX_DATA_DISKS:
            yield Finding(
                rule="disks-too-many",
                place=scope.file.key_place(*loc, "disks"),
                message=f"{name} has {len(server.disks)} data disks",
                allowed=f"at most {MAX_DATA_DISKS}",
            )
        tiers: list[tuple[str, tuple[str | int, ...]]] = [(server.tier, (*loc, "tier"))]
        tiers += [(disk.tier, (*loc, "disks", d, "tier")) for d, disk in server.disks.items()]
        for tier, tier_loc in tiers:
            if tier not in platform.storage_tiers and not scope.platform_file.mentions("storage_tiers", tier):
                yield scope.unknown("tier-unknown", "the storage tier", tier, platform.storage_tiers, *tier_loc)
        bound = bound_sections(server, platform)
        if len(bound) > 1:
            yield Finding(
                rule="section-conflict",
                place=scope.member.nearest(*binding(scope, [key])),
                message=f"{name} is bound to both fire sections",
                value=", ".join(sorted(bound)),
                hint="a section-local tier binds a server to its section; use one section, or a mirrored tier",
            )
        mounts: set[str] = set()
        for disk_key, disk in server.disks.items():
            if disk.mount in mounts:
                yield Finding(
                    rule="disk-twice",
                    place=scope.file.place(*loc, "disks", disk_key, "mount"),
                    message=f"two data disks of {name} have the mount point '{disk.mount}'",
                    value=disk.mount,
                )
            if _RESERVED_MOUNTS.match(disk.mount):
                yield Finding(
                    rule="mount-reserved",
                    place=scope.file.place(*loc, "disks", disk_key, "mount"),
                    message=f"a disk of {name} would hide {disk.mount} of the operating system",
                    value=disk.mount,
                    allowed="a folder of its own, for example /srv/data",
                )
            mounts.add(disk.mount)


# What the operating system keeps there is gone as soon as a disk is mounted over it.
_RESERVED_MOUNTS = re.compile(
    r"/(?:(?:bin|boot|dev|etc|lib\w*|proc|root|run|sbin|sys|usr)(?:/|$)|(?:var|var/lib|home|tmp)$)"
)


def _pairs(scope: Scope) -> Iterator[Finding]:
    by_pair: dict[str, list[str]] = defaultdict(list)
    alone: list[str] = []
    for key, server in scope.declared.servers.items():
        if server.pair:
            by_pair[server.pair].append(key)
        else:
            alone.append(key)
    expected: dict[Place, list[str]] = defaultdict(list)
    for key in alone:
        server = scope.declared.servers[key]
        # Where the service level wants a partner, that is told (partner-missing), and nothing more.
        if (
            server.role in _PAIRED_ROLES
            and not wants_partner(scope, key)
            and scope.file.is_sound("servers", key, "role")
        ):
            expected[scope.file.key_place("servers", key)].append(key)
    for place, keys in expected.items():
        role = scope.declared.servers[keys[0]].role
        yield Finding(
            rule="pair-missing",
            severity="warning",
            place=place,
            message=f"{without_partner(scope, keys)} no partner in the other fire section",
            hint=f"services of the role {role} are expected in pairs: give both servers the same pair",
        )
    some_set_aside = any(loc[:1] == ("servers",) for loc in scope.file.set_aside)
    for pair, keys in by_pair.items():
        servers = [scope.declared.servers[key] for key in keys]
        left_by = [key for key in alone if scope.declared.servers[key].role == servers[0].role]
        told = any(servers[0].role in _PAIRED_ROLES or wants_partner(scope, key) for key in left_by)
        if len(keys) < 2 and not some_set_aside and not told:
            yield Finding(
                rule="pair-of-one",
                place=_partner_removed_at(scope, pair, keys[0]),
                message=f"the pair '{pair}' has only {scope.server_name(keys[0])}",
                value=pair,
                hint="give its partner the same pair, or remove the key",
            )
        if len({server.role for server in servers}) > 1:
            yield Finding(
                rule="pair-of-different-roles",
                place=scope.member.nearest(*(("servers", key, field) for field in ("role", "pair") for key in keys)),
                message=f"the servers of the pair '{pair}' have different roles",
                value=", ".join(f"{key}: {s.role}" for key, s in zip(keys, servers, strict=True)),
            )
        bound = [bound_sections(server, scope.platform) for server in servers]
        if len(servers) > 1 and all(bound) and len(set().union(*bound)) == 1:
            yield Finding(
                rule="pair-in-one-section",
                place=scope.member.nearest(*binding(scope, keys)),
                message=f"the pair '{pair}' is forced into fire section {min(bound[0])}",
                value=", ".join(keys),
                allowed="at least one server in each section",
                hint="remove section from one of them, or use a mirrored tier instead of a section-local one",
            )


def _disk_removed_at(scope: Scope, server: str) -> Place | None:
    """Where the member's own declaration removes a disk of the server; None if it does not."""
    loc = ("servers", server, "disks")
    disks = look(scope.member.layers.declaration.data, loc)[0] if scope.member.layers is not None else None
    return next((at for disk in disks or () if (at := scope.removed_at(*loc, disk)) is not None), None)


def _partner_removed_at(scope: Scope, pair: str, left: str) -> Place:
    """Where the partner of the server ``left`` was removed, or its number lowered; else where the pair is stated."""
    layers = scope.member.layers
    if layers is None:
        return scope.file.place("servers", left, "pair")
    source = layers.counted.get(("servers", left), left)
    for layer in layers.layers:
        servers = layer.data.get("servers")
        for key, entry in servers.items() if isinstance(servers, dict) else ():
            gone = key not in scope.declared.servers and (key.startswith(source) or _states_pair(layers, key, pair))
            if entry is None and gone and (removed := scope.removed_at("servers", key)) is not None:
                return removed
    return scope.member.nearest(("servers", left, "pair"), ("servers", source, "count"))


def _states_pair(layers: Merged, key: str, pair: str) -> bool:
    return any(look(layer.data, ("servers", key, "pair"))[0] == pair for layer in layers.layers)


def wants_partner(scope: Scope, key: str) -> bool:
    """Whether the server's service level wants a partner: level 1, with very high availability also level 2."""
    level = scope.declared.servers[key].service_level
    return level <= partner_level(scope) and scope.file.is_sound("servers", key, "service_level")


def partner_level(scope: Scope) -> int:
    """The lowest service level that wants a partner."""
    return 2 if scope.declared.protection.availability == "very-high" else 1


def without_partner(scope: Scope, keys: Sequence[str]) -> str:
    """The beginning of a sentence about servers that stand alone."""
    return some([scope.server_name(key) for key in keys]) + (" has" if len(keys) == 1 else " have")


def binding(scope: Scope, keys: Iterable[str]) -> Iterator[Loc]:
    """The paths of everything that can bind servers to a section, the last server's first."""
    for key in reversed(list(keys)):
        server = scope.declared.servers[key]
        yield from (("servers", key, "disks", disk, "tier") for disk in server.disks)
        yield from (("servers", key, field) for field in ("section", "tier", "pair"))


def _services(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    servers = declared.servers
    users: list[tuple[str, ServerRole, Mapping[str, Share | PrintQueue | Published]]] = [
        ("shares", "file", declared.shares),
        ("printers", "print", declared.printers),
        ("published", "application", declared.published),
    ]
    for area, wanted, entries in users:
        fitting = [key for key, server in servers.items() if server.role == wanted]
        removed: dict[str, list[str]] = defaultdict(list)
        for key, entry in entries.items():
            if entry.server not in fitting and scope.removed_at("servers", entry.server) is not None:
                removed[entry.server].append(key)
            elif entry.server not in fitting and not scope.file.mentions("servers", entry.server):
                yield scope.unknown(
                    "server-unknown", f"the {wanted} server", entry.server, fitting, area, key, "server"
                )
        for gone, needed_by in removed.items():
            place = scope.removed_at("servers", gone) or scope.file.key_place(area)
            yield unknown("server-unknown", f"{area} {some(needed_by)}: the {wanted} server", gone, fitting, place)
    homeless: dict[str, list[str]] = defaultdict(list)
    for key, share in declared.shares.items():
        server = servers.get(share.server)
        mounts = [disk.mount for disk in server.disks.values()] if server else []
        path = share_path(key, share, server) if server else None
        if server and not mounts:
            homeless[share.server].append(key)
        elif server and not (path and any(path.startswith(mount.rstrip("/") + "/") for mount in mounts)):
            yield Finding(
                rule="share-outside-data-disk",
                place=scope.file.place("shares", key, "path"),
                message=f"the share '{key}' does not lie on a data disk of {share.server}",
                value=path,
                allowed=", ".join(f"{mount}/…" for mount in mounts),
                hint="the system disk is lost when a VM is rebuilt; shares belong on a data disk",
            )
    for server_key, shares in homeless.items():
        if scope.file.is_whole("servers", server_key):
            yield Finding(
                rule="share-outside-data-disk",
                place=_disk_removed_at(scope, server_key) or scope.file.place("shares", shares[0], "path"),
                message=f"{server_key} has no data disk for its shares: {some(shares)}",
                allowed=f"a data disk of {server_key}",
                hint="the system disk is lost when a VM is rebuilt; shares belong on a data disk",
            )
    at_sites: dict[str, Mapping[str, PrintQueue | AccessSwitch]] = {
        "printers": declared.printers,
        "switches": declared.switches,
    }
    for area, things in at_sites.items():
        for key, thing in things.items():
            if thing.site not in declared.sites and not scope.file.mentions("sites", thing.site):
                yield scope.unknown("site-unknown", "the site", thing.site, declared.sites, area, key, "site")
    pairs = {server.pair for server in servers.values() if server.pair and server.role == "database"}
    aside = any(loc[:1] == ("servers",) for loc in scope.file.set_aside)
    for key, database in declared.databases.items():
        if database.pair not in pairs and not aside:
            what = "the pair of database servers"
            yield scope.unknown("pair-unknown", what, database.pair, pairs, "databases", key, "pair")


# What a workstation refers to: column, rule if it is not declared, table in the declaration.
_REFERENCES: tuple[tuple[str, Rule, str], ...] = (
    ("site", "site-unknown", "sites"),
    ("department", "department-unknown", "departments"),
    ("profile", "profile-unknown", "profiles"),
    ("wave", "wave-unknown", "waves"),
)


def _workstations(scope: Scope) -> Iterator[Finding]:
    declared, devices = scope.declared, scope.member.devices
    for column, rule, table in _REFERENCES:
        known: Mapping[str, object] = getattr(declared, table)
        for key, group in declared.workstations.items():
            value = getattr(group, column)
            if value not in known and not scope.file.mentions(table, value):
                yield scope.unknown(rule, f"the {column}", value, known, "workstations", key, column)
        position = devices.rows[0]._fields.index(column) if devices.rows else 0
        values = [row[position] for row in devices.rows]
        wrong = {value for value in set(values) - known.keys() if not scope.file.mentions(table, value)}
        for value in sorted(wrong):
            # Told once: a wrong value mostly stands on many lines, and is put right on all of them at once.
            lines = [devices.place(index, column) for index, each in enumerate(values) if each == value]
            finding = unknown(rule, f"the {column}", value, known, lines[0])
            also = f" ({len(lines)} lines: {some([str(place.line) for place in lines])})" if len(lines) > 1 else ""
            yield replace(finding, message=finding.message + also)
    per_profile = Counter(row.profile for row in devices.rows)
    for group in declared.workstations.values():
        per_profile[group.profile] += group.count
    wanted: Counter[ZoneKey] = Counter()
    for key, number in per_profile.items():
        if (profile := declared.profiles.get(key)) is not None:
            wanted[profile.zone] += number
    servers, printers = declared.servers.values(), declared.printers.values()
    addresses = (*(server.address for server in servers), *(printer.address for printer in printers))
    taken = {int(address) for address in addresses if address is not None}
    retired = scope.record.retired
    taken |= {int(address) for address in (*retired.hosts.values(), *retired.printers.values())}
    for zone_key, number in wanted.items():
        cidr = declared.zones[zone_key].cidr if zone_key in declared.zones else None
        if cidr is not None and number > (room := capacity(cidr, FIRST_WORKSTATION, taken)):
            yield Finding(
                rule="zone-full",
                place=scope.file.key_place("zones", zone_key),
                message=f"the zone {zone_key} ({cidr}) has room for {room} workstations, {number} are declared",
                value=str(cidr),
                hint="widen the zone or give some workstations a profile of another zone",
            )


def _applications(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    tables: list[tuple[Loc, MemberDeclaration | Profile]] = [((), declared)]
    tables += [(("profiles", key), profile) for key, profile in declared.profiles.items()]
    lists: list[tuple[Loc, tuple[str, ...], frozenset[str]]] = []
    for loc, table in tables:
        lists += [((*loc, *path), keys, _ON_WORKSTATIONS) for path, _, keys in given_by(table)]
        lists.append(((*loc, "without_applications"), table.without_applications, _ON_WORKSTATIONS))
    lists += [(("servers", k, "applications"), s.applications, _ON_SERVERS) for k, s in declared.servers.items()]
    for loc, keys, components in lists:
        for index, key in enumerate(keys):
            entry = scope.catalogue.get(key)
            if entry is None:
                yield scope.unknown("application-unknown", "the application", key, scope.catalogue, *loc, index)
            elif entry.application.component not in components:
                what = "servers" if components is _ON_SERVERS else "workstations"
                yield Finding(
                    rule="application-misplaced",
                    place=scope.file.place(*loc, index),
                    message=f"'{key}' is of the kind {entry.application.component}; this list is for {what}",
                    value=key,
                )
    for key, address in declared.web_addresses.items():
        entry = scope.catalogue.get(key)
        at = ("web_addresses", key)
        if entry is None:
            place = scope.file.key_place(*at)
            yield unknown("application-unknown", "the application", key, scope.catalogue, place)
        elif not entry.application.in_browser:
            yield Finding(
                rule="application-misplaced",
                place=scope.file.place(*at),
                message=f"'{key}' is not used in a browser, so it has no address",
                value=address,
            )
    for loc, table in tables:
        for index, key in enumerate(table.extra_applications):
            if key in table.without_applications:
                yield Finding(
                    rule="application-contradiction",
                    place=scope.file.place(*loc, "extra_applications", index),
                    message=f"'{key}' is added and taken away",
                    value=key,
                    hint="remove it from extra_applications or from without_applications",
                )


def _nearest_memory(scope: Scope) -> Place:
    """The member's own statement that led to too little memory: of the pool, else of its largest server."""
    pool = scope.file.place("compute", "memory_gib")
    own = scope.file.file
    largest = sorted(scope.declared.servers, key=lambda key: -scope.declared.servers[key].memory_gib)
    places = [pool, *(scope.file.place("servers", key, "memory_gib") for key in largest)]
    places += [scope.file.key_place("servers", key, "count") for key in largest]
    return next((place for place in places if place.file == own), pool)


def _compute(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    needed = sum(server.memory_gib for server in declared.servers.values())
    if needed > declared.compute.memory_gib:
        yield Finding(
            rule="pool-too-small",
            place=_nearest_memory(scope),
            message=f"the servers need {needed} GiB of memory, the pool allows {declared.compute.memory_gib} GiB",
            value=str(declared.compute.memory_gib),
            allowed=f"at least {needed}",
            hint="raise memory_gib, or make servers smaller",
        )


def _lists(scope: Scope) -> Iterator[Finding]:
    """Every list of names is a set: a name that is there twice was meant to be another one."""
    source, aside = scope.file.source, scope.file.set_aside
    for value, loc, first in _repeated(source.data, ()):
        if any(loc[:length] in aside for length in range(1, len(loc) + 1)):
            continue  # told as such
        yield Finding(
            rule="listed-twice",
            place=source.place(loc),
            message=f"'{value}' is in this list twice",
            value=value,
            hint=f"the first one is at {source.place(first)}; remove one, or name what was meant",
        )


def _repeated(data: object, loc: Loc) -> Iterator[tuple[str, Loc, Loc]]:
    """Every text that its list had before: where it stands, and where it stands first."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, dict | list):
                yield from _repeated(value, (*loc, key))
    elif isinstance(data, list):
        first: dict[str, int] = {}
        for index, value in enumerate(data):
            if isinstance(value, dict | list):
                yield from _repeated(value, (*loc, index))
            elif isinstance(value, str) and first.setdefault(value, index) != index:
                yield value, (*loc, index), (*loc, first[value])


_MEMBER_CHECKS: tuple[Callable[[Scope], Iterator[Finding]], ...] = (
    _identity,
    _lists,
    _allocation,
    _networks,
    _legacy_networks,
    _addresses,
    zone_references,
    _names,
    _servers,
    _pairs,
    _services,
    _workstations,
    _applications,
    _compute,
)
