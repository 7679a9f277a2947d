"""What only shows when all members are looked at together. Pure, like the checks of one member."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Finding, Place, bounded
from ksm_onboard.declaration.models import MemberDeclaration, ZoneKey
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.planning.allocation import server_name


@dataclass(frozen=True)
class Across:
    """A finding and the members that have a part in it."""

    members: frozenset[str]
    finding: Finding


Members = Mapping[str, tuple[DeclaredMember, MemberDeclaration]]


def check_across(declared: Mapping[str, DeclaredMember]) -> list[Across]:
    """All findings that several members have a part in."""
    members = {
        key: (member, member.file.content)
        for key, member in sorted(declared.items())
        if member.file.content is not None
    }
    return [found for check in _CHECKS for found in _bounded(check(members))]


def _bounded(found: Iterator[Across]) -> Iterator[Across]:
    """As ``bounded``, keeping the members that a finding concerns."""
    concerned: dict[Finding, frozenset[str]] = {}

    def findings() -> Iterator[Finding]:
        for across in found:
            concerned[across.finding] = across.members
            yield across.finding

    everybody: frozenset[str] = frozenset()
    for finding in bounded(findings()):
        everybody |= concerned.get(finding, frozenset())
        yield Across(concerned.get(finding, everybody), finding)


def _blocks(members: Members) -> Iterator[Across]:
    """Blocks never overlap, neither each other nor a legacy network that is not translated or quarantined."""
    ranges: list[_Range] = []
    for key, (member, content) in members.items():
        if content.networks.block is not None:
            ranges.append(_Range(key, content.networks.block, "block", member.file.place("networks", "block")))
        for name, legacy in content.networks.legacy.items():
            loc = ("networks", "legacy", name)
            if legacy.nat is not None and member.file.is_sound(*loc, "cidr"):
                ranges.append(_Range(key, legacy.nat, "legacy", member.file.place(*loc, "nat")))
            elif not legacy.quarantine and member.file.is_sound(*loc, "cidr"):
                ranges.append(_Range(key, legacy.cidr, "legacy", member.file.place(*loc, "cidr")))
    ranges.sort(key=lambda r: (int(r.network.network_address), r.network.prefixlen, r.member))
    around: list[_Range] = []
    for this in ranges:
        # Two networks overlap only if one holds the other, so those still open hold this one.
        around = [other for other in around if other.network.broadcast_address >= this.network.network_address]
        for other in around:
            yield _overlap(*sorted((other, this), key=lambda r: (r.kind == "legacy", r.member)))
        around.append(this)


@dataclass(frozen=True)
class _Range:
    member: str
    network: IPv4Network
    kind: str
    place: Place


def _overlap(first: _Range, second: _Range) -> Across:
    legacy = second.kind == "legacy"
    return Across(
        frozenset((first.member, second.member)),
        Finding(
            rule="legacy-overlap" if legacy else "block-overlap",
            place=second.place,
            message=f"the {'legacy network' if legacy else 'block'} {second.network} of {second.member} "
            f"overlaps {first.network} of {first.member}",
            value=str(second.network),
            hint=f"the other one is at {first.place}; "
            + ("give it free addresses under nat, or set quarantine: true" if legacy else "choose a free one"),
        ),
    )


def _vlans(members: Members) -> Iterator[Across]:
    first: dict[int, tuple[str, ZoneKey]] = {}
    for key, (_, content) in members.items():
        for zone_key, zone in content.zones.items():
            if zone.vlan is None:
                continue
            if zone.vlan in first:
                yield _vlan_twice(members, zone.vlan, (key, zone_key), first[zone.vlan])
            first.setdefault(zone.vlan, (key, zone_key))


def _vlan_twice(members: Members, vlan: int, one: tuple[str, ZoneKey], other: tuple[str, ZoneKey]) -> Across:
    """Of two zones of one member the one is accused whose VLAN is stated nearer to the member."""
    (key, zone), (other_key, other_zone) = one, other
    place = members[key][0].file.place("zones", zone, "vlan")
    other_place = members[other_key][0].file.place("zones", other_zone, "vlan")
    if key == other_key and place != members[key][0].nearest(("zones", zone, "vlan"), ("zones", other_zone, "vlan")):
        zone, other_zone, place, other_place = other_zone, zone, other_place, place
    return Across(
        frozenset((key, other_key)),
        Finding(
            rule="vlan-twice",
            place=place,
            message=f"VLAN {vlan} (zone {zone}) of {key} is also that of the zone {other_zone} of {other_key}",
            value=str(vlan),
            hint=f"the other one is at {other_place}; choose another VLAN",
        ),
    )


def _shorts(members: Members) -> Iterator[Across]:
    return _of_one_member(members, "short", "short-twice", "host name prefix", "prefix")


def _domains(members: Members) -> Iterator[Across]:
    """A DNS zone has one owner: of two members with one domain, each would answer for the other's machines."""
    return _of_one_member(members, "dns_domain", "domain-twice", "DNS domain", "domain")


