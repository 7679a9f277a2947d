"""Giving out blocks, networks, VLANs, names and addresses: pure, deterministic, and never twice.

What is recorded stays, whatever is added or removed elsewhere. What is new gets the lowest
that is free; members are taken in the order of their keys, hosts in the order of their
names, so the result does not depend on the order in which they are declared. What is no
longer declared is retired: it keeps what it was given until it is released.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.models import Pool, VlanPool, ZoneKey
from ksm_onboard.declaration.record import AllocationRecord, RecordedZone, Retired
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.addressing import FIRST_SERVER, FIRST_WORKSTATION, free_addresses
from ksm_onboard.planning.zones import ZONE_KINDS

# Bases in steps of 100 let people read a zone off its VLAN's last digits.
_BASE_STEP = 100


Stated = TypeVar("Stated")


@dataclass(frozen=True)
class HostWish:
    """A host that needs an address in a zone; ``address`` if the declaration states it."""

    zone: ZoneKey
    address: IPv4Address | None = None


@dataclass(frozen=True)
class ZoneWish:
    """A zone that needs a network of this size, and a VLAN."""

    prefix: int | None
    cidr: IPv4Network | None = None
    vlan: int | None = None


@dataclass(frozen=True)
class GroupWish:
    """So many workstations in a zone whose names are to be made."""

    zone: ZoneKey
    count: int


@dataclass(frozen=True)
class Wish:
    """Everything that a member needs given out."""

    member: str
    short: str
    pool: str
    block: IPv4Network | None = None
    vlan_base: int | None = None
    zones: Mapping[ZoneKey, ZoneWish] = field(default_factory=dict)
    servers: Mapping[str, HostWish] = field(default_factory=dict)
    printers: Mapping[str, HostWish] = field(default_factory=dict)
    devices: Mapping[str, HostWish] = field(default_factory=dict)
    groups: Mapping[str, GroupWish] = field(default_factory=dict)
    fixed: frozenset[IPv4Address] = frozenset()
    """Addresses that something has of itself: the switches'."""
    legacy: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True)
class Shortage:
    """Something that could not be given out; ``loc`` is the path in the declaration that asks for it."""

    member: str
    rule: Rule
    loc: Loc
    message: str
    allowed: str


@dataclass(frozen=True)
class Allocated:
    """The records after giving out, by member, and what could not be given."""

    records: Mapping[str, AllocationRecord]
    shortages: tuple[Shortage, ...] = ()


def wish_of(member: DeclaredMember) -> Wish | None:
    """What the declaration of ``member`` asks for; None if it could not be read.

    An address, network or VLAN is part of the wish only where the declaration states it, not
    where it comes from the record.
    """
    declared, layers = member.file.content, member.layers
    if declared is None or layers is None:
        return None

    def stated(value: Stated | None, *loc: str) -> Stated | None:
        origins = layers.origins(loc) if value is not None else ()
        return value if origins and origins[0].layer.name != "allocation" else None

    short, networks = declared.member.short, declared.networks
    zone_of_profile = {key: profile.zone for key, profile in declared.profiles.items()}
    legacy = [
        network
        for key, entry in networks.legacy.items()
        for field, network in (("cidr", entry.cidr), ("nat", entry.nat))
        if network is not None and member.file.is_sound("networks", "legacy", key, field)
    ]
    return Wish(
        member=member.key,
        short=short,
        pool=networks.pool,
        block=stated(networks.block, "networks", "block"),
        vlan_base=stated(networks.vlan_base, "networks", "vlan_base"),
        zones={
            key: ZoneWish(zone.prefix, stated(zone.cidr, "zones", key, "cidr"), stated(zone.vlan, "zones", key, "vlan"))
            for key, zone in declared.zones.items()
        },
        servers={
            server_name(short, key): HostWish(server.zone, stated(server.address, "servers", key, "address"))
            for key, server in declared.servers.items()
        },
        printers={
            key: HostWish("printers", stated(printer.address, "printers", key, "address"))
            for key, printer in declared.printers.items()
        },
        devices={
            row.hostname: HostWish(zone_of_profile[row.profile])
            for row in member.devices.rows
            if row.profile in zone_of_profile
        },
        groups={
            key: GroupWish(zone_of_profile[group.profile], group.count)
            for key, group in declared.workstations.items()
            if group.profile in zone_of_profile
        },
        fixed=frozenset(switch.address for switch in declared.switches.values()),
        legacy=tuple(legacy),
    )


def server_name(short: str, key: str) -> str:
    """The host name of a member's server."""
    return f"{short}-{key}"


def workstation_name(short: str, number: int) -> str:
    """The host name that is made for a member's ``number``-th workstation, counted from 1."""
    return f"{short}-ws{number:04d}"


