"""A member's declaration in force: its files read, its layers merged, the result validated.

Layers, farthest first: platform defaults, shared workstation profiles, the archetype of the
member's kind, the declaration. What was allocated lies beneath all of them, so that an
address that a declaration states itself is the one in force.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from ksm_onboard.declaration.devices import DeviceList, device_file, inline_devices, read_devices
from ksm_onboard.declaration.findings import Finding, Place, bounded
from ksm_onboard.declaration.load import Loaded, load_file, validated
from ksm_onboard.declaration.merging import EVERY, Layer, Merged, layer_of, look, merge
from ksm_onboard.declaration.models import MemberDeclaration, MemberKind, PlatformDeclaration
from ksm_onboard.declaration.record import AllocationRecord, record_file
from ksm_onboard.declaration.source import Loc, Located, read_yaml
from ksm_onboard.declaration.stand_ins import accepts_null, is_table, knows

ARCHETYPES = Path(__file__).parent / "archetypes"
PROFILES = "profiles"
BASED_ON = "based_on"


@dataclass(frozen=True)
class DeclaredMember:
    """One member: the declaration in force, what was allocated, and its devices."""

    key: str
    file: Loaded[MemberDeclaration]
    record: Loaded[AllocationRecord]
    devices: DeviceList
    findings: tuple[Finding, ...]

    @property
    def allocated(self) -> AllocationRecord:
        """What was given out; an empty record where there is none yet."""
        return self.record.content or AllocationRecord()

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The files that are this member's own."""
        return self.file.file, self.record.file, self.devices.file

    def nearest(self, *locs: Loc) -> Place:
        """Of several values that contradict each other the place of the one nearest to the member."""
        return self.layers.nearest(*locs) if self.layers is not None else self.file.source.place(locs[0])

    @property
    def layers(self) -> Merged | None:
        """Where each value comes from; None if the file could not be read."""
        return self.file.source if isinstance(self.file.source, Merged) else None


@dataclass(frozen=True)
class Archetypes:
    """The archetypes of the member kinds and the shared profiles; each file is read once."""

    folder: Path = ARCHETYPES

    def __post_init__(self) -> None:
        object.__setattr__(self, "_read", {})

    def of_kind(self, kind: str) -> list[tuple[Layer, list[Finding]]]:
        """The archetype of a member kind, after those that it is based on; farthest first."""
        chain: list[tuple[Layer, list[Finding]]] = []
        names: list[str] = []
        name: object = kind
        while isinstance(name, str) and name not in names:
            names.append(name)
            layer, findings = self._layer("archetype", name)
            chain.insert(0, (replace(layer, data={k: v for k, v in layer.data.items() if k != BASED_ON}), findings))
            name = layer.data.get(BASED_ON)
        return chain

    @cached_property
    def profiles(self) -> tuple[Layer, list[Finding]]:
        """The workstation profiles that all kinds share."""
        return self._layer("profile", PROFILES)

    def _layer(self, name: Any, stem: str) -> tuple[Layer, list[Finding]]:
        read: dict[str, tuple[Layer, list[Finding]]] = self.__dict__["_read"]
        if stem not in read:
            located, findings = read_yaml(self.folder / f"{stem}.yaml")
            layer, refused = _without_wrong_nulls(layer_of(name, located))
            read[stem] = layer, [*findings, *refused]
        return read[stem]


def load_member(
    stacks: Path, key: str, platform: Loaded[PlatformDeclaration], archetypes: Archetypes
) -> DeclaredMember:
    """Read everything that makes up the member ``key``. Never raises for what a person wrote."""
    path = stacks / f"{key}.yaml"
    record = _load_record(stacks, key)
    located, findings = read_yaml(path)
    if not isinstance(located.data, dict):
        if located.data is None:
            file: Loaded[MemberDeclaration] = Loaded(path, located, None, tuple(findings))
        else:
            file = validated(path, located, MemberDeclaration, findings)
        return DeclaredMember(key, file, record, DeviceList(path), (*file.findings, *record.findings))
    merged, more, empty = _merged(located, platform, archetypes, device_file(stacks, key))
    merged = _upon_record(merged, record)
    # A value that could not be read has no value either; that is not told a second time.
    unreadable = {finding.place for finding in findings}
    more = [finding for finding in more if finding.place not in unreadable]
    absent = [loc for loc in empty if look(merged.data, loc)[1] == "absent"]
    file = validated(path, merged, MemberDeclaration, [*findings, *more], absent)
    devices, of_devices = _devices(stacks, key, file)
    return DeclaredMember(key, file, record, devices, (*file.findings, *record.findings, *of_devices))