def _of_one_member(
    members: Members, attribute: Literal["short", "dns_domain"], rule: Rule, called: str, briefly: str
) -> Iterator[Across]:
    """What members say of themselves and no two may say alike."""
    first: dict[str, tuple[str, Place]] = {}
    for key, (member, content) in members.items():
        if not member.file.is_sound("member", attribute):
            continue
        value: str = getattr(content.member, attribute)
        place = member.file.place("member", attribute)
        if value in first:
            other, other_place = first[value]
            yield Across(
                frozenset((key, other)),
                Finding(
                    rule=rule,
                    place=place,
                    message=f"the {called} '{value}' of {key} is also that of {other}",
                    value=value,
                    hint=f"the other one is declared at {other_place}; choose another {briefly}",
                ),
            )
        first.setdefault(value, (key, place))


def _hosts(members: Members) -> Iterator[Across]:
    """Host names, serial numbers and MAC addresses are unique in the whole Verbund."""
    names, macs = _Once("name-twice", "host name"), _Once("mac-twice", "MAC address")
    serials = _Once("serial-twice", "serial number")
    shorts: set[str] = set()
    for key, (member, content) in members.items():
        short = content.member.short
        # Servers of two members have one name only if the members' prefixes are one, which is told as such.
        if member.file.is_sound("member", "short") and short not in shorts:
            shorts.add(short)
            servers = {server_name(short, server): server for server in content.servers}
            yield from names.claim(key, list(servers), _of_servers(member, list(servers.values())))
        rows, place = member.devices.rows, member.devices.place
        yield from names.claim(key, [row.hostname for row in rows], _of_column(place, "hostname"))
        yield from serials.claim(key, [row.serial for row in rows], _of_column(place, "serial"))
        yield from macs.claim(key, [row.mac for row in rows], _of_column(place, "mac"))
        made = list(member.allocated.workstations)
        yield from names.claim(key, made, _of_made(member, made))


PlaceOf = Callable[[int], Place]


def _of_servers(member: DeclaredMember, servers: list[str]) -> PlaceOf:
    return lambda index: member.nearest(("servers", servers[index]), ("member", "short"))


def _of_column(place: Callable[[int, str], Place], column: str) -> PlaceOf:
    return lambda index: place(index, column)


def _of_made(member: DeclaredMember, made: list[str]) -> PlaceOf:
    return lambda index: member.record.key_place("workstations", made[index])


class _Once:
    """Values that may be there once. Places are only worked out where a value is there twice."""

    def __init__(self, rule: Rule, what: str) -> None:
        self._rule: Rule = rule
        self._what = what
        self._claims: list[tuple[str, list[str], PlaceOf]] = []
        self._taken: dict[str, int] = {}

    def claim(self, member: str, values: list[str], place: PlaceOf) -> Iterator[Across]:
        """Claims ``values`` for ``member``; yields a finding for each that was claimed before. Empty ones are free."""
        mine = dict.fromkeys(values, len(self._claims))
        mine.pop("", None)
        self._claims.append((member, values, place))
        twice = self._taken.keys() & mine.keys()
        if twice or len(mine) < len(values) - values.count(""):
            yield from self._found(twice)
        self._taken.update(mine if not twice else {value: mine[value] for value in mine.keys() - twice})

    def _found(self, twice: set[str]) -> Iterator[Across]:
        member, values, place = self._claims[-1]
        seen: dict[str, int] = {}
        for index, value in enumerate(values):
            if value and (value in twice or value in seen):
                claim = self._taken[value] if value in twice else len(self._claims) - 1
                other, other_values, other_place = self._claims[claim]
                first = other_place(other_values.index(value))
                yield Across(
                    frozenset((member, other)),
                    Finding(
                        rule=self._rule,
                        place=place(index),
                        message=f"the {self._what} '{value}' is there twice"
                        + (f": of {other} and of {member}" if other != member else ""),
                        value=value,
                        hint=f"the first one is at {first}; every machine has its own",
                    ),
                )
            seen.setdefault(value, index)


_CHECKS: tuple[Callable[[Members], Iterator[Across]], ...] = (_blocks, _vlans, _shorts, _domains, _hosts)
