"""Giving out what is declared and not recorded yet: declarations in, new records out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address

from ksm_onboard.declaration.findings import DeclarationRefusedError, Finding
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.allocation import Shortage, allocate, server_name, wish_of
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.member_plan import placed

# What giving out puts right itself, or finds out for itself.
_NO_OBSTACLE = frozenset(("not-allocated", "allocation-contradicts", "zone-full"))


@dataclass(frozen=True)
class RecordChange:
    """The record of a member before and after."""

    member: str
    before: AllocationRecord
    after: AllocationRecord

    @property
    def lines(self) -> tuple[str, ...]:
        """What changes, in words."""
        return tuple(_differences(self.before, self.after))


def new_records(
    declarations: Declarations, members: Sequence[str] | None = None, release: Sequence[str] = ()
) -> list[RecordChange]:
    """The records of ``members`` (all by default) with everything given out; only those that change.

    ``release`` names entries of the record of the one member given that are taken back first.
    Raises DeclarationRefusedError for errors in the declarations or where something is used up,
    OnboardError for an entry that there is not.
    """
    keys = declarations.member_keys if members is None else list(members)
    _refuse(_obstacles(declarations, keys))
    platform = declarations.platform.content
    assert platform is not None  # noqa: S101 - else there were obstacles
    before = {key: member.allocated for key, member in declarations.members.items()}
    orphans = {key: record.content or AllocationRecord() for key, record in declarations.orphans.items()}
    records = {**orphans, **before}
    for name in release:
        for key in keys:
            records[key] = released(records[key], name)
    wishes = {key: wish for key, member in declarations.members.items() if (wish := wish_of(member)) is not None}
    allocated = allocate(wishes, records, platform.pools, platform.vlans, keys)
    _refuse([_finding(declarations, shortage) for shortage in allocated.shortages])
    changes = (RecordChange(key, before[key], _placed(declarations, key, allocated.records[key])) for key in keys)
    return [change for change in changes if change.before != change.after]


def _placed(declarations: Declarations, key: str, record: AllocationRecord) -> AllocationRecord:
    """``record`` with the fire section of every server, so that adding one does not move others."""
    member, platform = declarations.members[key], declarations.platform.content
    assert member.file.content is not None and platform is not None  # noqa: S101 - else there were obstacles
    short = member.file.content.member.short
    sections = {server_name(short, k): s for k, s in placed(member, member.file.content, platform).items()}
    return record.model_copy(update={"sections": dict(sorted(sections.items()))})


def _obstacles(declarations: Declarations, keys: Sequence[str]) -> list[Finding]:
    """Errors that giving out would build upon. What a damaged record holds is unknown, so all must be sound."""
    records = {declarations.members[key].record.file for key in keys}
    found = [f for f in declarations.findings(keys) if f.rule not in _NO_OBSTACLE and f.place.file not in records]
    damaged = [*(m.record for m in declarations.members.values()), *declarations.orphans.values()]
    return [*found, *(finding for record in damaged for finding in record.findings)]


def _refuse(findings: list[Finding]) -> None:
    if any(finding.severity == "error" for finding in findings):
        raise DeclarationRefusedError(findings)


def _finding(declarations: Declarations, shortage: Shortage) -> Finding:
    place = declarations.members[shortage.member].file.place(*shortage.loc)
    return Finding(rule=shortage.rule, place=place, message=shortage.message, allowed=shortage.allowed)


def released(record: AllocationRecord, name: str) -> AllocationRecord:
    """``record`` without a host, printer or zone of that name (``printers.x`` where several have it).

    Releasing a zone releases every address in it. Raises OnboardError if there is no such entry.
    """
    fitting = [(table, key) for table, key in _entries(record) if name in (key, f"{table}.{key}")]
    if len(fitting) != 1:
        known = sorted(key if not fitting else f"{table}.{key}" for table, key in (fitting or _entries(record)))
        close = get_close_matches(name, known, n=3)
        raise OnboardError(
            f"'{name}' is not in the allocation record" if not fitting else f"several entries are named '{name}'",
            hint=f"one of: {', '.join(known if fitting else close or known[:10])}",
        )
    table, key = fitting[0]
    retired = record.retired
    zones = {k: z for k, z in record.zones.items() if (table, k) != ("zones", key)}
    retired_zones = {k: z for k, z in retired.zones.items() if (table, k) != ("zones", key)}
    gone = {**retired.zones, **record.zones}.get(key) if table == "zones" else None  # type: ignore[call-overload]

    def kept(addresses: Mapping[str, IPv4Address], its_table: str) -> dict[str, IPv4Address]:
        return {
            k: address
            for k, address in addresses.items()
            if (table, key) != (its_table, k) and (gone is None or address not in gone.cidr)
        }

    return record.model_copy(
        update={
            "zones": zones,
            "hosts": kept(record.hosts, "hosts"),
            "printers": kept(record.printers, "printers"),
            "workstations": {k: group for k, group in record.workstations.items() if (table, key) != ("hosts", k)},
            "retired": retired.model_copy(
                update={
                    "zones": retired_zones,
                    "hosts": kept(retired.hosts, "hosts"),
                    "printers": kept(retired.printers, "printers"),
                }
            ),
        }
    )


def _entries(record: AllocationRecord) -> list[tuple[str, str]]:
    tables: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("zones", dict(record.zones.items()), dict(record.retired.zones.items())),
        ("hosts", record.hosts, record.retired.hosts),
        ("printers", record.printers, record.retired.printers),
    )
    return [(table, key) for table, active, retired in tables for key in (*active, *retired)]


def _differences(before: AllocationRecord, after: AllocationRecord) -> Iterator[str]:
    if before.block != after.block:
        yield f"block {after.block}"
    if before.vlan_base != after.vlan_base:
        yield f"VLAN base {after.vlan_base}"
    tables: tuple[tuple[str, Mapping[str, object], Mapping[str, object], Mapping[str, object]], ...] = (
        (
            "zone ",
            {key: f"{zone.cidr}, VLAN {zone.vlan}" for key, zone in before.zones.items()},
            {key: f"{zone.cidr}, VLAN {zone.vlan}" for key, zone in after.zones.items()},
            dict(after.retired.zones.items()),
        ),
        ("", before.hosts, after.hosts, after.retired.hosts),
        ("printer ", before.printers, after.printers, after.retired.printers),
        ("section of ", before.sections, after.sections, {}),
    )
    for what, old, new, retired in tables:
        for name in sorted(old.keys() | new.keys()):
            if name not in old:
                yield f"{what}{name}: {new[name]}"
            elif name not in new and what != "section of ":
                yield f"{what}{name}: {'retired' if name in retired else 'released'} ({old[name]})"
            elif name in new and old[name] != new[name]:
                yield f"{what}{name}: {old[name]} → {new[name]}"
        was_retired = {"": before.retired.hosts, "printer ": before.retired.printers}.get(what, {})
        for name in sorted(was_retired.keys() - new.keys() - retired.keys()):
            yield f"{what}{name}: released ({was_retired[name]})"