def _load_record(stacks: Path, key: str) -> Loaded[AllocationRecord]:
    file = record_file(stacks, key)
    if not os.path.lexists(file):
        return Loaded(file, Located(file), None, ())
    return load_file(file, AllocationRecord)


def _merged(
    located: Located, platform: Loaded[PlatformDeclaration], archetypes: Archetypes, device_list: Path
) -> tuple[Merged, list[Finding], list[Loc]]:
    """The layers as one, what is wrong with them, and the paths that have no value where one must be."""
    findings: list[Finding] = []
    layers: list[Layer] = []
    if isinstance(platform.source, Located):
        defaults, refused = _without_wrong_nulls(layer_of("platform default", platform.source, "defaults"))
        layers.append(defaults)
        findings += refused
    for layer, refused in (archetypes.profiles, *archetypes.of_kind(_kind(located.data))):
        layers.append(layer)
        findings += refused
    written, findings_of_devices = _without_second_devices(layer_of("declaration", located), device_list)
    declaration, refused = _without_every(written)
    declaration, empty = _without_wrong_nulls(declaration)
    layers.append(declaration)
    merged = merge(layers)
    findings += [*findings_of_devices, *refused, *empty, *bounded(_removing_nothing(merged))]
    return merged, findings, _wrong_nulls(written)


def _without_second_devices(layer: Layer, beside: Path) -> tuple[Layer, list[Finding]]:
    """``layer`` without devices of its own where a list lies ``beside`` it: those are told, and not judged as well."""
    # A link that leads nowhere is a list that cannot be read, not a member without devices.
    if layer.data.get("devices") in (None, []) or not os.path.lexists(beside):
        return layer, []
    finding = Finding(
        rule="devices-twice",
        place=layer.key_place(("devices",)),
        message=f"devices are listed here and in {beside.name}",
        hint="move them all into one place",
    )
    return replace(layer, data={key: value for key, value in layer.data.items() if key != "devices"}), [finding]


def _without_every(layer: Layer) -> tuple[Layer, list[Finding]]:
    """A member's own ``layer`` without entries that stand for all: those are for layers that members share."""
    tables = {name: table for name, table in layer.data.items() if isinstance(table, dict) and EVERY in table}
    if not tables:
        return layer, []
    findings = [
        Finding(
            rule="value-not-allowed",
            place=layer.key_place((name, EVERY)),
            message=f"{name}.{EVERY}: the entry '{EVERY}' is for the platform's defaults and archetypes only",
            value=EVERY,
            allowed="entries by name",
            hint="state the value for each entry that it is meant for",
        )
        for name in tables
    ]
    kept = {name: {key: entry for key, entry in table.items() if key != EVERY} for name, table in tables.items()}
    return replace(layer, data={**layer.data, **kept}), findings


def _kind(data: Mapping[str, Any]) -> MemberKind:
    """The member's kind; where it is wrong, the likeliest, so that only the kind is accused."""
    kinds: tuple[MemberKind, ...] = get_args(MemberKind)
    member = data.get("member")
    declared = str(member.get("kind")) if isinstance(member, dict) else ""
    close = get_close_matches(declared, kinds, n=1)
    return next((kind for kind in kinds if kind in (declared, *close)), "stadt")


