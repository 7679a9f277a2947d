"""What only shows when all members are looked at together. Pure, like the checks of one member."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.models import MemberDeclaration
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
    return [found for check in _CHECKS for found in check(members)]


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
    first: dict[int, tuple[str, str, Place]] = {}
    for key, (member, content) in members.items():
        for zone_key, zone in content.zones.items():
            if zone.vlan is None:
                continue
            place = member.file.place("zones", zone_key, "vlan")
            if zone.vlan in first:
                other, other_zone, other_place = first[zone.vlan]
                yield Across(
                    frozenset((key, other)),
                    Finding(
                        rule="vlan-twice",
                        place=place,
                        message=f"VLAN {zone.vlan} (zone {zone_key}) of {key} "
                        f"is also that of the zone {other_zone} of {other}",
                        value=str(zone.vlan),
                        hint=f"the other one is at {other_place}; choose another VLAN",
                    ),
                )
            first.setdefault(zone.vlan, (key, zone_key, place))


def _shorts(members: Members) -> Iterator[Across]:
    first: dict[str, tuple[str, Place]] = {}
    for key, (member, content) in members.items():
        if not member.file.is_sound("member", "short"):
            continue
        short, place = content.member.short, member.file.place("member", "short")
        if short in first:
            other, other_place = first[short]
            yield Across(
                frozenset((key, other)),
                Finding(
                    rule="short-twice",
                    place=place,
                    message=f"the host name prefix '{short}' of {key} is also that of {other}",
                    value=short,
                    hint=f"the other one is declared at {other_place}; choose another prefix",
                ),
            )
        first.setdefault(short, (key, place))


def _hosts(members: Members) -> Iterator[Across]:
    """Host names, serial numbers and MAC addresses are unique in the whole Verbund."""
    names, macs = _Once("name-twice", "host name"), _Once("mac-twice", "MAC address")
    serials = _Once("serial-twice", "serial number")
    shorts: set[str] = set()
    for key, (member, content) in members.items():
        # Servers of two members have one name only if the members' prefixes are one, which is told as such.
        if member.file.is_sound("member", "short") and content.member.short not in shorts:
            shorts.add(content.member.short)
            for server in content.servers:
                name = server_name(content.member.short, server)
                yield from names.claim(name, key, member.nearest, ("servers", server), ("member", "short"))
        devices = member.devices
        for index, row in enumerate(devices.rows):
            yield from names.claim(row.hostname, key, devices.place, index, "hostname")
            if row.serial:
                yield from serials.claim(row.serial, key, devices.place, index, "serial")
            if row.mac:
                yield from macs.claim(row.mac, key, devices.place, index, "mac")
        for made in member.allocated.workstations:
            yield from names.claim(made, key, member.record.key_place, "workstations", made)


class _Once:
    """Values that may be there once; places are only worked out where one is there twice."""

    def __init__(self, rule: Rule, what: str) -> None:
        self._rule: Rule = rule
        self._what = what
        self._first: dict[str, tuple[str, Callable[..., Place], tuple[Any, ...]]] = {}

    def claim(self, value: str, member: str, place: Callable[..., Place], *at: Any) -> Iterator[Across]:
        """Yields a finding if ``value`` was claimed before."""
        first = self._first.get(value)
        if first is None:
            self._first[value] = (member, place, at)
            return
        other, other_place, other_at = first
        yield Across(
            frozenset((member, other)),
            Finding(
                rule=self._rule,
                place=place(*at),
                message=f"the {self._what} '{value}' is there twice"
                + (f": of {other} and of {member}" if other != member else ""),
                value=value,
                hint=f"the first one is at {other_place(*other_at)}; every machine has its own",
            ),
        )


_CHECKS: tuple[Callable[[Members], Iterator[Across]], ...] = (_blocks, _vlans, _shorts, _hosts)