def allocate(
    wishes: Mapping[str, Wish],
    records: Mapping[str, AllocationRecord],
    pools: Mapping[str, Pool],
    vlans: VlanPool,
    only: Iterable[str] | None = None,
) -> Allocated:
    """Give out what ``wishes`` ask for and ``records`` do not hold yet.

    Pure. ``only`` names the members that are given something; what the others have, or state
    in their declarations, is respected all the same. Where something cannot be given, the
    record lacks it and a shortage says so.
    """
    given = dict(records)
    taken = _Taken.of(wishes, records)
    shortages: list[Shortage] = []
    for key in sorted(wishes if only is None else set(only) & wishes.keys()):
        giving = _Giving(wishes[key], given.get(key, AllocationRecord()), taken, pools, vlans)
        given[key] = giving.done()
        shortages += giving.shortages
    return Allocated(given, tuple(shortages))


@dataclass
class _Taken:
    """What no other member may be given."""

    networks: list[IPv4Network]
    vlans: set[int]

    @staticmethod
    def of(wishes: Mapping[str, Wish], records: Mapping[str, AllocationRecord]) -> _Taken:
        networks = [record.block for record in records.values() if record.block is not None]
        networks += [wish.block for wish in wishes.values() if wish.block is not None]
        networks += [network for wish in wishes.values() for network in wish.legacy]
        zones = [z for record in records.values() for z in (*record.zones.values(), *record.retired.zones.values())]
        vlans = {zone.vlan for zone in zones}
        vlans |= {z.vlan for wish in wishes.values() for z in wish.zones.values() if z.vlan is not None}
        return _Taken(networks, vlans)