def _upon_record(merged: Merged, record: Loaded[AllocationRecord]) -> Merged:
    """``merged``, with what was allocated for its entries as the farthest layer."""
    if (given := record.content) is None or not isinstance(record.source, Located):
        return merged
    declared = merged.data
    data: dict[str, Any] = {}
    written: dict[Loc, Loc] = {}
    networks = {"block": given.block, "vlan_base": given.vlan_base}
    data["networks"] = {key: value for key, value in networks.items() if value is not None}
    written |= {("networks", key): (key,) for key in networks}
    data["zones"] = {
        key: {"cidr": zone.cidr, "vlan": zone.vlan}
        for key, zone in given.zones.items()
        if isinstance(_table(declared, "zones").get(key), dict)
    }
    prefix = f"{_table(declared, 'member').get('short')}-"
    for table, addresses, name_prefix in (("servers", given.hosts, prefix), ("printers", given.printers, "")):
        data[table] = {}
        for key, entry in _table(declared, table).items():
            name = f"{name_prefix}{key}"
            if isinstance(entry, dict) and name in addresses:
                data[table][key] = {"address": addresses[name]}
                written[(table, key, "address")] = ("hosts" if table == "servers" else table, name)
    layer = Layer("allocation", {key: value for key, value in data.items() if value}, record.source, (), written)
    return merged.upon(layer)


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key)
    return table if isinstance(table, dict) else {}


def _devices(stacks: Path, key: str, file: Loaded[MemberDeclaration]) -> tuple[DeviceList, list[Finding]]:
    """The member's devices: from the list beside the declaration, or from the declaration itself."""
    beside = device_file(stacks, key)
    if os.path.lexists(beside):
        return read_devices(beside)
    inline = file.content.devices if file.content is not None else ()
    return inline_devices(file.file, inline, lambda index, column: file.place("devices", index, column)), []


# --- nulls --------------------------------------------------------------------------------


def _nulls(data: Any, loc: Loc = ()) -> Iterator[Loc]:
    if isinstance(data, dict):
        for key, value in data.items():
            if value is None:
                yield (*loc, key)
            else:
                yield from _nulls(value, (*loc, key))


def _without_wrong_nulls(layer: Layer) -> tuple[Layer, list[Finding]]:
    """``layer`` without the nulls that remove nothing that may be removed, and a finding for each."""
    wrong = _wrong_nulls(layer)
    if not wrong:
        return layer, []
    findings = (
        Finding(
            rule="null-not-allowed",
            place=layer.place(loc),
            message=f"{'.'.join(str(part) for part in loc)} has no value",
            allowed="a value; an empty one or null only removes entries of tables and optional values",
            hint="give it a value, or remove the line",
        )
        for loc in wrong
        if knows(MemberDeclaration, loc)
    )
    return replace(layer, data=_without(layer.data, set(wrong), ())), list(bounded(findings))


def _wrong_nulls(layer: Layer) -> list[Loc]:
    return [loc for loc in _nulls(layer.data) if not is_table(MemberDeclaration, loc[:-1]) and not _removable(loc)]


def _removable(loc: Loc) -> bool:
    return accepts_null(MemberDeclaration, loc)


def _without(data: Any, wrong: set[Loc], loc: Loc) -> Any:
    """A copy of ``data`` without the nulls at ``wrong``; those of unknown keys stay visible as empty text."""
    if not isinstance(data, dict):
        return data
    return {
        key: "" if (*loc, key) in wrong else _without(value, wrong, (*loc, key))
        for key, value in data.items()
        if (*loc, key) not in wrong or not knows(MemberDeclaration, (*loc, key))
    }


def _removing_nothing(merged: Merged) -> Iterator[Finding]:
    """A null for an entry that no farther layer has is a slip of the pen, or outdated."""
    for position, layer in enumerate(merged.layers):
        for loc in _nulls(layer.data):
            if not is_table(MemberDeclaration, loc[:-1]) or loc[:2] in merged.counted:
                continue
            farther = merged.layers[:position]
            if any(look(other.data, loc)[1] == "found" for other in farther):
                continue
            known = _entries(farther, loc[:-1])
            close = get_close_matches(str(loc[-1]), known, n=1)
            yield Finding(
                rule="removes-nothing",
                place=layer.key_place(loc),
                message=f"{'.'.join(str(part) for part in loc)} removes an entry that there is not",
                value=str(loc[-1]),
                allowed=", ".join(known) or None,
                hint=f"did you mean '{close[0]}'?" if close else "remove the line, or give the entry its values",
            )


def _entries(layers: Sequence[Layer], loc: Loc) -> list[str]:
    tables = [table for layer in layers if isinstance(table := look(layer.data, loc)[0], dict)]
    return sorted({key for table in tables for key in table})
