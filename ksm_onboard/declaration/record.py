"""The allocation record of a member: ``stacks/allocations/<member>.yaml``. Read and written here only.

It holds what was given out: the block, the zones' networks and VLANs, the hosts' addresses, the
servers' fire sections, the names of workstations that were made, the member's datastores and
what lies on them. One line per entry, sorted, so that two branches
that add hosts merge well. The toolkit writes it; people read and review it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictInt, StringConstraints

from ksm_onboard.atomic import write_atomically
from ksm_onboard.declaration.models import (
    KEY_PATTERN,
    Address,
    Declared,
    HostName,
    Key,
    Network,
    SectionKey,
    UnixName,
    ZoneKey,
)

_HEADER = """\
# yaml-language-server: $schema=../../docs/schema/allocation.json
# What was given out to {member}. Written by `ksm-onboard allocate`; what stands here stays as it is.
# Entries that are no longer declared move to `retired` and keep their addresses until they are
# released: ksm-onboard allocate {member} --release NAME
"""

Number = Annotated[StrictInt, Field(ge=2, le=4094)]
DatastoreName = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=60)]
DiskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*(/[a-z0-9-]+)?$", max_length=60)]
"""A server's name for its system disk, ``<server>/<disk>`` for a data disk."""
RetiredName = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class RecordedZone(Declared):
    """The network and VLAN that a zone was given."""

    cidr: Network = Field(description="the zone's network")
    vlan: Number = Field(description="the zone's VLAN")


class RecordedDatastore(Declared):
    """A datastore of the member: the export of an array that it is, and its size, which only grows."""

    tier: Key = Field(description="the storage tier that it serves")
    section: SectionKey = Field(description="the fire section whose servers use it")
    array: Key = Field(description="the array that exports it")
    size_gib: Annotated[StrictInt, Field(ge=1)] = Field(description="size of the export in GiB")


class Retired(Declared):
    """What is no longer declared, and stays reserved."""

    zones: dict[ZoneKey, RecordedZone] = Field(default_factory=dict, description="networks and VLANs, by zone")
    hosts: dict[HostName, Address] = Field(default_factory=dict, description="addresses, by host name")
    printers: dict[UnixName, Address] = Field(default_factory=dict, description="addresses, by name of the queue")
    disks: dict[DiskName, DatastoreName] = Field(default_factory=dict, description="datastores, by disk")


class AllocationRecord(Declared):
    """Everything that was given out to one member."""

    block: Network | None = Field(default=None, description="the member's address block")
    vlan_base: StrictInt | None = Field(default=None, description="base of the zones' VLANs")
    zones: dict[ZoneKey, RecordedZone] = Field(default_factory=dict, description="networks and VLANs, by zone")
    hosts: dict[HostName, Address] = Field(default_factory=dict, description="servers and workstations, by host name")
    printers: dict[UnixName, Address] = Field(default_factory=dict, description="by name of the queue")
    sections: dict[HostName, SectionKey] = Field(
        default_factory=dict, description="fire sections that servers were placed in; kept unless declared otherwise"
    )
    workstations: dict[HostName, Key] = Field(
        default_factory=dict, description="names that were made, and the group of workstations they belong to"
    )
    datastores: dict[DatastoreName, RecordedDatastore] = Field(
        default_factory=dict, description="the member's datastores, by name"
    )
    disks: dict[DiskName, DatastoreName] = Field(
        default_factory=dict, description="the datastore that each disk was placed on; no disk is ever moved"
    )
    retired: Retired = Field(
        default=Retired(), description="what is no longer declared, and stays reserved until it is released"
    )

    @property
    def short(self) -> str | None:
        """The prefix of host names that all recorded servers share; None where there is none, or not one."""
        prefixes = {name.split("-", 1)[0] for name in self.sections}
        return prefixes.pop() if len(prefixes) == 1 else None


def record_file(stacks: Path, member: str) -> Path:
    """Where the record of ``member`` lies."""
    return stacks / "allocations" / f"{member}.yaml"


def rendered(member: str, record: AllocationRecord) -> str:
    """The record as the text of its file."""
    lines = [_HEADER.format(member=member)]
    if record.block is not None:
        lines.append(f"block: {record.block}\n")
    if record.vlan_base is not None:
        lines.append(f"vlan_base: {record.vlan_base}\n")
    lines += _table("zones", {key: _zone(zone) for key, zone in record.zones.items()})
    lines += _table("hosts", record.hosts)
    lines += _table("printers", record.printers)
    lines += _table("sections", record.sections)
    lines += _table("workstations", {name: _quoted(group) for name, group in record.workstations.items()})
    lines += _table("datastores", {name: _datastore(store) for name, store in record.datastores.items()})
    lines += _table("disks", record.disks)
    retired = record.retired
    if retired != Retired():
        lines.append("retired:\n")
        lines += _table("zones", {key: _zone(zone) for key, zone in retired.zones.items()}, "  ")
        lines += _table("hosts", retired.hosts, "  ")
        lines += _table("printers", retired.printers, "  ")
        lines += _table("disks", retired.disks, "  ")
    return "".join(lines)


def write_record(stacks: Path, member: str, record: AllocationRecord) -> Path:
    """Write the record of ``member`` as a whole or not at all. Raises OSError if that is not possible."""
    file = record_file(stacks, member)
    write_atomically(file, rendered(member, record))
    return file


def _zone(zone: RecordedZone) -> str:
    return f"{{cidr: {zone.cidr}, vlan: {zone.vlan}}}"


def _datastore(store: RecordedDatastore) -> str:
    size = f"size_gib: {store.size_gib}"
    return f"{{tier: {_quoted(store.tier)}, section: {store.section}, array: {_quoted(store.array)}, {size}}}"


def _table(name: str, entries: Mapping[Any, object], indent: str = "") -> list[str]:
    if not entries:
        return []
    return [f"{indent}{name}:\n", *(f"{indent}  {_quoted(key)}: {entries[key]}\n" for key in sorted(entries))]


def _quoted(key: str) -> str:
    """Quoted where YAML would take the name for something else (``no``, ``007``)."""
    return key if key[0].isalpha() and key not in _YAML_WORDS else f'"{key}"'


_YAML_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