class _Giving:
    """Completes the record of one member."""

    def __init__(
        self, wish: Wish, record: AllocationRecord, taken: _Taken, pools: Mapping[str, Pool], vlans: VlanPool
    ) -> None:
        self.shortages: list[Shortage] = []
        self._wish = wish
        self._taken = taken
        self._pools = pools
        self._vlans = vlans
        self._block = record.block
        self._base = record.vlan_base
        self._zones = {**record.retired.zones, **record.zones}
        self._hosts = {**record.retired.hosts, **record.hosts}
        self._printers = {**record.retired.printers, **record.printers}
        self._made = dict(record.workstations)
        self._sections = record.sections
        self._record = record

    def done(self) -> AllocationRecord:
        """The record with everything given that there is."""
        self._give_block()
        self._give_networks()
        self._give_vlans()
        made = self._make_names()
        self._give_addresses(made)
        wanted = self._wish.servers.keys() | self._wish.devices.keys() | made.keys()
        zones, hosts, printers = self._zones, self._hosts, self._printers
        return AllocationRecord(
            block=self._block,
            vlan_base=self._base,
            zones={key: zones[key] for key in sorted(zones) if key in self._wish.zones},
            hosts={name: hosts[name] for name in sorted(hosts) if name in wanted},
            printers={name: printers[name] for name in sorted(printers) if name in self._wish.printers},
            sections={name: section for name, section in self._sections.items() if name in self._wish.servers},
            workstations={name: made[name] for name in sorted(made) if name in hosts},
            # Storage is given out on its own, once every server has its section (planning/storage.py).
            datastores=self._record.datastores,
            disks=self._record.disks,
            retired=Retired(
                zones={key: zones[key] for key in sorted(zones) if key not in self._wish.zones},
                hosts={name: hosts[name] for name in sorted(hosts) if name not in wanted},
                printers={name: printers[name] for name in sorted(printers) if name not in self._wish.printers},
                disks=self._record.retired.disks,
            ),
        )

    def _lacks(self, rule: Rule, message: str, allowed: str, *loc: str | int) -> None:
        self.shortages.append(Shortage(self._wish.member, rule, loc, message, allowed))

    # --- block, networks, VLANs ---

    def _give_block(self) -> None:
        if self._block is not None or self._wish.block is not None:
            self._block = self._block or self._wish.block
            return
        pool = self._pools.get(self._wish.pool)
        if pool is None:
            return  # reported by a check of its own
        self._block = _lowest_free(pool.range, pool.prefix, self._taken.networks)
        if self._block is None:
            message = f"the pool {self._wish.pool} ({pool.range}) has no free /{pool.prefix} left"
            self._lacks("pool-full", message, "another pool, or a larger range for this one", "networks", "pool")
            return
        self._taken.networks.append(self._block)

    def _give_networks(self) -> None:
        """Networks for zones without one; large ones first, so that the block is filled without gaps."""
        self._networks: dict[ZoneKey, IPv4Network] = {key: zone.cidr for key, zone in self._zones.items()}
        for key, zone in self._wish.zones.items():
            if zone.cidr is not None:
                self._networks.setdefault(key, zone.cidr)
        missing = [
            (zone.prefix, ZONE_KINDS[key].vlan_offset, key)
            for key, zone in self._wish.zones.items()
            if key not in self._networks and zone.prefix is not None
        ]
        for prefix, _, key in sorted(missing):
            if self._block is None:
                return
            network = _lowest_free(self._block, prefix, self._networks.values())
            if network is None:
                message = f"the block {self._block} has no room for the zone {key} (/{prefix})"
                self._lacks("block-full", message, "smaller zones, or a larger block", "zones", key, "prefix")
                continue
            self._networks[key] = network

    def _give_vlans(self) -> None:
        missing = [key for key in self._wish.zones if key in self._networks and key not in self._zones]
        missing.sort(key=lambda key: ZONE_KINDS[key].vlan_offset)
        if self._base is None:
            self._base = self._wish.vlan_base or (self._lowest_base(missing) if missing else None)
        for key in missing:
            vlan = self._wish.zones[key].vlan or self._vlan_for(key)
            if vlan is None:
                message = f"no VLAN is left for the zone {key}"
                self._lacks("vlans-used-up", message, f"{self._vlans.first} to {self._vlans.last}", "zones", key)
                continue
            self._taken.vlans.add(vlan)
            self._zones[key] = RecordedZone(cidr=self._networks[key], vlan=vlan)

    def _lowest_base(self, zones: Iterable[ZoneKey]) -> int | None:
        offsets = [ZONE_KINDS[key].vlan_offset for key in zones]
        first = -(-self._vlans.first // _BASE_STEP) * _BASE_STEP
        bases = range(first, self._vlans.last, _BASE_STEP)
        return next((base for base in bases if all(self._is_free(base + offset) for offset in offsets)), None)

    def _vlan_for(self, zone: ZoneKey) -> int | None:
        if self._base is not None and self._is_free(fitting := self._base + ZONE_KINDS[zone].vlan_offset):
            return fitting
        return next((vlan for vlan in range(self._vlans.first, self._vlans.last + 1) if self._is_free(vlan)), None)

    def _is_free(self, vlan: int) -> bool:
        return self._vlans.first <= vlan <= self._vlans.last and vlan not in self._taken.vlans

    # --- names and addresses ---

    def _make_names(self) -> dict[str, str]:
        """The workstations whose names are made, with their groups; those with high numbers go first."""
        named = self._wish.servers.keys() | self._wish.devices.keys()
        made: dict[str, str] = {}
        for key, group in self._wish.groups.items():
            mine = sorted(name for name, its in self._made.items() if its == key and name not in named)
            made |= dict.fromkeys(mine[: group.count], key)
        used = named | self._hosts.keys() | made.keys()
        number = 0
        for key in sorted(self._wish.groups):
            lacking = self._wish.groups[key].count - sum(its == key for its in made.values())
            for _ in range(lacking):
                number += 1
                while (name := workstation_name(self._wish.short, number)) in used:
                    number += 1
                made[name] = key
        return made

    def _give_addresses(self, made: Mapping[str, str]) -> None:
        servers, printers = self._wish.servers, self._wish.printers
        workstations = dict(self._wish.devices)
        workstations |= {name: HostWish(self._wish.groups[key].zone) for name, key in made.items()}
        taken = {int(address) for address in (*self._hosts.values(), *self._printers.values())}
        taken |= {int(w.address) for w in (*servers.values(), *printers.values()) if w.address is not None}
        taken |= {int(address) for address in self._wish.fixed}
        for table, known, first, loc in (
            (servers, self._hosts, FIRST_SERVER, "servers"),
            (printers, self._printers, FIRST_SERVER, "printers"),
            (workstations, self._hosts, FIRST_WORKSTATION, "workstations"),
        ):
            self._give_table(table, known, first, taken, loc)

    def _give_table(
        self, table: Mapping[str, HostWish], known: dict[str, IPv4Address], first: int, taken: set[int], loc: str
    ) -> None:
        zones: dict[ZoneKey, list[str]] = {}
        for name in sorted(table.keys() - known.keys()):
            wish = table[name]
            if wish.address is not None:
                known[name] = wish.address
            elif wish.zone in self._zones:
                zones.setdefault(wish.zone, []).append(name)
        for zone, names in zones.items():
            network = self._zones[zone].cidr
            free = free_addresses(network, first, taken)
            numbers = [number for number, _ in zip(free, names, strict=False)]
            known |= {name: IPv4Address(number) for name, number in zip(names, numbers, strict=False)}
            taken |= set(numbers)
            if len(numbers) < len(names):
                message = f"the zone {zone} ({network}) has no address left for {len(names) - len(numbers)} {loc}"
                self._lacks("zone-full", message, "a larger zone, or fewer hosts in it", "zones", zone)


def _lowest_free(within: IPv4Network, prefix: int, taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The lowest network of that size inside ``within`` that overlaps none of ``taken``."""
    if prefix < within.prefixlen:
        return None
    size = 1 << (32 - prefix)
    start, end = int(within.network_address), int(within.broadcast_address)
    busy = sorted((int(n.network_address), int(n.broadcast_address)) for n in taken if n.overlaps(within))
    for low, high in busy:
        if start + size - 1 < low:
            break
        if high >= start:
            start = -(-(high + 1) // size) * size
    return IPv4Network((start, prefix)) if start + size - 1 <= end else None
