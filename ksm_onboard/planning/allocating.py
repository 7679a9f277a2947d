"""Giving out what is declared and not recorded yet: declarations in, new records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address

from ksm_onboard.declaration.findings import DeclarationRefusedError, Finding
from ksm_onboard.declaration.models import PlatformDeclaration
from ksm_onboard.declaration.record import AllocationRecord, RecordedDatastore, Retired
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.allocation import Shortage, allocate, server_name, wish_of
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.member_plan import placed
from ksm_onboard.planning.storage import StorageWish, give_to_all, recorded, storage_of, storage_of_vms

# What giving out puts right itself, or finds out for itself.
_NO_OBSTACLE = frozenset(
    ("not-allocated", "allocation-contradicts", "zone-full", "storage-quota", "pair-placed-together")
)


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
    keys = [*declarations.member_keys, PLATFORM] if members is None else list(members)
    _refuse(_obstacles(declarations, [key for key in keys if key != PLATFORM]))
    platform = declarations.platform.content
    assert platform is not None  # noqa: S101 - else there were obstacles
    before = {key: member.allocated for key, member in declarations.members.items()}
    before[PLATFORM] = declarations.own_record
    orphans = {key: record.content or AllocationRecord() for key, record in declarations.orphans.items()}
    records = {**orphans, **before}
    for name in release:
        for key in keys:
            records[key] = released(records[key], name)
    wishes = {key: wish for key, member in declarations.members.items() if (wish := wish_of(member)) is not None}
    allocated = allocate(wishes, records, platform.pools, platform.vlans, keys)
    _refuse([_finding(declarations, shortage) for shortage in allocated.shortages])
    after = _with_storage(declarations, keys, dict(allocated.records), platform)
    changes = (RecordChange(key, before[key], after[key]) for key in keys)
    return [change for change in changes if change.before != change.after]


def _with_storage(
    declarations: Declarations,
    keys: Sequence[str],
    records: dict[str, AllocationRecord],
    platform: PlatformDeclaration,
) -> dict[str, AllocationRecord]:
    """``records``, those of ``keys`` with the section of every server and the datastore of every disk.

    So adding a server moves no other one, and no disk.
    """
    asking: dict[str, tuple[StorageWish, AllocationRecord]] = {}
    for key in keys:
        if key == PLATFORM:
            if platform.shared is not None:
                asking[key] = storage_of_vms(platform.shared, platform), records[key]
            continue
        declared = declarations.members[key].file.content
        assert declared is not None  # noqa: S101 - else there were obstacles
        sections = placed(records[key], declared, platform)
        by_name = {server_name(declared.member.short, server): section for server, section in sections.items()}
        records[key] = records[key].model_copy(update={"sections": dict(sorted(by_name.items()))})
        asking[key] = storage_of(declared, platform, sections), records[key]
    others = {key: record for key, record in records.items() if key not in asking}
    given = give_to_all(asking, others, platform)
    return records | {key: recorded(records[key], given[key]) for key in given}


def _obstacles(declarations: Declarations, keys: Sequence[str]) -> list[Finding]:
    """Errors that giving out would build upon. What a damaged record holds is unknown, so all must be sound."""
    records = {declarations.members[key].record.file for key in keys}
    found = [f for f in declarations.findings(keys) if f.rule not in _NO_OBSTACLE and f.place.file not in records]
    damaged = [*(m.record for m in declarations.members.values()), *declarations.orphans.values()]
    damaged += [declarations.record] if declarations.record else []
    return [*found, *(finding for record in damaged for finding in record.findings)]


def _refuse(findings: list[Finding]) -> None:
    if any(finding.severity == "error" for finding in findings):
        raise DeclarationRefusedError(findings)


def _finding(declarations: Declarations, shortage: Shortage) -> Finding:
    place = declarations.members[shortage.member].file.place(*shortage.loc)
    return Finding(rule=shortage.rule, place=place, message=shortage.message, allowed=shortage.allowed)


def released(record: AllocationRecord, name: str) -> AllocationRecord:
    """``record`` without a host, printer, zone, section, disk or datastore of that name.

    Where several have the name, it is given with its table (``printers.x``); a system disk and a server's
    fire section always are. Releasing a zone releases every address in it, releasing a datastore every
    disk on it. Raises OnboardError if there is no such entry.
    """
    fitting = [
        (table, key)
        for table, key in _entries(record)
        # A server's name alone means its address, not its section or its system disk.
        if name == f"{table}.{key}" or (name == key and table != "sections" and (table != "disks" or "/" in key))
    ]
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

    def kept_disks(disks: Mapping[str, str], *gone_with: str) -> dict[str, str]:
        return {
            k: on
            for k, on in disks.items()
            if (table, key) not in (("disks", k), ("datastores", on), *((other, k) for other in gone_with))
        }

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
            "datastores": {k: store for k, store in record.datastores.items() if (table, key) != ("datastores", k)},
            "disks": kept_disks(record.disks),
            "sections": {k: section for k, section in record.sections.items() if (table, key) != ("sections", k)},
            "retired": retired.model_copy(
                update={
                    "zones": retired_zones,
                    "hosts": kept(retired.hosts, "hosts"),
                    "printers": kept(retired.printers, "printers"),
                    # A server that is gone for good took its system disk with it; data disks outlive it.
                    "disks": kept_disks(retired.disks, "hosts"),
                }
            ),
        }
    )


def _entries(record: AllocationRecord) -> list[tuple[str, str]]:
    tables: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("zones", dict(record.zones.items()), dict(record.retired.zones.items())),
        ("hosts", record.hosts, record.retired.hosts),
        ("printers", record.printers, record.retired.printers),
        ("sections", record.sections, {}),
        ("datastores", record.datastores, {}),
        ("disks", record.disks, record.retired.disks),
    )
    return [(table, key) for table, active, retired in tables for key in (*active, *retired)]


_RETIRED: dict[str, Callable[[Retired], Mapping[str, object]]] = {
    "": lambda retired: retired.hosts,
    "printer ": lambda retired: retired.printers,
    "disk ": lambda retired: retired.disks,
}


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
        ("datastore ", _words(before.datastores), _words(after.datastores), {}),
        ("disk ", before.disks, after.disks, after.retired.disks),
    )
    for what, old, new, retired in tables:
        for name in sorted(old.keys() | new.keys()):
            if name not in old:
                yield f"{what}{name}: {new[name]}"
            elif name not in new and what != "section of ":
                yield f"{what}{name}: {'retired' if name in retired else 'released'} ({old[name]})"
            elif name in new and old[name] != new[name]:
                yield f"{what}{name}: {old[name]} → {new[name]}"
        was_retired = _RETIRED[what](before.retired) if what in _RETIRED else {}
        for name in sorted(was_retired.keys() - new.keys() - retired.keys()):
            yield f"{what}{name}: released ({was_retired[name]})"


def _words(datastores: Mapping[str, RecordedDatastore]) -> dict[str, str]:
    return {name: f"{store.size_gib} GiB on {store.array}" for name, store in datastores.items()}
